//! The single place where an error meets the wire (`spec/adapter.md` 5.14).
//!
//! | Error | Status | Code | Body |
//! | --- | --- | --- | --- |
//! | ambiguous target (D15) | 400 | 102517 | JSON, the description names the reading that is refused |
//! | body broken off, no host, two framings | 400 | – | plain text |
//! | header with two readings | 400 | 102512 | JSON |
//! | too many header fields, head too large | 431 | – | empty, the connection is closed |
//! | transfer coding other than chunked | 501 | – | plain text, the connection is closed |
//! | HTTP/1.0 | 426 | – | plain text, the connection is closed |
//! | `OPTIONS *` | 404 | – | empty |
//! | upgrade not allowed | 403 | – | empty |
//! | body too large for the enforcer | 413 | – | plain text |
//! | local limit | 429 | – | plain text |
//! | too much under way, of one address or for the enforcer | 503 | 102518 | JSON, with `Retry-After` |
//! | request not complete in time | 408 | – | plain text |
//! | everything else | spec/adapter.md 5.14 | | JSON |
//!
//! A gRPC caller gets the same text as `grpc-message`, a SOAP caller in place of JSON a fault where that is switched on.
//!
//! A head that hyper cannot read never becomes a request; it gets the answer of `http1.codec_error` all the same, or 431, or 426
//! where only its version is strange.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE,
    RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use trireme_routing::Soap;
use trireme_routing::snapshot::Cors;

use crate::downstream::body::Body;
use crate::edge;
use crate::enforcer::Denial;
use crate::error::{CheckError, DownstreamError, InternalError, ProxyError, UpstreamError};
use crate::filters::Answer;

/// What a caller expects an error to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// Head only, the text in `grpc-message`.
    Grpc,
    /// JSON or plain text.
    Json,
    /// A fault in place of JSON.
    Soap(Soap),
}

/// What Envoy encodes in `grpc-message`, beside all that is not ASCII.
const GRPC_ENCODED: AsciiSet = CONTROLS.add(b'%');

