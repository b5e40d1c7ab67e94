//! Path conditions, compiled.

use std::collections::HashMap;
use std::sync::Arc;

use regex_automata::meta;
use regex_automata::util::syntax;

use super::radix::END;
use super::template::{Captures, Template};
use crate::pattern::parse_literal;
use crate::snapshot::PathMatch;

/// Greatest size of one compiled expression, in bytes; the original's router bounds RE2 programs at 1000 instructions.
const MAX_PROGRAM: usize = 256 * 1024;
/// Greatest length of a pattern, in bytes.
const MAX_PATTERN: usize = 8 * 1024;

/// A path condition in the form in which it is tried.
#[derive(Debug, Clone)]
pub(super) enum Program {
    /// Compare with the route's own string.
    Literal,
    /// An expression of any other kind, anchored at both ends.
    Regex(Arc<meta::Regex>),
    /// What the adapter makes.
    Template(Arc<Template>),
}

/// Compiles, giving equal patterns one program: the methods of a resource share theirs.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    whole: HashMap<String, Program>,
    searched: HashMap<String, Arc<meta::Regex>>,
}

impl Program {
    /// The same for equal conditions of one compiler, and for all that are literal.
    pub(super) fn id(&self) -> *const () {
        match self {
            Self::Literal => std::ptr::null(),
            Self::Regex(regex) => Arc::as_ptr(regex).cast(),
            Self::Template(template) => Arc::as_ptr(template).cast(),
        }
    }

    /// Matches the whole of `path` (or its beginning, for a prefix condition), found by the key of that number.
    pub(super) fn matches(&self, condition: &PathMatch, path: &str, key: u32) -> Option<Captures> {
        let matched = match (self, condition) {
            (Self::Template(template), _) => return template.captures(path, key),
            (Self::Regex(regex), _) => regex.is_match(path),
            (Self::Literal, PathMatch::Exact(whole)) => path == whole,
            (Self::Literal, PathMatch::Prefix(prefix)) => path.starts_with(prefix.as_str()),
            (Self::Literal, PathMatch::Regex(_)) => false,
        };
        matched.then(Captures::default)
    }

    /// The keys under which the index finds the condition: each path that matches satisfies or begins with one of them. With
    /// each goes the base path that it is for, where the condition has several.
    pub(super) fn keys(&self, condition: &PathMatch) -> Vec<(Option<&str>, Vec<u8>)> {
        let (text, whole) = match (self, condition) {
            (Self::Template(template), _) => return template.keys(),
            (_, PathMatch::Exact(text)) => (text.clone(), true),
            (_, PathMatch::Prefix(text)) => (text.clone(), false),
            (_, PathMatch::Regex(pattern)) => (literal_prefix(pattern), false),
        };
        // The index gives the two lowest bytes another meaning.
        let plain = text.bytes().take_while(|byte| *byte > END).count();
        let mut key: Vec<u8> = text.into_bytes();
        key.truncate(plain);
        if whole && key.len() == plain && plain > 0 {
            key.push(END);
        }
        vec![(None, key)]
    }
}

impl Compiler {
    /// Compiles a condition, to be matched as a whole.
    pub(super) fn whole(&mut self, condition: &PathMatch) -> Result<Program, String> {
        let PathMatch::Regex(pattern) = condition else {
            return Ok(Program::Literal);
        };
        if let Some(program) = self.whole.get(pattern) {
            return Ok(program.clone());
        }
        let program = match Template::parse(pattern) {
            Some(template) => Program::Template(Arc::new(template)),
            None => {
                // Alone first: an unbalanced pattern must not balance itself against the anchors.
                check(pattern)?;
                Program::Regex(Arc::new(compile(&format!(r"\A(?:{pattern})\z"))?))
            }
        };
        self.whole.insert(pattern.clone(), program.clone());
        Ok(program)
    }

    /// Compiles a pattern that is searched for.
    pub(super) fn searched(&mut self, pattern: &str) -> Result<Arc<meta::Regex>, String> {
        if let Some(regex) = self.searched.get(pattern) {
            return Ok(Arc::clone(regex));
        }
        check(pattern)?;
        let regex = Arc::new(compile(pattern)?);
        self.searched.insert(pattern.to_owned(), Arc::clone(&regex));
        Ok(regex)
    }
}

