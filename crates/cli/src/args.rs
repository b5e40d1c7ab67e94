//! The command line as typed.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// An API gateway of three processes on one command line.
#[derive(Debug, Parser)]
#[command(name = "trireme", version, about)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a whole gateway: router, enforcer and adapter, with generated certificates and configuration
    Up(UpOptions),
    /// Make an API project folder from an OpenAPI file
    Init(InitOptions),
    /// Deploy an OpenAPI file, a project folder or a project archive
    Deploy(DeployOptions),
    /// List the deployed APIs
    List(ListOptions),
    /// Remove an API
    Undeploy(UndeployOptions),
    /// Check an OpenAPI file or a project and print every finding; needs no gateway
    Validate(ValidateOptions),
    /// Get a test token from a running gateway
    Token(TokenOptions),
    /// Show the generated certificates: names, validity, files
    Certs(CertsOptions),
    /// Run the router alone
    Router,
    /// Run the enforcer alone
    Enforcer,
    /// Run the adapter alone
    Adapter,
}

/// Options of `trireme up`.
#[derive(Debug, Parser)]
pub(crate) struct UpOptions {
    /// Folder for certificates, configuration and state [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// OpenAPI file, project folder or project archive to deploy; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(crate) api: Vec<PathBuf>,
    /// Print one line of JSON on standard output once everything is ready
    #[arg(long)]
    pub(crate) json: bool,
    /// Address that the client ports and the management API listen on: 0.0.0.0 or :: for every one [default: those of the
    /// configuration, 127.0.0.1]
    #[arg(long, value_name = "IP", value_parser = reachable)]
    pub(crate) listen: Option<IpAddr>,
    /// Port for HTTP, 0 for any free one [default: router.listenerPort of the configuration]
    #[arg(long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,
    /// Port for HTTPS, 0 for any free one [default: router.securedListenerPort of the configuration]
    #[arg(long, value_name = "PORT")]
    pub(crate) https_port: Option<u16>,
    /// Port of the management API, 0 for any free one [default: adapter.server.port of the configuration]
    #[arg(long, value_name = "PORT")]
    pub(crate) adapter_port: Option<u16>,
}

/// APIs and certificates go by the name `localhost`, which must lead to the ports.
fn reachable(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "not an IP address".to_owned())?;
    if address.is_loopback() || address.is_unspecified() {
        Ok(address)
    } else {
        Err("neither a loopback address nor every address (0.0.0.0 or ::)".to_owned())
    }
}

/// Where the adapter is and who asks.
#[derive(Debug, Parser)]
pub(crate) struct Target {
    /// Data folder of `trireme up`, for its address, certificate and credentials [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Adapter to talk to instead, such as https://localhost:9843
    #[arg(long, value_name = "URL")]
    pub(crate) adapter: Option<String>,
    /// User name at the adapter
    #[arg(long, short, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Password at the adapter
    #[arg(
        long,
        short,
        env = "TRIREME_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    pub(crate) password: Option<String>,
    /// CA that the adapter's certificate is verified against
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Do not verify the adapter's certificate
    #[arg(long, short = 'k')]
    pub(crate) insecure: bool,
}

