//! Values that cannot be used are refused, with the key's name, by both helms.

use trireme_charts::{Helm, run, template};

const ADAPTER: &str = "wso2.deployment.adapter";
const RUNTIME: &str = "wso2.deployment.gatewayRuntime";

/// What is set, and the key that the message names.
fn wrong() -> Vec<(String, &'static str)> {
    let adapter = |rest: &str| format!("{ADAPTER}.{rest}");
    let runtime = |rest: &str| format!("{RUNTIME}.{rest}");
    vec![
        (adapter("replicaCount=two"), "replicaCount"),
        (adapter("ingress.enabled=1"), "enabled"),
        (adapter("ingress.hostname=a_b"), "hostname"),
        (adapter("ingress.hostname=Adapter.example.com"), "hostname"),
        (adapter("ingress.tlsSecretName=a: b"), "tlsSecretName"),
        (adapter("imageTag=1.2\\, x"), "imageTag"),
        (adapter("imageName=Adapter"), "imageName"),
        (adapter("dockerRegistry=my registry"), "dockerRegistry"),
        (adapter("security.keystore.key.secretName=A_b"), "secretName"),
        (runtime("router.debug.heapProfile.mountPath=var"), "mountPath"),
        (
            runtime("podDisruptionBudget.maxUnavailable=150%"),
            "maxUnavailable",
        ),
        ("kubernetes.serviceAccount.name=- a".to_owned(), "name"),
        ("fullnameOverride=a.b".to_owned(), "fullnameOverride"),
        (adapter("ingress.annotations.a=1"), "annotations"),
        (adapter("podLabels.team=a b"), "podLabels"),
        (adapter("podAnnotations.a b=x"), "podAnnotations"),
        (runtime("nodeSelector.-zone=a"), "nodeSelector"),
        (
            runtime("router.livenessProbe.successThreshold=2"),
            "livenessProbe",
        ),
        (
            "wso2.choreoAnalytics.onpremKeySecret.name=A_b".to_owned(),
            "onpremKeySecret",
        ),
        (adapter("envOverride=x"), "envOverride"),
        (adapter("envOverride[0].name=x"), "envOverride"),
        (adapter("security.keystore.key.secretName=x"), "keystore"),
        (
            adapter("security.adapterRestService.enabled=maybe"),
            "adapterRestService",
        ),
        (adapter("persistence.size=big"), "size"),
        (adapter("imagePullPolicy=Sometimes"), "imagePullPolicy"),
        (runtime("autoscaling.maxReplicas=1.5"), "maxReplicas"),
        (runtime("router.ingress.targetPort=80"), "targetPort"),
        (runtime("router.service.type=Headless"), "type"),
        (runtime("enforcer.resources=big"), "resources"),
        (
            runtime("podDisruptionBudget.maxUnavailable=some"),
            "maxUnavailable",
        ),
        ("wso2.deployment.mode=BOTH".to_owned(), "mode"),
        ("wso2.deployment.labelName=".to_owned(), "labelName"),
        (
            "wso2.deployment.volumeConfigs[0].name=x".to_owned(),
            "volumeConfigs",
        ),
        (
            "wso2.deployment.gatewayEnvironments[0].name=EU".to_owned(),
            "gatewayEnvironments",
        ),
        ("wso2.choreoAnalytics.endpoint=no address".to_owned(), "endpoint"),
        ("kubernetes.certManager.duration=long".to_owned(), "duration"),
        // Keys that nobody knows, at every depth.
        ("wso2.deployment.adaptor.replicaCount=1".to_owned(), "adaptor"),
        (adapter("ingress.hostName=x"), "hostName"),
        (runtime("router.security.keystores.key=x"), "keystores"),
        (runtime("autoscaling.minreplicas=1"), "minreplicas"),
        (
            "kubernetes.serviceaccount.create=true".to_owned(),
            "serviceaccount",
        ),
        ("extra=1".to_owned(), "extra"),
    ]
}

