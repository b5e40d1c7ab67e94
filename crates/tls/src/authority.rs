//! The private certificate authority of the embedded default: one CA and one certificate per process, made at the
//! first start and renewed before they expire.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;

use crate::error::TlsError;
use crate::facts::{self, Facts};
use crate::pem;

const CA_KEY: &str = "ca.key";
const CA_CERTIFICATE: &str = "ca.pem";
const CA_NAME: &str = "Trireme private CA";
/// Digits of the key's hash in the CA's name: enough to tell apart whom one machine trusts.
const CA_NAME_DIGITS: usize = 8;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const CA_VALIDITY: Duration = Duration::from_secs(3650 * DAY.as_secs());
/// A certificate with less time left than this is replaced.
pub const RENEW_BEFORE: Duration = Duration::from_secs(30 * DAY.as_secs());
/// How long certificates are valid unless asked otherwise.
pub const DEFAULT_VALIDITY: Duration = Duration::from_secs(825 * DAY.as_secs());

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: SystemTime,
    /// Last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// From a little before `now`, because clocks differ, for `length`.
    pub fn starting(now: SystemTime, length: Duration) -> Self {
        Self {
            not_before: now.checked_sub(DAY / 24).unwrap_or(now),
            not_after: now + length,
        }
    }
}

/// A private CA whose key lies in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A freshly made key pair, as PEM text.
#[derive(Clone)]
pub struct Issued {
    /// Certificate, issued by the CA.
    pub certificate: String,
    /// RSA-2048 private key, PKCS#8.
    pub key: String,
}

/// What [`Authority::ensure`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// The files there are good.
    Kept,
    /// There was none, or none that was good, or it was about to expire.
    Made,
}

impl Authority {
    /// Opens the CA in `folder`, making folder, key and certificate when they are not there, and renewing the
    /// certificate with the same key when it is about to expire, so that what it issued stays valid. Two processes
    /// that start at the same time end with the same CA. A CA that is there and cannot be read is an error, never
    /// replaced: others trust it.
    pub fn open_or_create(folder: &Path) -> Result<Self, TlsError> {
        make_folder(folder)?;
        let _lock = lock(folder)?;
        let key_path = folder.join(CA_KEY);
        let certificate_path = folder.join(CA_CERTIFICATE);
        let key = if exists(&key_path)? {
            let text = read(&key_path)?;
            KeyPair::from_pem(&text).map_err(failed(CA_NAME))?
        } else {
            let key = KeyPair::generate().map_err(failed(CA_NAME))?;
            write_private(&key_path, key.serialize_pem())?;
            key
        };
        let now = SystemTime::now();
        let certificate = if exists(&certificate_path)? {
            let text = read(&certificate_path)?;
            let facts = facts_of(&certificate_path, &text)?;
            if !facts.is_ca || !belongs(&text, &key) {
                return Err(TlsError::Mismatch {
                    certificate: certificate_path.display().to_string(),
                    key: key_path.display().to_string(),
                });
            }
            (facts.remaining(now) > RENEW_BEFORE).then_some(text)
        } else {
            None
        };
        let certificate = match certificate {
            Some(certificate) => certificate,
            None => {
                let params = ca_params(&key, Validity::starting(now, CA_VALIDITY));
                let certificate = params.self_signed(&key).map_err(failed(CA_NAME))?.pem();
                write_public(&certificate_path, &certificate)?;
                certificate
            }
        };
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(failed(CA_NAME))?;
        Ok(Self {
            folder: folder.to_owned(),
            certificate,
            issuer,
        })
    }

    /// The CA's certificate, PEM: what peers must trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Where the CA's certificate lies.
    pub fn certificate_path(&self) -> PathBuf {
        self.folder.join(CA_CERTIFICATE)
    }

