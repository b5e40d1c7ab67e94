//! What a project says, as plain values: made by [`crate::read`], used by trireme-translate.

pub(crate) mod ambiguous;
pub(crate) mod endpoint;
pub(crate) mod endpoint_config;
pub(crate) mod id;

use std::collections::{BTreeMap, BTreeSet};

use crate::document::value::{Object, Value};
use crate::model::ambiguous::AmbiguousPath;
use crate::model::endpoint::{Endpoint, EndpointCluster};

/// One API as its project describes it, valid by construction: every base path, endpoint and path here has passed the
/// rules of the project format, and every `$ref` is resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiProject {
    /// Who the API is.
    pub identity: Identity,
    /// What protocol it speaks.
    pub kind: ApiKind,
    /// Free text from the definition or `api.yaml`; may be empty.
    pub description: String,
    /// Base path as written, with the version in it, such as `/pets/1.0.0`; starts with `/`, may end with one.
    pub base_path: String,
    /// `context` of `api.yaml` (without the version), when there is one.
    pub context: Option<String>,
    /// The version may also be left out of the path.
    pub default_version: bool,
    /// Where to deploy, in the order of the file. Without a usable file: environment `Default` on its default virtual host. An empty
    /// list in the file stays empty: nothing is deployed.
    pub deployments: Vec<Deployment>,
    /// API-level production endpoints.
    pub production: Option<EndpointCluster>,
    /// API-level sandbox endpoints.
    pub sandbox: Option<EndpointCluster>,
    /// Backend credentials for the API-level production endpoints.
    pub production_security: Option<EndpointSecurity>,
    /// Backend credentials for the API-level sandbox endpoints.
    pub sandbox_security: Option<EndpointSecurity>,
    /// `x-wso2-endpoints` by name.
    pub named_endpoints: BTreeMap<String, EndpointCluster>,
    /// Resources in the order routes are tried: see [`crate::definition::order`].
    pub resources: Vec<Resource>,
    /// Declared security schemes, after `securityScheme` of `api.yaml` has been applied.
    pub security_schemes: Vec<SecurityScheme>,
    /// API-level alternatives, tried in order; empty when the definition names none.
    pub security: Vec<Requirement>,
    /// Security is off for the whole API.
    pub disable_security: bool,
    /// Throttling tier of the API.
    pub tier: Option<String>,
    /// Header that carries the token, when it isn't the configured default.
    pub auth_header: Option<String>,
    /// Whether client certificates are asked for.
    pub mutual_ssl: MutualSsl,
    /// OAuth2, basic or API key credentials are needed besides the client certificate.
    pub application_security: bool,
    /// Client certificates that may call the API.
    pub client_certificates: Vec<ClientCertificate>,
    /// CA material for the upstream side.
    pub endpoint_certificates: EndpointCertificates,
    /// CORS of the API.
    pub cors: Cors,
    /// `x-wso2-http2-backend-enabled`: API-level clusters speak HTTP/2.
    pub http2_backend: bool,
    /// `x-wso2-pass-request-payload-to-enforcer`; the configuration's global switch rules over it.
    pub pass_request_payload: bool,
    /// `x-wso2-allow-ambiguous-path`: what it takes, in place of what the configuration says for all APIs; absent when it says
    /// nothing.
    pub ambiguous_paths: Option<BTreeSet<AmbiguousPath>>,
    /// Upper-cased life-cycle state such as `PUBLISHED`; may be empty.
    pub lifecycle: String,
    /// How calls are answered.
    pub implementation: Implementation,
    /// GraphQL schema text and complexities, for [`ApiKind::GraphQl`].
    pub graphql: Option<GraphQl>,
    /// Files of `Policies/` by base name without extension (`<name>_<version>`).
    pub policies: BTreeMap<String, PolicyFile>,
    /// Policies attached to the API as a whole, for each of its operations: `apiPolicies` of `api.yaml` (API Manager 4.2 and
    /// later). Read for APIs of every kind.
    pub api_policies: OperationPolicies,
    /// Request-flow policies of `api.yaml` whose operation isn't there, has other policies already, or can't have any. They may
    /// have been meant as guards, so whoever deploys must not pass over them.
    pub unattached: Vec<UnattachedPolicy>,
    /// Vendor extensions at the root, as written.
    pub extensions: Extensions,
}

impl ApiProject {
    /// There is nothing but a definition: it means what its standard says, where a project has the contract.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.context.is_none()
    }

    /// The alternatives that guard an operation unless its security is off: its own, else those of the API.
    #[must_use]
    pub fn requirements<'a>(&'a self, operation: &'a Operation) -> &'a [Requirement] {
        match operation.security.as_slice() {
            [] => &self.security,
            own => own,
        }
    }
}

