//! Path templates as regular expressions (spec/adapter.md 5.3, 5.4). Literal text is in the form in which requests are matched,
//! so that a path has one spelling on both sides.

use trireme_project::normal::literal;

/// Expression that matches whole paths of one resource, capturing its parameters.
#[must_use]
pub(crate) fn pattern(base_path: &str, version: &str, default_version: bool, template: &str) -> String {
    let mut pattern = prefix(base_path, version, default_version);
    let template = path_of(template);
    let (steps, end) = match template.strip_suffix("/*") {
        Some(start) => (start, "(/.*)*"),
        None => (template.strip_suffix('/').unwrap_or(template), "[/]{0,1}"),
    };
    for part in parts(steps) {
        match part {
            Part::Literal(text) => escape(&literal(text), &mut pattern),
            Part::Parameter => pattern.push_str("([^/]+)"),
        }
    }
    pattern.push_str(end);
    pattern
}

/// Expression for the base path at the start of a path; a default version may leave the version out.
#[must_use]
pub(crate) fn prefix(base_path: &str, version: &str, default_version: bool) -> String {
    let base_path = base_path.trim_end_matches('/');
    let mut prefix = String::from("^");
    match unversioned(base_path, version).filter(|_| default_version) {
        Some(context) => {
            prefix.push_str("(?:");
            escape(base_path, &mut prefix);
            prefix.push('|');
            escape(&context, &mut prefix);
            prefix.push(')');
        }
        None => escape(base_path, &mut prefix),
    }
    prefix
}

/// What a matched path becomes upstream, with references to the groups of [`pattern`].
#[must_use]
pub(crate) fn substitution(endpoint_base: &str, template: &str) -> String {
    let mut substitution = String::new();
    escape_substitution(endpoint_base.trim_end_matches('/'), &mut substitution);
    let template = path_of(template);
    let (steps, wildcard) = match template.strip_suffix("/*") {
        Some(start) => (start, true),
        None => (template, false),
    };
    let mut group = 0_u32;
    for part in parts(steps) {
        match part {
            Part::Literal(text) => escape_substitution(&literal(text), &mut substitution),
            Part::Parameter => {
                group += 1;
                substitution.push_str(&format!("\\{group}"));
            }
        }
    }
    if wildcard {
        substitution.push_str(&format!("\\{}", group + 1));
    }
    substitution
}

/// Number of groups that [`pattern`] captures; RE2 substitutions can refer to nine.
#[must_use]
pub(crate) fn groups(template: &str) -> usize {
    let template = path_of(template);
    let literal = template.strip_suffix("/*").unwrap_or(template);
    let parameters = parts(literal)
        .iter()
        .filter(|part| matches!(part, Part::Parameter))
        .count();
    parameters + usize::from(literal.len() != template.len())
}

/// The base path without its last segment that is the version, `None` when there is no such segment.
#[must_use]
pub(crate) fn unversioned(base_path: &str, version: &str) -> Option<String> {
    let mut segments: Vec<&str> = base_path.split('/').collect();
    let position = segments.iter().rposition(|segment| *segment == version)?;
    segments.remove(position);
    Some(segments.join("/"))
}

fn path_of(template: &str) -> &str {
    template.split_once('?').map_or(template, |(path, _)| path)
}

enum Part<'a> {
    Literal(&'a str),
    Parameter,
}

/// Splits a template at its `{…}`; a brace without its partner is literal text.
fn parts(mut template: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    while let Some((literal, rest)) = template.split_once('{') {
        let Some((_, after)) = rest.split_once('}') else {
            break;
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        parts.push(Part::Parameter);
        template = after;
    }
    if !template.is_empty() {
        parts.push(Part::Literal(template));
    }
    parts
}

/// Literal text as a regular expression: the original leaves `.` and its like as they are, so `/v1.0` also matched
/// `/v1x0` and an API could answer for a neighbour's paths.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        if matches!(
            c,
            '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$'
        ) {
            into.push('\\');
        }
        into.push(c);
    }
}

