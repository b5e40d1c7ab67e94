//! The gRPC services that answer checks, one by one or in batches.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::Guard;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream, StreamExt};
use prost::bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use trireme_proto::envoy::service::auth::v3::authorization_server::Authorization;
use trireme_proto::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use trireme_proto::trireme::auth::v1::check_stream_server::CheckStream;
use trireme_proto::trireme::auth::v1::{Check, CheckBatch, Steering, Verdict as Answer, VerdictBatch};

use crate::attributes::Attributes;
use crate::check::{Known, Stages, check, refused};
use crate::event::{self, Counters, Ended};
use crate::need::{Need, Now};
use crate::respond::{encode, refusal, respond};
use crate::snapshot::{Current, Snapshot};
use crate::verdict::Verdict;

/// How long a check waits for the policy of its route (design D5).
const REVISION_BOUND: Duration = Duration::from_secs(2);
/// Checks of one stream that may wait at the same time, and their bytes: a caller who makes up key ids decides how many wait
/// and, with a body that is passed, how long they are.
const MAX_WAITING: Room = Room {
    checks: 4096,
    bytes: 16 * 1024 * 1024,
};

/// Answers checks. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) current: Arc<Current>,
    pub(crate) counters: Counters,
    /// What checks go through.
    pub(crate) stages: Stages,
    /// Cancelled when the process is about to stop.
    pub(crate) drain: CancellationToken,
}

/// What became of a check so far.
#[allow(
    clippy::large_enum_variant,
    reason = "lives for a moment, and nearly always is the large one"
)]
enum Step<R> {
    Answered(R),
    Failed(Status),
    Paused(Paused),
}

/// A check that needs something first, as far as it has come.
#[derive(Debug)]
pub(crate) struct Paused {
    /// What it was looked at with.
    snapshot: Arc<Snapshot>,
    known: Known,
    need: Need,
}

/// A check of a batch that has to wait.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) check: Check,
    paused: Paused,
    /// Whether its sender reads typed steering.
    typed: bool,
}

/// What may still wait on a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) checks: usize,
    pub(crate) bytes: usize,
}

impl Room {
    /// Takes the room for a check of this length, if there is.
    fn take(&mut self, length: usize) -> bool {
        let room = self.checks.checked_sub(1).zip(self.bytes.checked_sub(length));
        if let Some((checks, bytes)) = room {
            *self = Self { checks, bytes };
        }
        room.is_some()
    }

    /// Gives it back.
    fn give(&mut self, length: usize) {
        self.checks += 1;
        self.bytes += length;
    }
}

