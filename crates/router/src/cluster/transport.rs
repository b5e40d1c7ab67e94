//! How the endpoints of a cluster are connected to: plainly or by TLS, with what clusters share made once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::warn;
use trireme_routing::snapshot::{Endpoint, Pem, TlsVersion, Trust, UpstreamTls};
use trireme_tls::{Connector, Material, Protocols, ServerCheck, Version, Watch};

use super::identity::{Dial, Identity};
use super::material::{self, MaterialError};

/// How connections of an endpoint are made.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// Plain TCP.
    Plain,
    /// TLS.
    Tls {
        /// Verification, identity, versions.
        dial: Dial,
        /// Name for SNI and for verification.
        name: Arc<str>,
    },
}

/// Why an endpoint cannot be connected to as configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidTransport {
    /// Certificates or keys that cannot be used.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// A name is sent that is not the one that is verified.
    #[error("SNI {sni:?} differs from the verified name {verified:?}, which is not supported")]
    TwoNames {
        /// Sent.
        sni: String,
        /// Verified.
        verified: String,
    },
}

/// Materials that are kept for clusters to come.
const KEPT: usize = 256;

/// Builds clusters; what several of them share, such as the bundle of public roots, is read once.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    materials: HashMap<MaterialKey, (Material, Option<Watch>)>,
    connectors: HashMap<ConnectorKey, Dial>,
    /// By certificate and key.
    identities: HashMap<[String; 2], Identity>,
}

/// Trust, certificate, key.
type MaterialKey = [Option<String>; 3];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ConnectorKey {
    material: MaterialKey,
    http2: bool,
    versions: (bool, bool),
    ciphers: Vec<String>,
    check: u8,
}

impl Transport {
    /// Mutual TLS with a process of ours.
    pub(crate) fn fixed(connector: &Connector, name: &str) -> Self {
        Self::Tls {
            dial: Arc::new(ArcSwap::from_pointee(connector.clone())),
            name: name.into(),
        }
    }
}

impl Builder {
    /// How one endpoint is connected to; `http2` offers HTTP/2 by ALPN.
    pub(crate) fn transport(
        &mut self,
        endpoint: &Endpoint,
        http2: bool,
    ) -> Result<Transport, InvalidTransport> {
        let Some(tls) = &endpoint.tls else {
            return Ok(Transport::Plain);
        };
        let name = match (&tls.sni, &tls.verify_host) {
            (Some(sni), Some(verified)) if sni != verified => {
                return Err(InvalidTransport::TwoNames {
                    sni: sni.clone(),
                    verified: verified.clone(),
                });
            }
            (Some(name), _) | (None, Some(name)) => name.as_str(),
            (None, None) => endpoint.host.as_str(),
        };
        Ok(Transport::Tls {
            dial: self.dial(&endpoint.host, tls, http2)?,
            name: name.into(),
        })
    }

    /// The connector of these settings, made when no cluster has asked for it before.
    fn dial(&mut self, host: &str, tls: &UpstreamTls, http2: bool) -> Result<Dial, InvalidTransport> {
        let check = match (&tls.trust, &tls.verify_host) {
            (Trust::None, _) => ServerCheck::Nothing,
            (_, Some(_)) => ServerCheck::Name,
            (_, None) => ServerCheck::Chain,
        };
        let trust = match &tls.trust {
            Trust::Anchors(pem) => Some(pem),
            Trust::None => None,
        };
        let identity = tls
            .client_certificate
            .as_ref()
            .filter(|files| offered(files, host));
        let material = [
            trust,
            identity.map(|(certificate, _)| certificate),
            identity.map(|(_, key)| key),
        ]
        .map(|pem| pem.map(material::identify));
        let key = ConnectorKey {
            material,
            http2,
            versions: (
                tls.min_version == TlsVersion::V1_3,
                tls.max_version == TlsVersion::V1_3,
            ),
            ciphers: tls.ciphers.clone(),
            check: match check {
                ServerCheck::Nothing => 0,
                ServerCheck::Chain => 1,
                ServerCheck::Name => 2,
            },
        };
        if let Some(dial) = self.connectors.get(&key) {
            return Ok(Arc::clone(dial));
        }
        let (protocols, _) = protocols(tls.min_version, tls.max_version, &tls.ciphers);
        let alpn: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[] };
        let make = move |material: &Material| material.connector_with(alpn, protocols.clone(), check);
        let dial = match (identity, trust) {
            (Some(files @ (Pem::File(_), Pem::File(_))), Some(Pem::Inline(_))) => {
                let (own, trust) = (files.clone(), trust.cloned());
                self.identity(files)?.connector(move || {
                    let (material, _) = material::load(Some(&own), trust.as_ref())?;
                    Ok(make(&material))
                })?
            }
            _ => {
                let material = self.material(&key.material, identity, trust)?;
                Arc::new(ArcSwap::from_pointee(make(&material)))
            }
        };
        if self.connectors.len() >= KEPT {
            self.connectors.clear();
        }
        self.connectors.insert(key, Arc::clone(&dial));
        Ok(dial)
    }

    fn identity(&mut self, files: &(Pem, Pem)) -> Result<&Identity, MaterialError> {
        let key = [material::identify(&files.0), material::identify(&files.1)];
        match self.identities.entry(key) {
            Entry::Occupied(identity) => Ok(identity.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Identity::new(files)?)),
        }
    }

    fn material(
        &mut self,
        key: &MaterialKey,
        identity: Option<&(Pem, Pem)>,
        trust: Option<&Pem>,
    ) -> Result<Material, MaterialError> {
        if let Some((material, _)) = self.materials.get(key) {
            return Ok(material.clone());
        }
        let (material, watch) = material::load(identity, trust)?;
        // Text that is rotated never comes back; clusters in use hold what they need themselves.
        if self.materials.len() >= KEPT {
            self.materials.retain(|_, (_, watch)| watch.is_some());
            self.connectors.clear();
        }
        self.materials.insert(key.clone(), (material.clone(), watch));
        Ok(material)
    }
}

/// Whether the gateway's own certificate is there to be offered: without one the upstream decides.
fn offered((certificate, key): &(Pem, Pem), host: &str) -> bool {
    let there = material::exists(certificate) && material::exists(key);
    if !there {
        warn!(
            endpoint = host,
            "no client certificate for the upstream: file not found"
        );
    }
    there
}

/// Versions and suites; the names of suites that do not exist here come back.
pub(crate) fn protocols(min: TlsVersion, max: TlsVersion, ciphers: &[String]) -> (Protocols, Vec<String>) {
    let version = |version| match version {
        TlsVersion::V1_2 => Version::Tls12,
        TlsVersion::V1_3 => Version::Tls13,
    };
    Protocols::default()
        .with_versions(version(min), version(max))
        .with_ciphers(ciphers.iter().map(String::as_str))
}
