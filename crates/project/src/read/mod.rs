//! From files to an [`ApiProject`]: the steps in order.

mod attach;
mod bare;
mod chosen;
pub(crate) mod derive;
mod twins;

use std::collections::BTreeMap;

use self::chosen::Chosen;
use crate::api::attachments;
use crate::api::cluster::{self, Addresses, Group, Side};
use crate::api::properties::AMBIGUOUS_PATHS;
use crate::api::{ApiYaml, MAX_TEXT};
use crate::definition::{Circumstances, Defined, Format};
use crate::definition::{asyncapi, graphql, openapi, security, spelling};
use crate::document::diagnostic::{Diagnostic, Findings, Pointer};
use crate::document::tree::Section;
use crate::document::value::Value;
use crate::document::{self, Keep};
use crate::model::endpoint::{EndpointCluster, HostNames, Scheme};
use crate::model::id;
use crate::model::{
    ApiKind, ApiProject, ClientCertificate, Cors, Deployment, EndpointCertificates, EndpointSecurity,
    Identity, Implementation, MutualSsl, OperationPolicies, PolicyFile,
};
use crate::settings::{Defaults, Limits, Settings};
use crate::source::layout::{self, Layout, Role};
use crate::source::{DEFINITION, ProjectSource};

/// The file that says who the API is, by its usual name.
const API: &str = "api.yaml";

/// A project that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The API.
    pub project: ApiProject,
    /// What in it has no effect, all with [`Severity::Warning`](crate::Severity::Warning).
    pub warnings: Vec<Diagnostic>,
}

/// Reads a project.
///
/// Everything wrong is reported, not only the first thing. A `$ref` that routing depends on and that is circular or leads
/// nowhere refuses the project; schemas, which may well be recursive, aren't looked at.
///
/// # Errors
/// Every finding, errors first, when at least one of them is an error.
pub fn read(source: &dyn ProjectSource, settings: &Settings<'_>) -> Result<Reading, Vec<Diagnostic>> {
    let files = source.load(&settings.limits, &|path| layout::role(path).is_some())?;
    let mut findings = Findings::default();
    let layout = Layout::new(&files, &mut findings);
    let alone = source.alone();
    let project = assemble(&layout, alone.as_deref(), settings, &mut findings);
    let failed = findings.has_errors();
    let mut findings = findings.into_sorted();
    if let Some(name) = alone {
        for finding in findings.iter_mut().filter(|finding| finding.file == DEFINITION) {
            (*name).clone_into(&mut finding.file);
        }
    }
    match project {
        Some(project) if !failed => Ok(Reading {
            project,
            warnings: findings,
        }),
        _ => Err(findings),
    }
}

/// Name and version that a project gives itself in `api.yaml`, whatever else is wrong with it: what one that is refused is called.
/// Each is empty when it isn't there or is no text of at most 1,024 bytes; `None` when the file can't be had.
#[must_use]
pub fn named(source: &dyn ProjectSource, limits: &Limits) -> Option<(String, String)> {
    let mut ignored = Findings::default();
    let files = source
        .load(limits, &|path| layout::role(path) == Some(Role::Api))
        .ok()?;
    let (file, content) = Layout::new(&files, &mut ignored).one(Role::Api)?;
    let value = document::parse(file, content, Keep::All, limits, &mut ignored)?;
    let root = Section::new(file, Pointer::Root, &value, &mut ignored)?.any_case();
    let data = root.section("data", &mut ignored)?;
    let [name, version] = ["name", "version"].map(|key| {
        let text = data.text(key, &mut ignored).unwrap_or_default().trim();
        if text.len() <= MAX_TEXT { text } else { "" }.to_owned()
    });
    Some((name, version))
}

