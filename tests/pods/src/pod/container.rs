//! One container of a pod, from its first start to its end: started, probed, started again, stopped.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::sync::watch;
use tokio::time::Instant;

use super::environment::{self, Facts};
use super::probe::{self, Probed, Probes};
use super::shared::{Shared, Volumes};
use crate::manifest::{Container, PreStop, Seccomp};

/// Before the first restart; doubled for each, up to [`MOST_BACKOFF`].
const BACKOFF: Duration = Duration::from_secs(10);
const MOST_BACKOFF: Duration = Duration::from_secs(300);
/// From SIGTERM to SIGKILL when a pod says nothing.
const GRACE: Duration = Duration::from_secs(30);
/// What a node reads of a termination message, bytes.
const MESSAGE: usize = 4096;
/// What it takes of the log in its place.
const MESSAGE_OF_LOG: usize = 2048;
/// Lines of the log that are kept of a container that has ended.
const LOG_LINES: u32 = 80;

/// What there is to know of a container.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Its startup probe has succeeded.
    pub started: bool,
    /// Its readiness probe succeeds.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// What each probe last gave.
    pub probes: Probes,
    /// How it ended before.
    pub last: Option<Ended>,
}

/// What a container is doing.
#[derive(Debug, Clone, Default)]
pub enum State {
    /// Not yet asked for.
    #[default]
    Pending,
    /// It cannot be started, or is not before a while.
    Waiting(String),
    /// It runs under this id of the engine.
    Running(String),
}

/// How a container ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Exit status; 137 after SIGKILL.
    pub code: i32,
    /// What it left in its termination log, or the end of its log where the policy says so.
    pub message: String,
    /// Its last lines.
    pub log: String,
}

/// How a container ended when it was told to.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// Name.
    pub container: String,
    /// How.
    pub ended: Ended,
    /// From the stop of the pod to its end.
    pub after: Duration,
}

/// Looks after one container.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) pod: Arc<Shared>,
    pub(super) volumes: Arc<Volumes>,
    /// Of the container in its pod.
    pub(super) index: usize,
    pub(super) status: watch::Sender<Status>,
}

/// Waits until the pod is to stop. The sender lives as long as the pod.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

impl Supervisor {
    /// A container whose pod has no volumes is not started.
    pub(super) async fn wait_for_ever(self, why: String, mut stop: watch::Receiver<bool>) -> Option<Stopped> {
        self.status
            .send_modify(|status| status.state = State::Waiting(why));
        told(&mut stop).await;
        None
    }

