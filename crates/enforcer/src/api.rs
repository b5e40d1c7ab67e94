//! A policy made ready for checks: everything that doesn't depend on the request is worked out when it arrives.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use trireme_policy::ApiPolicy;
use trireme_policy::api::{
    ApiKind, Credentials, EndpointCluster, EndpointSecurity, Lifecycle, Location, Method, MutualTls,
    Operation as Declared, Requirement, Retry, SchemeKind,
};

use crate::tally::Tally;
use crate::verdict::KeyType;

/// A policy that can't be served. The resource is refused and its last good version stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub(crate) struct Unservable {
    /// Field path in proto spelling.
    pub(crate) path: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// One API on one virtual host, ready for checks.
#[derive(Debug)]
pub(crate) struct Api {
    /// What it was made from, without what is held ready-made and what no check asks for.
    pub(crate) policy: ApiPolicy,
    /// Operations by template, in the order of the definition.
    resources: HashMap<Box<str>, Box<[Operation]>>,
    /// Methods of templates that match the same requests as others, by template: those of all of them.
    twins: HashMap<Box<str>, Arc<[Method]>>,
    /// Lower-case name of the header with the access token; `None` for the configured one.
    pub(crate) authorization: Option<String>,
    /// Lower-case headers that carry API keys.
    pub(crate) key_headers: Box<[String]>,
    /// Query parameters that carry API keys.
    pub(crate) key_parameters: Box<[String]>,
    /// Certificates of callers.
    pub(crate) certificates: Box<[Pinned]>,
    /// Value of the `Authorization` header towards production and sandbox endpoints.
    basic: [Option<String>; 2],
    /// Whether the operations answer without authentication.
    pub(crate) prototyped: bool,
    /// Whether a certificate is needed.
    pub(crate) mutual_tls: MutualTls,
    /// Whether an application credential is needed.
    pub(crate) application: bool,
    /// What was decided about it; shared with its revisions before.
    pub(crate) tally: Arc<Tally>,
}

/// A certificate whose bearer may call the API.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) der: CertificateDer<'static>,
    /// The only environment that its bearer may call; either when absent.
    pub(crate) key_type: Option<KeyType>,
    /// Tier of its bearer's subscription; may be empty.
    pub(crate) tier: Box<str>,
    /// Distinguished name of its bearer.
    pub(crate) subject: Box<str>,
}

/// One method of a resource, ready for checks.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// Throttling tier; may be empty.
    pub(crate) tier: Box<str>,
    /// Open to all.
    pub(crate) open: bool,
    /// Whether an access token is looked at.
    pub(crate) takes_token: bool,
    /// Where API keys are looked for, in order.
    pub(crate) keys: Box<[KeyPlace]>,
    /// Alternatives; none means that an access token is needed.
    alternatives: Box<[Box<[Need]>]>,
    /// Whether some alternative needs several credentials.
    pub(crate) conjunctive: bool,
    /// Scopes of which an access token needs one.
    pub(crate) scopes: Box<[String]>,
    /// Towards production and sandbox endpoints.
    environments: [Environment; 2],
}

/// Where an API key travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyPlace {
    /// A header, in lower case.
    Header(String),
    /// A query parameter.
    Query(String),
}

/// One part of an alternative.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    Token,
    /// Index into [`Operation::keys`].
    Key(usize),
    /// A scheme that isn't declared, or that nothing here satisfies.
    Never,
}

/// What goes with requests to one environment.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// How long the router waits for an answer, in milliseconds; absent for its own bound, 0 for none.
    pub(crate) timeout_ms: Option<u32>,
    /// How it retries; absent for its own way.
    pub(crate) retry: Option<Retry>,
    /// Whether the endpoints have no path of their own but the root.
    pub(crate) bare: bool,
}

