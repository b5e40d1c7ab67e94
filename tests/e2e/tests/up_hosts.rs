//! `up` with other hosts than `localhost`: virtual hosts of projects and of the configuration, another system host.

use std::time::Duration;

use tokio::process::Command;
use trireme_harness::{Gateway, Upstream, run};

const BOUND: Duration = Duration::from_secs(30);

fn definition(upstream: &Upstream) -> String {
    format!(
        "openapi: 3.0.3\ninfo: {{ title: Hosted, version: 1.0.0 }}\nx-wso2-basePath: /hosted\n\
         servers: [ {{ url: '{}' }} ]\npaths: {{ /a: {{ get: {{ responses: {{}} }} }} }}\n",
        upstream.url()
    )
}

/// The call that is told works with the host that is told, and not without.
async fn told_call_works(gateway: &Gateway, host: &str) -> anyhow::Result<()> {
    assert_eq!(gateway.ready.sample.host.as_deref(), Some(host));
    let call = |host: Option<&str>| {
        let mut request = gateway.http.get(&gateway.ready.sample.url);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.bearer_auth(&gateway.ready.token).send()
    };
    assert_eq!(call(Some(host)).await?.status(), 200);
    assert_eq!(call(None).await?.status(), 404);
    Ok(())
}

#[tokio::test]
async fn a_project_has_a_virtual_host_of_its_own() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("hosted.yaml"), definition(&upstream))?;
    let mut init = Command::new(trireme_harness::program("trireme")?);
    let words = ["init", "proj", "--oas", "hosted.yaml"];
    assert!(
        run(init.current_dir(folder.path()).args(words), BOUND)
            .await?
            .status
            .success()
    );
    std::fs::write(
        folder.path().join("proj/deployment_environments.yaml"),
        "type: deployment_environments\nversion: v4.0.0\ndata:\n  - displayOnDevportal: true\n    \
         deploymentEnvironment: Default\n    deploymentVhost: us.example.test\n",
    )?;
    let gateway = Gateway::builder().api(folder.path().join("proj")).start().await?;
    told_call_works(&gateway, "us.example.test").await?;
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn virtual_host_and_system_host_come_from_the_environment() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hosted.yaml");
    std::fs::write(&file, definition(&upstream))?;
    let gateway = Gateway::builder()
        .api(&file)
        .env("CC_ADAPTER_VHOSTMAPPING_0_VHOST", "api.example.test")
        .env("CC_ROUTER_SYSTEMHOST", "gw.example.test")
        .start()
        .await?;
    told_call_works(&gateway, "api.example.test").await?;
    // The command finds it as well, by the same environment.
    let mut command = Command::new(trireme_harness::program("trireme")?);
    command.env("CC_ROUTER_SYSTEMHOST", "gw.example.test");
    let output = run(command.arg("token").arg("--data").arg(gateway.data()), BOUND).await?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    gateway.stop().await?;
    Ok(())
}
