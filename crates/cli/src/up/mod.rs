//! `trireme up`: the three processes as children, an API behind them, and somebody who watches.
//!
//! ```text
//! prepare DIR -> adapter -> enforcer -> router -> deploy -> token -> print -> watch until Ctrl-C -> drain
//! ```
//!
//! Each child writes its addresses to `DIR/run/<process>.json` once its sockets are bound; the next one is started with
//! them. A child that dies is started again with the addresses it had. A router that drains hands its sockets to another one
//! that is started beside it, so that nobody is refused meanwhile.

mod child;
mod console;
mod facts;
mod sample;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;
use tokio::time::Instant;
use trireme_router::News;

use crate::args::UpOptions;
use crate::client::{Adapter, Deployed};
use crate::home::{Bound, Credentials, Home, Role};
use crate::{client, project};

use self::child::{Child, Spec};
use self::console::Console;
use self::facts::{Pids, Ready, Sample};

/// A child that has not bound its sockets or is not ready by then is given up.
const START_BOUND: Duration = Duration::from_secs(30);
/// Between looks at a child that starts.
const POLL: Duration = Duration::from_millis(10);
/// A child that does not drain by then is killed.
const DRAIN_BOUND: Duration = Duration::from_secs(30);
/// Wait before a child that died is started again: doubled with every death in a row, up to the last.
const RESTART_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A child that lived this long died anew, not again.
const SETTLED: Duration = Duration::from_secs(10);

/// The host in the addresses that are told.
const LOCALHOST: &str = "localhost";

/// Where ports of the command line listen.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Codes in the bodies of refusals that will pass: no such route yet, the enforcer doesn't answer, or waits for the policy.
const ROUTE_UNKNOWN: &str = "404";
const CHECK_FAILED: &str = "102500";
const CHECK_BEHIND: &str = "503";

/// The running gateway.
struct Gateway {
    home: Home,
    credentials: Credentials,
    options: UpOptions,
    executable: PathBuf,
    lines: child::Lines,
    children: Vec<Watched>,
    /// The router that is to take over from the one that runs.
    successor: Option<Child>,
    /// Another one was asked for meanwhile.
    renew_again: bool,
    /// Routers that a successor has relieved, as long as they finish what is open.
    leaving: Vec<Child>,
}

/// What happens while the gateway runs.
enum Event {
    /// A child ended.
    Ended(usize, std::io::Result<std::process::ExitStatus>),
    /// The router says so.
    News(News),
    /// Another router is asked for.
    Renew,
    /// The successor ended before it served.
    Unsuccessful(std::io::Result<std::process::ExitStatus>),
}

struct Watched {
    child: Child,
    spec: Spec,
    since: Instant,
    deaths: u32,
}

pub(crate) async fn run(options: UpOptions) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let mut stop = Stop::listen()?;
    let console = Console::new(options.json);
    let (lines, received) = mpsc::channel(1024);
    let printer = tokio::spawn(console.clone().print(received));

    console.step("preparing the data folder");
    let home = Home::locate(options.data.as_deref())?;
    let _occupied = home.occupy()?;
    let credentials = home.prepare()?;
    let executable = std::env::current_exe().context("own executable")?;
    let mut gateway = Gateway {
        home,
        credentials,
        options,
        executable,
        lines,
        children: Vec::new(),
        successor: None,
        renew_again: false,
        leaving: Vec::new(),
    };
    let outcome = tokio::select! {
        outcome = gateway.serve(&console, started) => outcome,
        () = stop.asked() => Ok(()),
    };
    console.step("draining");
    tokio::select! {
        () = gateway.drain() => {}
        // Children die with their handles.
        () = stop.asked() => console.event("trireme", "asked again, broken off"),
    }
    drop(gateway);
    // Ends once the last child's output is closed.
    drop(printer.await);
    console.finish();
    outcome.map(|()| ExitCode::SUCCESS)
}

