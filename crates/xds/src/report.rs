//! What a publisher learns about its subscribers.

use crate::resource::Rejection;

/// How a wait for acknowledgements ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Every connected subscriber has taken everything up to the version.
    Acked {
        /// Subscribers; 0 = nobody is connected.
        subscribers: usize,
    },
    /// Every connected subscriber answered, and these resources stand rejected, **of whatever version**: look for the
    /// names you wait for ([`Settled::rejection_of`]); one bad resource must not hold up the others.
    Rejected(Vec<Rejection>),
    /// Some subscriber did not answer in time.
    TimedOut {
        /// Nodes without an answer.
        missing: Vec<String>,
        /// Rejections by those that did answer.
        rejected: Vec<Rejection>,
    },
}

impl Settled {
    /// All standing rejections.
    pub fn rejections(&self) -> &[Rejection] {
        match self {
            Self::Acked { .. } => &[],
            Self::Rejected(rejected) | Self::TimedOut { rejected, .. } => rejected,
        }
    }

    /// The first rejection of one resource.
    pub fn rejection_of(&self, resource: &str) -> Option<&Rejection> {
        self.rejections().iter().find(|r| r.resource == resource)
    }
}

/// One subscription of one connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Node id.
    pub node: String,
    /// Node metadata `instanceIdentifier`, may be empty.
    pub instance: String,
    /// Group it belongs to.
    pub group: String,
    /// Type it subscribes to.
    pub type_url: String,
    /// Version up to which everything was answered; 0 = it still waits for its first answer.
    pub acked: u64,
    /// Version of the set.
    pub current: u64,
    /// Resources it refuses.
    pub rejected: Vec<Rejection>,
    /// Some of what it was sent longest ago without having answered it.
    pub open: Vec<String>,
}

/// What was exchanged for one type since start, over all subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Responses sent.
    pub responses: u64,
    /// Resources in them.
    pub resources: u64,
    /// Removed names in them.
    pub removals: u64,
    /// Their encoded size.
    pub bytes: u64,
    /// Answers without an error.
    pub acks: u64,
    /// Answers with an error.
    pub nacks: u64,
}