fn assemble(
    layout: &Layout<'_>,
    alone: Option<&str>,
    settings: &Settings<'_>,
    findings: &mut Findings,
) -> Option<ApiProject> {
    let limits = &settings.limits;
    let required = settings.defaults == Defaults::Require && alone.is_none();
    let (api_file, api, broken_api) = read_api(layout, settings, required, findings);
    let api = api.as_ref();
    let root = read_definition(layout, api, limits, findings);
    let (file, root, format) = match &root {
        Some((file, root, format)) => (*file, root, Some(*format)),
        None => (DEFINITION, &Value::Null, None),
    };
    let kind = match api {
        Some(api) => api.kind,
        None if format == Some(Format::AsyncApi2) => ApiKind::Ws,
        None => ApiKind::Http,
    };
    not_served(layout, findings);
    let attached = Attached::read(layout, limits, findings);
    if format.is_none() && kind != ApiKind::GraphQl {
        return None;
    }
    agree(kind, format, file, findings);

    let identity = identity(api, file, root, alone, findings);
    let is_alone = api.is_none() && !broken_api;
    let addresses = Addresses {
        scheme: if kind == ApiKind::Ws {
            Scheme::Ws
        } else {
            Scheme::Http
        },
        consul: settings.consul,
        hosts: if is_alone {
            HostNames::Any
        } else {
            HostNames::Contract
        },
    };
    let circumstances = Circumstances {
        uuid: &identity.uuid,
        addresses,
        alone: is_alone,
        prototyped: api.is_some_and(|api| api.prototyped),
        mocked: api.is_some_and(|api| api.implementation == Implementation::Mocked),
        ambiguous_paths: api.and_then(|api| api.ambiguous_paths.as_ref()),
    };
    let mut defined = define(kind, file, root, format, api, circumstances, findings)?;
    let base_path = base_path(api, &defined, &identity, (file, root), findings).unwrap_or_default();
    if let (Some(own), Some(added)) = (
        &defined.ambiguous_paths,
        api.and_then(|api| api.ambiguous_paths.as_ref()),
    ) && own != added
    {
        let data = Pointer::Root.key("data");
        let message = format!("{AMBIGUOUS_PATHS} has no effect: that of the definition is used");
        findings.warning(api_file, &data.key("additionalProperties"), message);
    }
    let odd = std::mem::take(&mut defined.schemes.odd);
    let mut project = joined(kind, identity, base_path, api, defined, attached);
    project.graphql = (kind == ApiKind::GraphQl).then(|| graphql::read(layout, limits, findings));
    let chosen = Chosen::new(api.map_or(&[], |api| api.security_scheme.as_slice()));
    project.mutual_ssl = chosen.mutual_ssl;
    project.application_security = chosen.application_security;
    chosen::apply(&mut project, &odd, chosen, file, findings);
    match api {
        Some(api) => attach::policies(&mut project, api, api_file, findings),
        None => {
            chosen::check_bare(&project, file, findings);
            bare::finish(&mut project);
        }
    }
    twins::check(&project, file, findings);
    overrides(&mut project, settings, addresses, findings);
    if broken_api {
        return None;
    }
    let told = if api.is_some() { api_file } else { file };
    has_endpoint(&project, api.is_some(), settings, told, root, findings);
    Some(project)
}

/// What newer exports hold that is no API, or says nothing here. An API product would be deployed as one of its members.
fn not_served(layout: &Layout<'_>, findings: &mut Findings) {
    let mut tell = |role, message| {
        if let Some((file, _)) = layout.one(role) {
            findings.refusal(file, &Pointer::Root, message);
        }
    };
    tell(
        Role::Product,
        "API products are not served: deploy the APIs that it is made of",
    );
    tell(Role::McpServer, "MCP servers are not served");
    if let Some((file, _)) = layout.one(Role::Endpoints) {
        let message = "has no effect: endpoints are read from api.yaml and the definition";
        findings.warning(file, &Pointer::Root, message);
    }
}

/// `api.yaml` with its name, and whether nothing can be made of the project for its sake. Findings in the definition are worth
/// knowing even then.
fn read_api<'f>(
    layout: &Layout<'f>,
    settings: &Settings<'_>,
    required: bool,
    findings: &mut Findings,
) -> (&'f str, Option<ApiYaml>, bool) {
    if let Some((file, content)) = layout.one(Role::Api) {
        let value = document::parse(file, content, Keep::All, &settings.limits, findings);
        let api = value.and_then(|value| ApiYaml::read(file, &value, settings.consul, findings));
        let broken = api.is_none();
        return (file, api, broken);
    }
    if required {
        findings.push(Diagnostic::error(API, "", "api.yaml or api.json not found"));
    }
    (API, None, required)
}

