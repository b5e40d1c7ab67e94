//! Access tokens: every claim, every header, every trick.

use std::sync::Arc;

use serde_json::json;
use trireme_policy::api::{Requirement, SchemeKind};
use trireme_policy::settings::{Cache, ClaimMapping};

use super::fixture::*;
use crate::security::Security;

#[tokio::test]
async fn claims_are_checked_one_by_one() {
    let world = World::new(policy(), settings());
    let cases = [
        ("as they are", json!({}), "admitted"),
        ("no issuer", json!({ "iss": null }), "token_invalid"),
        (
            "unknown issuer",
            json!({ "iss": "https://stranger.example" }),
            "token_invalid",
        ),
        (
            "issuer with a slash more",
            json!({ "iss": format!("{ISSUER}/") }),
            "token_invalid",
        ),
        ("another issuer's name", json!({ "iss": OTHER }), "token_invalid"),
        ("issuer is a list", json!({ "iss": [ISSUER] }), "token_invalid"),
        ("no end", json!({ "exp": null }), "token_invalid"),
        ("ended an hour ago", json!({ "exp": NOW - 3600 }), "token_invalid"),
        ("ended as the skew allows", json!({ "exp": NOW - 4 }), "admitted"),
        ("ended at the skew", json!({ "exp": NOW - 5 }), "token_invalid"),
        (
            "end is text",
            json!({ "exp": (NOW + 60).to_string() }),
            "token_invalid",
        ),
        ("end is a fraction", json!({ "exp": 1_800_000_060.5 }), "admitted"),
        ("end before 1970", json!({ "exp": -1 }), "token_invalid"),
        ("end beyond counting", json!({ "exp": 1e300 }), "token_invalid"),
        ("end far away", json!({ "exp": u64::MAX }), "admitted"),
        ("end is an object", json!({ "exp": {} }), "token_invalid"),
        ("begins in an hour", json!({ "nbf": NOW + 3600 }), "token_invalid"),
        ("begins as the skew allows", json!({ "nbf": NOW + 5 }), "admitted"),
        (
            "begins beyond the skew",
            json!({ "nbf": NOW + 6 }),
            "token_invalid",
        ),
        ("begin is text", json!({ "nbf": "now" }), "token_invalid"),
        ("no begin", json!({ "nbf": null }), "admitted"),
        ("issued in milliseconds", json!({ "iat": NOW * 1000 }), "admitted"),
        ("no time of issue", json!({ "iat": null }), "admitted"),
        ("time of issue is text", json!({ "iat": "now" }), "admitted"),
        ("no id", json!({ "jti": null }), "admitted"),
        ("id is a number", json!({ "jti": 7 }), "token_invalid"),
        ("no subject", json!({ "sub": null }), "admitted"),
        ("subject is a list", json!({ "sub": ["alice"] }), "token_invalid"),
        ("several audiences", json!({ "aud": ["a", "b"] }), "admitted"),
        ("audience is a number", json!({ "aud": 7 }), "admitted"),
        ("audience holds a number", json!({ "aud": ["a", 7] }), "admitted"),
        (
            "a claim that is an object",
            json!({ "address": { "city": "x" } }),
            "admitted",
        ),
        (
            "an internal key",
            json!({ "token_type": "InternalKey" }),
            "token_invalid",
        ),
        ("an API key", json!({ "token_type": "apiKey" }), "token_invalid"),
        // Keys of API Manager 3 don't say what they are, but all of them name whom they are for.
        ("an older API key", json!({ "permittedIP": "" }), "token_invalid"),
        (
            "an older API key for a site",
            json!({ "permittedReferer": "www.abc.com/*" }),
            "token_invalid",
        ),
        ("a kind of its own", json!({ "token_type": "Bearer" }), "admitted"),
        ("sandbox key", json!({ "keytype": "sandbox" }), "admitted"),
        (
            "unknown key type",
            json!({ "keytype": "STAGING" }),
            "key_type_unknown",
        ),
        (
            "key type is a list",
            json!({ "keytype": ["SANDBOX"] }),
            "key_type_unknown",
        ),
    ];
    for (name, changes, want) in cases {
        let token = token(&KEYS.ours, &header(), &changed(&changes));
        assert_eq!(world.token(&token), want, "{name}");
        assert_eq!(world.token(&token), want, "{name}, from the cache");
    }
}

