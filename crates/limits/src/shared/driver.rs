//! The task that keeps the connection and calls Redis for all that wait.
//!
//! ```text
//! connect ─▶ up: jobs ─▶ one call for all that wait ─▶ answers        (several calls may be on their way)
//!    ▲                     │ any failure
//!    └── pause ◀── away: every check is decided at once, as the settings say
//! ```

use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};
use trireme_telemetry::chain;

use super::batch::{Batch, Job};
use super::call::Answer;
use super::connect::Connection;
use super::failure::Failure;
use super::lease::Leases;
use super::settings::SharedSettings;
use crate::limit::Time;
use crate::metrics::Figures;

/// Checks of one call: a call keeps Redis busy for less than a millisecond.
const LARGEST_BATCH: usize = 128;
/// Calls on their way at once, where every check asks.
const IN_FLIGHT: usize = 8;
/// The pause after the first attempt to connect that failed; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause, before jitter takes up to a half of it away.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// Without checks, Redis is called this often, to notice early that it is away.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The shortest time between two warnings.
const WARNINGS: Duration = Duration::from_secs(10);

/// What the handles see.
#[derive(Debug)]
pub(crate) struct State {
    /// Redis answers.
    pub(crate) up: AtomicBool,
    /// The first attempt to connect is over.
    pub(crate) started: watch::Sender<bool>,
}

pub(crate) struct Driver {
    pub(crate) settings: Arc<SharedSettings>,
    pub(crate) leases: Option<Arc<Leases>>,
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) state: Arc<State>,
    pub(crate) figures: Figures,
    /// When the last warning was written, and whether what it tells still holds.
    pub(crate) warned: Option<Instant>,
    pub(crate) told: bool,
}

impl Driver {
    /// Ends when all handles are gone.
    pub(crate) async fn run(mut self) {
        let mut away: Option<Instant> = None;
        loop {
            let connection = self.connect(&mut away).await;
            if let Some(since) = away.take()
                && mem::take(&mut self.told)
            {
                info!(away_ms = millis(since.elapsed()), "Redis counts limits again");
            }
            self.figures.connected(true);
            self.discard();
            self.state.up.store(true, Ordering::Release);
            self.state.started.send_replace(true);
            let ended = self.serve(&connection).await;
            self.state.up.store(false, Ordering::Release);
            let Err(failure) = ended else { return };
            self.discard();
            self.failed(&failure, &mut away);
        }
    }

    /// Tries until it succeeds.
    async fn connect(&mut self, away: &mut Option<Instant>) -> Connection {
        let mut pause = FIRST_PAUSE;
        loop {
            match Connection::open(Arc::clone(&self.settings)).await {
                Ok(connection) => return connection,
                Err(failure) => self.failed(&failure, away),
            }
            self.state.started.send_replace(true);
            self.discard();
            sleep(pause.mul_f64(1.0 - fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Calls until one fails; ends well when nobody is left who could ask.
    async fn serve(&mut self, connection: &Connection) -> Result<(), Failure> {
        let in_flight = if self.leases.is_some() { 1 } else { IN_FLIGHT };
        let mut flights = FuturesUnordered::new();
        let mut jobs = Vec::with_capacity(LARGEST_BATCH);
        loop {
            let idle = flights.is_empty();
            tokio::select! {
                Some(landed) = flights.next(), if !idle => {
                    let (batch, outcome): (Batch, Result<Answer, Failure>) = landed;
                    batch.settle(outcome?, self.leases.as_deref())?;
                }
                received = self.jobs.recv_many(&mut jobs, LARGEST_BATCH), if flights.len() < in_flight => {
                    if received == 0 {
                        return Ok(());
                    }
                    flights.extend(self.start(connection, &mut jobs));
                }
                () = connection.closed(), if idle => return Err(Failure::Lost(None)),
                () = sleep(HEARTBEAT), if idle => flights.extend(self.start(connection, &mut jobs)),
            }
        }
    }

    /// A call for `jobs`; none where all of them could be answered without.
    fn start(
        &self,
        connection: &Connection,
        jobs: &mut Vec<Job>,
    ) -> Option<impl Future<Output = (Batch, Result<Answer, Failure>)> + use<>> {
        let heartbeat = jobs.is_empty();
        let now = Time::from(SystemTime::now());
        let (batch, call) = match &self.leases {
            None => Batch::ask(jobs, now),
            Some(leases) => Batch::lease(jobs, leases, now),
        };
        if call.is_empty() && !heartbeat {
            return None;
        }
        let mut connection = connection.clone();
        let (wait, figures) = (self.settings.wait, self.figures.clone());
        Some(async move {
            let sent = Instant::now();
            let outcome = timeout(wait, connection.call(&call)).await;
            figures.called(sent.elapsed(), batch.len());
            (batch, outcome.unwrap_or(Err(Failure::Timeout(wait))))
        })
    }

    /// Whoever waits hears at once that there is no answer.
    fn discard(&mut self) {
        while self.jobs.try_recv().is_ok() {}
    }

    fn failed(&mut self, failure: &Failure, away: &mut Option<Instant>) {
        self.figures.failed(failure.kind());
        self.figures.connected(false);
        let error = chain(failure);
        if away.is_some() {
            debug!(error, "Redis is still away");
            return;
        }
        *away = Some(Instant::now());
        // A server that is slow now and then must not fill the log.
        if self.warned.is_some_and(|warned| warned.elapsed() < WARNINGS) {
            debug!(error, "Redis is away again");
            return;
        }
        self.warned = Some(Instant::now());
        self.told = true;
        warn!(
            error,
            host = self.settings.server.host,
            port = self.settings.server.port,
            on_failure = ?self.settings.on_failure,
            "Redis does not count limits; requests pass or are refused as configured until it does"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
