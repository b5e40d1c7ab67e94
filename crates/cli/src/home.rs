//! The data folder of `trireme up`: where certificates, configuration, state and addresses lie, and how they are made.
//!
//! ```text
//! DIR/conf/config.toml, log_config.toml     made once, then the user's
//! DIR/security/authority/                   the private CA
//! DIR/security/keystore/mg.{key,pem}        listener certificate and token signing key
//! DIR/security/keystore/<process>.{key,pem} identity of each process towards the others
//! DIR/security/truststore/ca.pem            what all of them trust
//! DIR/security/credentials.json             passwords, made once, 0600
//! DIR/artifacts/apis/                       projects put here are deployed
//! DIR/state/                                store and last good snapshots
//! DIR/run/<process>.json                    pid and bound addresses of the running processes
//! DIR/run/lock                              held by the running gateway
//! ```

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};
use trireme_config::Env;
use trireme_tls::authority::{Authority, write_public};

/// Key pairs in the keystore: the listener's, and one for each process.
pub(crate) const IDENTITIES: [&str; 4] = ["mg", "adapter", "enforcer", "router"];

/// One of the three processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Adapter,
    Enforcer,
    Router,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Adapter => "adapter",
            Self::Enforcer => "enforcer",
            Self::Router => "router",
        }
    }
}

/// Users and passwords that this data folder was made with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// User of the management API and of the test token service.
    pub(crate) username: String,
    /// Password of the management API.
    pub(crate) adapter_password: String,
    /// Password of the test token service.
    pub(crate) token_password: String,
}

/// What a running process wrote down about itself.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// Sockets by name: `http`, `https`, `admin`, `grpc`, `rest`, `xds`.
    pub(crate) addresses: BTreeMap<String, SocketAddr>,
}

impl Bound {
    pub(crate) fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let found = self.addresses.get(name).copied();
        found.ok_or_else(|| anyhow!("no address named {name} among {:?}", self.addresses))
    }
}