#[tokio::test]
async fn a_claim_that_is_null_is_no_claim() {
    let world = World::new(policy(), settings());
    for claim in ["aud", "iat", "jti", "nbf", "sub"] {
        let mut claims = claims();
        claims[claim] = serde_json::Value::Null;
        let token = token(&KEYS.ours, &header(), &claims);
        assert_eq!(world.token(&token), "admitted", "{claim}");
    }
    let mut endless = claims();
    endless["exp"] = serde_json::Value::Null;
    let token = token(&KEYS.ours, &header(), &endless);
    assert_eq!(world.token(&token), "token_invalid");
}

#[tokio::test]
async fn headers_and_signatures_are_checked() {
    let world = World::new(policy(), settings());
    let ours = |header| token(&KEYS.ours, &header, &claims());
    let unsigned = |alg: &str| {
        format!(
            "{}.{}.{}",
            encode(json!({ "alg": alg }).to_string()),
            encode(claims().to_string()),
            encode("x")
        )
    };
    // A MAC keyed by what everybody can know: the public certificate.
    let mac = {
        let signed = format!(
            "{}.{}",
            encode(json!({ "alg": "HS256" }).to_string()),
            encode(claims().to_string())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, KEYS.ours.certificate.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", encode(tag))
    };
    let good = good_token();
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let cases = [
        ("RS256", ours(json!({ "alg": "RS256" })), "admitted"),
        ("RS384", ours(json!({ "alg": "RS384" })), "admitted"),
        ("RS512", ours(json!({ "alg": "RS512" })), "admitted"),
        (
            "named RS512, signed RS256",
            {
                let signed = format!("{}.{body}", encode(json!({ "alg": "RS512" }).to_string()));
                format!("{signed}.{}", encode(sign(&KEYS.ours, "RS256", &signed)))
            },
            "token_invalid",
        ),
        ("none", unsigned("none"), "token_invalid"),
        ("None", unsigned("None"), "token_invalid"),
        ("HS256 with the certificate", mac, "token_invalid"),
        ("ES256", unsigned("ES256"), "token_invalid"),
        ("PS256", ours(json!({ "alg": "PS256" })), "token_invalid"),
        ("no algorithm", ours(json!({ "typ": "JWT" })), "token_invalid"),
        (
            "algorithm is a number",
            ours(json!({ "alg": 256 })),
            "token_invalid",
        ),
        (
            "key id, our certificate",
            ours(json!({ "alg": "RS256", "kid": "any" })),
            "admitted",
        ),
        (
            "empty key id",
            ours(json!({ "alg": "RS256", "kid": "" })),
            "admitted",
        ),
        (
            "key id names another's alias",
            {
                token(
                    &KEYS.theirs,
                    &json!({ "alg": "RS256", "kid": "theirs" }),
                    &claims(),
                )
            },
            "token_invalid",
        ),
        (
            "key in the header",
            {
                token(
                    &KEYS.theirs,
                    &json!({ "alg": "RS256", "jwk": { "kty": "RSA" }, "jku": "http://x" }),
                    &claims(),
                )
            },
            "token_invalid",
        ),
        (
            "critical extension",
            ours(json!({ "alg": "RS256", "crit": ["b64"], "b64": false })),
            "token_invalid",
        ),
        (
            "critical is null",
            ours(json!({ "alg": "RS256", "crit": null })),
            "token_invalid",
        ),
        (
            "critical is empty",
            ours(json!({ "alg": "RS256", "crit": [] })),
            "token_invalid",
        ),
        (
            "key id is a number",
            ours(json!({ "alg": "RS256", "kid": 7 })),
            "token_invalid",
        ),
        (
            "key id is null",
            ours(json!({ "alg": "RS256", "kid": null })),
            "admitted",
        ),
        (
            "signed by another issuer",
            token(&KEYS.theirs, &header(), &claims()),
            "token_invalid",
        ),
        (
            "signature of other claims",
            {
                format!(
                    "{head}.{}.{signature}",
                    encode(changed(&json!({ "sub": "mallory" })).to_string())
                )
            },
            "token_invalid",
        ),
        (
            "signature cut",
            format!("{head}.{body}.{}", signature.get(4..).unwrap()),
            "token_invalid",
        ),
        (
            "padded segments",
            {
                let pad = |text: String| format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
                let signed = format!(
                    "{}.{}",
                    pad(encode(header().to_string())),
                    pad(encode(claims().to_string()))
                );
                format!("{signed}.{}", pad(encode(sign(&KEYS.ours, "RS256", &signed))))
            },
            "admitted",
        ),
        (
            "stray characters",
            format!("{head}.{body}!.{signature}"),
            "not_a_token",
        ),
        (
            "standard alphabet",
            format!("{head}.+/{body}.{signature}"),
            "not_a_token",
        ),
        ("three letters", "aaa.bbb.ccc".to_owned(), "not_a_token"),
        (
            "claims are a list",
            format!("{head}.{}.{signature}", encode("[]")),
            "not_a_token",
        ),
        (
            "two issuers",
            {
                let claims = claims()
                    .to_string()
                    .replacen('{', &format!("{{\"iss\":\"{OTHER}\","), 1);
                let signed = format!("{head}.{}", encode(claims));
                format!("{signed}.{}", encode(sign(&KEYS.ours, "RS256", &signed)))
            },
            "not_a_token",
        ),
        (
            "header is a list",
            {
                let signed = format!("{}.{body}", encode(r#"["RS256",null,null]"#));
                format!("{signed}.{}", encode(sign(&KEYS.ours, "RS256", &signed)))
            },
            "not_a_token",
        ),
        (
            "header is not UTF-8",
            {
                let signed = format!("{}.{body}", encode(b"{\"alg\":\"RS256\",\"x\":\"\xff\"}"));
                format!("{signed}.{}", encode(sign(&KEYS.ours, "RS256", &signed)))
            },
            "not_a_token",
        ),
        (
            "header is text",
            format!("{}.{body}.{signature}", encode("\"RS256\"")),
            "not_a_token",
        ),
        ("two parts", format!("{head}.{body}"), "no_credentials"),
        ("no signature", format!("{head}.{body}."), "no_credentials"),
        ("four parts", format!("{good}.x"), "no_credentials"),
        (
            "64 kilobytes",
            format!("{head}.{}.{signature}", "A".repeat(64 * 1024)),
            "token_invalid",
        ),
        (
            "nested deeply",
            format!("{head}.{}.{signature}", encode("[".repeat(4000))),
            "not_a_token",
        ),
    ];
    for (name, token, want) in cases {
        assert_eq!(world.token(&token), want, "{name}");
    }
}

#[tokio::test]
async fn an_algorithm_that_is_not_supported_is_named_once() {
    let mut settings = settings();
    let mut publisher = issuer("https://publisher.example", "ours");
    publisher.name = "APIM Publisher".to_owned();
    settings.issuers.push(publisher);
    let policy = guarded_with(|policy| policy.security.push(Requirement::one("key_header", Vec::new())));
    let mut world = World::new(policy, settings.clone());
    let _keys = &*KEYS;
    let log = Log::start();
    let of = |alg: &str, claims| token(&KEYS.ours, &json!({ "alg": alg }), &claims);
    let long = "ü".repeat(50);
    for round in 0..3 {
        for alg in ["ES256", "none", "PS256", &long, "x", "y\n"] {
            assert_eq!(world.token(&of(alg, claims())), "token_invalid", "{alg}");
        }
        let theirs = changed(&json!({ "iss": OTHER }));
        assert_eq!(world.token(&of("ES256", theirs)), "token_invalid");
        // Anybody can name any issuer; and what names no algorithm has nothing to tell.
        let stranger = changed(&json!({ "iss": format!("https://{round}.example") }));
        assert_eq!(world.token(&of("ES384", stranger)), "token_invalid");
        assert_eq!(
            world.token(&token(&KEYS.ours, &json!({ "alg": 7 }), &claims())),
            "token_invalid"
        );
        let key = of("HS256", claims());
        assert_eq!(world.label(&get(&[("apikey", &key)])), "api_key_invalid");
        // New settings are no reason to tell the same again.
        let next = Security::new(settings.clone(), None, &fetcher(), world.snapshot.ready());
        world.snapshot.security = Some(Arc::new(next));
    }
    let token = "token refused, its algorithm is not supported; further ones are refused silently";
    let line = |issuer: &str, alg: &str| format!("{token} issuer=\"{issuer}\" algorithm=\"{alg}\"");
    assert_eq!(
        log.lines(token),
        [
            line(ISSUER, "ES256"),
            line(ISSUER, "none"),
            line(ISSUER, "PS256"),
            line(ISSUER, &"ü".repeat(32)),
            line(OTHER, "ES256"),
            line("APIM Publisher", "HS256"),
        ]
    );
}

#[tokio::test]
async fn the_type_of_a_token_says_what_it_is_for() {
    let mut settings = settings();
    let mut publisher = issuer("https://publisher.example", "ours");
    publisher.name = "APIM Publisher".to_owned();
    settings.issuers.push(publisher);
    let policy = guarded_with(|policy| policy.security.push(Requirement::one("key_header", Vec::new())));
    let world = World::new(policy, settings);
    let internal = json!({
        "token_type": "InternalKey",
        "subscribedAPIs": [{ "name": "Pets", "version": "1.0", "context": "/v2" }],
    });
    // The type, whether an access token may have it, and whether a key may.
    let cases = [
        (json!(null), true, true),
        (json!("JWT"), true, true),
        (json!("jwt"), true, true),
        (json!("application/JWT"), true, true),
        (json!("at+jwt"), true, false),
        (json!("AT+JWT"), true, false),
        (json!("Application/at+jwt"), true, false),
        (json!("dpop+jwt"), false, false),
        (json!("secevent+jwt"), false, false),
        (json!("logout+jwt"), false, false),
        (json!("application/"), false, false),
        (json!("text/at+jwt"), false, false),
        (json!("at+jwt "), false, false),
        (json!("äääääääa"), false, false),
        (json!("JOSE"), false, false),
        (json!(""), false, false),
        (json!(5), false, false),
        (json!(["JWT"]), false, false),
        (json!({}), false, false),
    ];
    for (typ, access, key) in cases {
        let header = json!({ "alg": "RS256", "typ": typ });
        let of = |good, refusal| if good { "admitted" } else { refusal };
        let shown = token(&KEYS.ours, &header, &claims());
        assert_eq!(world.token(&shown), of(access, "token_invalid"), "{typ}");
        let label = world.label(&get(&[("apikey", &shown)]));
        assert_eq!(label, of(key, "api_key_invalid"), "{typ}, API key");
        let shown = token(&KEYS.ours, &header, &changed(&internal));
        let label = world.label(&get(&[("internal-key", &shown)]));
        assert_eq!(label, of(key, "api_key_invalid"), "{typ}, internal key");
    }
}

#[tokio::test]
async fn the_header_has_to_be_a_bearer_of_one_token() {
    let world = World::new(policy(), settings());
    let good = good_token();
    let cases = [
        (format!("Bearer {good}"), "admitted"),
        (format!("bEaReR   {good}  "), "admitted"),
        (format!(" Bearer\t{good}"), "admitted"),
        (format!("Bearer {good} x"), "no_credentials"),
        (format!("Bearer Bearer {good}"), "no_credentials"),
        (format!("Basic {good}"), "no_credentials"),
        (format!("Bearerx {good}"), "no_credentials"),
        (format!("Bearer: {good}"), "no_credentials"),
        (format!("Beare {good}"), "no_credentials"),
        (good.clone(), "no_credentials"),
        (format!("Bearer {good},Bearer {good}"), "no_credentials"),
        ("Bearer".to_owned(), "no_credentials"),
        ("Bearer opaque".to_owned(), "no_credentials"),
        (String::new(), "no_credentials"),
    ];
    for (value, want) in cases {
        assert_eq!(
            world.label(&get(&[("authorization", &value)])),
            want,
            "{value:.30}"
        );
    }
    assert_eq!(world.label(&get(&[])), "no_credentials");
}

#[tokio::test]
async fn an_api_may_have_a_header_of_its_own() {
    let world = World::new(
        policy_with(|policy| policy.authorization_header = Some("X-Token".to_owned())),
        settings(),
    );
    let value = format!("Bearer {}", good_token());
    let attributes = get(&[("x-token", &value), ("authorization", "Basic x")]);
    // The plain header is the upstream's business then.
    assert_eq!(
        world.admitted(&attributes).remove,
        ["internal-key", "x-token", "x-wso2-client-certificate"]
    );
    assert_eq!(world.label(&get(&[("authorization", &value)])), "no_credentials");
}

#[tokio::test]
async fn a_cached_token_is_checked_for_time_and_belongs_to_its_text() {
    let mut world = World::new(policy(), settings());
    let good = good_token();
    assert_eq!(world.token(&good), "admitted");
    assert_eq!(world.snapshot.ready().unwrap().tokens.len(), 1);
    // The same id in a forged token neither borrows the good result nor spoils it.
    let (head, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", encode([1; 256]));
    assert_eq!(world.token(&forged), "token_invalid");
    assert_eq!(world.token(&good), "admitted");
    let same_id = token(&KEYS.ours, &header(), &changed(&json!({ "exp": NOW - 60 })));
    assert_eq!(world.token(&same_id), "token_invalid");
    assert_eq!(world.token(&good), "admitted");
    world.now = NOW + 3605;
    assert_eq!(world.token(&good), "token_invalid");
}

#[tokio::test]
async fn the_cache_is_bounded_by_what_tokens_weigh() {
    let mut settings = settings();
    settings.cache.max_entries = 10;
    let world = World::new(policy(), settings);
    // Each is worth several entries: what it says takes more room than its text.
    let scopes = vec!["read"; 1000].join(" ");
    for n in 0..10 {
        let claims = changed(&json!({ "jti": n.to_string(), "scope": scopes }));
        assert_eq!(world.token(&token(&KEYS.ours, &header(), &claims)), "admitted");
    }
    assert!(world.snapshot.ready().unwrap().tokens.len() < 5);
    let far = changed(&json!({ "jti": "far", "scope": "a ".repeat(5_500) }));
    assert_eq!(world.token(&token(&KEYS.ours, &header(), &far)), "admitted");
}

#[tokio::test]
async fn without_a_cache_every_token_is_checked_anew() {
    let mut settings = settings();
    settings.cache = Cache {
        enabled: false,
        ..Cache::default()
    };
    let world = World::new(policy(), settings);
    assert_eq!(world.token(&good_token()), "admitted");
    assert_eq!(world.token(&good_token()), "admitted");
    assert_eq!(world.snapshot.ready().unwrap().tokens.len(), 0);
}

#[tokio::test]
async fn one_of_the_scopes_is_enough() {
    let scoped = |scopes: &[&str], kind: SchemeKind| {
        let scopes: Vec<_> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        policy_with(move |policy| {
            policy.schemes[0].kind = kind;
            policy.resources[0].operations[0].security = vec![Requirement::one("default", scopes)];
        })
    };
    let cases = [
        (&["read", "write"][..], json!({ "scope": "read" }), "admitted"),
        (
            &["read", "write"],
            json!({ "scope": "profile write" }),
            "admitted",
        ),
        (
            &["read", "write"],
            json!({ "scope": ["profile", "write"] }),
            "admitted",
        ),
        (&["read"], json!({ "scope": "profile" }), "scope"),
        (&["read"], json!({ "scope": "readers" }), "scope"),
        (&["read"], json!({ "scope": "" }), "scope"),
        (&["", "read"], json!({ "scope": "" }), "scope"),
        (&["", "read"], json!({ "scope": "profile  email" }), "scope"),
        (&["", "read"], json!({ "scope": [""] }), "scope"),
        (&["read"], json!({ "scope": 7 }), "scope"),
        (&["read"], json!({}), "scope"),
        (&["default"], json!({}), "admitted"),
        (&[], json!({}), "admitted"),
    ];
    for (wanted, changes, want) in cases {
        for kind in [SchemeKind::OAuth2, SchemeKind::OpenIdConnect] {
            let world = World::new(scoped(wanted, kind.clone()), settings());
            let token = token(&KEYS.ours, &header(), &changed(&changes));
            assert_eq!(world.token(&token), want, "{kind:?} {wanted:?} {changes}");
        }
    }
}

#[tokio::test]
async fn claims_may_have_other_names() {
    let mut settings = settings();
    settings.issuers[0].claim_mapping = vec![
        ClaimMapping {
            remote: "permissions".to_owned(),
            local: "scope".to_owned(),
        },
        ClaimMapping {
            remote: "environment".to_owned(),
            local: "keytype".to_owned(),
        },
    ];
    let policy =
        policy_with(|policy| policy.security = vec![Requirement::one("default", vec!["read".to_owned()])]);
    let world = World::new(policy, settings);
    let of = |changes| token(&KEYS.ours, &header(), &changed(&changes));
    assert_eq!(world.token(&of(json!({ "permissions": ["read"] }))), "admitted");
    assert_eq!(world.token(&of(json!({ "scope": "read" }))), "admitted");
    assert_eq!(
        world.token(&of(json!({ "permissions": ["write"], "scope": "read" }))),
        "scope"
    );
    assert_eq!(
        world.token(&of(json!({ "permissions": ["read"], "environment": "x" }))),
        "key_type_unknown"
    );
}

#[tokio::test]
async fn where_subscriptions_count_the_token_names_the_api() {
    let mut settings = settings();
    settings.issuers[0].validate_subscription = true;
    let world = World::new(policy(), settings);
    let of = |apis| {
        token(
            &KEYS.ours,
            &header(),
            &changed(&json!({ "subscribedAPIs": apis })),
        )
    };
    let pets = json!({ "name": "Pets", "version": "1.0", "context": "/other" });
    let cases = [
        ("this one", json!([pets]), "admitted"),
        (
            "another and this one",
            json!([{ "name": "Cats", "version": "1.0" }, pets]),
            "admitted",
        ),
        (
            "another version",
            json!([{ "name": "Pets", "version": "2.0" }]),
            "subscription",
        ),
        ("none", json!([]), "subscription"),
        ("something else", json!("Pets"), "subscription"),
        // Without a list only a store could tell, and there is none.
        ("no list", json!(null), "subscription"),
    ];
    for (name, apis, want) in cases {
        assert_eq!(world.token(&of(apis)), want, "{name}");
    }
}

#[tokio::test]
async fn issuers_without_a_usable_key_are_left_out() {
    let mut settings = settings();
    settings.issuers[0].certificate_path = text("missing.pem");
    std::fs::write(path("empty.pem"), "").unwrap();
    settings.issuers[1].certificate_path = text("empty.pem");
    let world = World::new(policy(), settings);
    assert!(world.snapshot.ready().unwrap().issuers.access.is_empty());
    assert_eq!(world.token(&good_token()), "token_invalid");
}

#[tokio::test]
async fn a_key_id_does_not_reach_the_certificate_of_an_alias() {
    let mut settings = settings();
    // No certificate of its own, but the alias of another's.
    settings.issuers[0].certificate_path = String::new();
    settings.issuers[0].certificate_alias = "theirs".to_owned();
    let world = World::new(policy(), settings);
    let of = |header| token(&KEYS.theirs, &header, &claims());
    assert_eq!(world.token(&of(json!({ "alg": "RS256" }))), "admitted");
    assert_eq!(
        world.token(&of(json!({ "alg": "RS256", "kid": "theirs" }))),
        "token_invalid"
    );
}

#[tokio::test]
async fn the_certificate_of_one_issuer_does_not_stand_for_another() {
    let of = |name: &str| {
        let issued = if name == "ours" { &KEYS.ours } else { &KEYS.theirs };
        token(issued, &header(), &claims())
    };
    // Two installations of the same product, each with its own certificate under the product's alias.
    let mut shared = settings();
    shared.issuers[0].certificate_alias = "wso2carbon".to_owned();
    shared.issuers[1].certificate_alias = "wso2carbon".to_owned();
    let world = World::new(policy(), shared);
    assert_eq!(world.token(&of("ours")), "admitted");
    assert_eq!(world.token(&of("theirs")), "token_invalid");
    // A certificate that can't be read isn't replaced by another's.
    let mut unreadable = settings();
    unreadable.issuers[0].certificate_alias = "theirs".to_owned();
    unreadable.issuers[0].certificate_path = text("missing.pem");
    let world = World::new(policy(), unreadable);
    assert_eq!(world.token(&of("theirs")), "token_invalid");
}
