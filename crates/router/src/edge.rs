//! The border of the gateway: what a caller may not say is taken out before anything reads it, and what the gateway says
//! for it is put in. After [`enter`] there is one host, one path and no header that only the gateway may set.

mod client;

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT,
    HOST, MAX_FORWARDS, PROXY_AUTHORIZATION, RANGE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use trireme_proto::names::CLUSTER_HEADER;
use trireme_routing::{Ambiguity, Refused};

pub(crate) use self::client::Client;
use self::client::X_FORWARDED_FOR;
use crate::error::{DownstreamError, InternalError};
use crate::peer::Peer;

/// Greatest number of header fields, crumbs of cookies included.
pub(crate) const MAX_FIELDS: usize = 100;
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// Prefix of the headers that tell where a request came from.
const FORWARDED: &str = "x-forwarded-";
/// What frames, routes, authorizes or describes a message has no place in its trailers, nor has what we set in every head.
const NO_TRAILERS: [HeaderName; 15] = [
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    HOST,
    MAX_FORWARDS,
    PROXY_AUTHORIZATION,
    RANGE,
    SET_COOKIE,
    TE,
    TRAILER,
    X_REQUEST_ID,
];
/// Prefix of the headers that steer the gateway itself.
const INTERNAL: &str = "x-envoy-";

/// What the border found out about a request.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Host and port as sent.
    pub(crate) authority: HeaderValue,
    /// The caller asks for another protocol.
    pub(crate) upgrade: bool,
    /// Headers that `Connection` named, and that are gone.
    pub(crate) named: Vec<HeaderName>,
}

/// Checks and cleans the head of a request.
///
/// # Errors
/// What makes it unanswerable or gives it two readings.
pub(crate) fn enter(
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &mut HeaderMap,
    (peer, client): (&Peer, &Client),
    use_remote_address: bool,
) -> Result<Entry, DownstreamError> {
    if version < Version::HTTP_11 {
        return Err(DownstreamError::Version);
    }
    if headers.len() > MAX_FIELDS {
        return Err(DownstreamError::HeadersTooLarge);
    }
    // The absolute form needs the field as well (RFC 9112 section 3.2).
    if version == Version::HTTP_11 && *method != Method::CONNECT && !headers.contains_key(HOST) {
        return Err(DownstreamError::NoHost);
    }
    if uri
        .scheme()
        .is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS)
    {
        return Err(DownstreamError::InvalidHeader("a scheme that is not HTTP's"));
    }
    let authority = authority(uri, headers)?;
    if *method == Method::CONNECT {
        return Err(DownstreamError::NoRoute);
    }
    if *method == Method::OPTIONS && uri.path() == "*" {
        return Err(DownstreamError::NoPath);
    }
    framing(headers)?;
    let upgrade = version != Version::HTTP_2 && asks_upgrade(headers);
    // Here and not on the way out: a caller could else name what the enforcer or the gateway adds, and have it taken out.
    if nominated(headers).any(|name| name.as_str().starts_with(FORWARDED)) {
        return Err(DownstreamError::InvalidHeader(
            "connection names a forwarding header",
        ));
    }
    let named = strip_hop_by_hop(headers);
    strip_internal(headers);
    headers.remove(X_FORWARDED_CLIENT_CERT);
    if version == Version::HTTP_2 {
        join_cookies(headers);
    }
    forwarded(headers, peer, client, use_remote_address);
    Ok(Entry {
        authority,
        upgrade,
        named,
    })
}

/// A body has one length, and no coding that we would have to undo (RFC 9112 section 6.1). A length beside `chunked` is not
/// seen here: hyper drops it, so [`crate::downstream::heads`] finds it in the bytes.
fn framing(headers: &HeaderMap) -> Result<(), DownstreamError> {
    let several = |name: HeaderName| headers.get_all(name).iter().nth(1).is_some();
    if let Some(coding) = headers.get(TRANSFER_ENCODING)
        && (several(TRANSFER_ENCODING) || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(DownstreamError::TransferCoding);
    }
    if several(CONTENT_LENGTH) {
        return Err(DownstreamError::InvalidHeader("several lengths"));
    }
    Ok(())
}

