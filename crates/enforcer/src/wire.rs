//! Protobuf messages read and written in place.
//!
//! `CheckRequest` arrives with every request, and of its twenty-odd headers a check reads three: decoding it into owned
//! strings and a hash map costs more than the check itself, and so does building the answer out of them. Rules of the
//! encoding: protobuf.dev/programming-guides/encoding.

use prost::encoding::encode_varint;

/// Bytes that are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// A length or number reaches past the end.
    #[error("message ends inside a field")]
    Truncated,
    /// A tag that no message has.
    #[error("message has an invalid field tag")]
    Tag,
    /// A string that isn't UTF-8.
    #[error("message has a string that is not UTF-8")]
    Utf8,
}

/// Value of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Wire type 0.
    Number(u64),
    /// Wire type 2: string, bytes or a message.
    Bytes(&'a [u8]),
    /// Wire types 1 and 5, which no field that is read here has.
    Fixed,
}

impl<'a> Value<'a> {
    /// The text of a string field; a field of another type counts as absent, as everywhere in protobuf.
    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| Malformed::Utf8),
            Self::Fixed | Self::Number(_) => Ok(""),
        }
    }

    /// The bytes of a message or bytes field.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Fixed | Self::Number(_) => &[],
        }
    }
}

/// The fields of one message, in the order they lie in it.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest.split_first() {
            // Nearly all are tags and lengths of one byte.
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    #[cold]
    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f).wrapping_shl(7 * u32::try_from(index).unwrap_or(0));
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(Malformed::Truncated)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed::Tag),
        };
        match tag >> 3 {
            0 => Err(Malformed::Tag),
            number => Ok((number, value)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Key and value of one entry of a `map<string, string>`.
pub(crate) fn entry(message: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut key, mut value) = ("", "");
    for field in Fields::of(message) {
        match field? {
            (1, text) => key = text.text()?,
            (2, text) => value = text.text()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Appends a string, bytes or message field. Its number is below 16, as all that are written here.
pub(crate) fn field(out: &mut Vec<u8>, number: u8, body: &[u8]) {
    out.push(key(number));
    encode_varint(body.len() as u64, out);
    out.extend_from_slice(body);
}

/// Appends a message field whose body is what `write` appends.
pub(crate) fn nested(out: &mut Vec<u8>, number: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(key(number));
    let at = out.len();
    // Room for the length of a short body; that of a longer one pushes it on.
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    match (u8::try_from(length), out.get_mut(at)) {
        (Ok(short @ 0..0x80), Some(byte)) => *byte = short,
        _ => {
            let mut prefix = Vec::with_capacity(10);
            encode_varint(length as u64, &mut prefix);
            drop(out.splice(at..=at, prefix));
        }
    }
}

/// Key of a length-delimited field.
fn key(number: u8) -> u8 {
    number << 3 | 2
}
