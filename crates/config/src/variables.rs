//! What each process takes from its environment. Empty variables count as unset.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::env::Env;
use crate::error::ConfigError;
use crate::schema::bind_address;

const KEY: &str = "/home/wso2/security/keystore/mg.key";
const CERTIFICATE: &str = "/home/wso2/security/keystore/mg.pem";
const TRUSTSTORE: &str = "/home/wso2/security/truststore";
const TRUSTED_CERTIFICATE: &str = "/home/wso2/security/truststore/mg.pem";

/// Set to true, it lets the login that everybody knows in; see [`ProcessEnv::allow_default_credentials`].
pub const ALLOW_DEFAULT_CREDENTIALS: &str = "TRIREME_ALLOW_DEFAULT_CREDENTIALS";

/// Everything on this machine, for ports that others call.
const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// This machine only, for administration.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A peer to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What every process reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessEnv {
    /// `MGW_HOME`, else `CC_HOME`, else the working directory: the folder that `conf/` lies in.
    pub home: PathBuf,
    /// `TRIREME_CONF`, else `conf/config.toml` in the home folder.
    pub conf: PathBuf,
    /// `TRIREME_STATE_DIR`: the folder for what must survive a restart (last-good snapshots, the adapter's store).
    pub state_dir: Option<PathBuf>,
    /// `TRIREME_BOUND_FILE`: the file that gets the bound addresses once all sockets are bound.
    pub bound_file: Option<PathBuf>,
    /// `TRIREME_ALLOW_DEFAULT_CREDENTIALS`: take the login that everybody knows (see [`crate::is_default_login`]) on addresses
    /// that others can reach, as for a trial.
    pub allow_default_credentials: bool,
    /// `TRIREME_EXIT_ON_STDIN_EOF`: drain and stop when standard input ends, because the parent is gone.
    pub exit_on_stdin_eof: bool,
    /// `TRIREME_WORKERS`, else `CONCURRENCY`: threads of the data path; unset means one per core.
    pub workers: Option<NonZeroUsize>,
    /// `HOSTNAME`, else `Unassigned`: tells instances apart in node metadata.
    pub instance: String,
    /// Variables of the original that have no meaning here (`JAVA_OPTS`, `TRAILING_ARGS`, …) and are set to something
    /// else than what the original's compose file sets.
    pub ignored: Vec<&'static str>,
}

/// What the router reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterEnv {
    /// What every process reads.
    pub process: ProcessEnv,
    /// `ROUTER_LABEL` (`Default`): discovery node id, the name of the gateway environment.
    pub label: String,
    /// `ROUTER_CLUSTER` (`default_cluster`): discovery node cluster.
    pub cluster: String,
    /// `TRIREME_ROUTER_ADMIN_BIND`, else `ROUTER_ADMIN_HOST` (127.0.0.1) and `ROUTER_ADMIN_PORT` (9000).
    pub admin_bind: SocketAddr,
    /// `TRIREME_ROUTER_HTTP_BIND`: replaces address and port of the plain listener.
    pub http_bind: Option<SocketAddr>,
    /// `TRIREME_ROUTER_HTTPS_BIND`: replaces address and port of the TLS listener.
    pub https_bind: Option<SocketAddr>,
    /// `TRIREME_ROUTER_HANDOVER`: the file by which a router that is started with the same finds this one, takes over its
    /// listening sockets, and lets it end.
    pub handover: Option<PathBuf>,
    /// `ROUTER_PRIVATE_KEY_PATH`: key towards adapter and enforcer.
    pub private_key: PathBuf,
    /// `ROUTER_PUBLIC_CERT_PATH`: certificate towards adapter and enforcer.
    pub certificate: PathBuf,
    /// `ADAPTER_HOST` (`adapter`) and `ADAPTER_PORT` (18000): discovery.
    pub adapter: HostPort,
    /// `ADAPTER_HOST_NAME` (`adapter`): the name that the adapter's certificate holds. Not the host: the original's
    /// router does not look at names, and its manifests reach the peers by addresses and names that no certificate holds.
    pub adapter_server_name: String,
    /// `ADAPTER_CA_CERT_PATH`: whom discovery trusts.
    pub adapter_ca: PathBuf,
    /// `ENFORCER_HOST` (`enforcer`) and `ENFORCER_PORT` (8081): checks.
    pub enforcer: HostPort,
    /// `ENFORCER_HOST` and `ENFORCER_REST_PORT` (9001): test keys and published keys.
    pub enforcer_rest: HostPort,
    /// `ENFORCER_ANALYTICS_HOST` (the enforcer's) and `ENFORCER_ANALYTICS_RECEIVER_PORT` (18090): access logs.
    pub analytics: HostPort,
    /// `ENFORCER_HOST_NAME` (`enforcer`): the name that the enforcer's certificate holds.
    pub enforcer_server_name: String,
    /// `ENFORCER_CA_CERT_PATH`: whom checks trust.
    pub enforcer_ca: PathBuf,
}

