//! The requests that are counted, the caller that makes them and the upstream that answers them, over plain sockets.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Longest wait for a message.
const WAIT: Duration = Duration::from_secs(60);

/// The paths of the API, for its definition.
pub(super) const PATHS: &str = "  /item:
    get: { responses: { '200': { description: one } } }
    post: { responses: { '200': { description: one } } }
  /item/{id}:
    get: { responses: { '200': { description: one } } }
";

/// One request, and the status that it must have.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    method: &'static str,
    target: &'static str,
    token: bool,
    body: &'static str,
    status: u16,
}

/// Calls that are counted together, in this order.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// For the file of figures.
    pub(super) about: &'static str,
    calls: &'static [&'static Call],
}

const GET: &Call = &Call {
    method: "GET",
    target: "/bench/1.0.0/item",
    token: true,
    body: "",
    status: 200,
};
const PATH: &Call = &Call {
    target: "/bench/1.0.0/item/4711?fields=name,price&limit=20",
    ..*GET
};
const POST: &Call = &Call {
    method: "POST",
    body: r#"{"name":"trireme","rowers":170,"decks":3,"tags":["oak","fir","bronze"]}"#,
    ..*GET
};
const REFUSED: &Call = &Call {
    token: false,
    status: 401,
    ..*GET
};
const UNKNOWN: &Call = &Call {
    target: "/bench/1.0.0/nothing/here",
    status: 404,
    ..*GET
};

/// The first one is the figure to compare.
pub(super) const ROWS: [Row; 6] = [
    Row {
        name: "get",
        about: "GET with a token that the enforcer has seen before, 200: the figure to compare",
        calls: &[GET],
    },
    Row {
        name: "path",
        about: "GET with a path parameter and a query, 200",
        calls: &[PATH],
    },
    Row {
        name: "post",
        about: "POST with a JSON body of 71 bytes, 200",
        calls: &[POST],
    },
    Row {
        name: "refused",
        about: "GET without a token, 401",
        calls: &[REFUSED],
    },
    Row {
        name: "unknown",
        about: "GET of a path that no API has, 404: the enforcer is not asked",
        calls: &[UNKNOWN],
    },
    Row {
        name: "mix",
        about: "Ordinary traffic: of 20 requests 12 get, 4 path, 2 post, 1 refused, 1 unknown",
        calls: &[
            GET, GET, GET, PATH, GET, POST, GET, GET, PATH, GET, UNKNOWN, GET, GET, PATH, GET, REFUSED, GET,
            POST, GET, PATH,
        ],
    },
];

