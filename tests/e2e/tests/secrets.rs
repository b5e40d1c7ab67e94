//! `trireme certs --secrets`: key pairs that the pods can use, written once, and renewed without parting from their CA.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::process::Command;
use trireme_harness::{program, run};
use trireme_tls::{Facts, Material, Settings};

type Files = BTreeMap<String, BTreeMap<String, String>>;

async fn certs(folder: &Path, words: &[&str]) -> anyhow::Result<Result<String, String>> {
    let mut command = Command::new(program("trireme")?);
    command.args(["certs", "--secrets"]).arg(folder).args(words);
    let output = run(&mut command, Duration::from_secs(60)).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    })
}

/// The Secrets of a folder by name, with what they hold.
fn secrets(folder: &Path, namespace: Option<&str>) -> anyhow::Result<Files> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            continue;
        }
        let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
        let secret: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)?;
        assert_eq!(secret["apiVersion"], "v1");
        assert_eq!(secret["kind"], "Secret");
        assert_eq!(secret["metadata"]["namespace"].as_str(), namespace);
        let name = secret["metadata"]["name"].as_str().context("no name")?;
        let kind = if name == "tls-secret" {
            "kubernetes.io/tls"
        } else {
            "Opaque"
        };
        assert_eq!(secret["type"], kind, "{name}");
        let mut data = BTreeMap::new();
        for (key, value) in secret["data"].as_object().context("no data")? {
            let bytes = STANDARD.decode(value.as_str().context("no text")?)?;
            data.insert(key.clone(), String::from_utf8(bytes)?);
        }
        all.insert(name.to_owned(), data);
    }
    Ok(all)
}

/// As the kubelet mounts them.
fn mount(files: &Files, folder: &Path) -> anyhow::Result<()> {
    for (name, data) in files {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        for (key, content) in data {
            std::fs::write(folder.join(key), content)?;
        }
    }
    Ok(())
}

fn material(folder: &Path, process: &str) -> anyhow::Result<Material> {
    let keystore = folder.join(format!("{process}-keystore"));
    Ok(Material::load(Settings {
        key: keystore.join("mg.key"),
        certificate: keystore.join("mg.pem"),
        trust: vec![folder.join(format!("{process}-truststore"))],
        ..Settings::default()
    })?)
}

fn names(certificate: &str) -> anyhow::Result<Vec<String>> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes())?;
    Ok(Facts::of(&der).context("not a certificate")?.names)
}

const HOSTS: [&str; 4] = [
    "--host",
    "router=gw.wso2.com",
    "--host",
    "adapter=adapter.wso2.com",
];

#[tokio::test]
async fn secrets_hold_what_the_pods_mount() -> anyhow::Result<()> {
    let held = tempfile::tempdir()?;
    let folder = held.path().join("deep/choreo-connect");
    let told = certs(&folder, &HOSTS).await?.map_err(anyhow::Error::msg)?;
    assert_eq!(told.lines().count(), 8, "{told}");
    let files = secrets(&folder, None)?;
    let keys: BTreeMap<_, Vec<_>> = files
        .iter()
        .map(|(name, data)| (name.as_str(), data.keys().map(String::as_str).collect()))
        .collect();
    let (pair, trusted) = (vec!["mg.key", "mg.pem"], vec!["mg.pem"]);
    let want = [
        ("adapter-keystore", pair.clone()),
        ("adapter-truststore", trusted.clone()),
        ("consul-certs", vec![]),
        ("enforcer-keystore", pair.clone()),
        ("enforcer-truststore", trusted.clone()),
        ("router-keystore", pair),
        ("router-truststore", trusted),
        ("tls-secret", vec!["ca.crt", "tls.crt", "tls.key"]),
    ];
    assert_eq!(keys, want.into_iter().collect());

    mount(&files, held.path())?;
    let local = ["localhost", "127.0.0.1", "::1"];
    for (process, host) in [
        ("adapter", Some("adapter.wso2.com")),
        ("enforcer", None),
        ("router", Some("gw.wso2.com")),
    ] {
        let material = material(held.path(), process)?;
        let want: Vec<_> = [process].into_iter().chain(local).chain(host).collect();
        assert_eq!(
            material.facts().context("no certificate")?.names,
            want,
            "{process}"
        );
        // Its own, which set-ups of the original name as the certificate of test tokens, and the CA.
        assert_eq!(material.anchors(), 2, "{process}");
        let (own, trusted) = (
            &files[&format!("{process}-keystore")]["mg.pem"],
            &files[&format!("{process}-truststore")]["mg.pem"],
        );
        assert!(trusted.starts_with(own.as_str()), "{process}");
        assert!(trusted.ends_with(&files["tls-secret"]["ca.crt"]), "{process}");
    }
    assert_eq!(
        names(&files["tls-secret"]["tls.crt"])?,
        ["gw.wso2.com", "adapter.wso2.com"]
    );
    Ok(())
}

