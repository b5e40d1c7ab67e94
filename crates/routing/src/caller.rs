//! Who the caller is and how much it may take, as far as a listener is told: types, and both directions of their wire form.
//!
//! | Setting | Wire |
//! | --- | --- |
//! | [`Proxies`] | `xff_num_trusted_hops` or `original_ip_detection_extensions` of the connection manager, as Envoy reads them |
//! | PROXY headers | the listener filter `envoy.filters.listener.proxy_protocol` |
//! | [`Caps`] | the listener filter `trireme.callers`, a message of ours; a stock Envoy refuses it |

use std::mem::take;
use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;
use trireme_proto::Wire as _;
use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::config::listener::v3 as proto;
use trireme_proto::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use trireme_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use trireme_proto::envoy::extensions::http::original_ip_detection::xff::v3::{XffConfig, XffTrustedCidrs};
use trireme_proto::google::protobuf::Any;
use trireme_proto::names::{listener_filter, type_url};
use trireme_proto::trireme::router::v1::Callers;

use crate::Invalid;
use crate::wire::names::{PROXY_PROTOCOL, XFF_DETECTION};
use crate::wire::own;
use crate::wire::read::{Path, fixed, nothing_else, only, unpack};
use crate::wire::write::{number, pack};

/// The proxies in front of the gateway, whose word in `x-forwarded-for` counts. They bring the caller's address in its last
/// entries, each the address that its writer saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxies {
    /// As many as that, wherever they are: the entry that the first of them wrote names the caller.
    Count(NonZeroU32),
    /// None: the caller is at the other end of the connection, whatever the header says.
    #[default]
    None,
    /// Those in these ranges: the last entry that is none of them names the caller.
    Ranges(Vec<IpNet>),
}

/// What one address (one /64 network of IPv6) may take of a listener; 0 is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Open connections, of all listeners.
    pub connections: u32,
    /// Requests under way, of all listeners.
    pub requests: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            // A load balancer in front of us is one address.
            connections: 10_000,
            requests: 0,
        }
    }
}

/// Hops of the extension that no header has: nobody is believed. Without any, and with `use_remote_address` off, Envoy would take
/// the caller's own word.
const NOBODY: u32 = u32::MAX;

impl Proxies {
    /// Whether `address`, which is no IPv4 address in the guise of IPv6, is that of a proxy.
    #[must_use]
    pub fn hold(&self, address: IpAddr) -> bool {
        match self {
            Self::Ranges(ranges) => ranges.iter().any(|range| range.contains(&address)),
            Self::Count(_) | Self::None => false,
        }
    }

    /// Sets the fields of the connection manager, which holds `use_remote_address` already.
    pub(crate) fn encode(&self, manager: &mut HttpConnectionManager) {
        let remote = manager
            .use_remote_address
            .as_ref()
            .is_some_and(|remote| remote.value);
        let config = match (self, remote) {
            (Self::None, true) => return,
            (Self::None, false) => XffConfig {
                xff_num_trusted_hops: NOBODY,
                ..XffConfig::default()
            },
            // Envoy begins with the connection, or else with the last entry.
            (Self::Count(count), true) => {
                manager.xff_num_trusted_hops = count.get();
                return;
            }
            (Self::Count(count), false) => XffConfig {
                xff_num_trusted_hops: count.get() - 1,
                ..XffConfig::default()
            },
            // A stock Envoy has no such thing beside `use_remote_address`, and says so.
            (Self::Ranges(list), _) => ranges(list),
        };
        manager.original_ip_detection_extensions = vec![core::TypedExtensionConfig {
            name: XFF_DETECTION.to_owned(),
            typed_config: Some(pack(&config)),
        }];
    }

