//! What hyper takes out of a request's head before anyone sees it, found in the caller's bytes themselves.
//!
//! hyper drops a `content-length` beside a `transfer-encoding` or beside one like itself, and `http` the fragment behind a
//! target, so a request with two readings would arrive as one with a single one (design D15). [`Heads`] reads along with
//! hyper: it follows the framing of an HTTP/1 connection, by lines in heads and between chunks, by count through what they
//! frame, so that a body is never taken for a head. Where hyper is strict it need not be; where it cannot follow, all that
//! comes later is refused.
//!
//! Characters that many clients leave as they are, and that `http` has no place for, are found here too, so that they can be
//! percent-encoded before hyper sees them.
//!
//! Over HTTP/2 nothing frames a body twice. But there `h2` reads the fields before anyone else can: a fragment is dropped
//! unseen, such a character in a `:path` is a reset of the stream, and a pseudo-header among trailers (malformed by RFC 9113
//! section 8.1) is passed over.

use std::mem::take;

use memchr::{memchr, memchr3};

use crate::error::DownstreamError;

/// Follows the bytes of one HTTP/1 caller.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// Greatest line, in bytes.
    max: usize,
    state: State,
    /// Begin of a line whose end has not come yet.
    line: Vec<u8>,
    /// Heads that were seen whole.
    seen: u64,
    /// The body of the last of them cannot end: hyper would take the next request for more of its trailers. How many bytes were
    /// left when that was seen.
    endless: Option<usize>,
    /// The last request line, as much as is of use in a log, and the number of its request.
    request: Vec<u8>,
    number: u64,
    /// Where characters to be encoded stand in the bytes last read.
    odd: Vec<usize>,
}

/// What is kept of a request line.
const KEPT: usize = 1024;

/// What the next bytes are.
#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// So many bytes of a body.
    Body(u64),
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end of a chunk.
    ChunkEnd,
    /// A header field, or the end of the head.
    Field { coded: bool, length: Option<u64> },
    /// Nothing that matters any more.
    Lost,
    /// The size of a chunk.
    Size,
    /// A request line.
    #[default]
    Start,
    /// A trailer field, or the end of the body.
    Trailer,
}

// === impl Heads ===

impl Heads {
    /// Follows heads of up to `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    /// Reads on. Gives at most once the first request to be refused, counted from 1, and why; so are all after it.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) -> Option<(u64, DownstreamError)> {
        let whole = bytes.len();
        self.odd.clear();
        while !bytes.is_empty() {
            if matches!(self.state, State::Start) {
                self.mark(bytes, whole - bytes.len());
            }
            let next = match self.state {
                State::Lost => return None,
                State::Body(left) => skip(&mut bytes, left).map_or(State::Start, State::Body),
                State::Chunk(left) => skip(&mut bytes, left).map_or(State::ChunkEnd, State::Chunk),
                state => match self.line(&mut bytes, state)? {
                    Ok(next) => next,
                    Err(error) => {
                        self.endless = matches!(state, State::Trailer).then_some(bytes.len());
                        self.state = State::Lost;
                        return Some((self.seen + 1, error));
                    }
                },
            };
            self.state = next;
        }
        None
    }

    /// How many of the bytes last read came after a line that leaves the body under way without an end, if there was one.
    pub(crate) const fn endless(&self) -> Option<usize> {
        self.endless
    }

    /// Where in the bytes last read the characters stand that `http` has no place for, in order.
    pub(crate) fn odd(&self) -> &[usize] {
        &self.odd
    }

    /// The line of a request, counted from 1, if it is the last one that was read.
    pub(crate) fn request(&self, number: u64) -> Option<&[u8]> {
        (self.number == number).then_some(&self.request)
    }

    /// Looks for such characters in what is here of a request line, which begins at `offset` of the bytes read.
    fn mark(&mut self, bytes: &[u8], offset: usize) {
        let end = memchr(b'\n', bytes).unwrap_or(bytes.len());
        let line = bytes.get(..end).unwrap_or_default();
        if memchr3(b'<', b'>', b'`', line).is_none() && memchr(b'"', line).is_none() {
            return;
        }
        let before = |byte| memchr(byte, &self.line).is_some();
        let (mut target, mut query) = (before(b' '), before(b'?'));
        for (at, byte) in line.iter().enumerate() {
            let odd = match byte {
                b'<' | b'>' => true,
                b'`' => !query,
                b'"' => query,
                _ => false,
            };
            if odd && target {
                self.odd.push(offset + at);
            }
            target |= *byte == b' ';
            query |= *byte == b'?';
        }
    }

    /// Reads one line; none when its end has not come.
    fn line(&mut self, bytes: &mut &[u8], state: State) -> Option<Result<State, DownstreamError>> {
        let end = memchr(b'\n', bytes);
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        *bytes = rest;
        // hyper takes no longer line either.
        if self.line.len() + line.len() > self.max {
            return Some(Err(DownstreamError::Framing));
        }
        if end.is_none() {
            self.line.extend_from_slice(line);
            return None;
        }
        let line = if self.line.is_empty() {
            line
        } else {
            self.line.extend_from_slice(line);
            &take(&mut self.line)
        };
        let next = state.read(line);
        if matches!((state, next), (State::Start, Ok(State::Field { .. }))) {
            self.request.clear();
            self.request
                .extend_from_slice(line.get(..KEPT).unwrap_or(line).trim_ascii_end());
            self.number = self.seen + 1;
        }
        if let (State::Field { .. }, Ok(State::Body(_) | State::Size | State::Start)) = (state, next) {
            self.seen += 1;
        }
        Some(next)
    }
}

