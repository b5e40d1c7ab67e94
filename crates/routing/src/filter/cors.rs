//! Cross-origin requests: whose pages may read answers, and what preflights are told. Envoy's `cors`.

use std::mem::take;
use std::sync::Arc;

use trireme_proto::envoy::extensions::filters::http::cors::v3::{Cors as OnListener, CorsPolicy};
use trireme_proto::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use trireme_proto::names::filter;

use super::seam::{Draft, Given, Http, PerRoute};
use crate::Invalid;
use crate::wire::read::{self, nothing_else, pattern, unpack};
use crate::wire::write::{boolean, pack, regex};

/// CORS policy of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Cors {
    /// Allowed origins; literal text in which `*` stands for anything.
    pub allow_origins: Vec<String>,
    /// `access-control-allow-methods`.
    pub allow_methods: Vec<String>,
    /// `access-control-allow-headers`.
    pub allow_headers: Vec<String>,
    /// `access-control-expose-headers`.
    pub expose_headers: Vec<String>,
    /// `access-control-allow-credentials`.
    pub allow_credentials: bool,
}

pub(super) const HTTP: Http = Http {
    name: filter::CORS,
    upgrades: true,
    encode: |_| pack(&OnListener {}),
    decode: |config, _, path| nothing_else(&unpack::<OnListener>(config, path)?, path),
};

/// Without a policy: one that allows nothing, which is how the filter is off for a route.
impl PerRoute for Option<Arc<Cors>> {
    fn encode(&self, draft: &mut Draft) {
        let policy = self.as_deref().map(policy).unwrap_or_default();
        draft.set(filter::CORS, pack(&policy));
    }

    fn decode(given: &mut Given<'_>) -> Result<Self, Invalid> {
        let Some((mut policy, path)) = given.take::<CorsPolicy>(filter::CORS)? else {
            return Ok(None);
        };
        if policy == CorsPolicy::default() {
            return Ok(None);
        }
        let list = &path.field("allow_origin_string_match");
        let mut allow_origins = Vec::new();
        for (index, mut matcher) in take(&mut policy.allow_origin_string_match)
            .into_iter()
            .enumerate()
        {
            let path = &list.index(index);
            allow_origins.push(match matcher.match_pattern.take() {
                Some(MatchPattern::SafeRegex(regex)) => {
                    let path = &path.field("safe_regex");
                    let pattern = pattern(regex, path)?;
                    origin(&pattern)
                        .ok_or_else(|| path.field("regex").invalid("must be literal text and .*"))?
                }
                Some(MatchPattern::Exact(text)) if !text.contains('*') => text,
                _ => return Err(path.invalid("must be safe_regex or exact")),
            });
            nothing_else(&matcher, path)?;
        }
        let names = |list: String| -> Vec<String> {
            list.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let read = Cors {
            allow_origins,
            allow_methods: names(take(&mut policy.allow_methods)),
            allow_headers: names(take(&mut policy.allow_headers)),
            expose_headers: names(take(&mut policy.expose_headers)),
            allow_credentials: read::boolean(policy.allow_credentials.take()),
        };
        nothing_else(&policy, &path)?;
        Ok(Some(Arc::new(read)))
    }
}

fn policy(cors: &Cors) -> CorsPolicy {
    let origins = cors.allow_origins.iter().map(|origin| StringMatcher {
        match_pattern: Some(MatchPattern::SafeRegex(regex(origin_pattern(origin)))),
        ..Default::default()
    });
    CorsPolicy {
        allow_origin_string_match: origins.collect(),
        allow_methods: cors.allow_methods.join(", "),
        allow_headers: cors.allow_headers.join(", "),
        expose_headers: cors.expose_headers.join(", "),
        allow_credentials: boolean(cors.allow_credentials),
        ..Default::default()
    }
}

/// Literal text, `*` as `.*`.
fn origin_pattern(origin: &str) -> String {
    let mut pattern = String::with_capacity(origin.len() + 8);
    for char in origin.chars() {
        match char {
            '*' => pattern.push_str(".*"),
            '.' | '^' | '$' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '\\' => {
                pattern.extend(['\\', char]);
            }
            other => pattern.push(other),
        }
    }
    pattern
}

/// Literal text in which `*` stands for what is `.*` in `pattern`; `None` for a pattern that is not of this kind.
fn origin(pattern: &str) -> Option<String> {
    let mut origin = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            '.' if chars.next() == Some('*') => origin.push('*'),
            // A star that stands for itself has no place in the text.
            '\\' => origin.push(
                chars
                    .next()
                    .filter(|char| char.is_ascii_punctuation() && *char != '*')?,
            ),
            '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => return None,
            other => origin.push(other),
        }
    }
    Some(origin)
}

#[cfg(test)]
mod tests {
    use trireme_proto::envoy::config::route::v3::Route;
    use trireme_proto::envoy::extensions::filters::http::ext_authz::v3::ExtAuthz;

    use super::super::seam::Reader;
    use super::super::tests::{refusal, through};
    use super::*;
    use crate::wire::read::Path;

    #[test]
    fn round_trip() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let all = Cors {
            allow_origins: names(&["*", r"https://*.a+b.example\(1)"]),
            allow_methods: names(&["GET", "PUT"]),
            allow_headers: names(&["authorization"]),
            expose_headers: names(&["x", "y"]),
            allow_credentials: true,
        };
        for policy in [None, Some(Arc::new(Cors::default())), Some(Arc::new(all))] {
            assert_eq!(through(&policy, Reader::Envoy), policy);
        }
    }

    fn given(origin: MatchPattern) -> CorsPolicy {
        CorsPolicy {
            allow_origin_string_match: vec![StringMatcher {
                match_pattern: Some(origin),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn origins_of_others_may_be_exact() {
        let mut route = Route::default();
        let policy = given(MatchPattern::Exact("https://a.b".to_owned()));
        route
            .typed_per_filter_config
            .insert(filter::CORS.to_owned(), pack(&policy));
        let mut given = Given::new(&mut route, &Path::ROOT, &Path::ROOT);
        let read = <Option<Arc<Cors>>>::decode(&mut given).expect("in the subset");
        assert_eq!(read.expect("a policy").allow_origins, ["https://a.b"]);
    }

    #[test]
    fn refuses() {
        let origin = |pattern: &str| pack(&given(MatchPattern::SafeRegex(regex(pattern.to_owned()))));
        let exact = |text: &str| pack(&given(MatchPattern::Exact(text.to_owned())));
        let age = CorsPolicy {
            max_age: "1".to_owned(),
            ..Default::default()
        };
        let literal = ".allow_origin_string_match[0].safe_regex.regex: must be literal text and .*";
        let cases = [
            (pack(&age), ".max_age: not supported"),
            (origin("http://(a|b)"), literal),
            (origin(r"http://\d"), literal),
            (origin(r"http://\*"), literal),
            (
                exact("https://*"),
                ".allow_origin_string_match[0]: must be safe_regex or exact",
            ),
            (
                pack(&ExtAuthz::default()),
                ": type \"type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz\" instead of \
                 envoy.extensions.filters.http.cors.v3.CorsPolicy",
            ),
        ];
        for (config, want) in cases {
            assert_eq!(refusal::<Option<Arc<Cors>>>(filter::CORS, config), want);
        }
    }
}
