use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Version};

use super::super::facts::Fields;
use super::super::live::Live;
use super::*;
use crate::enforcer::Metadata;
use crate::peer::{Ends, Peer};

fn facts(request: &[(&'static str, &'static str)], trailers: &[(&'static str, &'static str)]) -> Facts {
    let wants = Wants {
        request: vec![HeaderName::from_static(CONTENT_TYPE)],
        response: vec![HeaderName::from_static(GRPC_STATUS)],
        trailers: vec![HeaderName::from_static(GRPC_STATUS)],
        sizes: true,
    };
    let fields = |wanted: &[HeaderName], of: &[(&'static str, &'static str)]| {
        let headers: HeaderMap = of
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let mut fields = Fields::default();
        fields.keep(wanted, wants.sizes, &headers);
        fields
    };
    let kept = Kept {
        time: SystemTime::UNIX_EPOCH,
        method: Method::GET,
        version: Version::HTTP_2,
        authority: HeaderValue::from_static("h"),
        original_path: "/p".parse().unwrap(),
        path: None,
        route: String::new(),
        request: fields(&wants.request, request),
        response: Fields::default(),
        trailers: fields(&wants.trailers, trailers),
        wants: Arc::new(wants),
    };
    Facts {
        live: Rc::new(Live::new(Instant::now())),
        peer: Rc::new(Peer::new(
            Ends::of(SocketAddr::from(([192, 0, 2, 1], 1)), None),
            None,
        )),
        client: SocketAddr::from(([192, 0, 2, 1], 1)),
        bodiless: true,
        status: 200,
        local: "",
        cluster: None,
        host: None,
        upstream_local: None,
        failure: None,
        attempts: 0,
        unreached: 0,
        complete: true,
        sent: None,
        upstream_time: None,
        metadata: Metadata::default(),
        kept: Some(Box::new(kept)),
    }
}

#[test]
fn why_the_status_is_what_it_is() {
    const RESET: &str = "upstream_reset_before_response_started{remote_connection_failure}";
    let why = Some("delayed_connect_error: Connection refused");
    let joined = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
    let cases = [
        ("answered", "", Flag::None, 200, None, "via_upstream"),
        ("retried", "", Flag::UpstreamRetries, 503, None, "via_upstream"),
        ("no answer yet", "", Flag::None, 0, None, ""),
        (
            "gone",
            "",
            Flag::DownstreamGone,
            200,
            None,
            "downstream_remote_disconnect",
        ),
        (
            "gone before",
            "",
            Flag::DownstreamGone,
            0,
            None,
            "downstream_remote_disconnect",
        ),
        (
            "cut in the body",
            "",
            Flag::UpstreamProtocol,
            200,
            None,
            "upstream_reset_after_response_started{protocol_error}",
        ),
        (
            "idle in the body",
            "",
            Flag::StreamIdle,
            200,
            None,
            "stream_idle_timeout",
        ),
        (
            "ours",
            "route_not_found",
            Flag::NoRoute,
            404,
            None,
            "route_not_found",
        ),
        ("refused", RESET, Flag::UpstreamConnect, 503, why, joined),
        (
            "refused before, served then",
            "",
            Flag::None,
            200,
            why,
            "via_upstream",
        ),
    ];
    for (name, local, flag, status, failure, want) in cases {
        let mut facts = facts(&[], &[]);
        (facts.local, facts.status) = (local, status);
        facts.failure = failure.map(Into::into);
        facts.live.raise(flag);
        assert_eq!(details(&facts), want, "{name}");
    }
}

#[test]
fn grpc_statuses() {
    let grpc = [(CONTENT_TYPE, "application/grpc")];
    let cases: [(&str, &[_], &[_], u16, Option<&str>); 9] = [
        (
            "no call",
            &[(CONTENT_TYPE, "text/plain")],
            &[(GRPC_STATUS, "5")],
            200,
            None,
        ),
        ("trailers", &grpc, &[(GRPC_STATUS, "5")], 200, Some("NotFound")),
        ("good", &grpc, &[(GRPC_STATUS, "0")], 200, Some("OK")),
        ("unknown number", &grpc, &[(GRPC_STATUS, "99")], 200, Some("99")),
        ("no number", &grpc, &[(GRPC_STATUS, "abc")], 200, Some("-1")),
        ("below zero", &grpc, &[(GRPC_STATUS, "-3")], 200, Some("-1")),
        (
            "huge",
            &grpc,
            &[(GRPC_STATUS, "4294967296")],
            200,
            Some("4294967296"),
        ),
        ("by the status", &grpc, &[], 503, Some("Unavailable")),
        ("by another", &grpc, &[], 500, Some("Unknown")),
    ];
    for (name, request, trailers, status, want) in cases {
        let mut facts = facts(request, trailers);
        facts.status = status;
        let kept = facts.kept.as_deref().unwrap();
        assert_eq!(grpc_status(&facts, kept).as_deref(), want, "{name}");
    }
}
