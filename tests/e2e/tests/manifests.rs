//! What `k8s-artifacts` holds: the original's objects under their names, settings that the processes take without a word, and
//! nothing that must not be committed. Whether Kubernetes takes it is another test's matter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use trireme_config::{AdapterEnv, Config, EnforcerEnv, Env, RouterEnv};

const ALONE: &str = "choreo-connect";
const WITH_APIM: &str = "choreo-connect-with-apim/choreo-connect";
/// How long the router takes to drain, and what it may need beyond.
const DRAIN: u64 = 10 + 5;

fn artifacts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s-artifacts")
}

/// The manifests of a folder by file name, without what `cargo xtask secrets` writes there.
fn manifests(folder: &str) -> anyhow::Result<BTreeMap<String, Vec<Value>>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(artifacts().join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") && !name.ends_with("-secret.yaml") {
            let text = std::fs::read_to_string(entry.path())?;
            let documents =
                serde_saphyr::from_multiple(&text).with_context(|| entry.path().display().to_string())?;
            all.insert(name, documents);
        }
    }
    Ok(all)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// An object: file, kind, name, and the ports that it opens.
type Object = (String, String, String, Vec<u64>);

fn objects(folder: &str) -> anyhow::Result<Vec<Object>> {
    let mut all = Vec::new();
    for (file, documents) in manifests(folder)? {
        for object in documents {
            let ports = match object["kind"].as_str() {
                Some("Deployment") => containers(&object)
                    .iter()
                    .flat_map(|container| list(&container["ports"]))
                    .filter_map(|port| port["containerPort"].as_u64())
                    .collect(),
                Some("Service") => list(&object["spec"]["ports"])
                    .iter()
                    .filter_map(|port| port["port"].as_u64())
                    .collect(),
                _ => Vec::new(),
            };
            let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
            all.push((file.clone(), kind, name, ports));
        }
    }
    Ok(all)
}

fn containers(deployment: &Value) -> &[Value] {
    list(&deployment["spec"]["template"]["spec"]["containers"])
}

fn object(folder: &str, kind: &str, name: &str) -> anyhow::Result<Value> {
    manifests(folder)?
        .into_values()
        .flatten()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .with_context(|| format!("{folder}: no {kind} {name}"))
}

fn container(folder: &str, deployment: &str, name: &str) -> anyhow::Result<Value> {
    let deployment = object(folder, "Deployment", deployment)?;
    let found = containers(&deployment)
        .iter()
        .find(|container| container["name"] == name);
    found.cloned().with_context(|| format!("no container {name}"))
}

/// The variables of a container.
fn env(container: &Value) -> Env {
    Env::from_iter(
        list(&container["env"])
            .iter()
            .map(|variable| (text(&variable["name"]), text(&variable["value"]))),
    )
}

fn file_of(folder: &str, map: &str, key: &str) -> anyhow::Result<String> {
    Ok(text(&object(folder, "ConfigMap", map)?["data"][key]))
}

/// The settings as the adapter of that folder reads them, every odd thing being an error.
fn settings(folder: &str) -> anyhow::Result<Config> {
    let held = tempfile::tempdir()?;
    let file = held.path().join("config.toml");
    std::fs::write(&file, file_of(folder, "config-toml", "config.toml")?)?;
    let env = env(&container(
        folder,
        "choreo-connect-adapter",
        "choreo-connect-adapter",
    )?);
    let loaded = trireme_config::check(Some(&file), &env, true);
    Ok(loaded
        .map_err(|errors| anyhow::anyhow!("{folder}: {errors:?}"))?
        .config)
}

