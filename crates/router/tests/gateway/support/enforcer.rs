//! An enforcer that answers what a test wants, over the stream or as unary calls only.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use trireme_proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use trireme_proto::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use trireme_proto::envoy::service::auth::v3::check_response::HttpResponse;
use trireme_proto::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use trireme_proto::envoy::r#type::v3::HttpStatus;
use trireme_proto::google::protobuf::{Struct, Value, value};
use trireme_proto::google::rpc;
use trireme_proto::names::{CLUSTER_HEADER, ENFORCER_REPLY};
use trireme_proto::trireme::auth::v1::check_stream_server::{CheckStream, CheckStreamServer};
use trireme_proto::trireme::auth::v1::{CheckBatch, Steering, Verdict, VerdictBatch};
use trireme_tls::ClientAuth;

use super::Pki;

/// A check as the enforcer saw it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) context: HashMap<String, String>,
    pub(crate) certificate: String,
    pub(crate) source: String,
}

/// None: never answer. Err: the call fails with that gRPC status.
pub(crate) type Outcome = Option<Result<CheckResponse, i32>>;
/// What a test wants.
pub(crate) type Answer = dyn Fn(&Seen) -> Outcome + Send + Sync;

/// Which services are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The stream; what steers comes as typed values.
    Stream,
    /// The stream; what steers comes as headers.
    StreamOfHeaders,
    UnaryOnly,
}

/// A running enforcer.
pub(crate) struct Enforcer {
    pub(crate) address: SocketAddr,
    /// Where its REST server would be; nobody listens until a test does.
    pub(crate) rest: SocketAddr,
    pub(crate) rest_listener: Option<TcpListener>,
    checks: Arc<Checks>,
    mode: Mode,
    /// A runtime of its own: dropping it breaks open connections as the death of a process does.
    runtime: Option<Runtime>,
}

struct Checks {
    answer: Arc<Answer>,
    seen: Mutex<Vec<Seen>>,
    batches: AtomicUsize,
}

#[derive(Clone)]
struct Service(Arc<Checks>, Mode);

impl Enforcer {
    pub(crate) async fn start(mode: Mode, answer: Arc<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rest_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut enforcer = Self {
            address: listener.local_addr().unwrap(),
            rest: rest_listener.local_addr().unwrap(),
            rest_listener: Some(rest_listener),
            checks: Arc::new(Checks {
                answer,
                seen: Mutex::default(),
                batches: AtomicUsize::new(0),
            }),
            mode,
            runtime: None,
        };
        enforcer.serve(listener);
        enforcer
    }

    fn serve(&mut self, listener: TcpListener) {
        let service = Service(Arc::clone(&self.checks), self.mode);
        let unary = AuthorizationServer::new(service.clone());
        let stream = (self.mode != Mode::UnaryOnly).then(|| CheckStreamServer::new(service));
        let listener = listener.into_std().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async move {
            let acceptor = Pki::get()
                .material("enforcer")
                .acceptor(ClientAuth::Required, trireme_tls::GRPC_ALPN);
            let incoming = trireme_tls::serve::incoming(TcpListener::from_std(listener).unwrap(), acceptor);
            Server::builder()
                .add_service(unary)
                .add_optional_service(stream)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        self.runtime = Some(runtime);
    }

    /// Kills it: the port refuses connections and open ones break.
    pub(crate) async fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            tokio::task::spawn_blocking(move || runtime.shutdown_timeout(super::BOUND))
                .await
                .unwrap();
        }
    }

    /// Starts it again on its port.
    pub(crate) async fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }

    /// Checks so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.checks.seen.lock().unwrap().clone()
    }

    /// Messages with checks on streams so far.
    pub(crate) fn batches(&self) -> usize {
        self.checks.batches.load(Ordering::Relaxed)
    }
}

impl Drop for Enforcer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Checks {
    fn check(&self, request: CheckRequest) -> Outcome {
        let attributes = request.attributes.unwrap_or_default();
        let source = attributes.source.unwrap_or_default();
        let http = attributes
            .request
            .and_then(|request| request.http)
            .unwrap_or_default();
        let seen = Seen {
            method: http.method,
            path: http.path,
            headers: http.headers,
            body: http.raw_body,
            context: attributes.context_extensions,
            certificate: source.certificate,
            source: format!("{:?}", source.address),
        };
        let outcome = (self.answer)(&seen);
        self.seen.lock().unwrap().push(seen);
        outcome
    }
}

