//! 352 real OpenAPI documents in one gateway, and one more on top.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use trireme_harness::{Gateway, Role, Seen, Upstream, eventually};

const DOCUMENTS: usize = 352;

/// The documents, with every server replaced by `upstream`; `None`, said loudly, without the archive.
fn corpus(upstream: &str) -> anyhow::Result<Option<BTreeMap<String, Value>>> {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/openapi-corpus.tar.xz");
    if !archive.exists() {
        #[expect(
            clippy::disallowed_methods,
            reason = "whether a skip is allowed is no product setting"
        )]
        let ci = std::env::var("CI");
        assert!(
            ci.as_deref() != Ok("true"),
            "the corpus is missing, and CI must not skip"
        );
        eprintln!("SKIPPED: the corpus of OpenAPI documents is not beside the project");
        return Ok(None);
    }
    let file = std::fs::File::open(archive)?;
    let mut documents = BTreeMap::new();
    let mut archive = tar::Archive::new(liblzma::read::XzDecoder::new(file));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry
            .path()?
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if !name.ends_with(".json") {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        let mut document = serde_json::from_str(&text)?;
        replace_servers(&mut document, upstream);
        documents.insert(name, document);
    }
    assert_eq!(documents.len(), DOCUMENTS);
    tell_apart(&mut documents);
    Ok(Some(documents))
}

/// Some documents share title and version, which is one API to a gateway: all but the first of them get a title of their
/// own, so that every document is an API of its own.
fn tell_apart(documents: &mut BTreeMap<String, Value>) {
    let mut taken = BTreeSet::new();
    for (name, document) in documents {
        let Some(info) = document.get_mut("info").and_then(Value::as_object_mut) else {
            continue;
        };
        let field = |key: &str| info.get(key).map(ToString::to_string);
        if !taken.insert((field("title"), field("version"))) {
            info.insert("title".into(), name.as_str().into());
        }
    }
}

/// No document of the corpus may lead a test to an address outside.
fn replace_servers(document: &mut Value, upstream: &str) {
    let servers = serde_json::json!([{ "url": upstream }]);
    let Some(root) = document.as_object_mut() else {
        return;
    };
    root.insert("servers".into(), servers);
    let paths = root.get_mut("paths").and_then(Value::as_object_mut);
    for path in paths
        .into_iter()
        .flat_map(|paths| paths.values_mut())
        .filter_map(Value::as_object_mut)
    {
        path.remove("servers");
        for operation in path.values_mut().filter_map(Value::as_object_mut) {
            operation.remove("servers");
        }
    }
}

fn write(folder: &Path, documents: &BTreeMap<String, Value>) -> anyhow::Result<Vec<PathBuf>> {
    let write = |(name, document): (&String, &Value)| {
        let path = folder.join(name);
        std::fs::write(&path, document.to_string())?;
        Ok(path)
    };
    documents.iter().map(write).collect()
}

/// Resources sent by the adapter so far, of all types together.
async fn resources_sent(gateway: &Gateway) -> f64 {
    let url = format!("http://{}/metrics", gateway.address(Role::Adapter, "admin"));
    let text = eventually("metrics", async || {
        gateway.http.get(&url).send().await.ok()?.text().await.ok()
    })
    .await;
    let lines = text
        .lines()
        .filter(|line| line.starts_with("trireme_adapter_resources_sent_total"));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

#[tokio::test]
async fn real_documents_are_deployed_and_one_more_costs_one() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let Some(documents) = corpus(&upstream.url())? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let files = write(folder.path(), &documents)?;
    let gateway = Gateway::builder().start().await?;

    let start = Instant::now();
    let mut words = vec!["deploy"];
    words.extend(files.iter().filter_map(|path| path.to_str()));
    let output = gateway.trireme(&words, Duration::from_secs(600)).await?;
    let text = String::from_utf8(output.stdout)?;
    let took = start.elapsed();
    let accepted = text.lines().filter(|line| line.ends_with(": deployed")).count();
    let paths: usize = documents
        .values()
        .filter_map(|document| Some(document.get("paths")?.as_object()?.len()))
        .sum();
    println!("{accepted} of {DOCUMENTS} documents with {paths} paths accepted in {took:?}");
    for line in text.lines().filter(|line| !line.ends_with(": deployed")) {
        println!("{line}");
    }
    for role in Role::ALL {
        println!(
            "{}: {:.1} MiB resident",
            role.name(),
            gateway.resident(role)? as f64 / f64::from(1 << 20)
        );
    }
    assert!(
        accepted * 100 >= DOCUMENTS * 95,
        "{accepted} of {DOCUMENTS}\n{text}"
    );
    // Each refusal names its file, a place in it, and a reason.
    for line in text.lines().filter(|line| line.starts_with("  ")) {
        assert!(line.contains('#') && line.contains(": "), "{line}");
    }

    // One more API: only its own resources travel.
    let file = folder.path().join("one-more.yaml");
    let definition = "openapi: 3.0.3\ninfo: { title: OneMore, version: 1.0.0 }\nx-wso2-basePath: /one-more/1.0.0\n\
                      servers: [ { url: 'UPSTREAM/x' } ]\npaths: { /a: { get: { responses: { '200': { description: ok } } } } }\n";
    std::fs::write(&file, definition.replace("UPSTREAM", &upstream.url()))?;
    let before = resources_sent(&gateway).await;
    let path = file.display().to_string();
    let start = Instant::now();
    let output = gateway
        .trireme(&["deploy", &path], Duration::from_secs(30))
        .await?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let answer = eventually("the new API", async || {
        let answer = gateway.get("/one-more/1.0.0/a?b=c", true).await.ok()?;
        (answer.status == 200).then_some(answer)
    })
    .await;
    println!(
        "one more: visible {:?} after the start of the deploy command",
        start.elapsed()
    );
    let seen: Seen = serde_json::from_str(&answer.body)?;
    assert_eq!(seen.target, "/x/a?b=c");
    let sent = resources_sent(&gateway).await - before;
    println!("one more: {sent} resources sent");
    // Its policy, its cluster and its routes.
    assert_eq!(sent, 3.0);
    gateway.stop().await?;
    Ok(())
}
