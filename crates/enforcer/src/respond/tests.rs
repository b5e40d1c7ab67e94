use trireme_policy::api::Retry;

use super::*;
use crate::attributes::Route;
use crate::verdict::{KeyType, Scheme};

fn limit(level: Level) -> Reason {
    Reason::Limit(Box::new(crate::verdict::Exceeded {
        level,
        until: 784_111_777,
        fields: None,
    }))
}

/// Status, then body, of every reason.
#[test]
fn every_refusal_has_its_status_and_body() {
    const CREDENTIALS: &str = r#"{"error_message":"Invalid Credentials","code":"900901","error_description":"Make sure you have provided the correct security credentials"}"#;
    let cases: Vec<(Reason, u16, &str)> = vec![
        (
            Reason::ApiBlocked,
            503,
            r#"{"error_message":"API blocked","code":"700700","error_description":"This API has been blocked temporarily. Please try again later or contact the system administrators."}"#,
        ),
        (
            Reason::ApiKeyInvalid,
            401,
            r#"{"error_message":"Invalid Credentials","code":"900901","error_description":"API key authentication failed.. Make sure you have provided the correct security credentials"}"#,
        ),
        (
            Reason::Behind,
            503,
            r#"{"error_message":"Service Unavailable","code":"503","error_description":"The policy of this API is being deployed. Please try again."}"#,
        ),
        (
            Reason::Blocked,
            403,
            r#"{"error_message":"Message blocked","code":"900805","error_description":"You have been blocked from accessing the resource"}"#,
        ),
        (
            Reason::CertificateUnreadable,
            401,
            r#"{"error_message":"Unclassified Authentication Failure","code":"900900","error_description":"Invalid client certificate"}"#,
        ),
        (
            Reason::Forbidden,
            403,
            r#"{"error_message":"Resource forbidden ","code":"900908","error_description":"Resource forbidden "}"#,
        ),
        (
            Reason::KeyTypeUnknown,
            401,
            r#"{"error_message":"Invalid Credentials","code":"900901","error_description":"Invalid key type.. Make sure you have provided the correct security credentials"}"#,
        ),
        (
            Reason::KeysUnavailable,
            503,
            r#"{"error_message":"Unclassified Authentication Failure","code":"900900","error_description":"Unclassified Authentication Failure"}"#,
        ),
        (
            Reason::LengthMissing,
            411,
            r#"{"error_message":"Length Required","code":"411","error_description":"The limits of this API count bytes. Please send the length of the body."}"#,
        ),
        (
            limit(Level::Api),
            429,
            r#"{"error_message":"Message throttled out","code":"900800","error_description":"You have exceeded your quota"}"#,
        ),
        (
            limit(Level::Resource),
            429,
            r#"{"error_message":"Message throttled out","code":"900802","error_description":"You have exceeded your quota"}"#,
        ),
        (
            limit(Level::Application),
            429,
            r#"{"error_message":"Message throttled out","code":"900803","error_description":"You have exceeded your quota"}"#,
        ),
        (
            limit(Level::Subscription),
            429,
            r#"{"error_message":"Message throttled out","code":"900804","error_description":"You have exceeded your quota"}"#,
        ),
        (
            limit(Level::Custom),
            429,
            r#"{"error_message":"Message throttled out","code":"900806","error_description":"You have exceeded your quota"}"#,
        ),
        (
            Reason::LimitsUnavailable,
            503,
            r#"{"error_message":"Limits unavailable","code":"900808","error_description":"The limits of this request cannot be told. Please try again later."}"#,
        ),
        (Reason::NoCredentials, 401, CREDENTIALS),
        (
            Reason::NoProduction,
            401,
            r#"{"error_message":"Invalid Credentials","code":"900901","error_description":"Production key offered to an API with no production endpoint. Make sure you have provided the correct security credentials"}"#,
        ),
        (
            Reason::NoSandbox,
            401,
            r#"{"error_message":"Invalid Credentials","code":"900901","error_description":"Sandbox key offered to an API with no sandbox endpoint. Make sure you have provided the correct security credentials"}"#,
        ),
        (
            Reason::NotAToken,
            401,
            r#"{"error_message":"Invalid Credentials","code":"900901","error_description":"Not a JWT token. Failed to decode the token header. Make sure you have provided the correct security credentials"}"#,
        ),
        (Reason::Preflight("OPTIONS, GET".to_owned()), 204, ""),
        (
            Reason::Scope,
            403,
            r#"{"error_message":"The access token does not allow you to access the requested resource","code":"900910","error_description":"User is NOT authorized to access the Resource: /pet/{\"id\"}. Scope validation failed."}"#,
        ),
        (
            Reason::SignerMissing,
            500,
            r#"{"error_message":"Unclassified Authentication Failure","code":"900900","error_description":"Unclassified Authentication Failure"}"#,
        ),
        (
            Reason::Subscription,
            403,
            r#"{"error_message":"Resource forbidden ","code":"900908","error_description":"User is NOT authorized to access the Resource. API Subscription validation failed."}"#,
        ),
        (
            Reason::TokenInvalid,
            401,
            r#"{"error_message":"Invalid Credentials","code":"900901","error_description":"Invalid Credentials. Make sure you have provided the correct security credentials"}"#,
        ),
        (
            Reason::UnknownKey,
            401,
            r#"{"error_message":"Unclassified Authentication Failure","code":"900900","error_description":"Unclassified Authentication Failure"}"#,
        ),
        (
            Reason::Unknown,
            404,
            r#"{"error_message":"Not Found","code":"404","error_description":"The requested resource is not available."}"#,
        ),
    ];
    let attributes = Attributes {
        id: "r-1",
        route: Route {
            template: "/pet/{\"id\"}",
            ..Route::default()
        },
        ..Attributes::default()
    };
    for (reason, status, body) in cases {
        let label = reason.label();
        let verdict = Verdict::Denied(Denial {
            reason,
            challenge: Challenge::Bearer,
        });
        let response = respond(&verdict, &attributes, false);
        let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else {
            panic!("{label}: not denied");
        };
        assert_eq!(denied.status.unwrap().code, i32::from(status), "{label}");
        assert_eq!(denied.body, body, "{label}");
        let names: Vec<_> = denied
            .headers
            .iter()
            .map(|option| option.header.clone().unwrap().key)
            .collect();
        let mut expected = Vec::new();
        if status == 401 {
            expected.push("WWW-Authenticate");
        }
        if status == 429 {
            expected.push("Retry-After");
            let value = &denied.headers[0].header.as_ref().unwrap().value;
            assert_eq!(value, "Sun, 06 Nov 1994 08:49:37 GMT");
        }
        expected.push(if status == 204 { "allow" } else { "content-type" });
        assert_eq!(names, expected, "{label}");
        let code = match status {
            401 => 16,
            403 => 7,
            429 => 8,
            _ => 13,
        };
        assert_eq!(response.status.unwrap().code, code, "{label}");
        let metadata = response.dynamic_metadata.unwrap().fields;
        assert_eq!(metadata["choreo-connect-enforcer-reply"], text("Ok"), "{label}");
        assert_eq!(metadata["correlationID"], text("r-1"), "{label}");
    }
}

