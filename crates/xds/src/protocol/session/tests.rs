use std::{collections::HashMap, time::Duration};

use trireme_proto::{google::rpc::Status, names::type_url as urls};

use super::*;
use crate::{
    protocol::{MAX_OPEN, nack},
    resource::{Rejection, Resource},
    set::Set,
};

/// A session and the sets it serves, without anything between them.
struct Bench {
    sets: Sets,
    session: Session,
    version: u64,
    now: Instant,
}

/// What a response holds: type's last word, upserts, removals, partial.
type Got = (String, Vec<String>, Vec<String>, bool);

impl Bench {
    fn new() -> Self {
        Self {
            sets: Sets::new(),
            session: Session::default(),
            version: 0,
            now: Instant::now(),
        }
    }

    fn set(&mut self, type_url: &str) -> &mut Set {
        self.sets.entry(("g".into(), type_url.into())).or_default()
    }

    fn seal(mut self, types: &[&str]) -> Self {
        for t in types {
            self.set(t).seal();
        }
        self
    }

    /// `+name` or `-name`.
    fn apply(&mut self, type_url: &str, changes: &[&str]) -> u64 {
        self.version += 1;
        let version = self.version;
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        for change in changes {
            match change.strip_prefix('-') {
                Some(name) => removals.push(name.to_owned()),
                None => upserts.push(Resource::new(
                    change.trim_start_matches('+'),
                    version.to_string(),
                    "body",
                )),
            }
        }
        self.set(type_url).apply(version, upserts, &removals);
        version
    }

    fn request(&mut self, mut request: DeltaDiscoveryRequest) -> Result<Option<Answer>, Refusal> {
        if self.session.node.is_none() && request.node.is_none() {
            request.node = Some(Node {
                id: "n".into(),
                ..Default::default()
            });
        }
        self.session.admit(&mut request, &|_, t| {
            if t == "unknown" {
                Err(UnknownType)
            } else {
                Ok("g".into())
            }
        })?;
        let answer = self.session.answer(&request);
        self.session.subscribe(&request, &self.sets)?;
        Ok(answer)
    }

    fn subscribe(&mut self, type_url: &str, names: &[&str]) {
        self.request(DeltaDiscoveryRequest {
            type_url: type_url.into(),
            resource_names_subscribe: names.iter().map(|n| (*n).to_owned()).collect(),
            ..Default::default()
        })
        .unwrap();
    }

    fn resume(&mut self, type_url: &str, names: &[&str], held: &[(&str, &str)]) {
        self.request(DeltaDiscoveryRequest {
            type_url: type_url.into(),
            resource_names_subscribe: names.iter().map(|n| (*n).to_owned()).collect(),
            initial_resource_versions: held
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            ..Default::default()
        })
        .unwrap();
    }

    fn unsubscribe(&mut self, type_url: &str, names: &[&str]) {
        self.request(DeltaDiscoveryRequest {
            type_url: type_url.into(),
            resource_names_unsubscribe: names.iter().map(|n| (*n).to_owned()).collect(),
            ..Default::default()
        })
        .unwrap();
    }

    fn chunk(&mut self) -> Option<Chunk> {
        self.session.next(&self.sets, self.now).unwrap()
    }

    fn ack(&mut self, type_url: &str, nonce: &str) -> Option<Answer> {
        let (type_url, response_nonce) = (type_url.to_owned(), nonce.to_owned());
        self.request(DeltaDiscoveryRequest {
            type_url,
            response_nonce,
            ..Default::default()
        })
        .unwrap()
    }

    fn nack(&mut self, type_url: &str, nonce: &str, error: Status) -> Option<Answer> {
        let (type_url, response_nonce) = (type_url.to_owned(), nonce.to_owned());
        self.request(DeltaDiscoveryRequest {
            type_url,
            response_nonce,
            error_detail: Some(error),
            ..Default::default()
        })
        .unwrap()
    }

