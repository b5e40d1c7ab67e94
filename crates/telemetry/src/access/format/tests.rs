use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::*;

#[derive(Default)]
struct Request {
    headers: HashMap<&'static str, &'static [u8]>,
    answer: HashMap<&'static str, &'static [u8]>,
    metadata: HashMap<&'static str, &'static str>,
    forwarded: bool,
    grpc: &'static str,
}

impl Record for Request {
    fn start_time(&self) -> SystemTime {
        // 2024-02-29T13:05:09.007089
        SystemTime::UNIX_EPOCH + Duration::new(1_709_211_909, 7_089_000)
    }

    fn header(&self, from: Headers, name: &str) -> Option<&[u8]> {
        match from {
            Headers::Request => self.headers.get(name).copied(),
            Headers::Response => self.answer.get(name).copied(),
            Headers::Trailers => None,
        }
    }

    fn field(&self, field: Field) -> Value<'_> {
        let address = |text: &str| Value::Address(text.parse().unwrap());
        match field {
            Field::BytesReceived => 11.into(),
            Field::BytesSent => 2_048.into(),
            Field::DownstreamRemoteAddress => address("10.1.2.3:50000"),
            Field::DownstreamLocalAddress => address("[::1]:9095"),
            Field::Duration => Value::Duration(Duration::from_micros(12_999)),
            Field::GrpcStatus => Value::text(self.grpc),
            Field::Protocol => Value::text("HTTP/1.1"),
            Field::ResponseCode => 200.into(),
            Field::ResponseFlags => Value::text(if self.forwarded { "" } else { "UF,URX" }),
            Field::RouteName => Value::text("orders"),
            Field::UpstreamCluster if self.forwarded => Value::text("orders_prod"),
            Field::UpstreamHost if self.forwarded => address("192.0.2.7:8443"),
            _ => Value::Absent,
        }
    }

    fn metadata(&self, namespace: &str, path: &[String]) -> Value<'_> {
        let key = path.join("/");
        let found =
            (namespace == "envoy.filters.http.ext_authz").then(|| self.metadata.get(key.as_str()).copied());
        found.flatten().into()
    }
}

/// The facts that were asked for.
#[derive(Default)]
struct Asked(RefCell<Vec<Field>>);

impl Record for Asked {
    fn start_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn header(&self, _from: Headers, _name: &str) -> Option<&[u8]> {
        None
    }

    fn field(&self, field: Field) -> Value<'_> {
        self.0.borrow_mut().push(field);
        Value::Absent
    }

    fn metadata(&self, _namespace: &str, _path: &[String]) -> Value<'_> {
        Value::Absent
    }
}

fn request() -> Request {
    Request {
        headers: HashMap::from([
            (":method", &b"GET"[..]),
            (":path", b"/v1/orders?id=7"),
            (":authority", b"api.example:9095"),
            ("user-agent", b"curl/8.1"),
            ("x-request-id", b"0a1b"),
            ("x-empty", b""),
            ("x-evil", b"a\r\nGET \"fake\" \x1b[2J\xff"),
        ]),
        answer: HashMap::from([("x-envoy-upstream-service-time", &b"9"[..])]),
        metadata: HashMap::from([("originalPath", "/orders/1.0/v1/orders"), ("a/b", "deep")]),
        forwarded: true,
        grpc: "",
    }
}

fn line(format: &str, request: &Request) -> String {
    let format = Format::parse(format).unwrap_or_else(|error| panic!("{format}: {error}"));
    let mut out = b"kept ".to_vec();
    format.write(&mut out, request);
    let line = String::from_utf8(out).unwrap();
    let line = line
        .strip_prefix("kept ")
        .and_then(|line| line.strip_suffix('\n'))
        .unwrap();
    line.to_owned()
}