/// An answer of the gateway's own, before it is put in the caller's protocol.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: StatusCode,
    text: Text,
    close: bool,
    /// Seconds until the caller may try again.
    retry_after: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Text {
    Json {
        code: &'static str,
        message: &'static str,
        description: Description,
    },
    Plain(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
enum Description {
    Fixed(&'static str),
    Ambiguous(&'static str),
}

/// What Envoy says when no answer came; the reason follows.
macro_rules! reset {
    ($reason:literal) => {
        concat!(
            "upstream connect error or disconnect/reset before headers. reset reason: ",
            $reason
        )
    };
}

/// Answers `error`.
pub(crate) fn local(error: &ProxyError, speech: Speech) -> Response<Body> {
    let reply = reply(error);
    let (close, retry_after) = (reply.close, reply.retry_after);
    let mut response = reply.render(speech);
    if let Some(seconds) = retry_after {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if close {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Answers a route that needs no upstream.
fn direct(status: u16, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::copy_from_slice(text.as_bytes())));
    // Discovery refuses statuses outside 200..600; anything else here is our fault.
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !text.is_empty() {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

/// An answer of the filters'.
pub(crate) fn answer(answer: Answer<'_>, speech: Speech, ready: impl FnOnce() -> bool) -> Response<Body> {
    match answer {
        Answer::Denied(denial) => denied(denial, speech == Speech::Grpc),
        Answer::Direct { status, body } => direct(status, body),
        Answer::Preflight(cors) => preflight(cors),
        Answer::Ready { status, body } if ready() => direct(status, body),
        Answer::Ready { .. } => direct(503, r#"{"status": "not ready"}"#),
    }
}

/// The enforcer's denial as it stands; a gRPC caller gets its text as the message.
fn denied(denial: Denial, grpc: bool) -> Response<Body> {
    let empty = grpc || denial.body.is_empty();
    let mut response = if grpc {
        grpc_reply(denial.status, &denial.body)
    } else {
        let mut response = Response::new(Body::full(denial.body));
        *response.status_mut() = denial.status;
        response
    };
    let headers = response.headers_mut();
    // The framing of the answer is ours, and what has no body has no type.
    let ours = |name: &HeaderName| {
        matches!(*name, CONTENT_LENGTH | TRANSFER_ENCODING | CONNECTION) || (empty && *name == CONTENT_TYPE)
    };
    let mut told = denial.headers;
    told.retain(|(name, _)| !ours(name));
    for (name, _) in &told {
        headers.remove(name);
    }
    for (name, value) in told {
        headers.append(name, value);
    }
    response
}

/// Answers a preflight; who may read it is said for every answer alike.
fn preflight(cors: &Cors) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    edge::list(headers, ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods);
    edge::list(headers, ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers);
    response
}

fn reply(error: &ProxyError) -> Reply {
    match error {
        ProxyError::Downstream(error) => downstream(*error),
        ProxyError::Internal(InternalError::Check(CheckError::Overloaded)) => {
            overload("Too many requests wait to be checked.")
        }
        ProxyError::Internal(InternalError::Check(_)) => json(
            500,
            "102500",
            "Unclassified Validation Failure",
            "Error during validating the request",
        ),
        ProxyError::Internal(InternalError::NoCluster | InternalError::Rewrite) => {
            json(500, "102507", "Upstream not configured for the resource", "")
        }
        ProxyError::Upstream(error) => upstream(*error),
    }
}

fn downstream(error: DownstreamError) -> Reply {
    match error {
        DownstreamError::AmbiguousTarget(reason) => ambiguous(reason),
        DownstreamError::BodyBroken | DownstreamError::Framing => plain(400, "Bad Request").closing(),
        DownstreamError::BodyTooLarge => plain(413, "Payload Too Large"),
        DownstreamError::Crowded => overload("Too many requests of this address are under way."),
        // What follows it on the connection is not looked at any more.
        DownstreamError::Fragment => ambiguous("fragment").closing(),
        DownstreamError::HeadersTooLarge => plain(431, "").closing(),
        DownstreamError::InvalidHeader(_) => {
            json(400, "102512", "Strictly checked header validation failure", "").closing()
        }
        DownstreamError::Limited => plain(429, "local_rate_limited"),
        DownstreamError::NoHost => plain(400, "").closing(),
        DownstreamError::NoPath => plain(404, ""),
        DownstreamError::NoRoute => json(
            404,
            "404",
            "Not Found",
            "The requested resource is not available.",
        ),
        DownstreamError::RequestTimeout => plain(408, "request timeout").closing(),
        DownstreamError::StreamIdle => json(500, "102513", "Stream idle timeout", "stream timeout").closing(),
        DownstreamError::TransferCoding => plain(501, "Not Implemented").closing(),
        DownstreamError::UpgradeRefused => plain(403, ""),
        DownstreamError::Version => plain(426, "Upgrade Required").closing(),
    }
}

fn upstream(error: UpstreamError) -> Reply {
    match error {
        UpstreamError::Connect => json(
            503,
            "102503",
            "Upstream connection failed",
            reset!("connection failure"),
        ),
        UpstreamError::MaxDuration => json(
            500,
            "102516",
            "Upstream request reached max stream duration",
            "upstream max stream duration reached",
        ),
        UpstreamError::NoEndpoint => json(503, "102508", "No healthy upstream", "no healthy upstream"),
        UpstreamError::Overflow => json(503, "102505", "Upstream overflow", reset!("overflow")),
        UpstreamError::Protocol => json(
            500,
            "102515",
            "HTTP protocol error in upstream request",
            reset!("protocol error"),
        ),
        UpstreamError::Refused => json(
            503,
            "102509",
            "Upstream connection reset by the remote",
            reset!("remote refused stream reset"),
        ),
        UpstreamError::Reset => json(
            503,
            "102509",
            "Upstream connection reset by the remote",
            reset!("remote reset"),
        ),
        UpstreamError::ResetLocal => json(
            503,
            "102511",
            "Connection reset by the gateway",
            reset!("local reset"),
        ),
        UpstreamError::Terminated => json(
            503,
            "102510",
            "Upstream connection termination",
            reset!("connection termination"),
        ),
        UpstreamError::TimedOut => json(
            504,
            "102504",
            "Upstream connection timeout",
            "upstream request timeout",
        ),
    }
}

/// It may be otherwise in a moment.
fn overload(description: &'static str) -> Reply {
    Reply {
        retry_after: Some(1),
        ..json(503, "102518", "Gateway overloaded", description)
    }
}

fn ambiguous(reason: &'static str) -> Reply {
    Reply {
        status: StatusCode::BAD_REQUEST,
        text: Text::Json {
            code: "102517",
            message: "Ambiguous request target",
            description: Description::Ambiguous(reason),
        },
        close: false,
        retry_after: None,
    }
}

fn json(status: u16, code: &'static str, message: &'static str, description: &'static str) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        text: Text::Json {
            code,
            message,
            description: Description::Fixed(description),
        },
        close: false,
        retry_after: None,
    }
}

fn plain(status: u16, text: &'static str) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        text: Text::Plain(text),
        close: false,
        retry_after: None,
    }
}

impl Reply {
    fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    fn render(self, speech: Speech) -> Response<Body> {
        let (content_type, text) = self.text.render(speech);
        if speech == Speech::Grpc {
            return grpc_reply(self.status, &text);
        }
        let empty = text.is_empty();
        let mut response = Response::new(Body::full(text));
        *response.status_mut() = self.status;
        if !empty {
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        response
    }
}

impl Text {
    /// Every value is one of the constants above: nothing in them needs escaping.
    fn render(&self, speech: Speech) -> (&'static str, Bytes) {
        let (code, message, description) = match self {
            Self::Plain(text) => return ("text/plain", Bytes::from_static(text.as_bytes())),
            Self::Json {
                code,
                message,
                description,
            } => (code, message, description),
        };
        match speech {
            // In Envoy's order: here the text as a whole can be compared.
            Speech::Grpc => (
                "application/grpc",
                format!(r#"{{"code":"{code}","description":"{description}","message":"{message}"}}"#).into(),
            ),
            Speech::Json => (
                "application/json",
                format!(r#"{{"code":"{code}","message":"{message}","description":"{description}"}}"#).into(),
            ),
            Speech::Soap(soap) => (
                soap.content_type(),
                soap.fault(code, message, &description.to_string()).into(),
            ),
        }
    }
}

impl Speech {
    /// Of a request; `soap` allows faults.
    pub(crate) fn of(headers: &HeaderMap, soap: bool) -> Self {
        let Some(content_type) = headers.get(CONTENT_TYPE) else {
            return Self::Json;
        };
        if edge::is_grpc(content_type.as_bytes()) {
            return Self::Grpc;
        }
        let header = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
        soap.then(|| Soap::of(content_type.as_bytes(), header))
            .flatten()
            .map_or(Self::Json, Self::Soap)
    }
}

/// A gRPC answer without messages; the status as the gRPC documentation maps HTTP's.
fn grpc_reply(status: StatusCode, message: &[u8]) -> Response<Body> {
    let code = match status.as_u16() {
        400 => "13",
        401 => "16",
        403 => "7",
        404 => "12",
        429 | 502..=504 => "14",
        _ => "2",
    };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(code));
    let message = percent_encode(message, &GRPC_ENCODED).to_string();
    if let Ok(message) = HeaderValue::from_str(&message)
        && !message.is_empty()
    {
        headers.insert("grpc-message", message);
    }
    response
}

impl std::fmt::Display for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(text) => f.write_str(text),
            Self::Ambiguous(reason) => write!(f, "The request target is refused: {reason}."),
        }
    }
}

#[cfg(test)]
mod tests;
