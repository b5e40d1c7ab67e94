//! `grpc.health.v1`: whether checks can be decided. Like the original, every service name is answered.

use std::pin::Pin;

use futures_util::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use trireme_shell::Readiness;

/// Tells whether checks can be decided.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) readiness: Readiness,
    /// Ends what watches.
    pub(crate) drain: CancellationToken,
}

impl Probe {
    fn status(&self) -> HealthCheckResponse {
        let status = if self.readiness.is_ready() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        HealthCheckResponse {
            status: status.into(),
        }
    }
}

#[tonic::async_trait]
impl Health for Probe {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(self.status()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let probe = self.clone();
        let mut changes = probe.readiness.subscribe();
        let statuses = async_stream::stream! {
            let mut told = None;
            loop {
                let status = probe.status();
                if told != Some(status.status) {
                    told = Some(status.status);
                    yield Ok(status);
                }
                if probe.drain.is_cancelled() {
                    return;
                }
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() {
                        return;
                    },
                    () = probe.drain.cancelled() => {}
                }
            }
        };
        Ok(Response::new(Box::pin(statuses)))
    }
}
