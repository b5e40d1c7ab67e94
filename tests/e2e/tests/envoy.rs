//! The router and a stock Envoy, driven by the same adapter and enforcer, give the same answers to the same bytes.
//!
//! Everything is compared: status, headers, body, and what the upstream saw. What may differ is listed here with its reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use trireme_harness::{Envoy, Gateway, Ports, Raw, Role, Upstream};

/// Headers of an answer that say who answered, when, and how the body is framed.
const ANSWER_IGNORED: [&str; 4] = ["connection", "date", "server", "transfer-encoding"];
/// Headers at the upstream that are new for every request.
const SEEN_IGNORED: [&str; 1] = ["x-request-id"];

struct Case {
    name: &'static str,
    method: &'static str,
    target: &'static str,
    host: &'static str,
    token: bool,
    headers: &'static [&'static str],
    body: &'static str,
    /// Sent as it is, in place of all above; `TOKEN` and `LARGE` (20 KiB) are put in.
    bytes: &'static str,
    /// Whether HTTP/2 can say it and is asked as well.
    http2: bool,
    /// Both give this status, but for what is written in `otherwise`.
    want: u16,
    otherwise: Option<Otherwise>,
}

/// Where the two are known to differ. Whether it is meant so or a fault says the reason.
struct Otherwise {
    over: Over,
    /// The router's status, and Envoy's.
    statuses: (u16, u16),
    tell: Tell,
    reason: &'static str,
}

#[derive(PartialEq)]
enum Over {
    Both,
    Http1,
    Http2,
}

