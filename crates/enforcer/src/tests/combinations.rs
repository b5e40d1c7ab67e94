//! Who gets in, and what the others are told, over random combinations of what guards an operation, what is configured and
//! what a caller shows: against a model of the decision that knows credentials by what is wrong with them.
//!
//! ```text
//! Guard + Setup + Shown ─┬─▶ World ─▶ check ───▶ verdict ──┐
//!                        └─▶ model ─────────────▶ outcome ─┴─ equal
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use trireme_policy::ApiPolicy;
use trireme_policy::api::*;
use trireme_policy::settings::Settings;

use super::fixture::*;
use crate::attributes::Attributes;
use crate::security::Security;
use crate::verdict::Verdict;

/// Sets of guard and configuration, and callers of each.
const WORLDS: usize = 250;
const CALLERS: usize = 40;

/// What a check says: scheme and environment of the caller, or the label of the reason.
type Outcome = Result<(&'static str, &'static str), &'static str>;

/// What guards the operation.
#[derive(Debug, Clone)]
struct Guard {
    mutual_tls: MutualTls,
    application: bool,
    open: bool,
    blocked: bool,
    /// Definitions that are needed together, in every alternative.
    alternatives: Vec<Vec<&'static str>>,
    /// Whether a token needs the scope `read`.
    scope: bool,
}

/// What is configured.
#[derive(Debug, Clone, Copy)]
struct Setup {
    /// Whether access tokens of our issuer have to name the API.
    validate: bool,
    publisher: bool,
    /// Whether there is a signer of API keys besides the publisher, and whether its keys have to name the API.
    keys: Option<bool>,
    control_plane: bool,
}

