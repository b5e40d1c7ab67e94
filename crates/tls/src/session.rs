//! What a finished handshake says of a connection, in the words of Envoy's access log.

use rustls::ServerConnection;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};
use x509_parser::x509::AttributeTypeAndValue;

use crate::protocols;

/// A server's side of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Protocol version, such as `TLSv1.3`.
    pub version: &'static str,
    /// Cipher suite by OpenSSL's name, such as `ECDHE-RSA-AES128-GCM-SHA256`; empty for one without.
    pub cipher: &'static str,
    /// Server name that the client asked for.
    pub server_name: Option<Box<str>>,
    /// The client's certificate.
    pub certificate: Option<CertificateDer<'static>>,
}

/// Short names of attribute types (RFC 4519 section 2), and what OpenSSL adds to them.
const ATTRIBUTES: [(&str, &str); 14] = [
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
];

impl Session {
    /// Of a connection whose handshake is over.
    #[must_use]
    pub fn of(connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        };
        Self {
            version,
            cipher: connection
                .negotiated_cipher_suite()
                .and_then(|suite| protocols::suite_name(suite.suite()))
                .unwrap_or_default(),
            server_name: connection.server_name().map(Into::into),
            certificate: connection
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(|certificate| certificate.clone().into_owned()),
        }
    }

    /// Distinguished name of the certificate's holder (RFC 4514).
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        let (_, parsed) = X509Certificate::from_der(self.certificate.as_ref()?).ok()?;
        Some(distinguished_name(parsed.subject()))
    }

    /// Distinguished name of the certificate's issuer (RFC 4514).
    #[must_use]
    pub fn issuer(&self) -> Option<String> {
        let (_, parsed) = X509Certificate::from_der(self.certificate.as_ref()?).ok()?;
        Some(distinguished_name(parsed.issuer()))
    }
}

/// The last part comes first (RFC 4514 section 2.1).
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let id = attribute.attr_type().to_id_string();
    let known = ATTRIBUTES.iter().find(|(known, _)| *known == id);
    match (known, attribute.as_str()) {
        (Some((_, name)), Ok(text)) => format!("{name}={}", escaped(text)),
        (Some((_, name)), Err(_)) => format!("{name}=#{}", crate::facts::hex(attribute.as_slice())),
        (None, _) => format!("{id}=#{}", crate::facts::hex(attribute.as_slice())),
    }
}

/// RFC 4514 section 2.4, with everything outside printable ASCII as bytes, as OpenSSL does it.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let edge = (at == 0 && matches!(byte, b' ' | b'#')) || (at == last && byte == b' ');
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            _ if edge => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => write!(out, "\\{byte:02X}").expect("a string takes any text"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_envoy_writes_them() {
        use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
        let mut name = DistinguishedName::new();
        for (of, value) in [
            (DnType::CountryName, "LK"),
            (DnType::StateOrProvinceName, "Western"),
            (DnType::OrganizationName, "Acme \"Quoted\", Inc"),
            (DnType::CommonName, "J\u{f6}rg "),
            (DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "a@b.c"),
        ] {
            name.push(of, value);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        let session = Session {
            version: "",
            cipher: "",
            server_name: None,
            certificate: Some(certificate.der().clone()),
        };
        let want = r#"emailAddress=a@b.c,CN=J\C3\B6rg\ ,O=Acme \"Quoted\"\, Inc,ST=Western,C=LK"#;
        assert_eq!(session.subject().as_deref(), Some(want));
        assert_eq!(session.issuer().as_deref(), Some(want));
    }

    #[test]
    fn values_are_escaped() {
        let cases = [
            ("", ""),
            ("a b", "a b"),
            (" ", "\\ "),
            ("#a#", "\\#a#"),
            ("a+b<c>;", "a\\+b\\<c\\>\\;"),
            ("\n", "\\0A"),
        ];
        for (text, want) in cases {
            assert_eq!(escaped(text), want, "{text:?}");
        }
    }
}
