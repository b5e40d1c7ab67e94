//! The serving end against scripted clients. Time is paused: a wait that runs out costs nothing, one that never ends fails.

use std::{collections::BTreeSet, time::Duration};

use trireme_proto::{envoy::service::discovery::v3::DeltaDiscoveryRequest, names::type_url as urls};
use trireme_xds::{
    PARTIAL, Resource,
    server::{Cache, Settled},
};

mod common;

use common::{Link, Peer, names, node, resource, soon};

const WAIT: Duration = Duration::from_secs(5);

fn strings(of: &[&str]) -> Vec<String> {
    of.iter().map(|n| (*n).to_owned()).collect()
}

/// A cache with `a` and `b` for node L.
fn cache() -> (Cache, u64) {
    let cache = Cache::new();
    let version = cache.apply(
        "api/L",
        urls::API,
        vec![resource("a", "1"), resource("b", "1")],
        vec![],
    );
    cache.seal("api/L", urls::API);
    (cache, version)
}

#[tokio::test(start_paused = true)]
async fn ack_then_only_changes() {
    let (cache, version) = cache();
    let link = Link::to(&cache);
    assert_eq!(
        cache.settled("api/L", urls::API, version, WAIT).await,
        Settled::Acked { subscribers: 0 }
    );
    let mut peer = Peer::subscribed(&link, "L", urls::API).await;
    assert_eq!(peer.take().await, (strings(&["a@1", "b@1"]), vec![]));
    let version = cache.apply(
        "api/L",
        urls::API,
        vec![resource("b", "2"), resource("a", "1")],
        strings(&["x"]),
    );
    assert_eq!(peer.take().await, (strings(&["b@2"]), vec![]));
    assert_eq!(
        cache.settled("api/L", urls::API, version, WAIT).await,
        Settled::Acked { subscribers: 1 }
    );
    assert_eq!(
        cache.apply("api/L", urls::API, vec![resource("b", "2")], vec![]),
        version,
        "no change, no version"
    );
    let version = cache.replace("api/L", urls::API, vec![resource("b", "2"), resource("c", "1")]);
    assert_eq!(peer.take().await, (strings(&["c@1"]), strings(&["a"])));
    assert_eq!(
        cache.settled("api/L", urls::API, version, WAIT).await,
        Settled::Acked { subscribers: 1 }
    );
    let counters = cache.counters()[urls::API];
    assert_eq!(
        (counters.responses, counters.resources, counters.removals),
        (3, 4, 1)
    );
    assert_eq!((counters.acks, counters.nacks), (3, 0));
    assert!(counters.bytes > 0);
    assert_eq!(
        cache.versions("api/L", urls::API).into_iter().collect::<Vec<_>>(),
        [("b".into(), "2".into()), ("c".into(), "1".into())]
    );
}

