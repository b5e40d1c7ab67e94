//! Calls at a rate, whatever the answers take, with every outcome counted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsConnector;

/// An answer later than this is none.
const PATIENCE: Duration = Duration::from_secs(10);

type Sender = SendRequest<Empty<Bytes>>;

/// What is called, and how.
#[derive(Clone)]
pub struct Paced {
    /// Where to connect.
    pub address: SocketAddr,
    /// The host of the request and of TLS.
    pub host: &'static str,
    /// Path and query.
    pub path: &'static str,
    /// Of `Authorization`.
    pub token: String,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<ClientConfig>>,
    /// Calls a second.
    pub rate: u32,
    /// Over so many connections.
    pub connections: u32,
    /// Whether a connection is kept for the next call.
    pub kept: bool,
}

/// Calls under way.
#[derive(Debug)]
pub struct Under {
    stop: Arc<AtomicBool>,
    workers: JoinSet<Report>,
    begin: Instant,
}

/// What became of the calls.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Answers of 200.
    pub good: u64,
    /// Everything else, by what it was.
    pub failed: BTreeMap<String, u64>,
    /// Connections made.
    pub connections: u64,
    /// From the moment that a call was due to its answer, at most.
    pub slowest: Duration,
    /// From the first call to the last.
    pub lasted: Duration,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.good += other.good;
        for (what, count) in other.failed {
            *self.failed.entry(what).or_default() += count;
        }
        self.connections += other.connections;
        self.slowest = self.slowest.max(other.slowest);
    }

    /// Calls that did not get an answer of 200.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Calls a second that were made.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for a person to read")]
        let calls = (self.good + self.failures()) as f64;
        calls / self.lasted.as_secs_f64().max(0.001)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answered, {} failed {:?}, {:.0}/s for {:.0} s, slowest {} ms, {} connections",
            self.good,
            self.failures(),
            self.failed,
            self.rate(),
            self.lasted.as_secs_f64(),
            self.slowest.as_millis(),
            self.connections
        )
    }
}

impl fmt::Debug for Paced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paced")
            .field("address", &self.address)
            .field("path", &self.path)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

impl Paced {
    /// Starts the calls; they end by themselves after `bound`.
    pub fn start(self, bound: Duration) -> Under {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        let begin = Instant::now();
        let period = Duration::from_secs(1) * self.connections / self.rate.max(1);
        for number in 0..self.connections {
            let (paced, stop) = (self.clone(), Arc::clone(&stop));
            // Spread over the period.
            let first = begin + period * number / self.connections;
            workers.spawn(async move { paced.work(first, period, begin + bound, &stop).await });
        }
        Under { stop, workers, begin }
    }

    /// One call on a connection of its own.
    ///
    /// # Errors
    /// There is no answer, with what there is in its place.
    pub async fn one(&self) -> Result<u16, String> {
        let call = async { self.call(&mut None, &mut 0).await };
        tokio::time::timeout(PATIENCE, call)
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn work(&self, first: Instant, period: Duration, end: Instant, stop: &AtomicBool) -> Report {
        let mut report = Report::default();
        let mut ticks = tokio::time::interval_at(first, period);
        // What was missed is caught up with: the rate holds over time.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut open = None;
        loop {
            let due = ticks.tick().await;
            if stop.load(Ordering::Relaxed) || Instant::now() > end {
                return report;
            }
            let outcome = tokio::time::timeout(PATIENCE, self.call(&mut open, &mut report.connections)).await;
            let failure = match outcome {
                Ok(Ok(200)) => None,
                Ok(Ok(status)) => Some(format!("status {status}")),
                Ok(Err(failure)) => Some(failure),
                Err(_) => {
                    open = None;
                    Some("no answer in time".to_owned())
                }
            };
            match failure {
                None => report.good += 1,
                Some(failure) => *report.failed.entry(failure).or_default() += 1,
            }
            report.slowest = report.slowest.max(due.elapsed());
        }
    }

    /// One call. A connection that is found closed before anything was sent on it is made anew, as every client does.
    async fn call(&self, open: &mut Option<Sender>, connections: &mut u64) -> Result<u16, String> {
        let mut kept = open.take();
        loop {
            let reused = kept.is_some();
            let mut sender = match kept.take() {
                Some(sender) => sender,
                None => {
                    *connections += 1;
                    self.connect()
                        .await
                        .map_err(|error| format!("connect: {error:#}"))?
                }
            };
            if sender.ready().await.is_err() {
                if reused {
                    continue;
                }
                return Err("closed before the call".to_owned());
            }
            let request = Request::get(self.path)
                .header("host", self.host)
                .header("authorization", format!("Bearer {}", self.token))
                .body(Empty::new())
                .map_err(|error| error.to_string())?;
            let response = match sender.send_request(request).await {
                Ok(response) => response,
                Err(error) if error.is_canceled() && reused => continue,
                Err(error) => return Err(format!("reset: {error}")),
            };
            let status = response.status().as_u16();
            let close = response
                .headers()
                .get("connection")
                .is_some_and(|value| value == "close");
            response
                .into_body()
                .collect()
                .await
                .map_err(|error| format!("body: {error}"))?;
            if self.kept && !close {
                *open = Some(sender);
            }
            return Ok(status);
        }
    }

    async fn connect(&self) -> anyhow::Result<Sender> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            return Ok(sender);
        };
        let name = ServerName::try_from(self.host)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl Under {
    /// Stops the callers after the call that each is at, and adds up.
    pub async fn finish(mut self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Report::default();
        while let Some(report) = self.workers.join_next().await {
            match report {
                Ok(report) => total.add(report),
                Err(error) => *total.failed.entry(error.to_string()).or_default() += 1,
            }
        }
        total.lasted = self.begin.elapsed();
        total
    }
}