/// Vendor extensions (`x-wso2-…`, `x-amzn-…`, `x-throttling-tier`, `x-auth-type`) of one object, as written.
pub type Extensions = BTreeMap<String, Value>;

/// Name, version and owner of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `id` of `api.yaml`, else the SHA-1 of `name:version` in lower-case hexadecimal.
    pub uuid: String,
    /// Title.
    pub name: String,
    /// Version as text.
    pub version: String,
    /// `organizationId` of `api.yaml`; the adapter has a default.
    pub organization: Option<String>,
    /// `provider` of `api.yaml`.
    pub provider: Option<String>,
    /// `revisionId` of `api.yaml`; 0 when absent.
    pub revision_id: i64,
}

/// Type of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiKind {
    /// One POST route, operations are fields of a schema.
    GraphQl,
    /// OpenAPI over HTTP.
    Http,
    /// OpenAPI over HTTP whose errors are SOAP faults; routed and listed as HTTP.
    Soap,
    /// WebSocket channels of an AsyncAPI definition.
    Ws,
}

impl ApiKind {
    /// The name in `api.yaml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GraphQl => "GRAPHQL",
            Self::Http => "HTTP",
            Self::Soap => "SOAP",
            Self::Ws => "WS",
        }
    }
}

/// Who answers a call that was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Implementation {
    /// An AWS function.
    Lambda,
    /// The enforcer, from the examples of the definition.
    Mocked,
    /// The endpoints.
    Upstream,
}

/// One target of `deployment_environments.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Environment label.
    pub environment: String,
    /// Virtual host; absent = the one the adapter maps to the environment.
    pub vhost: Option<String>,
    /// `displayOnDevportal`.
    pub on_devportal: bool,
    /// Its place in `data` of the file, for diagnostics.
    pub place: usize,
}

/// One path of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Stable id: a name-based UUID of API and path, the same in every read of the same project.
    pub id: String,
    /// Path template as written, starting with `/`.
    pub path: String,
    /// At least one operation, in the order of the methods' names.
    pub operations: Vec<Operation>,
    /// Production endpoints of this path alone.
    pub production: Option<EndpointCluster>,
    /// Sandbox endpoints of this path alone.
    pub sandbox: Option<EndpointCluster>,
    /// Vendor extensions of the path item, as written.
    pub extensions: Extensions,
}

/// One method of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Stable id: a name-based UUID of API, path and method.
    pub id: String,
    /// Upper-case method; for GraphQL `QUERY`, `MUTATION` or `SUBSCRIPTION`.
    pub method: String,
    /// Alternatives, tried in order. Empty = those of the API.
    pub security: Vec<Requirement>,
    /// Throttling tier of the operation.
    pub tier: Option<String>,
    /// Security is off here (own, path item's or API's value, the nearest wins).
    pub disable_security: bool,
    /// Policies attached in `api.yaml`.
    pub policies: OperationPolicies,
    /// `x-uri-mapping` of a WebSocket channel.
    pub uri_mapping: Option<String>,
    /// Example responses, filled only when the API is [`Implementation::Mocked`].
    pub mock: Vec<MockResponse>,
    /// Vendor extensions of the operation, as written.
    pub extensions: Extensions,
}

/// One security requirement object: all its schemes are needed together. Scheme name to scopes, in name order.
pub type Requirement = BTreeMap<String, Vec<String>>;

/// One security scheme of the definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityScheme {
    /// The name requirements use.
    pub definition: String,
    /// `type` as written, such as `oauth2`, `apiKey`, `http`.
    pub kind: String,
    /// `name`: header or query parameter of an API key; else empty.
    pub name: String,
    /// `in`: `header` or `query` of an API key; else empty.
    pub location: String,
}

impl SecurityScheme {
    /// Callers show an access token, and requirements on it name the scopes that the token must have: `oauth2` and
    /// `openIdConnect`, spelled as the standards do.
    #[must_use]
    pub fn asks_for_token(&self) -> bool {
        matches!(self.kind.as_str(), "oauth2" | "openIdConnect")
    }
}

/// `operationPolicies` of an operation, by flow, in list order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OperationPolicies {
    /// Request flow.
    pub request: Vec<PolicyReference>,
    /// Response flow.
    pub response: Vec<PolicyReference>,
    /// Fault flow.
    pub fault: Vec<PolicyReference>,
}

impl OperationPolicies {
    /// Nothing is attached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty() && self.fault.is_empty()
    }
}

/// A policy attached to an operation; its files are in [`ApiProject::policies`] under `<name>_<version>`.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyReference {
    /// `policyName`.
    pub name: String,
    /// `policyVersion`.
    pub version: String,
    /// `parameters` as written.
    pub parameters: Object,
}