impl Api {
    /// Makes a policy ready.
    ///
    /// # Errors
    /// When the policy needs something that isn't there: nothing of an API is served by leaving out what guards it.
    pub(crate) fn new(policy: ApiPolicy) -> Result<Self, Unservable> {
        servable(&policy)?;
        let mut resources: HashMap<Box<str>, Vec<Operation>> = HashMap::new();
        for resource in &policy.resources {
            let clusters = [
                resource.production.as_ref().or(policy.production.as_ref()),
                resource.sandbox.as_ref().or(policy.sandbox.as_ref()),
            ];
            let operations = resources.entry(resource.path.as_str().into()).or_default();
            for declared in &resource.operations {
                // The first of several equal ones counts.
                if operations
                    .iter()
                    .all(|operation| operation.method != declared.method)
                {
                    operations.push(Operation::new(&policy, declared, clusters));
                }
            }
        }
        let names = |location: &Location| -> Vec<&str> {
            let keys = policy
                .schemes
                .iter()
                .filter(|scheme| scheme.kind == SchemeKind::ApiKey);
            keys.filter(|scheme| scheme.location == *location)
                .map(|scheme| scheme.name.as_str())
                .collect()
        };
        let mut certificates = Vec::with_capacity(policy.client_certificates.len());
        for (index, certificate) in policy.client_certificates.iter().enumerate() {
            let der = CertificateDer::from_pem_slice(&certificate.pem).map_err(|error| {
                unservable(format!("clientCertificates[{index}].content"), error.to_string())
            })?;
            let subject = match x509_parser::parse_x509_certificate(&der) {
                Ok((_, parsed)) => parsed.subject().to_string(),
                Err(error) => {
                    let path = format!("clientCertificates[{index}].content");
                    return Err(unservable(path, error.to_string()));
                }
            };
            certificates.push(Pinned {
                der,
                key_type: certificate.key_type,
                tier: certificate.tier.trim().into(),
                subject: subject.into_boxed_str(),
            });
        }
        let security = &policy.endpoint_security;
        let mut api = Self {
            twins: twins(&policy),
            resources: resources
                .into_iter()
                .map(|(path, list)| (path, list.into_boxed_slice()))
                .collect(),
            authorization: policy
                .authorization_header
                .as_ref()
                .map(|name| name.to_ascii_lowercase()),
            key_headers: names(&Location::Header)
                .into_iter()
                .map(str::to_ascii_lowercase)
                .collect(),
            key_parameters: names(&Location::Query).into_iter().map(str::to_owned).collect(),
            certificates: certificates.into_boxed_slice(),
            basic: [
                basic(security.production.as_ref()),
                basic(security.sandbox.as_ref()),
            ],
            prototyped: policy.lifecycle == Lifecycle::Prototyped,
            mutual_tls: policy.mutual_tls,
            application: policy.application_security || policy.mutual_tls != MutualTls::Mandatory,
            tally: Arc::default(),
            policy,
        };
        // What is held ready-made, and what no check asks for. A description alone may be longer than all the rest.
        let policy = &mut api.policy;
        policy.resources = Vec::new();
        policy.client_certificates = Vec::new();
        policy.schemes = Vec::new();
        policy.security = Vec::new();
        policy.description = String::new();
        policy.endpoint_security = EndpointSecurity::default();
        (policy.production, policy.sandbox) = (None, None);
        Ok(api)
    }

    /// The operations of a template, in the order of the definition.
    pub(crate) fn operations(&self, template: &str) -> &[Operation] {
        self.resources.get(template).map_or(&[], |operations| operations)
    }

    /// Methods of the operations that requests for a template may have.
    pub(crate) fn methods(&self, template: &str) -> Vec<Method> {
        match self.twins.get(template) {
            Some(methods) => methods.to_vec(),
            None => self
                .operations(template)
                .iter()
                .map(|operation| operation.method)
                .collect(),
        }
    }

    /// Value of the `Authorization` header towards the endpoints of an environment.
    pub(crate) fn basic(&self, key_type: KeyType) -> Option<&str> {
        self.basic.get(index(key_type)).and_then(Option::as_deref)
    }
}

/// See [`Api::twins`].
fn twins(policy: &ApiPolicy) -> HashMap<Box<str>, Arc<[Method]>> {
    let mut shapes: HashMap<String, (BTreeSet<&str>, Vec<Method>)> = HashMap::new();
    for resource in &policy.resources {
        let (paths, methods) = shapes.entry(shape(&resource.path)).or_default();
        paths.insert(&resource.path);
        for operation in &resource.operations {
            if !methods.contains(&operation.method) {
                methods.push(operation.method);
            }
        }
    }
    let mut twins = HashMap::new();
    for (paths, methods) in shapes.into_values().filter(|(paths, _)| paths.len() > 1) {
        let methods: Arc<[Method]> = methods.into();
        twins.extend(paths.into_iter().map(|path| (path.into(), Arc::clone(&methods))));
    }
    twins
}

/// A template without the names of its parameters, its query and the slash at its end.
fn shape(template: &str) -> String {
    let path = template.split('?').next().unwrap_or_default();
    let mut pieces = path.trim_end_matches('/').split('{');
    let mut shape = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        shape.push_str("{}");
        shape.push_str(piece.split_once('}').map_or(piece, |(_, rest)| rest));
    }
    shape
}

