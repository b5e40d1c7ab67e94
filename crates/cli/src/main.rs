//! The `trireme` command: one gateway on one machine, and the tools around it.
//!
//! `trireme up` starts router, enforcer and adapter as child processes of this very executable (`trireme router`, …),
//! joined by mutual TLS with certificates it makes, deploys the given APIs and supervises the three. The other commands
//! talk to an adapter's management API or look at files; none of them holds gateway logic.
//!
//! Read [`up`] first.

mod args;
mod client;
mod commands;
mod home;
mod project;
mod secrets;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    // The three processes parse what follows their name themselves.
    let mut words = std::env::args_os();
    let program = words.next();
    match words.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("router") => return trireme_router::main_from(rest("trireme router", words)),
        Some("enforcer") => return trireme_enforcer::main_from(rest("trireme enforcer", words)),
        Some("adapter") => return trireme_adapter::main_from(rest("trireme adapter", words)),
        _ => drop(program),
    }
    let args = Args::parse();
    match run(args.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("trireme: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn rest(name: &str, words: std::env::ArgsOs) -> Vec<std::ffi::OsString> {
    std::iter::once(name.into()).chain(words).collect()
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match command {
            Command::Up(options) => up::run(options).await,
            Command::Certs(options) => commands::certs(&options),
            Command::Deploy(options) => commands::deploy(options).await,
            Command::Init(options) => commands::init(&options),
            Command::List(options) => commands::list(options).await,
            Command::Token(options) => commands::token(options).await,
            Command::Undeploy(options) => commands::undeploy(options).await,
            Command::Validate(options) => commands::validate(&options),
            // Taken before clap; here so that they appear in the help.
            Command::Adapter | Command::Enforcer | Command::Router => Ok(ExitCode::FAILURE),
        }
    })
}
