//! Names to addresses, in the background on the control runtime: a request never waits for a look-up but the first, and the
//! first after a long time without any.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::Cluster;

/// Looks names up for all clusters; two clusters with one name share the answer.
#[derive(Debug, Clone)]
pub(crate) struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    answers: Mutex<HashMap<String, Answer>>,
    permits: Semaphore,
}

#[derive(Debug, Clone)]
struct Answer {
    at: Instant,
    addresses: Arc<[IpAddr]>,
}

/// Look-ups under way at once; each occupies a thread.
const CONCURRENT: usize = 8;
/// Cluster without a request for so long, beyond its interval: its addresses may belong to somebody else by now.
const STALE: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST_LOOKUP: Duration = Duration::from_secs(5);

impl Resolver {
    /// A resolver without answers.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            answers: Mutex::default(),
            permits: Semaphore::new(CONCURRENT),
        }))
    }

    /// Keeps the addresses of a cluster fresh as long as somebody uses it; ends when the cluster is dropped.
    pub(crate) fn watch(&self, cluster: &Arc<Cluster>) {
        let names: Vec<String> = cluster.names().map(str::to_owned).collect();
        if names.is_empty() {
            return;
        }
        let interval = cluster.config.dns_refresh.max(SHORTEST);
        let weak = Arc::downgrade(cluster);
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            loop {
                for name in &names {
                    let found = inner.lookup(name, interval).await;
                    let Some(cluster) = weak.upgrade() else { return };
                    match found {
                        Ok(addresses) => cluster.update(name, &addresses),
                        Err(reason) => {
                            debug!(reason, name, cluster = cluster.config.name, "name not resolved")
                        }
                    }
                }
                let Some(cluster) = weak.upgrade() else { return };
                cluster.mark_resolved(true);
                drop(cluster);
                sleep(interval).await;
                // A cluster that nobody uses costs no look-ups.
                let mut used = match weak.upgrade() {
                    Some(cluster) => pin!(cluster.wanted()),
                    None => return,
                };
                if timeout(STALE, used.as_mut()).await.is_err() {
                    match weak.upgrade() {
                        Some(cluster) => cluster.mark_resolved(false),
                        None => return,
                    }
                    used.await;
                }
            }
        });
    }
}

impl Inner {
    async fn lookup(&self, name: &str, fresh: Duration) -> Result<Arc<[IpAddr]>, String> {
        if let Some(answer) = self.recent(name, fresh) {
            return Ok(answer);
        }
        let _permit = self.permits.acquire().await.map_err(|error| error.to_string())?;
        if let Some(answer) = self.recent(name, fresh) {
            return Ok(answer);
        }
        let found = timeout(LONGEST_LOOKUP, tokio::net::lookup_host((name, 0)))
            .await
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|error| error.to_string())?;
        let addresses: Arc<[IpAddr]> =
            prefer_v4(found.map(|address: SocketAddr| address.ip()).collect()).into();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // Names of clusters that are gone must not pile up.
        if answers.len() > 4096 {
            let now = Instant::now();
            answers.retain(|_, answer| now.duration_since(answer.at) < Duration::from_secs(60));
        }
        answers.insert(
            name.to_owned(),
            Answer {
                at: Instant::now(),
                addresses: Arc::clone(&addresses),
            },
        );
        Ok(addresses)
    }

    fn recent(&self, name: &str, fresh: Duration) -> Option<Arc<[IpAddr]>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // Half the interval: a cluster's own next look-up must never find its own last one.
        let answer = answers
            .get(name)
            .filter(|answer| answer.at.elapsed() < fresh / 2)?;
        Some(Arc::clone(&answer.addresses))
    }
}

/// The original resolves to IPv4 only; IPv6 is used where there is nothing else.
fn prefer_v4(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.iter().any(IpAddr::is_ipv4) {
        addresses.retain(IpAddr::is_ipv4);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use trireme_routing::snapshot::{self, ClusterLimits, Endpoint, UpstreamProtocol};

    use super::*;
    use crate::cluster::transport::Builder;

    #[tokio::test(start_paused = true)]
    async fn old_addresses_are_looked_up_before_they_are_used() {
        let config = snapshot::Cluster {
            name: "c".to_owned(),
            endpoints: vec![Endpoint {
                host: "localhost".to_owned(),
                port: 80,
                priority: 0,
                tls: None,
            }],
            connect_timeout: Duration::ZERO,
            dns_refresh: Duration::from_secs(5),
            respect_dns_ttl: false,
            protocol: UpstreamProtocol::Http1,
            health: None,
            limits: ClusterLimits::default(),
        };
        let cluster = Cluster::new(config, 0, Arc::default(), &mut Builder::default()).unwrap();
        Resolver::new().watch(&cluster);
        cluster.resolved().await;
        assert!(!cluster.hosts().is_empty());
        let fresh = async || timeout(Duration::ZERO, cluster.resolved()).await.is_ok();
        for _ in 0..20 {
            cluster.touch();
            sleep(Duration::from_secs(10)).await;
            assert!(fresh().await, "a cluster in use does not wait");
        }
        sleep(STALE * 2).await;
        cluster.update("localhost", &[]);
        assert!(!fresh().await);
        cluster.touch();
        cluster.resolved().await;
        assert!(!cluster.hosts().is_empty());
    }
}
