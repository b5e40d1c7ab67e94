//! What the enforcer knows of one API on one virtual host.

use std::collections::BTreeMap;
use std::fmt;

pub use trireme_proto::{InvalidRevision, Revision};

/// One API on one virtual host. Wire: `wso2.discovery.api.Api`, resource name [`ApiPolicy::name`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPolicy {
    /// Identifier given by the publisher or made by the adapter.
    pub id: String,
    /// Title.
    pub title: String,
    /// Version as declared.
    pub version: String,
    /// Which protocol the API speaks.
    pub kind: ApiKind,
    /// Free text.
    pub description: String,
    /// Endpoints of the production environment, absent when there is none.
    pub production: Option<EndpointCluster>,
    /// Endpoints of the sandbox environment, absent when there is none.
    pub sandbox: Option<EndpointCluster>,
    /// Resources in the order of the definition.
    pub resources: Vec<Resource>,
    /// Versioned base path; begins with `/`.
    pub base_path: String,
    /// Virtual host, never empty.
    pub vhost: String,
    /// Throttling tier of the API; empty when its resources carry their own.
    pub tier: String,
    /// Lifecycle state.
    pub lifecycle: Lifecycle,
    /// Declared security schemes.
    pub schemes: Vec<SecurityScheme>,
    /// Alternatives for operations that declare none of their own; one satisfied alternative is enough.
    pub security: Vec<Requirement>,
    /// Credentials which the enforcer adds towards the endpoints.
    pub endpoint_security: EndpointSecurity,
    /// Header that carries the access token; absent for the configured one.
    pub authorization_header: Option<String>,
    /// Security switched off at the API. The flag of each operation decides; this one is only told.
    pub disable_security: bool,
    /// Organization of the API.
    pub organization: String,
    /// Whether the enforcer answers from examples.
    pub mocked: bool,
    /// Client certificates pinned to the API.
    pub client_certificates: Vec<ClientCertificate>,
    /// Whether callers identify themselves by a certificate.
    pub mutual_tls: MutualTls,
    /// Whether an application credential is needed beside a certificate.
    pub application_security: bool,
    /// Schema and weights of a GraphQL API.
    pub graphql: Option<GraphQl>,
    /// Kind of endpoint, such as `http` or `awslambda`; empty for plain HTTP.
    pub endpoint_type: String,
    /// Which revision of the API this is (design D5).
    pub revision: Revision,
}

impl ApiPolicy {
    /// Name of the resource, the same for the policy and its route fragment: virtual host, base path, version.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = String::with_capacity(self.vhost.len() + self.base_path.len() + self.version.len());
        name.push_str(&self.vhost);
        name.push_str(&self.base_path);
        name.push_str(&self.version);
        name
    }

    /// The alternatives that guard an operation: its own, else those of the API.
    #[must_use]
    pub fn requirements<'a>(&'a self, operation: &'a Operation) -> &'a [Requirement] {
        if operation.security.is_empty() {
            &self.security
        } else {
            &operation.security
        }
    }
}

/// Protocol of an API. Wire: the text of [`ApiKind::as_str`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKind {
    /// GraphQL over HTTP.
    GraphQl,
    /// REST.
    Http,
    /// SOAP.
    Soap,
    /// WebSocket.
    WebSocket,
    /// Another text, treated as REST.
    Other(String),
}

impl ApiKind {
    /// Wire text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::GraphQl => "GRAPHQL",
            Self::Http => "HTTP",
            Self::Soap => "SOAP",
            Self::WebSocket => "WS",
            Self::Other(text) => text,
        }
    }

    /// From the wire text, which is never refused.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "GRAPHQL" => Self::GraphQl,
            "HTTP" => Self::Http,
            "SOAP" => Self::Soap,
            "WS" => Self::WebSocket,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Lifecycle state of an API. Wire: the text of [`Lifecycle::as_str`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifecycle {
    /// Answers 503.
    Blocked,
    /// Not published yet.
    Created,
    /// Open to all, without authentication.
    Prototyped,
    /// In service.
    Published,
    /// Another text, in service.
    Other(String),
}

impl Lifecycle {
    /// Wire text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Blocked => "BLOCKED",
            Self::Created => "CREATED",
            Self::Prototyped => "PROTOTYPED",
            Self::Published => "PUBLISHED",
            Self::Other(text) => text,
        }
    }

    /// From the wire text, which is never refused.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "BLOCKED" => Self::Blocked,
            "CREATED" => Self::Created,
            "PROTOTYPED" => Self::Prototyped,
            "PUBLISHED" => Self::Published,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A resource: one path template and its operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Identifier within the API.
    pub id: String,
    /// Path template as in the definition.
    pub path: String,
    /// Operations in the order of the definition.
    pub operations: Vec<Operation>,
    /// Endpoints in place of the API's.
    pub production: Option<EndpointCluster>,
    /// Endpoints in place of the API's.
    pub sandbox: Option<EndpointCluster>,
}

/// One method of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Method.
    pub method: Method,
    /// Alternatives that guard the operation; empty to use the API's.
    pub security: Vec<Requirement>,
    /// Throttling tier.
    pub tier: String,
    /// Whether the operation is open to all.
    pub disable_security: bool,
    /// Policies in the order they run.
    pub policies: Policies,
    /// Examples to answer with.
    pub mock: Option<Mock>,
}

impl Operation {
    /// An operation with nothing but its method.
    #[must_use]
    pub fn new(method: Method) -> Self {
        Self {
            method,
            security: Vec::new(),
            tier: String::new(),
            disable_security: false,
            policies: Policies::default(),
            mock: None,
        }
    }
}

