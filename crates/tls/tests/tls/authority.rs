use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::tempdir;
use trireme_tls::authority::{Authority, Ensured, RENEW_BEFORE, Validity};
use trireme_tls::{Facts, Material, Settings};

use crate::pki::pki;

fn facts(certificate: &str) -> Facts {
    Facts::of(&CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names_of_temporary_files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".tmp")).collect()
}

#[test]
fn the_same_authority_opens_again() {
    let root = tempdir().unwrap();
    let folder = root.path().join("deep/ca");
    let first = Authority::open_or_create(&folder).unwrap();
    let again = Authority::open_or_create(&folder).unwrap();
    assert_eq!(first.certificate(), again.certificate());
    assert_eq!(
        fs::read_to_string(first.certificate_path()).unwrap(),
        first.certificate()
    );
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("ca.key")), 0o600);
    assert_eq!(mode(&folder.join("ca.pem")), 0o644);
    assert_eq!(names_of_temporary_files(&folder), [""; 0]);
}

#[test]
fn processes_that_start_together_share_one_authority() {
    let root = tempdir().unwrap();
    let certificates = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    Authority::open_or_create(root.path())
                        .unwrap()
                        .certificate()
                        .to_owned()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(
        certificates
            .iter()
            .all(|certificate| certificate == &certificates[0])
    );
}

#[test]
fn pairs_are_made_once_and_renewed_in_time() {
    let root = tempdir().unwrap();
    let authority = Authority::open_or_create(&root.path().join("ca")).unwrap();
    let (key, certificate) = (
        root.path().join("adapter/mg.key"),
        root.path().join("adapter/mg.pem"),
    );
    let ensure = |name: &str| authority.ensure(name, &key, &certificate).unwrap();
    assert_eq!(ensure("adapter"), Ensured::Made);
    assert_eq!((mode(&key), mode(&certificate)), (0o600, 0o644));
    let made = fs::read(&certificate).unwrap();
    assert_eq!(ensure("adapter"), Ensured::Kept);
    assert_eq!(fs::read(&certificate).unwrap(), made);
    let settings = Settings {
        key: key.clone(),
        certificate: certificate.clone(),
        trust: vec![authority.certificate_path()],
        ..Default::default()
    };
    let facts = Material::load(settings).unwrap().facts().unwrap();
    assert_eq!(facts.names, ["adapter", "localhost", "127.0.0.1", "::1"]);
    assert!(
        fs::read_to_string(&key)
            .unwrap()
            .starts_with("-----BEGIN PRIVATE KEY-----")
    );

    // What makes a pair no longer good: little time left, another CA, a key that went missing.
    let soon = Validity::starting(SystemTime::now(), RENEW_BEFORE - Duration::from_secs(3600));
    authority
        .issue("adapter", &["localhost"], soon)
        .unwrap()
        .write(&key, &certificate)
        .unwrap();
    assert_eq!(ensure("adapter"), Ensured::Made);
    pki().foreign.write(&key, &certificate).unwrap();
    assert_eq!(ensure("router"), Ensured::Made);
    fs::remove_file(&key).unwrap();
    assert_eq!(ensure("router"), Ensured::Made);
    assert_eq!(names_of_temporary_files(&root.path().join("adapter")), [""; 0]);
}

#[test]
fn an_old_authority_is_renewed_with_its_key() {
    let root = tempdir().unwrap();
    let before = Authority::open_or_create(root.path()).unwrap();
    let (leaf_key, leaf) = (root.path().join("mg.key"), root.path().join("mg.pem"));
    before.ensure("router", &leaf_key, &leaf).unwrap();
    let key = KeyPair::from_pem(&fs::read_to_string(root.path().join("ca.key")).unwrap()).unwrap();
    let name = facts(before.certificate()).subject;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, name.strip_prefix("CN=").unwrap());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.not_after = (SystemTime::now() + Duration::from_secs(86_400)).into();
    fs::write(
        root.path().join("ca.pem"),
        params.self_signed(&key).unwrap().pem(),
    )
    .unwrap();

    let after = Authority::open_or_create(root.path()).unwrap();
    let renewed = facts(after.certificate());
    assert!(renewed.remaining(SystemTime::now()) > Duration::from_secs(3000 * 86_400));
    assert_eq!(renewed.subject, name);
    assert_eq!(after.ensure("router", &leaf_key, &leaf).unwrap(), Ensured::Kept);
    let same = KeyPair::from_pem(&fs::read_to_string(root.path().join("ca.key")).unwrap()).unwrap();
    assert_eq!(key.serialized_der(), same.serialized_der());
}

#[test]
fn a_broken_authority_is_never_replaced() {
    let root = tempdir().unwrap();
    Authority::open_or_create(root.path()).unwrap();
    let key = root.path().join("ca.key");
    fs::write(&key, "broken").unwrap();
    assert!(Authority::open_or_create(root.path()).is_err());
    assert_eq!(fs::read_to_string(&key).unwrap(), "broken");
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = Authority::open_or_create(root.path()).unwrap_err().to_string();
    assert!(error.contains("ca.pem") && error.contains("ca.key"), "{error}");
}

#[test]
fn a_servers_certificate_makes_no_client() {
    let root = tempdir().unwrap();
    let authority = Authority::open_or_create(root.path()).unwrap();
    let validity = Validity::starting(SystemTime::now(), Duration::from_secs(3600));
    for (issued, client) in [
        (authority.issue("a.example", &[], validity).unwrap(), true),
        (authority.issue_server("a.example", &[], validity).unwrap(), false),
    ] {
        let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert_eq!((usage.server_auth, usage.client_auth), (true, client));
    }
}
