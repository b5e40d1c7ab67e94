//! The canonical request target (design D15).
//!
//! Path and host are read once, strictly, and never rewritten: the upstream gets the bytes that the client sent, and they
//! are the bytes that were matched, checked, limited and logged. A path that two programs may read in two ways is marked
//! as ambiguous; it is refused unless the API it belongs to opts in.
//!
//! ```
//! use trireme_routing::{Ambiguity, Target};
//!
//! let target = Target::parse("/pets/7?full=true", "Example.COM:9095")?;
//! assert_eq!((target.path, target.query), ("/pets/7", Some("full=true")));
//! assert_eq!((&*target.host.name, target.host.port), ("example.com", Some(9095)));
//!
//! let target = Target::parse("/pets/..%2Fadmin", "example.com")?;
//! // … find the route, then:
//! assert_eq!(target.admit(false), Err(Ambiguity::EncodedSlash));
//! # Ok::<(), trireme_routing::Refused>(())
//! ```

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

#[cfg(test)]
mod tests;

/// Path, query and host of a request, read once. Everything downstream of it, matcher, check, limits, log and upstream,
/// uses this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// Path as sent, always beginning with `/`.
    pub path: &'a str,
    /// Query as sent, without `?`.
    pub query: Option<&'a str>,
    /// Host.
    pub host: Host<'a>,
    /// Why the path has two readings, if it has: the first reason met. Such a request is refused unless the matched route
    /// sets `allow_ambiguous_path`; see [`Target::admit`].
    pub ambiguity: Option<Ambiguity>,
}

/// The authority of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a> {
    /// Name or address, lower case, without port and trailing dot; IPv6 addresses in brackets.
    pub name: Cow<'a, str>,
    /// Port, when one was sent.
    pub port: Option<u16>,
}

/// Why a path has two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ambiguity {
    /// `\`, which some take for `/`.
    Backslash,
    /// A segment that decodes to `.` or `..`, path parameters (`;…`) aside.
    DotSegment,
    /// `%25` followed by two hexadecimal digits, encoded or not: decoded twice it is another path.
    DoubleEncoding,
    /// `//`, which some merge.
    EmptySegment,
    /// `%5C`.
    EncodedBackslash,
    /// `%00` to `%1F` and `%7F`, which end or split strings.
    EncodedControl,
    /// `%2F`.
    EncodedSlash,
    /// A UTF-8 sequence longer than needed, such as `%C0%AF`, which lax decoders take for ASCII.
    OverlongUtf8,
}

/// A target that no route may opt in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// A control character, raw.
    #[error("control character in the target")]
    Control,
    /// `#`.
    #[error("fragment in the target")]
    Fragment,
    /// The host is neither a name nor an address, or its port is none.
    #[error("invalid host")]
    Host,
    /// `%` that is not followed by two hexadecimal digits, in the path.
    #[error("invalid percent-encoding in the path")]
    InvalidEscape,
    /// A character beyond ASCII, raw.
    #[error("non-ASCII character in the target")]
    NonAscii,
    /// The target does not begin with `/`.
    #[error("target is not a path")]
    NotAPath,
    /// A space, raw.
    #[error("space in the target")]
    Space,
    /// Path and query are longer than [`Target::MAX_BYTES`].
    #[error("target is too long")]
    TooLong,
}

// === impl Target ===

impl<'a> Target<'a> {
    /// Greatest length of path and query together.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Reads path and query (`/a/b?c=d`) and the authority (`example.com:9095`, from `Host` or `:authority`).
    ///
    /// # Errors
    /// [`Refused`] for what no route may accept. A path with two readings is not an error here: the route decides, so
    /// call [`Target::admit`] after the match.
    pub fn parse(path_and_query: &'a str, host: &'a str) -> Result<Self, Refused> {
        if path_and_query.len() > Self::MAX_BYTES {
            return Err(Refused::TooLong);
        }
        if !path_and_query.starts_with('/') {
            return Err(Refused::NotAPath);
        }
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let ambiguity = scan(path)?;
        if let Some(refused) = query.and_then(|query| query.bytes().find_map(forbidden)) {
            return Err(refused);
        }
        Ok(Self {
            path,
            query,
            host: Host::parse(host)?,
            ambiguity,
        })
    }

    /// Refuses an ambiguous path unless the matched route accepts it. Where no route matched, pass `false`.
    ///
    /// # Errors
    /// The reason, when there is one and `allow_ambiguous` is not set.
    pub fn admit(&self, allow_ambiguous: bool) -> Result<(), Ambiguity> {
        match self.ambiguity {
            Some(reason) if !allow_ambiguous => Err(reason),
            Some(_) | None => Ok(()),
        }
    }
}

// === impl Host ===

impl<'a> Host<'a> {
    /// Greatest length of a name (RFC 1035, 2.3.4).
    const MAX_NAME: usize = 253;
    /// Greatest length of a label.
    const MAX_LABEL: usize = 63;

