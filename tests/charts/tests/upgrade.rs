//! What the chart has made stays: keys, certificates and passwords that are in the cluster are taken from there.
//!
//! The cluster is a server that knows secrets and which kinds there are, which is all that `helm template --dry-run=server` asks.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::{Value, json};
use trireme_charts::{Helm, documents, run, template, text};
use x509_parser::prelude::{FromDer as _, GeneralName, Pem, X509Certificate};

type Secrets = BTreeMap<String, Value>;

/// Secrets of a rendering, by name.
fn secrets(rendered: &str) -> Secrets {
    let objects = documents(rendered).unwrap();
    objects
        .into_iter()
        .filter(|object| text(object, "/kind") == "Secret")
        .map(|object| (text(&object, "/metadata/name").to_owned(), object))
        .collect()
}

fn data(secrets: &Secrets) -> BTreeMap<&str, &Value> {
    secrets
        .iter()
        .map(|(name, secret)| (name.as_str(), &secret["data"]))
        .collect()
}

/// Serves until the test's process ends; a connection is for one request.
fn cluster(secrets: Secrets) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let secrets = Arc::new(secrets);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let secrets = Arc::clone(&secrets);
            std::thread::spawn(move || drop(answer(stream.unwrap(), &secrets)));
        }
    });
    address
}

fn answer(mut stream: TcpStream, secrets: &Secrets) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split([' ', '?']).nth(1).unwrap_or_default();
    let found = discovery(path).or_else(|| {
        let name = path.strip_prefix("/api/v1/namespaces/gw/secrets/")?;
        secrets.get(name).cloned()
    });
    let status = if found.is_some() {
        "200 OK"
    } else {
        "404 Not Found"
    };
    let missing = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404 });
    let body = found.unwrap_or(missing).to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn discovery(path: &str) -> Option<Value> {
    let kinds = |version: &str, kinds: &[(&str, &str)]| {
        let resources: Vec<Value> = kinds
            .iter()
            .map(|(name, kind)| json!({ "name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get"] }))
            .collect();
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources })
    };
    let group = |name: &str, version: &str| {
        let version = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
        json!({ "name": name, "versions": [version], "preferredVersion": version })
    };
    Some(match path {
        "/version" => json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.5" }),
        "/api" => json!({ "kind": "APIVersions", "versions": ["v1"] }),
        "/apis" => json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [
            group("apps", "v1"), group("autoscaling", "v2"), group("networking.k8s.io", "v1"),
        ] }),
        "/api/v1" => kinds(
            "v1",
            &[
                ("configmaps", "ConfigMap"),
                ("pods", "Pod"),
                ("secrets", "Secret"),
                ("serviceaccounts", "ServiceAccount"),
                ("services", "Service"),
            ],
        ),
        "/apis/apps/v1" => kinds("apps/v1", &[("deployments", "Deployment")]),
        "/apis/autoscaling/v2" => kinds(
            "autoscaling/v2",
            &[("horizontalpodautoscalers", "HorizontalPodAutoscaler")],
        ),
        "/apis/networking.k8s.io/v1" => kinds("networking.k8s.io/v1", &[("ingresses", "Ingress")]),
        _ => return None,
    })
}

/// Renders against a cluster that has these secrets.
fn upgrade(helm: Helm, program: &std::path::Path, there: &Secrets, sets: &[&str]) -> Secrets {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    let mut there = there.clone();
    for secret in there.values_mut() {
        // Helm marks what is its own, and touches nothing else.
        let annotations = &mut secret["metadata"]["annotations"];
        annotations["meta.helm.sh/release-name"] = json!("r");
        annotations["meta.helm.sh/release-namespace"] = json!("gw");
    }
    let address = cluster(there);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "users": [{ "name": "u", "user": {} }],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let mut words = vec![
        "--kubeconfig",
        file.to_str().unwrap(),
        "--dry-run=server",
        "--disable-openapi-validation",
    ];
    words.extend(sets.iter().flat_map(|set| ["--set", set]));
    secrets(&template(program, &words).unwrap_or_else(|error| panic!("{helm:?}: {error}")))
}

