//! What a stage of a check is asked, and how it can stop the check: for good, or until something has been asked of others.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use trireme_limits::Pending;

use crate::api::{Api, Operation};
use crate::attributes::Attributes;
use crate::security::Security;
use crate::verdict::Reason;

/// What time it is, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Unix seconds, for what tokens say.
    pub(crate) unix: u64,
    /// For how long something has been.
    pub(crate) instant: Instant,
}

/// What a stage decides by. All of it is of one snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) attributes: &'a Attributes<'a>,
    pub(crate) api: &'a Api,
    pub(crate) operation: &'a Operation,
    pub(crate) security: &'a Security,
    pub(crate) now: Now,
}

/// Why a check doesn't go on to its next stage.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something has to be there first. The stage is asked again once it is, and those before it are not.
    Need(Need),
    /// The request is refused.
    Refuse(Reason),
}

/// What has to be there. Stages do no I/O: the service fulfils it, for a bounded time.
#[derive(Debug)]
pub(crate) enum Need {
    /// The API that the route belongs to: a route may be known before its policy where the two came from different sources,
    /// such as files of last time.
    Api,
    /// The first configuration.
    Configuration,
    /// The end of a fetch of keys, for so long at most.
    Keys(watch::Receiver<u64>, Duration),
    /// The answer of shared counters, which have a bound of their own. By then the request may be counted: its check goes on
    /// with what it began with.
    Limits(Pending),
    /// The policy that the route belongs to (design D5).
    Revision,
}

impl Need {
    /// The refusal when it didn't come; none when nothing can be said of the request.
    #[must_use]
    pub(crate) fn in_vain(&self) -> Option<Reason> {
        match self {
            Self::Api => Some(Reason::Unknown),
            Self::Configuration => None,
            Self::Keys(..) => Some(Reason::KeysUnavailable),
            Self::Limits(_) => Some(Reason::LimitsUnavailable),
            Self::Revision => Some(Reason::Behind),
        }
    }
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Refuse(reason)
    }
}
