//! Test tokens, and the keys that the enforcer publishes (spec/enforcer.md §12.1, §12.2).

use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq;
use trireme_config::is_default_login;
use trireme_policy::settings::{Account, Keypair, TestIssuer as Settings};

use crate::credential::keys::PublicKey;
use crate::event;

/// Claim `aud` of every test token.
const AUDIENCE: &str = "http://org.wso2.apimgt/gateway";

/// Issues test tokens.
pub(crate) struct TestIssuer {
    settings: Settings,
    key: EncodingKey,
    header: Header,
    refuses_defaults: bool,
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuer")
            .field("issuer", &self.settings.issuer)
            .finish_non_exhaustive()
    }
}

impl TestIssuer {
    /// Reads the key. `None`, with an error in the log unless it is disabled, when no token could be issued.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        if !settings.enabled {
            return None;
        }
        let unusable = |path: &str, reason: String| {
            event::KeyUnusable {
                name: "test token issuer",
                path,
                reason: &reason,
            }
            .emit();
        };
        // `NONE` is what the original offers beside it: a token that anybody could have made.
        if !matches!(settings.signing_algorithm.as_str(), "" | "SHA256withRSA") {
            unusable(
                "signingAlgorithm",
                format!("{:?} is not supported", settings.signing_algorithm),
            );
            return None;
        }
        let key = std::fs::read(&settings.key_path)
            .map_err(|error| error.to_string())
            .and_then(|pem| EncodingKey::from_rsa_pem(&pem).map_err(|error| error.to_string()));
        let key = key.map_err(|reason| unusable(&settings.key_path, reason)).ok()?;
        let mut header = Header::new(Algorithm::RS256);
        match CertificateDer::from_pem_file(&settings.certificate_path) {
            Ok(der) => {
                let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, &der);
                header.x5t = Some(URL_SAFE_NO_PAD.encode(thumbprint));
            }
            Err(error) => unusable(&settings.certificate_path, error.to_string()),
        }
        Some(Self {
            settings: settings.clone(),
            key,
            header,
            refuses_defaults: false,
        })
    }

    /// Refuses the login that everybody knows, though it is right, if told to; says which of both it does where there is one.
    pub(crate) fn refusing_defaults(mut self, refuses: bool) -> Self {
        self.refuses_defaults = refuses;
        let mut users = self.settings.users.iter();
        if users.any(|account| is_default_login(&account.username, &account.password)) {
            event::DefaultLogin { refused: refuses }.emit();
        }
        self
    }

    /// Whether a login that is right is refused all the same.
    pub(crate) fn refuses(&self, username: &str, password: &str) -> bool {
        self.refuses_defaults && is_default_login(username, password)
    }

    /// Whether one of the accounts has this user and password. Every account is looked at, and whole, so that the time
    /// tells nothing. An account without a password is nobody's.
    pub(crate) fn knows(&self, username: &str, password: &str) -> bool {
        let matches = |account: &Account| {
            let user = account.username.as_bytes().ct_eq(username.as_bytes());
            let password = account.password.as_bytes().ct_eq(password.as_bytes());
            bool::from(user & password) && !account.password.is_empty()
        };
        self.settings
            .users
            .iter()
            .filter(|account| matches(account))
            .count()
            > 0
    }

    /// A token for the user with these scopes, as text.
    pub(crate) fn issue(
        &self,
        username: &str,
        scope: Option<&str>,
        now: u64,
    ) -> Result<String, SigningFailed> {
        let dialect = match self.settings.claim_dialect.as_str() {
            "" => String::new(),
            dialect => format!("{dialect}/"),
        };
        let validity = u64::try_from(self.settings.validity_secs).unwrap_or(0);
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), self.settings.issuer.as_str().into());
        claims.insert("aud".to_owned(), AUDIENCE.into());
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), now.saturating_add(validity).into());
        claims.insert("jti".to_owned(), uuid::Uuid::new_v4().to_string().into());
        claims.insert(format!("{dialect}keytype"), "PRODUCTION".into());
        claims.insert(format!("{dialect}sub"), username.into());
        if let Some(scope) = scope {
            claims.insert("scope".to_owned(), scope.into());
        }
        jsonwebtoken::encode(&self.header, &Value::Object(claims), &self.key).map_err(SigningFailed)
    }
}

/// The library wouldn't sign.
#[derive(Debug, thiserror::Error)]
#[error("token cannot be signed")]
pub(crate) struct SigningFailed(#[source] jsonwebtoken::errors::Error);

/// The document of `/jwks`: the public keys of the configured certificates.
pub(crate) fn jwks(keypairs: &[Keypair]) -> String {
    let keys: Vec<_> = keypairs.iter().filter_map(jwk).collect();
    json!({ "keys": keys }).to_string()
}

fn jwk(pair: &Keypair) -> Option<Value> {
    let path = &pair.certificate_path;
    let unusable = |reason: String| {
        event::KeyUnusable {
            name: "token generator",
            path,
            reason: &reason,
        }
        .emit()
    };
    let pem = std::fs::read(path)
        .map_err(|error| unusable(error.to_string()))
        .ok()?;
    let der = CertificateDer::from_pem_slice(&pem)
        .map_err(|error| unusable(error.to_string()))
        .ok()?;
    let key = PublicKey::certificate(&pem)
        .map_err(|error| unusable(error.to_string()))
        .ok()?;
    let (modulus, exponent) = key.components();
    Some(json!({
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": URL_SAFE_NO_PAD.encode(digest(&SHA256, &der)),
        "n": URL_SAFE_NO_PAD.encode(modulus),
        "e": URL_SAFE_NO_PAD.encode(exponent),
    }))
}
