use std::io;
use std::time::{Duration, SystemTime};

use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{client, server};
use trireme_tls::authority::Validity;
use trireme_tls::{Acceptor, ClientAuth, Connector, Facts, Protocols, ServerCheck, Version};

use crate::pki::{material, pki, self_signed};

/// Both ends after a handshake and one byte each way, which is when both know that they were accepted.
pub(crate) struct Pair {
    pub(crate) server: server::TlsStream<DuplexStream>,
    pub(crate) client: client::TlsStream<DuplexStream>,
}

impl Pair {
    pub(crate) async fn exchange(&mut self) {
        self.client.write_all(b"ping").await.unwrap();
        let mut bytes = [0; 4];
        self.server.read_exact(&mut bytes).await.unwrap();
        self.server.write_all(&bytes).await.unwrap();
        self.client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"ping");
    }
}

pub(crate) async fn handshake(
    acceptor: &Acceptor,
    connector: &Connector,
    name: &str,
) -> Result<Pair, (Option<String>, Option<String>)> {
    let (near, far) = duplex(64 << 10);
    let server = async {
        let mut stream = acceptor.accept(near).await?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        stream.write_all(&byte).await?;
        stream.flush().await?;
        io::Result::Ok(stream)
    };
    let client = async {
        let mut stream = connector.connect(name, far).await?;
        let mut byte = [7];
        stream.write_all(&byte).await?;
        stream.flush().await?;
        stream.read_exact(&mut byte).await?;
        io::Result::Ok(stream)
    };
    let both = async { tokio::join!(server, client) };
    match tokio::time::timeout(Duration::from_secs(10), both)
        .await
        .expect("handshakes end")
    {
        (Ok(server), Ok(client)) => Ok(Pair { server, client }),
        (server, client) => Err((
            server.err().map(|error| format!("{error:?}")),
            client.err().map(|error| format!("{error:?}")),
        )),
    }
}

#[tokio::test]
async fn processes_of_one_authority_accept_each_other() {
    let pki = pki();
    let server = material(Some(&pki.enforcer), &[&pki.ca]);
    let client = material(Some(&pki.router), &[&pki.ca]);
    let acceptor = server.acceptor(ClientAuth::Required, &[b"h2"]);
    for name in ["enforcer", "localhost", "127.0.0.1", "::1"] {
        let pair = handshake(&acceptor, &client.connector(&[b"h2", b"http/1.1"]), name).await;
        let mut pair = pair.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        pair.exchange().await;
        let connection = pair.server.get_ref().1;
        assert_eq!(
            connection.protocol_version(),
            Some(ProtocolVersion::TLSv1_3),
            "{name}"
        );
        assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]), "{name}");
        let facts = Facts::of(&connection.peer_certificates().unwrap()[0]).unwrap();
        assert_eq!(facts.subject, "CN=router", "{name}");
        assert_eq!(facts.names, ["router", "localhost", "127.0.0.1", "::1"], "{name}");
    }
    let old = Protocols::default().with_versions(Version::Tls12, Version::Tls12);
    let old = client.connector_with(&[], old, ServerCheck::Name);
    let mut pair = handshake(&acceptor, &old, "enforcer").await.unwrap();
    pair.exchange().await;
    assert_eq!(
        pair.client.get_ref().1.protocol_version(),
        Some(ProtocolVersion::TLSv1_2)
    );
}

#[tokio::test]
async fn strangers_are_refused() {
    let pki = pki();
    let server = material(Some(&pki.enforcer), &[&pki.ca]);
    let required = server.acceptor(ClientAuth::Required, &[]);
    let optional = server.acceptor(ClientAuth::Optional, &[]);
    let trusting_nobody = material(Some(&pki.enforcer), &[]).acceptor(ClientAuth::Required, &[]);
    let router = material(Some(&pki.router), &[&pki.ca]);
    let without = material(None, &[&pki.ca]);
    let foreign = material(Some(&pki.foreign), &[&pki.ca]);
    let expired = material(Some(&pki.expired), &[&pki.ca]);
    let believing_others = material(Some(&pki.router), &[&pki.foreign_ca]);
    let expired_server = material(Some(&pki.expired), &[&pki.ca]).acceptor(ClientAuth::Required, &[]);
    // Who refuses, and with which reason.
    let cases = [
        (
            "no certificate",
            &required,
            &without,
            "enforcer",
            "server",
            "NoCertificatesPresented",
        ),
        (
            "certificate of another CA",
            &required,
            &foreign,
            "enforcer",
            "server",
            "UnknownIssuer",
        ),
        (
            "expired certificate",
            &required,
            &expired,
            "enforcer",
            "server",
            "Expired",
        ),
        (
            "optional, but of another CA",
            &optional,
            &foreign,
            "enforcer",
            "server",
            "UnknownIssuer",
        ),
        (
            "optional, but expired",
            &optional,
            &expired,
            "enforcer",
            "server",
            "Expired",
        ),
        (
            "server without trust",
            &trusting_nobody,
            &router,
            "enforcer",
            "server",
            "UnknownIssuer",
        ),
        (
            "another server name",
            &required,
            &router,
            "adapter",
            "client",
            "NotValidForName",
        ),
        (
            "another address",
            &required,
            &router,
            "127.0.0.2",
            "client",
            "NotValidForName",
        ),
        (
            "server of another CA",
            &required,
            &believing_others,
            "enforcer",
            "client",
            "UnknownIssuer",
        ),
        (
            "expired server",
            &expired_server,
            &router,
            "router",
            "client",
            "Expired",
        ),
    ];
    for (case, acceptor, client, name, side, reason) in cases {
        for version in [Version::Tls12, Version::Tls13] {
            let protocols = Protocols::default().with_versions(version, version);
            let connector = client.connector_with(&[], protocols, ServerCheck::Name);
            let Err((server, client)) = handshake(acceptor, &connector, name).await else {
                panic!("{case}, {version:?}: accepted");
            };
            let error = if side == "server" { &server } else { &client };
            let error = error.as_deref().unwrap_or_default();
            assert!(
                error.contains(reason),
                "{case}, {version:?}: server {server:?}, client {client:?}"
            );
            // The side that was refused learns it as well.
            assert!(
                server.is_some() && client.is_some(),
                "{case}, {version:?}: {server:?}, {client:?}"
            );
        }
    }
    // Twice (once a version) each of the three it refused and the three that refused it.
    assert_eq!(required.refusals(), 12);
}