#[test]
fn wrong_types_and_unknown_keys_are_named() {
    for helm in Helm::ALL {
        let Some(program) = helm.program() else { continue };
        for (set, key) in wrong() {
            for command in ["template", "lint"] {
                let words: &[&str] = if command == "lint" {
                    &["lint", ".", "--set", &set]
                } else {
                    &["template", "r", ".", "--set", &set]
                };
                let output = run(&program, words).unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned()
                    + &String::from_utf8_lossy(&output.stdout);
                assert!(
                    !output.status.success(),
                    "{helm:?} {command} --set {set}: accepted"
                );
                assert!(said.contains(key), "{helm:?} {command} --set {set}: {said}");
            }
        }
    }
}

/// An entry of `volumeConfigs`.
fn volume(at: usize, name: &str, container: &str, path: &str) -> Vec<String> {
    let entry = format!("wso2.deployment.volumeConfigs[{at}]");
    vec![
        format!("{entry}.name={name}"),
        format!("{entry}.mount.container={container}"),
        format!("{entry}.mount.path={path}"),
        format!("{entry}.resource.kind=ConfigMap"),
        format!("{entry}.resource.name=c{at}"),
    ]
}

/// What goes together is looked at by the templates, whose messages only `template` and `install` give.
#[test]
fn values_that_do_not_go_together_are_named() {
    let eu = "wso2.deployment.gatewayEnvironments[0].name=eu";
    let cases: Vec<(Vec<String>, &str)> = vec![
        (
            vec!["wso2.deployment.redis.enabled=true".into()],
            "wso2.deployment.redis.url: redis is enabled",
        ),
        (
            vec!["wso2.deployment.postgresql.enabled=true".into()],
            "wso2.deployment.postgresql.enabled: this version",
        ),
        (
            vec![format!("{ADAPTER}.replicaCount=2")],
            "adapter.replicaCount: ",
        ),
        (
            vec![format!("{RUNTIME}.autoscaling.minReplicas=9")],
            "autoscaling.minReplicas: greater than maxReplicas",
        ),
        (
            vec![
                format!("{RUNTIME}.autoscaling.targetCPUUtilizationPercentage=0"),
                format!("{RUNTIME}.autoscaling.targetMemoryUtilizationPercentage=0"),
            ],
            "autoscaling: no target",
        ),
        (
            vec![
                format!("{RUNTIME}.router.httpRoute.enabled=true"),
                format!("{RUNTIME}.router.httpRoute.targetPort=9095"),
            ],
            "router.httpRoute.caConfigMap: ",
        ),
        (
            vec![format!("{ADAPTER}.httpRoute.enabled=true")],
            "adapter.httpRoute.caConfigMap: ",
        ),
        (
            vec![format!("{RUNTIME}.enforcer.security.backendJWT.enabled=true")],
            "backendJWT.keystore: needed",
        ),
        (
            vec!["wso2.deployment.generateSecrets=false".into()],
            "adapter.security.keystore: needed",
        ),
        (
            vec![
                "wso2.deployment.generateSecrets=false".into(),
                "kubernetes.certManager.enabled=true".into(),
            ],
            "adapter.envOverride: adapter_admin_pwd is needed",
        ),
        (
            vec![eu.into(), "wso2.deployment.gatewayEnvironments[1].name=eu".into()],
            "wso2.deployment.gatewayEnvironments: two are called eu",
        ),
        (
            vec![eu.into(), "wso2.deployment.gatewayEnvironments[1].name=us".into()],
            "environment us: ingress.hostname: gw.wso2.com is taken already",
        ),
        (
            vec![
                eu.into(),
                "wso2.deployment.gatewayEnvironments[1].name=us".into(),
                "wso2.deployment.gatewayEnvironments[1].labelName=eu".into(),
            ],
            "environment us: labelName: eu is another environment's already",
        ),
        (
            vec![
                format!("{ADAPTER}.envOverride[0].name=A"),
                format!("{ADAPTER}.envOverride[0].value=x"),
                format!("{ADAPTER}.envOverride[1].name=A"),
                format!("{ADAPTER}.envOverride[1].value=x"),
            ],
            "adapter.envOverride: A is there twice",
        ),
        (
            [
                volume(0, "a", "router", "/a"),
                volume(1, "b", "choreo-connect-router", "/a/"),
            ]
            .concat(),
            "wso2.deployment.volumeConfigs: another one is already mounted at /a/ in router",
        ),
        (
            volume(0, "a", "router", "/home/wso2/security//keystore/"),
            "wso2.deployment.volumeConfigs: a folder of the chart is already mounted at",
        ),
        (
            volume(0, "a", "enforcer", "/tmp"),
            "wso2.deployment.volumeConfigs: a folder of the chart is already mounted at /tmp in enforcer",
        ),
        (
            volume(0, "a", "adapter", "/home/wso2/conf"),
            "wso2.deployment.volumeConfigs: a folder of the chart is already mounted at /home/wso2/conf in adapter",
        ),
        (
            vec![
                format!("{RUNTIME}.router.debug.heapProfile.mountEmptyDir=true"),
                format!("{RUNTIME}.router.debug.heapProfile.mountPath=/tmp/"),
            ],
            "gatewayRuntime.router.debug.heapProfile.mountPath: /tmp/ is a folder of the chart",
        ),
        (
            [volume(0, "a", "router", "/a"), volume(1, "a", "router", "/b")].concat(),
            "wso2.deployment.volumeConfigs: a is ConfigMap c0 and ConfigMap c1",
        ),
        (
            volume(0, "state", "adapter", "/a"),
            "wso2.deployment.volumeConfigs: the chart has a volume called state",
        ),
        (
            ["s-a", "s"]
                .iter()
                .zip(["b.pem", "a-b.pem"])
                .enumerate()
                .flat_map(|(at, (secret, file))| {
                    let entry = format!("{ADAPTER}.security.truststore[{at}]");
                    [
                        format!("{entry}.secretName={secret}"),
                        format!("{entry}.subPath={file}"),
                    ]
                })
                .collect(),
            "adapter.security.truststore: two would be the file s-a-b-pem.pem",
        ),
        (
            vec![format!("{RUNTIME}.terminationGracePeriodSeconds=17")],
            "gatewayRuntime.enforcer.preStopSleepSeconds: leaves nothing of terminationGracePeriodSeconds, 17",
        ),
        (
            vec![format!("{RUNTIME}.router.httpRoute.enabled=true")],
            "gatewayRuntime.router.httpRoute.parentRefs: needed",
        ),
        (
            vec![
                "kubernetes.certManager.renewBefore=90h60m".into(),
                "kubernetes.certManager.duration=91h".into(),
            ],
            "kubernetes.certManager.renewBefore: 90h60m is not shorter than duration, 91h",
        ),
        (
            vec![
                "nameOverride=".to_owned() + &"a".repeat(60),
                "fullnameOverride=9a".into(),
            ],
            "fullnameOverride",
        ),
    ];
    for helm in Helm::ALL {
        let Some(program) = helm.program() else { continue };
        for (sets, text) in &cases {
            let words: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
            match template(&program, &words) {
                Ok(_) => panic!("{helm:?} {sets:?}: accepted"),
                Err(error) => assert!(error.to_string().contains(text), "{helm:?} {sets:?}: {error}"),
            }
        }
    }
}

