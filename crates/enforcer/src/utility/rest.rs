//! The utility REST server: test tokens and published keys, for the router only (it forwards `/testkey` and
//! `/.wellknown/jwks`), so a client certificate is required.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trireme_proto::names::CLIENT_ADDRESS_HEADER;
use trireme_shell::Guesses;
use trireme_tls::Acceptor;
use trireme_tls::serve::incoming;

use super::Utility;
use super::test_token::TestIssuer;
use crate::event;

const NO_HEADER: &str =
    "User is NOT authorized to generate a token. Please provide a valid Authorization header to continue.";
const WRONG: &str = "Wrong username or password. Please provide valid credentials.";
const DEFAULT: &str = "The default password of the user admin is refused on an address that is not loopback. Please set another \
                       one in enforcer.jwtIssuer.jwtUser, or TRIREME_ALLOW_DEFAULT_CREDENTIALS=true for a trial.";
const CROWDED: &str = "Too many requests. Please try again.";
const SLOWED: &str = "Too many wrong passwords. Please try again later.";
const UNREADABLE: &str = "Error occurred while processing the request.";

/// Protocols offered in the handshake.
pub(crate) const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];
/// Longest body of a token request: a list of scopes.
const MAX_BODY: usize = 64 * 1024;
/// Connections at a time.
const MAX_CONNECTIONS: usize = 1024;
/// A wrong password is answered this late, and so many are looked at in the meantime: about fifty guesses a second in all.
const PENALTY: Duration = Duration::from_millis(300);
const ATTEMPTS: usize = 16;
/// Further ones wait for their turn, good or wrong; these many, and the rest is told to come back before anything is looked
/// at, so that an answer that comes at once says nothing about the password.
const MAX_WAITING: usize = 64;

struct Rest {
    utility: Arc<Utility>,
    places: Semaphore,
    attempts: Semaphore,
    guesses: Guesses,
}

/// Routes of the server.
pub(crate) fn router(utility: Arc<Utility>) -> Router {
    let rest = Arc::new(Rest::new(utility, ATTEMPTS, MAX_WAITING));
    Router::new()
        .route("/jwks", get(jwks))
        .route("/testkey", any(test_token))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(rest)
}

async fn jwks(State(rest): State<Arc<Rest>>) -> Response {
    let offer = rest.utility.load();
    match offer.as_ref().and_then(|offer| offer.jwks.clone()) {
        Some(document) => ([(CONTENT_TYPE, "application/json")], document).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn test_token(State(rest): State<Arc<Rest>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let offer = rest.utility.load_full();
    let Some(issuer) = offer.as_ref().and_then(|offer| offer.test_issuer.as_ref()) else {
        let status = if offer.is_some() {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        return status.into_response();
    };
    let (user, password) = match credentials(&head.headers) {
        Ok(credentials) => credentials,
        Err(refusal) => return refuse(refusal),
    };
    let client = client(&head.headers);
    if let Err(refusal) = rest.admit(issuer, client, (&user, &password)).await {
        return refuse(refusal);
    }
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, UNREADABLE.to_owned());
    };
    let form = String::from_utf8_lossy(&body);
    let now = SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |elapsed| elapsed.as_secs());
    match issuer.issue(&user, scope(&form).as_deref(), now) {
        Ok(token) => {
            event::TestToken { outcome: Ok(&user) }.emit();
            text(StatusCode::OK, token)
        }
        Err(error) => {
            event::TestToken {
                outcome: Err(&error.to_string()),
            }
            .emit();
            text(StatusCode::INTERNAL_SERVER_ERROR, UNREADABLE.to_owned())
        }
    }
}

impl Rest {
    fn new(utility: Arc<Utility>, attempts: usize, waiting: usize) -> Self {
        Self {
            utility,
            places: Semaphore::new(attempts + waiting),
            attempts: Semaphore::new(attempts),
            guesses: Guesses::new(event::guessing),
        }
    }

    /// Looks at a password when it is its turn, unless it comes from an address that has guessed too often. Where the router tells
    /// no address, all are slowed down alike.
    async fn admit(
        &self,
        issuer: &TestIssuer,
        client: Option<IpAddr>,
        (user, password): (&str, &str),
    ) -> Result<(), Refusal> {
        if let Some(wait) = client
            .map(|client| self.guesses.wait(client))
            .filter(|wait| !wait.is_zero())
        {
            return Err(Refusal::Slowed(wait));
        }
        let _place = self.places.try_acquire().map_err(|_| Refusal::Crowded)?;
        let _attempt = self.attempts.acquire().await.map_err(|_| Refusal::Crowded)?;
        let knows = || issuer.knows(user, password);
        let known = match client {
            Some(client) => self.guesses.attempt(client, knows).map_err(Refusal::Slowed)?,
            None => knows(),
        };
        if known {
            return match issuer.refuses(user, password) {
                true => Err(Refusal::Default),
                false => Ok(()),
            };
        }
        tokio::time::sleep(PENALTY).await;
        Err(Refusal::Wrong)
    }
}

