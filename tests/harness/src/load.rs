//! A bounded load of calls over kept connections, with every outcome counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How one call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// No connection could be made.
    Refused,
    /// The connection broke after the call was sent on it.
    Reset,
    /// An answer with this status.
    Status(u16),
}

/// Outcomes and how often each occurred.
pub type Tally = BTreeMap<Outcome, u64>;

/// Calls under way on some connections, each sent after the one before was answered. A connection that the peer closes
/// (`connection: close`) is made anew.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: JoinSet<Tally>,
}

impl Load {
    /// Starts `connections` callers of `GET path`, with a token when given; each waits `pause` between two calls.
    /// They end by themselves after `bound`.
    pub fn start(
        address: SocketAddr,
        path: &str,
        token: Option<&str>,
        connections: usize,
        pause: Duration,
        bound: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for _ in 0..connections {
            let (stop, path, token) = (Arc::clone(&stop), path.to_owned(), token.map(ToOwned::to_owned));
            workers.spawn(async move {
                let mut tally = Tally::new();
                let work = work(address, &path, token.as_deref(), pause, &stop, &mut tally);
                // Elapsed: the callers' bound, the tally stands.
                drop(tokio::time::timeout(bound, work).await);
                tally
            });
        }
        Self { stop, workers }
    }

    /// As [`Load::start`], over HTTP/2 with prior knowledge: `streams` calls at once on each connection. A call that was not sent
    /// because the peer had said that it goes away is sent on another connection, and counts once.
    pub fn http2(
        address: SocketAddr,
        path: &str,
        token: Option<&str>,
        connections: usize,
        streams: usize,
        bound: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for _ in 0..connections {
            let (stop, path, token) = (Arc::clone(&stop), path.to_owned(), token.map(ToOwned::to_owned));
            workers.spawn(async move {
                let mut tally = Tally::new();
                let work = work2(address, &path, token.as_deref(), streams, &stop, &mut tally);
                // Elapsed: the callers' bound, the tally stands.
                drop(tokio::time::timeout(bound, work).await);
                tally
            });
        }
        Self { stop, workers }
    }

    /// Stops the callers after the call that each is at, and adds up.
    pub async fn finish(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Tally::new();
        while let Some(tally) = self.workers.join_next().await {
            for (outcome, count) in tally.unwrap_or_default() {
                *total.entry(outcome).or_default() += count;
            }
        }
        total
    }
}

async fn work(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
    pause: Duration,
    stop: &AtomicBool,
    tally: &mut Tally,
) {
    let mut connection: Option<SendRequest<Empty<Bytes>>> = None;
    while !stop.load(Ordering::Relaxed) {
        // Closed by the peer while nothing was under way: no call has failed.
        if let Some(open) = &mut connection
            && open.ready().await.is_err()
        {
            connection = None;
        }
        let outcome = match &mut connection {
            Some(open) => match call(open, address, path, token).await {
                Ok((status, keep)) => {
                    if !keep {
                        connection = None;
                    }
                    Outcome::Status(status)
                }
                Err(_) => {
                    connection = None;
                    Outcome::Reset
                }
            },
            None => match connect(address).await {
                Some(open) => {
                    connection = Some(open);
                    continue;
                }
                None => Outcome::Refused,
            },
        };
        *tally.entry(outcome).or_default() += 1;
        if outcome == Outcome::Refused || !pause.is_zero() {
            tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
        }
    }
}

async fn work2(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
    streams: usize,
    stop: &AtomicBool,
    tally: &mut Tally,
) {
    let uri = format!("http://localhost:{}{path}", address.port());
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = connect2(address).await else {
            *tally.entry(Outcome::Refused).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let mut calls = JoinSet::new();
        for _ in 0..streams {
            let (mut open, uri, token) = (open.clone(), uri.clone(), token.map(ToOwned::to_owned));
            calls.spawn(async move {
                open.ready().await.ok()?;
                let mut request = Request::get(uri);
                if let Some(token) = token {
                    request = request.header("authorization", format!("Bearer {token}"));
                }
                let request = request.body(Empty::new()).expect("a path from the test is valid");
                match open.try_send_request(request).await {
                    Ok(response) => {
                        let status = response.status().as_u16();
                        let body = response.into_body().collect().await;
                        Some(body.map_or(Outcome::Reset, |_| Outcome::Status(status)))
                    }
                    Err(mut error) => error.take_message().is_none().then_some(Outcome::Reset),
                }
            });
        }
        while let Some(outcome) = calls.join_next().await {
            if let Ok(Some(outcome)) = outcome {
                *tally.entry(outcome).or_default() += 1;
            }
        }
    }
}

async fn connect2(address: SocketAddr) -> Option<http2::SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .ok()?;
    tokio::spawn(connection);
    Some(sender)
}

async fn connect(address: SocketAddr) -> Option<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

async fn call(
    open: &mut SendRequest<Empty<Bytes>>,
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
) -> hyper::Result<(u16, bool)> {
    let mut request = Request::get(path).header("host", format!("localhost:{}", address.port()));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Empty::new()).expect("a path from the test is valid");
    let response = open.send_request(request).await?;
    let status = response.status().as_u16();
    let close = response
        .headers()
        .get("connection")
        .is_some_and(|value| value == "close");
    response.into_body().collect().await?;
    Ok((status, !close))
}