#[tokio::test(start_paused = true)]
async fn nack_then_good_version() {
    let (cache, version) = cache();
    let link = Link::to(&cache);
    let mut peer = Peer::subscribed(&link, "L", urls::API).await;
    let response = peer.response().await.unwrap();
    let reason = "Error adding/updating cluster(s) b: no such thing";
    peer.nack(&response, reason).await;
    assert_eq!(
        peer.take().await,
        (strings(&["a@1"]), vec![]),
        "so that its version is remembered"
    );
    let settled = cache.settled("api/L", urls::API, version, WAIT).await;
    let rejection = settled.rejection_of("b").expect("b is rejected");
    assert_eq!(
        (rejection.node.as_str(), rejection.reason.as_str()),
        ("L", reason)
    );
    assert_eq!(settled.rejections().len(), 1, "a was taken: {settled:?}");
    let status = cache.status();
    assert_eq!(
        (status[0].node.as_str(), status[0].acked, status[0].current),
        ("L", version, version)
    );
    assert_eq!(status[0].rejected, settled.rejections());

    // The next thing to come is the next version: the rejected one was not sent again.
    let version = cache.apply("api/L", urls::API, vec![resource("b", "2")], vec![]);
    assert_eq!(peer.take().await, (strings(&["b@2"]), vec![]));
    assert_eq!(
        cache.settled("api/L", urls::API, version, WAIT).await,
        Settled::Acked { subscribers: 1 }
    );
    assert!(cache.status()[0].rejected.is_empty());
    let counters = cache.counters()[urls::API];
    assert_eq!((counters.acks, counters.nacks, counters.responses), (2, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn stale_nonce_is_ignored() {
    let (cache, version) = cache();
    let link = Link::to(&cache);
    let mut peer = Peer::subscribed(&link, "L", urls::API).await;
    let mut response = peer.response().await.unwrap();
    let nonce = std::mem::replace(&mut response.nonce, "another".into());
    peer.ack(&response).await;
    peer.nack(&response, "a: no").await;
    let settled = cache.settled("api/L", urls::API, version, WAIT).await;
    assert_eq!(
        settled,
        Settled::TimedOut {
            missing: strings(&["L"]),
            rejected: vec![]
        }
    );
    response.nonce = nonce;
    peer.ack(&response).await;
    assert_eq!(
        cache.settled("api/L", urls::API, version, WAIT).await,
        Settled::Acked { subscribers: 1 }
    );
}

#[tokio::test(start_paused = true)]
async fn settled_waits_for_the_slow_and_not_for_the_gone() {
    let (cache, version) = cache();
    let link = Link::to(&cache);
    let slow_link = Link::to(&cache);
    let mut quick = Peer::subscribed(&link, "L", urls::API).await;
    let mut slow = Peer::subscribed(&slow_link, "L", urls::API).await;
    quick.take().await;
    let response = slow.response().await.unwrap();
    let settled = cache.settled("api/L", urls::API, version, WAIT).await;
    assert_eq!(
        settled,
        Settled::TimedOut {
            missing: strings(&["L"]),
            rejected: vec![]
        }
    );

    // Late, but within the bound.
    let waiting = cache.settled("api/L", urls::API, version, WAIT);
    let (settled, ()) = tokio::join!(waiting, slow.ack(&response));
    assert_eq!(settled, Settled::Acked { subscribers: 2 });

    // Gone while waited for.
    let version = cache.apply("api/L", urls::API, vec![resource("c", "1")], vec![]);
    quick.take().await;
    slow.response().await.unwrap();
    let waiting = cache.settled("api/L", urls::API, version, Duration::from_secs(3600));
    let (settled, ()) = tokio::join!(waiting, async { slow_link.cut() });
    assert_eq!(settled, Settled::Acked { subscribers: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_gets_some_responses_and_then_the_sum_of_what_it_missed() {
    let (cache, _) = cache();
    let link = Link::to(&cache);
    let mut peer = Peer::subscribed(&link, "L", urls::API).await;
    let mut open = vec![peer.response().await.unwrap()];
    for i in 2..500 {
        cache.apply("api/L", urls::API, vec![resource("a", &i.to_string())], vec![]);
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sent = cache.counters()[urls::API].responses;
    assert!((2..=16).contains(&sent), "{sent}");
    while open.len() < usize::try_from(sent).unwrap() {
        open.push(peer.response().await.unwrap());
    }
    peer.ack(&open[0]).await;
    assert_eq!(peer.take().await, (strings(&["a@499"]), vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_owes_an_answer_for_long_is_not_waited_for_again() {
    let (cache, version) = cache();
    let link = Link::to(&cache);
    let mut peer = Peer::subscribed(&link, "L", urls::API).await;
    peer.response().await.unwrap();
    let bound = Duration::from_secs(5);
    let settled = async |version| {
        let begun = tokio::time::Instant::now();
        let settled = cache.settled("api/L", urls::API, version, bound).await;
        assert!(matches!(settled, Settled::TimedOut { .. }), "{settled:?}");
        begun.elapsed()
    };
    assert!(settled(version).await > bound / 2);
    let version = cache.apply("api/L", urls::API, vec![resource("a", "2")], vec![]);
    assert!(settled(version).await < bound / 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_cut_stream_left_open_is_sent_again_whatever_the_peer_says() {
    let (cache, version) = cache();
    let link = Link::to(&cache);
    let mut peer = Peer::subscribed(&link, "L", urls::API).await;
    peer.take().await;
    cache.settled("api/L", urls::API, version, WAIT).await;
    // It runs the new version and is cut before it can say so; the old one comes back.
    cache.apply("api/L", urls::API, vec![resource("a", "2")], vec![]);
    peer.response().await.unwrap();
    let mut progress = cache.progress();
    link.cut();
    progress.changed().await.unwrap();
    link.lead_to(&cache);
    let version = cache.apply("api/L", urls::API, vec![resource("a", "1")], vec![]);
    let again = async || {
        let mut peer = Peer::connect(&link).await;
        let held = [("a", "1"), ("b", "1")];
        peer.send(DeltaDiscoveryRequest {
            node: Some(node("L")),
            type_url: urls::API.into(),
            initial_resource_versions: held.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            ..Default::default()
        })
        .await;
        (peer.take().await, peer)
    };
    let (first, _open) = again().await;
    assert_eq!(first, (strings(&["a@1"]), vec![]));
    cache.settled("api/L", urls::API, version, WAIT).await;
    assert_eq!(again().await.0, (vec![], vec![]), "settled");
}

#[tokio::test(start_paused = true)]
async fn reconnect_gets_the_difference() {
    let (cache, _) = cache();
    let link = Link::to(&cache);
    let mut peer = Peer::connect(&link).await;
    let held = [("a", "1"), ("b", "0"), ("foreign", "9")];
    peer.send(DeltaDiscoveryRequest {
        node: Some(node("L")),
        type_url: urls::API.into(),
        resource_names_subscribe: strings(&["*"]),
        initial_resource_versions: held
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        ..Default::default()
    })
    .await;
    assert_eq!(peer.take().await, (strings(&["b@1"]), strings(&["foreign"])));
}

#[tokio::test(start_paused = true)]
async fn refused_streams_say_why() {
    let (cache, _) = cache();
    let link = Link::to(&cache);
    let cases = [
        (
            "unknown type",
            Some(node("L")),
            "x.Unknown",
            "type x.Unknown is not served to node L",
        ),
        (
            "no node",
            None,
            urls::API,
            "the first request needs a node with an id",
        ),
        ("no type", Some(node("L")), "", "request without a type url"),
    ];
    for (name, node, type_url, want) in cases {
        let mut peer = Peer::connect(&link).await;
        peer.send(DeltaDiscoveryRequest {
            node,
            type_url: type_url.into(),
            ..Default::default()
        })
        .await;
        let status = peer.response().await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (tonic::Code::InvalidArgument, want),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsealed_group_waits_and_demand_is_seen() {
    let cache = Cache::new();
    let link = Link::to(&cache);
    let mut demanded = cache.demanded();
    let mut peer = Peer::subscribed(&link, "new", urls::API).await;
    let want = BTreeSet::from(["api/new".to_owned()]);
    soon("demand", demanded.wait_for(|groups| *groups == want))
        .await
        .unwrap();
    assert_eq!(
        cache.counters().get(urls::API),
        None,
        "nothing is sent before the group is sealed"
    );
    cache.seal("api/new", urls::API);
    let first = peer.response().await.unwrap();
    assert_eq!(names(&first), (vec![], vec![]));
    drop(peer);
    soon("end of demand", demanded.wait_for(BTreeSet::is_empty))
        .await
        .unwrap();
    assert!(cache.status().is_empty());
}

#[tokio::test(start_paused = true)]
async fn large_content_is_split_below_one_mebibyte() {
    let cache = Cache::new();
    let resources = (0..20)
        .map(|i| Resource::new(format!("r{i:02}"), "1", vec![b'x'; 50_000]))
        .collect();
    let version = cache.apply("api/L", urls::API, resources, vec![]);
    cache.seal("api/L", urls::API);
    let link = Link::to(&cache);
    let mut peer = Peer::subscribed(&link, "L", urls::API).await;
    let mut seen = BTreeSet::new();
    loop {
        let response = peer.response().await.unwrap();
        assert!(prost::Message::encoded_len(&response) < 1 << 20);
        seen.extend(response.resources.iter().map(|r| r.name.clone()));
        peer.ack(&response).await;
        if !response.system_version_info.ends_with(PARTIAL) {
            break;
        }
        assert!(seen.len() < 20);
    }
    assert_eq!(seen.len(), 20);
    assert_eq!(
        cache.settled("api/L", urls::API, version, WAIT).await,
        Settled::Acked { subscribers: 1 }
    );
    assert_eq!(cache.counters()[urls::API].responses, 4);
}

#[tokio::test(start_paused = true)]
async fn envoys_way_of_subscribing() {
    let cache = Cache::new();
    cache.apply("cluster/L", urls::CLUSTER, vec![resource("c", "1")], vec![]);
    cache.apply("route/L", urls::ROUTE, vec![resource("default", "1")], vec![]);
    cache.seal("cluster/L", urls::CLUSTER);
    cache.seal("route/L", urls::ROUTE);
    let link = Link::to(&cache);
    // Everything of the clusters, by an empty list; later route configurations, by name and without the node.
    let mut peer = Peer::subscribed(&link, "L", urls::CLUSTER).await;
    assert_eq!(peer.take().await, (strings(&["c@1"]), vec![]));
    peer.send(DeltaDiscoveryRequest {
        type_url: urls::ROUTE.into(),
        resource_names_subscribe: strings(&["default", "absent"]),
        ..Default::default()
    })
    .await;
    assert_eq!(peer.take().await, (strings(&["default@1"]), strings(&["absent"])));
    peer.send(DeltaDiscoveryRequest {
        type_url: urls::ROUTE.into(),
        resource_names_unsubscribe: strings(&["default"]),
        resource_names_subscribe: strings(&["other"]),
        ..Default::default()
    })
    .await;
    assert_eq!(peer.take().await, (vec![], strings(&["other"])));
    cache.apply(
        "route/L",
        urls::ROUTE,
        vec![resource("default", "2"), resource("other", "1")],
        vec![],
    );
    assert_eq!(peer.take().await, (strings(&["other@1"]), vec![]));
}

#[tokio::test(start_paused = true)]
async fn one_change_among_ten_thousand_costs_one_resource_per_subscriber() {
    let cache = Cache::new();
    let resources = (0..10_000).map(|i| resource(&format!("api-{i}"), "1")).collect();
    cache.apply("api/L", urls::API, resources, vec![]);
    cache.seal("api/L", urls::API);
    let link = Link::to(&cache);
    let mut peers = [
        Peer::subscribed(&link, "L", urls::API).await,
        Peer::subscribed(&link, "L", urls::API).await,
    ];
    for peer in &mut peers {
        let mut count = 0;
        while count < 10_000 {
            count += peer.take().await.0.len();
        }
    }
    let before = cache.counters()[urls::API];
    assert_eq!(before.resources, 20_000);
    let version = cache.apply("api/L", urls::API, vec![resource("api-77", "2")], vec![]);
    for peer in &mut peers {
        assert_eq!(peer.take().await, (strings(&["api-77@2"]), vec![]));
    }
    assert_eq!(
        cache.settled("api/L", urls::API, version, WAIT).await,
        Settled::Acked { subscribers: 2 }
    );
    let after = cache.counters()[urls::API];
    assert_eq!(after.resources - before.resources, 2);
    assert!(
        after.bytes - before.bytes < 1024,
        "{}",
        after.bytes - before.bytes
    );
}

#[tokio::test(start_paused = true)]
async fn closing_ends_streams() {
    let (cache, _) = cache();
    let link = Link::to(&cache);
    let mut peer = Peer::subscribed(&link, "L", urls::API).await;
    peer.take().await;
    cache.close();
    assert_eq!(
        peer.response().await.unwrap_err().code(),
        tonic::Code::Unavailable
    );
}

#[tokio::test(start_paused = true)]
async fn state_of_the_world_is_refused() {
    use trireme_proto::envoy::service::discovery::v3::{
        DiscoveryRequest, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    };
    let link = Link::to(&Cache::new());
    let mut client = AggregatedDiscoveryServiceClient::new(link.channel());
    let call = client.stream_aggregated_resources(tokio_stream::once(DiscoveryRequest::default()));
    let status = soon("refusal", call).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}
