use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use trireme_tls::authority::{Issued, Validity};
use trireme_tls::{ClientAuth, Facts, Material, certificate_pem};

use crate::mutual::handshake;
use crate::pki::{Folder, material, pki, self_signed};

fn report(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let pki = pki();
    let other = self_signed(
        &["x"],
        Validity::starting(SystemTime::now(), Duration::from_secs(60)),
    );
    type Spoil<'a> = &'a dyn Fn(&Folder);
    let put = |path: &Path, text: &str| fs::write(path, text).unwrap();
    let cases: [(&str, Spoil<'_>, &str, &str); 11] = [
        (
            "no key file",
            &|f| fs::remove_file(f.key()).unwrap(),
            "mg.key",
            "No such file",
        ),
        (
            "empty key file",
            &|f| put(&f.key(), ""),
            "mg.key",
            "no unencrypted private key",
        ),
        (
            "encrypted key",
            &|f| {
                put(
                    &f.key(),
                    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
                )
            },
            "mg.key",
            "no unencrypted private key",
        ),
        (
            "key is noise",
            &|f| {
                put(
                    &f.key(),
                    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                )
            },
            "mg.key",
            "not usable",
        ),
        (
            "certificate without end",
            &|f| put(&f.certificate(), "-----BEGIN CERTIFICATE-----\nMII\n"),
            "mg.pem",
            "PEM",
        ),
        (
            "no certificate",
            &|f| put(&f.certificate(), "hello"),
            "mg.pem",
            "holds no PEM certificate",
        ),
        (
            "certificate is noise",
            &|f| {
                put(
                    &f.certificate(),
                    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                )
            },
            "mg.pem",
            "not an X.509 certificate",
        ),
        (
            "another key",
            &|f| put(&f.key(), &other.key),
            "mg.pem",
            "does not belong to the key",
        ),
        (
            "no trust folder",
            &|f| fs::remove_dir_all(f.trust()).unwrap(),
            "truststore",
            "No such file",
        ),
        (
            "trusted certificate is noise",
            &|f| {
                put(
                    &f.trust().join("bad.crt"),
                    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                )
            },
            "bad.crt",
            "certificate 1",
        ),
        (
            "file without bound",
            &|f| {
                fs::File::create(f.certificate())
                    .unwrap()
                    .set_len(1 << 30)
                    .unwrap()
            },
            "mg.pem",
            "limit",
        ),
    ];
    for (case, spoil, file, reason) in cases {
        let folder = Folder::new(&pki.enforcer, &[&pki.ca]);
        spoil(&folder);
        let error = Material::load(folder.settings())
            .err()
            .unwrap_or_else(|| panic!("{case}: loaded"));
        let text = report(&error);
        assert!(text.contains(file) && text.contains(reason), "{case}: {text}");
    }
    let folder = Folder::new(&pki.enforcer, &[]);
    let file = folder.root.path().join("empty.pem");
    fs::write(&file, "nothing here").unwrap();
    let error = Material::load_trust(vec![file], false).unwrap_err().to_string();
    assert!(error.contains("empty.pem"), "{error}");
}

#[test]
fn trust_folders_are_read_at_any_depth() {
    let pki = pki();
    let folder = Folder::new(&pki.enforcer, &[]);
    let deep = folder.trust().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    // Two in one file, one of them a second time elsewhere, one in DER form, and files that are none of our business.
    fs::write(
        deep.join("both.pem"),
        format!("# ours\n{}\n{}", pki.ca, pki.foreign_ca),
    )
    .unwrap();
    fs::write(folder.trust().join("again.CRT"), &pki.ca).unwrap();
    let one = self_signed(
        &["x"],
        Validity::starting(SystemTime::now(), Duration::from_secs(60)),
    );
    let der = rustls_pki_types::CertificateDer::from_pem_slice(one.certificate.as_bytes()).unwrap();
    fs::write(folder.trust().join("binary.crt"), &der).unwrap();
    // As command lines print it: lines before the certificate, Windows' line ends.
    let two = self_signed(
        &["y"],
        Validity::starting(SystemTime::now(), Duration::from_secs(60)),
    );
    let printed = format!("0 s:CN = y\n{}", two.certificate).replace('\n', "\r\n");
    fs::write(folder.trust().join("printed.pem"), printed).unwrap();
    fs::write(folder.trust().join("empty.pem"), "").unwrap();
    // Opening one of these would wait for ever.
    let _socket = std::os::unix::net::UnixListener::bind(folder.trust().join("socket.pem")).unwrap();
    fs::write(folder.trust().join("readme.txt"), "text").unwrap();
    fs::write(folder.trust().join("key.pem"), &one.key).unwrap();
    fs::create_dir(folder.trust().join("..2024_01_01")).unwrap();
    fs::write(
        folder.trust().join("..2024_01_01/hidden.pem"),
        "-----BEGIN CERTIFICATE-----\n",
    )
    .unwrap();
    assert_eq!(folder.material().anchors(), 4);
}

#[tokio::test]
async fn keys_come_in_three_wrappings_and_with_any_line_ends() {
    let pki = pki();
    let elliptic = self_signed(
        &["localhost"],
        Validity::starting(SystemTime::now(), Duration::from_secs(60)),
    );
    let windows = Issued {
        certificate: pki.enforcer.certificate.replace('\n', "\r\n"),
        key: pki.enforcer.key.replace('\n', "\r\n"),
    };
    let cases = [
        ("CRLF", windows, pki.ca.as_str()),
        ("PKCS#8, RSA", pki.enforcer.clone(), pki.ca.as_str()),
        ("PKCS#1", rewrap(&pki.enforcer, "RSA PRIVATE KEY"), &pki.ca),
        ("PKCS#8, EC", elliptic.clone(), &elliptic.certificate),
        ("SEC1", rewrap(&elliptic, "EC PRIVATE KEY"), &elliptic.certificate),
    ];
    for (case, pair, trust) in cases {
        let acceptor = material(Some(&pair), &[]).acceptor(ClientAuth::None, &[]);
        let connector = material(None, &[trust]).connector(&[]);
        let pair = handshake(&acceptor, &connector, "localhost").await;
        pair.unwrap_or_else(|error| panic!("{case}: {error:?}"))
            .exchange()
            .await;
    }
}

/// Takes the inner key out of a PKCS#8 structure: its last element, an octet string.
fn rewrap(pair: &Issued, label: &str) -> Issued {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let der = der.secret_pkcs8_der();
    let (mut rest, _) = element(der);
    let (_, after_version) = element(rest);
    let (_, after_algorithm) = element(after_version);
    rest = element(after_algorithm).0;
    let body = STANDARD.encode(rest);
    Issued {
        key: format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"),
        ..pair.clone()
    }
}

/// The content of the first DER element, and what follows it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (head, len) = match der[1] {
        short @ 0..=127 => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 127);
            (
                2 + count,
                der[2..2 + count]
                    .iter()
                    .fold(0, |len, byte| len << 8 | usize::from(*byte)),
            )
        }
    };
    der[head..].split_at(len)
}

#[test]
fn facts_of_the_own_certificate() {
    let pki = pki();
    let material = material(Some(&pki.enforcer), &[&pki.ca]);
    let facts = material.facts().unwrap();
    assert_eq!(facts.subject, "CN=enforcer");
    assert!(
        facts.issuer.starts_with("CN=Trireme private CA "),
        "{}",
        facts.issuer
    );
    assert_eq!(material.not_after(), Some(facts.not_after));
    let days = facts.remaining(SystemTime::now()).as_secs() / 86_400;
    assert!((89..=90).contains(&days), "{days}");
    assert!(
        facts
            .remaining(facts.not_after + Duration::from_secs(1))
            .is_zero()
    );
    assert!(!facts.is_ca);
    assert_eq!(facts.fingerprint.len(), 64);

    let chain = material.certificate_chain();
    assert_eq!(
        certificate_pem(&chain[0]),
        pki.enforcer.certificate.replace("\r\n", "\n")
    );
    assert_eq!(Facts::of(&b"noise".as_slice().into()), None);
}