    /// All that comes when everything is acked at once.
    fn drain(&mut self) -> Vec<Got> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk() {
            all.push(got(&chunk));
            assert_eq!(self.ack(&chunk.type_url, &chunk.nonce), Some(Answer::Ack));
        }
        all
    }

    fn acked(&self, type_url: &str) -> u64 {
        self.session
            .topics
            .iter()
            .find(|t| &*t.key.1 == type_url)
            .unwrap()
            .acked()
    }

    fn rejected(&self, type_url: &str) -> Vec<String> {
        let topic = self
            .session
            .topics
            .iter()
            .find(|t| &*t.key.1 == type_url)
            .unwrap();
        topic.rejected().map(|r| r.resource).collect()
    }
}

fn got(chunk: &Chunk) -> Got {
    let mut upserts: Vec<_> = chunk.upserts.iter().map(|r| r.name.clone()).collect();
    let mut removals: Vec<_> = chunk.removals.iter().map(ToString::to_string).collect();
    upserts.sort();
    removals.sort();
    (
        chunk.type_url.rsplit('.').next().unwrap().to_owned(),
        upserts,
        removals,
        chunk.partial,
    )
}

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|n| (*n).to_owned()).collect()
}

fn full(kind: &str, upserts: &[&str], removals: &[&str]) -> Got {
    (kind.to_owned(), names(upserts), names(removals), false)
}

const T: &str = "x.T";

#[test]
fn nothing_before_the_set_is_sealed_then_an_answer_even_if_empty() {
    let mut b = Bench::new();
    b.subscribe(T, &[]);
    assert!(b.chunk().is_none());
    b.apply(T, &["+a"]);
    assert!(b.chunk().is_none());
    assert_eq!(b.acked(T), 0);
    b.set(T).seal();
    assert_eq!(b.drain(), [full("T", &["a"], &[])]);
    assert_eq!(b.acked(T), 1);

    let mut b = Bench::new().seal(&[T]);
    b.subscribe(T, &["*"]);
    assert_eq!(b.drain(), [full("T", &[], &[])]);
}

#[test]
fn only_what_changed_is_sent_and_so_much_may_be_open() {
    let mut b = Bench::new().seal(&[T]);
    b.apply(T, &["+a", "+b"]);
    b.subscribe(T, &[]);
    let first = b.chunk().unwrap();
    b.apply(T, &["+c"]);
    b.apply(T, &["+c", "-a"]);
    let second = b.chunk().unwrap();
    assert_eq!(
        got(&second),
        full("T", &["c"], &["a"]),
        "the answer is not waited for"
    );
    assert_eq!(b.acked(T), 0);
    b.ack(T, &first.nonce);
    assert_eq!(
        b.acked(T),
        2,
        "version 2 of c is history, what is left is of version 3"
    );
    b.ack(T, &second.nonce);
    assert_eq!(b.acked(T), 3);
    assert_eq!(b.drain(), []);

    let mut open = Vec::new();
    for _ in 0..MAX_OPEN {
        b.apply(T, &["+c"]);
        open.push(b.chunk().unwrap().nonce);
    }
    b.apply(T, &["+d"]);
    b.apply(T, &["+e", "-b"]);
    assert!(b.chunk().is_none(), "the peer owes too many answers");
    assert_eq!(b.acked(T), 3);
    b.ack(T, &open[0]);
    let sum = b.chunk().unwrap();
    assert_eq!(got(&sum), full("T", &["d", "e"], &["b"]));
    // An answer that comes first answers nothing but its own.
    b.ack(T, &sum.nonce);
    assert_eq!(b.acked(T), 4);
    for nonce in &open[1..] {
        assert_eq!(b.ack(T, nonce), Some(Answer::Ack));
    }
    assert_eq!(b.acked(T), b.version);
}

#[test]
fn a_change_taken_back_before_it_was_sent_is_a_removal() {
    let mut b = Bench::new().seal(&[T]);
    b.subscribe(T, &[]);
    b.drain();
    b.apply(T, &["+a"]);
    b.apply(T, &["-a"]);
    assert_eq!(b.drain(), [full("T", &[], &["a"])]);
    assert_eq!(b.acked(T), 2);
}

