//! Key pairs and Secrets, in the two ways that installations have them: one self-signed pair everywhere, as the original
//! ships it, and a private authority with a pair for each process.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tempfile::TempDir;
use trireme_tls::authority::{Authority, Validity};

use crate::manifest::{Data, Objects};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// The three processes.
const PROCESSES: [&str; 3] = ["adapter", "enforcer", "router"];

/// A private key and its certificate, PEM.
#[derive(Clone)]
pub struct Pair {
    /// PKCS#8.
    pub key: String,
    /// Certificate.
    pub certificate: String,
}

/// A private authority.
#[derive(Debug)]
pub struct Trust {
    authority: Authority,
    _folder: TempDir,
}

/// The pairs of the three processes, and what each trusts.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// By process.
    pub pairs: BTreeMap<&'static str, Pair>,
    /// PEM of every certificate that is trusted between them.
    pub trust: String,
    /// Signs tokens; its certificate is the original's `wso2carbon.pem`.
    pub issuer: Pair,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

impl Pair {
    /// A self-signed pair, as `openssl req -x509` makes it, and as the original ships one.
    ///
    /// # Errors
    /// No key can be made.
    pub fn alone(name: &str, others: &[&str]) -> anyhow::Result<Self> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let names: Vec<_> = others.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let now = SystemTime::now();
        params.not_before = (now - YEAR).into();
        params.not_after = (now + YEAR).into();
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            key: key.serialize_pem(),
            certificate,
        })
    }
}

impl Trust {
    /// A new authority.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            authority: Authority::open_or_create(folder.path())?,
            _folder: folder,
        })
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        self.authority.certificate()
    }

    /// A pair for a process, good from an hour ago for a year.
    ///
    /// # Errors
    /// No key can be made.
    pub fn pair(&self, name: &str, others: &[&str]) -> anyhow::Result<Pair> {
        self.pair_until(name, others, SystemTime::now() + YEAR)
    }

    /// A pair that is good until then.
    ///
    /// # Errors
    /// No key can be made.
    pub fn pair_until(&self, name: &str, others: &[&str], not_after: SystemTime) -> anyhow::Result<Pair> {
        let not_before = SystemTime::now() - 2 * YEAR;
        let validity = Validity {
            not_before,
            not_after,
        };
        let issued = self.authority.issue(name, others, validity)?;
        Ok(Pair {
            key: issued.key,
            certificate: issued.certificate,
        })
    }
}

impl Secrets {
    /// One pair for all, its certificate the anchor of all: what the original ships (spec/deployment.md 9.2).
    ///
    /// # Errors
    /// No key can be made.
    pub fn shared() -> anyhow::Result<Self> {
        let pair = Pair::alone("localhost", &["adapter", "enforcer", "router", "localhost"])?;
        Ok(Self {
            trust: pair.certificate.clone(),
            pairs: PROCESSES
                .into_iter()
                .map(|process| (process, pair.clone()))
                .collect(),
            issuer: Pair::alone("localhost", &["localhost"])?,
        })
    }

    /// A pair for each process, of one authority; the router's is for the callers' host as well.
    ///
    /// # Errors
    /// No key can be made.
    pub fn issued(authority: &Trust, host: &str) -> anyhow::Result<Self> {
        let mut pairs = BTreeMap::new();
        for process in PROCESSES {
            // The adapter's certificate is that of the router's listeners too (spec/deployment.md 9.3).
            pairs.insert(process, authority.pair(process, &["localhost", host])?);
        }
        Ok(Self {
            pairs,
            trust: authority.certificate().to_owned(),
            issuer: Pair::alone("localhost", &["localhost"])?,
        })
    }

    /// The Secrets that the manifests mount, by name (spec/deployment.md 11.1).
    ///
    /// # Panics
    /// A process has no pair.
    pub fn objects(&self) -> BTreeMap<String, Data> {
        let text = |text: &str| text.as_bytes().to_vec();
        let mut secrets = BTreeMap::new();
        for process in PROCESSES {
            let pair = self.pairs.get(process).expect("every process has a pair");
            let keystore = [("mg.key", &pair.key), ("mg.pem", &pair.certificate)];
            let mut truststore = Data::from([("mg.pem".to_owned(), text(&self.trust))]);
            match process {
                "adapter" => {
                    drop(truststore.insert("controlplane.pem".to_owned(), text(&self.issuer.certificate)))
                }
                "enforcer" => {
                    drop(truststore.insert("wso2carbon.pem".to_owned(), text(&self.issuer.certificate)))
                }
                _ => {}
            }
            let keystore = keystore.map(|(name, value)| (name.to_owned(), text(value)));
            secrets.insert(format!("{process}-keystore"), Data::from(keystore));
            secrets.insert(format!("{process}-truststore"), truststore);
        }
        secrets
    }

    /// Puts them into objects, in place of those of the same names.
    pub fn put(&self, objects: &mut Objects) {
        objects.secrets.extend(self.objects());
    }

    /// A token of the issuer for `client`, good for an hour.
    ///
    /// # Errors
    /// The issuer's key cannot sign.
    pub fn token(&self, issuer: &str, client: &str, scopes: &str) -> anyhow::Result<String> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs();
        let claims = serde_json::json!({
            "iss": issuer, "sub": "admin", "aud": client, "azp": client, "scope": scopes,
            "iat": now, "nbf": now, "exp": now + 3600, "jti": format!("{:032x}", fastrand::u128(..)),
        });
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(self.issuer.key.as_bytes())
            .context("the issuer's key")?;
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        Ok(jsonwebtoken::encode(&header, &claims, &key)?)
    }
}
