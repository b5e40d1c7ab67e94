//! API keys, the internal key and client certificates, alone and together.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use trireme_policy::ApiPolicy;
use trireme_policy::api::*;
use trireme_policy::settings::Settings;

use super::fixture::*;
use crate::attributes::Attributes;
use crate::verdict::Verdict;

fn key_settings(validate: bool) -> Settings {
    let mut settings = settings();
    let mut publisher = issuer("https://publisher.example", "ours");
    publisher.name = "APIM Publisher".to_owned();
    publisher.certificate_alias = "publisher".to_owned();
    let mut keys = issuer("", "ours");
    keys.name = "APIM APIkey".to_owned();
    keys.certificate_alias = "keys".to_owned();
    keys.validate_subscription = validate;
    settings.issuers.extend([publisher, keys]);
    settings
}

fn key_scheme(definition: &str, location: Location) -> SecurityScheme {
    SecurityScheme {
        definition: definition.to_owned(),
        kind: SchemeKind::ApiKey,
        name: "ApiKey".to_owned(),
        location,
    }
}

/// Keys in header or query, or a token, are enough.
fn key_policy() -> ApiPolicy {
    policy_with(|policy| {
        policy.schemes.push(key_scheme("key_header", Location::Header));
        policy.schemes.push(key_scheme("key_query", Location::Query));
        policy.security = ["key_header", "key_query", "default"]
            .map(|definition| Requirement::one(definition, Vec::new()))
            .into();
    })
}

fn key(changes: &Value) -> String {
    let mut claims = changed(changes);
    let object = claims.as_object_mut().unwrap();
    object
        .entry("subscribedAPIs")
        .or_insert_with(|| json!([{ "name": "Pets", "version": "1.0", "context": "/v2" }]));
    token(&KEYS.ours, &header(), &claims)
}

#[tokio::test]
async fn api_keys_are_checked_claim_by_claim() {
    let world = World::new(key_policy(), key_settings(true));
    let tampered = {
        let good = key(&json!({}));
        let (head, _) = good.rsplit_once('.').unwrap();
        format!("{head}.{}", encode([7; 256]))
    };
    let referred = json!({ "permittedReferer": "www.abc.com/*" });
    let cases = [
        ("good", key(&json!({})), "admitted"),
        ("no end", key(&json!({ "exp": null })), "admitted"),
        ("no id", key(&json!({ "jti": null })), "admitted"),
        ("expired", key(&json!({ "exp": NOW - 60 })), "token_invalid"),
        (
            "internal",
            key(&json!({ "token_type": "InternalKey" })),
            "token_invalid",
        ),
        (
            "for another API",
            key(&json!({ "subscribedAPIs": [{ "name": "Cats", "version": "1.0" }] })),
            "subscription",
        ),
        ("for none", key(&json!({ "subscribedAPIs": [] })), "subscription"),
        (
            "signed by a stranger",
            token(&KEYS.theirs, &header(), &claims()),
            "api_key_invalid",
        ),
        ("tampered", tampered, "api_key_invalid"),
        ("not JSON", "aaa.bbb.ccc".to_owned(), "api_key_invalid"),
        (
            "from this address",
            key(&json!({ "permittedIP": "192.168.0.0/16, 10.0.0.1" })),
            "admitted",
        ),
        (
            "from another address",
            key(&json!({ "permittedIP": "192.168.0.0/16" })),
            "forbidden",
        ),
        ("from a referrer", key(&referred), "admitted"),
        (
            "from another referrer",
            key(&json!({ "permittedReferer": "www.xyz.com/*" })),
            "forbidden",
        ),
        (
            "from this address and another referrer",
            key(&json!({ "permittedIP": "10.0.0.1", "permittedReferer": "www.xyz.com/*" })),
            "forbidden",
        ),
        (
            "for the sandbox",
            key(&json!({ "keytype": "SANDBOX" })),
            "admitted",
        ),
        // Its scopes would not be looked at here.
        (
            "an access token",
            key(&json!({ "scope": "profile" })),
            "token_invalid",
        ),
        (
            "a key with scopes",
            key(&json!({ "scope": "profile", "token_type": "apiKey" })),
            "admitted",
        ),
    ];
    for (name, key, want) in cases {
        for round in ["first", "again"] {
            let attributes = get(&[("apikey", &key), ("referer", "www.abc.com/page")]);
            assert_eq!(world.label(&attributes), want, "{name}, {round}");
        }
    }
    // API Manager writes both restrictions into every key; empty ones restrict nothing. What isn't a text can't be met.
    let restricted = [
        (json!({ "permittedIP": "", "permittedReferer": "" }), "admitted"),
        (
            json!({ "permittedIP": null, "permittedReferer": null }),
            "admitted",
        ),
        (json!({ "permittedIP": " " }), "forbidden"),
        (json!({ "permittedIP": "," }), "forbidden"),
        (json!({ "permittedIP": ["10.0.0.1"] }), "forbidden"),
        (json!({ "permittedReferer": ["*"] }), "forbidden"),
        (json!({ "permittedReferer": "www.abc.com," }), "forbidden"),
    ];
    for (changes, want) in restricted {
        let mut claims = changed(&changes);
        claims["subscribedAPIs"] = json!([{ "name": "Pets", "version": "1.0" }]);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let key = token(&KEYS.ours, &header(), &claims);
        assert_eq!(
            world.label(&get(&[("apikey", &key), ("referer", "")])),
            want,
            "{changes}"
        );
    }
    let nowhere = key(&json!({ "permittedIP": "10.0.0.1" }));
    assert_eq!(
        world.label(&Attributes {
            peer: "",
            ..get(&[("apikey", &nowhere)])
        }),
        "forbidden"
    );
    assert_eq!(world.label(&get(&[("apikey", &key(&referred))])), "forbidden");
}

