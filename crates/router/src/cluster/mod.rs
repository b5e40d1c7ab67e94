//! A cluster as the data path uses it: addresses, transport, limits. Shared by all workers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::HeaderValue;
use http::uri::Authority;
use tokio::sync::{Notify, watch};
use trireme_routing::snapshot::{self, Endpoint, UpstreamProtocol};
use trireme_tls::Connector;

pub(crate) mod balance;
pub(crate) mod health;
mod identity;
pub(crate) mod limits;
pub(crate) mod material;
pub(crate) mod resolve;
pub(crate) mod transport;
pub(crate) mod usage;

use self::limits::Limits;
use self::transport::{Builder, InvalidTransport, Transport};
use self::usage::Usage;

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
    pub(crate) limits: Arc<Limits>,
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

/// Why a cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidCluster {
    /// A name that no `Host` header can carry.
    #[error("endpoint host {0:?} is not valid")]
    Host(String),
    /// An endpoint cannot be connected to.
    #[error(transparent)]
    Transport(#[from] InvalidTransport),
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
            .map(|endpoint| builder.transport(endpoint, http2))
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
        let transport = Transport::fixed(connector, name);
        let transports = vec![transport; config.endpoints.len()];
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
            limits: Arc::new(Limits::new(config.limits)),
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
}

impl Drop for Cluster {
    /// Whoever waits for demand looks whether the cluster still exists.
    fn drop(&mut self) {
        self.demand.notify_one();
    }
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
