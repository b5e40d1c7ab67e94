//! Conditions of the groups of a tier (spec/enforcer.md §7.5).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use regex::{Regex, RegexBuilder};
use serde_json::Value;
use trireme_policy::throttle::{self, Addresses};

use super::caller::Caller;
use super::quota::{Inapplicable, inapplicable};
use crate::attributes::Attributes;

/// Most memory that one compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// What has to hold for a request.
#[derive(Debug)]
pub(crate) struct Condition {
    what: What,
    invert: bool,
}

#[derive(Debug)]
enum What {
    Addresses(Addresses),
    Claim(Box<str>, Regex),
    Header(Box<str>, Regex),
    Query(Box<str>, Regex),
}

impl Condition {
    pub(super) fn new(at: &str, condition: &throttle::Condition) -> Result<Self, Inapplicable> {
        // Linear in the value, whatever the pattern.
        let regex = |pattern: &str| {
            let regex = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
            regex.map_err(|error| inapplicable(format!("{at}.pattern"), error.to_string()))
        };
        let what = match &condition.what {
            throttle::What::Addresses(addresses) => What::Addresses(*addresses),
            throttle::What::Claim { name, pattern } => What::Claim(name.as_str().into(), regex(pattern)?),
            throttle::What::Header { name, pattern } => What::Header(name.as_str().into(), regex(pattern)?),
            throttle::What::Query { name, pattern } => What::Query(name.as_str().into(), regex(pattern)?),
        };
        Ok(Self {
            what,
            invert: condition.invert,
        })
    }

    /// Whether it holds. What isn't there is not found; of several parameters of a name, one is enough.
    pub(crate) fn holds(&self, attributes: &Attributes<'_>, caller: &Caller<'_>) -> bool {
        let found = match &self.what {
            What::Addresses(addresses) => caller.address().is_some_and(|address| addresses.contain(address)),
            What::Claim(name, regex) => {
                let claim = caller.token.and_then(|token| token.claim(name));
                claim.is_some_and(|claim| regex.is_match(&text(&claim)))
            }
            What::Header(name, regex) => attributes.header(name).is_some_and(|value| regex.is_match(value)),
            What::Query(name, regex) => {
                let query = attributes.query().unwrap_or_default();
                let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
                pairs.any(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    decoded(key) == **name && regex.is_match(&decoded(value))
                })
            }
        };
        found != self.invert
    }
}

/// A name or value of a query. A plus sign is itself there as well as a blank, and only forms mean the latter.
fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// A claim that is text as it is, any other as its JSON.
fn text(claim: &Value) -> Cow<'_, str> {
    match claim {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}