#[tokio::test]
async fn api_keys_count_only_where_they_are_declared_and_go_no_further() {
    let world = World::new(key_policy(), key_settings(true));
    let good = key(&json!({}));
    let path = format!("/v2/pets?a=%20b&ApiKey={good}&c=d&a=2");
    let attributes = Attributes {
        path: &path,
        ..get(&[])
    };
    let admitted = world.admitted(&attributes);
    assert_eq!(admitted.steering.path.as_deref(), Some("/v2/pets?a=%20b&c=d&a=2"));
    assert!(admitted.remove.contains(&"apikey"));
    let only = format!("/v2/pets?%41piKey={good}");
    let attributes = Attributes {
        path: &only,
        ..get(&[])
    };
    assert_eq!(
        world.admitted(&attributes).steering.path.as_deref(),
        Some("/v2/pets")
    );
    // The name of a parameter is exact, that of a header isn't.
    let lower = format!("/v2/pets?apikey={good}");
    assert_eq!(
        world.label(&Attributes {
            path: &lower,
            ..get(&[])
        }),
        "no_credentials"
    );
    let header_only = policy_with(|policy| {
        policy.schemes.push(key_scheme("key_header", Location::Header));
        policy.security = vec![Requirement::one("key_header", Vec::new())];
    });
    let world = World::new(header_only, key_settings(true));
    assert_eq!(
        world.label(&Attributes {
            path: &path,
            ..get(&[])
        }),
        "no_credentials"
    );
    let bearer = format!("Bearer {}", good_token());
    assert_eq!(world.label(&get(&[("authorization", &bearer)])), "no_credentials");
    assert_eq!(world.label(&get(&[("apikey", &good)])), "admitted");
}

#[tokio::test]
async fn api_keys_need_a_signer_and_under_a_control_plane_a_store() {
    let good = key(&json!({}));
    let label = |settings| World::new(key_policy(), settings).label(&get(&[("apikey", &good)]));
    assert_eq!(label(settings()), "signer_missing");
    assert_eq!(label(key_settings(false)), "admitted");
    let mut controlled = key_settings(false);
    controlled.control_plane = true;
    assert_eq!(label(controlled), "subscription");
    // The publisher signs them where nobody else does.
    let mut publisher = key_settings(true);
    publisher.issuers.pop();
    assert_eq!(label(publisher), "admitted");
}

#[tokio::test]
async fn the_first_failure_gives_the_reason_and_a_later_success_clears_it() {
    let world = World::new(key_policy(), key_settings(true));
    let bad = format!("Bearer {}", token(&KEYS.theirs, &header(), &claims()));
    let good = key(&json!({}));
    assert_eq!(
        world.label(&get(&[("authorization", &bad), ("apikey", "aaa.bbb.ccc")])),
        "token_invalid"
    );
    assert_eq!(
        world.label(&get(&[("authorization", &bad), ("apikey", &good)])),
        "admitted"
    );
}

