//! The receiving end: one stream, kept open for ever.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{debug, info, warn};
use trireme_proto::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use trireme_telemetry::chain;

pub use crate::resource::{Rejection, Resource};
pub use crate::update::{Apply, Status, TypeStatus, Update};
use crate::{
    keeper::{Event, Keeper},
    protocol::{MAX_OPEN, backoff, receiver::Receiver},
    resource::limited,
    set::MAX_RESOURCE_BYTES,
    state_file::{self, Refused, Snapshot},
};

/// Largest response: one resource at its largest with what is around it.
const MAX_RESPONSE_BYTES: usize = 2 * MAX_RESOURCE_BYTES;

/// How a client subscribes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who we are; `id` selects the groups, metadata `instanceIdentifier` tells instances with one id apart.
    pub node: Node,
    /// Types, in the order of subscription.
    pub types: Vec<&'static str>,
    /// Last-good file; none = nothing is kept on disk.
    pub last_good: Option<PathBuf>,
    /// Shortest and longest wait before a reconnect. It grows with every attempt that fails, and with every stream in a
    /// row that holds for less than the longest.
    pub backoff: RangeInclusive<Duration>,
    /// How long changes gather before the last-good file is written.
    pub write_delay: Duration,
}

impl Settings {
    /// Settings with the usual waits (0.1 to 1 s, file written 0.5 s after a change) and no file.
    pub fn new(node: Node, types: Vec<&'static str>) -> Self {
        Self {
            node,
            types,
            last_good: None,
            backoff: Duration::from_millis(100)..=Duration::from_secs(1),
            write_delay: Duration::from_millis(500),
        }
    }
}

/// Keeps one stream open until `shutdown`, and hands every change to `apply`.
///
/// First, what the last-good file holds is applied, with `complete` set, type by type in the order of [`Settings::types`];
/// it is announced to the server as held, so that only differences come. Each stream then starts with a first answer per
/// type, which may take several updates; the last of them has `complete` set. Lost streams are opened again, for ever.
/// `status` is current whenever an update has been applied. Dropping the future ends the stream; changes of the last
/// moments ([`Settings::write_delay`]) are then not on disk, while `shutdown` writes them first.
pub async fn run(
    channel: Channel,
    settings: Settings,
    apply: impl Apply,
    status: watch::Sender<Status>,
    shutdown: CancellationToken,
) {
    let receiver = Receiver::new(&settings.types, settings.last_good.is_some());
    let keeper = settings
        .last_good
        .clone()
        .map(|path| Keeper::new(path, settings.write_delay));
    let mut driver = Driver {
        settings,
        receiver,
        keeper,
        apply,
        status,
    };
    driver.publish(|_| ());
    driver.restore().await;
    if shutdown
        .run_until_cancelled(driver.stay_connected(channel))
        .await
        .is_none()
    {
        driver.publish(|status| status.connected = false);
    }
    driver.flush().await;
}

struct Driver<A> {
    settings: Settings,
    receiver: Receiver,
    keeper: Option<Keeper>,
    apply: A,
    status: watch::Sender<Status>,
}

/// How a stream ended.
struct Ended {
    error: String,
    /// It had brought something.
    fruitful: bool,
}

impl<A: Apply> Driver<A> {
    fn publish(&self, change: impl FnOnce(&mut Status)) {
        let types = self.receiver.status();
        self.status.send_modify(|status| {
            status.types = types;
            change(status);
        });
    }

    async fn restore(&mut self) {
        let Some(path) = self.settings.last_good.clone() else {
            return;
        };
        let node = self.settings.node.id.clone();
        let shown = path.display().to_string();
        let read = tokio::task::spawn_blocking(move || state_file::read(&path, &node)).await;
        let snapshot = match read.unwrap_or_else(|panicked| Err(Refused::Io(panicked.into()))) {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => return,
            Err(refused) => {
                let reason = chain(&refused);
                warn!(path = shown, reason, "last-good snapshot refused");
                self.publish(|status| status.file_refused = Some(reason));
                return;
            }
        };
        let mut types: BTreeMap<String, Vec<Resource>> = snapshot.types.into_iter().collect();
        let mut resources = 0;
        for type_url in self.settings.types.clone() {
            let Some(content) = types.remove(type_url) else {
                continue;
            };
            resources += content.len();
            let Some((incoming, update)) = self.receiver.restore(type_url, content) else {
                continue;
            };
            let refused = self.apply.apply(update);
            for rejection in self.receiver.conclude(incoming, refused).rejected {
                warn!(
                    type_url,
                    resource = rejection.resource,
                    reason = rejection.reason,
                    "last-good resource refused"
                );
            }
        }
        self.publish(|status| status.last_update = Some(snapshot.updated));
        info!(path = shown, resources, "last-good snapshot applied");
    }

