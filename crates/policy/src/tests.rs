use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use trireme_proto::wso2::discovery::api as wire;

use crate::api::*;
use crate::settings::*;
use crate::{ApiPolicy, PolicyTable, Settings, Update, decode, encode};

/// Every field set to something that isn't its default.
fn full() -> ApiPolicy {
    let cluster = |host: &str| EndpointCluster {
        endpoints: vec![Endpoint {
            host: host.to_owned(),
            base_path: "/v2".to_owned(),
            scheme: "https".to_owned(),
            port: 8443,
        }],
        retry: Some(Retry {
            count: 3,
            status_codes: vec![502, 504],
        }),
        timeout_millis: Some(0),
    };
    let credentials = |user: &str| Credentials {
        enabled: true,
        kind: "BASIC".to_owned(),
        username: user.to_owned(),
        password: "secret-of-endpoint".to_owned(),
        parameters: BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".into(), "2".into())]),
    };
    let policy = |action: &str| Policy {
        action: action.to_owned(),
        parameters: BTreeMap::from([("headerName".to_owned(), "x".to_owned())]),
    };
    ApiPolicy {
        id: "id-1".to_owned(),
        title: "Petstore".to_owned(),
        version: "1.0.6".to_owned(),
        kind: ApiKind::GraphQl,
        description: "pets".to_owned(),
        production: Some(cluster("prod.example")),
        sandbox: Some(cluster("sand.example")),
        resources: vec![Resource {
            id: "r-1".to_owned(),
            path: "/pet/{id}".to_owned(),
            operations: vec![Operation {
                method: Method::Get,
                security: vec![Requirement {
                    schemes: BTreeMap::from([
                        ("default".to_owned(), vec!["read".to_owned()]),
                        ("api_key_header".to_owned(), Vec::new()),
                    ]),
                }],
                tier: "Gold".to_owned(),
                disable_security: true,
                policies: Policies {
                    request: vec![policy("SET_HEADER")],
                    response: vec![policy("REMOVE_HEADER")],
                    fault: vec![policy("X")],
                },
                mock: Some(Mock {
                    responses: vec![MockResponse {
                        code: "200".to_owned(),
                        headers: vec![("h".to_owned(), "v".to_owned())],
                        content: vec![MockContent {
                            content_type: "application/json".to_owned(),
                            examples: vec![("one".to_owned(), "{}".to_owned())],
                        }],
                    }],
                }),
            }],
            production: Some(cluster("resource-prod.example")),
            sandbox: Some(cluster("resource-sand.example")),
        }],
        base_path: "/v2/1.0.6".to_owned(),
        vhost: "localhost".to_owned(),
        tier: "Unlimited".to_owned(),
        lifecycle: Lifecycle::Prototyped,
        schemes: vec![
            SecurityScheme {
                definition: "default".to_owned(),
                kind: SchemeKind::OAuth2,
                name: String::new(),
                location: Location::Other(String::new()),
            },
            SecurityScheme {
                definition: "api_key_header".to_owned(),
                kind: SchemeKind::ApiKey,
                name: "apikey".to_owned(),
                location: Location::Header,
            },
            SecurityScheme {
                definition: "basic".to_owned(),
                kind: SchemeKind::Other("http".to_owned()),
                name: String::new(),
                location: Location::Other("cookie".to_owned()),
            },
            SecurityScheme {
                definition: "provider".to_owned(),
                kind: SchemeKind::OpenIdConnect,
                name: String::new(),
                location: Location::Other(String::new()),
            },
        ],
        security: vec![Requirement::one("default", Vec::new())],
        endpoint_security: EndpointSecurity {
            production: Some(credentials("p")),
            sandbox: Some(credentials("s")),
        },
        authorization_header: Some("X-Auth".to_owned()),
        disable_security: true,
        organization: "carbon.super".to_owned(),
        mocked: true,
        client_certificates: vec![ClientCertificate {
            alias: "Alice".to_owned(),
            key_type: Some(KeyType::Sandbox),
            tier: "Gold".to_owned(),
            pem: b"-----BEGIN CERTIFICATE-----".to_vec(),
        }],
        mutual_tls: MutualTls::Mandatory,
        application_security: true,
        graphql: Some(GraphQl {
            schema: "type Query { a: Int }".to_owned(),
            complexity: vec![Complexity {
                type_name: "Query".to_owned(),
                field: "a".to_owned(),
                value: -2,
            }],
        }),
        endpoint_type: "awslambda".to_owned(),
        revision: Revision {
            epoch: 1_700_000_000_000,
            counter: 42,
        },
    }
}

/// Every field at its default.
fn bare() -> ApiPolicy {
    decode::api_message(wire::Api {
        vhost: "localhost".to_owned(),
        base_path: "/a".to_owned(),
        ..wire::Api::default()
    })
    .unwrap()
}

#[test]
fn policies_survive_the_wire() {
    for (name, policy) in [("full", full()), ("bare", bare())] {
        let bytes = encode::api(&policy);
        assert_eq!(decode::api(&bytes).unwrap(), policy, "{name}");
    }
}

