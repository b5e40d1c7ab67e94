//! AsyncAPI 2.x: the channels of a WebSocket API.

use std::collections::{BTreeMap, HashSet};

use super::defined::{Circumstances, Defined};
use super::extensions;
use super::format::Format;
use super::hosts::Hosts;
use super::{normal, order, security};
use crate::api::cluster::Addresses;
use crate::document::diagnostic::{Findings, Pointer};
use crate::document::tree::{self, Section};
use crate::document::value::{Object, Value};
use crate::model::endpoint::{Balance, EndpointCluster};
use crate::model::endpoint_config::EndpointConfig;
use crate::model::id::name_based;
use crate::model::{Operation, OperationPolicies, Resource};

/// Reads an AsyncAPI definition. Vendor extensions at its root have no effect on base path and security, as in the original; the
/// one that it doesn't know is read.
pub(crate) fn read(
    file: &str,
    root: &Value,
    circumstances: Circumstances<'_>,
    findings: &mut Findings,
) -> Option<Defined> {
    let top = Section::new(file, Pointer::Root, root, findings)?;
    let description = top
        .get("info")
        .and_then(|info| info.get("description"))
        .and_then(Value::text);
    let servers = top.section("servers", findings);
    let mut server = |name| endpoint(servers.as_ref()?, name, circumstances.addresses, findings);
    let (production, sandbox) = (server("production"), server("sandbox"));
    let components = top.section("components", findings);
    let schemes = components.and_then(|components| {
        let pointer = components.pointer.key("securitySchemes");
        Some(security::schemes(
            file,
            root,
            Format::AsyncApi2,
            pointer,
            components.get("securitySchemes")?,
            findings,
        ))
    });
    let mut schemes = schemes.unwrap_or_default();
    for scheme in &mut schemes.all {
        // The enforcer looks WebSocket schemes up by type.
        scheme.definition.clone_from(&scheme.kind);
    }
    let channels = top.section("channels", findings);
    let mut resources = channels
        .map(|channels| all(&channels, circumstances, findings))
        .unwrap_or_default();
    resources.sort_by_cached_key(|resource: &Resource| order::key(&resource.path));
    let operations = resources.iter().flat_map(|resource| &resource.operations);
    let scoped = operations
        .flat_map(|operation| &operation.security)
        .next()
        .is_some();
    if scoped
        && !schemes
            .all
            .iter()
            .any(|scheme| scheme.definition == security::OAUTH2)
    {
        // Scopes stand beside the schemes, not in them: they are asked of the token whatever is declared.
        schemes.all.push(security::token_scheme(security::OAUTH2));
    }
    Some(Defined {
        description: description.map(str::to_owned),
        hosts: Hosts {
            production,
            sandbox,
            ..Hosts::default()
        },
        schemes,
        resources,
        pass_request_payload: true,
        ambiguous_paths: extensions::ambiguous_paths(&top, findings),
        extensions: extensions::kept(top.map),
        ..Defined::default()
    })
}

fn endpoint(
    servers: &Section<'_>,
    name: &str,
    addresses: Addresses,
    findings: &mut Findings,
) -> Option<EndpointCluster> {
    let server = servers.section(name, findings)?;
    let url = server.text("url", findings)?;
    if names_scopes(server.get("security")) {
        let message = "ignored: scopes are read from x-scopes of channels";
        findings.warning(servers.file, &server.pointer.key("security"), message);
    }
    let endpoint = addresses.one(url, servers.file, &server.pointer.key("url"), findings)?;
    Some(EndpointCluster {
        balance: Balance::RoundRobin,
        endpoints: vec![endpoint],
        config: EndpointConfig::default(),
        reference: None,
    })
}

fn all(channels: &Section<'_>, circumstances: Circumstances<'_>, findings: &mut Findings) -> Vec<Resource> {
    let mut resources = Vec::new();
    for (name, value) in channels.map {
        let Some(channel) = Section::new(channels.file, channels.pointer.key(name), value, findings) else {
            continue;
        };
        if let Some(fault) = normal::fault(name) {
            findings.refusal(channels.file, &channel.pointer, fault);
        }
        let publish = channel.section("publish", findings);
        let Some(action) = publish.or_else(|| channel.section("subscribe", findings)) else {
            findings.warning(
                channels.file,
                &channel.pointer,
                "ignored: neither publish nor subscribe is given",
            );
            continue;
        };
        let path = if name.starts_with('/') {
            name.clone()
        } else {
            format!("/{name}")
        };
        let scopes = scopes(&action, findings);
        unasked(&channel, &action, scopes.as_deref().unwrap_or_default(), findings);
        let operation = Operation {
            id: name_based(&[circumstances.uuid, &path, "GET"]),
            method: "GET".to_owned(),
            security: scopes
                .map(|scopes| vec![BTreeMap::from([(security::OAUTH2.to_owned(), scopes)])])
                .unwrap_or_default(),
            tier: None,
            disable_security: extensions::is_unsecured(&channel),
            policies: OperationPolicies::default(),
            uri_mapping: action.text_or_warn("x-uri-mapping", findings).map(str::to_owned),
            mock: Vec::new(),
            extensions: extensions::kept(action.map),
        };
        resources.push(Resource {
            id: name_based(&[circumstances.uuid, &path]),
            path,
            operations: vec![operation],
            production: None,
            sandbox: None,
            extensions: extensions::kept(channel.map),
        });
    }
    resources
}

/// `x-scopes`: a list, or a map whose values are the scopes.
fn scopes(action: &Section<'_>, findings: &mut Findings) -> Option<Vec<String>> {
    let value = action.get("x-scopes")?;
    let pointer = action.pointer.key("x-scopes");
    let values: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        Value::Null | Value::Scalar(_) | Value::String(_) => vec![&Value::Null],
    };
    let texts: Option<Vec<String>> = values
        .into_iter()
        .map(|value| tree::text(value, action.file, &pointer, findings).map(str::to_owned))
        .collect();
    if texts.is_none() {
        findings.error(action.file, &pointer, "must be a list of scopes");
    }
    texts
}

/// Scopes at places where nobody looks for them.
fn unasked(channel: &Section<'_>, action: &Section<'_>, asked: &[String], findings: &mut Findings) {
    let mut warn = |pointer: &Pointer<'_>| {
        let message = "ignored: scopes are read from x-scopes of publish, of subscribe without publish";
        findings.warning(channel.file, pointer, message);
    };
    if channel.get("x-scopes").is_some() {
        warn(&channel.pointer.key("x-scopes"));
    }
    if names_scopes(action.get("security")) {
        warn(&action.pointer.key("security"));
    }
    let other = channel
        .get("subscribe")
        .and_then(|subscribe| subscribe.get("x-scopes"));
    let asked: HashSet<&str> = asked.iter().map(String::as_str).collect();
    let more = |scope: &Value| scope.text().is_none_or(|scope| !asked.contains(scope));
    let more = match other {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => items.iter().any(more),
        Some(Value::Object(map)) => map.values().any(more),
        Some(Value::Scalar(_) | Value::String(_)) => true,
    };
    if more {
        warn(&channel.pointer.key("subscribe").key("x-scopes"));
    }
}

/// A list of requirements of which one has scopes.
fn names_scopes(requirements: Option<&Value>) -> bool {
    let requirements = requirements.and_then(Value::as_array).into_iter().flatten();
    let mut schemes = requirements.filter_map(Value::as_object).flat_map(Object::values);
    schemes.any(|scopes| scopes.as_array().is_some_and(|scopes| !scopes.is_empty()))
}
