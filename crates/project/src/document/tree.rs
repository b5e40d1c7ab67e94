//! Typed looks into a parsed file; every mismatch is a finding with its pointer.

use serde_json::{Map, Value};

use crate::document::diagnostic::{Findings, Pointer};

/// An object in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a> {
    pub(crate) file: &'a str,
    pub(crate) pointer: Pointer<'a>,
    pub(crate) map: &'a Map<String, Value>,
    /// Keys match in any case, as in `api.yaml` (exact matches first).
    pub(crate) any_case: bool,
}

impl<'a> Section<'a> {
    /// The value as an object, or a finding.
    pub(crate) fn new(
        file: &'a str,
        pointer: Pointer<'a>,
        value: &'a Value,
        findings: &mut Findings,
    ) -> Option<Self> {
        let Value::Object(map) = value else {
            findings.error(file, &pointer, "must be an object");
            return None;
        };
        Some(Self {
            file,
            pointer,
            map,
            any_case: false,
        })
    }

    pub(crate) fn any_case(self) -> Self {
        Self {
            any_case: true,
            ..self
        }
    }

    /// Key as written and value; an explicit null is as good as nothing.
    pub(crate) fn entry(&self, key: &str) -> Option<(&'a str, &'a Value)> {
        let exact = self.map.get_key_value(key);
        let found = match exact {
            None if self.any_case => self.map.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)),
            other => other,
        };
        found
            .map(|(key, value)| (key.as_str(), value))
            .filter(|(_, value)| !value.is_null())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.entry(key).map(|(_, value)| value)
    }

    pub(crate) fn text(&self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        let (key, value) = self.entry(key)?;
        match value {
            Value::String(text) => Some(text),
            // The value isn't repeated: `1.10` has become 1.1 by now.
            Value::Number(_) | Value::Bool(_) => {
                findings.error(
                    self.file,
                    &self.pointer.key(key),
                    "must be text: put quotes around it",
                );
                None
            }
            Value::Array(_) | Value::Null | Value::Object(_) => {
                findings.error(self.file, &self.pointer.key(key), "must be text");
                None
            }
        }
    }

    /// Text, where another type has no effect but a warning.
    pub(crate) fn text_or_warn(&self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        let (key, value) = self.entry(key)?;
        if value.as_str().is_none() {
            findings.warning(self.file, &self.pointer.key(key), "ignored: must be text");
        }
        value.as_str()
    }

    pub(crate) fn flag(&self, key: &str, findings: &mut Findings) -> Option<bool> {
        let (key, value) = self.entry(key)?;
        if value.as_bool().is_none() {
            findings.error(self.file, &self.pointer.key(key), "must be true or false");
        }
        value.as_bool()
    }

    /// A flag, where another type has no effect but a warning.
    pub(crate) fn flag_or_warn(&self, key: &str, findings: &mut Findings) -> Option<bool> {
        let (key, value) = self.entry(key)?;
        if value.as_bool().is_none() {
            findings.warning(
                self.file,
                &self.pointer.key(key),
                "ignored: must be true or false",
            );
        }
        value.as_bool()
    }

    pub(crate) fn integer(&self, key: &str, findings: &mut Findings) -> Option<i64> {
        let (key, value) = self.entry(key)?;
        if value.as_i64().is_none() {
            findings.error(self.file, &self.pointer.key(key), "must be a whole number");
        }
        value.as_i64()
    }

    /// The items of a list; absent = none.
    pub(crate) fn list(&self, key: &str, findings: &mut Findings) -> &'a [Value] {
        let Some((key, value)) = self.entry(key) else {
            return &[];
        };
        let Value::Array(items) = value else {
            findings.error(self.file, &self.pointer.key(key), "must be a list");
            return &[];
        };
        items
    }

    /// The texts of a list.
    pub(crate) fn texts(&self, key: &str, findings: &mut Findings) -> Vec<String> {
        let key = self.entry(key).map_or(key, |(key, _)| key);
        let pointer = self.pointer.key(key);
        let mut texts = Vec::new();
        for (index, item) in self.list(key, findings).iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text.clone()),
                _ => findings.error(self.file, &pointer.index(index), "must be text"),
            }
        }
        texts
    }

    /// An object below this one.
    pub(crate) fn section<'b>(&'b self, key: &'b str, findings: &mut Findings) -> Option<Section<'b>> {
        let (key, value) = self.entry(key)?;
        let section = Section::new(self.file, self.pointer.key(key), value, findings)?;
        Some(Section {
            any_case: self.any_case,
            ..section
        })
    }
}

/// A scalar as text.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Null | Value::Object(_) => None,
    }
}
