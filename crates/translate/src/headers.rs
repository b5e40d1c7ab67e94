//! `x-trireme-headers` of the definition, and of its paths, to changes of headers that routes make:
//!
//! ```yaml
//! x-trireme-headers:
//!   request:
//!     add: { X-Via: [ a, b ] }        # beside what is there
//!     set: { X-Tenant: acme }         # instead of what is there
//!     setIfAbsent: { X-Plan: free }
//!     setIfPresent: { X-Debug: "0" }
//!     remove: [ X-Internal ]          # comes first
//!   response: { remove: [ X-Powered-By ] }
//! ```
//!
//! What a path says of a header holds there instead of what the definition says of the same header in the same direction.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use trireme_project::{ApiProject, Extensions, Object, Resource, Value, pointer_token};
use trireme_routing::snapshot::{Change, Changes, Headers, Mode};

use crate::findings::{DEFINITION, Findings};

const EXTENSION: &str = "x-trireme-headers";
const MODES: [(&str, Mode); 4] = [
    ("add", Mode::Append),
    ("set", Mode::Overwrite),
    ("setIfAbsent", Mode::AddIfAbsent),
    ("setIfPresent", Mode::OverwriteIfPresent),
];
const REMOVE: &str = "remove";
/// Changes in one direction, of one definition or of one path. A message holds some 32,000 headers at most.
const MAX_CHANGES: usize = 100;
/// Bytes of one value: what common servers accept in one line.
const MAX_VALUE: usize = 8192;

/// Refuses what can't be read.
pub(crate) fn refuse(project: &ApiProject, findings: &mut Findings) {
    read(&project.extensions, "", findings);
    for resource in &project.resources {
        let pointer = pointer(resource);
        read(&resource.extensions, &pointer, findings);
        let mut operations = resource.operations.iter();
        if operations.any(|operation| operation.extensions.contains_key(EXTENSION)) {
            findings.refuse(
                DEFINITION,
                &pointer,
                &format!("{EXTENSION} of an operation: headers are changed by path, for all its operations"),
            );
        }
    }
}

/// The changes of one resource.
pub(crate) fn of(project: &ApiProject, resource: &Resource) -> Option<Arc<Headers>> {
    let refused = &mut Findings::default();
    let general = read(&project.extensions, "", refused);
    let own = read(&resource.extensions, "", refused);
    let headers = Headers {
        request: merged(general.request, &own.request),
        response: merged(general.response, &own.response),
    };
    (!headers.is_empty()).then(|| Arc::new(headers))
}

fn read(extensions: &Extensions, pointer: &str, findings: &mut Findings) -> Headers {
    let mut headers = Headers::default();
    let Some(value) = extensions.get(EXTENSION) else {
        return headers;
    };
    let pointer = format!("{pointer}/{EXTENSION}");
    for (key, value) in object(value, &pointer, findings).into_iter().flatten() {
        let pointer = format!("{pointer}/{}", pointer_token(key));
        match key.as_str() {
            "request" => headers.request = changes(value, &pointer, findings),
            "response" => headers.response = changes(value, &pointer, findings),
            _ => findings.refuse(DEFINITION, &pointer, "must be request or response"),
        }
    }
    headers
}

/// The general changes but for headers that the own ones speak of, then the own ones.
fn merged(mut general: Changes, own: &Changes) -> Changes {
    let spoken =
        |name: &HeaderName| own.remove.contains(name) || own.set.iter().any(|change| change.name == *name);
    general.remove.retain(|name| !spoken(name));
    general.set.retain(|change| !spoken(&change.name));
    general.remove.extend(own.remove.iter().cloned());
    general.set.extend(own.set.iter().cloned());
    general
}

fn changes(value: &Value, pointer: &str, findings: &mut Findings) -> Changes {
    let mut changes = Changes::default();
    // Which change there is of a header: of two, the order would decide, which no object has.
    let mut said: Vec<(HeaderName, &str)> = Vec::new();
    for (key, value) in object(value, pointer, findings).into_iter().flatten() {
        let pointer = format!("{pointer}/{}", pointer_token(key));
        if key == REMOVE {
            changes.remove = names(value, &pointer, findings);
            let removed = std::mem::take(&mut changes.remove);
            for name in removed {
                if changes.remove.contains(&name) {
                    findings.refuse(DEFINITION, &pointer, &format!("{name} is given twice"));
                } else {
                    changes.remove.push(name);
                }
            }
        } else if let Some((_, mode)) = MODES.iter().find(|(known, _)| known == key) {
            for (name, value) in object(value, &pointer, findings).into_iter().flatten() {
                let pointer = format!("{pointer}/{}", pointer_token(name));
                let Some(name) = checked(name, &pointer, findings) else {
                    continue;
                };
                if let Some((_, other)) = said.iter().find(|(known, _)| *known == name) {
                    let message = match *other == key.as_str() {
                        true => format!("{name} is given twice"),
                        false => format!("{name} is changed by {other} as well: one change of a header"),
                    };
                    findings.refuse(DEFINITION, &pointer, &message);
                    continue;
                }
                said.push((name.clone(), key));
                let values = match value {
                    Value::Array(values) if *mode == Mode::Append && !values.is_empty() => {
                        values.iter().collect()
                    }
                    value => vec![value],
                };
                changes.set.extend(values.into_iter().filter_map(|value| {
                    let value = text(value, &pointer, findings)?;
                    let (name, mode) = (name.clone(), *mode);
                    Some(Change {
                        name,
                        value: value.into(),
                        mode,
                    })
                }));
            }
        } else {
            findings.refuse(
                DEFINITION,
                &pointer,
                "must be add, set, setIfAbsent, setIfPresent or remove",
            );
        }
    }
    if changes.set.len() + changes.remove.len() > MAX_CHANGES {
        findings.refuse(DEFINITION, pointer, &format!("more than {MAX_CHANGES} changes"));
        return Changes::default();
    }
    changes
}

