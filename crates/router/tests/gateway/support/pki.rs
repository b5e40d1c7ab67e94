//! One private CA for all tests of the run: keys take long to make in debug builds.

use std::path::PathBuf;
use std::sync::OnceLock;

use tempfile::TempDir;
use trireme_tls::authority::Authority;
use trireme_tls::{Material, Settings};

/// A CA and a certificate for each party.
pub(crate) struct Pki {
    dir: TempDir,
}

impl Pki {
    /// Makes it at the first call.
    pub(crate) fn get() -> &'static Self {
        static PKI: OnceLock<Pki> = OnceLock::new();
        PKI.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let authority = Authority::open_or_create(dir.path()).unwrap();
            let pki = Self { dir };
            for name in ["adapter", "enforcer", "router"] {
                authority
                    .ensure(name, &pki.key(name), &pki.certificate(name))
                    .unwrap();
            }
            pki
        })
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.key"))
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.pem"))
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn settings(&self, name: &str) -> Settings {
        Settings {
            key: self.key(name),
            certificate: self.certificate(name),
            trust: vec![self.ca()],
            ..Default::default()
        }
    }

    pub(crate) fn material(&self, name: &str) -> Material {
        Material::load(self.settings(name)).unwrap()
    }
}