/// How Envoy refuses some clusters of a response.
fn envoys(name: &str) -> Status {
    Status {
        code: 13,
        message: format!("Error adding/updating cluster(s) {name}: Failed to load certificate chain"),
        ..Default::default()
    }
}

#[test]
fn what_an_envoy_took_of_a_refused_response_is_settled_by_itself() {
    let mut b = Bench::new().seal(&[T]);
    b.apply(T, &["+old"]);
    b.subscribe(T, &[]);
    b.drain();
    let version = b.apply(T, &["+bad", "+good", "-old"]);
    let chunk = b.chunk().unwrap();
    assert_eq!(b.nack(T, &chunk.nonce, envoys("bad")), Some(Answer::Nack));
    assert_eq!((b.acked(T), b.rejected(T)), (version - 1, names(&["bad"])));
    assert_eq!(
        b.drain(),
        [full("T", &["good"], &["old"])],
        "once more, without what is bad"
    );
    assert_eq!((b.acked(T), b.rejected(T)), (version, names(&["bad"])));
    assert_eq!(b.drain(), []);

    // Something newer of it is on its way: that settles it.
    b.apply(T, &["+bad", "+good"]);
    let chunk = b.chunk().unwrap();
    b.apply(T, &["+good"]);
    let newer = b.chunk().unwrap();
    b.nack(T, &chunk.nonce, envoys("bad"));
    assert!(b.chunk().is_none());
    b.ack(T, &newer.nonce);
    assert_eq!((b.acked(T), b.rejected(T)), (b.version, names(&["bad"])));
}

#[test]
fn what_an_ended_stream_left_open_is_not_believed() {
    let doubtful = |b: &Bench| {
        let topic = b.session.topics.first().unwrap();
        let mut all: Vec<_> = topic.doubtful().cloned().collect();
        all.sort();
        all
    };
    let mut b = Bench::new().seal(&[T]);
    b.apply(T, &["+bad", "+good", "+still"]);
    b.subscribe(T, &[]);
    let chunk = b.chunk().unwrap();
    b.nack(T, &chunk.nonce, envoys("bad"));
    let left = doubtful(&b);
    assert_eq!(
        left,
        ["good".into(), "still".into()],
        "Envoy knows what it refused"
    );
    let again = b.chunk().unwrap();
    assert_eq!(doubtful(&b).len(), 4, "each twice");
    b.ack(T, &again.nonce);
    assert_eq!(doubtful(&b), []);

    // The peer comes again and says what it had before; one of them is gone meanwhile.
    b.apply(T, &["-still"]);
    b.session = Session::default();
    b.request(DeltaDiscoveryRequest {
        type_url: T.into(),
        initial_resource_versions: HashMap::from([("good".into(), "1".into()), ("bad".into(), "1".into())]),
        ..Default::default()
    })
    .unwrap();
    b.session.topics_mut().first_mut().unwrap().doubt(left);
    assert_eq!(b.drain(), [full("T", &["good"], &["still"])]);
}

#[test]
fn reconnect_brings_the_difference_and_removes_what_the_server_never_had() {
    let mut b = Bench::new().seal(&[T]);
    b.apply(T, &["+a", "+b"]);
    b.apply(T, &["+b"]);
    b.resume(T, &["*"], &[("a", "1"), ("b", "1"), ("foreign", "77")]);
    assert_eq!(b.drain(), [full("T", &["b"], &["foreign"])]);

    let mut b = Bench::new().seal(&[T]);
    b.resume(T, &[], &[("foreign", "77")]);
    assert_eq!(b.drain(), [full("T", &[], &["foreign"])]);
}

