//! A peer without a certificate from the trusted CA gets nothing from any internal port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use trireme_harness::{Gateway, Role};
use trireme_tls::authority::{Authority, Issued, Validity};

const INTERNAL: [(Role, &str); 3] = [
    (Role::Adapter, "xds"),
    (Role::Enforcer, "grpc"),
    (Role::Enforcer, "rest"),
];

/// Connects with an identity (or none) and asks something; `Ok` when the peer kept talking after the handshake.
async fn ask(address: SocketAddr, trust: &str, identity: Option<&Issued>) -> anyhow::Result<()> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trust.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(
            CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<_, _>>()?,
            PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?,
        )?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost")?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    // With TLS 1.3 the refusal arrives after the client's side of the handshake; an HTTP/2 peer that accepts sends its
    // settings, an HTTP/1.1 peer answers the request.
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await?;
    } else {
        stream
            .write_all(b"GET /jwks HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await?;
    }
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut byte)).await?;
    read?;
    Ok(())
}

#[tokio::test]
async fn foreign_and_expired_certificates_are_refused() -> anyhow::Result<()> {
    let gateway = Gateway::builder().start().await?;
    let trust = std::fs::read_to_string(gateway.data().join("security/truststore/ca.pem"))?;
    let own = Authority::open_or_create(&gateway.data().join("security/authority"))?;
    let folder = tempfile::tempdir()?;
    let foreign = Authority::open_or_create(folder.path())?;
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    let valid = Validity::starting(now, hour);
    let past = Validity {
        not_before: now - 2 * hour,
        not_after: now - hour,
    };

    let good = own.issue("router", &["localhost"], valid)?;
    let expired = own.issue("router", &["localhost"], past)?;
    let stranger = foreign.issue("router", &["localhost"], valid)?;
    for (role, socket) in INTERNAL {
        let address = gateway.address(role, socket);
        let port = format!("{} {socket}", role.name());
        ask(address, &trust, Some(&good))
            .await
            .unwrap_or_else(|error| panic!("{port}: refused its own: {error}"));
        for (name, identity) in [
            ("no", None),
            ("a foreign", Some(&stranger)),
            ("an expired", Some(&expired)),
        ] {
            let outcome = ask(address, &trust, identity).await;
            let error = outcome.expect_err(&format!("{port} talks to {name} certificate"));
            println!("{port}, {name} certificate: {error}");
        }
    }
    gateway.stop().await?;
    Ok(())
}
