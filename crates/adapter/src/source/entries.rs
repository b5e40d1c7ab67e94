//! What a source that is read has deployed.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use bytes::Bytes;

use super::refused::Refused;
use crate::catalogue::{Catalogue, Deploy, DeployError, Stored, UndeployError};
use crate::event;
use crate::store::{self, Digest, Origin};

/// The entries of one source. Each is one project, deployed as long as it is there.
#[derive(Debug)]
pub struct Entries {
    source: &'static str,
    catalogue: Catalogue,
    /// Content of each entry when it was last tried, good or bad: the same content is not tried again.
    tried: BTreeMap<String, Digest>,
    refused: Refused,
}

impl Entries {
    pub(super) fn new(source: &'static str, catalogue: Catalogue, refused: Refused) -> Self {
        Self {
            source,
            catalogue,
            tried: BTreeMap::new(),
            refused,
        }
    }

    /// Makes what is deployed follow a complete look at the source: `found` names every entry with its place, and `content` gets
    /// one as an archive. What has left is removed, what is new or changed is deployed; one that is refused, or can't be had,
    /// keeps what was deployed of it and is noted. Waits for routers and enforcers once, for a bounded time.
    ///
    /// # Errors
    /// When what has left can't be removed, since the store doesn't work.
    pub async fn follow<P, F, E>(
        &mut self,
        found: BTreeMap<String, P>,
        content: impl Fn(String, P) -> F,
    ) -> Result<(), UndeployError>
    where
        F: Future<Output = Result<Bytes, E>>,
        E: Error,
    {
        let gone: BTreeSet<Origin> = self
            .catalogue
            .entries(self.source)
            .into_iter()
            .filter(|entry| !found.contains_key(entry))
            .map(|entry| Origin::entry(self.source, entry))
            .collect();
        self.tried.retain(|entry, _| found.contains_key(entry));
        let source = self.source;
        self.refused.lock().retain(|origin, _| match origin {
            Origin::Entry { source: other, entry } if other == source => found.contains_key(entry),
            Origin::Entry { .. } | Origin::Rest => true,
        });
        // One after the other: only one archive is in memory at a time.
        let mut last = None;
        for (entry, place) in found {
            match content(entry.clone(), place).await {
                Ok(archive) => last = self.bring(entry, archive, &gone).await.or(last),
                Err(error) => self.refuse(entry, &error, &event::chain(&error)),
            }
        }
        let removed = self.catalogue.forget(&gone).await;
        // They are published in this order: with the last, all are.
        if let Some(last) = last {
            self.catalogue.finish(last).await;
        }
        removed
    }

    /// Stores an entry whose content is new, to be published after what was stored before.
    async fn bring(&mut self, entry: String, archive: Bytes, gone: &BTreeSet<Origin>) -> Option<Stored> {
        let digest = store::digest(&archive);
        if self.tried.get(&entry) == Some(&digest) {
            return None;
        }
        let origin = Origin::entry(self.source, entry.as_str());
        let wanted = Deploy {
            archive,
            replace: true,
            origin: origin.clone(),
            gone: gone.clone(),
        };
        match self.catalogue.store(wanted).await {
            Ok(stored) => {
                self.refused.lock().remove(&origin);
                self.tried.insert(entry, digest);
                Some(stored).filter(Stored::is_under_way)
            }
            Err(error) => {
                // A bad project stays bad; anything else, such as a taken base path or a full disk, may pass.
                let reason = match &error {
                    DeployError::Invalid(findings) => {
                        self.tried.insert(entry.clone(), digest);
                        let errors = findings.iter().filter(|finding| finding.is_error());
                        errors.map(ToString::to_string).collect::<Vec<_>>().join("; ")
                    }
                    other => event::chain(other),
                };
                self.refuse(entry, &error, &reason);
                None
            }
        }
    }

    /// Notes that an entry isn't taken; told once as long as the reason is the same.
    fn refuse(&self, entry: String, error: &dyn Error, reason: &str) {
        let origin = Origin::entry(self.source, entry);
        let before = self.refused.lock().insert(origin.clone(), reason.to_owned());
        if before.as_deref() != Some(reason) {
            event::refused(&origin, error);
        }
    }
}
