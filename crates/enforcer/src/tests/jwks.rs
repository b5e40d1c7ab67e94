//! Published keys: one fetch at a time, bounded, and never a way from one issuer to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trireme_policy::settings::Settings;
use trireme_tls::authority::Authority;
use trireme_tls::{ClientAuth, Material, Settings as TlsSettings};

use super::fixture::*;
use crate::credential::keys::PublicKey;
use crate::need::Need;
use crate::security::Security;
use crate::utility::rest;
use crate::verdict::Reason;

/// A key server whose answer can be changed and held back.
pub(super) struct KeyServer {
    address: String,
    answer: watch::Sender<(StatusCode, String)>,
    pub(super) gate: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
}

type Shared = (
    watch::Receiver<(StatusCode, String)>,
    Arc<Semaphore>,
    Arc<AtomicUsize>,
);

impl KeyServer {
    pub(super) async fn start(document: &Value) -> Self {
        let (answer, receiver) = watch::channel((StatusCode::OK, document.to_string()));
        let gate = Arc::new(Semaphore::new(1000));
        let asked = Arc::new(AtomicUsize::new(0));
        let shared: Shared = (receiver, Arc::clone(&gate), Arc::clone(&asked));
        let router = Router::new().route("/jwks", any(Self::serve)).with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/jwks", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            answer,
            gate,
            asked,
        }
    }

    async fn serve(State((answer, gate, asked)): State<Shared>) -> Response {
        asked.fetch_add(1, Ordering::SeqCst);
        gate.acquire().await.unwrap().forget();
        let answer = answer.borrow().clone();
        answer.into_response()
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn settings(&self) -> Settings {
        let mut settings = settings();
        settings.issuers[0].jwks_url = self.address.clone();
        settings
    }

    /// The same for an issuer without a certificate.
    pub(super) fn only_settings(&self) -> Settings {
        let mut settings = self.settings();
        settings.issuers[0].certificate_path = String::new();
        settings.issuers[0].certificate_alias = String::new();
        settings
    }
}

pub(super) fn jwk(name: &str, kid: &str) -> Value {
    let key = PublicKey::certificate(&std::fs::read(path(&format!("{name}.pem"))).unwrap()).unwrap();
    let (n, e) = key.components();
    json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": encode(n), "e": encode(e) })
}

/// A key with these members; a null takes one away.
pub(super) fn jwk_with(name: &str, changes: &Value) -> Value {
    let mut key = jwk(name, "");
    let object = key.as_object_mut().unwrap();
    for (member, value) in changes.as_object().unwrap() {
        object.insert(member.clone(), value.clone());
        if value.is_null() {
            object.remove(member);
        }
    }
    key
}

/// A key that signed nothing, of its own for each number.
fn decoy(number: u8) -> Value {
    let key = PublicKey::certificate(KEYS.ours.certificate.as_bytes()).unwrap();
    let mut modulus = key.components().0.to_vec();
    modulus[100] = !modulus[100];
    modulus[101] = number;
    jwk_with(
        "ours",
        &json!({ "n": encode(modulus), "kid": format!("decoy{number}") }),
    )
}

fn with_kid(kid: &str) -> String {
    token(&KEYS.ours, &json!({ "alg": "RS256", "kid": kid }), &claims())
}

impl World {
    /// The label of a check that may wait for keys, as the service would find it.
    pub(super) async fn waited(&self, token: &str) -> &'static str {
        let value = format!("Bearer {token}");
        let attributes = get(&[("authorization", &value)]);
        loop {
            match self.check(&attributes) {
                Ok(verdict) => return label(&verdict),
                Err(Need::Keys(mut ended, _)) => timeout(BOUND, ended.changed()).await.unwrap().unwrap(),
                Err(need) => panic!("{need:?} is missing"),
            }
        }
    }
}