impl Gateway {
    /// Starts everything, reports, and supervises for ever.
    async fn serve(&mut self, console: &Console, started: Instant) -> anyhow::Result<()> {
        let upstream = sample::Upstream::bind().await.context("sample upstream")?;
        let needs_sample = self.options.api.is_empty();
        // First: what can't be read is told at once.
        let archives = self.archives(upstream.address()?)?;

        console.step("starting the adapter");
        let adapter = self.start(Role::Adapter, Vec::new()).await?;
        console.step("starting the enforcer");
        let xds = adapter.address("xds")?;
        let enforcer = self.start(Role::Enforcer, self.enforcer_environment(xds)).await?;
        console.step("starting the router");
        let environment = self.router_environment(xds, enforcer.address("grpc")?, enforcer.address("rest")?);
        let router = self.start(Role::Router, environment).await?;

        let adapter_port = adapter.address("rest")?.port();
        let management = Adapter::local(
            &self.home,
            adapter_port,
            &self.credentials.username,
            &self.credentials.adapter_password,
        )?;
        let serve_sample = async move {
            match needs_sample {
                true => upstream
                    .serve()
                    .await
                    .context("sample upstream")
                    .map(|never| match never {}),
                false => std::future::pending().await,
            }
        };
        let work = async {
            console.step("deploying");
            let calls = deploy(console, &management, archives).await?;
            console.step("waiting for the router");
            let http = client::http(Some(&self.home.authority_certificate()), false)?;
            until_ready(&http, router.address("admin")?).await?;
            let port = |name: &str| {
                let address = router.address(name).ok().with_context(|| {
                    format!("the router has no {name} port: when another program has it, choose one with --{name}-port")
                })?;
                anyhow::Ok(address.port())
            };
            let https = format!("https://localhost:{}", port("https")?);
            let plain = format!("http://localhost:{}", port("http")?);
            let user = &self.credentials;
            let scopes: BTreeSet<&str> = calls
                .iter()
                .flat_map(|call| &call.scopes)
                .map(String::as_str)
                .collect();
            let scope = Vec::from_iter(scopes).join(" ");
            let asked = (!scope.is_empty()).then_some(scope.as_str());
            // Ports are dialed on this machine, whatever the hosts are that callers use.
            let other = |host: String| (host != LOCALHOST).then_some(host);
            let system_host = other(self.home.system_host());
            let (name, password) = (&user.username, &user.token_password);
            let token = client::token(&http, &https, system_host.as_deref(), name, password, asked).await?;
            let mut samples: Vec<Sample> = calls
                .into_iter()
                .map(|call| Sample {
                    method: call.method,
                    url: format!("{plain}{}", call.path),
                    host: call.host.and_then(other),
                })
                .collect();
            if let Some(sample) = samples.first() {
                until_routed(&http, sample).await?;
            }
            let sample = if samples.is_empty() {
                Sample {
                    method: "GET".into(),
                    url: format!("{plain}/health"),
                    host: system_host.clone(),
                }
            } else {
                samples.swap_remove(0)
            };
            let ready = Ready {
                ready: true,
                http: &plain,
                https: &https,
                adapter: &format!("https://localhost:{adapter_port}"),
                username: &user.username,
                password: &user.adapter_password,
                token: &token,
                system_host: system_host.as_deref(),
                scope: &scope,
                sample: &sample,
                pids: self.pids(),
                started_in_ms: started.elapsed().as_millis(),
            };
            console.ready(&ready, &self.home, user);
            anyhow::Ok(())
        };
        tokio::pin!(serve_sample);
        tokio::select! {
            outcome = work => outcome?,
            outcome = &mut serve_sample => return outcome,
        }
        tokio::select! {
            outcome = self.supervise(console) => outcome,
            outcome = serve_sample => outcome,
        }
    }

