//! Finds, reads and checks the files.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, Error as TomlError};

use crate::effect::{self, without_effect};
use crate::env::Env;
use crate::error::{ConfigError, Warning};
use crate::overlay::{Findings, Overlay};
use crate::schema::Section;
use crate::sections::{Config, LogConfig};
use crate::variables;
use crate::{overrides, rules};

/// Greatest size of a file.
const GREATEST_FILE: u64 = 4 * 1024 * 1024;
/// Most syntax errors that are looked at in one file.
const MOST_SYNTAX_ERRORS: usize = 100;
/// Name of the file of log settings.
pub const LOG_FILE: &str = "log_config.toml";

/// A configuration and what is worth saying about it at start.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T = Config> {
    /// The settings.
    pub config: T,
    /// The file they were read from.
    pub file: PathBuf,
    /// What is odd about it: the file in the order of the schema, then the variables.
    pub warnings: Vec<Warning>,
    /// Keys that were set and whose feature this version lacks, in order. Keys of a feature that is switched off are
    /// not listed.
    pub without_effect: Vec<String>,
}

/// Reads `config.toml`: `path`, or the file that [`TRIREME_CONF`](crate::ProcessEnv::conf) names, or
/// `conf/config.toml` in the home folder. Fails with everything that is wrong at once.
pub fn load(path: Option<&Path>, env: &Env) -> Result<Loaded, Vec<ConfigError>> {
    let file = path.map_or_else(|| variables::conf(env), Path::to_owned);
    let text = read(&file).map_err(|source| {
        vec![ConfigError::Unreadable {
            file: file.clone(),
            source,
        }]
    })?;
    load_text(&text, &file, env)
}

/// As [`load`], from the text of a file; `file` is named in messages only.
pub fn load_text(text: &str, file: &Path, env: &Env) -> Result<Loaded, Vec<ConfigError>> {
    let mut config = Config::default();
    let mut findings = Findings::default();
    parse(&mut config, text, file, env, &mut findings)?;
    overrides::apply(&mut config, env, &mut findings);
    rules::apply(&mut config, file, env, &mut findings);
    if !findings.errors.is_empty() {
        return Err(findings.errors);
    }
    let without_effect = without_effect(&mut config, effect::CONFIG, &findings.set);
    Ok(Loaded {
        config,
        file: file.to_owned(),
        warnings: findings.warnings,
        without_effect,
    })
}

/// As [`load`]; with `strict`, warnings become errors, those about deprecated keys excepted. Behind `--check`, which
/// prints the outcome and exits, and `--strict`.
pub fn check(path: Option<&Path>, env: &Env, strict: bool) -> Result<Loaded, Vec<ConfigError>> {
    let mut loaded = load(path, env)?;
    if !strict {
        return Ok(loaded);
    }
    let (fatal, remaining): (Vec<_>, Vec<_>) = loaded
        .warnings
        .into_iter()
        .partition(Warning::is_error_when_strict);
    if !fatal.is_empty() {
        return Err(fatal.into_iter().map(ConfigError::Strict).collect());
    }
    loaded.warnings = remaining;
    Ok(loaded)
}

/// Reads `log_config.toml`: `path`, or the file that `LOG_CONFIG_PATH` names, or the one beside `config.toml`. A file
/// that cannot be used gives the defaults and a warning; one that is not there, at a place nobody named, just the
/// defaults.
pub fn load_log(path: Option<&Path>, env: &Env) -> Loaded<LogConfig> {
    let named = path
        .map(Path::to_owned)
        .or_else(|| env.get("LOG_CONFIG_PATH").map(PathBuf::from));
    let expected = named.is_some();
    let file = named.unwrap_or_else(|| variables::conf(env).with_file_name(LOG_FILE));
    let mut loaded = Loaded {
        config: LogConfig::default(),
        file: file.clone(),
        warnings: Vec::new(),
        without_effect: Vec::new(),
    };
    let unusable = |reason: String| Warning::UnusableFile {
        file: file.clone(),
        reason,
    };
    let text = match read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !expected => return loaded,
        Err(error) => {
            loaded.warnings.push(unusable(format!("cannot be read: {error}")));
            return loaded;
        }
    };
    let mut findings = Findings::default();
    let mut config = LogConfig::default();
    if let Err(errors) = parse(&mut config, &text, &file, env, &mut findings) {
        findings.errors = errors;
    }
    loaded.warnings = findings.warnings;
    if findings.errors.is_empty() {
        loaded.without_effect = without_effect(&mut config, effect::LOG, &findings.set);
        loaded.config = config;
    } else {
        loaded
            .warnings
            .extend(findings.errors.iter().map(|error| unusable(error.to_string())));
    }
    loaded
}

/// Lays the text over `root`. Fails on text that is not TOML; all else is in `findings`.
fn parse<T: Section + Default>(
    root: &mut T,
    text: &str,
    file: &Path,
    env: &Env,
    findings: &mut Findings,
) -> Result<(), Vec<ConfigError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax(&errors, text, file));
    }
    Overlay::run(root, table.get_ref(), (file, text), env, findings);
    Ok(())
}

/// The first error of each line: later ones tend to follow from it. The parser's own rendering quotes the line, which
/// may hold a password; only its message is used.
fn syntax(errors: &[TomlError], text: &str, file: &Path) -> Vec<ConfigError> {
    let mut by_line = BTreeMap::new();
    for error in errors.iter().take(MOST_SYNTAX_ERRORS) {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let first = by_line.entry(line).or_insert((column, error));
        if column < first.0 {
            *first = (column, error);
        }
    }
    by_line
        .into_iter()
        .map(|(line, (column, error))| ConfigError::Syntax {
            file: file.to_owned(),
            line,
            column,
            reason: error.message().to_owned(),
        })
        .collect()
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let size = std::fs::File::open(file)?
        .take(GREATEST_FILE + 1)
        .read_to_string(&mut text)?;
    if u64::try_from(size).is_ok_and(|size| size > GREATEST_FILE) {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            "more than 4 MiB",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