/// Paths are ASCII, and RE2's classes are too.
fn dialect() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false).nest_limit(50)
}

fn check(pattern: &str) -> Result<(), String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("pattern is longer than {MAX_PATTERN} bytes"));
    }
    match syntax::parse_with(pattern, &dialect()) {
        Ok(_) => Ok(()),
        Err(error) => Err(one_line(&error)),
    }
}

fn compile(pattern: &str) -> Result<meta::Regex, String> {
    // No automata that grow with use: thousands of these share a small process.
    let config = meta::Config::new()
        .nfa_size_limit(Some(MAX_PROGRAM))
        .hybrid(false)
        .dfa(false)
        .onepass(false)
        .auto_prefilter(false)
        .utf8_empty(false);
    meta::Builder::new()
        .configure(config)
        .syntax(dialect())
        .build(pattern)
        .map_err(|error| {
            let Some(limit) = error.size_limit() else {
                return error
                    .syntax_error()
                    .map_or_else(|| one_line(&error), |error| one_line(error));
            };
            format!("pattern compiles to more than {limit} bytes")
        })
}

/// The parser draws its errors over several lines; the last one says what is wrong.
fn one_line(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    format!("invalid pattern: {}", last.trim().trim_start_matches("error: "))
}

/// Literal text with which every path begins that an expression matches as a whole; perhaps less than there is.
fn literal_prefix(pattern: &str) -> String {
    let mut prefix = String::new();
    if !pattern.contains('|') {
        let mut rest = pattern.strip_prefix('^').unwrap_or(pattern);
        while let Some((literal, after)) = parse_literal(rest) {
            prefix.push(literal);
            rest = after;
        }
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_stop_at_the_first_doubt() {
        let cases = [
            ("^/a/b.c", "/a/b"),
            ("^/a/b?", "/a/"),
            (r"^/a\.b/\d", "/a.b/"),
            ("^/a|/b", ""),
            ("(?i)/a", ""),
            ("/a(?:b)", "/a"),
            ("^/a{2}", "/"),
        ];
        for (pattern, want) in cases {
            assert_eq!(literal_prefix(pattern), want, "{pattern}");
        }
    }

    #[test]
    fn refuses_what_does_not_compile() {
        let cases = [
            ("/a(", "invalid pattern: unclosed group"),
            ("/a)|(?:/b", "invalid pattern: unopened group"),
            ("/(a{1000}){1000}", "pattern compiles to more than 262144 bytes"),
        ];
        for (pattern, want) in cases {
            let error = Compiler::default()
                .whole(&PathMatch::Regex(pattern.to_owned()))
                .expect_err(pattern);
            assert_eq!(error, want, "{pattern}");
        }
        let long = PathMatch::Regex(format!("/.{}", "a".repeat(MAX_PATTERN)));
        assert_eq!(
            Compiler::default().whole(&long).expect_err("long"),
            "pattern is longer than 8192 bytes"
        );
    }

    #[test]
    fn equal_patterns_share_a_program() {
        let mut compiler = Compiler::default();
        let mut program = || {
            compiler
                .whole(&PathMatch::Regex("^/a.c".to_owned()))
                .expect("compiles")
        };
        let (Program::Regex(first), Program::Regex(second)) = (program(), program()) else {
            panic!("an expression");
        };
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn expressions_match_the_whole_path() {
        let mut compiler = Compiler::default();
        for (pattern, path, want) in [
            ("^/a.c", "/abc", true),
            ("^/a.c", "/abcd", false),
            ("^/a|/b.*", "/b/c", true),
            ("^/a|/b.*", "/ab", false),
            ("^/a.*?", "/a/b", true),
        ] {
            let condition = PathMatch::Regex(pattern.to_owned());
            let program = compiler.whole(&condition).expect(pattern);
            assert_eq!(
                program.matches(&condition, path, 0).is_some(),
                want,
                "{pattern} on {path}"
            );
        }
    }
}