#[test]
fn operators() {
    let cases = [
        ("", ""),
        ("plain 100%% text", "plain 100% text"),
        ("already ended\n", "already ended"),
        ("%REQ(:METHOD)% %REQ(:path)%", "GET /v1/orders?id=7"),
        ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/v1/orders?id=7"),
        ("%REQ(USER-AGENT?:PATH)%", "curl/8.1"),
        ("%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/v1/orders"),
        ("%REQ_WITHOUT_QUERY(:PATH):5%", "/v1/o"),
        (
            "%REQ(USER-AGENT):4%|%REQ(USER-AGENT):400%|%REQ(USER-AGENT):0%",
            "curl|curl/8.1|",
        ),
        (
            "%REQ(X-NONE)% %REQ(X-NONE?X-NEITHER)% %RESP(X-NONE)% %TRAILER(X)%",
            "- - - -",
        ),
        // One that is there without a value is not absent.
        (
            "[%REQ(X-EMPTY)%] [%REQ(X-EMPTY?USER-AGENT)%] [%REQ(X-NONE?X-EMPTY)%] [%REQ(X-EMPTY):3%]",
            "[] [] [] []",
        ),
        (
            "%REQ(?USER-AGENT)% %REQ(USER-AGENT?)% %REQ(X-NONE?)%",
            "curl/8.1 curl/8.1 -",
        ),
        ("%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", "9"),
        (
            "%PROTOCOL% %RESPONSE_CODE% %RESPONSE_CODE%%RESPONSE_FLAGS%",
            "HTTP/1.1 200 200-",
        ),
        (
            "%BYTES_RECEIVED%/%BYTES_SENT%/%DURATION%/%REQUEST_DURATION%",
            "11/2048/12/-",
        ),
        (
            "%UPSTREAM_HOST% %UPSTREAM_CLUSTER% %ROUTE_NAME%",
            "192.0.2.7:8443 orders_prod orders",
        ),
        (
            "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%",
            "10.1.2.3:50000 10.1.2.3 50000",
        ),
        (
            "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%",
            "[::1]:9095 ::1 9095",
        ),
        (
            "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT%",
            "- -",
        ),
        (
            "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:originalPath)%",
            "/orders/1.0/v1/orders",
        ),
        (
            "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:originalPath):7%",
            "/orders",
        ),
        (
            "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:a:b)% %DYNAMIC_METADATA(other:a:b)%",
            "deep -",
        ),
        ("%METADATA(DYNAMIC:envoy.filters.http.ext_authz:a:b)%", "deep"),
        ("%METADATA(DYNAMIC)% %DYNAMIC_METADATA(:a)%", "- -"),
        ("%START_TIME%", "2024-02-29T13:05:09.007Z"),
        ("%START_TIME()%", "2024-02-29T13:05:09.007Z"),
        (
            "%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%",
            "2024/02/29T13:05:09+0000 1709211909",
        ),
        (
            "%START_TIME(%s.%3f)% %START_TIME(%6f)% %START_TIME(%3s)%",
            "1709211909.007 007089 1709211909",
        ),
        (
            "%START_TIME(%c|%D|%x|%X|%r|%R)%",
            "Thu Feb 29 13:05:09 2024|02/29/24|02/29/24|13:05:09|01:05:09 PM|13:05",
        ),
        (
            "%START_TIME(%A|%B|%C|%P|%k|%l|%u|%w|%t|%Ez|%E4Y)%",
            "Thursday|February|20|pm|13| 1|4|4|\t|+00:00|2024",
        ),
        // The week of the year, by three counts, and the year of the third.
        ("%START_TIME(%U|%W|%V|%G|%g)%", "08|09|09|2024|24"),
        (
            "%START_TIME(%E0S|%E3S|%E9S|%E6f)%",
            "09|09.007|09.007089000|007089",
        ),
        (
            "%START_TIME(%a %e %b %y %I:%M %p %j %Z %F %T %%)%",
            "Thu 29 Feb 24 01:05 PM 060 UTC 2024-02-29 13:05:09 %",
        ),
        (
            "%REQ(X-EVIL)%",
            "a\\u000d\\u000aGET \\\"fake\\\" \\u001b[2J\\ufffd",
        ),
        ("%REQ(X-EVIL):3%", "a\\u000d\\u000a"),
        ("%TRACE_ID% %GRPC_STATUS% %HOSTNAME%", "- - -"),
        (
            "%GRPC_STATUS(NUMBER)% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%",
            "- - -",
        ),
        (
            "%DURATION()%|%PROTOCOL():4%|%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%",
            "12|HTTP|-",
        ),
    ];
    for (format, want) in cases {
        assert_eq!(line(format, &request()), want, "{format}");
    }
}