/// The folders that the chart leaves empty are there to be mounted over.
#[test]
fn volumes_take_the_place_of_empty_folders() {
    let sets = [
        volume(0, "a", "adapter", "/home/wso2/artifacts//apis/"),
        volume(1, "b", "enforcer", "/home/wso2/lib/dropins/"),
        volume(2, "c", "router", "/etc/ssl/certs"),
    ]
    .concat();
    let words: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    for helm in Helm::ALL {
        let Some(program) = helm.program() else { continue };
        let out = template(&program, &words).unwrap();
        assert!(
            !out.contains("name: apis") && !out.contains("name: dropins"),
            "{helm:?}"
        );
    }
}

/// As a part of another chart, it gets `global`, and its values stand one level lower.
#[test]
fn it_works_as_a_part_of_another_chart() {
    for helm in Helm::ALL {
        let Some(program) = helm.program() else { continue };
        let parent = tempfile::tempdir().unwrap();
        std::fs::create_dir(parent.path().join("charts")).unwrap();
        std::os::unix::fs::symlink(
            trireme_charts::chart(),
            parent.path().join("charts/choreo-connect"),
        )
        .unwrap();
        let chart = "apiVersion: v2\nname: parent\nversion: 0.1.0\ndependencies: [{name: choreo-connect, version: '*'}]\n";
        std::fs::write(parent.path().join("Chart.yaml"), chart).unwrap();
        let values = "global: {team: gateway}\nchoreo-connect: {wso2: {deployment: {labelName: Parent}}}\n";
        std::fs::write(parent.path().join("values.yaml"), values).unwrap();
        let output = run(&program, &["template", "r", parent.path().to_str().unwrap()]).unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{helm:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            out.contains("value: \"Parent\"") && out.contains("name: r-choreo-connect-router\n"),
            "{helm:?}"
        );
    }
}

