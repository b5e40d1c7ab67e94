//! Local `$ref`s.

use crate::document::SKIPPED;
use crate::document::value::Value;

/// A chain longer than this is refused as circular would be; real ones have one or two links.
const MAX_CHAIN: usize = 64;

/// Why a `$ref` leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenRef {
    /// The chain comes back to itself.
    #[error("circular $ref {0}")]
    Circular(String),
    /// Nothing is at the place it names.
    #[error("$ref {0} leads nowhere")]
    Dangling(String),
    /// It names another file or a URL.
    #[error("$ref {0} leads out of the file; only references within it are followed")]
    External(String),
    /// It is not text.
    #[error("$ref must be text")]
    Form,
}

/// Follows the `$ref` of `value` to its end and returns every object on the way, `value` first: what an object says wins over
/// what it refers to. A value without `$ref` is its own end.
pub(crate) fn layers<'a>(root: &'a Value, value: &'a Value) -> Result<Vec<&'a Value>, BrokenRef> {
    let mut layers = vec![value];
    let mut current = value;
    while let Some(target) = current.get("$ref") {
        let Value::String(target) = target else {
            return Err(BrokenRef::Form);
        };
        let Some(fragment) = target.strip_prefix('#') else {
            return Err(BrokenRef::External(target.clone()));
        };
        current = lookup(root, fragment).ok_or_else(|| BrokenRef::Dangling(target.clone()))?;
        if layers.len() >= MAX_CHAIN || layers.iter().any(|seen| std::ptr::eq(*seen, current)) {
            return Err(BrokenRef::Circular(target.clone()));
        }
        layers.push(current);
    }
    Ok(layers)
}

/// What a reference within the document names.
pub(crate) fn target<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    lookup(root, reference.strip_prefix('#')?)
}

/// The value at a JSON pointer in its URI fragment form. A part of the document that was skipped in reading stands for everything below it.
fn lookup<'a>(root: &'a Value, fragment: &str) -> Option<&'a Value> {
    if fragment.is_empty() {
        return Some(root);
    }
    let mut current = root;
    for step in fragment.strip_prefix('/')?.split('/') {
        if current.as_str() == Some(SKIPPED) {
            return Some(current);
        }
        let step = percent_decode(step)?.replace("~1", "/").replace("~0", "~");
        current = match current {
            Value::Object(map) => map.get(&step)?,
            Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
            Value::Null | Value::Scalar(_) | Value::String(_) => return None,
        };
    }
    Some(current)
}

fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn chains() {
        let root = json!({
            "a": {"$ref": "#/b", "x": 1},
            "b": {"$ref": "#/c~1d/0"},
            "c/d": [{"end": true}],
            "loop": {"$ref": "#/pool"},
            "pool": {"$ref": "#/loop"},
            "self": {"$ref": "#/self"},
            "all": {"$ref": "#"},
            "into": {"$ref": "#/skipped/any/thing"},
            "skipped": SKIPPED,
            "{p}": {"found": 1},
            "percent": {"$ref": "#/%7Bp%7D"},
            "bad": {"$ref": 3},
            "none": {"$ref": "#/nothing"},
            "text": {"$ref": "#/bad/$ref/x"},
            "anchor": {"$ref": "#name"},
            "cut": {"$ref": "#/%7"},
            "out": {"$ref": "other.yaml#/a"},
        });
        let root = Value::from(root);
        let cases: [(&str, Result<usize, BrokenRef>); 14] = [
            ("a", Ok(3)),
            ("b", Ok(2)),
            ("c/d", Ok(1)),
            ("all", Ok(2)),
            ("into", Ok(2)),
            ("percent", Ok(2)),
            ("loop", Err(BrokenRef::Circular("#/loop".into()))),
            ("self", Err(BrokenRef::Circular("#/self".into()))),
            ("bad", Err(BrokenRef::Form)),
            ("none", Err(BrokenRef::Dangling("#/nothing".into()))),
            ("text", Err(BrokenRef::Dangling("#/bad/$ref/x".into()))),
            ("anchor", Err(BrokenRef::Dangling("#name".into()))),
            ("cut", Err(BrokenRef::Dangling("#/%7".into()))),
            ("out", Err(BrokenRef::External("other.yaml#/a".into()))),
        ];
        for (name, want) in cases {
            let got = layers(&root, root.get(name).unwrap()).map(|layers| layers.len());
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn long_chains_end() {
        let root: Value = (0..200)
            .map(|i| (i.to_string(), json!({"$ref": format!("#/{}", i + 1)})))
            .collect::<serde_json::Value>()
            .into();
        assert!(matches!(
            layers(&root, root.get("0").unwrap()),
            Err(BrokenRef::Circular(_))
        ));
    }

    proptest::proptest! {
        #[test]
        fn any_graph_is_followed_to_its_end(targets in proptest::collection::vec(0_usize..12, 8)) {
            // Node i refers to node targets[i]; numbers from 8 on stand for no reference and for a missing node.
            let node = |target: &usize| match target {
                0..8 => json!({"$ref": format!("#/{target}")}),
                8 => json!({"$ref": "#/missing"}),
                _ => json!({}),
            };
            let root: Value = targets.iter().enumerate().map(|(i, t)| (i.to_string(), node(t))).collect::<serde_json::Value>().into();
            let mut seen = vec![0];
            let want = loop {
                match targets[seen[seen.len() - 1]] {
                    next if seen.contains(&next) => break None,
                    next @ 0..8 => seen.push(next),
                    8 => break None,
                    _ => break Some(seen.len()),
                }
            };
            let got = layers(&root, root.get("0").unwrap()).map(|layers| layers.len()).ok();
            proptest::prop_assert_eq!(got, want);
        }
    }
}
