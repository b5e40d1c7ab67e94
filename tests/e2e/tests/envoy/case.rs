//! One call, how it is made, and what its two answers may differ in.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::Value;
use trireme_harness::Raw;

/// Headers of an answer that say who answered, when, and how the body is framed.
const ANSWER_IGNORED: [&str; 4] = ["connection", "date", "server", "transfer-encoding"];
/// Headers at the upstream that are new for every request.
const SEEN_IGNORED: [&str; 1] = ["x-request-id"];

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) target: &'static str,
    pub(crate) host: &'static str,
    pub(crate) token: bool,
    pub(crate) headers: &'static [&'static str],
    pub(crate) body: &'static str,
    /// Sent as it is, in place of all above; `TOKEN` and `LARGE` (20 KiB) are put in.
    pub(crate) bytes: &'static str,
    /// Whether HTTP/2 can say it and is asked as well.
    pub(crate) http2: bool,
    /// Both give this status, but for what is written in `otherwise`.
    pub(crate) want: u16,
    pub(crate) otherwise: Option<Otherwise>,
}

/// Where the two are known to differ. Whether it is meant so or a fault says the reason.
pub(crate) struct Otherwise {
    pub(crate) over: Over,
    /// The router's status, and Envoy's.
    pub(crate) statuses: (u16, u16),
    pub(crate) tell: Tell,
    pub(crate) reason: &'static str,
}

#[derive(PartialEq)]
pub(crate) enum Over {
    Both,
    Http1,
    Http2,
}

/// What tells the router's answer from Envoy's, in the body or in the headers as `name: value`.
pub(crate) enum Tell {
    /// Only the router's has it.
    Ours(&'static str),
    /// Only Envoy's has it.
    Theirs(&'static str),
}

pub(crate) const fn get(name: &'static str, target: &'static str, want: u16) -> Case {
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

pub(crate) const fn bytes(name: &'static str, bytes: &'static str, want: u16) -> Case {
    Case {
        bytes,
        http2: false,
        ..get(name, "", want)
    }
}

pub(crate) const fn differs(case: Case, statuses: (u16, u16), tell: Tell, reason: &'static str) -> Case {
    differs_over(Over::Both, case, statuses, tell, reason)
}

#[expect(clippy::needless_pass_by_value, reason = "a table is written with it")]
pub(crate) const fn differs_over(
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

pub(crate) const D15: &str = "meant: a target with two readings is refused (design D15)";

/// The router answers 400 and names why, Envoy gives this status.
pub(crate) const fn stricter(
    name: &'static str,
    target: &'static str,
    theirs: u16,
    why: &'static str,
) -> Case {
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

impl Case {
    /// Over HTTP/1.1.
    pub(crate) async fn http1(&self, address: SocketAddr, token: &str) -> anyhow::Result<Raw> {
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

    /// Over HTTP/2 with prior knowledge.
    pub(crate) async fn http2(&self, address: SocketAddr, token: &str) -> anyhow::Result<Raw> {
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
pub(crate) struct Observed {
    pub(crate) raw: Raw,
    pub(crate) reached: u64,
}

impl Observed {
    /// With what the upstream saw in place of the body, less what may differ.
    pub(crate) fn comparable(&self, same_body: bool) -> (u16, BTreeMap<String, Vec<String>>, Value, u64) {
        // Envoy names the side since 1.29; the texts of the original's release are kept (spec/adapter.md 5.14).
        let sideless = |text: &str| text.replace("remote connection failure", "connection failure");
        let text = sideless(&self.raw.body);
        let mut headers = self.raw.headers.clone();
        for value in headers.values_mut().flatten() {
            *value = sideless(value);
        }
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
pub(crate) fn difference(case: &Case, over: &Over, ours: &Observed, theirs: &Observed) -> Option<String> {
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
