//! A cluster as the data path uses it: addresses, transport, limits. Shared by all workers.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::HeaderValue;
use http::uri::Authority;
use tokio::sync::{Notify, watch};
use tracing::warn;
use trireme_routing::snapshot::{self, Endpoint, Pem, TlsVersion, Trust, UpstreamProtocol, UpstreamTls};
use trireme_tls::{Connector, Material, Protocols, ServerCheck, Version, Watch};

use super::identity::{Dial, Identity};
use crate::material::{self, MaterialError};
use crate::metrics::Usage;

/// A named group of upstream addresses.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Unique in this process; a changed cluster is a new one, so pools of the old one are left behind.
    pub(crate) id: u64,
    /// Of the resource it was made from.
    pub(crate) fingerprint: u64,
    /// As configured, without the key material, which lies in the transports.
    pub(crate) config: snapshot::Cluster,
    /// Circuit breakers.
    pub(crate) limits: Limits,
    /// Counters.
    pub(crate) usage: Arc<Usage>,
    endpoints: Vec<Target>,
    hosts: ArcSwap<Vec<Arc<Host>>>,
    resolved: watch::Sender<bool>,
    used: AtomicBool,
    demand: Arc<Notify>,
}

/// One configured endpoint, with what every address behind it shares.
#[derive(Debug)]
struct Target {
    endpoint: Endpoint,
    transport: Transport,
    host_header: HeaderValue,
    addresses: ArcSwap<Vec<IpAddr>>,
}

/// One address that can be connected to.
#[derive(Debug)]
pub(crate) struct Host {
    /// Address.
    pub(crate) address: SocketAddr,
    /// 0 is preferred.
    pub(crate) priority: u32,
    /// How to connect.
    pub(crate) transport: Transport,
    /// Host name without port, for `auto_host`.
    pub(crate) host_header: HeaderValue,
    /// What the health check says; true without one.
    pub(crate) healthy: AtomicBool,
}

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

/// Why a cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidCluster {
    /// A name that no `Host` header can carry.
    #[error("endpoint host {0:?} is not valid")]
    Host(String),
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

/// Circuit breakers. Counted over all workers, as in Envoy.
#[derive(Debug)]
pub(crate) struct Limits {
    connections: Counter,
    pending: Counter,
    requests: Counter,
    retries: Counter,
}

#[derive(Debug)]
struct Counter {
    now: AtomicU32,
    max: u32,
}

/// Which breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Open connections.
    Connection,
    /// Requests that wait for a connection.
    Pending,
    /// Requests under way.
    Request,
    /// Retries under way.
    Retry,
}

/// A counted use of a cluster; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    cluster: Arc<Cluster>,
    resource: Resource,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

// === impl Cluster ===

impl Cluster {
    /// Builds a cluster; reads the certificate files it names. `usage` is that of the version before, or new.
    pub(crate) fn new(
        mut config: snapshot::Cluster,
        fingerprint: u64,
        usage: Arc<Usage>,
        builder: &mut Builder,
    ) -> Result<Arc<Self>, InvalidCluster> {
        let http2 = matches!(config.protocol, UpstreamProtocol::Http2 { .. });
        let transports = config
            .endpoints
            .iter()
            .map(|endpoint| match &endpoint.tls {
                None => Ok(Transport::Plain),
                Some(tls) => builder.transport(endpoint, tls, http2),
            })
            .collect::<Result<Vec<_>, _>>()?;
        for endpoint in &mut config.endpoints {
            endpoint.tls = None;
        }
        Self::with_transports(config, fingerprint, usage, transports)
    }

    /// A cluster of our own, whose endpoints are reached by mutual TLS.
    pub(crate) fn fixed(
        config: snapshot::Cluster,
        connector: &Connector,
        name: &str,
    ) -> Result<Arc<Self>, InvalidCluster> {
        let dial = Arc::new(ArcSwap::from_pointee(connector.clone()));
        let transports = config
            .endpoints
            .iter()
            .map(|_| Transport::Tls {
                dial: Arc::clone(&dial),
                name: name.into(),
            })
            .collect();
        Self::with_transports(config, 0, Arc::default(), transports)
    }

