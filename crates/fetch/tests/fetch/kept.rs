//! Connections that are kept, and what happens when they are closed.

use std::time::Duration;

use bytes::Bytes;
use trireme_fetch::{Bounds, Client, FetchError, Settings};

use crate::server::Step::{Answer, Hang};
use crate::server::scripted;
use crate::{bounds, client, request};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn one_connection_carries_one_call_after_the_other() {
    let server = scripted(vec![vec![Answer(OK), Answer(OK)]]).await;
    let client = client();
    for _ in 0..2 {
        let answer = client
            .send(request("POST", &server.address("/x")), bounds())
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.body(), &Bytes::from_static(b"ok"));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = scripted(vec![vec![Answer(OK)]]).await;
    let client = Client::new(Settings {
        idle_timeout: Duration::from_millis(50),
        ..Settings::default()
    });
    client.get(&server.address("/x"), "*/*", bounds()).await.unwrap();
    server.closed().await;
}

#[tokio::test]
async fn no_more_than_so_many_idle_connections_are_kept() {
    let server = scripted(vec![vec![Answer(OK)], vec![Answer(OK)]]).await;
    let client = Client::new(Settings {
        max_idle: 1,
        ..Settings::default()
    });
    let address = server.address("/x");
    let call = || client.get(&address, "*/*", bounds());
    let (first, second) = tokio::join!(call(), call());
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(server.connections(), 2);
    server.closed().await;
}

#[tokio::test]
async fn the_last_clone_closes_what_is_kept() {
    let server = scripted(vec![vec![Answer(OK)]]).await;
    let client = client();
    client.get(&server.address("/x"), "*/*", bounds()).await.unwrap();
    drop(client);
    server.closed().await;
}

/// The server reads the request and closes: it may have acted on it or not.
#[tokio::test]
async fn a_stale_connection_costs_nothing_but_what_has_effects() {
    for (method, want) in [("GET", true), ("PUT", true), ("POST", false)] {
        let server = scripted(vec![vec![Answer(OK)], vec![Answer(OK)]]).await;
        let client = client();
        let address = server.address("/x");
        client.get(&address, "*/*", bounds()).await.unwrap();
        let outcome = client.send(request(method, &address), bounds()).await;
        assert_eq!(outcome.is_ok(), want, "{method}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(matches!(error, FetchError::Exchange(_)), "{error:?}");
            assert!(!error.may_retry());
        }
        assert_eq!(server.connections(), if want { 2 } else { 1 }, "{method}");
    }
}

/// A server that never answers is told apart from one that closed a kept connection.
#[tokio::test]
async fn a_new_connection_that_is_closed_is_not_tried_again() {
    let server = scripted(vec![vec![], vec![Answer(OK)]]).await;
    let error = client()
        .get(&server.address("/x"), "*/*", bounds())
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::Exchange(_)), "{error:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn dropping_a_call_closes_its_connection() {
    let server = scripted(vec![vec![Hang]]).await;
    let client = client();
    let address = server.address("/x");
    let call = client.get(&address, "*/*", bounds());
    tokio::time::timeout(Duration::from_millis(100), call)
        .await
        .unwrap_err();
    server.closed().await;
}

#[tokio::test]
async fn a_call_without_a_place_waits_for_one() {
    let server = scripted(vec![vec![Hang], vec![Answer(OK)]]).await;
    let client = Client::new(Settings {
        max_calls: 1,
        ..Settings::default()
    });
    let address = server.address("/x");
    let brief = Bounds {
        timeout: Duration::from_millis(300),
        ..bounds()
    };
    let (first, second) = tokio::join!(
        client.get(&address, "*/*", brief),
        client.get(&address, "*/*", bounds()),
    );
    assert!(matches!(first, Err(FetchError::Timeout(_))), "{first:?}");
    assert_eq!(second.unwrap(), "ok");
    assert_eq!(server.connections(), 2);
}
