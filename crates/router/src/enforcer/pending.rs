//! Checks on their way into the stream: gRPC messages of many checks each, in one buffer.

use bytes::{BufMut, Bytes, BytesMut};

use super::wire::PREFIX;
use crate::error::CheckError;

/// Greatest message of more than one check.
const BATCH: usize = 4 << 20;
/// Greatest check. The enforcer takes messages of 16 MiB; a greater one would end the stream for all others.
const CHECK: usize = 15 << 20;
/// What may wait for the connection to take it.
const LIMIT: usize = 64 << 20;
/// Greatest buffer that is used again.
const KEPT: usize = 64 << 10;

/// `CheckBatch.steering`, set: we read the typed form of what steers a request.
const STEERING: [u8; 2] = [2 << 3, 1];

/// What the connection takes when it is next polled.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: BytesMut,
    /// Where the last message begins.
    last: usize,
}

impl Pending {
    /// Where to write one more check of `length` bytes, in a message that is begun for it when need be.
    ///
    /// # Errors
    /// `TooLarge`, or `Overloaded` when too much waits already.
    pub(super) fn begin(&mut self, length: usize) -> Result<&mut BytesMut, CheckError> {
        if length > CHECK {
            return Err(CheckError::TooLarge);
        }
        if self.bytes.len() + length > LIMIT {
            return Err(CheckError::Overloaded);
        }
        if self.bytes.is_empty() || self.bytes.len() - self.last + length > BATCH {
            self.seal();
            self.last = self.bytes.len();
            self.bytes.put_bytes(0, PREFIX);
            self.bytes.put_slice(&STEERING);
        }
        Ok(&mut self.bytes)
    }

    /// All messages; none when nothing waits.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.bytes.is_empty() {
            return None;
        }
        self.seal();
        self.last = 0;
        // What is left of a buffer keeps all of it: that of a crowd is not to stay for good.
        let whole = match self.bytes.capacity() > KEPT {
            true => std::mem::take(&mut self.bytes),
            false => self.bytes.split(),
        };
        Some(whole.freeze())
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.last = 0;
    }

    /// Writes the length of the last message.
    fn seal(&mut self) {
        let body = self.last + PREFIX;
        let length = u32::try_from(self.bytes.len().saturating_sub(body)).unwrap_or(u32::MAX);
        if let Some(prefix) = self.bytes.get_mut(self.last + 1..body) {
            prefix.copy_from_slice(&length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Deframer;
    use super::*;

    fn put(pending: &mut Pending, length: usize) -> Result<(), CheckError> {
        pending.begin(length)?.put_bytes(7, length);
        Ok(())
    }

    fn messages(pending: &mut Pending) -> Vec<usize> {
        let mut lengths = Vec::new();
        let mut rest = pending.take().unwrap();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[1..PREFIX].try_into().unwrap());
            lengths.push(usize::try_from(length).unwrap());
            rest = rest.slice(PREFIX + lengths[lengths.len() - 1]..);
        }
        lengths
    }

    #[test]
    fn batches_stay_below_what_the_enforcer_takes() {
        let mut pending = Pending::default();
        assert!(pending.take().is_none());
        for length in [10, 20, 3 << 20, 2 << 20, 30, 6 << 20, 40] {
            put(&mut pending, length).unwrap();
        }
        assert_eq!(
            messages(&mut pending),
            [(3 << 20) + 30, (2 << 20) + 30, 6 << 20, 40].map(|length| length + STEERING.len())
        );
        assert!(pending.take().is_none(), "taken once");
        put(&mut pending, 5).unwrap();
        let mut got = Vec::new();
        let bytes = pending.take().unwrap();
        Deframer::default()
            .push(bytes, |message| got.push(message))
            .unwrap();
        assert_eq!(got, [&[&STEERING[..], &[7; 5]].concat()]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut pending = Pending::default();
        assert_eq!(put(&mut pending, CHECK + 1), Err(CheckError::TooLarge));
        let taken = (0..100).filter(|_| put(&mut pending, 1 << 20).is_ok()).count();
        assert_eq!(taken, 63, "64 MiB with the prefixes");
        assert_eq!(put(&mut pending, 1 << 20), Err(CheckError::Overloaded));
        pending.clear();
        put(&mut pending, 1).unwrap();
        assert_eq!(messages(&mut pending), [1 + STEERING.len()]);
    }
}