#[tokio::test]
async fn schemes_that_are_required_together_are_all_required() {
    let both = policy_with(|policy| {
        policy.schemes.push(key_scheme("key_header", Location::Header));
        let schemes = ["default", "key_header"].map(|name| (name.to_owned(), Vec::new()));
        policy.security = vec![Requirement {
            schemes: BTreeMap::from(schemes),
        }];
    });
    let world = World::new(both, key_settings(true));
    let bearer = format!("Bearer {}", good_token());
    let good = key(&json!({}));
    assert_eq!(world.label(&get(&[("authorization", &bearer)])), "no_credentials");
    assert_eq!(world.label(&get(&[("apikey", &good)])), "no_credentials");
    assert_eq!(
        world.label(&get(&[("authorization", &bearer), ("apikey", &good)])),
        "admitted"
    );
    assert_eq!(
        world.label(&get(&[("authorization", &bearer), ("apikey", "a.b.c")])),
        "api_key_invalid"
    );
    // A scheme that nothing here can check is never satisfied.
    let unknown = policy_with(|policy| policy.security = vec![Requirement::one("basic", Vec::new())]);
    let world = World::new(unknown, key_settings(true));
    assert_eq!(world.label(&get(&[("authorization", &bearer)])), "no_credentials");
}

#[tokio::test]
async fn the_internal_key_opens_the_api_that_it_names() {
    let world = World::new(policy(), key_settings(true));
    let internal = |changes: Value| {
        let mut changes = changes;
        changes
            .as_object_mut()
            .unwrap()
            .entry("token_type")
            .or_insert_with(|| "InternalKey".into());
        key(&changes)
    };
    let cases = [
        ("good", internal(json!({})), "admitted"),
        ("expired", internal(json!({ "exp": NOW - 60 })), "token_invalid"),
        (
            "not internal",
            internal(json!({ "token_type": "Production" })),
            "token_invalid",
        ),
        (
            "another context",
            internal(json!({ "subscribedAPIs": [{ "context": "/v3", "version": "1.0" }] })),
            "forbidden",
        ),
        (
            "names none",
            internal(json!({ "subscribedAPIs": 7 })),
            "forbidden",
        ),
        (
            "a stranger's",
            token(&KEYS.theirs, &header(), &claims()),
            "api_key_invalid",
        ),
    ];
    for (name, key, want) in &cases {
        assert_eq!(world.label(&get(&[("internal-key", key)])), *want, "{name}");
    }
    // A good key is as good after a bad one, and the other way round.
    assert_eq!(world.label(&get(&[("internal-key", &cases[0].1)])), "admitted");
    assert_eq!(
        world.label(&get(&[("internal-key", &cases[5].1)])),
        "api_key_invalid"
    );
    assert_eq!(
        world.label(&get(&[("internal-key", "not a key")])),
        "no_credentials"
    );
    // A failed one doesn't stand in the way of a token.
    let bearer = format!("Bearer {}", good_token());
    assert_eq!(
        world.label(&get(&[("internal-key", &cases[1].1), ("authorization", &bearer)])),
        "admitted"
    );
    // Without a publisher nobody's is good.
    let world = World::new(policy(), settings());
    assert_eq!(
        world.label(&get(&[("internal-key", &cases[0].1)])),
        "token_invalid"
    );
}

#[tokio::test]
async fn certificates_and_credentials_combine_as_documented() {
    let pinned = |mutual_tls, application_security| {
        policy_with(|policy| {
            policy.mutual_tls = mutual_tls;
            policy.application_security = application_security;
            policy.client_certificates = vec![ClientCertificate {
                alias: "ours".to_owned(),
                key_type: None,
                tier: String::new(),
                pem: KEYS.ours.certificate.clone().into_bytes(),
            }];
        })
    };
    let url = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let trusted = url(&KEYS.ours.certificate);
    let untrusted = url(&KEYS.theirs.certificate);
    let garbage = url("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----");
    let good = format!("Bearer {}", good_token());
    let bad = format!("Bearer {}", token(&KEYS.theirs, &header(), &claims()));
    use MutualTls::{Mandatory, Optional};
    let cases = [
        (Mandatory, true, &*trusted, &*good, "admitted"),
        (Mandatory, true, &trusted, "", "no_credentials"),
        (Mandatory, true, &trusted, &bad, "token_invalid"),
        (Mandatory, true, "", &good, "no_credentials"),
        (Mandatory, true, &untrusted, &good, "no_credentials"),
        (Mandatory, true, &garbage, &good, "certificate_unreadable"),
        (Mandatory, true, "not a certificate", &good, "no_credentials"),
        (Mandatory, false, &trusted, "", "admitted"),
        (Mandatory, false, &trusted, &bad, "admitted"),
        (Mandatory, false, "", &good, "no_credentials"),
        (Mandatory, false, &garbage, &good, "certificate_unreadable"),
        (Optional, true, "", &good, "admitted"),
        (Optional, true, &untrusted, &good, "admitted"),
        (Optional, true, &garbage, &good, "admitted"),
        (Optional, true, &trusted, &bad, "token_invalid"),
        (Optional, false, &trusted, "", "no_credentials"),
        (Optional, false, &garbage, "", "no_credentials"),
    ];
    for (mutual_tls, application, certificate, bearer, want) in cases {
        let mut world = World::new(pinned(mutual_tls, application), settings());
        // Certificates are made now, tokens for the fixed moment.
        world.now = NOW;
        let headers = [("authorization", bearer)];
        let headers = if bearer.is_empty() {
            &headers[..0]
        } else {
            &headers[..]
        };
        let attributes = Attributes {
            certificate,
            ..get(headers)
        };
        assert_eq!(
            world.label(&attributes),
            want,
            "{mutual_tls:?} {application} {certificate:.20} {bearer:.10}"
        );
    }
    let mut expired = World::new(pinned(Mandatory, false), settings());
    expired.now = NOW + 10 * 365 * 24 * 3600;
    assert_eq!(
        expired.label(&Attributes {
            certificate: &trusted,
            ..get(&[])
        }),
        "no_credentials"
    );
}

