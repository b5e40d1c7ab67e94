//! Groups of resources, as the discovery cache keeps them: one for each type and label, and which of them a node gets.

use trireme_proto::envoy::config::core::v3::Node;
use trireme_proto::names::{feature, type_url};

/// Group of the enforcers' configuration; one for all labels.
pub const CONFIG: &str = "config";

/// Group of the policies of a label.
#[must_use]
pub fn apis(label: &str) -> String {
    format!("api/{label}")
}

/// Group of the clusters of a label.
#[must_use]
pub fn clusters(label: &str) -> String {
    format!("cluster/{label}")
}

/// Group of the route fragments of a label.
#[must_use]
pub fn fragments(label: &str) -> String {
    format!("fragment/{label}")
}

/// Group of the listeners of a label.
#[must_use]
pub fn listeners(label: &str) -> String {
    format!("listener/{label}")
}

/// Group of the assembled route configuration of a label.
#[must_use]
pub fn routes(label: &str) -> String {
    format!("route/{label}")
}

/// The label whose assembled route configuration is in `group`, `None` for other groups.
#[must_use]
pub fn label_of_routes(group: &str) -> Option<&str> {
    group.strip_prefix("route/")
}

/// The group that a node gets for a type, `None` for types that aren't served.
#[must_use]
pub fn of(node: &Node, wanted: &str) -> Option<String> {
    Some(match wanted {
        type_url::API => apis(&node.id),
        type_url::CLUSTER => clusters(&node.id),
        type_url::CONFIG => CONFIG.to_owned(),
        type_url::LISTENER => listeners(&node.id),
        type_url::ROUTE => {
            if node
                .client_features
                .iter()
                .any(|announced| announced == feature::ROUTE_FRAGMENTS)
            {
                fragments(&node.id)
            } else {
                routes(&node.id)
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_grouped_by_label_and_features() {
        let router = Node {
            id: "L".to_owned(),
            client_features: vec![feature::ROUTE_FRAGMENTS.to_owned()],
            ..Node::default()
        };
        let envoy = Node {
            id: "L".to_owned(),
            ..Node::default()
        };
        let cases = [
            (&router, type_url::ROUTE, Some("fragment/L")),
            (&envoy, type_url::ROUTE, Some("route/L")),
            (&envoy, type_url::CLUSTER, Some("cluster/L")),
            (&envoy, type_url::LISTENER, Some("listener/L")),
            (&router, type_url::API, Some("api/L")),
            (&router, type_url::CONFIG, Some("config")),
            (&router, type_url::ENDPOINT, None),
            (&router, "type.googleapis.com/unheard.of", None),
        ];
        for (node, wanted, want) in cases {
            assert_eq!(of(node, wanted).as_deref(), want, "{wanted}");
        }
    }
}
