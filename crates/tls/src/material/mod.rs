//! One key pair and its trust anchors, replaced as a whole.

mod acceptor;
mod connector;
mod reload;
mod verify;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use std::{fmt, mem};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tracing::{info, warn};

pub use self::acceptor::{Acceptor, ClientAuth};
pub use self::connector::{Connector, ServerCheck};
pub use self::reload::Watch;
use self::verify::Trust;
use crate::error::TlsError;
use crate::facts::{self, Facts};
use crate::pem::{self, Text};
use crate::protocols::{self, Protocols};

/// Where a process finds its key pair and whom it trusts.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Private key, PEM (PKCS#8, PKCS#1 or SEC1), unencrypted.
    pub key: PathBuf,
    /// Certificate chain, PEM, own certificate first.
    pub certificate: PathBuf,
    /// Files, or folders with `.pem` and `.crt` files at any depth; several certificates per file.
    pub trust: Vec<PathBuf>,
    /// Also trust the platform's public roots.
    pub trust_system: bool,
}

/// Key material given as text instead of files, such as what arrives inside discovery resources.
#[derive(Clone, Default)]
pub struct Pem {
    /// Private key and certificate chain; none for a client without a certificate of its own.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Certificates to trust; several per text.
    pub trust: Vec<Vec<u8>>,
    /// Also trust the platform's public roots.
    pub trust_system: bool,
}

/// One key pair and its trust anchors. Clones share them; [`Material::watch`] or [`Material::reload`] replaces both at
/// once for all clones, acceptors and connectors. Without a key pair an acceptor fails every handshake and a connector
/// sends no certificate.
#[derive(Clone)]
pub struct Material {
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    current: ArcSwap<Snapshot>,
    generation: watch::Sender<u64>,
    /// Held while reading files, so that two reloads cannot finish in the wrong order.
    reload: Mutex<()>,
    /// Why what the files hold now is not in force.
    unusable: Mutex<Option<String>>,
}

enum Source {
    Files {
        identity: Option<(PathBuf, PathBuf)>,
        trust: Vec<PathBuf>,
        trust_system: bool,
    },
    Text,
}

/// What is in force at one moment.
pub(crate) struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) identity: Option<Arc<CertifiedKey>>,
    pub(crate) trust: Trust,
    digest: [u8; 32],
}

impl Material {
    /// Reads everything once. Fails when a file is missing, malformed or out of place, naming it; an expired
    /// certificate loads, with a warning, as replacing it must not need a restart.
    pub fn load(settings: Settings) -> Result<Self, TlsError> {
        Self::from_source(Source::Files {
            identity: Some((settings.key, settings.certificate)),
            trust: settings.trust,
            trust_system: settings.trust_system,
        })
    }

    /// Material of a client that trusts others and has no certificate of its own.
    pub fn load_trust(trust: Vec<PathBuf>, trust_system: bool) -> Result<Self, TlsError> {
        Self::from_source(Source::Files {
            identity: None,
            trust,
            trust_system,
        })
    }

    /// Material from text. It never changes; [`Material::watch`] has nothing to do.
    pub fn from_pem(pem: &Pem) -> Result<Self, TlsError> {
        let inline = |name: &str, bytes: &[u8]| Text {
            name: format!("inline {name}"),
            bytes: bytes.to_vec(),
        };
        let identity = pem
            .identity
            .as_ref()
            .map(|(key, certificate)| (inline("key", key), inline("certificate", certificate)));
        let trust = pem
            .trust
            .iter()
            .map(|text| inline("trusted certificate", text))
            .collect();
        let snapshot = Parts {
            identity,
            trust,
            trust_system: pem.trust_system,
        }
        .build(0)?;
        Ok(Self::from_parts(Source::Text, snapshot))
    }

    fn from_source(source: Source) -> Result<Self, TlsError> {
        let snapshot = source.read()?.build(0)?;
        Ok(Self::from_parts(source, snapshot))
    }