/// Why no token is issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Crowded,
    Default,
    NoHeader,
    /// Its address has guessed too often; until then.
    Slowed(Duration),
    Unreadable,
    Wrong,
}

/// Where the caller is, as the router tells, which alone can reach this server.
fn client(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(CLIENT_ADDRESS_HEADER)?.to_str().ok()?.parse().ok()
}

/// User and password of a Basic header.
fn credentials(headers: &HeaderMap) -> Result<(String, String), Refusal> {
    let value = headers.get(AUTHORIZATION).ok_or(Refusal::NoHeader)?;
    let value = value.to_str().map_err(|_| Refusal::Unreadable)?.trim();
    let (scheme, encoded) = value.split_once(' ').ok_or(Refusal::NoHeader)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refusal::NoHeader);
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| Refusal::Unreadable)?;
    let decoded = String::from_utf8(decoded).map_err(|_| Refusal::Unreadable)?;
    let (user, password) = decoded.split_once(':').ok_or(Refusal::Unreadable)?;
    Ok((user.to_owned(), password.to_owned()))
}

/// Value of `scope` in a form, decoded.
fn scope(form: &str) -> Option<String> {
    form.split('&').find_map(|pair| {
        let value = pair.strip_prefix("scope=")?.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8_lossy().trim().to_owned();
        (!value.is_empty()).then_some(value)
    })
}

