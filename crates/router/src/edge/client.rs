//! Where a request comes from. It is decided here, once, and counts for everything that asks: the enforcer, bounds per
//! address, the access log.
//!
//! As in Envoy: `x-forwarded-for` is read from its end, where the nearest proxy writes, and only as far as the listener
//! trusts who wrote it. What a caller puts there itself stands before that.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use trireme_routing::snapshot::Proxies;

use crate::peer::Peer;
use crate::places::canonical;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Entries that are looked at for one that is no proxy's: more proxies than there are in a row anywhere.
const MOST: usize = 64;

/// The caller of a request, as far as the gateway is to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address; without a port (0) where a header tells it.
    pub(crate) address: SocketAddr,
    /// A proxy that is trusted has sent the request.
    pub(crate) proxied: bool,
}

impl Client {
    /// One at the other end of the connection.
    pub(crate) const fn of(peer: &Peer) -> Self {
        Self {
            address: peer.address,
            proxied: false,
        }
    }

    /// Finds the caller of a request that came from `peer`.
    pub(crate) fn find(peer: &Peer, headers: &HeaderMap, proxies: &Proxies) -> Self {
        let found = match proxies {
            Proxies::None => return Self::of(peer),
            Proxies::Count(count) => behind(headers, usize::try_from(count.get()).unwrap_or(usize::MAX)),
            Proxies::Ranges(_) if !proxies.hold(peer.address.ip()) => return Self::of(peer),
            Proxies::Ranges(_) => beyond(headers, proxies),
        };
        Self {
            address: found.map_or(peer.address, |ip| SocketAddr::new(ip, 0)),
            proxied: true,
        }
    }
}

/// The entry that the first of `count` proxies wrote.
fn behind(headers: &HeaderMap, count: usize) -> Option<IpAddr> {
    address(entries(headers).nth(count - 1)?)
}

/// The last entry that is not one of `proxies`, or the first of them all. What is no address ends the search: nobody vouches
/// for what stands before it.
fn beyond(headers: &HeaderMap, proxies: &Proxies) -> Option<IpAddr> {
    let mut last = None;
    for entry in entries(headers).filter(|entry| !entry.is_empty()).take(MOST) {
        let Some(ip) = address(entry) else { break };
        last = Some(ip);
        if !proxies.hold(ip) {
            break;
        }
    }
    last
}

