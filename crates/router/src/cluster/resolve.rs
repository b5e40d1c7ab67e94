//! Names to addresses, in the background on the control runtime: a request never waits for a look-up but the first, and the
//! first after a long time without any.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::Cluster;

/// Looks names up for all clusters; two clusters with one name share the answer.
#[derive(Debug, Clone)]
pub(crate) struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ask: Ask,
    answers: Mutex<HashMap<String, Answer>>,
    permits: Semaphore,
}

/// Asks for the addresses of a name; it may block.
type Ask = fn(&str) -> Result<Vec<IpAddr>, Unresolved>;

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Unresolved {
    /// It may have one: nobody answered, or said so.
    #[error("no answer")]
    Later,
    /// There is no such name, or it has no address.
    #[error("no such name")]
    Unknown,
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
        Self::asking(system)
    }

    fn asking(ask: Ask) -> Self {
        Self(Arc::new(Inner {
            ask,
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
                            debug!(%reason, name, cluster = cluster.config.name, "name not resolved");
                            if reason == Unresolved::Unknown {
                                cluster.update(name, &[]);
                            }
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
    async fn lookup(&self, name: &str, fresh: Duration) -> Result<Arc<[IpAddr]>, Unresolved> {
        if let Some(answer) = self.recent(name, fresh) {
            return Ok(answer);
        }
        let _permit = self.permits.acquire().await.map_err(|_| Unresolved::Later)?;
        if let Some(answer) = self.recent(name, fresh) {
            return Ok(answer);
        }
        let (ask, asked) = (self.ask, name.to_owned());
        let found = tokio::task::spawn_blocking(move || ask(&asked));
        let found = timeout(LONGEST_LOOKUP, found).await;
        let addresses: Arc<[IpAddr]> = match found {
            Ok(Ok(found)) => prefer_v4(found?).into(),
            Ok(Err(_)) | Err(_) => return Err(Unresolved::Later),
        };
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

/// Asks the system (`getaddrinfo`, RFC 3493 section 6.1).
fn system(name: &str) -> Result<Vec<IpAddr>, Unresolved> {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(|error| match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => Unresolved::Unknown,
        _ => Unresolved::Later,
    })?;
    Ok(found
        .filter_map(Result::ok)
        .map(|found| found.sockaddr.ip())
        .collect())
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use trireme_routing::snapshot::{self, ClusterLimits, Endpoint, UpstreamProtocol};

    use super::*;
    use crate::cluster::transport::Builder;

    fn cluster(host: &str) -> Arc<Cluster> {
        let config = snapshot::Cluster {
            name: "c".to_owned(),
            endpoints: vec![Endpoint {
                host: host.to_owned(),
                port: 80,
                priority: 0,
                tls: None,
            }],
            connect_timeout: Duration::ZERO,
            dns_refresh: Duration::ZERO,
            respect_dns_ttl: false,
            protocol: UpstreamProtocol::Http1,
            health: None,
            limits: ClusterLimits::default(),
        };
        Cluster::new(config, 0, Arc::default(), &mut Builder::default()).unwrap()
    }

    /// Names that are gone take their addresses along; those that nobody answers for do not.
    #[tokio::test]
    async fn a_name_that_is_gone_has_no_address() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let ask: Ask = |_| match ASKED.fetch_add(1, Ordering::SeqCst) {
            0 | 4 => Ok(vec![IpAddr::from([192, 0, 2, 1])]),
            1 | 2 => Err(Unresolved::Later),
            3 => Err(Unresolved::Unknown),
            _ => Ok(Vec::new()),
        };
        let cluster = cluster("up.test");
        Resolver::asking(ask).watch(&cluster);
        let mut seen = Vec::new();
        while ASKED.load(Ordering::SeqCst) < 7 {
            cluster.touch();
            let now = (ASKED.load(Ordering::SeqCst), cluster.hosts().len());
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            sleep(Duration::from_millis(5)).await;
        }
        let last = |asked| seen.iter().rev().find(|(at, _)| *at == asked).unwrap().1;
        assert_eq!([1, 2, 3, 4, 5, 6].map(last), [1, 1, 1, 0, 1, 0], "{seen:?}");
    }

    #[test]
    fn the_system_is_asked() {
        assert!(!system("localhost").unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn old_addresses_are_looked_up_before_they_are_used() {
        let cluster = cluster("localhost");
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