#[tokio::test]
async fn keys_are_fetched_once_for_all_who_wait() {
    let _keys = &*KEYS;
    let server = KeyServer::start(&json!({ "keys": [jwk("ours", "a")] })).await;
    server.gate.forget_permits(1000);
    let world = World::new(policy(), server.settings());
    let token = with_kid("a");
    let all = async { futures_util::future::join_all((0..50).map(|_| world.waited(&token))).await };
    let open = async {
        while server.asked() == 0 {
            tokio::task::yield_now().await;
        }
        server.gate.add_permits(10);
    };
    let (labels, ()) = timeout(BOUND, async { tokio::join!(all, open) }).await.unwrap();
    assert!(labels.iter().all(|label| *label == "admitted"), "{labels:?}");
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn made_up_key_ids_do_not_cause_a_fetch_each() {
    let server = KeyServer::start(&json!({ "keys": [jwk("ours", "a"), jwk("theirs", "b")] })).await;
    let world = World::new(policy(), server.settings());
    assert_eq!(world.waited(&with_kid("x0")).await, "unknown_key");
    for n in 1..50 {
        assert_eq!(world.waited(&with_kid(&format!("x{n}"))).await, "unknown_key");
    }
    assert_eq!(world.waited(&with_kid("a")).await, "admitted");
    // A published key that isn't the one that signed.
    assert_eq!(world.waited(&with_kid("b")).await, "token_invalid");
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn keys_of_one_issuer_are_nothing_to_another() {
    let server = KeyServer::start(&json!({ "keys": [jwk("ours", "a")] })).await;
    let world = World::new(policy(), server.settings());
    assert_eq!(world.waited(&with_kid("a")).await, "admitted");
    let foreign = token(
        &KEYS.ours,
        &json!({ "alg": "RS256", "kid": "a" }),
        &changed(&json!({ "iss": OTHER })),
    );
    assert_eq!(world.waited(&foreign).await, "token_invalid");
}

#[tokio::test]
async fn a_token_without_a_key_id_goes_by_the_certificate() {
    let server = KeyServer::start(&json!({ "keys": [] })).await;
    let world = World::new(policy(), server.settings());
    assert_eq!(world.waited(&good_token()).await, "admitted");
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_the_key_server_is_not_the_callers_fault() {
    let server = KeyServer::start(&json!({ "keys": [jwk("ours", "a")] })).await;
    let answers = [
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({ "keys": [jwk("ours", "a")] }).to_string(),
        ),
        (StatusCode::FOUND, String::new()),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, "[]".to_owned()),
        (
            StatusCode::OK,
            format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 * 1024)),
        ),
    ];
    for (status, body) in answers {
        server.answer.send_replace((status, body.clone()));
        let before = server.asked();
        let world = World::new(policy(), server.settings());
        for _ in 0..10 {
            assert_eq!(
                world.waited(&with_kid("a")).await,
                "keys_unavailable",
                "{status} {body:.20}"
            );
        }
        assert_eq!(server.asked(), before + 1, "{status} {body:.20}");
    }
    let mut settings = settings();
    // Nobody listens there: the port was just given back.
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    settings.issuers[0].jwks_url = format!("http://{gone}/");
    let world = World::new(policy(), settings);
    assert_eq!(world.waited(&with_kid("a")).await, "keys_unavailable");
    // Nor is it when another credential is the caller's fault.
    let value = format!("Bearer {}", with_kid("a"));
    let both = get(&[("internal-key", "a.b.c"), ("authorization", &value)]);
    assert_eq!(world.label(&both), "keys_unavailable");
    assert_eq!(
        Need::Keys(watch::channel(0).1, Duration::ZERO).in_vain(),
        Some(Reason::KeysUnavailable)
    );
}

#[tokio::test]
async fn a_key_server_that_hangs_does_not_hold_up_those_who_make_up_key_ids() {
    let server = KeyServer::start(&json!({ "keys": [jwk("ours", "a")] })).await;
    let world = World::new(policy(), server.settings());
    let waits = |kid: &str| {
        let value = format!("Bearer {}", with_kid(kid));
        match world.check(&get(&[("authorization", &value)])) {
            Err(Need::Keys(_, bound)) => bound,
            other => panic!("{other:?}"),
        }
    };
    // The first keys are worth the wait.
    assert_eq!(waits("a"), Duration::from_secs(6));
    assert_eq!(world.waited(&with_kid("a")).await, "admitted");
    server.gate.forget_permits(1000);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(waits("made up"), Duration::from_millis(500));
}

