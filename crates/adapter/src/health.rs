//! `grpc.health.v1` on the discovery port (spec/adapter.md 8.7): the original's probes ask it.

use futures_util::stream::Empty;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// The only component of the service.
const REST_COMPONENT: &str = "adapter.internal.RestService";

/// Answers as long as the process serves; whoever gets no answer knows as much.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The management API is served.
    pub(crate) rest: bool,
}

impl Probe {
    /// A component that isn't there doesn't count, and a name that nobody has is unknown rather than an error.
    fn status(&self, service: &str) -> ServingStatus {
        match service {
            "" => ServingStatus::Serving,
            REST_COMPONENT if self.rest => ServingStatus::Serving,
            _ => ServingStatus::Unknown,
        }
    }
}

#[tonic::async_trait]
impl Health for Probe {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse {
            status: self.status(&request.get_ref().service).into(),
        }))
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("changes are not told, as in the original"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_answered_as_by_the_original() {
        let cases = [
            (true, "", 1),
            (false, "", 1),
            (true, REST_COMPONENT, 1),
            (false, REST_COMPONENT, 0),
            (true, "somebody", 0),
        ];
        for (rest, service, want) in cases {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let answer = Probe { rest }.check(Request::new(request)).await.unwrap();
            assert_eq!(answer.get_ref().status, want, "{rest} {service:?}");
        }
    }
}
