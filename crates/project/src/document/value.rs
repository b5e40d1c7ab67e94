//! Values of YAML and JSON files, with the text of every scalar as it stands there.
//!
//! Readers of YAML disagree about what a scalar without quotes is: `1.10` is 1.1 to most, `no` is false or a country, `017` is 15
//! or 17. Where a name, a version or a password is wanted, what its owner wrote is the only reading that surprises nobody, so
//! both are kept.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde_json::Number;

/// A value of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// A list.
    Array(Vec<Self>),
    /// Nothing, whichever way it is written.
    #[default]
    Null,
    /// Keys, as text, and their values, in the order of the file.
    Object(Object),
    /// A number or a truth value.
    Scalar(Scalar),
    /// Text.
    String(String),
}

/// The keys of an object and their values.
pub type Object = IndexMap<String, Value>;

/// A scalar that is something else than text: what it is, and how it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    text: Box<str>,
    kind: Kind,
}

/// What a scalar is.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Bool(bool),
    /// `None`: infinite, or not a number, which JSON has no word for.
    Number(Option<Number>),
}

impl Value {
    /// A scalar without quotes in YAML: a null, a truth value or a number, or else text.
    pub(super) fn plain(text: Cow<'_, str>) -> Self {
        if is_null(&text) {
            return Self::Null;
        }
        match truth(&text)
            .map(Kind::Bool)
            .or_else(|| number(&text).map(Kind::Number))
        {
            Some(kind) => Self::scalar(&text, kind),
            None => Self::String(text.into_owned()),
        }
    }

    /// A truth value for certain; text where it is none.
    pub(super) fn truth(text: Cow<'_, str>) -> Self {
        match truth(text.trim()) {
            Some(truth) => Self::scalar(&text, Kind::Bool(truth)),
            None => Self::String(text.into_owned()),
        }
    }

    /// A number for certain; text where it is none.
    pub(super) fn number(text: Cow<'_, str>) -> Self {
        match number(text.trim()) {
            Some(number) => Self::scalar(&text, Kind::Number(number)),
            None => Self::String(text.into_owned()),
        }
    }

    /// A scalar of JSON that is no text.
    pub(super) fn literal(text: &str) -> Self {
        match text {
            "null" => Self::Null,
            "true" => Self::scalar(text, Kind::Bool(true)),
            "false" => Self::scalar(text, Kind::Bool(false)),
            _ => Self::scalar(text, Kind::Number(number(text).flatten())),
        }
    }

    fn scalar(text: &str, kind: Kind) -> Self {
        let text = text.into();
        Self::Scalar(Scalar { text, kind })
    }

    /// The value of a key, if this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    /// An explicit null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// An object, empty or not.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.as_object().is_some()
    }

    /// The items, if this is a list.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            Self::Null | Self::Object(_) | Self::Scalar(_) | Self::String(_) => None,
        }
    }

    /// The keys and values, if this is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Array(_) | Self::Null | Self::Scalar(_) | Self::String(_) => None,
        }
    }

    /// The keys and values, if this is an object.
    pub(crate) fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Array(_) | Self::Null | Self::Scalar(_) | Self::String(_) => None,
        }
    }

    /// Text that is nothing else to any reader. Where text is wanted, [`Self::text`] is what to ask.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Array(_) | Self::Null | Self::Object(_) | Self::Scalar(_) => None,
        }
    }

    /// The text of a scalar as written: `1.10`, `no`, `0x10`. Nothing of a null, a list or an object.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Scalar(scalar) => Some(&scalar.text),
            Self::Array(_) | Self::Null | Self::Object(_) => None,
        }
    }

    /// A truth value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.kind()? {
            Kind::Bool(truth) => Some(*truth),
            Kind::Number(_) => None,
        }
    }

    /// A whole number.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// A whole number that is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    fn as_number(&self) -> Option<&Number> {
        match self.kind()? {
            Kind::Number(number) => number.as_ref(),
            Kind::Bool(_) => None,
        }
    }

    fn kind(&self) -> Option<&Kind> {
        match self {
            Self::Scalar(scalar) => Some(&scalar.kind),
            Self::Array(_) | Self::Null | Self::Object(_) | Self::String(_) => None,
        }
    }

    /// What to tell the owner of a text that others may read as another one: as number or truth value it has another text. The text
    /// is not repeated, for it may be a password.
    #[must_use]
    pub fn ambiguity(&self) -> Option<&'static str> {
        match self.kind()? {
            Kind::Bool(truth) if self.text() == Some(if *truth { "true" } else { "false" }) => None,
            Kind::Bool(_) => {
                Some("taken as written; other readers may make true or false of it: put quotes around it")
            }
            Kind::Number(Some(number)) if self.is_common(number) => None,
            Kind::Number(_) => {
                Some("taken as written; other readers may make another number of it: put quotes around it")
            }
        }
    }

    /// Every reader writes the number as it stands there. A fraction of zero is dropped by many.
    fn is_common(&self, number: &Number) -> bool {
        let text = self.text().unwrap_or_default();
        number.to_string() == text && !text.ends_with(".0")
    }

    /// The value without the text of its scalars. What is infinite or not a number becomes null.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Array(items) => items.iter().map(Self::to_json).collect(),
            Self::Null => serde_json::Value::Null,
            Self::Object(object) => object
                .iter()
                .map(|(key, value)| (key.clone(), value.to_json()))
                .collect(),
            Self::Scalar(Scalar { kind, .. }) => match kind {
                Kind::Bool(truth) => serde_json::Value::Bool(*truth),
                Kind::Number(number) => number.clone().map_or_else(Default::default, Into::into),
            },
            Self::String(text) => serde_json::Value::String(text.clone()),
        }
    }
}