#[tokio::test]
async fn rotated_keys_are_found_and_old_ones_forgotten() {
    let server = KeyServer::start(&json!({ "keys": [jwk("ours", "a")] })).await;
    let world = World::new(policy(), server.settings());
    let (old, new) = (with_kid("a"), with_kid("b"));
    assert_eq!(world.waited(&old).await, "admitted");
    server
        .answer
        .send_replace((StatusCode::OK, json!({ "keys": [jwk("ours", "b")] }).to_string()));
    assert_eq!(world.waited(&new).await, "unknown_key");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    assert_eq!(world.waited(&new).await, "admitted");
    // It was in the cache, but its key is gone.
    assert_eq!(world.waited(&old).await, "unknown_key");
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_key_server_over_tls_has_to_be_the_one_that_is_named() {
    for (trusted, want) in [(true, "admitted"), (false, "keys_unavailable")] {
        let folder = tempfile::tempdir().unwrap();
        let foreign = Authority::open_or_create(folder.path()).unwrap();
        let (key, certificate) = (folder.path().join("x.key"), folder.path().join("x.pem"));
        foreign.ensure("x", &key, &certificate).unwrap();
        let (key, certificate) = if trusted {
            (path("theirs.key"), path("theirs.pem"))
        } else {
            (key, certificate)
        };
        let material = Material::load(TlsSettings {
            key,
            certificate,
            ..Default::default()
        })
        .unwrap();
        let document = json!({ "keys": [jwk("ours", "a")] }).to_string();
        let router = Router::new().route("/jwks", any(async move || document.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = material.acceptor(ClientAuth::None, &[b"http/1.1"]);
        let (drain, tasks) = (CancellationToken::new(), TaskTracker::new());
        tokio::spawn(rest::serve(listener, acceptor, router, drain, tasks));
        let mut settings = settings();
        settings.issuers[0].jwks_url = format!("https://localhost:{port}/jwks");
        let world = World::new(policy(), settings);
        assert_eq!(world.waited(&with_kid("a")).await, want);
    }
}

#[tokio::test]
async fn a_withdrawn_key_does_not_live_on_in_the_cache() {
    let server = KeyServer::start(&json!({ "keys": [jwk("ours", "a")] })).await;
    let world = World::new(policy(), server.settings());
    let token = with_kid("a");
    assert_eq!(world.waited(&token).await, "admitted");
    server
        .answer
        .send_replace((StatusCode::OK, json!({ "keys": [jwk("ours", "b")] }).to_string()));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5 * 60 + 1)).await;
    tokio::time::resume();
    // The token is in the cache; that it is used is what brings the keys up to date.
    let refused = async {
        while world.waited(&token).await == "admitted" {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, refused).await.unwrap();
    assert_eq!(world.waited(&token).await, "unknown_key");
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn new_settings_keep_the_keys_of_issuers_that_stay() {
    let server = KeyServer::start(&json!({ "keys": [jwk("ours", "a")] })).await;
    let mut world = World::new(policy(), server.settings());
    let token = with_kid("a");
    assert_eq!(world.waited(&token).await, "admitted");
    // The key server goes away, and then the settings change.
    server
        .answer
        .send_replace((StatusCode::SERVICE_UNAVAILABLE, String::new()));
    let mut settings = server.settings();
    settings.soap_errors = true;
    let next = Security::new(settings, None, &fetcher(), world.snapshot.ready());
    world.snapshot.security = Some(Arc::new(next));
    assert_eq!(world.waited(&token).await, "admitted");
    assert_eq!(server.asked(), 1);
    let mut moved = server.settings();
    moved.issuers[0].jwks_url.push('2');
    let next = Security::new(moved, None, &fetcher(), world.snapshot.ready());
    world.snapshot.security = Some(Arc::new(next));
    assert_eq!(world.waited(&token).await, "keys_unavailable");
}

#[tokio::test]
async fn one_bad_key_does_not_take_away_the_rest() {
    let broken = json!({ "kty": "RSA", "kid": "broken", "n": "AQAB", "e": "AQAB" });
    let encryption = {
        let mut key = jwk("ours", "encryption");
        key["use"] = "enc".into();
        key
    };
    let wrapping = {
        let mut key = jwk("ours", "wrapping");
        key["alg"] = "RSA-OAEP-256".into();
        key.as_object_mut().unwrap().remove("use");
        key
    };
    let other_algorithm = {
        let mut key = jwk("ours", "RS384");
        key["alg"] = "RS384".into();
        key
    };
    let of_no_verifier = {
        let mut key = jwk("ours", "wraps");
        key["key_ops"] = json!(["wrapKey", "encrypt"]);
        key
    };
    let said_twice = {
        let mut key = jwk("ours", "b");
        key["use"] = "".into();
        key["key_ops"] = json!(["verify"]);
        key
    };
    let mut many: Vec<_> = (0..200)
        .map(|number| jwk("ours", &format!("k{number}")))
        .collect();
    many.extend([other_algorithm, of_no_verifier, said_twice]);
    let keys = json!({ "keys": many });
    let server = KeyServer::start(&keys).await;
    let world = World::new(policy(), server.settings());
    for kid in ["b", "k0", "k199"] {
        assert_eq!(world.waited(&with_kid(kid)).await, "admitted", "{kid}");
    }
    for (kid, want) in [("RS384", "token_invalid"), ("wraps", "unknown_key")] {
        assert_eq!(world.waited(&with_kid(kid)).await, want, "{kid}");
    }
    let keys = json!({ "keys": [
        broken, encryption, wrapping, 7, { "kty": "RSA", "kid": 7 }, { "kty": "RSA", "kid": "null", "n": null }, { "kty": "EC", "kid": "ec", "crv": "P-256", "x": 7 }, jwk("ours", "a"),
    ] });
    let server = KeyServer::start(&keys).await;
    let world = World::new(policy(), server.settings());
    assert_eq!(world.waited(&with_kid("a")).await, "admitted");
    for kid in ["broken", "encryption", "wrapping", "ec", "null"] {
        assert_eq!(world.waited(&with_kid(kid)).await, "unknown_key", "{kid}");
    }
}

#[tokio::test]
async fn without_a_key_id_the_keys_that_fit_are_tried() {
    let decoys = |count| (0..count).map(decoy);
    let ours = || jwk("ours", "a");
    let unnamed = || jwk_with("ours", &json!({ "kid": null }));
    let mut null = ours();
    null["kid"] = Value::Null;
    let unfit = [
        jwk_with("ours", &json!({ "use": "enc" })),
        jwk_with("ours", &json!({ "key_ops": ["encrypt"] })),
        jwk_with("ours", &json!({ "alg": "RS384" })),
        jwk_with("ours", &json!({ "alg": "RSA-OAEP" })),
        jwk_with("ours", &json!({ "kty": "EC" })),
    ];
    let none = header();
    let unknown = json!({ "alg": "RS256", "kid": "x" });
    let cases: [(&str, Vec<Value>, &Value, &str); 16] = [
        ("the only key", vec![ours()], &none, "admitted"),
        ("a key without an id", vec![unnamed()], &none, "admitted"),
        ("an id that is null", vec![null], &none, "admitted"),
        ("no key", vec![], &none, "token_invalid"),
        ("another key", vec![jwk("theirs", "a")], &none, "token_invalid"),
        ("none that fits", unfit.to_vec(), &none, "token_invalid"),
        (
            "the last of eight",
            decoys(7).chain([ours()]).collect(),
            &none,
            "admitted",
        ),
        (
            "the ninth",
            decoys(8).chain([ours()]).collect(),
            &none,
            "token_invalid",
        ),
        (
            "the last of eight that fit",
            decoys(7).chain(unfit).chain([ours()]).collect(),
            &none,
            "admitted",
        ),
        (
            "one that is there again and again counts once",
            (0..9)
                .map(|n| jwk("theirs", &n.to_string()))
                .chain([ours()])
                .collect(),
            &none,
            "admitted",
        ),
        (
            "a key id, and a key without",
            vec![jwk("theirs", "a"), unnamed()],
            &unknown,
            "admitted",
        ),
        (
            "a key id, and the ninth key without",
            decoys(8)
                .map(|mut key| {
                    key["kid"] = "".into();
                    key
                })
                .chain([unnamed()])
                .collect(),
            &unknown,
            "unknown_key",
        ),
        (
            "a key id that is not that of the key",
            vec![ours()],
            &unknown,
            "unknown_key",
        ),
        (
            "a key id that is not that of the key, and a key without that is not it",
            vec![ours(), jwk_with("theirs", &json!({ "kid": "" }))],
            &unknown,
            "unknown_key",
        ),
        (
            "a key id of another key, and a key without",
            vec![jwk("theirs", "x"), unnamed()],
            &unknown,
            "token_invalid",
        ),
        (
            "two keys of one id, for an algorithm each",
            vec![
                jwk_with("ours", &json!({ "kid": "x" })),
                jwk_with("ours", &json!({ "kid": "x", "alg": "RS512" })),
            ],
            &unknown,
            "admitted",
        ),
    ];
    for (name, keys, header, want) in cases {
        let server = KeyServer::start(&json!({ "keys": keys })).await;
        let world = World::new(policy(), server.only_settings());
        let token = token(&KEYS.ours, header, &claims());
        for _ in 0..3 {
            assert_eq!(world.waited(&token).await, want, "{name}");
        }
        assert_eq!(server.asked(), 1, "{name}");
        let kept = world.snapshot.ready().unwrap().tokens.len();
        assert_eq!(kept, usize::from(want == "admitted"), "{name}");
    }
}

#[tokio::test]
async fn keys_without_an_id_rotate_like_others() {
    let unnamed = |name| json!({ "keys": [jwk_with(name, &json!({ "kid": null }))] }).to_string();
    let server = KeyServer::start(&json!({ "keys": [jwk("theirs", "a")] })).await;
    let world = World::new(policy(), server.only_settings());
    let token = good_token();
    assert_eq!(world.waited(&token).await, "token_invalid");
    server.answer.send_replace((StatusCode::OK, unnamed("ours")));
    assert_eq!(world.waited(&token).await, "token_invalid");
    let later = async |seconds| {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    };
    later(11).await;
    assert_eq!(world.waited(&token).await, "admitted");
    server.answer.send_replace((StatusCode::OK, unnamed("theirs")));
    later(5 * 60 + 1).await;
    // The token is in the cache; that it is used is what brings the keys up to date.
    let refused = async {
        while world.waited(&token).await == "admitted" {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, refused).await.unwrap();
    assert_eq!(world.waited(&token).await, "token_invalid");
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn the_certificate_stands_before_the_published_keys_of_tokens_without_a_key_id() {
    let server = KeyServer::start(&json!({ "keys": [jwk("theirs", "a")] })).await;
    let world = World::new(policy(), server.settings());
    assert_eq!(world.waited(&good_token()).await, "admitted");
    assert_eq!(server.asked(), 0);
    assert_eq!(
        world.waited(&token(&KEYS.theirs, &header(), &claims())).await,
        "admitted"
    );
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn the_algorithm_of_a_key_that_is_left_out_is_named_once() {
    let _keys = &*KEYS;
    let log = Log::start();
    let server = KeyServer::start(&json!({ "keys": [
        { "kty": "EC", "crv": "P-256", "kid": "1" },
        { "kty": "EC", "crv": "P-256", "kid": "2", "alg": "ES256" },
        { "kty": "EC", "crv": "P-384", "kid": "3", "alg": "RS256" },
        { "kty": "OKP", "crv": "Ed25519", "use": "sig" },
        { "kty": "oct", "k": "AAAA" },
        { "kty": "AKP", "alg": "ML-DSA-44" },
        jwk_with("ours", &json!({ "alg": "PS256" })),
        // For encryption, which nobody here does.
        jwk_with("ours", &json!({ "use": "enc", "alg": "RSA-OAEP" })),
        jwk_with("ours", &json!({ "key_ops": ["wrapKey"], "alg": "RSA1_5" })),
        jwk("ours", "a"),
    ] }))
    .await;
    let world = World::new(policy(), server.settings());
    for fetches in 1..4 {
        assert_eq!(world.waited(&with_kid("x")).await, "unknown_key");
        assert_eq!(server.asked(), fetches);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::time::resume();
    }
    assert_eq!(world.waited(&with_kid("a")).await, "admitted");
    let left = "published key left out, its algorithm is not supported";
    let line = |alg: &str| format!("{left} issuer=\"{ISSUER}\" algorithm=\"{alg}\"");
    assert_eq!(
        log.lines(left),
        ["ES256", "ES384", "Ed25519", "oct", "PS256"].map(line)
    );
}
