//! Active TCP health checks of clusters with more than one endpoint.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use trireme_routing::snapshot::HealthCheck;

use super::{Cluster, Host};

/// Consecutive results of one address: successes positive, failures negative.
type Streaks = HashMap<SocketAddr, i64>;

/// For the first probe of an address, which requests wait for.
const FIRST: Duration = Duration::from_secs(1);

/// Probes a cluster until it is dropped: new addresses at once, as Envoy does, and all of them every interval.
pub(crate) fn check(cluster: &Arc<Cluster>) {
    let Some(settings) = cluster.config.health.clone() else {
        return;
    };
    let weak = Arc::downgrade(cluster);
    tokio::spawn(async move {
        let mut streaks = Streaks::new();
        let interval = settings.interval.max(Duration::from_millis(100));
        let mut all = false;
        loop {
            let Some(cluster) = weak.upgrade() else { return };
            let (resolved, changed) = (cluster.is_resolved(), cluster.changed());
            let hosts = cluster.hosts().to_vec();
            let name = cluster.config.name.clone();
            drop(cluster);
            streaks.retain(|address, _| hosts.iter().any(|host| host.address == *address));
            let due = |host: &&Arc<Host>| all || !streaks.contains_key(&host.address);
            let due: Vec<_> = hosts.iter().filter(due).collect();
            let bound = if all {
                settings.timeout
            } else {
                settings.timeout.min(FIRST)
            };
            let results = join_all(due.iter().map(|host| probe(host.address, bound))).await;
            for (host, up) in due.into_iter().zip(results) {
                judge(&name, host, up, &settings, &mut streaks);
            }
            if resolved && let Some(cluster) = weak.upgrade() {
                cluster.mark_probed();
            }
            all = tokio::select! {
                // Not all clusters at the same moment.
                () = sleep(interval.mul_f64(0.9 + fastrand::f64() / 5.0)) => true,
                () = changed.notified() => false,
            };
        }
    });
}

async fn probe(address: SocketAddr, bound: Duration) -> bool {
    let bound = if bound.is_zero() { FIRST } else { bound };
    matches!(timeout(bound, TcpStream::connect(address)).await, Ok(Ok(_)))
}

fn judge(cluster: &str, host: &Host, up: bool, settings: &HealthCheck, streaks: &mut Streaks) {
    if !streaks.contains_key(&host.address) {
        // The first result decides by itself.
        host.healthy.store(up, Ordering::Relaxed);
        if !up {
            warn!(cluster, address = %host.address, "endpoint not used, its first probe failed");
        }
    }
    let streak = streaks.entry(host.address).or_default();
    *streak = if up {
        (*streak).max(0) + 1
    } else {
        (*streak).min(0) - 1
    };
    let healthy = host.healthy.load(Ordering::Relaxed);
    if healthy && *streak <= -i64::from(settings.unhealthy.max(1)) {
        host.healthy.store(false, Ordering::Relaxed);
        warn!(cluster, address = %host.address, "endpoint ejected");
    } else if !healthy && *streak >= i64::from(settings.healthy.max(1)) {
        host.healthy.store(true, Ordering::Relaxed);
        info!(cluster, address = %host.address, "endpoint re-admitted");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use http::HeaderValue;

    use super::*;
    use crate::cluster::transport::Transport;

    #[test]
    fn thresholds() {
        let host = Host {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            priority: 0,
            transport: Transport::Plain,
            host_header: HeaderValue::from_static("h"),
            healthy: AtomicBool::new(true),
        };
        let settings = HealthCheck {
            timeout: Duration::ZERO,
            interval: Duration::ZERO,
            unhealthy: 2,
            healthy: 3,
        };
        let mut streaks = Streaks::new();
        let steps = [
            (true, true),
            (false, true),
            (true, true),
            (false, true),
            (false, false),
            (true, false),
            (true, false),
            (false, false),
            (true, false),
            (true, false),
            (true, true),
        ];
        for (step, (up, want)) in steps.into_iter().enumerate() {
            judge("c", &host, up, &settings, &mut streaks);
            assert_eq!(host.healthy.load(Ordering::Relaxed), want, "step {step}");
        }
    }

    #[test]
    fn the_first_probe_decides() {
        let settings = HealthCheck {
            timeout: Duration::ZERO,
            interval: Duration::ZERO,
            unhealthy: 2,
            healthy: 1,
        };
        for (before, up) in [(false, true), (true, false)] {
            let host = Host {
                address: SocketAddr::from(([127, 0, 0, 1], 1)),
                priority: 0,
                transport: Transport::Plain,
                host_header: HeaderValue::from_static("h"),
                healthy: AtomicBool::new(before),
            };
            let mut streaks = Streaks::new();
            judge("c", &host, up, &settings, &mut streaks);
            assert_eq!(host.healthy.load(Ordering::Relaxed), up);
            judge("c", &host, true, &settings, &mut streaks);
            assert!(host.healthy.load(Ordering::Relaxed));
        }
    }
}