#[test]
fn a_grpc_status_in_each_form() {
    // Names and numbers as Envoy 1.40 writes them.
    let cases = [
        ("OK", "0 OK"),
        ("Canceled", "1 CANCELLED"),
        ("Unknown", "2 UNKNOWN"),
        ("DeadlineExceeded", "4 DEADLINE_EXCEEDED"),
        ("NotFound", "5 NOT_FOUND"),
        ("Unavailable", "14 UNAVAILABLE"),
        ("Unauthenticated", "16 UNAUTHENTICATED"),
        ("17", "17 17"),
        ("-1", "-1 -1"),
    ];
    for (grpc, want) in cases {
        let request = Request {
            grpc,
            ..Request::default()
        };
        let format =
            "%GRPC_STATUS% %GRPC_STATUS(CAMEL_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS(SNAKE_STRING)%";
        assert_eq!(line(format, &request), format!("{grpc} {grpc} {want}"));
        let number = want.split(' ').next().unwrap();
        assert_eq!(line("%GRPC_STATUS_NUMBER%", &request), number);
    }
}

#[test]
fn every_operator_asks_for_its_own_fact() {
    for (field, operator) in Field::ALL {
        let format = Format::parse(&format!("%{operator}%")).unwrap();
        assert!(format.unknown().is_empty(), "{operator}");
        let record = Asked::default();
        let mut out = Vec::new();
        format.write(&mut out, &record);
        assert_eq!(record.0.into_inner(), [*field], "{operator}");
        assert_eq!(out, b"-\n", "{operator}");
    }
}

#[test]
fn the_default_line() {
    let forwarded = "[2024-02-29T13:05:09.007Z] \"GET /v1/orders?id=7 HTTP/1.1\" 200 - 11 2048 12 9 \"-\" \"curl/8.1\" \
                     \"0a1b\" \"api.example:9095\" \"192.0.2.7:8443\"";
    assert_eq!(line(DEFAULT_FORMAT, &request()), forwarded);
    let nothing =
        "[2024-02-29T13:05:09.007Z] \"- - HTTP/1.1\" 200 UF,URX 11 2048 12 - \"-\" \"-\" \"-\" \"-\" \"-\"";
    assert_eq!(line(DEFAULT_FORMAT, &Request::default()), nothing);
    // What the shipped file has in the place of the path.
    let shipped = "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:originalPath)% %REQ_WITHOUT_QUERY(:PATH)%";
    assert_eq!(line(shipped, &request()), "/orders/1.0/v1/orders /v1/orders");
}

#[test]
fn a_format_that_looks_like_json_gives_json() {
    let line = line(
        "{\"agent\": \"%REQ(X-EVIL)%\", \"bytes\": %BYTES_SENT%}",
        &request(),
    );
    assert_eq!(
        line,
        "{\"agent\": \"a\\u000d\\u000aGET \\\"fake\\\" \\u001b[2J\\ufffd\", \"bytes\": 2048}"
    );
}

#[test]
fn long_values_are_bounded() {
    static LONG: [u8; 100_000] = [b'x'; 100_000];
    let request = Request {
        headers: HashMap::from([("x-long", &LONG[..])]),
        ..Request::default()
    };
    assert_eq!(line("%REQ(X-LONG)%", &request).len(), MAX_VALUE_BYTES);
    assert_eq!(line("%REQ(X-LONG):99999999%", &request).len(), MAX_VALUE_BYTES);
}

#[test]
fn an_unknown_operator_is_absent_and_named_once() {
    let cases: [(&str, &str, &[&str]); 9] = [
        ("%PROTOCOL%", "HTTP/1.1", &[]),
        ("%NOPE%", "-", &["NOPE"]),
        ("a%NOPE%%PROTOCOL%%NOPE(x):0%b", "a-HTTP/1.1-b", &["NOPE"]),
        (
            "%QUERY_PARAM(a)% %PATH(NQ):9% %RESPONSE_CODE%",
            "- - 200",
            &["QUERY_PARAM", "PATH"],
        ),
        // The endings mean something after an address only.
        (
            "%ROUTE_NAME_WITHOUT_PORT% %DURATION_PORT% %_PORT% %_WITHOUT_PORT%",
            "- - - -",
            &[
                "ROUTE_NAME_WITHOUT_PORT",
                "DURATION_PORT",
                "_PORT",
                "_WITHOUT_PORT",
            ],
        ),
        ("{\"a\":\"%NOPE_2%\"}", "{\"a\":\"-\"}", &["NOPE_2"]),
        // Known ones whose argument is not, each with it.
        (
            "%METADATA(ROUTE:a:b)% %METADATA(CLUSTER:a)% %METADATA(ROUTE:a:b):3% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(16)%",
            "- - - -",
            &[
                "METADATA(ROUTE:a:b)",
                "METADATA(CLUSTER:a)",
                "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(16)",
            ],
        ),
        (
            "%START_TIME(%Q)% %START_TIME(%0f)% %START_TIME(%E0f)% %START_TIME(%n)% %REQUESTED_SERVER_NAME(SNI_FIRST)%",
            "- - - - -",
            &[
                "START_TIME(%Q)",
                "START_TIME(%0f)",
                "START_TIME(%E0f)",
                "START_TIME(%n)",
                "REQUESTED_SERVER_NAME(SNI_FIRST)",
            ],
        ),
        // Brackets inside of brackets.
        ("%CEL(size(request.path))% %CEL((1)):9%", "- -", &["CEL"]),
    ];
    for (format, want, unknown) in cases {
        assert_eq!(line(format, &request()), want, "{format}");
        assert_eq!(Format::parse(format).unwrap().unknown(), unknown, "{format}");
    }
    assert!(Format::parse(DEFAULT_FORMAT).unwrap().unknown().is_empty());
}

