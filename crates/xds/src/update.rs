//! What the receiving end hands on, and what it says of itself.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::resource::{Rejection, Resource};

/// A change of one type. Always relative to what was applied before, also when `complete` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Type of all resources in it.
    pub type_url: String,
    /// Added or changed.
    pub upserts: Vec<Resource>,
    /// Removed; names that were never there are possible and mean nothing.
    pub removals: Vec<String>,
    /// With this update the initial content of the type is there: set on the last message of the first answer of every
    /// stream and on what comes from the last-good file. It does not mean that other resources are to be dropped.
    pub complete: bool,
}

/// Takes changes.
pub trait Apply: Send + 'static {
    /// Takes what is good of the update and returns the rest with reasons: empty = ACK, else NACK. Resources that are not
    /// named count as held. A rejected resource keeps its last good version. Called in order, never concurrently; may
    /// take its time (the stream waits), must not block on the network.
    fn apply(&mut self, update: Update) -> Vec<Rejection>;
}

impl<F: FnMut(Update) -> Vec<Rejection> + Send + 'static> Apply for F {
    fn apply(&mut self, update: Update) -> Vec<Rejection> {
        self(update)
    }
}

/// State of the client, for readiness, `/snapshot` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// A stream is open and has brought at least one message.
    pub connected: bool,
    /// When the last update was accepted; survives a restart by the last-good file.
    pub last_update: Option<SystemTime>,
    /// By type URL; every subscribed type is there.
    pub types: BTreeMap<String, TypeStatus>,
    /// Why the last stream ended or did not come up.
    pub last_error: Option<String>,
    /// Why the last-good file was refused at start.
    pub file_refused: Option<String>,
    /// Why the last-good file could not be written the last time it was tried.
    pub file_unwritten: Option<String>,
}

/// State of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeStatus {
    /// `system_version_info` of the last message.
    pub version: String,
    /// Resources held.
    pub held: usize,
    /// The initial content is there, from the server or from the last-good file.
    pub complete: bool,
    /// The initial content came from the server on some stream of this process.
    pub live: bool,
    /// Resources that stand rejected.
    pub rejected: Vec<Rejection>,
}

impl Status {
    /// Whether the initial content of every type is there.
    pub fn complete(&self) -> bool {
        !self.types.is_empty() && self.types.values().all(|t| t.complete)
    }

    /// Age of the configuration.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        self.last_update
            .map(|at| now.duration_since(at).unwrap_or_default())
    }
}
