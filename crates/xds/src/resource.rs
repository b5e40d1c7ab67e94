//! What travels.

use bytes::Bytes;
use prost::Message;

/// One named item of a snapshot.
///
/// Its type URL is that of the set or update it is in; the body is the encoded message, i.e. the `value` of the
/// `google.protobuf.Any` on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Unique within its group and type.
    pub name: String,
    /// Opaque and never empty; equal versions mean equal bodies.
    pub version: String,
    /// Encoded message.
    pub body: Bytes,
}

impl Resource {
    /// A resource from an already encoded message.
    pub fn new(name: impl Into<String>, version: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            body: body.into(),
        }
    }

    /// A resource from a message. The version should be derived from the content or its revision, so that it is the same
    /// after a restart of the server; encoded maps have no stable order, so a hash of the body is not always that.
    pub fn encode(name: impl Into<String>, version: impl Into<String>, message: &impl Message) -> Self {
        Self::new(name, version, message.encode_to_vec())
    }
}

/// Why a peer does not take one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Name of the resource; `*` when the peer refused a message as a whole and named none.
    pub resource: String,
    /// Readable reason with the field's path, at most 1 KiB.
    pub reason: String,
    /// The peer, `<node id>` or `<node id>/<instance>`. Left empty by [`crate::client::Apply`].
    pub node: String,
}

impl Rejection {
    /// A rejection as [`crate::client::Apply`] returns it.
    pub fn new(resource: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            resource: resource.into(),
            reason: reason.into(),
            node: String::new(),
        }
    }
}

/// The beginning of a reason, at most 1 KiB.
pub(crate) fn limited(reason: &str) -> &str {
    head(reason, 1024)
}

/// The beginning of a text, cut between characters.
pub(crate) fn head(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}