/// What the definition says; for GraphQL, what `api.yaml` says in its place.
fn define(
    kind: ApiKind,
    file: &str,
    root: &Value,
    format: Option<Format>,
    api: Option<&ApiYaml>,
    circumstances: Circumstances<'_>,
    findings: &mut Findings,
) -> Option<Defined> {
    let mut defined = match format {
        Some(Format::AsyncApi2) => asyncapi::read(file, root, circumstances, findings)?,
        Some(format) => openapi::read(file, root, format, circumstances, findings)?,
        None => Defined {
            pass_request_payload: true,
            ..Defined::default()
        },
    };
    if kind == ApiKind::GraphQl {
        let resources = api.map(|api| graphql::resources(api, circumstances.uuid));
        defined.resources = resources.unwrap_or_default();
        defined.schemes.all = vec![security::token_scheme(security::DEFAULT)];
    }
    Some(defined)
}

/// Both statements as one project, each member by its precedence; without what takes another look at the files.
fn joined(
    kind: ApiKind,
    identity: Identity,
    base_path: String,
    api: Option<&ApiYaml>,
    mut defined: Defined,
    attached: Attached,
) -> ApiProject {
    let endpoints = endpoints(api, &mut defined, kind);
    let description = defined.description.or_else(|| api?.description.clone());
    ApiProject {
        kind,
        description: description.unwrap_or_default(),
        base_path,
        context: api.map(|api| api.context.clone()),
        default_version: api.is_some_and(|api| api.default_version),
        deployments: attached.deployments,
        production: endpoints.production,
        sandbox: endpoints.sandbox,
        production_security: endpoints.production_security,
        sandbox_security: endpoints.sandbox_security,
        named_endpoints: defined.named,
        resources: defined.resources,
        security_schemes: defined.schemes.all,
        security: defined.security,
        disable_security: defined.disable_security,
        tier: defined.tier.or_else(|| api?.tier.clone()),
        auth_header: defined.auth_header.or_else(|| api?.auth_header.clone()),
        mutual_ssl: MutualSsl::NotDefined,
        application_security: false,
        client_certificates: attached.client_certificates,
        endpoint_certificates: attached.endpoint_certificates,
        cors: match (api, kind) {
            (Some(api), ApiKind::GraphQl) => api.cors.clone(),
            _ => defined.cors.unwrap_or(Cors::Global),
        },
        http2_backend: defined.http2_backend,
        pass_request_payload: defined.pass_request_payload,
        ambiguous_paths: defined.ambiguous_paths.or_else(|| api?.ambiguous_paths.clone()),
        lifecycle: api.map(|api| api.lifecycle.clone()).unwrap_or_default(),
        implementation: api.map_or(Implementation::Upstream, |api| api.implementation),
        graphql: None,
        policies: attached.policies,
        api_policies: OperationPolicies::default(),
        unattached: Vec::new(),
        extensions: defined.extensions,
        identity,
    }
}

/// The smaller files. Their faults are worth knowing even when nothing can be made of the definition.
struct Attached {
    deployments: Vec<Deployment>,
    client_certificates: Vec<ClientCertificate>,
    endpoint_certificates: EndpointCertificates,
    policies: BTreeMap<String, PolicyFile>,
}

impl Attached {
    fn read(layout: &Layout<'_>, limits: &Limits, findings: &mut Findings) -> Self {
        Self {
            deployments: attachments::deployments(layout, limits, findings),
            client_certificates: attachments::client_certificates(layout, limits, findings),
            endpoint_certificates: attachments::endpoint_certificates(layout, limits, findings),
            policies: attachments::policies(layout, limits, findings),
        }
    }
}

