//! What limits ask of a request: conditions of groups, denials, key templates (spec/enforcer.md §7.4 to §7.6).

use serde_json::json;
use trireme_policy::throttle::{Addresses, Condition, Denial, Group, Template, Tier, What};

use super::fixture::*;
use super::limits::{bearer, calls, code, exceeded, limited, quota, subscriber, tier};
use crate::attributes::Attributes;
use crate::respond::respond;

/// The first second of the minute after [`NOW`].
const NEXT: u64 = NOW - NOW % 60 + 60;

/// A group of one request a minute for what this condition holds for.
fn group(what: What, invert: bool) -> Group {
    Group {
        quota: quota(1, 60),
        conditions: vec![Condition { what, invert }],
    }
}

fn range(first: &str, last: &str) -> Addresses {
    Addresses::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
}

fn pattern(kind: fn(String, String) -> What, name: &str, pattern: &str) -> What {
    kind(name.to_owned(), pattern.to_owned())
}

#[tokio::test]
async fn conditions_look_at_address_header_query_and_claim() {
    let header_is = |name, pattern| What::Header { name, pattern };
    let query_is = |name, pattern| What::Query { name, pattern };
    let claim_is = |name, pattern| What::Claim { name, pattern };
    let cases = [
        ("address", What::Addresses(range("10.0.0.1", "10.0.0.1")), true),
        (
            "first of a range",
            What::Addresses(range("10.0.0.1", "10.0.0.9")),
            true,
        ),
        (
            "last of a range",
            What::Addresses(range("9.0.0.0", "10.0.0.1")),
            true,
        ),
        ("outside", What::Addresses(range("10.0.0.2", "10.0.0.9")), false),
        ("header", pattern(header_is, "x-kind", "^mob"), true),
        ("found within a header", pattern(header_is, "x-kind", "bil"), true),
        ("not in the header", pattern(header_is, "x-kind", "^bil"), false),
        ("no such header", pattern(header_is, "x-other", ""), false),
        ("query", pattern(query_is, "limit", "^1$"), true),
        ("second of a name", pattern(query_is, "a", "^x y$"), true),
        ("name in another case", pattern(query_is, "Limit", ""), false),
        ("claim", pattern(claim_is, "sub", "^ali"), true),
        ("claim that is a number", pattern(claim_is, "exp", "^18"), true),
        ("no such claim", pattern(claim_is, "nobody", ""), false),
    ];
    let authorization = format!("Bearer {}", good_token());
    let headers = [("authorization", authorization.as_str()), ("x-kind", "mobile")];
    let request = Attributes {
        path: "/v2/pets?limit=1&a=b&a=x%20y",
        ..get(&headers)
    };
    for (name, what, holds) in cases {
        for invert in [false, true] {
            let settings = limited(|limits| {
                limits.tiers.push(Tier {
                    groups: vec![group(what.clone(), invert)],
                    ..tier("Grouped", 3)
                });
            });
            let policy = policy_with(|policy| policy.tier = "Grouped".to_owned());
            let world = World::new(policy, settings);
            let labels = calls(&world, &request, 4);
            let admitted = labels.iter().filter(|label| **label == "admitted").count();
            let want = if holds != invert { 1 } else { 3 };
            assert_eq!(admitted, want, "{name}, inverted {invert}: {labels:?}");
            assert_eq!(labels[3], "api_limit");
        }
    }
}

