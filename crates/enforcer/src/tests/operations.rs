//! What is asked for, and what goes upstream.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use prost::Message;
use prost::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use trireme_policy::api::*;
use trireme_proto::envoy::service::auth::v3::CheckResponse;
use trireme_proto::envoy::service::auth::v3::authorization_server::Authorization;
use trireme_proto::envoy::service::auth::v3::check_response::HttpResponse;
use trireme_proto::trireme::auth::v1::{self as proto, Check, CheckBatch};
use trireme_telemetry::Metrics;

use super::bench;
use super::fixture::*;
use crate::api::Api;
use crate::attributes::Attributes;
use crate::check::stages;
use crate::event::Counters;
use crate::need::Need;
use crate::respond::respond;
use crate::service::{Room, Service};
use crate::verdict::{Challenge, KeyType, Reason, Scheme, Steering, Verdict};

#[tokio::test]
async fn operations_are_found_by_template_and_method() {
    let world = World::new(policy(), settings());
    let bearer = format!("Bearer {}", good_token());
    let get = || get(&[("authorization", &bearer)]);
    let route = get().route;
    let cases: Vec<(&str, Attributes<'_>, &str)> = vec![
        ("as it is", get(), "admitted"),
        (
            "another method of it",
            Attributes {
                method: "POST",
                ..get()
            },
            "admitted",
        ),
        (
            "a method it lacks",
            Attributes {
                method: "DELETE",
                ..get()
            },
            "unknown",
        ),
        (
            "a method nobody has",
            Attributes {
                method: "TRACE",
                ..get()
            },
            "unknown",
        ),
        (
            "no method at all",
            Attributes {
                method: "BREW",
                ..get()
            },
            "unknown",
        ),
        (
            "lower case",
            Attributes {
                method: "get",
                ..get()
            },
            "unknown",
        ),
        (
            "options",
            Attributes {
                method: "OPTIONS",
                ..get()
            },
            "preflight",
        ),
        (
            "unknown template",
            Attributes {
                route: crate::attributes::Route {
                    template: "/cats",
                    ..route
                },
                ..get()
            },
            "unknown",
        ),
        (
            "options of an unknown template",
            Attributes {
                method: "OPTIONS",
                route: crate::attributes::Route {
                    template: "/cats",
                    ..route
                },
                ..get()
            },
            "unknown",
        ),
        (
            "unknown host",
            Attributes {
                route: crate::attributes::Route {
                    vhost: "other",
                    ..route
                },
                ..get()
            },
            "unknown",
        ),
        (
            "unknown version",
            Attributes {
                route: crate::attributes::Route {
                    version: "2.0",
                    ..route
                },
                ..get()
            },
            "unknown",
        ),
        (
            "the same name cut elsewhere",
            Attributes {
                route: crate::attributes::Route {
                    base_path: "/v21",
                    version: ".0",
                    ..route
                },
                ..get()
            },
            "unknown",
        ),
    ];
    for (name, attributes, want) in cases {
        assert_eq!(world.label(&attributes), want, "{name}");
    }
    let options = Attributes {
        method: "OPTIONS",
        ..get()
    };
    assert_eq!(
        world.denied(&options),
        Reason::Preflight("OPTIONS, GET, POST".to_owned())
    );
}

#[tokio::test]
async fn a_defined_options_operation_is_authenticated() {
    let policy = policy_with(|policy| {
        policy.resources[0]
            .operations
            .push(Operation::new(Method::Options));
    });
    let world = World::new(policy, settings());
    assert_eq!(
        world.label(&Attributes {
            method: "OPTIONS",
            ..get(&[])
        }),
        "no_credentials"
    );
}

#[tokio::test]
async fn a_route_ahead_of_its_policy_waits() {
    let world = World::new(policy(), settings());
    let cases = [
        ((10, 5), false),
        ((10, 4), false),
        ((9, 99), false),
        ((0, 0), false),
        ((10, 6), true),
        ((11, 0), true),
    ];
    for ((epoch, counter), waits) in cases {
        let mut attributes = get(&[]);
        attributes.route.revision = Revision { epoch, counter };
        let outcome = world.check(&attributes);
        assert_eq!(matches!(outcome, Err(Need::Revision)), waits, "{epoch}.{counter}");
    }
    assert_eq!(Need::Revision.in_vain(), Some(Reason::Behind));
}

