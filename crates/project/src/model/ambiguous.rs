//! Paths with two readings that an API may take (design D15).

/// A kind of path that others may take for another one, and that an API can opt in to: to RFC 3986 it has one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// Kinds that are refused whatever an API says, and why.
const REFUSED: [(&str, &str); 6] = [
    ("backslash", "it may not stand in a path: callers must send %5C"),
    (
        "dot_segment",
        "it is resolved on the way, so that what is checked would not be what is served",
    ),
    ("encoded_control", "it ends or splits strings"),
    (
        "encoded_delimiter",
        "it is refused only where it may be another operation, which asks for something else",
    ),
    ("overlong_utf8", "it is no UTF-8"),
    (
        "path_parameter",
        "it is refused only where it may be another operation, which asks for something else",
    ),
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

    /// The kind of that name; `double_slash` is [`AmbiguousPath::EmptySegment`] as well.
    ///
    /// # Errors
    /// What is wrong with the name, with the nearest known one.
    pub fn named(name: &str) -> Result<Self, String> {
        if name == "double_slash" {
            return Ok(Self::EmptySegment);
        }
        if let Some(kind) = Self::ALL.into_iter().find(|kind| kind.as_str() == name) {
            return Ok(kind);
        }
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(format!("{name} can't be allowed: {reason}"));
        }
        let names = Self::ALL.map(Self::as_str);
        let near = names.iter().map(|known| (distance(name, known), known)).min();
        Err(match near {
            Some((distance, near)) if distance <= MAX_DISTANCE => {
                format!("{name:?} is no kind of ambiguous path (nearest known: {near})")
            }
            _ => format!(
                "{name:?} is no kind of ambiguous path: must be one of {}",
                names.join(", ")
            ),
        })
    }
}

/// Names further apart are not taken for each other.
const MAX_DISTANCE: usize = 4;

/// Edits from one name to the other, in any case; a text that is much longer than every name is far from all.
fn distance(name: &str, known: &str) -> usize {
    if name.len() > 2 * known.len() {
        return usize::MAX;
    }
    strsim::damerau_levenshtein(&name.to_ascii_lowercase(), known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(AmbiguousPath::ALL.is_sorted_by_key(|kind| kind.as_str()));
        for kind in AmbiguousPath::ALL {
            assert_eq!(AmbiguousPath::named(kind.as_str()), Ok(kind));
        }
        assert_eq!(
            AmbiguousPath::named("double_slash"),
            Ok(AmbiguousPath::EmptySegment)
        );
        for (name, _) in REFUSED {
            let refused = AmbiguousPath::named(name).unwrap_err();
            assert!(
                refused.starts_with(&format!("{name} can't be allowed: ")),
                "{refused}"
            );
        }
        let long = "encoded_slash".repeat(1000);
        for (name, want) in [
            ("encoded-slash", Some("encoded_slash")),
            ("ENCODED_SLASH", Some("encoded_slash")),
            ("encode_backslash", Some("encoded_backslash")),
            ("empty_segments", Some("empty_segment")),
            ("", None),
            ("tilde", None),
            (&long, None),
        ] {
            let refused = AmbiguousPath::named(name).unwrap_err();
            let near = want.map(|near| format!("(nearest known: {near})"));
            assert_eq!(refused.contains("nearest known"), near.is_some(), "{refused}");
            assert!(
                refused.ends_with(near.as_deref().unwrap_or("encoded_slash")),
                "{refused}"
            );
        }
    }
}
