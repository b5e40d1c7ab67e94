//! What a check knows, on its way from stage to stage and over its waits.

use trireme_limits::Decision;

use crate::authn::Identity;
use crate::authn::mutual_tls::Environments;
use crate::verdict::{KeyType, LimitFields, Reason};

/// What a check has found out so far, and with that where it goes on. Belongs to the snapshot that it was found with.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Stages that are behind it.
    pub(super) passed: usize,
    pub(super) search: Search,
    /// Who is calling.
    pub(super) identity: Option<Identity>,
    /// Which environment serves the caller.
    pub(super) environment: Option<KeyType>,
    /// What the counters answered that were asked.
    pub(super) decision: Option<Box<Decision>>,
    /// What is left of the caller's limits, for the caller.
    pub(super) limits: Option<Box<LimitFields>>,
}

impl Known {
    /// Takes the answer of the counters. From then on the check is counted, and is not begun anew.
    pub(crate) fn answered(&mut self, decision: Decision) {
        self.decision = Some(Box::new(decision));
    }

    /// Whether the request may be counted.
    #[must_use]
    pub(crate) fn counted(&self) -> bool {
        self.decision.is_some()
    }
}

/// How far the search for the caller has come.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Candidates that were looked at: the next one's place in the list of `caller`.
    pub(super) next: usize,
    /// Whether an application credential was shown.
    pub(super) shown: bool,
    /// What a certificate that has to be there is good for.
    pub(super) certified: Option<Environments>,
    /// Why none was enough so far.
    pub(super) refused: Option<Reason>,
    /// Holder of a good access token that isn't enough by itself.
    pub(super) token: Option<Identity>,
    /// API keys that are good but not enough by themselves, by their place in [`Operation::keys`](crate::api::Operation::keys).
    pub(super) held: Vec<usize>,
}

impl Search {
    /// The first reason stays.
    pub(super) fn refuse(&mut self, reason: Reason) {
        self.refused.get_or_insert(reason);
    }
}
