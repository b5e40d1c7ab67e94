//! Who may change a deployment.

use std::borrow::Cow;
use std::fmt;

/// Name of the mounted folder as a source.
pub const FOLDER: &str = "folder";

/// Who may change a deployment. Its text is what the store keeps, and what a refused entry is listed under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// An entry of a source that is read: it says all there is to say of what it deploys.
    Entry {
        /// Name of the source; has no slash.
        source: Cow<'static, str>,
        /// What the source calls the entry; never empty.
        entry: String,
    },
    /// The management API: each call says what it changes.
    Rest,
}

impl Origin {
    /// An entry of a source.
    pub fn entry(source: &'static str, entry: impl Into<String>) -> Self {
        Self::Entry {
            source: source.into(),
            entry: entry.into(),
        }
    }

    /// Reads the text.
    pub(super) fn parse(text: String) -> Self {
        match text.split_once('/') {
            None if text.is_empty() => Self::Rest,
            // Names of files have no slash.
            None => Self::entry(FOLDER, text),
            Some((source, entry)) => Self::Entry {
                source: source.to_owned().into(),
                entry: entry.to_owned(),
            },
        }
    }
}

/// `source/entry`; the entry alone for the folder, and nothing for the management API: stores knew no others when the first of
/// them were written.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { source, entry } if source == FOLDER => f.write_str(entry),
            Self::Entry { source, entry } => write!(f, "{source}/{entry}"),
            Self::Rest => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_for_one_origin_each() {
        let cases = [
            (Origin::Rest, ""),
            (Origin::entry(FOLDER, "pets.zip"), "pets.zip"),
            (Origin::entry(FOLDER, "git"), "git"),
            (Origin::entry("git", "pets.zip"), "git/pets.zip"),
            (Origin::entry("git", "apis/pets"), "git/apis/pets"),
        ];
        for (origin, text) in cases {
            assert_eq!(origin.to_string(), text);
            assert_eq!(Origin::parse(text.to_owned()), origin);
        }
    }
}
