//! The smaller files of a project: targets, certificates, policies.

use std::collections::{BTreeMap, BTreeSet};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::document::diagnostic::{Diagnostic, Findings, Pointer};
use crate::document::tree::Section;
use crate::document::{self, Keep};
use crate::model::{ClientCertificate, Deployment, EndpointCertificates, KeyType, PolicyFile};
use crate::settings::Limits;
use crate::source::layout::{Layout, Role, file_name};

/// Targets of one project. Each virtual host among them gets all routes of the API.
const MAX_TARGETS: usize = 1_000;

/// Where lists of client certificates are: beside the folders of key types, or below one.
const LISTS: [Option<KeyType>; 3] = [None, Some(KeyType::Production), Some(KeyType::Sandbox)];

/// Bytes of certificates that the entries of lists for one side may bring in together. Entries may share a file, so that a small project
/// could otherwise fill the memory with copies of a large one.
const MAX_LISTED_BYTES: usize = 16 << 20;

/// Values of all policy specifications together: a policy has some fifty, and each of thousands of small files can expand to many
/// more by aliases.
const MAX_POLICY_NODES: usize = 500_000;

/// Where a project without a usable `deployment_environments.yaml` goes.
fn default_target() -> Vec<Deployment> {
    vec![Deployment {
        environment: "Default".to_owned(),
        vhost: None,
        on_devportal: true,
        place: 0,
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
    if targets.is_empty() && !broken {
        let message = "names no environment: the API is deployed nowhere";
        findings.push(Diagnostic::warning(file, "/data", message));
    }
    if targets.len() > MAX_TARGETS {
        let message = format!(
            "{} targets are more than the {MAX_TARGETS} allowed",
            targets.len()
        );
        findings.push(Diagnostic::error(file, "/data", message));
    }
    if broken { default_target() } else { targets }
}

fn targets(file: &str, content: &[u8], limits: &Limits, findings: &mut Findings) -> Vec<Deployment> {
    let mut targets = Vec::new();
    let Some(value) = document::parse(file, content, Keep::All, limits, findings) else {
        return targets;
    };
    let root = Section::new(file, Pointer::Root, &value, findings);
    let Some(root) = root.map(|root| root.any_case_told(findings)) else {
        return targets;
    };
    let key = root.entry("data").map_or("data", |(key, _)| key);
    let list_pointer = root.pointer.key(key);
    let mut seen = BTreeSet::new();
    for (index, item) in root.list(key, findings).iter().enumerate() {
        let Some(item) = Section::new(file, list_pointer.index(index), item, findings) else {
            continue;
        };
        let item = item.any_case_told(findings);
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
            place: index,
        };
        if seen.insert((environment, vhost, target.on_devportal)) {
            targets.push(target);
        }
    }
    targets
}

/// A certificate file: text with at least one certificate (RFC 7468), each of which could be one.
fn pem<'f>(file: &str, content: &'f [u8], findings: &mut Findings) -> Option<&'f [u8]> {
    let mut found = 0;
    let good = CertificateDer::pem_slice_iter(content).all(|certificate| {
        found += 1;
        certificate.is_ok_and(|der| is_sequence(&der))
    });
    if good && found > 0 && std::str::from_utf8(content).is_ok() {
        return Some(content);
    }
    findings.push(Diagnostic::error(file, "", "not a PEM certificate"));
    None
}

/// Whether the bytes are one ASN.1 sequence from beginning to end, in DER (X.690 section 8.1.3).
fn is_sequence(der: &[u8]) -> bool {
    let (length, content) = match der {
        [0x30, length @ 0..=0x7f, content @ ..] => (usize::from(*length), content),
        [0x30, 0x81, length, content @ ..] => (usize::from(*length), content),
        [0x30, 0x82, high, low, content @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), content),
        [0x30, 0x83, high, middle, low, content @ ..] => {
            let length = u32::from_be_bytes([0, *high, *middle, *low]);
            (usize::try_from(length).unwrap_or(usize::MAX), content)
        }
        _ => return false,
    };
    content.len() == length
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
    key_type: String,
    certificate: String,
    /// Its place, for findings.
    pointer: String,
}

