//! What a check costs. Run with
//! `cargo test --release -p trireme-enforcer -- --ignored --nocapture a_check_costs`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;

use prost::Message;
use prost::bytes::Bytes;
use tokio::time::Instant;
use trireme_proto::envoy::config::core::v3::{Address, SocketAddress, address};
use trireme_proto::envoy::service::auth::v3::{AttributeContext, CheckRequest, attribute_context as wire};

use super::fixture::*;
use crate::attributes::Attributes;
use crate::respond::{encode, respond};

/// `GET /v2/pets` with a token and the headers of a usual client, as the router sends it.
pub(super) fn request(token: &str) -> CheckRequest {
    let map = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let bearer = format!("Bearer {token}");
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(wire::Peer {
                address: Some(Address {
                    address: Some(address::Address::SocketAddress(SocketAddress {
                        address: "10.0.0.1".to_owned(),
                        ..SocketAddress::default()
                    })),
                }),
                ..wire::Peer::default()
            }),
            request: Some(wire::Request {
                http: Some(wire::HttpRequest {
                    id: "4711".to_owned(),
                    method: "GET".to_owned(),
                    path: "/v2/pets?limit=10".to_owned(),
                    host: "localhost:9090".to_owned(),
                    scheme: "http".to_owned(),
                    protocol: "HTTP/1.1".to_owned(),
                    headers: map(&[
                        (":authority", "localhost:9090"),
                        (":method", "GET"),
                        (":path", "/v2/pets?limit=10"),
                        (":scheme", "http"),
                        ("accept", "application/json"),
                        ("accept-encoding", "gzip, deflate, br"),
                        ("accept-language", "en-US,en;q=0.9"),
                        ("authorization", &bearer),
                        ("cookie", "session=0123456789abcdef"),
                        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
                        ("x-forwarded-for", "10.0.0.1"),
                        ("x-forwarded-proto", "http"),
                        ("x-request-id", "7f3c3a52-7f3d-4a8a-9a3e-2a7e6d4f0a11"),
                    ]),
                    ..wire::HttpRequest::default()
                }),
                ..wire::Request::default()
            }),
            context_extensions: map(&[
                ("vHost", "localhost"),
                ("basePath", "/v2"),
                ("version", "1.0"),
                ("path", "/pets"),
                ("method", "GET POST"),
                ("name", "Pets"),
                ("prodClusterName", "prod"),
                ("sandClusterName", ""),
                ("trireme.revision", "10.5"),
            ]),
            ..AttributeContext::default()
        }),
    }
}

/// Batches of 64 checks with a warm token, `LIMITS` says whether they have limits: to be counted by callgrind, as
/// `LIMITS=1 valgrind --tool=callgrind --toggle-collect='*service*batch*' <the test's program> --ignored batches_for`.
#[tokio::test]
#[ignore = "is counted by callgrind"]
async fn batches_for_callgrind() {
    #[allow(clippy::disallowed_methods, reason = "whoever counts says what")]
    let limited = std::env::var_os("LIMITS").is_some();
    let world = super::limits::three_levels();
    let mut snapshot = world.snapshot;
    if !limited {
        snapshot.security = Some(std::sync::Arc::new(security(settings())));
    }
    let service = crate::service::Service {
        current: std::sync::Arc::default(),
        counters: crate::event::Counters::new(&trireme_telemetry::Metrics::new()),
        stages: crate::check::stages,
        drain: tokio_util::sync::CancellationToken::new(),
    };
    service.current.store(snapshot);
    let mut claims = super::limits::subscriber("Gold", "Gold");
    claims["exp"] = serde_json::json!(10 * NOW);
    claims["nbf"] = serde_json::json!(1);
    let bytes = Bytes::from(request(&token(&KEYS.ours, &header(), &claims)).encode_to_vec());
    let mut room = crate::service::Room {
        checks: 64,
        bytes: usize::MAX,
    };
    for _ in 0..32 {
        let checks = (0..64).map(|id| trireme_proto::trireme::auth::v1::Check {
            id,
            request: bytes.clone(),
        });
        let batch = trireme_proto::trireme::auth::v1::CheckBatch {
            checks: checks.collect(),
            steering: true,
        };
        let mut waiting = Vec::new();
        let answers = service.batch(black_box(batch), &mut waiting, &mut room);
        assert_eq!((answers.verdicts.len(), waiting.len()), (64, 0));
        assert!(answers.verdicts.iter().all(|verdict| verdict.steering.is_some()));
    }
}

#[tokio::test]
#[ignore = "measures, and means something with --release only"]
async fn a_check_costs() {
    let world = World::new(policy(), settings());
    let bytes = Bytes::from(request(&good_token()).encode_to_vec());
    let rounds = 20_000;
    let measure = |name: &str, round: &dyn Fn()| {
        for _ in 0..rounds / 10 {
            round();
        }
        let begun = Instant::now();
        for _ in 0..rounds {
            round();
        }
        println!("{name}: {} ns", begun.elapsed().as_nanos() / rounds);
    };
    measure("attributes", &|| {
        black_box(Attributes::read(black_box(&bytes)).unwrap());
    });
    let attributes = Attributes::read(&bytes).unwrap();
    measure("check", &|| {
        black_box(world.check(black_box(&attributes)).unwrap());
    });
    measure("message to message", &|| {
        let attributes = Attributes::read(black_box(&bytes)).unwrap();
        let verdict = world.check(&attributes).unwrap();
        black_box(respond(&verdict, &attributes, false).encode_to_vec());
    });
    let scratch = RefCell::new(Vec::new());
    measure("message to message, typed steering", &|| {
        let attributes = Attributes::read(black_box(&bytes)).unwrap();
        let verdict = world.check(&attributes).unwrap();
        black_box(encode(
            &verdict,
            &attributes,
            false,
            true,
            &mut scratch.borrow_mut(),
        ));
    });
    let limits = super::limits::three_levels();
    let claims = super::limits::subscriber("Gold", "Gold");
    let bytes_limited = Bytes::from(request(&token(&KEYS.ours, &header(), &claims)).encode_to_vec());
    measure("message to message, typed steering, three limits", &|| {
        let attributes = Attributes::read(black_box(&bytes_limited)).unwrap();
        let verdict = limits.check(&attributes).unwrap();
        black_box(encode(
            &verdict,
            &attributes,
            false,
            true,
            &mut scratch.borrow_mut(),
        ));
    });
    measure("generated decoder, for comparison", &|| {
        black_box(CheckRequest::decode(black_box(&bytes[..])).unwrap());
    });
}
