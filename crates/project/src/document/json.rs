//! JSON as events. `serde_json` says whether a text is JSON; numbers, of which it keeps the value alone, are taken from the text.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::event::{Event, Events, Fault, Form};

/// The tokens of a text that is JSON.
#[derive(Debug)]
pub(super) struct Json<'t> {
    text: &'t str,
    /// Offset of what comes next.
    at: usize,
}

impl<'t> Json<'t> {
    /// The tokens of `text`, or why it is not JSON.
    pub(super) fn new(text: &'t str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<IgnoredAny>(text)?;
        Ok(Self { text, at: 0 })
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next `len` bytes.
    fn take(&mut self, len: usize) -> &'t str {
        let token = self.rest().get(..len).unwrap_or_default();
        self.at += token.len();
        token
    }
}

impl<'t> Events<'t> for Json<'t> {
    fn next(&mut self) -> Result<Event<'t>, Fault> {
        let rest = self.rest();
        let begin = rest.trim_start_matches([' ', '\t', '\r', '\n', ',', ':']);
        self.at += rest.len() - begin.len();
        Ok(match begin.as_bytes().first() {
            Some(b'{') => {
                self.take(1);
                Event::Object
            }
            Some(b'[') => {
                self.take(1);
                Event::List
            }
            Some(b'}' | b']') | None => {
                self.take(1);
                Event::End
            }
            Some(b'"') => {
                let token = self.take(quoted(begin));
                let inside = token.get(1..token.len() - 1).unwrap_or_default();
                let text = if inside.contains('\\') {
                    let text = serde_json::from_str(token).map_err(|_| self.fault("bad escape in a text"))?;
                    Cow::Owned(text)
                } else {
                    Cow::Borrowed(inside)
                };
                Event::Scalar(text, Form::Text)
            }
            Some(_) => {
                let end = begin.find([',', ']', '}', ' ', '\t', '\r', '\n']);
                Event::Scalar(self.take(end.unwrap_or(begin.len())).into(), Form::Json)
            }
        })
    }

    fn fault(&self, reason: &str) -> Fault {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        Fault {
            reason: reason.to_owned(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count(),
        }
    }
}

/// Bytes of the text in quotes that `text` begins with, quotes included.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}
