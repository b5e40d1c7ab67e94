//! Path templates as what they match: the form in which requests are compared with them.
//!
//! A request is matched in one normal form (RFC 3986 6.2.2), so the literal text of a template is brought into the same. The
//! template as written stays the name of its resource.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Literal text of a path template in the form in which requests are matched: escapes of unreserved characters and of `:` and
/// `@`, which decoders take for the same, are decoded; other escapes have upper-case digits; what may not stand in a path
/// (RFC 3986 3.3), a `%` that begins no escape included, is escaped. `/` stays. What is in that form already is left alone.
///
/// The adapter builds the patterns of its routes from it. Braces of parameters, a final `/*` and the query part of a path key
/// are syntax, and none of its business.
#[must_use]
pub fn literal(text: &str) -> Cow<'_, str> {
    let mut normal = String::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = (byte == b'%').then(|| escape(after)).flatten();
        let byte = match escaped {
            Some((byte, after)) => {
                rest = after;
                byte
            }
            None => byte,
        };
        let plain = match escaped {
            Some((byte, _)) => is_equivalent(byte),
            None => is_path(byte),
        };
        if plain {
            normal.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _written = write!(normal, "%{byte:02X}");
        }
    }
    if normal == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(normal)
    }
}

/// The byte that two hexadecimal digits stand for, and what follows them.
fn escape(after: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], rest) = after.split_first_chunk()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    Some((byte, rest))
}

/// Its escape means the same as itself.
fn is_equivalent(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte)
}

/// May stand in a path as it is.
fn is_path(byte: u8) -> bool {
    is_equivalent(byte) || b"!$&'()*+,;=/".contains(&byte)
}

/// The first escape of a sub-delimiter (RFC 3986 2.2) in the path of a template, such as `%2C`.
pub(crate) fn delimiter(path: &str) -> Option<&str> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let is_one = |at: &usize| {
        let after = path.as_bytes().get(at + 1..).unwrap_or_default();
        escape(after).is_some_and(|(byte, _)| b"!$&'()*+,;=".contains(&byte))
    };
    let at = path.match_indices('%').map(|(at, _)| at).find(is_one)?;
    path.get(at..at + 3)
}

/// What keeps a path template from being one, in words. Its query part is not looked at for braces, since nobody matches it.
///
/// A brace without its partner would be literal text (spec/adapter.md 5.3), where whoever wrote it meant a parameter; a control
/// character, which callers could only send as an escape, would stand in logs and lists as a line of its own.
pub(crate) fn fault(path: &str) -> Option<String> {
    if path.chars().any(char::is_control) {
        return Some(format!("path {path:?} has a control character"));
    }
    let mut open = false;
    for c in path.chars().take_while(|c| *c != '?') {
        match c {
            '{' if open => return Some(format!("path {path} has a {{ within braces")),
            '}' if !open => return Some(format!("path {path} has a }} without its {{")),
            '{' | '}' => open = !open,
            _ => {}
        }
    }
    open.then(|| format!("path {path} has a {{ without its }}"))
}

/// A parameter in a [`shape`].
pub(crate) const PARAMETER: &str = "{}";

/// A final `/*` in a [`shape`], after its slash.
pub(crate) const WILDCARD: &str = "{*}";

