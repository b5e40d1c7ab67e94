use trireme_proto::google::protobuf::Any;

use super::*;

const T: &str = "x.T";

fn wire(name: &str, version: &str) -> WireResource {
    WireResource {
        name: name.into(),
        version: version.into(),
        resource: Some(Any {
            type_url: T.into(),
            value: name.as_bytes().to_vec(),
        }),
        ..Default::default()
    }
}

fn response(resources: Vec<WireResource>, removed: &[&str], version: &str) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        system_version_info: version.into(),
        resources,
        removed_resources: removed.iter().map(|n| (*n).to_owned()).collect(),
        type_url: T.into(),
        nonce: format!("n{version}"),
        ..Default::default()
    }
}

/// Upserts, removals, complete.
type Seen = (Vec<String>, Vec<String>, bool);

fn take(receiver: &mut Receiver, response: DeltaDiscoveryResponse, refuse: &[&str]) -> (Seen, Reply) {
    let (incoming, update) = receiver.receive(response).unwrap();
    let seen = (
        update
            .upserts
            .iter()
            .map(|r| format!("{}@{}", r.name, r.version))
            .collect(),
        update.removals,
        update.complete,
    );
    let reply = receiver.conclude(
        incoming,
        refuse.iter().map(|n| Rejection::new(*n, "no")).collect(),
    );
    (seen, reply)
}

fn strings(of: &[&str]) -> Vec<String> {
    of.iter().map(|n| (*n).to_owned()).collect()
}

fn announced(receiver: &mut Receiver) -> Vec<(String, String)> {
    let mut all: Vec<_> = receiver
        .open(&Node::default())
        .remove(0)
        .initial_resource_versions
        .into_iter()
        .collect();
    all.sort();
    all
}

#[test]
fn opening_announces_everything_held_and_the_node_once() {
    let mut r = Receiver::new(&[T, "x.U", T], false);
    let requests = r.open(&Node {
        id: "me".into(),
        ..Default::default()
    });
    assert_eq!(
        requests.iter().map(|q| q.type_url.as_str()).collect::<Vec<_>>(),
        [T, "x.U"]
    );
    assert_eq!(requests.iter().filter(|q| q.node.is_some()).count(), 1);
    assert!(
        requests
            .iter()
            .all(|q| q.resource_names_subscribe == ["*"] && q.initial_resource_versions.is_empty())
    );
    take(&mut r, response(vec![wire("a", "1")], &[], "1"), &[]);
    assert_eq!(announced(&mut r), [("a".into(), "1".into())]);
}

#[test]
fn a_split_first_answer_completes_with_its_last_message_once_per_stream() {
    let mut r = Receiver::new(&[T], true);
    r.open(&Node::default());
    let (seen, reply) = take(&mut r, response(vec![wire("a", "1")], &[], "7;more"), &[]);
    assert_eq!(seen, (strings(&["a@1"]), vec![], false));
    assert_eq!(
        (reply.request.response_nonce.as_str(), reply.request.error_detail),
        ("n7;more", None)
    );
    assert!(r.held().is_empty(), "half an answer is not to be kept");
    let (seen, _) = take(&mut r, response(vec![wire("b", "1")], &[], "7"), &[]);
    assert_eq!(seen, (strings(&["b@1"]), vec![], true));
    let status = r.status().remove(T).unwrap();
    assert_eq!(
        (status.held, status.complete, status.live, status.version.as_str()),
        (2, true, true, "7")
    );
    let (seen, _) = take(&mut r, response(vec![], &["b"], "8"), &[]);
    assert_eq!(seen, (vec![], strings(&["b"]), false));
    r.open(&Node::default());
    let (seen, reply) = take(&mut r, response(vec![], &[], "8"), &[]);
    assert_eq!((seen, reply.changed), ((vec![], vec![], true), false));
    assert_eq!(r.held(), [(T, vec![Resource::new("a", "1", "a")])]);
}

