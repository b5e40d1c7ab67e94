//! What a definition is written in.

use crate::document::diagnostic::{Findings, Pointer};
use crate::document::value::Value;

/// Version of the specification a definition is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    AsyncApi2,
    OpenApi2,
    OpenApi3,
}

impl Format {
    /// Told by the top-level key; the values of `swagger` and `openapi` are not looked at.
    pub(crate) fn of(file: &str, root: &Value, findings: &mut Findings) -> Option<Self> {
        if root.get("swagger").is_some() {
            if root.get("openapi").is_some() {
                let message = "ignored: swagger is given as well, and the definition is read as that";
                findings.warning(file, &Pointer::Root.key("openapi"), message);
            }
            return Some(Self::OpenApi2);
        }
        if root.get("openapi").is_some() {
            return Some(Self::OpenApi3);
        }
        match root.get("asyncapi").and_then(Value::text) {
            Some(version) if version.starts_with('2') => return Some(Self::AsyncApi2),
            Some(version) => {
                findings.error(
                    file,
                    &Pointer::Root.key("asyncapi"),
                    format!("AsyncAPI {version} is not supported, only 2.x is"),
                );
            }
            None => findings.error(
                file,
                &Pointer::Root,
                "not an OpenAPI definition: neither openapi nor swagger is given",
            ),
        }
        None
    }
}
