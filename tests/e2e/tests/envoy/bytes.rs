//! Bytes that no client library would send.

use crate::case::{Case, D15, Tell, bytes, differs};

pub(crate) const BYTES: &[Case] = &[
    bytes(
        "large header",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\nx-large: MEDIUM\r\n\r\n",
        200,
    ),
    bytes(
        "larger header",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\nx-large: LARGE\r\n\r\n",
        200,
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
        "meant: two hosts are two readings (design D15); RFC 9112 section 3.2.2 and Envoy take the target's",
    ),
    bytes(
        "HTTP/1.0",
        "GET /shop/1.0/items/7 HTTP/1.0\r\nhost: localhost\r\nauthorization: Bearer TOKEN\r\n\r\n",
        426,
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
    bytes(
        "length beside chunks",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        400,
    ),
    bytes(
        "two lengths",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        400,
    ),
    bytes(
        "length that is no number",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: -1\r\n\r\n",
        400,
    ),
    bytes(
        "another transfer coding",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    bytes(
        "space before the colon",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-a : 1\r\n\r\n",
        400,
    ),
    differs(
        bytes(
            "folded header",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-a: 1\r\n 2\r\n\r\n",
            400,
        ),
        (400, 401),
        Tell::Ours("content-length: 11"),
        "meant: refused (RFC 9112 section 5.2); Envoy unfolds it and goes on to ask for a token",
    ),
    bytes(
        "NUL in a header",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-a: 1\x002\r\n\r\n",
        400,
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
        (400, 400),
        Tell::Ours("fragment"),
        D15,
    ),
    bytes(
        "delimiters that a path may not hold",
        "GET /shop/1.0/items/{\"<>|^} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
        200,
    ),
    differs(
        bytes(
            "backslash",
            "GET /shop/1.0\\items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            400,
        ),
        (400, 200),
        Tell::Ours("backslash"),
        D15,
    ),
    bytes(
        "OPTIONS for the server",
        "OPTIONS * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        404,
    ),
    bytes(
        "CONNECT",
        "CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\nconnection: close\r\n\r\n",
        404,
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
        "length after chunks",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n1\r\na\r\n0\r\n\r\n",
        400,
    ),
    differs(
        bytes(
            "fragment of the query",
            "GET /shop/1.0/items/7?a=b#x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            400,
        ),
        (400, 400),
        Tell::Ours("fragment"),
        D15,
    ),
    differs(
        bytes(
            "asterisk without OPTIONS",
            "GET * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            404,
        ),
        (400, 400),
        Tell::Ours("not_a_path"),
        D15,
    ),
    bytes(
        "trailers of the caller",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-trailer: 1\r\n\r\n",
        200,
    ),
    bytes(
        "expectation that nobody knows",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\nexpect: the-best\r\ncontent-length: 2\r\n\r\nab",
        200,
    ),
    bytes(
        "tab and letters beyond ASCII in a header",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\nx-a: a\tb\u{e9}\r\n\r\n",
        200,
    ),
    bytes(
        "absolute form over TLS",
        "GET https://localhost/shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
        200,
    ),
    bytes(
        "absolute form without a path",
        "GET http://localhost HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
        404,
    ),
    bytes(
        "absolute form, another port",
        "GET http://localhost:1/shop/1.0/items/7 HTTP/1.1\r\nhost: localhost:1\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
        200,
    ),
    differs(
        bytes(
            "host with a dot at its end",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost.\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            404,
        ),
        (200, 404),
        Tell::Ours("/base/items/7"),
        "meant: it is the same name (design D15)",
    ),
    differs(
        bytes(
            "host with a user",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: a@localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            400,
        ),
        (400, 404),
        Tell::Ours("invalid_host"),
        D15,
    ),
    differs(
        bytes(
            "empty host",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost:\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            400,
        ),
        (400, 404),
        Tell::Theirs("Not Found"),
        "meant: 400 as without one (RFC 9112 section 3.2)",
    ),
    differs(
        bytes(
            "host with a port that is none",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost:x\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            400,
        ),
        (400, 200),
        Tell::Ours("invalid_host"),
        D15,
    ),
    differs(
        bytes(
            "two names in the host",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost, localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
            400,
        ),
        (400, 400),
        Tell::Ours("invalid_host"),
        D15,
    ),
    bytes(
        "line ends before the request",
        "\r\n\r\nGET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
        200,
    ),
    bytes(
        "bare line feeds",
        "GET /shop/1.0/items/7 HTTP/1.1\nhost: localhost\nconnection: close\nauthorization: Bearer TOKEN\n\n",
        200,
    ),
    differs(
        bytes(
            "bare carriage return",
            "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\nx-a: a\rb\r\n\r\n",
            400,
        ),
        (400, 200),
        Tell::Theirs("/base/items/7"),
        "meant: refused (RFC 9112 section 2.2); Envoy takes it out and goes on",
    ),
    bytes(
        "length with a sign",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ncontent-length: +2\r\n\r\nab",
        400,
    ),
    bytes(
        "list of lengths",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ncontent-length: 2, 2\r\n\r\nab",
        400,
    ),
    bytes(
        "same length twice",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nab",
        400,
    ),
    bytes(
        "chunked twice",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    bytes(
        "space before the colon of the coding",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    bytes(
        "tab behind the colon of the coding",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding:\tchunked\r\n\r\n0\r\n\r\n",
        200,
    ),
    bytes(
        "extension of a chunk",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked\r\n\r\n1;a=b\r\na\r\n0\r\n\r\n",
        200,
    ),
    bytes(
        "chunk size with a prefix",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        400,
    ),
    bytes(
        "chunk size with zeros",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked\r\n\r\n0001\r\na\r\n0\r\n\r\n",
        200,
    ),
    bytes(
        "chunks with bare line feeds",
        "POST /shop/1.0/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\ntransfer-encoding: chunked\r\n\r\n1\na\n0\n\n",
        400,
    ),
    bytes(
        "space in the target",
        "GET /shop/1.0/items/a b HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\n\r\n",
        400,
    ),
    bytes(
        "header without a colon",
        "GET /shop/1.0/items/7 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer TOKEN\r\nx-a\r\n\r\n",
        400,
    ),
    bytes(
        "another version",
        "GET /shop/1.0/items/7 HTTP/1.2\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        426,
    ),
];