#[test]
fn the_objects_have_the_names_and_ports_of_the_original() -> anyhow::Result<()> {
    let row = |file: &str, kind: &str, name: &str, ports: &[u64]| {
        (file.to_owned(), kind.to_owned(), name.to_owned(), ports.to_vec())
    };
    let of = |config: &str, ingress: &str| {
        [
            row(
                "adapter-deployment.yaml",
                "Deployment",
                "choreo-connect-adapter",
                &[18000, 9843],
            ),
            row("adapter-service.yaml", "Service", "adapter", &[18000, 9843]),
            row(
                "choreo-connect-deployment.yaml",
                "Deployment",
                "choreo-connect-deployment",
                &[8081, 9001, 9000, 9090, 9095],
            ),
            row(
                "choreo-connect-pdb.yaml",
                "PodDisruptionBudget",
                "choreo-connect-deployment",
                &[],
            ),
            row(
                "choreo-connect-service.yaml",
                "Service",
                "router",
                &[9000, 9095, 9090],
            ),
            row(ingress, "Ingress", "choreo-connect-ingress", &[]),
            row(ingress, "Ingress", "choreo-connect-ingress-internal", &[]),
            row(config, "ConfigMap", "config-toml", &[]),
            row("log4j2-configmap.yaml", "ConfigMap", "log4j2", &[]),
            row(
                "logconfig-toml-configmap.yaml",
                "ConfigMap",
                "logconfig-toml",
                &[],
            ),
        ]
        .into_iter()
        .collect::<BTreeSet<_>>()
    };
    let found = |folder| anyhow::Ok(objects(folder)?.into_iter().collect::<BTreeSet<_>>());
    assert_eq!(
        found(ALONE)?,
        of("config-toml-configmap.yaml", "choreo-connect-ingress.yaml")
    );
    assert_eq!(
        found(WITH_APIM)?,
        of(
            "config-toml-configmap-for-eventhub.yaml",
            "choreo-connect-with-apim-ingress.yaml"
        )
    );
    let ports = [8280, 8243, 9763, 9443, 5672, 9611, 9711];
    let apim = [
        row("apim-config.yaml", "ConfigMap", "apim-conf", &[]),
        row("apim-deployment.yaml", "Deployment", "wso2apim", &ports),
        row("apim-service.yaml", "Service", "wso2apim", &ports),
    ];
    assert_eq!(
        found("choreo-connect-with-apim/apim")?,
        apim.into_iter().collect()
    );
    Ok(())
}

#[test]
fn both_folders_run_the_same_pods() -> anyhow::Result<()> {
    let (alone, with_apim) = (manifests(ALONE)?, manifests(WITH_APIM)?);
    for (file, documents) in alone {
        if !file.contains("ingress") && !file.starts_with("config-toml") {
            assert_eq!(Some(&documents), with_apim.get(&file), "{file}");
        }
    }
    Ok(())
}

#[test]
fn the_settings_are_taken_and_fit_the_probes_and_the_ingress() -> anyhow::Result<()> {
    for folder in [ALONE, WITH_APIM] {
        let config = settings(folder)?;
        let host = "gw.wso2.com";
        assert_eq!(config.router.system_host, host, "{folder}");
        assert_eq!(
            config.enforcer.jwt_issuer.issuer,
            format!("https://{host}/testkey")
        );
        let issuers: Vec<_> = config
            .enforcer
            .security
            .token_service
            .iter()
            .map(|service| service.issuer.as_str())
            .collect();
        let want = [
            "https://apim.wso2.com/oauth2/token",
            "https://gw.wso2.com/testkey",
            "https://apim.wso2.com/publisher",
        ];
        assert_eq!(issuers, want, "{folder}");
        let router = container(folder, "choreo-connect-deployment", "choreo-connect-router")?;
        for (probe, path) in [
            ("startupProbe", "/ready"),
            ("livenessProbe", "/health"),
            ("readinessProbe", "/ready"),
        ] {
            let want = json!({
                "scheme": "HTTPS", "port": config.router.secured_listener_port, "path": path,
                "httpHeaders": [{ "name": "Host", "value": host }],
            });
            assert_eq!(router[probe]["httpGet"], want, "{folder} {probe}");
        }
        let ingress = object(folder, "Ingress", "choreo-connect-ingress")?;
        assert_eq!(ingress["spec"]["rules"][0]["host"], host, "{folder}");
        assert_eq!(ingress["spec"]["tls"][0]["secretName"], "tls-secret", "{folder}");

        let held = tempfile::tempdir()?;
        let file = held.path().join("log_config.toml");
        std::fs::write(&file, file_of(folder, "logconfig-toml", "log_config.toml")?)?;
        let log = trireme_config::load_log(Some(&file), &Env::from_iter([("", ""); 0]));
        assert!(log.warnings.is_empty(), "{folder}: {:?}", log.warnings);
    }
    let config = settings(ALONE)?;
    let hosts: Vec<_> = config
        .adapter
        .vhost_mapping
        .iter()
        .map(|mapping| (mapping.environment.as_str(), mapping.vhost.as_str()))
        .collect();
    assert_eq!(hosts, [("Default", "gw.wso2.com")]);
    assert!(!config.control_plane.enabled);
    let config = settings(WITH_APIM)?;
    assert!(config.control_plane.enabled && config.enforcer.throttling.enable_global_event_publishing);
    assert_eq!(config.control_plane.service_url, "https://wso2apim:9443/");
    Ok(())
}

