//! API projects and OpenAPI definitions to a typed model with diagnostics.
//!
//! A project is what `apictl` deploys: a zip archive or folder with `api.yaml`, a definition, and certificates and policies
//! beside them. A definition alone is one as well, under [`Defaults::Derive`]. [`read`] turns either into an [`ApiProject`] that
//! holds nothing invalid, or into every reason why not, each with file and JSON pointer. [`scaffold`] and [`archive`] go the
//! other way.
//!
//! ```text
//! archive │ folder │ definition     ProjectSource::load: names, sizes, expansion bounded
//!        ╰───────┬───────╯
//!             layout                which file is what
//!     ╭──────────┼────────────╮
//!  api_yaml  definition   attachments      document: YAML and JSON, bounded, without schemas
//!     │     paths, refs,      │
//!     │   cluster, security   │
//!     ╰──────────┼────────────╯
//!              read                 precedence of their statements: one ApiProject
//! ```
//!
//! It reads no schema, follows no reference out of a file, checks no policy (the adapter's translation does), knows nothing of
//! routes, and does no input or output but through a [`ProjectSource`]. Variables of the environment are asked from the caller.
//! Start with `read.rs`.

mod api_yaml;
mod archive;
mod asyncapi;
mod attach;
mod attachments;
mod chosen;
mod cluster;
mod definition;
mod derive;
mod diagnostic;
mod document;
mod endpoint;
mod folder;
mod graphql;
mod id;
mod layout;
mod mock;
mod model;
pub mod normal;
pub mod order;
mod paths;
mod read;
mod refs;
mod scaffold;
mod security;
mod source;
mod tree;
mod twins;
mod without_effect;

pub use crate::archive::{ArchiveError, archive};
pub use crate::diagnostic::{Diagnostic, Severity};
pub use crate::endpoint::{Balance, Endpoint, EndpointCluster, InvalidEndpoint, Scheme};
pub use crate::id::digest;
pub use crate::model::{
    ApiKind, ApiProject, CircuitBreakers, ClientCertificate, Cors, CorsPolicy, Deployment,
    EndpointCertificates, EndpointConfig, EndpointSecurity, Extensions, GraphQl, GraphQlComplexity, Identity,
    Implementation, MockContent, MockResponse, MutualSsl, Operation, OperationPolicies, PolicyFile,
    PolicyReference, Requirement, Resource, Retry, SecurityScheme, UnattachedPolicy,
};
pub use crate::read::read;
pub use crate::scaffold::{ScaffoldOptions, scaffold, scaffold_with};
pub use crate::source::{Archive, Definition, Files, Folder, Limits, Memory, ProjectSource};

/// Settings of one read.
pub struct Settings<'a> {
    /// Bounds.
    pub limits: Limits,
    /// What to do about facts that only `api.yaml` may state.
    pub defaults: Defaults,
    /// Value of a process environment variable, for the per-API endpoint overrides (`api_<sha1>_prod_endpoint_0`, …).
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// `consul(…)` expressions are allowed as endpoints.
    pub consul: bool,
}

impl Settings<'_> {
    /// Settings with default bounds, no environment and no Consul.
    #[must_use]
    pub fn new(defaults: Defaults) -> Self {
        Self {
            limits: Limits::default(),
            defaults,
            variable: &|_| None,
            consul: false,
        }
    }
}

impl std::fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("defaults", &self.defaults)
            .field("consul", &self.consul)
            .finish_non_exhaustive()
    }
}

/// What to do about facts that only `api.yaml` may state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defaults {
    /// Take them from the definition, or make sensible ones: a bare OpenAPI file is a complete project.
    Derive,
    /// Refuse the project, as the original does.
    Require,
}

/// A project that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The API.
    pub project: ApiProject,
    /// What in it has no effect, all with [`Severity::Warning`].
    pub warnings: Vec<Diagnostic>,
}

#[cfg(test)]
mod tests;