/// What a caller shows, and the clusters of the route.
#[derive(Debug, Clone, Copy)]
struct Shown {
    certificate: Certificate,
    internal: Internal,
    token: Access,
    header: Key,
    query: Key,
    production: bool,
    sandbox: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certificate {
    Garbage,
    None,
    Pinned,
    Strange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Internal {
    Elsewhere,
    Expired,
    Good,
    None,
    Other,
    Strange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Access {
    Endless,
    Expired,
    Forged,
    /// Its signature and times are good.
    Good {
        read: bool,
        named: bool,
        environment: Environment,
    },
    None,
    NotAToken,
    /// Made for another purpose.
    OfAKey,
    /// Its header isn't that of a token at all.
    Shapeless,
    /// Its key server doesn't answer.
    Unanswered,
    UnknownIssuer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// Bound to other addresses.
    Bound,
    Expired,
    Good {
        named: bool,
        environment: Environment,
    },
    Garbage,
    None,
    /// Made for another purpose.
    OfAToken,
    Strange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Environment {
    Nonsense,
    Production,
    Sandbox,
}

impl Environment {
    fn claim(self) -> &'static str {
        match self {
            Self::Nonsense => "NONSENSE",
            Self::Production => "PRODUCTION",
            Self::Sandbox => "SANDBOX",
        }
    }
}

impl Guard {
    /// Whether some alternative names the definition.
    fn names(&self, definition: &str) -> bool {
        self.alternatives
            .iter()
            .flatten()
            .any(|named| *named == definition)
    }
}

// === the model ===

/// A caller as the model has it.
type Known = (&'static str, Environment);

fn model(guard: &Guard, setup: Setup, shown: Shown) -> Outcome {
    let (scheme, environment) = caller(guard, setup, shown)?;
    if guard.blocked {
        return Err("api_blocked");
    }
    match environment {
        Environment::Nonsense => Err("key_type_unknown"),
        Environment::Production if !shown.production => Err("no_production_endpoint"),
        Environment::Sandbox if !shown.sandbox => Err("no_sandbox_endpoint"),
        Environment::Production | Environment::Sandbox => Ok((scheme, environment.claim())),
    }
}

fn caller(guard: &Guard, setup: Setup, shown: Shown) -> Result<Known, &'static str> {
    let default = if shown.production {
        Environment::Production
    } else {
        Environment::Sandbox
    };
    if guard.open {
        return Ok(("Unsecured", default));
    }
    let mut reasons = Vec::new();
    let certified = match shown.certificate {
        Certificate::Garbage => Err("certificate_unreadable"),
        Certificate::None | Certificate::Strange => Err("no_credentials"),
        Certificate::Pinned => Ok(()),
    };
    match guard.mutual_tls {
        MutualTls::Absent => {}
        MutualTls::Mandatory => {
            certified?;
            if !guard.application {
                return Ok(("mtls", default));
            }
        }
        MutualTls::Optional => reasons.extend(certified.err().filter(|reason| *reason != "no_credentials")),
    }
    let mut tried = false;
    if let Some(internal) = internal(setup, shown.internal) {
        tried = true;
        match internal {
            Ok(known) => return Ok(known),
            Err(reason) => reasons.push(reason),
        }
    }
    let takes_token = guard.alternatives.is_empty() || guard.names("default");
    let mut held: Vec<(&'static str, Known)> = Vec::new();
    let mut unanswered = false;
    if takes_token && let Some(token) = access(guard, setup, shown.token) {
        tried = true;
        match token {
            Ok(known) => {
                held.push(("default", known));
                if satisfied(guard, &held) {
                    return Ok(known);
                }
            }
            Err("keys_unavailable") => unanswered = true,
            Err(reason) => reasons.push(reason),
        }
    }
    // In the order in which the definition names them, which is that of the alphabet within an alternative.
    let mut places: Vec<_> = Vec::new();
    for definition in guard.alternatives.iter().flatten() {
        if definition.starts_with("key_") && !places.contains(definition) {
            places.push(*definition);
        }
    }
    let together = guard.alternatives.iter().any(|needs| needs.len() > 1);
    for definition in places {
        let shown = match definition {
            "key_header" => shown.header,
            _ => shown.query,
        };
        let Some(key) = key(setup, shown) else { continue };
        tried = true;
        match key {
            Ok(known) => {
                held.push((definition, known));
                if satisfied(guard, &held) {
                    // The token where it is held, else the key that made it enough.
                    let token = held.iter().find(|(definition, _)| *definition == "default");
                    return Ok(token.map_or(known, |(_, token)| *token));
                }
            }
            Err(reason) => reasons.push(reason),
        }
        if !together {
            break;
        }
    }
    // Of several reasons the first, unless a key server is at fault: that is never the caller's.
    let reason = if unanswered {
        Some("keys_unavailable")
    } else {
        reasons.first().copied()
    };
    Err(reason.filter(|_| tried).unwrap_or("no_credentials"))
}

fn satisfied(guard: &Guard, held: &[(&'static str, Known)]) -> bool {
    let has = |wanted: &&str| held.iter().any(|(definition, _)| definition == wanted);
    match guard.alternatives.as_slice() {
        [] => has(&"default"),
        alternatives => alternatives.iter().any(|needs| needs.iter().all(has)),
    }
}

fn internal(setup: Setup, shown: Internal) -> Option<Result<Known, &'static str>> {
    if shown == Internal::None {
        return None;
    }
    Some(match shown {
        _ if !setup.publisher => Err("token_invalid"),
        Internal::Elsewhere => Err("forbidden"),
        Internal::Expired | Internal::Other => Err("token_invalid"),
        Internal::Strange => Err("api_key_invalid"),
        Internal::Good | Internal::None => Ok(("Internal Key", Environment::Production)),
    })
}

fn access(guard: &Guard, setup: Setup, shown: Access) -> Option<Result<Known, &'static str>> {
    Some(match shown {
        Access::None | Access::Shapeless => return None,
        Access::NotAToken => Err("not_a_token"),
        Access::Unanswered => Err("keys_unavailable"),
        Access::Endless | Access::Expired | Access::Forged | Access::OfAKey | Access::UnknownIssuer => {
            Err("token_invalid")
        }
        Access::Good { named: false, .. } if setup.validate => Err("subscription"),
        // Scopes are those of a scheme that the operation names.
        Access::Good { read: false, .. } if guard.scope && guard.names("default") => Err("scope"),
        Access::Good { environment, .. } => Ok(("JWT", environment)),
    })
}

fn key(setup: Setup, shown: Key) -> Option<Result<Known, &'static str>> {
    if shown == Key::None {
        return None;
    }
    // The publisher, whose keys need not name an API, signs where nobody else does.
    let Some(validate) = setup.keys.or(setup.publisher.then_some(false)) else {
        return Some(Err("signer_missing"));
    };
    Some(match shown {
        Key::Garbage | Key::Strange => Err("api_key_invalid"),
        Key::Expired | Key::OfAToken => Err("token_invalid"),
        Key::Bound => Err("forbidden"),
        Key::Good { .. } | Key::None if setup.control_plane => Err("subscription"),
        Key::Good { named: false, .. } if validate => Err("subscription"),
        Key::Good { environment, .. } => Ok(("API Key", environment)),
        Key::None => Err("no_credentials"),
    })
}

// === the real thing ===

fn policy_of(guard: &Guard) -> ApiPolicy {
    guarded_with(|policy| {
        let scopes = |definition: &str| match definition {
            "default" if guard.scope => vec!["read".to_owned()],
            _ => Vec::new(),
        };
        policy.security = guard
            .alternatives
            .iter()
            .map(|needs| Requirement {
                schemes: needs
                    .iter()
                    .map(|&definition| (definition.to_owned(), scopes(definition)))
                    .collect::<BTreeMap<_, _>>(),
            })
            .collect();
        policy.mutual_tls = guard.mutual_tls;
        policy.application_security = guard.application;
        policy.resources[0].operations[0].disable_security = guard.open;
        if guard.blocked {
            policy.lifecycle = Lifecycle::Blocked;
        }
    })
}

fn settings_of(setup: Setup, key_server: &str) -> Settings {
    let mut settings = settings();
    settings.issuers[0].validate_subscription = setup.validate;
    settings.issuers[1].jwks_url = key_server.to_owned();
    settings.control_plane = setup.control_plane;
    if setup.publisher {
        let mut publisher = issuer("https://publisher.example", "ours");
        publisher.name = "APIM Publisher".to_owned();
        settings.issuers.push(publisher);
    }
    if let Some(validate) = setup.keys {
        let mut keys = issuer("", "ours");
        keys.name = "APIM APIkey".to_owned();
        keys.certificate_alias = "keys".to_owned();
        keys.validate_subscription = validate;
        settings.issuers.push(keys);
    }
    settings
}

/// Texts of tokens and keys, each signed once.
#[derive(Default)]
struct Texts(HashMap<String, String>);

impl Texts {
    fn of(&mut self, credential: impl Debug, make: impl FnOnce() -> String) -> String {
        self.0
            .entry(format!("{credential:?}"))
            .or_insert_with(make)
            .clone()
    }

    fn internal(&mut self, shown: Internal) -> String {
        self.of(("internal", shown), || {
            let named = json!([{ "context": "/v2", "version": "1.0" }]);
            let mut claims = changed(&json!({ "token_type": "InternalKey", "subscribedAPIs": named }));
            let mut signer = &KEYS.ours;
            match shown {
                Internal::Elsewhere => claims["subscribedAPIs"][0]["context"] = "/v3".into(),
                Internal::Expired => claims["exp"] = (NOW - 60).into(),
                Internal::Good => {}
                Internal::None => return String::new(),
                Internal::Other => claims["token_type"] = "Production".into(),
                Internal::Strange => signer = &KEYS.theirs,
            }
            token(signer, &header(), &claims)
        })
    }

    fn access(&mut self, shown: Access) -> String {
        self.of(("access", shown), || {
            let (mut signer, mut head, mut claims) = (&KEYS.ours, header(), claims());
            match shown {
                Access::Endless => claims = changed(&json!({ "exp": null })),
                Access::Expired => claims["exp"] = (NOW - 60).into(),
                Access::Forged => signer = &KEYS.theirs,
                Access::Good {
                    read,
                    named,
                    environment,
                } => {
                    claims["scope"] = if read { "write read" } else { "write" }.into();
                    claims["subscribedAPIs"] = apis(named);
                    claims["keytype"] = environment.claim().into();
                }
                Access::None => return String::new(),
                Access::NotAToken => return "aaa.bbb.ccc".to_owned(),
                Access::OfAKey => claims["permittedIP"] = "".into(),
                Access::Shapeless => return "abc".to_owned(),
                Access::Unanswered => {
                    signer = &KEYS.theirs;
                    head["kid"] = "x".into();
                    claims["iss"] = OTHER.into();
                }
                Access::UnknownIssuer => claims["iss"] = "https://nobody.example".into(),
            }
            token(signer, &head, &claims)
        })
    }

    fn key(&mut self, shown: Key) -> String {
        self.of(("key", shown), || {
            let (mut signer, mut claims) = (&KEYS.ours, changed(&json!({ "subscribedAPIs": apis(true) })));
            match shown {
                Key::Bound => claims["permittedIP"] = "192.168.0.0/16".into(),
                Key::Expired => claims["exp"] = (NOW - 60).into(),
                Key::Garbage => return "aaa.bbb.ccc".to_owned(),
                Key::Good { named, environment } => {
                    claims["subscribedAPIs"] = apis(named);
                    claims["keytype"] = environment.claim().into();
                }
                Key::None => return String::new(),
                Key::OfAToken => claims["scope"] = "read".into(),
                Key::Strange => signer = &KEYS.theirs,
            }
            token(signer, &header(), &claims)
        })
    }
}

fn apis(named: bool) -> Value {
    json!([{ "name": if named { "Pets" } else { "Cats" }, "version": "1.0" }])
}

fn decide(world: &World, shown: Shown, texts: &mut Texts) -> Outcome {
    let url = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let certificate = match shown.certificate {
        Certificate::Garbage => url("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
        Certificate::None => String::new(),
        Certificate::Pinned => url(&KEYS.ours.certificate),
        Certificate::Strange => url(&KEYS.theirs.certificate),
    };
    let (internal, header) = (texts.internal(shown.internal), texts.key(shown.header));
    let bearer = format!("Bearer {}", texts.access(shown.token));
    let path = format!("/v2/pets?a=1&ApiKey={}", texts.key(shown.query));
    let mut headers = Vec::new();
    for (name, value, there) in [
        ("internal-key", &internal, shown.internal != Internal::None),
        ("authorization", &bearer, shown.token != Access::None),
        ("apikey", &header, shown.header != Key::None),
    ] {
        if there {
            headers.push((name, value.as_str()));
        }
    }
    let mut attributes = Attributes {
        certificate: &certificate,
        ..get(&headers)
    };
    if shown.query != Key::None {
        attributes.path = &path;
    }
    attributes.route.production = if shown.production { "prod" } else { "" };
    attributes.route.sandbox = if shown.sandbox { "sand" } else { "" };
    match world.check(&attributes).unwrap() {
        Verdict::Admitted(admitted) => {
            let (scheme, key_type) = admitted.identity.unwrap();
            Ok((scheme.as_str(), key_type.as_str()))
        }
        Verdict::Denied(denial) => Err(denial.reason.label()),
    }
}

// === random combinations ===

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn coin(&mut self) -> bool {
        self.roll(2) == 0
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    fn guard(&mut self) -> Guard {
        let alternatives = (0..self.roll(4))
            .map(|_| {
                let mut needs: Vec<_> = ["default", "key_header", "key_query"]
                    .into_iter()
                    .filter(|_| self.roll(5) < 2)
                    .collect();
                if needs.is_empty() {
                    needs.push(self.one(&["default", "key_header", "key_query", "nobody"]));
                }
                needs
            })
            .collect();
        Guard {
            mutual_tls: self.one(&[
                MutualTls::Absent,
                MutualTls::Absent,
                MutualTls::Mandatory,
                MutualTls::Optional,
            ]),
            application: self.coin(),
            open: self.roll(12) == 0,
            blocked: self.roll(12) == 0,
            alternatives,
            scope: self.coin(),
        }
    }

    fn setup(&mut self) -> Setup {
        Setup {
            validate: self.roll(3) == 0,
            publisher: self.roll(4) > 0,
            keys: self.one(&[None, Some(false), Some(true)]),
            control_plane: self.roll(6) == 0,
        }
    }

    fn environment(&mut self) -> Environment {
        match self.roll(10) {
            0 => Environment::Nonsense,
            1..4 => Environment::Sandbox,
            _ => Environment::Production,
        }
    }

    fn access(&mut self) -> Access {
        if self.coin() {
            return Access::Good {
                read: self.coin(),
                named: self.coin(),
                environment: self.environment(),
            };
        }
        self.one(&[
            Access::Endless,
            Access::Expired,
            Access::Forged,
            Access::None,
            Access::None,
            Access::NotAToken,
            Access::OfAKey,
            Access::Shapeless,
            Access::Unanswered,
            Access::UnknownIssuer,
        ])
    }

    fn key(&mut self) -> Key {
        if self.roll(3) == 0 {
            return Key::Good {
                named: self.roll(3) > 0,
                environment: self.environment(),
            };
        }
        self.one(&[
            Key::Bound,
            Key::Expired,
            Key::Garbage,
            Key::None,
            Key::None,
            Key::None,
            Key::OfAToken,
            Key::Strange,
        ])
    }

    fn shown(&mut self) -> Shown {
        Shown {
            certificate: self.one(&[
                Certificate::Garbage,
                Certificate::None,
                Certificate::Pinned,
                Certificate::Pinned,
                Certificate::Strange,
            ]),
            internal: self.one(&[
                Internal::Elsewhere,
                Internal::Expired,
                Internal::Good,
                Internal::None,
                Internal::None,
                Internal::None,
                Internal::None,
                Internal::None,
                Internal::None,
                Internal::Other,
                Internal::Strange,
            ]),
            token: self.access(),
            header: self.key(),
            query: self.key(),
            production: self.roll(5) > 0,
            sandbox: self.coin(),
        }
    }
}

#[tokio::test]
async fn every_combination_is_decided_as_the_model_does() {
    // Nobody listens there: the port was just given back.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key_server = format!("http://{}/", gone.local_addr().unwrap());
    drop(gone);
    let mut texts = Texts::default();
    let setup = Setup {
        validate: false,
        publisher: false,
        keys: None,
        control_plane: false,
    };
    // Once it has failed, and time stands still, the key server isn't asked again.
    let asked = World::new(policy(), settings_of(setup, &key_server));
    let unanswered = texts.access(Access::Unanswered);
    assert_eq!(asked.waited(&unanswered).await, "keys_unavailable");
    tokio::time::pause();
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    for _ in 0..WORLDS {
        let (guard, setup) = (dice.guard(), dice.setup());
        let settings = settings_of(setup, &key_server);
        let mut world = World::new(policy_of(&guard), settings.clone());
        let security = Security::new(settings, None, &fetcher(), asked.snapshot.ready());
        world.snapshot.security = Some(Arc::new(security));
        for _ in 0..CALLERS {
            let shown = dice.shown();
            let want = model(&guard, setup, shown);
            // Once with the signatures checked, once from the cache.
            for _ in 0..2 {
                let found = decide(&world, shown, &mut texts);
                assert_eq!(found, want, "{guard:?} {setup:?} {shown:?}");
            }
            *outcomes.entry(want).or_default() += 1;
        }
    }
    // A generator that reaches a few answers only would prove nothing.
    assert!(outcomes.len() >= 20, "{outcomes:?}");
}
