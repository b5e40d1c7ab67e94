//! Domain types to Envoy's messages, in the shape that a stock Envoy 1.40 accepts (spec/adapter.md 5). The same value
//! gives the same bytes.

use trireme_proto::google::protobuf::Any;
use trireme_proto::names::type_url;

use crate::snapshot::{Cluster, Fragment, Listener};

mod cluster;
mod listener;
mod route;
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