#[test]
fn a_refused_resource_keeps_its_last_good_version() {
    let mut r = Receiver::new(&[T], true);
    take(
        &mut r,
        response(vec![wire("a", "1"), wire("b", "1")], &[], "1"),
        &[],
    );
    let (_, reply) = take(
        &mut r,
        response(vec![wire("a", "2"), wire("b", "2")], &[], "2"),
        &["a"],
    );
    let error = reply.request.error_detail.unwrap();
    assert_eq!((error.message.as_str(), error.details.len()), ("a: no", 1));
    assert_eq!(
        announced(&mut r),
        [("a".into(), "1".into()), ("b".into(), "2".into())]
    );
    assert_eq!(r.status()[T].rejected, [Rejection::new("a", "no")]);

    // The server goes back to what is held: over, and told to whoever applies.
    let (seen, reply) = take(
        &mut r,
        response(vec![wire("a", "1"), wire("b", "2")], &[], "3"),
        &[],
    );
    assert_eq!(seen.0, ["a@1"]);
    assert!(reply.request.error_detail.is_none());
    assert!(r.status()[T].rejected.is_empty());
}

/// A port that is taken spoils the listener of another type; it must not stand refused here for ever.
#[test]
fn what_is_refused_beside_a_response_stands_until_the_next_one() {
    let mut r = Receiver::new(&[T], false);
    r.open(&Node::default());
    let rejected = |r: &Receiver| {
        let all: Vec<_> = r.status()[T]
            .rejected
            .iter()
            .map(|r| r.resource.clone())
            .collect();
        all
    };
    take(&mut r, response(vec![wire("bad", "1")], &[], "1"), &["bad"]);
    let (_, reply) = take(
        &mut r,
        response(vec![wire("a", "1")], &[], "2"),
        &["bad", "listener"],
    );
    assert!(reply.request.error_detail.is_some());
    assert_eq!(
        (r.status()[T].held, rejected(&r)),
        (1, strings(&["bad", "listener"]))
    );
    take(&mut r, response(vec![wire("b", "1")], &[], "3"), &[]);
    assert_eq!((r.status()[T].held, rejected(&r)), (2, strings(&["bad"])));
}

#[test]
fn a_refused_resource_that_the_server_has_dropped_is_forgotten_with_the_next_stream() {
    let mut r = Receiver::new(&[T], true);
    take(&mut r, response(vec![wire("bad", "1")], &[], "1"), &["bad"]);
    r.open(&Node::default());
    assert_eq!(r.status()[T].rejected.len(), 1, "not by reconnecting alone");
    take(&mut r, response(vec![], &[], "2"), &[]);
    assert!(r.status()[T].rejected.is_empty());
}

#[test]
fn malformed_resources_are_refused_one_by_one() {
    let mut r = Receiver::new(&[T], false);
    let resources = vec![
        WireResource {
            resource: None,
            ..wire("bodyless", "1")
        },
        WireResource {
            name: String::new(),
            ..wire("", "1")
        },
        WireResource {
            resource: Some(Any {
                type_url: "x.U".into(),
                value: vec![],
            }),
            ..wire("other", "1")
        },
        wire("twice", "1"),
        wire("good", "1"),
        wire("twice", "2"),
    ];
    let (seen, reply) = take(&mut r, response(resources, &["good", "unknown"], "1"), &[]);
    assert_eq!(
        seen,
        (strings(&["twice@2", "good@1"]), strings(&["unknown"]), true)
    );
    let message = reply.request.error_detail.unwrap().message;
    assert_eq!(
        message,
        "bodyless: resource without a body; *: resource without a name; other: type is x.U, not x.T"
    );
    assert_eq!(r.status()[T].held, 2);
}

#[test]
fn an_unknown_type_is_refused() {
    let r = Receiver::new(&[T], false);
    let response = DeltaDiscoveryResponse {
        type_url: "x.U".into(),
        nonce: "5".into(),
        ..Default::default()
    };
    let refusal = r.receive(response).unwrap_err();
    assert_eq!(
        (refusal.type_url.as_str(), refusal.response_nonce.as_str()),
        ("x.U", "5")
    );
    assert_eq!(
        refusal.error_detail.unwrap().message,
        "*: type x.U was not asked for"
    );
}

#[test]
fn restored_content_is_complete_but_not_live_and_what_is_refused_is_not_held() {
    let mut r = Receiver::new(&[T], true);
    assert!(r.restore("x.U", vec![]).is_none());
    let (incoming, update) = r
        .restore(
            T,
            vec![Resource::new("a", "1", "a"), Resource::new("b", "1", "b")],
        )
        .unwrap();
    assert_eq!((update.upserts.len(), update.complete), (2, true));
    r.conclude(incoming, vec![Rejection::new("b", "no")]);
    let status = &r.status()[T];
    assert_eq!((status.held, status.complete, status.live), (1, true, false));
    assert_eq!(announced(&mut r), [("a".into(), "1".into())]);
}
