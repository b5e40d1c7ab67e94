//! Versions of the OpenAPI Specification, and what they make of keys.

use crate::node::Node;

/// Version of the OpenAPI Specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 2.0.
    V2,
    /// 3.0.
    V3_0,
    /// 3.1, and what is not known yet.
    V3_1,
    /// 3.2.
    V3_2,
}

impl Version {
    /// The version that a document names.
    pub(crate) fn of(root: &Node) -> Option<Self> {
        if root.get_any_case("swagger").is_some() {
            return Some(Self::V2);
        }
        Some(match root.get("openapi")?.text()? {
            version if version.starts_with("3.0") => Self::V3_0,
            version if version.starts_with("3.2") => Self::V3_2,
            _ => Self::V3_1,
        })
    }

    /// The value of a key; the keys of OpenAPI 2.0 may have any case (faults.md B7).
    pub(crate) fn field<'a>(self, node: &'a Node, key: &str) -> Option<&'a Node> {
        if self == Self::V2 {
            node.get_any_case(key)
        } else {
            node.get(key)
        }
    }
}