    /// Makes a key pair for `name`, good for both ends of a connection. The certificate carries `name` and every one
    /// of `sans`, each a DNS name or an address. Making an RSA key takes a moment (typically 50 to 300 ms).
    pub fn issue(&self, name: &str, sans: &[&str], validity: Validity) -> Result<Issued, TlsError> {
        self.sign(name, request(name, sans, validity)?)
    }

    /// As [`Authority::issue`], good for a server only: whoever holds the key is no client of those that trust this CA.
    pub fn issue_server(&self, name: &str, sans: &[&str], validity: Validity) -> Result<Issued, TlsError> {
        let (key, mut params) = request(name, sans, validity)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(name, (key, params))
    }

    fn sign(&self, name: &str, (key, mut params): (KeyPair, CertificateParams)) -> Result<Issued, TlsError> {
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed(name))?.pem();
        Ok(Issued {
            certificate,
            key: key.serialize_pem(),
        })
    }

    /// Makes sure that `key` and `certificate` hold a pair of this CA for `name` on this machine (`localhost` and the
    /// loopback addresses included) with more than [`RENEW_BEFORE`] left; leaves a good pair untouched.
    pub fn ensure(&self, name: &str, key: &Path, certificate: &Path) -> Result<Ensured, TlsError> {
        let _lock = lock(&self.folder)?;
        if self.is_good(name, key, certificate) {
            return Ok(Ensured::Kept);
        }
        let validity = Validity::starting(SystemTime::now(), DEFAULT_VALIDITY);
        self.issue(name, LOCAL_NAMES, validity)?.write(key, certificate)?;
        Ok(Ensured::Made)
    }

    fn is_good(&self, name: &str, key: &Path, certificate: &Path) -> bool {
        let (Ok(key), Ok(text)) = (read(key), read(certificate)) else {
            return false;
        };
        let Ok(key) = KeyPair::from_pem(&key) else {
            return false;
        };
        let Ok(facts) = facts_of(certificate, &text) else {
            return false;
        };
        belongs(&text, &key)
            && self.issued(&text)
            && facts.names.iter().any(|san| san == name)
            && facts.remaining(SystemTime::now()) > RENEW_BEFORE
    }

    /// Whether this CA's key signed the certificate.
    fn issued(&self, certificate: &str) -> bool {
        use x509_parser::prelude::{FromDer, X509Certificate};
        let (Ok(ca), Ok(leaf)) = (der(&self.certificate), der(certificate)) else {
            return false;
        };
        let (Ok((_, ca)), Ok((_, leaf))) = (X509Certificate::from_der(&ca), X509Certificate::from_der(&leaf))
        else {
            return false;
        };
        leaf.issuer() == ca.subject() && leaf.verify_signature(Some(ca.public_key())).is_ok()
    }
}

/// A key pair that nobody vouches for, named by the first of `names` and carrying all of them. Making an RSA key takes a
/// moment (typically 50 to 300 ms).
pub(crate) fn self_signed(names: &[&str], validity: Validity) -> Result<Issued, TlsError> {
    let (name, others) = names.split_first().unwrap_or((&"localhost", &[]));
    let (key, params) = request(name, others, validity)?;
    let certificate = params.self_signed(&key).map_err(failed(name))?.pem();
    Ok(Issued {
        certificate,
        key: key.serialize_pem(),
    })
}

/// A new key, and what is to be certified of it: good for both ends of a connection.
fn request(name: &str, sans: &[&str], validity: Validity) -> Result<(KeyPair, CertificateParams), TlsError> {
    // RSA, as the same key signs test tokens with RS256.
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).map_err(failed(name))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = OffsetDateTime::from(validity.not_before);
    params.not_after = OffsetDateTime::from(validity.not_after);
    let mut names = vec![name];
    names.extend(sans.iter().copied().filter(|san| *san != name));
    params.subject_alt_names = names.into_iter().map(alternative).collect::<Result<_, _>>()?;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok((key, params))
}

/// The names under which processes on one machine reach each other.
pub const LOCAL_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];

// === impl Issued ===

