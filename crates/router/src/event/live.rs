//! What the parts of one exchange tell each other while it runs: both bodies, the upstream call and the final event.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::error::Flag;

/// One exchange under way. Shared by its bodies, which outlive the function that answers it.
#[derive(Debug)]
pub(crate) struct Live {
    /// When the request head was complete.
    pub(crate) started: Instant,
    received: Cell<u64>,
    sent: Cell<u64>,
    activity: Cell<Instant>,
    request_done: Cell<Option<Instant>>,
    response_began: Cell<Option<Instant>>,
    request_broken: Cell<bool>,
    flag: Cell<Flag>,
    /// Somebody looks whether the caller takes its answer.
    watched: Cell<bool>,
    /// Since when there is something that the caller has not taken.
    untaken: Cell<Option<Instant>>,
    /// What it holds a connection of.
    cluster: RefCell<Option<Arc<Cluster>>>,
}

impl Live {
    /// An exchange that starts now.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            received: Cell::new(0),
            sent: Cell::new(0),
            activity: Cell::new(now),
            request_done: Cell::new(None),
            response_began: Cell::new(None),
            request_broken: Cell::new(false),
            flag: Cell::new(Flag::None),
            watched: Cell::new(false),
            untaken: Cell::new(None),
            cluster: RefCell::default(),
        }
    }

    /// Whether the caller takes its answer is looked at from now on.
    pub(crate) fn watch(&self) {
        self.watched.set(true);
    }

    /// There is something for the caller to take, from `now` on.
    pub(crate) fn offer(&self, now: impl FnOnce() -> Instant) {
        if self.watched.get() {
            self.untaken.set(Some(now()));
        }
    }

    /// The caller has taken all that was there.
    pub(crate) fn take(&self) {
        self.untaken.set(None);
    }

    /// Since when there is something that the caller has not taken.
    pub(crate) fn untaken(&self) -> Option<Instant> {
        self.untaken.get()
    }

    /// It is sent to this cluster.
    pub(crate) fn hold(&self, cluster: &Arc<Cluster>) {
        if self.watched.get() {
            *self.cluster.borrow_mut() = Some(Arc::clone(cluster));
        }
    }

    /// The cluster that it is sent to, where it is watched.
    pub(crate) fn cluster(&self) -> Option<Arc<Cluster>> {
        self.cluster.borrow().clone()
    }

    /// Counts request body bytes.
    pub(crate) fn receive(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
        self.activity.set(Instant::now());
    }

    /// Counts response body bytes.
    pub(crate) fn send(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Something moved on the stream.
    pub(crate) fn touch(&self, now: Instant) {
        self.activity.set(now);
    }

    /// The request is complete.
    pub(crate) fn finish_request(&self) {
        if self.request_done.get().is_none() {
            self.request_done.set(Some(Instant::now()));
        }
    }

    /// The first byte of the upstream's answer is there.
    pub(crate) fn begin_response(&self, now: Instant) {
        self.response_began.set(Some(now));
        self.activity.set(now);
    }

    /// When the upstream's answer began.
    pub(crate) fn response_began(&self) -> Option<Instant> {
        self.response_began.get()
    }

    /// The request will never be complete.
    pub(crate) fn break_request(&self) {
        self.request_broken.set(true);
    }

    /// When the request was complete.
    pub(crate) fn request_done(&self) -> Option<Instant> {
        self.request_done.get()
    }

    /// Whether the caller broke off within the request.
    pub(crate) fn request_broken(&self) -> bool {
        self.request_broken.get()
    }

    /// When something last moved.
    pub(crate) fn activity(&self) -> Instant {
        self.activity.get()
    }

    /// Request body bytes so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.get()
    }

    /// Response body bytes so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// The response flag.
    pub(crate) fn flag(&self) -> Flag {
        self.flag.get()
    }

    /// Sets the response flag; the first one stays.
    pub(crate) fn raise(&self, flag: Flag) {
        if self.flag.get() == Flag::None {
            self.flag.set(flag);
        }
    }
}
