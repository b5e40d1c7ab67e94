//! Limits: every row of spec/enforcer.md §7 that is counted here, by the checks of a world with its own clock.

use serde_json::{Value, json};
use trireme_policy::api::*;
use trireme_policy::settings::Settings;
use trireme_policy::throttle::{Denial, Limits, Quota, Template, Tier, Unit, built_in};
use trireme_policy::{ApiPolicy, settings};

use super::fixture::*;
use crate::attributes::Attributes;
use crate::respond::{encode, respond};
use crate::verdict::{Exceeded, Reason, Verdict};

/// The first second of the window of a minute that [`NOW`] is in, and of the next.
const NEXT: u64 = NOW - NOW % 60 + 60;

pub(super) fn quota(amount: u64, window_secs: u64) -> Quota {
    Quota {
        unit: Unit::Requests,
        amount,
        window_secs,
    }
}

pub(super) fn tier(name: &str, amount: u64) -> Tier {
    Tier {
        name: name.to_owned(),
        quota: Some(quota(amount, 60)),
        burst: None,
        stop_on_quota_reach: true,
        groups: Vec::new(),
    }
}

/// `Two` and `Three` requests a minute beside the usual tiers, and changes.
pub(super) fn limited(change: impl FnOnce(&mut Limits)) -> Settings {
    let mut tiers = built_in();
    tiers.extend([tier("Two", 2), tier("Three", 3)]);
    let mut limits = Limits {
        tiers,
        ..Limits::default()
    };
    change(&mut limits);
    Settings {
        limits: Some(limits),
        ..settings()
    }
}

/// A world whose API has this tier.
fn of_api(tier: &str) -> World {
    World::new(
        policy_with(|policy| policy.tier = tier.to_owned()),
        limited(|_| {}),
    )
}

/// A world whose API has a tier that nothing here uses up, as those of [`subscriber`] may have.
pub(super) fn three_levels() -> World {
    World::new(
        policy_with(|policy| policy.tier = "50KPerMin".to_owned()),
        limited(|_| {}),
    )
}

/// Claims of a token of this application, with this subscription to the API.
pub(super) fn subscriber(application: &str, subscription: &str) -> Value {
    changed(&json!({
        "application": { "id": 7, "uuid": "u", "name": "App", "tier": application, "owner": "bob" },
        "subscribedAPIs": [
            { "name": "Cats", "version": "1.0", "subscriptionTier": "Two" },
            { "name": "Pets", "version": "1.0", "subscriptionTier": subscription, "subscriberTenantDomain": "b.test" },
        ],
    }))
}

pub(super) fn bearer(claims: &Value) -> String {
    format!("Bearer {}", token(&KEYS.ours, &header(), claims))
}

