//! Requests that any client can send.

use crate::case::{Case, Over, Tell, differs, differs_over, get, stricter};

/// A token that ended in 2001.
const EXPIRED: &str = "authorization: Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImdhdGV3YXlfY2VydGlmaWNhdGVfYWxpYXMifQ.eyJpc3MiOiJodHRwczovL2xvY2FsaG9zdDo5MDk1L3Rlc3RrZXkiLCJzdWIiOiJhZG1pbiIsImV4cCI6MTAwMDAwMDAwMCwic2NvcGUiOiJzb21lIn0.AAAA";

const SPEC_5_16: &str =
    "meant: x-envoy-* is suppressed (spec/adapter.md 5.16); Envoy suppresses only its own";
const RFC_CONNECTION: &str = "meant: what Connection names, and TE, ends here (RFC 9110 section 7.6.1)";

pub(crate) const REQUESTS: &[Case] = &[
    get("plain", "/shop/1.0/items/7", 200),
    get("query", "/shop/1.0/items/7?a=1&a=2&b=%20x&c", 200),
    get("empty query", "/shop/1.0/items/7?", 200),
    get("question marks in the query", "/shop/1.0/items/7?a?b=?", 200),
    get("encoded space", "/shop/1.0/items/a%20b", 200),
    get("encoded letter", "/shop/1.0/items/%41", 200),
    get("encoded letter of an operation", "/shop/1.0/%73coped", 403),
    differs(
        get("encoded colon", "/shop/1.0/items/a%3Ab%40c", 200),
        (200, 200),
        Tell::Ours("/base/items/a:b@c"),
        "meant: decoders take both for one (design D19); Envoy decodes unreserved characters alone",
    ),
    get("bar in the path", "/shop/1.0/items/a|b", 200),
    differs(
        get("escapes in small letters", "/shop/1.0/items/%c3%a9", 200),
        (200, 200),
        Tell::Ours("/base/items/%C3%A9"),
        "meant: a path goes on in the one form in which it is matched (design D19); Envoy leaves the letters of escapes",
    ),
    get("path parameter behind an operation", "/shop/1.0/open;v=1", 404),
    get("encoded UTF-8", "/shop/1.0/items/%C3%A9", 200),
    get("sub-delimiters", "/shop/1.0/items/a;b=c,d:e@f!$&'()*+", 200),
    get("two parameters in a segment", "/shop/1.0/pair/a-b", 200),
    get("unknown path of the API", "/shop/1.0/nothing", 404),
    get("unknown path below a resource", "/shop/1.0/items/7/8", 404),
    get("unknown API", "/elsewhere/1.0/items/7", 404),
    get("the base path alone", "/shop/1.0", 404),
    get("bare base path", "/bare/1.0", 200),
    get("bare base path with a query", "/bare/1.0?a=1", 200),
    get("bare base path of the default version", "/bare", 200),
    get("the same with a query", "/bare?a=1", 200),
    get("bare base path with a slash", "/bare/1.0/", 200),
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
    stricter("dot segments", "/shop/1.0/items/../items/7", 200, "dot_segment"),
    stricter("encoded NUL", "/shop/1.0/items/a%00b", 400, "encoded_control"),
    stricter(
        "encoded dot segments",
        "/shop/1.0/items/%2e%2e/open",
        200,
        "dot_segment",
    ),
    stricter("a single dot", "/shop/1.0/./items/7", 200, "dot_segment"),
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
    get("encoded slash that the API takes", "/plain/2.0/items/a%2Fb", 200),
    get(
        "encoded backslash that the API takes",
        "/plain/2.0/items/a%5Cb",
        200,
    ),
    get(
        "double encoding that the API takes",
        "/plain/2.0/items/a%252Fb",
        200,
    ),
    get(
        "double slash that the API takes",
        "/plain/2.0/all//a///b%2Fc",
        200,
    ),
    stricter(
        "dot segments behind what the API takes",
        "/plain/2.0/items/a%2F..%2Fb",
        200,
        "dot_segment",
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
        headers: &[
            "x-set: 0",
            "x-absent: 0",
            "x-present: 0",
            "x-removed: 0",
            "x-added: 0",
            "user-agent: somebody",
            "x-want-header: x-set=0",
            "x-want-header: x-absent=0",
            "x-want-header: x-present=0",
            "x-want-header: x-present=1",
            "x-want-header: x-removed=0",
            "x-want-header: x-served-by=0",
        ],
        ..get("headers that a path changes", "/shop/1.0/changed/7", 200)
    },
    get("headers that a path adds", "/shop/1.0/changed/8", 200),
    get(
        "headers of an error of the gateway's own",
        "/shop/1.0/changed-down",
        503,
    ),
    Case {
        token: false,
        ..get("headers of a refusal", "/shop/1.0/changed/9", 401)
    },
    Case {
        method: "OPTIONS",
        token: false,
        headers: &[
            "origin: https://shop.example",
            "access-control-request-method: GET",
        ],
        ..get("headers of a preflight", "/shop/1.0/changed/9", 200)
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
    Case {
        token: false,
        headers: &["content-type: application/grpc"],
        ..get("gRPC without a token", "/shop/1.0/items/7", 200)
    },
    Case {
        headers: &["content-type: application/grpc"],
        ..get("gRPC, unknown path", "/shop/1.0/nothing", 200)
    },
    Case {
        headers: &["content-type: application/grpc"],
        ..get("gRPC, upstream that is down", "/shop/1.0/down", 200)
    },
    get("default version", "/plain/items/7", 200),
    get("default version, version named", "/plain/2.0/items/7", 200),
    get("default version, another version", "/plain/3.0/items/7", 404),
    get(
        "production token where there is a sandbox only",
        "/sand/1.0/items/7",
        401,
    ),
    get("%-encoded base path", "/%73hop/1.0/items/7", 200),
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
    // Only that of a request chooses anything.
    Case {
        headers: &["x-want-header: x-wso2-cluster-header=of-the-upstream"],
        ..get("cluster header from the upstream", "/shop/1.0/items/7", 200)
    },
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
];
