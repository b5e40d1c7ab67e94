//! What the tests of several modules need: projects, and an adapter without its sockets.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::Streaming;
use tonic::transport::{Endpoint, Server};
use tracing::subscriber::DefaultGuard;
use trireme_config::{AccessLogs, Config, Env};
use trireme_project::Limits;
use trireme_proto::envoy::config::core::v3::Node;
use trireme_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use trireme_proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, ResourceError, ResourceName,
};
use trireme_proto::google::protobuf::Any;
use trireme_proto::google::rpc::Status;
use trireme_proto::names::{feature, type_url};
use trireme_routing::snapshot::Revision;
use trireme_translate::{Surroundings, system};
use trireme_xds::server::{self, Cache, UnknownType};

use crate::catalogue::{Catalogue, Settings};
use crate::publish::{Base, Publisher};
use crate::resources::ApiResources;
use crate::status::Statuses;
use crate::store::Store;
use crate::{groups, resources, settings};

/// A project that can be varied.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) context: &'static str,
    /// Further members of `data`, two spaces in front of each line.
    pub(crate) extra: &'static str,
    /// Environments and virtual hosts; none leaves the file out.
    pub(crate) environments: &'static [(&'static str, &'static str)],
    pub(crate) endpoint: &'static str,
}

impl Default for Project {
    fn default() -> Self {
        Self {
            name: "Pets",
            version: "1.0.0",
            context: "/pets",
            extra: "",
            environments: &[],
            endpoint: "http://pets.local",
        }
    }
}

impl Project {
    /// Its files.
    pub(crate) fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let api = format!(
            "type: api\nversion: v4.2.0\ndata:\n  name: {}\n  version: {}\n  context: {}\n  type: HTTP\n  \
             endpointConfig: {{ production_endpoints: {{ url: '{}' }} }}\n{}",
            self.name, self.version, self.context, self.endpoint, self.extra
        );
        let definition = "openapi: 3.0.1\ninfo: { title: T, version: V }\npaths:\n  /a:\n    get: { responses: { '200': { \
                          description: ok } } }\n";
        let mut files = vec![
            ("api.yaml", api.into_bytes()),
            ("Definitions/swagger.yaml", definition.as_bytes().to_vec()),
        ];
        if !self.environments.is_empty() {
            let mut text = String::from("data:\n");
            for (environment, vhost) in self.environments {
                text +=
                    &format!("  - {{ deploymentEnvironment: {environment}, deploymentVhost: '{vhost}' }}\n");
            }
            files.push(("deployment_environments.yaml", text.into_bytes()));
        }
        files
    }

    /// As an archive.
    pub(crate) fn archive(&self) -> Bytes {
        archive(&self.files())
    }
}

/// Files as an archive.
pub(crate) fn archive<C: AsRef<[u8]>>(files: &[(&str, C)]) -> Bytes {
    let files = files.iter().map(|(path, content)| (*path, content.as_ref()));
    trireme_project::archive("project", files).unwrap().into()
}

/// A project as the resources it is published as.
pub(crate) fn resources(project: &Project, vhost: &str, counter: u64) -> ApiResources {
    let archive = project.archive();
    let surroundings = Surroundings {
        reading: trireme_project::Settings::new(trireme_project::Defaults::Require),
        organization: "carbon.super",
        vhost: &|_| Some(vhost.to_owned()),
        settings: &translation(),
    };
    let archive = trireme_project::Archive(&archive);
    let (_, draft) = surroundings.prepare(&archive).unwrap().drafts.remove(0);
    ApiResources::new(&draft.at(Revision { epoch: 1, counter }))
}

/// What every label has, with a plain listener only.
pub(crate) fn base() -> Base {
    let mut config = Config::default();
    config.router.secured_listener_port = 0;
    let listeners = settings::listeners(&config, &AccessLogs::default());
    Base {
        listeners: listeners.iter().map(resources::listener).collect(),
        system: resources::fragment(&system::fragment(&translation())),
    }
}

/// A router or an enforcer that does what it is told, over an in-memory stream.
pub(crate) struct Peer {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    _server: AbortOnDropHandle<()>,
}

/// Longest wait for something that is to come.
const SOON: Duration = Duration::from_secs(60);

impl Peer {
    /// A router of a label that takes fragments.
    pub(crate) async fn router(cache: &Cache, label: &str) -> Self {
        let types = [type_url::CLUSTER, type_url::ROUTE, type_url::LISTENER];
        Self::connect(cache, label, &[feature::ROUTE_FRAGMENTS], &types).await
    }

    /// An enforcer of a label.
    pub(crate) async fn enforcer(cache: &Cache, label: &str) -> Self {
        Self::connect(cache, label, &[], &[type_url::API]).await
    }

