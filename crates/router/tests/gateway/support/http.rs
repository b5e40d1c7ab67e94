//! Callers: raw bytes for HTTP/1.1, hyper for HTTP/2.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{BOUND, Pki};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// Reads the answer to one request on a connection that was closed after it.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunk(body) } else { body.to_owned() };
        Self {
            status,
            head: head.to_owned(),
            body,
        }
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

fn unchunk(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let (chunk, rest) = rest.split_at_checked(size).unwrap_or((rest, ""));
        out.push_str(chunk);
        body = rest.strip_prefix("\r\n").unwrap_or(rest);
        if size == 0 {
            break;
        }
    }
    out
}

/// Sends bytes as they are and reads until the gateway closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> Reply {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("no reset");
        Reply::parse(&answer)
    };
    timeout(BOUND, exchange).await.expect("an answer in time")
}

/// Sends one request with the usual host; `extra` are header lines with their ends.
pub(crate) async fn request(address: SocketAddr, line: &str, extra: &str, body: &str) -> Reply {
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    let text = format!("{line} HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\n{extra}{length}\r\n{body}");
    raw(address, text.as_bytes()).await
}

/// GET with the usual host.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Reply {
    request(address, &format!("GET {path}"), "", "").await
}

/// An HTTP/2 connection with prior knowledge.
pub(crate) async fn http2<B: Sent>(address: SocketAddr) -> SendRequest<B> {
    let stream = TcpStream::connect(address).await.unwrap();
    handshake(stream).await
}

/// An HTTP/2 connection over TLS, with a client certificate.
pub(crate) async fn http2_tls(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = Pki::get().material("adapter").connector(&[b"h2"]);
    handshake(connector.connect("router", stream).await.unwrap()).await
}

/// What a caller sends.
pub(crate) trait Sent:
    Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static
{
}

impl<B> Sent for B where B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static
{}

async fn handshake<S, B: Sent>(stream: S) -> SendRequest<B>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends one request on an HTTP/2 connection: status, headers, body, trailers.
pub(crate) async fn send2(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> (u16, HeaderMap, Bytes, Option<HeaderMap>) {
    let response: Response<_> = timeout(BOUND, sender.send_request(request))
        .await
        .expect("in time")
        .unwrap();
    let (parts, body) = response.into_parts();
    let collected = timeout(BOUND, body.collect()).await.expect("in time").unwrap();
    let trailers = collected.trailers().cloned();
    (
        parts.status.as_u16(),
        parts.headers,
        collected.to_bytes(),
        trailers,
    )
}

/// `GET /api/x` on an open connection to a gateway whose upstream echoes; what went wrong instead of an answer.
pub(crate) async fn one(stream: &mut TcpStream) -> Result<Reply, String> {
    stream
        .write_all(b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\n\r\n")
        .await
        .map_err(|error| format!("write: {error}"))?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(b"GET /x") {
        let read = timeout(BOUND, stream.read(&mut buffer))
            .await
            .map_err(|_| "no answer".to_owned())?
            .map_err(|error| format!("read: {error}"))?;
        if read == 0 {
            return Err(format!("closed after {:?}", String::from_utf8_lossy(&answer)));
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    Ok(Reply::parse(&answer))
}
