use std::collections::HashMap;

use prost::Message;
use trireme_proto::envoy::config::core::v3::{HeaderValue as Value, HeaderValueOption};
use trireme_proto::envoy::service::auth::v3::check_response::HttpResponse;
use trireme_proto::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use trireme_proto::envoy::r#type::v3::HttpStatus;
use trireme_proto::google::protobuf::value::Kind;
use trireme_proto::google::protobuf::{self, BoolValue, Struct};
use trireme_proto::google::rpc::Status;

use super::*;

#[allow(deprecated, reason = "the filter still reads the old field")]
fn header(key: &str, value: &str, append: Option<bool>, append_action: i32) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(Value {
            key: key.to_owned(),
            value: value.to_owned(),
            ..Value::default()
        }),
        append: append.map(|value| BoolValue { value }),
        append_action,
        ..HeaderValueOption::default()
    }
}

fn metadata(values: &[(&str, Kind)]) -> Option<Struct> {
    let fields: HashMap<_, _> = values
        .iter()
        .map(|(key, kind)| {
            (
                (*key).to_owned(),
                protobuf::Value {
                    kind: Some(kind.clone()),
                },
            )
        })
        .collect();
    Some(Struct { fields })
}

fn marked() -> Option<Struct> {
    metadata(&[(ENFORCER_REPLY, Kind::StringValue("Ok".to_owned()))])
}

fn status(code: i32) -> Option<Status> {
    Some(Status {
        code,
        ..Status::default()
    })
}

fn read_bytes(response: Bytes) -> Result<Verdict, CheckError> {
    Verdict::read(Answer {
        response,
        ..Answer::default()
    })
}

fn read(response: &CheckResponse) -> Result<Verdict, CheckError> {
    read_bytes(response.encode_to_vec().into())
}

#[test]
fn an_admission_holds_its_changes_in_order() {
    let response = CheckResponse {
        status: status(0),
        dynamic_metadata: metadata(&[
            ("originalPath", Kind::StringValue("/a".to_owned())),
            ("count", Kind::NumberValue(2.0)),
            ("flag", Kind::BoolValue(true)),
            ("nothing", Kind::NullValue(0)),
        ]),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers: vec![
                header(":path", "/x?y", None, 0),
                header("X-One", "1", None, 0),
                header("x-two", "2", Some(true), 0),
                header("x-three", "3", Some(false), 1),
                header("x-four", "4", None, 3),
                header(":method", "PUT", None, 2),
            ],
            headers_to_remove: vec!["Authorization".to_owned(), "host".to_owned(), ":path".to_owned()],
            response_headers_to_add: vec![
                header(":status", "202", None, 0),
                header("x-answer", "5", None, 0),
                header("x-absent", "6", None, 1),
                header("x-over", "7", None, 2),
                header("x-present", "8", None, 3),
                header("x-old", "9", Some(false), 0),
                header("x-old", "10", Some(true), 2),
            ],
            ..OkHttpResponse::default()
        })),
    };
    let Verdict::Admitted(admission) = read(&response).unwrap() else {
        panic!("not admitted")
    };
    let edit = |name: &'static str, value, mode| Edit {
        name: HeaderName::from_static(name),
        value: HeaderValue::from_static(value),
        mode,
    };
    assert_eq!(
        admission.edits,
        [
            edit("x-one", "1", Mode::Overwrite),
            edit("x-two", "2", Mode::Extend),
            edit("x-three", "3", Mode::Overwrite),
            edit("x-four", "4", Mode::Overwrite),
        ]
    );
    let steering = &admission.steering;
    assert!(steering.by_headers);
    assert_eq!(
        steering.path.as_ref().map(ToString::to_string).as_deref(),
        Some("/x?y")
    );
    assert_eq!(steering.method, Some(http::Method::PUT));
    assert_eq!(admission.remove, ["authorization"]);
    assert_eq!(
        admission.response,
        Changes {
            status: Some(StatusCode::ACCEPTED),
            edits: vec![
                edit("x-answer", "5", Mode::Append),
                edit("x-absent", "6", Mode::AddIfAbsent),
                edit("x-over", "7", Mode::Overwrite),
                edit("x-present", "8", Mode::OverwriteIfPresent),
                edit("x-old", "9", Mode::Overwrite),
                edit("x-old", "10", Mode::Append),
            ]
        }
    );
    let texts =
        ["originalPath", "count", "flag", "nothing", "absent"].map(|key| admission.metadata.text(key));
    assert_eq!(
        texts,
        [
            Some("/a".to_owned()),
            Some("2".to_owned()),
            Some("true".to_owned()),
            None,
            None
        ]
    );
}

