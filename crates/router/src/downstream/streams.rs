//! The streams of connections, so that those whose caller does not take their answer can be ended one by one: each holds an
//! upstream connection, and a connection of HTTP/2 may be kept alive for ever by other frames. A connection of HTTP/1 is one
//! stream, which ends with it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::error::Flag;
use crate::event::live::Live;
use crate::places::network;

/// Longest time that a caller may leave what is there for it.
const UNTAKEN: Duration = Duration::from_secs(15);
/// The same where its address holds more than its share of a cluster that others need.
const UNTAKEN_IN_NEED: Duration = Duration::from_secs(1);
/// Share of a cluster's requests that streams of one address may hold without taking their answers: one in so many.
const SHARE: u32 = 4;

/// The streams of one connection.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    all: RefCell<Slab<Rc<Stream>>>,
    /// The one that is looked at now; always the same on HTTP/1.
    current: RefCell<Option<Rc<Stream>>>,
}

/// What a connection has its streams looked at for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks {
    /// The time.
    pub(crate) now: Instant,
    /// The listener's idle time of a stream, zero for none.
    pub(crate) idle: Duration,
    /// The caller.
    pub(crate) peer: IpAddr,
    /// The caller's socket takes nothing at the moment. That is how slow callers look, too: what its streams are left with is no
    /// fault of theirs.
    pub(crate) blocked: bool,
}

/// One stream.
#[derive(Debug, Default)]
struct Stream {
    /// None when its exchange is over.
    live: RefCell<Weak<Live>>,
    doomed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Runs the streams of a connection on the worker's own thread.
#[derive(Debug, Clone)]
pub(crate) struct Exec(pub(crate) Rc<Streams>);

/// A stream that can be ended from outside.
struct Running<F> {
    streams: Rc<Streams>,
    stream: Rc<Stream>,
    key: usize,
    future: Pin<Box<F>>,
}

/// Streams that hold up their upstreams, by cluster and address of the caller.
#[derive(Debug, Default)]
pub(crate) struct Untaken(HashMap<(u64, IpAddr), Held>);

#[derive(Debug)]
struct Held {
    cluster: std::sync::Arc<Cluster>,
    streams: Vec<(Instant, Rc<Stream>)>,
}

// === impl Streams ===

impl Streams {
    /// The connection is one stream.
    pub(crate) fn be_one(&self) {
        let stream = Rc::<Stream>::default();
        self.all.borrow_mut().insert(Rc::clone(&stream));
        *self.current.borrow_mut() = Some(stream);
    }

    /// Whether the connection is one stream, and this one is to end.
    pub(crate) fn is_over(&self) -> bool {
        let current = self.current.borrow();
        current.as_ref().is_some_and(|stream| stream.doomed.get())
    }

    /// The exchange of the stream that is looked at now.
    pub(crate) fn begin(&self, live: &Rc<Live>) {
        if let Some(stream) = &*self.current.borrow() {
            live.watch();
            // What was to end on HTTP/1 may have come to its end by itself.
            stream.doomed.set(false);
            *stream.live.borrow_mut() = Rc::downgrade(live);
        }
    }

    /// Ends the streams whose caller has taken nothing for too long, and notes the others that are on the way there.
    pub(crate) fn review(&self, looks: Looks, untaken: &mut Untaken) {
        let peer = network(looks.peer);
        let longest = if looks.idle.is_zero() {
            UNTAKEN
        } else {
            UNTAKEN.min(looks.idle)
        };
        for (_, stream) in self.all.borrow().iter() {
            let live = stream.live.borrow().upgrade();
            let Some((live, since)) = live.and_then(|live| live.untaken().map(|since| (live, since))) else {
                continue;
            };
            let waited = looks.now.saturating_duration_since(since);
            if waited >= longest && !looks.blocked {
                stream.end(&live);
            } else if waited >= UNTAKEN_IN_NEED
                && let Some(cluster) = live.cluster()
            {
                untaken.note(cluster, peer, since, stream);
            }
        }
    }
}

// === impl Stream ===

impl Stream {
    fn end(&self, live: &Live) {
        live.raise(Flag::StreamIdle);
        self.doomed.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

// === impl Untaken ===

impl Untaken {
    fn note(&mut self, cluster: std::sync::Arc<Cluster>, peer: IpAddr, since: Instant, stream: &Rc<Stream>) {
        let held = self.0.entry((cluster.id, peer)).or_insert_with(|| Held {
            cluster,
            streams: Vec::new(),
        });
        held.streams.push((since, Rc::clone(stream)));
    }

    /// Ends the oldest of those that are more than their network's share of a cluster which is busy: those of this worker, as
    /// many as its part of all is.
    pub(crate) fn relieve(self, worker: usize, now: Instant) {
        for ((_, from), mut held) in self.0 {
            let part = held.cluster.holders.note(from, worker, held.streams.len(), now);
            let Some(share) = held.cluster.limits.share(SHARE, held.cluster.streams()) else {
                continue;
            };
            let surplus = part.surplus(usize::try_from(share).unwrap_or(usize::MAX));
            held.streams.sort_unstable_by_key(|(since, _)| *since);
            for (_, stream) in held.streams.iter().take(surplus) {
                if let Some(live) = stream.live.borrow().upgrade() {
                    stream.end(&live);
                }
            }
        }
    }
}

// === impl Exec ===

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Exec {
    fn execute(&self, future: F) {
        let stream = Rc::<Stream>::default();
        let key = self.0.all.borrow_mut().insert(Rc::clone(&stream));
        tokio::task::spawn_local(Running {
            streams: Rc::clone(&self.0),
            stream,
            key,
            future: Box::pin(future),
        });
    }
}

// === impl Running ===

impl<F: Future<Output = ()>> Future for Running<F> {
    type Output = ();

    /// When the stream is to end its future is dropped, and hyper resets what was not finished.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.stream.doomed.get() {
            return Poll::Ready(());
        }
        {
            let mut waker = self.stream.waker.borrow_mut();
            if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        *self.streams.current.borrow_mut() = Some(Rc::clone(&self.stream));
        let polled = self.future.as_mut().poll(cx);
        self.streams.current.take();
        polled
    }
}

impl<F> Drop for Running<F> {
    fn drop(&mut self) {
        self.streams.all.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_exchange_of_a_connection_does_not_pay_for_the_last() {
        let streams = Streams::default();
        streams.be_one();
        let live = || Rc::new(Live::new(Instant::now()));
        let first = live();
        streams.begin(&first);
        if let Some(stream) = &*streams.current.borrow() {
            stream.end(&first);
        }
        assert!(streams.is_over());
        // It was taken to the end before anybody looked again.
        let second = live();
        streams.begin(&second);
        assert!(!streams.is_over());
    }

    /// Or clusters that are gone would be kept, and probed, for as long as callers who asked them last stay connected.
    #[test]
    fn an_exchange_that_is_over_is_not_kept() {
        let streams = Streams::default();
        streams.be_one();
        let live = Rc::new(Live::new(Instant::now()));
        streams.begin(&live);
        assert_eq!(Rc::strong_count(&live), 1);
    }
}
