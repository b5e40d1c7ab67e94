//! Keys, tokens, policies and requests that the tests are made of.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::subscriber::DefaultGuard;
use trireme_fetch::{Client, Settings as Outside};
use trireme_policy::api::*;
use trireme_policy::settings::{Account, Issuer, Settings, TestIssuer};
use trireme_policy::{ApiPolicy, Update};
use trireme_telemetry::Metrics;
use trireme_tls::authority::{Authority, DEFAULT_VALIDITY, Issued, Validity};

use crate::api::Api;
use crate::attributes::{Attributes, Route};
use crate::check::{Known, check, stages};
use crate::credential::jwks::Fetcher;
use crate::event::Counters;
use crate::limits::{Handover, Limits, Places};
use crate::need::{Need, Now};
use crate::security::Security;
use crate::snapshot::Snapshot;
use crate::verdict::{Admitted, Reason, Verdict};

/// Unix time of all checks that don't run on the clock.
pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const ISSUER: &str = "https://issuer.example";
pub(super) const OTHER: &str = "https://other.example";

/// One certificate authority and two key pairs for the whole run: making RSA keys takes a while.
pub(super) struct Keys {
    pub(super) folder: TempDir,
    pub(super) authority: Authority,
    pub(super) ours: Issued,
    pub(super) theirs: Issued,
}

pub(super) static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open_or_create(folder.path()).unwrap();
    let validity = Validity::starting(SystemTime::now(), DEFAULT_VALIDITY);
    let issue = |name: &str| {
        let issued = authority
            .issue(name, &["localhost", "127.0.0.1"], validity)
            .unwrap();
        std::fs::write(folder.path().join(format!("{name}.pem")), &issued.certificate).unwrap();
        std::fs::write(folder.path().join(format!("{name}.key")), &issued.key).unwrap();
        issued
    };
    let (ours, theirs) = (issue("ours"), issue("theirs"));
    Keys {
        folder,
        authority,
        ours,
        theirs,
    }
});

pub(super) fn path(name: &str) -> PathBuf {
    KEYS.folder.path().join(name)
}

pub(super) fn text(name: &str) -> String {
    path(name).to_str().unwrap().to_owned()
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The signature of a text, by the algorithm's name.
pub(super) fn sign(issued: &Issued, algorithm: &str, message: &str) -> Vec<u8> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let encoding = match algorithm {
        "RS384" => &RSA_PKCS1_SHA384,
        "RS512" => &RSA_PKCS1_SHA512,
        _ => &RSA_PKCS1_SHA256,
    };
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature)
        .unwrap();
    signature
}

/// A token with exactly this header and these claims.
pub(super) fn token(issued: &Issued, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let algorithm = header["alg"].as_str().unwrap_or_default().to_owned();
    format!("{signed}.{}", encode(sign(issued, &algorithm, &signed)))
}

pub(super) fn header() -> Value {
    json!({ "alg": "RS256", "typ": "JWT" })
}

/// Claims of a good token.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "alice",
        "aud": "https://api.example",
        "exp": NOW + 3600,
        "nbf": NOW - 60,
        "iat": NOW - 60,
        "jti": "1234",
    })
}

/// The good claims with these changed; a null takes one away.
pub(super) fn changed(changes: &Value) -> Value {
    let mut claims = claims();
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    claims
}

pub(super) fn good_token() -> String {
    token(&KEYS.ours, &header(), &claims())
}

/// A token that is good on the clock as well.
pub(super) fn lasting_token() -> String {
    let claims = changed(&json!({ "nbf": null, "exp": 10 * NOW }));
    token(&KEYS.ours, &header(), &claims)
}

