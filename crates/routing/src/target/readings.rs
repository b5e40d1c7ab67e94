//! What a path is to those who read it in another way than this gateway.
//!
//! A reader goes some of the [`STEPS`] in some order. Each path that comes of that is found, whatever the order, so that the
//! routes can be asked what it is there ([`crate::RouteTable::admit`]).
//!
//! `%3F` and `%23` are no steps: they end a path only where it is decoded before it is split, which the standard forbids (RFC 3986,
//! 2.4 and 7.3) and servers don't do: they split at the first `?` of what they get, and decode names afterwards. They are what ids and
//! titles with a question mark look like, so they pass without permission and go upstream escaped, as they came. A proxy behind this
//! gateway that decodes a path and sends it on is to be kept from that by its own settings.

use super::{Scan, Target, escape, is_delimiter, normal_path};
use crate::{Ambiguity, Permitted};

/// What a reader may do to a path of normal form that holds a mark, which gives another of that form; the kind that tells of it.
type Step = (Ambiguity, &'static str, fn(&str) -> String);

/// A path that two steps lead to is told by the later one here.
const STEPS: [Step; 6] = [
    (Ambiguity::EncodedDelimiter, "%", decode_delimiters),
    (Ambiguity::PathParameter, ";", cut),
    (Ambiguity::EmptySegment, "//", merge),
    (Ambiguity::DoubleEncoding, "%25", decode_again),
    (Ambiguity::EncodedBackslash, "%5C", |path| {
        path.replace("%5C", "/")
    }),
    (Ambiguity::EncodedSlash, "%2F", |path| path.replace("%2F", "/")),
];

/// Greatest number of readings: each is a look-up more. A path that can be read in all ways of one pass has 64.
const MAX_READINGS: usize = 64;
/// Greatest length of all readings together.
const MAX_READ_BYTES: usize = 8 * Target::MAX_BYTES;

impl Target<'_> {
    /// What the path is to others, and the kind of ambiguity that makes it so. Of little use without the routes: see
    /// [`crate::RouteTable::admit`]. None for ordinary paths.
    ///
    /// # Errors
    /// - A kind that nobody may permit and that shows in one of the readings: `..%2Fb` is a dot segment to those who decode it.
    /// - [`Ambiguity::EncodedDelimiter`] when the path has more than [`Target::MAX_DELIMITERS`].
    /// - The kind that makes more readings than are looked at.
    pub(crate) fn readings(&self) -> Result<Vec<(Ambiguity, String)>, Ambiguity> {
        if !self.has_readings() {
            return Ok(Vec::new());
        }
        let marks = self.path.bytes().filter(|byte| matches!(byte, b';' | b'%'));
        if self.delimiters && marks.count() > Self::MAX_DELIMITERS {
            return Err(Ambiguity::EncodedDelimiter);
        }
        // Each with the place of its kind among the steps.
        let mut found: Vec<(usize, String)> = Vec::new();
        let mut bytes = 0;
        let mut next = 0_usize;
        loop {
            let (last, path) = match next.checked_sub(1) {
                None => (0, &*self.path),
                Some(at) => match found.get(at) {
                    Some((last, path)) => (*last, &**path),
                    None => break,
                },
            };
            let mut new = Vec::new();
            for (place, (kind, mark, step)) in STEPS.iter().enumerate() {
                if !path.contains(mark) {
                    continue;
                }
                let reading = step(path);
                if reading == path
                    || reading == *self.path
                    || found.iter().any(|(_, known)| *known == reading)
                {
                    continue;
                }
                bytes += reading.len();
                if bytes > MAX_READ_BYTES || found.len() + new.len() >= MAX_READINGS {
                    return Err(*kind);
                }
                let scan = Scan::of(&reading).map_err(|_| *kind)?;
                if let Some(hidden) = scan.found.without(Permitted::ALL).iter().next() {
                    return Err(hidden);
                }
                new.push((last.max(place), reading));
            }
            for (place, reading) in new {
                if found.iter().all(|(_, known)| *known != reading) {
                    found.push((place, reading));
                }
            }
            next += 1;
        }
        let told = |(place, reading): (usize, String)| Some((STEPS.get(place)?.0, reading));
        Ok(found.into_iter().filter_map(told).collect())
    }
}

/// Decodes the escapes of sub-delimiters.
fn decode_delimiters(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    decoded.extend(pieces.next());
    for piece in pieces {
        match escape(piece.as_bytes()) {
            Some((byte, rest)) if is_delimiter(byte) => {
                decoded.push(char::from(byte));
                decoded.extend(rest.iter().copied().map(char::from));
            }
            _ => decoded.extend(["%", piece]),
        }
    }
    decoded
}

/// Cuts `;…` off each segment.
fn cut(path: &str) -> String {
    let names = path.split('/').map(|segment| segment.split(';').next());
    names.map(Option::unwrap_or_default).collect::<Vec<_>>().join("/")
}

/// Makes one slash of those that follow one another.
fn merge(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for part in path.split_inclusive('/') {
        if part != "/" || !merged.ends_with('/') {
            merged.push_str(part);
        }
    }
    merged
}

/// Decodes what is an escape once it has been decoded.
fn decode_again(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once("%25") {
        decoded.push_str(before);
        decoded.push_str(if escape(after.as_bytes()).is_some() {
            "%"
        } else {
            "%25"
        });
        rest = after;
    }
    decoded.push_str(rest);
    normal_path(&decoded).into_owned()
}