/// A certificate list: its file and entries.
struct List<'f> {
    file: &'f str,
    entries: Vec<Entry>,
}

impl List<'_> {
    /// Entries with what `look` finds for them, which has the bytes that it tells. Those for which it finds nothing are ignored with
    /// a warning; why it refuses one is an error, as are more bytes than what is `left`.
    fn found<T>(
        self,
        left: &mut usize,
        findings: &mut Findings,
        look: impl Fn(&Entry) -> Result<Option<(T, usize)>, String>,
    ) -> Vec<(Entry, T)> {
        let mut found = Vec::new();
        for entry in self.entries {
            let (it, bytes) = match look(&entry) {
                Ok(Some(found)) => found,
                Ok(None) => {
                    let message = format!("ignored: no certificate file {:?}", entry.certificate);
                    findings.push(Diagnostic::warning(self.file, entry.pointer, message));
                    continue;
                }
                Err(message) => {
                    findings.push(Diagnostic::error(self.file, entry.pointer, message));
                    continue;
                }
            };
            let Some(rest) = left.checked_sub(bytes) else {
                let message = format!("the certificates listed are more than {MAX_LISTED_BYTES} bytes");
                findings.push(Diagnostic::error(self.file, entry.pointer, message));
                break;
            };
            *left = rest;
            found.push((entry, it));
        }
        found
    }
}

