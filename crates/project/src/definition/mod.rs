//! OpenAPI 2.0, 3.0 and 3.1: what routing and policy need of a definition. Schemas are never looked at.

pub(crate) mod asyncapi;
pub(crate) mod graphql;
mod mock;
pub mod normal;
pub mod order;
mod paths;
pub(crate) mod security;

use std::collections::BTreeMap;

use serde_json::Value;

use self::security::Schemes;
use crate::api;
use crate::api::cluster::{self, Addresses, Group, Side};
use crate::document::diagnostic::{Findings, Pointer};
use crate::document::tree::{Section, scalar};
use crate::model::endpoint::{Balance, Endpoint, EndpointCluster, Scheme};
use crate::model::{Cors, Extensions, Requirement, Resource};

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
            return Some(Self::OpenApi2);
        }
        if root.get("openapi").is_some() {
            return Some(Self::OpenApi3);
        }
        match root.get("asyncapi").and_then(scalar) {
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

/// What of its surroundings a definition is read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    /// Stable id of the API, for the ids of its resources.
    pub(crate) uuid: &'a str,
    pub(crate) addresses: Addresses,
    /// Hosts in the definition don't count.
    pub(crate) prototyped: bool,
    /// Examples are needed.
    pub(crate) mocked: bool,
}

/// What a definition says.
#[derive(Debug, Default)]
pub(crate) struct Defined {
    pub(crate) description: Option<String>,
    /// `x-wso2-basePath`.
    pub(crate) base_path: Option<String>,
    pub(crate) hosts: Hosts,
    pub(crate) production: Option<Group>,
    pub(crate) sandbox: Option<Group>,
    /// Sandbox endpoints from `servers` of an AsyncAPI definition.
    pub(crate) named: BTreeMap<String, EndpointCluster>,
    pub(crate) schemes: Schemes,
    pub(crate) security: Vec<Requirement>,
    pub(crate) disable_security: bool,
    pub(crate) resources: Vec<Resource>,
    pub(crate) tier: Option<String>,
    pub(crate) auth_header: Option<String>,
    pub(crate) cors: Option<Cors>,
    pub(crate) http2_backend: bool,
    pub(crate) pass_request_payload: bool,
    pub(crate) extensions: Extensions,
}

/// Addresses from `servers`, or `schemes`, `host` and `basePath`.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    pub(crate) production: Option<EndpointCluster>,
    pub(crate) sandbox: Option<EndpointCluster>,
    /// Path of the last usable address, or `basePath`.
    pub(crate) base_path: Option<String>,
    /// Addresses with variables, at their default values. The original skips such addresses, so they count only where there
    /// would be no endpoint otherwise.
    pub(crate) templated: Option<EndpointCluster>,
}

/// Reads an OpenAPI definition.
pub(crate) fn read(
    file: &str,
    root: &Value,
    format: Format,
    circumstances: Circumstances<'_>,
    findings: &mut Findings,
) -> Option<Defined> {
    let top = Section::new(file, Pointer::Root, root, findings)?;
    let info = top.section("info", findings);
    let description = info
        .as_ref()
        .and_then(|info| info.get("description"))
        .and_then(Value::as_str);
    let addresses = circumstances.addresses;
    let named = cluster::named(&top, addresses, findings);
    let (schemes_parent, schemes_key) = match format {
        Format::OpenApi2 => (Some(top), "securityDefinitions"),
        Format::OpenApi3 | Format::AsyncApi2 => (top.section("components", findings), "securitySchemes"),
    };
    let schemes = schemes_parent.and_then(|parent| {
        let pointer = parent.pointer;
        Some(security::schemes(
            file,
            root,
            format,
            pointer.key(schemes_key),
            parent.get(schemes_key)?,
            findings,
        ))
    });
    let hosts = match format {
        // A prototype's addresses don't count. The base path of OpenAPI 2 is no part of an address, so it does.
        Format::OpenApi2 => {
            let hosts = hosts_of_2(&top, addresses, findings);
            Hosts {
                production: hosts.production.filter(|_| !circumstances.prototyped),
                ..hosts
            }
        }
        _ if circumstances.prototyped => Hosts::default(),
        Format::OpenApi3 | Format::AsyncApi2 => hosts_of_3(
            &top,
            top.pointer.key("servers"),
            top.get("servers"),
            addresses,
            findings,
        ),
    };
    let [production, sandbox] = Side::BOTH.map(|side| {
        let key = side.extension();
        cluster::extension(
            top.get(key)?,
            file,
            top.pointer.key(key),
            addresses,
            Some(&named),
            findings,
        )
    });
    let disable = top.flag_or_warn("x-wso2-disable-security", findings);
    let resources = paths::read(&top, root, format, circumstances, &named, disable, findings);
    let requirement_pointer = top.pointer.key("security");
    let requirements = top
        .get("security")
        .map(|value| security::requirements(file, &requirement_pointer, value, findings));
    let tier = tier(&top, findings);
    let mut owned = |key: &str| top.text_or_warn(key, findings).map(str::to_owned);
    let base_path = owned("x-wso2-basePath");
    let auth_header = owned("x-wso2-auth-header").filter(|header| !header.is_empty());
    Some(Defined {
        description: description.map(str::to_owned),
        base_path,
        hosts,
        production,
        sandbox,
        schemes: schemes.unwrap_or_default(),
        security: requirements.unwrap_or_default(),
        disable_security: disable.unwrap_or(false) || is_unsecured(&top),
        resources,
        tier,
        auth_header,
        cors: top.get("x-wso2-cors").map(|value| cors(&top, value, findings)),
        http2_backend: top
            .flag_or_warn("x-wso2-http2-backend-enabled", findings)
            .unwrap_or(false),
        pass_request_payload: top
            .flag_or_warn("x-wso2-pass-request-payload-to-enforcer", findings)
            .unwrap_or(true),
        extensions: security::extensions(top.map),
        named,
    })
}