/// What was built and never written: scalars stand as JSON writes them.
impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(object) => Self::Object(
                object
                    .into_iter()
                    .map(|(key, value)| (key, Self::from(value)))
                    .collect(),
            ),
            serde_json::Value::String(text) => Self::String(text),
            scalar => Self::literal(&scalar.to_string()),
        }
    }
}

/// A null in YAML (YAML 1.2.2 section 10.3.2).
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// A truth value of YAML 1.1, in any case: the readers that real files were written for know these words.
fn truth(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "yes", "y", "on"]) {
        Some(true)
    } else if is(&["false", "no", "n", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// A number: whole, or a float that JSON may have no word for. Zeros in front make a float of a whole number, which then is none
/// where a count is wanted: to some readers it would be octal.
fn number(text: &str) -> Option<Option<Number>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Some(whole) = whole(unsigned, text.starts_with('-')) {
        return Some(Some(whole));
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Some(None);
    }
    text.parse().ok().map(Number::from_f64)
}

/// Decimal, `0x`, `0o` or `0b`, with single underscores between digits.
fn whole(unsigned: &str, negative: bool) -> Option<Number> {
    let (radix, digits) = match unsigned.split_at_checked(2) {
        Some(("0x" | "0X", digits)) => (16, digits),
        Some(("0o" | "0O", digits)) => (8, digits),
        Some(("0b" | "0B", digits)) => (2, digits),
        _ if unsigned.len() > 1 && unsigned.starts_with('0') => return None,
        _ => (10, unsigned),
    };
    let group = |group: &str| !group.is_empty() && group.chars().all(|c| c.is_digit(radix));
    if !digits.split('_').all(group) {
        return None;
    }
    let magnitude = u64::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    if negative {
        0_i64.checked_sub_unsigned(magnitude).map(Number::from)
    } else {
        Some(Number::from(magnitude))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars() {
        let cases = [
            ("", json!(null)),
            ("~", json!(null)),
            ("NULL", json!(null)),
            ("nULL", json!("nULL")),
            ("yes", json!(true)),
            ("N", json!(false)),
            ("oFF", json!(false)),
            ("yess", json!("yess")),
            ("12345", json!(12345)),
            ("+7", json!(7)),
            ("-0", json!(0)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("18446744073709551615", json!(u64::MAX)),
            ("18446744073709551616", json!(18_446_744_073_709_551_616_f64)),
            ("0x1F", json!(31)),
            ("-0o17", json!(-15)),
            ("0b101", json!(5)),
            ("0x", json!("0x")),
            ("0x-1", json!("0x-1")),
            ("1_000", json!(1000)),
            ("1__0", json!("1__0")),
            ("1_", json!("1_")),
            ("007", json!(7.0)),
            ("08", json!(8.0)),
            ("1.10", json!(1.1)),
            (".5", json!(0.5)),
            ("-1e3", json!(-1000.0)),
            ("1.0.0", json!("1.0.0")),
            ("+", json!("+")),
            ("--1", json!("--1")),
            (".", json!(".")),
            (".inf", json!(null)),
            ("-.Inf", json!(null)),
            ("1e999", json!(null)),
            ("inf", json!("inf")),
            ("nan", json!("nan")),
            ("2020-01-01", json!("2020-01-01")),
            ("1:30", json!("1:30")),
            ("ä", json!("ä")),
        ];
        for (text, want) in cases {
            let value = Value::plain(text.into());
            assert_eq!(value.to_json(), want, "{text}");
            let is_nothing = is_null(text);
            assert_eq!(value.text(), Some(text).filter(|_| !is_nothing), "{text}");
        }
    }

    #[test]
    fn texts_that_others_read_otherwise() {
        let cases = [
            ("12345", false),
            ("2.5", false),
            ("-1", false),
            ("true", false),
            ("words", false),
            ("~", false),
            ("1.10", true),
            ("1.0", true),
            ("007", true),
            ("0x10", true),
            ("1_000", true),
            ("+1", true),
            ("1e3", true),
            (".inf", true),
            ("18446744073709551616", true),
            ("y", true),
            ("no", true),
            ("True", true),
        ];
        for (text, want) in cases {
            assert_eq!(Value::plain(text.into()).ambiguity().is_some(), want, "{text}");
        }
    }

    #[test]
    fn what_was_built_is_written_as_json() {
        let value = json!({"a": [1, -2, 1.5, true, null, "x"], "b": {}});
        let built = Value::from(value.clone());
        assert_eq!(built.to_json(), value);
        let texts = built.get("a").and_then(Value::as_array).unwrap_or_default();
        let texts: Vec<Option<&str>> = texts.iter().map(Value::text).collect();
        let want = [Some("1"), Some("-2"), Some("1.5"), Some("true"), None, Some("x")];
        assert_eq!(texts, want);
    }
}
