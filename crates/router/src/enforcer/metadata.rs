//! What the enforcer leaves for the logs: `google.protobuf.Struct`, read only when somebody asks.

use bytes::Bytes;

use super::wire::{Fields, Value};

/// Dynamic metadata of a verdict.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metadata(pub(super) Bytes);

impl Metadata {
    /// The value of `key` as text; numbers and booleans are written out, anything nested is not there.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        Fields(self.0.clone())
            .flatten()
            .find_map(|(tag, value)| match (tag, value) {
                (1, Value::Body(entry)) => Self::entry(entry, key),
                _ => None,
            })
    }

    fn entry(entry: Bytes, wanted: &str) -> Option<String> {
        let mut fields = Fields(entry).flatten();
        match fields.next()? {
            (1, Value::Body(key)) if key == wanted.as_bytes() => {}
            _ => return None,
        }
        let (2, Value::Body(value)) = fields.next()? else {
            return None;
        };
        match Fields(value).next()?.ok()? {
            (2, Value::Fixed64(bits)) => Some(f64::from_le_bytes(bits).to_string()),
            (3, Value::Body(text)) => String::from_utf8(text.into()).ok(),
            (4, Value::Number(value)) => Some((value != 0).to_string()),
            _ => None,
        }
    }
}