#[test]
fn policy_messages_survive_the_domain() {
    for (name, policy) in [("full", full()), ("bare", bare())] {
        let message = encode::api_message(&policy);
        let back = encode::api_message(&decode::api_message(message.clone()).unwrap());
        assert_eq!(back, message, "{name}");
    }
}

#[test]
fn an_absent_section_and_an_absent_timeout_stay_absent() {
    let message = encode::api_message(&bare());
    assert_eq!(message.endpoint_security, None);
    assert_eq!(message.production_endpoints, None);
    let mut policy = bare();
    policy.production = Some(EndpointCluster::default());
    let back = decode::api(&encode::api(&policy)).unwrap();
    assert_eq!(back.production.unwrap().timeout_millis, None);
}

#[test]
fn what_cannot_be_meant_is_refused_by_path() {
    type Spoil = fn(&mut wire::Api);
    let cases: &[(&str, Spoil, &str)] = &[
        ("no virtual host", |api| api.vhost.clear(), "vhost"),
        (
            "relative base path",
            |api| api.base_path = "v2".into(),
            "basePath",
        ),
        ("no base path", |api| api.base_path.clear(), "basePath"),
        (
            "unknown method",
            |api| api.resources[0].methods[0].method = "OPTION".into(),
            "resources[0].methods[0].method",
        ),
        (
            "method in lower case",
            |api| api.resources[0].methods[0].method = "get".into(),
            "resources[0].methods[0].method",
        ),
        (
            "mutual TLS typo",
            |api| api.mutual_ssl = "mandatroy".into(),
            "mutualSSL",
        ),
        (
            "port out of range",
            |api| api.production_endpoints.as_mut().unwrap().urls[0].port = 65_536,
            "productionEndpoints.urls[0].port",
        ),
        (
            "nameless scheme",
            |api| api.security_scheme[1].definition_name.clear(),
            "securityScheme[1].definitionName",
        ),
        (
            "key without a header",
            |api| api.security_scheme[1].name.clear(),
            "securityScheme[1].name",
        ),
        (
            "empty certificate",
            |api| api.client_certificates[0].content = Vec::new().into(),
            "clientCertificates[0].content",
        ),
        (
            "key type of a certificate",
            |api| api.client_certificates[0].key_type = "TEST".into(),
            "clientCertificates[0].keyType",
        ),
    ];
    for (name, spoil, path) in cases {
        let mut message = encode::api_message(&full());
        spoil(&mut message);
        let error = decode::api_message(message).unwrap_err();
        assert_eq!(error.path, *path, "{name}");
    }
    assert_eq!(decode::api(b"\xff\xff").unwrap_err().path, ".");
}

#[test]
fn spelling_of_the_original_is_understood() {
    let mut message = encode::api_message(&full());
    message.mutual_ssl = "OPTIONAL".to_owned();
    message.security_scheme[1].r#type = " APIKEY ".to_owned();
    let policy = decode::api_message(message).unwrap();
    assert_eq!(policy.mutual_tls, MutualTls::Optional);
    assert_eq!(policy.schemes[1].kind, SchemeKind::ApiKey);
}

#[test]
fn an_alternative_without_schemes_opens_nothing() {
    let mut message = encode::api_message(&full());
    message.security.push(wire::SecurityList::default());
    let policy = decode::api_message(message).unwrap();
    assert_eq!(policy.security, full().security);
}

#[test]
fn random_bytes_never_panic() {
    let mut bytes = encode::api(&full());
    for index in 0..bytes.len() {
        let kept = bytes[index];
        for value in [0, 0x7f, 0xff] {
            bytes[index] = value;
            drop(decode::api(&bytes));
        }
        bytes[index] = kept;
        drop(decode::api(bytes.get(..index).unwrap()));
    }
}

#[test]
fn passwords_are_not_printed() {
    let text = format!("{:?}", full());
    assert!(!text.contains("secret-of-endpoint"));
    assert!(!format!("{:?}", settings()).contains("hunter2"));
}

#[test]
fn operations_inherit_requirements_only_when_they_have_none() {
    let policy = full();
    let own = &policy.resources[0].operations[0];
    assert_eq!(policy.requirements(own), own.security);
    assert_eq!(policy.requirements(&Operation::new(Method::Put)), policy.security);
}

