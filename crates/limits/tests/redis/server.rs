//! A Redis server of a test's own, and what sets it up.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use trireme_limits::{
    Counters, Decision, Limit, Mode, OnFailure, Server, SharedSettings, Take, Time, Window,
};
use trireme_telemetry::Metrics;

/// The program; `None`, said loudly, when it is missing.
pub(crate) fn program() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "where programs of others lie, and whether a skip is allowed, is no product setting"
    )]
    let (path, ci) = (std::env::var_os("PATH").unwrap_or_default(), std::env::var("CI"));
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("redis-server"))
        .find(|path| path.is_file());
    if found.is_none() {
        assert_ne!(
            ci.as_deref(),
            Ok("true"),
            "redis-server is missing, and CI must not skip"
        );
        eprintln!("SKIPPED: redis-server is missing; get it from Debian's package redis-server");
    }
    found
}

/// A running server. Ends with the value.
pub(crate) struct Redis {
    program: PathBuf,
    arguments: Vec<String>,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    child: Child,
}

impl Redis {
    /// A server without TLS; `None` where the program is missing.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_with(|_, port| {
            let plain = ["--port".to_owned(), port.to_string()];
            plain
                .into_iter()
                .chain(arguments.iter().map(|text| (*text).to_owned()))
                .collect()
        })
    }

    /// A server with what `arguments` makes of its folder and port. Redis takes no port 0: one that was free a moment ago
    /// may be taken by now, and then it is another.
    pub(crate) fn start_with(arguments: impl Fn(&Path, u16) -> Vec<String>) -> Option<Self> {
        let program = program()?;
        for _ in 0..5 {
            let folder = TempDir::new().unwrap();
            let port = free_port();
            let arguments = arguments(folder.path(), port);
            if let Some(child) = spawn(&program, folder.path(), &arguments) {
                return Some(Self {
                    program,
                    arguments,
                    port,
                    folder,
                    child,
                });
            }
        }
        panic!("redis-server does not start");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, after [`Redis::kill`].
    pub(crate) fn restart(&mut self) {
        let child = spawn(&self.program, self.folder.path(), &self.arguments);
        self.child = child.expect("the port is free, as it was ours");
    }

    pub(crate) fn settings(&self, mode: Mode) -> SharedSettings {
        SharedSettings {
            server: Server::parse(&format!("redis://127.0.0.1:{}", self.port)).unwrap(),
            ..settings(mode)
        }
    }

    /// One command by a connection of its own.
    pub(crate) async fn command(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name)
            .arg(arguments)
            .query_async(&mut connection)
            .await
            .unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Also where it is stopped, or has ended.
        let (Ok(()) | Err(_)) = self.child.kill();
        let (Ok(_) | Err(_)) = self.child.wait();
    }
}

/// `None` where it ends instead of serving.
fn spawn(program: &Path, folder: &Path, arguments: &[String]) -> Option<Child> {
    let mut child = Command::new(program)
        .args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ])
        .arg("--dir")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines();
    for line in lines.by_ref() {
        if line.unwrap().contains("Ready to accept connections") {
            // Keeps reading: it must not block on a full pipe.
            std::thread::spawn(move || lines.for_each(drop));
            return Some(child);
        }
    }
    child.wait().unwrap();
    None
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Settings for a server that is to be named.
pub(crate) fn settings(mode: Mode) -> SharedSettings {
    SharedSettings {
        server: Server::parse("redis://127.0.0.1:1").unwrap(),
        tls: None,
        prefix: "test:".to_owned(),
        mode,
        on_failure: OnFailure::Closed,
        wait: Duration::from_secs(2),
        connect_timeout: Duration::from_millis(500),
        capacity: 10_000,
    }
}

pub(crate) fn now() -> Time {
    Time::from(SystemTime::now())
}

pub(crate) fn limit(key: &[u8], quota: u64, window: Window) -> Limit<'_> {
    Limit {
        key,
        quota,
        window,
        cost: 1,
    }
}

/// Decides, whether Redis has to be asked or not.
pub(crate) async fn take(counters: &Counters, limits: &[Limit<'_>]) -> Decision {
    match counters.take(limits, now()) {
        Take::Decided(decision) => decision,
        Take::Wait(pending) => pending.await,
    }
}

/// Counters that have reached the server, and their metrics.
pub(crate) async fn connected(settings: SharedSettings) -> (Counters, Metrics) {
    let metrics = Metrics::new();
    let counters = Counters::shared(settings, [3; 16], &metrics);
    assert!(
        counters.started().await,
        "{}",
        metrics.encode(trireme_telemetry::Format::Text)
    );
    (counters, metrics)
}

/// The value of a metric, its labels included in the name.
pub(crate) fn metric(metrics: &Metrics, name: &str) -> f64 {
    let text = metrics.encode(trireme_telemetry::Format::Text);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or("0").parse().unwrap()
}