    /// What is to be deployed, by name: what was asked for, or the sample API.
    fn archives(&self, upstream: SocketAddr) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        if self.options.api.is_empty() {
            let definition = sample::definition(upstream);
            let archive = project::archive_definition("sample.yaml", definition.as_bytes())?;
            return Ok(vec![("the sample API".to_owned(), archive)]);
        }
        let archive = |path: &PathBuf| Ok((path.display().to_string(), project::archive(path)?));
        self.options.api.iter().map(archive).collect()
    }

    /// Starts a child and waits until it has bound its sockets.
    async fn start(&mut self, role: Role, mut environment: Vec<(String, String)>) -> anyhow::Result<Bound> {
        environment.extend(self.common_environment(role));
        let mut spec = Spec {
            role,
            executable: self.executable.clone(),
            environment,
        };
        drop(std::fs::remove_file(self.home.bound_file(role)));
        let mut child = Child::start(&spec, &self.lines)?;
        let deadline = Instant::now() + START_BOUND;
        let bound = loop {
            if let Some(bound) = self.home.bound(role) {
                break bound;
            }
            if Instant::now() > deadline {
                bail!("the {} did not come up within {START_BOUND:?}", role.name());
            }
            tokio::select! {
                status = child.ended() => {
                    bail!("the {} ended at start ({}); its last line says why", role.name(), status?)
                }
                () = tokio::time::sleep(POLL) => {}
            }
        };
        // After a crash the others must find it where it was.
        for (name, address) in &bound.addresses {
            let variable = format!("TRIREME_{}_{}_BIND", role.name(), name).to_uppercase();
            spec.environment.retain(|(known, _)| *known != variable);
            spec.environment.push((variable, address.to_string()));
        }
        self.children.push(Watched {
            child,
            spec,
            since: Instant::now(),
            deaths: 0,
        });
        Ok(bound)
    }

    /// Starts again whatever dies, and another router beside one that drains, or when SIGUSR2 asks for it. Ends only with
    /// an error.
    async fn supervise(&mut self, console: &Console) -> anyhow::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut renew = signal(SignalKind::user_defined2())?;
        let (sender, mut news) = mpsc::channel(1);
        let door = self.home.handover_file();
        let following = trireme_router::follow(&door, sender);
        tokio::pin!(following);
        loop {
            let [a, b, c] = &mut self.children[..] else {
                bail!("the gateway is not complete")
            };
            let successor = async {
                match &mut self.successor {
                    Some(successor) => successor.ended().await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                status = a.child.ended() => Event::Ended(0, status),
                status = b.child.ended() => Event::Ended(1, status),
                status = c.child.ended() => Event::Ended(2, status),
                status = successor => Event::Unsuccessful(status),
                Some(told) = news.recv() => Event::News(told),
                _ = renew.recv() => Event::Renew,
                () = &mut following => bail!("nobody follows the router"),
            };
            self.leaving.retain_mut(|child| !child.has_ended());
            match event {
                Event::Ended(index, _) if self.is_succeeded(index) => self.promote(),
                Event::Ended(index, status) => self.restart(console, index, status).await,
                Event::News(News::Draining) if self.successor.is_some() => {}
                Event::News(News::Draining) | Event::Renew => self.renew(console),
                Event::News(News::Relieved) => {
                    self.promote();
                    if std::mem::take(&mut self.renew_again) {
                        self.renew(console);
                    }
                }
                Event::Unsuccessful(status) => {
                    self.successor = None;
                    let told = told(status);
                    console.event(
                        Role::Router.name(),
                        &format!("the new one ended before it served ({told})"),
                    );
                }
            }
        }
    }

    /// Starts a child that has ended again.
    async fn restart(
        &mut self,
        console: &Console,
        index: usize,
        status: std::io::Result<std::process::ExitStatus>,
    ) {
        let Some(dead) = self.children.get_mut(index) else {
            return;
        };
        dead.deaths = if dead.since.elapsed() > SETTLED {
            0
        } else {
            dead.deaths.saturating_add(1)
        };
        let wait = RESTART_WAIT
            .0
            .saturating_mul(1 << dead.deaths.min(10))
            .min(RESTART_WAIT.1);
        let told = told(status);
        console.event(
            dead.spec.role.name(),
            &format!("ended ({told}), starting again in {wait:?}"),
        );
        tokio::time::sleep(wait).await;
        match Child::start(&dead.spec, &self.lines) {
            Ok(child) => dead.child = child,
            // The next round finds it dead again and waits longer.
            Err(error) => console.event(dead.spec.role.name(), &format!("{error:#}")),
        }
        dead.since = Instant::now();
    }

    /// Starts a router beside the one that runs, whose sockets it takes over; after the one that does so now, if there is.
    fn renew(&mut self, console: &Console) {
        let router = self
            .children
            .iter()
            .find(|watched| watched.spec.role == Role::Router);
        let (Some(router), None) = (router, &self.successor) else {
            return;
        };
        console.event(Role::Router.name(), "another one takes over");
        match Child::start(&router.spec, &self.lines) {
            Ok(child) => self.successor = Some(child),
            Err(error) => console.event(Role::Router.name(), &format!("{error:#}")),
        }
    }

    /// Whether a child has a successor that is on its way.
    fn is_succeeded(&self, index: usize) -> bool {
        let child = self.children.get(index);
        self.successor.is_some() && child.is_some_and(|watched| watched.spec.role == Role::Router)
    }

    /// The successor is the router now.
    fn promote(&mut self) {
        let router = self
            .children
            .iter_mut()
            .find(|watched| watched.spec.role == Role::Router);
        if let Some(router) = router
            && let Some(successor) = self.successor.take()
        {
            self.leaving.push(std::mem::replace(&mut router.child, successor));
            router.since = Instant::now();
        }
    }

    /// The routers first, so that what they have accepted is still checked.
    async fn drain(&mut self) {
        self.leaving.extend(self.successor.take());
        for child in &self.leaving {
            child.terminate();
        }
        while let Some(mut watched) = self.children.pop() {
            while let Some(mut child) = self.leaving.pop_if(|_| watched.spec.role == Role::Router) {
                drop(child.drain(DRAIN_BOUND).await);
            }
            drop(watched.child.drain(DRAIN_BOUND).await);
            drop(std::fs::remove_file(self.home.bound_file(watched.child.role)));
        }
    }

    fn pids(&self) -> Pids {
        let pid = |role: Role| {
            let found = self.children.iter().find(|watched| watched.spec.role == role);
            found.and_then(|watched| watched.child.pid()).unwrap_or_default()
        };
        Pids {
            router: pid(Role::Router),
            enforcer: pid(Role::Enforcer),
            adapter: pid(Role::Adapter),
        }
    }

    fn common_environment(&self, role: Role) -> Vec<(String, String)> {
        let path = |inside: &str| self.home.path(inside).display().to_string();
        let mut environment = vec![
            ("MGW_HOME".to_owned(), path("")),
            ("TRIREME_CONF".to_owned(), path("conf/config.toml")),
            ("LOG_CONFIG_PATH".to_owned(), path("conf/log_config.toml")),
            ("TRIREME_STATE_DIR".to_owned(), path("state")),
            (
                "TRIREME_BOUND_FILE".to_owned(),
                self.home.bound_file(role).display().to_string(),
            ),
            ("TRIREME_EXIT_ON_STDIN_EOF".to_owned(), "1".to_owned()),
            (
                "adapter_admin_pwd".to_owned(),
                self.credentials.adapter_password.clone(),
            ),
            (
                "enforcer_admin_pwd".to_owned(),
                self.credentials.token_password.clone(),
            ),
        ];
        if let (Role::Adapter, Some(listen)) = (role, self.options.listen) {
            // It tells the router where to listen as well; a port from the command line goes with the address below.
            for key in [
                "ADAPTER_SERVER_HOST",
                "ROUTER_LISTENERHOST",
                "ROUTER_SECUREDLISTENERHOST",
            ] {
                environment.push((format!("CC_{key}"), listen.to_string()));
            }
        }
        if role == Role::Adapter {
            // Several threads read projects, and glibc has each of them keep what it once held.
            environment.push(("MALLOC_ARENA_MAX".to_owned(), "1".to_owned()));
        }
        let mut bind = |name: &str, address: SocketAddr| {
            environment.push((format!("TRIREME_{name}_BIND"), address.to_string()));
        };
        let internal = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen = |port: u16| SocketAddr::new(self.options.listen.unwrap_or(LOCAL), port);
        match role {
            Role::Adapter => {
                bind("ADAPTER_XDS", internal);
                bind("ADAPTER_ADMIN", internal);
                if let Some(port) = self.options.adapter_port {
                    bind("ADAPTER_REST", listen(port));
                }
            }
            Role::Enforcer => {
                bind("ENFORCER_GRPC", internal);
                bind("ENFORCER_REST", internal);
                bind("ENFORCER_ADMIN", internal);
            }
            Role::Router => {
                bind("ROUTER_ADMIN", internal);
                if let Some(port) = self.options.http_port {
                    bind("ROUTER_HTTP", listen(port));
                }
                if let Some(port) = self.options.https_port {
                    bind("ROUTER_HTTPS", listen(port));
                }
            }
        }
        environment
    }

    fn enforcer_environment(&self, xds: SocketAddr) -> Vec<(String, String)> {
        let home = &self.home;
        [
            ("ADAPTER_HOST", xds.ip().to_string()),
            ("ADAPTER_XDS_PORT", xds.port().to_string()),
            ("ADAPTER_HOST_NAME", "adapter".to_owned()),
            ("ENFORCER_LABEL", "Default".to_owned()),
            (
                "ENFORCER_PRIVATE_KEY_PATH",
                home.key("enforcer").display().to_string(),
            ),
            (
                "ENFORCER_PUBLIC_CERT_PATH",
                home.certificate("enforcer").display().to_string(),
            ),
            (
                "TRUSTED_CA_CERTS_PATH",
                home.path("security/truststore").display().to_string(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn router_environment(
        &self,
        xds: SocketAddr,
        grpc: SocketAddr,
        rest: SocketAddr,
    ) -> Vec<(String, String)> {
        let home = &self.home;
        let ca = home.authority_certificate().display().to_string();
        [
            ("ROUTER_LABEL", "Default".to_owned()),
            ("ADAPTER_HOST", xds.ip().to_string()),
            ("ADAPTER_PORT", xds.port().to_string()),
            ("ENFORCER_HOST", grpc.ip().to_string()),
            ("ENFORCER_PORT", grpc.port().to_string()),
            ("ENFORCER_REST_PORT", rest.port().to_string()),
            (
                "TRIREME_ROUTER_HANDOVER",
                home.handover_file().display().to_string(),
            ),
            (
                "ROUTER_PRIVATE_KEY_PATH",
                home.key("router").display().to_string(),
            ),
            (
                "ROUTER_PUBLIC_CERT_PATH",
                home.certificate("router").display().to_string(),
            ),
            ("ADAPTER_CA_CERT_PATH", ca.clone()),
            ("ENFORCER_CA_CERT_PATH", ca),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// Deploys all; returns a call of each API.
async fn deploy(
    console: &Console,
    adapter: &Adapter,
    archives: Vec<(String, Vec<u8>)>,
) -> anyhow::Result<Vec<project::Call>> {
    let mut calls = Vec::new();
    for (name, archive) in archives {
        let call = project::sample_call(&archive);
        match adapter.deploy(archive, true).await? {
            Deployed::Accepted(receipt) if receipt.is_served() => {
                console.event("trireme", &format!("{name}: {receipt}"));
                calls.extend(call.map(|call| project::Call {
                    host: receipt.host(),
                    ..call
                }));
            }
            Deployed::Accepted(receipt) => bail!("{name}: {receipt}"),
            Deployed::Refused(status, refusal) => bail!("{name}: refused, {status}: {refusal}"),
        }
    }
    Ok(calls)
}

/// Waits until the router takes traffic.
async fn until_ready(http: &reqwest::Client, admin: SocketAddr) -> anyhow::Result<()> {
    let url = format!("http://{admin}/ready");
    until("the router is not ready", async || {
        match http.get(&url).send().await {
            Ok(response) => response.status().is_success(),
            Err(_) => false,
        }
    })
    .await
}

/// Waits until router and enforcer know the API. By `OPTIONS`, which changes nothing where it reaches an upstream: only APIs
/// without security that define it let it through, and then any answer will do.
async fn until_routed(http: &reqwest::Client, sample: &Sample) -> anyhow::Result<()> {
    until("the API is not served", async || {
        let mut request = http.request(reqwest::Method::OPTIONS, &sample.url);
        if let Some(host) = &sample.host {
            request = request.header(reqwest::header::HOST, host);
        }
        match request.send().await {
            Ok(response) => is_routed(response).await,
            Err(_) => false,
        }
    })
    .await
}

/// Whether an answer comes from the upstream, or from a gateway that knows the API.
async fn is_routed(response: reqwest::Response) -> bool {
    let code = match response.status().as_u16() {
        404 => ROUTE_UNKNOWN,
        500 => CHECK_FAILED,
        503 => CHECK_BEHIND,
        _ => return true,
    };
    let body = client::bounded(response).await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    body.get("code").and_then(|found| found.as_str()) != Some(code)
}

async fn until(what: &'static str, mut holds: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_BOUND;
    while !holds().await {
        if Instant::now() > deadline {
            bail!("{what} within {START_BOUND:?}");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn told(status: std::io::Result<std::process::ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Ctrl-C and SIGTERM.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_address_to_listen_on_counts_without_ports_as_well() {
        let listening = |words: &[&str]| -> Vec<(String, String)> {
            let gateway = Gateway {
                home: Home::locate(Some(std::path::Path::new("/nowhere"))).unwrap(),
                credentials: Credentials {
                    username: String::new(),
                    adapter_password: String::new(),
                    token_password: String::new(),
                },
                options: UpOptions::parse_from(std::iter::once(&"up").chain(words)),
                executable: PathBuf::new(),
                lines: mpsc::channel(1).0,
                children: Vec::new(),
                successor: None,
                renew_again: false,
                leaving: Vec::new(),
            };
            [Role::Adapter, Role::Router]
                .iter()
                .flat_map(|role| gateway.common_environment(*role))
                .filter(|(name, _)| name.contains("LISTENER") || name.ends_with("SERVER_HOST"))
                .collect()
        };
        let everywhere = [
            ("CC_ADAPTER_SERVER_HOST", "0.0.0.0"),
            ("CC_ROUTER_LISTENERHOST", "0.0.0.0"),
            ("CC_ROUTER_SECUREDLISTENERHOST", "0.0.0.0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(listening(&["--listen", "0.0.0.0"]), everywhere);
        assert!(listening(&[]).is_empty());
        assert!(UpOptions::try_parse_from(["up", "--listen", "10.0.0.1"]).is_err());
    }

    #[tokio::test]
    async fn an_api_is_served_whatever_its_upstream_says() {
        let cases = [
            (204, "", true),
            (401, r#"{"code":"900901"}"#, true),
            (404, r#"{"code":"404"}"#, false),
            (404, "<html>no such pet</html>", true),
            (500, r#"{"code":"102500"}"#, false),
            (503, r#"{"code":"503"}"#, false),
            (503, r#"{"code":"102503"}"#, true),
        ];
        for (status, body, want) in cases {
            let mut response = hyper::Response::new(body);
            *response.status_mut() = reqwest::StatusCode::from_u16(status).unwrap();
            assert_eq!(is_routed(response.into()).await, want, "{status} {body}");
        }
    }
}