#[test]
fn stale_nonces_are_no_answer() {
    let mut b = Bench::new().seal(&[T]);
    b.apply(T, &["+a"]);
    b.subscribe(T, &[]);
    let first = b.chunk().unwrap();
    assert_eq!(b.ack(T, "999"), None);
    assert_eq!(b.ack(T, ""), None);
    assert_eq!(b.nack(T, "0", Status::default()), None);
    assert_eq!((b.acked(T), b.rejected(T)), (0, vec![]));
    assert_eq!(b.ack(T, &first.nonce), Some(Answer::Ack));
    assert_eq!(b.ack(T, &first.nonce), None, "answered once");
    assert_eq!(b.acked(T), 1);
}

#[test]
fn a_rejected_version_is_not_sent_again_but_the_next_one_is() {
    let mut b = Bench::new().seal(&[T]);
    b.apply(T, &["+good", "+bad"]);
    b.subscribe(T, &[]);
    let chunk = b.chunk().unwrap();
    b.nack(T, &chunk.nonce, nack::write(&[Rejection::new("bad", "wrong")]));
    assert_eq!((b.acked(T), b.rejected(T)), (1, names(&["bad"])));
    assert_eq!(b.drain(), []);
    b.apply(T, &["+other"]);
    assert_eq!(b.drain(), [full("T", &["other"], &[])]);
    assert_eq!(b.rejected(T), names(&["bad"]), "still the last word on it");
    b.apply(T, &["+bad"]);
    assert_eq!(b.drain(), [full("T", &["bad"], &[])]);
    assert_eq!(b.rejected(T), names(&[]));

    b.apply(T, &["+bad"]);
    let chunk = b.chunk().unwrap();
    b.nack(
        T,
        &chunk.nonce,
        Status {
            message: "no name in here".into(),
            ..Default::default()
        },
    );
    assert_eq!(b.rejected(T), names(&["bad"]));
    b.apply(T, &["-bad"]);
    b.drain();
    assert_eq!(
        b.rejected(T),
        names(&[]),
        "a removed resource is no longer rejected"
    );
}

/// A router whose port is taken says so in its answer to whatever comes next: the clusters in there are good.
#[test]
fn a_refusal_of_something_else_does_not_spoil_the_response() {
    let mut b = Bench::new().seal(&[T]);
    b.subscribe(T, &[]);
    b.drain();
    let version = b.apply(T, &["+1", "+2", "+3"]);
    let chunk = b.chunk().unwrap();
    b.nack(
        T,
        &chunk.nonce,
        nack::write(&[Rejection::new("listener", "in use")]),
    );
    assert_eq!(b.drain(), [], "nothing is sent again");
    assert_eq!((b.acked(T), b.rejected(T)), (version, names(&["listener"])));
    b.apply(T, &["+1"]);
    b.drain();
    assert_eq!(b.rejected(T), names(&[]), "the next answer no longer says so");
}

#[test]
fn a_response_refused_as_a_whole_is_halved_until_the_bad_one_stands_alone() {
    let mut b = Bench::new().seal(&[T]);
    b.subscribe(T, &[]);
    b.drain();
    b.apply(T, &["+old"]);
    b.drain();
    b.apply(T, &["+1", "+2", "+bad", "+4", "+5", "-old"]);
    let later = b.version + 1;
    let (mut taken, mut removed, mut responses) = (Vec::new(), Vec::new(), 0);
    while let Some(chunk) = b.chunk() {
        responses += 1;
        assert!(b.acked(T) < b.version);
        let (_, upserts, removals, _) = got(&chunk);
        if upserts.contains(&"bad".to_owned()) {
            b.nack(
                T,
                &chunk.nonce,
                Status {
                    message: "cannot read that".into(),
                    ..Default::default()
                },
            );
        } else {
            b.ack(T, &chunk.nonce);
            taken.extend(upserts);
            removed.extend(removals);
        }
        if responses == 1 {
            // What changes meanwhile is sent once, as it is then.
            assert_eq!(b.apply(T, &["+4"]), later);
        }
    }
    taken.sort();
    assert_eq!((taken, removed), (names(&["1", "2", "4", "5"]), names(&["old"])));
    assert_eq!((b.rejected(T), b.acked(T)), (names(&["bad"]), later));
    assert_eq!(responses, 8, "log2 steps and the removal");
    assert_eq!(b.drain(), []);
}