/// Verdicts of so many calls, as labels.
pub(super) fn calls(world: &World, attributes: &Attributes<'_>, count: usize) -> Vec<&'static str> {
    (0..count).map(|_| world.label(attributes)).collect()
}

pub(super) fn exceeded(world: &World, attributes: &Attributes<'_>) -> Exceeded {
    match world.denied(attributes) {
        Reason::Limit(exceeded) => *exceeded,
        other => panic!("{other:?}"),
    }
}

/// The code of a refusal, or 200.
pub(super) fn code(world: &World, attributes: &Attributes<'_>) -> String {
    let verdict = world.check(attributes).unwrap();
    let Verdict::Denied(denial) = &verdict else {
        return "200".to_owned();
    };
    let refusal = crate::respond::refusal(&denial.reason, "");
    format!("{}/{}", refusal.status, refusal.code)
}

#[tokio::test]
async fn every_level_refuses_with_its_code_until_its_window_ends() {
    type Level = (&'static str, ApiPolicy, Settings, Value, &'static str);
    let plain = changed(&json!({}));
    let of_operation = policy_with(|policy| policy.resources[0].operations[0].tier = "Two".to_owned());
    let of_api = policy_with(|policy| policy.tier = "Two".to_owned());
    let template = |limits: &mut Limits| {
        limits.templates.push(Template {
            template: "$userId:$apiContext".to_owned(),
            quota: quota(2, 60),
        });
    };
    let cases: [Level; 5] = [
        ("api", of_api, limited(|_| {}), plain.clone(), "429/900800"),
        (
            "resource",
            of_operation,
            limited(|_| {}),
            plain.clone(),
            "429/900802",
        ),
        (
            "subscription",
            policy(),
            limited(|_| {}),
            subscriber("Unlimited", "Two"),
            "429/900804",
        ),
        (
            "application",
            policy(),
            limited(|_| {}),
            subscriber("Two", "Unlimited"),
            "429/900803",
        ),
        ("custom", policy(), limited(template), plain, "429/900806"),
    ];
    for (name, policy, settings, claims, want) in cases {
        let mut world = World::new(policy, settings);
        let authorization = bearer(&claims);
        let headers = [("authorization", authorization.as_str())];
        let request = get(&headers);
        let codes: Vec<_> = (0..4).map(|_| code(&world, &request)).collect();
        assert_eq!(codes, ["200", "200", want, want], "{name}");
        let exceeded = exceeded(&world, &request);
        assert_eq!((exceeded.until, exceeded.fields), (NEXT, None), "{name}");
        // The last second of the window, and the first of the next.
        world.now = NEXT - 1;
        assert_eq!(code(&world, &request), want, "{name}");
        world.now = NEXT;
        assert_eq!(code(&world, &request), "200", "{name}");
    }
}

#[tokio::test]
async fn a_refused_request_is_counted_by_no_limit() {
    // The API has two, the application three: what the API refuses takes nothing of the application.
    let policy = policy_with(|policy| policy.tier = "Two".to_owned());
    let world = World::new(policy, limited(|limits| limits.fields = true));
    let authorization = bearer(&subscriber("Three", "Gold"));
    let headers = [("authorization", authorization.as_str())];
    let request = get(&headers);
    assert_eq!(calls(&world, &request, 3), ["admitted", "admitted", "api_limit"]);
    for _ in 0..5 {
        let fields = exceeded(&world, &request).fields.unwrap();
        assert_eq!(
            fields.left,
            "\"api\";r=0;t=60, \"subscription\";r=4998;t=60, \"application\";r=1;t=60"
        );
    }
}

#[tokio::test]
async fn the_levels_are_looked_at_in_their_order() {
    let policy = policy_with(|policy| policy.tier = "Two".to_owned());
    let settings = limited(|limits| {
        limits.templates.push(Template {
            template: "all".to_owned(),
            quota: quota(2, 60),
        });
        limits.denials.push(Denial::User("mallory@b.test".to_owned()));
    });
    let world = World::new(policy.clone(), settings.clone());
    let ask = |world: &World, claims: &Value| {
        let authorization = bearer(claims);
        world.label(&get(&[("authorization", &authorization)]))
    };
    let claims = subscriber("Two", "Two");
    assert_eq!(ask(&world, &claims), "admitted");
    assert_eq!(ask(&world, &claims), "admitted");
    assert_eq!(ask(&world, &claims), "api_limit");
    let mut mallory = claims;
    mallory["sub"] = json!("mallory");
    assert_eq!(ask(&world, &mallory), "blocked");
    // One level after the other taken away, the next one says no.
    let open = |policy: &ApiPolicy| {
        let mut policy = policy.clone();
        policy.tier = String::new();
        policy
    };
    for (claims, want) in [
        (subscriber("Two", "Two"), "subscription_limit"),
        (subscriber("Two", ""), "application_limit"),
        (subscriber("", ""), "custom_limit"),
    ] {
        let world = World::new(open(&policy), settings.clone());
        let labels: Vec<_> = (0..3).map(|_| ask(&world, &claims)).collect();
        assert_eq!(labels, ["admitted", "admitted", want]);
    }
}

#[tokio::test]
async fn a_tier_of_the_api_takes_the_place_of_those_of_its_operations() {
    let authorization = format!("Bearer {}", good_token());
    let headers = [("authorization", authorization.as_str())];
    let request = get(&headers);
    for (api, operation, want) in [
        ("", "", "admitted"),
        ("", "Unlimited", "admitted"),
        ("", "unlimited", "admitted"),
        ("", "Two", "resource_limit"),
        ("Unlimited", "Two", "admitted"),
        ("Gold", "Two", "admitted"),
        ("Two", "", "api_limit"),
    ] {
        let policy = policy_with(|policy| {
            policy.tier = api.to_owned();
            policy.resources[0].operations[0].tier = operation.to_owned();
        });
        let world = World::new(policy, limited(|_| {}));
        let labels = calls(&world, &request, 3);
        assert_eq!(labels, ["admitted", "admitted", want], "{api:?} {operation:?}");
    }
    // An operation is a template and a method.
    let policy = policy_with(|policy| {
        for operation in &mut policy.resources[0].operations {
            operation.tier = "Two".to_owned();
        }
    });
    let world = World::new(policy, limited(|_| {}));
    assert_eq!(calls(&world, &request, 3)[2], "resource_limit");
    let post = Attributes {
        method: "POST",
        ..request
    };
    assert_eq!(
        calls(&world, &post, 3),
        ["admitted", "admitted", "resource_limit"]
    );
}

#[tokio::test]
async fn each_caller_has_its_own_limit_and_all_of_an_api_share_one() {
    let world = World::new(policy(), limited(|_| {}));
    let ask = |world: &World, change: &dyn Fn(&mut Value)| {
        let mut claims = subscriber("Two", "");
        change(&mut claims);
        let authorization = bearer(&claims);
        calls(world, &get(&[("authorization", &authorization)]), 3)[2]
    };
    // By application and user.
    assert_eq!(ask(&world, &|_| {}), "application_limit");
    assert_eq!(
        ask(&world, &|claims| claims["sub"] = json!("carol")),
        "application_limit"
    );
    let authorization = bearer(&subscriber("Two", ""));
    assert_eq!(
        world.label(&get(&[("authorization", &authorization)])),
        "application_limit"
    );
    let other = |claims: &mut Value| claims["application"]["id"] = json!("8");
    let mut claims = subscriber("Two", "");
    other(&mut claims);
    let authorization = bearer(&claims);
    assert_eq!(
        world.label(&get(&[("authorization", &authorization)])),
        "admitted"
    );

    // A subscription is the application's, whoever uses it.
    let world = World::new(policy(), limited(|_| {}));
    let mut users = ["alice", "carol", "dave"].into_iter().map(|user| {
        let mut claims = subscriber("", "Two");
        claims["sub"] = json!(user);
        let authorization = bearer(&claims);
        world.label(&get(&[("authorization", &authorization)]))
    });
    assert_eq!(
        [users.next(), users.next(), users.next()],
        [Some("admitted"), Some("admitted"), Some("subscription_limit")]
    );
}

#[tokio::test]
async fn a_subscription_that_may_go_on_is_not_refused() {
    let told = |stop: Value, tier: &str| {
        let mut claims = subscriber("", tier);
        claims["tierInfo"] = json!({ tier: { "stopOnQuotaReach": stop, "spikeArrestLimit": 1 } });
        claims
    };
    let settings = limited(|limits| {
        limits.tiers.push(Tier {
            stop_on_quota_reach: false,
            ..tier("Soft", 2)
        });
    });
    for (name, claims, want) in [
        (
            "the token says stop",
            told(json!(true), "Two"),
            "subscription_limit",
        ),
        ("the token says go on", told(json!(false), "Two"), "admitted"),
        (
            "the token says nothing",
            subscriber("", "Two"),
            "subscription_limit",
        ),
        (
            "what it says is no truth",
            told(json!("no"), "Two"),
            "subscription_limit",
        ),
        ("the tier goes on", subscriber("", "Soft"), "admitted"),
        (
            "the token stops it",
            told(json!(true), "Soft"),
            "subscription_limit",
        ),
    ] {
        let world = World::new(policy(), settings.clone());
        let authorization = bearer(&claims);
        let labels = calls(&world, &get(&[("authorization", &authorization)]), 3);
        assert_eq!(labels, ["admitted", "admitted", want], "{name}");
    }
}

#[tokio::test]
async fn nobody_is_of_a_tier_that_nothing_names() {
    // An operation that is open to all: the tier of callers without credentials would be 1.
    let settings = limited(|limits| {
        limits.tiers.retain(|tier| tier.name != "Unauthenticated");
        limits.tiers.push(tier("Unauthenticated", 1));
    });
    let open = |tier: &str| {
        policy_with(|policy| {
            policy.resources[0].operations[0].disable_security = true;
            policy.resources[0].operations[0].tier = tier.to_owned();
        })
    };
    let world = World::new(open(""), settings.clone());
    assert_eq!(calls(&world, &get(&[]), 3), ["admitted"; 3]);
    let world = World::new(open("Unauthenticated"), settings);
    assert_eq!(calls(&world, &get(&[]), 2), ["admitted", "resource_limit"]);
    // The built-in one is usable by its name.
    let world = World::new(open("Unauthenticated"), limited(|_| {}));
    assert_eq!(
        calls(&world, &get(&[]), 501)[499..],
        ["admitted", "resource_limit"]
    );
}

#[tokio::test]
async fn limits_that_are_off_limit_nothing() {
    let policy = policy_with(|policy| policy.tier = "Nobody".to_owned());
    let world = World::new(policy, settings());
    let authorization = bearer(&subscriber("Two", "Two"));
    assert_eq!(
        calls(&world, &get(&[("authorization", &authorization)]), 5),
        ["admitted"; 5]
    );
}

#[tokio::test]
async fn a_tier_that_nobody_defined_refuses_where_the_api_names_it() {
    let policy = policy_with(|policy| policy.tier = "Nobody".to_owned());
    let authorization = format!("Bearer {}", good_token());
    let headers = [("authorization", authorization.as_str())];
    let request = get(&headers);
    let world = World::new(policy.clone(), limited(|_| {}));
    assert_eq!(code(&world, &request), "503/900808");
    let of_operation = policy_with(|policy| policy.resources[0].operations[0].tier = "Nobody".to_owned());
    assert_eq!(
        code(&World::new(of_operation, limited(|_| {})), &request),
        "503/900808"
    );
    // With API Manager the tiers are its own, and in a token an unknown one has no limit (spec/enforcer.md §4.2).
    let managed = settings::Settings {
        control_plane: true,
        ..limited(|_| {})
    };
    assert_eq!(code(&World::new(policy, managed), &request), "200");
    let log = Log::start();
    let world = World::new(policy_with(|_| {}), limited(|_| {}));
    let authorization = bearer(&subscriber("Nobody", "Nobody"));
    for _ in 0..3 {
        assert_eq!(code(&world, &get(&[("authorization", &authorization)])), "200");
    }
    assert_eq!(
        log.lines("nobody defined this throttling tier").len(),
        1,
        "told once"
    );
}

#[tokio::test]
async fn a_burst_is_a_limit_beside_the_quota() {
    let settings = limited(|limits| {
        limits.tiers.push(Tier {
            burst: Some(quota(2, 1)),
            ..tier("Burst", 5)
        });
    });
    let policy = policy_with(|policy| policy.tier = "Burst".to_owned());
    let mut world = World::new(policy, settings);
    let authorization = format!("Bearer {}", good_token());
    let headers = [("authorization", authorization.as_str())];
    let request = get(&headers);
    assert_eq!(calls(&world, &request, 3), ["admitted", "admitted", "api_limit"]);
    assert_eq!(exceeded(&world, &request).until, NOW + 1);
    world.now += 1;
    assert_eq!(calls(&world, &request, 3), ["admitted", "admitted", "api_limit"]);
    world.now += 1;
    // One is left of the quota; then the quota keeps the caller out, which is longer than the burst.
    assert_eq!(calls(&world, &request, 2), ["admitted", "api_limit"]);
    assert_eq!(exceeded(&world, &request).until, NEXT);
}

#[tokio::test]
async fn callers_are_told_of_their_limits_only_where_that_is_switched_on() {
    let burst = |limits: &mut Limits| {
        limits.fields = true;
        limits.tiers.push(Tier {
            burst: Some(quota(2, 1)),
            ..tier("Burst", 5)
        });
    };
    let policy = policy_with(|policy| policy.tier = "Burst".to_owned());
    let mut world = World::new(policy.clone(), limited(burst));
    world.now = NEXT - 10;
    let authorization = bearer(&subscriber("Unlimited", "Gold"));
    let headers = [("authorization", authorization.as_str())];
    let request = get(&headers);
    let told = |world: &World, name: &str| -> Option<String> {
        use trireme_proto::envoy::service::auth::v3::check_response::HttpResponse;
        let verdict = world.check(&request).unwrap();
        let unary = respond(&verdict, &request, false);
        let (bytes, _) = encode(&verdict, &request, false, true, &mut Vec::new());
        let batched =
            <trireme_proto::envoy::service::auth::v3::CheckResponse as prost::Message>::decode(bytes);
        let headers = |response| match response {
            Some(HttpResponse::OkResponse(ok)) => ok.response_headers_to_add,
            Some(HttpResponse::DeniedResponse(denied)) => denied.headers,
            other => panic!("{other:?}"),
        };
        let unary = headers(unary.http_response);
        let batched = headers(batched.unwrap().http_response);
        assert_eq!(unary, batched);
        let mut all = unary.into_iter().filter_map(|option| option.header);
        all.find(|header| header.key.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    };
    let policy_field = "\"api\";q=5;w=60, \"api-burst\";q=2;w=1, \"subscription\";q=5000;w=60";
    assert_eq!(told(&world, "RateLimit-Policy").as_deref(), Some(policy_field));
    let left = told(&world, "RateLimit").unwrap();
    assert_eq!(
        left,
        "\"api\";r=3;t=10, \"api-burst\";r=0;t=1, \"subscription\";r=4998;t=10"
    );
    // As well with a refusal, beside the date of the original.
    let refused = told(&world, "RateLimit").unwrap();
    assert_eq!(refused, left);
    assert_eq!(
        told(&world, "Retry-After").as_deref(),
        Some(
            httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(NEXT - 9))
                .as_str()
        )
    );
    let quiet = World::new(
        policy,
        limited(|limits| {
            burst(limits);
            limits.fields = false;
        }),
    );
    for _ in 0..3 {
        assert_eq!(told(&quiet, "RateLimit"), None);
        assert_eq!(told(&quiet, "RateLimit-Policy"), None);
    }
}

#[tokio::test]
async fn bytes_are_those_that_the_request_says_it_has() {
    let settings = limited(|limits| {
        limits.tiers.push(Tier {
            quota: Some(Quota {
                unit: Unit::Bytes,
                amount: 100,
                window_secs: 60,
            }),
            ..tier("Data", 1)
        });
        limits.fields = true;
    });
    let policy = policy_with(|policy| policy.tier = "Data".to_owned());
    let world = World::new(policy, settings);
    let authorization = format!("Bearer {}", good_token());
    let ask = |method: &'static str, more: &[(&str, &str)]| {
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend_from_slice(more);
        let attributes = Attributes {
            method,
            ..get(&headers)
        };
        code(&world, &attributes)
    };
    assert_eq!(ask("POST", &[("content-length", "60")]), "200");
    assert_eq!(ask("POST", &[("content-length", "60")]), "429/900800");
    assert_eq!(ask("GET", &[]), "200", "nothing is taken, and something is left");
    assert_eq!(ask("POST", &[("content-length", "40")]), "200");
    assert_eq!(ask("POST", &[("content-length", "1")]), "429/900800");
    // What can't be counted isn't let through.
    assert_eq!(ask("POST", &[]), "411/411");
    assert_eq!(ask("GET", &[("transfer-encoding", "chunked")]), "411/411");
    assert_eq!(ask("POST", &[("content-length", "many")]), "411/411");
    let headers = [("authorization", authorization.as_str()), ("content-length", "1")];
    let fields = exceeded(&world, &get(&headers)).fields.unwrap();
    assert_eq!(fields.policy, "\"api\";q=100;w=60;qu=\"content-bytes\"");
}