/// What the enforcer reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnforcerEnv {
    /// What every process reads.
    pub process: ProcessEnv,
    /// `ENFORCER_LABEL` (`Default`): discovery node id, the name of the gateway environment.
    pub label: String,
    /// `ENFORCER_REGION` (`UNKNOWN`): region named in analytics.
    pub region: String,
    /// `TRIREME_ENFORCER_GRPC_BIND`: where checks are answered; unset means every address and the port of
    /// `enforcer.authService.port`.
    pub grpc_bind: Option<SocketAddr>,
    /// `TRIREME_ENFORCER_REST_BIND` (0.0.0.0:9001).
    pub rest_bind: SocketAddr,
    /// `TRIREME_ENFORCER_ADMIN_BIND` (127.0.0.1:9002).
    pub admin_bind: SocketAddr,
    /// `ENFORCER_PRIVATE_KEY_PATH`: key of the servers, and towards the adapter.
    pub private_key: PathBuf,
    /// `ENFORCER_PUBLIC_CERT_PATH`: certificate of the servers, and towards the adapter.
    pub certificate: PathBuf,
    /// `TRUSTED_CA_CERTS_PATH`: a file or a folder that is searched with its sub-folders.
    pub trust: PathBuf,
    /// `TRUST_DEFAULT_CERTS` (true): calls to the outside trust the system's roots as well.
    pub trust_system: bool,
    /// `OPA_CLIENT_PRIVATE_KEY_PATH`, else the enforcer's own.
    pub opa_private_key: PathBuf,
    /// `OPA_CLIENT_PUBLIC_CERT_PATH`, else the enforcer's own.
    pub opa_certificate: PathBuf,
    /// `ADAPTER_HOST` (`adapter`) and `ADAPTER_XDS_PORT` (18000): discovery.
    pub adapter: HostPort,
    /// `ADAPTER_HOST_NAME` (`adapter`): the name that the adapter's certificate holds.
    pub adapter_server_name: String,
    /// `XDS_MAX_MSG_SIZE` (4194304): greatest discovery message in bytes.
    pub max_message_bytes: usize,
    /// `XDS_RETRY_PERIOD` (15): most seconds between two attempts to reach the adapter, of which the enforcer lets one pass at most.
    pub retry_period: Duration,
}

/// What the adapter reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterEnv {
    /// What every process reads.
    pub process: ProcessEnv,
    /// `TRIREME_ADAPTER_XDS_BIND`, else every address and `ADAPTER_XDS_PORT` (18000).
    pub xds_bind: SocketAddr,
    /// `TRIREME_ADAPTER_REST_BIND`: replaces `adapter.server.host` and `adapter.server.port`.
    pub rest_bind: Option<SocketAddr>,
    /// `TRIREME_ADAPTER_ADMIN_BIND` (127.0.0.1:9003).
    pub admin_bind: SocketAddr,
}