/// What tells the router's answer from Envoy's, in the body or in the headers as `name: value`.
enum Tell {
    /// Only the router's has it.
    Ours(&'static str),
    /// Only Envoy's has it.
    Theirs(&'static str),
}

const fn get(name: &'static str, target: &'static str, want: u16) -> Case {
    Case {
        name,
        method: "GET",
        target,
        host: "localhost",
        token: true,
        headers: &[],
        body: "",
        bytes: "",
        http2: true,
        want,
        otherwise: None,
    }
}

const fn bytes(name: &'static str, bytes: &'static str, want: u16) -> Case {
    Case {
        bytes,
        http2: false,
        ..get(name, "", want)
    }
}

const fn differs(case: Case, statuses: (u16, u16), tell: Tell, reason: &'static str) -> Case {
    differs_over(Over::Both, case, statuses, tell, reason)
}

#[expect(clippy::needless_pass_by_value, reason = "a table is written with it")]
const fn differs_over(
    over: Over,
    case: Case,
    statuses: (u16, u16),
    tell: Tell,
    reason: &'static str,
) -> Case {
    Case {
        name: case.name,
        method: case.method,
        target: case.target,
        host: case.host,
        token: case.token,
        headers: case.headers,
        body: case.body,
        bytes: case.bytes,
        http2: case.http2,
        want: case.want,
        otherwise: Some(Otherwise {
            over,
            statuses,
            tell,
            reason,
        }),
    }
}

/// The router answers 400 and names why, Envoy gives this status.
const fn stricter(name: &'static str, target: &'static str, theirs: u16, why: &'static str) -> Case {
    Case {
        otherwise: Some(Otherwise {
            over: Over::Both,
            statuses: (400, theirs),
            tell: Tell::Ours(why),
            reason: D15,
        }),
        ..get(name, target, 400)
    }
}

/// A token that ended in 2001.
const EXPIRED: &str = "authorization: Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImdhdGV3YXlfY2VydGlmaWNhdGVfYWxpYXMifQ.eyJpc3MiOiJodHRwczovL2xvY2FsaG9zdDo5MDk1L3Rlc3RrZXkiLCJzdWIiOiJhZG1pbiIsImV4cCI6MTAwMDAwMDAwMCwic2NvcGUiOiJzb21lIn0.AAAA";

const D15: &str = "meant: a target with two readings is refused (design D15)";
const SPEC_5_16: &str =
    "meant: x-envoy-* is suppressed (spec/adapter.md 5.16); Envoy suppresses only its own";
const RFC_CONNECTION: &str = "meant: what Connection names, and TE, ends here (RFC 9110 section 7.6.1)";
const PLAIN_TEXT: &str =
    "fault: parse errors are plain text (spec/adapter.md 5.14); hyper's have no body and no server";
const GRPC: &str = "fault: grpc-message is Envoy's whole text (design D13); denials carry theirs whole";
const H2_LENGTH: &str = "fault, harmless: Envoy gives no length to an empty answer over HTTP/2 (design D13)";

const CASES: &[Case] = &[
    get("plain", "/shop/1.0/items/7", 200),
    get("query", "/shop/1.0/items/7?a=1&a=2&b=%20x&c", 200),
    get("empty query", "/shop/1.0/items/7?", 200),
    get("question marks in the query", "/shop/1.0/items/7?a?b=?", 200),
    get("encoded space", "/shop/1.0/items/a%20b", 200),
    get("encoded letter", "/shop/1.0/items/%41", 200),
    get("encoded UTF-8", "/shop/1.0/items/%C3%A9", 200),
    get("sub-delimiters", "/shop/1.0/items/a;b=c,d:e@f!$&'()*+", 200),
    get("two parameters in a segment", "/shop/1.0/pair/a-b", 200),
    get("unknown path of the API", "/shop/1.0/nothing", 404),
    get("unknown path below a resource", "/shop/1.0/items/7/8", 404),
    get("unknown API", "/elsewhere/1.0/items/7", 404),
    get("the base path alone", "/shop/1.0", 404),
    get("root", "/", 404),
    get("trailing slash", "/shop/1.0/items/7/", 200),
    get("capital letters", "/SHOP/1.0/items/7", 404),
    get("prefix of the base path", "/shop/1.0x/items/7", 404),
    get("scope that the token lacks", "/shop/1.0/scoped", 403),
    get("upstream that is down", "/shop/1.0/down", 503),
    get("upstream that is slow", "/shop/1.0/slow", 504),
    get("resource with an upstream of its own", "/shop/1.0/own", 200),
    stricter("encoded slash", "/shop/1.0/items/a%2Fb", 200, "encoded_slash"),
    stricter(
        "encoded backslash",
        "/shop/1.0/items/a%5Cb",
        200,
        "encoded_backslash",
    ),
    stricter(
        "double encoding",
        "/shop/1.0/items/a%252Fb",
        200,
        "double_encoding",
    ),
    stricter("double slash", "/shop/1.0//items/7", 404, "empty_segment"),
    stricter("dot segments", "/shop/1.0/items/../items/7", 404, "dot_segment"),
    stricter("encoded NUL", "/shop/1.0/items/a%00b", 200, "encoded_control"),
    stricter(
        "encoded dot segments",
        "/shop/1.0/items/%2e%2e/open",
        404,
        "dot_segment",
    ),
    stricter("a single dot", "/shop/1.0/./items/7", 404, "dot_segment"),
    stricter(
        "double slash at the start",
        "//shop/1.0/items/7",
        404,
        "empty_segment",
    ),
    stricter(
        "encoded line end",
        "/shop/1.0/items/a%0d%0ab",
        200,
        "encoded_control",
    ),
    stricter("broken escape", "/shop/1.0/items/a%2", 200, "invalid_escape"),
    Case {
        token: false,
        ..get("no token", "/shop/1.0/items/7", 401)
    },
    Case {
        token: false,
        headers: &["authorization: Bearer a.b.c"],
        ..get("garbage for a token", "/shop/1.0/items/7", 401)
    },
    Case {
        token: false,
        headers: &["authorization: Basic YTpi"],
        ..get("another scheme", "/shop/1.0/items/7", 401)
    },
    Case {
        token: false,
        ..get("security is off", "/shop/1.0/open", 200)
    },
    Case {
        token: false,
        headers: &[
            "authorization: Bearer of-the-upstream",
            "x-wso2-cluster-header: evil",
        ],
        ..get("what the caller may not choose", "/shop/1.0/open", 200)
    },
    Case {
        method: "DELETE",
        ..get("unknown method", "/shop/1.0/items/7", 404)
    },
    differs_over(
        Over::Http1,
        Case {
            method: "BREW",
            ..get("method that does not exist", "/shop/1.0/items/7", 404)
        },
        (404, 400),
        Tell::Ours("The requested resource is not available."),
        "meant: a method that nobody defined is not found (spec/adapter.md 5.5); Envoy's HTTP/1.1 parser knows a list",
    ),
    Case {
        method: "HEAD",
        ..get("HEAD that is not defined", "/shop/1.0/items/7", 404)
    },
    Case {
        method: "HEAD",
        ..get("HEAD", "/shop/1.0/head", 200)
    },
    Case {
        method: "POST",
        headers: &["content-type: application/json", "content-length: 13"],
        body: "{\"a\":\"hello\"}",
        ..get("body", "/shop/1.0/items", 200)
    },
    Case {
        method: "POST",
        headers: &["transfer-encoding: chunked"],
        http2: false,
        body: "5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n",
        ..get("chunked body", "/shop/1.0/items", 200)
    },
    Case {
        method: "POST",
        headers: &["content-length: 0"],
        ..get("empty body", "/shop/1.0/items", 200)
    },
    Case {
        method: "POST",
        headers: &["expect: 100-continue", "content-length: 5"],
        body: "hello",
        ..get("Expect", "/shop/1.0/items", 200)
    },
    Case {
        method: "OPTIONS",
        token: false,
        ..get("OPTIONS", "/shop/1.0/items/7", 204)
    },
    differs_over(
        Over::Http2,
        Case {
            method: "OPTIONS",
            token: false,
            headers: &[
                "origin: https://shop.example",
                "access-control-request-method: GET",
                "access-control-request-headers: authorization",
            ],
            ..get("preflight", "/shop/1.0/items/7", 200)
        },
        (200, 200),
        Tell::Ours("content-length: 0"),
        H2_LENGTH,
    ),
    Case {
        headers: &["origin: https://shop.example"],
        ..get("origin", "/shop/1.0/items/7", 200)
    },
    Case {
        token: false,
        headers: &["origin: https://shop.example"],
        ..get("origin without a token", "/shop/1.0/items/7", 401)
    },
    Case {
        headers: &["x-want-status: 404"],
        ..get("404 of the upstream", "/shop/1.0/items/7", 404)
    },
    Case {
        headers: &["x-want-status: 500"],
        ..get("500 of the upstream", "/shop/1.0/items/7", 500)
    },
    Case {
        headers: &["x-want-status: 401"],
        ..get("401 of the upstream", "/shop/1.0/items/7", 401)
    },
    Case {
        headers: &["x-want-status: 304"],
        ..get("304 of the upstream", "/shop/1.0/items/7", 304)
    },
    Case {
        headers: &["x-want-status: 204"],
        ..get("204 of the upstream", "/shop/1.0/items/7", 204)
    },
    Case {
        headers: &[
            "te: trailers",
            "keep-alive: 5",
            "proxy-connection: close",
            "upgrade: h2c",
            "proxy-authorization: Basic YTpi",
        ],
        http2: false,
        ..get("hop-by-hop headers", "/shop/1.0/items/7", 200)
    },
    Case {
        headers: &[
            "x-forwarded-for: 10.1.2.3",
            "x-forwarded-proto: https",
            "forwarded: for=10.1.2.3",
            "x-real-ip: 10.1.2.3",
        ],
        ..get("forwarding headers", "/shop/1.0/items/7", 200)
    },
    Case {
        headers: &["cookie: a=1", "cookie: b=2", "x-many: 1", "x-many: 2"],
        ..get("repeated headers", "/shop/1.0/items/7", 200)
    },
    Case {
        token: false,
        ..get("health", "/health", 200)
    },
    Case {
        token: false,
        ..get("ready", "/ready", 200)
    },
    Case {
        token: false,
        method: "POST",
        headers: &["content-length: 0"],
        ..get("test tokens without a password", "/testkey", 401)
    },
    Case {
        token: false,
        ..get("keys that are not published", "/.wellknown/jwks", 404)
    },
    Case {
        token: false,
        headers: &[EXPIRED],
        ..get("expired token", "/shop/1.0/items/7", 401)
    },
    differs_over(
        Over::Http2,
        Case {
            token: false,
            headers: &["content-type: application/grpc"],
            ..get("gRPC without a token", "/shop/1.0/items/7", 200)
        },
        (200, 200),
        Tell::Ours("content-length: 0"),
        H2_LENGTH,
    ),
    differs(
        Case {
            headers: &["content-type: application/grpc"],
            ..get("gRPC, unknown path", "/shop/1.0/nothing", 200)
        },
        (200, 200),
        Tell::Theirs("The requested resource is not available."),
        GRPC,
    ),
    differs(
        Case {
            headers: &["content-type: application/grpc"],
            ..get("gRPC, upstream that is down", "/shop/1.0/down", 200)
        },
        (200, 200),
        Tell::Theirs("102503"),
        GRPC,
    ),
    get("default version", "/plain/items/7", 200),
    get("default version, version named", "/plain/2.0/items/7", 200),
    get("default version, another version", "/plain/3.0/items/7", 404),
    get(
        "production token where there is a sandbox only",
        "/sand/1.0/items/7",
        401,
    ),
    get("%-encoded base path", "/%73hop/1.0/items/7", 404),
    get("parameter with a dot", "/shop/1.0/items/a.b", 200),
    get("parameter of dots", "/shop/1.0/items/...", 200),
    get(
        "query with an encoded slash",
        "/shop/1.0/items/7?next=%2Fa%2Fb",
        200,
    ),
    get(
        "query with an address",
        "/shop/1.0/items/7?next=https://x.example/a//b/../c",
        200,
    ),
    Case {
        host: "localhost:9090",
        ..get("host with a port", "/shop/1.0/items/7", 200)
    },
    Case {
        host: "LOCALHOST",
        ..get("host in capitals", "/shop/1.0/items/7", 200)
    },
    Case {
        host: "elsewhere.example",
        ..get("unknown host", "/shop/1.0/items/7", 404)
    },
    Case {
        token: false,
        host: "elsewhere.example",
        ..get("health of another host", "/health", 404)
    },
    Case {
        method: "HEAD",
        token: false,
        ..get("HEAD without a token", "/shop/1.0/head", 401)
    },
    Case {
        method: "OPTIONS",
        token: false,
        headers: &[
            "origin: https://evil.example",
            "access-control-request-method: GET",
        ],
        ..get("preflight of another origin", "/shop/1.0/items/7", 204)
    },
    Case {
        method: "OPTIONS",
        token: false,
        headers: &["origin: https://shop.example"],
        ..get("OPTIONS with an origin, no preflight", "/shop/1.0/items/7", 204)
    },
    Case {
        method: "OPTIONS",
        token: false,
        headers: &[
            "origin: https://shop.example",
            "access-control-request-method: GET",
        ],
        ..get("preflight of an unknown path", "/shop/1.0/nothing", 404)
    },
    Case {
        headers: &["origin: https://evil.example"],
        ..get("another origin", "/shop/1.0/items/7", 200)
    },
    Case {
        headers: &[
            "origin: https://shop.example",
            "x-want-header: access-control-allow-origin=https://of.upstream",
            "x-want-header: access-control-expose-headers=x-of-upstream",
        ],
        ..get("CORS headers of the upstream", "/shop/1.0/items/7", 200)
    },
    Case {
        headers: &["origin: https://shop.example"],
        ..get("origin, upstream that is down", "/shop/1.0/down", 503)
    },
    Case {
        headers: &["origin: https://shop.example"],
        ..get("origin, unknown path", "/shop/1.0/nothing", 404)
    },
    Case {
        headers: &[
            "x-want-status: 302",
            "x-want-header: location=http://127.0.0.1:1/base/items/8?a=b",
        ],
        ..get("redirect of the upstream", "/shop/1.0/items/7", 302)
    },
    Case {
        headers: &[
            "x-want-status: 401",
            "x-want-header: www-authenticate=Basic realm=\"upstream\"",
        ],
        ..get("challenge of the upstream", "/shop/1.0/items/7", 401)
    },
    Case {
        headers: &[
            "x-want-header: set-cookie=a=1; Path=/",
            "x-want-header: set-cookie=b=2",
            "x-want-header: server=upstream/1",
            "x-want-header: x-request-id=of-the-upstream",
            "x-want-header: proxy-authenticate=Basic",
            "x-want-header: alt-svc=h3=\":443\"",
        ],
        ..get("headers of the upstream", "/shop/1.0/items/7", 200)
    },
    differs(
        Case {
            headers: &["x-want-header: x-envoy-upstream-canary=1"],
            ..get("Envoy's headers from the upstream", "/shop/1.0/items/7", 200)
        },
        (200, 200),
        Tell::Theirs("x-envoy-upstream-canary: 1"),
        SPEC_5_16,
    ),
    differs(
        Case {
            headers: &["x-want-header: x-wso2-cluster-header=of-the-upstream"],
            ..get("cluster header from the upstream", "/shop/1.0/items/7", 200)
        },
        (200, 200),
        Tell::Theirs("x-wso2-cluster-header: of-the-upstream"),
        "to be decided: the router takes it out of answers; the specification only of requests (5.16), so D13 says to let it",
    ),
    differs_over(
        Over::Http2,
        Case {
            headers: &[
                "x-want-header: proxy-connection=close",
                "x-want-header: keep-alive=timeout=9",
                "x-want-header: upgrade=h2c",
                "x-want-header: te=trailers",
            ],
            ..get("hop-by-hop headers of the upstream", "/shop/1.0/items/7", 200)
        },
        (200, 200),
        Tell::Theirs("te: trailers"),
        RFC_CONNECTION,
    ),
    differs(
        Case {
            headers: &["x-want-header: connection=x-hop", "x-want-header: x-hop=1"],
            ..get(
                "header that the upstream's Connection names",
                "/shop/1.0/items/7",
                200,
            )
        },
        (200, 200),
        Tell::Theirs("x-hop: 1"),
        RFC_CONNECTION,
    ),
    Case {
        headers: &["x-want-status: 503", "x-want-header: retry-after=7"],
        ..get("503 of the upstream", "/shop/1.0/items/7", 503)
    },
    Case {
        method: "POST",
        headers: &["x-want-close: 1", "content-length: 2"],
        body: "{}",
        ..get("upstream that breaks off", "/shop/1.0/items", 503)
    },
    differs(
        Case {
            headers: &[
                "x-envoy-retry-on: 5xx",
                "x-envoy-max-retries: 9",
                "x-envoy-upstream-rq-timeout-ms: 1",
                "x-envoy-external-address: 10.1.2.3",
                "x-envoy-internal: true",
                "x-envoy-decorator-operation: mine",
                "x-forwarded-host: evil.example",
                "x-forwarded-client-cert: Subject=evil",
            ],
            ..get("headers that steer Envoy", "/shop/1.0/items/7", 200)
        },
        (200, 200),
        Tell::Theirs("x-envoy-external-address"),
        SPEC_5_16,
    ),
    Case {
        token: false,
        headers: &[
            "x-forwarded-for: 10.1.2.3",
            "x-envoy-original-path: /shop/1.0/open",
        ],
        ..get("another path by header, no token", "/shop/1.0/items/7", 401)
    },
    Case {
        headers: &[
            "x-http-method-override: DELETE",
            "x-original-url: /shop/1.0/scoped",
        ],
        ..get("another method by header", "/shop/1.0/items/7", 200)
    },
    Case {
        method: "POST",
        token: false,
        headers: &["content-length: 2", "content-type: application/json"],
        body: "{}",
        ..get("body without a token", "/shop/1.0/items", 401)
    },
    Case {
        headers: &["content-length: 5", "content-type: text/plain"],
        body: "hello",
        ..get("GET with a body", "/shop/1.0/items/7", 200)
    },
    Case {
        headers: &[
            "accept-encoding: gzip, br",
            "range: bytes=0-1",
            "if-none-match: \"a\"",
        ],
        ..get("conditions and codings", "/shop/1.0/items/7", 200)
    },
    Case {
        headers: &["user-agent:", "x-empty:"],
        ..get("empty headers", "/shop/1.0/items/7", 200)
    },
    bytes(
        "large header",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\nx-large: MEDIUM\r\n\r\n",
        200,
    ),
    differs(
        bytes(
            "header above our bound",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\nx-large: LARGE\r\n\r\n",
            200,
        ),
        (431, 200),
        Tell::Ours("content-length: 0"),
        "meant: 16 KiB of header (design 6)",
    ),
    bytes(
        "absolute form",
        "GET http://localhost/shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
        200,
    ),
    differs(
        bytes(
            "absolute form, another host",
            "GET http://localhost/shop/1.0/items/7 HTTP/1.1\r\nhost: elsewhere.example\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            200,
        ),
        (400, 200),
        Tell::Ours("102512"),
        "to be decided: D15 refuses two hosts; RFC 9112 section 3.2.2 and Envoy take the target's",
    ),
    differs(
        bytes(
            "HTTP/1.0",
            "GET /shop/1.0/items/7 HTTP/1.0\r\nhost: localhost\r\nauthorization: Bearer TOKEN\r\n\r\n",
            426,
        ),
        (426, 426),
        Tell::Theirs("Upgrade Required"),
        "fault: Envoy says so in plain text (design D13), the router says nothing",
    ),
    bytes(
        "no host",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nconnection: close\r\n\r\n",
        400,
    ),
    differs(
        bytes(
            "two hosts",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nhost: elsewhere.example\r\nconnection: close\r\n\r\n",
            400,
        ),
        (400, 404),
        Tell::Ours("102512"),
        "meant: 400 (RFC 9112 section 3.2); Envoy joins them to a host that nobody has",
    ),
    differs(
        bytes(
            "length beside chunks",
            "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            400,
        ),
        (200, 400),
        Tell::Ours("body_bytes"),
        "fault: two readings of the length are served; Envoy refuses (design D13, D15)",
    ),
    differs(
        bytes(
            "two lengths",
            "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            400,
        ),
        (400, 400),
        Tell::Theirs("Bad Request"),
        PLAIN_TEXT,
    ),
    differs(
        bytes(
            "length that is no number",
            "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: -1\r\n\r\n",
            400,
        ),
        (400, 400),
        Tell::Theirs("Bad Request"),
        PLAIN_TEXT,
    ),
    bytes(
        "another transfer coding",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    differs(
        bytes(
            "space before the colon",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-a : 1\r\n\r\n",
            400,
        ),
        (400, 400),
        Tell::Theirs("Bad Request"),
        PLAIN_TEXT,
    ),
    differs(
        bytes(
            "folded header",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-a: 1\r\n 2\r\n\r\n",
            400,
        ),
        (400, 401),
        Tell::Ours("content-length: 0"),
        "meant: refused (RFC 9112 section 5.2); Envoy unfolds it and goes on to ask for a token",
    ),
    differs(
        bytes(
            "NUL in a header",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-a: 1\x002\r\n\r\n",
            400,
        ),
        (400, 400),
        Tell::Theirs("Bad Request"),
        PLAIN_TEXT,
    ),
    differs(
        bytes(
            "letters beyond ASCII in the path",
            "GET /shop/1.0/items/\u{e9} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            400,
        ),
        (400, 400),
        Tell::Ours("non_ascii"),
        D15,
    ),
    differs(
        bytes(
            "fragment",
            "GET /shop/1.0/items/7#x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            400,
        ),
        (200, 400),
        Tell::Ours("/base/items/7"),
        "fault: the fragment is dropped before the target is read, so the refusal of D15 never happens; Envoy refuses",
    ),
    bytes(
        "delimiters that a path may not hold",
        "GET /shop/1.0/items/{\"<>|^} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
        400,
    ),
    differs(
        bytes(
            "backslash",
            "GET /shop/1.0\\items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            404,
        ),
        (400, 404),
        Tell::Ours("backslash"),
        D15,
    ),
    differs(
        bytes(
            "OPTIONS for the server",
            "OPTIONS * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            404,
        ),
        (400, 404),
        Tell::Ours("not_a_path"),
        "fault, harmless: Envoy finds no route (design D13); the asterisk form has one reading",
    ),
    differs(
        bytes(
            "CONNECT",
            "CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\nconnection: close\r\n\r\n",
            404,
        ),
        (403, 404),
        Tell::Theirs("The requested resource is not available."),
        "fault: Envoy finds no route (design D13)",
    ),
    bytes(
        "upgrade to WebSocket",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nauthorization: Bearer TOKEN\r\n\r\n",
        403,
    ),
    bytes(
        "headers that Connection names",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close, x-mine\r\nx-mine: 1\r\nauthorization: Bearer TOKEN\r\n\r\n",
        200,
    ),
    bytes(
        "Connection names the token",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close, authorization\r\nauthorization: Bearer TOKEN\r\n\r\n",
        401,
    ),
    bytes(
        "chunk size that is no number",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        400,
    ),
    bytes(
        "trailers of the caller",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-trailer: 1\r\n\r\n",
        200,
    ),
];

const DEFINITION: &str = r#"
openapi: 3.0.3
info: { title: Shop, version: '1.0' }
x-wso2-basePath: /shop/1.0
x-wso2-cors:
  corsConfigurationEnabled: true
  accessControlAllowOrigins: [ 'https://shop.example' ]
  accessControlAllowHeaders: [ authorization ]
  accessControlAllowMethods: [ GET, POST ]
  accessControlExposeHeaders: [ x-total ]
  accessControlAllowCredentials: true
servers: [ { url: 'UPSTREAM/base' } ]
components:
  securitySchemes:
    default: { type: oauth2, flows: { implicit: { authorizationUrl: 'https://localhost', scopes: { admin: all } } } }
security: [ { default: [] } ]
paths:
  /items:
    post: { responses: {} }
  /items/{id}:
    get: { responses: {} }
  /pair/{a}-{b}:
    get: { responses: {} }
  /head:
    head: { responses: {} }
  /scoped:
    get: { security: [ { default: [ admin ] } ], responses: {} }
  /open:
    get: { x-wso2-disable-security: true, responses: {} }
  /own:
    x-wso2-production-endpoints: { urls: [ 'UPSTREAM/other' ], type: load_balance }
    get: { responses: {} }
  /down:
    x-wso2-production-endpoints: { urls: [ 'http://127.0.0.1:1/' ], type: load_balance }
    get: { responses: {} }
  /slow:
    x-wso2-production-endpoints:
      urls: [ 'SLOW/' ]
      type: load_balance
      advanceEndpointConfig: { timeoutInMillis: 200 }
    get: { responses: {} }
"#;

/// An API of a default version; the definition names one without it.
const PLAIN: [(&str, &str); 2] = [
    (
        "api.yaml",
        "type: api\nversion: v4.2.0\ndata:\n  name: Plain\n  version: '2.0'\n  context: /plain\n  type: HTTP\n  lifeCycleStatus: PUBLISHED\n  securityScheme: [ oauth2 ]\n  endpointConfig:\n    endpoint_type: http\n    production_endpoints: { url: 'UPSTREAM/base' }\n  isDefaultVersion: true\n",
    ),
    (
        "Definitions/swagger.yaml",
        "openapi: 3.0.3\ninfo: { title: Plain, version: '2.0' }\npaths: { '/items/{id}': { get: { responses: {} } } }\n",
    ),
];

/// An API that has a sandbox and nothing else.
const SAND: &str = r#"
openapi: 3.0.3
info: { title: Sand, version: '1.0' }
x-wso2-basePath: /sand/1.0
x-wso2-sandbox-endpoints: { urls: [ 'UPSTREAM/sand' ], type: load_balance }
paths: { '/items/{id}': { get: { responses: {} } } }
"#;

impl Case {
    async fn http1(&self, address: SocketAddr, token: &str) -> anyhow::Result<Raw> {
        if !self.bytes.is_empty() {
            let text = self.bytes.replace("TOKEN", token);
            let text = text.replace("MEDIUM", &"x".repeat(12 << 10));
            let text = text.replace("LARGE", &"x".repeat(20 << 10));
            return Raw::http1(address, text.as_bytes()).await;
        }
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n",
            self.method, self.target, self.host
        );
        head.push_str("connection: close\r\n");
        if self.token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        for header in self.headers {
            head.push_str(&format!("{header}\r\n"));
        }
        Raw::http1(address, format!("{head}\r\n{}", self.body).as_bytes()).await
    }

    async fn http2(&self, address: SocketAddr, token: &str) -> anyhow::Result<Raw> {
        let bearer = format!("Bearer {token}");
        let mut headers = Vec::new();
        if self.token {
            headers.push(("authorization", bearer.as_str()));
        }
        for header in self.headers {
            let (name, value) = header.split_once(':').context("colon")?;
            headers.push((name, value.trim()));
        }
        let url = format!("http://{}{}", self.host, self.target);
        Raw::http2(address, self.method, &url, &headers, self.body).await
    }
}

/// An answer, and how many calls the upstreams saw for it.
#[derive(Debug)]
struct Observed {
    raw: Raw,
    reached: u64,
}

impl Observed {
    /// With what the upstream saw in place of the body, less what may differ.
    fn comparable(&self, same_body: bool) -> (u16, BTreeMap<String, Vec<String>>, Value, u64) {
        // Envoy names the side since 1.29; the texts of the original's release are kept (spec/adapter.md 5.14).
        let text = self
            .raw
            .body
            .replace("remote connection failure", "connection failure");
        let mut headers = self.raw.headers.clone();
        for name in ANSWER_IGNORED {
            headers.remove(name);
        }
        // JSON has many writings, and what the upstream tells differs by the headers that may differ.
        if !same_body {
            headers.remove("content-length");
        }
        let mut body = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text));
        if let Some(headers) = body.get_mut("headers").and_then(Value::as_object_mut) {
            for name in SEEN_IGNORED {
                headers.remove(name);
            }
        }
        (self.raw.status, headers, body, self.reached)
    }

