//! Text that must not be printed.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq as _;

use crate::env::Env;

/// Greatest size of a file that holds a secret.
const GREATEST_FILE: u64 = 64 * 1024;

/// A password, a token, or a URL that holds one. It prints as `***`, and two are compared in constant time.
///
/// The text may refer to variables (`$env{NAME}`) and may be the content of a file (`$file{/run/secrets/name}`);
/// [`Secret::resolve`] replaces both. The loader does so for the sections the adapter resolves; those of the enforcer
/// stay as written and the enforcer resolves them in its own environment.
#[derive(Clone, Default)]
pub struct Secret(String);

/// Why a secret has no value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file it names holds no text.
    #[error("the file {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file it names cannot be read.
    #[error("the file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The variable it refers to is unset or empty.
    #[error("the environment variable {variable} is not set")]
    Unset {
        /// Name of the variable.
        variable: String,
    },
}

impl Secret {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `candidate` is the text, in a time that depends on the lengths only.
    pub fn matches(&self, candidate: &str) -> bool {
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }

    /// Replaces `$file{PATH}` by the content of the file, without the line break at its end, or every `$env{NAME}`
    /// by the variable. A variable that is unset or empty is an error: a guessable or empty password is never made.
    pub fn resolve(&self, env: &Env) -> Result<Self, SecretError> {
        if let Some(path) = self
            .0
            .strip_prefix("$file{")
            .and_then(|rest| rest.strip_suffix('}'))
        {
            return read_file(Path::new(path));
        }
        let expanded = env.expand(&self.0);
        match expanded.unset.into_iter().chain(expanded.empty).next() {
            Some(variable) => Err(SecretError::Unset { variable }),
            None => Ok(Self(expanded.text)),
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::File {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let read = file
        .take(GREATEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if u64::try_from(read).is_ok_and(|read| read > GREATEST_FILE) {
        return Err(failed(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            "more than 64 KiB",
        )));
    }
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(SecretError::Empty {
            path: path.to_owned(),
        }),
        text => Ok(Secret::new(text)),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }

    #[test]
    fn compared() {
        let secret = Secret::new("hunter2");
        assert!(secret.matches("hunter2"));
        for wrong in ["", "hunter", "hunter22", "Hunter2"] {
            assert!(!secret.matches(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn resolved_from_variables() {
        let env = Env::from_iter([("pwd", "s3$1{x}"), ("host", "h"), ("empty", "")]);
        let cases = [
            ("plain", Ok("plain")),
            ("$env{pwd}", Ok("s3$1{x}")),
            ("amqp://u:$env{pwd}@$env{host}", Ok("amqp://u:s3$1{x}@h")),
            ("$env{none}", Err("none")),
            ("$env{empty}", Err("empty")),
            ("$env{pwd}$env{none}", Err("none")),
        ];
        for (text, want) in cases {
            match (Secret::new(text).resolve(&env), want) {
                (Ok(got), Ok(want)) => assert_eq!(got.reveal(), want, "{text}"),
                (Err(SecretError::Unset { variable }), Err(want)) => assert_eq!(variable, want, "{text}"),
                (got, want) => panic!("{text}: {got:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn resolved_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Secret::new(format!("$file{{{}}}", path.display()))
        };
        let env = Env::default();
        assert_eq!(
            write("good", b"s3cret\r\n").resolve(&env).unwrap().reveal(),
            "s3cret"
        );
        assert!(matches!(
            write("blank", b"\n").resolve(&env),
            Err(SecretError::Empty { .. })
        ));
        assert!(matches!(
            write("binary", b"\xff").resolve(&env),
            Err(SecretError::File { .. })
        ));
        assert!(matches!(
            write("huge", &[b'x'; 70_000]).resolve(&env),
            Err(SecretError::File { .. })
        ));
        assert!(matches!(
            Secret::new("$file{/nowhere/at/all}").resolve(&env),
            Err(SecretError::File { .. })
        ));
    }
}
