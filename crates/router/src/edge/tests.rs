use std::net::SocketAddr;

use super::*;

fn peer(address: &str) -> Peer {
    Peer::new(SocketAddr::new(address.parse().unwrap(), 4711), None, false, "")
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn enter_http1(uri: &str, headers: &mut HeaderMap, remote: bool) -> Result<Entry, DownstreamError> {
    let uri = uri.parse().unwrap();
    enter(
        &Method::GET,
        &uri,
        Version::HTTP_11,
        headers,
        &peer("203.0.113.9"),
        remote,
    )
}

#[test]
fn hosts() {
    type Case = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        Result<&'static str, DownstreamError>,
    );
    let cases: [Case; 7] = [
        ("header", "/", &[("host", "a:1")], Ok("a:1")),
        ("absolute form", "http://a/", &[("host", "A")], Ok("a")),
        ("absolute form alone", "http://a/", &[], Ok("a")),
        ("none", "/", &[], Err(DownstreamError::NoHost)),
        ("empty", "/", &[("host", "")], Err(DownstreamError::NoHost)),
        (
            "two",
            "/",
            &[("host", "a"), ("host", "a")],
            Err(DownstreamError::InvalidHeader("several hosts")),
        ),
        (
            "two that differ",
            "http://a/",
            &[("host", "b")],
            Err(DownstreamError::InvalidHeader("host differs from authority")),
        ),
    ];
    for (name, uri, fields, want) in cases {
        let got = enter_http1(uri, &mut map(fields), false);
        match (got, want) {
            (Ok(entry), Ok(want)) => assert_eq!(entry.authority, want, "{name}"),
            (Err(got), Err(want)) => assert_eq!(got, want, "{name}"),
            (got, want) => panic!("{name}: {got:?}, not {want:?}"),
        }
    }
}

#[test]
fn what_a_caller_may_not_say_is_gone() {
    let mut headers = map(&[
        ("host", "a"),
        ("x-wso2-cluster-header", "evil"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-max-retries", "9"),
        ("x-forwarded-client-cert", "By=me"),
        ("x-request-id", "mine"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "10.0.0.1"),
    ]);
    enter_http1("/", &mut headers, false).unwrap();
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["x-forwarded-for", "x-forwarded-proto", "x-request-id"]);
    assert_eq!(headers["x-request-id"], "mine");
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-for"], "10.0.0.1");
}

#[test]
fn at_the_edge_the_connection_decides() {
    let mut headers = map(&[
        ("host", "a"),
        ("x-request-id", "mine"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2"),
    ]);
    enter_http1("/", &mut headers, true).unwrap();
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-for"], "10.0.0.1,10.0.0.2,203.0.113.9");
    let id = headers["x-request-id"].to_str().unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!((id.as_bytes()[14], id.as_bytes()[8]), (b'4', b'-'), "{id}");
    assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
}

#[test]
fn old_protocols_and_too_many_fields_are_refused() {
    let uri = Uri::from_static("/");
    let got = enter(
        &Method::GET,
        &uri,
        Version::HTTP_10,
        &mut map(&[("host", "a")]),
        &peer("10.0.0.1"),
        false,
    );
    assert_eq!(got.unwrap_err(), DownstreamError::Version);
    let mut many = map(&[("host", "a")]);
    for _ in 0..MAX_FIELDS {
        many.append("x", HeaderValue::from_static("y"));
    }
    let got = enter(
        &Method::GET,
        &uri,
        Version::HTTP_2,
        &mut many,
        &peer("10.0.0.1"),
        false,
    );
    assert_eq!(got.unwrap_err(), DownstreamError::HeadersTooLarge);
    let got = enter(
        &Method::CONNECT,
        &Uri::from_static("a:1"),
        Version::HTTP_11,
        &mut HeaderMap::new(),
        &peer("::1"),
        false,
    );
    assert_eq!(got.unwrap_err(), DownstreamError::NoRoute);
    let got = enter(
        &Method::OPTIONS,
        &Uri::from_static("*"),
        Version::HTTP_11,
        &mut map(&[("host", "a")]),
        &peer("::1"),
        false,
    );
    assert_eq!(got.unwrap_err(), DownstreamError::NoPath);
}

#[test]
fn hop_by_hop() {
    let mut headers = map(&[
        ("connection", "close, X-Own, content-length"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip;q=0.5, trailers"),
        ("x-own", "1"),
        ("x-other", "2"),
        ("content-length", "3"),
    ]);
    strip_hop_by_hop(&mut headers);
    let mut left: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    left.sort_unstable();
    assert_eq!(
        left,
        [("content-length", "3"), ("te", "trailers"), ("x-other", "2")]
    );
    let mut headers = map(&[("te", "gzip")]);
    strip_hop_by_hop(&mut headers);
    assert!(headers.is_empty());
}

#[test]
fn cookies_of_http2_are_joined() {
    let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
    let uri = Uri::from_static("http://a/");
    enter(
        &Method::GET,
        &uri,
        Version::HTTP_2,
        &mut headers,
        &peer("10.0.0.1"),
        false,
    )
    .unwrap();
    assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[test]
fn upgrades() {
    let cases = [
        (
            "websocket",
            &[
                ("host", "a"),
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", "websocket"),
            ][..],
            true,
        ),
        (
            "h2c is ignored",
            &[("host", "a"), ("connection", "Upgrade"), ("upgrade", "h2c")],
            false,
        ),
        (
            "without connection",
            &[("host", "a"), ("upgrade", "websocket")],
            false,
        ),
    ];
    for (name, fields, want) in cases {
        assert_eq!(
            enter_http1("/", &mut map(fields), false).unwrap().upgrade,
            want,
            "{name}"
        );
    }
}

#[test]
fn lengths_and_codings() {
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        Option<DownstreamError>,
    );
    let cases: [Case; 5] = [
        ("chunked", &[("transfer-encoding", "Chunked")], None),
        ("one length", &[("content-length", "4")], None),
        (
            "a coding before",
            &[("transfer-encoding", "gzip, chunked")],
            Some(DownstreamError::TransferCoding),
        ),
        (
            "two fields",
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            Some(DownstreamError::TransferCoding),
        ),
        (
            "two lengths",
            &[("content-length", "4"), ("content-length", "5")],
            Some(DownstreamError::InvalidHeader("several lengths")),
        ),
    ];
    for (name, fields, want) in cases {
        let mut headers = map(fields);
        headers.insert("host", HeaderValue::from_static("a"));
        assert_eq!(enter_http1("/", &mut headers, false).err(), want, "{name}");
    }
}