#[tonic::async_trait]
impl Authorization for Service {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        match self.0.check(request.into_inner()) {
            Some(Ok(response)) => Ok(Response::new(response)),
            Some(Err(code)) => Err(Status::new(tonic::Code::from(code), "wanted")),
            None => std::future::pending().await,
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
        let checks = Arc::clone(&self.0);
        let mode = self.1;
        let answers = request.into_inner().map(move |batch| {
            checks.batches.fetch_add(1, Ordering::Relaxed);
            let batch = batch?;
            assert!(batch.steering, "every batch says what its sender reads");
            let verdicts = batch.checks.into_iter().filter_map(|check| {
                let request = CheckRequest::decode(check.request).expect("a check request");
                let id = check.id;
                checks.check(request).map(|outcome| match outcome {
                    Ok(mut response) => Verdict {
                        id,
                        steering: (mode == Mode::Stream).then(|| typed(&mut response)).flatten(),
                        response: response.encode_to_vec().into(),
                        ..Verdict::default()
                    },
                    Err(grpc_status) => Verdict {
                        id,
                        grpc_status,
                        ..Verdict::default()
                    },
                })
            });
            Ok(VerdictBatch {
                verdicts: verdicts.collect(),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Takes what steers out of the headers of a yes.
fn typed(response: &mut CheckResponse) -> Option<Steering> {
    let Some(HttpResponse::OkResponse(ok)) = &mut response.http_response else {
        return None;
    };
    let mut steering = Steering::default();
    ok.headers.retain(|option| {
        let Some(HeaderValue { key, value, .. }) = &option.header else {
            return true;
        };
        match key.as_str() {
            CLUSTER_HEADER => steering.cluster.clone_from(value),
            ":path" => steering.path.clone_from(value),
            ":method" => steering.method.clone_from(value),
            "x-envoy-upstream-rq-timeout-ms" => steering.timeout_ms = Some(value.parse().unwrap()),
            "x-envoy-max-retries" => steering.retries = Some(value.parse().unwrap()),
            "x-envoy-retriable-status-codes" => {
                steering.retry_statuses = value.split(',').map(|code| code.parse().unwrap()).collect();
            }
            "x-envoy-retry-on" => {}
            _ => return true,
        }
        false
    });
    Some(steering)
}

fn header(key: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    }
}

fn metadata(more: &[(&str, &str)]) -> Option<Struct> {
    let fields = [(ENFORCER_REPLY, "Ok")].iter().chain(more).map(|(key, value)| {
        (
            (*key).to_owned(),
            Value {
                kind: Some(value::Kind::StringValue((*value).to_owned())),
            },
        )
    });
    Some(Struct {
        fields: fields.collect(),
    })
}

/// A yes that chooses a cluster.
pub(crate) fn allow(cluster: &str) -> CheckResponse {
    allow_with(&[(CLUSTER_HEADER, cluster)], &[])
}

/// A yes with headers to set and to remove.
pub(crate) fn allow_with(set: &[(&str, &str)], remove: &[&str]) -> CheckResponse {
    CheckResponse {
        status: Some(rpc::Status::default()),
        dynamic_metadata: metadata(&[("originalPath", "/original")]),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers: set.iter().map(|(key, value)| header(key, value)).collect(),
            headers_to_remove: remove.iter().map(|name| (*name).to_owned()).collect(),
            ..OkHttpResponse::default()
        })),
    }
}

/// A no.
pub(crate) fn deny(status: u16, body: &str, headers: &[(&str, &str)]) -> CheckResponse {
    CheckResponse {
        status: Some(rpc::Status {
            code: 16,
            ..rpc::Status::default()
        }),
        dynamic_metadata: metadata(&[("correlationID", "1")]),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus {
                code: i32::from(status),
            }),
            headers: headers.iter().map(|(key, value)| header(key, value)).collect(),
            body: body.to_owned(),
        })),
    }
}
