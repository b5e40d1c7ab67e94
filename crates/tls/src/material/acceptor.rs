//! The server side of handshakes.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoClientAuth, ResolvesServerCert, ResolvesServerCertUsingSni};
use rustls::sign::SingleCertAndKey;
use rustls::{HandshakeKind, ServerConfig};
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::warn;

use super::verify::Clients;
use super::{Material, Snapshot};
use crate::protocols::Protocols;

/// Whether a client must show a certificate. One that is shown is always verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked for.
    None,
    /// Asked for; a client may go without.
    Optional,
    /// Asked for and required.
    Required,
}

/// The server side of handshakes. Clones share tickets, so a session resumes on any thread.
#[derive(Clone)]
pub struct Acceptor {
    shared: Arc<Shared>,
}

struct Shared {
    material: Material,
    auth: ClientAuth,
    alpn: Vec<Vec<u8>>,
    protocols: Protocols,
    built: ArcSwap<Built>,
    refusals: AtomicU64,
}

/// The configuration made from one generation of the material.
struct Built {
    generation: u64,
    config: Arc<ServerConfig>,
    clients: Option<Arc<Clients>>,
}

impl Acceptor {
    pub(crate) fn new(material: Material, auth: ClientAuth, alpn: &[&[u8]], protocols: Protocols) -> Self {
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let built = build(&material.snapshot(), auth, &alpn, &protocols);
        let shared = Shared {
            material,
            auth,
            alpn,
            protocols,
            built: ArcSwap::from_pointee(built),
            refusals: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Completes one handshake with the newest material. Fails when the peer is refused, breaks off or talks something
    /// else; the reason is in the error. It sets no time limit; dropping the future closes the connection.
    pub async fn accept<IO>(&self, io: IO) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let outcome = Box::pin(self.handshake(io)).await;
        if let Err(error) = &outcome
            && error.kind() == io::ErrorKind::InvalidData
        {
            self.shared.refusals.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// How many handshakes failed because of what the peer said or could not show; not those it merely broke off.
    pub fn refusals(&self) -> u64 {
        self.shared.refusals.load(Ordering::Relaxed)
    }

    async fn handshake<IO>(&self, io: IO) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let built = self.built();
        let stream = TlsAcceptor::from(Arc::clone(&built.config)).accept(io).await?;
        if let Some(clients) = &built.clients {
            recheck(clients, stream.get_ref().1)?;
        }
        Ok(stream)
    }

    /// The configuration in force, for callers who run the handshake themselves.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.built().config)
    }

    fn built(&self) -> Arc<Built> {
        let built = self.shared.built.load_full();
        if built.generation == self.shared.material.generation() {
            return built;
        }
        let snapshot = self.shared.material.snapshot();
        let built = Arc::new(build(
            &snapshot,
            self.shared.auth,
            &self.shared.alpn,
            &self.shared.protocols,
        ));
        self.shared.built.store(Arc::clone(&built));
        built
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("material", &self.shared.material)
            .field("auth", &self.shared.auth)
            .finish_non_exhaustive()
    }
}

/// A resumed session carries the client's certificate inside the ticket and skips its verification, so one that
/// expired meanwhile would live as long as tickets do.
fn recheck(clients: &Clients, connection: &rustls::ServerConnection) -> io::Result<()> {
    if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
        return Ok(());
    }
    let Some((end_entity, intermediates)) = connection.peer_certificates().and_then(<[_]>::split_first)
    else {
        return Ok(());
    };
    clients
        .check(end_entity, intermediates, UnixTime::now())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn build(snapshot: &Snapshot, auth: ClientAuth, alpn: &[Vec<u8>], protocols: &Protocols) -> Built {
    let provider = protocols.checked_provider();
    let clients = (auth != ClientAuth::None).then(|| {
        let required = auth == ClientAuth::Required;
        Arc::new(Clients::new(
            snapshot.trust.clone(),
            Arc::clone(&provider),
            required,
        ))
    });
    let resolver: Arc<dyn ResolvesServerCert> = match &snapshot.identity {
        Some(identity) => Arc::new(SingleCertAndKey::from(Arc::clone(identity))),
        None => Arc::new(ResolvesServerCertUsingSni::new()),
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(protocols.versions())
        .expect("the provider was checked to serve every version");
    let mut config = match &clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::<Clients>::clone(clients)),
        None => builder.with_client_cert_verifier(Arc::new(NoClientAuth)),
    }
    .with_cert_resolver(resolver);
    config.alpn_protocols = alpn.to_vec();
    // New keys with every generation: a ticket must not outlive the trust under which it was given.
    match Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => warn!(%error, "no session tickets: every handshake will be a full one"),
    }
    Built {
        generation: snapshot.generation,
        config: Arc::new(config),
        clients,
    }
}
