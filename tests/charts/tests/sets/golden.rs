//! Golden outputs: that of the default values whole, of every other set what it changes. Both helms have the same.
//!
//! Written anew with `UPDATE_GOLDEN=1 cargo test -p trireme-charts`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use similar::TextDiff;
use trireme_charts::{chart, text};

use super::Rendered;

#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the tests, no product setting"
)]
pub(crate) fn compare(rendered: &Rendered, default: &Rendered) {
    let text = if rendered.set == default.set {
        objects(rendered)
            .into_iter()
            .fold(String::new(), |mut text, (name, object)| {
                write!(text, "# {name}\n{object}---\n").unwrap();
                text
            })
    } else {
        changes(rendered, default)
    };
    let file = chart().join("ci/golden").join(format!("{}.txt", rendered.set));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    let diff = TextDiff::from_lines(&golden, &text);
    assert!(
        golden == text,
        "{}:\n{}",
        file.display(),
        diff.unified_diff().context_radius(2)
    );
}

fn changes(rendered: &Rendered, default: &Rendered) -> String {
    let (before, mut after) = (objects(default), objects(rendered));
    let mut text = String::new();
    for (name, old) in &before {
        let found: Vec<String> = after.keys().filter(|key| base(key) == *name).cloned().collect();
        if found.is_empty() {
            writeln!(text, "gone: {name}").unwrap();
        }
        for key in found {
            let new = after.remove(&key).unwrap_or_default();
            if *old != new {
                let diff = TextDiff::from_lines(old, &new);
                write!(text, "changed: {key}\n{}", diff.unified_diff().context_radius(1)).unwrap();
            }
        }
    }
    for (name, object) in after {
        write!(text, "new: {name}\n{object}").unwrap();
    }
    text
}

/// The name without the environment, by which it is compared with the default's.
fn base(key: &str) -> String {
    key.replace("~-eu-", "~-").replace("~-us-", "~-")
}

/// Objects by kind and name, as YAML. What is made anew each time is hidden, and what all names begin with is `~`.
fn objects(rendered: &Rendered) -> BTreeMap<String, String> {
    let full = rendered
        .values
        .lines()
        .find_map(|line| line.strip_prefix("fullnameOverride: "));
    let full = full.filter(|name| *name != "\"\"").unwrap_or("r-choreo-connect");
    // Long ones are cut, so that what follows fits.
    let short = |text: &str| {
        let cut = (16..=full.len()).rev().filter_map(|length| full.get(..length));
        cut.filter(|cut| !cut.ends_with('-'))
            .fold(text.to_owned(), |text, cut| text.replace(cut, "~"))
    };
    rendered
        .objects
        .iter()
        .map(|object| {
            let mut object = object.clone();
            if text(&object, "/kind") == "Secret" {
                for value in object["data"]
                    .as_object_mut()
                    .into_iter()
                    .flat_map(|data| data.values_mut())
                {
                    *value = Value::from("hidden");
                }
            }
            // The same in all of them, and in the default's golden output.
            if let Some(labels) = object
                .pointer_mut("/metadata/labels")
                .and_then(Value::as_object_mut)
            {
                labels.retain(|label, _| label == "gateway-environment" || label == "release");
            }
            let name = short(text(&object, "/metadata/name"));
            let key = format!("{} {name}", text(&object, "/kind"));
            (key, short(&yaml_serde::to_string(&object).unwrap()))
        })
        .collect()
}
