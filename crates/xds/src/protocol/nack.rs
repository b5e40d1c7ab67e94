//! How a refusal is written into `error_detail` and read from it.

use std::collections::HashMap;

use prost::Message;
use trireme_proto::{
    envoy::service::discovery::v3::{ResourceError, ResourceName},
    google::{protobuf::Any, rpc::Status},
};

use super::{MAX_NAME_BYTES, WILDCARD};
use crate::resource::{Rejection, head, limited};

const RESOURCE_ERROR: &str = "type.googleapis.com/envoy.service.discovery.v3.ResourceError";
const INVALID_ARGUMENT: i32 = 3;
/// How Envoy's message begins when it has taken all but those it names.
const ENVOY_NAMES: [&str; 2] = [
    "Error adding/updating cluster(s) ",
    "Error adding/updating listener(s) ",
];
/// Of the readable list; beyond it only the names go over, in the details.
const MESSAGE_BYTES: usize = 16 << 10;
/// Reasons in the details, together. The names always go over: a response is below 256 KiB, so they are as well.
const REASON_BYTES: usize = 4 << 20;
/// Names that were not sent and are remembered all the same.
const MOST_OTHERS: usize = 64;

/// `error_detail` that names every refused resource.
pub(crate) fn write(rejections: &[Rejection]) -> Status {
    let mut message = String::new();
    let mut reasons = 0;
    let mut details = Vec::with_capacity(rejections.len());
    for Rejection { resource, reason, .. } in rejections {
        let reason = limited(reason);
        if message.len() < MESSAGE_BYTES {
            if !message.is_empty() {
                message.push_str("; ");
            }
            message.push_str(resource);
            message.push_str(": ");
            message.push_str(reason);
        }
        reasons += reason.len();
        let reason = if reasons < REASON_BYTES {
            reason
        } else {
            "see the other reasons"
        };
        let error = ResourceError {
            resource_name: Some(ResourceName {
                name: resource.clone(),
                ..Default::default()
            }),
            error_detail: Some(Status {
                code: INVALID_ARGUMENT,
                message: reason.to_owned(),
                ..Default::default()
            }),
        };
        details.push(Any {
            type_url: RESOURCE_ERROR.to_owned(),
            value: error.encode_to_vec(),
        });
    }
    Status {
        code: INVALID_ARGUMENT,
        message,
        details,
    }
}

/// What a peer refuses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused<'a> {
    /// Of what was sent, with reasons.
    pub(crate) sent: HashMap<&'a str, String>,
    /// Of what was not: a peer may find out only now that it cannot use something that it took earlier, and has no
    /// other answer to say so in.
    pub(crate) others: Vec<(String, String)>,
    /// The peer took the rest without remembering the versions of it, so that it misreports them when it reconnects.
    pub(crate) forgets: bool,
}

impl Refused<'_> {
    /// Nothing is named: the response may have been refused as a whole, whatever names its message happens to contain.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.others.is_empty()
    }
}

/// The names that the peer refuses, with reasons. Our own peers name them in the details; Envoy's cluster and listener
/// managers, which take the others, name theirs in the message.
pub(crate) fn read<'a>(status: &Status, sent: impl Iterator<Item = &'a str> + Clone) -> Refused<'a> {
    let mut named: HashMap<String, String> = status
        .details
        .iter()
        .filter(|any| any.type_url == RESOURCE_ERROR)
        .filter_map(|any| ResourceError::decode(any.value.as_slice()).ok())
        .filter_map(|e| Some((e.resource_name?.name, e.error_detail.unwrap_or_default().message)))
        .collect();
    let refused: HashMap<_, _> = sent
        .clone()
        .filter_map(|name| Some((name, limited(&named.remove(name)?).to_owned())))
        .collect();
    named.remove(WILDCARD);
    let mut others: Vec<_> = named
        .into_iter()
        .filter(|(name, _)| name.len() <= MAX_NAME_BYTES)
        .map(|(name, reason)| (name, limited(&reason).to_owned()))
        .collect();
    others.sort();
    others.truncate(MOST_OTHERS);
    let refused = Refused {
        sent: refused,
        others,
        forgets: false,
    };
    let message = head(&status.message, MESSAGE_BYTES);
    if !refused.is_empty() || !ENVOY_NAMES.iter().any(|prefix| message.starts_with(prefix)) {
        return refused;
    }
    let reason = limited(message);
    Refused {
        sent: sent
            .filter(|name| mentions(message, name))
            .map(|name| (name, reason.to_owned()))
            .collect(),
        others: Vec::new(),
        forgets: true,
    }
}

