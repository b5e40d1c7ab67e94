//! The three processes started by hand, in every order: valid requests are served from the moment that the port is open.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use trireme_harness::{Gateway, Load, Outcome, Role, Tally, Upstream, eventually, program, rounds};

const BOUND: Duration = Duration::from_secs(60);
const ORDERS: [[Role; 3]; 6] = [
    [Role::Adapter, Role::Enforcer, Role::Router],
    [Role::Adapter, Role::Router, Role::Enforcer],
    [Role::Enforcer, Role::Adapter, Role::Router],
    [Role::Enforcer, Role::Router, Role::Adapter],
    [Role::Router, Role::Adapter, Role::Enforcer],
    [Role::Router, Role::Enforcer, Role::Adapter],
];

/// Where each process listens.
struct Addresses(Vec<(Role, &'static str, SocketAddr)>);

impl Addresses {
    fn of(gateway: &Gateway) -> Self {
        let sockets = [
            (Role::Adapter, "xds"),
            (Role::Adapter, "rest"),
            (Role::Adapter, "admin"),
            (Role::Enforcer, "grpc"),
            (Role::Enforcer, "rest"),
            (Role::Enforcer, "admin"),
            (Role::Router, "http"),
            (Role::Router, "https"),
            (Role::Router, "admin"),
        ];
        Self(
            sockets
                .map(|(role, name)| (role, name, gateway.address(role, name)))
                .into(),
        )
    }

    fn get(&self, role: Role, name: &str) -> SocketAddr {
        let found = self
            .0
            .iter()
            .find(|(of, called, _)| *of == role && *called == name);
        found.expect("one of the list").2
    }
}

/// Starts one process over the folder of a gateway that was stopped.
fn start(role: Role, data: &Path, addresses: &Addresses) -> anyhow::Result<Child> {
    let path = |inside: &str| data.join(inside).display().to_string();
    let credentials: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.join("security/credentials.json"))?)?;
    let password = |name: &str| credentials[name].as_str().unwrap_or_default().to_owned();
    let (key, certificate) = (
        path(&format!("security/keystore/{}.key", role.name())),
        path(&format!("security/keystore/{}.pem", role.name())),
    );
    let ca = path("security/truststore/ca.pem");
    let xds = addresses.get(Role::Adapter, "xds");
    let mut command = Command::new(program("trireme")?);
    command
        .arg(role.name())
        .env("MGW_HOME", data)
        .env("TRIREME_CONF", path("conf/config.toml"))
        .env("LOG_CONFIG_PATH", path("conf/log_config.toml"))
        .env("TRIREME_STATE_DIR", path("state"))
        .env("TRIREME_EXIT_ON_STDIN_EOF", "1")
        .env("adapter_admin_pwd", password("adapter_password"))
        .env("enforcer_admin_pwd", password("token_password"))
        .env("ADAPTER_PRIVATE_KEY_PATH", &key)
        .env("ADAPTER_PUBLIC_CERT_PATH", &certificate)
        .env("ENFORCER_PRIVATE_KEY_PATH", &key)
        .env("ENFORCER_PUBLIC_CERT_PATH", &certificate)
        .env("ROUTER_PRIVATE_KEY_PATH", &key)
        .env("ROUTER_PUBLIC_CERT_PATH", &certificate)
        .env("TRUSTED_CA_CERTS_PATH", path("security/truststore"))
        .env("ADAPTER_CA_CERT_PATH", &ca)
        .env("ENFORCER_CA_CERT_PATH", &ca)
        .env("ADAPTER_HOST", xds.ip().to_string())
        .env("ADAPTER_PORT", xds.port().to_string())
        .env("ADAPTER_XDS_PORT", xds.port().to_string())
        .env(
            "ENFORCER_HOST",
            addresses.get(Role::Enforcer, "grpc").ip().to_string(),
        )
        .env(
            "ENFORCER_PORT",
            addresses.get(Role::Enforcer, "grpc").port().to_string(),
        )
        .env(
            "ENFORCER_REST_PORT",
            addresses.get(Role::Enforcer, "rest").port().to_string(),
        );
    for (of, name, address) in &addresses.0 {
        if *of == role {
            let variable = format!("TRIREME_{}_{}_BIND", role.name(), name).to_uppercase();
            command.env(variable, address.to_string());
        }
    }
    Ok(command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

#[tokio::test]
async fn no_valid_request_is_refused_for_the_order_of_the_start() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("started.yaml");
    let definition = format!(
        "openapi: 3.0.3\ninfo: {{ title: Started, version: 1.0.0 }}\nx-wso2-basePath: /started\n\
         servers: [ {{ url: '{}' }} ]\npaths: {{ /a: {{ get: {{ responses: {{}} }} }} }}\n",
        upstream.url()
    );
    std::fs::write(&file, definition)?;
    let gateway = Gateway::builder().api(&file).start().await?;
    let token = gateway.ready.token.clone();
    let addresses = Addresses::of(&gateway);
    let (_, data) = gateway.stop().await?;

    let mut total = Tally::new();
    for round in 0..rounds(1) {
        for (number, order) in ORDERS.iter().enumerate() {
            let gap = Duration::from_millis([0, 250, 500, 750, 1000][(round + number) % 5]);
            let http = addresses.get(Role::Router, "http");
            let pause = Duration::from_millis(1);
            let load = Load::start(http, "/started/a", Some(&token), 8, pause, BOUND);
            let before = upstream.requests();
            let mut children = Vec::new();
            for (at, role) in order.iter().enumerate() {
                if at > 0 {
                    tokio::time::sleep(gap).await;
                }
                children.push(start(*role, data.path(), &addresses)?);
            }
            // Long after the first answer: every worker has been called.
            eventually("calls are served", async || {
                (upstream.requests() > before + 300).then_some(())
            })
            .await;
            let tally = load.finish().await;
            println!("{order:?}, {gap:?} apart: {tally:?}");
            for mut child in children {
                child.kill().await?;
            }
            for (outcome, count) in tally {
                *total.entry(outcome).or_default() += count;
            }
        }
    }
    let other: Vec<_> = total
        .keys()
        .filter(|outcome| !matches!(outcome, Outcome::Refused | Outcome::Status(200)))
        .collect();
    assert_eq!(other, Vec::<&Outcome>::new(), "{total:?}");
    Ok(())
}