    async fn stay_connected(&mut self, channel: Channel) {
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(MAX_RESPONSE_BYTES);
        let (mut attempt, mut broken) = (0_u32, 0_u32);
        let (shortest, longest) = (*self.settings.backoff.start(), *self.settings.backoff.end());
        loop {
            let begun = Instant::now();
            let ended = self.exchange(&mut client).await;
            if ended.fruitful {
                // Streams that keep breaking as soon as they have brought something would else be opened ten times a
                // second, each time with the names of all that is held.
                broken = if begun.elapsed() >= longest {
                    0
                } else {
                    broken.saturating_add(1)
                };
                attempt = broken.saturating_sub(1);
            }
            let wait = backoff(attempt, shortest, longest, fastrand::f64());
            if ended.fruitful || attempt == 0 {
                warn!(error = ended.error, "discovery stream lost, keeping what is held");
            } else {
                debug!(error = ended.error, attempt, ?wait, "no discovery stream yet");
            }
            attempt = attempt.saturating_add(1);
            self.publish(|status| {
                status.connected = false;
                status.last_error = Some(ended.error);
            });
            self.keeping(tokio::time::sleep(wait)).await;
        }
    }

    /// One stream from its opening to its end.
    async fn exchange(&mut self, client: &mut AggregatedDiscoveryServiceClient<Channel>) -> Ended {
        let mut fruitful = false;
        let opening = self.receiver.open(&self.settings.node);
        // A server sends so many responses per type before it waits for an answer, so answers always find room.
        let (requests, queue) = mpsc::channel(opening.len() * (MAX_OPEN + 1) + 8);
        for request in opening {
            if requests.send(request).await.is_err() {
                break;
            }
        }
        let call = client.delta_aggregated_resources(ReceiverStream::new(queue));
        let mut responses = match self.keeping(call).await {
            Ok(responses) => responses.into_inner(),
            Err(status) => {
                return Ended {
                    error: described(&status),
                    fruitful,
                };
            }
        };
        loop {
            let response = match self.keeping(responses.message()).await {
                Ok(Some(response)) => response,
                Ok(None) => {
                    return Ended {
                        error: "the server ended the stream".to_owned(),
                        fruitful,
                    };
                }
                Err(status) => {
                    return Ended {
                        error: described(&status),
                        fruitful,
                    };
                }
            };
            if !fruitful {
                fruitful = true;
                info!(node = self.settings.node.id, "discovery stream open");
            }
            let answer = self.take(response);
            if requests.send(answer).await.is_err() {
                return Ended {
                    error: "the server stopped reading".to_owned(),
                    fruitful,
                };
            }
        }
    }

    /// Applies one response and returns the answer to it.
    fn take(&mut self, response: DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
        let (incoming, update) = match self.receiver.receive(response) {
            Ok(read) => read,
            Err(refusal) => {
                warn!(
                    type_url = refusal.type_url,
                    "response of a type that was not asked for"
                );
                self.publish(|status| status.connected = true);
                return *refusal;
            }
        };
        let type_url = update.type_url.clone();
        let (upserts, removals, complete) = (update.upserts.len(), update.removals.len(), update.complete);
        let refused = self.apply.apply(update);
        let reply = self.receiver.conclude(incoming, refused);
        for rejection in &reply.rejected {
            warn!(
                type_url,
                resource = rejection.resource,
                reason = rejection.reason,
                "resource rejected"
            );
        }
        debug!(
            type_url,
            upserts,
            removals,
            complete,
            rejected = reply.rejected.len(),
            "update applied"
        );
        let now = SystemTime::now();
        self.publish(|status| {
            status.connected = true;
            status.last_error = None;
            if reply.rejected.is_empty() || reply.changed {
                status.last_update = Some(now);
            }
        });
        if reply.changed
            && let Some(keeper) = &mut self.keeper
        {
            keeper.touch();
        }
        reply.request
    }

    /// Awaits `work` while the last-good file is written as it becomes due.
    async fn keeping<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let Some(keeper) = &mut self.keeper else {
                return work.await;
            };
            tokio::select! {
                biased;
                out = &mut work => return out,
                event = keeper.event() => self.kept(event),
            }
        }
    }

    fn kept(&mut self, event: Event) {
        match event {
            Event::Due => {
                let snapshot = self.snapshot();
                if let Some(keeper) = &mut self.keeper {
                    keeper.start(snapshot);
                }
            }
            Event::Written(result) => {
                let error = result.err().map(|error| error.to_string());
                if let Some(error) = &error {
                    warn!(error, "last-good snapshot not written, will be tried again");
                }
                self.status.send_if_modified(|status| {
                    let differs = status.file_unwritten != error;
                    status.file_unwritten = error;
                    differs
                });
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            node: self.settings.node.id.clone(),
            updated: self.status.borrow().last_update.unwrap_or_else(SystemTime::now),
            types: self
                .receiver
                .held()
                .into_iter()
                .map(|(url, held)| (url.to_owned(), held))
                .collect(),
        }
    }

    /// Writes what is not written yet.
    async fn flush(&mut self) {
        while let Some(keeper) = &mut self.keeper {
            let Some(event) = keeper.last_event().await else {
                return;
            };
            self.kept(event);
        }
    }
}

fn described(status: &tonic::Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    limited(&text).to_owned()
}
