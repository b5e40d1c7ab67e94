//! The part of RE2's syntax that patterns of routes are made of: literals, and alternatives for their beginning.

/// Reads `a|b)` after `(?:`.
pub(crate) fn parse_heads(mut rest: &str) -> Option<(Vec<Box<str>>, &str)> {
    let mut heads = Vec::new();
    let mut head = String::new();
    loop {
        if let Some(after) = rest.strip_prefix('|') {
            heads.push(std::mem::take(&mut head).into());
            rest = after;
        } else if let Some(after) = rest.strip_prefix(')') {
            heads.push(head.into());
            return (!quantified(after)).then_some((heads, after));
        } else {
            let (literal, after) = parse_literal(rest)?;
            head.push(literal);
            rest = after;
        }
    }
}

/// The beginnings of a pattern such as `^(?:/a/1\.0|/a)/b`, each with the pattern that it begins: what one expression says in one
/// place, two can say in two. `None` for patterns without alternatives.
pub(crate) fn alternatives(pattern: &str) -> Option<Vec<(String, String)>> {
    let mut rest = pattern.strip_prefix("^(?:")?;
    let (heads, after) = parse_heads(rest)?;
    let mut alternatives = Vec::with_capacity(heads.len());
    for head in heads {
        let start = rest;
        for _ in head.chars() {
            (_, rest) = parse_literal(rest)?;
        }
        let written = start.get(..start.len() - rest.len())?;
        alternatives.push((head.into(), format!("^{written}{after}")));
        rest = rest.get(1..)?;
    }
    Some(alternatives)
}

/// Reads one literal character, escaped or not, that no quantifier follows.
pub(crate) fn parse_literal(pattern: &str) -> Option<(char, &str)> {
    let mut chars = pattern.chars();
    let literal = match chars.next()? {
        '\\' => chars.next().filter(char::is_ascii_punctuation)?,
        '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => return None,
        other => other,
    };
    (!quantified(chars.as_str())).then_some((literal, chars.as_str()))
}

/// Whether a quantifier follows.
pub(crate) fn quantified(rest: &str) -> bool {
    rest.starts_with(['*', '+', '?', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_come_apart() {
        let apart = |pattern: &str| {
            let all = alternatives(pattern)?;
            Some(
                all.iter()
                    .map(|(head, whole)| format!("{head} {whole}"))
                    .collect::<Vec<_>>(),
            )
        };
        let cases: [(&str, Option<&[&str]>); 6] = [
            (
                r"^(?:/a/v1\.0|/a)/([^/]+)[/]{0,1}",
                Some(&[r"/a/v1.0 ^/a/v1\.0/([^/]+)[/]{0,1}", "/a ^/a/([^/]+)[/]{0,1}"]),
            ),
            (r"^(?:/1\|0|)(/.*)*", Some(&[r"/1|0 ^/1\|0(/.*)*", " ^(/.*)*"])),
            ("^(?:/a|/b)", Some(&["/a ^/a", "/b ^/b"])),
            ("^/a/b", None),
            ("^(?:/a|/.)/b", None),
            ("^(?:/a|/b)+", None),
        ];
        for (pattern, want) in cases {
            assert_eq!(
                apart(pattern).as_deref(),
                want.map(|want| want.iter().map(|&one| one.to_owned()).collect::<Vec<_>>())
                    .as_deref(),
                "{pattern}"
            );
        }
    }
}
