//! Why the serving side ends a stream.

use super::{MAX_NAME_BYTES, MAX_NAMES_BYTES, MAX_TOPICS};
use crate::set::Behind;

/// The node asks for a type that it is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("type is not served to this node")]
pub struct UnknownType;

/// Why a stream is ended.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The peer has been slower than the removals that are remembered; reconnecting tells us what it holds.
    #[error("fell too far behind, reconnect")]
    Behind,
    #[error("a name, node id or type url is longer than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
    #[error("the first request needs a node with an id")]
    NoNode,
    #[error("request without a type url")]
    NoType,
    #[error("more than {MAX_NAMES_BYTES} bytes of resource names")]
    TooManyNames,
    #[error("more than {MAX_TOPICS} types on one stream")]
    TooManyTypes,
    #[error("type {type_url} is not served to node {node}")]
    UnknownType { type_url: String, node: String },
}

impl From<Behind> for Refusal {
    fn from(Behind: Behind) -> Self {
        Self::Behind
    }
}
