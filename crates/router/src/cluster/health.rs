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

/// Probes a cluster until it is dropped.
pub(crate) fn check(cluster: &Arc<Cluster>) {
    let Some(settings) = cluster.config.health.clone() else {
        return;
    };
    let weak = Arc::downgrade(cluster);
    tokio::spawn(async move {
        let mut streaks = Streaks::new();
        let interval = settings.interval.max(Duration::from_millis(100));
        loop {
            // Not all clusters at the same moment.
            sleep(interval.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
            let Some(cluster) = weak.upgrade() else { return };
            let hosts = cluster.hosts().to_vec();
            let name = cluster.config.name.clone();
            drop(cluster);
            let results = join_all(hosts.iter().map(|host| probe(host.address, settings.timeout))).await;
            streaks.retain(|address, _| hosts.iter().any(|host| host.address == *address));
            for (host, up) in hosts.iter().zip(results) {
                judge(&name, host, up, &settings, &mut streaks);
            }
        }
    });
}

async fn probe(address: SocketAddr, bound: Duration) -> bool {
    let bound = if bound.is_zero() {
        Duration::from_secs(1)
    } else {
        bound
    };
    matches!(timeout(bound, TcpStream::connect(address)).await, Ok(Ok(_)))
}

fn judge(cluster: &str, host: &Host, up: bool, settings: &HealthCheck, streaks: &mut Streaks) {
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
}