#[tokio::test]
async fn a_prototype_is_held_to_the_tier_of_its_api() {
    let policy = policy_with(|policy| {
        policy.lifecycle = Lifecycle::Prototyped;
        policy.tier = "Two".to_owned();
    });
    let world = World::new(policy, limited(|_| {}));
    assert_eq!(calls(&world, &get(&[]), 3), ["admitted", "admitted", "api_limit"]);
}

#[tokio::test]
async fn a_certificate_has_the_tier_that_the_project_gives_it() {
    let policy = |tier: &str| {
        guarded_with(|policy| {
            policy.mutual_tls = MutualTls::Mandatory;
            policy.client_certificates[0].alias = "Ours".to_owned();
            policy.client_certificates[0].tier = tier.to_owned();
        })
    };
    let pem =
        percent_encoding::utf8_percent_encode(&KEYS.ours.certificate, percent_encoding::NON_ALPHANUMERIC)
            .to_string();
    let request = Attributes {
        certificate: &pem,
        ..get(&[])
    };
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for (tier, want) in [("Two", "subscription_limit"), ("", "admitted")] {
        let mut world = World::new(policy(tier), limited(|_| {}));
        world.now = now;
        assert_eq!(
            calls(&world, &request, 3),
            ["admitted", "admitted", want],
            "{tier:?}"
        );
    }
}

