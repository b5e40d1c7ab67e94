//! Every set of values, rendered by both helms: golden outputs, Kubernetes' schemas, and what objects expect of each other.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use trireme_charts::{Helm, RELEASE, documents, required, sets, template, text};

mod config;
mod golden;
mod kinds;
mod references;
mod security;

/// One rendering.
pub(crate) struct Rendered {
    pub(crate) set: String,
    /// The set's file, as text: what exists already is named there.
    pub(crate) values: String,
    pub(crate) objects: Vec<Value>,
}

impl Rendered {
    pub(crate) fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.objects
            .iter()
            .filter(move |object| text(object, "/kind") == kind)
    }

    pub(crate) fn named(&self, kind: &'static str, name: &str) -> Option<&Value> {
        self.of_kind(kind)
            .find(|object| text(object, "/metadata/name") == name)
    }
}

/// Renders every set, on both cores.
fn render(helm: &Path, kubernetes: &str) -> Vec<Rendered> {
    let sets: Vec<(String, PathBuf)> = sets().unwrap().into_iter().collect();
    assert!(sets.len() >= 14, "{} sets", sets.len());
    std::thread::scope(|scope| {
        let halves = sets.chunks(sets.len().div_ceil(2));
        let threads: Vec<_> = halves
            .map(|half| {
                scope.spawn(|| {
                    half.iter()
                        .map(|(set, file)| one(helm, kubernetes, set, file))
                        .collect()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| -> Vec<Rendered> { thread.join().unwrap() })
            .collect()
    })
}

fn one(helm: &Path, kubernetes: &str, set: &str, file: &Path) -> Rendered {
    let file_name = file.to_str().unwrap();
    let out = template(helm, &["-f", file_name, "--kube-version", kubernetes])
        .unwrap_or_else(|error| panic!("{set}: {error}"));
    Rendered {
        set: set.to_owned(),
        values: std::fs::read_to_string(file).unwrap(),
        objects: documents(&out).unwrap_or_else(|error| panic!("{set}: {error}")),
    }
}

fn names(rendered: &Rendered) {
    let mut seen = BTreeSet::new();
    for object in &rendered.objects {
        let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
        let is_label = name.len() <= 63
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.is_empty();
        assert!(is_label, "{}: {kind} {name:?}", rendered.set);
        assert!(seen.insert((kind, name)), "{}: {kind} {name} twice", rendered.set);
        for label in ["name", "instance", "version", "managed-by", "component"] {
            let label = object.pointer(&format!("/metadata/labels/app.kubernetes.io~1{label}"));
            assert!(
                label.is_some_and(Value::is_string),
                "{}: {kind} {name}: {label:?}",
                rendered.set
            );
        }
    }
}

fn all(helm: Helm) {
    let Some(program) = helm.program() else { return };
    // What vendors append to the version does not turn the chart away.
    let rendered = render(&program, "v1.33.5-gke.1200");
    let default = rendered
        .iter()
        .find(|rendered| rendered.set == "default")
        .unwrap();
    for rendered in &rendered {
        names(rendered);
        kinds::known(rendered);
        references::resolve(rendered);
        security::restricted(rendered);
        config::accepted(rendered);
        golden::compare(rendered, default);
    }
}

#[test]
fn helm_3_renders_every_set() {
    all(Helm::Three);
}

#[test]
fn helm_4_renders_every_set() {
    all(Helm::Four);
}

#[test]
fn objects_are_valid_from_kubernetes_1_28_to_the_newest() {
    let (Some(helm), Some(validator)) = (
        Helm::Four.program(),
        required("kubernetes-validate", "the Python package of that name"),
    ) else {
        return;
    };
    let mut objects = Vec::new();
    for (era, kubernetes) in [("before-1.30", "v1.28.0"), ("from-1.30", "v1.37.0")] {
        for rendered in render(&helm, kubernetes) {
            for object in rendered
                .objects
                .iter()
                .filter(|object| kinds::is_built_in(object))
            {
                objects.push(json!([rendered.set, era, object]));
            }
        }
    }
    if let Some(kubectl) = required("kubectl", trireme_charts::LAYER) {
        decoded(&kubectl, &objects);
    }
    // The interpreter that has the package: the one of the program's first line, or with the folder above the program's.
    let validator = validator.canonicalize().unwrap();
    let line = std::fs::read_to_string(&validator).unwrap();
    let interpreter = line
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("#!"))
        .unwrap();
    let mut python = Command::new(interpreter)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("validate.py"))
        .env("PYTHONPATH", validator.ancestors().nth(2).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(&objects).unwrap();
    python.stdin.take().unwrap().write_all(&input).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let out = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    let [summary] = lines[..] else { panic!("{out}") };
    println!("{summary}");
    let versions = summary.split(", ").nth(1).and_then(|part| part.split(' ').next());
    assert!(versions.unwrap().parse::<usize>().unwrap() >= 10, "{summary}");
}

/// kubectl reads each object into its Go type, which knows what a quantity is. It changes images to make it do so, and says of what
/// has none that it is no pod.
fn decoded(kubectl: &Path, objects: &[Value]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for object in objects {
        writeln!(file, "---\n{}", object[2]).unwrap();
    }
    let output = Command::new(kubectl)
        .args(["set", "image", "--local", "*=x", "-o", "name", "-f"])
        .arg(file.path())
        .env("HOME", "/nonexistent")
        .env_remove("KUBECONFIG")
        .output()
        .unwrap();
    let (out, error) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    let others = error
        .matches("the object is not a pod or does not have a pod template")
        .count();
    assert_eq!(out.lines().count() + others, objects.len(), "{error}");
    assert!(
        !error.contains("decode") && !error.contains("unmarshal"),
        "{error}"
    );
}

#[test]
fn names_are_those_of_the_original() {
    let Some(helm) = Helm::Four.program() else { return };
    for (release, prefix) in [
        ("gw", "gw-choreo-connect"),
        ("my-choreo-connect", "my-choreo-connect"),
        (
            "a-release-with-a-name-as-long-as-helm-lets-them-be-no",
            "a-release-with-a-name-as-long-as-helm-lets",
        ),
    ] {
        let output = trireme_charts::run(
            &helm,
            &[
                "template",
                release,
                ".",
                "--set",
                "wso2.deployment.generateSecrets=true",
            ],
        )
        .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let objects = documents(&String::from_utf8(output.stdout).unwrap()).unwrap();
        let found: BTreeMap<&str, &str> = objects
            .iter()
            .map(|object| (text(object, "/metadata/name"), text(object, "/kind")))
            .collect();
        for (suffix, kind) in [
            ("gateway-runtime", "HorizontalPodAutoscaler"),
            ("default-keystore", "Secret"),
        ] {
            let name = found
                .keys()
                .find(|name| name.starts_with(prefix) && name.ends_with(suffix))
                .unwrap_or_else(|| panic!("{release}: no …-{suffix} in {found:?}"));
            assert_eq!(found.get(name), Some(&kind), "{release}");
            assert!(!name.contains("--"), "{name}");
        }
    }
}

/// What the values name that is there already.
pub(crate) fn exists(rendered: &Rendered, name: &str) -> bool {
    rendered.values.contains(name)
}

/// Pods, with what they run in: (kind and name for messages, pod template or pod).
pub(crate) fn pods(rendered: &Rendered) -> Vec<(String, &Value)> {
    rendered
        .objects
        .iter()
        .filter_map(|object| {
            let name = format!(
                "{}: {} {}",
                rendered.set,
                text(object, "/kind"),
                text(object, "/metadata/name")
            );
            match text(object, "/kind") {
                "Deployment" => object.pointer("/spec/template").map(|pod| (name, pod)),
                "Pod" => Some((name, object)),
                _ => None,
            }
        })
        .collect()
}

#[test]
fn the_chart_is_clean() {
    for helm in Helm::ALL {
        let Some(program) = helm.program() else { continue };
        for (set, file) in sets().unwrap() {
            // Each takes a while for its keys; what differs is looked at by rendering.
            if ![
                "default",
                "existing-secrets",
                "cert-manager",
                "environments",
                "own-files",
            ]
            .contains(&set.as_str())
            {
                continue;
            }
            let output =
                trireme_charts::run(&program, &["lint", "--strict", ".", "-f", file.to_str().unwrap()])
                    .unwrap();
            let out = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success(),
                "{set}: {out}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            for level in ["[WARNING]", "[ERROR]"] {
                assert!(!out.contains(level), "{set}: {out}");
            }
        }
    }
}

/// The chart's folder holds nothing that ends up in a package by accident: sets and goldens stay out.
#[test]
fn a_package_is_small() {
    let Some(helm) = Helm::Four.program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let output = trireme_charts::run(&helm, &["package", ".", "-d", to]).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let package = std::fs::read_dir(to).unwrap().next().unwrap().unwrap();
    let output =
        trireme_charts::run(&helm, &["template", RELEASE, package.path().to_str().unwrap()]).unwrap();
    assert!(output.status.success());
    assert!(package.metadata().unwrap().len() < 40_000);
}