/// Leaves out what belongs to a body; how much of it is still to come.
fn skip(bytes: &mut &[u8], left: u64) -> Option<u64> {
    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *bytes = bytes.get(here..).unwrap_or_default();
    Some(left - here as u64).filter(|left| *left > 0)
}

// === impl State ===

impl State {
    /// What comes after a line.
    fn read(self, line: &[u8]) -> Result<Self, DownstreamError> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        // hyper's parser of heads takes a bare line feed, its parser of chunks does not.
        let (text, strict) = match text.strip_suffix(b"\r") {
            Some(text) => (text, true),
            None => (text, false),
        };
        match self {
            Self::Start if text.is_empty() => Ok(self),
            Self::Start => request_line(text),
            Self::Field { coded, length } => field(text, coded, length),
            Self::Size if strict => size(text),
            Self::ChunkEnd if strict && text.is_empty() => Ok(Self::Size),
            Self::Trailer if strict && text.is_empty() => Ok(Self::Start),
            Self::Trailer if strict => Ok(self),
            Self::Body(_) | Self::Chunk(_) | Self::ChunkEnd | Self::Lost | Self::Size | Self::Trailer => {
                Err(DownstreamError::Framing)
            }
        }
    }
}

fn request_line(line: &[u8]) -> Result<State, DownstreamError> {
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if memchr(b'#', target).is_some() {
        return Err(DownstreamError::Fragment);
    }
    Ok(State::Field {
        coded: false,
        length: None,
    })
}

fn field(line: &[u8], coded: bool, length: Option<u64>) -> Result<State, DownstreamError> {
    if line.is_empty() {
        return match (coded, length) {
            (true, Some(_)) => Err(DownstreamError::Framing),
            (true, None) => Ok(State::Size),
            (false, Some(length)) if length > 0 => Ok(State::Body(length)),
            (false, _) => Ok(State::Start),
        };
    }
    if value(line, b"transfer-encoding").is_some() {
        return Ok(State::Field { coded: true, length });
    }
    let Some(value) = value(line, b"content-length") else {
        return Ok(State::Field { coded, length });
    };
    match number(value.trim_ascii(), 10) {
        Some(value) if length.is_none() => Ok(State::Field {
            coded,
            length: Some(value),
        }),
        _ => Err(DownstreamError::Framing),
    }
}

/// What a field of that name says.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    rest.strip_prefix(b":")
        .filter(|_| start.eq_ignore_ascii_case(name))
}

fn size(line: &[u8]) -> Result<State, DownstreamError> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    match number(line.get(..digits).unwrap_or_default(), 16) {
        Some(0) => Ok(State::Trailer),
        Some(size) => Ok(State::Chunk(size)),
        None => Err(DownstreamError::Framing),
    }
}

