//! The receiving end against the real server and against scripted ones. Time is paused, so backoff costs nothing.

#![allow(clippy::unwrap_used, reason = "test support")]

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Streaming};
use trireme_proto::{
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
    },
    names::type_url as urls,
};
use trireme_xds::{
    Rejection, Resource,
    client::{self, Settings, Status, Update},
    server::{Cache, Settled},
};

mod common;

use common::{Link, node, resource, soon};

const WAIT: Duration = Duration::from_secs(5);

fn strings(of: &[&str]) -> Vec<String> {
    of.iter().map(|n| (*n).to_owned()).collect()
}

/// A running client of node L that refuses what is in `refuse` (`name@version`).
struct Client {
    updates: mpsc::Receiver<Update>,
    status: watch::Receiver<Status>,
    refuse: Arc<Mutex<BTreeSet<String>>>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Client {
    fn start(link: &Link, types: &[&'static str], last_good: Option<&Path>) -> Self {
        let mut settings = Settings::new(node("L"), types.to_vec());
        settings.last_good = last_good.map(Path::to_owned);
        let (seen, updates) = mpsc::channel(1000);
        let (status_sender, status) = watch::channel(Status::default());
        let refuse = Arc::new(Mutex::new(BTreeSet::new()));
        let refused = Arc::clone(&refuse);
        let apply = move |update: Update| {
            let refused = refused.lock().unwrap();
            let bad = update
                .upserts
                .iter()
                .filter(|r| refused.contains(&format!("{}@{}", r.name, r.version)));
            let rejections = bad.map(|r| Rejection::new(&r.name, "field x is wrong")).collect();
            seen.try_send(update).unwrap();
            rejections
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(client::run(
            link.channel(),
            settings,
            apply,
            status_sender,
            shutdown.clone(),
        ));
        Self {
            updates,
            status,
            refuse,
            shutdown,
            task,
        }
    }

    /// Upserts as `name@version`, removals, completeness of the next update.
    async fn update(&mut self) -> (Vec<String>, Vec<String>, bool) {
        let update = soon("an update", self.updates.recv()).await.unwrap();
        let mut upserts: Vec<_> = update
            .upserts
            .iter()
            .map(|r| format!("{}@{}", r.name, r.version))
            .collect();
        upserts.sort();
        (upserts, update.removals, update.complete)
    }

    async fn until(&mut self, what: &str, done: impl FnMut(&Status) -> bool) -> Status {
        soon(what, self.status.wait_for(done)).await.unwrap().clone()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        soon("shutdown", self.task).await.unwrap();
    }
}

fn cache() -> Cache {
    let cache = Cache::new();
    cache.apply(
        "api/L",
        urls::API,
        vec![resource("a", "1"), resource("b", "1")],
        vec![],
    );
    cache.seal("api/L", urls::API);
    cache
}

#[tokio::test(start_paused = true)]
async fn ack_and_status() {
    let cache = cache();
    cache.seal("config", urls::CONFIG);
    let link = Link::to(&cache);
    let mut client = Client::start(&link, &[urls::CONFIG, urls::API], None);
    assert_eq!(
        client.update().await,
        (vec![], vec![], true),
        "an empty first answer is one"
    );
    assert_eq!(client.update().await, (strings(&["a@1", "b@1"]), vec![], true));
    let status = client.until("completeness", Status::complete).await;
    assert!(status.connected && status.last_update.is_some());
    assert_eq!(
        (status.types[urls::API].held, status.types[urls::API].live),
        (2, true)
    );
    let version = cache.apply("api/L", urls::API, vec![resource("a", "2")], strings(&["b"]));
    let settled = cache.settled("api/L", urls::API, version, WAIT).await;
    assert_eq!(settled, Settled::Acked { subscribers: 1 });
    assert_eq!(client.update().await, (strings(&["a@2"]), strings(&["b"]), false));
    client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejected_resource_does_not_keep_the_others_and_its_next_version_is_taken() {
    let cache = cache();
    let link = Link::to(&cache);
    let mut client = Client::start(&link, &[urls::API], None);
    client.refuse.lock().unwrap().insert("a@2".into());
    client.update().await;
    let version = cache.apply(
        "api/L",
        urls::API,
        vec![resource("a", "2"), resource("b", "2")],
        vec![],
    );
    let settled = cache.settled("api/L", urls::API, version, WAIT).await;
    assert_eq!(settled.rejections().len(), 1);
    assert_eq!(settled.rejection_of("a").unwrap().reason, "field x is wrong");
    let status = client
        .until("rejection", |s| !s.types[urls::API].rejected.is_empty())
        .await;
    assert_eq!(
        status.types[urls::API].rejected,
        [Rejection::new("a", "field x is wrong")]
    );

    // After a reconnect the refused version is offered once more, and what was taken is not.
    assert_eq!(client.update().await.0, ["a@2", "b@2"]);
    link.cut();
    client.until("loss", |s| !s.connected).await;
    link.lead_to(&cache);
    assert_eq!(client.update().await, (strings(&["a@2"]), vec![], true));

    let version = cache.apply("api/L", urls::API, vec![resource("a", "3")], vec![]);
    let settled = cache.settled("api/L", urls::API, version, WAIT).await;
    assert_eq!(settled, Settled::Acked { subscribers: 1 });
    assert!(client.status.borrow().types[urls::API].rejected.is_empty());
    client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn reconnect_transfers_only_changes() {
    let cache = cache();
    let link = Link::to(&cache);
    let mut client = Client::start(&link, &[urls::API], None);
    client.update().await;
    link.cut();
    let status = client
        .until("loss", |s| !s.connected && s.last_error.is_some())
        .await;
    assert!(status.complete(), "what is held stays");
    cache.apply("api/L", urls::API, vec![resource("c", "1")], strings(&["a"]));
    link.lead_to(&cache);
    assert_eq!(client.update().await, (strings(&["c@1"]), strings(&["a"]), true));
    client
        .until("reconnection", |s| s.connected && s.last_error.is_none())
        .await;
    assert_eq!(
        cache.counters()[urls::API].resources,
        3,
        "a and b before, c after"
    );

    link.cut();
    client.until("loss", |s| !s.connected).await;
    link.lead_to(&cache);
    assert_eq!(client.update().await, (vec![], vec![], true));
    assert_eq!(cache.counters()[urls::API].resources, 3);
    client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_with_a_new_store_removes_what_it_does_not_know() {
    let link = Link::to(&cache());
    let mut client = Client::start(&link, &[urls::API], None);
    client.update().await;
    link.cut();
    let other = Cache::new();
    other.apply(
        "api/L",
        urls::API,
        vec![resource("b", "1"), resource("z", "1")],
        vec![],
    );
    other.seal("api/L", urls::API);
    link.lead_to(&other);
    assert_eq!(client.update().await, (strings(&["z@1"]), strings(&["a"]), true));
    client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_split_first_answer_is_complete_with_its_last_part() {
    let cache = Cache::new();
    let resources = (0..5)
        .map(|i| Resource::new(format!("r{i}"), "1", vec![b'x'; 100_000]))
        .collect();
    cache.apply("api/L", urls::API, resources, vec![]);
    cache.seal("api/L", urls::API);
    let link = Link::to(&cache);
    let mut client = Client::start(&link, &[urls::API], None);
    let mut parts = Vec::new();
    while parts.len() < 3 {
        let (upserts, _, complete) = client.update().await;
        parts.push((upserts.len(), complete));
    }
    assert_eq!(parts, [(2, false), (2, false), (1, true)]);
    client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_good_file_serves_without_a_server_and_is_corrected_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("enforcer.snapshot");
    let cache = cache();
    let link = Link::to(&cache);
    let mut client = Client::start(&link, &[urls::API], Some(&path));
    client.update().await;
    let updated = client
        .until("an update", |s| s.last_update.is_some())
        .await
        .last_update;
    client.stop().await;

    let dead = Link::default();
    let mut client = Client::start(&dead, &[urls::API], Some(&path));
    assert_eq!(client.update().await, (strings(&["a@1", "b@1"]), vec![], true));
    let status = client.until("an attempt", |s| s.last_error.is_some()).await;
    let state = &status.types[urls::API];
    assert_eq!(
        (state.held, state.complete, state.live, status.connected),
        (2, true, false, false)
    );
    let age = |at: Option<std::time::SystemTime>| {
        at.unwrap()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis()
    };
    assert_eq!(
        age(status.last_update),
        age(updated),
        "the age is that of the content, not of the process"
    );

    // What the file holds is announced: only the difference comes, and what is gone since goes.
    cache.apply("api/L", urls::API, vec![resource("c", "1")], strings(&["a"]));
    let before = cache.counters()[urls::API].resources;
    dead.lead_to(&cache);
    assert_eq!(client.update().await, (strings(&["c@1"]), strings(&["a"]), true));
    assert_eq!(cache.counters()[urls::API].resources - before, 1);
    client.stop().await;

    let mut client = Client::start(&Link::default(), &[urls::API], Some(&path));
    assert_eq!(client.update().await, (strings(&["b@1", "c@1"]), vec![], true));
    client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_good_file_is_written_while_connected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("router.snapshot");
    let cache = cache();
    let link = Link::to(&cache);
    let mut client = Client::start(&link, &[urls::API], Some(&path));
    client.update().await;
    soon("the file", async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    // Not even a moment to say goodbye.
    client.task.abort();
    let mut client = Client::start(&Link::default(), &[urls::API], Some(&path));
    assert_eq!(client.update().await, (strings(&["a@1", "b@1"]), vec![], true));
    client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_file_is_refused_with_a_reason_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("router.snapshot");
    let cache = cache();
    let link = Link::to(&cache);
    let client = Client::start(&link, &[urls::API], Some(&path));
    client.status.clone().wait_for(Status::complete).await.unwrap();
    client.stop().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();

    let mut client = Client::start(&link, &[urls::API], Some(&path));
    assert_eq!(
        client.update().await,
        (strings(&["a@1", "b@1"]), vec![], true),
        "from the server, all of it"
    );
    let status = client.until("live content", |s| s.types[urls::API].live).await;
    assert_eq!(
        status.file_refused.as_deref(),
        Some("the checksum is wrong, the file is damaged")
    );
    client.stop().await;
    let mut client = Client::start(&Link::default(), &[urls::API], Some(&path));
    assert_eq!(client.update().await, (strings(&["a@1", "b@1"]), vec![], true));
    assert_eq!(client.status.borrow().file_refused, None);
    client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_written_is_reported_and_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let blocker = folder.path().join("file");
    std::fs::write(&blocker, "in the way").unwrap();
    let cache = cache();
    let link = Link::to(&cache);
    let mut client = Client::start(&link, &[urls::API], Some(&blocker.join("router.snapshot")));
    client.update().await;
    client.until("the report", |s| s.file_unwritten.is_some()).await;
    let version = cache.apply("api/L", urls::API, vec![resource("c", "1")], vec![]);
    let settled = cache.settled("api/L", urls::API, version, WAIT).await;
    assert_eq!(settled, Settled::Acked { subscribers: 1 });
    client.stop().await;
}

/// A server that says what the test says, and passes on what it hears.
struct Script {
    said: Mutex<Option<mpsc::Receiver<Result<DeltaDiscoveryResponse, tonic::Status>>>>,
    heard: mpsc::Sender<DeltaDiscoveryRequest>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Script {
    type StreamAggregatedResourcesStream = tokio_stream::Empty<Result<DiscoveryResponse, tonic::Status>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, tonic::Status>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, tonic::Status> {
        Err(tonic::Status::unimplemented(""))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, tonic::Status> {
        let said = self
            .said
            .lock()
            .unwrap()
            .take()
            .ok_or_else(|| tonic::Status::unavailable("one stream only"))?;
        let (heard, mut requests) = (self.heard.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if heard.send(request).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(said)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_server() {
    let (say, said) = mpsc::channel(8);
    let (heard, mut hear) = mpsc::channel(8);
    let link = Link::default();
    let script = Script {
        said: Mutex::new(Some(said)),
        heard,
    };
    link.lead_to_service(AggregatedDiscoveryServiceServer::new(script));
    let mut client = Client::start(&link, &[urls::API, urls::CONFIG], None);
    let opening = soon("opening", hear.recv()).await.unwrap();
    assert_eq!(
        (opening.type_url.as_str(), opening.node.unwrap().id),
        (urls::API, "L".into())
    );
    assert_eq!(opening.resource_names_subscribe, ["*"]);
    assert_eq!(soon("opening", hear.recv()).await.unwrap().type_url, urls::CONFIG);

    let response = |type_url: &str, nonce: &str, removed: &[&str]| DeltaDiscoveryResponse {
        type_url: type_url.to_owned(),
        nonce: nonce.to_owned(),
        removed_resources: strings(removed),
        ..Default::default()
    };
    say.send(Ok(response(urls::CLUSTER, "n1", &[]))).await.unwrap();
    let nack = soon("a nack", hear.recv()).await.unwrap();
    assert_eq!(
        (nack.type_url.as_str(), nack.response_nonce.as_str()),
        (urls::CLUSTER, "n1")
    );
    assert!(nack.error_detail.unwrap().message.contains("was not asked for"));

    say.send(Ok(response(urls::API, "n2", &["never heard of it"])))
        .await
        .unwrap();
    let ack = soon("an ack", hear.recv()).await.unwrap();
    assert_eq!(
        (ack.response_nonce.as_str(), ack.error_detail, ack.node),
        ("n2", None, None)
    );
    assert_eq!(
        client.update().await,
        (vec![], strings(&["never heard of it"]), true)
    );
    assert!(
        !client.status.borrow().complete(),
        "the other type is still missing"
    );

    say.send(Err(tonic::Status::internal("out of order")))
        .await
        .unwrap();
    let status = client
        .until("loss", |s| {
            s.last_error
                .as_deref()
                .is_some_and(|e| e.contains("out of order"))
        })
        .await;
    assert!(!status.connected);
    client.stop().await;
}

/// A server whose every stream breaks after its first message.
struct Brittle {
    opened: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Brittle {
    type StreamAggregatedResourcesStream = tokio_stream::Empty<Result<DiscoveryResponse, tonic::Status>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, tonic::Status>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, tonic::Status> {
        Err(tonic::Status::unimplemented(""))
    }

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, tonic::Status> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let (say, said) = mpsc::channel(2);
        let first = DeltaDiscoveryResponse {
            type_url: urls::API.to_owned(),
            nonce: "1".to_owned(),
            ..Default::default()
        };
        say.try_send(Ok(first)).unwrap();
        say.try_send(Err(tonic::Status::internal("broken"))).unwrap();
        Ok(Response::new(ReceiverStream::new(said)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_always_breaks_off_is_not_hammered() {
    let opened = Arc::new(AtomicUsize::new(0));
    let link = Link::default();
    let brittle = Brittle {
        opened: Arc::clone(&opened),
    };
    link.lead_to_service(AggregatedDiscoveryServiceServer::new(brittle));
    let client = Client::start(&link, &[urls::API], None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let streams = opened.load(Ordering::Relaxed);
    assert!((30..90).contains(&streams), "{streams} streams in a minute");
    client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_away_for_long_is_found_within_a_second() {
    let cache = cache();
    let link = Link::to(&cache);
    let mut client = Client::start(&link, &[urls::API], None);
    client.update().await;
    for _ in 0..8 {
        // Away, and there for a moment.
        link.cut();
        client.until("loss", |status| !status.connected).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        link.lead_to(&cache);
        let back = tokio::time::Instant::now();
        client.until("connection", |status| status.connected).await;
        assert!(
            back.elapsed() <= Duration::from_millis(1100),
            "{:?}",
            back.elapsed()
        );
    }
    client.stop().await;
}
