//! The command line, the same for all but `--strict`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction, Command};

/// Exit status of wrong arguments and of settings that cannot be used (`EX_USAGE` of sysexits.h).
pub(crate) const USAGE: u8 = 64;

/// What `--help` says of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Texts {
    /// Its name: `trireme-router`.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// What `--check` does.
    pub(crate) check: &'static str,
    /// What `--strict` does, where there is such a thing.
    pub(crate) strict: Option<&'static str>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Look at what is read, and end.
    pub(crate) check: bool,
    /// Warnings are errors.
    pub(crate) strict: bool,
    /// Ask the running process whether it is ready, and end.
    pub(crate) health: bool,
}

impl Arguments {
    /// Fails with the exit status of what was printed instead: help, version, or what is wrong.
    pub(crate) fn parse(
        texts: Texts,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, ExitCode> {
        let found = command(texts).try_get_matches_from(arguments).map_err(|error| {
            // Nobody is left to tell when this fails.
            error.print().unwrap_or_default();
            if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            }
        })?;
        if found.get_flag("check") && found.contains_id("action") {
            eprintln!("{}: --check and health are two things to ask for", texts.name);
            return Err(ExitCode::from(USAGE));
        }
        Ok(Self {
            check: found.get_flag("check"),
            // Whether an argument was declared is not told the same way in every build.
            strict: texts.strict.is_some() && found.get_flag("strict"),
            health: found.contains_id("action"),
        })
    }
}

pub(crate) fn command(texts: Texts) -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
    };
    let health = PossibleValue::new("health").help(format!(
        "Ask the running {} of this environment whether it is ready; the exit status tells",
        texts.name.trim_start_matches("trireme-")
    ));
    Command::new(texts.name)
        .version(env!("CARGO_PKG_VERSION"))
        .about(texts.about)
        .arg(flag("check", texts.check))
        .args(texts.strict.map(|help| flag("strict", help)))
        .arg(
            Arg::new("action")
                .value_name("ACTION")
                .help("Something else than to run")
                .value_parser(PossibleValuesParser::new([health])),
        )
}
