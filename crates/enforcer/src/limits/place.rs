//! Where requests are counted: in this process, or in a Redis server.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use trireme_limits::{Counters, MemorySettings, Mode, OnFailure, Server, SharedSettings, WhenFull};
use trireme_policy::throttle::{Redis, Store};
use trireme_telemetry::Metrics;
use trireme_tls::Connector;

use super::handover::Handover;
use super::quota::{Inapplicable, inapplicable};

/// Makes counters, and keeps those that are in use: settings that don't change where requests are counted change nothing of
/// what is counted.
pub(crate) struct Places {
    metrics: Metrics,
    /// Keys the hashes by which counters are found, so that nobody can make many callers share one.
    seed: [u8; 16],
    /// Makes connections to servers that want TLS.
    tls: Option<Connector>,
    handover: Arc<Handover>,
    held: Option<(Store, Counters)>,
}

impl Places {
    /// With none in use.
    pub(crate) fn new(
        metrics: Metrics,
        seed: [u8; 16],
        tls: Option<Connector>,
        handover: Arc<Handover>,
    ) -> Self {
        Self {
            metrics,
            seed,
            tls,
            handover,
            held: None,
        }
    }

    /// The counters of these settings. Called within a runtime, which keeps the connection.
    pub(super) fn of(&mut self, store: &Store) -> Result<Counters, Inapplicable> {
        if let Some((held, counters)) = &self.held
            && held == store
        {
            return Ok(counters.clone());
        }
        let capacity = usize::try_from(store.capacity).unwrap_or(usize::MAX);
        let counters = match &store.redis {
            None => {
                let settings = MemorySettings {
                    capacity,
                    when_full: if store.refuse_when_full {
                        WhenFull::Refuse
                    } else {
                        WhenFull::Evict
                    },
                };
                let counters = Counters::memory(&settings, self.seed, &self.metrics);
                self.handover.take(&counters, capacity, SystemTime::now().into());
                counters
            }
            Some(redis) => {
                let settings = SharedSettings {
                    server: server(redis)?,
                    tls: self.tls.clone(),
                    prefix: redis.key_prefix.clone(),
                    mode: if redis.lease { Mode::Lease } else { Mode::Ask },
                    on_failure: if redis.closed {
                        OnFailure::Closed
                    } else {
                        OnFailure::Open
                    },
                    wait: redis.timeout,
                    connect_timeout: redis.connect_timeout,
                    capacity,
                };
                Counters::shared(settings, self.seed, &self.metrics)
            }
        };
        self.held = Some((store.clone(), counters.clone()));
        Ok(counters)
    }
}

impl fmt::Debug for Places {
    /// The seed is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").finish_non_exhaustive()
    }
}

/// The server, with name and password from where they are no part of a text that may be printed.
fn server(redis: &Redis) -> Result<Server, Inapplicable> {
    let server = Server::parse(&redis.url);
    let server = server.map_err(|error| inapplicable("limits.store.redis.url", error.to_string()))?;
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Ok(Server {
        username: some(&redis.username).or(server.username),
        password: some(&redis.password).or(server.password),
        ..server
    })
}