/// The one host of a request. It is taken out of the map; every connection upstream gets its own.
fn authority(uri: &Uri, headers: &mut HeaderMap) -> Result<HeaderValue, DownstreamError> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(DownstreamError::InvalidHeader("several hosts"));
    }
    if let Some(authority) = uri.authority() {
        // HTTP/2 sends it as `:authority`, HTTP/1 in the absolute form; a `Host` beside it must say the same.
        if host.is_some_and(|host| {
            !host
                .as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes())
        }) {
            return Err(DownstreamError::InvalidHeader("host differs from authority"));
        }
        if authority.as_str().contains('@') {
            return Err(DownstreamError::InvalidHeader(
                "user information in the authority",
            ));
        }
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| DownstreamError::NoHost)?;
        headers.remove(HOST);
        return Ok(value);
    }
    headers
        .remove(HOST)
        .filter(|host| !host.is_empty())
        .ok_or(DownstreamError::NoHost)
}

/// Removes what only the gateway may say: `x-envoy-*` and the header that names a cluster.
fn strip_internal(headers: &mut HeaderMap) {
    headers.remove(CLUSTER_HEADER);
    strip_steering(headers);
}

/// Removes `x-envoy-*`.
fn strip_steering(headers: &mut HeaderMap) {
    while let Some(name) = headers
        .keys()
        .find(|name| name.as_str().starts_with(INTERNAL))
        .cloned()
    {
        headers.remove(name);
    }
}

/// Removes the fields that belong to one connection, and those that `Connection` names (RFC 9110 section 7.6.1), which it
/// gives back. Of `TE` only `trailers` passes.
fn strip_hop_by_hop(headers: &mut HeaderMap) -> Vec<HeaderName> {
    let mut named = Vec::new();
    if headers.contains_key(CONNECTION) {
        // Naming the first four would take out what the message needs; no sender has reason to. The others go below.
        let kept = |name: &HeaderName| {
            matches!(*name, CONTENT_LENGTH | HOST | COOKIE | TE | UPGRADE) || *name == KEEP_ALIVE
        };
        named.extend(nominated(headers).filter(|name| !kept(name)));
        for name in &named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
    if let Some(te) = headers.get(TE) {
        let trailers = te
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"));
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        } else {
            headers.remove(TE);
        }
    }
    named
}

/// The fields that `Connection` names.
fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
}

/// Cleans the trailers of a request. They come after the check, and whoever merges them into the headers must not find
/// there what the check was about (RFC 9110 section 6.5.1): nothing that is taken out of the headers or set in them, sent or
/// not, and no other value of what they hold. `barred` are those names that differ from request to request; without it no
/// trailers were to come, and none pass.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap, barred: Option<&[HeaderName]>) {
    let Some(barred) = barred else {
        return trailers.clear();
    };
    strip_hop_by_hop(trailers);
    strip_internal(trailers);
    for name in NO_TRAILERS.iter().chain(barred) {
        trailers.remove(name);
    }
    while let Some(name) = trailers
        .keys()
        .find(|name| name.as_str().starts_with(FORWARDED))
        .cloned()
    {
        trailers.remove(name);
    }
}

/// Prepares the headers of an admitted request for the upstream. Gives those that `Connection` named, if the enforcer set
/// it.
pub(crate) fn leave(headers: &mut HeaderMap) -> Vec<HeaderName> {
    let named = strip_hop_by_hop(headers);
    // Answered here, when the body is first read; hyper knows no other expectation.
    if let Some(expected) = headers.get(EXPECT)
        && expected.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        headers.remove(EXPECT);
    }
    headers.remove(CLUSTER_HEADER);
    named
}

/// Cleans the fields of an upstream's response, or of its trailers: those that belong to one connection, and `x-envoy-*`.
pub(crate) fn back(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    strip_steering(headers);
}

/// Sets a header to a list; an empty one is left out.
pub(crate) fn list(headers: &mut HeaderMap, name: HeaderName, values: &[String]) {
    if !values.is_empty()
        && let Ok(value) = HeaderValue::from_str(&values.join(", "))
    {
        headers.insert(name, value);
    }
}

