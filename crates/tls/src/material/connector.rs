//! The client side of handshakes.

use std::fmt;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::verify::Servers;
use super::{Material, Snapshot};
use crate::protocols::Protocols;

/// How far the server's certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerCheck {
    /// The chain, not the name.
    Chain,
    /// The chain, and that the certificate carries the expected name.
    Name,
    /// Nothing: whoever answers is believed. Only where the operator asked for it.
    Nothing,
}

/// The client side of handshakes. Clones share sessions, so a reconnect is cheap.
#[derive(Clone)]
pub struct Connector {
    shared: Arc<Shared>,
}

struct Shared {
    material: Material,
    alpn: Vec<Vec<u8>>,
    protocols: Protocols,
    check: ServerCheck,
    built: ArcSwap<Built>,
}

/// The configuration made from one generation of the material.
struct Built {
    generation: u64,
    config: Arc<ClientConfig>,
    servers: Arc<Servers>,
}

impl Connector {
    pub(crate) fn new(material: Material, alpn: &[&[u8]], protocols: Protocols, check: ServerCheck) -> Self {
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let built = build(&material.snapshot(), &alpn, &protocols, check);
        let shared = Shared {
            material,
            alpn,
            protocols,
            check,
            built: ArcSwap::from_pointee(built),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Completes one handshake with the newest material, expecting a certificate for `server_name` (a DNS name or an
    /// address). Fails when the peer is not who it should be, breaks off or talks something else. With TLS 1.3 a server
    /// that refuses the own certificate says so only afterwards, at the first read. No time limit; dropping the future
    /// closes the connection.
    pub async fn connect<IO>(&self, server_name: &str, io: IO) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let built = self.built();
        let connector = TlsConnector::from(Arc::clone(&built.config));
        let stream = Box::pin(connector.connect(name.clone(), io)).await?;
        recheck(&built.servers, &name, stream.get_ref().1)?;
        Ok(stream)
    }

    /// The configuration in force, for callers who run the handshake themselves.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.built().config)
    }

    fn built(&self) -> Arc<Built> {
        let shared = &self.shared;
        let built = shared.built.load_full();
        if built.generation == shared.material.generation() {
            return built;
        }
        let built = Arc::new(build(
            &shared.material.snapshot(),
            &shared.alpn,
            &shared.protocols,
            shared.check,
        ));
        shared.built.store(Arc::clone(&built));
        built
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("material", &self.shared.material)
            .field("check", &self.shared.check)
            .finish_non_exhaustive()
    }
}

/// A resumed session skips the verification of the server; its certificate may have expired since.
fn recheck(
    servers: &Servers,
    name: &ServerName<'_>,
    connection: &rustls::ClientConnection,
) -> io::Result<()> {
    if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
        return Ok(());
    }
    let Some((end_entity, intermediates)) = connection.peer_certificates().and_then(<[_]>::split_first)
    else {
        return Ok(());
    };
    servers
        .check(end_entity, intermediates, name, UnixTime::now())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn build(snapshot: &Snapshot, alpn: &[Vec<u8>], protocols: &Protocols, check: ServerCheck) -> Built {
    let provider = protocols.checked_provider();
    let servers = Arc::new(Servers::new(snapshot.trust.clone(), Arc::clone(&provider), check));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(protocols.versions())
        .expect("the provider was checked to serve every version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Servers>::clone(&servers));
    let mut config = match &snapshot.identity {
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity))))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.to_vec();
    Built {
        generation: snapshot.generation,
        config: Arc::new(config),
        servers,
    }
}
