//! What the pods get is what the processes take: files, variables, and the paths in them.

use std::collections::BTreeSet;

use serde_json::Value;
use trireme_charts::{list, text};
use trireme_config::{AdapterEnv, EnforcerEnv, Env, RouterEnv, check, load_log};

use super::{Rendered, exists};

pub(crate) fn accepted(rendered: &Rendered) {
    let set = &rendered.set;
    let mut labels = BTreeSet::new();
    for deployment in rendered.of_kind("Deployment") {
        let name = text(deployment, "/metadata/name");
        let containers = list(deployment, "/spec/template/spec/containers");
        if let [adapter] = containers {
            let environment = "/metadata/labels/gateway-environment";
            let runtime = rendered.of_kind("Deployment").find(|other| {
                text(other, environment) == text(deployment, environment) && *other != deployment
            });
            files(rendered, deployment, adapter, runtime.unwrap());
            continue;
        }
        let [enforcer, router] = containers else {
            panic!("{set}: {name}");
        };
        let enforcer_env =
            EnforcerEnv::read(&env(enforcer)).unwrap_or_else(|errors| panic!("{set}: {errors:?}"));
        let router_env = RouterEnv::read(&env(router)).unwrap_or_else(|errors| panic!("{set}: {errors:?}"));
        assert_eq!(enforcer_env.label, router_env.label, "{set}");
        assert!(labels.insert(router_env.label.clone()), "{set}: {labels:?}");
        assert_eq!(enforcer_env.adapter, router_env.adapter, "{set}");
        assert!(
            rendered.named("Service", &router_env.adapter.host).is_some(),
            "{set}: {}",
            router_env.adapter
        );
        assert_eq!(router_env.enforcer.to_string(), "127.0.0.1:8081", "{set}");
        assert_eq!(
            enforcer_env.adapter_server_name, router_env.adapter_server_name,
            "{set}"
        );
        for path in [
            &enforcer_env.private_key,
            &enforcer_env.certificate,
            &enforcer_env.trust,
        ] {
            mounted(rendered, deployment, enforcer, path.to_str().unwrap());
        }
        for path in [
            &router_env.private_key,
            &router_env.certificate,
            &router_env.adapter_ca,
            &router_env.enforcer_ca,
        ] {
            mounted(rendered, deployment, router, path.to_str().unwrap());
        }
        for (container, env) in [(enforcer, &enforcer_env.process), (router, &router_env.process)] {
            writable(
                container,
                env.state_dir.as_ref().and_then(|path| path.to_str()).unwrap(),
            );
            // JAVA_OPTS is the original's; nothing else is set in vain.
            assert!(
                env.ignored.iter().all(|name| rendered.values.contains(*name)),
                "{set}: {:?}",
                env.ignored
            );
        }
        // A probe that names another host gets 404.
        let host = text(router, "/readinessProbe/httpGet/httpHeaders/0/value");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(
                text(router, &format!("/{probe}/httpGet/httpHeaders/0/value")),
                host,
                "{set}"
            );
        }
    }
}

/// Variables of a container; those from secrets have some value.
fn env(container: &Value) -> Env {
    list(container, "/env")
        .iter()
        .map(|variable| {
            let value = variable
                .get("value")
                .and_then(Value::as_str)
                .unwrap_or("from-a-secret");
            (text(variable, "/name").to_owned(), value.to_owned())
        })
        .collect()
}

