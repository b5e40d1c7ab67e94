//! The Docker Compose set-up on a real engine that holds no images: with `docker compose` and the older `docker-compose`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use trireme_harness::{eventually, missing, required, run};

/// Takes the project down, whatever happens.
struct Project {
    program: PathBuf,
    words: &'static [&'static str],
    folder: PathBuf,
}

impl Project {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let command_line = self.words.iter().chain(&["-p", "trireme-e2e"]);
        command.current_dir(&self.folder).args(command_line);
        command
    }

    async fn compose(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = run(self.command().args(words), Duration::from_secs(300)).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "compose {words:?}: {text}\n{error}");
        Ok(text)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let mut command = self.command();
        let command = command.args(["down", "-v", "-t", "5"]);
        drop(command.as_std_mut().status());
    }
}

async fn docker(docker: &Path, words: &[&str]) -> anyhow::Result<String> {
    let output = run(Command::new(docker).args(words), Duration::from_secs(60)).await?;
    anyhow::ensure!(
        output.status.success(),
        "docker {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[tokio::test]
async fn three_containers_serve_a_protected_api() -> anyhow::Result<()> {
    let Some(engine) = required("docker", "Debian's docker.io") else {
        return Ok(());
    };
    let mut tools: Vec<(PathBuf, &[&str])> = Vec::new();
    tools.extend(
        required("docker-compose", "Debian's docker-compose").map(|program| (program, &[] as &[&str])),
    );
    // A plugin of the engine's client, not a program on the path.
    if docker(&engine, &["compose", "version"]).await.is_ok() {
        tools.push((engine.clone(), &["compose"]));
    } else {
        missing("docker compose", "Debian's docker-compose, version 2");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    let images = run(
        Command::new(env!("CARGO"))
            .current_dir(&root)
            .args(["xtask", "images", "--profile", "dev"]),
        Duration::from_secs(1800),
    )
    .await?;
    assert!(
        images.status.success(),
        "{}",
        String::from_utf8_lossy(&images.stderr)
    );

    let folder = root.join("docker-compose/choreo-connect");
    for (program, words) in tools {
        println!("{} {words:?}", program.display());
        let project = Project {
            program,
            words,
            folder: folder.clone(),
        };
        serves_a_protected_api(&project, &engine, &root).await?;
    }
    Ok(())
}

async fn serves_a_protected_api(project: &Project, engine: &Path, root: &Path) -> anyhow::Result<()> {
    project.compose(&["build"]).await?;
    project.compose(&["up", "-d"]).await?;
    for service in ["adapter", "enforcer", "router"] {
        let id = project.compose(&["ps", "-q", service]).await?.trim().to_owned();
        eventually(service, async || {
            let health = docker(engine, &["inspect", "-f", "{{.State.Health.Status}}", &id])
                .await
                .ok()?;
            (health == "healthy").then_some(())
        })
        .await;
        let facts = [
            "inspect",
            "-f",
            "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}",
            &id,
        ];
        assert_eq!(docker(engine, &facts).await?, "10500:10500 true", "{service}");
    }

    let ca = std::fs::read(root.join("docker-compose/resources/router/security/truststore/mg.pem"))?;
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(&ca)?)
        .build()?;
    let definition = "openapi: 3.0.3\ninfo: { title: Self, version: 1.0.0 }\nx-wso2-basePath: /self/1.0.0\n\
                      servers: [ { url: 'http://router:9000' } ]\npaths: { /live: { get: { responses: { '200': { description: ok } } } } }\n";
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("self.yaml");
    std::fs::write(&file, definition)?;
    let trireme = trireme_harness::program("trireme")?;
    let mut deploy = Command::new(trireme);
    deploy.arg("deploy").arg(&file).args([
        "--adapter",
        "https://localhost:9843",
        "-u",
        "admin",
        "-p",
        "admin",
        "-k",
    ]);
    let output = run(&mut deploy, Duration::from_secs(30)).await?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );

    let token = http
        .post("https://localhost:9095/testkey")
        .basic_auth("admin", Some("admin"))
        .send()
        .await?;
    assert_eq!(token.status(), 200);
    let token = token.text().await?;
    // The upstream is the router's own admin port: the only other server on the network that answers anybody.
    let url = "https://localhost:9095/self/1.0.0/live";
    eventually("the API", async || {
        let answer = http.get(url).bearer_auth(&token).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    let without = http.get(url).send().await?;
    assert_eq!(without.status(), 401);
    assert!(without.text().await?.contains("900901"));
    Ok(())
}
