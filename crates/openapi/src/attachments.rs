//! The smaller files of a project: targets, certificates, policies.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostic, Findings, Pointer};
use crate::document::{self, Keep};
use crate::layout::{Layout, Role, file_name};
use crate::model::{ClientCertificate, Deployment, EndpointCertificates, PolicyFile};
use crate::source::Limits;
use crate::tree::Section;

/// Where a project without a usable `deployment_environments.yaml` goes.
fn default_target() -> Vec<Deployment> {
    vec![Deployment {
        environment: "Default".to_owned(),
        vhost: None,
        on_devportal: true,
    }]
}

/// `deployment_environments.yaml`. One that can't be read counts as absent, as in the original.
pub(crate) fn deployments(layout: &Layout<'_>, limits: &Limits, findings: &mut Findings) -> Vec<Deployment> {
    let Some((file, content)) = layout.one(Role::Deployments) else {
        return default_target();
    };
    let mut own = Findings::default();
    let targets = targets(file, content, limits, &mut own);
    let broken = own.has_errors();
    for finding in own.into_sorted() {
        let message = if finding.is_error() {
            format!(
                "file is ignored and the API goes to environment Default: {}",
                finding.message
            )
        } else {
            finding.message
        };
        findings.push(Diagnostic::warning(finding.file, finding.pointer, message));
    }
    if broken { default_target() } else { targets }
}

fn targets(file: &str, content: &[u8], limits: &Limits, findings: &mut Findings) -> Vec<Deployment> {
    let mut targets = Vec::new();
    let Some(value) = document::parse(file, content, Keep::All, limits, findings) else {
        return targets;
    };
    let Some(root) = Section::new(file, Pointer::Root, &value, findings).map(Section::any_case) else {
        return targets;
    };
    let key = root.entry("data").map_or("data", |(key, _)| key);
    let list_pointer = root.pointer.key(key);
    for (index, item) in root.list(key, findings).iter().enumerate() {
        let Some(item) = Section::new(file, list_pointer.index(index), item, findings) else {
            continue;
        };
        let item = item.any_case();
        let environment = item
            .text("deploymentEnvironment", findings)
            .unwrap_or_default()
            .trim();
        if environment.is_empty() {
            findings.warning(
                file,
                &item.pointer,
                "ignored: deploymentEnvironment must be given",
            );
            continue;
        }
        let vhost = item
            .text("deploymentVhost", findings)
            .map(str::trim)
            .filter(|vhost| !vhost.is_empty());
        let target = Deployment {
            environment: environment.to_owned(),
            vhost: vhost.map(str::to_owned),
            on_devportal: item.flag("displayOnDevportal", findings).unwrap_or(false),
        };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

/// A certificate file: text with at least one BEGIN/END pair.
fn pem<'f>(file: &str, content: &'f [u8], findings: &mut Findings) -> Option<&'f [u8]> {
    let begin = memchr::memmem::find(content, b"-----BEGIN CERTIFICATE-----");
    let end = memchr::memmem::rfind(content, b"-----END CERTIFICATE-----");
    match (begin, end) {
        (Some(begin), Some(end)) if begin < end && std::str::from_utf8(content).is_ok() => Some(content),
        _ => {
            findings.push(Diagnostic::error(file, "", "not a PEM certificate"));
            None
        }
    }
}

fn append(bundle: &mut Vec<u8>, pem: &[u8]) {
    if !bundle.is_empty() && !bundle.ends_with(b"\n") {
        bundle.push(b'\n');
    }
    bundle.extend_from_slice(pem);
}

/// One entry of a certificate list.
struct Entry {
    alias: String,
    endpoint: String,
    tier: String,
    certificate: String,
}