/// What a path template matches, as text: literal text in normal form, [`PARAMETER`] whatever the name, [`WILDCARD`] at the end.
/// Templates of the same shape match exactly the same requests, of another shape others.
///
/// The query part of a path and one slash at its end don't count; a brace without its partner is literal text, and so is a `*`
/// anywhere but in a final `/*` (spec/adapter.md 5.3).
pub(crate) fn shape(path: &str) -> String {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let (mut rest, wildcard) = match path.strip_suffix("/*") {
        Some(start) => (start, true),
        None => (path.strip_suffix('/').unwrap_or(path), false),
    };
    let mut shape = String::with_capacity(path.len());
    while let Some((before, inside)) = rest.split_once('{') {
        let Some((_, after)) = inside.split_once('}') else {
            break;
        };
        shape.push_str(&literal(before));
        shape.push_str(PARAMETER);
        rest = after;
    }
    shape.push_str(&literal(rest));
    if wildcard {
        shape.push('/');
        shape.push_str(WILDCARD);
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        name: &'static str,
        input: &'static str,
        want: &'static str,
    }

    fn case(name: &'static str, input: &'static str, want: &'static str) -> Case {
        Case { name, input, want }
    }

    #[test]
    fn literals() {
        let cases = [
            case(
                "what may stand in a path",
                "/aZ0-._~!$&'()*+,;=:@",
                "/aZ0-._~!$&'()*+,;=:@",
            ),
            case(
                "escapes of unreserved characters",
                "%41%7a%30%2D%2e%5F%7E",
                "Az0-._~",
            ),
            case("escapes of : and @", "a%3Ab%3ac%40", "a:b:c@"),
            case(
                "escapes of other delimiters",
                "%21%24%2b%2C%3b%3D",
                "%21%24%2B%2C%3B%3D",
            ),
            case(
                "escapes that stay",
                "%2f%5c%25%00%7b%c3%bC",
                "%2F%5C%25%00%7B%C3%BC",
            ),
            case("decoded once", "%2561%253A", "%2561%253A"),
            case(
                "% that begins no escape",
                "100%/%4/%zz/%%41/%",
                "100%25/%254/%25zz/%25A/%25",
            ),
            case("blanks", "with space\u{a0}x", "with%20space%C2%A0x"),
            case("controls", "\u{0}\t\u{7f}", "%00%09%7F"),
            case(
                "what no path has",
                "\"<>`^|{}\\[]?#",
                "%22%3C%3E%60%5E%7C%7B%7D%5C%5B%5D%3F%23",
            ),
            case(
                "letters beyond ASCII",
                "größe/\u{1f600}",
                "gr%C3%B6%C3%9Fe/%F0%9F%98%80",
            ),
            case("nothing", "", ""),
        ];
        for Case { name, input, want } in cases {
            assert_eq!(literal(input), want, "{name}");
        }
        assert!(matches!(literal("/pets/a:b"), Cow::Borrowed(_)));
    }

    #[test]
    fn delimiters() {
        let cases = [
            ("/a/%41%3a%2f", None),
            ("/a%2c/%28", Some("%2c")),
            ("/{%2C}", Some("%2C")),
            ("/%/%2/%%3B", Some("%3B")),
            ("/a?x=%2C", None),
            ("/a,b;c=(d)", None),
        ];
        for (path, want) in cases {
            assert_eq!(delimiter(path), want, "{path}");
        }
    }

    #[test]
    fn shapes() {
        let cases = [
            case("names of parameters", "/a/{user.id}/{b}.{c}", "/a/{}/{}.{}"),
            case("parameter without a name", "/{}", "/{}"),
            case("slash at the end", "/a/", "/a"),
            case("only one", "/a//", "/a/"),
            case("root", "/", ""),
            case("query", "/a/?x={y}/*", "/a"),
            case("query that begins in a brace", "/a/{id?}", "/a/%7Bid"),
            case("wildcard", "/a/{b}/*", "/a/{}/{*}"),
            case("wildcard of all", "/*", "/{*}"),
            case("wildcard before a query", "/a/*?x", "/a/{*}"),
            case("asterisks", "/*/a*/**", "/*/a*/**"),
            case("asterisk before a slash", "/a/*/", "/a/*"),
            case("open brace", "/a/{b/c", "/a/%7Bb/c"),
            case("open brace before a wildcard", "/a/{b/*", "/a/%7Bb/{*}"),
            case("braces within", "/{a{b}c}", "/{}c%7D"),
            case("slash within", "/{a/b}c", "/{}c"),
            case("escapes beside a parameter", "/%2{x}1/{y}%3Ab", "/%252{}1/{}:b"),
            case("braces in escapes", "/%7Bx%7d", "/%7Bx%7D"),
        ];
        for Case { name, input, want } in cases {
            assert_eq!(shape(input), want, "{name}");
        }
    }

    proptest::proptest! {
        /// Only what may stand in a path, and nothing that would change again.
        #[test]
        fn normal_is_normal(text in "[a-c%0-9A-Fa-f:@{}/ ä^]{0,12}|\\PC{0,8}") {
            let once = literal(&text).into_owned();
            proptest::prop_assert!(once.bytes().all(|byte| is_path(byte) || byte == b'%'), "{}", once);
            proptest::prop_assert_eq!(literal(&once), once.as_str());
        }
    }
}
