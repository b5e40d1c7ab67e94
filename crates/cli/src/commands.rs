//! The commands beside `up`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::args::{
    CertsOptions, DeployOptions, InitOptions, ListOptions, TokenOptions, UndeployOptions, ValidateOptions,
};
use crate::client::{Adapter, Deployed, Progress};
use crate::home::{Home, Role};
use crate::{client, home, project, secrets};

/// Exit status of a command whose input was read and found wanting.
const REFUSED: u8 = 2;

/// Prints a line on standard output; a closed pipe is not an error.
pub(crate) fn say(line: impl std::fmt::Display) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

pub(crate) async fn deploy(options: DeployOptions) -> anyhow::Result<ExitCode> {
    let adapter = Adapter::of(&options.target)?;
    let mut code = ExitCode::SUCCESS;
    for path in &options.paths {
        let archive = match project::archive(path) {
            Ok(archive) => archive,
            Err(error) => {
                say(format_args!("{}: {error:#}", path.display()));
                code = ExitCode::from(REFUSED);
                continue;
            }
        };
        match adapter.deploy(archive, !options.no_override).await? {
            Deployed::Accepted(receipt) => {
                say(format_args!("{}: {receipt}", path.display()));
                if !receipt.is_served() {
                    code = ExitCode::from(REFUSED);
                }
            }
            Deployed::Refused(status, refusal) => {
                say(format_args!("{}: refused, {status}: {refusal}", path.display()));
                code = ExitCode::from(REFUSED);
            }
        }
    }
    Ok(code)
}

/// One deployed API on one virtual host.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(rename = "apiName")]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default, rename = "apiType")]
    kind: String,
    #[serde(default)]
    context: String,
    #[serde(default, rename = "gateway-envs")]
    environments: Vec<String>,
    #[serde(default)]
    vhost: String,
    #[serde(default)]
    status: Progress,
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    list: Option<Vec<Listed>>,
}

pub(crate) async fn list(options: ListOptions) -> anyhow::Result<ExitCode> {
    let body = Adapter::of(&options.target)?.list().await?;
    if options.json {
        say(String::from_utf8_lossy(&body));
        return Ok(ExitCode::SUCCESS);
    }
    let answer: List = serde_json::from_slice(&body).context("the adapter's list")?;
    let mut apis = answer.list.unwrap_or_default();
    apis.sort_by(|a, b| (&a.name, &a.version, &a.vhost).cmp(&(&b.name, &b.version, &b.vhost)));
    say(format_args!(
        "{:<32} {:<12} {:<8} {:<32} {:<20} {:<24} STATUS",
        "NAME", "VERSION", "TYPE", "CONTEXT", "ENVIRONMENTS", "VHOST"
    ));
    for api in apis {
        let environments = api.environments.join(",");
        say(format_args!(
            "{:<32} {:<12} {:<8} {:<32} {environments:<20} {:<24} {}",
            api.name, api.version, api.kind, api.context, api.vhost, api.status
        ));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn undeploy(options: UndeployOptions) -> anyhow::Result<ExitCode> {
    let adapter = Adapter::of(&options.target)?;
    let vhost = options.vhost.as_deref().unwrap_or_default();
    adapter
        .undeploy(
            &options.name,
            &options.version,
            vhost,
            &options.environments.join(":"),
        )
        .await?;
    say(format_args!("{} {}: removed", options.name, options.version));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn validate(options: &ValidateOptions) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for path in &options.paths {
        let report = match project::validate(path) {
            Ok(report) => report,
            Err(error) => {
                say(format_args!("{}: {error:#}", path.display()));
                code = ExitCode::from(REFUSED);
                continue;
            }
        };
        for finding in &report.findings {
            say(format_args!("{}: {finding}", path.display()));
        }
        match report.summary {
            Some(summary) => say(format_args!("{}: {summary}", path.display())),
            None => {
                say(format_args!("{}: refused", path.display()));
                code = ExitCode::from(REFUSED);
            }
        }
    }
    Ok(code)
}

pub(crate) fn init(options: &InitOptions) -> anyhow::Result<ExitCode> {
    if options.folder.exists() && !options.force {
        bail!("{} exists; --force writes into it", options.folder.display());
    }
    let files = project::scaffold(&options.definition)?;
    if options.folder.exists() {
        lay_out(&options.folder, &files)?;
    } else {
        // Beside it first: what goes wrong half-way leaves nothing that the next try would stumble over.
        let name = options.folder.file_name().context("a folder without a name")?;
        let beside = options
            .folder
            .with_file_name(format!(".{}.{}", name.display(), std::process::id()));
        let made = lay_out(&beside, &files).and_then(|()| {
            std::fs::rename(&beside, &options.folder).with_context(|| options.folder.display().to_string())
        });
        if made.is_err() {
            // The first error says more.
            drop(std::fs::remove_dir_all(&beside));
        }
        made?;
    }
    let count = files.iter().filter(|(inside, _)| !inside.ends_with('/')).count();
    say(format_args!("{}: {count} files", options.folder.display()));
    Ok(ExitCode::SUCCESS)
}

/// Writes files below a folder; a name that ends in `/` is an empty folder.
fn lay_out(folder: &Path, files: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    for (inside, content) in files {
        let path = folder.join(inside);
        let is_folder = inside.ends_with('/');
        if let Some(parent) = if is_folder { Some(&*path) } else { path.parent() } {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        if !is_folder {
            std::fs::write(&path, content).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

pub(crate) async fn token(options: TokenOptions) -> anyhow::Result<ExitCode> {
    let home = Home::locate(options.data.as_deref())?;
    let foreign = options.gateway.is_some() && options.data.is_none();
    let gateway = match &options.gateway {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let bound = home
                .running(Role::Router)
                .context("name a gateway with --gateway, or a folder with --data")?;
            format!("https://localhost:{}", bound.address("https")?.port())
        }
    };
    let (username, password) = match (options.username, options.password) {
        (Some(username), Some(password)) => (username, password),
        _ if foreign => bail!("name --username and --password for the gateway, or its --data"),
        (username, password) => {
            let own = home.credentials().context("name --username and --password")?;
            (
                username.unwrap_or(own.username),
                password.unwrap_or(own.token_password),
            )
        }
    };
    let http = client::http(client::trusted(&home, foreign).as_deref(), options.insecure)?;
    // A gateway of another folder is called by its own name.
    let host = options.gateway.is_none().then(|| home.system_host());
    let scope = options.scope.as_deref();
    say(client::token(&http, &gateway, host.as_deref(), &username, &password, scope).await?);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn certs(options: &CertsOptions) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &options.resources {
        home::resources(folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &options.secrets {
        for path in secrets::write(folder, &options.kubernetes)? {
            say(path.display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let home = Home::locate(options.data.as_deref())?;
    for name in home::IDENTITIES {
        let (key, certificate) = (home.key(name), home.certificate(name));
        let settings = trireme_tls::Settings {
            key,
            certificate: certificate.clone(),
            trust: vec![home.authority_certificate()],
            ..Default::default()
        };
        let facts = trireme_tls::Material::load(settings)?
            .facts()
            .context("no certificate")?;
        let days = facts.remaining(SystemTime::now()).as_secs() / (24 * 3600);
        let names = facts.names.join(",");
        say(format_args!(
            "{name:<9} {names:<36} {days:>5} days left  {}",
            certificate.display()
        ));
    }
    say(format_args!(
        "{:<9} {}",
        "trusted",
        home.authority_certificate().display()
    ));
    Ok(ExitCode::SUCCESS)
}
