//! The serving end: what is published, and the gRPC service that streams it.
//!
//! Each stream is one `futures` stream that tonic polls when the connection can take more: a slow peer's requests are not
//! even read, nothing is queued for it, and no task outlives it. State of the protocol is in `protocol::session`.

use std::{fmt, pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use prost::Message;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};
use trireme_proto::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
    },
};

pub use crate::{
    cache::Cache,
    protocol::session::UnknownType,
    report::{Counters, PeerStatus, Settled},
    resource::{Rejection, Resource},
};
use crate::{
    cache::Enrolled,
    protocol::session::{Answer, Refusal, Session},
    resource::limited,
};

/// Largest request: the names and versions that a reconnecting peer holds of one type.
const MAX_REQUEST_BYTES: usize = 32 << 20;

type Grouping = dyn Fn(&Node, &str) -> Result<String, UnknownType> + Send + Sync;

/// The gRPC service over a cache.
#[derive(Clone)]
pub struct Discovery {
    cache: Cache,
    grouping: Arc<Grouping>,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// The service over a cache, to be added to a tonic server. `grouping` tells which group a node gets for a type URL; an
/// [`UnknownType`] ends the node's stream with `INVALID_ARGUMENT`. It is called once per type and stream.
pub fn service(
    cache: Cache,
    grouping: impl Fn(&Node, &str) -> Result<String, UnknownType> + Send + Sync + 'static,
) -> AggregatedDiscoveryServiceServer<Discovery> {
    let discovery = Discovery {
        cache,
        grouping: Arc::new(grouping),
    };
    AggregatedDiscoveryServiceServer::new(discovery).max_decoding_message_size(MAX_REQUEST_BYTES)
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type StreamAggregatedResourcesStream = stream::Empty<Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send + 'static>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented(
            "only delta discovery is served, set api_type to DELTA_GRPC",
        ))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let enrolled = self
            .cache
            .enroll()
            .ok_or_else(|| Status::resource_exhausted("too many discovery streams"))?;
        let serving = Serving {
            enrolled,
            session: Session::default(),
            grouping: Arc::clone(&self.grouping),
            requests: request.into_inner(),
        };
        let responses = stream::unfold(Some(serving), |serving| async {
            let mut serving = serving?;
            match serving.next().await {
                Ok(Some(response)) => Some((Ok(response), Some(serving))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(Box::pin(responses)))
    }
}

/// One stream being served.
struct Serving {
    enrolled: Enrolled,
    session: Session,
    grouping: Arc<Grouping>,
    requests: Streaming<DeltaDiscoveryRequest>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.enrolled.leave(&self.session);
    }
}

impl Serving {
    /// The next response; none when the peer has ended the stream. Cancel safe.
    async fn next(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        loop {
            let now = Instant::now();
            let chunk = self
                .enrolled
                .step(&mut self.session, |session, sets| session.next(sets, now));
            if let Some(chunk) = chunk.map_err(|refusal| self.refuse(&refusal))? {
                let type_url = Arc::clone(&chunk.type_url);
                let response = chunk.encode();
                let (resources, removals) = (response.resources.len(), response.removed_resources.len());
                self.enrolled
                    .sent(&type_url, resources, removals, response.encoded_len());
                debug!(node = self.session.node(), %type_url, version = response.system_version_info, resources, removals, "sent");
                return Ok(Some(response));
            }
            let closed = self.enrolled.closing();
            let wake = self.session.wake(now);
            tokio::select! {
                biased;
                () = closed.cancelled() => return Err(Status::unavailable("shutting down")),
                request = self.requests.message() => match request {
                    Ok(Some(request)) => self.receive(request).map_err(|refusal| self.refuse(&refusal))?,
                    Ok(None) => {
                        info!(node = &*self.session.name(), "discovery stream ended");
                        return Ok(None);
                    }
                    Err(error) => {
                        info!(node = &*self.session.name(), %error, "discovery stream broke");
                        return Ok(None);
                    }
                },
                () = self.enrolled.changed() => {}
                () = tokio::time::sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
    }

    fn receive(&mut self, mut request: DeltaDiscoveryRequest) -> Result<(), Refusal> {
        let known = self.session.topics().len();
        self.session.admit(&mut request, &*self.grouping)?;
        if self.session.topics().len() > known {
            info!(
                node = &*self.session.name(),
                type_url = request.type_url,
                "subscribed"
            );
        }
        let answer = self.session.answer(&request);
        if let Some(answer) = answer {
            self.enrolled.answered(&request.type_url, answer == Answer::Ack);
        }
        self.enrolled.step(&mut self.session, |session, sets| {
            session.subscribe(&request, sets)
        })?;
        if let (Some(Answer::Nack), Some(error)) = (answer, &request.error_detail) {
            let reason = limited(&error.message);
            warn!(
                node = &*self.session.name(),
                type_url = request.type_url,
                reason,
                "peer rejected resources"
            );
        }
        Ok(())
    }

    fn refuse(&self, refusal: &Refusal) -> Status {
        warn!(node = &*self.session.name(), error = %refusal, "discovery stream refused");
        let message = refusal.to_string();
        match refusal {
            Refusal::Behind => Status::aborted(message),
            Refusal::TooManyNames | Refusal::TooManyTypes => Status::resource_exhausted(message),
            Refusal::NameTooLong | Refusal::NoNode | Refusal::NoType | Refusal::UnknownType { .. } => {
                Status::invalid_argument(message)
            }
        }
    }
}