#[test]
fn what_is_written_is_what_the_generated_types_say() {
    let long = "/v2/".to_owned() + &"x".repeat(300);
    let retry = Retry {
        count: 0,
        status_codes: vec![502, 504],
    };
    let none = Retry {
        count: 3,
        status_codes: Vec::new(),
    };
    let identities = [None, Some((Scheme::AccessToken, KeyType::Sandbox))];
    let steerings = [
        Steering::default(),
        Steering {
            cluster: "prod",
            timeout_ms: Some(0),
            retry: Some(&retry),
            path: Some(String::new()),
        },
        Steering {
            cluster: &long,
            timeout_ms: Some(u32::MAX),
            retry: Some(&none),
            path: Some(long.clone()),
        },
    ];
    let mut scratch = b"of another answer".to_vec();
    for (identity, steering) in identities
        .iter()
        .flat_map(|i| steerings.iter().map(move |s| (i, s)))
    {
        for (remove, path, authorization) in [
            (vec![], "", None),
            (vec!["internal-key", "x"], "/v2/pets", Some("")),
            (vec![long.as_str(); 20], long.as_str(), Some(long.as_str())),
        ] {
            let admitted = Admitted {
                steering: steering.clone(),
                authorization,
                remove,
                identity: *identity,
                path,
                limits: authorization.map(|_| {
                    Box::new(LimitFields {
                        policy: "\"api\";q=5;w=60".to_owned(),
                        left: "\"api\";r=4;t=59".to_owned(),
                    })
                }),
            };
            let mut want = ok(&admitted);
            let verdict = Verdict::Admitted(admitted);
            let attributes = Attributes::default();
            let (bytes, none) = encode(&verdict, &attributes, false, false, &mut scratch);
            assert_eq!(CheckResponse::decode(bytes).unwrap(), want);
            assert_eq!(none, None);
            // With typed steering the only header left to set is the endpoint's own credential.
            let Some(HttpResponse::OkResponse(ok)) = &mut want.http_response else {
                panic!("not admitted")
            };
            ok.headers
                .retain(|option| option.header.as_ref().unwrap().key == "authorization");
            let (bytes, typed) = encode(&verdict, &attributes, false, true, &mut scratch);
            assert_eq!(CheckResponse::decode(bytes).unwrap(), want);
            let typed = typed.unwrap();
            assert_eq!(typed.cluster, steering.cluster);
            assert_eq!(typed.timeout_ms, steering.timeout_ms);
            assert_eq!(typed.retries, steering.retry.map(|retry| retry.count));
            let statuses = steering.retry.map(|retry| retry.status_codes.as_slice());
            assert_eq!(typed.retry_statuses, statuses.unwrap_or_default());
            // A path that came out empty must not read as one that is left as it was.
            let path = steering
                .path
                .as_deref()
                .map(|path| if path.is_empty() { "/" } else { path });
            assert_eq!(typed.path, path.unwrap_or_default());
        }
    }
}