fn escape_substitution(text: &str, into: &mut String) {
    for c in text.chars() {
        if c == '\\' {
            into.push('\\');
        }
        into.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_become_expressions_and_substitutions() {
        struct Case {
            template: &'static str,
            pattern: &'static str,
            substitution: &'static str,
        }
        let cases = [
            Case {
                template: "/pet/{petId}",
                pattern: "^/v2/pet/([^/]+)[/]{0,1}",
                substitution: "/up/pet/\\1",
            },
            Case {
                template: "/pet/",
                pattern: "^/v2/pet[/]{0,1}",
                substitution: "/up/pet/",
            },
            Case {
                template: "/pet/*",
                pattern: "^/v2/pet(/.*)*",
                substitution: "/up/pet\\1",
            },
            Case {
                template: "/*",
                pattern: "^/v2(/.*)*",
                substitution: "/up\\1",
            },
            Case {
                template: "/",
                pattern: "^/v2[/]{0,1}",
                substitution: "/up/",
            },
            Case {
                template: "/pet/{id}.api/{p}/*",
                pattern: "^/v2/pet/([^/]+)\\.api/([^/]+)(/.*)*",
                substitution: "/up/pet/\\1.api/\\2\\3",
            },
            Case {
                template: "/find?status={status}",
                pattern: "^/v2/find[/]{0,1}",
                substitution: "/up/find",
            },
            Case {
                template: "/a(b)|c$/{open",
                pattern: "^/v2/a\\(b\\)%7Cc\\$/%7Bopen[/]{0,1}",
                substitution: "/up/a(b)%7Cc$/%7Bopen",
            },
            Case {
                template: "/a/*/b\\1",
                pattern: "^/v2/a/\\*/b%5C1[/]{0,1}",
                substitution: "/up/a/*/b%5C1",
            },
            Case {
                template: "/gr\u{f6}\u{df}e/my path/%61%3ab%2f{id}",
                pattern: "^/v2/gr%C3%B6%C3%9Fe/my%20path/a:b%2F([^/]+)[/]{0,1}",
                substitution: "/up/gr%C3%B6%C3%9Fe/my%20path/a:b%2F\\1",
            },
        ];
        for case in cases {
            assert_eq!(
                pattern("/v2/", "1.0.0", false, case.template),
                case.pattern,
                "{}",
                case.template
            );
            assert_eq!(
                substitution("/up/", case.template),
                case.substitution,
                "{}",
                case.template
            );
        }
    }

    #[test]
    fn a_default_version_matches_with_and_without_it() {
        let cases = [
            ("/pets/1.0.0", "1.0.0", "^(?:/pets/1\\.0\\.0|/pets)/a[/]{0,1}"),
            ("/v2/v2", "v2", "^(?:/v2/v2|/v2)/a[/]{0,1}"),
            ("/v2/pets", "v2", "^(?:/v2/pets|/pets)/a[/]{0,1}"),
            ("/pets", "1.0.0", "^/pets/a[/]{0,1}"),
        ];
        for (base_path, version, want) in cases {
            assert_eq!(pattern(base_path, version, true, "/a"), want, "{base_path}");
        }
    }

    /// Definitions are read by one crate and requests by another; what they take for the same path must agree.
    #[test]
    fn literals_have_the_form_of_requests() {
        const PIECES: [&str; 24] = [
            "a", "Z", "%", "%2", "%41", "%6d", "%3A", "%40", "%2f", "%2C", "%c3%b6", "%C3", "\u{f6}", " ",
            "|", "{", "}", "\\", ";", ",", "@", "/", "~", "\u{7f}",
        ];
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let text: String = (0..random.usize(0..8))
                .map(|_| PIECES[random.usize(..PIECES.len())])
                .collect();
            let normal = literal(&text);
            assert_eq!(
                normal,
                trireme_routing::normal_path(&text),
                "seed {seed}: {text:?}"
            );
            if let Ok(target) = trireme_routing::Target::parse(&format!("/{normal}"), "localhost") {
                assert_eq!(target.path, format!("/{normal}"), "seed {seed}: {text:?}");
            }
        }
    }

    #[test]
    fn groups_are_counted() {
        let cases = [("/a", 0), ("/{a}/{b}", 2), ("/{a}/*", 2), ("/*", 1)];
        for (template, want) in cases {
            assert_eq!(groups(template), want, "{template}");
        }
    }
}
