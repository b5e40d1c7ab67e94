//! Disagreements that are meant, by kind, and why. Each must be met: what is mended goes.

use std::fmt;

use trireme_reader::{Address, Definition, Demand, Level, Operation, Version};

use crate::compare::{Difference, What};

/// One kind.
struct Meant {
    name: &'static str,
    reason: &'static str,
    /// Part of a warning that must have been given, if any.
    told: &'static str,
    /// Only real documents differ so; without them it may be unused.
    real_only: bool,
    applies: fn(&Difference<'_>) -> bool,
}

/// All kinds, with how often each was used.
pub(crate) struct List(Vec<(&'static Meant, usize)>);

/// Methods that routes are made of.
const ROUTED: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// What most entries have.
const KIND: Meant = Meant {
    name: "",
    reason: "",
    told: "",
    real_only: false,
    applies: |_| false,
};

/// The first that applies counts.
const ALL: &[Meant] = &[
    // === what operations answer ===
    Meant {
        name: "methods that are not routed",
        reason: "trace, query and additionalOperations are named (A-F17, E9)",
        told: "this method is not routed",
        applies: |difference| {
            is_unanswered(difference) && difference.operation.is_some_and(|one| !is_routed(one))
        },
        ..KIND
    },
    Meant {
        name: "slashes in a row",
        reason: "a path with two readings is refused unless its API opts in (design D15, E5)",
        real_only: true,
        applies: |difference| {
            is_unanswered(difference) && difference.operation.is_some_and(|one| one.path.contains("//"))
        },
        ..KIND
    },
    // === what is refused ===
    Meant {
        name: "servers of a path without an address",
        reason: "requests must not go to the root's (D-M5): refused by name",
        applies: |difference| {
            is_refused_for(
                difference,
                "no usable address is given, and the API's servers are not meant",
            )
        },
        ..KIND
    },
    Meant {
        name: "what refuses only methods that are not routed",
        reason: "it guards nothing",
        applies: |difference| {
            let Definition {
                operations,
                refusals,
                elsewhere,
                ..
            } = difference.definition;
            let mut routed = operations.iter().filter(|one| is_routed(one));
            is_taken(difference)
                && refusals.is_empty()
                && elsewhere.is_empty()
                && routed.all(|one| one.security.refusals.is_empty())
        },
        ..KIND
    },
    Meant {
        name: "twins of which one is open by the standard's words alone",
        reason: "what the two kinds below keep closed, they ask for other security than the open one",
        applies: |difference| {
            let mut operations = difference.definition.operations.iter();
            let is_closed = |one: &Operation| {
                let security = &one.security;
                let inherits = !security.is_own && !security.is_disabled;
                security.is_kept || (inherits && security.demand == Demand::Open)
            };
            is_refused_for(difference, "matches the same requests") && operations.any(is_closed)
        },
        ..KIND
    },
    // === what is asked for ===
    Meant {
        name: "a list that is met without a credential, beside x-wso2-disable-security: false",
        reason: "the gateway's own word goes before the standard's",
        applies: |difference| {
            let is_kept = difference.operation.is_some_and(|one| one.security.is_kept);
            matches!(
                &difference.what,
                What::Demand(Demand::Open, Some(Demand::Token(_)))
            ) && is_kept
        },
        ..KIND
    },
    Meant {
        name: "a list of the root that is met without a credential",
        reason: "it opens nothing: an operation is opened by its own list alone (E4)",
        applies: |difference| {
            let inherits = difference
                .operation
                .is_some_and(|one| !one.security.is_own && !one.security.is_disabled);
            matches!(
                &difference.what,
                What::Demand(Demand::Open, Some(Demand::Token(_)))
            ) && inherits
        },
        ..KIND
    },
    // === where requests go ===
    Meant {
        name: "addresses without a scheme",
        reason: "what looks like a host is taken for one, and for http, as all endpoints are (spec/adapter.md 4.4)",
        told: "taken for http://",
        applies: |difference| {
            let no_scheme =
                |url: &str| !url.is_empty() && !url.contains("://") && !url.starts_with(['/', '.']);
            let is_first = |served: &str| {
                served.starts_with(&format!(
                    "http://{}",
                    written(difference).1.split('/').next().unwrap_or_default()
                ))
            };
            no_scheme(written(difference).1)
                && addresses(difference).is_some_and(|(read, served)| read.is_empty() && is_first(served))
        },
        ..KIND
    },
    Meant {
        name: "IPv6 addresses",
        reason: "no endpoint has one (spec/adapter.md 4.4)",
        told: "must have only letters",
        applies: |difference| {
            let host = Address::parse(written(difference).1)
                .map(|address| address.host)
                .unwrap_or_default();
            is_production(difference) && host.contains('[')
        },
        ..KIND
    },
    Meant {
        name: "hosts of OpenAPI 2.0 with a path",
        reason: "they may have none; what they spell is taken",
        told: "taken with its path",
        applies: |difference| {
            let is_unread = addresses(difference).is_some_and(|(read, _)| read.is_empty());
            difference.definition.version == Version::V2 && is_unread && is_production(difference)
        },
        ..KIND
    },
    Meant {
        name: "a first server of another scheme",
        reason: "servers are alternatives, and the next one is taken (spec/adapter.md 4.4)",
        told: "/servers/0/url: ignored: scheme",
        applies: |difference| is_without_address(difference) && written(difference).1.starts_with("ftp:"),
        ..KIND
    },
    Meant {
        name: "a first server with a variable that has no default",
        reason: "servers are alternatives, and the next one is taken (spec/adapter.md 4.4)",
        told: "has no default",
        applies: is_without_address,
        ..KIND
    },
    Meant {
        name: "a first server with a port that is none",
        reason: "servers are alternatives, and the next one is taken (spec/adapter.md 4.4)",
        told: "is not in 1..65535",
        applies: is_without_address,
        ..KIND
    },
    Meant {
        name: "a first server that names no host",
        reason: "servers are alternatives, and the next one is taken (spec/adapter.md 4.4)",
        told: "it names no host",
        applies: is_without_address,
        ..KIND
    },
];

impl List {
    pub(crate) fn new() -> Self {
        Self(ALL.iter().map(|meant| (meant, 0)).collect())
    }

    /// Whether a difference is of a kind that is meant; that kind counts as used.
    pub(crate) fn has(&mut self, difference: &Difference<'_>) -> bool {
        let told = |meant: &Meant| {
            meant.told.is_empty() || difference.told.iter().any(|warning| warning.contains(meant.told))
        };
        let found = self
            .0
            .iter_mut()
            .find(|(meant, _)| (meant.applies)(difference) && told(meant));
        found.map(|(_, used)| *used += 1).is_some()
    }

    /// Names of the kinds that nothing was of.
    pub(crate) fn unused(&self, is_whole: bool) -> Vec<&'static str> {
        let unused = self
            .0
            .iter()
            .filter(|(meant, used)| *used == 0 && (is_whole || !meant.real_only));
        unused.map(|(meant, _)| meant.name).collect()
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(meant, used)| writeln!(f, "{used:6} {}: {}", meant.name, meant.reason))
    }
}

fn is_routed(operation: &Operation) -> bool {
    ROUTED.contains(&operation.method.as_str())
}

fn is_unanswered(difference: &Difference<'_>) -> bool {
    matches!(&difference.what, What::Answer(_, served) if served.is_empty())
}

fn is_taken(difference: &Difference<'_>) -> bool {
    matches!(difference.what, What::Taken)
}

fn is_refused_for(difference: &Difference<'_>, reason: &str) -> bool {
    matches!(&difference.what, What::Refused(why) if why.contains(reason))
}

fn is_production(difference: &Difference<'_>) -> bool {
    matches!(difference.what, What::Production(..))
}

/// The reader knows no address, the gateway does.
fn is_without_address(difference: &Difference<'_>) -> bool {
    is_production(difference)
        && addresses(difference).is_some_and(|(read, served)| read.is_empty() && !served.is_empty())
}

/// Addresses by both.
fn addresses<'d>(difference: &'d Difference<'_>) -> Option<(&'d str, &'d str)> {
    match &difference.what {
        What::Production(read, served) | What::Sandbox(read, served) => Some((read, served)),
        What::Answer(..)
        | What::Demand(..)
        | What::Extra(_)
        | What::Identity(..)
        | What::Refused(_)
        | What::Taken
        | What::Ways(_) => None,
    }
}

/// Who says where production's requests go, and the first server as written.
fn written<'a>(difference: &Difference<'a>) -> (Level, &'a str) {
    let source = difference.operation.map(|operation| &operation.source);
    source.map_or((Level::Root, ""), |source| {
        (source.level, source.servers.first().map_or("", String::as_str))
    })
}
