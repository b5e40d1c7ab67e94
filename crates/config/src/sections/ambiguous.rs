//! `router.allowAmbiguousPath`.

use toml::de::DeValue;

use crate::overlay::nearest;
use crate::schema::{Leaf, Node, Refusal, Shape, mismatch, quoted, read_list};

/// A kind of path that others may take for another one, and that APIs can take all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmbiguousPath {
    /// `%25` followed by two hexadecimal digits.
    DoubleEncoding,
    /// `//`.
    EmptySegment,
    /// `%5C`.
    EncodedBackslash,
    /// `%2F`.
    EncodedSlash,
}

/// Kinds that are refused whatever is configured.
const REFUSED: [&str; 6] = [
    "backslash",
    "dot_segment",
    "encoded_control",
    "encoded_delimiter",
    "overlong_utf8",
    "path_parameter",
];

impl AmbiguousPath {
    /// Every kind, by name.
    pub const ALL: [Self; 4] = [
        Self::DoubleEncoding,
        Self::EmptySegment,
        Self::EncodedBackslash,
        Self::EncodedSlash,
    ];

    /// The name that refusals of the router have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DoubleEncoding => "double_encoding",
            Self::EmptySegment => "empty_segment",
            Self::EncodedBackslash => "encoded_backslash",
            Self::EncodedSlash => "encoded_slash",
        }
    }

    /// The kind of that name; `double_slash` is [`AmbiguousPath::EmptySegment`] as well, as in definitions.
    fn named(name: &str) -> Result<Self, String> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        if let Some(kind) = kind.or((name == "double_slash").then_some(Self::EmptySegment)) {
            return Ok(kind);
        }
        if REFUSED.contains(&name) {
            return Err(format!("{name} is refused for every API and can't be allowed"));
        }
        let names = Self::ALL.map(Self::as_str);
        Err(match nearest(name, &names.map(str::to_owned)) {
            Some(near) => format!("{name:?} is no kind of ambiguous path (nearest known: {near})"),
            None => format!("{name:?} is none of {}", names.join(", ")),
        })
    }
}

impl Leaf for Vec<AmbiguousPath> {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        *self = read_list(value, |item| {
            let name = item.as_str().ok_or_else(|| mismatch("a string", item))?;
            AmbiguousPath::named(name)
        })?;
        Ok(())
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        *self = names.map(AmbiguousPath::named).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn literal(&self) -> String {
        let names: Vec<String> = self.iter().map(|kind| quoted(kind.as_str())).collect();
        format!("[{}]", names.join(", "))
    }
}

impl Node for Vec<AmbiguousPath> {
    fn shape(&mut self) -> Shape<'_> {
        Shape::Leaf(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn kinds_are_read_by_their_names() {
        for (list, want) in [
            ("[]", Ok("[]")),
            (
                "[\"encoded_slash\", \"double_slash\"]",
                Ok("[\"encoded_slash\", \"empty_segment\"]"),
            ),
            ("\"encoded_slash\"", Err("expected an array, found string")),
            ("[7]", Err("element 0: expected a string, found integer")),
            (
                "[\"encoded_slash\", \"encoded-slash\"]",
                Err(
                    "element 1: \"encoded-slash\" is no kind of ambiguous path (nearest known: encoded_slash)",
                ),
            ),
            (
                "[\"tilde\"]",
                Err(
                    "element 0: \"tilde\" is none of double_encoding, empty_segment, encoded_backslash, encoded_slash",
                ),
            ),
            (
                "[\"dot_segment\"]",
                Err("element 0: dot_segment is refused for every API and can't be allowed"),
            ),
        ] {
            let text = format!("[router]\nallowAmbiguousPath = {list}\n");
            match want {
                Ok(want) => {
                    let mut kinds = testing::good(&text).config.router.allow_ambiguous_path;
                    assert_eq!(kinds.literal(), want, "{list}");
                    let again = kinds.clone();
                    let text = format!("[router]\nallowAmbiguousPath = {}\n", kinds.literal());
                    kinds = testing::good(&text).config.router.allow_ambiguous_path;
                    assert_eq!(kinds, again, "{list}");
                }
                Err(want) => assert_eq!(
                    testing::errors(&text, &[]),
                    [format!("config.toml:2: router.allowAmbiguousPath: {want}")]
                ),
            }
        }
        let mut kinds = vec![AmbiguousPath::EncodedSlash];
        assert_eq!(kinds.parse(""), Ok(()));
        assert_eq!(kinds, []);
        assert_eq!(kinds.parse(" empty_segment, encoded_slash"), Ok(()));
        assert_eq!(kinds, [AmbiguousPath::EmptySegment, AmbiguousPath::EncodedSlash]);
        assert!(kinds.parse("dots").is_err());
    }
}
