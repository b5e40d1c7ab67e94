//! One `envoy.service.auth.v3.CheckRequest`, written from the request without a copy of its headers.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::wire::{field, field_len, number, number_len, open};

/// `AttributeContext.source` of a connection, encoded once: it is the same for all its requests, unless a proxy sends them.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    message: Bytes,
    /// Where the certificate begins in it.
    certificate: usize,
}

/// What the enforcer is told of a request.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The caller.
    pub(crate) source: &'a Source,
    /// Context of the matched route: encoded `context_extensions`.
    pub(crate) context: &'a [u8],
    /// `x-request-id`.
    pub(crate) id: &'a [u8],
    /// Method.
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) path: &'a str,
    /// Authority as sent.
    pub(crate) host: &'a str,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// `HTTP/1.1` or `HTTP/2`.
    pub(crate) protocol: &'static str,
    /// Headers, without those that belong to the connection.
    pub(crate) headers: &'a HeaderMap,
    /// Length of the body when it is known.
    pub(crate) size: Option<u64>,
    /// The body, on routes that pass it.
    pub(crate) body: &'a [u8],
    /// When the request came.
    pub(crate) time: SystemTime,
}

/// Tags of the messages that a check is made of.
mod tag {
    pub(super) const CHECK_REQUEST_ATTRIBUTES: u32 = 1;
    pub(super) const ATTRIBUTES_SOURCE: u32 = 1;
    pub(super) const ATTRIBUTES_REQUEST: u32 = 4;
    pub(super) const PEER_ADDRESS: u32 = 1;
    pub(super) const PEER_CERTIFICATE: u32 = 5;
    pub(super) const ADDRESS_SOCKET: u32 = 1;
    pub(super) const SOCKET_ADDRESS: u32 = 2;
    pub(super) const SOCKET_PORT: u32 = 3;
    pub(super) const REQUEST_TIME: u32 = 1;
    pub(super) const REQUEST_HTTP: u32 = 2;
    pub(super) const TIME_SECONDS: u32 = 1;
    pub(super) const TIME_NANOS: u32 = 2;
    pub(super) const HTTP_ID: u32 = 1;
    pub(super) const HTTP_METHOD: u32 = 2;
    pub(super) const HTTP_HEADERS: u32 = 3;
    pub(super) const HTTP_PATH: u32 = 4;
    pub(super) const HTTP_HOST: u32 = 5;
    pub(super) const HTTP_SCHEME: u32 = 6;
    pub(super) const HTTP_SIZE: u32 = 9;
    pub(super) const HTTP_PROTOCOL: u32 = 10;
    pub(super) const HTTP_RAW_BODY: u32 = 12;
}

impl Source {
    /// For a caller at `peer` whose TLS certificate is `certificate` (URL-encoded PEM, may be empty).
    pub(crate) fn new(peer: SocketAddr, certificate: &str) -> Self {
        let mut field_of_it = BytesMut::new();
        if !certificate.is_empty() {
            field(tag::PEER_CERTIFICATE, certificate.as_bytes(), &mut field_of_it);
        }
        Self::with(peer, &field_of_it)
    }

    /// The same for a caller elsewhere, of whom a proxy on this connection tells.
    pub(crate) fn moved(&self, peer: SocketAddr) -> Self {
        let certificate = self.message.get(self.certificate..).unwrap_or_default();
        Self::with(peer, certificate)
    }

    fn with(peer: SocketAddr, certificate: &[u8]) -> Self {
        let ip = peer.ip().to_string();
        let port = u64::from(peer.port());
        let socket = field_len(tag::SOCKET_ADDRESS, ip.len()) + number_len(tag::SOCKET_PORT, port);
        let address = field_len(tag::ADDRESS_SOCKET, socket);
        let mut out = BytesMut::new();
        open(
            tag::ATTRIBUTES_SOURCE,
            field_len(tag::PEER_ADDRESS, address) + certificate.len(),
            &mut out,
        );
        open(tag::PEER_ADDRESS, address, &mut out);
        open(tag::ADDRESS_SOCKET, socket, &mut out);
        field(tag::SOCKET_ADDRESS, ip.as_bytes(), &mut out);
        number(tag::SOCKET_PORT, port, &mut out);
        let begin = out.len();
        out.put_slice(certificate);
        Self {
            message: out.freeze(),
            certificate: begin,
        }
    }
}

/// A request that is ready to be written: everything that precedes a length is known.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    facts: &'a Facts<'a>,
    http: &'a [u8],
    seconds: u64,
    nanos: u64,
}

