//! One call, and the pool behind it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::TokioTimer;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::connect::{Connect, Served, Trust};
use crate::error::FetchError;
use crate::tasks::Tasks;
use crate::{Bounds, Settings};

/// Longest head of an answer, give or take what one read brings. Servers themselves commonly stop at a quarter of it.
const MAX_HEAD_BYTES: u32 = 64 * 1024;
/// HTTP/2: bytes a server may send ahead of what was read, a stream and a connection.
const WINDOWS: (u32, u32) = (256 * 1024, 1024 * 1024);
/// A kept connection that the server closes while a request is on its way is no answer; more of them than this in a row are.
const ATTEMPTS: usize = 3;

/// Calls other services. Clones share connections; they are closed with the last of them.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    trust: Arc<Trust>,
    places: Semaphore,
    pool: Mutex<Pool>,
}

/// Connections that were made with one generation of the trusted certificates.
#[derive(Clone, Debug)]
struct Pool {
    generation: u64,
    client: legacy::Client<Connect, Full<Bytes>>,
    /// Held by calls too: those under way end as they would have when the pool is replaced.
    _tasks: Tasks,
}

impl Client {
    /// A client without connections. Reads nothing yet: the trusted certificates are, with the first call that goes over
    /// TLS.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let trust = Arc::new(Trust::new(settings.trust.clone(), settings.trust_system));
        let shared = Shared {
            places: Semaphore::new(settings.max_calls),
            pool: Mutex::new(Pool::new(&settings, Arc::clone(&trust), 0)),
            trust,
            settings,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Sends a request, whose address is absolute, and reads the answer, whatever its status. An idempotent request is sent
    /// once more when a kept connection turns out to be closed by the server. To be called on a runtime, which also drives
    /// the connection; dropping the future gives the call up, and with HTTP/1.1 closes the connection.
    ///
    /// # Errors
    /// There is no answer within the bounds.
    pub async fn send(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Response<Bytes>, FetchError> {
        let call = async |capture: &mut Option<CaptureConnection>| {
            let (head, body) = self.exchange(request, capture).await?.into_parts();
            let body = collect(body, bounds.max_body_bytes).await?;
            Ok(Response::from_parts(head, body))
        };
        self.within(bounds, call).await
    }

    /// Gets a document that is an answer of status 200; of others the body is not read. Otherwise as [`Client::send`].
    ///
    /// # Errors
    /// There is no answer within the bounds, or one of another status.
    pub async fn get(&self, address: &Uri, accept: &str, bounds: Bounds) -> Result<Bytes, FetchError> {
        let request = Request::get(address.clone())
            .header(http::header::ACCEPT, accept)
            .body(Bytes::new())
            .map_err(|_| FetchError::Address)?;
        let call = async |capture: &mut Option<CaptureConnection>| {
            let answer = self.exchange(request, capture).await?;
            if answer.status() != StatusCode::OK {
                return Err(FetchError::Status(answer.status()));
            }
            collect(answer.into_body(), bounds.max_body_bytes).await
        };
        self.within(bounds, call).await
    }

    /// Gives the head of the answer. `capture` tells of the connection that was taken last.
    async fn exchange(
        &self,
        mut request: Request<Bytes>,
        capture: &mut Option<CaptureConnection>,
    ) -> Result<Response<Incoming>, FetchError> {
        if request.method() == Method::CONNECT {
            return Err(FetchError::Method);
        }
        *request.uri_mut() = target(request.uri())?;
        *request.version_mut() = Version::HTTP_11;
        let mut attempts = 1;
        loop {
            let pool = self.shared.pool();
            let mut attempt = request.clone().map(Full::new);
            let connection = capture.insert(capture_connection(&mut attempt));
            let error = match Box::pin(pool.client.request(attempt)).await {
                Ok(answer) => {
                    if let Some(served) = answer.extensions().get::<Served>() {
                        served.set();
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let stale = request.method().is_idempotent() && has_served(connection);
            if !stale || attempts == ATTEMPTS {
                return Err(error.into());
            }
            attempts += 1;
        }
    }

    /// Runs a call within its time, once there is a place for it. The connection of one that takes longer is not used
    /// again: with HTTP/2 it would go on serving, or not serving, whoever comes next.
    async fn within<T>(
        &self,
        bounds: Bounds,
        call: impl AsyncFnOnce(&mut Option<CaptureConnection>) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let mut capture = None;
        let placed = async {
            let place = self.shared.places.acquire().await;
            let _place = place.expect("the places are never closed");
            call(&mut capture).await
        };
        if let Ok(outcome) = timeout(bounds.timeout, Box::pin(placed)).await {
            return outcome;
        }
        if let Some(connection) = capture
            && let Some(connected) = &*connection.connection_metadata()
        {
            connected.poison();
        }
        Err(FetchError::Timeout(bounds.timeout))
    }
}

// === impl Shared ===

impl Shared {
    /// The pool for the certificates in force: whoever is no longer trusted is not talked to over an old connection either.
    fn pool(&self) -> Pool {
        let generation = self.trust.generation();
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.generation != generation {
            *pool = Pool::new(&self.settings, Arc::clone(&self.trust), generation);
        }
        pool.clone()
    }
}

// === impl Pool ===

impl Pool {
    fn new(settings: &Settings, trust: Arc<Trust>, generation: u64) -> Self {
        let tasks = Tasks::default();
        let client = legacy::Client::builder(tasks.executor())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(settings.max_idle)
            .http1_max_buf_size(MAX_HEAD_BYTES as usize)
            .http2_max_header_list_size(MAX_HEAD_BYTES)
            .http2_initial_stream_window_size(WINDOWS.0)
            .http2_initial_connection_window_size(WINDOWS.1)
            .build(Connect::new(trust, settings.connect_timeout));
        Self {
            generation,
            client,
            _tasks: tasks,
        }
    }
}

/// The address without user name and password, which are not for the wire (RFC 9110, section 4.2.4).
fn target(address: &Uri) -> Result<Uri, FetchError> {
    let mut parts = address.clone().into_parts();
    let (Some(scheme), Some(authority)) = (&parts.scheme, &parts.authority) else {
        return Err(FetchError::Address);
    };
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS || authority.host().is_empty() {
        return Err(FetchError::Address);
    }
    if let Some((_, host)) = authority.as_str().rsplit_once('@') {
        parts.authority = Some(Authority::try_from(host).map_err(|_| FetchError::Address)?);
    }
    Uri::from_parts(parts).map_err(|_| FetchError::Address)
}

/// Whether the connection that was taken has given an answer before.
fn has_served(capture: &CaptureConnection) -> bool {
    let mut extras = http::Extensions::new();
    if let Some(connected) = &*capture.connection_metadata() {
        connected.get_extras(&mut extras);
    }
    extras.get::<Served>().is_some_and(Served::is_set)
}

/// Reads a body up to its bound, and nothing of one that says that it is longer.
async fn collect(mut body: Incoming, max: usize) -> Result<Bytes, FetchError> {
    if usize::try_from(body.size_hint().lower()).map_or(true, |length| length > max) {
        return Err(FetchError::TooLong(max));
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers are not looked at.
        let Ok(piece) = frame.map_err(FetchError::Body)?.into_data() else {
            continue;
        };
        if piece.len() > max - whole.len() {
            return Err(FetchError::TooLong(max));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_absolute_and_go_out_without_users() {
        for (address, want) in [
            ("http://a.example/x?y=z", Some("http://a.example/x?y=z")),
            ("https://[::1]:8443", Some("https://[::1]:8443/")),
            ("https://me:pass@a.example:1/x", Some("https://a.example:1/x")),
            ("ftp://a.example/x", None),
            ("/x", None),
            ("a.example:80", None),
        ] {
            let told = target(&address.parse().unwrap()).ok().map(|uri| uri.to_string());
            assert_eq!(told.as_deref(), want, "{address}");
        }
    }
}