/// Newer Helm takes a null in a chart's own values as absent, and a null in a parent's as nothing: none may be needed.
#[test]
fn no_default_is_null() {
    let text = std::fs::read_to_string(trireme_charts::chart().join("values.yaml")).unwrap();
    let values: serde_json::Value = yaml_serde::from_str(&text).unwrap();
    fn look(path: &str, value: &serde_json::Value) {
        assert!(!value.is_null(), "{path}");
        for (key, value) in value.as_object().into_iter().flatten() {
            look(&format!("{path}.{key}"), value);
        }
    }
    look("", &values);
}

/// Null takes a default away: either there is another one, or the key is named.
#[test]
fn no_value_is_missed_without_its_name() {
    let Some(program) = Helm::Four.program() else {
        return;
    };
    let text = std::fs::read_to_string(trireme_charts::chart().join("values.yaml")).unwrap();
    let values: serde_json::Value = yaml_serde::from_str(&text).unwrap();
    let mut paths = Vec::new();
    let mut rest = vec![(String::new(), &values)];
    while let Some((path, value)) = rest.pop() {
        for (key, value) in value.as_object().into_iter().flatten() {
            // Annotations are the user's own.
            if !key.contains('/') {
                let path = format!("{path}.{key}");
                paths.push(path.trim_start_matches('.').to_owned());
                rest.push((path, value));
            }
        }
    }
    assert!(paths.len() > 200, "{}", paths.len());
    for path in paths {
        let Err(error) = template(&program, &["--set", &format!("{path}=null")]) else {
            continue;
        };
        let (error, key) = (error.to_string(), path.rsplit('.').next().unwrap());
        assert!(
            error.contains(key) && !error.contains("nil pointer"),
            "{path}: {error}"
        );
    }
}

/// Names that look like something else in YAML, and an address that nothing is exposed at.
#[test]
fn texts_stay_texts() {
    for helm in Helm::ALL {
        let Some(program) = helm.program() else { continue };
        let out = template(
            &program,
            &[
                "--set-string",
                "wso2.deployment.adapter.imageTag=12",
                "--set-string",
                "wso2.deployment.gatewayRuntime.priorityClassName=true",
                "--set-string",
                "wso2.deployment.adapter.ingress.tlsSecretName=1e3",
                "--set",
                "wso2.deployment.gatewayEnvironments[0].name=eu",
                "--set-string",
                "wso2.deployment.gatewayEnvironments[1].name=12",
                "--set",
                "wso2.deployment.gatewayEnvironments[1].gatewayRuntime.router.ingress.enabled=false",
                "--set",
                "wso2.deployment.gatewayEnvironments[1].adapter.ingress.enabled=false",
            ],
        )
        .unwrap();
        for line in [
            "image: \"trireme-adapter:12\"",
            "priorityClassName: \"true\"",
            "secretName: \"1e3\"",
            "gateway-environment: \"12\"",
        ] {
            assert!(out.contains(line), "{helm:?}: {line}");
        }
    }
}