/// As headers, byte for byte what routers that know nothing else have always got.
#[test]
fn steering_by_headers_has_its_order() {
    let retry = Retry {
        count: 3,
        status_codes: vec![502, 504],
    };
    let admitted = Admitted {
        steering: Steering {
            cluster: "prod",
            timeout_ms: Some(1500),
            retry: Some(&retry),
            path: Some("/v2/".to_owned()),
        },
        authorization: Some("Basic x"),
        ..Admitted::default()
    };
    let Some(HttpResponse::OkResponse(response)) = ok(&admitted).http_response else {
        panic!("not admitted")
    };
    let headers: Vec<_> = response
        .headers
        .iter()
        .filter_map(|option| option.header.as_ref())
        .collect();
    let headers: Vec<_> = headers
        .iter()
        .map(|header| (&*header.key, &*header.value))
        .collect();
    let want = [
        ("x-wso2-cluster-header", "prod"),
        ("x-envoy-retry-on", "retriable-status-codes"),
        ("x-envoy-max-retries", "3"),
        ("x-envoy-retriable-status-codes", "502,504"),
        ("x-envoy-upstream-rq-timeout-ms", "1500"),
        ("authorization", "Basic x"),
        (":path", "/v2/"),
    ];
    assert_eq!(headers, want);
}

#[test]
fn challenges_are_those_of_the_original() {
    assert_eq!(
        challenge(Challenge::Bearer),
        r#"Bearer realm="Choreo Connect", error="invalid_token", error_description="The provided token is invalid""#
    );
    assert_eq!(
        challenge(Challenge::MutualTls),
        r#"Mutual SSL realm="Choreo Connect"  Bearer realm="Choreo Connect", error="invalid_token", error_description="The provided token is invalid""#
    );
}

#[test]
fn soap_calls_get_faults_only_when_enabled() {
    let cases = [
        (
            vec![("content-type", "text/xml; charset=utf-8"), ("soapaction", "a")],
            true,
            "text/xml",
            "<faultstring>",
        ),
        (
            vec![("content-type", "text/xml")],
            true,
            "application/json",
            "error_message",
        ),
        (
            vec![("content-type", "application/soap+xml")],
            true,
            "application/soap+xml",
            "<env:Text",
        ),
        (
            vec![("content-type", "application/soap+xml")],
            false,
            "application/json",
            "error_message",
        ),
    ];
    for (headers, enabled, content_type, part) in cases {
        let attributes = Attributes::with_headers(&headers);
        let verdict = Verdict::Denied(Denial {
            reason: Reason::Unknown,
            challenge: Challenge::Bearer,
        });
        let response = respond(&verdict, &attributes, enabled);
        let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else {
            panic!("not denied");
        };
        assert!(denied.body.contains(part), "{headers:?}: {}", denied.body);
        assert_eq!(
            denied.headers[0].header.clone().unwrap().value,
            content_type,
            "{headers:?}"
        );
    }
}