/// Refuses what guards or answers requests in a way that isn't built.
fn servable(policy: &ApiPolicy) -> Result<(), Unservable> {
    if policy.kind == ApiKind::GraphQl {
        return Err(unservable("apiType", "GraphQL APIs are not supported yet"));
    }
    if policy.mocked {
        return Err(unservable("isMockedApi", "mock APIs are not supported yet"));
    }
    for (index, resource) in policy.resources.iter().enumerate() {
        for (method, operation) in resource.operations.iter().enumerate() {
            if let Some(policy) = operation.policies.request.first() {
                return Err(unservable(
                    format!("resources[{index}].methods[{method}].policies.request[0].action"),
                    format!("the policy {:?} is not supported yet", policy.action),
                ));
            }
        }
    }
    Ok(())
}

fn unservable(path: impl Into<String>, reason: impl Into<String>) -> Unservable {
    Unservable {
        path: path.into(),
        reason: reason.into(),
    }
}

/// Only basic credentials are sent, and only where they are enabled.
fn basic(credentials: Option<&Credentials>) -> Option<String> {
    let credentials = credentials?;
    (credentials.enabled && credentials.kind.eq_ignore_ascii_case("basic")).then(|| {
        format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", credentials.username, credentials.password))
        )
    })
}

fn index(key_type: KeyType) -> usize {
    match key_type {
        KeyType::Production => 0,
        KeyType::Sandbox => 1,
    }
}

impl Operation {
    fn new(policy: &ApiPolicy, declared: &Declared, clusters: [Option<&EndpointCluster>; 2]) -> Self {
        let mut keys = Vec::new();
        let mut scopes = Vec::new();
        let mut alternatives = Vec::new();
        for requirement in policy.requirements(declared) {
            alternatives.push(needs(policy, requirement, &mut keys, &mut scopes));
        }
        Self {
            method: declared.method,
            tier: declared.tier.trim().into(),
            open: declared.disable_security,
            takes_token: alternatives.is_empty()
                || alternatives.iter().any(|needs| needs.contains(&Need::Token)),
            keys: keys.into_boxed_slice(),
            conjunctive: alternatives.iter().any(|needs| needs.len() > 1),
            alternatives: alternatives.into_boxed_slice(),
            scopes: scopes.into_boxed_slice(),
            environments: clusters.map(Environment::new),
        }
    }

    /// Whether these credentials are enough: an access token or not, and keys by their index.
    pub(crate) fn satisfied(&self, token: bool, keys: &[usize]) -> bool {
        if self.alternatives.is_empty() {
            return token;
        }
        self.alternatives.iter().any(|needs| {
            needs.iter().all(|need| match need {
                Need::Token => token,
                Need::Key(index) => keys.contains(index),
                Need::Never => false,
            })
        })
    }

    pub(crate) fn environment(&self, key_type: KeyType) -> &Environment {
        &self.environments[index(key_type)]
    }
}

/// One alternative; adds the key places and scopes it names.
fn needs(
    policy: &ApiPolicy,
    requirement: &Requirement,
    keys: &mut Vec<KeyPlace>,
    scopes: &mut Vec<String>,
) -> Box<[Need]> {
    let mut needs = Vec::with_capacity(requirement.schemes.len());
    for (definition, wanted) in &requirement.schemes {
        let scheme = policy
            .schemes
            .iter()
            .find(|scheme| scheme.definition == *definition);
        let place = match scheme.map(|scheme| (&scheme.kind, &scheme.location, &scheme.name)) {
            Some((SchemeKind::OAuth2 | SchemeKind::OpenIdConnect, _, _)) => {
                scopes.extend(
                    wanted
                        .iter()
                        .filter(|&scope| !scopes.contains(scope))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                needs.push(Need::Token);
                continue;
            }
            Some((SchemeKind::ApiKey, Location::Header, name)) => KeyPlace::Header(name.to_ascii_lowercase()),
            Some((SchemeKind::ApiKey, Location::Query, name)) => KeyPlace::Query(name.clone()),
            Some((SchemeKind::ApiKey | SchemeKind::Other(_), _, _)) | None => {
                needs.push(Need::Never);
                continue;
            }
        };
        let index = keys.iter().position(|known| *known == place).unwrap_or_else(|| {
            keys.push(place);
            keys.len() - 1
        });
        needs.push(Need::Key(index));
    }
    needs.into_boxed_slice()
}

impl Environment {
    fn new(cluster: Option<&EndpointCluster>) -> Self {
        let Some(cluster) = cluster else {
            return Self::default();
        };
        let bare = cluster
            .endpoints
            .first()
            .is_some_and(|endpoint| endpoint.base_path.trim().trim_end_matches('/').is_empty());
        Self {
            timeout_ms: cluster.timeout_millis,
            retry: cluster.retry.clone(),
            bare,
        }
    }
}