    /// Takes the fields out of the connection manager; `remote` is its `use_remote_address`. What is not told is not believed.
    pub(crate) fn decode(
        manager: &mut HttpConnectionManager,
        remote: bool,
        path: &Path<'_>,
    ) -> Result<Self, Invalid> {
        let hops = take(&mut manager.xff_num_trusted_hops);
        let hops_path = path.field("xff_num_trusted_hops");
        let extensions = take(&mut manager.original_ip_detection_extensions);
        if extensions.is_empty() {
            return match (NonZeroU32::new(hops), remote) {
                (None, _) => Ok(Self::None),
                (Some(count), true) => Ok(Self::Count(count)),
                (Some(hops), false) => one_more(hops.get(), &hops_path),
            };
        }
        fixed(&hops, &0, &hops_path)?;
        let path = path.field("original_ip_detection_extensions");
        let extension = only(extensions, &path)?;
        let path = path.index(0);
        fixed(&extension.name.as_str(), &XFF_DETECTION, &path.field("name"))?;
        let path = path.field("typed_config");
        let mut config: XffConfig = unpack(extension.typed_config.as_ref(), &path)?;
        let skips = config.skip_xff_append.take().is_none_or(|skip| skip.value);
        fixed(&skips, &true, &path.field("skip_xff_append"))?;
        let hops = take(&mut config.xff_num_trusted_hops);
        let Some(XffTrustedCidrs { cidrs }) = config.xff_trusted_cidrs.take() else {
            return match hops {
                NOBODY => Ok(Self::None),
                hops => one_more(hops, &path.field("xff_num_trusted_hops")),
            };
        };
        fixed(&hops, &0, &path.field("xff_num_trusted_hops"))?;
        let path = path.field("xff_trusted_cidrs");
        let path = path.field("cidrs");
        let ranges: Vec<IpNet> = (cidrs.into_iter().enumerate())
            .map(|(index, cidr)| range(cidr, &path.index(index)))
            .collect::<Result<_, _>>()?;
        if ranges.is_empty() {
            return Err(path.invalid("must not be empty"));
        }
        Ok(Self::Ranges(ranges))
    }
}

fn one_more(hops: u32, path: &Path<'_>) -> Result<Proxies, Invalid> {
    let count = hops.checked_add(1).and_then(NonZeroU32::new);
    count.map(Proxies::Count).ok_or_else(|| path.invalid("too many"))
}

fn ranges(list: &[IpNet]) -> XffConfig {
    let cidr = |range: &IpNet| core::CidrRange {
        address_prefix: range.network().to_string(),
        prefix_len: number(range.prefix_len().into()),
    };
    XffConfig {
        xff_trusted_cidrs: Some(XffTrustedCidrs {
            cidrs: list.iter().map(cidr).collect(),
        }),
        ..XffConfig::default()
    }
}

fn range(cidr: core::CidrRange, path: &Path<'_>) -> Result<IpNet, Invalid> {
    let core::CidrRange {
        address_prefix,
        prefix_len,
    } = cidr;
    let address: IpAddr = address_prefix
        .parse()
        .map_err(|_| path.field("address_prefix").invalid("not an IP address"))?;
    let length = prefix_len.and_then(|length| u8::try_from(length.value).ok());
    let range = length.and_then(|length| IpNet::new(address, length).ok());
    range
        .map(|range| range.trunc())
        .ok_or_else(|| path.field("prefix_len").invalid("not a length of such a prefix"))
}