/// The definition, parsed, and the format it's in. A missing one is an error except for GraphQL.
fn read_definition<'f>(
    layout: &Layout<'f>,
    api: Option<&ApiYaml>,
    limits: &Limits,
    findings: &mut Findings,
) -> Option<(&'f str, Value, Format)> {
    let Some((file, content)) = layout.one(Role::Definition) else {
        if api.is_none_or(|api| api.kind != ApiKind::GraphQl) {
            findings.push(Diagnostic::error(DEFINITION, "", "definition not found"));
        }
        return None;
    };
    let mocked = api.is_some_and(|api| api.implementation == Implementation::Mocked);
    let keep = if mocked { Keep::All } else { Keep::Definition };
    let mut value = document::parse(file, content, keep, limits, findings)?;
    let format = Format::of(file, &value, findings)?;
    if format == Format::OpenApi2 {
        spelling::correct(file, &mut value, findings);
    }
    Some((file, value, format))
}

/// A definition of the wrong sort for the type of the API.
fn agree(kind: ApiKind, format: Option<Format>, file: &str, findings: &mut Findings) {
    let wanted = match (kind, format) {
        (ApiKind::Http | ApiKind::Soap, Some(Format::AsyncApi2)) => "an OpenAPI definition",
        (ApiKind::Ws, Some(Format::OpenApi2 | Format::OpenApi3)) => "an AsyncAPI definition",
        _ => return,
    };
    findings.error(
        file,
        &Pointer::Root,
        format!("an API of type {} needs {wanted}", kind.as_str()),
    );
}

/// Who the API is; without `api.yaml`, who the definition says it is.
fn identity(
    api: Option<&ApiYaml>,
    file: &str,
    root: &Value,
    alone: Option<&str>,
    findings: &mut Findings,
) -> Identity {
    if let Some(api) = api {
        return Identity {
            uuid: api
                .id
                .clone()
                .unwrap_or_else(|| id::digest(&api.name, &api.version)),
            name: api.name.clone(),
            version: api.version.clone(),
            organization: api.organization.clone(),
            provider: api.provider.clone(),
            revision_id: api.revision_id,
        };
    }
    let (name, version) = derive::name_and_version(root, alone.unwrap_or(file), file, findings);
    let uuid = id::digest(&bare::name(&name), &version);
    Identity {
        uuid,
        name,
        version,
        organization: None,
        provider: None,
        revision_id: 0,
    }
}

/// The base path by precedence: `x-wso2-basePath`, `basePath` or the path of a server, context and version.
fn base_path(
    api: Option<&ApiYaml>,
    defined: &Defined,
    identity: &Identity,
    (file, root): (&str, &Value),
    findings: &mut Findings,
) -> Option<String> {
    if let Some(path) = defined
        .base_path
        .as_deref()
        .filter(|path| !path.trim().is_empty())
    {
        let path = path.trim().replace("{version}", &identity.version);
        if !derive::is_base_path(&path) {
            let message = format!("base path {path:?} {}", derive::BASE_PATH_RULE);
            findings.error(file, &Pointer::Root.key("x-wso2-basePath"), message);
            return None;
        }
        return Some(path);
    }
    // Hosts say where the upstream has its root. Many documents share `/v1`, so a definition that comes alone gets a base path
    // of its own instead; the original's order holds where there's an `api.yaml`.
    let Some(api) = api else {
        return Some(derive::base_path(identity));
    };
    if let Some(path) = defined.hosts.base_path.as_deref().filter(|path| !path.is_empty()) {
        if derive::is_base_path(path) {
            return Some(path.to_owned());
        }
        let message = format!("base path {path:?} can't be used: {}", derive::BASE_PATH_RULE);
        let key = if root.get("swagger").is_some() {
            "basePath"
        } else {
            "servers"
        };
        findings.warning(file, &Pointer::Root.key(key), message);
    }
    let path = format!("{}/{}", api.context.trim_end_matches('/'), api.version);
    if !derive::is_base_path(&path) {
        let message = format!(
            "base path {path:?} of context and version {}",
            derive::BASE_PATH_RULE
        );
        findings.push(Diagnostic::error(API, "/data/context", message));
        return None;
    }
    Some(path)
}

struct Endpoints {
    production: Option<EndpointCluster>,
    sandbox: Option<EndpointCluster>,
    production_security: Option<EndpointSecurity>,
    sandbox_security: Option<EndpointSecurity>,
}

