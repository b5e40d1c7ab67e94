//! What objects say of each other holds: names, ports, selectors, mounts.

use std::collections::BTreeSet;

use serde_json::Value;
use trireme_charts::{list, text};

use super::{Rendered, exists, pods};

pub(crate) fn resolve(rendered: &Rendered) {
    for (name, pod) in pods(rendered) {
        mounts(&name, pod);
        sources(rendered, &name, pod);
    }
    services(rendered);
    backends(rendered);
    monitors(rendered);
    let account = |name: &str| rendered.named("ServiceAccount", name).is_some() || name == "default";
    for deployment in rendered.of_kind("Deployment") {
        let template = &deployment["spec"]["template"];
        assert!(
            account(text(template, "/spec/serviceAccountName")),
            "{}",
            rendered.set
        );
        assert!(
            selects(&deployment["spec"]["selector"]["matchLabels"], template),
            "{}",
            rendered.set
        );
        for spread in list(template, "/spec/topologySpreadConstraints") {
            assert!(
                selects(&spread["labelSelector"]["matchLabels"], template),
                "{}: {spread}",
                rendered.set
            );
        }
    }
    for scaler in rendered.of_kind("HorizontalPodAutoscaler") {
        let name = text(scaler, "/spec/scaleTargetRef/name");
        let deployment = rendered
            .named("Deployment", name)
            .unwrap_or_else(|| panic!("{}: {name}", rendered.set));
        // Two who set the number of pods would fight.
        assert!(
            deployment["spec"].get("replicas").is_none(),
            "{}: {name}",
            rendered.set
        );
        assert!(!list(scaler, "/spec/metrics").is_empty());
    }
    let scaled = rendered.of_kind("HorizontalPodAutoscaler").count();
    let fixed = rendered
        .of_kind("Deployment")
        .filter(|deployment| text(deployment, "/metadata/name").ends_with("gateway-runtime"))
        .filter(|deployment| deployment["spec"].get("replicas").is_some())
        .count();
    let environments = rendered.of_kind("Deployment").count() / 2;
    assert_eq!(scaled + fixed, environments, "{}", rendered.set);
    for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
        for object in rendered.of_kind(kind) {
            let selector = object
                .pointer("/spec/selector/matchLabels")
                .or_else(|| object.pointer("/spec/podSelector/matchLabels"))
                .unwrap();
            let hit = rendered
                .of_kind("Deployment")
                .filter(|d| selects(selector, &d["spec"]["template"]))
                .count();
            assert_eq!(hit, 1, "{}: {kind} {selector}", rendered.set);
        }
    }
}

/// Whether labels select a pod; no labels select nothing here.
fn selects(labels: &Value, pod: &Value) -> bool {
    let Some(labels) = labels.as_object().filter(|labels| !labels.is_empty()) else {
        return false;
    };
    labels
        .iter()
        .all(|(key, value)| pod["metadata"]["labels"].get(key) == Some(value))
}

/// Every mount has a volume, every volume a mount, and no place of a container is mounted twice.
fn mounts(name: &str, pod: &Value) {
    let volumes: Vec<&str> = list(pod, "/spec/volumes")
        .iter()
        .map(|volume| text(volume, "/name"))
        .collect();
    let known: BTreeSet<&str> = volumes.iter().copied().collect();
    assert_eq!(known.len(), volumes.len(), "{name}: {volumes:?}");
    let mut used = BTreeSet::new();
    for container in list(pod, "/spec/containers") {
        let mut places = BTreeSet::new();
        for mount in list(container, "/volumeMounts") {
            assert!(places.insert(text(mount, "/mountPath")), "{name}: {mount}");
            assert!(known.contains(text(mount, "/name")), "{name}: {mount}");
            used.insert(text(mount, "/name"));
            // The user's own may have one.
            let own = text(mount, "/name").contains("extra");
            assert!(
                own || mount.get("subPath").is_none(),
                "{name}: {mount}: not renewed in a running pod"
            );
        }
    }
    assert_eq!(known, used, "{name}");
}