    fn says(&self, text: &str) -> bool {
        let mut lines = self
            .raw
            .headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| format!("{name}: {value}")));
        self.raw.body.contains(text) || lines.any(|line| line.contains(text))
    }
}

/// `None` when both gave what the case wants.
fn difference(case: &Case, over: &Over, ours: &Observed, theirs: &Observed) -> Option<String> {
    // The length of what HEAD leaves out is as free as its writing.
    let same_body = case.method != "HEAD" && ours.raw.body == theirs.raw.body;
    let same = ours.comparable(same_body) == theirs.comparable(same_body);
    let other = case
        .otherwise
        .as_ref()
        .filter(|other| other.over == Over::Both || other.over == *over);
    let (good, reason) = match other {
        None => (same && ours.raw.status == case.want, ""),
        // An entry that is no longer true is to be taken out.
        Some(other) => {
            let told = match other.tell {
                Tell::Ours(text) => ours.says(text) && !theirs.says(text),
                Tell::Theirs(text) => theirs.says(text) && !ours.says(text),
            };
            let statuses = (ours.raw.status, theirs.raw.status);
            (!same && told && statuses == other.statuses, other.reason)
        }
    };
    let version = if *over == Over::Http2 {
        "HTTP/2"
    } else {
        "HTTP/1.1"
    };
    (!good).then(|| {
        format!(
            "{} over {version}, want {} {reason}:\n  router {ours:?}\n  Envoy  {theirs:?}",
            case.name, case.want
        )
    })
}

