//! The decision written a second time, in one piece: authentication with authorization inside, as it once was. Stages must
//! come to the same answer, whatever credentials are shown together.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use trireme_policy::ApiPolicy;
use trireme_policy::api::*;
use trireme_policy::settings::Settings;

use super::fixture::*;
use crate::api::{Api, KeyPlace, Operation as Ready};
use crate::attributes::Attributes;
use crate::authn::mutual_tls;
use crate::credential::issuer::Issuer;
use crate::credential::jwt::{Unverified, has_three_parts};
use crate::credential::keys::PublicKey;
use crate::credential::tokens::{Kind, Token};
use crate::need::{Now, Question};
use crate::security::Security;
use crate::verdict::{KeyType, Reason, Scheme, Verdict};

type Found = Result<(Scheme, Option<KeyType>), Reason>;

/// What goes on for a caller, or why it doesn't.
type Decision = Result<(Scheme, KeyType, String), &'static str>;

fn decide(question: &Question<'_>) -> Decision {
    let (scheme, key_type) = identify(question).map_err(|reason| reason.label())?;
    if question.api.policy.lifecycle == Lifecycle::Blocked {
        return Err("api_blocked");
    }
    let key_type = key_type.ok_or("key_type_unknown")?;
    let route = &question.attributes.route;
    let (cluster, missing) = match key_type {
        KeyType::Production => (route.production, "no_production_endpoint"),
        KeyType::Sandbox => (route.sandbox, "no_sandbox_endpoint"),
    };
    if cluster.is_empty() {
        return Err(missing);
    }
    Ok((scheme, key_type, cluster.to_owned()))
}

