//! Servers that do as told.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use trireme_tls::Acceptor;

/// A server on loopback; it ends with this.
pub(crate) struct Server {
    port: u16,
    scheme: &'static str,
    connections: Arc<AtomicUsize>,
    closed: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) fn address(&self, path: &str) -> Uri {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
            .parse()
            .unwrap()
    }

    /// Connections that were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until the client has closed a connection.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }
}

/// What is done with a request.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// Answered, and the next one is read.
    Answer(&'static str),
    /// Answered, and the connection closed.
    Last(&'static str),
    /// Left without an answer until the client closes the connection.
    Hang,
}

/// Speaks HTTP/1.1 by a script: a list of steps for each connection. A request beyond the list closes the connection.
pub(crate) async fn scripted(script: Vec<Vec<Step>>) -> Server {
    start("http", move |stream, number, closed| {
        let steps = script.get(number).cloned().unwrap_or_default();
        async move { play(stream, steps, &closed).await }
    })
    .await
}

/// Answers every request with its version and its body, over TLS with what the acceptor agrees on.
pub(crate) async fn secure(acceptor: Acceptor) -> Server {
    start("https", move |stream, _, closed| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream).await;
            }
            closed.notify_one();
        }
    })
    .await
}

async fn start<F>(
    scheme: &'static str,
    mut connection: impl FnMut(TcpStream, usize, Arc<Notify>) -> F + Send + 'static,
) -> Server
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (connections, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let mut tasks = JoinSet::new();
    let (count, notify) = (Arc::clone(&connections), Arc::clone(&closed));
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst);
            open.spawn(connection(stream, number, Arc::clone(&notify)));
        }
    });
    Server {
        port,
        scheme,
        connections,
        closed,
        _tasks: tasks,
    }
}

async fn play(mut stream: TcpStream, steps: Vec<Step>, closed: &Notify) {
    for step in steps {
        if !read_request(&mut stream).await {
            closed.notify_one();
            return;
        }
        match step {
            Step::Answer(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
            Step::Last(answer) => {
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                return;
            }
            Step::Hang => {}
        }
    }
    // What the client writes now stays without an answer; closing with it unread would be a reset.
    if !read_request(&mut stream).await {
        closed.notify_one();
    }
}

/// Reads the head of a request, and the body that tests send; false at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    let mut piece = [0; 1024];
    let complete = |read: &[u8]| {
        let text = String::from_utf8_lossy(read);
        text.ends_with("\r\n\r\n") || text.ends_with("\r\n\r\nquestion")
    };
    while !complete(&read) {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return false,
            Ok(length) => read.extend_from_slice(&piece[..length]),
        }
    }
    // The body comes in the same segment or just behind the head.
    let expects = String::from_utf8_lossy(&read).contains("content-length: 8");
    while expects && !read.ends_with(b"question") {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return false,
            Ok(length) => read.extend_from_slice(&piece[..length]),
        }
    }
    true
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(async |request: Request<Incoming>| {
        if request.uri().path() == "/hang" {
            std::future::pending::<()>().await;
        }
        let version = format!("{:?} ", request.version());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let answer = [version.as_bytes(), &body].concat();
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))))
    });
    // However it ends, the test looks at the client's side.
    hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}