struct Both {
    gateway: Gateway,
    envoy: Envoy,
    upstreams: [Upstream; 2],
    _folder: tempfile::TempDir,
}

impl Both {
    /// `None`, said loudly, without Envoy.
    async fn start(variables: &[(&'static str, &str)]) -> anyhow::Result<Option<Self>> {
        let Some(program) = Envoy::program() else {
            return Ok(None);
        };
        let upstream = Upstream::start(Duration::ZERO).await;
        let slow = Upstream::start(Duration::from_secs(5)).await;
        let folder = tempfile::tempdir()?;
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().context("parent")?)?;
            let text = text.replace("UPSTREAM", &upstream.url());
            std::fs::write(&path, text.replace("SLOW", &slow.url()))?;
            anyhow::Ok(path)
        };
        let (shop, sand) = (write("shop.yaml", DEFINITION)?, write("sand.yaml", SAND)?);
        for (name, text) in PLAIN {
            write(&format!("plain/{name}"), text)?;
        }
        let ports = Ports::take()?;
        let mut builder = Gateway::builder().api(shop).api(sand);
        for (name, value) in variables {
            builder = builder.env(name, *value);
        }
        builder = builder.api(folder.path().join("plain"));
        let gateway = ports.configure(builder).start().await?;
        let envoy = Envoy::start(program, &gateway, ports).await?;
        trireme_harness::eventually("the APIs in both", async || {
            for path in ["/shop/1.0/items/7", "/plain/items/7"] {
                let theirs = envoy.get(&gateway, path).await.ok()?;
                let ours = gateway.get(path, true).await.ok()?;
                (theirs.status == 200 && ours.status == 200).then_some(())?;
            }
            Some(())
        })
        .await;
        Ok(Some(Self {
            gateway,
            envoy,
            upstreams: [upstream, slow],
            _folder: folder,
        }))
    }