#[tokio::test]
async fn what_is_there_is_replaced_by_force_alone() -> anyhow::Result<()> {
    let held = tempfile::tempdir()?;
    let folder = held.path().join("secrets");
    certs(&folder, &HOSTS).await?.map_err(anyhow::Error::msg)?;
    let first = secrets(&folder, None)?;
    let consul = folder.join("consul-cert-secret.yaml");
    std::fs::remove_file(folder.join("router-keystore-secret.yaml"))?;

    let refused = certs(&folder, &HOSTS).await?.expect_err("seven are there");
    assert!(refused.contains("adapter-keystore-secret.yaml"), "{refused}");
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(secrets(&folder, None)?.len(), 7);

    let own = std::fs::read_to_string(&consul)?.replace("data: {}", "data: { own.pem: b3du }");
    std::fs::write(&consul, own)?;
    let words = [&HOSTS[..], &["--force"]].concat();
    certs(&folder, &words).await?.map_err(anyhow::Error::msg)?;
    let second = secrets(&folder, None)?;
    assert_eq!(second["consul-certs"]["own.pem"], "own");
    assert_ne!(
        first["router-keystore"]["mg.key"],
        second["router-keystore"]["mg.key"]
    );
    // New pairs are good for those that still have the old ones.
    assert_eq!(first["tls-secret"]["ca.crt"], second["tls-secret"]["ca.crt"]);

    let other = folder.join("adapter-truststore-secret.yaml");
    std::fs::write(&other, "# My own.\n")?;
    let refused = certs(&folder, &words).await?.expect_err("somebody else's");
    assert!(refused.contains("adapter-truststore-secret.yaml"), "{refused}");
    assert_eq!(std::fs::read_to_string(&other)?, "# My own.\n");
    Ok(())
}

#[tokio::test]
async fn namespaces_and_an_api_manager_are_told() -> anyhow::Result<()> {
    let held = tempfile::tempdir()?;
    let (folder, other) = (held.path().join("secrets"), held.path().join("other"));
    certs(&other, &[]).await?.map_err(anyhow::Error::msg)?;
    let file = other.join("authority/ca.pem");
    let certificate = std::fs::read_to_string(&file)?;
    // Somebody keeps the key beside it: it is nobody else's.
    let key = std::fs::read_to_string(other.join("authority/ca.key"))?;
    let both = held.path().join("both.pem");
    std::fs::write(&both, format!("{key}{certificate}"))?;
    let path = both.to_str().context("UTF-8")?;
    let words = ["--namespace", "gateway", "--control-plane", path];
    certs(&folder, &words).await?.map_err(anyhow::Error::msg)?;
    let files = secrets(&folder, Some("gateway"))?;
    assert_eq!(files["adapter-truststore"]["controlplane.pem"], certificate);
    assert_eq!(files["enforcer-truststore"]["wso2carbon.pem"], certificate);
    assert_eq!(files["router-truststore"].len(), 1);
    let names = names(&files["adapter-keystore"]["mg.pem"])?;
    assert!(names.contains(&"adapter.gateway.svc".to_owned()), "{names:?}");
    Ok(())
}

#[tokio::test]
async fn bad_input_is_named_and_leaves_nothing() -> anyhow::Result<()> {
    let held = tempfile::tempdir()?;
    let folder = held.path().join("secrets");
    let no_certificate: PathBuf = held.path().join("empty.pem");
    std::fs::write(&no_certificate, "nothing")?;
    let no_certificate = no_certificate.to_str().context("UTF-8")?;
    for (words, told) in [
        (["--host", "gw.wso2.com"], "SERVICE=NAME"),
        (["--host", "router=gw wso2.com"], "gw wso2.com"),
        (["--host", "router=GW.wso2.com"], "small letters"),
        (["--host", "=gw.wso2.com"], "adapter or router"),
        (["--host", "routers=gw.wso2.com"], "adapter or router"),
        (["--namespace", "a\nb: c"], "small letters"),
        (["--namespace", ""], "small letters"),
        (["--control-plane", no_certificate], "empty.pem"),
        (["--control-plane", "/nowhere/x.pem"], "/nowhere/x.pem"),
    ] {
        let refused = certs(&folder, &words).await?.expect_err(told);
        assert!(refused.contains(told), "{words:?}: {refused}");
        assert!(!folder.exists(), "{words:?}");
    }
    let mut command = Command::new(program("trireme")?);
    command.args(["certs", "--force"]);
    let output = run(&mut command, Duration::from_secs(60)).await?;
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}
