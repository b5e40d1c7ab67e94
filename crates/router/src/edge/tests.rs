use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::*;
use crate::peer::Ends;

fn peer(address: &str) -> Peer {
    Peer::new(
        Ends::of(SocketAddr::new(address.parse().unwrap(), 4711), None),
        None,
    )
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
        (&peer("203.0.113.9"), &Client::of(&peer("203.0.113.9"))),
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
    let cases: [Case; 9] = [
        ("header", "/", &[("host", "a:1")], Ok("a:1")),
        ("absolute form", "http://a/", &[("host", "A")], Ok("a")),
        (
            "absolute form alone",
            "http://a/",
            &[],
            Err(DownstreamError::NoHost),
        ),
        ("another port", "http://a:/", &[("host", "a:")], Ok("a:")),
        (
            "another scheme",
            "ftp://a/",
            &[("host", "a")],
            Err(DownstreamError::InvalidHeader("a scheme that is not HTTP's")),
        ),
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
fn behind_a_proxy_its_word_on_the_scheme_counts() {
    let here = peer("10.0.0.1");
    let told = |sent: &str, proxied: bool, address: &str| {
        let mut headers = map(&[
            ("host", "a"),
            ("x-request-id", "mine"),
            ("x-forwarded-proto", sent),
        ]);
        let client = Client {
            address: SocketAddr::new(address.parse().unwrap(), 0),
            proxied,
        };
        let uri = Uri::from_static("/");
        enter(
            &Method::GET,
            &uri,
            Version::HTTP_11,
            &mut headers,
            (&here, &client),
            true,
        )
        .unwrap();
        assert_eq!(headers["x-forwarded-for"], "10.0.0.1");
        let kept = headers["x-request-id"] == "mine";
        (headers["x-forwarded-proto"].to_str().unwrap().to_owned(), kept)
    };
    assert_eq!(told("https", false, "10.0.0.1"), ("http".to_owned(), true));
    assert_eq!(told("https", true, "203.0.113.9"), ("https".to_owned(), false));
    assert_eq!(told("gopher", true, "10.0.0.9"), ("http".to_owned(), true));
}

#[test]
fn old_protocols_and_too_many_fields_are_refused() {
    let uri = Uri::from_static("/");
    let got = enter(
        &Method::GET,
        &uri,
        Version::HTTP_10,
        &mut map(&[("host", "a")]),
        (&peer("10.0.0.1"), &Client::of(&peer("10.0.0.1"))),
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
        (&peer("10.0.0.1"), &Client::of(&peer("10.0.0.1"))),
        false,
    );
    assert_eq!(got.unwrap_err(), DownstreamError::HeadersTooLarge);
    let got = enter(
        &Method::CONNECT,
        &Uri::from_static("a:1"),
        Version::HTTP_11,
        &mut HeaderMap::new(),
        (&peer("::1"), &Client::of(&peer("::1"))),
        false,
    );
    assert_eq!(got.unwrap_err(), DownstreamError::NoRoute);
    let got = enter(
        &Method::OPTIONS,
        &Uri::from_static("*"),
        Version::HTTP_11,
        &mut map(&[("host", "a")]),
        (&peer("::1"), &Client::of(&peer("::1"))),
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
fn what_connection_names_is_told() {
    let mut headers = map(&[
        ("host", "a"),
        ("connection", "keep-alive, X-Own, upgrade, content-length"),
        ("connection", "close"),
        ("x-own", "1"),
    ]);
    let entry = enter_http1("/", &mut headers, false).unwrap();
    assert_eq!(entry.named, ["x-own", "close"]);
    let mut headers = map(&[("connection", "keep-alive"), ("keep-alive", "5")]);
    assert_eq!(leave(&mut headers).capacity(), 0, "ordinary callers cost nothing");
    assert!(headers.is_empty());
}

/// Names that HTTP has and that the gateway knows, and some that it knows by their beginning.
const NAMES: &str = "\
    accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-credentials \
    access-control-allow-headers access-control-allow-methods access-control-allow-origin \
    access-control-expose-headers access-control-max-age access-control-request-headers \
    access-control-request-method age allow alt-svc authorization cache-control cache-status cdn-cache-control \
    connection content-disposition content-encoding content-language content-length content-location \
    content-range content-security-policy content-security-policy-report-only content-type cookie date dnt etag \
    expect expires forwarded from host http2-settings if-match if-modified-since if-none-match if-range \
    if-unmodified-since internal-key keep-alive last-modified link location max-forwards origin pragma \
    proxy-authenticate proxy-authorization proxy-connection public-key-pins public-key-pins-report-only range \
    referer referrer-policy refresh retry-after sec-websocket-accept sec-websocket-extensions sec-websocket-key \
    sec-websocket-protocol sec-websocket-version server set-cookie strict-transport-security te trailer \
    transfer-encoding upgrade upgrade-insecure-requests user-agent vary via warning www-authenticate \
    x-content-type-options x-dns-prefetch-control x-envoy-decorator-operation x-envoy-expected-rq-timeout-ms \
    x-envoy-max-retries x-envoy-original-path x-envoy-retriable-status-codes x-envoy-retry-on \
    x-envoy-upstream-rq-timeout-ms x-envoy-upstream-service-time x-forwarded-client-cert x-forwarded-for \
    x-forwarded-host x-forwarded-port x-forwarded-proto x-frame-options x-jwt-assertion x-request-id \
    x-wso2-cluster-header x-xss-protection";

/// Fault H9: RFC 9110, 6.5.1.
#[test]
fn what_is_taken_out_of_every_head_or_set_in_it_stands_in_no_trailers() {
    let mut touched = BTreeSet::new();
    for name in NAMES.split_whitespace() {
        let value = if name == "expect" {
            "100-continue"
        } else {
            "forged"
        };
        for (version, remote) in [(Version::HTTP_11, false), (Version::HTTP_2, true)] {
            let mut headers = map(&[("host", "a"), (name, value), (name, value)]);
            let uri = Uri::from_static("/");
            let entry = enter(
                &Method::GET,
                &uri,
                version,
                &mut headers,
                (&peer("203.0.113.9"), &Client::of(&peer("203.0.113.9"))),
                remote,
            );
            if entry.is_err() {
                touched.insert(name.to_owned());
                continue;
            }
            assert_eq!(leave(&mut headers), Vec::<HeaderName>::new());
            if !headers.get_all(name).iter().eq([value, value]) {
                touched.insert(name.to_owned());
            }
            let set = headers.keys().map(HeaderName::as_str).filter(|set| *set != name);
            touched.extend(set.map(str::to_owned));
        }
    }
    for known in [
        "cookie",
        "expect",
        "host",
        "te",
        "x-forwarded-for",
        "x-request-id",
        "x-wso2-cluster-header",
    ] {
        assert!(touched.contains(known), "{known}: {touched:?}");
    }
    println!(
        "{} of {} names: {touched:?}",
        touched.len(),
        NAMES.split_whitespace().count()
    );
    for name in &touched {
        let mut trailers = map(&[(name, "forged"), ("x-checksum", "7"), (name, "trailers")]);
        clean_trailers(&mut trailers, Some(&[]));
        assert!(trailers.keys().eq(["x-checksum"]), "{name}: {trailers:?}");
    }
    let mut trailers = map(&[("x-a", "1"), ("grpc-status", "0"), ("x-b", "2")]);
    clean_trailers(
        &mut trailers,
        Some(&[HeaderName::from_static("x-a"), HeaderName::from_static("x-c")]),
    );
    assert_eq!(trailers.len(), 2, "{trailers:?}");
    assert!(!trailers.contains_key("x-a"));
    clean_trailers(&mut trailers, None);
    assert!(trailers.is_empty(), "none were to come");
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
        (&peer("10.0.0.1"), &Client::of(&peer("10.0.0.1"))),
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
            "so is TLS",
            &[
                ("host", "a"),
                ("connection", "Upgrade"),
                ("upgrade", "TLS/1.2, HTTP/2.0"),
            ],
            false,
        ),
        (
            "one of several",
            &[
                ("host", "a"),
                ("connection", "Upgrade"),
                ("upgrade", "h2c, WebSocket"),
            ],
            true,
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

#[test]
fn grpc_is_told_by_its_content_type() {
    let cases = [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc;x=y", true),
        ("application/grpc-web", false),
        ("application/json", false),
        ("", false),
    ];
    for (value, want) in cases {
        assert_eq!(is_grpc(value.as_bytes()), want, "{value}");
    }
}
