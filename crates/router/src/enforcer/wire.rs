//! Protobuf and gRPC framing of the check, written and read in place.
//!
//! A check carries every header of its request. Going through the generated types would allocate two strings a header in
//! each direction, which the profile shows as the greatest single cost of a check; here the fields go straight from the
//! header map into the buffer that is sent, and verdicts are slices of the buffer that was received.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Length of the prefix of a gRPC message.
pub(super) const PREFIX: usize = 5;

/// Length of a length-delimited field with its key.
pub(super) const fn field_len(tag: u32, body: usize) -> usize {
    key_len(tag) + encoded_len_varint(body as u64) + body
}

/// Key and length of a length-delimited field; the body follows.
pub(super) fn open(tag: u32, body: usize, out: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(body as u64, out);
}

/// A string or bytes field.
pub(super) fn field(tag: u32, body: &[u8], out: &mut impl BufMut) {
    open(tag, body.len(), out);
    out.put_slice(body);
}

/// A varint field; zero is left out, as in proto3.
pub(super) fn number(tag: u32, value: u64, out: &mut impl BufMut) {
    if value != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(value, out);
    }
}

/// Length of a varint field.
pub(super) const fn number_len(tag: u32, value: u64) -> usize {
    if value == 0 {
        0
    } else {
        key_len(tag) + encoded_len_varint(value)
    }
}

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truncated;

/// One field of a received message.
#[derive(Debug)]
pub(super) enum Value {
    /// Varint.
    Number(u64),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// Four bytes.
    Fixed32,
    /// String, bytes or message.
    Body(Bytes),
}

/// The fields of a message, in the order they come; ends at the first malformed one with an error.
#[derive(Debug)]
pub(super) struct Fields(pub(super) Bytes);

impl Iterator for Fields {
    type Item = Result<(u32, Value), Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let item = self.read();
        if item.is_err() {
            self.0.clear();
        }
        Some(item)
    }
}

impl Fields {
    fn read(&mut self) -> Result<(u32, Value), Truncated> {
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).map_err(|_| Truncated)?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Value::Fixed64(bytes.as_ref().try_into().map_err(|_| Truncated)?)
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Truncated)?;
                Value::Body(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => return Err(Truncated),
        };
        Ok((tag, value))
    }

    fn varint(&mut self) -> Result<u64, Truncated> {
        prost::encoding::decode_varint(&mut self.0).map_err(|_| Truncated)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, Truncated> {
        if length > self.0.len() {
            Err(Truncated)
        } else {
            Ok(self.0.split_to(length))
        }
    }
}

/// Puts received chunks together to gRPC messages.
#[derive(Debug, Default)]
pub(super) struct Deframer {
    rest: BytesMut,
}

/// Why a gRPC message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadFrame {
    /// Compression was not offered.
    Compressed,
    /// Above the limit.
    TooLong,
}

impl Deframer {
    /// Greatest message that is taken.
    const LIMIT: usize = 4 << 20;

    /// Takes a chunk and calls `each` with every message that is complete. A message within one chunk is not copied.
    pub(super) fn push(&mut self, mut chunk: Bytes, mut each: impl FnMut(Bytes)) -> Result<(), BadFrame> {
        if self.rest.is_empty() {
            while let Some(length) = Self::message_len(&chunk)? {
                let mut message = chunk.split_to(PREFIX + length);
                each(message.split_off(PREFIX));
            }
            self.rest.extend_from_slice(&chunk);
            return Ok(());
        }
        self.rest.extend_from_slice(&chunk);
        while let Some(length) = Self::message_len(&self.rest)? {
            let mut message = self.rest.split_to(PREFIX + length).freeze();
            each(message.split_off(PREFIX));
        }
        if self.rest.is_empty() {
            // What is left of a buffer keeps all of it.
            self.rest = BytesMut::new();
        }
        Ok(())
    }

    /// Length of the first message, when it is complete.
    fn message_len(bytes: &[u8]) -> Result<Option<usize>, BadFrame> {
        let Some((&[compressed, a, b, c, d], rest)) = bytes.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        if compressed != 0 {
            return Err(BadFrame::Compressed);
        }
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| BadFrame::TooLong)?;
        if length > Self::LIMIT {
            return Err(BadFrame::TooLong);
        }
        Ok((rest.len() >= length).then_some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_split_at_every_byte() {
        let mut stream = Vec::new();
        for text in [&b""[..], b"a", b"hello"] {
            stream.put_u8(0);
            stream.put_u32(u32::try_from(text.len()).unwrap());
            stream.put_slice(text);
        }
        for cut in 0..=stream.len() {
            let mut got = Vec::new();
            let mut deframer = Deframer::default();
            let (a, b) = stream.split_at(cut);
            for part in [a, b] {
                deframer
                    .push(Bytes::copy_from_slice(part), |message| got.push(message))
                    .unwrap();
            }
            assert_eq!(got, [&b""[..], b"a", b"hello"], "cut at {cut}");
        }
    }

    #[test]
    fn frames_that_are_refused() {
        let cases = [
            ("compressed", &[1, 0, 0, 0, 0][..], BadFrame::Compressed),
            ("too long", &[0, 0xff, 0, 0, 0][..], BadFrame::TooLong),
        ];
        for (name, bytes, want) in cases {
            let got = Deframer::default().push(Bytes::from_static(bytes), |_| panic!("{name}: no message"));
            assert_eq!(got, Err(want), "{name}");
        }
    }

    #[test]
    fn malformed_fields_end_with_an_error() {
        let cases: [(&str, &[u8]); 4] = [
            ("length beyond the end", &[0x0a, 5, 1]),
            ("group", &[0x0b]),
            ("endless varint", &[0xff; 11]),
            ("half a fixed64", &[0x09, 1, 2, 3]),
        ];
        for (name, bytes) in cases {
            let items: Vec<_> = Fields(Bytes::from_static(bytes)).collect();
            assert!(matches!(items.as_slice(), [Err(Truncated)]), "{name}: {items:?}");
        }
    }
}