impl Service {
    /// Decides a check as far as possible without waiting. `started` is when the check came in, and moves on to now; `form`
    /// makes the answer, and is told whether SOAP faults are allowed.
    fn step<R>(
        &self,
        attributes: &Attributes<'_>,
        started: &mut Instant,
        form: impl FnOnce(&Verdict<'_>, bool) -> R,
    ) -> Step<R> {
        let snapshot = self.current.load();
        let mut known = Known::default();
        match self.go_on(attributes, &snapshot, &mut known, started, form) {
            Ok(Ok(answer)) => Step::Answered(answer),
            Ok(Err(status)) => Step::Failed(status),
            Err(need) => Step::Paused(Paused {
                snapshot: Guard::into_inner(snapshot),
                known,
                need,
            }),
        }
    }

    /// Takes a check from what is known to its end, or to what it needs next.
    fn go_on<R>(
        &self,
        attributes: &Attributes<'_>,
        snapshot: &Snapshot,
        known: &mut Known,
        started: &mut Instant,
        form: impl FnOnce(&Verdict<'_>, bool) -> R,
    ) -> Result<Result<R, Status>, Need> {
        let security = snapshot.ready().ok_or(Need::Configuration)?;
        let unix = SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |elapsed| elapsed.as_secs());
        let now = Now {
            unix,
            instant: *started,
        };
        let (api, verdict) = check(attributes, snapshot, security, now, self.stages, known)?;
        let answer = form(&verdict, security.settings.soap_errors);
        let ended = ended(&verdict);
        api.tally.count(ended);
        self.tell(attributes, ended, started);
        Ok(Ok(answer))
    }

    fn tell(&self, attributes: &Attributes<'_>, ended: Ended, started: &mut Instant) {
        let now = Instant::now();
        let duration = now.saturating_duration_since(*started);
        *started = now;
        let api = (attributes.route.vhost, attributes.route.base_path);
        event::Checked {
            ended,
            api,
            request: attributes.request_id(),
            duration,
        }
        .emit(&self.counters);
    }

    /// Goes on with a check once what it needs is there. Dropping the future gives up the check and nothing else.
    ///
    /// It goes on where it stopped, with the snapshot that it began with, unless there is another one by then: that one may
    /// know better, and the check begins anew with it, if it isn't counted. A snapshot is never older than the route's revision once a check has
    /// come past the need for it, and what was found with one is never used with another.
    async fn wait<R>(
        &self,
        attributes: &Attributes<'_>,
        paused: Paused,
        form: impl Fn(&Verdict<'_>, bool) -> R,
    ) -> Result<R, Status> {
        let begun = Instant::now();
        let Paused {
            mut snapshot,
            mut known,
            mut need,
        } = paused;
        loop {
            let arrived = self.fulfil(&mut need, &mut known, snapshot.version, begun).await;
            // Shared counters count their own waits.
            if !matches!(need, Need::Limits(_)) {
                event::Waited { arrived }.emit(&self.counters);
            }
            let mut started = Instant::now();
            let current = self.current.load_full();
            if !arrived {
                let soap = current
                    .ready()
                    .is_some_and(|security| security.settings.soap_errors);
                let Some(reason) = need.in_vain() else {
                    self.tell(attributes, Ended::Failed, &mut started);
                    return Err(Status::unavailable("the first configuration has not arrived"));
                };
                let verdict = refused(reason);
                let answer = form(&verdict, soap);
                self.tell(attributes, ended(&verdict), &mut started);
                return Ok(answer);
            }
            if current.version != snapshot.version && !known.counted() {
                (snapshot, known) = (current, Known::default());
            }
            match self.go_on(attributes, &snapshot, &mut known, &mut started, &form) {
                Ok(outcome) => return outcome,
                Err(next) => need = next,
            }
        }
    }

    /// Waits for what a check needs that was stopped in the snapshot of this version. Whether it came in time.
    async fn fulfil(&self, need: &mut Need, known: &mut Known, version: u64, begun: Instant) -> bool {
        match need {
            Need::Limits(pending) => {
                known.answered(pending.await);
                true
            }
            Need::Keys(ended, bound) => timeout_at(begun + *bound, ended.changed()).await.is_ok(),
            Need::Api | Need::Configuration | Need::Revision => {
                let mut versions = self.current.subscribe();
                let next = versions.wait_for(|current| *current != version);
                timeout_at(begun + REVISION_BOUND, next).await.is_ok()
            }
        }
    }

    /// As [`Service::wait`], for one check of a batch; with the room that it took.
    pub(crate) async fn wait_for(&self, waiting: Waiting) -> (Answer, usize) {
        let Waiting { check, paused, typed } = waiting;
        let answer = match Attributes::read(&check.request) {
            Ok(attributes) => {
                let form = |verdict: &Verdict<'_>, soap| {
                    let encoded = encode(verdict, &attributes, soap, typed, &mut Vec::new());
                    answered(check.id, encoded)
                };
                self.wait(&attributes, paused, form).await
            }
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        };
        let answer = answer.unwrap_or_else(|status| failed(check.id, &status));
        (answer, check.request.len())
    }

    /// Answers the checks of a batch that can be answered now and gives back those that have to wait.
    pub(crate) fn batch(
        &self,
        batch: CheckBatch,
        waiting: &mut Vec<Waiting>,
        room: &mut Room,
    ) -> VerdictBatch {
        event::Batch {
            size: batch.checks.len(),
        }
        .emit(&self.counters);
        let mut verdicts = Vec::with_capacity(batch.checks.len());
        let mut started = Instant::now();
        let (typed, mut scratch) = (batch.steering, Vec::new());
        for check in batch.checks {
            let step = match Attributes::read(&check.request) {
                Ok(attributes) => self.step(&attributes, &mut started, |verdict, soap| {
                    let encoded = encode(verdict, &attributes, soap, typed, &mut scratch);
                    answered(check.id, encoded)
                }),
                Err(error) => Step::Failed(Status::invalid_argument(error.to_string())),
            };
            match step {
                Step::Answered(answer) => verdicts.push(answer),
                Step::Failed(status) => verdicts.push(failed(check.id, &status)),
                // A copy: one check that waits must not keep its whole batch in memory.
                Step::Paused(paused) if room.take(check.request.len()) => waiting.push(Waiting {
                    check: Check {
                        id: check.id,
                        request: Bytes::copy_from_slice(&check.request),
                    },
                    paused,
                    typed,
                }),
                Step::Paused(_) => {
                    let status = Status::resource_exhausted("too many checks wait for policies or keys");
                    verdicts.push(failed(check.id, &status));
                }
            }
        }
        VerdictBatch { verdicts }
    }

    /// Answers a stream until the router ends it, or the process drains: then everything that came in is answered and
    /// the stream ends, so that the router goes on elsewhere.
    pub(crate) fn answers(
        self,
        mut batches: impl Stream<Item = Result<CheckBatch, Status>> + Send + Unpin + 'static,
    ) -> impl Stream<Item = Result<VerdictBatch, Status>> + Send + 'static {
        async_stream::stream! {
            let service = &self;
            let mut waiting = FuturesUnordered::new();
            let mut room = MAX_WAITING;
            let mut open = true;
            while open || !waiting.is_empty() {
                let verdicts = tokio::select! {
                    biased;
                    // First: what has ended is no work any more, and a router that never pauses must not keep it.
                    Some((first, length)) = waiting.next(), if !waiting.is_empty() => {
                        room.give(length);
                        let mut verdicts = vec![first];
                        while let Some(Some((verdict, length))) = waiting.next().now_or_never() {
                            room.give(length);
                            verdicts.push(verdict);
                        }
                        VerdictBatch { verdicts }
                    }
                    batch = batches.next(), if open => match batch {
                        Some(Ok(batch)) => {
                            let mut late = Vec::new();
                            let verdicts = service.batch(batch, &mut late, &mut room);
                            waiting.extend(late.into_iter().map(|check| service.wait_for(check)));
                            verdicts
                        }
                        // The router ended the stream, or is gone; what waits is answered to whom it concerns.
                        None => {
                            open = false;
                            continue;
                        }
                        Some(Err(_)) => return,
                    },
                    () = service.drain.cancelled(), if open => {
                        open = false;
                        continue;
                    }
                };
                if !verdicts.verdicts.is_empty() {
                    yield Ok(verdicts);
                }
            }
        }
    }
}

