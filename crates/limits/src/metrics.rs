//! Figures about the counters, and what is logged with them.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use trireme_telemetry::{Metrics, names};

type Labels = [(&'static str, &'static str); 1];

/// The metrics. Clones share them.
#[derive(Clone)]
pub(crate) struct Figures {
    held: Gauge,
    evicted: Counter,
    full: Counter,
    duration: Histogram,
    batch: Histogram,
    failures: Family<Labels, Counter>,
    connected: Gauge,
    unanswered: Counter,
}

impl Figures {
    /// Registers them.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            held: metrics.register(
                names::LIMIT_COUNTERS,
                "Counters held in this process",
                Gauge::default(),
            ),
            evicted: metrics.register(
                names::LIMIT_EVICTIONS,
                "Counters forgotten before the end of their window, for want of room",
                Counter::default(),
            ),
            full: metrics.register(
                names::LIMIT_FULL,
                "Counters refused for want of room",
                Counter::default(),
            ),
            duration: metrics.register(
                names::LIMIT_REDIS_DURATION,
                "How long a call of Redis took",
                Histogram::new([
                    1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5, 1.0,
                ]),
            ),
            batch: metrics.register(
                names::LIMIT_REDIS_BATCH,
                "Checks in a call of Redis",
                Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]),
            ),
            failures: metrics.register(
                names::LIMIT_REDIS_FAILURES,
                "Calls of Redis, and attempts to connect, that failed",
                Family::default(),
            ),
            connected: metrics.register(
                names::LIMIT_REDIS_CONNECTED,
                "Whether Redis answers",
                Gauge::default(),
            ),
            unanswered: metrics.register(
                names::LIMIT_UNANSWERED,
                "Checks that were decided without an answer of Redis",
                Counter::default(),
            ),
        }
    }

    pub(crate) fn held(&self, more: i64) {
        self.held.inc_by(more);
    }

    pub(crate) fn evicted(&self) {
        self.evicted.inc();
    }

    pub(crate) fn full(&self) {
        self.full.inc();
    }

    pub(crate) fn called(&self, duration: Duration, checks: usize) {
        self.duration.observe(duration.as_secs_f64());
        self.batch
            .observe(u32::try_from(checks).map_or(f64::INFINITY, f64::from));
    }

    pub(crate) fn failed(&self, kind: &'static str) {
        self.failures.get_or_create(&[("kind", kind)]).inc();
    }

    pub(crate) fn connected(&self, connected: bool) {
        self.connected.set(i64::from(connected));
    }

    pub(crate) fn unanswered(&self) {
        self.unanswered.inc();
    }
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}