#[tokio::test]
async fn a_route_of_an_api_that_lost_its_address_is_unknown() {
    let open = policy_with(|policy| policy.disable_security = true);
    let world = World::new(open, settings());
    // A router that is cut off from the adapter keeps the routes of the API that was here before.
    for (name, known) in [("Pets", true), ("", true), ("Cats", false)] {
        let mut attributes = get(&[]);
        attributes.route.name = name;
        attributes.route.revision.counter -= 1;
        let unknown = matches!(
            world.check(&attributes),
            Ok(Verdict::Denied(denial)) if denial.reason == Reason::Unknown
        );
        assert_eq!(unknown, !known, "{name:?}");
        // Ahead of the policy, it may be the next owner's route whose policy is on its way: waited for, never admitted.
        attributes.route.revision.counter += 2;
        assert!(
            matches!(world.check(&attributes), Err(Need::Revision)),
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn the_key_type_chooses_the_cluster() {
    let world = World::new(policy(), settings());
    let with = |key_type: &str| {
        let claims = changed(&serde_json::json!({ "keytype": key_type }));
        format!("Bearer {}", token(&KEYS.ours, &header(), &claims))
    };
    let cases = [
        ("PRODUCTION", "prod", "sand", Ok("prod")),
        ("production", "prod", "", Ok("prod")),
        ("", "prod", "sand", Ok("prod")),
        ("SANDBOX", "prod", "sand", Ok("sand")),
        ("PRODUCTION", "", "sand", Err("no_production_endpoint")),
        ("SANDBOX", "prod", "", Err("no_sandbox_endpoint")),
        ("OTHER", "prod", "sand", Err("key_type_unknown")),
    ];
    for (key_type, production, sandbox, want) in cases {
        let value = with(key_type);
        let mut attributes = get(&[("authorization", &value)]);
        attributes.route.production = production;
        attributes.route.sandbox = sandbox;
        match want {
            Ok(cluster) => {
                let admitted = world.admitted(&attributes);
                assert_eq!(admitted.steering.cluster, cluster, "{key_type}");
            }
            Err(reason) => assert_eq!(world.label(&attributes), reason, "{key_type}"),
        }
    }
}

#[tokio::test]
async fn open_operations_pass_with_their_credentials() {
    let open = |policy: &mut trireme_policy::ApiPolicy| {
        policy.resources[0].operations[0].disable_security = true;
    };
    let world = World::new(policy_with(open), settings());
    let attributes = get(&[("authorization", "Basic backend")]);
    let admitted = world.admitted(&attributes);
    assert_eq!(admitted.identity, Some((Scheme::Unsecured, KeyType::Production)));
    assert!(admitted.remove.is_empty());
    let mut sandbox = get(&[]);
    sandbox.route.production = "";
    assert_eq!(world.admitted(&sandbox).steering.cluster, "sand");
    // The other operation of the resource stays guarded.
    assert_eq!(
        world.label(&Attributes {
            method: "POST",
            ..get(&[])
        }),
        "no_credentials"
    );
    // The flag of the API is only told.
    let world = World::new(policy_with(|policy| policy.disable_security = true), settings());
    assert_eq!(world.label(&get(&[])), "no_credentials");
}

#[tokio::test]
async fn blocked_apis_answer_nobody_and_prototypes_everybody() {
    let bearer = format!("Bearer {}", good_token());
    let blocked = World::new(
        policy_with(|policy| policy.lifecycle = Lifecycle::Blocked),
        settings(),
    );
    assert_eq!(blocked.label(&get(&[("authorization", &bearer)])), "api_blocked");
    assert_eq!(blocked.label(&get(&[])), "no_credentials");
    let prototype = World::new(
        policy_with(|policy| policy.lifecycle = Lifecycle::Prototyped),
        settings(),
    );
    let attributes = get(&[("x-wso2-cluster-header", "chosen-by-client")]);
    let admitted = prototype.admitted(&attributes);
    assert_eq!(admitted.identity, None);
    let steering = Steering {
        cluster: "prod",
        ..Steering::default()
    };
    assert_eq!((admitted.steering, admitted.authorization), (steering, None));
    let mut homeless = get(&[]);
    homeless.route.production = "";
    let admitted = prototype.admitted(&homeless);
    assert!(admitted.steering.cluster.is_empty() && admitted.remove.contains(&"x-wso2-cluster-header"));
}

#[tokio::test]
async fn credentials_stay_here_unless_they_are_wanted() {
    let bearer = format!("Bearer {}", good_token());
    let attributes = get(&[("authorization", &bearer)]);
    let world = World::new(policy(), settings());
    let removed = world.admitted(&attributes).remove;
    assert_eq!(
        removed,
        ["internal-key", "authorization", "x-wso2-client-certificate"]
    );
    let mut wanted = settings();
    wanted.auth_header.outbound = true;
    wanted.mutual_tls.outbound = true;
    let world = World::new(policy(), wanted);
    assert_eq!(world.admitted(&attributes).remove, ["internal-key"]);
}

#[tokio::test]
async fn endpoints_get_their_own_credentials_timeouts_and_retries() {
    let policy = policy_with(|policy| {
        policy.endpoint_security.production = Some(Credentials {
            enabled: true,
            kind: "BASIC".to_owned(),
            username: "user".to_owned(),
            password: "pass".to_owned(),
            parameters: Default::default(),
        });
        let cluster = policy.production.as_mut().unwrap();
        cluster.timeout_millis = Some(0);
        policy.resources[1].production = Some(EndpointCluster {
            retry: Some(Retry {
                count: 3,
                status_codes: vec![502, 504],
            }),
            ..EndpointCluster::default()
        });
    });
    let world = World::new(policy, settings());
    let bearer = format!("Bearer {}", good_token());
    let mut attributes = get(&[("authorization", &bearer)]);
    let admitted = world.admitted(&attributes);
    assert!(!admitted.remove.contains(&"authorization"));
    let steering = Steering {
        cluster: "prod",
        timeout_ms: Some(0),
        ..Steering::default()
    };
    assert_eq!(admitted.steering, steering);
    assert_eq!(admitted.authorization, Some("Basic dXNlcjpwYXNz"));
    attributes.route.template = "/pets/{id}";
    let admitted = world.admitted(&attributes);
    let retry = Retry {
        count: 3,
        status_codes: vec![502, 504],
    };
    let steering = Steering {
        cluster: "prod",
        retry: Some(&retry),
        ..Steering::default()
    };
    assert_eq!(admitted.steering, steering);
    assert_eq!(admitted.authorization, Some("Basic dXNlcjpwYXNz"));
}

#[tokio::test]
async fn a_request_for_the_base_path_keeps_a_path_for_a_bare_endpoint() {
    let bearer = format!("Bearer {}", good_token());
    for endpoint in ["", "/", "/base"] {
        let policy = policy_with(|policy| {
            policy.production.as_mut().unwrap().endpoints[0].base_path = endpoint.to_owned();
        });
        let world = World::new(policy, settings());
        for (path, want) in [
            ("/v2", Some("/v2/")),
            ("/v2?a=1", Some("/v2/?a=1")),
            ("/v2/pets", None),
            ("/v2/", None),
        ] {
            let attributes = Attributes {
                path,
                ..get(&[("authorization", &bearer)])
            };
            let admitted = world.admitted(&attributes);
            let want = want.filter(|_| endpoint != "/base");
            assert_eq!(admitted.steering.path.as_deref(), want, "{endpoint} {path}");
        }
    }
}

#[tokio::test]
async fn answers_carry_headers_and_metadata() {
    let world = World::new(policy(), settings());
    let bearer = format!("Bearer {}", good_token());
    let attributes = get(&[("authorization", &bearer)]);
    let response = respond(&world.check(&attributes).unwrap(), &attributes, false);
    assert_eq!(response.status.unwrap().code, 0);
    let metadata = response.dynamic_metadata.unwrap().fields;
    let mut keys: Vec<_> = metadata.keys().map(String::as_str).collect();
    keys.sort_unstable();
    // Never the token itself.
    assert_eq!(
        keys,
        [
            "choreo-connect-enforcer-reply",
            "keyType",
            "originalPath",
            "tokenType"
        ]
    );
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else {
        panic!("denied")
    };
    assert_eq!(ok.headers.len(), 1);
    assert_eq!(
        ok.headers_to_remove,
        ["internal-key", "authorization", "x-wso2-client-certificate"]
    );
}

/// Answers checks of the usual API.
fn service() -> Service {
    let service = Service {
        current: Arc::default(),
        counters: Counters::new(&Metrics::new()),
        stages,
        drain: CancellationToken::new(),
    };
    service.current.store(World::new(policy(), settings()).snapshot);
    service
}

#[tokio::test]
async fn checks_that_wait_are_bounded_and_hold_nothing_but_themselves() {
    let service = service();
    let mut ahead = bench::request(&good_token());
    let extensions = &mut ahead.attributes.as_mut().unwrap().context_extensions;
    extensions.insert("trireme.revision".to_owned(), "11.0".to_owned());
    let buffer = Bytes::from(ahead.encode_to_vec());
    let batch = || CheckBatch {
        checks: (0..3)
            .map(|id| Check {
                id,
                request: buffer.clone(),
            })
            .collect(),
        ..CheckBatch::default()
    };
    let rooms = [
        ("checks", 2, usize::MAX),
        ("bytes", usize::MAX, 3 * buffer.len() - 1),
    ];
    for (name, checks, bytes) in rooms {
        let mut waiting = Vec::new();
        let mut room = Room { checks, bytes };
        let answers = service.batch(batch(), &mut waiting, &mut room);
        assert_eq!(
            waiting.iter().map(|waiting| waiting.check.id).collect::<Vec<_>>(),
            [0, 1],
            "{name}"
        );
        assert!(buffer.is_unique(), "the batch's buffer is kept");
        let refused = answers
            .verdicts
            .iter()
            .map(|verdict| (verdict.id, verdict.grpc_status));
        assert_eq!(
            refused.collect::<Vec<_>>(),
            [(2, i32::from(tonic::Code::ResourceExhausted))],
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_steers_is_a_value_of_its_own_only_to_a_router_that_reads_it() {
    let service = service();
    let request = bench::request(&lasting_token());
    let bytes = Bytes::from(request.encode_to_vec());
    let ask = |steering| {
        let batch = CheckBatch {
            checks: vec![Check {
                id: 1,
                request: bytes.clone(),
            }],
            steering,
        };
        let room = &mut Room { checks: 0, bytes: 0 };
        let mut answers = service.batch(batch, &mut Vec::new(), room).verdicts;
        let answer = answers.pop().unwrap();
        let response = CheckResponse::decode(answer.response).unwrap();
        (response, answer.steering)
    };
    let headers = |response: &CheckResponse| match &response.http_response {
        Some(HttpResponse::OkResponse(ok)) => ok
            .headers
            .iter()
            .map(|option| option.header.clone().unwrap().key)
            .collect::<Vec<_>>(),
        other => panic!("not admitted: {other:?}"),
    };
    let (plain, none) = ask(false);
    assert_eq!(
        (headers(&plain), none),
        (vec!["x-wso2-cluster-header".to_owned()], None)
    );
    // What a unary check gets is the same message.
    let unary = service.check(tonic::Request::new(request)).await.unwrap();
    assert_eq!(plain, unary.into_inner());
    let (typed, steering) = ask(true);
    assert_eq!(headers(&typed), Vec::<String>::new());
    let want = proto::Steering {
        cluster: "prod".to_owned(),
        ..Default::default()
    };
    assert_eq!(steering, Some(want));
    assert_eq!(typed.dynamic_metadata, plain.dynamic_metadata);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_never_pauses_does_not_keep_those_that_wait() {
    let service = service();
    let batch = |id, revision: &str| {
        let mut request = bench::request(&good_token());
        let extensions = &mut request.attributes.as_mut().unwrap().context_extensions;
        extensions.insert("trireme.revision".to_owned(), revision.to_owned());
        CheckBatch {
            checks: vec![Check {
                id,
                request: Bytes::from(request.encode_to_vec()),
            }],
            ..CheckBatch::default()
        }
    };
    let (ahead, known) = (batch(1, "11.0"), batch(2, "10.5"));
    let batches = stream::iter([Ok(ahead)]).chain(stream::repeat_with(move || Ok(known.clone())));
    let mut answers = Box::pin(service.answers(batches));
    assert_eq!(answers.next().await.unwrap().unwrap().verdicts[0].id, 2);
    tokio::time::advance(Duration::from_secs(3)).await;
    let ids = answers
        .take(10)
        .map(|answer| answer.unwrap().verdicts[0].id)
        .collect::<Vec<_>>();
    assert!(ids.await.contains(&1));
}

#[tokio::test]
async fn what_no_check_asks_for_is_not_held() {
    let world = World::new(
        policy_with(|policy| policy.description = "x".repeat(1 << 20)),
        settings(),
    );
    let api = world.snapshot.apis.find("localhost/v21.0").unwrap();
    assert!(api.policy.description.is_empty());
    assert!(api.policy.production.is_none());
    assert_eq!(world.token(&good_token()), "admitted");
}

#[test]
fn what_is_not_built_is_refused_by_path() {
    type Change = fn(&mut trireme_policy::ApiPolicy);
    let cases: [(Change, &str); 5] = [
        (|policy| policy.kind = ApiKind::GraphQl, "apiType"),
        (|policy| policy.mocked = true, "isMockedApi"),
        (
            |policy| {
                policy.resources[1].operations[0].policies.request = vec![Policy {
                    action: "OPA".to_owned(),
                    parameters: Default::default(),
                }];
            },
            "resources[1].methods[0].policies.request[0].action",
        ),
        (
            |policy| {
                let pem = b"-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n";
                policy.client_certificates = vec![ClientCertificate {
                    alias: "a".to_owned(),
                    key_type: None,
                    tier: String::new(),
                    pem: pem.to_vec(),
                }];
            },
            "clientCertificates[0].content",
        ),
        (
            |policy| {
                policy.client_certificates = vec![ClientCertificate {
                    alias: "a".to_owned(),
                    key_type: None,
                    tier: String::new(),
                    pem: b"x".to_vec(),
                }];
            },
            "clientCertificates[0].content",
        ),
    ];
    for (change, path) in cases {
        assert_eq!(Api::new(policy_with(change)).unwrap_err().path, path);
    }
}

#[tokio::test]
async fn refusals_name_what_is_asked_for() {
    let challenge = |policy| {
        let world = World::new(policy, settings());
        match world.check(&get(&[])).unwrap() {
            Verdict::Denied(denial) => denial.challenge,
            Verdict::Admitted(_) => panic!("admitted"),
        }
    };
    assert_eq!(challenge(policy()), Challenge::Bearer);
    let optional = policy_with(|policy| policy.mutual_tls = MutualTls::Optional);
    assert_eq!(challenge(optional), Challenge::MutualTls);
}

#[tokio::test]
async fn keys_in_the_query_go_where_keys_in_headers_go() {
    let keyed = |change: fn(&mut trireme_policy::ApiPolicy)| {
        policy_with(|policy| {
            policy.schemes.push(SecurityScheme {
                definition: "key".to_owned(),
                kind: SchemeKind::ApiKey,
                name: "key".to_owned(),
                location: Location::Query,
            });
            change(policy);
        })
    };
    type Change = fn(&mut trireme_policy::ApiPolicy);
    let cases: [(&str, Change, Option<&str>); 3] = [
        // Guarded by nothing, yet the key would be good at other operations.
        (
            "prototype",
            |policy| policy.lifecycle = Lifecycle::Prototyped,
            Some("/v2/pets?a=1"),
        ),
        // Whatever an open operation gets is the upstream's business.
        (
            "open",
            |policy| policy.resources[0].operations[0].disable_security = true,
            None,
        ),
        (
            "open prototype",
            |policy| {
                policy.lifecycle = Lifecycle::Prototyped;
                policy.resources[0].operations[0].disable_security = true;
            },
            None,
        ),
    ];
    for (name, change, want) in cases {
        let world = World::new(keyed(change), settings());
        let attributes = Attributes {
            path: "/v2/pets?key=a.b.c&a=1",
            ..get(&[])
        };
        let admitted = world.admitted(&attributes);
        assert_eq!(admitted.steering.path.as_deref(), want, "{name}");
    }
}

#[tokio::test]
async fn nobody_else_makes_the_token_for_the_upstream() {
    let mut generating = settings();
    generating.generator.enabled = true;
    generating.generator.header = "X-JWT-Assertion".to_owned();
    let bearer = format!("Bearer {}", good_token());
    let attributes = get(&[("authorization", &bearer), ("x-jwt-assertion", "forged")]);
    let open = |policy: &mut trireme_policy::ApiPolicy| {
        policy.resources[0].operations[0].disable_security = true;
    };
    let prototype = |policy: &mut trireme_policy::ApiPolicy| policy.lifecycle = Lifecycle::Prototyped;
    for policy in [policy(), policy_with(open), policy_with(prototype)] {
        let world = World::new(policy, generating.clone());
        assert!(world.admitted(&attributes).remove.contains(&"x-jwt-assertion"));
    }
    // Where none is made, the header is the upstream's own.
    let world = World::new(policy(), settings());
    assert!(!world.admitted(&attributes).remove.contains(&"x-jwt-assertion"));
}

/// The router tells the first of several paths with the same requests, whatever the method.
#[tokio::test]
async fn a_preflight_names_the_methods_of_twin_paths() {
    let policy = policy_with(|policy| {
        let mut twin = policy.resources[0].clone();
        twin.path = format!("{}/", twin.path);
        twin.operations = vec![Operation::new(Method::Delete)];
        policy.resources.push(twin);
    });
    let options = Attributes {
        method: "OPTIONS",
        ..get(&[])
    };
    let world = World::new(policy, settings());
    assert_eq!(
        world.denied(&options),
        Reason::Preflight("OPTIONS, GET, POST, DELETE".to_owned())
    );
}