fn refuse(refusal: Refusal) -> Response {
    let (status, message) = match refusal {
        Refusal::Crowded => (StatusCode::TOO_MANY_REQUESTS, CROWDED),
        Refusal::Default => (StatusCode::FORBIDDEN, DEFAULT),
        Refusal::NoHeader => (StatusCode::UNAUTHORIZED, NO_HEADER),
        Refusal::Slowed(_) => (StatusCode::TOO_MANY_REQUESTS, SLOWED),
        Refusal::Unreadable => (StatusCode::BAD_REQUEST, UNREADABLE),
        Refusal::Wrong => (StatusCode::UNAUTHORIZED, WRONG),
    };
    event::TestToken {
        outcome: Err(message),
    }
    .emit();
    let mut response = text(status, message.to_owned());
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"Choreo Connect\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    let wait = match refusal {
        Refusal::Crowded => Some(1),
        // To the next whole second, or who comes then is early.
        Refusal::Slowed(wait) => Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
        Refusal::Default | Refusal::NoHeader | Refusal::Unreadable | Refusal::Wrong => None,
    };
    if let Some(seconds) = wait {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn text(status: StatusCode, body: impl Into<Cow<'static, str>>) -> Response {
    let body = Body::from(body.into().into_owned());
    (status, [(CONTENT_TYPE, "text/plain")], body).into_response()
}

/// Answers until `drain` is cancelled and what is in progress has ended. Connections are owned by `tasks`.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: Acceptor,
    router: Router,
    drain: CancellationToken,
    tasks: TaskTracker,
) {
    let mut incoming = incoming(listener, acceptor);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let connection = tokio::select! {
            connection = incoming.next() => connection,
            () = drain.cancelled() => return,
        };
        let Some(Ok(connection)) = connection else {
            continue;
        };
        let (router, drain) = (router.clone(), drain.clone());
        tasks.spawn(async move {
            let peer = connection.peer().remote;
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10));
            builder
                .http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(100);
            let served = builder.serve_connection(TokioIo::new(connection), TowerToHyperService::new(router));
            let mut served = std::pin::pin!(served);
            let outcome = tokio::select! {
                outcome = served.as_mut() => outcome,
                () = drain.cancelled() => {
                    served.as_mut().graceful_shutdown();
                    served.await
                }
            };
            if let Err(error) = outcome {
                event::ConnectionFailed { peer, error: &*error }.emit();
            }
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::settings;

    #[tokio::test(start_paused = true)]
    async fn passwords_are_guessed_slowly_whatever_is_guessed() {
        let issuer = TestIssuer::new(&settings().test_issuer).unwrap();
        let rest = Rest::new(Arc::default(), ATTEMPTS, MAX_WAITING);
        let begun = tokio::time::Instant::now();
        let wrong = ATTEMPTS + MAX_WAITING - 1;
        let guesses =
            futures_util::future::join_all((0..wrong).map(|_| rest.admit(&issuer, None, ("admin", "guess"))));
        // Behind all the wrong ones it waits for its turn; when there is no place left it is not even looked at.
        let good = async {
            let admitted = rest.admit(&issuer, None, ("admin", "secret")).await;
            (admitted, begun.elapsed())
        };
        let late = async {
            let good = rest.admit(&issuer, None, ("admin", "secret")).await;
            (
                good,
                rest.admit(&issuer, None, ("admin", "guess")).await,
                begun.elapsed(),
            )
        };
        let (guesses, (admitted, waited), late) = tokio::join!(guesses, good, late);
        assert!(guesses.iter().all(|outcome| *outcome == Err(Refusal::Wrong)));
        assert_eq!(admitted, Ok(()));
        assert!(waited >= PENALTY * u32::try_from(MAX_WAITING / ATTEMPTS).unwrap());
        assert_eq!(
            late,
            (Err(Refusal::Crowded), Err(Refusal::Crowded), Duration::ZERO)
        );
        assert_eq!(rest.admit(&issuer, None, ("admin", "secret")).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_is_slowed_down_and_nobody_else() {
        let issuer = TestIssuer::new(&settings().test_issuer).unwrap();
        let rest = Rest::new(Arc::default(), ATTEMPTS, MAX_WAITING);
        let told = |address: &'static str| {
            client(&HeaderMap::from_iter([(
                CLIENT_ADDRESS_HEADER.parse().unwrap(),
                HeaderValue::from_static(address),
            )]))
        };
        let here = told("2001:db8::1");
        assert!(here.is_some());
        let admit = |client, password: &'static str| rest.admit(&issuer, client, ("admin", password));
        let slowed = loop {
            match admit(here, "guess").await {
                Err(Refusal::Wrong) => {}
                other => break other,
            }
        };
        let Err(Refusal::Slowed(wait)) = slowed else {
            panic!("{slowed:?}")
        };
        assert_eq!(
            admit(told("2001:db8::2"), "secret").await,
            slowed,
            "the same network, not looked at"
        );
        assert_eq!(admit(told("192.0.2.1"), "secret").await, Ok(()));
        assert_eq!(
            admit(told("nowhere"), "secret").await,
            Ok(()),
            "as if nothing was told"
        );
        let answer = refuse(Refusal::Slowed(wait));
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        let after: u64 = answer.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        tokio::time::advance(Duration::from_secs(after)).await;
        assert_eq!(admit(here, "secret").await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_login_that_everybody_knows_is_refused_where_told() {
        let mut settings = settings().test_issuer;
        settings.users[0].username = "admin".to_owned();
        for (password, refuses, want) in [
            ("admin", true, Err(Refusal::Default)),
            ("admin", false, Ok(())),
            ("other", true, Ok(())),
        ] {
            settings.users[0].password = password.to_owned();
            let issuer = TestIssuer::new(&settings).unwrap().refusing_defaults(refuses);
            let rest = Rest::new(Arc::default(), 1, 0);
            assert_eq!(
                rest.admit(&issuer, None, ("admin", password)).await,
                want,
                "{password}"
            );
            assert_eq!(
                rest.admit(&issuer, None, ("admin", "guess")).await,
                Err(Refusal::Wrong)
            );
        }
        assert_eq!(refuse(Refusal::Default).status(), StatusCode::FORBIDDEN);
    }

    #[test]
    fn only_basic_credentials_are_read() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let cases: [(&str, _); 8] = [
            (&basic("admin:secret"), Ok(("admin", "secret"))),
            (
                &basic("admin:sec:ret").replace("Basic", "bAsIc"),
                Ok(("admin", "sec:ret")),
            ),
            (&basic("admin:"), Ok(("admin", ""))),
            (&basic("admin"), Err(Refusal::Unreadable)),
            ("Basic %%%", Err(Refusal::Unreadable)),
            ("Basic", Err(Refusal::NoHeader)),
            ("Bearer abc", Err(Refusal::NoHeader)),
            ("", Err(Refusal::NoHeader)),
        ];
        for (value, want) in cases {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            let want = want.map(|(user, password)| (user.to_owned(), password.to_owned()));
            assert_eq!(credentials(&headers), want, "{value}");
        }
        assert_eq!(credentials(&HeaderMap::new()), Err(Refusal::NoHeader));
    }

    #[test]
    fn scopes_are_form_decoded() {
        let cases = [
            ("scope=read", Some("read")),
            ("a=b&scope=read+write", Some("read write")),
            ("scope=read%20write%3Apets", Some("read write:pets")),
            ("scope=", None),
            ("noscope=read", None),
            ("", None),
        ];
        for (form, want) in cases {
            assert_eq!(scope(form).as_deref(), want, "{form}");
        }
    }
}
