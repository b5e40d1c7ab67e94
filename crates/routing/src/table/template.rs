//! The patterns that the adapter makes (spec/adapter.md 5.3), matched without a regular expression engine.
//!
//! A compiled regular expression takes tens of kilobytes, a template about a hundred bytes; and a gateway holds
//! ten thousands of them.

use std::ops::Range;

use super::radix::{END, PARAM};
use crate::pattern::{parse_heads, parse_literal, quantified};

/// A path pattern of literals, `([^/]+)` groups and an optional tail, perhaps with alternatives for its beginning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// Alternative beginnings, in order of preference; empty when there is but one way to begin.
    heads: Box<[Box<str>]>,
    parts: Box<[Part]>,
    tail: Tail,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    /// `([^/]+)`.
    Param,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// `(/.*)*`.
    Any,
    /// Nothing follows.
    Nothing,
    /// `[/]{0,1}`.
    Slash,
}

/// What the groups of a template matched: byte ranges of the path, empty ones for groups that took no part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Captures {
    spans: [(u32, u32); Self::MAX],
    len: usize,
}

// === impl Template ===

impl Template {
    /// Reads a pattern; `None` when it is of another kind.
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let mut rest = pattern.strip_prefix('^').unwrap_or(pattern);
        let mut heads = Vec::new();
        if let Some(alternatives) = rest.strip_prefix("(?:") {
            (heads, rest) = parse_heads(alternatives)?;
        }
        let mut parts = Vec::new();
        let mut text = String::new();
        let tail = loop {
            match rest.strip_suffix('$').unwrap_or(rest) {
                "" => break Tail::Nothing,
                "[/]{0,1}" => break Tail::Slash,
                "(/.*)*" => break Tail::Any,
                _ => {}
            }
            if let Some(after) = rest.strip_prefix("([^/]+)") {
                if quantified(after) {
                    return None;
                }
                rest = after;
                flush(&mut text, &mut parts);
                parts.push(Part::Param);
            } else {
                let (literal, after) = parse_literal(rest)?;
                rest = after;
                text.push(literal);
            }
        };
        flush(&mut text, &mut parts);
        let template = Self {
            heads: heads.into(),
            parts: parts.into(),
            tail,
        };
        template.deterministic().then_some(template)
    }

    /// Number of groups.
    pub(super) fn groups(&self) -> usize {
        self.parts.iter().filter(|part| **part == Part::Param).count() + usize::from(self.tail == Tail::Any)
    }

    /// Matches the whole of `path`, which begins with the alternative of that number.
    pub(super) fn captures(&self, path: &str, head: u32) -> Option<Captures> {
        if self.heads.is_empty() {
            return self.captures_from(path, 0);
        }
        let head = self.heads.get(usize::try_from(head).ok()?)?;
        path.starts_with(&**head)
            .then(|| self.captures_from(path, head.len()))?
    }

    /// The keys under which the index finds this template, with the alternative that each begins with: one key when there are none.
    pub(super) fn keys(&self) -> Vec<(Option<&str>, Vec<u8>)> {
        let mut key = Vec::new();
        let mut whole = true;
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(text) => key.extend_from_slice(text.as_bytes()),
                Part::Param if self.ends_segment(at + 1) => key.push(PARAM),
                Part::Param => {
                    whole = false;
                    break;
                }
            }
        }
        if whole && self.tail != Tail::Any {
            key.push(END);
        }
        if self.heads.is_empty() {
            return vec![(None, key)];
        }
        self.heads
            .iter()
            .map(|head| (Some(&**head), [head.as_bytes(), &key].concat()))
            .collect()
    }

    fn captures_from(&self, path: &str, mut at: usize) -> Option<Captures> {
        let mut captures = Captures::default();
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(text) => {
                    at = path.get(at..)?.starts_with(&**text).then_some(at + text.len())?;
                }
                Part::Param => {
                    let segment = path.get(at..)?;
                    let segment = segment.split_once('/').map_or(segment, |(segment, _)| segment);
                    let len = self.param(index, segment).filter(|len| *len > 0)?;
                    captures.push(at..at + len);
                    at += len;
                }
            }
        }
        let rest = path.get(at..)?;
        match self.tail {
            Tail::Nothing => rest.is_empty().then_some(captures),
            Tail::Slash => (rest.is_empty() || rest == "/").then_some(captures),
            Tail::Any if rest.is_empty() => {
                captures.push(0..0);
                Some(captures)
            }
            Tail::Any => {
                captures.push(at..path.len());
                (rest.starts_with('/') && !rest.contains('\n')).then_some(captures)
            }
        }
    }

    /// Length of what the group at `index` takes of `segment`: as much as leaves the rest of the segment matched.
    fn param(&self, index: usize, segment: &str) -> Option<usize> {
        let suffix = self.literal(index + 1);
        if suffix.is_empty() {
            return Some(segment.len());
        }
        if self.ends_segment(index + 2) || suffix.contains('/') {
            return segment.strip_suffix(within_segment(suffix)).map(str::len);
        }
        let second = segment.strip_suffix(within_segment(self.literal(index + 3)))?;
        // The second group takes one character at least, of whatever length.
        let last = second.char_indices().next_back()?.0;
        second.get(..last)?.rfind(suffix)
    }

    /// The literal at `index`, or nothing.
    fn literal(&self, index: usize) -> &str {
        match self.parts.get(index) {
            Some(Part::Literal(text)) => text,
            Some(Part::Param) | None => "",
        }
    }

    /// Whether a segment ends before the part at `index`.
    fn ends_segment(&self, index: usize) -> bool {
        self.parts
            .get(index)
            .is_none_or(|part| matches!(part, Part::Literal(text) if text.starts_with('/')))
    }

    /// Whether one look at each segment decides: at most two groups in a segment, not adjacent.
    fn deterministic(&self) -> bool {
        let mut in_segment = 0;
        let mut after_param = false;
        self.parts.iter().all(|part| match part {
            Part::Literal(text) => {
                if text.contains('/') {
                    in_segment = 0;
                }
                after_param = false;
                text.bytes().all(|byte| byte > END)
            }
            Part::Param => {
                in_segment += 1;
                in_segment <= 2 && !std::mem::replace(&mut after_param, true)
            }
        }) && self.heads.iter().all(|head| head.bytes().all(|byte| byte > END))
    }
}