impl Issued {
    /// Writes both files, the key first and readable by its owner only. Each replaces its predecessor in one step.
    pub fn write(&self, key: &Path, certificate: &Path) -> Result<(), TlsError> {
        write_private(key, &self.key)?;
        write_public(certificate, &self.certificate)
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Writes a file that only its owner may read (0600), replacing what is there in one step.
pub fn write_private(path: &Path, content: impl AsRef<[u8]>) -> Result<(), TlsError> {
    write(path, content.as_ref(), 0o600)
}

/// Writes a file that everybody may read (0644), replacing what is there in one step.
pub fn write_public(path: &Path, content: impl AsRef<[u8]>) -> Result<(), TlsError> {
    write(path, content.as_ref(), 0o644)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), TlsError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let fail = |source| TlsError::Write {
        file: path.display().to_string(),
        source,
    };
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(fail)?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(
        ".{}-{}.tmp",
        std::process::id(),
        COUNTER.fetch_add(1, Ordering::Relaxed)
    ));
    let temporary = path.with_file_name(name);
    let outcome = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        // The mode given at creation is cut by the umask.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // Without this the rename itself may be lost with the machine, and a CA whose key is gone is never replaced.
        File::open(folder)?.sync_all()
    })();
    outcome.map_err(|error| {
        // The first error is the one worth telling; a temporary file that stays behind holds no one up.
        fs::remove_file(&temporary).ok();
        fail(error)
    })
}

fn make_folder(folder: &Path) -> Result<(), TlsError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| TlsError::Write {
            file: folder.display().to_string(),
            source,
        })
}

/// Held until the file is dropped.
fn lock(folder: &Path) -> Result<File, TlsError> {
    let path = folder.join(".lock");
    let fail = |source| TlsError::Write {
        file: path.display().to_string(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(file)
}

fn exists(path: &Path) -> Result<bool, TlsError> {
    path.try_exists().map_err(|source| TlsError::Read {
        file: path.display().to_string(),
        source,
    })
}

fn read(path: &Path) -> Result<String, TlsError> {
    let text = pem::read(path)?;
    String::from_utf8(text.bytes).map_err(|error| TlsError::Read {
        file: text.name,
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    })
}

fn der(text: &str) -> Result<CertificateDer<'static>, rustls_pki_types::pem::Error> {
    CertificateDer::from_pem_slice(text.as_bytes())
}

fn facts_of(path: &Path, text: &str) -> Result<Facts, TlsError> {
    let file = path.display().to_string();
    let der = der(text).map_err(|source| TlsError::Pem {
        file: file.clone(),
        source,
    })?;
    Facts::of(&der).ok_or(TlsError::Certificate {
        file,
        number: 1,
        reason: "not an X.509 certificate".to_owned(),
    })
}

/// Whether the certificate is for the key.
fn belongs(certificate: &str, key: &KeyPair) -> bool {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let Ok(der) = der(certificate) else { return false };
    X509Certificate::from_der(&der)
        .is_ok_and(|(_, parsed)| parsed.public_key().raw == key.subject_public_key_info())
}

/// The name follows from the key: a renewed certificate keeps it, and no two CAs share it, which would turn "unknown
/// issuer" into a misleading "bad signature".
fn ca_params(key: &KeyPair, validity: Validity) -> CertificateParams {
    let hash = facts::fingerprint(&key.subject_public_key_info());
    let digits: String = facts::hex(&hash).chars().take(CA_NAME_DIGITS).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{CA_NAME} {digits}"));
    params.not_before = OffsetDateTime::from(validity.not_before);
    params.not_after = OffsetDateTime::from(validity.not_after);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn alternative(name: &str) -> Result<SanType, TlsError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    Ia5String::try_from(name)
        .map(SanType::DnsName)
        .map_err(failed(name))
}

fn failed(subject: &str) -> impl FnOnce(rcgen::Error) -> TlsError {
    let subject = subject.to_owned();
    |source| TlsError::Authority { subject, source }
}