    /// Reads an authority without user information.
    ///
    /// # Errors
    /// [`Refused::Host`].
    pub fn parse(authority: &'a str) -> Result<Self, Refused> {
        let (name, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (inner, after) = rest.split_once(']').ok_or(Refused::Host)?;
                inner.parse::<Ipv6Addr>().map_err(|_| Refused::Host)?;
                let name = authority.get(..inner.len() + 2).ok_or(Refused::Host)?;
                (
                    name,
                    if after.is_empty() {
                        None
                    } else {
                        Some(after.strip_prefix(':').ok_or(Refused::Host)?)
                    },
                )
            }
            None => {
                let (name, port) = authority
                    .split_once(':')
                    .map_or((authority, None), |(name, port)| (name, Some(port)));
                let name = name.strip_suffix('.').unwrap_or(name);
                if name.len() > Self::MAX_NAME || !name.split('.').all(is_label) {
                    return Err(Refused::Host);
                }
                (name, port)
            }
        };
        let port = port.map(parse_port).transpose()?;
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        Ok(Self { name, port })
    }
}

// === impl Ambiguity ===

impl Ambiguity {
    /// Name for answers, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backslash => "backslash",
            Self::DotSegment => "dot_segment",
            Self::DoubleEncoding => "double_encoding",
            Self::EmptySegment => "empty_segment",
            Self::EncodedBackslash => "encoded_backslash",
            Self::EncodedControl => "encoded_control",
            Self::EncodedSlash => "encoded_slash",
            Self::OverlongUtf8 => "overlong_utf8",
        }
    }
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Refused ===

impl Refused {
    /// Name for answers, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Fragment => "fragment",
            Self::Host => "host",
            Self::InvalidEscape => "invalid_escape",
            Self::NonAscii => "non_ascii",
            Self::NotAPath => "not_a_path",
            Self::Space => "space",
            Self::TooLong => "too_long",
        }
    }
}

/// What may stand raw in neither path nor query.
fn forbidden(byte: u8) -> Option<Refused> {
    match byte {
        b' ' => Some(Refused::Space),
        b'#' => Some(Refused::Fragment),
        0..=0x1f | 0x7f => Some(Refused::Control),
        0x80.. => Some(Refused::NonAscii),
        _ => None,
    }
}

/// Looks at a path once. A refusal anywhere outweighs an ambiguity.
fn scan(path: &str) -> Result<Option<Ambiguity>, Refused> {
    let mut ambiguity = None;
    let mut found = |reason| {
        ambiguity.get_or_insert(reason);
    };
    let mut segment = Segment::default();
    let mut bytes = path.as_bytes();
    // The byte before, as the lead of an overlong sequence of three or four.
    let mut lead = 0;
    // Hexadecimal digits that an encoded `%` still lacks to be an escape once more.
    let mut lacks = 0_u8;
    bytes = bytes.strip_prefix(b"/").unwrap_or(bytes);
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        if let Some(refused) = forbidden(byte) {
            return Err(refused);
        }
        let (byte, encoded) = if byte == b'%' {
            let (decoded, rest) = escape(rest).ok_or(Refused::InvalidEscape)?;
            bytes = rest;
            (decoded, true)
        } else {
            (byte, false)
        };
        match (lacks, byte.is_ascii_hexdigit()) {
            (2, true) => lacks = 1,
            (1, true) => {
                found(Ambiguity::DoubleEncoding);
                lacks = 0;
            }
            _ => lacks = 0,
        }
        match (byte, encoded) {
            (b'/', false) => {
                if segment.is_empty() {
                    found(Ambiguity::EmptySegment);
                }
                if segment.is_dots() {
                    found(Ambiguity::DotSegment);
                }
                segment = Segment::default();
                lead = 0;
                continue;
            }
            (b'/', true) => found(Ambiguity::EncodedSlash),
            (b'\\', false) => found(Ambiguity::Backslash),
            (b'\\', true) => found(Ambiguity::EncodedBackslash),
            (0..=0x1f | 0x7f, true) => found(Ambiguity::EncodedControl),
            (b'%', true) => lacks = 2,
            (0xc0 | 0xc1, true) => found(Ambiguity::OverlongUtf8),
            (0x80..=0x9f, true) if lead == 0xe0 => found(Ambiguity::OverlongUtf8),
            (0x80..=0x8f, true) if lead == 0xf0 => found(Ambiguity::OverlongUtf8),
            _ => {}
        }
        lead = byte;
        segment.push(byte);
    }
    if segment.is_dots() {
        found(Ambiguity::DotSegment);
    }
    Ok(ambiguity)
}

/// What must be known of a segment to tell whether it is a dot segment.
#[derive(Default)]
struct Segment {
    bytes: usize,
    dots: usize,
    /// A path parameter has begun: `..;x` is `..` for some.
    parameter: bool,
}

impl Segment {
    fn push(&mut self, byte: u8) {
        self.bytes += 1;
        match byte {
            b';' => self.parameter = true,
            _ if self.parameter => {}
            b'.' => self.dots += 1,
            // Never dots any more.
            _ => self.dots = usize::MAX / 2,
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn is_dots(&self) -> bool {
        self.dots == 1 || self.dots == 2
    }
}

/// The byte that two hexadecimal digits stand for, and what follows them.
fn escape(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let [high, low, rest @ ..] = bytes else {
        return None;
    };
    Some((digit(*high)? << 4 | digit(*low)?, rest))
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty()
        && label.len() <= Host::MAX_LABEL
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn parse_port(port: &str) -> Result<u16, Refused> {
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        port.parse().map_err(|_| Refused::Host)
    } else {
        Err(Refused::Host)
    }
}