/// An issuer whose certificate is `name`'s.
pub(super) fn issuer(issuer: &str, name: &str) -> Issuer {
    Issuer {
        name: issuer.to_owned(),
        issuer: issuer.to_owned(),
        certificate_alias: name.to_owned(),
        jwks_url: String::new(),
        validate_subscription: false,
        consumer_key_claim: String::new(),
        certificate_path: text(&format!("{name}.pem")),
        claim_mapping: Vec::new(),
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        issuers: vec![issuer(ISSUER, "ours"), issuer(OTHER, "theirs")],
        test_issuer: TestIssuer {
            issuer: ISSUER.to_owned(),
            certificate_path: text("ours.pem"),
            key_path: text("ours.key"),
            users: vec![
                Account {
                    username: "admin".to_owned(),
                    password: "secret".to_owned(),
                },
                Account {
                    username: "nobody".to_owned(),
                    password: String::new(),
                },
            ],
            ..TestIssuer::default()
        },
        ..Settings::default()
    }
}

/// `/pets` and `/pets/{id}` of `/v2`, open to holders of a good token.
pub(super) fn policy() -> ApiPolicy {
    let resource = |path: &str, methods: &[Method]| Resource {
        id: path.to_owned(),
        path: path.to_owned(),
        operations: methods.iter().map(|method| Operation::new(*method)).collect(),
        production: None,
        sandbox: None,
    };
    ApiPolicy {
        id: "pets".to_owned(),
        title: "Pets".to_owned(),
        version: "1.0".to_owned(),
        kind: ApiKind::Http,
        description: String::new(),
        production: Some(EndpointCluster {
            endpoints: vec![Endpoint {
                host: "prod.example".to_owned(),
                base_path: "/base".to_owned(),
                scheme: "http".to_owned(),
                port: 80,
            }],
            ..EndpointCluster::default()
        }),
        sandbox: None,
        resources: vec![
            resource("/pets", &[Method::Get, Method::Post]),
            resource("/pets/{id}", &[Method::Get]),
        ],
        base_path: "/v2".to_owned(),
        vhost: "localhost".to_owned(),
        tier: String::new(),
        lifecycle: Lifecycle::Published,
        schemes: vec![SecurityScheme {
            definition: "default".to_owned(),
            kind: SchemeKind::OAuth2,
            name: String::new(),
            location: Location::Other(String::new()),
        }],
        security: vec![Requirement::one("default", Vec::new())],
        endpoint_security: EndpointSecurity::default(),
        authorization_header: None,
        disable_security: false,
        organization: String::new(),
        mocked: false,
        client_certificates: Vec::new(),
        mutual_tls: MutualTls::Absent,
        application_security: false,
        graphql: None,
        endpoint_type: String::new(),
        revision: Revision {
            epoch: 10,
            counter: 5,
        },
    }
}

/// The policy with changes.
pub(super) fn policy_with(change: impl FnOnce(&mut ApiPolicy)) -> ApiPolicy {
    let mut policy = policy();
    change(&mut policy);
    policy
}

/// The policy with keys in both places and a pinned certificate of ours, and with changes.
pub(super) fn guarded_with(change: impl FnOnce(&mut ApiPolicy)) -> ApiPolicy {
    policy_with(|policy| {
        for (definition, location) in [("key_header", Location::Header), ("key_query", Location::Query)] {
            policy.schemes.push(SecurityScheme {
                definition: definition.to_owned(),
                kind: SchemeKind::ApiKey,
                name: "ApiKey".to_owned(),
                location,
            });
        }
        policy.client_certificates = vec![ClientCertificate {
            alias: "ours".to_owned(),
            key_type: None,
            tier: String::new(),
            pem: KEYS.ours.certificate.clone().into_bytes(),
        }];
        change(policy);
    })
}

pub(super) fn fetcher() -> Fetcher {
    let outside = Client::new(Outside {
        trust: vec![KEYS.authority.certificate_path()],
        ..Outside::default()
    });
    let counters = Counters::new(&Metrics::new());
    Fetcher::new(Handle::current(), TaskTracker::new(), outside, counters)
}

