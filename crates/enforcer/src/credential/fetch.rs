//! One bounded HTTP GET, over the process's own trust.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use trireme_tls::{Connector, Material, TlsError, Watch};

/// From the first packet to the last byte.
pub(crate) const BOUND: Duration = Duration::from_secs(5);
/// Longest document. Key sets in use are a few kilobytes.
const MAX_BYTES: usize = 256 * 1024;

/// Whom fetches trust. Read when the first one goes over TLS: most installations make none, and the platform's public roots
/// and the threads that watch the files cost more than all policies.
#[derive(Debug)]
pub(crate) struct Outside {
    trust: Vec<PathBuf>,
    system: bool,
    made: OnceCell<(Connector, Watch)>,
}

impl Outside {
    /// Trusts the certificates in these files and folders, and with `system` the platform's public roots.
    pub(crate) fn new(trust: Vec<PathBuf>, system: bool) -> Self {
        Self {
            trust,
            system,
            made: OnceCell::new(),
        }
    }

    /// Fails as reading the files does; the next call tries again.
    async fn connector(&self) -> Result<&Connector, FetchError> {
        let make = || async {
            let (trust, system) = (self.trust.clone(), self.system);
            let made = tokio::task::spawn_blocking(move || {
                let material = Material::load_trust(trust, system)?;
                Ok((material.connector(&[b"http/1.1"]), material.watch()?))
            });
            match made.await {
                Ok(made) => made.map_err(FetchError::Trust),
                Err(_) => Err(FetchError::Stopped),
            }
        };
        self.made
            .get_or_try_init(make)
            .await
            .map(|(connector, _)| connector)
    }
}

/// Why a document can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The address can't be fetched from.
    #[error("not an http or https address")]
    Address,
    /// Not connected, or TLS failed.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// HTTP failed.
    #[error("exchange failed")]
    Http(#[source] hyper::Error),
    /// The body is too long or was cut off.
    #[error("body cannot be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not a 200. Redirections are not followed: the address is configured, so is where it leads.
    #[error("answered {0}")]
    Status(http::StatusCode),
    /// The process is about to stop.
    #[error("stopped")]
    Stopped,
    /// The trusted certificates can't be read.
    #[error("trusted certificates cannot be read")]
    Trust(#[source] TlsError),
    /// Took longer than five seconds.
    #[error("no answer within five seconds")]
    Timeout,
}

/// Fetches the document. Dropping the future closes the connection.
pub(crate) async fn get(address: &http::Uri, outside: &Outside) -> Result<Bytes, FetchError> {
    tokio::time::timeout(BOUND, Box::pin(fetch(address, outside)))
        .await
        .unwrap_or(Err(FetchError::Timeout))
}

async fn fetch(address: &http::Uri, outside: &Outside) -> Result<Bytes, FetchError> {
    let authority = address.authority().ok_or(FetchError::Address)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let (secure, default_port) = match address.scheme_str() {
        Some("https") => (true, 443),
        Some("http") => (false, 80),
        _ => return Err(FetchError::Address),
    };
    let port = authority.port_u16().unwrap_or(default_port);
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(FetchError::Connect)?;
    if secure {
        let stream = outside
            .connector()
            .await?
            .connect(host, stream)
            .await
            .map_err(FetchError::Connect)?;
        exchange(address, authority, stream).await
    } else {
        exchange(address, authority, stream).await
    }
}

async fn exchange<IO>(
    address: &http::Uri,
    authority: &http::uri::Authority,
    stream: IO,
) -> Result<Bytes, FetchError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(FetchError::Http)?;
    let path = address.path_and_query().map_or("/", |path| path.as_str());
    let request = http::Request::get(path)
        .header(http::header::HOST, authority.as_str())
        .header(http::header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Address)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(FetchError::Http)?;
        if response.status() != http::StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES);
        body.collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .map_err(FetchError::Body)
    };
    // The connection needs polling while the answer is awaited, and ends with this future.
    let (answer, connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
    match futures_util::future::select(answer, connection).await {
        futures_util::future::Either::Left((answer, _)) => answer,
        futures_util::future::Either::Right((outcome, answer)) => {
            outcome.map_err(FetchError::Http)?;
            answer.await
        }
    }
}