#[test]
fn a_denial_holds_the_answer() {
    let response = CheckResponse {
        status: status(16),
        dynamic_metadata: marked(),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: 401 }),
            headers: vec![
                header("www-authenticate", "x", None, 0),
                header("x-dropped", "y", Some(true), 0),
            ],
            body: "no".to_owned(),
        })),
    };
    let Verdict::Denied(denial) = read(&response).unwrap() else {
        panic!("not denied")
    };
    assert_eq!(
        (denial.status.as_u16(), denial.body.as_ref(), denial.headers.len()),
        (401, &b"no"[..], 1)
    );
    for code in [0, 100, 999, 70_000] {
        let mut odd = response.clone();
        let Some(HttpResponse::DeniedResponse(denied)) = &mut odd.http_response else {
            unreachable!()
        };
        denied.status = Some(HttpStatus { code });
        let Verdict::Denied(denial) = read(&odd).unwrap() else {
            panic!("not denied")
        };
        assert_eq!(denial.status, StatusCode::FORBIDDEN, "{code}");
    }
    let bare = CheckResponse {
        status: status(7),
        dynamic_metadata: marked(),
        http_response: None,
    };
    let Verdict::Denied(denial) = read(&bare).unwrap() else {
        panic!("not denied")
    };
    assert_eq!(denial.status, StatusCode::FORBIDDEN);
}

#[test]
fn what_is_not_clearly_a_yes_is_none() {
    let ok = || Some(HttpResponse::OkResponse(OkHttpResponse::default()));
    let denied = || Some(HttpResponse::DeniedResponse(DeniedHttpResponse::default()));
    let with = |header: HeaderValueOption| {
        Some(HttpResponse::OkResponse(OkHttpResponse {
            headers: vec![header],
            ..OkHttpResponse::default()
        }))
    };
    let response = |status, http_response| CheckResponse {
        status,
        dynamic_metadata: marked(),
        http_response,
    };
    let cases = [
        ("nothing", CheckResponse::default()),
        ("no status", response(None, ok())),
        ("denial with OK", response(status(0), denied())),
        ("admission with an error", response(status(7), ok())),
        (
            "no mark",
            CheckResponse {
                dynamic_metadata: None,
                ..response(status(7), denied())
            },
        ),
        (
            "name that is none",
            response(status(0), with(header("a b", "c", None, 0))),
        ),
        (
            "status that is none",
            response(
                status(0),
                Some(HttpResponse::OkResponse(OkHttpResponse {
                    response_headers_to_add: vec![header(":status", "1000", None, 0)],
                    ..OkHttpResponse::default()
                })),
            ),
        ),
        (
            "value that is none",
            response(status(0), with(header("a", "b\r\nc: d", None, 0))),
        ),
    ];
    for (name, response) in cases {
        assert!(matches!(read(&response), Err(CheckError::Malformed(_))), "{name}");
    }
    assert!(
        matches!(read(&response(status(0), None)), Ok(Verdict::Admitted(_))),
        "a bare OK"
    );
    let bytes = response(status(0), with(header("a", "b", None, 0))).encode_to_vec();
    for cut in 1..bytes.len() {
        // What ends within a field is refused; what ends between two is a message of its own.
        let part = Bytes::copy_from_slice(bytes.get(..cut).unwrap());
        let whole = CheckResponse::decode(part.clone()).is_ok();
        assert_eq!(read_bytes(part).is_ok(), whole, "cut at {cut}");
    }
}

#[test]
fn headers_are_bounded() {
    let many = |count: usize| -> Vec<HeaderValueOption> {
        (0..count)
            .map(|number| header(&format!("x-{number}"), "1", None, 0))
            .collect()
    };
    let admitted = |headers, response_headers_to_add| CheckResponse {
        status: status(0),
        dynamic_metadata: marked(),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers,
            response_headers_to_add,
            ..OkHttpResponse::default()
        })),
    };
    let denied = |headers| CheckResponse {
        status: status(7),
        dynamic_metadata: marked(),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            headers,
            ..DeniedHttpResponse::default()
        })),
    };
    for (count, fits) in [(HEADERS, true), (HEADERS + 1, false)] {
        for response in [
            admitted(many(count), Vec::new()),
            admitted(Vec::new(), many(count)),
            denied(many(count)),
        ] {
            let read = read(&response);
            assert_eq!(read.is_ok(), fits, "{count}");
            assert!(fits || matches!(read, Err(CheckError::Malformed("too many headers"))));
        }
    }
}
