//! The canonical request target (design D15).
//!
//! Path and host are read once, strictly. A path is brought into one normal form, [`normal_path`], which is what is matched,
//! checked, limited and sent upstream; the query stays as it came. A path that two programs may read in two ways even so
//! is marked as ambiguous, with every kind of reason ([`Ambiguity`]); it is refused unless the API it belongs to opts in to
//! all of them.
//!
//! ```
//! use trireme_routing::{Ambiguity, Permitted, Target};
//!
//! let target = Target::parse("/pets/7?full=true", "Example.COM:9095")?;
//! assert_eq!((&*target.path, target.query), ("/pets/7", Some("full=true")));
//! assert_eq!((&*target.host.name, target.host.port), ("example.com", Some(9095)));
//!
//! let target = Target::parse("/p%65ts/%c3%a9?q=%65", "example.com")?;
//! assert_eq!((&*target.path, target.query), ("/pets/%C3%A9", Some("q=%65")));
//!
//! let target = Target::parse("/pets/a%2Fb", "example.com")?;
//! // … find the route, which says what it takes, then:
//! assert_eq!(target.admit(Permitted::NONE), Err(Ambiguity::EncodedSlash));
//! assert_eq!(target.admit(Permitted::ENCODED_SLASH), Ok(()));
//! # Ok::<(), trireme_routing::Refused>(())
//! ```

use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::{Ambiguities, Ambiguity, Permitted};

mod readings;
#[cfg(test)]
mod tests;

/// Path, query and host of a request, read once. Everything downstream of it, matcher, check, limits, log and upstream,
/// uses this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// Path in normal form, always beginning with `/`; borrowed when it was sent in that form.
    pub path: Cow<'a, str>,
    /// Query as sent, without `?`.
    pub query: Option<&'a str>,
    /// Host.
    pub host: Host<'a>,
    /// Why the path has two readings, if it has: every kind of reason. Such a request is refused unless the matched route
    /// takes them all; see [`Target::admit`].
    pub ambiguities: Ambiguities,
    /// The path holds `;` or an escape of a sub-delimiter; see [`Target::readings`].
    delimiters: bool,
}

/// The authority of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a> {
    /// Name or address, lower case, without port and trailing dot; IPv6 addresses in brackets.
    pub name: Cow<'a, str>,
    /// Port, when one was sent.
    pub port: Option<u16>,
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
    /// Greatest number of `;` and escapes in a path that holds a `;` or an escaped sub-delimiter.
    pub const MAX_DELIMITERS: usize = 256;

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
        let scan = Scan::of(path)?;
        if let Some(refused) = query.and_then(|query| query.bytes().find_map(forbidden)) {
            return Err(refused);
        }
        Ok(Self {
            path: if scan.differs {
                normal_path(path)
            } else {
                Cow::Borrowed(path)
            },
            query,
            host: Host::parse(host)?,
            ambiguities: scan.found,
            delimiters: scan.delimiters,
        })
    }

    /// Refuses an ambiguous path unless the matched route takes every kind of ambiguity in it. Where no route matched, it is
    /// [`Permitted::NONE`].
    ///
    /// # Errors
    /// The first kind, by name, that is not permitted.
    pub fn admit(&self, permitted: Permitted) -> Result<(), Ambiguity> {
        let refused = self.ambiguities.without(permitted);
        if refused.is_empty() {
            return Ok(());
        }
        refused.iter().next().map_or(Ok(()), Err)
    }

    /// Whether there is anything in the path that some read in another way.
    pub(crate) fn has_readings(&self) -> bool {
        self.delimiters || !self.ambiguities.is_empty()
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
        // A port may be empty (RFC 3986, 3.2.3).
        let port = port.filter(|port| !port.is_empty()).map(parse_port).transpose()?;
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        Ok(Self { name, port })
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

/// Brings a path, or literal text of one, into normal form (RFC 3986, 6.2.2): escapes of unreserved characters and of `:`
/// and `@` are decoded, all others stay, in upper case; what may not stand raw in a path (RFC 3986, 3.3) is encoded, and so
/// is a `%` that begins no escape. Equal paths get equal forms, and a form is its own.
///
/// Text of a template that shall match such paths goes through here as well; its parameters and its query do not.
///
/// ```
/// use trireme_routing::normal_path;
///
/// assert_eq!(normal_path("/p%65ts/%3a%7e|größe 100%"), "/pets/:~%7Cgr%C3%B6%C3%9Fe%20100%25");
/// ```
#[must_use]
pub fn normal_path(text: &str) -> Cow<'_, str> {
    let mut normal = String::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        let escaped = (byte == b'%').then(|| escape(rest)).flatten();
        let (byte, raw) = match escaped {
            Some((decoded, _)) => (decoded, is_plain(decoded)),
            None => (byte, is_plain(byte) || is_delimiter(byte) || byte == b'/'),
        };
        bytes = escaped.map_or(rest, |(_, rest)| rest);
        if raw {
            normal.push(char::from(byte));
        } else {
            let digit = |value: u8| char::from(HEX[usize::from(value & 0xf)]);
            normal.extend(['%', digit(byte >> 4), digit(byte)]);
        }
    }
    if normal == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(normal)
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// What a path may hold wherever it likes, and means the same escaped: unreserved characters (RFC 3986, 2.3), `:` and `@`.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'@')
}

