//! The generation of an API, which travels with its routes, with its policy and with every check.

use std::fmt;
use std::str::FromStr;

/// Generation of an API: the store it was put into, and a count that grows with each stored change. A greater pair is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision {
    /// Identity of the store: its creation in Unix milliseconds.
    pub epoch: u64,
    /// Count within the store.
    pub counter: u64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

impl FromStr for Revision {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, InvalidRevision> {
        let (epoch, counter) = text.split_once('.').ok_or(InvalidRevision)?;
        Ok(Self {
            epoch: decimal(epoch)?,
            counter: decimal(counter)?,
        })
    }
}

/// Digits only: `u64::from_str` would take a sign as well.
fn decimal(text: &str) -> Result<u64, InvalidRevision> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| InvalidRevision)
    } else {
        Err(InvalidRevision)
    }
}

/// A text that isn't `<epoch>.<counter>` in decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a revision is <epoch>.<counter> in decimal")]
pub struct InvalidRevision;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_parse_and_compare() {
        let of = |text: &str| text.parse::<Revision>();
        assert_eq!(
            of("12.7").unwrap(),
            Revision {
                epoch: 12,
                counter: 7
            }
        );
        assert!(of("12.7").unwrap() < of("12.8").unwrap());
        assert!(of("12.8").unwrap() < of("13.0").unwrap());
        assert_eq!(of("12.7").unwrap().to_string(), "12.7");
        for bad in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "-1.2",
            "+1.2",
            "1.2.3",
            "99999999999999999999.1",
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
