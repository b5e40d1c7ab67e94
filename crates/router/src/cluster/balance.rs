//! Round robin over the healthy addresses of the best priority.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Host;

/// The next address; none when there is none that was not tried. When all are unhealthy all are used: probes can be wrong,
/// and an attempt that fails is no worse than none.
pub(crate) fn pick(hosts: &[Arc<Host>], cursor: &Cell<usize>, tried: &[SocketAddr]) -> Option<Arc<Host>> {
    if let [only] = hosts {
        return (!tried.contains(&only.address)).then(|| Arc::clone(only));
    }
    let usable = |host: &Host| host.healthy.load(Ordering::Relaxed) && !tried.contains(&host.address);
    let best = hosts
        .iter()
        .filter(|host| usable(host))
        .map(|host| host.priority)
        .min();
    match best {
        Some(priority) => rotate(hosts, cursor, |host| host.priority == priority && usable(host)),
        None => rotate(hosts, cursor, |host| !tried.contains(&host.address)),
    }
}

fn rotate(hosts: &[Arc<Host>], cursor: &Cell<usize>, eligible: impl Fn(&Host) -> bool) -> Option<Arc<Host>> {
    let start = cursor.get();
    cursor.set(start.wrapping_add(1));
    let count = hosts.iter().filter(|host| eligible(host)).count();
    let nth = start.checked_rem(count)?;
    hosts
        .iter()
        .filter(|host| eligible(host))
        .nth(nth)
        .map(Arc::clone)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use http::HeaderValue;

    use super::*;
    use crate::cluster::transport::Transport;

    fn hosts(of: &[(u16, u32, bool)]) -> Vec<Arc<Host>> {
        of.iter()
            .map(|&(port, priority, healthy)| {
                Arc::new(Host {
                    address: SocketAddr::from(([127, 0, 0, 1], port)),
                    priority,
                    transport: Transport::Plain,
                    host_header: HeaderValue::from_static("h"),
                    healthy: AtomicBool::new(healthy),
                })
            })
            .collect()
    }

    #[test]
    fn picks() {
        type Case = (
            &'static str,
            &'static [(u16, u32, bool)],
            &'static [u16],
            &'static [u16],
        );
        let cases: [Case; 7] = [
            ("no address", &[], &[], &[]),
            ("the only one, even unhealthy", &[(1, 0, false)], &[], &[1, 1]),
            ("in turn", &[(1, 0, true), (2, 0, true)], &[], &[1, 2, 1]),
            ("best priority first", &[(1, 1, true), (2, 0, true)], &[], &[2, 2]),
            (
                "next priority when the best is down",
                &[(1, 1, true), (2, 0, false)],
                &[],
                &[1, 1],
            ),
            (
                "all when all are down",
                &[(1, 0, false), (2, 1, false)],
                &[],
                &[1, 2],
            ),
            ("not what was tried", &[(1, 0, true), (2, 0, true)], &[1], &[2, 2]),
        ];
        for (name, of, tried, want) in cases {
            let hosts = hosts(of);
            let tried: Vec<_> = tried
                .iter()
                .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
                .collect();
            let cursor = Cell::new(0);
            let got: Vec<_> = want
                .iter()
                .filter_map(|_| pick(&hosts, &cursor, &tried))
                .map(|host| host.address.port())
                .collect();
            assert_eq!(got, want, "{name}");
            assert_eq!(pick(&hosts, &cursor, &tried).is_none(), want.is_empty(), "{name}");
        }
    }
}
