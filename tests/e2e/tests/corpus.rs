//! 352 real OpenAPI documents in one gateway, a call through each, and one more on top.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::time::Instant;
use trireme_harness::{Gateway, Role, Seen, Upstream, eventually};

const DOCUMENTS: usize = 352;
/// From the start of the deploy command to the first answer of the API, on top of all others; for optimized programs.
const VISIBLE: Duration = Duration::from_millis(250);

/// The documents, with every server replaced by `upstream`; `None`, said loudly, without the archive: it lies beside the
/// project, and no registry has it.
fn corpus(upstream: &str) -> anyhow::Result<Option<BTreeMap<String, Value>>> {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/openapi-corpus.tar.xz");
    if !archive.exists() {
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

/// A metric of a process, all its labels together.
async fn metric(gateway: &Gateway, role: Role, name: &str) -> f64 {
    let url = format!("http://{}/metrics", gateway.address(role, "admin"));
    let text = eventually("metrics", async || {
        gateway.http.get(&url).send().await.ok()?.text().await.ok()
    })
    .await;
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// Resources sent by the adapter so far, of all types together.
async fn resources_sent(gateway: &Gateway) -> f64 {
    metric(gateway, Role::Adapter, "trireme_adapter_resources_sent_total").await
}

/// Name and version of each deployed API, and where it is served.
async fn contexts(gateway: &Gateway) -> anyhow::Result<BTreeMap<(String, String), String>> {
    let output = gateway
        .trireme(&["list", "--json"], Duration::from_secs(30))
        .await?;
    let list: Value = serde_json::from_slice(&output.stdout)?;
    let apis = list.get("list").and_then(Value::as_array).into_iter().flatten();
    let text = |api: &Value, key: &str| api.get(key).and_then(Value::as_str).map(str::to_owned);
    Ok(apis
        .filter_map(|api| {
            Some((
                (text(api, "apiName")?, text(api, "version")?),
                text(api, "context")?,
            ))
        })
        .collect())
}

/// Name and version of the API that a document becomes: the title without spaces.
fn identity(document: &Value) -> Option<(String, String)> {
    let text = |pointer| Some(document.pointer(pointer)?.as_str()?.replace(' ', ""));
    Some((text("/info/title")?, text("/info/version")?))
}

/// A path of the document that can be called with GET as it stands, with `7` for each parameter, the scopes it asks for, and
/// whether it says that nothing need be shown.
fn callable(document: &Value) -> Option<(String, Vec<String>, bool)> {
    let paths = document.get("paths")?.as_object()?;
    let mut found = paths
        .iter()
        .filter_map(|(template, item)| Some((template, item.get("get")?)));
    found.find_map(|(template, operation)| {
        let mut path = String::new();
        for part in template.split('{') {
            match part.split_once('}') {
                Some((_, rest)) => path.extend(["7", rest]),
                None => path.push_str(part),
            }
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~:@!$&'()*+,;=".contains(&byte);
        let plain = path.starts_with('/') && !path.contains("//") && path.bytes().all(plain);
        let own = operation.get("security").and_then(Value::as_array);
        let nothing = |requirement: &Value| requirement.as_object().is_some_and(|all| all.is_empty());
        let open = own.is_some_and(|own| own.is_empty() || own.iter().any(nothing));
        let security = operation.get("security").or_else(|| document.get("security"));
        let scopes = security.into_iter().flat_map(|value| {
            let alternatives = value.as_array().into_iter().flatten();
            alternatives
                .filter_map(Value::as_object)
                .flat_map(|schemes| schemes.values())
        });
        let scopes = scopes.filter_map(Value::as_array).flatten();
        let scopes = scopes.filter_map(Value::as_str).map(str::to_owned).collect();
        plain.then_some((path, scopes, open))
    })
}

/// Calls a path of each document that has one to call, with the scopes it asks for: each reaches the upstream as it was
/// written, and is refused without a token, unless it asks for none. Returns the number of documents called.
async fn call_each(gateway: &Gateway, documents: &BTreeMap<String, Value>) -> anyhow::Result<usize> {
    let contexts = contexts(gateway).await?;
    let mut called = 0;
    for (name, document) in documents {
        let Some((path, scopes, open)) = callable(document) else {
            continue;
        };
        let context = identity(document).and_then(|identity| contexts.get(&identity));
        let context = context.with_context(|| format!("{name} is not listed"))?;
        let target = format!("{path}?page=2&of=a%20b");
        let url = format!("{}{context}{target}", gateway.ready.http);
        let token = gateway.token(&scopes.join(" ")).await?;
        let response = gateway.http.get(&url).bearer_auth(token).send().await?;
        let (status, body) = (response.status(), response.text().await?);
        assert_eq!(status, 200, "{name}: {url}: {body}");
        let seen: Seen = serde_json::from_str(&body)?;
        assert_eq!(seen.target, target, "{name}");
        assert_eq!(
            gateway.http.get(&url).send().await?.status(),
            if open { 200 } else { 401 },
            "{name}: {url}"
        );
        called += 1;
    }
    Ok(called)
}

#[tokio::test]
async fn a_real_document_reaches_its_upstream_with_path_and_query() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let Some(mut documents) = corpus(&format!("{}/base", upstream.url()))? else {
        return Ok(());
    };
    let name = "hsbc.com__branches.json";
    let documents = BTreeMap::from([(name.to_owned(), documents.remove(name).unwrap_or_default())]);
    let folder = tempfile::tempdir()?;
    let files = write(folder.path(), &documents)?;
    let mut builder = Gateway::builder();
    for file in files {
        builder = builder.api(file);
    }
    let gateway = builder.start().await?;
    let contexts = contexts(&gateway).await?;
    let context = contexts.values().next().cloned().unwrap_or_default();
    let place = "/x-open-banking/v2.2/branches/geo-location/lat/51.5074/long/-0.1278?radius=2&note=a%20b";
    let answer = gateway.get(&format!("{context}{place}"), true).await?;
    println!("{context}{place}: {} {}", answer.status, answer.body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let seen: Seen = serde_json::from_str(&answer.body)?;
    assert_eq!(seen.target, format!("/base{place}"));
    assert_eq!(
        gateway.get(&format!("{context}{place}"), false).await?.status,
        401
    );
    gateway.stop().await?;
    Ok(())
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
    let is_accepted = |line: &&str| line.contains(".json: deployed ");
    let accepted = text.lines().filter(is_accepted).count();
    let paths: usize = documents
        .values()
        .filter_map(|document| Some(document.get("paths")?.as_object()?.len()))
        .sum();
    println!("{accepted} of {DOCUMENTS} documents with {paths} paths accepted in {took:?}");
    // Warnings, an indented line each, are many: paths with a fragment, which no request can have.
    for line in text
        .lines()
        .filter(|line| !is_accepted(line) && !line.starts_with(' '))
    {
        println!("{line}");
    }
    for role in Role::ALL {
        println!(
            "{}: {:.1} MiB resident",
            role.name(),
            gateway.resident(role)? as f64 / f64::from(1 << 20)
        );
    }
    let routes = metric(&gateway, Role::Router, "trireme_router_routes").await;
    println!("{routes} routes served");
    let called = call_each(&gateway, &documents).await?;
    println!("a GET of {called} documents reached the upstream as written");
    assert!(called > DOCUMENTS * 3 / 4, "{called}");
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
    let took = start.elapsed();
    println!("one more: visible {took:?} after the start of the deploy command");
    assert!(cfg!(debug_assertions) || took < VISIBLE, "{took:?}");
    let seen: Seen = serde_json::from_str(&answer.body)?;
    assert_eq!(seen.target, "/x/a?b=c");
    let sent = resources_sent(&gateway).await - before;
    println!("one more: {sent} resources sent");
    // Its policy, its cluster and its routes.
    assert_eq!(sent, 3.0);
    gateway.stop().await?;
    Ok(())
}
