//! `trireme-pods up FOLDER`: manifests on this machine's Docker Engine, until Ctrl-C. `trireme-pods measure`: image sizes, time
//! from start to ready, idle memory.

#![expect(clippy::print_stdout, reason = "what it finds is what it is run for")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use trireme_pods::manifest::Objects;
use trireme_pods::{Cluster, Engine, Images, Pod, Secrets, Trust};

/// What becomes ready at all is ready by then.
const BOUND: Duration = Duration::from_secs(120);
/// Quiet before memory is read.
const SETTLE: Duration = Duration::from_secs(10);
/// Bound on one look at an admin port, and the pause between two.
const LOOK: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(2);
/// Pods of which the middle time is told.
const STARTS: usize = 5;
/// Our manifests, below the checkout.
const MANIFESTS: &str = "k8s-artifacts/choreo-connect";

#[derive(Debug, Parser)]
#[command(name = "trireme-pods", about = "Kubernetes manifests on a Docker Engine")]
struct Args {
    /// Cargo profile of the images
    #[arg(long, global = true, env = "TRIREME_PODS_PROFILE", default_value = "dist")]
    profile: String,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// One pod of each Deployment, with key pairs of a private authority, until Ctrl-C
    Up {
        /// Folder of manifests
        folder: Option<PathBuf>,
        /// Host name of the router's certificate
        #[arg(long, default_value = "gw.wso2.com")]
        host: String,
    },
    /// A table of image sizes, time to ready and idle memory
    Measure,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let engine = Engine::find().context("no Docker Engine")?;
    let images = Images::build(&engine, &args.profile).await?;
    match args.task {
        Task::Up { folder, host } => up(&engine, &images, folder.as_deref(), &host).await,
        Task::Measure => measure(&engine, &images).await,
    }
}

/// Manifests with key pairs for them.
fn objects(folder: Option<&Path>, host: &str) -> anyhow::Result<Objects> {
    let own = trireme_pods::root()?.join(MANIFESTS);
    let mut objects = Objects::default();
    objects.folder(folder.unwrap_or(&own))?;
    let secrets = Secrets::issued(&Trust::new()?, host)?.objects();
    // Those that the manifests hold are theirs.
    for (name, data) in secrets {
        objects.secrets.entry(name).or_insert(data);
    }
    Ok(objects)
}

async fn up(engine: &Engine, images: &Images, folder: Option<&Path>, host: &str) -> anyhow::Result<()> {
    let objects = objects(folder, host)?;
    for note in &objects.not_shown {
        println!("not shown: {note}");
    }
    let names: Vec<_> = objects.deployments.keys().cloned().collect();
    let cluster = Cluster::new(engine, images, objects).await?;
    cluster.upstream(&["petstore.swagger.io"], 80).await?;
    let mut pods = Vec::new();
    for name in names {
        pods.push(cluster.start(&name).await?);
    }
    for pod in &pods {
        println!("{} ready after {:?}", pod.name(), pod.ready(BOUND).await?);
        for (port, address) in pod.addresses() {
            println!("  {port} at {address}");
        }
    }
    println!("Ctrl-C ends it");
    tokio::signal::ctrl_c().await?;
    for pod in pods {
        pod.stop().await?;
    }
    Ok(())
}

/// The manifests' own probes look every five seconds; what is measured is when a process first says that it is ready, on its admin
/// port, which is opened for that.
async fn measure(engine: &Engine, images: &Images) -> anyhow::Result<()> {
    let mut objects = objects(None, "gw.wso2.com")?;
    for deployment in objects.deployments.values_mut() {
        deployment.set_variable(
            "TRIREME_ADAPTER_ADMIN_BIND",
            &format!("0.0.0.0:{}", admin("adapter")),
        );
        deployment.set_variable(
            "TRIREME_ENFORCER_ADMIN_BIND",
            &format!("0.0.0.0:{}", admin("enforcer")),
        );
        for process in ["adapter", "enforcer"] {
            deployment.open(admin(process));
        }
    }
    let cluster = Cluster::new(engine, images, objects).await?;
    let mut kept = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for deployment in ["choreo-connect-adapter", "choreo-connect-deployment"] {
        let mut times: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
        for start in 0..STARTS {
            let pod = cluster.start(deployment).await?;
            for (process, time) in firsts(engine, &pod).await? {
                times.entry(process).or_default().push(time);
            }
            if start + 1 < STARTS {
                // With its end in order, which is not measured.
                drop(pod);
            } else {
                kept.push(pod);
            }
        }
        let pod = kept.last().context("a pod")?;
        for container in pod.containers() {
            let process = process(container).to_owned();
            let mut times = times.remove(&process).context("times")?;
            times.sort_unstable();
            let image = images.process(&process);
            let size = engine
                .run(["image", "inspect", "--format", "{{.Size}}", image])
                .await?;
            rows.push(Row {
                process,
                bytes: size.parse()?,
                times,
                id: pod.id(container)?,
            });
        }
    }
    for pod in &kept {
        pod.ready(BOUND).await?;
    }
    tokio::time::sleep(SETTLE).await;
    println!("| | Image, MB | Start to ready, ms: middle of {STARTS} (least, most) | Idle memory |");
    println!("| --- | --- | --- | --- |");
    for Row {
        process,
        bytes,
        times,
        id,
    } in rows
    {
        let words = ["stats", "--no-stream", "--format", "{{.MemUsage}}", &id];
        let memory = engine.run(words).await?;
        let memory = memory.split(" / ").next().unwrap_or_default().to_owned();
        let (least, most) = (
            times.first().context("a start")?,
            times.last().context("a start")?,
        );
        let middle = times.get(STARTS / 2).context("a start")?;
        println!(
            "| {process} | {}.{} | {} ({}, {}) | {memory} |",
            bytes / 1_000_000,
            bytes / 100_000 % 10,
            middle.as_millis(),
            least.as_millis(),
            most.as_millis()
        );
    }
    Ok(())
}

/// A line of the table.
struct Row {
    process: String,
    bytes: u64,
    /// From start to ready, in order.
    times: Vec<Duration>,
    /// Of the container that still runs.
    id: String,
}

/// `choreo-connect-router` is of the router.
fn process(container: &str) -> &str {
    container.rsplit('-').next().unwrap_or(container)
}

/// The admin port.
fn admin(process: &str) -> u16 {
    match process {
        "adapter" => 9003,
        "enforcer" => 9002,
        _ => 9000,
    }
}

/// When each process of a pod says for the first time that it is ready, from the start of its container.
async fn firsts(engine: &Engine, pod: &Pod) -> anyhow::Result<BTreeMap<String, Duration>> {
    let client = reqwest::Client::builder().no_proxy().timeout(LOOK).build()?;
    let mut firsts = BTreeMap::new();
    let end = Instant::now() + BOUND;
    while firsts.len() < pod.containers().count() {
        ensure!(Instant::now() < end, "not ready: {}", pod.told().await);
        for container in pod.containers() {
            let process = process(container);
            let url = format!("http://{}/ready", pod.address(admin(process)));
            if firsts.contains_key(process) {
                continue;
            }
            let answer = client.get(url).send().await;
            let now = SystemTime::now();
            if answer.is_ok_and(|answer| answer.status() == 200) {
                let started = engine
                    .inspect(&pod.id(container)?, "{{.State.StartedAt}}")
                    .await?;
                let started = SystemTime::from(OffsetDateTime::parse(&started, &Rfc3339)?);
                firsts.insert(process.to_owned(), now.duration_since(started)?);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(firsts)
}
