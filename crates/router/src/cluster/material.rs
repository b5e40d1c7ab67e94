//! Key material as discovery names it: files on this machine, or text.

use std::path::Path;

use tracing::warn;
use trireme_routing::snapshot::Pem;
use trireme_tls::{Material, Settings, TlsError, Watch};

/// Why material cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MaterialError {
    /// A file that cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Content that cannot be used.
    #[error("TLS material")]
    Tls(#[from] TlsError),
}

/// Material from its parts. When all of them are files, changes of the files are followed as long as the watch lives.
pub(crate) fn load(
    identity: Option<&(Pem, Pem)>,
    trust: Option<&Pem>,
) -> Result<(Material, Option<Watch>), MaterialError> {
    let material = match (identity, trust) {
        (Some((Pem::File(certificate), Pem::File(key))), None | Some(Pem::File(_))) => {
            Material::load(Settings {
                key: key.into(),
                certificate: certificate.into(),
                trust: trust.and_then(file).map(Into::into).into_iter().collect(),
                trust_system: false,
            })?
        }
        (None, Some(Pem::File(path))) => Material::load_trust(vec![path.into()], false)?,
        _ => {
            let identity = match identity {
                Some((certificate, key)) => Some((text(key)?, text(certificate)?)),
                None => None,
            };
            let trust = trust.map(text).transpose()?.into_iter().collect();
            let material = Material::from_pem(&trireme_tls::Pem {
                identity,
                trust,
                trust_system: false,
            })?;
            return Ok((material, None));
        }
    };
    let watch = material
        .watch()
        .inspect_err(|error| warn!(%error, "certificate files are not watched"));
    Ok((material, watch.ok()))
}

/// Whether every file that is named exists.
pub(crate) fn exists(pem: &Pem) -> bool {
    file(pem).is_none_or(|path| Path::new(path).exists())
}

/// A key for caches.
pub(crate) fn identify(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => format!("file {path}"),
        Pem::Inline(text) => format!("text {text}"),
    }
}

fn file(pem: &Pem) -> Option<&String> {
    match pem {
        Pem::File(path) => Some(path),
        Pem::Inline(_) => None,
    }
}

fn text(pem: &Pem) -> Result<Vec<u8>, MaterialError> {
    match pem {
        Pem::File(path) => std::fs::read(path).map_err(|source| MaterialError::File {
            path: path.clone(),
            source,
        }),
        Pem::Inline(text) => Ok(text.clone().into_bytes()),
    }
}
