//! Answers that no upstream library would give.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::case::{Case, Tell, differs, get};

/// A call, and the bytes that the upstream answers before it closes the connection.
pub(crate) struct Answer {
    pub(crate) case: Case,
    bytes: &'static str,
}

const fn answer(name: &'static str, target: &'static str, want: u16, bytes: &'static str) -> Answer {
    Answer {
        case: get(name, target, want),
        bytes,
    }
}

/// Targets end in what tells them apart.
pub(crate) const ANSWERS: &[Answer] = &[
    answer(
        "until the end of the connection",
        "/shop/1.0/raw/eof",
        200,
        "HTTP/1.1 200 OK\r\n\r\nbody",
    ),
    answer(
        "HTTP/1.0",
        "/shop/1.0/raw/old",
        200,
        "HTTP/1.0 200 OK\r\n\r\nbody",
    ),
    answer(
        "chunks",
        "/shop/1.0/raw/chunks",
        200,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ),
    answer(
        "trailers",
        "/shop/1.0/raw/trailers",
        200,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-trailer: 1\r\n\r\n",
    ),
    answer(
        "interim answers",
        "/shop/1.0/raw/interim",
        200,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
    ),
    answer(
        "no reason",
        "/shop/1.0/raw/reason",
        200,
        "HTTP/1.1 200 \r\ncontent-length: 4\r\n\r\nbody",
    ),
    answer(
        "status nobody knows",
        "/shop/1.0/raw/799",
        799,
        "HTTP/1.1 799 Odd\r\ncontent-length: 4\r\n\r\nbody",
    ),
    answer(
        "more than the length",
        "/shop/1.0/raw/more",
        200,
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody and more",
    ),
    answer(
        "length before chunks",
        "/shop/1.0/raw/length-chunks",
        500,
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ),
    answer(
        "length behind chunks",
        "/shop/1.0/raw/chunks-length",
        500,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ),
    answer(
        "another coding",
        "/shop/1.0/raw/coding",
        500,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ),
    answer(
        "same length twice",
        "/shop/1.0/raw/twice",
        500,
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nbody",
    ),
    answer(
        "two lengths",
        "/shop/1.0/raw/lengths",
        500,
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nbody",
    ),
    answer(
        "length that is no number",
        "/shop/1.0/raw/minus",
        500,
        "HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\nbody",
    ),
    answer("not HTTP", "/shop/1.0/raw/noise", 500, "SSH-2.0-OpenSSH\r\n\r\n"),
    answer(
        "NUL in a header",
        "/shop/1.0/raw/nul",
        500,
        "HTTP/1.1 200 OK\r\nx-a: \x00\r\ncontent-length: 4\r\n\r\nbody",
    ),
    answer(
        "space before the colon",
        "/shop/1.0/raw/space",
        500,
        "HTTP/1.1 200 OK\r\nx-a : 1\r\ncontent-length: 4\r\n\r\nbody",
    ),
    Answer {
        case: differs(
            Case {
                http2: false,
                ..get("protocol that nobody asked for", "/shop/1.0/raw/101", 500)
            },
            (500, 101),
            Tell::Ours("102515"),
            "meant: what follows would not be HTTP; Envoy passes the 101, over HTTP/2 it resets the stream",
        ),
        bytes: "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    },
    Answer {
        case: differs(
            get("end within the head", "/shop/1.0/raw/half", 503),
            (503, 500),
            Tell::Ours("102510"),
            "fault, harmless: hyper tells an end within the head from one before it by nothing",
        ),
        bytes: "HTTP/1.1 200 OK\r\ncontent-le",
    },
    answer("no answer", "/shop/1.0/raw/none", 503, ""),
    answer(
        "204 with a body",
        "/shop/1.0/raw/204",
        204,
        "HTTP/1.1 204 No Content\r\n\r\nbody",
    ),
    answer(
        "304 with a length",
        "/shop/1.0/raw/304",
        304,
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\n",
    ),
    answer(
        "205",
        "/shop/1.0/raw/205",
        205,
        "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
    ),
    answer(
        "letters beyond ASCII in a header",
        "/shop/1.0/raw/latin",
        200,
        "HTTP/1.1 200 OK\r\nx-a: \u{e9}\r\ncontent-length: 4\r\n\r\nbody",
    ),
];

/// An upstream that gives them.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Scripted {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                calls.spawn(serve(stream));
            }
        });
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let target = head.split(' ').nth(1).unwrap_or_default();
    let known = ANSWERS.iter().find(|answer| answer.case.target.ends_with(target));
    stream
        .write_all(known.map_or("", |answer| answer.bytes).as_bytes())
        .await?;
    stream.shutdown().await
}
