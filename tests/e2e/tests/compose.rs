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
    images_run_as_they_are(&engine).await?;
    what_is_wrong_with_mounts_is_the_termination_message(&engine, &root).await
}

/// A container that is gone when this is.
struct Container {
    engine: PathBuf,
    id: String,
}

impl Container {
    /// Starts one as the original's chart does: nothing of it can be written to.
    async fn start(engine: &Path, words: &[&str]) -> anyhow::Result<Self> {
        let hardened = [
            "run",
            "-d",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
        ];
        let id = docker(engine, &[&hardened, words].concat()).await?;
        Ok(Self {
            engine: engine.to_owned(),
            id,
        })
    }

    /// Whether what is run in it succeeds, and all that it says.
    async fn exec(&self, words: &[&str]) -> anyhow::Result<(bool, String)> {
        let mut command = Command::new(&self.engine);
        command.args(["exec", &self.id]).args(words);
        said(&mut command).await
    }

    async fn logs(&self) -> anyhow::Result<String> {
        Ok(said(Command::new(&self.engine).args(["logs", &self.id])).await?.1)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut command = Command::new(&self.engine);
        let command = command.args(["rm", "-f", "-v", &self.id]);
        drop(command.as_std_mut().output());
    }
}

async fn said(command: &mut Command) -> anyhow::Result<(bool, String)> {
    let output = run(command, Duration::from_secs(60)).await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

/// No volume, no key pair, nothing to write to: each starts, and says what it lacks.
async fn images_run_as_they_are(engine: &Path) -> anyhow::Result<()> {
    let adapter = ["-e", "adapter_admin_pwd=admin", "trireme-adapter"];
    for (image, words, ready) in [
        ("trireme-adapter", &adapter[..], true),
        ("trireme-enforcer", &["trireme-enforcer"], false),
        ("trireme-router", &["trireme-router"], false),
    ] {
        let container = Container::start(engine, words).await?;
        let health = ["/home/wso2/trireme", "health"];
        let told = eventually(image, async || {
            let (healthy, text) = container.exec(&health).await.ok()?;
            (healthy == ready && text.contains("ready")).then_some(text)
        })
        .await;
        assert!(told.contains("no key pair is mounted"), "{image}: {told}");
        assert!(
            told.contains("no durable store") || told.contains("no last good file"),
            "{image}: {told}"
        );
        let log = container.logs().await?;
        assert!(log.contains("NO KEY PAIR IS MOUNTED"), "{image}: {log}");
        if ready {
            let probed = container.exec(&["sh", "check_health.sh"]).await?;
            assert_eq!(probed, (true, "status: SERVING\n".to_owned()));
            let refused = "refuses the default password of adapter.server.users";
            assert!(log.contains(refused), "{log}");
        } else if image == "trireme-enforcer" {
            // Its port opens with the settings of the adapter.
            let (serving, text) = container.exec(&["sh", "check_health.sh"]).await?;
            assert!(!serving && text.contains("not ready"), "{text}");
        }
    }
    Ok(())
}

async fn what_is_wrong_with_mounts_is_the_termination_message(
    engine: &Path,
    root: &Path,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let security = |process: &str| {
        root.join("docker-compose/resources")
            .join(process)
            .join("security/keystore")
    };
    for name in ["unfit", "half"] {
        std::fs::create_dir(folder.path().join(name))?;
        std::fs::copy(
            security("adapter").join("mg.pem"),
            folder.path().join(name).join("mg.pem"),
        )?;
    }
    std::fs::copy(
        security("router").join("mg.key"),
        folder.path().join("unfit/mg.key"),
    )?;
    std::fs::write(
        folder.path().join("config.toml"),
        "[adapter.server]\nport = 98 43\n",
    )?;
    // The containers' user is not ours.
    for file in [
        "unfit",
        "half",
        "unfit/mg.pem",
        "unfit/mg.key",
        "half/mg.pem",
        "config.toml",
        "",
    ] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path().join(file), mode)?;
    }
    let keystore = |name: &str| format!("{}:/home/wso2/security/keystore:ro", path(name));
    let config = format!("{}:/home/wso2/conf/config.toml:ro", path("config.toml"));
    for (mount, status, message) in [
        (keystore("unfit"), "1", "does not belong to the key in"),
        (keystore("half"), "1", "mg.key: cannot be read: No such file"),
        (config, "64", "conf/config.toml"),
    ] {
        let file = folder.path().join("termination-log");
        std::fs::write(&file, "")?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&file, mode)?;
        let last = format!("{}:/dev/termination-log", file.display());
        let words = [
            "-e",
            "adapter_admin_pwd=x",
            "-v",
            &mount,
            "-v",
            &last,
            "trireme-adapter",
        ];
        let container = Container::start(engine, &words).await?;
        let ended = docker(engine, &["wait", &container.id]).await?;
        let text = std::fs::read_to_string(&file)?;
        assert!(
            text.starts_with("cannot start: ") && text.contains(message),
            "{mount}: {text}"
        );
        assert_eq!(ended, status, "{mount}: {text}");
    }
    Ok(())
}

/// What the original's manifests run in a container, though there is neither a shell nor the program in ours.
async fn probes_of_the_original(engine: &Path, id: &str) -> anyhow::Result<()> {
    for probe in [
        &["sh", "check_health.sh"][..],
        &["sh", "-c", "/home/wso2/check_health.sh"],
        &["/home/wso2/check_health.sh"],
    ] {
        let words = [&["exec", id], probe].concat();
        let told = eventually("the probe", async || docker(engine, &words).await.ok()).await;
        assert_eq!(told, "status: SERVING", "{probe:?}");
    }
    let fails = async |words: &[&str], status: i32, reason: &str| {
        let output = run(
            Command::new(engine).args(["exec", id]).args(words),
            Duration::from_secs(60),
        )
        .await?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {text}");
        assert!(text.contains(reason), "{words:?}: {text}");
        anyhow::Ok(())
    };
    fails(&["sh", "-c", "ls"], 127, "there is no shell in this image").await?;
    let unknown = ["grpc_health_probe", "-addr=:1", "-nonsense"];
    fails(&unknown, 1, "flag provided but not defined: -nonsense").await
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

    for service in ["adapter", "enforcer"] {
        let id = project.compose(&["ps", "-q", service]).await?.trim().to_owned();
        probes_of_the_original(engine, &id).await?;
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
