//! The enforcer's settings. Wire: `wso2.discovery.config.enforcer.Config`.
//!
//! Passwords and certificates' paths arrive as the adapter resolved them. Sections whose features are not built yet
//! (the Traffic Manager, analytics, tracing, key stores) are not carried.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::throttle::Limits;

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Issuers of access tokens, in configured order.
    pub issuers: Vec<Issuer>,
    /// Headers that carry credentials.
    pub auth_header: AuthHeader,
    /// Client certificates.
    pub mutual_tls: MutualTlsSettings,
    /// Limits of the authorization service.
    pub service: Service,
    /// Token that is made for the upstream.
    pub generator: Generator,
    /// Token caches.
    pub cache: Cache,
    /// The test token endpoint.
    pub test_issuer: TestIssuer,
    /// User of the admin API.
    pub management: Account,
    /// Whether the admin API answers.
    pub admin_api: bool,
    /// Metrics.
    pub metrics: Metrics,
    /// Filters in their configured order.
    pub filters: Vec<Filter>,
    /// Whether refusals of SOAP calls are SOAP faults.
    pub soap_errors: bool,
    /// Whether API Manager is the control plane.
    pub control_plane: bool,
    /// Limits; absent when all of them are off.
    pub limits: Option<Limits>,
}

/// Who signs access tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Name, which key mappings refer to.
    pub name: String,
    /// Exact value of the claim `iss`.
    pub issuer: String,
    /// Alias of its certificate; empty for the default of the name.
    pub certificate_alias: String,
    /// Where its key set is; empty for none.
    pub jwks_url: String,
    /// Whether a subscription is needed.
    pub validate_subscription: bool,
    /// Claim that holds the consumer key; empty for `consumerKey`, then `azp`.
    pub consumer_key_claim: String,
    /// PEM file of its certificate on the enforcer; empty for none.
    pub certificate_path: String,
    /// Claims to rename.
    pub claim_mapping: Vec<ClaimMapping>,
}

/// One claim to rename.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMapping {
    /// Name in the token.
    pub remote: String,
    /// Name here.
    pub local: String,
}

/// Headers that carry credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthHeader {
    /// Whether the upstream gets the token.
    pub outbound: bool,
    /// Header of the access token.
    pub authorization: String,
    /// Header of the internal key.
    pub internal_key: String,
}

impl Default for AuthHeader {
    fn default() -> Self {
        Self {
            outbound: false,
            authorization: "authorization".to_owned(),
            internal_key: "Internal-Key".to_owned(),
        }
    }
}

/// Client certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutualTlsSettings {
    /// Header that carries a certificate.
    pub header: String,
    /// Whether the certificate of the connection counts; else that of the header.
    pub from_connection: bool,
    /// Whether the header is percent-encoded.
    pub encoded: bool,
    /// Whether the upstream gets the header.
    pub outbound: bool,
}

impl Default for MutualTlsSettings {
    fn default() -> Self {
        Self {
            header: "X-WSO2-CLIENT-CERTIFICATE".to_owned(),
            from_connection: true,
            encoded: false,
            outbound: false,
        }
    }
}

/// Limits of the authorization service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Port.
    pub port: u16,
    /// Longest message in bytes.
    pub max_message_bytes: i32,
    /// Longest header block in bytes.
    pub max_header_bytes: i32,
    /// Between two pings.
    pub keep_alive: Duration,
    /// Worker threads of the original, which are accepted and have no effect here.
    pub pool: ThreadPool,
}

/// Worker threads of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadPool {
    /// Threads kept.
    pub core: i32,
    /// Most threads.
    pub max: i32,
    /// How long an idle one is kept.
    pub keep_alive: Duration,
    /// Longest queue.
    pub queue: i32,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            port: 8081,
            max_message_bytes: 1_000_000_000,
            max_header_bytes: 8192,
            keep_alive: Duration::from_secs(600),
            pool: ThreadPool {
                core: 400,
                max: 500,
                keep_alive: Duration::from_secs(600),
                queue: 1000,
            },
        }
    }
}

/// Token that is made for the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Generator {
    /// Whether it is made.
    pub enabled: bool,
    /// `base64` or `base64url`.
    pub encoding: String,
    /// Prefix of its claims.
    pub claim_dialect: String,
    /// Whether claims are renamed into the dialect.
    pub convert_dialect: bool,
    /// Header that carries it.
    pub header: String,
    /// `SHA256withRSA` or `NONE`.
    pub signing_algorithm: String,
    /// Whether claims of the user are copied.
    pub user_claims: bool,
    /// Class name of the generator.
    pub implementation: String,
    /// Class name of the claim source.
    pub claims_extractor: String,
    /// Seconds it is valid.
    pub ttl_secs: i64,
    /// Key pairs.
    pub keypairs: Vec<Keypair>,
    /// Whether the header names the key.
    pub use_kid: bool,
}

/// Files of one key pair on the enforcer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keypair {
    /// Certificate.
    pub certificate_path: String,
    /// Private key; empty when it isn't used to sign.
    pub key_path: String,
    /// Whether it signs.
    pub signs: bool,
}

/// Token caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Whether results are kept.
    pub enabled: bool,
    /// Most entries.
    pub max_entries: u32,
    /// How long an entry is kept.
    pub expiry: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            enabled: true,
            max_entries: 10_000,
            expiry: Duration::from_secs(15 * 60),
        }
    }
}

/// The test token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestIssuer {
    /// Whether it answers.
    pub enabled: bool,
    /// Claim `iss` of its tokens.
    pub issuer: String,
    /// Without effect, as in the original.
    pub encoding: String,
    /// Prefix of `sub` and `keytype`.
    pub claim_dialect: String,
    /// `SHA256withRSA`; `NONE` is refused by the enforcer.
    pub signing_algorithm: String,
    /// Certificate on the enforcer.
    pub certificate_path: String,
    /// Private key on the enforcer.
    pub key_path: String,
    /// Seconds a token is valid.
    pub validity_secs: i64,
    /// Who may have one.
    pub users: Vec<Account>,
}

impl Default for TestIssuer {
    fn default() -> Self {
        Self {
            enabled: true,
            issuer: "https://localhost:9095/testkey".to_owned(),
            encoding: "base64".to_owned(),
            claim_dialect: String::new(),
            signing_algorithm: "SHA256withRSA".to_owned(),
            certificate_path: "/home/wso2/security/truststore/mg.pem".to_owned(),
            key_path: "/home/wso2/security/keystore/mg.key".to_owned(),
            validity_secs: 3600,
            users: Vec::new(),
        }
    }
}

/// User and password.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Account {
    /// The password is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metrics {
    /// Whether they are published.
    pub enabled: bool,
    /// To what.
    pub kind: String,
}

/// One configured filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Class name.
    pub class: String,
    /// Position in the chain, from 1.
    pub position: i32,
    /// Its own settings.
    pub properties: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            auth_header: AuthHeader::default(),
            mutual_tls: MutualTlsSettings::default(),
            service: Service::default(),
            generator: Generator::default(),
            cache: Cache::default(),
            test_issuer: TestIssuer::default(),
            management: Account::default(),
            admin_api: true,
            metrics: Metrics::default(),
            filters: Vec::new(),
            soap_errors: false,
            control_plane: false,
            limits: None,
        }
    }
}