/// API-level endpoints by precedence: extensions, hosts of the definition, `api.yaml`, hosts with variables.
fn endpoints(api: Option<&ApiYaml>, defined: &mut Defined, kind: ApiKind) -> Endpoints {
    let (mut production, mut sandbox) = api
        .map(|api| (api.production.clone(), api.sandbox.clone()))
        .unwrap_or_default();
    let hosts = std::mem::take(&mut defined.hosts);
    if hosts.production.is_some() || hosts.sandbox.is_some() {
        // Servers name production only; whatever `api.yaml` has for the sandbox belongs to another backend.
        production = hosts
            .production
            .or(if kind == ApiKind::Ws { production } else { None });
        sandbox = hosts.sandbox.or(if kind == ApiKind::Ws { sandbox } else { None });
    }
    let (extended_production, extended_sandbox) = (defined.production.take(), defined.sandbox.take());
    if extended_sandbox.is_some() && extended_production.is_none() {
        production = None;
    }
    let apply = |extended: Option<Group>, side: &mut Option<EndpointCluster>| {
        let (cluster, security) = extended?;
        *side = Some(cluster);
        security
    };
    let mut production_security = apply(extended_production, &mut production);
    let mut sandbox_security = apply(extended_sandbox, &mut sandbox);
    if production.is_none() && sandbox.is_none() {
        production = hosts.templated;
    }
    if let Some(api) = api {
        inherit(&mut production, api.production.as_ref());
        inherit(&mut sandbox, api.sandbox.as_ref());
        production_security = production_security.or_else(|| api.production_security.clone());
        sandbox_security = sandbox_security.or_else(|| api.sandbox_security.clone());
    }
    Endpoints {
        production,
        sandbox,
        production_security,
        sandbox_security,
    }
}

/// Timeout and retries of `api.yaml` where the definition sets none.
fn inherit(cluster: &mut Option<EndpointCluster>, from: Option<&EndpointCluster>) {
    if let (Some(cluster), Some(from)) = (cluster, from) {
        cluster.config.timeout = cluster.config.timeout.or(from.config.timeout);
        if cluster.config.retry.is_none() {
            cluster.config.retry.clone_from(&from.config.retry);
        }
    }
}

/// Endpoints and credentials from the environment, above everything else.
fn overrides(
    project: &mut ApiProject,
    settings: &Settings<'_>,
    addresses: Addresses,
    findings: &mut Findings,
) {
    let digest = id::digest(&project.identity.name, &project.identity.version);
    for side in Side::BOTH {
        let (cluster, security) = match side {
            Side::Production => (&mut project.production, &mut project.production_security),
            Side::Sandbox => (&mut project.sandbox, &mut project.sandbox_security),
        };
        cluster::override_from_environment(&digest, side, settings, addresses, cluster, security, findings);
    }
}

/// An API nobody answers: refused where `api.yaml` makes endpoints mandatory, else worth a warning.
fn has_endpoint(
    project: &ApiProject,
    has_api_yaml: bool,
    settings: &Settings<'_>,
    file: &str,
    root: &Value,
    findings: &mut Findings,
) {
    let api_level = project.production.is_some() || project.sandbox.is_some();
    if api_level || project.implementation != Implementation::Upstream {
        return;
    }
    if has_api_yaml && settings.defaults == Defaults::Require {
        findings.push(Diagnostic::error(
            file,
            "",
            "at least one production or sandbox endpoint must be given",
        ));
    } else if project
        .resources
        .iter()
        .any(|resource| resource.production.is_none() && resource.sandbox.is_none())
    {
        let servers = root.get("servers").and_then(Value::as_array);
        // A path alone is relative to where the definition came from: right for a browser, nothing for a gateway.
        let (pointer, message) = if !has_api_yaml && servers.is_some_and(|servers| !servers.is_empty()) {
            (
                "/servers",
                "no usable address is given: calls will be refused until there is one",
            )
        } else {
            (
                "",
                "no endpoint is given: calls will be refused until there is one",
            )
        };
        findings.push(Diagnostic::warning(file, pointer, message));
    }
}
