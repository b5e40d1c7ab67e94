use super::*;

/// One of everything.
pub(crate) fn full() -> Limits {
    let quota = |unit, amount, window_secs| Quota {
        unit,
        amount,
        window_secs,
    };
    let range =
        |first: &str, last: &str| Addresses::new(first.parse().unwrap(), last.parse().unwrap()).unwrap();
    let text = str::to_owned;
    let mut tiers = built_in();
    tiers.push(Tier {
        name: text("Mine"),
        quota: Some(quota(Unit::Bytes, 1 << 40, 86_400)),
        burst: Some(quota(Unit::Requests, 7, 1)),
        stop_on_quota_reach: false,
        groups: vec![Group {
            quota: quota(Unit::Requests, 1, 1),
            conditions: vec![
                Condition {
                    what: What::Addresses(range("10.0.0.1", "10.0.0.9")),
                    invert: true,
                },
                Condition {
                    what: What::Addresses(range("2001:db8::", "2001:db8::ffff")),
                    invert: false,
                },
                Condition {
                    what: What::Header {
                        name: text("x-kind"),
                        pattern: text("^a"),
                    },
                    invert: false,
                },
                Condition {
                    what: What::Query {
                        name: text("Kind"),
                        pattern: text("b$"),
                    },
                    invert: true,
                },
                Condition {
                    what: What::Claim {
                        name: text("sub"),
                        pattern: text(""),
                    },
                    invert: false,
                },
            ],
        }],
    });
    Limits {
        fields: true,
        store: Store {
            capacity: 5,
            refuse_when_full: true,
            redis: Some(Redis {
                url: text("rediss://counters:6380/1"),
                username: text("gateway"),
                password: text("hunter2"),
                key_prefix: text("t"),
                timeout: Duration::from_millis(30),
                connect_timeout: Duration::from_secs(2),
                lease: true,
                closed: true,
            }),
        },
        tiers,
        templates: vec![Template {
            template: text("$userId:$apiContext"),
            quota: quota(Unit::Requests, 3, 60),
        }],
        denials: vec![
            Denial::Addresses {
                addresses: range("192.168.0.0", "192.168.255.255"),
                invert: true,
                tenant: text("a.test"),
            },
            Denial::Api(text("/v2")),
            Denial::Application(text("alice:App")),
            Denial::Subscription(text("/v2:1.0:alice-App:PRODUCTION")),
            Denial::User(text("alice@carbon.super")),
        ],
    }
}

#[test]
fn limits_survive_the_wire() {
    for limits in [full(), Limits::built_in(), Limits::default()] {
        assert_eq!(decode(encode(&limits)).unwrap(), limits);
    }
}

#[test]
fn what_cannot_be_meant_is_refused_by_path() {
    type Spoil = fn(&mut wire::Limits);
    fn mine(limits: &mut wire::Limits) -> &mut wire::Tier {
        limits.tiers.last_mut().unwrap()
    }
    fn condition(limits: &mut wire::Limits, index: usize) -> &mut wire::Condition {
        &mut mine(limits).groups[0].conditions[index]
    }
    fn redis(limits: &mut wire::Limits) -> &mut wire::Redis {
        limits.store.as_mut().unwrap().redis.as_mut().unwrap()
    }
    let cases: [(Spoil, &str); 19] = [
        (|l| mine(l).name.clear(), "limits.tiers[11].name"),
        (|l| mine(l).name = "Gold".to_owned(), "limits.tiers[11].name"),
        (
            |l| mine(l).quota.as_mut().unwrap().amount = 0,
            "limits.tiers[11].quota.amount",
        ),
        (
            |l| mine(l).burst.as_mut().unwrap().window_secs = 0,
            "limits.tiers[11].burst.window_secs",
        ),
        (
            |l| mine(l).quota.as_mut().unwrap().window_secs = u64::MAX,
            "limits.tiers[11].quota.window_secs",
        ),
        (
            |l| mine(l).quota.as_mut().unwrap().unit = 9,
            "limits.tiers[11].quota.unit",
        ),
        (
            |l| mine(l).groups[0].quota = None,
            "limits.tiers[11].groups[0].quota",
        ),
        (
            |l| mine(l).groups[0].conditions.clear(),
            "limits.tiers[11].groups[0].conditions",
        ),
        (
            |l| condition(l, 0).what = None,
            "limits.tiers[11].groups[0].conditions[0]",
        ),
        (
            |l| condition(l, 0).what = Some(wire::condition::What::Addresses(wire::Addresses::default())),
            "limits.tiers[11].groups[0].conditions[0].addresses",
        ),
        (
            |l| condition(l, 2).what = Some(wire::condition::What::Header(wire::Pattern::default())),
            "limits.tiers[11].groups[0].conditions[2].name",
        ),
        (
            |l| l.templates[0].template.clear(),
            "limits.templates[0].template",
        ),
        (|l| l.templates[0].quota = None, "limits.templates[0].quota"),
        (|l| l.denials[1].what = None, "limits.denials[1]"),
        (
            |l| {
                l.denials[0].what = Some(wire::denial::What::Addresses(wire::Addresses {
                    first: vec![10, 0, 0, 9].into(),
                    last: vec![10, 0, 0, 1].into(),
                }))
            },
            "limits.denials[0].addresses",
        ),
        (|l| redis(l).timeout_ms = 0, "limits.store.redis.timeout_ms"),
        (
            |l| redis(l).connect_timeout_ms = 0,
            "limits.store.redis.connect_timeout_ms",
        ),
        (
            |l| l.store.as_mut().unwrap().when_full = 9,
            "limits.store.when_full",
        ),
        (
            |l| l.store.as_mut().unwrap().capacity = 0,
            "limits.store.capacity",
        ),
    ];
    for (spoil, path) in cases {
        let mut message = encode(&full());
        spoil(&mut message);
        assert_eq!(decode(message).unwrap_err().path, path);
    }
}

#[test]
fn ranges_include_both_ends_and_keep_to_their_kind() {
    let range = |first: &str, last: &str| Addresses::new(first.parse().unwrap(), last.parse().unwrap());
    let v4 = range("10.0.0.1", "10.0.0.9").unwrap();
    for (address, inside) in [
        ("10.0.0.0", false),
        ("10.0.0.1", true),
        ("10.0.0.9", true),
        ("10.0.0.10", false),
        ("::ffff:10.0.0.5", true),
        ("::1", false),
    ] {
        assert_eq!(v4.contain(address.parse().unwrap()), inside, "{address}");
    }
    let all = range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").unwrap();
    assert!(all.contain("::1".parse().unwrap()));
    assert!(!all.contain("10.0.0.1".parse().unwrap()));
    assert_eq!(range("10.0.0.9", "10.0.0.1"), None);
    assert_eq!(range("10.0.0.9", "::1"), None);
}