/// Settings made ready, with counters of their own.
pub(super) fn security(settings: Settings) -> Security {
    let mut places = Places::new(Metrics::new(), [7; 16], None, Arc::new(Handover::new(None)));
    let limits = Limits::new(&settings, &mut places).unwrap();
    Security::new(settings, limits, &fetcher(), None)
}

/// A snapshot that checks are asked of.
pub(super) struct World {
    pub(super) snapshot: Snapshot,
    pub(super) now: u64,
}

impl World {
    pub(super) fn new(policy: ApiPolicy, settings: Settings) -> Self {
        let upserts = vec![(policy.name(), Arc::new(Api::new(policy).unwrap()))];
        let snapshot = Snapshot {
            security: Some(Arc::new(security(settings))),
            apis: trireme_policy::PolicyTable::default().update(Update {
                upserts,
                removals: Vec::new(),
            }),
            complete: true,
            version: 1,
        };
        Self { snapshot, now: NOW }
    }

    pub(super) fn check<'a>(&'a self, attributes: &'a Attributes<'a>) -> Result<Verdict<'a>, Need> {
        let now = Now {
            unix: self.now,
            instant: Instant::now(),
        };
        let security = self.snapshot.ready().unwrap();
        let mut known = Known::default();
        let (_, verdict) = check(attributes, &self.snapshot, security, now, stages, &mut known)?;
        Ok(verdict)
    }

    /// The verdict of a check that waits for nothing, or in vain for the API, as a label: `admitted` or the reason.
    pub(super) fn label(&self, attributes: &Attributes<'_>) -> &'static str {
        match self.check(attributes) {
            Ok(verdict) => label(&verdict),
            Err(need @ Need::Api) => need.in_vain().unwrap().label(),
            Err(need) => panic!("{need:?} is missing"),
        }
    }

    /// As [`World::label`] for `GET /v2/pets` with this access token.
    pub(super) fn token(&self, token: &str) -> &'static str {
        let value = format!("Bearer {token}");
        self.label(&get(&[("authorization", &value)]))
    }

    pub(super) fn admitted<'a>(&'a self, attributes: &'a Attributes<'a>) -> Admitted<'a> {
        match self.check(attributes).unwrap() {
            Verdict::Admitted(admitted) => admitted,
            Verdict::Denied(denial) => panic!("denied: {:?}", denial.reason),
        }
    }

    pub(super) fn denied(&self, attributes: &Attributes<'_>) -> Reason {
        match self.check(attributes).unwrap() {
            Verdict::Denied(denial) => denial.reason,
            Verdict::Admitted(_) => panic!("admitted"),
        }
    }
}

/// The verdict as a label: `admitted` or the reason.
pub(super) fn label(verdict: &Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::Admitted(_) => "admitted",
        Verdict::Denied(denial) => denial.reason.label(),
    }
}

/// `GET /v2/pets` with these headers.
pub(super) fn get<'a>(headers: &[(&'a str, &'a str)]) -> Attributes<'a> {
    Attributes {
        method: "GET",
        path: "/v2/pets?limit=1",
        id: "request-1",
        peer: "10.0.0.1",
        route: Route {
            name: "Pets",
            vhost: "localhost",
            base_path: "/v2",
            version: "1.0",
            template: "/pets",
            production: "prod",
            sandbox: "sand",
            revision: Revision {
                epoch: 10,
                counter: 5,
            },
        },
        ..Attributes::with_headers(headers)
    }
}

/// What this thread logs while it is there.
pub(super) struct Log {
    folder: TempDir,
    _guard: DefaultGuard,
}

impl Log {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = Arc::new(File::create(folder.path().join("log")).unwrap());
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(file)
            .finish();
        Self {
            folder,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// The lines that hold this text, from there on.
    pub(super) fn lines(&self, text: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        let of = |line: &str| line.find(text).and_then(|at| line.get(at..)).map(str::to_owned);
        log.lines().filter_map(of).collect()
    }
}

/// A bound for everything in tests that waits.
pub(super) const BOUND: Duration = Duration::from_secs(10);