#[tokio::test]
async fn a_group_is_all_of_its_conditions_and_every_group_counts() {
    let kind = |value: &str| What::Header {
        name: "x-kind".to_owned(),
        pattern: value.to_owned(),
    };
    let settings = limited(|limits| {
        let mut both = group(kind("a"), false);
        both.conditions.push(Condition {
            what: kind("b"),
            invert: false,
        });
        let wide = Group {
            quota: quota(2, 3600),
            ..group(kind("a"), false)
        };
        limits.tiers.push(Tier {
            groups: vec![both, wide],
            ..tier("Grouped", 3)
        });
    });
    let policy = policy_with(|policy| policy.tier = "Grouped".to_owned());
    let mut world = World::new(policy, settings);
    let authorization = format!("Bearer {}", good_token());
    let ask =
        |world: &World, kind: &str| world.label(&get(&[("authorization", &authorization), ("x-kind", kind)]));
    // Of both groups, of one, of none: each has its own count.
    assert_eq!(ask(&world, "ab"), "admitted");
    assert_eq!(ask(&world, "ab"), "api_limit");
    assert_eq!(ask(&world, "a"), "admitted");
    assert_eq!(ask(&world, "a"), "api_limit");
    for want in ["admitted", "admitted", "admitted", "api_limit"] {
        assert_eq!(ask(&world, "c"), want);
    }
    // Of several windows that are used up, the one that ends last counts.
    let until = exceeded(
        &world,
        &get(&[("authorization", &authorization), ("x-kind", "ab")]),
    )
    .until;
    assert_eq!(until, NOW - NOW % 3600 + 3600);
    world.now = NEXT;
    assert_eq!(ask(&world, "ab"), "api_limit", "the hour isn't over");
}

#[tokio::test]
async fn denials_turn_away_what_they_name() {
    let with = |denial: Denial| limited(|limits| limits.denials.push(denial));
    let text = str::to_owned;
    let authorization = bearer(&subscriber("Unlimited", "Unlimited"));
    let headers = [("authorization", authorization.as_str())];
    let request = get(&headers);
    let address = |first: &str, last: &str, invert, tenant: &str| Denial::Addresses {
        addresses: range(first, last),
        invert,
        tenant: tenant.to_owned(),
    };
    let cases = [
        ("API", Denial::Api(text("/v2")), true),
        ("another API", Denial::Api(text("/v")), false),
        ("application", Denial::Application(text("bob:App")), true),
        (
            "another's application",
            Denial::Application(text("eve:App")),
            false,
        ),
        ("user", Denial::User(text("alice@b.test")), true),
        ("user without tenant", Denial::User(text("alice")), false),
        (
            "subscription",
            Denial::Subscription(text("/v2:1.0:bob-App:PRODUCTION")),
            true,
        ),
        (
            "subscription of the other environment",
            Denial::Subscription(text("/v2:1.0:bob-App:SANDBOX")),
            false,
        ),
        ("address", address("10.0.0.1", "10.0.0.1", false, ""), true),
        (
            "first of a range",
            address("10.0.0.1", "10.0.0.9", false, ""),
            true,
        ),
        ("last of a range", address("9.0.0.1", "10.0.0.1", false, ""), true),
        (
            "outside a range",
            address("10.0.0.2", "10.0.0.9", false, ""),
            false,
        ),
        ("inverted", address("10.0.0.1", "10.0.0.9", true, ""), false),
        (
            "outside, inverted",
            address("10.0.0.2", "10.0.0.9", true, ""),
            true,
        ),
        (
            "of the tenant",
            address("10.0.0.1", "10.0.0.1", false, "carbon.super"),
            true,
        ),
        (
            "of another tenant",
            address("10.0.0.1", "10.0.0.1", false, "a.test"),
            false,
        ),
        // What stands for one kind is none of another.
        (
            "an API by the name of a user",
            Denial::Api(text("alice@b.test")),
            false,
        ),
    ];
    for (name, denial, hit) in cases {
        let world = World::new(policy(), with(denial));
        let want = if hit { "403/900805" } else { "200" };
        assert_eq!(code(&world, &request), want, "{name}");
    }
    let world = World::new(policy(), with(address("10.0.0.1", "10.0.0.1", false, "")));
    let verdict = world.check(&request).unwrap();
    let response = respond(&verdict, &request, false);
    let text = format!("{response:?}");
    assert!(!text.contains("Retry-After"), "{text}");
    // Whoever has no address isn't known to be somebody else.
    let nowhere = Attributes { peer: "", ..request };
    assert_eq!(code(&world, &nowhere), "403/900805");
}

