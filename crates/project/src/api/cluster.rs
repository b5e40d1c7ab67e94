//! Endpoint groups as projects write them: vendor extensions, `endpointConfig` of `api.yaml`, and the environment's overrides.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::document::diagnostic::{Diagnostic, Findings, Pointer};
use crate::document::tree::{self, Section};
use crate::document::value::{Object, Value};
use crate::model::EndpointSecurity;
use crate::model::endpoint::{Balance, Endpoint, EndpointCluster, HostNames, Scheme};
use crate::model::endpoint_config::{CircuitBreakers, EndpointConfig, Retry};
use crate::settings::Settings;

/// What the groups of one project are read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// Scheme of an address that has none.
    pub(crate) scheme: Scheme,
    /// `consul(…)` is allowed.
    pub(crate) consul: bool,
    pub(crate) hosts: HostNames,
}

impl Addresses {
    /// One address, or a finding at `pointer`.
    pub(crate) fn one(
        &self,
        text: &str,
        file: &str,
        pointer: &Pointer<'_>,
        findings: &mut Findings,
    ) -> Option<Endpoint> {
        Endpoint::parse_discovered_named(text, self.scheme, self.consul, self.hosts)
            .map_err(|error| findings.error(file, pointer, error.to_string()))
            .ok()
    }
}

/// A group and the credentials it brings.
pub(crate) type Group = (EndpointCluster, Option<EndpointSecurity>);

/// `x-wso2-endpoints`: a list of objects, each with one or more named groups.
pub(crate) fn named(
    root: &Section<'_>,
    addresses: Addresses,
    findings: &mut Findings,
) -> BTreeMap<String, EndpointCluster> {
    let mut groups = BTreeMap::new();
    let list_pointer = root.pointer.key("x-wso2-endpoints");
    for (index, item) in root.list("x-wso2-endpoints", findings).iter().enumerate() {
        let item_pointer = list_pointer.index(index);
        let Some(item) = Section::new(root.file, item_pointer, item, findings) else {
            continue;
        };
        for (name, value) in item.map {
            let pointer = item.pointer.key(name);
            let Some((group, security)) = extension(value, root.file, pointer, addresses, None, findings)
            else {
                continue;
            };
            if security.is_some() {
                unused_credentials(root.file, &pointer, findings);
            }
            groups.insert(name.clone(), group);
        }
    }
    groups
}

/// The value of `x-wso2-production-endpoints` or `x-wso2-sandbox-endpoints`: a group, or a reference to a named one.
pub(crate) fn extension(
    value: &Value,
    file: &str,
    pointer: Pointer<'_>,
    addresses: Addresses,
    named: Option<&BTreeMap<String, EndpointCluster>>,
    findings: &mut Findings,
) -> Option<Group> {
    if let (Value::String(reference), Some(named)) = (value, named) {
        let name = reference.strip_prefix("#/x-wso2-endpoints/").unwrap_or_default();
        let Some(group) = named.get(name) else {
            findings.error(
                file,
                &pointer,
                format!("{reference:?} names no entry of x-wso2-endpoints"),
            );
            return None;
        };
        return Some((
            EndpointCluster {
                reference: Some(name.to_owned()),
                ..group.clone()
            },
            None,
        ));
    }
    let section = Section::new(file, pointer, value, findings)?;
    let urls_pointer = section.pointer.key("urls");
    let urls = section.texts("urls", findings);
    if urls.is_empty() {
        findings.error(file, &urls_pointer, "must list at least one URL");
    }
    let endpoints: Vec<Endpoint> = urls
        .iter()
        .enumerate()
        .filter_map(|(index, url)| addresses.one(url, file, &urls_pointer.index(index), findings))
        .collect();
    let failover = section
        .text("type", findings)
        .is_some_and(|kind| kind.starts_with("failover"));
    let balance = if failover {
        Balance::Failover
    } else {
        Balance::RoundRobin
    };
    let config = section
        .section("advanceEndpointConfig", findings)
        .map(|section| advanced(&section, findings));
    let security = section
        .section("securityConfig", findings)
        .and_then(|section| basic(&section, findings));
    // A group without addresses can't be built; why has been said.
    let group = EndpointCluster {
        balance,
        endpoints,
        config: config.unwrap_or_default(),
        reference: None,
    };
    (!group.endpoints.is_empty()).then_some((group, security))
}

/// `securityConfig` where it is not read.
pub(crate) fn unused_credentials(file: &str, group: &Pointer<'_>, findings: &mut Findings) {
    findings.warning(
        file,
        &group.key("securityConfig"),
        "ignored: credentials are used for API-level endpoints only",
    );
}