#[test]
fn names_are_answered_whether_they_exist_or_not() {
    let mut b = Bench::new().seal(&[T]);
    b.apply(T, &["+default", "+other"]);
    b.subscribe(T, &["default", "missing"]);
    assert_eq!(b.drain(), [full("T", &["default"], &["missing"])]);
    b.apply(T, &["+other", "+missing"]);
    assert_eq!(b.drain(), [full("T", &["missing"], &[])]);
    b.subscribe(T, &["default", "nowhere"]);
    assert_eq!(
        b.drain(),
        [full("T", &["default"], &["nowhere"])],
        "sent again: it may have been dropped"
    );
    b.unsubscribe(T, &["default"]);
    b.apply(T, &["+default"]);
    assert_eq!(b.drain(), []);
    assert_eq!(
        b.acked(T),
        b.version,
        "what it does not want does not hold anybody up"
    );
    b.resume(T, &["default"], &[("default", "ignored after the first request")]);
    assert_eq!(b.drain(), [full("T", &["default"], &[])]);
}

#[test]
fn wildcard_comes_and_goes() {
    let mut b = Bench::new().seal(&[T]);
    b.apply(T, &["+a", "+b"]);
    b.subscribe(T, &["a"]);
    assert_eq!(b.drain(), [full("T", &["a"], &[])]);
    b.subscribe(T, &["*"]);
    assert_eq!(b.drain(), [full("T", &["b"], &[])]);
    b.unsubscribe(T, &["a"]);
    assert_eq!(
        b.drain(),
        [full("T", &["a"], &[])],
        "the wildcard still covers it"
    );
    b.subscribe(T, &["b"]);
    b.drain();
    b.unsubscribe(T, &["*"]);
    b.apply(T, &["+a", "+b"]);
    assert_eq!(b.drain(), [full("T", &["b"], &[])]);
}

#[test]
fn clusters_before_routes_before_listeners_and_back() {
    let all = [urls::CLUSTER, urls::ROUTE, urls::LISTENER];
    let mut b = Bench::new().seal(&all);
    b.apply(urls::CLUSTER, &["+c1"]);
    b.apply(urls::ROUTE, &["+r1"]);
    b.apply(urls::LISTENER, &["+l1"]);
    // The order of subscription does not matter.
    for t in [urls::LISTENER, urls::ROUTE, urls::CLUSTER] {
        b.subscribe(t, &[]);
    }
    assert_eq!(
        b.drain(),
        [
            full("Cluster", &["c1"], &[]),
            full("RouteConfiguration", &["r1"], &[]),
            full("Listener", &["l1"], &[])
        ]
    );

    // A route moves from c1 to c2: several steps of the publisher, one flush here.
    b.apply(urls::CLUSTER, &["+c2"]);
    b.apply(urls::ROUTE, &["+r1", "-r0"]);
    b.apply(urls::ROUTE, &["+r2"]);
    b.apply(urls::CLUSTER, &["-c1"]);
    assert_eq!(
        b.drain(),
        [
            full("Cluster", &["c2"], &[]),
            full("RouteConfiguration", &["r1", "r2"], &[]),
            full("Cluster", &[], &["c1"]),
        ]
    );

    b.apply(urls::LISTENER, &["-l1"]);
    b.apply(urls::ROUTE, &["-r1", "-r2"]);
    b.apply(urls::CLUSTER, &["-c2"]);
    assert_eq!(
        b.drain(),
        [
            full("Listener", &[], &["l1"]),
            full("RouteConfiguration", &[], &["r1", "r2"]),
            full("Cluster", &[], &["c2"]),
        ]
    );
    assert!(all.iter().all(|t| b.acked(t) > 0));
}