#[test]
fn every_variable_means_something_to_its_process() -> anyhow::Result<()> {
    let root = artifacts().join("..");
    let known = std::fs::read_to_string(root.join("crates/config/src/variables.rs"))?;
    // Read elsewhere: by the probe of the image, by the C library, by the login of both processes.
    let elsewhere = [
        "ADAPTER_PRIVATE_KEY_PATH",
        "ADAPTER_PUBLIC_CERT_PATH",
        "MALLOC_ARENA_MAX",
        "TRIREME_ALLOW_DEFAULT_CREDENTIALS",
    ];
    let template = std::fs::read_to_string(root.join("conf/config.toml.template"))?;
    for (deployment, name) in [
        ("choreo-connect-adapter", "choreo-connect-adapter"),
        ("choreo-connect-deployment", "choreo-connect-enforcer"),
        ("choreo-connect-deployment", "choreo-connect-router"),
    ] {
        let container = container(ALONE, deployment, name)?;
        let env = env(&container);
        let mut seen = BTreeSet::new();
        for (variable, value) in env.iter() {
            assert!(
                !value.is_empty() && seen.insert(variable),
                "{name}: {variable} {value:?}"
            );
            let used = elsewhere.contains(&variable)
                || known.contains(&format!("\"{variable}\""))
                || template.contains(&format!("$env{{{variable}}}"));
            assert!(used, "{name}: {variable} is read by nobody");
        }
        let ignored = match name {
            "choreo-connect-adapter" => AdapterEnv::read(&env).map(|env| env.process.ignored),
            "choreo-connect-enforcer" => EnforcerEnv::read(&env).map(|env| env.process.ignored),
            _ => RouterEnv::read(&env).map(|env| env.process.ignored),
        };
        let ignored = ignored.map_err(|errors| anyhow::anyhow!("{name}: {errors:?}"))?;
        assert_eq!(ignored, [""; 0], "{name}");
    }
    Ok(())
}

#[test]
fn the_pods_have_no_more_rights_than_they_need() -> anyhow::Result<()> {
    for (folder, name) in [
        (ALONE, "choreo-connect-adapter"),
        (ALONE, "choreo-connect-deployment"),
        ("choreo-connect-with-apim/apim", "wso2apim"),
    ] {
        let deployment = object(folder, "Deployment", name)?;
        let pod = &deployment["spec"]["template"]["spec"];
        let ours = name != "wso2apim";
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        if ours {
            for id in ["runAsUser", "runAsGroup", "fsGroup"] {
                assert_eq!(pod["securityContext"][id], 10500, "{name} {id}");
            }
        }
        for container in containers(&deployment) {
            let (name, security) = (&container["name"], &container["securityContext"]);
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }), "{name}");
            if ours {
                assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(container["resources"]["requests"]["memory"], "100Mi", "{name}");
            }
            assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
        }
        let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
        assert_eq!(rolling, &json!({ "maxSurge": 1, "maxUnavailable": 0 }), "{name}");
    }
    Ok(())
}

#[test]
fn the_enforcer_outlives_the_router() -> anyhow::Result<()> {
    let waits = |name| {
        let container = container(ALONE, "choreo-connect-deployment", name)?;
        let command = &container["lifecycle"]["preStop"]["exec"]["command"];
        let seconds = list(command).get(1).and_then(Value::as_str).unwrap_or_default();
        anyhow::Ok(seconds.parse::<u64>()?)
    };
    let (router, enforcer) = (waits("choreo-connect-router")?, waits("choreo-connect-enforcer")?);
    assert!(router + DRAIN <= enforcer, "{router} {enforcer}");
    let deployment = object(ALONE, "Deployment", "choreo-connect-deployment")?;
    let grace = &deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
    assert!(grace.as_u64() >= Some(enforcer + DRAIN), "{grace}");
    Ok(())
}