/// How a check ended that has this verdict.
fn ended(verdict: &Verdict<'_>) -> Ended {
    match verdict {
        Verdict::Admitted(_) => Ended::Admitted,
        Verdict::Denied(denial) => Ended::Denied {
            code: refusal(&denial.reason, "").code,
            reason: denial.reason.label(),
        },
    }
}

fn answered(id: u64, (response, steering): (Bytes, Option<Steering>)) -> Answer {
    Answer {
        id,
        response,
        steering,
        ..Answer::default()
    }
}

fn failed(id: u64, status: &Status) -> Answer {
    Answer {
        id,
        response: Bytes::new(),
        grpc_status: i32::from(status.code()),
        grpc_message: status.message().to_owned(),
        ..Answer::default()
    }
}

#[tonic::async_trait]
impl Authorization for Service {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let request = request.into_inner();
        let attributes =
            Attributes::of(&request).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut started = Instant::now();
        let form = |verdict: &Verdict<'_>, soap| respond(verdict, &attributes, soap);
        match self.step(&attributes, &mut started, form) {
            Step::Answered(response) => Ok(Response::new(response)),
            Step::Failed(status) => Err(status),
            Step::Paused(paused) => self.wait(&attributes, paused, form).await.map(Response::new),
        }
    }
}

#[tonic::async_trait]
impl CheckStream for Service {
    type CheckStream = Pin<Box<dyn Stream<Item = Result<VerdictBatch, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<Streaming<CheckBatch>>,
    ) -> Result<Response<Self::CheckStream>, Status> {
        let answers = self.clone().answers(request.into_inner());
        Ok(Response::new(Box::pin(answers)))
    }
}