/// Options of `trireme deploy`.
#[derive(Debug, Parser)]
pub(crate) struct DeployOptions {
    /// OpenAPI file, project folder or project archive
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Refuse to replace an API that is already there
    #[arg(long)]
    pub(crate) no_override: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Options of `trireme list`.
#[derive(Debug, Parser)]
pub(crate) struct ListOptions {
    /// Print the adapter's answer as it is
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Options of `trireme undeploy`.
#[derive(Debug, Parser)]
pub(crate) struct UndeployOptions {
    /// Name of the API
    #[arg(long, short)]
    pub(crate) name: String,
    /// Version of the API
    #[arg(long, short)]
    pub(crate) version: String,
    /// Virtual host; all when absent
    #[arg(long, short = 't')]
    pub(crate) vhost: Option<String>,
    /// Gateway environment, may be repeated; all when absent
    #[arg(long = "gateway-env", short = 'g')]
    pub(crate) environments: Vec<String>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Options of `trireme validate`.
#[derive(Debug, Parser)]
pub(crate) struct ValidateOptions {
    /// OpenAPI file, project folder or project archive
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
}

/// Options of `trireme init`.
#[derive(Debug, Parser)]
pub(crate) struct InitOptions {
    /// Folder to make
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// OpenAPI file to start from
    #[arg(long = "oas", value_name = "FILE")]
    pub(crate) definition: PathBuf,
    /// Write into a folder that exists
    #[arg(long, short)]
    pub(crate) force: bool,
}

/// Options of `trireme token`.
#[derive(Debug, Parser)]
pub(crate) struct TokenOptions {
    /// Data folder of `trireme up` [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Scopes to ask for
    #[arg(long, value_name = "SCOPES")]
    pub(crate) scope: Option<String>,
    /// Gateway to ask instead, such as https://localhost:9095
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Option<String>,
    /// User name of the test token service
    #[arg(long, short, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Password of the test token service
    #[arg(
        long,
        short,
        env = "TRIREME_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    pub(crate) password: Option<String>,
    /// Do not verify the gateway's certificate
    #[arg(long, short = 'k')]
    pub(crate) insecure: bool,
}

/// Options of `trireme certs`.
#[derive(Debug, Parser)]
pub(crate) struct CertsOptions {
    /// Data folder of `trireme up` [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Make certificates for docker-compose in this folder instead
    #[arg(long, value_name = "DIR")]
    pub(crate) resources: Option<PathBuf>,
    /// Make certificates for Kubernetes instead: Secrets in this folder, their CA in its folder `authority`
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "resources"])]
    pub(crate) secrets: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) kubernetes: KubernetesOptions,
}

/// What `trireme certs --secrets` asks for beside the folder.
#[derive(Debug, Parser)]
pub(crate) struct KubernetesOptions {
    /// Namespace of the Secrets [default: none, kubectl says]
    #[arg(long, value_name = "NAME", requires = "secrets", value_parser = label)]
    pub(crate) namespace: Option<String>,
    /// Host name of the ingress and the Service behind it, such as router=gw.example.com; may be repeated
    #[arg(long = "host", value_name = "SERVICE=NAME", requires = "secrets", value_parser = routed)]
    pub(crate) hosts: Vec<(String, String)>,
    /// Certificate of an API Manager, to be trusted by adapter and enforcer
    #[arg(long, value_name = "FILE", requires = "secrets")]
    pub(crate) control_plane: Option<PathBuf>,
    /// Replace Secrets that are there; the CA stays
    #[arg(long, requires = "secrets")]
    pub(crate) force: bool,
}

/// A label of a name in the DNS (RFC 1123), as namespaces and Services are.
fn label(text: &str) -> Result<String, String> {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let good = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| inner(&byte))
        && !text.starts_with('-')
        && !text.ends_with('-');
    good.then(|| text.to_owned())
        .ok_or_else(|| "not a name of small letters, digits and inner hyphens".to_owned())
}

/// `SERVICE=NAME`, whose first label may be `*`.
fn routed(text: &str) -> Result<(String, String), String> {
    let (service, name) = text.split_once('=').ok_or("not SERVICE=NAME")?;
    if !["adapter", "router"].contains(&service) {
        return Err(format!(
            "no ingress leads to {service:?}, but to adapter or router"
        ));
    }
    if name.len() > 253 {
        return Err("a host name has at most 253 letters".to_owned());
    }
    for part in name.strip_prefix("*.").unwrap_or(name).split('.') {
        label(part).map_err(|reason| format!("host {name}: {reason}"))?;
    }
    Ok((service.to_owned(), name.to_owned()))
}
