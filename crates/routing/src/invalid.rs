//! The one error of this crate's conversions.

use std::fmt;

/// A resource that is outside the documented subset, or that holds a value which cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Path of the field within the resource, in the words of the message's definition:
    /// `virtual_hosts[0].routes[3].match.safe_regex`. Empty when the resource as a whole is meant.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Invalid {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.path, self.reason)
        }
    }
}

impl std::error::Error for Invalid {}
