//! Requests of one worker that wait for a connection to one address. Networks take turns, and within a network its
//! connections do: who sends a thousand requests does not hold up one with a single request for more than a turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::places::Origin;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    turns: RefCell<Turns<IpAddr, Connections>>,
    /// Those who were called and have not heard of it.
    called: Cell<usize>,
}

/// Those of a network, by number.
type Connections = Turns<u64, VecDeque<Rc<Waiting>>>;

/// Lines that take turns. None of them is empty; the first one is next.
#[derive(Debug)]
struct Turns<K, L>(VecDeque<(K, L)>);

/// Something to take the first one from.
trait Line: Default {
    fn pop(&mut self) -> Option<Rc<Waiting>>;
    fn is_empty(&self) -> bool;
}

#[derive(Debug, Default)]
struct Waiting {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A place in the queue, which completes when there may be a connection for it. Given up when dropped; if it was called and
/// did not hear of it, the next is called instead.
#[derive(Debug)]
pub(super) struct Place<'a> {
    queue: &'a Queue,
    origin: Origin,
    waiting: Rc<Waiting>,
    heard: bool,
}

// === impl Queue ===

impl Queue {
    /// Takes the last place of those from the same connection, or the first one when it was called in vain.
    pub(super) fn join(&self, origin: Origin, in_vain: bool) -> Place<'_> {
        let waiting = Rc::<Waiting>::default();
        self.turns
            .borrow_mut()
            .add(origin.network, in_vain, |connections| {
                connections.add(origin.connection, in_vain, |line| {
                    let waiting = Rc::clone(&waiting);
                    match in_vain {
                        true => line.push_front(waiting),
                        false => line.push_back(waiting),
                    }
                });
            });
        Place {
            queue: self,
            origin,
            waiting,
            heard: false,
        }
    }

    /// Whether nobody waits to be called.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.borrow().is_empty()
    }

    /// Whether nobody waits, nor was called just now.
    pub(super) fn is_over(&self) -> bool {
        self.called.get() == 0 && self.is_empty()
    }

    /// Calls the next.
    pub(super) fn call_one(&self) {
        let next = self.turns.borrow_mut().pop();
        if let Some(next) = next {
            self.call(&next);
        }
    }

    /// Calls everybody.
    pub(super) fn call_all(&self) {
        let mut all = self.turns.take();
        while let Some(next) = all.pop() {
            self.call(&next);
        }
    }

    fn call(&self, next: &Waiting) {
        self.called.set(self.called.get() + 1);
        next.call();
    }

    fn leave(&self, origin: Origin, waiting: &Rc<Waiting>) {
        self.turns.borrow_mut().edit(origin.network, |connections| {
            connections.edit(origin.connection, |line| {
                line.retain(|other| !Rc::ptr_eq(other, waiting));
            });
        });
    }
}

// === impl Turns ===

impl<K, L> Default for Turns<K, L> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: Copy + PartialEq, L: Line> Turns<K, L> {
    /// Fills the line of `key`; a new one is the first or the last.
    fn add(&mut self, key: K, first: bool, fill: impl FnOnce(&mut L)) {
        if let Some((_, line)) = self.0.iter_mut().find(|(other, _)| *other == key) {
            return fill(line);
        }
        let mut line = L::default();
        fill(&mut line);
        match first {
            true => self.0.push_front((key, line)),
            false => self.0.push_back((key, line)),
        }
    }

    fn edit(&mut self, key: K, change: impl FnOnce(&mut L)) {
        let at = self.0.iter().position(|(other, _)| *other == key);
        if let Some(at) = at
            && let Some((_, line)) = self.0.get_mut(at)
        {
            change(line);
            if line.is_empty() {
                self.0.remove(at);
            }
        }
    }
}

impl<K, L: Line> Line for Turns<K, L> {
    fn pop(&mut self) -> Option<Rc<Waiting>> {
        let (key, mut line) = self.0.pop_front()?;
        let next = line.pop();
        if !line.is_empty() {
            self.0.push_back((key, line));
        }
        next
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Line for VecDeque<Rc<Waiting>> {
    fn pop(&mut self) -> Option<Rc<Waiting>> {
        self.pop_front()
    }

    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }
}

// === impl Waiting ===

impl Waiting {
    fn call(&self) {
        self.called.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

// === impl Place ===

impl Place<'_> {
    fn hear(&mut self) {
        if !std::mem::replace(&mut self.heard, true) {
            self.queue.called.set(self.queue.called.get() - 1);
        }
    }
}

impl Future for Place<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.called.get() {
            self.hear();
            return Poll::Ready(());
        }
        let mut waker = self.waiting.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        match (self.waiting.called.get(), self.heard) {
            (false, _) => self.queue.leave(self.origin, &self.waiting),
            (true, false) => {
                self.hear();
                self.queue.call_one();
            }
            (true, true) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn from(host: u8, connection: u64) -> Origin {
        Origin {
            network: IpAddr::from([192, 0, 2, host]),
            connection,
        }
    }

    #[test]
    fn networks_take_turns_and_so_do_their_connections() {
        let queue = Queue::default();
        let origins = [(1, 1), (1, 1), (1, 1), (1, 2), (2, 3), (3, 4), (3, 5)];
        let mut places: Vec<_> = origins
            .iter()
            .map(|(host, connection)| queue.join(from(*host, *connection), false))
            .collect();
        let mut called = Vec::new();
        while !queue.is_empty() {
            queue.call_one();
            let heard = places
                .iter_mut()
                .position(|place| !place.heard && place.now_or_never().is_some());
            called.extend(heard);
        }
        assert_eq!(called, [0, 4, 5, 3, 6, 1, 2]);
    }

    #[test]
    fn who_leaves_passes_its_turn_on() {
        let queue = Queue::default();
        let (first, mut second) = (queue.join(from(1, 1), false), queue.join(from(1, 1), false));
        queue.call_one();
        assert_eq!((&mut second).now_or_never(), None);
        drop(first);
        assert_eq!((&mut second).now_or_never(), Some(()));
        drop(second);
        let (third, fourth) = (queue.join(from(1, 1), false), queue.join(from(2, 2), false));
        drop(third);
        queue.call_one();
        assert!(!queue.is_over(), "who was called has not heard");
        assert_eq!(fourth.now_or_never(), Some(()), "who left before is not called");
        assert!(queue.is_over());
    }

    #[test]
    fn who_was_called_in_vain_is_next() {
        let queue = Queue::default();
        let (first, mut second) = (queue.join(from(1, 1), false), queue.join(from(2, 2), true));
        queue.call_one();
        assert_eq!((&mut second).now_or_never(), Some(()));
        drop((first, second));
        let (all, every) = (queue.join(from(1, 1), false), queue.join(from(2, 2), false));
        queue.call_all();
        assert_eq!((all.now_or_never(), every.now_or_never()), (Some(()), Some(())));
        assert!(queue.is_over());
    }
}