    pub(crate) async fn connect(cache: &Cache, label: &str, features: &[&str], types: &[&str]) -> Self {
        let service = server::service(cache.clone(), |node, wanted| {
            groups::of(node, wanted).ok_or(UnknownType)
        });
        let (near, far) = tokio::io::duplex(1 << 20);
        let serving = Server::builder()
            .add_service(service)
            .serve_with_incoming(tokio_stream::once(Ok::<_, std::io::Error>(far)));
        let server = tokio::spawn(async move { serving.await.unwrap_or_default() });
        let mut near = Some(TokioIo::new(near));
        let channel = Endpoint::from_static("http://in-memory").connect_with_connector_lazy(
            tower::service_fn(move |_| {
                let near = near.take().ok_or(std::io::ErrorKind::ConnectionRefused);
                async move { near.map_err(std::io::Error::from) }
            }),
        );
        let (requests, queue) = mpsc::channel(64);
        for wanted in types {
            let node = Node {
                id: label.to_owned(),
                client_features: features.iter().map(|name| (*name).to_owned()).collect(),
                ..Node::default()
            };
            let subscription = DeltaDiscoveryRequest {
                node: Some(node),
                type_url: (*wanted).to_owned(),
                ..DeltaDiscoveryRequest::default()
            };
            requests.try_send(subscription).unwrap();
        }
        let responses = AggregatedDiscoveryServiceClient::new(channel)
            .max_decoding_message_size(64 << 20)
            .delta_aggregated_resources(ReceiverStream::new(queue))
            .await
            .unwrap()
            .into_inner();
        Self {
            requests,
            responses,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// The next response, which is to come.
    pub(crate) async fn next(&mut self) -> DeltaDiscoveryResponse {
        tokio::time::timeout(SOON, self.responses.message())
            .await
            .expect("a response is due")
            .unwrap()
            .expect("the stream stays open")
    }

    /// Answers responses until `count` of them have come; all are taken.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<DeltaDiscoveryResponse> {
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            let response = self.next().await;
            self.ack(&response).await;
            taken.push(response);
        }
        taken
    }

    /// Nothing comes for that long (of paused time).
    pub(crate) async fn quiet(&mut self, period: Duration) {
        if let Ok(response) = tokio::time::timeout(period, self.responses.message()).await {
            panic!("nothing was to come, but {response:?} has");
        }
    }

    pub(crate) async fn ack(&self, response: &DeltaDiscoveryResponse) {
        self.answer(response, None).await;
    }

    pub(crate) async fn nack(&self, response: &DeltaDiscoveryResponse, resource: &str, reason: &str) {
        let status = Status {
            code: 3,
            message: format!("{resource}: {reason}"),
            details: vec![Any {
                type_url: "type.googleapis.com/envoy.service.discovery.v3.ResourceError".to_owned(),
                value: ResourceError {
                    resource_name: Some(ResourceName {
                        name: resource.to_owned(),
                        ..ResourceName::default()
                    }),
                    error_detail: Some(Status {
                        code: 3,
                        message: reason.to_owned(),
                        details: Vec::new(),
                    }),
                }
                .encode_to_vec(),
            }],
        };
        self.answer(response, Some(status)).await;
    }

    async fn answer(&self, response: &DeltaDiscoveryResponse, error_detail: Option<Status>) {
        let answer = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(answer).await.unwrap();
    }
}

/// Names of the resources of a response.
pub(crate) fn names_of(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|one| one.name.as_str()).collect()
}

/// An adapter without its sockets; its publisher ends with it.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) catalogue: Catalogue,
    pub(crate) cache: Cache,
    pub(crate) store: Store,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Bench {
    /// Over the store in `folder`, with what it holds published.
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_with(folder, Limits::default()).await
    }

    pub(crate) async fn start_with(folder: &Path, limits: Limits) -> Self {
        let cache = Cache::new();
        let statuses = Statuses::new(cache.clone());
        let (mut publisher, submitter) =
            Publisher::new(cache.clone(), statuses.clone(), base(), ["Default".to_owned()]);
        let store = Store::open(folder).await.unwrap();
        let vhosts = [("Default", "localhost"), ("Second", "second.local")];
        let settings = Settings {
            organization: "carbon.super".to_owned(),
            vhosts: vhosts
                .map(|(environment, vhost)| (environment.to_owned(), vhost.to_owned()))
                .into(),
            limits,
            consul: false,
            env: Env::default(),
            translation: translation(),
        };
        let loaded = Catalogue::load(store.clone(), settings, statuses, submitter)
            .await
            .unwrap();
        publisher.seed(loaded.changes);
        publisher.seal();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(publisher.run(stop.clone()));
        Self {
            catalogue: loaded.catalogue,
            cache,
            store,
            stop,
            tasks,
        }
    }

    /// Ends it in good order; faults of the publisher fail the test.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

/// What this thread logs from now on.
pub(crate) struct Logged {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

/// Writes to the end of shared lines.
struct Append(Arc<Mutex<Vec<u8>>>);

impl io::Write for Append {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    pub(crate) fn start() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let end = Arc::clone(&lines);
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || Append(Arc::clone(&end)));
        Self {
            lines,
            _guard: tracing::subscriber::set_default(subscriber.finish()),
        }
    }

    /// The lines with this message since the last time, as objects.
    pub(crate) fn take(&self, message: &str) -> Vec<Value> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        let lines = serde_json::Deserializer::from_slice(&lines).into_iter::<Value>();
        lines
            .map(Result::unwrap)
            .filter(|line| line["message"] == message)
            .collect()
    }
}

/// Settings of the default configuration.
pub(crate) fn translation() -> trireme_translate::Settings {
    settings::translation(&Config::default())
}

/// A private key as PKCS#8 PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}
