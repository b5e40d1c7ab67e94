//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

use crate::secret::SecretError;

/// Keys, and what is wrong with them.
pub(crate) type Broken = Vec<(String, String)>;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default of a key that this file does not set.
    Default {
        /// The file.
        path: PathBuf,
    },
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// In an override variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default { path } => write!(f, "{} (default)", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// Why a configuration cannot be used. A process prints all of them and exits with 64.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value or a combination of values that cannot work.
    #[error("{origin}: {key}: {reason}")]
    Invalid {
        /// Where it was written.
        origin: Origin,
        /// Key path.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A secret that is needed has no value.
    #[error("{origin}: {key}: has no value")]
    Secret {
        /// Where it was written.
        origin: Origin,
        /// Key path.
        key: String,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// A warning, under `--strict`.
    #[error("{0}")]
    Strict(Warning),
    /// The file is not TOML.
    #[error("{}:{line}:{column}: {reason}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// An environment variable of the process has a value that cannot be used.
    #[error("environment variable {name}: {reason}")]
    Variable {
        /// Name of the variable.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl ConfigError {
    /// The message with those of its causes, in one line.
    pub fn report(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

/// Something odd in a configuration that is used all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A key that has a newer name.
    Deprecated {
        /// Where it was written.
        origin: Origin,
        /// Key path as written.
        key: String,
        /// The newer key path.
        instead: String,
    },
    /// A value that is taken as another, as the original does.
    Replaced {
        /// Where it was written.
        origin: Origin,
        /// Key path.
        key: String,
        /// What was done.
        reason: String,
    },
    /// A second spelling of a key that is already there; it is ignored.
    Shadowed {
        /// Where it was written.
        origin: Origin,
        /// Key path as written.
        key: String,
        /// The spelling that counts.
        by: String,
    },
    /// A key nobody knows; it is ignored.
    UnknownKey {
        /// Where it was written.
        origin: Origin,
        /// Key path as written.
        key: String,
        /// The known key that is nearest.
        nearest: Option<String>,
    },
    /// An override variable that names no key; it is ignored.
    UnknownVariable {
        /// Name of the variable.
        name: String,
        /// The variable of the nearest known key.
        nearest: Option<String>,
    },
    /// A value refers to a variable that is not set; the reference stays as written.
    UnsetVariable {
        /// Where it was written.
        origin: Origin,
        /// Key path.
        key: String,
        /// Name of the variable.
        variable: String,
    },
    /// The file of log settings cannot be used; defaults are.
    UnusableFile {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// An override variable whose text does not fit the key; it is ignored.
    WrongOverride {
        /// Name of the variable.
        name: String,
        /// Key path.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

impl Warning {
    /// Whether `--strict` makes it an error. Deprecated keys stay warnings: they have an effect.
    pub fn is_error_when_strict(&self) -> bool {
        !matches!(self, Self::Deprecated { .. })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nearest = |f: &mut fmt::Formatter<'_>, nearest: &Option<String>| match nearest {
            Some(nearest) => write!(f, " (nearest known: {nearest})"),
            None => Ok(()),
        };
        match self {
            Self::Deprecated { origin, key, instead } => {
                write!(f, "{origin}: {key}: is deprecated, use {instead}")
            }
            Self::Replaced { origin, key, reason } => write!(f, "{origin}: {key}: {reason}"),
            Self::Shadowed { origin, key, by } => write!(f, "{origin}: {key}: ignored, {by} counts"),
            Self::UnknownKey {
                origin,
                key,
                nearest: near,
            } => {
                write!(f, "{origin}: {key}: unknown key, ignored")?;
                nearest(f, near)
            }
            Self::UnknownVariable { name, nearest: near } => {
                write!(f, "environment variable {name}: names no key, ignored")?;
                nearest(f, near)
            }
            Self::UnsetVariable {
                origin,
                key,
                variable,
            } => {
                write!(
                    f,
                    "{origin}: {key}: the environment variable {variable} is not set, the text stays as written"
                )
            }
            Self::UnusableFile { file, reason } => {
                write!(f, "{}: {reason}, defaults are used", file.display())
            }
            Self::WrongOverride { name, key, reason } => {
                write!(f, "environment variable {name}: {key}: {reason}, ignored")
            }
        }
    }
}