/// The entries of a certificate list, each with its place for findings.
fn entries(
    layout: &Layout<'_>,
    role: Role,
    limits: &Limits,
    findings: &mut Findings,
) -> Vec<(Entry, Diagnostic)> {
    let mut entries = Vec::new();
    let Some((file, content)) = layout.one(role) else {
        return entries;
    };
    let Some(value) = document::parse(file, content, Keep::All, limits, findings) else {
        return entries;
    };
    let Some(root) = Section::new(file, Pointer::Root, &value, findings).map(Section::any_case) else {
        return entries;
    };
    let key = root.entry("data").map_or("data", |(key, _)| key);
    let list_pointer = root.pointer.key(key);
    for (index, item) in root.list(key, findings).iter().enumerate() {
        let Some(item) = Section::new(file, list_pointer.index(index), item, findings) else {
            continue;
        };
        let item = item.any_case();
        let mut owned = |key: &str| item.text(key, findings).unwrap_or_default().trim().to_owned();
        let entry = Entry {
            alias: owned("alias"),
            endpoint: owned("endpoint"),
            tier: owned("tierName"),
            certificate: owned("certificate"),
        };
        let missing = format!("ignored: no certificate file {:?}", entry.certificate);
        entries.push((
            entry,
            Diagnostic::warning(file, item.pointer.to_string(), missing),
        ));
    }
    entries
}

/// `Endpoint-certificates/`.
pub(crate) fn endpoint_certificates(
    layout: &Layout<'_>,
    limits: &Limits,
    findings: &mut Findings,
) -> EndpointCertificates {
    let mut certificates = EndpointCertificates::default();
    for (file, content) in layout.all(Role::InterceptorCertificate) {
        if let Some(pem) = pem(file, content, findings) {
            append(&mut certificates.interceptor_bundle, pem);
        }
    }
    let mut files: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for (file, content) in layout.all(Role::EndpointCertificate) {
        if let Some(pem) = pem(file, content, findings) {
            files.entry(file_name(file)).or_insert(pem);
        }
    }
    let mut used = BTreeSet::new();
    for (entry, missing) in entries(layout, Role::EndpointCertificates, limits, findings) {
        let Some((name, pem)) = files.get_key_value(entry.certificate.as_str()) else {
            findings.push(missing);
            continue;
        };
        used.insert(*name);
        let url = if entry.endpoint.contains("://") {
            entry.endpoint
        } else {
            format!("http://{}", entry.endpoint)
        };
        append(certificates.by_url.entry(url).or_default(), pem);
    }
    for (name, pem) in &files {
        if !used.contains(name) {
            append(&mut certificates.bundle, pem);
        }
    }
    certificates
}

/// `Client-certificates/`.
pub(crate) fn client_certificates(
    layout: &Layout<'_>,
    limits: &Limits,
    findings: &mut Findings,
) -> Vec<ClientCertificate> {
    let mut files: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for (file, content) in layout.all(Role::ClientCertificate) {
        if let Some(pem) = pem(file, content, findings) {
            files.entry(file_name(file)).or_insert(pem);
        }
    }
    let mut certificates = Vec::new();
    for (entry, missing) in entries(layout, Role::ClientCertificates, limits, findings) {
        match files.get(entry.certificate.as_str()) {
            Some(pem) => certificates.push(ClientCertificate {
                alias: entry.alias,
                tier: entry.tier,
                content: pem.to_vec(),
            }),
            None => findings.push(missing),
        }
    }
    certificates
}

/// `Policies/`, specification and template paired by base name. They are checked when an operation uses them.
pub(crate) fn policies(
    layout: &Layout<'_>,
    limits: &Limits,
    findings: &mut Findings,
) -> BTreeMap<String, PolicyFile> {
    let mut policies: BTreeMap<String, PolicyFile> = BTreeMap::new();
    for (file, content) in layout.all(Role::Policy) {
        let Some((name, extension)) = file_name(file).rsplit_once('.') else {
            continue;
        };
        let policy = policies.entry(name.to_owned()).or_default();
        if extension == "gotmpl" {
            match std::str::from_utf8(content) {
                Ok(text) if policy.template.is_none() => policy.template = Some(text.to_owned()),
                Ok(_) => {}
                Err(_) => findings.push(Diagnostic::error(*file, "", "not UTF-8 text")),
            }
        } else if policy.specification.is_none() {
            policy.specification = document::parse(file, content, Keep::All, limits, findings);
            (*file).clone_into(&mut policy.file);
        }
    }
    policies
}