/// HTTP methods, and the operation types of GraphQL, in upper case on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the method of that name")]
pub enum Method {
    Delete,
    Get,
    Head,
    Mutation,
    Options,
    Patch,
    Post,
    Put,
    Query,
    Subscription,
    Trace,
}

impl Method {
    /// Upper-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Mutation => "MUTATION",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Query => "QUERY",
            Self::Subscription => "SUBSCRIPTION",
            Self::Trace => "TRACE",
        }
    }

    /// From the upper-case name, `None` for anything else.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "DELETE" => Self::Delete,
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "MUTATION" => Self::Mutation,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "QUERY" => Self::Query,
            "SUBSCRIPTION" => Self::Subscription,
            "TRACE" => Self::Trace,
            _ => return None,
        })
    }
}

/// One alternative of a security declaration: all of its schemes are needed. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Definition name of each scheme, with the scopes of which a token needs one.
    pub schemes: BTreeMap<String, Vec<String>>,
}

impl Requirement {
    /// The alternative that needs one scheme.
    #[must_use]
    pub fn one(definition: impl Into<String>, scopes: Vec<String>) -> Self {
        Self {
            schemes: BTreeMap::from([(definition.into(), scopes)]),
        }
    }
}

/// A declared way to prove who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityScheme {
    /// Name that requirements refer to.
    pub definition: String,
    /// What it is.
    pub kind: SchemeKind,
    /// Name of the header or query parameter of a key.
    pub name: String,
    /// Where a key travels.
    pub location: Location,
}

/// Kinds of security schemes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemeKind {
    /// A key that is a signed token. Wire: `apiKey` in any case.
    ApiKey,
    /// An access token. Wire: `oauth2`.
    OAuth2,
    /// An access token of an OpenID provider, with scopes like [`SchemeKind::OAuth2`] (OpenAPI 3.0.3, Security Requirement
    /// Object). Wire: `openIdConnect`.
    OpenIdConnect,
    /// Another text. No credential satisfies it.
    Other(String),
}

/// Where a key travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A header.
    Header,
    /// A query parameter.
    Query,
    /// Another text, or none. A key is never looked for there.
    Other(String),
}

/// Whether callers identify themselves by a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MutualTls {
    /// Not asked.
    #[default]
    Absent,
    /// Nothing passes without.
    Mandatory,
    /// Accepted beside other credentials.
    Optional,
}

/// Environment of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// Production.
    Production,
    /// Sandbox.
    Sandbox,
}

impl KeyType {
    /// Name in tokens, metadata and policies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "PRODUCTION",
            Self::Sandbox => "SANDBOX",
        }
    }

    /// From the claim `keytype`; empty means production, anything else than the two is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.eq_ignore_ascii_case("PRODUCTION") {
            Some(Self::Production)
        } else if text.eq_ignore_ascii_case("SANDBOX") {
            Some(Self::Sandbox)
        } else {
            None
        }
    }
}

/// A certificate whose bearer may call the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Name.
    pub alias: String,
    /// The only environment that its bearer may call; either when absent.
    pub key_type: Option<KeyType>,
    /// Subscription tier of the bearer; empty when not set.
    pub tier: String,
    /// PEM text.
    pub pem: Vec<u8>,
}

/// Endpoints of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointCluster {
    /// Addresses.
    pub endpoints: Vec<Endpoint>,
    /// Retries, absent for the router's own.
    pub retry: Option<Retry>,
    /// Route timeout in milliseconds, absent for the router's own; 0 means none.
    pub timeout_millis: Option<u32>,
}

/// One address of an endpoint cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Path in front of every request.
    pub base_path: String,
    /// URL scheme.
    pub scheme: String,
    /// Port.
    pub port: u16,
}

/// Retries of an endpoint cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// How many.
    pub count: u32,
    /// On which answers of the upstream.
    pub status_codes: Vec<u32>,
}

/// Credentials towards the endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointSecurity {
    /// Of the production environment.
    pub production: Option<Credentials>,
    /// Of the sandbox environment.
    pub sandbox: Option<Credentials>,
}

/// User and password towards an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Whether they are sent.
    pub enabled: bool,
    /// Kind, only `basic` (any case) is sent.
    pub kind: String,
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
    /// Parameters of other kinds.
    pub parameters: BTreeMap<String, String>,
}

impl fmt::Debug for Credentials {
    /// The password and the parameters are never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("enabled", &self.enabled)
            .field("kind", &self.kind)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Schema and weights of a GraphQL API.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphQl {
    /// Schema text.
    pub schema: String,
    /// Weight of each field.
    pub complexity: Vec<Complexity>,
}

/// Weight of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complexity {
    /// Type.
    pub type_name: String,
    /// Field.
    pub field: String,
    /// Weight.
    pub value: i32,
}

/// Policies of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// On the request.
    pub request: Vec<Policy>,
    /// On the response.
    pub response: Vec<Policy>,
    /// On a fault.
    pub fault: Vec<Policy>,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What to do.
    pub action: String,
    /// With what.
    pub parameters: BTreeMap<String, String>,
}

/// Example answers of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mock {
    /// In the order of the definition.
    pub responses: Vec<MockResponse>,
}

/// Example answers of one status code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockResponse {
    /// Status code, or a class such as `2XX`, or `default`.
    pub code: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Bodies by content type.
    pub content: Vec<MockContent>,
}

/// Example bodies of one content type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockContent {
    /// Content type.
    pub content_type: String,
    /// Name and body of each example.
    pub examples: Vec<(String, String)>,
}