    fn with_transports(
        config: snapshot::Cluster,
        fingerprint: u64,
        usage: Arc<Usage>,
        transports: Vec<Transport>,
    ) -> Result<Arc<Self>, InvalidCluster> {
        let endpoints = config
            .endpoints
            .iter()
            .zip(transports)
            .map(|(endpoint, transport)| {
                let literal = endpoint.host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
                // Both a `Host` header and `:authority` must be able to carry it (RFC 3986 section 3.2.2).
                let host = match literal {
                    Some(IpAddr::V6(ip)) => format!("[{ip}]"),
                    Some(IpAddr::V4(_)) | None => endpoint.host.clone(),
                };
                let host_header = Authority::try_from(host.as_str())
                    .ok()
                    .and_then(|_| HeaderValue::from_str(&host).ok())
                    .ok_or_else(|| InvalidCluster::Host(endpoint.host.clone()))?;
                Ok(Target {
                    endpoint: endpoint.clone(),
                    transport,
                    host_header,
                    addresses: ArcSwap::from_pointee(literal.into_iter().collect()),
                })
            })
            .collect::<Result<Vec<_>, InvalidCluster>>()?;
        let cluster = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            fingerprint,
            limits: Limits::new(config.limits),
            usage,
            config,
            endpoints,
            hosts: ArcSwap::default(),
            resolved: watch::Sender::new(false),
            used: AtomicBool::new(false),
            demand: Arc::default(),
        };
        cluster.rebuild();
        if cluster.names().next().is_none() {
            cluster.resolved.send_replace(true);
        }
        Ok(Arc::new(cluster))
    }

    /// Current addresses.
    pub(crate) fn hosts(&self) -> arc_swap::Guard<Arc<Vec<Arc<Host>>>> {
        self.hosts.load()
    }

    /// Waits until every name has been looked up, with or without success.
    pub(crate) async fn resolved(&self) {
        if *self.resolved.borrow() {
            return;
        }
        let mut receiver = self.resolved.subscribe();
        // The sender lives in this very value.
        receiver
            .wait_for(|resolved| *resolved)
            .await
            .map(drop)
            .unwrap_or_default();
    }

    /// Names that need to be looked up.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.endpoints
            .iter()
            .map(|target| target.endpoint.host.as_str())
            .filter(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err())
    }

    /// Takes the addresses of a name. Health of addresses that stay is kept.
    pub(crate) fn update(&self, name: &str, addresses: &[IpAddr]) {
        let mut changed = false;
        for target in self
            .endpoints
            .iter()
            .filter(|target| target.endpoint.host == name)
        {
            if target.addresses.load().as_slice() != addresses {
                target.addresses.store(Arc::new(addresses.to_vec()));
                changed = true;
            }
        }
        if changed {
            self.rebuild();
        }
    }

    /// Marks the look-up of all names as done, or as to be waited for again.
    pub(crate) fn mark_resolved(&self, done: bool) {
        self.resolved.send_replace(done);
    }

    /// Notes that the cluster is in use, so that its names are looked up again.
    pub(crate) fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
            self.demand.notify_one();
        }
    }

    /// Ends when the cluster has been used since the last call. It does not keep the cluster alive.
    pub(crate) fn wanted(&self) -> impl Future<Output = ()> + Send + use<> {
        let used = self.used.swap(false, Ordering::Relaxed);
        let demand = Arc::clone(&self.demand);
        async move {
            if !used {
                demand.notified().await;
            }
        }
    }

    fn rebuild(&self) {
        let old = self.hosts.load();
        let hosts = self
            .endpoints
            .iter()
            .flat_map(|target| {
                let addresses = target.addresses.load_full();
                let port = target.endpoint.port;
                (0..addresses.len())
                    .filter_map(move |index| addresses.get(index).map(|ip| SocketAddr::new(*ip, port)))
                    .map(move |address| (target, address))
            })
            .map(|(target, address)| {
                let healthy = old
                    .iter()
                    .find(|host| host.address == address)
                    .is_none_or(|host| host.healthy.load(Ordering::Relaxed));
                Arc::new(Host {
                    address,
                    priority: target.endpoint.priority,
                    transport: target.transport.clone(),
                    host_header: target.host_header.clone(),
                    healthy: AtomicBool::new(healthy),
                })
            })
            .collect();
        self.hosts.store(Arc::new(hosts));
    }

    /// Counts a use; none when its breaker is open.
    pub(crate) fn permit(self: &Arc<Self>, resource: Resource) -> Option<Permit> {
        self.limits.counter(resource).take(false).then(|| Permit {
            cluster: Arc::clone(self),
            resource,
        })
    }

    /// Counts a use even beyond the limit.
    pub(crate) fn force(self: &Arc<Self>, resource: Resource) -> Permit {
        self.limits.counter(resource).take(true);
        Permit {
            cluster: Arc::clone(self),
            resource,
        }
    }
}

