//! Certificates as Kubernetes Secrets, under the names that the manifests of `k8s-artifacts` mount.
//!
//! ```text
//! DIR/authority/                            the private CA, kept
//! DIR/<process>-keystore-secret.yaml        mg.key, mg.pem
//! DIR/<process>-truststore-secret.yaml      mg.pem: the process's own certificate, then the CA
//! DIR/choreo-connect-ingress-tls-secret.yaml
//! DIR/consul-cert-secret.yaml               empty, for the user's own
//! ```
//!
//! All or nothing: a Secret that is there stops it before anything is written, unless it is told to replace them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trireme_tls::Material;
use trireme_tls::authority::{Authority, DEFAULT_VALIDITY, Issued, LOCAL_NAMES, Validity, write_private};

use crate::args::KubernetesOptions;

const PROCESSES: [&str; 3] = ["adapter", "enforcer", "router"];
const INGRESS: &str = "choreo-connect-ingress-tls-secret.yaml";
const CONSUL: &str = "consul-cert-secret.yaml";
/// What each of the files begins with.
const MADE: &str = "# Made by `trireme certs --secrets`.";
const EMPTY: &str = "\ndata: {}\n";

/// One Secret.
struct Secret {
    name: String,
    kind: &'static str,
    data: Vec<(&'static str, String)>,
}

/// Writes the Secrets of a folder and returns their files.
pub(crate) fn write(folder: &Path, options: &KubernetesOptions) -> anyhow::Result<Vec<PathBuf>> {
    let foreign = options.control_plane.as_deref().map(foreign).transpose()?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let present: Vec<_> = PROCESSES
        .iter()
        .flat_map(|process| [file(process, "keystore"), file(process, "truststore")])
        .chain([INGRESS.to_owned(), CONSUL.to_owned()])
        .filter(|name| folder.join(name).exists())
        .collect();
    if !options.force && !present.is_empty() {
        bail!(
            "{} holds {} already; --force replaces them",
            folder.display(),
            present.join(", ")
        );
    }
    if let Some(name) = present.iter().find(|name| !is_ours(&folder.join(name))) {
        bail!(
            "{}: not made by this command, so --force does not replace it; move it away",
            folder.join(name).display()
        );
    }

    let authority = Authority::open_or_create(&folder.join("authority"))?;
    let validity = Validity::starting(SystemTime::now(), DEFAULT_VALIDITY);
    let mut secrets = Vec::new();
    for process in PROCESSES {
        let names = names(process, options);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let pair = authority.issue(process, &names, validity)?;
        let (keystore, truststore) = stores(process, pair, authority.certificate(), foreign.as_deref());
        secrets.push((file(process, "keystore"), keystore));
        secrets.push((file(process, "truststore"), truststore));
    }
    let hosts: Vec<&str> = options.hosts.iter().map(|(_, name)| name.as_str()).collect();
    // The controller of the ingress has this key: it is nobody's client.
    let ingress = authority.issue_server(hosts.first().unwrap_or(&"localhost"), &hosts, validity)?;
    let data = vec![
        ("tls.key", ingress.key),
        ("tls.crt", ingress.certificate),
        ("ca.crt", authority.certificate().to_owned()),
    ];
    secrets.push((
        INGRESS.to_owned(),
        Secret::new("tls-secret", "kubernetes.io/tls", data),
    ));
    // What the user has put there cannot be made again.
    let consul = folder.join(CONSUL);
    if !consul.exists() || std::fs::read_to_string(consul).is_ok_and(|text| text.contains(EMPTY)) {
        secrets.push((
            CONSUL.to_owned(),
            Secret::new("consul-certs", "Opaque", Vec::new()),
        ));
    }

    let mut written = Vec::with_capacity(secrets.len());
    for (name, secret) in secrets {
        let path = folder.join(name);
        write_private(&path, secret.manifest(options.namespace.as_deref()))?;
        written.push(path);
    }
    Ok(written)
}

/// Whether a file is one that was written here.
fn is_ours(path: &Path) -> bool {
    let mut head = [0; MADE.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == *MADE.as_bytes()
}

fn file(process: &str, store: &str) -> String {
    format!("{process}-{store}-secret.yaml")
}

/// Key pair and trust of a process.
fn stores(process: &str, pair: Issued, ca: &str, foreign: Option<&str>) -> (Secret, Secret) {
    // Its own comes first: set-ups of the original name this file as the certificate of test tokens.
    let mut trusted = vec![("mg.pem", format!("{}{ca}", pair.certificate))];
    match (process, foreign) {
        ("adapter", Some(foreign)) => trusted.push(("controlplane.pem", foreign.to_owned())),
        ("enforcer", Some(foreign)) => trusted.push(("wso2carbon.pem", foreign.to_owned())),
        _ => {}
    }
    let own = vec![("mg.key", pair.key), ("mg.pem", pair.certificate)];
    (
        Secret::new(&format!("{process}-keystore"), "Opaque", own),
        Secret::new(&format!("{process}-truststore"), "Opaque", trusted),
    )
}

/// What a process is called: its Service, within the cluster as well, this machine for its own probe, and the ingress's
/// hosts that lead to it.
fn names(process: &str, options: &KubernetesOptions) -> Vec<String> {
    let mut names = vec![process.to_owned()];
    if let Some(namespace) = &options.namespace {
        names.push(format!("{process}.{namespace}"));
        names.push(format!("{process}.{namespace}.svc"));
        names.push(format!("{process}.{namespace}.svc.cluster.local"));
    }
    names.extend(LOCAL_NAMES.iter().map(|&name| name.to_owned()));
    let served = options.hosts.iter().filter(|(service, _)| service == process);
    names.extend(served.map(|(_, name)| name.clone()));
    names
}

/// A certificate file of others. It is mounted into folders of which every certificate must be readable, so it is looked at
/// here, where somebody sees the reason. Of a file that holds a key as well, the key stays here.
fn foreign(path: &Path) -> anyhow::Result<String> {
    Material::load_trust(vec![path.to_owned()], false)?;
    Ok(trireme_tls::certificates_of(path)?)
}

impl Secret {
    fn new(name: &str, kind: &'static str, data: Vec<(&'static str, String)>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            data,
        }
    }

    fn manifest(&self, namespace: Option<&str>) -> String {
        let mut text = format!("{MADE} Not for version control.\napiVersion: v1\nkind: Secret\nmetadata:\n");
        let mut line = |words: std::fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _written = text.write_fmt(words);
        };
        line(format_args!("  name: {}\n", self.name));
        if let Some(namespace) = namespace {
            line(format_args!("  namespace: {namespace:?}\n"));
        }
        line(format_args!("type: {}\n", self.kind));
        if self.data.is_empty() {
            line(format_args!(
                "# With adapter.consul: consul-agent-ca.pem, local-dc-client-consul-0.pem and local-dc-client-consul-0-key.pem.{EMPTY}"
            ));
        } else {
            line(format_args!("data:\n"));
            for (name, content) in &self.data {
                line(format_args!("  {name}: {}\n", STANDARD.encode(content)));
            }
        }
        text
    }
}
