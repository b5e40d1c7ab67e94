use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn serve(admin: Admin) -> Served {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(admin.serve(listener, stop.clone()));
    Served { address, stop, task }
}

impl Served {
    /// Head and body of an answer.
    async fn ask(&self, line: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn pages_are_as_the_process_says() {
    let readiness = Readiness::default();
    let configuration = readiness.condition("configuration");
    let served = serve(
        Admin::new(readiness, Metrics::new())
            .page("/snapshot", || json!({ "version": 7 }))
            .page("/status", || json!([])),
    )
    .await;
    let plain = "content-type: text/plain; charset=utf-8";
    let json = "content-type: application/json";
    let missing = "/live /ready /metrics /snapshot /status\n";
    let cases = [
        ("GET /live", 200, plain, "live\n"),
        ("GET /live?verbose", 200, plain, "live\n"),
        ("GET /ready", 503, plain, "not ready: configuration\n"),
        ("GET /snapshot", 200, json, r#"{"version":7}"#),
        ("GET /status", 200, json, "[]"),
        ("HEAD /status", 200, json, ""),
        ("GET /", 404, plain, missing),
        ("GET /snapshot/", 404, plain, missing),
        ("POST /live", 405, "allow: GET,HEAD", "only GET\n"),
        ("DELETE /nothing", 405, plain, "only GET\n"),
    ];
    for (line, status, header, body) in cases {
        let (head, told) = served.ask(line).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {head}");
        assert!(head.contains(header), "{line}: {head}");
        assert_eq!(told, body, "{line}");
    }
    configuration.meet();
    assert_eq!(served.ask("GET /ready").await.1, "ready\n");
    let (head, body) = served.ask("GET /metrics").await;
    let media_type = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(head.contains(media_type), "{head}");
    assert!(body.contains("# HELP process_open_fds "), "{body}");
    served.stop.cancel();
    served.task.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn what_is_only_known_by_trying_is_tried_before_readiness_is_told() {
    let readiness = Readiness::default();
    let store = readiness.condition("store");
    let admin = Admin::new(readiness, Metrics::new())
        .text("text/plain")
        .before_ready(move || {
            let store = store.clone();
            async move { store.miss_because("disk is full".to_owned()) }
        });
    let served = serve(admin).await;
    let (head, body) = served.ask("GET /ready").await;
    assert_eq!(body, "not ready: store (disk is full)\n");
    assert!(head.contains("content-type: text/plain\r\n"), "{head}");
}

#[tokio::test]
async fn connections_are_counted_and_end_with_the_port() {
    let served = serve(Admin::new(Readiness::default(), Metrics::new())).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        open.push(TcpStream::connect(served.address).await.unwrap());
    }
    let mut beyond = TcpStream::connect(served.address).await.unwrap();
    let mut nothing = [0; 1];
    assert_eq!(beyond.read(&mut nothing).await.unwrap(), 0);
    // One that goes makes place for another.
    open.pop();
    let answered = async {
        loop {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            stream
                .write_all(b"GET /live HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = Vec::new();
            if stream.read_to_end(&mut answer).await.is_ok() && answer.starts_with(b"HTTP/1.1 200") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered)
        .await
        .unwrap();
    served.stop.cancel();
    served.task.await.unwrap();
    for mut stream in open {
        assert_eq!(stream.read(&mut nothing).await.unwrap(), 0);
    }
}
