//! The access log: every operator that is accepted is answered, in each state as Envoy 1.40 answers it.

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use trireme_routing::snapshot::UpstreamProtocol;

use crate::support::{
    Gateway, Setup, Upstream, allow, cluster, deny, full, get, http2_tls, refused, request, send2,
};

/// One word for each operator, in the order of the cases below.
const FORMAT: &str = "%REQ(:PATH)%|%RESPONSE_CODE%|%RESPONSE_CODE_DETAILS%|%RESPONSE_FLAGS%|%RESPONSE_FLAGS_LONG%|\
    %GRPC_STATUS%|%UPSTREAM_REQUEST_ATTEMPT_COUNT%|%UPSTREAM_TRANSPORT_FAILURE_REASON%|\
    %DOWNSTREAM_TLS_VERSION%|%DOWNSTREAM_TLS_CIPHER%|%DOWNSTREAM_PEER_SUBJECT%|%DOWNSTREAM_PEER_ISSUER:21%|\
    %REQUESTED_SERVER_NAME%\n";

/// Whether there is a value.
const PRESENT: &str = "%STREAM_ID%|%HOSTNAME%|%CONNECTION_ID%|%REQUEST_DURATION%|%REQUEST_TX_DURATION%|\
    %RESPONSE_DURATION%|%RESPONSE_TX_DURATION%|%UPSTREAM_HOST%|%UPSTREAM_LOCAL_ADDRESS%|%UPSTREAM_REMOTE_ADDRESS%|\
    %TRACE_ID%|%VIRTUAL_CLUSTER_NAME%|%CONNECTION_TERMINATION_DETAILS%|%NOPE%\n";

async fn start(format: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::answering(|arrived| {
        let mut response = http::Response::new(full(""));
        match arrived.uri.rsplit('/').next().unwrap() {
            "grpc" => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", 5.into());
                let frames = [
                    Ok(Frame::data(Bytes::from_static(b"x"))),
                    Ok(Frame::trailers(trailers)),
                ];
                *response.body_mut() = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
            }
            "head-only" => {
                response.headers_mut().insert("grpc-status", 7.into());
            }
            _ => {}
        }
        response
    })
    .await;
    let down = refused().await;
    let mut setup = Setup::to(upstream.address).answering(|seen| {
        Some(Ok(match seen.path.as_str() {
            "/api/denied" | "/api/denied?grpc" => deny(401, "no", &[]),
            "/api/down" => allow("down"),
            "/api/nowhere" => allow("nowhere"),
            _ => allow("up"),
        }))
    });
    // For trailers.
    setup.clusters[0].protocol = UpstreamProtocol::Http2 {
        header_table_size: None,
        max_streams: None,
    };
    setup.clusters.push(cluster("down", "127.0.0.1", down.port()));
    setup.access_log = Some(format.to_owned());
    (upstream, setup.start().await)
}

/// The lines of the log without what differs from run to run, sorted.
async fn lines(gateway: &Gateway, count: usize) -> Vec<String> {
    let mut lines = gateway.log(count).await;
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_happened() {
    let (_upstream, gateway) = start(FORMAT).await;
    for path in ["/api/denied", "/api/down", "/api/nowhere", "/api/x", "/none"] {
        get(gateway.http(), path).await;
    }
    let grpc = "content-type: application/grpc\r\n";
    request(gateway.http(), "POST /api/denied?grpc", grpc, "").await;
    let mut secure = http2_tls(gateway.https()).await;
    for path in ["/api/grpc", "/api/head-only"] {
        let request = Request::post(format!("https://gw.test{path}"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::new()))
            .unwrap();
        send2(&mut secure, request).await;
    }
    let refused = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
    let plain = "-|-|-|-|-";
    let tls = "TLSv1.3|TLS_AES_256_GCM_SHA384|CN=adapter|CN=Trireme private CA|router";
    let want = [
        format!(
            "/api/denied?grpc|200|ext_authz_denied|UAEX|UnauthorizedExternalService|Unauthenticated|0|-|{plain}"
        ),
        format!("/api/denied|401|ext_authz_denied|UAEX|UnauthorizedExternalService|-|0|-|{plain}"),
        format!("/api/nowhere|500|cluster_not_found|NC|NoClusterFound|-|0|-|{plain}"),
        format!(
            "/down|503|{refused}|UF|UpstreamConnectionFailure|-|1|delayed_connect_error:_Connection_refused|{plain}"
        ),
        format!("/grpc|200|via_upstream|-|-|NotFound|1|-|{tls}"),
        format!("/head-only|200|via_upstream|-|-|PermissionDenied|1|-|{tls}"),
        format!("/none|404|route_not_found|NR|NoRouteFound|-|0|-|{plain}"),
        format!("/x|200|via_upstream|-|-|-|1|-|{plain}"),
    ];
    let got = lines(&gateway, want.len()).await;
    assert_eq!(got, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_out_what_there_is_not() {
    let (_upstream, gateway) = start(&format!("%REQ(:PATH)% {PRESENT}")).await;
    for path in ["/api/denied", "/api/down", "/api/x", "/none"] {
        get(gateway.http(), path).await;
    }
    // What is there: id, host name, number of the connection, four times, three addresses; never the last four.
    let want = [
        ("/api/denied", "yyyy------"),
        ("/down", "yyyy---y--"),
        ("/none", "yyyy------"),
        ("/x", "yyyyyyyyyy"),
    ];
    let got = lines(&gateway, want.len()).await;
    for (line, (path, present)) in got.iter().zip(want) {
        let (got, values) = line.split_once(' ').unwrap();
        assert_eq!(got, path, "{line}");
        let there: String = values
            .split('|')
            .map(|value| if value == "-" { '-' } else { 'y' })
            .collect();
        assert_eq!(there, format!("{present}----"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_the_bytes_of_heads() {
    let (_upstream, gateway) =
        start("%RESPONSE_CODE% %REQUEST_HEADERS_BYTES% %RESPONSE_HEADERS_BYTES%\n").await;
    get(gateway.http(), "/none").await;
    let head = [
        (":authority", "gw.test"),
        (":method", "GET"),
        (":path", "/none"),
        (":scheme", "http"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "00000000-0000-4000-8000-000000000000"),
    ];
    let sent: usize = head.iter().map(|(name, value)| name.len() + value.len()).sum();
    let line = gateway.log(1).await.remove(0);
    let numbers: Vec<usize> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers.get(..2), Some(&[404, sent][..]), "{line}");
    let body =
        r#"{"code":"404","message":"Not Found","description":"The requested resource is not available."}"#;
    let answer = [
        (":status", "404"),
        ("connection", "close"),
        ("content-length", "93"),
        ("content-type", "application/json"),
        ("server", "envoy"),
    ];
    assert_eq!(body.len(), 93);
    let least: usize = answer.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(
        numbers[2] <= least && numbers[2] + "connectionclose".len() >= least,
        "{line}"
    );
}
