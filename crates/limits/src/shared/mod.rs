//! Counters that several processes share in Redis.
//!
//! Redis's clock decides about windows, so that all who share a limit agree. `driver.rs` is the task that owns the
//! connection; `call.rs` and `script.lua` are the two sides of a call; `batch.rs` goes between checks and calls;
//! `lease.rs` holds slices and decides with them.

mod batch;
mod call;
mod connect;
mod driver;
mod failure;
mod lease;
mod settings;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use self::batch::{Check, Job};
use self::call::write_name;
use self::driver::{Driver, State};
use self::lease::{Leases, Terms};
pub use self::settings::{InvalidUrl, Mode, OnFailure, Server, SharedSettings};
use crate::decision::{Decision, Outcome};
use crate::limit::{Limit, MAX_LIMITS, Time, Window};
use crate::memory::Id;
use crate::metrics::Figures;

/// Checks that wait for the next call. More are decided without an answer.
const WAITING: usize = 8192;

/// A check that waits for Redis. Ends within the configured wait, reckoned from when it was made.
#[derive(Debug)]
#[must_use = "nothing is decided before it is awaited"]
pub struct Pending {
    answer: oneshot::Receiver<Decision>,
    deadline: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    unavailable: Unavailable,
    now: Time,
}

impl Future for Pending {
    type Output = Decision;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Decision> {
        let this = self.get_mut();
        match Pin::new(&mut this.answer).poll(cx) {
            Poll::Ready(Ok(decision)) => return Poll::Ready(decision),
            Poll::Ready(Err(_)) => return Poll::Ready(this.unavailable.decide(this.now)),
            Poll::Pending => {}
        }
        let deadline = this.deadline;
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        sleep
            .as_mut()
            .poll(cx)
            .map(|()| this.unavailable.decide(this.now))
    }
}

/// The answer without an answer.
#[derive(Clone, Debug)]
struct Unavailable {
    admit: bool,
    figures: Figures,
}

impl Unavailable {
    fn decide(&self, now: Time) -> Decision {
        self.figures.unanswered();
        let admit = self.admit;
        Decision::new(Outcome::Unavailable { admit }, now)
    }
}

/// The counters in Redis.
pub(crate) struct Shared {
    settings: Arc<SharedSettings>,
    leases: Option<Arc<Leases>>,
    jobs: mpsc::Sender<Job>,
    state: Arc<State>,
    unavailable: Unavailable,
    figures: Figures,
    _driver: AbortOnDropHandle<()>,
}

impl Shared {
    pub(crate) fn start(settings: SharedSettings, seed: [u8; 16], figures: Figures) -> Self {
        let settings = Arc::new(settings);
        let leases = match settings.mode {
            Mode::Ask => None,
            Mode::Lease => Some(Arc::new(Leases::new(settings.capacity, seed, figures.clone()))),
        };
        let (sender, jobs) = mpsc::channel(WAITING);
        let state = Arc::new(State {
            up: AtomicBool::new(false),
            started: watch::Sender::new(false),
        });
        let driver = Driver {
            settings: Arc::clone(&settings),
            leases: leases.clone(),
            jobs,
            state: Arc::clone(&state),
            figures: figures.clone(),
            warned: None,
            told: false,
        };
        let unavailable = Unavailable {
            admit: settings.on_failure == OnFailure::Open,
            figures: figures.clone(),
        };
        Self {
            settings,
            leases,
            jobs: sender,
            state,
            unavailable,
            figures,
            _driver: AbortOnDropHandle::new(tokio::spawn(driver.run())),
        }
    }

    /// Waits until the first attempt to connect is over; says whether Redis answers.
    pub(crate) async fn started(&self) -> bool {
        let mut started = self.state.started.subscribe();
        // The sender lives as long as this.
        let (Ok(_) | Err(_)) = started.wait_for(|started| *started).await;
        self.state.up.load(Ordering::Acquire)
    }

    /// Decides with what is here, or asks.
    pub(crate) fn take(&self, limits: &[Limit<'_>], now: Time) -> Result<Decision, Pending> {
        if limits.len() > MAX_LIMITS {
            return Ok(Decision::new(Outcome::TooMany, now));
        }
        if limits.is_empty() {
            return Ok(Decision::new(Outcome::Admitted, now));
        }
        let mut terms = [NOTHING; MAX_LIMITS];
        for (terms, limit) in terms.iter_mut().zip(limits) {
            *terms = self.terms(limit);
        }
        let terms = &terms[..limits.len()];
        if let Some(leases) = &self.leases
            && let Some(decision) = leases.take(terms, now)
        {
            return Ok(decision);
        }
        if !self.state.up.load(Ordering::Acquire) {
            return Ok(self.unavailable.decide(now));
        }
        let (reply, answer) = oneshot::channel();
        let check = self.check(limits, terms, reply);
        if self.jobs.try_send(Job::Check(check)).is_err() {
            self.figures.failed("overload");
            return Ok(self.unavailable.decide(now));
        }
        Err(Pending {
            answer,
            deadline: Instant::now() + self.settings.wait,
            sleep: None,
            unavailable: self.unavailable.clone(),
            now,
        })
    }

    pub(crate) fn add(&self, key: &[u8], window: Window, amount: u64) {
        if amount == 0 {
            return;
        }
        if let Some(leases) = &self.leases {
            leases.spend(leases.id(key, window), amount);
        }
        let mut name = Vec::new();
        write_name(&mut name, &self.settings.prefix, window, key);
        let job = Job::Add { name, window, amount };
        if !self.state.up.load(Ordering::Acquire) || self.jobs.try_send(job).is_err() {
            self.figures.unanswered();
        }
    }

    fn terms(&self, limit: &Limit<'_>) -> Terms {
        let id = match &self.leases {
            Some(leases) => leases.id(limit.key, limit.window),
            None => Id::default(),
        };
        Terms {
            id,
            quota: limit.quota,
            window: limit.window,
            cost: limit.cost,
        }
    }

    fn check(&self, limits: &[Limit<'_>], terms: &[Terms], reply: oneshot::Sender<Decision>) -> Check {
        let mut names = Vec::with_capacity(64 * limits.len());
        let name_ends = limits
            .iter()
            .map(|limit| {
                write_name(&mut names, &self.settings.prefix, limit.window, limit.key);
                names.len()
            })
            .collect();
        Check {
            limits: terms.to_vec(),
            names,
            name_ends,
            reply,
        }
    }
}

/// Fills arrays.
const NOTHING: Terms = Terms {
    id: Id(0, 0),
    quota: 0,
    window: Window::SECOND,
    cost: 0,
};
