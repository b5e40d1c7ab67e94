//! The client against real servers on loopback.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod kept;
mod refused;
mod secure;
mod server;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use trireme_fetch::{Bounds, Client, Settings};

/// Bounds that a test does not run into by accident.
fn bounds() -> Bounds {
    Bounds {
        timeout: Duration::from_secs(10),
        max_body_bytes: 1024,
    }
}

/// A client that trusts nobody.
fn client() -> Client {
    Client::new(Settings::default())
}

fn request(method: &str, address: &Uri) -> Request<Bytes> {
    Request::builder()
        .method(method)
        .uri(address)
        .body(Bytes::from_static(b"question"))
        .unwrap()
}
