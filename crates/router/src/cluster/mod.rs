//! A cluster as the data path uses it: addresses, transport, limits. Shared by all workers.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use http::HeaderValue;
use http::uri::Authority;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::warn;
use trireme_routing::snapshot::{self, Endpoint, UpstreamProtocol};
use trireme_tls::Connector;

pub(crate) mod balance;
pub(crate) mod health;
mod holders;
mod identity;
pub(crate) mod limits;
pub(crate) mod material;
pub(crate) mod resolve;
pub(crate) mod transport;
pub(crate) mod usage;
mod waiting;

use self::holders::Holders;
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
    /// Whose requests hold it up.
    pub(crate) holders: Holders,
    /// Counters.
    pub(crate) usage: Arc<Usage>,
    endpoints: Vec<Target>,
    hosts: ArcSwap<Vec<Arc<Host>>>,
    waiting: watch::Sender<Waiting>,
    used: AtomicBool,
    demand: Arc<Notify>,
    /// Told when an address is new.
    changed: Arc<Notify>,
    /// Second after the one in which it was last said why an upstream's TLS fails; 0 for never.
    told: AtomicU64,
}

/// What requests wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    /// The first look-up of the names.
    names: bool,
    /// The first probe of the addresses.
    probe: bool,
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
    /// What the health check says; true without one. A new address is probed before it is used beside others.
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

/// Between two lines of one cluster on TLS that fails.
const TELL_SECS: u64 = 60;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

// === impl Cluster ===

impl Cluster {
    /// Greatest number of requests at once on one connection.
    pub(crate) const STREAMS: u32 = 100;

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
        let probe = config.health.is_some();
        let cluster = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            fingerprint,
            limits: Arc::new(Limits::new(config.limits)),
            holders: Holders::default(),
            usage,
            config,
            endpoints,
            hosts: ArcSwap::default(),
            waiting: watch::Sender::new(Waiting { names: true, probe }),
            used: AtomicBool::new(false),
            demand: Arc::default(),
            changed: Arc::default(),
            told: AtomicU64::new(0),
        };
        cluster.rebuild();
        if cluster.names().next().is_none() {
            cluster.mark_resolved(true);
        }
        Ok(Arc::new(cluster))
    }

    /// Current addresses.
    pub(crate) fn hosts(&self) -> arc_swap::Guard<Arc<Vec<Arc<Host>>>> {
        self.hosts.load()
    }

    /// Waits until every name has been looked up and every address probed where that is wanted, with or without success.
    pub(crate) async fn resolved(&self) {
        let over = |waiting: &Waiting| !waiting.names && !waiting.probe;
        if over(&self.waiting.borrow()) {
            return;
        }
        let mut receiver = self.waiting.subscribe();
        // The sender lives in this very value.
        receiver.wait_for(over).await.map(drop).unwrap_or_default();
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
        self.waiting.send_modify(|waiting| waiting.names = !done);
    }

    /// Marks the first probe of all addresses as done.
    pub(crate) fn mark_probed(&self) {
        self.waiting.send_modify(|waiting| waiting.probe = false);
    }

    /// Whether the names have been looked up.
    pub(crate) fn is_resolved(&self) -> bool {
        !self.waiting.borrow().names
    }

    /// Told when addresses have changed.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Logs why an upstream's TLS fails, once a minute: nothing else says it where nobody looks for it.
    pub(crate) fn tell(&self, host: &Host, error: &impl std::fmt::Display) {
        if matches!(host.transport, Transport::Plain) {
            return;
        }
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        if self.may_tell(START.elapsed().as_secs()) {
            warn!(%error, cluster = self.config.name, address = %host.address, "upstream not reached over TLS");
        }
    }

    /// Whether a line is due at this second, and then it is not for a while.
    fn may_tell(&self, second: u64) -> bool {
        let told = self.told.load(Ordering::Relaxed);
        // Zero is never.
        let due = told == 0 || told + TELL_SECS <= second + 1;
        due && self
            .told
            .compare_exchange(told, second + 1, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Requests at once on one connection until another is made.
    pub(crate) fn streams(&self) -> u32 {
        match self.config.protocol {
            UpstreamProtocol::Http1 => 1,
            UpstreamProtocol::Http2 { max_streams, .. } => {
                max_streams.unwrap_or(Self::STREAMS).clamp(1, Self::STREAMS)
            }
        }
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
                    .map_or(self.config.health.is_none(), |host| {
                        host.healthy.load(Ordering::Relaxed)
                    });
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
        self.changed.notify_one();
    }
}

impl Drop for Cluster {
    /// Whoever waits for demand looks whether the cluster still exists.
    fn drop(&mut self) {
        self.demand.notify_one();
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_told_once_a_minute() {
        let config = snapshot::Cluster {
            name: "c".to_owned(),
            endpoints: Vec::new(),
            connect_timeout: std::time::Duration::ZERO,
            dns_refresh: std::time::Duration::ZERO,
            respect_dns_ttl: false,
            protocol: UpstreamProtocol::Http1,
            health: None,
            limits: snapshot::ClusterLimits::default(),
        };
        let cluster = Cluster::new(config, 0, Arc::default(), &mut Builder::default()).unwrap();
        let told: Vec<u64> = (0..200).filter(|second| cluster.may_tell(*second)).collect();
        assert_eq!(told, [0, 60, 120, 180]);
    }

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
