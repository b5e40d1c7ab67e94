//! TLS, and HTTP/2 over it.

use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::time::timeout;
use trireme_fetch::{Bounds, Client, ConnectError, FetchError, Settings};
use trireme_telemetry::chain;
use trireme_tls::authority::{Authority, LOCAL_NAMES, Validity};
use trireme_tls::{Acceptor, ClientAuth, Material, Pem};

use crate::server::secure;
use crate::{bounds, request};

/// An authority in a folder of its own, and a server's material from it.
struct Issuer {
    folder: TempDir,
    server: Material,
}

impl Issuer {
    fn new(names: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::open_or_create(folder.path()).unwrap();
        let validity = Validity::starting(SystemTime::now(), Duration::from_secs(86_400));
        let issued = authority.issue("keys", names, validity).unwrap();
        let pem = Pem {
            identity: Some((issued.key.into_bytes(), issued.certificate.into_bytes())),
            ..Pem::default()
        };
        Self {
            folder,
            server: Material::from_pem(&pem).unwrap(),
        }
    }

    fn acceptor(&self, alpn: &[&[u8]]) -> Acceptor {
        self.server.acceptor(ClientAuth::None, alpn)
    }

    fn certificate(&self) -> String {
        Authority::open_or_create(self.folder.path())
            .unwrap()
            .certificate()
            .to_owned()
    }

    /// A client that trusts this authority.
    fn client(&self) -> Client {
        trusting(self.folder.path().join("trust.pem"), &self.certificate())
    }
}

fn trusting(file: std::path::PathBuf, certificate: &str) -> Client {
    std::fs::write(&file, certificate).unwrap();
    Client::new(Settings {
        trust: vec![file],
        ..Settings::default()
    })
}

#[tokio::test]
async fn the_protocol_is_what_the_server_agrees_to() {
    let issuer = Issuer::new(LOCAL_NAMES);
    let cases: [(&[&[u8]], &str); 3] = [
        (&[b"h2", b"http/1.1"], "HTTP/2.0 question"),
        (&[b"http/1.1"], "HTTP/1.1 question"),
        (&[], "HTTP/1.1 question"),
    ];
    for (alpn, want) in cases {
        let server = secure(issuer.acceptor(alpn)).await;
        let client = issuer.client();
        for _ in 0..2 {
            let answer = client
                .send(request("POST", &server.address("/")), bounds())
                .await
                .unwrap();
            assert_eq!(answer.body(), want);
        }
        assert_eq!(server.connections(), 1, "{want}");
    }
}

#[tokio::test]
async fn one_http2_connection_carries_calls_beside_each_other() {
    let issuer = Issuer::new(LOCAL_NAMES);
    let server = secure(issuer.acceptor(&[b"h2"])).await;
    let client = issuer.client();
    let address = server.address("/");
    client.get(&address, "*/*", bounds()).await.unwrap();
    let hanging = server.address("/hang");
    let beside = async {
        let brief = Bounds {
            timeout: Duration::from_millis(300),
            ..bounds()
        };
        client.get(&hanging, "*/*", brief).await
    };
    let (hung, answered) = tokio::join!(beside, client.get(&address, "*/*", bounds()));
    assert!(matches!(hung, Err(FetchError::Timeout(_))), "{hung:?}");
    assert_eq!(answered.unwrap(), "HTTP/2.0 ");
    assert_eq!(server.connections(), 1);
    // One that let a call hang is not used again.
    client.get(&address, "*/*", bounds()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn servers_that_are_not_who_they_should_be_are_refused() {
    let (ours, theirs) = (Issuer::new(LOCAL_NAMES), Issuer::new(LOCAL_NAMES));
    let elsewhere = Issuer::new(&["elsewhere.example"]);
    let cases = [
        ("another authority", &theirs, ours.client(), "UnknownIssuer"),
        (
            "another name",
            &elsewhere,
            elsewhere.client(),
            "not valid for name",
        ),
    ];
    for (name, issuer, client, want) in cases {
        let server = secure(issuer.acceptor(&[b"h2"])).await;
        let error = client
            .get(&server.address("/"), "*/*", bounds())
            .await
            .unwrap_err();
        let FetchError::Connect(cause) = &error else {
            panic!("{name}: {error:?}")
        };
        assert!(matches!(**cause, ConnectError::Handshake(_)), "{name}: {cause:?}");
        let told = chain(&error);
        assert!(
            told.starts_with("cannot connect: ") && told.contains(want),
            "{name}: {told}"
        );
        assert!(error.may_retry(), "{name}");
    }
}

#[tokio::test]
async fn trust_is_read_with_the_first_call_that_needs_it() {
    let issuer = Issuer::new(LOCAL_NAMES);
    let server = secure(issuer.acceptor(&[b"h2"])).await;
    let file = issuer.folder.path().join("later.pem");
    let client = Client::new(Settings {
        trust: vec![file.clone()],
        ..Settings::default()
    });
    let error = client
        .get(&server.address("/"), "*/*", bounds())
        .await
        .unwrap_err();
    let FetchError::Connect(cause) = &error else {
        panic!("{error:?}")
    };
    assert!(matches!(**cause, ConnectError::Trust(_)), "{cause:?}");
    std::fs::write(&file, issuer.certificate()).unwrap();
    client.get(&server.address("/"), "*/*", bounds()).await.unwrap();
}

#[tokio::test]
async fn whoever_is_no_longer_trusted_is_not_talked_to_over_an_old_connection() {
    let (old, new) = (Issuer::new(LOCAL_NAMES), Issuer::new(LOCAL_NAMES));
    let server = secure(old.acceptor(&[b"h2"])).await;
    let file = old.folder.path().join("trust.pem");
    let client = trusting(file.clone(), &old.certificate());
    client.get(&server.address("/"), "*/*", bounds()).await.unwrap();
    std::fs::write(&file, new.certificate()).unwrap();
    let refused = async {
        while client.get(&server.address("/"), "*/*", bounds()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), refused)
        .await
        .expect("the new trust comes into force");
}
