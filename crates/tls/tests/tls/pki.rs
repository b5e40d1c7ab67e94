//! Key material for tests. RSA keys take long to make, so the common ones are made once.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tempfile::TempDir;
use trireme_tls::authority::{Authority, Issued, LOCAL_NAMES, Validity};
use trireme_tls::{Material, Settings};

const DAY: Duration = Duration::from_secs(86_400);

/// A CA with the certificates of two processes, and what strangers have.
pub(crate) struct Pki {
    pub(crate) ca: String,
    pub(crate) enforcer: Issued,
    pub(crate) router: Issued,
    pub(crate) expired: Issued,
    pub(crate) foreign_ca: String,
    pub(crate) foreign: Issued,
}

pub(crate) fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let authority = Authority::open_or_create(ours.path()).unwrap();
        let foreign = Authority::open_or_create(theirs.path()).unwrap();
        let now = SystemTime::now();
        let valid = Validity::starting(now, 90 * DAY);
        let past = Validity {
            not_before: now - 60 * DAY,
            not_after: now - DAY,
        };
        Pki {
            ca: authority.certificate().to_owned(),
            enforcer: authority.issue("enforcer", LOCAL_NAMES, valid).unwrap(),
            router: authority.issue("router", LOCAL_NAMES, valid).unwrap(),
            expired: authority.issue("router", LOCAL_NAMES, past).unwrap(),
            foreign_ca: foreign.certificate().to_owned(),
            foreign: foreign.issue("router", LOCAL_NAMES, valid).unwrap(),
        }
    })
}

/// What `openssl req -x509` makes, and what the original ships: one certificate that is CA and end entity at once.
pub(crate) fn self_signed(names: &[&str], validity: Validity) -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    let certificate = params.self_signed(&key).unwrap().pem();
    Issued {
        certificate,
        key: key.serialize_pem(),
    }
}

/// `mg.key`, `mg.pem` and a trust folder, as in the original's images.
pub(crate) struct Folder {
    pub(crate) root: TempDir,
}

impl Folder {
    pub(crate) fn new(pair: &Issued, trust: &[&str]) -> Self {
        let folder = Self {
            root: TempDir::new().unwrap(),
        };
        pair.write(&folder.key(), &folder.certificate()).unwrap();
        std::fs::create_dir(folder.trust()).unwrap();
        for (number, certificate) in trust.iter().enumerate() {
            std::fs::write(folder.trust().join(format!("{number}.pem")), certificate).unwrap();
        }
        folder
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.path().join("keystore/mg.key")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.path().join("keystore/mg.pem")
    }

    pub(crate) fn trust(&self) -> PathBuf {
        self.path().join("truststore")
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            key: self.key(),
            certificate: self.certificate(),
            trust: vec![self.trust()],
            ..Default::default()
        }
    }

    pub(crate) fn material(&self) -> Material {
        Material::load(self.settings()).unwrap()
    }

    fn path(&self) -> &Path {
        self.root.path()
    }
}

/// Material that is not on disk.
pub(crate) fn material(pair: Option<&Issued>, trust: &[&str]) -> Material {
    Material::from_pem(&trireme_tls::Pem {
        identity: pair.map(|pair| {
            (
                pair.key.clone().into_bytes(),
                pair.certificate.clone().into_bytes(),
            )
        }),
        trust: trust
            .iter()
            .map(|certificate| certificate.as_bytes().to_vec())
            .collect(),
        ..Default::default()
    })
    .unwrap()
}
