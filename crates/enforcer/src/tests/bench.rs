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
    measure("generated decoder, for comparison", &|| {
        black_box(CheckRequest::decode(black_box(&bytes[..])).unwrap());
    });
}
