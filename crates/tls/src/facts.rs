//! What a certificate says about itself, for logs, `trireme certs` and the check request.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::pem;

/// What a certificate says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Distinguished name of the holder, such as `CN=enforcer`.
    pub subject: String,
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// Subject alternative names: DNS names and addresses.
    pub names: Vec<String>,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// First moment of validity.
    pub not_before: SystemTime,
    /// Last moment of validity.
    pub not_after: SystemTime,
    /// SHA-256 over the DER form, lower-case hexadecimal.
    pub fingerprint: String,
    /// Whether it may sign other certificates.
    pub is_ca: bool,
}

impl Facts {
    /// Reads the facts of a DER certificate; `None` when it is not one.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = parsed
            .subject_alternative_name()
            .ok()
            .flatten()
            .map_or_else(Vec::new, |extension| {
                extension.value.general_names.iter().filter_map(name).collect()
            });
        let validity = parsed.validity();
        Some(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            names,
            serial: hex(parsed.raw_serial()),
            not_before: moment(validity.not_before.timestamp()),
            not_after: moment(validity.not_after.timestamp()),
            fingerprint: hex(&fingerprint(certificate)),
            is_ca: parsed.is_ca(),
        })
    }

    /// How long the certificate stays valid from `now`; zero once it has expired.
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }
}

/// Says so when a certificate of the file is out of date: `mg.pem: certificate CN=localhost has expired at 2025-05-27 0:00:00.0
/// +00:00:00`. A file without certificates is not.
#[must_use]
pub fn out_of_date(path: &Path) -> Option<String> {
    let text = pem::read(path).ok()?;
    let certificates = pem::certificates(&text).ok()?;
    let now = SystemTime::now();
    let told = certificates
        .iter()
        .find_map(|certificate| untimely(certificate, now))?;
    Some(format!("{}: {told}", path.display()))
}

/// Says so when a certificate is out of date.
pub(crate) fn untimely(certificate: &CertificateDer<'_>, now: SystemTime) -> Option<String> {
    let facts = Facts::of(certificate)?;
    let (what, at) = if facts.not_after < now {
        ("has expired at", facts.not_after)
    } else if facts.not_before > now {
        ("is not valid before", facts.not_before)
    } else {
        return None;
    };
    let at = OffsetDateTime::from(at);
    Some(format!("certificate {} {what} {at}", label(certificate)))
}

/// SHA-256.
pub(crate) fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    bytes
}

/// Fails as a path builder would when `now` lies outside the certificate's validity.
pub(crate) fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let refuse = |error| Err(Error::InvalidCertificate(error));
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return refuse(CertificateError::BadEncoding);
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return refuse(CertificateError::NotValidYet);
    }
    if now > parsed.validity().not_after.timestamp() {
        return refuse(CertificateError::Expired);
    }
    Ok(())
}

/// The subject, or a stand-in for bytes that are no certificate; bounded and safe to log.
pub(crate) fn label(certificate: &CertificateDer<'_>) -> String {
    let subject = X509Certificate::from_der(certificate).map_or_else(
        |_| "unreadable".to_owned(),
        |(_, parsed)| parsed.subject().to_string(),
    );
    subject.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            if let Ok(bytes) = <[u8; 4]>::try_from(*bytes) {
                return Some(std::net::Ipv4Addr::from(bytes).to_string());
            }
            <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())
        }
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::Invalid(..)
        | GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::X400Address(_) => None,
    }
}

fn moment(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            write!(text, "{byte:02x}").expect("a string takes any text");
            text
        })
}
