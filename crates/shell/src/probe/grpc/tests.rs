use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use futures_util::stream::Empty;
use tempfile::TempDir;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Response, Status};
use tonic_health::pb::HealthCheckResponse;
use tonic_health::pb::health_server::{Health, HealthServer};
use trireme_tls::ClientAuth;
use trireme_tls::authority::{Authority, Validity};

use super::*;

/// A server that answers every name with its number as the status.
struct Names;

#[tonic::async_trait]
impl Health for Names {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = match &*request.get_ref().service {
            "" => 1,
            "down" => 2,
            "slow" => std::future::pending().await,
            _ => return Err(Status::not_found("no such service")),
        };
        Ok(Response::new(HealthCheckResponse { status }))
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("no"))
    }
}

const OWNER: Owner = Owner {
    process: "trireme-nobody",
    state: || None,
    reason: || Some("not ready: APIs".to_owned()),
    own: |_| ExitCode::FAILURE,
};

/// A folder with key pairs by name, and their CA.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Self { folder };
        let authority = Authority::open_or_create(&files.path("ca")).unwrap();
        let now = SystemTime::now();
        let day = Duration::from_secs(24 * 60 * 60);
        for (name, validity) in [
            ("adapter", Validity::starting(now, day)),
            ("expired", Validity::starting(now - 3 * day, day)),
        ] {
            let issued = authority.issue(name, &["localhost"], validity).unwrap();
            let (key, certificate) = (
                files.path(&format!("{name}.key")),
                files.path(&format!("{name}.pem")),
            );
            issued.write(&key, &certificate).unwrap();
        }
        std::fs::copy(authority.certificate_path(), files.path("ca.pem")).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Serves with one of the pairs; whoever has none of the CA's is refused.
    async fn serve(&self, name: &str) -> SocketAddr {
        let material = Material::load(Settings {
            key: self.path(&format!("{name}.key")),
            certificate: self.path(&format!("{name}.pem")),
            trust: vec![self.path("ca.pem")],
            ..Settings::default()
        })
        .unwrap();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = material.acceptor(ClientAuth::Required, GRPC_ALPN);
        let incoming = trireme_tls::serve::incoming(listener, acceptor);
        tokio::spawn(
            Server::builder()
                .add_service(HealthServer::new(Names))
                .serve_with_incoming(incoming),
        );
        address
    }

    fn flags(&self, address: SocketAddr, pair: &str, more: &[&str]) -> Flags {
        let path = |name: String| self.path(&name).display().to_string();
        let mut words = vec![
            format!("-addr={address}"),
            "-tls".to_owned(),
            format!("-tls-ca-cert={}", path(format!("{pair}.pem"))),
            format!("-tls-client-cert={}", path(format!("{pair}.pem"))),
            format!("-tls-client-key={}", path(format!("{pair}.key"))),
            "-connect-timeout=10s".to_owned(),
            "-rpc-timeout=10s".to_owned(),
        ];
        words.extend(more.iter().map(|word| (*word).to_owned()));
        Flags::parse(&words).unwrap()
    }
}

/// Status and text of a failure; 0 for none.
async fn ask(flags: &Flags) -> (u8, String) {
    match probe(flags, OWNER).await {
        Ok(()) => (0, String::new()),
        Err(Failed { status, text }) => (status, text),
    }
}

#[tokio::test]
async fn statuses_are_those_of_the_program() {
    let files = Files::new();
    let address = files.serve("adapter").await;
    let name = "-tls-server-name=adapter";
    let cases: [(&[&str], u8, &str); 7] = [
        (&[name], 0, ""),
        (
            &[name, "-service=down"],
            4,
            "service unhealthy (responded with \"NOT_SERVING\")",
        ),
        (
            &[name, "-service=other"],
            3,
            "error: health rpc failed: NotFound: ",
        ),
        (
            &[name, "-service=slow", "-rpc-timeout=50ms"],
            3,
            "timeout: health rpc did not complete within 50ms",
        ),
        (
            &["-tls-server-name=enforcer"],
            2,
            "error: failed to connect service at ",
        ),
        (&["-tls-server-name=localhost"], 0, ""),
        // The host of the address is expected, which this certificate does not hold.
        (&[], 2, "error: failed to connect service at "),
    ];
    for (more, status, text) in cases {
        let (got, told) = ask(&files.flags(address, "adapter", more)).await;
        assert_eq!(got, status, "{more:?}: {told}");
        assert!(told.starts_with(text), "{more:?}: {told}");
    }
    // A pair that the server does not trust, and none at all.
    let mut stranger = files.flags(address, "adapter", &[name]);
    if let Some(tls) = &mut stranger.tls {
        (tls.certificate, tls.key) = (String::new(), String::new());
    }
    let (status, told) = ask(&stranger).await;
    assert!(matches!(status, UNCONNECTED | UNANSWERED), "{told}");
    assert!(told.contains("ertificate"), "{told}");
}

#[tokio::test]
async fn plain_text_is_asked_without_tls() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener);
    let serving = Server::builder()
        .add_service(HealthServer::new(Names))
        .serve_with_incoming(incoming);
    let serving = tokio::spawn(serving);
    let flags = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Flags::parse(&words).unwrap()
    };
    let addr = format!("-addr={address}");
    assert_eq!(ask(&flags(&[&addr])).await, (0, String::new()));
    assert_eq!(ask(&flags(&[&addr, "-service=down"])).await.0, UNHEALTHY);
    serving.abort();
    let _ended = serving.await;
    let (status, text) = ask(&flags(&[&addr])).await;
    assert_eq!(status, UNCONNECTED);
    assert!(text.contains("Connection refused"), "{text}");
}

/// The cause is named, and the file that it is in.
#[tokio::test]
async fn what_is_wrong_with_key_material_is_told() {
    let files = Files::new();
    let address = files.serve("expired").await;
    let flags = files.flags(address, "expired", &["-tls-server-name=expired"]);
    let (status, text) = ask(&flags).await;
    assert_eq!(status, UNCONNECTED);
    assert!(text.contains("xpired"), "{text}");
    let told = expired(&flags).unwrap();
    let file = files.path("expired.pem").display().to_string();
    assert!(
        told.starts_with(&format!("{file}: certificate CN=expired has expired at ")),
        "{told}"
    );

    let mut unfit = files.flags(address, "adapter", &[]);
    if let Some(tls) = &mut unfit.tls {
        tls.key = files.path("expired.key").display().to_string();
    }
    let (status, text) = ask(&unfit).await;
    assert_eq!(status, UNCONNECTED);
    assert!(text.contains("does not belong to the key in"), "{text}");
    if let Some(tls) = &mut unfit.tls {
        tls.key = files.path("none.key").display().to_string();
    }
    let (_, text) = ask(&unfit).await;
    assert!(text.contains("none.key: cannot be read: No such file"), "{text}");
}

#[test]
fn addresses_are_read() {
    let address = |host: &str, port| {
        Some(Address {
            host: host.to_owned(),
            port,
        })
    };
    let cases = [
        ("127.0.0.1:18000", address("127.0.0.1", 18000)),
        ("localhost:1", address("localhost", 1)),
        (":8081", address("localhost", 8081)),
        ("[::1]:8081", address("::1", 8081)),
        ("::1:8081", None),
        ("adapter", None),
        ("adapter:x", None),
        ("unix:/tmp/x:1", None),
    ];
    for (text, want) in cases {
        assert_eq!(Address::read(text), want, "{text}");
    }
}