/// An opened data folder.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// Names the folder without touching it.
    pub(crate) fn locate(given: Option<&Path>) -> anyhow::Result<Self> {
        let root = match given {
            Some(path) => std::path::absolute(path).context("data folder")?,
            None => directories::ProjectDirs::from("", "", "trireme")
                .ok_or_else(|| anyhow!("no home directory; name a folder with --data"))?
                .data_dir()
                .to_path_buf(),
        };
        Ok(Self { root })
    }

    /// Takes the folder for this process, as long as the file that is returned is open: two gateways in one folder would
    /// overwrite each other's state.
    pub(crate) fn occupy(&self) -> anyhow::Result<File> {
        let path = self.path("run/lock");
        std::fs::create_dir_all(self.path("run")).with_context(|| self.path("run").display().to_string())?;
        let mut options = std::fs::OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options
            .mode(0o600)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                drop(file.read_to_string(&mut pid));
                bail!(
                    "a gateway runs in {} already (process {}); stop it, or choose another folder with --data",
                    self.root.display(),
                    pid.trim()
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).context(path.display().to_string()),
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(file)
    }

    /// Makes everything that is missing; keeps everything that is there.
    pub(crate) fn prepare(&self) -> anyhow::Result<Credentials> {
        for folder in [
            "conf",
            "security/keystore",
            "security/truststore",
            "artifacts/apis",
            "state",
            "run",
        ] {
            let path = self.root.join(folder);
            std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        self.certificates()?;
        let credentials = self.make_credentials()?;
        self.write_once("conf/config.toml", 0o644, || Ok(self.config()))?;
        self.write_once("conf/log_config.toml", 0o644, || {
            Ok(include_str!("../../../conf/log_config.toml").to_owned())
        })?;
        Ok(credentials)
    }

    /// The passwords of a folder that was prepared before.
    pub(crate) fn credentials(&self) -> anyhow::Result<Credentials> {
        let path = self.path("security/credentials.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{}: is there a gateway in this folder?", path.display()))?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// What a running process wrote down; absent when it has not (yet).
    pub(crate) fn bound(&self, role: Role) -> Option<Bound> {
        let text = std::fs::read(self.bound_file(role)).ok()?;
        let facts: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&text).ok()?;
        // The process id stands among them and is no address.
        let address = |(name, fact): (String, serde_json::Value)| Some((name, fact.as_str()?.parse().ok()?));
        Some(Bound {
            addresses: facts.into_iter().filter_map(address).collect(),
        })
    }

    /// What a process of the gateway that runs here wrote down. What one that was killed left behind doesn't count.
    pub(crate) fn running(&self, role: Role) -> anyhow::Result<Bound> {
        let taken = File::open(self.path("run/lock"))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
        self.bound(role)
            .filter(|_| taken)
            .with_context(|| format!("no gateway runs in {}", self.root.display()))
    }

    pub(crate) fn bound_file(&self, role: Role) -> PathBuf {
        self.path(&format!("run/{}.json", role.name()))
    }

    /// The host by which the gateway's own pages are called (`router.systemHost`, as configured for this folder).
    pub(crate) fn system_host(&self) -> String {
        let path = self.path("conf/config.toml");
        // The passwords are the processes' own affair, and the file is not to be found faulty for the want of them.
        let env = ["adapter_admin_pwd", "enforcer_admin_pwd"]
            .iter()
            .fold(Env::from_process(), |env, name| env.with(name, "-"));
        let loaded = trireme_config::check(Some(&path), &env, false);
        let host = loaded.map(|loaded| loaded.config.router.system_host);
        // What cannot be read is told by the adapter.
        host.ok()
            .filter(|host| !host.is_empty())
            .unwrap_or_else(|| "localhost".to_owned())
    }

    /// Where a router finds the one that was here before.
    pub(crate) fn handover_file(&self) -> PathBuf {
        self.path("run/router.sock")
    }

    pub(crate) fn authority_certificate(&self) -> PathBuf {
        self.path("security/truststore/ca.pem")
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.path(&format!("security/keystore/{name}.key"))
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.path(&format!("security/keystore/{name}.pem"))
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    fn certificates(&self) -> anyhow::Result<()> {
        let authority = Authority::open_or_create(&self.path("security/authority"))?;
        write_public(&self.authority_certificate(), authority.certificate())?;
        for name in IDENTITIES {
            authority.ensure(name, &self.key(name), &self.certificate(name))?;
        }
        Ok(())
    }

    fn make_credentials(&self) -> anyhow::Result<Credentials> {
        self.write_once("security/credentials.json", 0o600, || {
            let made = Credentials {
                username: "admin".into(),
                adapter_password: uuid::Uuid::new_v4().simple().to_string(),
                token_password: uuid::Uuid::new_v4().simple().to_string(),
            };
            Ok(serde_json::to_string_pretty(&made)?)
        })?;
        self.credentials()
    }

    /// Writes a file that is not there yet, whole or not at all.
    fn write_once(
        &self,
        inside: &str,
        mode: u32,
        content: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let path = self.path(inside);
        if path.exists() {
            return Ok(());
        }
        let draft = path.with_extension("new");
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&draft)
            .and_then(|mut file| {
                file.write_all(content().map_err(std::io::Error::other)?.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&draft, &path))
            .with_context(|| path.display().to_string())
    }

    fn config(&self) -> String {
        let quoted = |path: PathBuf| serde_json::Value::from(path.display().to_string()).to_string();
        format!(
            r#"# Configuration of this gateway; made once by `trireme up`, yours to edit. Every key: conf/config.toml.template.

[adapter]
artifactsDirectory = {artifacts}

[adapter.server]
enabled = true
host = "127.0.0.1"
port = "9843"
tokenPrivateKeyPath = {key}

[[adapter.server.users]]
username = "admin"
password = "$env{{adapter_admin_pwd}}"

[adapter.keystore]
keyPath = {adapter_key}
certPath = {adapter_certificate}

[adapter.truststore]
location = {trust}

[router]
listenerHost = "127.0.0.1"
listenerPort = 9090
securedListenerHost = "127.0.0.1"
securedListenerPort = 9095
systemHost = "localhost"

[router.keystore]
keyPath = {key}
certPath = {certificate}

[enforcer.jwtIssuer]
enabled = true
issuer = "https://localhost:9095/testkey"
publicCertificatePath = {certificate}
privateKeyPath = {key}

[[enforcer.jwtIssuer.jwtUser]]
username = "admin"
password = "$env{{enforcer_admin_pwd}}"

[[enforcer.security.tokenService]]
name = "MGW"
issuer = "https://localhost:9095/testkey"
certificateAlias = "mgw"
jwksURL = ""
validateSubscription = false
consumerKeyClaim = ""
certificateFilePath = {certificate}
"#,
            artifacts = quoted(self.path("artifacts")),
            key = quoted(self.key("mg")),
            certificate = quoted(self.certificate("mg")),
            adapter_key = quoted(self.key("adapter")),
            adapter_certificate = quoted(self.certificate("adapter")),
            trust = quoted(self.path("security/truststore")),
        )
    }
}

/// Lays out certificates for docker-compose under `resources`, as the original ships them:
/// `<process>/security/keystore/mg.{key,pem}` and `<process>/security/truststore/mg.pem`, which holds the process's own
/// certificate (first, it verifies test tokens) and the CA. What is there and good is kept.
pub(crate) fn resources(resources: &Path) -> anyhow::Result<()> {
    let authority = Authority::open_or_create(&resources.join("authority/security"))?;
    for process in ["adapter", "enforcer", "router"] {
        let security = resources.join(process).join("security");
        let (keystore, truststore) = (security.join("keystore"), security.join("truststore"));
        for folder in [&keystore, &truststore] {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let certificate = keystore.join("mg.pem");
        authority.ensure(process, &keystore.join("mg.key"), &certificate)?;
        let own = std::fs::read_to_string(&certificate).with_context(|| certificate.display().to_string())?;
        write_public(
            &truststore.join("mg.pem"),
            format!("{own}{}", authority.certificate()),
        )?;
    }
    Ok(())
}