/// The listener filters that tell of PROXY headers and caps.
pub(crate) fn listener_filters(proxy_protocol: bool, caps: Caps) -> Vec<proto::ListenerFilter> {
    let filter = |name: &str, config| proto::ListenerFilter {
        name: name.to_owned(),
        config_type: Some(proto::listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    };
    let mut filters = Vec::new();
    if proxy_protocol {
        filters.push(filter(PROXY_PROTOCOL, pack(&ProxyProtocol::default())));
    }
    if caps != Caps::default() {
        let Caps {
            connections,
            requests,
        } = caps;
        let message = Callers {
            connections,
            requests,
        };
        let config = Any {
            type_url: type_url::CALLERS.to_owned(),
            value: message.to_wire(),
        };
        filters.push(filter(listener_filter::CALLERS, config));
    }
    filters
}

/// Reads them: whether connections begin with a PROXY header, and the caps.
pub(crate) fn read_listener_filters(
    filters: Vec<proto::ListenerFilter>,
    path: &Path<'_>,
) -> Result<(bool, Caps), Invalid> {
    let (mut proxy_protocol, mut caps) = (false, None);
    for (index, mut filter) in filters.into_iter().enumerate() {
        let path = path.index(index);
        let (name, named) = (take(&mut filter.name), path.field("name"));
        let Some(proto::listener_filter::ConfigType::TypedConfig(any)) = filter.config_type.take() else {
            return Err(path.field("typed_config").invalid("missing"));
        };
        nothing_else(&filter, &path)?;
        let config = path.field("typed_config");
        match name.as_str() {
            PROXY_PROTOCOL if !proxy_protocol => {
                nothing_else(&unpack::<ProxyProtocol>(Some(&any), &config)?, &config)?;
                proxy_protocol = true;
            }
            listener_filter::CALLERS if caps.is_none() => {
                let Callers {
                    connections,
                    requests,
                } = own::read(any, type_url::CALLERS, &config)?;
                caps = Some(Caps {
                    connections,
                    requests,
                });
            }
            PROXY_PROTOCOL | listener_filter::CALLERS => return Err(named.invalid("is there twice")),
            _ => return Err(named.invalid("not supported")),
        }
    }
    Ok((proxy_protocol, caps.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use trireme_proto::google::protobuf::BoolValue;

    use super::*;

    fn through(proxies: &Proxies, remote: bool) -> (Proxies, HttpConnectionManager) {
        let mut manager = HttpConnectionManager {
            use_remote_address: Some(BoolValue { value: remote }),
            ..Default::default()
        };
        proxies.encode(&mut manager);
        let mut read = manager.clone();
        let got = Proxies::decode(&mut read, remote, &Path::ROOT).expect("encoded");
        (got, manager)
    }

    #[test]
    fn proxies_travel_as_envoy_counts_them() {
        let count = |count| Proxies::Count(NonZeroU32::new(count).unwrap());
        let here = Proxies::Ranges(vec![
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ]);
        // Hops of the manager itself, and whether an extension is there.
        for (proxies, remote, hops, extension) in [
            (Proxies::None, true, 0, false),
            (Proxies::None, false, 0, true),
            (count(1), true, 1, false),
            (count(1), false, 0, true),
            (count(u32::MAX), true, u32::MAX, false),
            (count(u32::MAX), false, 0, true),
            (here.clone(), true, 0, true),
            (here, false, 0, true),
        ] {
            let (got, manager) = through(&proxies, remote);
            assert_eq!(got, proxies, "{remote}");
            assert_eq!(manager.xff_num_trusted_hops, hops, "{proxies:?} {remote}");
            assert_eq!(
                !manager.original_ip_detection_extensions.is_empty(),
                extension,
                "{proxies:?} {remote}"
            );
        }
    }

    #[test]
    fn what_is_not_told_is_not_believed() {
        let mut silent = HttpConnectionManager::default();
        let got = Proxies::decode(&mut silent, false, &Path::ROOT);
        assert_eq!(got.unwrap(), Proxies::None);
        let mut hops = HttpConnectionManager {
            xff_num_trusted_hops: 1,
            ..Default::default()
        };
        let got = Proxies::decode(&mut hops, false, &Path::ROOT);
        assert_eq!(
            got.unwrap(),
            Proxies::Count(NonZeroU32::new(2).unwrap()),
            "Envoy's way to count"
        );
    }

    #[test]
    fn refuses() {
        let extension = |config: XffConfig| core::TypedExtensionConfig {
            name: XFF_DETECTION.to_owned(),
            typed_config: Some(pack(&config)),
        };
        let cidrs = |prefix: &str, length: Option<u32>| XffConfig {
            xff_trusted_cidrs: Some(XffTrustedCidrs {
                cidrs: vec![core::CidrRange {
                    address_prefix: prefix.to_owned(),
                    prefix_len: length.and_then(number),
                }],
            }),
            ..Default::default()
        };
        let here = "original_ip_detection_extensions[0].typed_config";
        for (config, want) in [
            (
                cidrs("10.0.0.x", Some(8)),
                ".xff_trusted_cidrs.cidrs[0].address_prefix: not an IP address",
            ),
            (
                cidrs("10.0.0.0", None),
                ".xff_trusted_cidrs.cidrs[0].prefix_len: not a length of such a prefix",
            ),
            (
                cidrs("10.0.0.0", Some(33)),
                ".xff_trusted_cidrs.cidrs[0].prefix_len: not a length of such a prefix",
            ),
            (
                XffConfig {
                    xff_num_trusted_hops: 1,
                    ..cidrs("10.0.0.0", Some(8))
                },
                ".xff_num_trusted_hops: must be 0",
            ),
            (
                XffConfig {
                    skip_xff_append: Some(BoolValue { value: false }),
                    ..Default::default()
                },
                ".skip_xff_append: must be true",
            ),
            (
                XffConfig {
                    xff_trusted_cidrs: Some(XffTrustedCidrs::default()),
                    ..Default::default()
                },
                ".xff_trusted_cidrs.cidrs: must not be empty",
            ),
        ] {
            let mut manager = HttpConnectionManager {
                original_ip_detection_extensions: vec![extension(config)],
                ..Default::default()
            };
            let refused = Proxies::decode(&mut manager, false, &Path::ROOT).unwrap_err();
            assert_eq!(refused.to_string(), format!("{here}{want}"));
        }
        let mut many = HttpConnectionManager {
            xff_num_trusted_hops: u32::MAX,
            ..Default::default()
        };
        let refused = Proxies::decode(&mut many, false, &Path::ROOT).unwrap_err();
        assert_eq!(refused.to_string(), "xff_num_trusted_hops: too many");
        let mut mixed = HttpConnectionManager {
            xff_num_trusted_hops: 1,
            original_ip_detection_extensions: vec![extension(XffConfig::default())],
            ..Default::default()
        };
        let refused = Proxies::decode(&mut mixed, true, &Path::ROOT).unwrap_err();
        assert_eq!(refused.to_string(), "xff_num_trusted_hops: must be 0");
    }

    #[test]
    fn listener_filters_travel() {
        let some = Caps {
            connections: 0,
            requests: 7,
        };
        for proxy_protocol in [false, true] {
            for caps in [Caps::default(), some] {
                let filters = listener_filters(proxy_protocol, caps);
                let read = read_listener_filters(filters.clone(), &Path::ROOT).unwrap();
                assert_eq!(read, (proxy_protocol, caps));
                assert!(filters.len() <= 2);
            }
        }
        let twice = [listener_filters(true, some), listener_filters(true, some)].concat();
        let refused = |filters| {
            read_listener_filters(filters, &Path::ROOT)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(refused(twice), "[2].name: is there twice");
        let mut unknown = listener_filters(true, Caps::default());
        unknown[0].name = "envoy.filters.listener.tls_inspector".to_owned();
        assert_eq!(refused(unknown), "[0].name: not supported");
        let mut lenient = listener_filters(true, Caps::default());
        let config = ProxyProtocol {
            allow_requests_without_proxy_protocol: true,
            ..Default::default()
        };
        lenient[0].config_type = Some(proto::listener_filter::ConfigType::TypedConfig(pack(&config)));
        assert_eq!(
            refused(lenient),
            "[0].typed_config.allow_requests_without_proxy_protocol: not supported"
        );
    }
}
