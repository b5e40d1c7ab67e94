//! API projects and OpenAPI definitions to a typed model with diagnostics.
//!
//! A project is what `apictl` deploys: a zip archive or folder with `api.yaml`, a definition, and certificates and policies
//! beside them. A definition alone is one as well, under [`Defaults::Derive`]. [`read`] turns either into an [`ApiProject`] that
//! holds nothing invalid, or into every reason why not, each with file and JSON pointer. [`scaffold`] and [`archive`] go the
//! other way.
//!
//! ```text
//! settings                               bounds, defaults, the environment
//!    ▲
//! document ◀─ model                      YAML and JSON: bounded, without schemas, scalars as written, every mismatch a finding
//!    ▲           ▲                       with its pointer; what comes out
//! source ◀──── api ◀──── definition      archive, folder; api.yaml and what lies beside it; OpenAPI, AsyncAPI, GraphQL
//!    ▲           ▲           ▲
//!    ╰───────────┴── read ───╯           precedence of their statements: one ApiProject
//! ```
//!
//! Each folder knows those that its arrow leads to and the ones behind them, and no other.
//!
//! It reads no schema, follows no reference out of a file, checks no policy (trireme-translate does), knows nothing of
//! routes, and does no input or output but through a [`ProjectSource`]. Variables of the environment are asked from the caller.
//! Start with `read/mod.rs`.

mod api;
mod definition;
mod document;
mod model;
mod read;
mod scaffold;
mod settings;
mod source;

pub use crate::definition::{normal, order};
pub use crate::document::diagnostic::{Diagnostic, Severity, pointer_token};
pub use crate::document::value::{Object, Scalar, Value};
pub use crate::model::ambiguous::AmbiguousPath;
pub use crate::model::endpoint::{Balance, Endpoint, EndpointCluster, InvalidEndpoint, Scheme};
pub use crate::model::endpoint_config::{CircuitBreakers, EndpointConfig, Retry};
pub use crate::model::id::digest;
pub use crate::model::{
    ApiKind, ApiProject, ClientCertificate, Cors, CorsPolicy, Deployment, EndpointCertificates,
    EndpointSecurity, Extensions, GraphQl, GraphQlComplexity, Identity, Implementation, KeyType, MockContent,
    MockResponse, MutualSsl, Operation, OperationPolicies, PolicyFile, PolicyReference, Requirement,
    Resource, SecurityScheme, UnattachedPolicy,
};
pub use crate::read::{Reading, named, read};
pub use crate::scaffold::{ScaffoldOptions, scaffold, scaffold_with};
pub use crate::settings::{Defaults, Limits, Settings};
pub use crate::source::archive::{ArchiveError, archive, archive_alone};
pub use crate::source::{Archive, Definition, Files, Folder, Memory, ProjectSource};

#[cfg(test)]
mod tests;
