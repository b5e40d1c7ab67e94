//! A key pair that a process makes for itself where none is mounted, as in an image that is started as it is.
//!
//! It lies where only the process reads it: in its state folder, or else where what is written ends with the container. Its
//! peers trust it as little as any other stranger's until its certificate is in their trust folders.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::warn;
use trireme_telemetry::chain;

use crate::authority::{DEFAULT_VALIDITY, Issued, RENEW_BEFORE, Validity, self_signed};
use crate::error::TlsError;
use crate::material::{Material, Settings};

/// Folders for it after the state folder: one that a container has as a rule, and one in memory that it always has.
const ELSEWHERE: [&str; 2] = ["/tmp", "/dev/shm"];
/// Whom it is for, as the original's certificates (spec/deployment.md 9.2).
const NAMES: [&str; 4] = ["localhost", "adapter", "enforcer", "router"];

/// A key pair that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Private key.
    pub key: PathBuf,
    /// Certificate, self-signed.
    pub certificate: PathBuf,
}

/// A key pair in the place of files that are not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stead {
    pair: Pair,
    key: PathBuf,
    certificate: PathBuf,
}

/// The pair that `process` uses instead of `key` and `certificate`: when neither is there, and the folder that both are to be
/// in is there and empty. A folder that holds something else, or only one of them, was mounted by somebody who meant it. The
/// one that was made before is used again while it is good. It is told as a warning, each time.
///
/// # Errors
/// It can be written nowhere.
pub fn instead_of(
    key: &Path,
    certificate: &Path,
    process: &str,
    state: Option<&Path>,
) -> Result<Option<Stead>, TlsError> {
    if !is_wanting(key, certificate) {
        return Ok(None);
    }
    let mut failure = None;
    for folder in folders(process, state) {
        match make(&folder) {
            Ok(pair) => {
                warn!(
                    missing = %key.display(),
                    key = %pair.key.display(),
                    certificate = %pair.certificate.display(),
                    "NO KEY PAIR IS MOUNTED: the process has made one for itself. No other process trusts it until its \
                     certificate is in that one's trust folder; mount a key pair instead"
                );
                return Ok(Some(Stead {
                    pair,
                    key: key.to_owned(),
                    certificate: certificate.to_owned(),
                }));
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// The pair that `process` has made before.
#[must_use]
pub fn find(process: &str, state: Option<&Path>) -> Option<Pair> {
    folders(process, state).find_map(|folder| {
        let pair = pair(&folder);
        (is_private(&folder) && pair.key.exists() && pair.certificate.exists()).then_some(pair)
    })
}

// === impl Stead ===

impl Stead {
    /// The file to read when `named` is to be read: one of the pair in the place of one that is not there.
    #[must_use]
    pub fn file<'a>(&'a self, named: &'a Path) -> &'a Path {
        if named == self.key {
            &self.pair.key
        } else if named == self.certificate {
            &self.pair.certificate
        } else {
            named
        }
    }

    /// Has the settings use the pair, and trust it, for the process's own probes show it. What else they trust is left out
    /// where it is not mounted either: nobody is trusted then.
    pub fn stand_in(&self, settings: &mut Settings) {
        for path in [&mut settings.key, &mut settings.certificate] {
            *path = self.file(path).to_owned();
        }
        settings.trust.retain(|path| {
            let there = path.exists();
            if !there {
                warn!(missing = %path.display(), "no trusted certificate is mounted either");
            }
            there
        });
        settings.trust.push(self.pair.certificate.clone());
    }

    /// What whoever looks into why peers refuse the process is told.
    #[must_use]
    pub fn complaint(&self) -> String {
        let (missing, made) = (self.key.display(), self.pair.certificate.display());
        format!(
            "no key pair is mounted ({missing}): the process has made one, which no other trusts ({made})"
        )
    }
}

fn is_wanting(key: &Path, certificate: &Path) -> bool {
    let Some(folder) = key.parent().filter(|folder| certificate.parent() == Some(folder)) else {
        return false;
    };
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn folders<'a>(process: &'a str, state: Option<&'a Path>) -> impl Iterator<Item = PathBuf> + 'a {
    let elsewhere = ELSEWHERE.iter().map(Path::new);
    let folders = state.into_iter().chain(elsewhere);
    folders.map(move |folder| folder.join(format!("{process}.keystore")))
}

fn pair(folder: &Path) -> Pair {
    Pair {
        key: folder.join("mg.key"),
        certificate: folder.join("mg.pem"),
    }
}

fn make(folder: &Path) -> Result<Pair, TlsError> {
    let fail = |source| TlsError::Write {
        file: folder.display().to_string(),
        source,
    };
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above).map_err(fail)?;
    }
    let made = DirBuilder::new().mode(0o700).recursive(false).create(folder);
    if let Err(error) = made
        && !is_private(folder)
    {
        return Err(fail(error));
    }
    let pair = pair(folder);
    if !is_good(&pair) {
        let validity = Validity::starting(SystemTime::now(), DEFAULT_VALIDITY);
        let Issued { certificate, key } = self_signed(&NAMES, validity)?;
        Issued { certificate, key }.write(&pair.key, &pair.certificate)?;
    }
    Ok(pair)
}

/// Whether nobody else could have put something there: others write to the folders above it.
fn is_private(folder: &Path) -> bool {
    let own = fs::metadata("/proc/self").map(|own| own.uid());
    let (Ok(own), Ok(found)) = (own, fs::symlink_metadata(folder)) else {
        return false;
    };
    found.is_dir() && found.uid() == own && found.permissions().mode() & 0o077 == 0
}

fn is_good(pair: &Pair) -> bool {
    let settings = Settings {
        key: pair.key.clone(),
        certificate: pair.certificate.clone(),
        ..Settings::default()
    };
    if !pair.key.exists() || !pair.certificate.exists() {
        return false;
    }
    match Material::load(settings) {
        Ok(material) => material
            .facts()
            .is_some_and(|facts| facts.remaining(SystemTime::now()) > RENEW_BEFORE),
        Err(error) => {
            warn!(error = chain(&error), "the key pair made before cannot be used");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_made_once_where_the_folder_for_it_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let (state, keystore) = (folder.path().join("state"), folder.path().join("keystore"));
        let (key, certificate) = (keystore.join("mg.key"), keystore.join("mg.pem"));
        let stead = || instead_of(&key, &certificate, "trireme-test", Some(&state)).unwrap();
        let made = || stead().map(|stead| stead.pair);
        assert_eq!(made(), None, "a folder that is not there is a path mistyped");
        assert_eq!(find("trireme-test", Some(&state)), None);
        fs::create_dir(&keystore).unwrap();
        let pair = made().unwrap();
        assert!(pair.key.starts_with(&state));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&pair.key), mode(pair.key.parent().unwrap())),
            (0o600, 0o700)
        );
        let text = fs::read(&pair.key).unwrap();
        assert_eq!(made().as_ref(), Some(&pair));
        assert_eq!(fs::read(&pair.key).unwrap(), text, "the same pair again");
        assert_eq!(find("trireme-test", Some(&state)).as_ref(), Some(&pair));
        let material = Material::load(Settings {
            key: pair.key.clone(),
            certificate: pair.certificate.clone(),
            trust: vec![pair.certificate.clone()],
            ..Settings::default()
        })
        .unwrap();
        assert_eq!(material.facts().unwrap().names, NAMES);

        fs::write(&pair.key, "spoilt").unwrap();
        assert_eq!(made().as_ref(), Some(&pair));
        assert_ne!(fs::read(&pair.key).unwrap(), b"spoilt");

        let mut settings = Settings {
            key: key.clone(),
            certificate: certificate.clone(),
            trust: vec![folder.path().join("none"), keystore.clone()],
            ..Settings::default()
        };
        let stead = stead().unwrap();
        stead.stand_in(&mut settings);
        assert_eq!(
            (&settings.key, &settings.certificate),
            (&pair.key, &pair.certificate)
        );
        assert_eq!(settings.trust, [keystore.clone(), pair.certificate]);
        assert_eq!(stead.file(&state), state);

        fs::write(keystore.join("tls.key"), "").unwrap();
        assert_eq!(
            instead_of(&key, &certificate, "trireme-test", Some(&state)).unwrap(),
            None,
            "something else is mounted"
        );
    }

    /// Whoever came first in a folder that all may write to does not choose the key.
    #[test]
    fn a_folder_that_others_may_write_to_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("trireme-test.keystore");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        make(&open).unwrap_err();
        assert_eq!(find("trireme-test", Some(folder.path())), None);
    }
}
