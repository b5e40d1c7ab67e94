//! Peers over in-memory streams: a real server, a link that can be cut, a scripted client.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of it")]
#![allow(clippy::unwrap_used, reason = "test support")]

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{DuplexStream, copy_bidirectional, duplex},
    sync::mpsc,
    task::JoinSet,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint, Server},
};
use trireme_proto::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
            aggregated_discovery_service_server::{
                AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
            },
        },
    },
    google::rpc::Status,
    names::type_url as urls,
};
use trireme_xds::{
    Resource,
    server::{self, Cache, UnknownType},
};

/// Longest wait for anything that is to happen (of paused time, where a test pauses it).
pub const BOUND: Duration = Duration::from_secs(60);

pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, work).await {
        Ok(out) => out,
        Err(_) => panic!("{what} did not happen"),
    }
}

/// The wire between clients and a server that may be cut, and led to another server.
#[derive(Clone, Default)]
pub struct Link {
    inner: Arc<Mutex<Wires>>,
}

#[derive(Default)]
struct Wires {
    server: Option<mpsc::Sender<io::Result<DuplexStream>>>,
    pumps: JoinSet<()>,
}

impl Link {
    pub fn to(cache: &Cache) -> Self {
        let link = Self::default();
        link.lead_to(cache);
        link
    }

    /// New connections go to a server over this cache.
    pub fn lead_to(&self, cache: &Cache) {
        self.lead_to_service(server::service(cache.clone(), grouping));
    }

    pub fn lead_to_service<S: AggregatedDiscoveryService>(
        &self,
        service: AggregatedDiscoveryServiceServer<S>,
    ) {
        let (sender, incoming) = mpsc::channel(16);
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(ReceiverStream::new(incoming)),
        );
        self.inner.lock().unwrap().server = Some(sender);
    }

    /// Ends every connection and refuses new ones until it leads to a server again.
    pub fn cut(&self) {
        let mut wires = self.inner.lock().unwrap();
        wires.server = None;
        wires.pumps.abort_all();
    }

    pub fn channel(&self) -> Channel {
        let inner = Arc::clone(&self.inner);
        Endpoint::from_static("http://in-memory").connect_with_connector_lazy(tower::service_fn(move |_| {
            let mut wires = inner.lock().unwrap();
            let end = wires.server.clone().map(|server| {
                let (client, mut near) = duplex(64 << 10);
                let (mut far, accepted) = duplex(64 << 10);
                wires.pumps.spawn(async move {
                    if server.send(Ok(accepted)).await.is_ok() {
                        copy_bidirectional(&mut near, &mut far).await.ok();
                    }
                });
                TokioIo::new(client)
            });
            async move { end.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused)) }
        }))
    }
}

pub fn grouping(node: &Node, type_url: &str) -> Result<String, UnknownType> {
    match type_url {
        urls::API => Ok(format!("api/{}", node.id)),
        urls::CLUSTER => Ok(format!("cluster/{}", node.id)),
        urls::ROUTE => Ok(format!("route/{}", node.id)),
        urls::CONFIG => Ok("config".to_owned()),
        _ => Err(UnknownType),
    }
}

pub fn node(id: &str) -> Node {
    Node {
        id: id.to_owned(),
        ..Default::default()
    }
}

pub fn resource(name: &str, version: &str) -> Resource {
    Resource::new(name, version, format!("{name} in version {version}"))
}

/// A client that does what it is told.
pub struct Peer {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Peer {
    pub async fn connect(link: &Link) -> Self {
        let (requests, queue) = mpsc::channel(16);
        let mut client =
            AggregatedDiscoveryServiceClient::new(link.channel()).max_decoding_message_size(64 << 20);
        let call = client.delta_aggregated_resources(ReceiverStream::new(queue));
        let responses = soon("connecting", call).await.unwrap().into_inner();
        Self { requests, responses }
    }

    /// Connects and subscribes to everything of a type.
    pub async fn subscribed(link: &Link, id: &str, type_url: &str) -> Self {
        let peer = Self::connect(link).await;
        peer.send(DeltaDiscoveryRequest {
            node: Some(node(id)),
            type_url: type_url.to_owned(),
            ..Default::default()
        })
        .await;
        peer
    }

    pub async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    pub async fn response(&mut self) -> Result<DeltaDiscoveryResponse, tonic::Status> {
        soon("a response", self.responses.next())
            .await
            .unwrap_or_else(|| Err(tonic::Status::ok("end of stream")))
    }

    pub async fn ack(&self, response: &DeltaDiscoveryResponse) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..Default::default()
        })
        .await;
    }

    pub async fn nack(&self, response: &DeltaDiscoveryResponse, message: &str) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: Some(Status {
                code: 13,
                message: message.to_owned(),
                details: Vec::new(),
            }),
            ..Default::default()
        })
        .await;
    }

    /// The next response, acked.
    pub async fn take(&mut self) -> (Vec<String>, Vec<String>) {
        let response = self.response().await.unwrap();
        self.ack(&response).await;
        names(&response)
    }
}

/// `name@version` of the resources, and the removed names, each sorted.
pub fn names(response: &DeltaDiscoveryResponse) -> (Vec<String>, Vec<String>) {
    let mut upserts: Vec<_> = response
        .resources
        .iter()
        .map(|r| format!("{}@{}", r.name, r.version))
        .collect();
    let mut removals = response.removed_resources.clone();
    upserts.sort();
    removals.sort();
    (upserts, removals)
}