#[test]
fn refusals_name_the_operator() {
    let cases = [
        (
            "a %nope% b",
            "access log format: \"nope\" is not the name of an operator at offset 2",
        ),
        (
            "100% sure, 50% of it",
            "access log format: \" sure, 50\" is not the name of an operator at offset 3",
        ),
        (
            "%(x)%",
            "access log format: \"\" is not the name of an operator at offset 0",
        ),
        (
            "%NOPE(x",
            "access log format: operator without an end at offset 0",
        ),
        (
            "%NOPE(x) b",
            "access log format: operator without an end at offset 0",
        ),
        (
            "%NOPE(x):y%",
            "access log format: %NOPE% has a length that is not a number at offset 0",
        ),
        (
            "%NOPE% %DURATION(ms)%",
            "access log format: %DURATION% does not take the argument \"ms\" at offset 7",
        ),
        ("%%%", "access log format: operator without an end at offset 2"),
        (
            "100% sure",
            "access log format: operator without an end at offset 3",
        ),
        ("%REQ(X", "access log format: operator without an end at offset 0"),
        (
            "%REQ(X) %PROTOCOL%",
            "access log format: operator without an end at offset 0",
        ),
        (
            "%REQ%",
            "access log format: %REQ% needs an argument in brackets at offset 0",
        ),
        (
            "%REQ()%",
            "access log format: %REQ% needs an argument in brackets at offset 0",
        ),
        (
            "%DYNAMIC_METADATA%",
            "access log format: %DYNAMIC_METADATA% needs an argument in brackets at offset 0",
        ),
        (
            "%REQ(A?B?C)%",
            "access log format: %REQ% does not take the argument \"A?B?C\" at offset 0",
        ),
        (
            "%REQ(?)%",
            "access log format: %REQ% does not take the argument \"?\" at offset 0",
        ),
        (
            "%REQ(A B)%",
            "access log format: %REQ% does not take the argument \"A B\" at offset 0",
        ),
        (
            "%REQ(X) %RESP(Y)%",
            "access log format: %REQ% does not take the argument \"X) %RESP(Y\" at offset 0",
        ),
        (
            "%REQ(A):x%",
            "access log format: %REQ% has a length that is not a number at offset 0",
        ),
        (
            "%REQ(A):-1%",
            "access log format: %REQ% has a length that is not a number at offset 0",
        ),
        (
            "%DURATION(ms)%",
            "access log format: %DURATION% does not take the argument \"ms\" at offset 0",
        ),
        (
            "%METADATA(NOPE:a:b)%",
            "access log format: %METADATA% does not take the argument \"NOPE:a:b\" at offset 0",
        ),
        (
            "%GRPC_STATUS(X)%",
            "access log format: %GRPC_STATUS% does not take the argument \"X\" at offset 0",
        ),
        (
            "%DOWNSTREAM_LOCAL_ADDRESS(x)% %DOWNSTREAM_LOCAL_PORT%",
            "access log format: %DOWNSTREAM_LOCAL_ADDRESS% does not take the argument \"x\" at offset 0",
        ),
    ];
    for (format, want) in cases {
        let error = Format::parse(format).expect_err(format);
        assert_eq!(error.to_string(), want, "{format}");
    }
}