/// Sub-delimiters (RFC 3986, 2.2), which may mean something else escaped.
const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    )
}

/// Bytes that [`Scan::of`] passes over.
static PASSED: [bool; 256] = {
    let mut passed = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        passed[byte as usize] = is_plain(byte) || (is_delimiter(byte) && byte != b';');
        byte += 1;
    }
    passed
};

/// What one look at a path finds.
#[derive(Default)]
struct Scan {
    found: Ambiguities,
    delimiters: bool,
    /// The path is not in normal form.
    differs: bool,
}

impl Scan {
    /// Looks at a path. A refusal anywhere outweighs an ambiguity.
    fn of(path: &str) -> Result<Self, Refused> {
        let mut scan = Self::default();
        let mut bytes = path.as_bytes();
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = rest;
            if PASSED[usize::from(byte)] {
                continue;
            }
            match byte {
                b'/' => scan.segment(rest),
                b'%' => {
                    let (decoded, after) = escape(rest).ok_or(Refused::InvalidEscape)?;
                    scan.differs |= is_plain(decoded) || rest.iter().take(2).any(u8::is_ascii_lowercase);
                    scan.escape(decoded, after);
                    bytes = after;
                }
                b';' => scan.delimiters = true,
                _ => {
                    if let Some(refused) = forbidden(byte) {
                        return Err(refused);
                    }
                    scan.differs = true;
                    if byte == b'\\' {
                        scan.found(Ambiguity::Backslash);
                    }
                }
            }
        }
        Ok(scan)
    }

    fn found(&mut self, kind: Ambiguity) {
        self.found.insert(kind);
    }

    /// Looks at the name of a segment, of which `..;x` has `..` for some.
    fn segment(&mut self, mut bytes: &[u8]) {
        match bytes.first() {
            Some(b'/') => return self.found(Ambiguity::EmptySegment),
            Some(b'.' | b'%' | b';') => {}
            Some(_) | None => return,
        }
        let mut dots = 0;
        while let Some((b'.', rest)) = unit(bytes) {
            bytes = rest;
            dots += 1;
        }
        let parameter = matches!(unit(bytes), Some((b';', _)));
        match dots {
            0 if parameter && bytes.contains(&b'/') => self.found(Ambiguity::EmptySegment),
            1 | 2 if parameter || matches!(bytes.first(), None | Some(b'/')) => {
                self.found(Ambiguity::DotSegment);
            }
            _ => {}
        }
    }

    /// Looks at an escape of `byte`, and at what comes `after` it.
    fn escape(&mut self, byte: u8, after: &[u8]) {
        let next = || unit(after).map(|(byte, _)| byte);
        match byte {
            b'/' => self.found(Ambiguity::EncodedSlash),
            b'\\' => self.found(Ambiguity::EncodedBackslash),
            0..=0x1f | 0x7f => self.found(Ambiguity::EncodedControl),
            b'%' if begins_escape(after) => self.found(Ambiguity::DoubleEncoding),
            0xc0 | 0xc1 => self.found(Ambiguity::OverlongUtf8),
            0xe0 if matches!(next(), Some(0x80..=0x9f)) => self.found(Ambiguity::OverlongUtf8),
            0xf0 if matches!(next(), Some(0x80..=0x8f)) => self.found(Ambiguity::OverlongUtf8),
            _ => self.delimiters |= is_delimiter(byte),
        }
    }
}

/// The first byte, or the one that an escape stands for, and what follows it.
fn unit(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes.split_first()? {
        (b'%', rest) => escape(rest),
        (byte, rest) => Some((*byte, rest)),
    }
}

/// Whether two hexadecimal digits follow, encoded or not.
fn begins_escape(bytes: &[u8]) -> bool {
    let digit = |bytes| unit(bytes).filter(|(byte, _)| byte.is_ascii_hexdigit());
    digit(bytes).is_some_and(|(_, rest)| digit(rest).is_some())
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
