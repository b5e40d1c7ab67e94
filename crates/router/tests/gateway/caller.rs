//! Who the caller is, for whoever asks: the enforcer, the access log, bounds per address. And what one caller may take.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trireme_routing::snapshot::Proxies;

use crate::support::{BOUND, Gateway, Pki, Reply, Setup, Upstream, allow, eventually, get, raw, request};

const LOG: &str = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%\n";
const OVERLOADED: &str = r#"{"code":"102518","message":"Gateway overloaded","description":"#;

fn ranges(list: &[&str]) -> Proxies {
    Proxies::Ranges(list.iter().map(|range| range.parse().unwrap()).collect())
}

async fn counts(gateway: &Gateway, line: &str) {
    eventually(line, async || {
        gateway
            .admin("/metrics")
            .await
            .body
            .lines()
            .any(|found| found == line)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_is_believed_as_far_as_its_writer_is_trusted() {
    let forged = "x-forwarded-for: 192.0.2.66\r\nx-forwarded-for: 198.51.100.1, 10.0.0.7\r\n";
    let count = |count| Proxies::Count(NonZeroU32::new(count).unwrap());
    for (proxies, remote, want) in [
        (Proxies::None, false, "127.0.0.1"),
        (Proxies::None, true, "127.0.0.1"),
        (count(1), true, "10.0.0.7"),
        (count(2), false, "198.51.100.1"),
        (ranges(&["10.0.0.0/8"]), false, "127.0.0.1"),
        (ranges(&["10.0.0.0/8", "127.0.0.1/32"]), true, "198.51.100.1"),
        (ranges(&["10.0.0.0/8", "127.0.0.1/32"]), false, "198.51.100.1"),
    ] {
        let name = format!("{proxies:?} {remote}");
        let upstream = Upstream::echo().await;
        let mut setup = Setup::to(upstream.address);
        setup.access_log = Some(LOG.to_owned());
        setup.http.proxies = proxies;
        setup.http.use_remote_address = remote;
        let gateway = setup.start().await;
        assert_eq!(
            request(gateway.http(), "GET /api/x", forged, "").await.status,
            200,
            "{name}"
        );
        let seen = gateway.enforcer.seen();
        let source = format!("address: {want:?}");
        assert!(seen[0].source.contains(&source), "{name}: {}", seen[0].source);
        let line = gateway.log(1).await.remove(0);
        let (address, rest) = line.split_once(' ').unwrap();
        let (port, direct) = rest.split_once(' ').unwrap();
        assert_eq!((address, direct), (want, "127.0.0.1"), "{name}");
        assert_eq!(port == "0", want != "127.0.0.1", "{name}: {line}");
        // What goes upstream is as it was: the other end of the connection is added, or nothing.
        let arrived = upstream.arrived();
        let sent = arrived[0].headers.get_all("x-forwarded-for").iter();
        let sent: Vec<_> = sent.map(|value| value.to_str().unwrap().to_owned()).collect();
        let want = match remote {
            true => vec!["192.0.2.66,198.51.100.1, 10.0.0.7,127.0.0.1"],
            false => vec!["192.0.2.66", "198.51.100.1, 10.0.0.7"],
        };
        assert_eq!(sent, want, "{name}");
    }
}

/// What a gateway answers whose plain listener wants PROXY headers. None when it closes without a word.
async fn after(address: SocketAddr, header: &[u8]) -> Option<Reply> {
    let call = b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[header, call].concat()).await.unwrap();
    let mut answer = Vec::new();
    // Closed, or reset since something is left unread.
    let read = timeout(BOUND, stream.read_to_end(&mut answer))
        .await
        .expect("in time");
    (read.is_ok() && !answer.is_empty()).then(|| Reply::parse(&answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_header_names_the_caller_and_none_is_no_connection() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.access_log = Some(LOG.to_owned());
    setup.proxy_protocol = true;
    setup.http.proxies = ranges(&["127.0.0.1/32"]);
    let gateway = setup.start().await;
    let binary: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x7f\0\0\x01\0\x07\0\x50";
    for (header, want) in [
        (
            &b"PROXY TCP4 198.51.100.1 127.0.0.1 5 80\r\n"[..],
            "198.51.100.1 5 127.0.0.1",
        ),
        (b"PROXY TCP6 2001:db8::1 ::1 6 80\r\n", "2001:db8::1 6 127.0.0.1"),
        (binary, "203.0.113.9 7 127.0.0.1"),
    ] {
        assert_eq!(
            after(gateway.http(), header).await.expect("answered").status,
            200,
            "{want}"
        );
        let (address, _) = want.split_once(' ').unwrap();
        let source = gateway.enforcer.seen().pop().unwrap().source;
        assert!(source.contains(&format!("address: {address:?}")), "{source}");
        let lines = gateway.enforcer.seen().len();
        assert_eq!(gateway.log(lines).await[lines - 1], want);
    }
    let unknown = after(gateway.http(), b"PROXY UNKNOWN\r\n").await;
    assert_eq!(unknown.expect("answered").status, 200);
    let source = gateway.enforcer.seen().pop().unwrap().source;
    assert!(source.contains("127.0.0.1"), "{source}");
    for header in [
        &b""[..],
        b"PROXY TCP4 198.51.100.1\r\n",
        b"PROXY TCP4 198.51.100.1 127.0.0.1 5 80\n",
    ] {
        assert_eq!(after(gateway.http(), header).await, None);
    }
    assert_eq!(gateway.enforcer.seen().len(), 4, "nobody was asked about them");
    // A look whether the port is open is no fault.
    drop(TcpStream::connect(gateway.http()).await.unwrap());
    counts(
        &gateway,
        r#"trireme_router_connections_refused_total{reason="proxy_protocol"} 3"#,
    )
    .await;

    // Before the handshake of TLS.
    let mut stream = TcpStream::connect(gateway.https()).await.unwrap();
    stream
        .write_all(b"PROXY TCP4 198.51.100.3 127.0.0.1 5 443\r\n")
        .await
        .unwrap();
    let connector = Pki::get().material("adapter").connector(&[b"http/1.1"]);
    let mut stream = connector.connect("router", stream).await.unwrap();
    let call = b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\n\r\n";
    stream.write_all(call).await.unwrap();
    let mut answer = Vec::new();
    timeout(BOUND, stream.read_to_end(&mut answer))
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(Reply::parse(&answer).status, 200);
    let source = gateway.enforcer.seen().pop().unwrap().source;
    assert!(source.contains(r#"address: "198.51.100.3""#), "{source}");
    let stream = TcpStream::connect(gateway.https()).await.unwrap();
    assert!(
        connector.connect("router", stream).await.is_err(),
        "TLS without a header"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_by_the_address_in_the_header() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.proxy_protocol = true;
    setup.caps.connections = 1;
    let gateway = setup.start().await;
    let mut held = TcpStream::connect(gateway.http()).await.unwrap();
    held.write_all(b"PROXY TCP4 198.51.100.1 127.0.0.1 5 80\r\n")
        .await
        .unwrap();
    let call = b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\n\r\n";
    held.write_all(call).await.unwrap();
    assert!(timeout(BOUND, held.read_u8()).await.expect("in time").is_ok());
    assert_eq!(
        after(gateway.http(), b"PROXY TCP4 198.51.100.1 127.0.0.1 6 80\r\n").await,
        None
    );
    counts(
        &gateway,
        r#"trireme_router_connections_refused_total{reason="address"} 1"#,
    )
    .await;
    let other = after(gateway.http(), b"PROXY TCP4 198.51.100.2 127.0.0.1 6 80\r\n").await;
    assert_eq!(other.expect("another address").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_does_not_come_is_not_waited_for() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.proxy_protocol = true;
    setup.edge.header_time = std::time::Duration::from_millis(200);
    let gateway = setup.start().await;
    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    stream.write_all(b"PROXY TCP4 ").await.unwrap();
    let closed = timeout(BOUND, stream.read_u8()).await.expect("in time");
    assert!(closed.is_err());
    counts(
        &gateway,
        r#"trireme_router_connections_refused_total{reason="proxy_protocol"} 1"#,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_have_as_many_connections_as_they_want() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.caps.connections = 1;
    setup.http.proxies = ranges(&["127.0.0.1/32"]);
    let gateway = setup.start().await;
    let _held = TcpStream::connect(gateway.http()).await.unwrap();
    counts(&gateway, "trireme_router_connections_active 1").await;
    assert_eq!(get(gateway.http(), "/api/x").await.status, 200);
}

/// A gateway whose enforcer never answers about `/api/held`.
async fn holding(change: impl FnOnce(&mut Setup)) -> (Gateway, Upstream) {
    let upstream = Upstream::echo().await;
    let mut setup =
        Setup::to(upstream.address).answering(|seen| (seen.path != "/api/held").then(|| Ok(allow("up"))));
    change(&mut setup);
    (setup.start().await, upstream)
}

async fn hold(gateway: &Gateway, from: &str) -> TcpStream {
    let seen = gateway.enforcer.seen().len();
    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    let call = format!("GET /api/held HTTP/1.1\r\nhost: gw.test\r\nx-forwarded-for: {from}\r\n\r\n");
    stream.write_all(call.as_bytes()).await.unwrap();
    eventually("the check is asked", async || {
        gateway.enforcer.seen().len() > seen
    })
    .await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_requests_under_way_and_no_more() {
    let (gateway, _upstream) = holding(|setup| {
        setup.caps.requests = 2;
        setup.http.proxies = ranges(&["127.0.0.1/32"]);
    })
    .await;
    let call = async |from: &str| {
        let line = format!("x-forwarded-for: {from}\r\n");
        request(gateway.http(), "GET /api/x", &line, "").await
    };
    let first = hold(&gateway, "2001:db8::1").await;
    let _second = hold(&gateway, "2001:db8::2").await;
    let refused = call("2001:db8::3").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    let body = format!(r#"{OVERLOADED}"Too many requests of this address are under way."}}"#);
    assert_eq!(refused.body, body);
    assert_eq!(call("2001:db8:0:1::1").await.status, 200, "another address");
    assert_eq!(
        call("2001:db8:0:1::1").await.status,
        200,
        "what is over is given back"
    );
    counts(
        &gateway,
        r#"trireme_router_requests_shed_total{reason="address"} 1"#,
    )
    .await;
    drop(first);
    eventually("a place is given back", async || {
        call("2001:db8::3").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_enforcer_has_no_room_for_is_told_so_at_once() {
    let (gateway, _upstream) = holding(|setup| {
        setup.workers = 1;
        setup.edge.max_checks = 1;
        setup.access_log = Some("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n".to_owned());
    })
    .await;
    let held = hold(&gateway, "192.0.2.1").await;
    let refused = get(gateway.http(), "/api/x").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        refused.body,
        format!(r#"{OVERLOADED}"Too many requests wait to be checked."}}"#)
    );
    assert_eq!(gateway.log(1).await[0], "503 OM overload");
    counts(
        &gateway,
        r#"trireme_router_requests_shed_total{reason="checks"} 1"#,
    )
    .await;
    drop(held);
    eventually("there is room again", async || {
        get(gateway.http(), "/api/x").await.status == 200
    })
    .await;
    let metrics = gateway.admin("/metrics").await.body;
    for name in [
        "trireme_router_requests_shed_total",
        "trireme_router_connections_refused_total",
    ] {
        assert!(
            metrics.contains(&format!("# HELP {name} ")),
            "{name} in\n{metrics}"
        );
    }
    assert_eq!(
        raw(gateway.http(), b"junk\r\n\r\n").await.status,
        400,
        "a head without a request"
    );
}
