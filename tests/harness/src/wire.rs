//! Answers as they are on the wire, to bytes that no client library would send.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for the end of an answer.
const BOUND: Duration = Duration::from_secs(20);
/// Greatest answer that is taken, bytes.
const MAX_ANSWER: u64 = 4 << 20;

/// An answer, body unframed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Status code; 0 when the connection was closed without an answer.
    pub status: u16,
    /// Headers, names in lower case, values in order.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Body.
    pub body: String,
}

impl Raw {
    /// Sends bytes, which must ask for `connection: close`, and takes the last answer: interim ones are skipped.
    ///
    /// # Errors
    /// No connection, no end within 20 s, or an answer that cannot be read.
    pub async fn http1(address: SocketAddr, request: &[u8]) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let (mut from, mut to) = stream.split();
        let mut answer = Vec::new();
        let mut bounded = (&mut from).take(MAX_ANSWER);
        // A peer that refuses may close before it has read all: what it said counts, not how the sending ended.
        let read = async { tokio::join!(to.write_all(request), bounded.read_to_end(&mut answer)) };
        let (_, outcome) = tokio::time::timeout(BOUND, read).await.context("no end")?;
        if answer.is_empty() {
            return Ok(Self::none());
        }
        outcome.map(drop).or_else(|error| match error.kind() {
            std::io::ErrorKind::ConnectionReset => Ok(()),
            _ => Err(error),
        })?;
        Self::parse(&answer)
    }

    /// One call over HTTP/2 with prior knowledge.
    ///
    /// # Errors
    /// No connection, no end within 20 s, or a call that HTTP/2 cannot say.
    pub async fn http2(
        address: SocketAddr,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Self> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        let stream = TcpStream::connect(address).await?;
        let executor = TokioExecutor::new();
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let call = async {
            let Ok(response) = send.send_request(request).await else {
                return anyhow::Ok(Self::none());
            };
            let (head, body) = response.into_parts();
            let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (name, value) in &head.headers {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                headers.entry(name.to_string()).or_default().push(value);
            }
            let body = body.collect().await?.to_bytes();
            Ok(Self {
                status: head.status.as_u16(),
                headers,
                body: String::from_utf8_lossy(&body).into_owned(),
            })
        };
        let outcome = tokio::time::timeout(BOUND, call).await.context("no end");
        connection.abort();
        outcome?
    }

    fn none() -> Self {
        Self {
            status: 0,
            headers: BTreeMap::new(),
            body: String::new(),
        }
    }

    fn parse(mut bytes: &[u8]) -> anyhow::Result<Self> {
        loop {
            let end = position(bytes, b"\r\n\r\n")
                .with_context(|| format!("no head in {:?}", String::from_utf8_lossy(bytes)))?;
            let (head, rest) = bytes.split_at(end);
            let rest = rest.get(4..).unwrap_or_default();
            let head = String::from_utf8_lossy(head);
            let mut lines = head.split("\r\n");
            let line = lines.next().unwrap_or_default();
            let status = line.split(' ').nth(1).context("status line")?.parse()?;
            if (100..200).contains(&status) && status != 101 {
                bytes = rest;
                continue;
            }
            let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (name, value) in lines.filter_map(|line| line.split_once(':')) {
                let values = headers.entry(name.to_ascii_lowercase()).or_default();
                values.push(value.trim().to_owned());
            }
            let body = match headers.contains_key("transfer-encoding") {
                true => unchunked(rest)?,
                false => String::from_utf8_lossy(rest).into_owned(),
            };
            return Ok(Self {
                status,
                headers,
                body,
            });
        }
    }
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn unchunked(mut rest: &[u8]) -> anyhow::Result<String> {
    let mut body = Vec::new();
    loop {
        let end = position(rest, b"\r\n").context("chunk size")?;
        let size = std::str::from_utf8(rest.get(..end).unwrap_or_default())?;
        let size = usize::from_str_radix(size, 16)?;
        if size == 0 {
            return Ok(String::from_utf8(body)?);
        }
        let chunk = rest.get(end + 2..).and_then(|rest| rest.split_at_checked(size));
        let (chunk, after) = chunk.context("chunk")?;
        body.extend_from_slice(chunk);
        rest = after.get(2..).context("end of chunk")?;
    }
}