fn settings() -> Settings {
    Settings {
        issuers: vec![Issuer {
            name: "MGW".to_owned(),
            issuer: "https://localhost:9095/testkey".to_owned(),
            certificate_alias: "mgw".to_owned(),
            jwks_url: "https://localhost/jwks".to_owned(),
            validate_subscription: true,
            consumer_key_claim: "azp".to_owned(),
            certificate_path: "/mg.pem".to_owned(),
            claim_mapping: vec![ClaimMapping {
                remote: "a".to_owned(),
                local: "b".to_owned(),
            }],
        }],
        auth_header: AuthHeader {
            outbound: true,
            authorization: "X-A".to_owned(),
            internal_key: "X-I".to_owned(),
        },
        mutual_tls: MutualTlsSettings {
            header: "X-C".to_owned(),
            from_connection: false,
            encoded: true,
            outbound: true,
        },
        service: Service {
            port: 18081,
            max_message_bytes: 7,
            max_header_bytes: 8,
            keep_alive: Duration::from_secs(9),
            pool: ThreadPool {
                core: 1,
                max: 2,
                keep_alive: Duration::from_secs(3),
                queue: -1,
            },
        },
        generator: Generator {
            enabled: true,
            encoding: "base64url".to_owned(),
            claim_dialect: "d".to_owned(),
            convert_dialect: true,
            header: "X-JWT".to_owned(),
            signing_algorithm: "SHA256withRSA".to_owned(),
            user_claims: true,
            implementation: "i".to_owned(),
            claims_extractor: "c".to_owned(),
            ttl_secs: 3600,
            keypairs: vec![Keypair {
                certificate_path: "/c".to_owned(),
                key_path: "/k".to_owned(),
                signs: true,
            }],
            use_kid: true,
        },
        cache: Cache {
            enabled: false,
            max_entries: 5,
            expiry: Duration::from_secs(120),
        },
        test_issuer: TestIssuer {
            enabled: false,
            issuer: "https://other".to_owned(),
            encoding: "e".to_owned(),
            claim_dialect: "d".to_owned(),
            signing_algorithm: "s".to_owned(),
            certificate_path: "/c".to_owned(),
            key_path: "/k".to_owned(),
            validity_secs: 60,
            users: vec![Account {
                username: "u".to_owned(),
                password: "hunter2".to_owned(),
            }],
        },
        management: Account {
            username: "admin".to_owned(),
            password: "hunter2".to_owned(),
        },
        admin_api: false,
        metrics: Metrics {
            enabled: true,
            kind: "prometheus".to_owned(),
        },
        filters: vec![Filter {
            class: "a.B".to_owned(),
            position: 2,
            properties: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        }],
        soap_errors: true,
        control_plane: true,
        limits: Some(crate::throttle::tests::full()),
    }
}

#[test]
fn settings_survive_the_wire() {
    for (name, settings) in [("full", settings()), ("default", Settings::default())] {
        let bytes = encode::settings(&settings);
        assert_eq!(decode::settings(&bytes).unwrap(), settings, "{name}");
    }
    assert_eq!(decode::settings(b"").unwrap(), Settings::default());
}

#[test]
fn settings_out_of_range_are_refused_by_path() {
    let mut message = encode::settings_message(&settings());
    message.cache.as_mut().unwrap().expiry_time = -1;
    let error = decode::settings(&message.encode_to_vec()).unwrap_err();
    assert_eq!(error.path, "cache.expiryTime");
    for port in [0, 70_000] {
        let mut message = encode::settings_message(&settings());
        message.auth_service.as_mut().unwrap().port = port;
        let error = decode::settings_message(message).unwrap_err();
        assert_eq!(error.path, "authService.port", "{port}");
    }
}

#[test]
fn a_header_without_a_name_is_the_usual_one() {
    let mut message = encode::settings_message(&settings());
    let security = message.security.as_mut().unwrap();
    let header = security.auth_header.as_mut().unwrap();
    header.authorization_header.clear();
    header.test_console_header_name.clear();
    security.mutual_ssl.as_mut().unwrap().certificate_header.clear();
    let settings = decode::settings_message(message).unwrap();
    assert_eq!(settings.auth_header.authorization, "authorization");
    assert_eq!(settings.auth_header.internal_key, "Internal-Key");
    assert_eq!(settings.mutual_tls.header, "X-WSO2-CLIENT-CERTIFICATE");
}

#[test]
fn a_table_changes_only_what_an_update_names() {
    let of = |name: &str, value: u32| (name.to_owned(), Arc::new(value));
    let first = PolicyTable::default().update(Update {
        upserts: (0..1000).map(|n| of(&format!("api-{n}"), n)).collect(),
        removals: vec!["never there".to_owned()],
    });
    assert_eq!(first.len(), 1000);
    let second = first.update(Update {
        upserts: vec![of("api-7", 70), of("new", 1)],
        removals: vec!["api-8".to_owned(), "api-8".to_owned()],
    });
    assert_eq!(second.len(), 1000);
    assert_eq!(second.find("api-7").map(|value| **value), Some(70));
    assert_eq!(second.find("new").map(|value| **value), Some(1));
    assert_eq!(second.find("api-8"), None);
    assert_eq!(second.iter().count(), second.len());
    // The old table is what it was, and what wasn't named is the same allocation in both.
    assert_eq!(first.find("api-7").map(|value| **value), Some(7));
    assert!(first.find("api-8").is_some() && first.find("new").is_none());
    assert!(Arc::ptr_eq(
        first.find("api-9").unwrap(),
        second.find("api-9").unwrap()
    ));
}
