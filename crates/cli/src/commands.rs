//! The commands beside `up`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::args::{
    CertsOptions, DeployOptions, InitOptions, ListOptions, TokenOptions, UndeployOptions, ValidateOptions,
};
use crate::client::{Adapter, Deployed, Progress};
use crate::home::{Home, Role};
use crate::{client, home, project};

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
    for (inside, content) in &files {
        let path = options.folder.join(inside);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        std::fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    say(format_args!(
        "{}: {} files",
        options.folder.display(),
        files.len()
    ));
    Ok(ExitCode::SUCCESS)
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
    say(client::token(&http, &gateway, &username, &password, options.scope.as_deref()).await?);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn certs(options: &CertsOptions) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &options.resources {
        home::resources(folder)?;
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