fn files(rendered: &Rendered, deployment: &Value, adapter: &Value, runtime: &Value) {
    let set = &rendered.set;
    let volumes = list(deployment, "/spec/template/spec/volumes");
    let volume = volumes
        .iter()
        .find(|volume| text(volume, "/name") == "config")
        .unwrap();
    let file = |key: &str| {
        let mut texts = list(volume, "/projected/sources").iter().filter_map(|source| {
            rendered.named("ConfigMap", text(source, "/configMap/name"))?["data"][key].as_str()
        });
        texts.next().unwrap_or_else(|| panic!("{set}: {key}")).to_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    let (config, log) = (
        folder.path().join("config.toml"),
        folder.path().join("log_config.toml"),
    );
    std::fs::write(&config, file("config.toml")).unwrap();
    std::fs::write(&log, file("log_config.toml")).unwrap();
    let env = env(adapter);
    let process = AdapterEnv::read(&env)
        .unwrap_or_else(|errors| panic!("{set}: {errors:?}"))
        .process;
    writable(adapter, process.state_dir.unwrap().to_str().unwrap());
    writable(adapter, "/home/wso2/logs");
    let loaded = check(Some(&config), &env, true).unwrap_or_else(|errors| {
        panic!("{set}: {errors:?}\n{}", file("config.toml"));
    });
    assert!(load_log(Some(&log), &env).warnings.is_empty(), "{set}");

    let config = loaded.config;
    let keystore = [
        &config.adapter.keystore.key_path,
        &config.adapter.keystore.cert_path,
    ];
    let listener = [
        &config.router.keystore.key_path,
        &config.router.keystore.cert_path,
    ];
    for path in keystore.into_iter().chain(listener) {
        mounted(rendered, deployment, adapter, path.to_str().unwrap());
    }
    let [enforcer, router] = list(runtime, "/spec/template/spec/containers") else {
        panic!("{set}");
    };
    let issuer = &config.enforcer.jwt_issuer;
    if issuer.enabled {
        for path in [&issuer.public_certificate_path, &issuer.private_key_path] {
            mounted(rendered, runtime, enforcer, path.to_str().unwrap());
        }
    }
    for service in &config.enforcer.security.token_service {
        // An API Manager's certificate is the user's to bring.
        if service.name == "MGW" || exists(rendered, "wso2carbon.pem") {
            mounted(
                rendered,
                runtime,
                enforcer,
                service.certificate_file_path.to_str().unwrap(),
            );
        }
    }
    // The built-in list would take tokens of an issuer that everybody may have set up.
    let test = config
        .enforcer
        .security
        .token_service
        .iter()
        .any(|service| service.name == "MGW");
    assert_eq!(test, issuer.enabled, "{set}");
    // One value keeps them together.
    let host = &config.router.system_host;
    assert_eq!(
        text(router, "/readinessProbe/httpGet/httpHeaders/0/value"),
        host,
        "{set}"
    );
    let label = list(router, "/env")
        .iter()
        .find(|variable| text(variable, "/name") == "ROUTER_LABEL")
        .unwrap();
    let mapping = &config.adapter.vhost_mapping[0];
    assert_eq!(
        (mapping.environment.as_str(), &mapping.vhost),
        (text(label, "/value"), host),
        "{set}"
    );
    assert!(
        !issuer.enabled || issuer.issuer == format!("https://{host}/testkey"),
        "{set}"
    );
    for ingress in rendered.of_kind("Ingress") {
        let environment = "/metadata/labels/gateway-environment";
        let of_router = text(ingress, "/metadata/name").ends_with("-router");
        if of_router && text(ingress, environment) == text(deployment, environment) {
            assert_eq!(text(ingress, "/spec/rules/0/host"), host, "{set}");
        }
    }
}

/// A path is a folder that is mounted, or a file that a source of such a folder holds.
fn mounted(rendered: &Rendered, deployment: &Value, container: &Value, path: &str) {
    let found = list(container, "/volumeMounts").iter().any(|mount| {
        let Some(rest) = path.strip_prefix(text(mount, "/mountPath")) else {
            return false;
        };
        let volume = list(deployment, "/spec/template/spec/volumes")
            .iter()
            .find(|volume| volume["name"] == mount["name"])
            .unwrap();
        rest.is_empty()
            || list(volume, "/projected/sources")
                .iter()
                .flat_map(|source| list(source, "/secret/items"))
                .any(|item| text(item, "/path") == rest.trim_start_matches('/'))
    });
    assert!(found, "{}: nothing is mounted at {path}", rendered.set);
}

fn writable(container: &Value, path: &str) {
    let mount = list(container, "/volumeMounts")
        .iter()
        .find(|mount| text(mount, "/mountPath") == path);
    assert!(
        mount.is_some_and(|mount| mount.get("readOnly").is_none()),
        "{path}: {mount:?}"
    );
}
