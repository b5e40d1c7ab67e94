//! Every name that the adapter gives to something another process sees.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use trireme_proto::envoy::config::core::v3::Node;
use trireme_proto::names::{feature, type_url};

/// Group of the enforcers' configuration; one for all labels.
pub const CONFIG_GROUP: &str = "config";
/// Label that is there even when no API is.
pub const DEFAULT_LABEL: &str = "Default";
/// Virtual host of the default label when none is mapped.
pub const DEFAULT_VHOST: &str = "localhost";

/// Group of the policies of a label.
#[must_use]
pub fn api_group(label: &str) -> String {
    format!("api/{label}")
}

/// Group of the clusters of a label.
#[must_use]
pub fn cluster_group(label: &str) -> String {
    format!("cluster/{label}")
}

/// Group of the route fragments of a label.
#[must_use]
pub fn fragment_group(label: &str) -> String {
    format!("fragment/{label}")
}

/// Group of the listeners of a label.
#[must_use]
pub fn listener_group(label: &str) -> String {
    format!("listener/{label}")
}

/// Group of the assembled route configuration of a label.
#[must_use]
pub fn route_group(label: &str) -> String {
    format!("route/{label}")
}

/// The label whose assembled route configuration is in `group`, `None` for other groups.
#[must_use]
pub fn label_of_route_group(group: &str) -> Option<&str> {
    group.strip_prefix("route/")
}

/// The group that a node gets for a type, `None` for types that aren't served.
#[must_use]
pub fn group(node: &Node, wanted: &str) -> Option<String> {
    Some(match wanted {
        type_url::API => api_group(&node.id),
        type_url::CLUSTER => cluster_group(&node.id),
        type_url::CONFIG => CONFIG_GROUP.to_owned(),
        type_url::LISTENER => listener_group(&node.id),
        type_url::ROUTE => {
            if node
                .client_features
                .iter()
                .any(|announced| announced == feature::ROUTE_FRAGMENTS)
            {
                fragment_group(&node.id)
            } else {
                route_group(&node.id)
            }
        }
        _ => return None,
    })
}

/// Name of the policy and of the route fragment of one API on one virtual host.
#[must_use]
pub fn resource(vhost: &str, base_path: &str, version: &str) -> String {
    format!("{vhost}{base_path}{version}")
}

/// Common end of the names of an API's clusters; two APIs that share it would share their clusters.
#[must_use]
pub fn cluster_stem(vhost: &str, title: &str, version: &str) -> String {
    let title: String = title.chars().filter(|c| !c.is_whitespace()).collect();
    format!("{vhost}_{title}{version}")
}

/// What a cluster is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role<'a> {
    /// A group of `x-wso2-endpoints`.
    Named(&'a str),
    /// Production endpoints.
    Production,
    /// Sandbox endpoints.
    Sandbox,
}

/// What a cluster's name has in `%XX`, since the enforcer says it in a header: everything but visible ASCII, and `%` itself so
/// that different names stay different.
const UNSPOKEN: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Name of a cluster: of the API as a whole, or of the resource with that id.
#[must_use]
pub fn cluster(organization: &str, role: Role<'_>, stem: &str, resource: Option<&str>) -> String {
    let mut name = match role {
        Role::Named(name) => {
            let name: String = name.chars().filter(|c| !c.is_whitespace()).collect();
            format!("{organization}_{name}_xwso2cluster_{stem}")
        }
        Role::Production => format!("{organization}_clusterProd_{stem}"),
        Role::Sandbox => format!("{organization}_clusterSand_{stem}"),
    };
    if let Some(id) = resource {
        name.push('_');
        name.push_str(id);
        name.push('0');
    }
    utf8_percent_encode(&name, UNSPOKEN).to_string()
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
        for (node, wanted, group_name) in cases {
            assert_eq!(group(node, wanted).as_deref(), group_name, "{wanted}");
        }
    }

    #[test]
    fn cluster_names_are_those_of_the_original() {
        let stem = cluster_stem("localhost", "Pet Store", "1.0.0");
        assert_eq!(
            cluster("carbon.super", Role::Production, &stem, None),
            "carbon.super_clusterProd_localhost_PetStore1.0.0"
        );
        assert_eq!(
            cluster("carbon.super", Role::Sandbox, &stem, Some("7b")),
            "carbon.super_clusterSand_localhost_PetStore1.0.0_7b0"
        );
        assert_eq!(
            cluster("carbon.super", Role::Named("my ep"), &stem, None),
            "carbon.super_myep_xwso2cluster_localhost_PetStore1.0.0"
        );
    }

    #[test]
    fn cluster_names_can_be_said_in_a_header() {
        let cases = [
            ("Größe", "o_clusterProd_h_Gr%C3%B6%C3%9Fe1"),
            ("Gr%C3%B6%C3%9Fe", "o_clusterProd_h_Gr%25C3%25B6%25C3%259Fe1"),
            ("a\u{1}\u{7f}\u{a0}b\nc", "o_clusterProd_h_a%01%7Fbc1"),
            ("a,b;\"c\"", "o_clusterProd_h_a,b;\"c\"1"),
        ];
        for (title, want) in cases {
            let stem = cluster_stem("h", title, "1");
            let name = cluster("o", Role::Production, &stem, None);
            assert_eq!(name, want, "{title:?}");
            assert!(http::HeaderValue::from_str(&name).is_ok_and(|value| value.to_str().is_ok()));
        }
    }
}