#[tokio::test]
async fn an_api_of_a_tenant_has_its_denials_and_its_users() {
    let policy = policy_with(|policy| policy.base_path = "/t/a.test/v2".to_owned());
    let settings = limited(|limits| {
        limits.denials.push(Denial::User("dora@a.test".to_owned()));
        limits.denials.push(Denial::User("eve@a.test.org".to_owned()));
        limits.denials.push(Denial::Addresses {
            addresses: range("10.0.0.7", "10.0.0.7"),
            invert: false,
            tenant: "a.test".to_owned(),
        });
    });
    let world = World::new(policy, settings);
    let ask = |user: &str, peer: &str| {
        let authorization = bearer(&changed(&json!({ "sub": user })));
        let headers = [("authorization", authorization.as_str())];
        let mut request = get(&headers);
        request.route.base_path = "/t/a.test/v2";
        request.path = "/t/a.test/v2/pets";
        request.peer = peer;
        world.label(&request)
    };
    assert_eq!(ask("dora", "10.0.0.1"), "blocked", "the tenant is added");
    assert_eq!(
        ask("eve@a.test.org", "10.0.0.1"),
        "blocked",
        "the tenant is in it"
    );
    assert_eq!(ask("alice", "10.0.0.7"), "blocked");
    assert_eq!(ask("alice", "10.0.0.8"), "admitted");
}

#[tokio::test]
async fn templates_know_the_facts_of_a_request() {
    let cases = [
        ("$resourceKey", "/v2/1.0/pets:GET"),
        ("$userId", "alice@b.test"),
        ("$apiContext:$apiVersion", "/v2:1.0"),
        ("$appTenant|$apiTenant", "b.test|carbon.super"),
        ("$appId", "7"),
        ("$clientIp", "167772161"),
        ("a$appIdb", ""),
        ("x-$appId-y", "x-7-y"),
    ];
    let authorization = bearer(&subscriber("", ""));
    let headers = [("authorization", authorization.as_str())];
    for (template, want) in cases {
        let settings = limited(|limits| {
            limits.templates.push(Template {
                template: template.to_owned(),
                quota: quota(1, 60),
            });
        });
        let mut places = crate::limits::Places::new(
            trireme_telemetry::Metrics::new(),
            [7; 16],
            None,
            std::sync::Arc::new(crate::limits::Handover::new(None)),
        );
        let limits = crate::limits::Limits::new(&settings, &mut places);
        if want.is_empty() {
            let error = limits.unwrap_err().to_string();
            assert_eq!(error, "limits.templates[0].template: $appIdb is not known");
            continue;
        }
        // The key is what distinguishes callers: the same text elsewhere shares the count.
        let world = World::new(policy(), settings);
        assert_eq!(
            calls(&world, &get(&headers), 2),
            ["admitted", "custom_limit"],
            "{template}"
        );
        let limits = limits.unwrap().unwrap();
        let mut key = Vec::new();
        let request = get(&headers);
        let caller = crate::limits::Caller {
            username: "alice",
            application: "7",
            subscriber_tenant: "b.test",
            ..crate::limits::Caller::anonymous(&request, crate::verdict::KeyType::Production)
        };
        let resource = |out: &mut Vec<u8>| out.extend_from_slice(b"/v2/1.0/pets:GET");
        limits.templates[0].write(&caller, ("/v2", "1.0"), &resource, &mut key);
        assert_eq!(String::from_utf8(key).unwrap(), want, "{template}");
    }
}

#[tokio::test]
async fn values_are_put_into_templates_as_they_are() {
    let settings = limited(|limits| {
        limits.templates.push(Template {
            template: "[$userId][$appTenant]".to_owned(),
            quota: quota(1, 60),
        });
    });
    let world = World::new(policy(), settings);
    for user in ["$apiContext", "\\1", "a$b", ""] {
        let authorization = bearer(&changed(&json!({ "sub": user })));
        let labels = calls(&world, &get(&[("authorization", &authorization)]), 2);
        assert_eq!(labels, ["admitted", "custom_limit"], "{user:?}");
    }
}
