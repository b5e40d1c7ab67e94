//! Reading keys and certificates from PEM files, folders and text, within bounds.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing::{debug, warn};

use crate::error::TlsError;

/// The platform's bundle of public roots is about 220 KiB.
const MAX_FILE_BYTES: u64 = 4 << 20;
const MAX_FILES: usize = 4096;
const MAX_DEPTH: usize = 8;

/// One file (or inline text) as read.
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// How the label of a private key ends (RFC 7468 section 10 and 11, and the older ones).
const KEY: &[u8] = b"PRIVATE KEY-----";

pub(crate) fn read(path: &Path) -> Result<Text, TlsError> {
    let name = path.display().to_string();
    let fail = |source: io::Error| TlsError::Read {
        file: path.display().to_string(),
        source,
    };
    let file = fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(TlsError::TooLarge {
            file: name,
            what: "size in MiB",
            limit: 4,
        });
    }
    Ok(Text { name, bytes })
}

/// Certificates of one text, in order. `.crt` files are often plain DER, which is taken as well.
pub(crate) fn certificates(text: &Text) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    // A sequence with a length of several bytes: the first byte alone is also the digit that a text may begin with.
    if let [0x30, 0x81..=0x84, ..] = text.bytes.as_slice() {
        return Ok(vec![CertificateDer::from(text.bytes.clone())]);
    }
    CertificateDer::pem_slice_iter(&text.bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem {
            file: text.name.clone(),
            source,
        })
}

/// The certificates of a file as PEM (RFC 7468), without anything else that it may hold: a private key, above all.
///
/// # Errors
/// [`TlsError`] naming the file, when it cannot be read, is malformed, or holds no certificate.
pub fn certificates_of(path: &Path) -> Result<String, TlsError> {
    let text = read(path)?;
    let found = certificates(&text)?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { file: text.name });
    }
    Ok(found.iter().map(certificate_pem).collect())
}

/// The certificate as PEM text with a final newline, lines of 64 characters.
pub fn certificate_pem(certificate: &CertificateDer<'_>) -> String {
    let body = STANDARD.encode(certificate);
    let mut pem = String::with_capacity(body.len() + body.len() / 64 + 56);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// The first private key of a text.
pub(crate) fn key(text: &Text) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&text.bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey {
            file: text.name.clone(),
        },
        source => TlsError::Pem {
            file: text.name.clone(),
            source,
        },
    })
}

/// Reads a trust entry: a file, which must hold a certificate, or a folder with `.pem` and `.crt` files at any depth.
pub(crate) fn trust(path: &Path) -> Result<Vec<Text>, TlsError> {
    let metadata = fs::metadata(path).map_err(|source| TlsError::Read {
        file: path.display().to_string(),
        source,
    })?;
    if !metadata.is_dir() {
        let text = read(path)?;
        if certificates(&text)?.is_empty() {
            return Err(TlsError::NoCertificate { file: text.name });
        }
        return Ok(vec![text]);
    }
    let mut files = Vec::new();
    walk(path, 0, &mut files)?;
    files.sort();
    let mut texts = Vec::with_capacity(files.len());
    for file in files {
        let text = read(&file)?;
        // A folder may hold other PEM files (parameters, or a key as in the original's folders); only the certificates matter.
        let is_key = text.bytes.windows(KEY.len()).any(|window| window == KEY);
        if !certificates(&text)?.is_empty() {
            texts.push(text);
        } else if is_key {
            debug!(
                file = text.name,
                "file in a trust folder holds a key and no certificate"
            );
        } else {
            warn!(file = text.name, "file in a trust folder holds no certificate");
        }
    }
    if texts.is_empty() {
        warn!(folder = %path.display(), "trust folder holds no certificate");
    }
    Ok(texts)
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), TlsError> {
    let fail = |source| TlsError::Read {
        file: folder.display().to_string(),
        source,
    };
    if depth > MAX_DEPTH {
        return Err(TlsError::TooLarge {
            file: folder.display().to_string(),
            what: "depth of folders",
            limit: MAX_DEPTH,
        });
    }
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        // Kubernetes mounts keep the files of one revision in `..<timestamp>` behind the link `..data`; the entries
        // beside it link to them, so these folders would be read twice, and vanish while being read.
        if name.starts_with("..") {
            continue;
        }
        // A dangling link is somebody else's unfinished swap, not a certificate.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if metadata.is_file() && is_certificate_name(&name) {
            if files.len() == MAX_FILES {
                return Err(TlsError::TooLarge {
                    file: folder.display().to_string(),
                    what: "number of files",
                    limit: MAX_FILES,
                });
            }
            files.push(path);
        }
    }
    Ok(())
}

fn is_certificate_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".pem") || name.ends_with(".crt")
}