#[test]
fn routes_wait_a_bounded_time_for_the_answer_to_clusters() {
    let mut b = Bench::new().seal(&[urls::CLUSTER, urls::ROUTE, T]);
    for t in [urls::CLUSTER, urls::ROUTE, T] {
        b.subscribe(t, &[]);
    }
    b.drain();
    b.apply(urls::CLUSTER, &["+slow"]);
    b.apply(urls::ROUTE, &["+r1"]);
    let slow = b.chunk().unwrap();
    assert_eq!(got(&slow), full("Cluster", &["slow"], &[]));
    let until = b.now + CLUSTER_BOUND;
    assert!(b.chunk().is_none());
    assert_eq!(b.session.wake(b.now), Some(until));

    b.now += CLUSTER_BOUND / 2;
    b.apply(T, &["+t"]);
    assert_eq!(b.drain(), [full("T", &["t"], &[])], "what is independent goes on");
    b.apply(urls::CLUSTER, &["+quick"]);
    b.apply(urls::ROUTE, &["+r2"]);
    let quick = b.chunk().unwrap();
    assert_eq!(got(&quick), full("Cluster", &["quick"], &[]), "clusters go on");
    assert!(b.chunk().is_none());
    assert_eq!(
        b.session.wake(b.now),
        Some(until),
        "the bound is not counted anew"
    );

    b.now = until - Duration::from_millis(1);
    assert!(b.chunk().is_none());
    b.now = until;
    assert_eq!(b.session.wake(b.now), None);
    assert_eq!(b.drain(), [full("RouteConfiguration", &["r1", "r2"], &[])]);

    // While that one is late, nobody waits for it again.
    b.apply(urls::CLUSTER, &["+c3"]);
    b.apply(urls::ROUTE, &["+r3"]);
    let c3 = b.chunk().unwrap();
    assert_eq!(b.drain(), [full("RouteConfiguration", &["r3"], &[])]);
    for nonce in [slow.nonce, quick.nonce, c3.nonce] {
        b.ack(urls::CLUSTER, &nonce);
    }
    assert_eq!(b.drain(), []);

    // Answered in time, they follow at once; removals of clusters are waited for by nobody.
    b.apply(urls::CLUSTER, &["+c4"]);
    b.apply(urls::ROUTE, &["+r4"]);
    let c4 = b.chunk().unwrap();
    assert!(b.chunk().is_none());
    b.ack(urls::CLUSTER, &c4.nonce);
    assert_eq!(b.drain(), [full("RouteConfiguration", &["r4"], &[])]);
    b.apply(urls::CLUSTER, &["-c4"]);
    let gone = b.chunk().unwrap();
    assert_eq!(got(&gone), full("Cluster", &[], &["c4"]));
    b.apply(urls::ROUTE, &["+r5"]);
    assert_eq!(b.drain(), [full("RouteConfiguration", &["r5"], &[])]);
}

#[test]
fn a_large_first_answer_is_split_and_says_when_it_ends() {
    let mut b = Bench::new().seal(&[T]);
    let body = vec![7_u8; 75_000];
    let resources = (0..10)
        .map(|i| Resource::new(format!("r{i}"), "1", body.clone()))
        .collect();
    b.set(T).apply(1, resources, &[]);
    b.version = 1;
    b.resume(T, &["*"], &[("gone", "1")]);
    let mut chunks = Vec::new();
    while let Some(chunk) = b.chunk() {
        assert_eq!(b.acked(T), 0, "not before the last");
        b.ack(T, &chunk.nonce);
        if chunks.is_empty() {
            // What changes meanwhile comes after.
            b.apply(T, &["+later"]);
        }
        let got = got(&chunk);
        let response = chunk.encode();
        assert!(prost::Message::encoded_len(&response) < 256 << 10);
        assert_eq!(response.system_version_info.ends_with(crate::PARTIAL), got.3);
        chunks.push((got.1.len(), got.2.len(), got.3));
    }
    assert_eq!(chunks, [(3, 0, true), (3, 0, true), (3, 0, true), (2, 1, false)]);
    assert_eq!(b.acked(T), 2);
}

