//! Changes of headers, by the enforcer's answer or by a route: carried out here and nowhere else.

use bytes::{BufMut, BytesMut};
use http::header::{COOKIE, Entry};
use http::{HeaderMap, HeaderName, HeaderValue};
use trireme_routing::snapshot;

/// One change of a header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Which header.
    pub(crate) name: HeaderName,
    /// New value.
    pub(crate) value: HeaderValue,
    /// How it meets what is there.
    pub(crate) mode: Mode,
}

/// How a header is changed: Envoy's `HeaderAppendAction`, and what its authorization filter makes of `append`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Only when it is not there (`ADD_IF_ABSENT`).
    AddIfAbsent,
    /// As a line beside those that are there (`APPEND_IF_EXISTS_OR_ADD`).
    Append,
    /// At the end of the first line that is there; nothing without one.
    Extend,
    /// Instead of all lines that are there (`OVERWRITE_IF_EXISTS_OR_ADD`).
    Overwrite,
    /// Only instead of lines that are there (`OVERWRITE_IF_EXISTS`).
    OverwriteIfPresent,
}

impl From<snapshot::Mode> for Mode {
    fn from(mode: snapshot::Mode) -> Self {
        match mode {
            snapshot::Mode::AddIfAbsent => Self::AddIfAbsent,
            snapshot::Mode::Append => Self::Append,
            snapshot::Mode::Overwrite => Self::Overwrite,
            snapshot::Mode::OverwriteIfPresent => Self::OverwriteIfPresent,
        }
    }
}

impl Edit {
    /// Carries the change out.
    pub(crate) fn apply(self, headers: &mut HeaderMap) {
        let Self { name, value, mode } = self;
        match mode {
            Mode::AddIfAbsent => {
                headers.entry(name).or_insert(value);
            }
            Mode::Append => {
                headers.append(name, value);
            }
            Mode::Extend => {
                let separator: &[u8] = if name == COOKIE { b"; " } else { b"," };
                if let Entry::Occupied(mut line) = headers.entry(name) {
                    let first = line.get_mut();
                    *first = joined(first, separator, &value);
                }
            }
            Mode::Overwrite => {
                headers.insert(name, value);
            }
            Mode::OverwriteIfPresent => {
                if let Entry::Occupied(mut lines) = headers.entry(name) {
                    lines.insert(value);
                }
            }
        }
    }
}

fn joined(first: &HeaderValue, separator: &[u8], value: &HeaderValue) -> HeaderValue {
    let length = first.len() + separator.len() + value.len();
    let mut line = BytesMut::with_capacity(length);
    for part in [first.as_bytes(), separator, value.as_bytes()] {
        line.put_slice(part);
    }
    // Two values make a value.
    HeaderValue::from_maybe_shared(line.freeze()).unwrap_or_else(|_| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(there: &[(&'static str, &'static str)], name: &'static str, mode: Mode) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for &(name, value) in there {
            headers.append(name, HeaderValue::from_static(value));
        }
        let edit = Edit {
            name: HeaderName::from_static(name),
            value: HeaderValue::from_static("new"),
            mode,
        };
        edit.apply(&mut headers);
        headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn every_mode_with_and_without_the_header() {
        let two: &[_] = &[("x", "1"), ("x", "2"), ("y", "3")];
        let cases: [(Mode, &[&str], &[&str]); 5] = [
            (Mode::AddIfAbsent, &["x=1", "x=2", "y=3"], &["x=new"]),
            (Mode::Append, &["x=1", "x=2", "x=new", "y=3"], &["x=new"]),
            (Mode::Extend, &["x=1,new", "x=2", "y=3"], &[]),
            (Mode::Overwrite, &["x=new", "y=3"], &["x=new"]),
            (Mode::OverwriteIfPresent, &["x=new", "y=3"], &[]),
        ];
        for (mode, there, absent) in cases {
            assert_eq!(applied(two, "x", mode), there, "{mode:?}");
            assert_eq!(applied(&[], "x", mode), absent, "{mode:?}, not there");
        }
    }

    #[test]
    fn cookies_are_extended_with_a_semicolon() {
        let there = [("cookie", "a=1"), ("cookie", "b=2")];
        assert_eq!(
            applied(&there, "cookie", Mode::Extend),
            ["cookie=a=1; new", "cookie=b=2"]
        );
    }
}
