//! What both formats are to the tree: a row of events.

use std::borrow::Cow;

/// Why a file is not read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line}, column {column}")]
pub(super) struct Fault {
    pub(super) reason: String,
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
}

/// A step through a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event<'t> {
    /// A value that stands elsewhere; [`Events::follow`] goes there.
    Alias(usize),
    /// The end of the list or object that is open.
    End,
    List,
    Object,
    Scalar(Cow<'t, str>, Form),
}

/// How the text of a scalar is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Tagged as a truth value.
    Bool,
    /// A scalar of JSON that is no text.
    Json,
    /// Tagged as null.
    Null,
    /// Tagged as a number.
    Number,
    /// Without quotes or tag.
    Plain,
    /// Text for certain.
    Text,
}

/// A file, step by step.
pub(super) trait Events<'t> {
    /// The next event. What comes after the end of the only value is of no meaning.
    fn next(&mut self) -> Result<Event<'t>, Fault>;

    /// Goes where an alias leads: the events of what it names come next.
    fn follow(&mut self, _alias: usize) -> Result<(), Fault> {
        Ok(())
    }

    /// A fault at the last event.
    fn fault(&self, reason: &str) -> Fault;
}
