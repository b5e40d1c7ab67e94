//! Parameters and their rules (spec/adapter.md 2.4–2.7).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::respond::RestError;

/// A decoded query string.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: Option<&str>) -> Self {
        let pairs = text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The first value under `name`; an empty one counts as absent.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

fn decode(text: &str) -> String {
    let text: Cow<'_, str> = if text.contains('+') {
        text.replace('+', " ").into()
    } else {
        text.into()
    };
    percent_encoding::percent_decode_str(&text)
        .decode_utf8_lossy()
        .into_owned()
}

/// Words that mean yes; anything else means no.
pub(super) fn truthy(text: &str) -> bool {
    const YES: [&str; 9] = ["true", "1", "yes", "ok", "y", "on", "selected", "checked", "t"];
    YES.iter().any(|word| text.eq_ignore_ascii_case(word)) || text.eq_ignore_ascii_case("enabled")
}

/// A rule on a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Name of the parameter.
    pub(super) name: &'static str,
    /// Where it stands: `query` or `body`.
    pub(super) place: &'static str,
    /// Fewest characters.
    pub(super) min: usize,
    /// Most characters.
    pub(super) max: usize,
    /// The pattern as it is told.
    pub(super) pattern: &'static str,
    /// Whether a text matches the pattern.
    pub(super) matches: fn(&str) -> bool,
}

impl Rule {
    /// The error for a parameter that isn't there.
    pub(super) fn required(&self) -> RestError {
        self.broken(602, "is required")
    }

    /// Checks length and pattern.
    pub(super) fn check(&self, text: &str) -> Result<(), RestError> {
        let length = text.chars().count();
        if length < self.min {
            return Err(self.broken(604, &format!("should be at least {} chars long", self.min)));
        }
        if length > self.max {
            return Err(self.broken(603, &format!("should be at most {} chars long", self.max)));
        }
        if !(self.matches)(text) {
            return Err(self.broken(605, &format!("should match '{}'", self.pattern)));
        }
        Ok(())
    }

    fn broken(&self, code: u16, what: &str) -> RestError {
        RestError::Validation {
            code,
            message: format!("{} in {} {what}", self.name, self.place),
        }
    }
}

pub(super) const API_NAME: Rule = Rule {
    name: "apiName",
    place: "query",
    min: 3,
    max: 255,
    pattern: "^[a-zA-Z0-9_~.-]*$",
    matches: |text| all(text, b"_~.-"),
};

pub(super) const VERSION: Rule = Rule {
    name: "version",
    place: "query",
    min: 1,
    max: 15,
    pattern: "^[a-zA-Z0-9_.-]*$",
    matches: |text| all(text, b"_.-"),
};

pub(super) const VHOST: Rule = Rule {
    name: "vhost",
    place: "query",
    min: 0,
    max: 255,
    pattern: "^(\\*|(\\*[.-])?[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?([.-]\\*)?)$",
    matches: is_host,
};

pub(super) const ENVIRONMENTS: Rule = Rule {
    name: "environments",
    place: "query",
    min: 0,
    max: 255,
    pattern: "^[\\w\\s.-]*(:[\\w\\s.-]+)*$",
    matches: |text| {
        text.split(':').enumerate().all(|(place, name)| {
            (place == 0 || !name.is_empty())
                && name.chars().all(|c| {
                    c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || matches!(c, '_' | '.' | '-')
                })
        })
    },
};

pub(super) const QUERY: Rule = Rule {
    name: "query",
    place: "query",
    min: 0,
    max: 9,
    pattern: "^[a-zA-Z:]*$",
    matches: |text| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphabetic() || byte == b':')
    },
};

pub(super) const USERNAME: Rule = Rule {
    name: "username",
    place: "body",
    min: 0,
    max: 100,
    pattern: "^[a-zA-Z0-9_~.@-]*$",
    matches: |text| all(text, b"_~.@-"),
};

pub(super) const PASSWORD: Rule = Rule {
    name: "password",
    ..USERNAME
};

