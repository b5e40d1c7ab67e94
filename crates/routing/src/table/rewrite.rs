//! Path rewrites, compiled.

use std::borrow::Cow;
use std::sync::Arc;

use regex_automata::Input;
use regex_automata::meta;

use super::program::{Compiler, Program};
use super::template::Captures;
use crate::snapshot::{PathMatch, Rewrite};

/// How the upstream path is made.
#[derive(Debug)]
pub(super) enum Plan {
    /// From what the match captured: the rewrite's pattern is the route's.
    Captured(Substitution),
    /// As it came.
    Keep,
    /// This path.
    Path(Box<str>),
    /// Every occurrence is replaced, as Envoy does.
    Search(Arc<meta::Regex>, Substitution),
}

/// RE2 rewrite text: literals and `\0` to `\9`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Substitution(Box<[Piece]>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Group(usize),
    Literal(Box<str>),
}

/// The part of a rewrite that is wrong.
#[derive(Debug)]
pub(super) enum Fault {
    Pattern(String),
    Substitution(String),
}

impl Plan {
    pub(super) fn compile(
        rewrite: Option<&Rewrite>,
        path: &PathMatch,
        program: &Program,
        compiler: &mut Compiler,
    ) -> Result<Self, Fault> {
        match rewrite {
            None => Ok(Self::Keep),
            Some(Rewrite::Path(path)) => Ok(Self::Path(path.as_str().into())),
            Some(Rewrite::Regex {
                pattern,
                substitution,
            }) => match (program, path) {
                // For templates the search finds what the match found: each group is as long as it can be either way.
                (Program::Template(template), PathMatch::Regex(matched)) if matched == pattern => {
                    Substitution::parse(substitution, template.groups())
                        .map(Self::Captured)
                        .map_err(Fault::Substitution)
                }
                _ => {
                    let regex = compiler.searched(pattern).map_err(Fault::Pattern)?;
                    let groups = regex.captures_len() - 1;
                    let substitution =
                        Substitution::parse(substitution, groups).map_err(Fault::Substitution)?;
                    Ok(Self::Search(regex, substitution))
                }
            },
        }
    }

    pub(super) fn apply<'p>(&self, path: &'p str, captures: &Captures) -> Cow<'p, str> {
        let rewritten = match self {
            Self::Keep => return Cow::Borrowed(path),
            Self::Path(path) => path.to_string(),
            Self::Captured(substitution) => {
                let mut text = String::with_capacity(path.len() + 16);
                substitution.expand(&mut text, |group| match group {
                    0 => path,
                    group => captures.of(group, path),
                });
                text
            }
            Self::Search(regex, substitution) => replace(regex, substitution, path),
        };
        if rewritten.is_empty() {
            Cow::Borrowed("/")
        } else {
            Cow::Owned(rewritten)
        }
    }
}

impl Substitution {
    /// Reads the text for a pattern with that many groups.
    fn parse(text: &str, groups: usize) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            if char != '\\' {
                literal.push(char);
                continue;
            }
            match chars.next() {
                Some('\\') => literal.push('\\'),
                Some(digit @ '0'..='9') => {
                    let group = usize::from(u8::try_from(digit).unwrap_or(b'0') - b'0');
                    if group > groups {
                        return Err(format!(
                            "\\{group} names a group beyond the {groups} of the pattern"
                        ));
                    }
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                    }
                    pieces.push(Piece::Group(group));
                }
                Some(_) | None => {
                    return Err("a backslash must be followed by a digit or a backslash".to_owned());
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Ok(Self(pieces.into()))
    }

    fn expand<'p>(&self, text: &mut String, group: impl Fn(usize) -> &'p str) {
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Group(number) => group(*number),
                Piece::Literal(literal) => literal,
            });
        }
    }
}

fn replace(regex: &meta::Regex, substitution: &Substitution, path: &str) -> String {
    let mut text = String::with_capacity(path.len() + 16);
    let mut done = 0;
    for found in regex.captures_iter(Input::new(path)) {
        let Some(whole) = found.get_match() else { break };
        text.push_str(path.get(done..whole.start()).unwrap_or_default());
        substitution.expand(&mut text, |group| {
            found
                .get_group(group)
                .and_then(|span| path.get(span.range()))
                .unwrap_or_default()
        });
        done = whole.end();
    }
    text.push_str(path.get(done..).unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(path_pattern: &str, pattern: &str, substitution: &str, path: &str) -> String {
        let mut compiler = Compiler::default();
        let condition = PathMatch::Regex(path_pattern.to_owned());
        let program = compiler.whole(&condition).expect("compiles");
        let rewrite = Rewrite::Regex {
            pattern: pattern.to_owned(),
            substitution: substitution.to_owned(),
        };
        let plan = Plan::compile(Some(&rewrite), &condition, &program, &mut compiler).expect("compiles");
        let captures = (0..2)
            .find_map(|key| program.matches(&condition, path, key))
            .expect("matches");
        plan.apply(path, &captures).into_owned()
    }

    #[test]
    fn rewrites_from_the_match_and_by_search_alike() {
        let cases = [
            (
                "^/v2/pet/([^/]+)[/]{0,1}",
                r"/api/pet/\1",
                "/v2/pet/5/",
                "/api/pet/5",
            ),
            ("^/v2/pet(/.*)*", r"/api/pet\1", "/v2/pet/a/b", "/api/pet/a/b"),
            ("^/v2/pet(/.*)*", r"/api/pet\1", "/v2/pet", "/api/pet"),
            ("^/v2(/.*)*", r"\1", "/v2", "/"),
            (
                "^(?:/c/v2|/c)/([^/]+)-([^/]+)",
                r"/\2/\1/\0\\",
                "/c/v2/a-b-c",
                r"/c/a-b//c/v2/a-b-c\",
            ),
        ];
        for (pattern, substitution, path, want) in cases {
            assert_eq!(
                rewritten(pattern, pattern, substitution, path),
                want,
                "{pattern} on {path}"
            );
            // The same pattern behind an empty group is no template, so it is searched.
            let searched = format!("(?:){pattern}");
            assert_eq!(
                rewritten(pattern, &searched, substitution, path),
                want,
                "{searched} on {path}"
            );
        }
    }

    #[test]
    fn a_search_replaces_every_occurrence() {
        assert_eq!(rewritten("/.*", "a", "bb", "/a/ca"), "/bb/cbb");
        assert_eq!(rewritten("/.*", "^/x", "/y", "/x/x"), "/y/x");
    }

    #[test]
    fn refuses_substitutions_that_re2_refuses() {
        for (text, groups, want) in [
            (r"/\2", 1, r"\2 names a group beyond the 1 of the pattern"),
            (
                r"/\a",
                1,
                "a backslash must be followed by a digit or a backslash",
            ),
            (r"/\", 1, "a backslash must be followed by a digit or a backslash"),
        ] {
            assert_eq!(Substitution::parse(text, groups).expect_err(text), want);
        }
    }
}
