//! The whole process, over real sockets.

use std::path::Path;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use trireme_config::{Secret, User};
use trireme_tls::authority::Authority;

use super::*;

/// A CA, and what it has issued to the adapter.
static KEYS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open_or_create(folder.path()).unwrap();
    let (key, certificate) = (folder.path().join("mg.key"), folder.path().join("mg.pem"));
    authority.ensure("adapter", &key, &certificate).unwrap();
    folder
});

#[test]
fn the_login_that_everybody_knows_needs_leave_where_others_can_reach_the_port() {
    let (own, any) = (
        SocketAddr::from(([127, 0, 0, 1], 1)),
        SocketAddr::from(([0, 0, 0, 0], 1)),
    );
    for (password, address, allowed, refused) in [
        ("admin", any, false, true),
        ("admin", any, true, false),
        ("admin", own, false, false),
        ("s3cret", any, false, false),
    ] {
        let auth = Auth::new(vec![("admin".to_owned(), Secret::new(password))], None);
        let text = format!("{:?}", guarded(auth, address, allowed));
        let want = format!("refuses_defaults: {refused}");
        assert!(text.contains(&want), "{password} {address} {allowed}");
    }
}

/// An image that is started as it is: nothing is mounted.
#[tokio::test]
async fn without_a_key_pair_it_makes_one_and_uses_it_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let keystore = folder.path().join("security/keystore");
    let truststore = folder.path().join("security/truststore");
    std::fs::create_dir_all(&keystore).unwrap();
    std::fs::create_dir_all(&truststore).unwrap();
    let named = [keystore.join("mg.key"), keystore.join("mg.pem")];
    let running = start(folder.path(), |config| {
        let [key, certificate] = named.clone();
        config.adapter.truststore.location = truststore.clone();
        config.adapter.server.token_private_key_path = key.clone();
        (
            config.adapter.keystore.key_path,
            config.adapter.keystore.cert_path,
        ) = (key.clone(), certificate.clone());
        (config.router.keystore.key_path, config.router.keystore.cert_path) = (key, certificate);
    })
    .await;
    let mut stream = TcpStream::connect(running.admin).await.unwrap();
    stream
        .write_all(b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(
        text.contains("200 OK") && text.contains("no key pair is mounted"),
        "{text}"
    );
    let pair = generated::find(NAME, Some(&folder.path().join("state"))).unwrap();
    let tls = trireme_tls::Settings {
        key: pair.key,
        certificate: pair.certificate.clone(),
        trust: vec![pair.certificate],
        ..Default::default()
    };
    // The process's own probe shows the pair, and expects it.
    let connector = Material::load(tls).unwrap().connector(trireme_tls::GRPC_ALPN);
    let tcp = TcpStream::connect(running.xds).await.unwrap();
    let mut session = connector.connect("adapter", tcp).await.unwrap();
    session
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    session.flush().await.unwrap();
    let mut settings = [0; 9];
    session.read_exact(&mut settings).await.unwrap();
    running.drain().await;
}

/// Starts one with its ports and its files for itself; `change` says what its configuration has beside that.
async fn start(folder: &Path, change: impl FnOnce(&mut Config)) -> Running {
    let bind = "127.0.0.1:0".to_owned();
    let variables = Env::from_iter([
        ("TRIREME_ADAPTER_XDS_BIND", bind.clone()),
        ("TRIREME_ADAPTER_REST_BIND", bind.clone()),
        ("TRIREME_ADAPTER_ADMIN_BIND", bind),
        ("TRIREME_STATE_DIR", folder.join("state").display().to_string()),
    ]);
    let mut config = Config::default();
    config.adapter.artifacts_directory = folder.join("artifacts");
    config.adapter.keystore.key_path = KEYS.path().join("mg.key");
    config.adapter.keystore.cert_path = KEYS.path().join("mg.pem");
    config.adapter.truststore.location = KEYS.path().join("ca.pem");
    config.adapter.server.users = vec![User {
        username: "admin".to_owned(),
        password: Secret::new("s3cret"),
    }];
    change(&mut config);
    let setup = Setup {
        config,
        access_logs: AccessLogs::default(),
        env: AdapterEnv::read(&variables).unwrap(),
        variables,
    };
    build(setup).await.unwrap()
}

/// Status and body of the answer to one GET, after which the connection ends.
async fn get(mut io: impl AsyncRead + AsyncWrite + Unpin, path: &str, authorization: &str) -> (u16, String) {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {authorization}\r\nconnection: close\r\n\r\n"
    );
    io.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

#[tokio::test]
async fn what_is_enabled_and_not_there_keeps_it_from_being_ready() {
    struct Case {
        name: &'static str,
        control_plane: bool,
        source_control: bool,
        status: u16,
        missing: &'static [&'static str],
    }
    const CONTROL_PLANE: &str = "control plane (not supported yet)";
    const SOURCE_CONTROL: &str = "source control (not supported yet)";
    let cases = [
        Case {
            name: "neither",
            control_plane: false,
            source_control: false,
            status: 200,
            missing: &[],
        },
        Case {
            name: "API Manager",
            control_plane: true,
            source_control: false,
            status: 503,
            missing: &[CONTROL_PLANE],
        },
        Case {
            name: "git",
            control_plane: false,
            source_control: true,
            status: 503,
            missing: &[SOURCE_CONTROL],
        },
        Case {
            name: "both",
            control_plane: true,
            source_control: true,
            status: 503,
            missing: &[CONTROL_PLANE, SOURCE_CONTROL],
        },
    ];
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let running = start(folder.path(), |config| {
            config.control_plane.enabled = case.control_plane;
            config.adapter.source_control.enabled = case.source_control;
        })
        .await;
        let admin = TcpStream::connect(running.admin).await.unwrap();
        let (status, body) = get(admin, "/ready", "").await;
        assert_eq!(status, case.status, "{}: {body}", case.name);
        for missing in [CONTROL_PLANE, SOURCE_CONTROL] {
            let told = body.contains(missing);
            assert_eq!(told, case.missing.contains(&missing), "{}: {body}", case.name);
        }
        running.drain().await;
    }
}

#[tokio::test]
async fn passwords_are_counted_by_the_address_they_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), |_| {}).await;
    let trust = Material::load_trust(vec![KEYS.path().join("ca.pem")], false).unwrap();
    let connector = trust.connector(&[b"http/1.1"]);
    let rest = running.rest.unwrap();
    let list = async |address: &str, password: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        let stream = socket.connect(rest).await.unwrap();
        let stream = connector.connect("localhost", stream).await.unwrap();
        let authorization = format!("Basic {}", STANDARD.encode(format!("admin:{password}")));
        get(stream, "/api/mgw/adapter/0.1/apis", &authorization).await.0
    };
    let mut tried = Vec::new();
    while tried.last() != Some(&429) && tried.len() < 20 {
        tried.push(list("127.0.0.2", "guess").await);
    }
    assert_eq!(tried.last(), Some(&429), "{tried:?}");
    assert_eq!(list("127.0.0.2", "s3cret").await, 429);
    assert_eq!(list("127.0.0.1", "s3cret").await, 200);
    running.drain().await;
}