/// `limit`: a whole number from 1 to 100,000,000.
pub(super) fn limit(text: &str) -> Result<usize, RestError> {
    let broken = |code, what: &str| RestError::Validation {
        code,
        message: format!("limit in query {what}"),
    };
    let number: i64 = text
        .parse()
        .map_err(|_| broken(601, &format!("must be of type int64: \"{text}\"")))?;
    if number < 1 {
        return Err(broken(609, "should be greater than or equal to 1"));
    }
    if number > 100_000_000 {
        return Err(broken(608, "should be less than or equal to 1e+08"));
    }
    usize::try_from(number).map_err(|_| broken(608, "should be less than or equal to 1e+08"))
}

/// Names joined by colons.
pub(super) fn names(text: Option<&str>) -> BTreeSet<String> {
    text.into_iter()
        .flat_map(|text| text.split(':'))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn all(text: &str, extra: &[u8]) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
}

fn is_host(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let text = ["*.", "*-"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    let text = [".*", "-*"]
        .iter()
        .find_map(|suffix| text.strip_suffix(suffix))
        .unwrap_or(text);
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    edge(text.bytes().next()) && edge(text.bytes().last()) && all(text, b".-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(outcome: Result<(), RestError>) -> u16 {
        match outcome {
            Ok(()) => 0,
            Err(RestError::Validation { code, .. }) => code,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn rules() {
        let long = "a".repeat(256);
        let cases: [(&Rule, &str, u16); 27] = [
            (&API_NAME, "Pet_Store~1.0-b", 0),
            (&API_NAME, "ab", 604),
            (&API_NAME, &long, 603),
            (&API_NAME, "Pet Store", 605),
            (&API_NAME, "Pet/Store", 605),
            (&VERSION, "1", 0),
            (&VERSION, "1.0.0-rc_1", 0),
            (&VERSION, "1234567890123456", 603),
            (&VERSION, "1~0", 605),
            (&VHOST, "localhost", 0),
            (&VHOST, "*", 0),
            (&VHOST, "*.wso2.com", 0),
            (&VHOST, "us-*", 0),
            (&VHOST, "-us", 605),
            (&VHOST, "a_b", 605),
            (&VHOST, &long, 603),
            (&ENVIRONMENTS, "Default", 0),
            (&ENVIRONMENTS, "Default:Label 1:x.y-z", 0),
            (&ENVIRONMENTS, ":a", 0),
            (&ENVIRONMENTS, "a::b", 605),
            (&ENVIRONMENTS, "a,b", 605),
            (&QUERY, "type:http", 0),
            (&QUERY, "type:https", 603),
            (&QUERY, "type=ws", 605),
            (&USERNAME, "a@b.c~_-1", 0),
            (&USERNAME, "a b", 605),
            (&PASSWORD, &long, 603),
        ];
        for (rule, text, want) in cases {
            assert_eq!(code(rule.check(text)), want, "{} {text:?}", rule.name);
        }
    }

    #[test]
    fn limits() {
        let cases = [
            ("1", 0),
            ("100000000", 0),
            ("0", 609),
            ("-1", 609),
            ("100000001", 608),
            ("ten", 601),
            ("1.5", 601),
        ];
        for (text, want) in cases {
            assert_eq!(code(limit(text).map(drop)), want, "{text}");
        }
    }

    #[test]
    fn queries_are_decoded_and_empty_values_are_absent() {
        let query = Query::parse(Some("a=1%3A2&b=&c&a=3&d=x+y&%65=6"));
        assert_eq!(query.first("a"), Some("1:2"));
        assert_eq!(query.first("b"), None);
        assert_eq!(query.first("c"), None);
        assert_eq!(query.first("d"), Some("x y"));
        assert_eq!(query.first("e"), Some("6"));
        for yes in [
            "true", "1", "Yes", "ok", "y", "ON", "selected", "checked", "t", "enabled",
        ] {
            assert!(truthy(yes), "{yes}");
        }
        for no in ["false", "0", "no", "tru", ""] {
            assert!(!truthy(no), "{no}");
        }
    }
}