/// The entries of a certificate list.
fn list<'f>(layout: &Layout<'f>, role: Role, limits: &Limits, findings: &mut Findings) -> List<'f> {
    let mut entries = Vec::new();
    let Some((file, content)) = layout.one(role) else {
        return List { file: "", entries };
    };
    let Some(value) = document::parse(file, content, Keep::All, limits, findings) else {
        return List { file, entries };
    };
    let root = Section::new(file, Pointer::Root, &value, findings);
    let Some(root) = root.map(|root| root.any_case_told(findings)) else {
        return List { file, entries };
    };
    let key = root.entry("data").map_or("data", |(key, _)| key);
    let list_pointer = root.pointer.key(key);
    for (index, item) in root.list(key, findings).iter().enumerate() {
        let Some(item) = Section::new(file, list_pointer.index(index), item, findings) else {
            continue;
        };
        let item = item.any_case_told(findings);
        let mut owned = |key: &str| item.text(key, findings).unwrap_or_default().trim().to_owned();
        entries.push(Entry {
            alias: owned("alias"),
            endpoint: owned("endpoint"),
            tier: owned("tierName"),
            key_type: owned("keyType"),
            certificate: owned("certificate"),
            pointer: item.pointer.to_string(),
        });
    }
    List { file, entries }
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
    let list = list(layout, Role::EndpointCertificates, limits, findings);
    let mut left = MAX_LISTED_BYTES;
    let look = |entry: &Entry| {
        let found = files.get_key_value(entry.certificate.as_str());
        Ok(found.map(|(name, pem)| ((*name, *pem), pem.len())))
    };
    for (entry, (name, pem)) in list.found(&mut left, findings, look) {
        used.insert(name);
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

/// The key type of an entry: its folder's, or its own, which `apictl` doesn't write. `Err` when it can't be told whom it lets in.
fn key_type(entry: &Entry, folder: Option<KeyType>) -> Result<Option<KeyType>, String> {
    if entry.key_type.is_empty() {
        return Ok(folder);
    }
    let Some(own) = KeyType::parse(&entry.key_type) else {
        return Err(format!(
            "keyType {:?} is none of PRODUCTION, SANDBOX",
            entry.key_type
        ));
    };
    match folder {
        Some(folder) if folder != own => Err(format!(
            "keyType {} is not that of its folder, {}",
            own.as_str(),
            folder.as_str()
        )),
        _ => Ok(Some(own)),
    }
}

/// `Client-certificates/`: the list beside the certificates, and one below a folder for each key type.
pub(crate) fn client_certificates(
    layout: &Layout<'_>,
    limits: &Limits,
    findings: &mut Findings,
) -> Vec<ClientCertificate> {
    let [beside, production, sandbox] = LISTS.map(|folder| {
        let mut files: BTreeMap<&str, &[u8]> = BTreeMap::new();
        for (file, content) in layout.all(Role::ClientCertificate(folder)) {
            if let Some(pem) = pem(file, content, findings) {
                if CertificateDer::pem_slice_iter(pem).nth(1).is_some() {
                    let message = "the first certificate lets its bearer in, the others nobody";
                    findings.push(Diagnostic::warning(*file, "", message));
                }
                files.entry(file_name(file)).or_insert(pem);
            }
        }
        files
    });
    tell_folders(layout, findings);
    let mut certificates = Vec::new();
    let mut left = MAX_LISTED_BYTES;
    for folder in LISTS {
        let list = list(layout, Role::ClientCertificates(folder), limits, findings);
        // By name at any depth (spec/adapter.md 3.2), but no key type's folder is the other's.
        let look = |entry: &Entry| {
            let name = entry.certificate.as_str();
            let own = |key_type, files: &BTreeMap<&str, &[u8]>| Some((key_type, files.get(name)?.to_vec()));
            let found: Vec<_> = match key_type(entry, folder)? {
                Some(one) => {
                    let files = match one {
                        KeyType::Production => &production,
                        KeyType::Sandbox => &sandbox,
                    };
                    let found = own(Some(one), files).or_else(|| own(Some(one), &beside));
                    found.into_iter().collect()
                }
                None if beside.contains_key(name) => own(None, &beside).into_iter().collect(),
                // What lies in the folder of a key type is for that one.
                None => {
                    let each = [(KeyType::Production, &production), (KeyType::Sandbox, &sandbox)];
                    let each = each.into_iter().filter_map(|(one, files)| own(Some(one), files));
                    each.collect()
                }
            };
            let bytes = found.iter().map(|(_, pem)| pem.len()).sum();
            Ok((!found.is_empty()).then_some((found, bytes)))
        };
        for (entry, found) in list.found(&mut left, findings, look) {
            certificates.extend(found.into_iter().map(|(key_type, content)| ClientCertificate {
                alias: entry.alias.clone(),
                key_type,
                tier: entry.tier.clone(),
                content,
            }));
        }
    }
    certificates
}

/// Refuses certificates below a folder that is none of a key type's: they would be good for both.
fn tell_folders(layout: &Layout<'_>, findings: &mut Findings) {
    let listed = layout.one(Role::ClientCertificates(None)).map(|(file, _)| file);
    let certificates = layout
        .all(Role::ClientCertificate(None))
        .iter()
        .map(|(file, _)| *file);
    for file in listed.into_iter().chain(certificates) {
        let mut folders = file
            .split('/')
            .skip_while(|folder| *folder != "Client-certificates")
            .skip(1);
        if let (Some(folder), Some(_)) = (folders.next(), folders.next()) {
            let message = format!("the folder {folder:?} is none of a key type's, PRODUCTION or SANDBOX");
            findings.push(Diagnostic::error(file, "", message));
        }
    }
}

/// `Policies/`, specification and template paired by base name. They are checked when an operation uses them.
pub(crate) fn policies(
    layout: &Layout<'_>,
    limits: &Limits,
    findings: &mut Findings,
) -> BTreeMap<String, PolicyFile> {
    let mut policies: BTreeMap<String, PolicyFile> = BTreeMap::new();
    let mut left = MAX_POLICY_NODES.min(limits.nodes);
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
            let bounded = Limits {
                nodes: left,
                ..limits.clone()
            };
            (*file).clone_into(&mut policy.file);
            policy.specification = document::parse(file, content, Keep::All, &bounded, findings);
            match &policy.specification {
                Some(value) => left = left.saturating_sub(document::weight(value)),
                // The project is refused, so the others need a look for their faults only, and not for ever.
                None => left = left.saturating_sub(MAX_POLICY_NODES / 25),
            }
        }
    }
    policies
}
