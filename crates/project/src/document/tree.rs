//! Typed looks into a parsed file; every mismatch is a finding with its pointer.

use std::collections::HashMap;

use crate::document::diagnostic::{Findings, Pointer};
use crate::document::repeated;
use crate::document::value::{Object, Value};

/// An object in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a> {
    pub(crate) file: &'a str,
    pub(crate) pointer: Pointer<'a>,
    pub(crate) map: &'a Object,
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

    /// As [`Self::any_case`], and tells of keys that differ in nothing but their case: one of them has no effect.
    pub(crate) fn any_case_told(self, findings: &mut Findings) -> Self {
        let mut seen: HashMap<String, (&str, &Value)> = HashMap::with_capacity(self.map.len());
        for (key, value) in self.map {
            let Some((first, other)) = seen.insert(key.to_ascii_lowercase(), (key, value)) else {
                continue;
            };
            let pointer = self.pointer.key(key);
            if repeated::is_guard(key) && value != other {
                let message = format!(
                    "key is given as {first} too, and what is said of who may call differs: keep one of them"
                );
                findings.refusal(self.file, &pointer, message);
            } else {
                findings.warning(
                    self.file,
                    &pointer,
                    format!("key is given as {first} too: keep one of them"),
                );
            }
        }
        self.any_case()
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

    /// Text, as written.
    pub(crate) fn text(&self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        let (key, value) = self.entry(key)?;
        let pointer = self.pointer.key(key);
        let text = text(value, self.file, &pointer, findings);
        if text.is_none() {
            findings.error(self.file, &pointer, "must be text");
        }
        text
    }

    /// Text, as written, where lists and objects have no effect but a warning.
    pub(crate) fn text_or_warn(&self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        let (key, value) = self.entry(key)?;
        let pointer = self.pointer.key(key);
        let text = text(value, self.file, &pointer, findings);
        if text.is_none() {
            findings.warning(self.file, &pointer, "ignored: must be text");
        }
        text
    }

    /// Text that is nothing else to any reader, where another type has no effect but a warning.
    pub(crate) fn certain_text_or_warn(&self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        let (key, value) = self.entry(key)?;
        if value.as_str().is_none() {
            findings.warning(self.file, &self.pointer.key(key), "ignored: must be text");
        }
        value.as_str()
    }

    /// A truth value, in quotes or not.
    pub(crate) fn flag(&self, key: &str, findings: &mut Findings) -> Option<bool> {
        let (key, value) = self.entry(key)?;
        let quoted = value
            .as_str()
            .and_then(|text| text.to_ascii_lowercase().parse().ok());
        let flag = value.as_bool().or(quoted);
        if flag.is_none() {
            findings.error(self.file, &self.pointer.key(key), "must be true or false");
        }
        flag
    }

    /// A flag, where another type, text included, has no effect but a warning.
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
            let pointer = pointer.index(index);
            match text(item, self.file, &pointer, findings) {
                Some(text) => texts.push(text.to_owned()),
                None => findings.error(self.file, &pointer, "must be text"),
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

/// The text of a scalar as written, and a warning where other readers may see another one.
pub(crate) fn text<'v>(
    value: &'v Value,
    file: &str,
    pointer: &Pointer<'_>,
    findings: &mut Findings,
) -> Option<&'v str> {
    if let Some(told) = value.ambiguity() {
        findings.warning(file, pointer, told);
    }
    value.text()
}
