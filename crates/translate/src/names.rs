//! Every name that is given to something another process sees.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Label that is there even when no API is.
pub const DEFAULT_LABEL: &str = "Default";
/// Virtual host of the default label when none is mapped.
pub const DEFAULT_VHOST: &str = "localhost";

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