fn identify(question: &Question<'_>) -> Found {
    let Question {
        attributes,
        api,
        operation,
        ..
    } = *question;
    let environment = if attributes.route.production.is_empty() {
        KeyType::Sandbox
    } else {
        KeyType::Production
    };
    if operation.open {
        return Ok((Scheme::Unsecured, Some(environment)));
    }
    let mut refused = None;
    if api.mutual_tls != MutualTls::Absent {
        match (mutual_tls::authenticate(question), api.mutual_tls) {
            (Ok(_), MutualTls::Mandatory) if !api.application => {
                return Ok((Scheme::MutualTls, Some(environment)));
            }
            (Ok(_), _) => {}
            (Err(reason), MutualTls::Mandatory) => return Err(reason),
            (Err(Reason::NoCredentials), _) => {}
            (Err(reason), _) => refused = Some(reason),
        }
    }
    let mut tried = false;
    let mut token = None;
    let mut held: Vec<usize> = Vec::new();
    if let Some(key) = attributes
        .header("internal-key")
        .filter(|key| has_three_parts(key))
    {
        tried = true;
        match internal(question, key) {
            Ok(identity) => return Ok(identity),
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    if operation.takes_token
        && let Some(text) = bearer(attributes)
    {
        tried = true;
        match access_token(question, text) {
            Ok(identity) if operation.satisfied(true, &held) => return Ok(identity),
            Ok(identity) => token = Some(identity),
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    for (index, place) in operation.keys.iter().enumerate() {
        let key = match place {
            KeyPlace::Header(name) => attributes.header(name),
            KeyPlace::Query(name) => attributes.query().and_then(|query| {
                query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            }),
        };
        let Some(key) = key.filter(|key| has_three_parts(key)) else {
            continue;
        };
        tried = true;
        match api_key(question, key) {
            Ok(identity) => {
                held.push(index);
                if operation.satisfied(token.is_some(), &held) {
                    return Ok(token.unwrap_or(identity));
                }
            }
            Err(reason) => refused = refused.or(Some(reason)),
        }
        if !operation.conjunctive {
            break;
        }
    }
    Err(refused.filter(|_| tried).unwrap_or(Reason::NoCredentials))
}

fn bearer<'a>(attributes: &Attributes<'a>) -> Option<&'a str> {
    let text = attributes.header("authorization")?.strip_prefix("Bearer ")?;
    has_three_parts(text).then_some(text)
}

fn access_token(question: &Question<'_>, text: &str) -> Found {
    let unverified = Unverified::parse(text).map_err(|_| Reason::NotAToken)?;
    let issuers = &question.security.issuers.access;
    let issuer = unverified.issuer().and_then(|name| issuers.get(name));
    let issuer = issuer.ok_or(Reason::TokenInvalid)?;
    let key = issuer.alias.as_ref().ok_or(Reason::TokenInvalid)?;
    let token = signed(text, key, Some(issuer), question.now).ok_or(Reason::TokenInvalid)?;
    if matches!(token.kind, Kind::ApiKey | Kind::InternalKey) {
        return Err(Reason::TokenInvalid);
    }
    token
        .validity
        .check(question.now.unix)
        .map_err(|_| Reason::TokenInvalid)?;
    if token.validity.expires.is_none() {
        return Err(Reason::TokenInvalid);
    }
    if issuer.validate_subscription && !names(&token, question.api, "name") {
        return Err(Reason::Subscription);
    }
    let wanted = &question.operation.scopes;
    if !wanted.is_empty()
        && !wanted
            .iter()
            .any(|scope| token.scopes.iter().any(|held| **held == **scope))
    {
        return Err(Reason::Scope);
    }
    Ok((Scheme::AccessToken, token.key_type))
}

fn api_key(question: &Question<'_>, text: &str) -> Found {
    let Question {
        attributes,
        api,
        security,
        now,
        ..
    } = *question;
    let signer = security.issuers.api_keys.as_ref().ok_or(Reason::SignerMissing)?;
    let token = signed(text, &signer.key, None, now).ok_or(Reason::ApiKeyInvalid)?;
    if matches!(token.kind, Kind::Access | Kind::InternalKey) {
        return Err(Reason::TokenInvalid);
    }
    token.validity.check(now.unix).map_err(|_| Reason::TokenInvalid)?;
    if !token.permits(attributes.peer, attributes.header("referer")) {
        return Err(Reason::Forbidden);
    }
    if security.settings.control_plane || signer.validate_subscription && !names(&token, api, "name") {
        return Err(Reason::Subscription);
    }
    Ok((Scheme::ApiKey, token.key_type))
}

fn internal(question: &Question<'_>, text: &str) -> Found {
    let Question {
        api, security, now, ..
    } = *question;
    let signer = security.issuers.publisher.as_ref().ok_or(Reason::TokenInvalid)?;
    let token = signed(text, &signer.key, None, now).ok_or(Reason::ApiKeyInvalid)?;
    if token.kind != Kind::InternalKey {
        return Err(Reason::TokenInvalid);
    }
    token.validity.check(now.unix).map_err(|_| Reason::TokenInvalid)?;
    if !names(&token, api, "context") {
        return Err(Reason::Forbidden);
    }
    Ok((Scheme::InternalKey, token.key_type))
}

/// The token when its signature is good. Without a cache: what is found good must not depend on one.
fn signed(text: &str, key: &PublicKey, issuer: Option<&Issuer>, now: Now) -> Option<Token> {
    let claims = Unverified::parse(text).ok()?.verify(key)?;
    Token::new(claims, issuer, now.unix, 0).ok()
}

/// Whether the token names the API, which it does by this claim.
fn names(token: &Token, api: &Api, by: &str) -> bool {
    let policy = &api.policy;
    let name = if by == "name" {
        &policy.title
    } else {
        &policy.base_path
    };
    let list = token.claim("subscribedAPIs").unwrap_or_default();
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .any(|entry| entry[by] == **name && entry["version"] == *policy.version)
}

/// What the stages decide.
fn staged(world: &World, attributes: &Attributes<'_>) -> Decision {
    match world.check(attributes).unwrap() {
        Verdict::Admitted(admitted) => {
            let (scheme, key_type) = admitted.identity.unwrap();
            Ok((scheme, key_type, admitted.steering.cluster.to_owned()))
        }
        Verdict::Denied(denial) => Err(denial.reason.label()),
    }
}

/// What an operation takes.
fn requirements() -> Vec<(&'static str, Vec<Requirement>)> {
    let scoped = || Requirement::one("default", vec!["read".to_owned()]);
    let all = |schemes: &[&str]| Requirement {
        schemes: schemes
            .iter()
            .map(|&scheme| (scheme.to_owned(), Vec::new()))
            .collect::<BTreeMap<_, _>>(),
    };
    vec![
        ("token", vec![all(&["default"])]),
        ("token with a scope", vec![scoped()]),
        ("key", vec![all(&["key_header"])]),
        ("token with a scope or key", vec![scoped(), all(&["key_header"])]),
        ("either key", vec![all(&["key_header"]), all(&["key_query"])]),
        ("both keys", vec![all(&["key_header", "key_query"])]),
        ("token and key", vec![all(&["default", "key_header"])]),
        (
            "token and key, or the other",
            vec![all(&["default", "key_header"]), all(&["key_query"])],
        ),
        ("what nobody has", vec![all(&["basic"])]),
        (
            "what nobody has, or a token",
            vec![all(&["basic", "default"]), scoped()],
        ),
    ]
}

fn policy_of(
    security: Vec<Requirement>,
    mutual_tls: (MutualTls, bool),
    lifecycle: Lifecycle,
    open: bool,
) -> ApiPolicy {
    guarded_with(|policy| {
        policy.security = security;
        (policy.mutual_tls, policy.application_security) = mutual_tls;
        policy.lifecycle = lifecycle;
        policy.resources[0].operations[0].disable_security = open;
    })
}

fn settings_of(subscriptions: bool, control_plane: bool, signers: bool) -> Settings {
    let mut settings = settings();
    settings.issuers[0].validate_subscription = subscriptions;
    settings.control_plane = control_plane;
    if signers {
        let mut publisher = issuer("https://publisher.example", "ours");
        publisher.name = "APIM Publisher".to_owned();
        publisher.validate_subscription = subscriptions;
        settings.issuers.push(publisher);
    }
    settings
}

/// Tokens of every state that a place can be shown in; an empty text is none.
struct Shown {
    tokens: Vec<String>,
    keys: Vec<String>,
    internal: Vec<String>,
    certificates: Vec<String>,
}

impl Shown {
    fn new() -> Self {
        let of = |changes: Value| token(&KEYS.ours, &header(), &changed(&changes));
        let pets = json!([{ "name": "Pets", "version": "1.0", "context": "/v2" }]);
        let cats = json!([{ "name": "Cats", "version": "1.0", "context": "/cats" }]);
        let url = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        Self {
            tokens: vec![
                String::new(),
                of(json!({ "scope": "read", "subscribedAPIs": pets })),
                of(json!({ "scope": "write", "subscribedAPIs": pets })),
                of(json!({ "scope": "read", "subscribedAPIs": cats })),
                of(json!({ "scope": "write" })),
                of(json!({ "subscribedAPIs": pets, "keytype": "SANDBOX" })),
                of(json!({ "scope": "read", "keytype": "OTHER" })),
                of(json!({ "scope": "read", "exp": NOW - 60 })),
                of(json!({ "scope": "read", "exp": null })),
                of(json!({ "token_type": "apiKey" })),
                of(json!({ "iss": "https://stranger.example" })),
                token(&KEYS.theirs, &header(), &claims()),
                "a.b.c".to_owned(),
            ],
            keys: vec![
                String::new(),
                of(json!({ "subscribedAPIs": pets })),
                of(json!({ "subscribedAPIs": cats })),
                of(json!({ "subscribedAPIs": pets, "keytype": "SANDBOX" })),
                of(json!({ "subscribedAPIs": pets, "permittedIP": "10.9.9.9" })),
                of(json!({ "subscribedAPIs": pets, "exp": NOW - 60 })),
                of(json!({ "subscribedAPIs": pets, "scope": "read" })),
                token(&KEYS.theirs, &header(), &claims()),
            ],
            internal: vec![
                String::new(),
                of(json!({ "token_type": "InternalKey", "subscribedAPIs": pets })),
                of(json!({ "token_type": "InternalKey", "subscribedAPIs": cats })),
                of(json!({ "token_type": "InternalKey", "subscribedAPIs": pets, "exp": NOW - 60 })),
                of(json!({ "subscribedAPIs": pets })),
                "a.b.c".to_owned(),
            ],
            certificates: vec![
                String::new(),
                url(&KEYS.ours.certificate),
                url(&KEYS.theirs.certificate),
                url("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
            ],
        }
    }
}

/// A fixed sequence of numbers below what is asked for (a multiplicative generator, Lehmer 1951).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, count: usize) -> usize {
        self.0 = self.0 * 48271 % 0x7fff_ffff;
        usize::try_from(self.0).unwrap() % count
    }

    /// One of them; the first, which is none, half of the time.
    fn pick<'a>(&mut self, shown: &'a [String]) -> &'a str {
        match self.below(2) {
            0 => "",
            _ => &shown[self.below(shown.len())],
        }
    }
}

