//! What a route takes and what it guards, which the router alone looks at, before all filters. Envoy has none of it, so
//! that a message of ours carries it: `trireme.router.v1.RequestRules`. A stock Envoy is not told, and takes every API's
//! encoded slashes, empty segments and double encodings as sent.

use trireme_proto::names::{filter, type_url};
use trireme_proto::trireme::router::v1::RequestRules;

use super::seam::{Draft, Given, PerRoute};
use crate::wire::read::Path;
use crate::{Ambiguity, Invalid, Permitted};

/// What the operations of a route ask of callers, for routes of one API to be compared: a path that others take for another
/// route's is refused where that one asks for something else. Nothing is decided by it, that is the enforcer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Guard {
    /// A number that routes share which ask for the same; neither 0 nor 1. Wire: itself.
    Demand(u64),
    /// Nothing. Wire: 1.
    Open,
    /// It is not told, so it may be anything. Wire: 0.
    #[default]
    Untold,
}

/// The two together, as they travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rules {
    pub(crate) ambiguous_paths: Permitted,
    pub(crate) guard: Guard,
}

impl PerRoute for Rules {
    fn encode(&self, draft: &mut Draft) {
        let message = RequestRules {
            ambiguous_paths: self.ambiguous_paths.iter().map(|kind| kind.to_string()).collect(),
            guard: match self.guard {
                Guard::Demand(demand) => demand,
                Guard::Open => 1,
                Guard::Untold => 0,
            },
        };
        if message != RequestRules::default() {
            draft.set_own(filter::REQUEST, type_url::REQUEST_RULES, &message);
        }
    }

    fn decode(given: &mut Given<'_>) -> Result<Self, Invalid> {
        let Some((message, path)) = given.take_own(filter::REQUEST, type_url::REQUEST_RULES)? else {
            return Ok(Self::default());
        };
        let RequestRules {
            ambiguous_paths,
            guard,
        } = message;
        Ok(Self {
            ambiguous_paths: permitted(&ambiguous_paths, &path.field("ambiguous_paths"))?,
            guard: match guard {
                0 => Guard::Untold,
                1 => Guard::Open,
                demand => Guard::Demand(demand),
            },
        })
    }
}

/// Reads the names of kinds, each once.
fn permitted(names: &[String], list: &Path<'_>) -> Result<Permitted, Invalid> {
    let mut all = Permitted::NONE;
    for (index, name) in names.iter().enumerate() {
        let path = list.index(index);
        let kind = Ambiguity::named(name).ok_or_else(|| path.invalid(format!("unknown: {name:?}")))?;
        let one =
            Permitted::only(kind).ok_or_else(|| path.invalid(format!("{kind} is refused on every route")))?;
        if all.contains(kind) {
            return Err(path.invalid(format!("{kind} is named twice")));
        }
        all = all | one;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::seam::Reader;
    use super::super::tests::{refusal, through};
    use super::*;
    use crate::wire::own;
    use crate::wire::write::pack;

    #[test]
    fn round_trip() {
        let slashes = Permitted::ENCODED_SLASH | Permitted::EMPTY_SEGMENT;
        for ambiguous_paths in [Permitted::NONE, slashes, Permitted::ALL] {
            for guard in [
                Guard::Untold,
                Guard::Open,
                Guard::Demand(2),
                Guard::Demand(u64::MAX),
            ] {
                let rules = Rules {
                    ambiguous_paths,
                    guard,
                };
                assert_eq!(through(&rules, Reader::Trireme), rules);
                assert_eq!(through(&rules, Reader::Envoy), Rules::default());
            }
        }
    }

    #[test]
    fn refuses() {
        let other = pack(&trireme_proto::envoy::config::route::v3::Route::default());
        assert_eq!(
            refusal::<Rules>(filter::REQUEST, other),
            format!(
                ": type \"type.googleapis.com/envoy.config.route.v3.Route\" instead of {:?}",
                type_url::REQUEST_RULES
            )
        );
        for (names, want) in [
            (&["tilde"][..], "[0]: unknown: \"tilde\""),
            (
                &["encoded_slash", "Empty_Segment"],
                "[1]: unknown: \"Empty_Segment\"",
            ),
            (&["dot_segment"], "[0]: dot_segment is refused on every route"),
            (
                &["encoded_slash", "encoded_slash"],
                "[1]: encoded_slash is named twice",
            ),
        ] {
            let rules = RequestRules {
                ambiguous_paths: names.iter().map(|&name| name.to_owned()).collect(),
                guard: 0,
            };
            assert_eq!(
                refusal::<Rules>(filter::REQUEST, own::write(type_url::REQUEST_RULES, &rules)),
                format!(".ambiguous_paths{want}")
            );
        }
    }
}
