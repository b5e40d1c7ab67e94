//! `additionalProperties` and `additionalPropertiesMap` of `api.yaml`: what an owner adds to an API in the portals of API Manager.
//!
//! Releases write them in different ways: a list of `{name, value}`, an object of values, an object of `{name, value}`. Nobody
//! here minds what else they hold.

use std::collections::BTreeSet;

use crate::document::diagnostic::{Findings, Pointer};
use crate::document::tree::Section;
use crate::document::value::Value;
use crate::model::ambiguous::AmbiguousPath;

/// Kinds of paths with two readings that the API takes, here and at the root of a definition, which goes before.
pub(crate) const AMBIGUOUS_PATHS: &str = "x-wso2-allow-ambiguous-path";

/// [`AMBIGUOUS_PATHS`]: names with commas between them, or a list. An empty text is none.
pub(super) fn ambiguous_paths(
    data: &Section<'_>,
    findings: &mut Findings,
) -> Option<BTreeSet<AmbiguousPath>> {
    let mut said: Option<BTreeSet<AmbiguousPath>> = None;
    for key in ["additionalProperties", "additionalPropertiesMap"] {
        let Some((key, properties)) = data.entry(key) else {
            continue;
        };
        let pointer = data.pointer.key(key);
        each(properties, &pointer, &mut |value, pointer| {
            let read = read(data.file, pointer, value, findings);
            // API Manager writes each property in both forms.
            if let (Some(said), Some(read)) = (&said, &read)
                && said != read
            {
                let message = format!("{AMBIGUOUS_PATHS} is given twice, with another value");
                findings.refusal(data.file, pointer, message);
            }
            if let Some(read) = read {
                said.get_or_insert(read);
            }
        });
    }
    said
}

/// Visits the value of each property of that name.
fn each(properties: &Value, pointer: &Pointer<'_>, visit: &mut dyn FnMut(&Value, &Pointer<'_>)) {
    let is_ours = |name: &str| name.eq_ignore_ascii_case(AMBIGUOUS_PATHS);
    match properties {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let named = item.get("name").and_then(Value::as_str).is_some_and(is_ours);
                if let (true, Some(value)) = (named, item.get("value")) {
                    visit(value, &pointer.index(index).key("value"));
                }
            }
        }
        Value::Object(map) => {
            for (name, value) in map.iter().filter(|(name, _)| is_ours(name)) {
                let place = pointer.key(name);
                match value.get("value") {
                    Some(inner) => visit(inner, &place.key("value")),
                    None => visit(value, &place),
                }
            }
        }
        Value::Null | Value::Scalar(_) | Value::String(_) => {}
    }
}

fn read(
    file: &str,
    pointer: &Pointer<'_>,
    value: &Value,
    findings: &mut Findings,
) -> Option<BTreeSet<AmbiguousPath>> {
    if value.is_null() {
        return None;
    }
    if let Some(items) = value.as_array() {
        return Some(kinds(file, pointer, items, findings));
    }
    let Some(text) = value.as_str() else {
        findings.refusal(file, pointer, "must be names of kinds with commas between them");
        return None;
    };
    let mut all = BTreeSet::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match AmbiguousPath::named(name) {
            Ok(kind) => drop(all.insert(kind)),
            Err(fault) => findings.refusal(file, pointer, fault),
        }
    }
    Some(all)
}

/// The kinds of a list.
pub(crate) fn kinds(
    file: &str,
    list: &Pointer<'_>,
    items: &[Value],
    findings: &mut Findings,
) -> BTreeSet<AmbiguousPath> {
    let mut all = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let kind = item.as_str().ok_or_else(|| "must be text".to_owned());
        match kind.and_then(AmbiguousPath::named) {
            Ok(kind) => drop(all.insert(kind)),
            Err(fault) => findings.refusal(file, &list.index(index), fault),
        }
    }
    all
}
