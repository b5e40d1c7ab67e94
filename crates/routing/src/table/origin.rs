//! CORS origins, compiled.

/// Allowed origins: literal text in which `*` stands for anything, compared with the whole origin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origins(Box<[Box<str>]>);

impl Origins {
    pub(super) fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| pattern.as_str().into()).collect())
    }

    pub(super) fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, origin))
    }
}

/// Text between stars is found from the left, the last from the right; no backtracking is needed for that.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match text.split_once(piece) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        let cases = [
            ("*", "https://a.example", true),
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "https://a.example.org", false),
            ("https://a.example", "https://axexample", false),
            ("https://*.example", "https://b.example", true),
            ("https://*.example", "https://example", false),
            ("https://*.example", "http://b.example", false),
            ("https://*.a.*.example", "https://x.a.y.a.z.example", true),
            ("https://*.a.*.example", "https://x.a.example", false),
            ("http*://*:*", "https://h:1", true),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, origin, want) in cases {
            assert_eq!(
                Origins::new(&[pattern.to_owned()]).allow(origin),
                want,
                "{pattern} on {origin}"
            );
        }
    }
}