#[test]
fn one_resource_above_the_limit_goes_alone_and_many_removals_are_split() {
    let mut b = Bench::new().seal(&[T]);
    b.set(T).apply(
        1,
        vec![
            Resource::new("big", "1", vec![1; 3 << 20]),
            Resource::new("small", "1", "x"),
        ],
        &[],
    );
    b.subscribe(T, &[]);
    assert_eq!(b.drain().iter().map(|g| g.1.len()).collect::<Vec<_>>(), [1, 1]);

    let mut b = Bench::new().seal(&[T]);
    let held: HashMap<String, String> = (0..7_500)
        .map(|i| (format!("{i:0100}"), "1".to_owned()))
        .collect();
    b.request(DeltaDiscoveryRequest {
        type_url: T.into(),
        initial_resource_versions: held,
        ..Default::default()
    })
    .unwrap();
    let chunks = b.drain();
    assert_eq!(chunks.iter().map(|g| g.2.len()).sum::<usize>(), 7_500);
    assert_eq!(
        chunks.iter().map(|g| g.3).collect::<Vec<_>>(),
        [true, true, true, false]
    );
}

#[test]
fn refused_requests() {
    type Make = fn() -> DeltaDiscoveryRequest;
    let cases: [(&str, Make, Refusal); 5] = [
        (
            "no node id",
            || DeltaDiscoveryRequest {
                node: Some(Node::default()),
                type_url: T.into(),
                ..Default::default()
            },
            Refusal::NoNode,
        ),
        ("no type", DeltaDiscoveryRequest::default, Refusal::NoType),
        (
            "unknown type",
            || DeltaDiscoveryRequest {
                type_url: "unknown".into(),
                ..Default::default()
            },
            Refusal::UnknownType {
                type_url: "unknown".into(),
                node: "n".into(),
            },
        ),
        (
            "long name",
            || DeltaDiscoveryRequest {
                type_url: T.into(),
                resource_names_subscribe: vec!["x".repeat(5000)],
                ..Default::default()
            },
            Refusal::NameTooLong,
        ),
        (
            "many names",
            || DeltaDiscoveryRequest {
                type_url: T.into(),
                resource_names_subscribe: (0..5000).map(|i| format!("{i:04000}")).collect(),
                ..Default::default()
            },
            Refusal::TooManyNames,
        ),
    ];
    for (name, request, want) in cases {
        assert_eq!(Bench::new().request(request()), Err(want), "{name}");
    }
    let mut b = Bench::new();
    for i in 0..MAX_TOPICS {
        b.subscribe(&format!("t{i}"), &[]);
    }
    let request = DeltaDiscoveryRequest {
        type_url: "more".into(),
        ..Default::default()
    };
    assert_eq!(b.request(request), Err(Refusal::TooManyTypes));
}

#[test]
fn a_peer_that_missed_forgotten_removals_has_to_reconnect() {
    let mut b = Bench::new().seal(&[T]);
    let all: Vec<String> = (0..2000).map(|i| format!("+{i}")).collect();
    b.apply(T, &all.iter().map(String::as_str).collect::<Vec<_>>());
    b.subscribe(T, &[]);
    b.drain();
    for name in &all {
        b.apply(T, &[&name.replace('+', "-")]);
    }
    let version = b.version;
    b.set(T).prune(version);
    assert!(matches!(b.session.next(&b.sets, b.now), Err(Refusal::Behind)));
}

#[test]
fn under_steady_change_old_versions_still_settle_in_order() {
    let mut b = Bench::new().seal(&[T]);
    b.subscribe(T, &[]);
    b.drain();
    let mut acked = Vec::new();
    b.apply(T, &["+r0"]);
    let mut open = b.chunk().unwrap();
    for i in 1..5 {
        b.apply(T, &[&format!("+r{i}")]);
        let next = b.chunk().unwrap();
        b.ack(T, &open.nonce);
        open = next;
        acked.push(b.acked(T));
    }
    assert_eq!(acked, [1, 2, 3, 4]);
}
