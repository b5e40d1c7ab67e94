//! Client certificates, pinned one by one to an API (spec/enforcer.md §3.9).

use percent_encoding::percent_decode_str;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::time::ASN1Time;

use crate::need::Question;
use crate::verdict::{KeyType, Reason};

/// The environments that a certificate is good for, one at least: which of the API's certificates it is in each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Environments {
    production: Option<usize>,
    sandbox: Option<usize>,
}

impl Environments {
    pub(crate) fn has(self, environment: KeyType) -> bool {
        self.entry(environment).is_some()
    }

    /// Its place among the API's certificates.
    pub(crate) fn entry(self, environment: KeyType) -> Option<usize> {
        match environment {
            KeyType::Production => self.production,
            KeyType::Sandbox => self.sandbox,
        }
    }
}

/// Which environments of the API the caller's certificate is good for; it is one of the API's and is valid now.
pub(crate) fn authenticate(question: &Question<'_>) -> Result<Environments, Reason> {
    let Question {
        attributes,
        api,
        security,
        now,
        ..
    } = *question;
    let settings = &security.settings.mutual_tls;
    let (text, encoded) = if settings.from_connection {
        (attributes.certificate, true)
    } else {
        (
            attributes.header(&security.certificate).unwrap_or_default(),
            settings.encoded,
        )
    };
    // As a URL, or as a form (what Java's `URLEncoder` makes): there, base64's own plus signs are escaped and the armour's blanks
    // are plus signs.
    let form = (encoded && text.contains("BEGIN+CERTIFICATE")).then(|| text.replace('+', " "));
    let pem = match &form {
        Some(form) => percent_decode_str(form).decode_utf8_lossy(),
        None if encoded => percent_decode_str(text).decode_utf8_lossy(),
        None => text.into(),
    };
    if !pem.contains("-----BEGIN CERTIFICATE-----") || !pem.contains("-----END CERTIFICATE-----") {
        return Err(Reason::NoCredentials);
    }
    let der = certificate(&pem).ok_or(Reason::CertificateUnreadable)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| Reason::CertificateUnreadable)?;
    let entry = |other: KeyType| {
        api.certificates
            .iter()
            .position(|pinned| pinned.der == der && pinned.key_type != Some(other))
    };
    let good = Environments {
        production: entry(KeyType::Sandbox),
        sandbox: entry(KeyType::Production),
    };
    let moment = i64::try_from(now.unix)
        .ok()
        .and_then(|unix| ASN1Time::from_timestamp(unix).ok());
    let valid = moment.is_some_and(|moment| parsed.validity().is_valid_at(moment));
    if (good.production.is_some() || good.sandbox.is_some()) && valid {
        Ok(good)
    } else {
        Err(Reason::NoCredentials)
    }
}

/// The first certificate of the text. Proxies put one in a header with spaces for its line ends.
fn certificate(pem: &str) -> Option<CertificateDer<'static>> {
    if let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) {
        return Some(der);
    }
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let body: Vec<_> = body.split_ascii_whitespace().collect();
    let text = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        body.join("\n")
    );
    CertificateDer::from_pem_slice(text.as_bytes()).ok()
}