/// Lists of API Manager 4.5: a certificate of one environment is none in the other.
#[tokio::test]
async fn a_certificate_is_good_for_the_key_type_that_it_is_listed_for() {
    let certificate = utf8_percent_encode(&KEYS.ours.certificate, NON_ALPHANUMERIC).to_string();
    let bearer = |key_type: &str| {
        let mut claims = claims();
        claims["keytype"] = key_type.into();
        format!("Bearer {}", token(&KEYS.ours, &header(), &claims))
    };
    let (production, sandbox) = (bearer("PRODUCTION"), bearer("SANDBOX"));
    let [p, s] = [Some(KeyType::Production), Some(KeyType::Sandbox)];
    for (listed, application, bearer, want) in [
        (&[None][..], false, "", "PRODUCTION"),
        (&[p], false, "", "PRODUCTION"),
        (&[s], false, "", "SANDBOX"),
        (&[s, p], false, "", "PRODUCTION"),
        (&[None], true, &production, "PRODUCTION"),
        (&[None], true, &sandbox, "SANDBOX"),
        (&[p], true, &production, "PRODUCTION"),
        (&[p], true, &sandbox, "no_credentials"),
        (&[s], true, &production, "no_credentials"),
        (&[s], true, &sandbox, "SANDBOX"),
        (&[p, s], true, &sandbox, "SANDBOX"),
        (&[p], true, "", "no_credentials"),
    ] {
        let policy = policy_with(|policy| {
            policy.mutual_tls = MutualTls::Mandatory;
            policy.application_security = application;
            let pinned = |key_type: &_| ClientCertificate {
                alias: "ours".to_owned(),
                key_type: *key_type,
                tier: String::new(),
                pem: KEYS.ours.certificate.clone().into_bytes(),
            };
            policy.client_certificates = listed.iter().map(pinned).collect();
        });
        let mut world = World::new(policy, settings());
        world.now = NOW;
        let headers = [("authorization", bearer)];
        let attributes = Attributes {
            certificate: &certificate,
            ..get(if bearer.is_empty() { &[] } else { &headers })
        };
        let got = match world.check(&attributes).unwrap() {
            Verdict::Admitted(admitted) => admitted.identity.map_or("", |(_, found)| found.as_str()),
            Verdict::Denied(denial) => denial.reason.label(),
        };
        assert_eq!(got, want, "{listed:?} {application} {bearer:.10}");
    }
}

#[tokio::test]
async fn a_certificate_in_a_header_counts_only_where_that_is_configured() {
    let policy = || {
        policy_with(|policy| {
            policy.mutual_tls = MutualTls::Mandatory;
            policy.client_certificates = vec![ClientCertificate {
                alias: "ours".to_owned(),
                key_type: None,
                tier: String::new(),
                pem: KEYS.ours.certificate.clone().into_bytes(),
            }];
        })
    };
    let plain = KEYS.ours.certificate.replace('\n', " ");
    let url = utf8_percent_encode(&KEYS.ours.certificate, NON_ALPHANUMERIC).to_string();
    // As Java's `URLEncoder` writes it.
    let form = url.replace("%20", "+");
    assert!(form.contains("BEGIN+CERTIFICATE"));
    for (from_connection, encoded, value, want) in [
        (false, true, &form, "admitted"),
        (false, false, &form, "no_credentials"),
        (true, false, &plain, "no_credentials"),
        (false, false, &plain, "admitted"),
        (false, true, &url, "admitted"),
        (false, false, &url, "no_credentials"),
    ] {
        let mut settings = settings();
        settings.mutual_tls.from_connection = from_connection;
        settings.mutual_tls.encoded = encoded;
        let world = World::new(policy(), settings);
        let attributes = get(&[("x-wso2-client-certificate", value)]);
        assert_eq!(world.label(&attributes), want, "{from_connection} {encoded}");
    }
}
