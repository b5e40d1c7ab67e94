//! OpenAPI 2.0, 3.0 and 3.1: what routing and policy need of a definition. Schemas are never looked at.

use super::defined::{Circumstances, Defined};
use super::format::Format;
use super::hosts::Hosts;
use super::paths::Upstream;
use super::security::{self, Schemes};
use super::{extensions, hosts, paths};
use crate::api;
use crate::api::cluster::{self, Side};
use crate::document::diagnostic::{Diagnostic, Findings, Pointer};
use crate::document::tree::Section;
use crate::document::value::Value;
use crate::model::Cors;

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
        .and_then(Value::text);
    tell_foreign(&top, format, findings);
    let addresses = circumstances.addresses;
    let named = cluster::named(&top, addresses, findings);
    let mut schemes = schemes(&top, root, format, findings);
    let hosts = hosts(&top, format, circumstances, findings);
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
    let upstream = Upstream {
        named: &named,
        production: match &production {
            Some((cluster, _)) => Some(cluster),
            None => hosts.production.as_ref(),
        },
        extended: production.is_some(),
    };
    let mut resources = paths::read(&top, root, format, circumstances, upstream, disable, findings);
    let requirement_pointer = top.pointer.key("security");
    let requirements = top
        .get("security")
        .map(|value| security::requirements(file, &requirement_pointer, value, findings));
    let mut requirements = requirements.unwrap_or_default();
    if top
        .get("openapi")
        .and_then(Value::text)
        .is_some_and(|version| version.starts_with("3.2"))
    {
        let operations = resources.iter_mut().flat_map(|resource| &mut resource.operations);
        let lists = operations.map(|operation| &mut operation.security);
        schemes.follow(root, format, lists.chain([&mut requirements]));
    }
    let tier = extensions::tier(&top, findings);
    // No number begins with a slash.
    let base_path = top.certain_text_or_warn("x-wso2-basePath", findings);
    let auth_header = top
        .text_or_warn("x-wso2-auth-header", findings)
        .filter(|header| !header.is_empty());
    Some(Defined {
        description: description.map(str::to_owned),
        base_path: base_path.map(str::to_owned),
        hosts,
        production,
        sandbox,
        schemes,
        security: requirements,
        disable_security: disable.unwrap_or(false) || extensions::is_unsecured(&top),
        resources,
        tier,
        auth_header: auth_header.map(str::to_owned),
        cors: top.get("x-wso2-cors").map(|value| cors(&top, value, findings)),
        http2_backend: top
            .flag_or_warn("x-wso2-http2-backend-enabled", findings)
            .unwrap_or(false),
        pass_request_payload: top
            .flag_or_warn("x-wso2-pass-request-payload-to-enforcer", findings)
            .unwrap_or(true),
        ambiguous_paths: extensions::ambiguous_paths(&top, findings),
        extensions: extensions::kept(top.map),
        named,
    })
}

/// Says which keys of the root are those of another version, and that a version is newer than what is known here.
fn tell_foreign(top: &Section<'_>, format: Format, findings: &mut Findings) {
    let (keys, message): (&[&str], _) = match format {
        Format::OpenApi2 => (
            &["servers", "components"],
            "ignored: it belongs to OpenAPI 3, and this is 2.0",
        ),
        Format::OpenApi3 => (
            &["host", "basePath", "schemes", "securityDefinitions"],
            "ignored: it belongs to OpenAPI 2.0, and this is 3",
        ),
        Format::AsyncApi2 => (&[], ""),
    };
    for key in keys.iter().filter(|key| top.get(key).is_some()) {
        findings.warning(top.file, &top.pointer.key(key), message);
    }
    let (key, known): (_, &[&str]) = match format {
        Format::OpenApi2 => ("swagger", &["2.0"]),
        Format::OpenApi3 => ("openapi", &["3.0", "3.1", "3.2"]),
        Format::AsyncApi2 => return,
    };
    let version = top.get(key).and_then(Value::text).unwrap_or_default();
    let is_known = |known: &&str| {
        let rest = version.trim().strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    };
    if !known.iter().any(is_known) {
        let message = "not known here: what is new in this version has no effect";
        findings.warning(top.file, &top.pointer.key(key), message);
    }
}

/// `securityDefinitions`, or `securitySchemes` of `components`.
fn schemes(top: &Section<'_>, root: &Value, format: Format, findings: &mut Findings) -> Schemes {
    let (parent, key) = match format {
        Format::OpenApi2 => (Some(*top), "securityDefinitions"),
        Format::OpenApi3 | Format::AsyncApi2 => (top.section("components", findings), "securitySchemes"),
    };
    let schemes = parent.and_then(|parent| {
        let pointer = parent.pointer.key(key);
        Some(security::schemes(
            top.file,
            root,
            format,
            pointer,
            parent.get(key)?,
            findings,
        ))
    });
    schemes.unwrap_or_default()
}

/// A prototype's addresses don't count. The base path of OpenAPI 2 is no part of an address, so it does.
fn hosts(
    top: &Section<'_>,
    format: Format,
    circumstances: Circumstances<'_>,
    findings: &mut Findings,
) -> Hosts {
    let addresses = circumstances.addresses;
    match format {
        Format::OpenApi2 => {
            let hosts = hosts::of_2(top, addresses, findings);
            Hosts {
                production: hosts.production.filter(|_| !circumstances.prototyped),
                ..hosts
            }
        }
        _ if circumstances.prototyped => Hosts::default(),
        Format::OpenApi3 | Format::AsyncApi2 => {
            let pointer = top.pointer.key("servers");
            let of = if circumstances.alone {
                hosts::first_of_3
            } else {
                hosts::of_3
            };
            of(top, pointer, top.get("servers"), addresses, findings)
        }
    }
}

/// `x-wso2-cors`: switched off means "as configured for all", anything but an object means no CORS at all, and so does one with a
/// fault, which is told and doesn't refuse the API.
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
    let mut own = Findings::default();
    let enabled = section.flag("corsConfigurationEnabled", &mut own).unwrap_or(true);
    let policy = enabled.then(|| api::cors_policy(&section, &mut own));
    let broken = own.has_errors();
    for found in own.into_sorted() {
        let message = if found.is_error() {
            format!("CORS is off: {}", found.message)
        } else {
            found.message
        };
        findings.push(Diagnostic::warning(found.file, found.pointer, message));
    }
    if broken {
        return Cors::Off;
    }
    let Some(policy) = policy else {
        return Cors::Global;
    };
    if policy.allow_origins.is_empty() {
        findings.warning(
            top.file,
            &section.pointer,
            "no accessControlAllowOrigins: no origin is allowed",
        );
    }
    Cors::Custom(policy)
}
