//! What the exchanges of one connection leave at the connection: how many are under way, and when something last moved.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

/// A worker's clock, good enough for idle times: reading it costs nothing.
pub(crate) type Clock = Rc<Cell<Instant>>;

/// The traffic of a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    clock: Clock,
    active: Cell<u32>,
    /// Exchanges so far.
    begun: Cell<u64>,
    /// Greatest time without movement that an exchange under way may take; zero when none said so.
    patience: Cell<Duration>,
    moved: Cell<Instant>,
}

/// Counts an exchange of a connection until its last byte.
#[derive(Debug)]
pub(crate) struct Active(Rc<Activity>);

impl Activity {
    /// A connection on which nothing has happened yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            active: Cell::new(0),
            begun: Cell::new(0),
            patience: Cell::new(Duration::ZERO),
            moved: Cell::new(Instant::now()),
        }
    }

    /// An exchange begins.
    pub(crate) fn begin(self: &Rc<Self>) -> Active {
        self.active.set(self.active.get() + 1);
        self.begun.set(self.begun.get() + 1);
        Active(Rc::clone(self))
    }

    /// Exchanges that have begun so far.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// Whether an exchange is under way.
    pub(crate) fn is_active(&self) -> bool {
        self.active.get() > 0
    }

    /// Bytes came in or went out. Gives the time.
    pub(crate) fn moved(&self) -> Instant {
        let now = self.clock.get();
        self.moved.set(now);
        now
    }

    /// Time without movement.
    pub(crate) fn quiet(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.moved.get())
    }

    /// Greatest time without movement that an exchange under way may take.
    pub(crate) fn patience(&self) -> Duration {
        self.patience.get()
    }
}

impl Active {
    /// The time, good enough for idle times.
    pub(crate) fn now(&self) -> Instant {
        self.0.clock.get()
    }

    /// The exchange may wait that long without movement; zero is for ever.
    pub(crate) fn allow(&self, idle: Duration) {
        let idle = if idle.is_zero() { Duration::MAX } else { idle };
        self.0.patience.set(self.0.patience.get().max(idle));
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let activity = &self.0;
        activity.active.set(activity.active.get() - 1);
        if !activity.is_active() {
            activity.patience.set(Duration::ZERO);
        }
        activity.moved();
    }
}