    /// Runs it until the pod is stopped.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) -> Option<Stopped> {
        let mut backoff = BACKOFF;
        loop {
            match self.start().await {
                Ok(id) => {
                    self.status
                        .send_modify(|status| status.state = State::Running(id.clone()));
                    tokio::select! {
                        biased;
                        () = told(&mut stop) => return Some(self.stop(&id).await),
                        () = self.exit(&id) => {}
                        probe = self.probes(&id) => {
                            eprintln!("{}: {} is killed: {probe} probe failed", self.pod.name, self.container().name);
                            self.kill(&id, self.grace()).await;
                        }
                    }
                    let ended = self.ended(&id).await;
                    self.status.send_modify(|status| {
                        *status = Status {
                            state: State::Waiting("CrashLoopBackOff".to_owned()),
                            restarts: status.restarts,
                            probes: std::mem::take(&mut status.probes),
                            last: Some(ended),
                            ..Status::default()
                        };
                    });
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    self.status
                        .send_modify(|status| status.state = State::Waiting(why));
                }
            }
            tokio::select! {
                biased;
                () = told(&mut stop) => return None,
                () = tokio::time::sleep(backoff) => backoff = MOST_BACKOFF.min(backoff * 2),
            }
            self.status.send_modify(|status| status.restarts += 1);
        }
    }

    fn container(&self) -> &Container {
        &self.pod.deployment.pod.containers[self.index]
    }

    fn grace(&self) -> Duration {
        let seconds = self.pod.deployment.pod.termination_grace_period_seconds;
        seconds.map_or(GRACE, Duration::from_secs)
    }

    async fn start(&self) -> anyhow::Result<String> {
        let file = self.pod.message_file(&self.container().name);
        fs::write(&file, "")?;
        fs::set_permissions(&file, Permissions::from_mode(0o666))?;
        let words = self.words(&file).await?;
        self.pod.cluster.engine.run(words).await
    }

    /// `docker run` with everything that the specification says.
    async fn words(&self, message: &Path) -> anyhow::Result<Vec<String>> {
        let (pod, container) = (&self.pod.deployment.pod, self.container());
        let cluster = &self.pod.cluster;
        let image = cluster.images.of(&container.image)?;
        let (security, around) = (&container.security_context, &pod.security_context);
        let mut words: Vec<String> = ["run", "--detach", "--no-healthcheck", "--label"]
            .map(ToOwned::to_owned)
            .to_vec();
        let mut option = |name: &str, value: String| words.push(format!("--{name}={value}"));
        option("network", format!("container:{}", self.pod.sandbox));

        let user = security.run_as_user.or(around.run_as_user);
        let group = security.run_as_group.or(around.run_as_group);
        if security.run_as_non_root.or(around.run_as_non_root) == Some(true) {
            let named = match user {
                Some(user) => user.to_string(),
                None => {
                    cluster
                        .engine
                        .run(["image", "inspect", "--format", "{{.Config.User}}", image])
                        .await?
                }
            };
            let named = named.split(':').next().unwrap_or_default();
            let number: u32 = named.parse().with_context(|| {
                format!("container has runAsNonRoot and image has non-numeric user ({named}), cannot verify user is non-root")
            })?;
            ensure!(
                number != 0,
                "container has runAsNonRoot and image will run as root"
            );
        }
        match (user, group) {
            (Some(user), Some(group)) => option("user", format!("{user}:{group}")),
            (Some(user), None) => option("user", user.to_string()),
            (None, Some(group)) => {
                let image_user = cluster
                    .engine
                    .run(["image", "inspect", "--format", "{{.Config.User}}", image])
                    .await?;
                let image_user = image_user.split(':').next().unwrap_or_default().to_owned();
                option("user", format!("{image_user}:{group}"));
            }
            (None, None) => {}
        }
        for group in around.fs_group.iter().chain(&around.supplemental_groups) {
            option("group-add", group.to_string());
        }
        if security.read_only_root_filesystem {
            option("read-only", "true".to_owned());
        }
        if security.allow_privilege_escalation == Some(false) {
            option("security-opt", "no-new-privileges".to_owned());
        }
        let profile = security
            .seccomp_profile
            .as_ref()
            .or(around.seccomp_profile.as_ref());
        if let Some(Seccomp { kind }) = profile
            && kind == "Unconfined"
        {
            option("security-opt", "seccomp=unconfined".to_owned());
        }
        for capability in &security.capabilities.drop {
            option("cap-drop", capability.clone());
        }
        for capability in &security.capabilities.add {
            option("cap-add", capability.clone());
        }
        let (processors, memory) = container.resources.limits();
        if let Some(millis) = processors {
            option("cpus", format!("{}.{:03}", millis / 1000, millis % 1000));
        }
        if let Some(bytes) = memory {
            option("memory", bytes.to_string());
            // No swap beside it, as on a node.
            option("memory-swap", bytes.to_string());
        }
        if let Some(folder) = &container.working_dir {
            option("workdir", folder.clone());
        }
        let path = container
            .termination_message_path
            .as_deref()
            .unwrap_or("/dev/termination-log");
        option("volume", format!("{}:{path}", message.display()));
        for mount in &container.volume_mounts {
            let volume = self
                .volumes
                .made
                .get(&mount.name)
                .context("a volume that is not there")?;
            let bind = volume
                .bind(mount.sub_path.as_deref(), &mount.mount_path, mount.read_only)
                .with_context(|| format!("volume {}", mount.name))?;
            option("volume", bind);
        }
        let facts = Facts {
            name: &self.pod.name,
            address: &self.pod.address,
            labels: &self.pod.deployment.labels,
            annotations: &self.pod.deployment.annotations,
        };
        let variables = environment::variables(&cluster.world, pod, container, &facts)?;
        for (name, value) in &variables {
            option("env", format!("{name}={value}"));
        }
        let mut command = container
            .command
            .iter()
            .map(|word| environment::expanded(word, &variables));
        if let Some(program) = command.next() {
            option("entrypoint", program);
        }
        words.insert(4, cluster.label());
        words.push(image.to_owned());
        words.extend(command);
        words.extend(
            container
                .args
                .iter()
                .map(|word| environment::expanded(word, &variables)),
        );
        Ok(words)
    }

    /// Waits until it has ended by itself.
    async fn exit(&self, id: &str) {
        let mut command = self.pod.cluster.engine.command();
        let command = command
            .args(["wait", id])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let status = command.kill_on_drop(true).status().await;
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("{}: {id} cannot be waited for", self.pod.name);
        }
    }

    /// Probes it for as long as it runs; gives the probe for which it must be killed.
    async fn probes(&self, id: &str) -> &'static str {
        let container = self.container();
        let begin = Instant::now();
        let ask = async |name: &'static str, probe| {
            let result = probe::ask(&self.pod, id, probe).await;
            let success = result.is_ok();
            let told = Probed {
                success,
                output: result.unwrap_or_else(|error| format!("{error:#}")),
            };
            self.status.send_modify(|status| status.probes.set(name, told));
            success
        };
        if let Some(probe) = &container.startup_probe {
            let mut failures = 0;
            tokio::time::sleep_until(begin + probe.initial_delay()).await;
            while !ask("startup", probe).await {
                failures += 1;
                if failures >= probe.failure_threshold() {
                    return "startup";
                }
                tokio::time::sleep(probe.period()).await;
            }
        }
        let ready = container.readiness_probe.is_none();
        self.status.send_modify(|status| {
            status.started = true;
            status.ready = ready;
        });
        let liveness = async {
            let Some(probe) = &container.liveness_probe else {
                return std::future::pending().await;
            };
            let mut failures = 0;
            tokio::time::sleep_until(begin + probe.initial_delay()).await;
            loop {
                failures = if ask("liveness", probe).await {
                    0
                } else {
                    failures + 1
                };
                if failures >= probe.failure_threshold() {
                    return "liveness";
                }
                tokio::time::sleep(probe.period()).await;
            }
        };
        let readiness = async {
            let Some(probe) = &container.readiness_probe else {
                return std::future::pending::<()>().await;
            };
            let (mut successes, mut failures) = (0, 0);
            tokio::time::sleep_until(begin + probe.initial_delay()).await;
            loop {
                if ask("readiness", probe).await {
                    (successes, failures) = (successes + 1, 0);
                } else {
                    (successes, failures) = (0, failures + 1);
                }
                let ready = if successes >= probe.success_threshold() {
                    Some(true)
                } else {
                    (failures >= probe.failure_threshold()).then_some(false)
                };
                if let Some(ready) = ready {
                    self.status.send_if_modified(|status| {
                        let changes = status.ready != ready;
                        status.ready = ready;
                        changes
                    });
                }
                tokio::time::sleep(probe.period()).await;
            }
        };
        tokio::select! {
            probe = liveness => probe,
            () = readiness => unreachable!("it is asked for ever"),
        }
    }

    /// Hook, SIGTERM, SIGKILL, within the grace period.
    async fn stop(&self, id: &str) -> Stopped {
        let begin = Instant::now();
        let engine = &self.pod.cluster.engine;
        match &self.container().lifecycle.pre_stop {
            Some(PreStop { exec: Some(exec), .. }) => {
                let mut words = vec!["exec", id];
                words.extend(exec.command.iter().map(String::as_str));
                match engine.output(words, self.grace()).await {
                    Ok(output) if output.status.success() => {}
                    Ok(output) => eprintln!(
                        "{}: preStop of {} failed: {}{}",
                        self.pod.name,
                        self.container().name,
                        String::from_utf8_lossy(&output.stdout),
                        String::from_utf8_lossy(&output.stderr)
                    ),
                    Err(error) => eprintln!("{}: preStop: {error:#}", self.pod.name),
                }
            }
            Some(PreStop {
                sleep: Some(sleep), ..
            }) => {
                tokio::time::sleep(self.grace().min(Duration::from_secs(sleep.seconds))).await;
            }
            Some(_) | None => {}
        }
        // A node gives two seconds more when a hook took them all.
        let left = self
            .grace()
            .saturating_sub(begin.elapsed())
            .max(Duration::from_secs(2));
        self.kill(id, left).await;
        Stopped {
            container: self.container().name.clone(),
            ended: self.ended(id).await,
            after: begin.elapsed(),
        }
    }

    async fn kill(&self, id: &str, grace: Duration) {
        let seconds = grace.as_secs().to_string();
        let bound = grace + Duration::from_secs(60);
        let words = ["stop", "--time", &seconds, id];
        match self.pod.cluster.engine.output(words, bound).await {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!("stop: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("stop: {error:#}"),
        }
    }

    /// What is left of a container that has ended; it is removed.
    async fn ended(&self, id: &str) -> Ended {
        let engine = &self.pod.cluster.engine;
        let code = engine.inspect(id, "{{.State.ExitCode}}").await;
        let code = code.ok().and_then(|text| text.parse().ok()).unwrap_or(-1);
        let log = engine.logs(id, LOG_LINES).await;
        let message = fs::read(self.pod.message_file(&self.container().name)).unwrap_or_default();
        let message = message.get(..MESSAGE).unwrap_or(&message);
        let mut message = String::from_utf8_lossy(message).into_owned();
        let policy = self.container().termination_message_policy.as_deref();
        if message.is_empty() && code != 0 && policy == Some("FallbackToLogsOnError") {
            let bytes = log.as_bytes();
            let from = bytes.len().saturating_sub(MESSAGE_OF_LOG);
            message = String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned();
        }
        if let Err(error) = engine.run(["rm", "--force", "--volumes", id]).await {
            eprintln!("{error:#}");
        }
        Ended { code, message, log }
    }
}