/// Names of the extension that sets a throttling tier; the first one wins.
pub(crate) const TIERS: [&str; 2] = ["x-wso2-throttling-tier", "x-throttling-tier"];

/// The throttling tier set at the root or on an operation. An empty one is none: it must not hide that of `api.yaml`.
pub(crate) fn tier(section: &Section<'_>, findings: &mut Findings) -> Option<String> {
    let mut named = |key| {
        section
            .text_or_warn(key, findings)
            .filter(|tier| !tier.is_empty())
    };
    let tier = TIERS.into_iter().find_map(&mut named);
    tier.map(str::to_owned)
}

/// `x-auth-type: None`.
pub(crate) fn is_unsecured(section: &Section<'_>) -> bool {
    section.get("x-auth-type").and_then(Value::as_str) == Some("None")
}

/// `x-wso2-cors`: switched off means "as configured for all", anything but an object means no CORS at all.
fn cors(top: &Section<'_>, value: &Value, findings: &mut Findings) -> Cors {
    let Value::Object(map) = value else {
        findings.warning(
            top.file,
            &top.pointer.key("x-wso2-cors"),
            "not an object: CORS is off",
        );
        return Cors::Off;
    };
    let section = Section {
        map,
        pointer: top.pointer.key("x-wso2-cors"),
        any_case: true,
        ..*top
    };
    if !section.flag("corsConfigurationEnabled", findings).unwrap_or(true) {
        return Cors::Global;
    }
    let policy = api::cors_policy(&section, findings);
    if policy.allow_origins.is_empty() {
        findings.warning(
            top.file,
            &section.pointer,
            "no accessControlAllowOrigins: no origin is allowed",
        );
    }
    Cors::Custom(policy)
}

fn group(endpoints: Vec<Endpoint>) -> Option<EndpointCluster> {
    (!endpoints.is_empty()).then(|| EndpointCluster {
        balance: Balance::RoundRobin,
        endpoints,
        config: crate::model::EndpointConfig::default(),
        reference: None,
    })
}

/// `schemes`, `host` and `basePath`.
fn hosts_of_2(top: &Section<'_>, addresses: Addresses, findings: &mut Findings) -> Hosts {
    let base_path = top
        .text_or_warn("basePath", findings)
        .filter(|path| !path.is_empty())
        .map(str::to_owned);
    let schemes = top.list("schemes", findings);
    let secure = schemes.iter().any(|scheme| scheme.as_str() == Some("https"));
    let host = top
        .text_or_warn("host", findings)
        .map(str::trim)
        .filter(|host| !host.is_empty());
    let endpoint = host.and_then(|host| {
        let scheme = if secure { Scheme::Https } else { addresses.scheme };
        let path = base_path.as_deref().unwrap_or_default();
        let slash = if path.is_empty() || path.starts_with('/') {
            ""
        } else {
            "/"
        };
        Endpoint::parse(&format!("{}://{host}{slash}{path}", scheme.as_str()), scheme)
            .map_err(|error| {
                findings.warning(top.file, &top.pointer.key("host"), format!("ignored: {error}"))
            })
            .ok()
    });
    Hosts {
        production: group(endpoint.into_iter().collect()),
        sandbox: None,
        base_path,
        templated: None,
    }
}

/// `servers`, at the root or on a path item.
pub(crate) fn hosts_of_3(
    top: &Section<'_>,
    pointer: Pointer<'_>,
    servers: Option<&Value>,
    addresses: Addresses,
    findings: &mut Findings,
) -> Hosts {
    let Some(servers) = servers else {
        return Hosts::default();
    };
    let Value::Array(servers) = servers else {
        findings.error(top.file, &pointer, "must be a list of servers");
        return Hosts::default();
    };
    let mut production = Vec::new();
    let mut templated = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        let item_pointer = pointer.index(index);
        let Some(server) = Section::new(top.file, item_pointer, server, findings) else {
            continue;
        };
        let url = server.text("url", findings).unwrap_or_default().trim();
        // Relative to wherever the definition was fetched from, which nobody knows here.
        if url.is_empty() || url.starts_with('/') {
            continue;
        }
        let parsed = substitute(url, server.get("variables"))
            .and_then(|url| Endpoint::parse(&url, addresses.scheme).map_err(|error| error.to_string()));
        match parsed {
            Ok(endpoint) if has_variable_host(url) => templated.push(endpoint),
            Ok(endpoint) => production.push(endpoint),
            Err(reason) => {
                findings.warning(top.file, &server.pointer.key("url"), format!("ignored: {reason}"));
            }
        }
    }
    let base_path = production
        .last()
        .map(|endpoint: &Endpoint| endpoint.base_path.clone());
    Hosts {
        production: group(production),
        sandbox: None,
        base_path,
        templated: group(templated),
    }
}

/// A variable stands before the path: in scheme, host or port.
fn has_variable_host(url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    scheme.contains('{') || rest.split('/').next().unwrap_or_default().contains('{')
}

/// The address with the default value in place of each variable.
fn substitute(url: &str, variables: Option<&Value>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after
            .split_once('}')
            .ok_or_else(|| format!("{url:?} has an open brace"))?;
        let value = variables
            .and_then(|variables| variables.get(name)?.get("default"))
            .and_then(scalar);
        out.push_str(before);
        out.push_str(&value.ok_or_else(|| format!("variable {name:?} has no default"))?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}