    fn from_parts(source: Source, snapshot: Snapshot) -> Self {
        warn_of_expiry(&snapshot);
        let shared = Shared {
            source,
            current: ArcSwap::from_pointee(snapshot),
            generation: watch::channel(0).0,
            reload: Mutex::new(()),
            unusable: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Follows the files on disk until the returned guard is dropped. New files that cannot be used are logged as an
    /// error and leave the old ones in force.
    pub fn watch(&self) -> Result<Watch, TlsError> {
        Watch::start(self.clone())
    }

    /// Reads the files again and puts them in force when they changed; says whether they did. Fails, with the old ones
    /// still in force, when the new ones cannot be used. Blocks on file reads.
    pub fn reload(&self) -> Result<bool, TlsError> {
        if matches!(self.shared.source, Source::Text) {
            return Ok(false);
        }
        let _serial = self.shared.reload.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = self.shared.source.read()?;
        let current = self.shared.current.load();
        if parts.digest() == current.digest {
            return Ok(false);
        }
        let snapshot = parts.build(current.generation + 1)?;
        let generation = snapshot.generation;
        warn_of_expiry(&snapshot);
        self.shared.current.store(Arc::new(snapshot));
        self.shared.generation.send_replace(generation);
        info!(generation, certificate = self.label(), "certificates reloaded");
        Ok(true)
    }

    /// A number that grows with every change that came into force.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }

    /// The server side of handshakes, with TLS 1.2 and 1.3.
    pub fn acceptor(&self, auth: ClientAuth, alpn: &[&[u8]]) -> Acceptor {
        self.acceptor_with(auth, alpn, Protocols::default())
    }

    /// As [`Material::acceptor`], with bounds on versions and suites.
    pub fn acceptor_with(&self, auth: ClientAuth, alpn: &[&[u8]], protocols: Protocols) -> Acceptor {
        Acceptor::new(self.clone(), auth, alpn, protocols)
    }

    /// The client side of handshakes, with TLS 1.2 and 1.3, verifying chain and name of the server.
    pub fn connector(&self, alpn: &[&[u8]]) -> Connector {
        self.connector_with(alpn, Protocols::default(), ServerCheck::Name)
    }

    /// As [`Material::connector`], with bounds on versions and suites and another depth of verification.
    pub fn connector_with(&self, alpn: &[&[u8]], protocols: Protocols, check: ServerCheck) -> Connector {
        Connector::new(self.clone(), alpn, protocols, check)
    }

    /// The own certificate chain in force, own certificate first; empty without a key pair.
    pub fn certificate_chain(&self) -> Vec<CertificateDer<'static>> {
        self.snapshot()
            .identity
            .as_ref()
            .map(|identity| identity.cert.clone())
            .unwrap_or_default()
    }

    /// What the own certificate says about itself.
    pub fn facts(&self) -> Option<Facts> {
        self.snapshot()
            .identity
            .as_ref()
            .and_then(|identity| Facts::of(identity.cert.first()?))
    }

    /// When the own certificate expires.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.facts().map(|facts| facts.not_after)
    }

    /// What is wrong with the material in force, for whoever looks into why peers refuse it: the own certificate is out of
    /// date, or newer files cannot be used.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let own = self.snapshot().identity.as_ref().and_then(|identity| {
            let now = SystemTime::now();
            identity.cert.iter().find_map(|link| facts::untimely(link, now))
        });
        let unusable = self.unusable().clone();
        let told =
            |reason: String| format!("new certificates cannot be used, the old ones stay in force: {reason}");
        own.or_else(|| unusable.map(told))
    }

    /// Notes why the newest files cannot be used, or that they can.
    pub(crate) fn note(&self, unusable: Option<String>) {
        *self.unusable() = unusable;
    }

    fn unusable(&self) -> MutexGuard<'_, Option<String>> {
        self.shared
            .unusable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How many trust anchors are in force.
    pub fn anchors(&self) -> usize {
        self.snapshot().trust.roots.len()
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.current.load_full()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.shared.current.load().generation
    }

    /// Files and folders whose change matters; empty for text.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        match &self.shared.source {
            Source::Files { identity, trust, .. } => {
                let identity = identity.iter().flat_map(|(key, certificate)| [key, certificate]);
                identity.chain(trust).map(PathBuf::as_path).collect()
            }
            Source::Text => Vec::new(),
        }
    }

    fn label(&self) -> String {
        let snapshot = self.snapshot();
        snapshot
            .identity
            .as_ref()
            .and_then(|identity| identity.cert.first())
            .map_or_else(|| "none".to_owned(), facts::label)
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("generation", &self.generation())
            .field("certificate", &self.label())
            .field("anchors", &self.anchors())
            .finish()
    }
}