impl Call {
    fn bytes(&self, token: &str) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: localhost\r\nuser-agent: trireme-bench\r\naccept: */*\r\n",
            self.method, self.target
        );
        if self.token {
            head += &format!("authorization: Bearer {token}\r\n");
        }
        if !self.body.is_empty() {
            head += &format!(
                "content-type: application/json\r\ncontent-length: {}\r\n",
                self.body.len()
            );
        }
        (head + "\r\n" + self.body).into_bytes()
    }
}

/// One connection to the router.
#[derive(Debug)]
pub(super) struct Caller {
    stream: TcpStream,
    token: String,
    received: Vec<u8>,
}

impl Caller {
    pub(super) fn connect(router: SocketAddr, token: &str) -> anyhow::Result<Self> {
        Ok(Self {
            stream: prepared(TcpStream::connect(router)?)?,
            token: token.to_owned(),
            received: Vec::new(),
        })
    }

    /// Makes the calls of a row until there are at least `requests`, whole rounds of them; returns how many there were.
    /// Fails at an answer that is not as it should be.
    pub(super) fn play(&mut self, row: &Row, requests: usize) -> anyhow::Result<usize> {
        let calls: Vec<_> = row
            .calls
            .iter()
            .map(|call| (call.bytes(&self.token), call.status))
            .collect();
        let rounds = requests.div_ceil(calls.len());
        for _ in 0..rounds {
            for (bytes, status) in &calls {
                let found = self.call(bytes)?;
                if found != *status {
                    bail!("{}: {found} instead of {status}", row.name);
                }
            }
        }
        Ok(rounds * calls.len())
    }

    /// The status of one call.
    fn call(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.received.clear();
        self.stream.write_all(request)?;
        if !receive(&mut self.stream, &mut self.received)? {
            bail!("the router closed the connection");
        }
        let line = self.received.get(..12).unwrap_or_default();
        let status = str::from_utf8(line)
            .ok()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "));
        status
            .and_then(|status| status.parse().ok())
            .context("status line")
    }
}

/// Answers every request with the same 100 bytes of JSON. Its threads end with the value; the callers must be gone then.
#[derive(Debug)]
pub(super) struct Upstream {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    pub(super) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            std::thread::scope(|scope| {
                while let Ok((stream, _)) = listener.accept()
                    && !stopped.load(Ordering::Relaxed)
                {
                    // A connection that breaks concerns its peer, which reports it.
                    scope.spawn(|| drop(answer(stream)));
                }
            });
        });
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it up.
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn answer(stream: TcpStream) -> anyhow::Result<()> {
    let mut stream = prepared(stream)?;
    let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(86));
    let answer = format!(
        "HTTP/1.1 200 OK\r\nserver: upstream\r\ndate: Fri, 02 Jan 2026 03:04:05 GMT\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut received = Vec::new();
    while receive(&mut stream, &mut received)? {
        received.clear();
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn prepared(stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WAIT))?;
    Ok(stream)
}

/// Reads one message; false when the connection ends before its first byte.
fn receive(stream: &mut TcpStream, received: &mut Vec<u8>) -> anyhow::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 && received.is_empty() {
            return Ok(false);
        }
        if read == 0 {
            bail!("the connection ended within a message");
        }
        received.extend_from_slice(buffer.get(..read).unwrap_or_default());
        match length(received)? {
            Some(length) if length == received.len() => return Ok(true),
            Some(_) => bail!("more than one message"),
            None => {}
        }
    }
}

/// Length of the message that the bytes begin with, once they hold all of it. It must have its length in its head, and the
/// connection must go on.
fn length(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(head) = bytes.windows(END.len()).position(|window| window == END) else {
        return Ok(None);
    };
    let text = str::from_utf8(bytes.get(..head).unwrap_or_default())?;
    let mut body = 0;
    for line in text.lines().skip(1) {
        let (name, value) = line.split_once(':').context("header")?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "connection" if value.eq_ignore_ascii_case("close") => bail!("the connection is to be closed"),
            "content-length" => body = value.parse::<usize>()?,
            "transfer-encoding" => bail!("a message without its length"),
            _ => {}
        }
    }
    let whole = head.saturating_add(END.len()).saturating_add(body);
    Ok((bytes.len() >= whole).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_whole_with_its_body() {
        for (name, text, want) in [
            ("half a head", "GET / HTTP/1.1\r\nhost: a\r\n", Some(None)),
            ("no body", "GET / HTTP/1.1\r\nhost: a\r\n\r\n", Some(Some(27))),
            (
                "half a body",
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
                Some(None),
            ),
            (
                "a body",
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
                Some(Some(41)),
            ),
            (
                "a part of the next",
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc",
                Some(Some(39)),
            ),
            (
                "chunks",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                None,
            ),
            ("the last", "HTTP/1.1 200 OK\r\nconnection: Close\r\n\r\n", None),
        ] {
            assert_eq!(length(text.as_bytes()).ok(), want, "{name}");
        }
    }

    #[test]
    fn caller_and_upstream_understand_each_other() {
        let upstream = Upstream::start().unwrap();
        let mut caller = Caller::connect(upstream.address(), "token").unwrap();
        let [get, _, post, refused, _, _] = &ROWS;
        assert_eq!(caller.play(get, 3).unwrap(), 3);
        assert_eq!(caller.play(post, 1).unwrap(), 1);
        assert!(caller.play(refused, 1).is_err());
    }

    #[test]
    fn the_rows_are_as_they_are_described() {
        let [.., post, _, _, mix] = &ROWS;
        assert!(post.about.contains(&format!(" {} bytes", POST.body.len())));
        assert_eq!(mix.calls.len(), 20);
        for (call, times) in [(GET, 12), (PATH, 4), (POST, 2), (REFUSED, 1), (UNKNOWN, 1)] {
            let found = mix.calls.iter().filter(|found| **found == call).count();
            assert_eq!(found, times, "{} {}", call.method, call.target);
        }
    }
}
