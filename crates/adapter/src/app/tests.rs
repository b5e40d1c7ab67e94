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