/// Digits and nothing else.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    u64::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";

    fn post(fields: &str, body: &str) -> String {
        format!("POST /a HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}")
    }

    /// Whatever the pieces in which the bytes come.
    fn follow(text: &str) -> Option<(u64, DownstreamError)> {
        let whole = Heads::new(60 << 10).follow(text.as_bytes());
        for size in 1..text.len().min(40) {
            let mut heads = Heads::new(60 << 10);
            let got = text.as_bytes().chunks(size).find_map(|piece| heads.follow(piece));
            assert_eq!(got, whole, "pieces of {size}: {text:?}");
        }
        whole
    }

    #[test]
    fn requests_with_one_reading_pass() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9000));
        let chunks = "5;x=#\r\nGET /\r\n4 \r\n#a b\r\n0\r\nx: /#\r\n\r\n";
        let cases = [
            ("nothing", String::new()),
            ("one", GET.to_owned()),
            ("several", GET.repeat(3)),
            ("bare line feeds", "\n\r\nGET /a HTTP/1.1\nhost: a\n\n".repeat(2)),
            ("long line", long),
            (
                "hash elsewhere",
                "G#T /a HTTP/1.1\r\nx#: #\r\nreferer: /#a\r\n\r\n".to_owned(),
            ),
            ("length", post("content-length: 12\r\n", "GET /# HTTP/") + GET),
            ("no content", post("Content-Length:0\r\n", GET)),
            ("chunks", post("transfer-encoding: chunked\r\n", chunks) + GET),
            (
                "similar names",
                post("content-lengths: 1\r\nx-transfer-encoding: a\r\n", GET),
            ),
        ];
        for (name, text) in cases {
            assert_eq!(follow(&text), None, "{name}");
            // A fault behind it is seen in its place: the framing was followed.
            let heads = text.matches("HTTP/1.1").count() as u64;
            let fault = text.clone() + "GET /a#b HTTP/1.1\r\n\r\n";
            assert_eq!(
                follow(&fault),
                Some((heads + 1, DownstreamError::Fragment)),
                "{name}"
            );
        }
    }

    #[test]
    fn two_readings_are_named() {
        let (coding, length) = ("Transfer-Encoding: chunked\r\n", "Content-Length: 4\r\n");
        let chunked = |body: &str| post(coding, body);
        let framing = DownstreamError::Framing;
        let cases = [
            ("length first", post(&format!("{length}{coding}"), ""), 1, framing),
            ("coding first", post(&format!("{coding}{length}"), ""), 1, framing),
            (
                "behind another",
                format!("{GET}{}", post(&format!("{coding}{length}"), "")),
                2,
                framing,
            ),
            (
                "two lengths",
                post(&format!("{length}content-length: 5\r\n"), ""),
                1,
                framing,
            ),
            (
                "same length twice",
                post(&format!("{length}{length}"), ""),
                1,
                framing,
            ),
            ("no number", post("content-length: +4\r\n", ""), 1, framing),
            (
                "too great",
                post("content-length: 99999999999999999999\r\n", ""),
                1,
                framing,
            ),
            (
                "fragment",
                "GET /a#b HTTP/1.1\r\n\r\n".to_owned(),
                1,
                DownstreamError::Fragment,
            ),
            (
                "in the query",
                "GET /a?b#c HTTP/1.1\r\n\r\n".to_owned(),
                1,
                DownstreamError::Fragment,
            ),
            // hyper ends a body at the next empty line that ends in CR LF; another reader at this one.
            (
                "end of trailers",
                chunked("0\r\nx: 1\n\nGET /b HTTP/1.1\r\n\r\n"),
                2,
                framing,
            ),
            ("end of a size", chunked("1\na\r\n0\r\n\r\n"), 2, framing),
            ("end of a chunk", chunked("1\r\nab\r\n0\r\n\r\n"), 2, framing),
            ("no size", chunked("\r\n"), 2, framing),
            (
                "line without an end",
                format!("GET /{} HTTP/1.1\r\n", "a".repeat(70_000)),
                1,
                framing,
            ),
        ];
        for (name, text, number, error) in cases {
            assert_eq!(follow(&text), Some((number, error)), "{name}");
        }
    }
}