/// Every secret, config map and claim is rendered, or is one that the values name.
fn sources(rendered: &Rendered, name: &str, pod: &Value) {
    let mut wanted: Vec<(&'static str, &str, Vec<&str>)> = Vec::new();
    for volume in list(pod, "/spec/volumes") {
        wanted.push((
            "PersistentVolumeClaim",
            text(volume, "/persistentVolumeClaim/claimName"),
            Vec::new(),
        ));
        wanted.push(("Secret", text(volume, "/secret/secretName"), Vec::new()));
        wanted.push(("ConfigMap", text(volume, "/configMap/name"), Vec::new()));
        let mut paths = BTreeSet::new();
        for source in list(volume, "/projected/sources") {
            for (kind, field) in [("Secret", "secret"), ("ConfigMap", "configMap")] {
                let items = list(source, &format!("/{field}/items"));
                for item in items {
                    assert!(paths.insert(text(item, "/path")), "{name}: {item} twice");
                }
                let keys = items.iter().map(|item| text(item, "/key")).collect();
                wanted.push((kind, text(source, &format!("/{field}/name")), keys));
            }
        }
    }
    for container in list(pod, "/spec/containers") {
        let mut names = BTreeSet::new();
        for variable in list(container, "/env") {
            assert!(names.insert(text(variable, "/name")), "{name}: {variable} twice");
            let from = "/valueFrom/secretKeyRef";
            let key = text(variable, &format!("{from}/key"));
            wanted.push(("Secret", text(variable, &format!("{from}/name")), vec![key]));
        }
    }
    for secret in list(pod, "/spec/imagePullSecrets") {
        wanted.push(("Secret", text(secret, "/name"), Vec::new()));
    }
    for (kind, wanted, keys) in wanted.into_iter().filter(|(_, wanted, _)| !wanted.is_empty()) {
        if let Some(object) = rendered.named(kind, wanted) {
            for key in keys {
                assert!(
                    object["data"].get(key).is_some(),
                    "{name}: {kind} {wanted} has no {key}"
                );
            }
        } else {
            let certificate = kind == "Secret"
                && rendered
                    .of_kind("Certificate")
                    .any(|object| text(object, "/spec/secretName") == wanted);
            if certificate {
                // What cert-manager writes into a secret.
                assert!(
                    keys.iter()
                        .all(|key| ["tls.key", "tls.crt", "ca.crt"].contains(key)),
                    "{name}: {keys:?}"
                );
            } else {
                assert!(exists(rendered, wanted), "{name}: {kind} {wanted}");
            }
        }
    }
}

/// Every service selects the pods of one deployment, and its ports are theirs.
fn services(rendered: &Rendered) {
    for service in rendered.of_kind("Service") {
        let name = text(service, "/metadata/name");
        let mut hit = rendered
            .of_kind("Deployment")
            .map(|deployment| &deployment["spec"]["template"])
            .filter(|template| selects(&service["spec"]["selector"], template));
        let (Some(template), None) = (hit.next(), hit.next()) else {
            panic!("{}: {name} selects none or several", rendered.set);
        };
        for port in list(service, "/spec/ports") {
            let target = text(port, "/targetPort");
            let number = list(template, "/spec/containers")
                .iter()
                .flat_map(|container| list(container, "/ports"))
                .find(|there| text(there, "/name") == target)
                .unwrap_or_else(|| panic!("{}: {name}: no port {target}", rendered.set));
            assert_eq!(number["containerPort"], port["port"], "{}: {name}", rendered.set);
        }
    }
}

fn has_port(rendered: &Rendered, service: &str, wanted: &Value) {
    let found = rendered
        .named("Service", service)
        .unwrap_or_else(|| panic!("{}: {service}", rendered.set));
    let fits = |port: &&Value| port["port"] == *wanted || port["name"] == *wanted;
    assert!(
        list(found, "/spec/ports").iter().any(|port| fits(&port)),
        "{}: {service} {wanted}",
        rendered.set
    );
}

fn backends(rendered: &Rendered) {
    for ingress in rendered.of_kind("Ingress") {
        let annotated = ingress
            .pointer("/metadata/annotations/kubernetes.io~1ingress.class")
            .is_some();
        let class = ingress["spec"].get("ingressClassName").is_some();
        assert!(
            annotated != class,
            "{}: Kubernetes takes one of them",
            rendered.set
        );
        for rule in list(ingress, "/spec/rules") {
            for path in list(rule, "/http/paths") {
                let service = &path["backend"]["service"];
                has_port(rendered, text(service, "/name"), &service["port"]["number"]);
            }
            let host = &rule["host"];
            assert!(
                list(ingress, "/spec/tls")
                    .iter()
                    .any(|tls| list(tls, "/hosts").contains(host))
            );
        }
        for tls in list(ingress, "/spec/tls") {
            let secret = text(tls, "/secretName");
            let made = rendered.named("Secret", secret).is_some()
                || rendered
                    .of_kind("Certificate")
                    .any(|object| text(object, "/spec/secretName") == secret);
            assert!(made || exists(rendered, secret), "{}: {secret}", rendered.set);
        }
    }
    for route in rendered.of_kind("HTTPRoute") {
        for rule in list(route, "/spec/rules") {
            for backend in list(rule, "/backendRefs") {
                has_port(rendered, text(backend, "/name"), &backend["port"]);
            }
        }
    }
    for policy in rendered.of_kind("BackendTLSPolicy") {
        for target in list(policy, "/spec/targetRefs") {
            has_port(rendered, text(target, "/name"), &target["sectionName"]);
        }
    }
}

/// Every monitor finds one service, which has its ports.
fn monitors(rendered: &Rendered) {
    for monitor in rendered.of_kind("ServiceMonitor") {
        let labels = &monitor["spec"]["selector"]["matchLabels"];
        let hit: Vec<&Value> = rendered
            .of_kind("Service")
            .filter(|service| selects(labels, service))
            .collect();
        let [service] = hit[..] else {
            panic!("{}: {labels} finds {}", rendered.set, hit.len());
        };
        for endpoint in list(monitor, "/spec/endpoints") {
            has_port(rendered, text(service, "/metadata/name"), &endpoint["port"]);
        }
    }
}
