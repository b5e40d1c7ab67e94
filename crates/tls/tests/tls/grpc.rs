use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Empty;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::{Channel, Server};
use tower::{Service, ServiceExt};
use trireme_tls::authority::Issued;
use trireme_tls::channel::{Target, channel, connect};
use trireme_tls::serve::{Peer, incoming};
use trireme_tls::{ClientAuth, Facts, GRPC_ALPN};

use crate::pki::{material, pki};

/// Answers every call with the name in the caller's certificate.
#[derive(Clone)]
struct WhoAmI;

impl NamedService for WhoAmI {
    const NAME: &'static str = "test.WhoAmI";
}

impl Service<http::Request<Body>> for WhoAmI {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let peer = request
            .extensions()
            .get::<Peer>()
            .expect("every connection has a peer");
        let subject = peer
            .certificate
            .as_ref()
            .and_then(Facts::of)
            .map_or_else(String::new, |facts| facts.subject);
        let response = http::Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "0")
            .header("subject", subject)
            .header("loopback", peer.remote.ip().is_loopback().to_string())
            .body(Body::empty());
        ready(Ok(response.unwrap()))
    }
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Running {
    async fn start(at: SocketAddr) -> Self {
        let pki = pki();
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = material(Some(&pki.enforcer), &[&pki.ca]).acceptor(ClientAuth::Required, GRPC_ALPN);
        let (stop, stopped) = oneshot::channel();
        let served = Server::builder()
            .add_service(WhoAmI)
            .serve_with_incoming_shutdown(incoming(listener, acceptor), async {
                stopped.await.unwrap_or_default()
            });
        Self {
            address,
            stop,
            task: tokio::spawn(served),
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    fn target(&self) -> Target {
        Target {
            host: "127.0.0.1".to_owned(),
            port: self.address.port(),
            server_name: "enforcer".to_owned(),
        }
    }

    fn channel(&self, pair: Option<&Issued>) -> Channel {
        channel(self.target(), material(pair, &[&pki().ca]).connector(GRPC_ALPN))
    }
}

async fn call(channel: &mut Channel) -> Result<http::Response<Body>, tonic::transport::Error> {
    let request = http::Request::post("/test.WhoAmI/Ask")
        .body(Body::new(Empty::new()))
        .unwrap();
    let call = async { channel.ready().await?.call(request).await };
    tokio::time::timeout(Duration::from_secs(10), call)
        .await
        .expect("calls end")
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[tokio::test]
async fn calls_carry_the_peer() {
    let server = Running::start(ANY).await;
    let response = call(&mut server.channel(Some(&pki().router))).await.unwrap();
    assert_eq!(response.headers()["subject"], "CN=router");
    assert_eq!(response.headers()["loopback"], "true");
    server.stop().await;
}

#[tokio::test]
async fn strangers_get_no_answer() {
    let server = Running::start(ANY).await;
    for (case, pair) in [
        ("none", None),
        ("foreign", Some(&pki().foreign)),
        ("expired", Some(&pki().expired)),
    ] {
        let outcome = call(&mut server.channel(pair)).await;
        assert!(outcome.is_err(), "{case}: {outcome:?}");
    }
    // Plain text, too.
    let mut plain = server.address.to_string();
    plain.insert_str(0, "http://");
    let channel = Channel::from_shared(plain).unwrap().connect_lazy();
    assert!(call(&mut { channel }).await.is_err());
    assert!(call(&mut server.channel(Some(&pki().router))).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn silent_peers_hold_nobody_up() {
    let server = Running::start(ANY).await;
    let mut silent = Vec::new();
    // More than there are places: each would hold one for ten seconds.
    for _ in 0..300 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut channel = server.channel(Some(&pki().router));
    let answered = tokio::time::timeout(Duration::from_secs(8), call(&mut channel)).await;
    assert!(answered.expect("a place is found").is_ok());
    server.stop().await;
    // Stopping closes what never finished its handshake.
    for mut stream in silent {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0]))
            .await
            .expect("closed");
        assert!(matches!(read, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_channel_survives_its_server() {
    let first = Running::start(ANY).await;
    let mut channel = first.channel(Some(&pki().router));
    assert!(call(&mut channel).await.is_ok());
    let address = first.address;
    first.stop().await;
    assert!(call(&mut channel).await.is_err());
    let second = Running::start(address).await;
    assert!(call(&mut channel).await.is_ok());
    second.stop().await;
}

#[tokio::test]
async fn connection_errors_name_the_target() {
    let server = Running::start(ANY).await;
    let connector = material(Some(&pki().router), &[&pki().ca]).connector(GRPC_ALPN);
    let wrong_name = Target {
        server_name: "adapter".to_owned(),
        ..server.target()
    };
    let error = connect(&wrong_name, &connector).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("127.0.0.1:{}: ", server.address.port())),
        "{error}"
    );
    assert!(error.contains("not valid for name"), "{error}");
    let no_name = Target {
        server_name: "not a name".to_owned(),
        ..server.target()
    };
    assert!(connect(&no_name, &connector).await.is_err());
    assert!(call(&mut channel(no_name, connector)).await.is_err());
    server.stop().await;
}