fn advanced(section: &Section<'_>, findings: &mut Findings) -> EndpointConfig {
    let timeout = section.integer("timeoutInMillis", findings);
    EndpointConfig {
        timeout: timeout
            .and_then(|millis| u64::try_from(millis).ok())
            .filter(|millis| *millis > 0)
            .map(Duration::from_millis),
        retry: section.section("retryConfig", findings).map(|section| {
            let count = section.integer("count", findings).unwrap_or(-1);
            let codes = section
                .list("statusCodes", findings)
                .iter()
                .filter_map(Value::as_u64);
            Retry {
                count: u32::try_from(count).unwrap_or(u32::MAX),
                status_codes: codes
                    .filter_map(|code| u16::try_from(code).ok())
                    .filter(|code| (401..=598).contains(code))
                    .collect(),
            }
        }),
        circuit_breakers: section.section("circuitBreakers", findings).map(|section| {
            let mut positive = |key: &str| {
                let value = section.integer(key, findings).filter(|value| *value > 0)?;
                Some(u32::try_from(value).unwrap_or(u32::MAX))
            };
            CircuitBreakers {
                max_connections: positive("maxConnections"),
                max_requests: positive("maxRequests"),
                max_pending_requests: positive("maxPendingRequests"),
                max_retries: positive("maxRetries"),
                max_connection_pools: positive("maxConnectionPools"),
            }
        }),
    }
}

/// `securityConfig` of an extension: only basic authentication, and its presence enables it.
fn basic(section: &Section<'_>, findings: &mut Findings) -> Option<EndpointSecurity> {
    let security = EndpointSecurity {
        enabled: true,
        ..security(section, findings)
    };
    if security.kind.eq_ignore_ascii_case("basic") {
        return Some(security);
    }
    findings.error(
        section.file,
        &section.pointer.key("type"),
        format!("{:?} is not supported, only basic is", security.kind),
    );
    None
}

fn security(section: &Section<'_>, findings: &mut Findings) -> EndpointSecurity {
    let mut text = |key| section.text(key, findings).unwrap_or_default().to_owned();
    let (kind, username, password) = (text("type"), text("username"), text("password"));
    let custom = section
        .entry("customparameters")
        .or_else(|| section.entry("customParameters"));
    let mut custom_parameters = BTreeMap::new();
    match custom {
        Some((key, Value::Object(parameters))) => {
            let pointer = section.pointer.key(key);
            for (name, value) in parameters {
                let text = tree::text(value, section.file, &pointer.key(name), findings);
                custom_parameters.extend(text.map(|text| (name.clone(), text.to_owned())));
            }
        }
        None | Some((_, Value::Null)) => {}
        Some((key, _)) => findings.error(section.file, &section.pointer.key(key), "must be an object"),
    }
    let enabled = section.flag("enabled", findings).unwrap_or(false);
    EndpointSecurity {
        enabled,
        kind,
        username,
        password,
        custom_parameters,
    }
}

/// Production or sandbox side of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Production,
    Sandbox,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Production, Self::Sandbox];

    fn pick(self, production: &'static str, sandbox: &'static str) -> &'static str {
        match self {
            Self::Production => production,
            Self::Sandbox => sandbox,
        }
    }

    /// Name of the vendor extension.
    pub(crate) fn extension(self) -> &'static str {
        self.pick("x-wso2-production-endpoints", "x-wso2-sandbox-endpoints")
    }
}

/// `production_endpoints` + `production_failovers`, or the sandbox pair, of `endpointConfig`.
pub(crate) fn from_api_yaml(
    config: &Section<'_>,
    side: Side,
    addresses: Addresses,
    findings: &mut Findings,
) -> Option<EndpointCluster> {
    let primary_key = side.pick("production_endpoints", "sandbox_endpoints");
    let failover_key = side.pick("production_failovers", "sandbox_failovers");
    let mut endpoints = Vec::new();
    let mut settings = None;
    let (key, value) = config.entry(primary_key).unwrap_or((primary_key, &Value::Null));
    let list_pointer = config.pointer.key(key);
    let single = value.is_object();
    for (index, item) in objects(value, config, &list_pointer, findings).enumerate() {
        let item_pointer = list_pointer.index(index);
        let pointer = if single { list_pointer } else { item_pointer };
        let section = Section {
            file: config.file,
            pointer,
            map: item,
            any_case: true,
        };
        let Some(url) = section.text("url", findings) else {
            findings.error(config.file, &pointer, "has no url");
            continue;
        };
        endpoints.extend(addresses.one(url, config.file, &pointer.key("url"), findings));
        settings.get_or_insert_with(|| legacy(&section, findings));
    }
    let (key, value) = config.entry(failover_key).unwrap_or((failover_key, &Value::Null));
    let list_pointer = config.pointer.key(key);
    let mut failover = false;
    for (index, item) in objects(value, config, &list_pointer, findings).enumerate() {
        failover = true;
        let pointer = list_pointer.index(index);
        let section = Section {
            file: config.file,
            pointer,
            map: item,
            any_case: true,
        };
        if let Some(url) = section.text("url", findings) {
            endpoints.extend(addresses.one(url, config.file, &pointer.key("url"), findings));
        }
    }
    let balance = if failover {
        Balance::Failover
    } else {
        Balance::RoundRobin
    };
    let config = settings.unwrap_or_default();
    (!endpoints.is_empty()).then_some(EndpointCluster {
        balance,
        endpoints,
        config,
        reference: None,
    })
}