    fn router(&self) -> SocketAddr {
        self.gateway.address(Role::Router, "http")
    }

    async fn observe(&self, call: impl Future<Output = anyhow::Result<Raw>>) -> anyhow::Result<Observed> {
        let requests = || self.upstreams.iter().map(Upstream::requests).sum::<u64>();
        let before = requests();
        let raw = call.await?;
        Ok(Observed {
            raw,
            reached: requests() - before,
        })
    }
}

#[tokio::test]
async fn a_stock_envoy_gives_the_same_answers() -> anyhow::Result<()> {
    let Some(both) = Both::start(&[]).await? else {
        return Ok(());
    };
    let token = both.gateway.token("some").await?;
    let addresses = [both.router(), both.envoy.address()];
    let (mut calls, mut differences) = (0, Vec::new());
    for case in CASES {
        let mut observed = Vec::new();
        for address in addresses {
            let call = both.observe(case.http1(address, &token));
            observed.push(call.await.with_context(|| case.name)?);
        }
        if let [ours, theirs] = observed.as_slice() {
            differences.extend(difference(case, &Over::Http1, ours, theirs));
        }
        calls += 1;
        if !case.http2 {
            continue;
        }
        let mut observed = Vec::new();
        for address in addresses {
            let call = both.observe(case.http2(address, &token));
            observed.push(call.await.with_context(|| case.name)?);
        }
        if let [ours, theirs] = observed.as_slice() {
            differences.extend(difference(case, &Over::Http2, ours, theirs));
        }
        calls += 1;
    }
    println!("{calls} calls compared");
    assert!(
        differences.is_empty(),
        "{} differ\n{}",
        differences.len(),
        differences.join("\n")
    );
    both.gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn system_routes_through_a_stock_envoy() -> anyhow::Result<()> {
    let generator = [("CC_ENFORCER_JWTGENERATOR_ENABLED", "true")];
    let Some(both) = Both::start(&generator).await? else {
        return Ok(());
    };
    let mut keys = Vec::new();
    for address in [both.router(), both.envoy.address()] {
        let request = "GET /.wellknown/jwks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = both.observe(Raw::http1(address, request.as_bytes())).await?;
        assert_eq!(answer.raw.status, 200, "{answer:?}");
        keys.push(answer);
    }
    let [ours, theirs] = keys.as_slice() else {
        anyhow::bail!("two answers");
    };
    assert_eq!(ours.comparable(true), theirs.comparable(true));

    // Test tokens differ; each must open an API behind the other.
    let credentials = std::fs::read(both.gateway.data().join("security/credentials.json"))?;
    let credentials: Value = serde_json::from_slice(&credentials)?;
    let password = credentials.get("token_password").and_then(Value::as_str);
    let addresses = [both.router(), both.envoy.address()];
    let [router, envoy] = addresses;
    let mut seen = Vec::new();
    for (issuer, server) in [(router, envoy), (envoy, router)] {
        let request = both.gateway.http.post(format!("http://{issuer}/testkey"));
        let request = request.header("host", "localhost").form(&[("scope", "some")]);
        let answer = request
            .basic_auth(&both.gateway.ready.username, password)
            .send()
            .await?;
        assert_eq!(answer.status(), 200, "{issuer}");
        let token = answer.text().await?;
        let case = get("token of the other", "/shop/1.0/items/7", 200);
        let observed = both.observe(case.http1(server, &token)).await?;
        assert_eq!(observed.raw.status, case.want, "{observed:?}");
        let body: Value = serde_json::from_str(&observed.raw.body)?;
        let headers = body.get("headers").and_then(Value::as_object).cloned();
        let names: Vec<String> = headers.context("headers")?.keys().cloned().collect();
        seen.push(names);
    }
    assert_eq!(seen.first(), seen.last(), "headers that the upstream saw");
    both.gateway.stop().await?;
    Ok(())
}
