//! What a route takes and what it guards, which the router alone looks at, before all filters. Envoy has none of it, so
//! that a message of ours carries it: `trireme.router.v1.RequestRules`.

use trireme_proto::names::{filter, type_url};
use trireme_proto::trireme::router::v1::RequestRules;

use super::seam::{Draft, Given, PerRoute};
use crate::Invalid;

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
    pub(crate) allow_ambiguous_path: bool,
    pub(crate) guard: Guard,
}

impl PerRoute for Rules {
    fn encode(&self, draft: &mut Draft) {
        let message = RequestRules {
            allow_ambiguous_path: self.allow_ambiguous_path,
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
        let message = given.take_own::<RequestRules>(filter::REQUEST, type_url::REQUEST_RULES)?;
        let RequestRules {
            allow_ambiguous_path,
            guard,
        } = message.unwrap_or_default();
        Ok(Self {
            allow_ambiguous_path,
            guard: match guard {
                0 => Guard::Untold,
                1 => Guard::Open,
                demand => Guard::Demand(demand),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::seam::Reader;
    use super::super::tests::{refusal, through};
    use super::*;
    use crate::wire::write::pack;

    #[test]
    fn round_trip() {
        for allow_ambiguous_path in [false, true] {
            for guard in [
                Guard::Untold,
                Guard::Open,
                Guard::Demand(2),
                Guard::Demand(u64::MAX),
            ] {
                let rules = Rules {
                    allow_ambiguous_path,
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
    }
}