/// All entries, the last first. Several lines are one list (RFC 9110 section 5.3).
fn entries(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    lines
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    text.parse().ok().map(canonical)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use http::HeaderValue;

    use super::*;
    use crate::peer::Ends;

    fn peer(address: &str) -> Peer {
        Peer::new(
            Ends::of(SocketAddr::new(address.parse().unwrap(), 4711), None),
            None,
        )
    }

    fn found(from: &str, lines: &[&str], proxies: &Proxies) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        let client = Client::find(&peer(from), &headers, proxies);
        (client.address.ip().to_string(), client.proxied)
    }

    fn ranges(list: &[&str]) -> Proxies {
        Proxies::Ranges(list.iter().map(|range| range.parse().unwrap()).collect())
    }

    fn count(count: u32) -> Proxies {
        Proxies::Count(NonZeroU32::new(count).unwrap())
    }

    #[test]
    fn who_calls() {
        let here = ranges(&["10.0.0.0/8", "2001:db8:1::/48"]);
        // From, lines of the header, who is trusted, who calls, whether by a proxy.
        let cases: &[(&str, &[&str], &Proxies, &str, bool)] = &[
            (
                "203.0.113.9",
                &["198.51.100.1"],
                &Proxies::None,
                "203.0.113.9",
                false,
            ),
            ("::ffff:203.0.113.9", &[], &Proxies::None, "203.0.113.9", false),
            // Ranges.
            ("203.0.113.9", &["198.51.100.1"], &here, "203.0.113.9", false),
            ("10.0.0.1", &["198.51.100.1"], &here, "198.51.100.1", true),
            ("::ffff:10.0.0.1", &["198.51.100.1"], &here, "198.51.100.1", true),
            ("2001:db8:1::7", &["198.51.100.1"], &here, "198.51.100.1", true),
            ("10.0.0.1", &[], &here, "10.0.0.1", true),
            ("10.0.0.1", &[""], &here, "10.0.0.1", true),
            (
                "10.0.0.1",
                &["192.0.2.66, 198.51.100.1"],
                &here,
                "198.51.100.1",
                true,
            ),
            (
                "10.0.0.1",
                &["192.0.2.66, 198.51.100.1, 10.9.9.9"],
                &here,
                "198.51.100.1",
                true,
            ),
            (
                "10.0.0.1",
                &["192.0.2.66", "198.51.100.1", "10.9.9.9"],
                &here,
                "198.51.100.1",
                true,
            ),
            (
                "10.0.0.1",
                &["198.51.100.1", "10.9.9.9,"],
                &here,
                "198.51.100.1",
                true,
            ),
            (
                "10.0.0.1",
                &["10.0.0.66,  198.51.100.1 ,,\t10.9.9.9 , "],
                &here,
                "198.51.100.1",
                true,
            ),
            ("10.0.0.1", &["10.1.1.1, 10.2.2.2"], &here, "10.1.1.1", true),
            (
                "10.0.0.1",
                &["198.51.100.1, ::ffff:10.9.9.9"],
                &here,
                "198.51.100.1",
                true,
            ),
            (
                "10.0.0.1",
                &["10.9.9.9, ::ffff:198.51.100.1"],
                &here,
                "198.51.100.1",
                true,
            ),
            (
                "10.0.0.1",
                &["2001:db8::1, 2001:db8:1::2"],
                &here,
                "2001:db8::1",
                true,
            ),
            // What is no address.
            (
                "10.0.0.1",
                &["198.51.100.1, unknown, 10.9.9.9"],
                &here,
                "10.9.9.9",
                true,
            ),
            ("10.0.0.1", &["198.51.100.1, unknown"], &here, "10.0.0.1", true),
            ("10.0.0.1", &["198.51.100.1:80"], &here, "10.0.0.1", true),
            ("10.0.0.1", &["[2001:db8::1]"], &here, "10.0.0.1", true),
            ("10.0.0.1", &["010.0.0.1"], &here, "10.0.0.1", true),
            ("10.0.0.1", &["198.51.100.1%eth0"], &here, "10.0.0.1", true),
            ("10.0.0.1", &["for=198.51.100.1"], &here, "10.0.0.1", true),
            // So many, wherever they are.
            (
                "203.0.113.9",
                &["192.0.2.66, 198.51.100.1"],
                &count(1),
                "198.51.100.1",
                true,
            ),
            (
                "203.0.113.9",
                &["192.0.2.66", "198.51.100.1, 10.0.0.1"],
                &count(2),
                "198.51.100.1",
                true,
            ),
            ("203.0.113.9", &["198.51.100.1"], &count(2), "203.0.113.9", true),
            ("203.0.113.9", &[], &count(1), "203.0.113.9", true),
            (
                "203.0.113.9",
                &["198.51.100.1, unknown"],
                &count(1),
                "203.0.113.9",
                true,
            ),
            (
                "203.0.113.9",
                &["198.51.100.1, unknown"],
                &count(2),
                "198.51.100.1",
                true,
            ),
            ("203.0.113.9", &["198.51.100.1,"], &count(1), "203.0.113.9", true),
            (
                "203.0.113.9",
                &["198.51.100.1"],
                &count(u32::MAX),
                "203.0.113.9",
                true,
            ),
        ];
        for (from, lines, proxies, want, proxied) in cases {
            let got = found(from, lines, proxies);
            assert_eq!(
                got,
                ((*want).to_owned(), *proxied),
                "{lines:?} from {from} by {proxies:?}"
            );
        }
    }

    #[test]
    fn an_endless_header_is_not_read_to_its_end() {
        let line = format!("192.0.2.66, {}", ["10.1.1.1"; 4096].join(","));
        let (client, _) = found("10.0.0.1", &[&line], &ranges(&["10.0.0.0/8"]));
        assert_eq!(client, "10.1.1.1");
    }
}