impl<'a> Prepared<'a> {
    /// Writes the inner part to `scratch`, whose content is replaced.
    pub(super) fn new(facts: &'a Facts<'a>, scratch: &'a mut BytesMut) -> Self {
        scratch.clear();
        http(facts, scratch);
        let since = facts
            .time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let (seconds, nanos) = (since.as_secs(), u64::from(since.subsec_nanos()));
        Self {
            facts,
            http: scratch,
            seconds,
            nanos,
        }
    }

    /// Length of the whole message.
    pub(super) fn len(&self) -> usize {
        field_len(tag::CHECK_REQUEST_ATTRIBUTES, self.attributes_len())
    }

    /// Appends the message to `out`.
    pub(super) fn write(&self, out: &mut BytesMut) {
        open(tag::CHECK_REQUEST_ATTRIBUTES, self.attributes_len(), out);
        out.put_slice(&self.facts.source.message);
        open(tag::ATTRIBUTES_REQUEST, self.request_len(), out);
        open(tag::REQUEST_TIME, self.time_len(), out);
        number(tag::TIME_SECONDS, self.seconds, out);
        number(tag::TIME_NANOS, self.nanos, out);
        field(tag::REQUEST_HTTP, self.http, out);
        out.put_slice(self.facts.context);
    }

    fn time_len(&self) -> usize {
        number_len(tag::TIME_SECONDS, self.seconds) + number_len(tag::TIME_NANOS, self.nanos)
    }

    fn request_len(&self) -> usize {
        field_len(tag::REQUEST_TIME, self.time_len()) + field_len(tag::REQUEST_HTTP, self.http.len())
    }

    fn attributes_len(&self) -> usize {
        self.facts.source.message.len()
            + field_len(tag::ATTRIBUTES_REQUEST, self.request_len())
            + self.facts.context.len()
    }
}

/// `AttributeContext.HttpRequest`. As in Envoy the map holds the pseudo-headers as well.
fn http(facts: &Facts<'_>, out: &mut BytesMut) {
    field_utf8(tag::HTTP_ID, facts.id, out);
    field(tag::HTTP_METHOD, facts.method.as_bytes(), out);
    entry(tag::HTTP_HEADERS, b":authority", facts.host.as_bytes(), out);
    entry(tag::HTTP_HEADERS, b":path", facts.path.as_bytes(), out);
    entry(tag::HTTP_HEADERS, b":method", facts.method.as_bytes(), out);
    entry(tag::HTTP_HEADERS, b":scheme", facts.scheme.as_bytes(), out);
    headers(facts.headers, out);
    field(tag::HTTP_PATH, facts.path.as_bytes(), out);
    field(tag::HTTP_HOST, facts.host.as_bytes(), out);
    field(tag::HTTP_SCHEME, facts.scheme.as_bytes(), out);
    if let Some(size) = facts.size {
        number(tag::HTTP_SIZE, size, out);
    }
    field(tag::HTTP_PROTOCOL, facts.protocol.as_bytes(), out);
    if !facts.body.is_empty() {
        field(tag::HTTP_RAW_BODY, facts.body, out);
    }
}

/// Fields of one name are joined by `,`; the map iterates over them one after another.
fn headers(headers: &HeaderMap, out: &mut BytesMut) {
    let mut fields = headers.iter().peekable();
    while let Some((name, value)) = fields.next() {
        if name == http::header::HOST {
            continue;
        }
        if fields.peek().is_none_or(|(next, _)| *next != name) {
            entry_utf8(name, value, out);
            continue;
        }
        let mut joined = BytesMut::from(value.as_bytes());
        while let Some((_, value)) = fields.next_if(|(next, _)| *next == name) {
            joined.put_slice(if name == COOKIE { b"; " } else { b"," });
            joined.put_slice(value.as_bytes());
        }
        let joined = sanitized(&joined).unwrap_or_else(|| joined.to_vec());
        entry(tag::HTTP_HEADERS, name.as_str().as_bytes(), &joined, out);
    }
}

const fn entry_len(key: usize, value: usize) -> usize {
    field_len(1, key) + field_len(2, value)
}

fn entry(tag: u32, key: &[u8], value: &[u8], out: &mut BytesMut) {
    open(tag, entry_len(key.len(), value.len()), out);
    field(1, key, out);
    field(2, value, out);
}

fn entry_utf8(name: &HeaderName, value: &HeaderValue, out: &mut BytesMut) {
    let key = name.as_str().as_bytes();
    match sanitized(value.as_bytes()) {
        Some(value) => entry(tag::HTTP_HEADERS, key, &value, out),
        None => entry(tag::HTTP_HEADERS, key, value.as_bytes(), out),
    }
}