/// Whether the name stands in the message as a word of its own.
fn mentions(message: &str, name: &str) -> bool {
    let boundary = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || ",:;'\"()[]".contains(c));
    !name.is_empty()
        && message.match_indices(name).any(|(at, _)| {
            let (before, rest) = message.split_at(at);
            boundary(before.chars().next_back())
                && boundary(rest.get(name.len()..).and_then(|after| after.chars().next()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let status = write(&[Rejection::new("a", "field x is empty"), Rejection::new("c", "no")]);
        assert_eq!(status.message, "a: field x is empty; c: no");
        let want = HashMap::from([("a", "field x is empty".to_owned()), ("c", "no".to_owned())]);
        let got = read(&status, ["a", "b", "c"].into_iter());
        assert_eq!((got.sent, got.others), (want, Vec::new()));
    }

    #[test]
    fn what_was_not_sent_is_told_apart() {
        let status = write(&[
            Rejection::new("a", "no"),
            Rejection::new("elsewhere", "in use"),
            Rejection::new("*", "nameless"),
        ]);
        let got = read(&status, ["a", "b"].into_iter());
        assert_eq!(got.sent, HashMap::from([("a", "no".to_owned())]));
        assert_eq!(got.others, [("elsewhere".to_owned(), "in use".to_owned())]);
        let whole = write(&[Rejection::new("*", "nameless")]);
        assert!(read(&whole, ["a"].into_iter()).is_empty());
    }

    #[test]
    fn names_in_messages() {
        struct Case {
            name: &'static str,
            message: &'static str,
            want: &'static [&'static str],
        }
        let cases = [
            Case {
                name: "envoy clusters",
                message: "Error adding/updating cluster(s) one: bad, two.more: worse",
                want: &["one", "two.more"],
            },
            Case {
                name: "envoy listener",
                message: "Error adding/updating listener(s) x: address in use\n",
                want: &["x"],
            },
            Case {
                name: "part of a word",
                message: "Error adding/updating cluster(s) someone: bad, one_x: bad, two.more: bad",
                want: &["two.more"],
            },
            Case {
                name: "a name in a response that was refused as a whole",
                message: "Proto constraint validation failed: name: \"one\"",
                want: &[],
            },
            Case {
                name: "none",
                message: "out of luck",
                want: &[],
            },
            Case {
                name: "empty",
                message: "",
                want: &[],
            },
        ];
        for case in cases {
            let status = Status {
                code: 13,
                message: case.message.to_owned(),
                details: Vec::new(),
            };
            let got = read(&status, ["one", "two.more", "x"].into_iter()).sent;
            let mut names: Vec<_> = got.keys().copied().collect();
            names.sort_unstable();
            assert_eq!(names, case.want, "{}", case.name);
            assert!(got.values().all(|reason| reason == case.message), "{}", case.name);
        }
    }

    #[test]
    fn thousands_of_rejections_stay_bounded_and_all_named() {
        let names: Vec<String> = (0..20_000).map(|i| format!("resource-{i}")).collect();
        let rejections: Vec<_> = names
            .iter()
            .map(|n| Rejection::new(n, "ä".repeat(5000)))
            .collect();
        let status = write(&rejections);
        assert!(status.encoded_len() < 8 << 20, "{}", status.encoded_len());
        let got = read(&status, names.iter().map(String::as_str)).sent;
        assert_eq!(got.len(), 20_000);
        assert!(got.values().all(|reason| reason.len() <= 1024));
    }
}
