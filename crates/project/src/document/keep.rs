//! What is kept of a document.

/// Stands where a skipped subtree was, so that a `$ref` into it still has a target. A file that spells it out with escapes
/// gains nothing: it can only shorten the way to an object that then isn't one.
pub(crate) const SKIPPED: &str = "\u{0}skipped";

/// What is kept of a part of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Everything below.
    All,
    /// `components` of OpenAPI 3.
    Components,
    /// The root of an OpenAPI definition.
    Definition,
    /// Nothing at all.
    Drop,
    /// A map whose values are of the given kind.
    MapOf(&'static Self),
    /// An operation.
    Operation,
    /// A path item.
    PathItem,
    /// Only `$ref`.
    Reference,
    /// Nothing: the mark alone.
    Skip,
}

impl Keep {
    pub(super) fn of(self, key: &str) -> Self {
        match self {
            Self::All => Self::All,
            Self::Components => match key {
                "callbacks" | "examples" | "headers" | "links" | "requestBodies" | "schemas" => Self::Skip,
                "parameters" | "responses" => Self::MapOf(&Self::Reference),
                "pathItems" => Self::MapOf(&Self::PathItem),
                _ => Self::All,
            },
            Self::Definition => match key {
                "components" => Self::Components,
                "definitions" | "externalDocs" | "tags" | "webhooks" => Self::Skip,
                "parameters" | "responses" => Self::MapOf(&Self::Reference),
                "paths" => Self::MapOf(&Self::PathItem),
                _ => Self::All,
            },
            Self::MapOf(kind) => *kind,
            Self::Operation => match key {
                "callbacks" | "description" | "externalDocs" | "summary" | "tags" => Self::Drop,
                // That there is one is told.
                "requestBody" => Self::Skip,
                "parameters" | "responses" => Self::MapOf(&Self::Reference),
                _ => Self::All,
            },
            Self::PathItem => match key {
                "connect" | "delete" | "get" | "head" | "options" | "patch" | "post" | "put" | "query"
                | "trace" => Self::Operation,
                "additionalOperations" => Self::MapOf(&Self::Operation),
                "description" | "summary" => Self::Drop,
                "parameters" => Self::MapOf(&Self::Reference),
                _ => Self::All,
            },
            Self::Reference => {
                if key == "$ref" {
                    Self::All
                } else {
                    Self::Drop
                }
            }
            Self::Drop | Self::Skip => self,
        }
    }

    /// Entries of a list are of the kind the entries of a map would be.
    pub(super) fn of_item(self) -> Self {
        match self {
            Self::MapOf(kind) => *kind,
            other => other,
        }
    }
}
