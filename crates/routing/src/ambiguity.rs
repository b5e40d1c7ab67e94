//! Kinds of paths with two readings (design D15), and those of them that an API may take.
//!
//! Any such path is refused unless the matched route permits every kind that is in it. Four kinds can be permitted: to RFC
//! 3986 they are data with one reading, and a service that goes by it is safe with them. All others are refused whatever an
//! API says; [`Ambiguity::is_permissible`] tells why.

use std::fmt;
use std::ops::BitOr;

/// Why a path has two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ambiguity {
    /// `\`, which some take for `/`.
    Backslash,
    /// A segment that decodes to `.` or `..`, path parameters (`;…`) aside.
    DotSegment,
    /// `%25` followed by two hexadecimal digits, encoded or not: decoded twice it is another path.
    DoubleEncoding,
    /// A segment without a name, path parameters aside: `//` and `/;x/`, whose slashes some merge.
    EmptySegment,
    /// `%5C`.
    EncodedBackslash,
    /// `%00` to `%1F` and `%7F`, which end or split strings.
    EncodedControl,
    /// An escape of a sub-delimiter (RFC 3986, 2.2), such as `%2C`: decoded it is another operation of the API.
    EncodedDelimiter,
    /// `%2F`.
    EncodedSlash,
    /// A UTF-8 sequence longer than needed, such as `%C0%AF`, which lax decoders take for ASCII.
    OverlongUtf8,
    /// `;…` behind a segment's name, which servlet containers cut off: without it, it is another operation of the API.
    PathParameter,
}

/// Kinds that were found in a path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ambiguities(u16);

/// Kinds that a route takes; holds no other than those that may be taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Permitted(Ambiguities);

// === impl Ambiguity ===

impl Ambiguity {
    /// Every kind, by name.
    pub const ALL: [Self; 10] = [
        Self::Backslash,
        Self::DotSegment,
        Self::DoubleEncoding,
        Self::EmptySegment,
        Self::EncodedBackslash,
        Self::EncodedControl,
        Self::EncodedDelimiter,
        Self::EncodedSlash,
        Self::OverlongUtf8,
        Self::PathParameter,
    ];

