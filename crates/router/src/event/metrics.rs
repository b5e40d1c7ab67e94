//! Counters of the data path: one set for each worker, so that no two threads write to one cache line. They are added up
//! when somebody reads them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cluster::usage::CLASSES;
use crate::error::Flag;
use crate::places::Refusal;

/// Counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By listener and class of the status.
    pub(crate) requests: [[AtomicU64; CLASSES.len()]; LISTENERS.len()],
    /// Answers of our own by flag.
    pub(crate) replies: [AtomicU64; Flag::ALL.len()],
    /// By listener.
    pub(crate) connections: [AtomicU64; LISTENERS.len()],
    /// Connections by [`Refusal`].
    pub(crate) refused: [AtomicU64; REFUSALS.len()],
    /// Requests by [`Shed`].
    pub(crate) shed: [AtomicU64; SHED.len()],
    /// By outcome.
    pub(crate) checks: [AtomicU64; CHECKS.len()],
    /// Bytes of request bodies.
    pub(crate) received: AtomicU64,
    /// Bytes of response bodies.
    pub(crate) sent: AtomicU64,
    /// Requests begun.
    pub(crate) started: AtomicU64,
    /// Requests over.
    pub(crate) finished: AtomicU64,
    /// Requests sent again.
    pub(crate) retries: AtomicU64,
    /// Upstream connections by outcome.
    pub(crate) connects: [AtomicU64; CONNECTS.len()],
    /// Of requests.
    pub(crate) duration: Histogram,
    /// Of checks.
    pub(crate) check_duration: Histogram,
}

/// How a check ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Check {
    /// Yes.
    Allowed,
    /// No.
    Denied,
    /// Neither.
    Failed,
}

/// Why a request is turned away that would be served at another time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shed {
    /// Too many of its address are under way.
    Address,
    /// Too many wait for the enforcer.
    Checks,
}

/// Labels of listeners.
pub(crate) const LISTENERS: [&str; 2] = ["http", "https"];
/// Labels of [`Check`].
pub(crate) const CHECKS: [&str; 3] = ["allowed", "denied", "failed"];
/// Labels of [`Refusal`].
pub(crate) const REFUSALS: [&str; 3] = ["address", "limit", "proxy_protocol"];
/// Labels of [`Shed`].
pub(crate) const SHED: [&str; 2] = ["address", "checks"];
/// Labels of tried connections.
pub(crate) const CONNECTS: [&str; 2] = ["connected", "failed"];
/// Upper bounds in microseconds.
pub(crate) const BOUNDS: [u32; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// Durations.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One above each bound, the last for all that is longer.
    pub(crate) buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Sum, in microseconds.
    pub(crate) micros: AtomicU64,
}

fn add(counter: &AtomicU64, value: u64) {
    // Only the owning worker writes, so this needs no read-modify-write, which costs ten times as much.
    counter.store(counter.load(Ordering::Relaxed) + value, Ordering::Relaxed);
}

fn bump(counters: &[AtomicU64], index: usize) {
    if let Some(counter) = counters.get(index) {
        add(counter, 1);
    }
}

// === impl Tally ===

impl Tally {
    /// A request head is complete.
    pub(crate) fn start(&self) {
        add(&self.started, 1);
    }

    /// A request is over. `local` when the answer was ours.
    pub(crate) fn finish(
        &self,
        tls: bool,
        status: u16,
        local: Option<Flag>,
        bytes: (u64, u64),
        took: Duration,
    ) {
        add(&self.finished, 1);
        if let Some(classes) = self.requests.get(usize::from(tls)) {
            bump(classes, usize::from(status / 100).min(CLASSES.len() - 1));
        }
        if let Some(flag) = local {
            bump(&self.replies, flag as usize);
        }
        add(&self.received, bytes.0);
        add(&self.sent, bytes.1);
        self.duration.observe(took);
    }

    /// A connection was accepted.
    pub(crate) fn connection(&self, tls: bool) {
        bump(&self.connections, usize::from(tls));
    }

    /// A connection was refused.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        bump(
            &self.refused,
            match refusal {
                Refusal::Address => 0,
                Refusal::All => 1,
                Refusal::Header => 2,
            },
        );
    }

    /// A request was turned away for there being too many.
    pub(crate) fn shed(&self, shed: Shed) {
        bump(
            &self.shed,
            match shed {
                Shed::Address => 0,
                Shed::Checks => 1,
            },
        );
    }

    /// A check is over.
    pub(crate) fn check(&self, outcome: Check, took: Duration) {
        bump(
            &self.checks,
            match outcome {
                Check::Allowed => 0,
                Check::Denied => 1,
                Check::Failed => 2,
            },
        );
        self.check_duration.observe(took);
    }

    /// A request was sent again.
    pub(crate) fn retry(&self) {
        add(&self.retries, 1);
    }

    /// An upstream connection was tried.
    pub(crate) fn connect(&self, connected: bool) {
        bump(&self.connects, usize::from(!connected));
    }
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        bump(
            &self.buckets,
            BOUNDS.partition_point(|bound| u64::from(*bound) < micros),
        );
        add(&self.micros, micros);
    }
}
