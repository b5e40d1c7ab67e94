//! Counters handed to the successor of this process.
//!
//! ```text
//! magic and version (8) | seed (16) | number of counters (8) | { id (16) | end (8) | used (8) } … | check sum (16)
//! ```
//!
//! Little endian. The check sum finds damage; it proves nothing about who wrote it.

use siphasher::sip128::SipHasher13;

use super::table::Id;
use super::{Count, Memory};
use crate::limit::{Time, Window};

/// The last character is the version.
const MAGIC: [u8; 8] = *b"TRILIMS1";
const HEAD: usize = 8 + 16 + 8;
const ENTRY: usize = 32;
const SUM: usize = 16;

/// Why a dump is not taken over.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RestoreError {
    /// Not what was written.
    #[error("the dump of counters is damaged")]
    Checksum,
    /// Something is counted already.
    #[error("counters are in use already")]
    InUse,
    /// The end is missing, or something follows it.
    #[error("the dump of counters has the wrong length")]
    Length,
    /// Written by another version, or no dump at all.
    #[error("this is no dump of counters that this version reads")]
    Version,
}

impl Memory {
    pub(crate) fn most_bytes(capacity: usize) -> u64 {
        let entries = (capacity as u64).saturating_mul(ENTRY as u64);
        entries.saturating_add((HEAD + SUM) as u64)
    }

    pub(crate) fn dump(&self, now: Time) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + SUM);
        bytes.extend(MAGIC);
        bytes.extend(self.table.seed());
        bytes.extend(0_u64.to_le_bytes());
        let mut count = 0_u64;
        self.table.each(|id, value| {
            if value.ends > now && value.used > 0 {
                for number in [id.0, id.1, value.ends.0, value.used] {
                    bytes.extend(number.to_le_bytes());
                }
                count += 1;
            }
        });
        bytes[HEAD - 8..HEAD].copy_from_slice(&count.to_le_bytes());
        let sum = sum(&bytes);
        bytes.extend(sum);
        bytes
    }

    /// Counters beyond the capacity are left out, and so are those of windows that have ended, or that no clock so far from
    /// `now` as the longest window can have begun.
    pub(crate) fn restore(&self, dump: &[u8], now: Time) -> Result<usize, RestoreError> {
        if dump.get(..MAGIC.len()) != Some(&MAGIC[..]) {
            return Err(RestoreError::Version);
        }
        let body = dump.len().checked_sub(SUM).filter(|length| *length >= HEAD);
        let (body, given) = dump.split_at(body.ok_or(RestoreError::Length)?);
        let (head, entries) = body.split_at(HEAD);
        let count = usize::try_from(number(head, HEAD - 8)).map_err(|_| RestoreError::Length)?;
        if count.checked_mul(ENTRY) != Some(entries.len()) {
            return Err(RestoreError::Length);
        }
        if given != sum(body) {
            return Err(RestoreError::Checksum);
        }
        let mut empty = true;
        self.table.each(|_, _| empty = false);
        if !empty {
            return Err(RestoreError::InUse);
        }
        let mut seed = [0; 16];
        seed.copy_from_slice(&head[MAGIC.len()..MAGIC.len() + 16]);
        self.table.reseed(seed);

        let latest = Time(now.0.saturating_add(Window::LONGEST.as_millis()));
        let mut restored = 0;
        for entry in entries.chunks_exact(ENTRY) {
            let id = Id(number(entry, 0), number(entry, 8));
            let value = Count {
                ends: Time(number(entry, 16)),
                used: number(entry, 24),
            };
            if value.ends > now
                && value.ends <= latest
                && restored < self.capacity
                && self.put(id, value, now)
            {
                restored += 1;
            }
        }
        Ok(restored)
    }

    /// Says whether there was room without evicting.
    fn put(&self, id: Id, value: Count, now: Time) -> bool {
        let mut table = self.table.lock(&[id]).without_evicting();
        let place = match table.find(0, id) {
            Some(place) => Ok(place),
            None => table.make(0, id, now, &[]),
        };
        match place {
            Ok(place) => table.set(place, value),
            Err(_) => return false,
        }
        true
    }
}

/// Eight bytes of `bytes`, which are there.
fn number(bytes: &[u8], from: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[from..from + 8]);
    u64::from_le_bytes(number)
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    SipHasher13::new().hash(bytes).as_bytes()
}
