//! Where the upstream is, as the definition says it.

use crate::api::cluster::Addresses;
use crate::document::diagnostic::{Diagnostic, Findings, Pointer};
use crate::document::tree::{self, Section};
use crate::document::value::Value;
use crate::model::endpoint::{Balance, Endpoint, EndpointCluster, Scheme, is_cut_short};
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
    let secure = is_secure(top, findings);
    tell_schemes(top, findings);
    let endpoint = address_2(top, secure, addresses, findings);
    Hosts {
        production: group(endpoint.into_iter().collect()),
        sandbox: None,
        base_path: base_path_2(top, findings),
        templated: None,
    }
}

/// Where the requests of an operation go whose `schemes` replace the root's (OpenAPI 2.0, Operation Object); `None` where they say
/// the same, or nothing.
pub(crate) fn of_operation_2(
    top: &Section<'_>,
    operation: &Section<'_>,
    addresses: Addresses,
    findings: &mut Findings,
) -> Option<EndpointCluster> {
    let is_read = |scheme: &str| {
        ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    };
    let mut schemes = operation
        .list("schemes", findings)
        .iter()
        .filter_map(Value::as_str);
    // Those that name neither must not turn HTTPS into HTTP.
    if !schemes.any(|scheme| is_read(scheme.trim())) {
        return None;
    }
    let secure = is_secure(operation, findings);
    // What is wrong with the root's has been told.
    let mut told = Findings::default();
    if secure == is_secure(top, &mut told) {
        return None;
    }
    group(address_2(top, secure, addresses, &mut told).into_iter().collect())
}

/// Says which schemes of the root name nothing that is called.
fn tell_schemes(top: &Section<'_>, findings: &mut Findings) {
    let known = ["http", "https", "ws", "wss"];
    let schemes = top.list("schemes", &mut Findings::default());
    for (at, scheme) in schemes.iter().enumerate() {
        let scheme = scheme.as_str().unwrap_or_default().trim().to_ascii_lowercase();
        if !known.contains(&&*scheme) {
            let message = "ignored: none of http, https, ws, wss";
            findings.warning(top.file, &top.pointer.key("schemes").index(at), message);
        }
    }
}

/// Whether HTTPS, which goes before HTTP, is among the schemes.
fn is_secure(section: &Section<'_>, findings: &mut Findings) -> bool {
    let schemes = section.list("schemes", findings);
    let secure = schemes.iter().position(|scheme| {
        let scheme = scheme.as_str().unwrap_or_default();
        scheme.trim().eq_ignore_ascii_case("https")
    });
    if let Some(at) = secure
        && schemes.get(at).and_then(Value::as_str) != Some("https")
    {
        let pointer = section.pointer.key("schemes");
        findings.warning(section.file, &pointer.index(at), "taken for https");
    }
    secure.is_some()
}

fn base_path_2(top: &Section<'_>, findings: &mut Findings) -> Option<String> {
    top.text_or_warn("basePath", findings)
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
}

/// `host` and `basePath`.
fn address_2(
    top: &Section<'_>,
    secure: bool,
    addresses: Addresses,
    findings: &mut Findings,
) -> Option<Endpoint> {
    let host = top
        .text_or_warn("host", findings)
        .map(str::trim)
        .filter(|host| !host.is_empty())?;
    let pointer = top.pointer.key("host");
    if host.contains("://") || is_cut_short(host) {
        findings.warning(
            top.file,
            &pointer,
            "ignored: a host has no scheme, which belongs into schemes",
        );
        return None;
    }
    let scheme = if secure { Scheme::Https } else { addresses.scheme };
    let path = base_path_2(top, &mut Findings::default()).unwrap_or_default();
    let slash = if path.is_empty() || path.starts_with('/') {
        ""
    } else {
        "/"
    };
    let url = format!("{}://{host}{slash}{path}", scheme.as_str());
    let endpoint = Endpoint::parse_named(&url, scheme, addresses.hosts)
        .map_err(|error| findings.warning(top.file, &pointer, format!("ignored: {error}")))
        .ok()?;
    tell_left_out(top.file, &pointer, host, findings);
    if host.contains('/') {
        findings.warning(
            top.file,
            &pointer,
            "taken with its path, which belongs into basePath",
        );
    }
    Some(endpoint)
}

