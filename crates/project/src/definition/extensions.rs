//! Vendor extensions that may stand in several places.

use std::collections::BTreeSet;

use crate::api::properties::{AMBIGUOUS_PATHS, kinds};
use crate::document::diagnostic::Findings;
use crate::document::tree::Section;
use crate::document::value::{Object, Value};
use crate::model::Extensions;
use crate::model::ambiguous::AmbiguousPath;

/// Names of the extension that sets a throttling tier; the first one wins.
pub(crate) const TIERS: [&str; 2] = ["x-wso2-throttling-tier", "x-throttling-tier"];

/// The throttling tier set at the root or on an operation. An empty one is none: it must not hide that of `api.yaml`.
pub(crate) fn tier(section: &Section<'_>, findings: &mut Findings) -> Option<String> {
    let mut named = |key| {
        section
            .text_or_warn(key, findings)
            .filter(|tier| !tier.is_empty())
    };
    let tier = TIERS.into_iter().find_map(&mut named);
    tier.map(str::to_owned)
}

/// [`AMBIGUOUS_PATHS`] at the root. An empty list is none at all, whatever others may say.
pub(crate) fn ambiguous_paths(top: &Section<'_>, findings: &mut Findings) -> Option<BTreeSet<AmbiguousPath>> {
    let alike = |key: &&String| {
        let key = key.to_ascii_lowercase();
        key.starts_with("x-wso2-allow-ambig") && key != AMBIGUOUS_PATHS
    };
    for key in top.map.keys().filter(alike) {
        let message = format!("ignored: {AMBIGUOUS_PATHS} may be meant");
        findings.warning(top.file, &top.pointer.key(key), message);
    }
    if top.map.get(AMBIGUOUS_PATHS).is_some_and(Value::is_null) {
        let message = "ignored: nothing is said; [] takes no such path";
        findings.warning(top.file, &top.pointer.key(AMBIGUOUS_PATHS), message);
    }
    let (key, value) = top.entry(AMBIGUOUS_PATHS)?;
    let pointer = top.pointer.key(key);
    let Some(items) = value.as_array() else {
        findings.refusal(
            top.file,
            &pointer,
            "must be a list of kinds, such as [encoded_slash]",
        );
        return None;
    };
    Some(kinds(top.file, &pointer, items, findings))
}

/// `x-auth-type: None`.
pub(crate) fn is_unsecured(section: &Section<'_>) -> bool {
    section.get("x-auth-type").and_then(Value::as_str) == Some("None")
}

/// The vendor keys of an object that are handed on as written.
pub(crate) fn kept(map: &Object) -> Extensions {
    let ours = |key: &str| {
        key.starts_with("x-wso2-")
            || key.starts_with("x-trireme-")
            || key.starts_with("x-amzn-")
            || matches!(
                key,
                "x-auth-type" | "x-scopes" | "x-throttling-tier" | "x-uri-mapping"
            )
    };
    map.iter()
        .filter(|(key, _)| ours(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