// === impl Captures ===

impl Captures {
    /// The whole and the nine groups that a substitution can name.
    const MAX: usize = 9;

    /// What group `number`, counted from 1, matched of `path`.
    pub(super) fn of<'p>(&self, number: usize, path: &'p str) -> &'p str {
        let span = number
            .checked_sub(1)
            .and_then(|at| self.spans.get(at))
            .copied()
            .unwrap_or_default();
        let bound = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        path.get(bound(span.0)..bound(span.1)).unwrap_or_default()
    }

    fn push(&mut self, span: Range<usize>) {
        let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        if let Some(slot) = self.spans.get_mut(self.len) {
            *slot = (bound(span.start), bound(span.end));
            self.len += 1;
        }
    }
}

fn flush(text: &mut String, parts: &mut Vec<Part>) {
    if !text.is_empty() {
        parts.push(Part::Literal(std::mem::take(text).into()));
    }
}

/// The part of a literal that lies in the segment where it begins.
fn within_segment(literal: &str) -> &str {
    literal.split_once('/').map_or(literal, |(within, _)| within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(pattern: &str, path: &str) -> Option<Vec<String>> {
        let template = Template::parse(pattern).unwrap_or_else(|| panic!("{pattern} is a template"));
        let heads = u32::try_from(template.heads.len().max(1)).expect("few");
        let captures = (0..heads).find_map(|head| template.captures(path, head))?;
        Some(
            (1..=template.groups())
                .map(|number| captures.of(number, path).to_owned())
                .collect(),
        )
    }

    #[test]
    fn matches_as_the_specification_says() {
        let cases: &[(&str, &str, Option<&[&str]>)] = &[
            ("^/v2/pet/([^/]+)[/]{0,1}", "/v2/pet/5", Some(&["5"])),
            ("^/v2/pet/([^/]+)[/]{0,1}", "/v2/pet/5/", Some(&["5"])),
            ("^/v2/pet/([^/]+)[/]{0,1}", "/v2/pet/5/test", None),
            ("^/v2/pet/([^/]+)[/]{0,1}", "/v2/pet/", None),
            ("^/v2/pet/([^/]+)[/]{0,1}", "/v2/pet//", None),
            ("^/v2/pet(/.*)*", "/v2/pet", Some(&[""])),
            ("^/v2/pet(/.*)*", "/v2/pet/", Some(&["/"])),
            ("^/v2/pet(/.*)*", "/v2/pet/a/b", Some(&["/a/b"])),
            ("^/v2/pet(/.*)*", "/v2/pet123", None),
            (r"^/v2/pet/([^/]+)\.api[/]{0,1}", "/v2/pet/x.api", Some(&["x"])),
            (
                r"^/v2/pet/([^/]+)\.api[/]{0,1}",
                "/v2/pet/x.api.api/",
                Some(&["x.api"]),
            ),
            (r"^/v2/pet/([^/]+)\.api[/]{0,1}", "/v2/pet/xyapi", None),
            (r"^/v2/pet/([^/]+)\.api[/]{0,1}", "/v2/pet/.api", None),
            ("^/v2/pet/pet([^/]+)[/]{0,1}", "/v2/pet/pet9", Some(&["9"])),
            ("^/v2/pet/pet([^/]+)[/]{0,1}", "/v2/pet/pet", None),
            (
                r"^/r/([^/]+)\-([^/]+)\.x/y$",
                "/r/a-b-c.x.x/y",
                Some(&["a-b", "c.x"]),
            ),
            (r"^/r/([^/]+)\-([^/]+)\.x/y$", "/r/a-.x/y", None),
            (r"^/r/([^/]+)\-([^/]+)\.x/y$", "/r/-b.x/y", None),
            ("^/r/([^/]+)--([^/]+)", "/r/a---", Some(&["a", "-"])),
            ("^(?:/a/v1|/a)/([^/]+)[/]{0,1}", "/a/v1/x", Some(&["x"])),
            ("^(?:/a/v1|/a)/([^/]+)[/]{0,1}", "/a/v1/", Some(&["v1"])),
            ("^(?:/a/v1|/a)/([^/]+)[/]{0,1}", "/a/y", Some(&["y"])),
            ("^[/]{0,1}", "/", Some(&[])),
            ("^(/.*)*", "/x/y", Some(&["/x/y"])),
            (r"^/a\+b/\{c\}[/]{0,1}", "/a+b/{c}", Some(&[])),
        ];
        for (pattern, path, want) in cases {
            let want = want.map(|groups| groups.iter().map(|&group| group.to_owned()).collect::<Vec<_>>());
            assert_eq!(groups(pattern, path), want, "{pattern} on {path}");
        }
    }

    #[test]
    fn leaves_the_rest_to_the_engine() {
        for pattern in [
            "^/a.b",
            "^/a*",
            "^/(a|b)",
            r"^/\d",
            "^/([^/]+)([^/]+)",
            "^/([^/]+)-([^/]+)-([^/]+)",
            "^/([^/]+)?",
            "^(?:/a|/b)+",
            "^(?:/a|/.)",
            "^(/.*)*x",
            "^/a|/b",
            "(?i)/a",
            "^/a\u{1}",
        ] {
            assert_eq!(Template::parse(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn keys_hold_all_that_is_certain() {
        let keys = |pattern: &str| {
            let template = Template::parse(pattern).expect("template");
            let keys = template.keys();
            keys.iter()
                .map(|(_, key)| {
                    String::from_utf8_lossy(key)
                        .replace('\0', "*")
                        .replace('\u{1}', "!")
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(keys("^/v2/pet/([^/]+)[/]{0,1}"), ["/v2/pet/*!"]);
        assert_eq!(keys("^/v2/pet/([^/]+)/x(/.*)*"), ["/v2/pet/*/x"]);
        assert_eq!(keys(r"^/v2/pet/x([^/]+)\.api"), ["/v2/pet/x"]);
        assert_eq!(keys("^(?:/a/v1|/a)/([^/]+)"), ["/a/v1/*!", "/a/*!"]);
    }
}
