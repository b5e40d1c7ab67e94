//! Checks that wait for their verdict: slots in a slab, no channel and no task for each.

use std::task::Waker;

use bytes::Bytes;
use slab::Slab;

use super::verdict::Answer;
use crate::error::CheckError;

/// Slots that are used again when none is open.
const KEPT: usize = 256;

/// Names an open check on the wire. The upper half tells the uses of one slot apart, so that a verdict that comes after
/// its check was given up never reaches the next one in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    index: usize,
    generation: u32,
}

/// The open checks of one worker.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slab: Slab<Slot>,
    generation: u32,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    waker: Option<Waker>,
    answer: Option<Result<Answer, CheckError>>,
    /// Kept until the peer is known to speak the stream, to be sent again as a unary call when it does not.
    request: Option<Bytes>,
}

impl Id {
    /// As it goes on the wire.
    pub(super) fn wire(self) -> u64 {
        (u64::from(self.generation) << 32) | (self.index as u64 & u64::from(u32::MAX))
    }

    /// From the wire.
    pub(super) fn from_wire(value: u64) -> Option<Self> {
        Some(Self {
            index: usize::try_from(value & u64::from(u32::MAX)).ok()?,
            generation: u32::try_from(value >> 32).ok()?,
        })
    }
}

impl Slots {
    /// Opens a check; none when `most` wait already.
    pub(super) fn open(&mut self, most: usize) -> Option<Id> {
        if self.slab.len() >= most {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.slab.insert(Slot {
            generation,
            waker: None,
            answer: None,
            request: None,
        });
        Some(Id { index, generation })
    }

    /// Keeps the request for the case that it must be sent again.
    pub(super) fn keep(&mut self, id: Id, request: Bytes) {
        if let Some(slot) = self.slot(id) {
            slot.request = Some(request);
        }
    }

    /// All requests that were kept and have no answer yet.
    pub(super) fn take_kept(&mut self) -> Vec<(Id, Bytes)> {
        self.slab
            .iter_mut()
            .filter(|(_, slot)| slot.answer.is_none())
            .filter_map(|(index, slot)| {
                Some((
                    Id {
                        index,
                        generation: slot.generation,
                    },
                    slot.request.take()?,
                ))
            })
            .collect()
    }

    /// Drops what was kept: the peer speaks the stream.
    pub(super) fn drop_kept(&mut self) {
        for (_, slot) in &mut self.slab {
            slot.request = None;
        }
    }

    /// Hands over an answer. One that nobody waits for is dropped.
    pub(super) fn answer(&mut self, id: Id, answer: Result<Answer, CheckError>) {
        if let Some(slot) = self.slot(id) {
            slot.answer = Some(answer);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    /// Fails every check that has no answer yet.
    pub(super) fn fail_all(&mut self, error: &CheckError) {
        for (_, slot) in &mut self.slab {
            if slot.answer.is_none() {
                slot.answer = Some(Err(error.clone()));
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    /// The answer, or registers who to wake.
    pub(super) fn poll(&mut self, id: Id, waker: &Waker) -> Option<Result<Answer, CheckError>> {
        let Some(slot) = self.slot(id) else {
            return Some(Err(CheckError::Unreachable));
        };
        let answer = slot.answer.take();
        if answer.is_none() && slot.waker.as_ref().is_none_or(|old| !old.will_wake(waker)) {
            slot.waker = Some(waker.clone());
        }
        answer
    }

    /// Frees the slot.
    pub(super) fn close(&mut self, id: Id) {
        if self.slot(id).is_some() {
            self.slab.remove(id.index);
        }
        if self.slab.is_empty() && self.slab.capacity() > KEPT {
            // The room of a crowd is not to stay for good.
            self.slab = Slab::new();
        }
    }

    fn slot(&mut self, id: Id) -> Option<&mut Slot> {
        self.slab
            .get_mut(id.index)
            .filter(|slot| slot.generation == id.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(response: &'static [u8]) -> Answer {
        Answer {
            response: Bytes::from_static(response),
            ..Answer::default()
        }
    }

    #[test]
    fn a_late_verdict_does_not_reach_the_next_check_of_the_slot() {
        let mut slots = Slots::default();
        let first = slots.open(2).unwrap();
        slots.close(first);
        let second = slots.open(2).unwrap();
        assert_eq!(first.index, second.index);
        slots.answer(Id::from_wire(first.wire()).unwrap(), Ok(answer(b"late")));
        assert!(slots.poll(second, Waker::noop()).is_none());
        slots.answer(Id::from_wire(second.wire()).unwrap(), Ok(answer(b"own")));
        assert_eq!(slots.poll(second, Waker::noop()), Some(Ok(answer(b"own"))));
    }

    #[test]
    fn failing_all_spares_what_is_answered() {
        let mut slots = Slots::default();
        let (a, b) = (slots.open(2).unwrap(), slots.open(2).unwrap());
        assert!(slots.open(2).is_none(), "there are as many as may be");
        slots.answer(a, Ok(Answer::default()));
        slots.fail_all(&CheckError::Unreachable);
        assert_eq!(slots.poll(a, Waker::noop()), Some(Ok(Answer::default())));
        assert_eq!(slots.poll(b, Waker::noop()), Some(Err(CheckError::Unreachable)));
    }
}