// === impl Pem ===

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem")
            .field("identity", &self.identity.is_some())
            .field("trust", &self.trust.len())
            .field("trust_system", &self.trust_system)
            .finish()
    }
}

// === impl Source ===

impl Source {
    fn read(&self) -> Result<Parts, TlsError> {
        let Self::Files {
            identity,
            trust,
            trust_system,
        } = self
        else {
            return Ok(Parts {
                identity: None,
                trust: Vec::new(),
                trust_system: false,
            });
        };
        let identity = match identity {
            Some((key, certificate)) => Some((pem::read(key)?, pem::read(certificate)?)),
            None => None,
        };
        let mut texts = Vec::new();
        for path in trust {
            texts.extend(pem::trust(path)?);
        }
        Ok(Parts {
            identity,
            trust: texts,
            trust_system: *trust_system,
        })
    }
}

/// The texts of one reading, not yet understood.
struct Parts {
    identity: Option<(Text, Text)>,
    trust: Vec<Text>,
    trust_system: bool,
}

impl Parts {
    /// Identifies the content, so that a touched or rewritten file without a change is no change. The platform's roots
    /// are left out: they change with the platform, which means a restart.
    fn digest(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let identity = self
            .identity
            .iter()
            .flat_map(|(key, certificate)| [key, certificate]);
        for text in identity.chain(&self.trust) {
            context.update(&text.bytes.len().to_le_bytes());
            context.update(&text.bytes);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    fn build(mut self, generation: u64) -> Result<Snapshot, TlsError> {
        let digest = self.digest();
        let identity = match mem::take(&mut self.identity) {
            Some((key, certificate)) => Some(Arc::new(certified(&key, &certificate)?)),
            None => None,
        };
        let mut roots = RootCertStore::empty();
        let mut pinned = HashSet::new();
        for text in &self.trust {
            let certificates = pem::certificates(text)?;
            if certificates.is_empty() {
                return Err(TlsError::NoCertificate {
                    file: text.name.clone(),
                });
            }
            for (index, certificate) in certificates.into_iter().enumerate() {
                if !pinned.insert(facts::fingerprint(&certificate)) {
                    continue;
                }
                roots.add(certificate).map_err(|error| TlsError::Certificate {
                    file: text.name.clone(),
                    number: index + 1,
                    reason: error.to_string(),
                })?;
            }
        }
        if self.trust_system {
            add_system_roots(&mut roots);
        }
        let trust = Trust {
            roots: Arc::new(roots),
            pinned: Arc::new(pinned),
        };
        Ok(Snapshot {
            generation,
            identity,
            trust,
            digest,
        })
    }
}

fn certified(key: &Text, certificate: &Text) -> Result<CertifiedKey, TlsError> {
    let chain = pem::certificates(certificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            file: certificate.name.clone(),
        });
    }
    for (index, link) in chain.iter().enumerate() {
        if Facts::of(link).is_none() {
            return Err(TlsError::Certificate {
                file: certificate.name.clone(),
                number: index + 1,
                reason: "not an X.509 certificate".to_owned(),
            });
        }
    }
    let signer = protocols::provider()
        .key_provider
        .load_private_key(pem::key(key)?)
        .map_err(|source| TlsError::Key {
            file: key.name.clone(),
            source,
        })?;
    let certified = CertifiedKey::new(chain, signer);
    // A signer that cannot tell its public key is taken on trust: the handshake would fail, not mislead.
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch {
            certificate: certificate.name.clone(),
            key: key.name.clone(),
        }),
        Err(error) => Err(TlsError::Certificate {
            file: certificate.name.clone(),
            number: 1,
            reason: error.to_string(),
        }),
    }
}

fn add_system_roots(roots: &mut RootCertStore) {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        warn!(%error, "a part of the platform's public roots cannot be read");
    }
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        warn!("the platform has no public roots; only the configured certificates are trusted");
    }
}

fn warn_of_expiry(snapshot: &Snapshot) {
    let certificate = snapshot
        .identity
        .as_ref()
        .and_then(|identity| identity.cert.first());
    if let Some(facts) = certificate.and_then(Facts::of)
        && facts.remaining(SystemTime::now()).is_zero()
    {
        warn!(subject = facts.subject, "the own certificate has expired");
    }
}