fn field_utf8(tag: u32, value: &[u8], out: &mut BytesMut) {
    match sanitized(value) {
        Some(value) => field(tag, &value, out),
        None => field(tag, value, out),
    }
}

/// Strings of a proto3 message are UTF-8; like Envoy we put `!` where a value is not. None when it is.
fn sanitized(value: &[u8]) -> Option<Vec<u8>> {
    if value.is_ascii() || std::str::from_utf8(value).is_ok() {
        return None;
    }
    let mut clean = Vec::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        clean.extend_from_slice(chunk.valid().as_bytes());
        clean.extend(chunk.invalid().iter().map(|_| b'!'));
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use trireme_proto::envoy::config::core::v3::{address, socket_address};
    use trireme_proto::envoy::service::auth::v3::{AttributeContext, CheckRequest};

    use super::*;

    fn decoded(headers: &HeaderMap, body: &[u8], size: Option<u64>) -> CheckRequest {
        let source = Source::new("[2001:db8::1]:1".parse().unwrap(), "-----BEGIN%20");
        let source = source.moved("192.0.2.7:4711".parse().unwrap());
        let context = AttributeContext {
            context_extensions: [("path", "/a/{b}"), ("vHost", "")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..AttributeContext::default()
        };
        let context = context.encode_to_vec();
        let facts = Facts {
            source: &source,
            context: &context,
            id: b"id-1",
            method: "POST",
            path: "/a/b?c=d",
            host: "example.com:9090",
            scheme: "https",
            protocol: "HTTP/2",
            headers,
            size,
            body,
            time: SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5_000_000),
        };
        let mut scratch = BytesMut::new();
        let prepared = Prepared::new(&facts, &mut scratch);
        let mut out = BytesMut::new();
        prepared.write(&mut out);
        assert_eq!(out.len(), prepared.len());
        CheckRequest::decode(out.freeze()).unwrap()
    }

    #[test]
    fn every_attribute_arrives() {
        let mut headers = HeaderMap::new();
        headers.insert("x-one", HeaderValue::from_static("1"));
        headers.append("x-two", HeaderValue::from_static("a"));
        headers.append("x-two", HeaderValue::from_static("b"));
        headers.append(COOKIE, HeaderValue::from_static("a=1"));
        headers.append(COOKIE, HeaderValue::from_static("b=2"));
        headers.insert("x-latin", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let attributes = decoded(&headers, b"\xff\x00body", Some(6)).attributes.unwrap();

        let source = attributes.source.unwrap();
        assert_eq!(source.certificate, "-----BEGIN%20");
        let Some(address::Address::SocketAddress(socket)) = source.address.unwrap().address else {
            panic!("no socket address");
        };
        assert_eq!(socket.address, "192.0.2.7");
        assert_eq!(
            socket.port_specifier,
            Some(socket_address::PortSpecifier::PortValue(4711))
        );
        assert_eq!(attributes.context_extensions["path"], "/a/{b}");
        assert_eq!(attributes.context_extensions["vHost"], "");

        let request = attributes.request.unwrap();
        let time = request.time.unwrap();
        assert_eq!((time.seconds, time.nanos), (1_700_000_000, 5_000_000));
        let http = request.http.unwrap();
        assert_eq!(
            (http.id.as_str(), http.method.as_str(), http.path.as_str()),
            ("id-1", "POST", "/a/b?c=d")
        );
        assert_eq!(
            (http.host.as_str(), http.scheme.as_str(), http.protocol.as_str()),
            ("example.com:9090", "https", "HTTP/2")
        );
        assert_eq!((http.size, http.raw_body.as_slice()), (6, &b"\xff\x00body"[..]));
        let want = [
            (":authority", "example.com:9090"),
            (":method", "POST"),
            (":path", "/a/b?c=d"),
            (":scheme", "https"),
            ("cookie", "a=1; b=2"),
            ("x-latin", "caf!"),
            ("x-one", "1"),
            ("x-two", "a,b"),
        ];
        let mut got: Vec<_> = http
            .headers
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        got.sort_unstable();
        assert_eq!(got, want);
    }

    #[test]
    fn an_absent_body_is_absent() {
        let http = decoded(&HeaderMap::new(), b"", None)
            .attributes
            .unwrap()
            .request
            .unwrap()
            .http
            .unwrap();
        assert_eq!((http.size, http.raw_body.len()), (0, 0));
    }
}
