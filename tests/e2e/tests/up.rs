//! `trireme up`: one command, a working gateway.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use trireme_harness::{Gateway, Seen, Upstream, program, required, run};

const DEFINITION: &str = r#"
openapi: 3.0.3
info: { title: Orders, version: 2.1.0 }
x-wso2-basePath: /orders/2.1.0
servers: [ { url: 'UPSTREAM/base' } ]
paths:
  /orders/{id}/items:
    get: { responses: { '200': { description: items } } }
"#;

#[tokio::test]
async fn the_sample_api_answers_with_the_token_and_not_without() -> anyhow::Result<()> {
    let gateway = Gateway::builder().start().await?;
    println!("first answer {} ms after the start", gateway.ready.started_in_ms);
    let sample = gateway.ready.sample.url.clone();
    for base in [gateway.ready.http.clone(), gateway.ready.https.clone()] {
        let url = sample.replacen(&gateway.ready.http, &base, 1);
        let with = gateway
            .http
            .get(&url)
            .bearer_auth(&gateway.ready.token)
            .send()
            .await?;
        assert_eq!(with.status(), 200, "{url}");
        let body: serde_json::Value = with.json().await?;
        assert_eq!(
            body.pointer("/ships/0/name").and_then(|name| name.as_str()),
            Some("argo"),
            "{body}"
        );

        let without = gateway.http.get(&url).send().await?;
        assert_eq!(without.status(), 401, "{url}");
        assert_eq!(
            without
                .headers()
                .get("www-authenticate")
                .and_then(|value| value.to_str().ok()),
            Some(
                "Bearer realm=\"Choreo Connect\", error=\"invalid_token\", \
                 error_description=\"The provided token is invalid\""
            )
        );
        let body: serde_json::Value = without.json().await?;
        assert_eq!(
            body.get("code").and_then(|code| code.as_str()),
            Some("900901"),
            "{body}"
        );
    }
    let (status, _) = gateway.stop().await?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn the_printed_lines_work_as_they_are() -> anyhow::Result<()> {
    const SCOPED: &str = "openapi: 3.0.3\ninfo: { title: It's scoped, version: 1.0.0 }\nservers: [ { url: UPSTREAM } ]\n\
        components: { securitySchemes: { login: { type: oauth2, flows: { implicit: { authorizationUrl: 'https://a', \
        scopes: { 'read:it': x, more: y } } } } } }\n\
        paths: { /a: { get: { security: [ { login: [ 'read:it', more ] } ], responses: {} } } }\n";
    if required("curl", "Debian's curl").is_none() {
        return Ok(());
    }
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::Builder::new().prefix("it's here ").tempdir()?;
    let definition = folder.path().join("scoped.yaml");
    std::fs::write(&definition, SCOPED.replace("UPSTREAM", &upstream.url()))?;
    let mut command = Command::new(program("trireme")?);
    command.args([
        "up",
        "--http-port",
        "0",
        "--https-port",
        "0",
        "--adapter-port",
        "0",
    ]);
    let data = folder.path().join("data");
    command.arg("--data").arg(data).arg("--api").arg(&definition);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut process = command.spawn()?;
    let mut lines = BufReader::new(process.stdout.take().context("standard output")?).lines();
    let mut calls = Vec::new();
    let read = async {
        while let Some(line) = lines.next_line().await? {
            let line = line.trim();
            if line.starts_with("TOKEN=") || line.starts_with("curl ") {
                calls.push(line.to_owned());
            }
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), read)
        .await
        .context("not ready in time")??;
    assert_eq!(calls.len(), 3, "{calls:?}");

    let output = run(
        Command::new("sh").args(["-c", &calls.join("\n")]),
        Duration::from_secs(60),
    )
    .await?;
    let text = String::from_utf8(output.stdout)?;
    let answers: Vec<_> = text.split("HTTP/1.1 ").skip(1).collect();
    let [with, without] = answers.as_slice() else {
        anyhow::bail!("{calls:?} gave {text}");
    };
    assert!(
        with.starts_with("200 ") && with.contains("\"target\":\"/a\""),
        "{with}"
    );
    assert!(
        without.starts_with("401 ") && without.contains("\"code\":\"900901\""),
        "{without}"
    );

    let pid = i32::try_from(process.id().context("pid")?)?;
    kill_process(Pid::from_raw(pid).context("pid")?, Signal::INT)?;
    let status = tokio::time::timeout(Duration::from_secs(30), process.wait()).await??;
    assert!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn an_own_definition_reaches_its_upstream_with_path_and_query() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("orders.yaml");
    std::fs::write(&file, DEFINITION.replace("UPSTREAM", &upstream.url()))?;
    let gateway = Gateway::builder().api(&file).start().await?;

    let answer = gateway
        .get("/orders/2.1.0/orders/a-7/items?page=2&tag=x%20y", true)
        .await?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let seen: Seen = serde_json::from_str(&answer.body)?;
    assert_eq!(seen.method, "GET");
    assert_eq!(seen.target, "/base/orders/a-7/items?page=2&tag=x%20y");
    assert_eq!(
        seen.headers.get("authorization"),
        None,
        "the token stays in the gateway"
    );
    assert_eq!(seen.headers.get("x-wso2-cluster-header"), None);

    let before = upstream.requests();
    assert_eq!(
        gateway.get("/orders/2.1.0/orders/a-7/items", false).await?.status,
        401
    );
    assert_eq!(gateway.get("/orders/2.1.0/nothing", true).await?.status, 404);
    assert_eq!(upstream.requests(), before, "what is refused is not forwarded");
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_gateway_in_one_folder_is_refused_and_harms_nobody() -> anyhow::Result<()> {
    let gateway = Gateway::builder().start().await?;
    let output = gateway.trireme(&["up"], Duration::from_secs(30)).await?;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr)?;
    assert!(text.contains("a gateway runs in"), "{text}");
    let output = gateway.trireme(&["list"], Duration::from_secs(30)).await?;
    assert!(output.status.success(), "the first one is still found");
    let (status, _) = gateway.stop().await?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_deployed_api_is_still_there_after_a_restart() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("orders.yaml");
    std::fs::write(&file, DEFINITION.replace("UPSTREAM", &upstream.url()))?;
    let gateway = Gateway::builder().start().await?;
    let path = file.display().to_string();
    let output = gateway
        .trireme(&["deploy", &path], Duration::from_secs(30))
        .await?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(
        gateway.get("/orders/2.1.0/orders/1/items", true).await?.status,
        200
    );
    let (_, data) = gateway.stop().await?;

    let gateway = Gateway::builder().data(data).start().await?;
    assert_eq!(
        gateway.get("/orders/2.1.0/orders/1/items", true).await?.status,
        200
    );
    let output = gateway
        .trireme(&["list", "--json"], Duration::from_secs(30))
        .await?;
    let list = String::from_utf8(output.stdout)?;
    assert!(
        list.contains("\"Orders\"") && list.contains("\"Harbour\""),
        "{list}"
    );

    let output = gateway
        .trireme(
            &["undeploy", "-n", "Orders", "-v", "2.1.0"],
            Duration::from_secs(30),
        )
        .await?;
    assert!(output.status.success());
    assert_eq!(
        gateway.get("/orders/2.1.0/orders/1/items", true).await?.status,
        404
    );
    gateway.stop().await?;
    Ok(())
}
