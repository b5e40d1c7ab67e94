//! Answers that are none, and bounds.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use http::Uri;
use trireme_fetch::{Bounds, ConnectError, FetchError};
use trireme_telemetry::chain;

use crate::server::Step::{Answer, Hang, Last};
use crate::server::scripted;
use crate::{bounds, client, request};

/// One answer, asked for with GET.
async fn get(answer: &'static str) -> Result<bytes::Bytes, FetchError> {
    let server = scripted(vec![vec![Last(answer)]]).await;
    client()
        .get(&server.address("/keys"), "application/json", bounds())
        .await
}

/// `text` with `x` repeated.
fn long(text: &str, times: usize) -> &'static str {
    text.replace("{}", &"x".repeat(times)).leak()
}

#[tokio::test]
async fn bodies_end_at_their_bound() {
    let told = long("HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n{}", 1024);
    assert_eq!(get(told).await.unwrap().len(), 1024);
    let streamed = long(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n400\r\n{}\r\n0\r\n\r\n",
        1024,
    );
    assert_eq!(get(streamed).await.unwrap().len(), 1024);
    let cases = [
        // Refused by its own word: the body never comes.
        ("told", "HTTP/1.1 200 OK\r\ncontent-length: 1025\r\n\r\n"),
        (
            "one chunk",
            long(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n401\r\n{}\r\n0\r\n\r\n",
                1025,
            ),
        ),
        (
            "several",
            long(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3ff\r\n{}\r\n2\r\nxx\r\n0\r\n\r\n",
                1023,
            ),
        ),
        ("to the end", long("HTTP/1.1 200 OK\r\n\r\n{}", 1025)),
    ];
    for (name, answer) in cases {
        let outcome = get(answer).await;
        assert!(
            matches!(outcome, Err(FetchError::TooLong(1024))),
            "{name}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn what_is_cut_off_or_no_http_is_an_error() {
    let cases = [
        (
            "half a body",
            "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf",
            "body cannot be read: ",
        ),
        (
            "half a head",
            "HTTP/1.1 200 OK\r\ncontent-le",
            "exchange failed: ",
        ),
        (
            "nothing",
            "",
            "exchange failed: connection closed before message completed",
        ),
        ("no HTTP", "220 mail.example ESMTP\r\n\r\n", "exchange failed: "),
        (
            "a head without end",
            long("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", 200_000),
            "exchange failed: ",
        ),
    ];
    for (name, answer, want) in cases {
        let error = get(answer).await.unwrap_err();
        let told = chain(&error);
        assert!(told.starts_with(want), "{name}: {told}");
        assert!(!error.may_retry(), "{name}");
    }
}

#[tokio::test]
async fn redirections_are_answers() {
    const MOVED: &str = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    let server = scripted(vec![vec![Answer(MOVED), Answer(MOVED)]]).await;
    let client = client();
    let error = client
        .get(&server.address("/"), "*/*", bounds())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "answered 302 Found");
    let answer = client
        .send(request("GET", &server.address("/")), bounds())
        .await
        .unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["location"], "/elsewhere");
}

#[tokio::test]
async fn other_answers_than_200_are_not_read() {
    let error = get("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9999\r\n\r\n")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "answered 503 Service Unavailable");
}

#[tokio::test]
async fn time_is_bounded_at_every_point() {
    let brief = Bounds {
        timeout: Duration::from_millis(200),
        ..bounds()
    };
    let cases = [
        ("before the head", Hang),
        ("in the head", Answer("HTTP/1.1 200 OK\r\ncontent-")),
        (
            "in the body",
            Answer("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf"),
        ),
    ];
    for (name, step) in cases {
        let server = scripted(vec![vec![step]]).await;
        let error = client()
            .get(&server.address("/"), "*/*", brief)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "no answer within 200ms", "{name}");
        assert!(!error.may_retry(), "{name}");
        server.closed().await;
    }
}

#[tokio::test]
async fn nobody_there_may_be_tried_again() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: Uri = format!("http://{}/", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    drop(listener);
    let error = client().get(&address, "*/*", bounds()).await.unwrap_err();
    let FetchError::Connect(cause) = &error else {
        panic!("{error:?}")
    };
    assert!(matches!(**cause, ConnectError::Dial(_)), "{cause:?}");
    assert!(
        chain(&error).starts_with("cannot connect: Connection refused"),
        "{}",
        chain(&error)
    );
    assert!(error.may_retry());
}

#[tokio::test]
async fn only_calls_over_http_are_made() {
    let client = client();
    for address in ["/relative", "ftp://127.0.0.1/", "127.0.0.1:80"] {
        let address: Uri = address.parse().unwrap();
        let error = client.get(&address, "*/*", bounds()).await.unwrap_err();
        assert!(matches!(error, FetchError::Address), "{address}: {error:?}");
    }
    let error = client
        .send(
            request("CONNECT", &"http://127.0.0.1:1/".parse().unwrap()),
            bounds(),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::Method), "{error:?}");
}
