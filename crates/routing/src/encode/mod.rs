//! Domain types to Envoy's messages, in the shape that a stock Envoy 1.40 accepts (spec/adapter.md 5). The same value
//! gives the same bytes.

use std::time::Duration;

use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::google::protobuf::{self, Any, BoolValue, UInt32Value};
use trireme_proto::names::type_url;

use crate::snapshot::{Cluster, Fragment, Listener};

pub(crate) mod cluster;
pub(crate) mod listener;
pub(crate) mod route;
mod tls;

/// A `Listener` resource with its HTTP connection manager. Its resource name is [`Listener::name`].
#[must_use]
pub fn listener(listener: &Listener) -> Any {
    Any {
        type_url: type_url::LISTENER.to_owned(),
        value: listener::message(listener),
    }
}

/// A `RouteConfiguration` resource that holds one fragment, for nodes that take fragments. Its resource name is
/// [`Fragment::name`].
#[must_use]
pub fn fragment(fragment: &Fragment) -> Any {
    Any {
        type_url: type_url::ROUTE.to_owned(),
        value: route::fragment(fragment),
    }
}

/// The `RouteConfiguration` named `default` that holds the routes of all `fragments`, in the order in which a
/// [`crate::RouteTable`] tries them, for nodes such as Envoy. It carries nothing of Trireme's own.
#[must_use]
pub fn assembled<'a>(fragments: impl IntoIterator<Item = &'a Fragment>) -> Any {
    Any {
        type_url: type_url::ROUTE.to_owned(),
        value: route::assembled(fragments.into_iter()),
    }
}

/// A `Cluster` resource with its load assignment inside. Its resource name is [`Cluster::name`].
#[must_use]
pub fn cluster(cluster: &Cluster) -> Any {
    Any {
        type_url: type_url::CLUSTER.to_owned(),
        value: cluster::message(cluster),
    }
}

fn duration(duration: Duration) -> Option<protobuf::Duration> {
    // Protobuf's greatest duration is 10,000 years; a longer one is as good as that.
    let seconds = i64::try_from(duration.as_secs())
        .unwrap_or(i64::MAX)
        .min(315_576_000_000);
    Some(protobuf::Duration {
        seconds,
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    })
}

pub(crate) fn boolean(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub(crate) fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(crate) fn inline(text: &str) -> Option<core::DataSource> {
    source(core::data_source::Specifier::InlineString(text.to_owned()))
}

fn source(specifier: core::data_source::Specifier) -> Option<core::DataSource> {
    Some(core::DataSource {
        specifier: Some(specifier),
        ..Default::default()
    })
}

fn address(host: &str, port: u16) -> Option<core::Address> {
    let socket = core::SocketAddress {
        address: host.to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    Some(core::Address {
        address: Some(core::address::Address::SocketAddress(socket)),
    })
}

fn transport_socket(context: Any) -> Option<core::TransportSocket> {
    Some(core::TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(context)),
    })
}