#[test]
fn what_was_made_is_kept() {
    for helm in Helm::ALL {
        let Some(program) = helm.program() else { continue };
        let first = secrets(&template(&program, &[]).unwrap());
        assert_eq!(first.len(), 4, "{:?}", first.keys());
        let again = secrets(&template(&program, &[]).unwrap());
        for (name, secret) in &first {
            assert_ne!(secret["data"], again[name]["data"], "{helm:?} {name}: not random");
        }
        let second = upgrade(helm, &program, &first, &[]);
        assert_eq!(data(&first), data(&second), "{helm:?}");

        // Another host name needs other certificates, and no other password.
        let host = "wso2.deployment.gatewayRuntime.router.ingress.hostname=other.example.com";
        let third = upgrade(helm, &program, &first, &[host]);
        let credentials = "r-choreo-connect-default-credentials";
        assert_eq!(first[credentials]["data"], third[credentials]["data"], "{helm:?}");
        for name in [
            "r-choreo-connect-default-keystore",
            "r-choreo-connect-default-ingress-tls",
        ] {
            assert_ne!(first[name]["data"], third[name]["data"], "{helm:?} {name}");
        }
        let names = subject_names(&third["r-choreo-connect-default-keystore"]["data"]["adapter.pem"]);
        assert!(names.contains(&"other.example.com".to_owned()), "{names:?}");
    }
}

#[test]
fn generated_certificates_are_of_one_authority_and_hold_the_names() {
    for helm in Helm::ALL {
        let Some(program) = helm.program() else { continue };
        let secrets = secrets(&template(&program, &[]).unwrap());
        let keystore = &secrets["r-choreo-connect-default-keystore"]["data"];
        let authority = pem(&secrets["r-choreo-connect-default-truststore"]["data"]["mg.pem"]);
        let (_, authority) = X509Certificate::from_der(&authority.contents).unwrap();
        assert!(authority.is_ca());
        for (component, wanted) in [
            (
                "adapter",
                ["adapter", "r-choreo-connect-adapter.gw.svc", "gw.wso2.com"].as_slice(),
            ),
            ("enforcer", &["enforcer", "localhost"]),
            ("router", &["router", "localhost"]),
        ] {
            let certificate = pem(&keystore[format!("{component}.pem")]);
            let (_, certificate) = X509Certificate::from_der(&certificate.contents).unwrap();
            assert_eq!(certificate.issuer(), authority.subject(), "{component}");
            assert!(!certificate.is_ca(), "{component}");
            let names = subject_names(&keystore[format!("{component}.pem")]);
            for name in wanted {
                assert!(names.iter().any(|there| there == name), "{component}: {names:?}");
            }
            // Adapter and enforcer sign tokens with RSA.
            let label = pem(&keystore[format!("{component}.key")]).label;
            let wanted = if component == "router" {
                "EC PRIVATE KEY"
            } else {
                "RSA PRIVATE KEY"
            };
            assert_eq!(label, wanted, "{component}");
        }
        let output = run(
            &program,
            &[
                "template",
                "r",
                ".",
                "--set",
                "kubernetes.certManager.enabled=true",
            ],
        )
        .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(
            !out.contains("default-keystore") && !out.contains("BEGIN"),
            "{helm:?}"
        );
    }
}

fn subject_names(value: &Value) -> Vec<String> {
    let pem = pem(value);
    let (_, certificate) = X509Certificate::from_der(&pem.contents).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns).collect()
}

/// The PEM text in a field of a secret.
fn pem(value: &Value) -> Pem {
    let text = decode(value.as_str().unwrap());
    Pem::iter_from_buffer(&text).next().unwrap().unwrap()
}

/// Base64 as Kubernetes writes it.
fn decode(text: &str) -> Vec<u8> {
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap()
}