/// The objects of a value that is one or a list of them. An endpoint section may be present and empty.
fn objects<'v>(
    value: &'v Value,
    config: &Section<'_>,
    pointer: &Pointer<'_>,
    findings: &mut Findings,
) -> impl Iterator<Item = &'v Object> + use<'v> {
    let items: &[Value] = match value {
        Value::Array(items) => items,
        Value::Null => &[],
        Value::Object(map) if map.is_empty() => &[],
        other => std::slice::from_ref(other),
    };
    if items.iter().any(|item| !item.is_object()) {
        findings.error(
            config.file,
            pointer,
            "must be an object with a url, or a list of them",
        );
    }
    items.iter().filter_map(Value::as_object)
}

/// `config` beside a `url`: milliseconds and counts as text. Other types have never had an effect there.
fn legacy(section: &Section<'_>, findings: &mut Findings) -> EndpointConfig {
    let Some((key, Value::Object(map))) = section.entry("config") else {
        return EndpointConfig::default();
    };
    let section = Section {
        file: section.file,
        pointer: section.pointer.key(key),
        map,
        any_case: true,
    };
    let mut number = |key: &str| {
        let text = section.certain_text_or_warn(key, findings)?.trim();
        if text.is_empty() {
            return None;
        }
        let number = text.parse::<i64>().ok();
        if number.is_none() {
            findings.warning(
                section.file,
                &section.pointer.key(key),
                "ignored: must be a whole number as text",
            );
        }
        number
    };
    let timeout = number("actionDuration")
        .and_then(|millis| u64::try_from(millis).ok())
        .filter(|millis| *millis > 0);
    let retries = number("retryTimeOut");
    EndpointConfig {
        timeout: timeout.map(Duration::from_millis),
        retry: retries.map(|count| Retry {
            count: u32::try_from(count).unwrap_or(u32::MAX),
            status_codes: Vec::new(),
        }),
        circuit_breakers: None,
    }
}

/// `endpoint_security.production` or `.sandbox` of `endpointConfig`.
pub(crate) fn security_from_api_yaml(
    config: &Section<'_>,
    side: Side,
    findings: &mut Findings,
) -> Option<EndpointSecurity> {
    let both = config.section("endpoint_security", findings)?;
    let section = both.section(side.pick("production", "sandbox"), findings)?;
    let security = security(&section, findings);
    if security.enabled && !security.kind.eq_ignore_ascii_case("basic") {
        let message = format!("{:?} has no effect, only basic has", security.kind);
        findings.warning(section.file, &section.pointer.key("type"), message);
    }
    Some(security)
}

/// Endpoints and credentials that the adapter's environment sets for this API: `api_<sha1 of name:version>_prod_endpoint_0`, …
pub(crate) fn override_from_environment(
    digest: &str,
    side: Side,
    settings: &Settings<'_>,
    addresses: Addresses,
    cluster: &mut Option<EndpointCluster>,
    security: &mut Option<EndpointSecurity>,
    findings: &mut Findings,
) {
    let prefix = format!("api_{digest}_{}", side.pick("prod", "sand"));
    let variable = |name: &str| (settings.variable)(name).map(|value| unquote(&value));
    let mut endpoints = Vec::new();
    // Bounded, since the closure may answer anything.
    for index in 0..1_000 {
        let name = format!("{prefix}_endpoint_{index}");
        let Some(text) = variable(&name) else { break };
        match Endpoint::parse_discovered_named(&text, addresses.scheme, addresses.consul, addresses.hosts) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => findings.push(Diagnostic::error(
                "",
                "",
                format!("environment variable {name}: {error}"),
            )),
        }
    }
    if !endpoints.is_empty() {
        let config = cluster.take().map(|cluster| cluster.config).unwrap_or_default();
        *cluster = Some(EndpointCluster {
            balance: Balance::RoundRobin,
            endpoints,
            config,
            reference: None,
        });
    }
    if let Some(security) = security.as_mut().filter(|security| security.enabled) {
        if let Some(username) = variable(&format!("{prefix}_basic_username")) {
            security.username = username;
        }
        if let Some(password) = variable(&format!("{prefix}_basic_password")) {
            security.password = password;
        }
    }
}

/// The text in a Go-quoted string; other text is itself.
fn unquote(text: &str) -> String {
    let raw = text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    if let Some(raw) = raw.filter(|raw| !raw.contains('`')) {
        return raw.to_owned();
    }
    if text.len() >= 2 && text.starts_with('"') && text.ends_with('"') {
        return serde_json::from_str(text).unwrap_or_else(|_| text.to_owned());
    }
    text.to_owned()
}
