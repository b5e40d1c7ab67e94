//! Facts of `api.yaml` for a definition that comes without one.

use crate::document::diagnostic::{Findings, Pointer};
use crate::document::tree;
use crate::document::value::Value;
use crate::model::Identity;
use crate::model::id;
use crate::source::layout::file_name;

/// Longest name the management interface can remove again.
const MAX_NAME: usize = 255;

/// What `apictl init` gives an API without a version.
const DEFAULT_VERSION: &str = "1.0.0";

/// Name and version from `info`, as written; without them from the file's name, and `1.0.0`.
pub(crate) fn name_and_version(
    root: &Value,
    file: &str,
    findings_file: &str,
    findings: &mut Findings,
) -> (String, String) {
    let info = Pointer::Root.key("info");
    let mut tidy = |key, default: String| {
        let value = root.get("info").and_then(|info| info.get(key));
        let text = value.and_then(|value| tree::text(value, findings_file, &info.key(key), findings));
        let text = one_line(text.unwrap_or_default());
        if text.is_empty() {
            findings.warning(
                findings_file,
                &info.key(key),
                format!("not given: {default} is used"),
            );
            return default;
        }
        text
    };
    let stem = file_name(file)
        .rsplit_once('.')
        .map_or(file_name(file), |(stem, _)| stem);
    let stem = one_line(stem);
    let name = tidy("title", if stem.is_empty() { "api".to_owned() } else { stem });
    let version = tidy("version", DEFAULT_VERSION.to_owned());
    // Blanks in a version would end up in paths; `apictl` drops them as well.
    (name, version.replace(' ', ""))
}

/// Blanks and control characters as single blanks, at most [`MAX_NAME`] characters.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words
        .join(" ")
        .chars()
        .take(MAX_NAME)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// `/title/version` in lower case, everything but letters and digits (and dots in the version) as dashes.
pub(crate) fn base_path(identity: &Identity) -> String {
    let context = context(identity);
    let version = slug(&identity.version, true);
    if version.is_empty() {
        context
    } else {
        format!("{context}/{version}")
    }
}

/// The base path without the version. A name without a single Latin letter or digit gives a part of its digest.
pub(crate) fn context(identity: &Identity) -> String {
    let name = slug(&identity.name, false);
    if name.is_empty() {
        let digest = id::digest(&identity.name, &identity.version);
        return format!("/api-{}", digest.get(..8).unwrap_or_default());
    }
    format!("/{name}")
}

fn slug(text: &str, dots: bool) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || (dots && c == '.') {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let trimmed = out.trim_matches(['-', '.']);
    trimmed.replace("..", ".")
}

/// Longest base path, in bytes: it stands in every route of the API.
const MAX_BASE_PATH: usize = 4_096;

/// [`is_base_path`] in words.
pub(crate) const BASE_PATH_RULE: &str = "must start with / and have only letters, digits and ~ / _ . -";

/// Starts with `/`, then letters, digits and `~ / _ . -`; no step is `.`, `..` or, but for the end, empty, which no request
/// could carry.
pub(crate) fn is_base_path(path: &str) -> bool {
    path.len() <= MAX_BASE_PATH
        && path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"~/_.-".contains(&byte))
        && !path.contains("//")
        && !path.split('/').any(|step| matches!(step, "." | ".."))
}