#[tokio::test]
async fn an_internal_key_has_no_tier() {
    let claims = changed(&json!({
        "token_type": "InternalKey",
        "application": { "id": 7, "tier": "Two", "name": "App", "owner": "bob" },
        "subscribedAPIs": [{ "context": "/v2", "name": "Pets", "version": "1.0", "subscriptionTier": "Two" }],
    }));
    let mut settings = limited(|_| {});
    settings.issuers.push(issuer("APIM Publisher", "ours"));
    let world = World::new(policy(), settings);
    let key = token(&KEYS.ours, &header(), &claims);
    assert_eq!(calls(&world, &get(&[("internal-key", &key)]), 3), ["admitted"; 3]);
}

#[tokio::test]
async fn an_api_key_has_the_tiers_that_it_names() {
    let mut settings = limited(|_| {});
    settings.issuers.push(issuer("APIM APIkey", "ours"));
    let policy = guarded_with(|policy| policy.security = vec![Requirement::one("key_header", Vec::new())]);
    for (claims, want) in [
        (subscriber("Two", "Unlimited"), "application_limit"),
        (subscriber("Unlimited", "Two"), "subscription_limit"),
    ] {
        let world = World::new(policy.clone(), settings.clone());
        let key = token(&KEYS.ours, &header(), &claims);
        assert_eq!(
            calls(&world, &get(&[("apikey", &key)]), 3),
            ["admitted", "admitted", want]
        );
    }
}

#[tokio::test]
async fn a_call_that_asks_for_an_upgrade_is_counted_as_any_other() {
    let world = of_api("Two");
    let authorization = format!("Bearer {}", good_token());
    let headers = [
        ("authorization", authorization.as_str()),
        ("upgrade", "websocket"),
    ];
    assert_eq!(
        calls(&world, &get(&headers), 3),
        ["admitted", "admitted", "api_limit"]
    );
}

#[tokio::test]
async fn who_is_refused_before_is_not_counted() {
    let world = of_api("Two");
    assert_eq!(calls(&world, &get(&[]), 3), ["no_credentials"; 3]);
    let authorization = format!("Bearer {}", good_token());
    let headers = [("authorization", authorization.as_str())];
    assert_eq!(
        calls(&world, &get(&headers), 3),
        ["admitted", "admitted", "api_limit"]
    );
}