fn object<'a>(value: &'a Value, pointer: &str, findings: &mut Findings) -> Option<&'a Object> {
    let object = value.as_object();
    if object.is_none() {
        findings.refuse(DEFINITION, pointer, "must be an object");
    }
    object
}

fn names(value: &Value, pointer: &str, findings: &mut Findings) -> Vec<HeaderName> {
    let Some(list) = value.as_array() else {
        findings.refuse(DEFINITION, pointer, "must be a list of names");
        return Vec::new();
    };
    let names = list.iter().enumerate().filter_map(|(index, name)| {
        let name = name.text().unwrap_or_default();
        checked(name, &format!("{pointer}/{index}"), findings)
    });
    names.collect()
}

fn checked(name: &str, pointer: &str, findings: &mut Findings) -> Option<HeaderName> {
    let Ok(name) = HeaderName::try_from(name) else {
        findings.refuse(DEFINITION, pointer, "not the name of a header");
        return None;
    };
    if !Headers::may_change(&name) {
        findings.refuse(
            DEFINITION,
            pointer,
            &format!("{name} frames messages or steers the gateway: it can't be changed"),
        );
        return None;
    }
    Some(name)
}

/// Scalars as written, without the blanks at their ends, which belong to no value (RFC 9110 section 5.5).
fn text(value: &Value, pointer: &str, findings: &mut Findings) -> Option<HeaderValue> {
    let Some(text) = value.text() else {
        findings.refuse(DEFINITION, pointer, "must be a text");
        return None;
    };
    if let Some(told) = value.ambiguity() {
        findings.warn_at(DEFINITION, pointer, told);
    }
    let text = text.trim_matches([' ', '\t']);
    if text.len() > MAX_VALUE {
        findings.refuse(DEFINITION, pointer, &format!("longer than {MAX_VALUE} bytes"));
        return None;
    }
    let value = HeaderValue::try_from(text).ok();
    if value.is_none() {
        findings.refuse(DEFINITION, pointer, "not the value of a header");
    }
    value
}

fn pointer(resource: &Resource) -> String {
    format!("/paths/{}", pointer_token(&resource.path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;
    use trireme_routing::snapshot::Text;

    #[test]
    fn values_lose_the_blanks_at_their_ends() {
        let mut findings = Findings::default();
        let value = text(&json!(" \ta b\t ").into(), "", &mut findings);
        assert_eq!(value, Some(HeaderValue::from_static("a b")));
    }

    #[test]
    fn values_are_taken_as_written() {
        for (written, want) in [
            ("1.10", "1.10"),
            ("0x10", "0x10"),
            ("007", "007"),
            ("no", "no"),
            ("100", "100"),
            ("' 1.0 '", "1.0"),
        ] {
            let definition = testing::DEFINITION.replace(
                "paths:",
                &format!("x-trireme-headers: {{ request: {{ set: {{ X-A: {written} }} }} }}\npaths:"),
            );
            let project = testing::read(testing::API, &definition, &[]).project;
            let mut findings = Findings::default();
            let headers = read(&project.extensions, "", &mut findings);
            let values: Vec<&Text> = headers.request.set.iter().map(|change| &change.value).collect();
            assert_eq!(values, [&Text::from(HeaderValue::from_static(want))], "{written}");
            let told: Vec<String> = findings.found.iter().map(ToString::to_string).collect();
            let noted = usize::from(!matches!(written, "100" | "' 1.0 '"));
            assert_eq!(told.len(), noted, "{told:?}");
            let place =
                "warning: Definitions/swagger.yaml#/x-trireme-headers/request/set/X-A: taken as written; ";
            assert!(told.iter().all(|told| told.starts_with(place)), "{told:?}");
        }
    }

    #[test]
    fn changes_are_bounded_in_number_and_size() {
        let many =
            |count: usize| json!({"remove": Vec::from_iter((0..count).map(|number| format!("a{number}")))});
        for (value, kept) in [
            (many(MAX_CHANGES), MAX_CHANGES),
            (many(MAX_CHANGES + 1), 0),
            (json!({"add": {"a": "x".repeat(MAX_VALUE)}}), 1),
            (json!({"add": {"a": "x".repeat(MAX_VALUE + 1)}}), 0),
        ] {
            let mut findings = Findings::default();
            let changes = changes(&value.into(), "/x", &mut findings);
            assert_eq!(changes.remove.len() + changes.set.len(), kept);
            assert_eq!(findings.refused, kept == 0);
        }
    }

    #[test]
    fn one_change_of_a_header() {
        let cases = [
            (
                json!({"add": {"x": "2"}, "set": {"X": "1"}}),
                "x is changed by add as well: one change of a header",
            ),
            (json!({"set": {"X": "1", "x": "2"}}), "x is given twice"),
            (json!({"remove": ["a", "A"]}), "a is given twice"),
            (json!({"add": {"X": []}}), "must be a text"),
            (
                json!({"set": {"Server": "x"}}),
                "server frames messages or steers the gateway: it can't be changed",
            ),
            (json!({"remove": ["x"], "add": {"x": ["1", "2"]}}), ""),
        ];
        for (value, want) in cases {
            let mut findings = Findings::default();
            changes(&value.clone().into(), "", &mut findings);
            let messages: Vec<&str> = findings.found.iter().map(|finding| &*finding.message).collect();
            assert_eq!(
                messages,
                Vec::from_iter(Some(want).filter(|want| !want.is_empty())),
                "{value}"
            );
        }
    }
}
