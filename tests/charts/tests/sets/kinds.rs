//! Kinds that Kubernetes does not have itself: each as the fields that the chart uses, and no others.
//!
//! Sources: Gateway API 1.4 (HTTPRoute, BackendTLSPolicy), Prometheus operator (ServiceMonitor), cert-manager 1.x (Issuer,
//! Certificate).

use serde::Deserialize;
use serde_json::Value;
use trireme_charts::text;

use super::Rendered;

const OTHERS: [&str; 3] = [
    "cert-manager.io/",
    "gateway.networking.k8s.io/",
    "monitoring.coreos.com/",
];

/// Whether Kubernetes itself has a schema for it.
pub(crate) fn is_built_in(object: &Value) -> bool {
    let version = text(object, "/apiVersion");
    !OTHERS.iter().any(|group| version.starts_with(group))
}

/// Every object is of a kind that the chart may make, and those of others have their shape.
pub(crate) fn known(rendered: &Rendered) {
    for object in rendered.objects.iter().filter(|object| !is_built_in(object)) {
        let kind = (text(object, "/apiVersion"), text(object, "/kind"));
        let spec = object.get("spec").cloned().unwrap_or_default();
        let read = match kind {
            ("cert-manager.io/v1", "Certificate") => {
                serde_json::from_value::<Certificate>(spec).map(Certificate::check)
            }
            ("cert-manager.io/v1", "Issuer") => serde_json::from_value::<Issuer>(spec).map(Issuer::check),
            ("gateway.networking.k8s.io/v1", "HTTPRoute") => {
                serde_json::from_value::<HttpRoute>(spec).map(HttpRoute::check)
            }
            ("gateway.networking.k8s.io/v1", "BackendTLSPolicy") => {
                serde_json::from_value::<BackendTlsPolicy>(spec).map(BackendTlsPolicy::check)
            }
            ("monitoring.coreos.com/v1", "ServiceMonitor") => {
                serde_json::from_value::<ServiceMonitor>(spec).map(ServiceMonitor::check)
            }
            _ => panic!("{}: {kind:?}", rendered.set),
        };
        read.unwrap_or_else(|error| panic!("{}: {kind:?}: {error}", rendered.set));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Certificate {
    secret_name: String,
    #[serde(default)]
    duration: String,
    #[serde(default)]
    renew_before: String,
    #[serde(default)]
    dns_names: Vec<String>,
    #[serde(default, rename = "isCA")]
    is_ca: bool,
    #[serde(default)]
    common_name: String,
    #[serde(default)]
    usages: Vec<Usage>,
    private_key: Option<PrivateKey>,
    issuer_ref: IssuerRef,
}

impl Certificate {
    fn check(self) {
        assert!(!self.secret_name.is_empty());
        let hours = |text: &str| text.strip_suffix('h').and_then(|hours| hours.parse::<u32>().ok());
        if let (Some(duration), Some(before)) = (hours(&self.duration), hours(&self.renew_before)) {
            assert!(before < duration);
        }
        // RFC 5280: a common name has at most 64 characters.
        assert!(self.common_name.len() <= 64, "{}", self.common_name);
        assert!(self.is_ca || !self.dns_names.is_empty());
        assert!(self.is_ca || self.usages.contains(&Usage::ServerAuth));
        if let Some(key) = self.private_key {
            match key.algorithm {
                Algorithm::Rsa => assert!(key.size >= 2048 && key.encoding.as_deref() == Some("PKCS8")),
                Algorithm::Ecdsa => assert_eq!(key.size, 256),
            }
            assert!(key.rotation_policy.is_none_or(|policy| policy == "Always"));
        }
        self.issuer_ref.check();
    }
}

#[derive(Deserialize, PartialEq)]
enum Usage {
    #[serde(rename = "client auth")]
    ClientAuth,
    #[serde(rename = "digital signature")]
    DigitalSignature,
    #[serde(rename = "key encipherment")]
    KeyEncipherment,
    #[serde(rename = "server auth")]
    ServerAuth,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Algorithm {
    Ecdsa,
    Rsa,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PrivateKey {
    algorithm: Algorithm,
    encoding: Option<String>,
    size: u32,
    rotation_policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerRef {
    name: String,
    kind: String,
    #[serde(default)]
    group: String,
}

impl IssuerRef {
    fn check(self) {
        assert!(!self.name.is_empty());
        assert!(["Issuer", "ClusterIssuer"].contains(&self.kind.as_str()));
        assert!(["", "cert-manager.io"].contains(&self.group.as_str()));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
enum Issuer {
    SelfSigned {},
    #[serde(rename_all = "camelCase")]
    Ca {
        secret_name: String,
    },
}

impl Issuer {
    fn check(self) {
        match self {
            Self::SelfSigned {} => {}
            Self::Ca { secret_name } => assert!(!secret_name.is_empty()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HttpRoute {
    parent_refs: Vec<ParentRef>,
    hostnames: Vec<String>,
    rules: [Rule; 1],
}

impl HttpRoute {
    fn check(self) {
        assert!((1..=32).contains(&self.parent_refs.len()));
        assert!((1..=16).contains(&self.hostnames.len()));
        for parent in self.parent_refs {
            assert!(!parent.name.is_empty());
            assert!(parent.namespace.is_none_or(|name| !name.is_empty()));
            assert!(parent.section_name.is_none_or(|name| !name.is_empty()));
        }
        for host in self.hostnames {
            assert!((1..=253).contains(&host.len()) && !host.contains(':'), "{host}");
        }
        let [
            Rule {
                matches: [Match { path }],
                backend_refs: [backend],
            },
        ] = self.rules;
        assert_eq!((path.r#type.as_str(), path.value.as_str()), ("PathPrefix", "/"));
        assert!(!backend.name.is_empty() && backend.port > 0);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ParentRef {
    name: String,
    namespace: Option<String>,
    section_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    matches: [Match; 1],
    backend_refs: [Backend; 1],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    path: PathMatch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PathMatch {
    r#type: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Backend {
    name: String,
    port: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BackendTlsPolicy {
    target_refs: [Target; 1],
    validation: Validation,
}

impl BackendTlsPolicy {
    fn check(self) {
        let [target] = self.target_refs;
        assert_eq!((target.group.as_str(), target.kind.as_str()), ("", "Service"));
        assert!(!target.name.is_empty() && !target.section_name.is_empty());
        let Validation {
            hostname,
            ca_certificate_refs: [ca],
        } = self.validation;
        assert!(!hostname.is_empty() && !ca.name.is_empty());
        assert_eq!((ca.group.as_str(), ca.kind.as_str()), ("", "ConfigMap"));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Target {
    group: String,
    kind: String,
    name: String,
    section_name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Validation {
    hostname: String,
    ca_certificate_refs: [CaRef; 1],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaRef {
    group: String,
    kind: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceMonitor {
    selector: Selector,
    endpoints: Vec<Endpoint>,
}

impl ServiceMonitor {
    fn check(self) {
        assert!(!self.selector.match_labels.is_empty());
        assert!(!self.endpoints.is_empty());
        for endpoint in self.endpoints {
            assert!(!endpoint.port.is_empty() && endpoint.path == "/metrics");
            assert!(endpoint.interval.ends_with('s'), "{}", endpoint.interval);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Selector {
    match_labels: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    port: String,
    path: String,
    interval: String,
}