// === impl Limits ===

impl Limits {
    fn new(limits: snapshot::ClusterLimits) -> Self {
        let counter = |max: Option<u32>, default| Counter {
            now: AtomicU32::new(0),
            max: max.unwrap_or(default),
        };
        Self {
            connections: counter(limits.max_connections, 1024),
            pending: counter(limits.max_pending, 1024),
            requests: counter(limits.max_requests, 1024),
            retries: counter(limits.max_retries, 3),
        }
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.now.load(Ordering::Relaxed)
    }

    const fn counter(&self, resource: Resource) -> &Counter {
        match resource {
            Resource::Connection => &self.connections,
            Resource::Pending => &self.pending,
            Resource::Request => &self.requests,
            Resource::Retry => &self.retries,
        }
    }
}

impl Counter {
    fn take(&self, force: bool) -> bool {
        if self.now.fetch_add(1, Ordering::Relaxed) < self.max || force {
            return true;
        }
        self.now.fetch_sub(1, Ordering::Relaxed);
        false
    }
}

impl Drop for Cluster {
    /// Whoever waits for demand looks whether the cluster still exists.
    fn drop(&mut self) {
        self.demand.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.cluster
            .limits
            .counter(self.resource)
            .now
            .fetch_sub(1, Ordering::Relaxed);
    }
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

impl Builder {
    fn transport(
        &mut self,
        endpoint: &Endpoint,
        tls: &UpstreamTls,
        http2: bool,
    ) -> Result<Transport, InvalidCluster> {
        let name = match (&tls.sni, &tls.verify_host) {
            (Some(sni), Some(verified)) if sni != verified => {
                return Err(InvalidCluster::TwoNames {
                    sni: sni.clone(),
                    verified: verified.clone(),
                });
            }
            (Some(name), _) | (None, Some(name)) => name.as_str(),
            (None, None) => endpoint.host.as_str(),
        };
        let check = match (&tls.trust, &tls.verify_host) {
            (Trust::None, _) => ServerCheck::Nothing,
            (_, Some(_)) => ServerCheck::Name,
            (_, None) => ServerCheck::Chain,
        };
        let trust = match &tls.trust {
            Trust::Anchors(pem) => Some(pem),
            Trust::None => None,
        };
        // The gateway's own certificate is only offered: without one the upstream decides.
        let identity = tls.client_certificate.as_ref().filter(|(certificate, key)| {
            let there = material::exists(certificate) && material::exists(key);
            if !there {
                warn!(
                    endpoint = endpoint.host,
                    "no client certificate for the upstream: file not found"
                );
            }
            there
        });
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
        let dial = match self.connectors.get(&key) {
            Some(dial) => Arc::clone(dial),
            None => {
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
                dial
            }
        };
        Ok(Transport::Tls {
            dial,
            name: name.into(),
        })
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
    ) -> Result<Material, InvalidCluster> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_as_requests_name_them() {
        let cases = [
            ("up.test", Some("up.test")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1", Some("[2001:db8::1]")),
            ("[2001:db8::1]", Some("[2001:db8::1]")),
            ("up test", None),
            ("up/test", None),
            ("", None),
        ];
        for (host, want) in cases {
            let config = snapshot::Cluster {
                name: "c".to_owned(),
                endpoints: vec![Endpoint {
                    host: host.to_owned(),
                    port: 80,
                    priority: 0,
                    tls: None,
                }],
                connect_timeout: std::time::Duration::ZERO,
                dns_refresh: std::time::Duration::ZERO,
                respect_dns_ttl: false,
                protocol: UpstreamProtocol::Http1,
                health: None,
                limits: snapshot::ClusterLimits::default(),
            };
            let cluster = Cluster::new(config, 0, Arc::default(), &mut Builder::default());
            let got = cluster
                .ok()
                .map(|cluster| cluster.endpoints[0].host_header.clone());
            assert_eq!(
                got.as_ref().map(HeaderValue::as_bytes),
                want.map(str::as_bytes),
                "{host:?}"
            );
        }
    }
}