/// HTTP/2 may send one cookie field for each pair; HTTP/1 may not (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let pairs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&pairs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// `x-forwarded-for`, `x-forwarded-proto` and `x-request-id`, as Envoy sets them.
fn forwarded(headers: &mut HeaderMap, peer: &Peer, client: &Client, use_remote_address: bool) {
    let scheme = HeaderValue::from_static(peer.scheme());
    if use_remote_address {
        let ip = peer.address.ip().to_string();
        let before = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .map(HeaderValue::as_bytes)
            .filter(|value| !value.is_empty());
        let hops: Vec<&[u8]> = before.chain([ip.as_bytes()]).collect();
        if let Ok(value) = HeaderValue::from_bytes(&hops.join(&b","[..])) {
            headers.insert(X_FORWARDED_FOR, value);
        }
    }
    if use_remote_address && !client.proxied {
        headers.insert(X_FORWARDED_PROTO, scheme);
    } else {
        let known = |value: &HeaderValue| {
            ["http", "https"]
                .iter()
                .any(|name| value.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
        };
        if !headers.get(X_FORWARDED_PROTO).is_some_and(known) {
            headers.insert(X_FORWARDED_PROTO, scheme);
        }
    }
    // The id of a caller beyond the edge means nothing here; Envoy replaces it as well.
    let external = use_remote_address && !is_internal(client.address.ip());
    if external || !headers.contains_key(X_REQUEST_ID) {
        headers.insert(X_REQUEST_ID, request_id());
    }
}

fn is_internal(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

/// A random UUID.
fn request_id() -> HeaderValue {
    let random = fastrand::u128(..);
    let id = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let mut text = [0_u8; 36];
    let mut shift = 128;
    for (at, slot) in text.iter_mut().enumerate() {
        *slot = if matches!(at, 8 | 13 | 18 | 23) {
            b'-'
        } else {
            shift -= 4;
            let digit = usize::try_from((id >> shift) & 0xf).unwrap_or(0);
            b"0123456789abcdef".get(digit).copied().unwrap_or(b'0')
        };
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

fn asks_upgrade(headers: &HeaderMap) -> bool {
    // An offer of anything else, such as TLS or h2c, is not taken up, and is no reason to refuse (RFC 9110 section 7.8).
    let web_socket = |value: &HeaderValue| {
        let mut protocols = value.as_bytes().split(|byte| *byte == b',');
        protocols.any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    };
    if !headers.get_all(UPGRADE).iter().any(web_socket) {
        return false;
    }
    headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    })
}

/// A target with another path; the query stays as it is.
///
/// # Errors
/// What no target can hold.
pub(crate) fn with_path(sent: &PathAndQuery, path: Cow<'_, str>) -> Result<PathAndQuery, InternalError> {
    if path == sent.path() {
        return Ok(sent.clone());
    }
    let full = match sent.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    PathAndQuery::from_maybe_shared(Bytes::from(full)).map_err(|_| InternalError::Rewrite)
}

/// Whether a `content-type` says that a message is gRPC.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.first().is_none_or(|byte| matches!(byte, b'+' | b';')))
}

/// The protocol's name, as Envoy writes it.
pub(crate) const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// Names the reason why a target is refused outright.
pub(crate) const fn refused(reason: Refused) -> DownstreamError {
    DownstreamError::AmbiguousTarget(match reason {
        Refused::Control => "control_character",
        Refused::Fragment => "fragment",
        Refused::Host => "invalid_host",
        Refused::InvalidEscape => "invalid_escape",
        Refused::NonAscii => "non_ascii",
        Refused::NotAPath => "not_a_path",
        Refused::Space => "space",
        Refused::TooLong => "too_long",
    })
}

/// Names the reason why a path has two readings.
pub(crate) fn ambiguous(reason: Ambiguity) -> DownstreamError {
    DownstreamError::AmbiguousTarget(reason.as_str())
}

#[cfg(test)]
mod tests;