/// Compares both decisions on one request and gives their answer.
fn compared(world: &World, security: &Security, attributes: &Attributes<'_>) -> Decision {
    let api = world.snapshot.apis.find("localhost/v21.0").unwrap();
    let operation: &Ready = &api.operations("/pets")[0];
    let question = Question {
        attributes,
        api,
        operation,
        security,
        now: Now {
            unix: world.now,
            instant: tokio::time::Instant::now(),
        },
    };
    let (model, stages) = (decide(&question), staged(world, attributes));
    assert_eq!(
        stages, model,
        "{:?} {:?} {:?} {:?}",
        api.policy.lifecycle, api.mutual_tls, operation, attributes
    );
    stages
}

#[tokio::test]
async fn stages_decide_as_one_piece_did() {
    let shown = Shown::new();
    let mut dice = Dice(4711);
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let modes = [
        (MutualTls::Absent, false),
        (MutualTls::Optional, false),
        (MutualTls::Optional, true),
        (MutualTls::Mandatory, false),
        (MutualTls::Mandatory, true),
    ];
    let settings = [
        settings_of(false, false, true),
        settings_of(true, false, true),
        settings_of(true, true, true),
        settings_of(false, false, false),
    ];
    for (_, security) in requirements() {
        for mode in modes {
            for settings in &settings {
                let lifecycle = match dice.below(6) {
                    0 => Lifecycle::Blocked,
                    _ => Lifecycle::Published,
                };
                let policy = policy_of(security.clone(), mode, lifecycle, dice.below(12) == 0);
                let world = World::new(policy, settings.clone());
                for _ in 0..100 {
                    let bearer = format!("Bearer {}", dice.pick(&shown.tokens));
                    let path = format!("/v2/pets?a=1&ApiKey={}", dice.pick(&shown.keys));
                    let headers = [
                        ("authorization", &*bearer),
                        ("apikey", dice.pick(&shown.keys)),
                        ("internal-key", dice.pick(&shown.internal)),
                    ];
                    let mut attributes = Attributes {
                        path: &path,
                        certificate: dice.pick(&shown.certificates),
                        ..get(&headers)
                    };
                    if dice.below(8) == 0 {
                        attributes.route.production = "";
                    }
                    if dice.below(8) == 0 {
                        attributes.route.sandbox = "";
                    }
                    let answer = compared(&world, world.snapshot.ready().unwrap(), &attributes);
                    let label = answer.map_or_else(str::to_owned, |(scheme, ..)| format!("{scheme:?}"));
                    *answers.entry(label).or_default() += 1;
                }
            }
        }
    }
    // A comparison over requests that all end in the same way would prove nothing.
    for label in [
        "AccessToken",
        "ApiKey",
        "InternalKey",
        "MutualTls",
        "Unsecured",
        "api_blocked",
        "api_key_invalid",
        "certificate_unreadable",
        "forbidden",
        "key_type_unknown",
        "no_credentials",
        "no_production_endpoint",
        "no_sandbox_endpoint",
        "not_a_token",
        "scope",
        "signer_missing",
        "subscription",
        "token_invalid",
    ] {
        assert!(
            answers.get(label).is_some_and(|&count| count >= 5),
            "{label}: {answers:?}"
        );
    }
}
