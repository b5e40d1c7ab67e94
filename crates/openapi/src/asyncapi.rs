//! AsyncAPI 2.x: the channels of a WebSocket API.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::Addresses;
use crate::definition::{Circumstances, Defined, Hosts, is_unsecured};
use crate::diagnostic::{Findings, Pointer};
use crate::endpoint::{Balance, EndpointCluster};
use crate::id::name_based;
use crate::model::{EndpointConfig, Operation, OperationPolicies, Resource};
use crate::tree::Section;
use crate::{order, security};

/// Reads an AsyncAPI definition. Vendor extensions at its root have no effect on base path and security, as in the original.
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
        .and_then(Value::as_str);
    let servers = top.section("servers", findings);
    let mut server = |name| endpoint(servers.as_ref()?, name, circumstances.addresses, findings);
    let (production, sandbox) = (server("production"), server("sandbox"));
    let components = top.section("components", findings);
    let schemes = components.and_then(|components| {
        let pointer = components.pointer.key("securitySchemes");
        Some(security::schemes(
            file,
            root,
            pointer,
            components.get("securitySchemes")?,
            findings,
        ))
    });
    let mut schemes = schemes.unwrap_or_default();
    for scheme in &mut schemes {
        // The enforcer looks WebSocket schemes up by type.
        scheme.definition.clone_from(&scheme.kind);
    }
    let channels = top.section("channels", findings);
    let mut resources = channels
        .map(|channels| all(&channels, circumstances, findings))
        .unwrap_or_default();
    resources.sort_by_cached_key(|resource: &Resource| order::key(&resource.path));
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
        extensions: security::extensions(top.map),
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
        let scopes = action.get("x-scopes").map(security::channel_scopes);
        let operation = Operation {
            id: name_based(&[circumstances.uuid, &path, "GET"]),
            method: "GET".to_owned(),
            security: scopes
                .map(|scopes| vec![BTreeMap::from([("oauth2".to_owned(), scopes)])])
                .unwrap_or_default(),
            tier: None,
            disable_security: is_unsecured(&channel),
            policies: OperationPolicies::default(),
            uri_mapping: action.text_or_warn("x-uri-mapping", findings).map(str::to_owned),
            mock: Vec::new(),
            extensions: security::extensions(action.map),
        };
        resources.push(Resource {
            id: name_based(&[circumstances.uuid, &path]),
            path,
            operations: vec![operation],
            production: None,
            sandbox: None,
            extensions: security::extensions(channel.map),
        });
    }
    resources
}