impl RouterEnv {
    /// Reads the router's variables; fails with every one that cannot be used.
    pub fn read(env: &Env) -> Result<Self, Vec<ConfigError>> {
        let mut read = Reader {
            env,
            errors: Vec::new(),
        };
        let adapter = HostPort {
            host: read.text("ADAPTER_HOST", "adapter"),
            port: read.value("ADAPTER_PORT", 18000),
        };
        let enforcer = HostPort {
            host: read.text("ENFORCER_HOST", "enforcer"),
            port: read.value("ENFORCER_PORT", 8081),
        };
        let admin_default = SocketAddr::new(
            read.address("ROUTER_ADMIN_HOST", LOOPBACK),
            read.value("ROUTER_ADMIN_PORT", 9000),
        );
        let read_env = Self {
            process: ProcessEnv::read(
                &mut read,
                &[
                    ("ENFORCER_ANALYTICS_HOST", &enforcer.host),
                    ("ENFORCER_ANALYTICS_RECEIVER_PORT", "18090"),
                    ("TRAILING_ARGS", ""),
                ],
            ),
            label: read.text("ROUTER_LABEL", "Default"),
            cluster: read.text("ROUTER_CLUSTER", "default_cluster"),
            admin_bind: read.bind("TRIREME_ROUTER_ADMIN_BIND").unwrap_or(admin_default),
            http_bind: read.bind("TRIREME_ROUTER_HTTP_BIND"),
            https_bind: read.bind("TRIREME_ROUTER_HTTPS_BIND"),
            handover: env.get("TRIREME_ROUTER_HANDOVER").map(PathBuf::from),
            private_key: read.path("ROUTER_PRIVATE_KEY_PATH", KEY),
            certificate: read.path("ROUTER_PUBLIC_CERT_PATH", CERTIFICATE),
            adapter_server_name: read.text("ADAPTER_HOST_NAME", "adapter"),
            adapter_ca: read.path("ADAPTER_CA_CERT_PATH", TRUSTED_CERTIFICATE),
            enforcer_rest: HostPort {
                host: enforcer.host.clone(),
                port: read.value("ENFORCER_REST_PORT", 9001),
            },
            analytics: HostPort {
                host: read.text("ENFORCER_ANALYTICS_HOST", &enforcer.host),
                port: read.value("ENFORCER_ANALYTICS_RECEIVER_PORT", 18090),
            },
            enforcer_server_name: read.text("ENFORCER_HOST_NAME", "enforcer"),
            enforcer_ca: read.path("ENFORCER_CA_CERT_PATH", TRUSTED_CERTIFICATE),
            adapter,
            enforcer,
        };
        read.finish(read_env)
    }
}

impl EnforcerEnv {
    /// Reads the enforcer's variables; fails with every one that cannot be used.
    pub fn read(env: &Env) -> Result<Self, Vec<ConfigError>> {
        let mut read = Reader {
            env,
            errors: Vec::new(),
        };
        let private_key = read.path("ENFORCER_PRIVATE_KEY_PATH", KEY);
        let certificate = read.path("ENFORCER_PUBLIC_CERT_PATH", CERTIFICATE);
        let read_env = Self {
            process: ProcessEnv::read(
                &mut read,
                &[
                    ("ENFORCER_REGION", "UNKNOWN"),
                    ("JAVA_OPTS", ""),
                    ("OPA_CLIENT_PRIVATE_KEY_PATH", ""),
                    ("OPA_CLIENT_PUBLIC_CERT_PATH", ""),
                    ("XDS_MAX_MSG_SIZE", "4194304"),
                    ("XDS_MAX_RETRIES", "3"),
                ],
            ),
            label: read.text("ENFORCER_LABEL", "Default"),
            region: read.text("ENFORCER_REGION", "UNKNOWN"),
            grpc_bind: read.bind("TRIREME_ENFORCER_GRPC_BIND"),
            rest_bind: read
                .bind("TRIREME_ENFORCER_REST_BIND")
                .unwrap_or(SocketAddr::new(ANY, 9001)),
            admin_bind: read
                .bind("TRIREME_ENFORCER_ADMIN_BIND")
                .unwrap_or(SocketAddr::new(LOOPBACK, 9002)),
            trust: read.path("TRUSTED_CA_CERTS_PATH", TRUSTSTORE),
            trust_system: read.truth("TRUST_DEFAULT_CERTS", true),
            opa_private_key: env
                .get("OPA_CLIENT_PRIVATE_KEY_PATH")
                .map_or_else(|| private_key.clone(), PathBuf::from),
            opa_certificate: env
                .get("OPA_CLIENT_PUBLIC_CERT_PATH")
                .map_or_else(|| certificate.clone(), PathBuf::from),
            private_key,
            certificate,
            adapter: HostPort {
                host: read.text("ADAPTER_HOST", "adapter"),
                port: read.value("ADAPTER_XDS_PORT", 18000),
            },
            adapter_server_name: read.text("ADAPTER_HOST_NAME", "adapter"),
            max_message_bytes: read.value("XDS_MAX_MSG_SIZE", 4_194_304),
            retry_period: Duration::from_secs(read.value::<u32>("XDS_RETRY_PERIOD", 15).into()),
        };
        read.finish(read_env)
    }
}