/// Every volume is mounted and every mount has its volume; the Secrets are those of `cargo xtask secrets`.
#[test]
fn the_mounts_are_those_of_the_original() -> anyhow::Result<()> {
    let mut secrets = BTreeSet::new();
    let mut files = BTreeMap::new();
    for name in ["choreo-connect-adapter", "choreo-connect-deployment"] {
        let deployment = object(ALONE, "Deployment", name)?;
        let volumes = list(&deployment["spec"]["template"]["spec"]["volumes"]);
        let declared: BTreeSet<_> = volumes.iter().map(|volume| text(&volume["name"])).collect();
        let mounts = || {
            containers(&deployment).iter().flat_map(|container| {
                list(&container["volumeMounts"])
                    .iter()
                    .map(move |mount| (container, mount))
            })
        };
        let mounted: BTreeSet<_> = mounts().map(|(_, mount)| text(&mount["name"])).collect();
        assert_eq!(declared, mounted, "{name}");
        for (container, mount) in mounts() {
            let volume = volumes
                .iter()
                .find(|volume| volume["name"] == mount["name"])
                .context("declared above")?;
            let source = volume["secret"]["secretName"]
                .as_str()
                .or(volume["configMap"]["name"].as_str());
            if let Some(source) = source {
                let path = text(&mount["mountPath"]);
                files.insert(format!("{} {path}", text(&container["name"])), source.to_owned());
            }
        }
        secrets.extend(
            volumes
                .iter()
                .filter_map(|volume| volume["secret"]["secretName"].as_str().map(str::to_owned)),
        );
    }
    let want = [
        (
            "choreo-connect-adapter /home/wso2/conf/config.toml",
            "config-toml",
        ),
        (
            "choreo-connect-adapter /home/wso2/conf/log_config.toml",
            "logconfig-toml",
        ),
        (
            "choreo-connect-adapter /home/wso2/security/keystore",
            "adapter-keystore",
        ),
        (
            "choreo-connect-adapter /home/wso2/security/truststore",
            "adapter-truststore",
        ),
        (
            "choreo-connect-adapter /home/wso2/security/truststore/consul",
            "consul-certs",
        ),
        (
            "choreo-connect-enforcer /home/wso2/conf/log4j2.properties",
            "log4j2",
        ),
        (
            "choreo-connect-enforcer /home/wso2/security/keystore",
            "enforcer-keystore",
        ),
        (
            "choreo-connect-enforcer /home/wso2/security/truststore",
            "enforcer-truststore",
        ),
        (
            "choreo-connect-router /home/wso2/security/keystore",
            "router-keystore",
        ),
        (
            "choreo-connect-router /home/wso2/security/truststore",
            "router-truststore",
        ),
    ];
    let want: BTreeMap<_, _> = want
        .map(|(path, source)| (path.to_owned(), source.to_owned()))
        .into_iter()
        .collect();
    assert_eq!(files, want);
    assert_eq!(secrets.len(), 7, "{secrets:?}");
    Ok(())
}

#[test]
fn kustomize_takes_every_file_of_the_folder() -> anyhow::Result<()> {
    let files: BTreeSet<_> = manifests(ALONE)?.into_keys().collect();
    for overlay in ["durable", "production"] {
        let all = manifests(&format!("kustomize/{overlay}"))?;
        let documents = all.get("kustomization.yaml").context("no kustomization.yaml")?;
        let document = documents.first().context("empty")?;
        let (secrets, named): (BTreeSet<_>, BTreeSet<_>) = list(&document["resources"])
            .iter()
            .map(|resource| text(resource).replace("../../choreo-connect/", ""))
            .partition(|name| name.ends_with("-secret.yaml"));
        assert_eq!(named, files, "{overlay}");
        assert_eq!(secrets.len(), if overlay == "durable" { 8 } else { 0 });
        for component in list(&document["components"]) {
            assert!(!manifests(&format!("kustomize/{overlay}/{}", text(component)))?.is_empty());
        }
    }
    Ok(())
}

#[test]
fn no_secret_is_committed() -> anyhow::Result<()> {
    let mut folders = ["choreo-connect", "choreo-connect-with-apim", "kustomize"]
        .map(|folder| artifacts().join(folder))
        .to_vec();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Made by `cargo xtask secrets`; see below.
            if name == "authority" || name.ends_with("-secret.yaml") {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let content = std::fs::read_to_string(entry.path())?;
            seen += 1;
            assert!(!content.contains("kind: Secret\n"), "{}", entry.path().display());
            assert!(!content.contains("-----BEGIN"), "{}", entry.path().display());
        }
    }
    assert!(seen >= 30, "{seen} files");
    let ignored = std::fs::read_to_string(artifacts().join("../.gitignore"))?;
    for pattern in ["k8s-artifacts/**/authority/", "k8s-artifacts/**/*-secret.yaml"] {
        assert!(ignored.lines().any(|line| line == pattern), "{pattern}");
    }
    Ok(())
}