#[tokio::test]
async fn optional_means_that_none_is_needed() {
    let pki = pki();
    let server = material(Some(&pki.enforcer), &[&pki.ca]);
    let acceptor = server.acceptor(ClientAuth::Optional, &[]);
    let mut pair = handshake(&acceptor, &material(None, &[&pki.ca]).connector(&[]), "localhost")
        .await
        .unwrap();
    pair.exchange().await;
    assert!(pair.server.get_ref().1.peer_certificates().is_none());
    let known = material(Some(&pki.router), &[&pki.ca]).connector(&[]);
    let pair = handshake(&acceptor, &known, "localhost").await.unwrap();
    assert_eq!(
        pair.server.get_ref().1.peer_certificates().map(<[_]>::len),
        Some(1)
    );
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_where_it_is_installed() {
    let now = SystemTime::now();
    let validity = Validity::starting(now, Duration::from_secs(3600));
    let shared = self_signed(&["adapter", "enforcer", "router", "localhost"], validity);
    let material_of_all = material(Some(&shared), &[&shared.certificate]);
    let acceptor = material_of_all.acceptor(ClientAuth::Required, &[]);
    let connector = material_of_all.connector(&[]);
    for name in ["adapter", "enforcer", "router", "localhost"] {
        handshake(&acceptor, &connector, name)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:?}"))
            .exchange()
            .await;
    }
    let (_, client) = handshake(&acceptor, &connector, "evil.example")
        .await
        .err()
        .expect("the name is checked");
    assert!(client.unwrap().contains("NotValidForName"));

    let twin = self_signed(&["adapter", "enforcer", "router", "localhost"], validity);
    let impostor = material(Some(&twin), &[&shared.certificate]).connector(&[]);
    let (server, _) = handshake(&acceptor, &impostor, "adapter")
        .await
        .err()
        .expect("another key is refused");
    assert!(server.is_some());

    let day = Duration::from_secs(86_400);
    let old = self_signed(
        &["adapter"],
        Validity {
            not_before: now - 2 * day,
            not_after: now - day,
        },
    );
    let old = material(Some(&old), &[&old.certificate]);
    let (_, client) = handshake(
        &old.acceptor(ClientAuth::None, &[]),
        &old.connector(&[]),
        "adapter",
    )
    .await
    .err()
    .expect("being installed does not make up for being expired");
    assert!(client.unwrap().contains("Expired"));
}

#[tokio::test]
async fn sessions_resume_and_end_with_the_trust() {
    let pki = pki();
    let server = crate::pki::Folder::new(&pki.enforcer, &[&pki.ca]);
    let material_of_server = server.material();
    let acceptor = material_of_server.acceptor(ClientAuth::Required, &[]);
    let connector = material(Some(&pki.router), &[&pki.ca]).connector(&[]);
    let kind = |pair: &Pair| pair.server.get_ref().1.handshake_kind();
    let first = handshake(&acceptor, &connector, "enforcer").await.unwrap();
    assert_eq!(kind(&first), Some(HandshakeKind::Full));
    let second = handshake(&acceptor, &connector, "enforcer").await.unwrap();
    assert_eq!(kind(&second), Some(HandshakeKind::Resumed));
    assert!(second.server.get_ref().1.peer_certificates().is_some());

    std::fs::write(server.trust().join("0.pem"), &pki.foreign_ca).unwrap();
    assert!(material_of_server.reload().unwrap());
    let (error, _) = handshake(&acceptor, &connector, "enforcer")
        .await
        .err()
        .expect("a ticket outlived the trust");
    assert!(error.unwrap().contains("UnknownIssuer"));
}

#[tokio::test]
async fn checks_can_be_relaxed_and_protocols_narrowed() {
    let pki = pki();
    let acceptor = material(Some(&pki.enforcer), &[]).acceptor(ClientAuth::None, &[]);
    let knowing = material(None, &[&pki.ca]);
    let unknowing = material(None, &[]);
    let connect =
        |material: &trireme_tls::Material, check| material.connector_with(&[], Protocols::default(), check);
    assert!(
        handshake(&acceptor, &connect(&knowing, ServerCheck::Chain), "elsewhere")
            .await
            .is_ok()
    );
    assert!(
        handshake(&acceptor, &connect(&unknowing, ServerCheck::Chain), "enforcer")
            .await
            .is_err()
    );
    assert!(
        handshake(&acceptor, &connect(&unknowing, ServerCheck::Nothing), "elsewhere")
            .await
            .is_ok()
    );

    let (narrow, unknown) = Protocols::default()
        .with_versions(Version::Tls12, Version::Tls12)
        .with_ciphers(["AES128-SHA", "ECDHE-RSA-AES256-GCM-SHA384"]);
    assert_eq!(unknown, ["AES128-SHA"]);
    let connector = knowing.connector_with(&[], narrow, ServerCheck::Name);
    let pair = handshake(&acceptor, &connector, "enforcer").await.unwrap();
    let suite = pair.client.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384);
}
