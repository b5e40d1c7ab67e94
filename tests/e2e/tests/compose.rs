//! The Docker Compose set-up on a real engine that holds no images.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use trireme_harness::{eventually, required, run};

/// Takes the project down, whatever happens.
struct Project {
    compose: PathBuf,
    folder: PathBuf,
}

impl Project {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.compose);
        command.current_dir(&self.folder).args(["-p", "trireme-e2e"]);
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
        let mut command = std::process::Command::new(&self.compose);
        let command = command
            .current_dir(&self.folder)
            .args(["-p", "trireme-e2e", "down", "-v", "-t", "5"]);
        drop(command.status());
    }
}

async fn docker(docker: &Path, words: &[&str]) -> anyhow::Result<String> {
    let output = run(Command::new(docker).args(words), Duration::from_secs(60)).await?;
    assert!(
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
    let Some(compose) = required("docker-compose", "Debian's docker-compose") else {
        return Ok(());
    };
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

    let project = Project {
        compose,
        folder: root.join("docker-compose/choreo-connect"),
    };
    project.compose(&["build"]).await?;
    project.compose(&["up", "-d"]).await?;
    for service in ["adapter", "enforcer", "router"] {
        let id = project.compose(&["ps", "-q", service]).await?.trim().to_owned();
        eventually(service, async || {
            let health = docker(&engine, &["inspect", "-f", "{{.State.Health.Status}}", &id])
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
        assert_eq!(docker(&engine, &facts).await?, "10500:10500 true", "{service}");
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