    /// Name for projects, answers, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backslash => "backslash",
            Self::DotSegment => "dot_segment",
            Self::DoubleEncoding => "double_encoding",
            Self::EmptySegment => "empty_segment",
            Self::EncodedBackslash => "encoded_backslash",
            Self::EncodedControl => "encoded_control",
            Self::EncodedDelimiter => "encoded_delimiter",
            Self::EncodedSlash => "encoded_slash",
            Self::OverlongUtf8 => "overlong_utf8",
            Self::PathParameter => "path_parameter",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether an API may take such paths.
    ///
    /// Not those that are no URI (`\`), no UTF-8 or end strings, nor dot segments, which whoever follows RFC 3986, 5.2.4
    /// resolves: what is matched would not be what is served. Nor escaped delimiters and path parameters: these are refused
    /// only where they are another operation that asks for something else, so that to take them is to open that one.
    #[must_use]
    pub const fn is_permissible(self) -> bool {
        match self {
            Self::DoubleEncoding | Self::EmptySegment | Self::EncodedBackslash | Self::EncodedSlash => true,
            Self::Backslash
            | Self::DotSegment
            | Self::EncodedControl
            | Self::EncodedDelimiter
            | Self::OverlongUtf8
            | Self::PathParameter => false,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Ambiguities ===

impl Ambiguities {
    /// No kind.
    pub const NONE: Self = Self(0);

    /// Adds a kind.
    pub fn insert(&mut self, kind: Ambiguity) {
        self.0 |= kind.bit();
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the kind is one of them.
    #[must_use]
    pub const fn contains(self, kind: Ambiguity) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Those that are permitted taken away.
    #[must_use]
    pub const fn without(self, permitted: Permitted) -> Self {
        Self(self.0 & !permitted.0.0)
    }

    /// The kinds, by name.
    pub fn iter(self) -> impl Iterator<Item = Ambiguity> {
        Ambiguity::ALL
            .into_iter()
            .filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<Ambiguity> for Ambiguities {
    fn from_iter<I: IntoIterator<Item = Ambiguity>>(kinds: I) -> Self {
        let mut all = Self::NONE;
        kinds.into_iter().for_each(|kind| all.insert(kind));
        all
    }
}

impl fmt::Debug for Ambiguities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

// === impl Permitted ===

impl Permitted {
    /// No kind.
    pub const NONE: Self = Self(Ambiguities::NONE);
    /// [`Ambiguity::DoubleEncoding`].
    pub const DOUBLE_ENCODING: Self = Self(Ambiguities(Ambiguity::DoubleEncoding.bit()));
    /// [`Ambiguity::EmptySegment`].
    pub const EMPTY_SEGMENT: Self = Self(Ambiguities(Ambiguity::EmptySegment.bit()));
    /// [`Ambiguity::EncodedBackslash`].
    pub const ENCODED_BACKSLASH: Self = Self(Ambiguities(Ambiguity::EncodedBackslash.bit()));
    /// [`Ambiguity::EncodedSlash`].
    pub const ENCODED_SLASH: Self = Self(Ambiguities(Ambiguity::EncodedSlash.bit()));
    /// Every kind that may be taken.
    pub const ALL: Self = Self(Ambiguities(
        Self::DOUBLE_ENCODING.0.0
            | Self::EMPTY_SEGMENT.0.0
            | Self::ENCODED_BACKSLASH.0.0
            | Self::ENCODED_SLASH.0.0,
    ));

    /// That kind alone, if it may be taken.
    #[must_use]
    pub const fn only(kind: Ambiguity) -> Option<Self> {
        if kind.is_permissible() {
            Some(Self(Ambiguities(kind.bit())))
        } else {
            None
        }
    }

    /// Whether the kind is one of them.
    #[must_use]
    pub const fn contains(self, kind: Ambiguity) -> bool {
        self.0.contains(kind)
    }

    /// The kinds, by name.
    pub fn iter(self) -> impl Iterator<Item = Ambiguity> {
        self.0.iter()
    }
}

impl BitOr for Permitted {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(Ambiguities(self.0.0 | other.0.0))
    }
}

impl fmt::Debug for Permitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_a_bit_and_a_place() {
        assert!(Ambiguity::ALL.is_sorted_by_key(|kind| kind.as_str()));
        assert!(Ambiguity::ALL.is_sorted());
        for kind in Ambiguity::ALL {
            assert_eq!(Ambiguity::named(kind.as_str()), Some(kind));
            let one = Ambiguities::from_iter([kind]);
            assert_eq!(one.iter().collect::<Vec<_>>(), [kind]);
        }
        assert_eq!(Ambiguity::named("Encoded_Slash"), None);
        let all = Ambiguities::from_iter(Ambiguity::ALL);
        assert_eq!(all.iter().count(), Ambiguity::ALL.len());
        assert_eq!(
            all.without(Permitted::ALL).without(Permitted::ALL).iter().count(),
            6
        );
    }

    #[test]
    fn only_what_may_be_taken_is_ever_permitted() {
        let each = Ambiguity::ALL.into_iter().filter_map(Permitted::only);
        assert_eq!(each.fold(Permitted::NONE, BitOr::bitor), Permitted::ALL);
        for kind in Ambiguity::ALL {
            assert_eq!(Permitted::only(kind).is_some(), kind.is_permissible(), "{kind}");
            assert_eq!(Permitted::ALL.contains(kind), kind.is_permissible(), "{kind}");
        }
        assert_eq!(
            format!("{:?}", Permitted::ENCODED_SLASH | Permitted::EMPTY_SEGMENT),
            "{EmptySegment, EncodedSlash}"
        );
    }
}