/// `servers` of a definition without a project, at the root, on a path item or on an operation: the first that has an address,
/// variables at their defaults. The others are alternatives, which nobody chooses between here (OpenAPI 3, Server Object).
pub(crate) fn first_of_3(
    top: &Section<'_>,
    pointer: Pointer<'_>,
    servers: Option<&Value>,
    addresses: Addresses,
    findings: &mut Findings,
) -> Hosts {
    let mut first: Option<Endpoint> = None;
    let mut references = Vec::new();
    for server in listed(top, &pointer, servers, findings) {
        let url = server.text("url", findings).unwrap_or_default().trim();
        let place = server.pointer.key("url");
        let url = match substitute(url, &server, findings) {
            Ok(url) => url,
            Err(reason) => {
                findings.warning(top.file, &place, format!("ignored: {reason}"));
                continue;
            }
        };
        if is_reference(url.trim()) {
            references.push(server.pointer.to_string());
            continue;
        }
        match Endpoint::parse_named(&url, addresses.scheme, addresses.hosts) {
            Ok(endpoint) => match &first {
                None => {
                    tell_left_out(top.file, &place, &url, findings);
                    if !url.contains("://") {
                        findings.warning(top.file, &place, format!("taken for {}", endpoint.url));
                    }
                    first = Some(endpoint);
                }
                Some(first) if *first == endpoint => {}
                Some(_) => findings.warning(top.file, &server.pointer, "not called: the first server is"),
            },
            Err(error) => findings.warning(top.file, &place, format!("ignored: {error}")),
        }
    }
    if first.is_some() {
        for reference in references {
            let message = "not called: it names no host, and the definition comes from nowhere";
            findings.push(Diagnostic::warning(top.file, reference, message));
        }
    }
    Hosts {
        base_path: first.as_ref().map(|endpoint| endpoint.base_path.clone()),
        production: group(first.into_iter().collect()),
        ..Hosts::default()
    }
}

/// A reference that is relative to where the definition came from (RFC 3986 section 4.2), which nobody knows here: a path, or steps of
/// one. Without a scheme, only what looks like a host is one: by its dot, its port, or for `localhost`.
fn is_reference(url: &str) -> bool {
    let first = url.split(['/', '?', '#']).next().unwrap_or_default();
    let is_host = first.contains(['.', ':']) && !first.starts_with('.');
    !is_host && !first.eq_ignore_ascii_case("localhost")
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
    for server in listed(top, &pointer, servers, findings) {
        let url = server.text("url", findings).unwrap_or_default().trim();
        // Relative to wherever the definition was fetched from, which nobody knows here.
        if url.is_empty() || url.starts_with('/') {
            continue;
        }
        let parsed = substitute(url, &server, findings).and_then(|url| {
            Endpoint::parse_named(&url, addresses.scheme, addresses.hosts).map_err(|error| error.to_string())
        });
        if parsed.is_ok() {
            tell_left_out(top.file, &server.pointer.key("url"), url, findings);
        }
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

/// Says which parts of an address that is called are left out.
fn tell_left_out(file: &str, place: &Pointer<'_>, url: &str, findings: &mut Findings) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        findings.warning(file, place, "the user information before @ is not sent");
    }
    if rest.contains(['?', '#']) {
        findings.warning(file, place, "what begins with ? or # is not sent");
    }
}

/// The objects of a list of servers.
fn listed<'v>(
    top: &Section<'v>,
    pointer: &'v Pointer<'v>,
    servers: Option<&'v Value>,
    findings: &mut Findings,
) -> Vec<Section<'v>> {
    match servers {
        None => Vec::new(),
        Some(Value::Array(servers)) => servers
            .iter()
            .enumerate()
            .filter_map(|(index, server)| Section::new(top.file, pointer.index(index), server, findings))
            .collect(),
        Some(_) => {
            findings.error(top.file, pointer, "must be a list of servers");
            Vec::new()
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
