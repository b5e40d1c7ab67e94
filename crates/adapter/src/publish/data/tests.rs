//! Scripted peers of a plain set. Time is paused.

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::status::Status;
use crate::testing::{Peer, names_of};

struct Running {
    set: Set,
    cache: Cache,
    statuses: Statuses,
    _task: AbortOnDropHandle<()>,
}

fn entry(name: &str, version: &str) -> Resource {
    Resource::new(name, version, version.as_bytes().to_vec())
}

/// An open set of the enforcers' configuration with `entries`.
fn start(entries: &[(&str, &str)]) -> Running {
    let cache = Cache::new();
    let statuses = Statuses::new(cache.clone());
    let (mut publisher, set) = SetPublisher::new(CONFIG, cache.clone(), statuses.clone());
    for (name, version) in entries {
        set.put(entry(name, version));
    }
    publisher.open();
    let task = tokio::spawn(publisher.run(CancellationToken::new()));
    Running {
        set,
        cache,
        statuses,
        _task: AbortOnDropHandle::new(task),
    }
}

impl Running {
    /// An enforcer that has been sent nothing yet.
    async fn peer(&self, name: &str) -> Peer {
        Peer::connect(&self.cache, name, &[], &[type_url::CONFIG]).await
    }

    fn status(&self) -> Status {
        self.statuses.sets()["config"].clone()
    }

    /// What peers have once they have it all, by name and version.
    fn held(&self) -> Vec<(String, String)> {
        let held = self.cache.versions(groups::CONFIG, type_url::CONFIG);
        held.into_iter().collect()
    }
}

fn pair(one: &str, two: &str) -> (String, String) {
    (one.to_owned(), two.to_owned())
}

#[tokio::test(start_paused = true)]
async fn entries_are_added_replaced_and_removed() {
    let adapter = start(&[("a", "1")]);
    let mut peer = adapter.peer("one").await;
    let sent = peer.take(1).await;
    assert_eq!(names_of(&sent[0]), ["a"]);

    adapter.set.put(entry("b", "1"));
    let sent = peer.next().await;
    assert_eq!(names_of(&sent), ["b"], "and nothing that is there already");
    assert_eq!(
        adapter.status(),
        Status::Pending {
            missing: vec!["one".to_owned()]
        }
    );
    peer.ack(&sent).await;

    adapter.set.put(entry("a", "2"));
    let sent = peer.take(1).await;
    assert_eq!(
        (names_of(&sent[0]), sent[0].resources[0].version.as_str()),
        (vec!["a"], "2")
    );

    adapter.set.remove("b");
    let sent = peer.take(1).await;
    assert_eq!(sent[0].removed_resources, ["b"]);
    peer.quiet(ANSWER_BOUND).await;
    assert_eq!(adapter.held(), [pair("a", "2")]);
    assert_eq!(adapter.status(), Status::Active);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_sent_as_one_and_the_last_of_each_entry_counts() {
    let adapter = start(&[]);
    let mut peer = adapter.peer("one").await;
    peer.take(1).await;
    let begun = Instant::now();
    for turn in 0..9 {
        adapter.set.put(entry("a", &turn.to_string()));
        adapter.set.put(entry(&format!("b{turn}"), "1"));
        adapter.set.remove("b3");
        tokio::time::sleep(QUIET / 2).await;
    }
    let sent = peer.take(1).await;
    assert!(begun.elapsed() < LONGEST_UNREST, "{:?}", begun.elapsed());
    let names = ["a", "b0", "b1", "b2", "b4", "b5", "b6", "b7", "b8"];
    assert_eq!(names_of(&sent[0]), names);
    assert_eq!(sent[0].resources[0].version, "8");
    peer.quiet(ANSWER_BOUND).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_refuses_goes_back_to_the_last_good_one() {
    let adapter = start(&[("a", "1"), ("b", "1")]);
    let mut peer = adapter.peer("one").await;
    peer.take(1).await;
    // Both are answered, which the publisher must have seen.
    peer.quiet(ANSWER_BOUND).await;

    adapter.set.put(entry("a", "2"));
    adapter.set.put(entry("b", "2"));
    let sent = peer.next().await;
    peer.nack(&sent, "a", "no such issuer").await;
    let back = peer.take(1).await;
    assert_eq!(
        (names_of(&back[0]), back[0].resources[0].version.as_str()),
        (vec!["a"], "1")
    );
    assert_eq!(adapter.held(), [pair("a", "1"), pair("b", "2")]);
    let reason = "one refused a: no such issuer".to_owned();
    assert_eq!(adapter.status(), Status::Rejected { reason });

    let mut late = adapter.peer("late").await;
    let sent = late.take(1).await;
    let mut got: Vec<(String, String)> = sent[0]
        .resources
        .iter()
        .map(|one| pair(&one.name, &one.version))
        .collect();
    got.sort();
    assert_eq!(got, [pair("a", "1"), pair("b", "2")], "the same as the others");

    adapter.set.put(entry("a", "3"));
    peer.take(1).await;
    late.take(1).await;
    peer.quiet(ANSWER_BOUND).await;
    assert_eq!(adapter.held(), [pair("a", "3"), pair("b", "2")]);
    assert_eq!(adapter.status(), Status::Active);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_good_one_stays_and_is_told_of() {
    let adapter = start(&[("a", "1")]);
    adapter.set.put(entry("b", "1"));
    let mut peer = adapter.peer("one").await;
    let sent = peer.next().await;
    peer.nack(&sent, "a", "not understood").await;
    // Long after anybody waits for an answer.
    peer.take(1).await;
    peer.quiet(2 * ANSWER_BOUND).await;
    assert_eq!(adapter.held(), [pair("a", "1"), pair("b", "1")]);
    let reason = "one refused a: not understood".to_owned();
    assert_eq!(adapter.status(), Status::Rejected { reason });
    adapter.set.remove("a");
    peer.take(1).await;
    peer.quiet(ANSWER_BOUND).await;
    assert_eq!(adapter.status(), Status::Active);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_silent_peer() {
    let adapter = start(&[("a", "1")]);
    let (mut silent, mut peer) = (adapter.peer("silent").await, adapter.peer("quick").await);
    silent.next().await;
    peer.take(1).await;
    let begun = Instant::now();
    for turn in 2..6 {
        adapter.set.put(entry("a", &turn.to_string()));
        assert_eq!(peer.take(1).await[0].resources[0].version, turn.to_string());
    }
    assert!(begun.elapsed() < ANSWER_BOUND, "{:?}", begun.elapsed());
    peer.quiet(ANSWER_BOUND).await;
    let missing = vec!["silent".to_owned()];
    assert_eq!(adapter.status(), Status::Pending { missing });
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_can_change_anything() {
    let cache = Cache::new();
    let (mut publisher, set) = SetPublisher::new(CONFIG, cache.clone(), Statuses::new(cache.clone()));
    set.put(entry("a", "1"));
    publisher.open();
    set.put(entry("b", "1"));
    drop(set);
    publisher.run(CancellationToken::new()).await;
    let held: Vec<String> = cache
        .versions(groups::CONFIG, type_url::CONFIG)
        .into_keys()
        .collect();
    assert_eq!(held, ["a", "b"], "what was changed last is sent");
}
