//! What a message is refused for.

/// A message that can't be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Invalid {
    /// Field path in proto spelling, such as `resources[2].methods[0].method`; `.` for the whole message.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Invalid {
    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

/// Converts each element under its index.
pub(crate) fn indexed<W, T>(
    at: &str,
    wire: Vec<W>,
    convert: impl Fn(&str, W) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    wire.into_iter()
        .enumerate()
        .map(|(index, element)| convert(&format!("{at}[{index}]"), element))
        .collect()
}