/// A policy of the request flow that is attached to nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct UnattachedPolicy {
    /// JSON pointer to the reference in `api.yaml`.
    pub pointer: String,
    /// The reference.
    pub policy: PolicyReference,
}

/// The pair of files that describes a policy.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PolicyFile {
    /// Path of the specification inside the project, for diagnostics; empty when there is none.
    pub file: String,
    /// The `.yaml` or `.json` specification, parsed.
    pub specification: Option<Value>,
    /// Text of the `.gotmpl` definition.
    pub template: Option<String>,
}

/// Credentials for a backend.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointSecurity {
    /// The credentials are to be sent.
    pub enabled: bool,
    /// Kind as written, such as `basic` or `BASIC`.
    pub kind: String,
    /// User.
    pub username: String,
    /// Password, never printed.
    pub password: String,
    /// `customparameters` with scalars as text.
    pub custom_parameters: BTreeMap<String, String>,
}

impl std::fmt::Debug for EndpointSecurity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointSecurity")
            .field("enabled", &self.enabled)
            .field("kind", &self.kind)
            .field("username", &self.username)
            .field("password", &"***")
            .field("custom_parameters", &self.custom_parameters.keys())
            .finish()
    }
}

/// Mutual TLS of an API, as the enforcer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MutualSsl {
    /// A client certificate is needed.
    Mandatory,
    /// Not mentioned.
    NotDefined,
    /// A client certificate is accepted.
    Optional,
}

impl MutualSsl {
    /// The word sent to the enforcer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mandatory => "mandatory",
            Self::NotDefined => "not_defined",
            Self::Optional => "optional",
        }
    }
}

/// An environment as the keys of applications name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// Production.
    Production,
    /// Sandbox.
    Sandbox,
}

impl KeyType {
    /// `PRODUCTION` or `SANDBOX`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "PRODUCTION",
            Self::Sandbox => "SANDBOX",
        }
    }

    /// By its name in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Production, Self::Sandbox]
            .into_iter()
            .find(|key_type| text.eq_ignore_ascii_case(key_type.as_str()))
    }
}

/// A client certificate that may call the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Alias.
    pub alias: String,
    /// The only environment that its bearer may call; either when absent.
    pub key_type: Option<KeyType>,
    /// Tier of its callers.
    pub tier: String,
    /// PEM text.
    pub content: Vec<u8>,
}

/// CA certificates of the project for upstream connections, PEM text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointCertificates {
    /// By endpoint URL exactly as in [`Endpoint::url`].
    pub by_url: BTreeMap<String, Vec<u8>>,
    /// Certificates that no entry names, newline separated; may be empty.
    pub bundle: Vec<u8>,
    /// Certificates for interceptor services, newline separated; may be empty.
    pub interceptor_bundle: Vec<u8>,
}

impl EndpointCertificates {
    /// The bundle to trust for an endpoint: its own, else the API's; absent = what the configuration trusts.
    #[must_use]
    pub fn find(&self, endpoint: &Endpoint) -> Option<&[u8]> {
        match self.by_url.get(&endpoint.url) {
            Some(pem) => Some(pem),
            None if self.bundle.is_empty() => None,
            None => Some(&self.bundle),
        }
    }
}

/// CORS of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// The API's own policy.
    Custom(CorsPolicy),
    /// The policy of the configuration.
    Global,
    /// No CORS at all.
    Off,
}

/// A CORS policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CorsPolicy {
    /// Allowed origins, `*` as wildcard.
    pub allow_origins: Vec<String>,
    /// Allowed request headers.
    pub allow_headers: Vec<String>,
    /// Allowed methods.
    pub allow_methods: Vec<String>,
    /// Exposed response headers.
    pub expose_headers: Vec<String>,
    /// Credentials are allowed.
    pub allow_credentials: bool,
}

/// What a GraphQL project adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphQl {
    /// Schema definition language, as written.
    pub schema: String,
    /// Complexity of fields.
    pub complexities: Vec<GraphQlComplexity>,
}

/// Complexity of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphQlComplexity {
    /// Type.
    pub kind: String,
    /// Field of that type.
    pub field: String,
    /// Its cost.
    pub value: i64,
}

/// An example response of a mocked operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockResponse {
    /// Lower-case code: three digits, `2xx` forms, or `default`.
    pub code: String,
    /// Example headers.
    pub headers: Vec<(String, String)>,
    /// Examples by media type.
    pub content: Vec<MockContent>,
}

/// Examples of one media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockContent {
    /// Media type.
    pub media_type: String,
    /// Name of the example (empty for the single one) and its JSON text.
    pub examples: Vec<(String, String)>,
}
