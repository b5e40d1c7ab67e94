//! Where the upstream is, as the definition says it.

use crate::api::cluster::Addresses;
use crate::document::diagnostic::{Findings, Pointer};
use crate::document::tree::{self, Section};
use crate::document::value::Value;
use crate::model::endpoint::{Balance, Endpoint, EndpointCluster, Scheme};
use crate::model::endpoint_config::EndpointConfig;

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

fn group(endpoints: Vec<Endpoint>) -> Option<EndpointCluster> {
    (!endpoints.is_empty()).then(|| EndpointCluster {
        balance: Balance::RoundRobin,
        endpoints,
        config: EndpointConfig::default(),
        reference: None,
    })
}

/// `schemes`, `host` and `basePath`.
pub(crate) fn of_2(top: &Section<'_>, addresses: Addresses, findings: &mut Findings) -> Hosts {
    let base_path = top
        .text_or_warn("basePath", findings)
        .filter(|path| !path.is_empty())
        .map(str::to_owned);
    let schemes = top.list("schemes", findings);
    let secure = schemes.iter().position(|scheme| {
        let scheme = scheme.as_str().unwrap_or_default();
        scheme.trim().eq_ignore_ascii_case("https")
    });
    if let Some(at) = secure
        && schemes.get(at).and_then(Value::as_str) != Some("https")
    {
        let pointer = top.pointer.key("schemes");
        findings.warning(top.file, &pointer.index(at), "taken for https");
    }
    let host = top
        .text_or_warn("host", findings)
        .map(str::trim)
        .filter(|host| !host.is_empty());
    let endpoint = host.and_then(|host| {
        let scheme = if secure.is_some() {
            Scheme::Https
        } else {
            addresses.scheme
        };
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

/// `servers` of a definition without a project, at the root or on a path item: the first that has an address, variables at their
/// defaults. The others are alternatives, which nobody chooses between here (OpenAPI 3, Server Object).
pub(crate) fn first_of_3(
    top: &Section<'_>,
    pointer: Pointer<'_>,
    servers: Option<&Value>,
    addresses: Addresses,
    findings: &mut Findings,
) -> Hosts {
    let mut first: Option<Endpoint> = None;
    each(
        top,
        pointer,
        servers,
        addresses,
        findings,
        |pointer, _, endpoint, findings| match &first {
            None => first = Some(endpoint),
            Some(first) if *first == endpoint => {}
            Some(_) => findings.warning(top.file, pointer, "not called: the first server is"),
        },
    );
    Hosts {
        base_path: first.as_ref().map(|endpoint| endpoint.base_path.clone()),
        production: group(first.into_iter().collect()),
        ..Hosts::default()
    }
}

/// `servers`, at the root or on a path item.
pub(crate) fn of_3(
    top: &Section<'_>,
    pointer: Pointer<'_>,
    servers: Option<&Value>,
    addresses: Addresses,
    findings: &mut Findings,
) -> Hosts {
    let mut production = Vec::new();
    let mut templated = Vec::new();
    each(
        top,
        pointer,
        servers,
        addresses,
        findings,
        |_, url, endpoint, _| {
            if has_variable_host(url) {
                templated.push(endpoint);
            } else {
                production.push(endpoint);
            }
        },
    );
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

/// Calls `take` with each server that has an address: where it stands, as it is written, and at the defaults of its variables.
fn each(
    top: &Section<'_>,
    pointer: Pointer<'_>,
    servers: Option<&Value>,
    addresses: Addresses,
    findings: &mut Findings,
    mut take: impl FnMut(&Pointer<'_>, &str, Endpoint, &mut Findings),
) {
    let servers = match servers {
        None => return,
        Some(Value::Array(servers)) => servers,
        Some(_) => return findings.error(top.file, &pointer, "must be a list of servers"),
    };
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
        let parsed = substitute(url, &server, findings)
            .and_then(|url| Endpoint::parse(&url, addresses.scheme).map_err(|error| error.to_string()));
        match parsed {
            Ok(endpoint) => take(&server.pointer, url, endpoint, findings),
            Err(reason) => {
                findings.warning(top.file, &server.pointer.key("url"), format!("ignored: {reason}"));
            }
        }
    }
}

/// A variable stands before the path: in scheme, host or port.
fn has_variable_host(url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    scheme.contains('{') || rest.split('/').next().unwrap_or_default().contains('{')
}

/// The address with the default value in place of each variable.
fn substitute(url: &str, server: &Section<'_>, findings: &mut Findings) -> Result<String, String> {
    let variables = server.get("variables");
    let pointer = server.pointer.key("variables");
    let mut out = String::new();
    let mut rest = url;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after
            .split_once('}')
            .ok_or_else(|| format!("{url:?} has an open brace"))?;
        let value = variables
            .and_then(|variables| variables.get(name)?.get("default"))
            .and_then(|value| tree::text(value, server.file, &pointer.key(name).key("default"), findings));
        out.push_str(before);
        out.push_str(value.ok_or_else(|| format!("variable {name:?} has no default"))?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}