impl AdapterEnv {
    /// Reads the adapter's variables; fails with every one that cannot be used.
    pub fn read(env: &Env) -> Result<Self, Vec<ConfigError>> {
        let mut read = Reader {
            env,
            errors: Vec::new(),
        };
        let xds_default = SocketAddr::new(ANY, read.value("ADAPTER_XDS_PORT", 18000));
        let read_env = Self {
            process: ProcessEnv::read(&mut read, &[]),
            xds_bind: read.bind("TRIREME_ADAPTER_XDS_BIND").unwrap_or(xds_default),
            rest_bind: read.bind("TRIREME_ADAPTER_REST_BIND"),
            admin_bind: read
                .bind("TRIREME_ADAPTER_ADMIN_BIND")
                .unwrap_or(SocketAddr::new(LOOPBACK, 9003)),
        };
        read.finish(read_env)
    }
}

impl ProcessEnv {
    /// `meaningless`: name, and the value that says nothing.
    fn read(read: &mut Reader<'_>, meaningless: &[(&'static str, &str)]) -> Self {
        let workers = if read.env.get("TRIREME_WORKERS").is_some() {
            "TRIREME_WORKERS"
        } else {
            "CONCURRENCY"
        };
        Self {
            home: home(read.env),
            conf: conf(read.env),
            state_dir: read.env.get("TRIREME_STATE_DIR").map(PathBuf::from),
            bound_file: read.env.get("TRIREME_BOUND_FILE").map(PathBuf::from),
            allow_default_credentials: read.truth(ALLOW_DEFAULT_CREDENTIALS, false),
            exit_on_stdin_eof: read.truth("TRIREME_EXIT_ON_STDIN_EOF", false),
            workers: read.optional(workers),
            instance: read.text("HOSTNAME", "Unassigned"),
            ignored: meaningless
                .iter()
                .filter(|(name, usual)| read.env.get(name).is_some_and(|text| text != *usual))
                .map(|(name, _)| *name)
                .collect(),
        }
    }
}

/// Whether a login is the one of the original's manifests and documentation: `admin` with the password `admin`.
#[must_use]
pub fn is_default_login(username: &str, password: &str) -> bool {
    (username, password) == ("admin", "admin")
}

fn home(env: &Env) -> PathBuf {
    let named = |name| env.get(name).filter(|home| !home.trim().is_empty());
    named("MGW_HOME")
        .or_else(|| named("CC_HOME"))
        .map_or_else(PathBuf::new, PathBuf::from)
}

/// Where `config.toml` is when the command line does not say.
pub(crate) fn conf(env: &Env) -> PathBuf {
    env.get("TRIREME_CONF")
        .map_or_else(|| home(env).join("conf").join("config.toml"), PathBuf::from)
}

/// Reads variables and collects what is wrong with them.
struct Reader<'a> {
    env: &'a Env,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    fn text(&self, name: &str, default: &str) -> String {
        self.env.get(name).unwrap_or(default).to_owned()
    }

    fn path(&self, name: &str, default: &str) -> PathBuf {
        PathBuf::from(self.env.get(name).unwrap_or(default))
    }

    fn value<T: FromStr>(&mut self, name: &str, default: T) -> T {
        self.optional(name).unwrap_or(default)
    }

    fn optional<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let text = self.env.get(name)?;
        let value = text.trim().parse().ok();
        if value.is_none() {
            self.wrong(name, format!("{text:?} is not a number in range"));
        }
        value
    }

    fn truth(&mut self, name: &str, default: bool) -> bool {
        let Some(text) = self.env.get(name) else {
            return default;
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "1" | "t" | "true" | "yes" => true,
            "0" | "f" | "false" | "no" => false,
            _ => {
                self.wrong(name, format!("{text:?} is neither true nor false"));
                default
            }
        }
    }

    fn address(&mut self, name: &str, default: IpAddr) -> IpAddr {
        let Some(text) = self.env.get(name) else {
            return default;
        };
        bind_address(text).unwrap_or_else(|| {
            self.wrong(name, format!("{text:?} is not an address to bind"));
            default
        })
    }

    /// `address:port`, `localhost:port` or `:port`.
    fn bind(&mut self, name: &str) -> Option<SocketAddr> {
        let text = self.env.get(name)?.trim();
        let bind = text
            .rsplit_once(':')
            .and_then(|(host, port)| Some(SocketAddr::new(bind_address(host)?, port.parse().ok()?)));
        if bind.is_none() {
            self.wrong(name, format!("{text:?} is not address:port"));
        }
        bind
    }

    fn wrong(&mut self, name: &str, reason: String) {
        self.errors.push(ConfigError::Variable {
            name: name.to_owned(),
            reason,
        });
    }

    fn finish<T>(self, value: T) -> Result<T, Vec<ConfigError>> {
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(self.errors)
        }
    }
}

#[cfg(test)]
mod tests;
