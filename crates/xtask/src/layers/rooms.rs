//! The order of a crate's rooms: the folders and files directly below `src`.

use std::collections::BTreeSet;

use super::graph::Graph;

/// Package, and the order of its rooms.
const ORDERS: [(&str, &str); 2] = [("trireme-router", ROUTER), ("trireme-enforcer", ENFORCER)];

/// From the lowest to the highest: a file may need its own room and what stands below that.
const ROUTER: &str = "
    error
    settings
    exec
    places
    edit
    enforcer
    peer
    edge
    cluster
    event
    snapshot
    exporter
    filters
    upstream
    downstream
    respond
    exchange
    discovery
    admin
    app
    lib
    main
";

/// The same for the enforcer.
const ENFORCER: &str = "
    error
    java
    event
    tally
    verdict
    wire
    attributes
    api
    credential
    limits
    security
    snapshot
    need
    authn
    authz
    throttle
    check
    respond
    service
    health
    worker
    utility
    discovery
    admin
    app
    lib
    main
";

/// What the order of its crate, if it has one, does not allow of `graph`.
pub(super) fn violations(graph: &Graph) -> Vec<String> {
    let order = ORDERS.iter().find(|(name, _)| *name == graph.name);
    order.map_or_else(Vec::new, |(_, order)| against(graph, order))
}

pub(super) fn against(graph: &Graph, order: &str) -> Vec<String> {
    let order: Vec<_> = order.split_whitespace().collect();
    let rooms = graph.rooms();
    let listed: BTreeSet<_> = order.iter().copied().collect();
    let mut wrong = Vec::new();
    for room in rooms.difference(&listed) {
        wrong.push(format!(
            "{}: room {room} is not in the order of rooms",
            graph.name
        ));
    }
    for room in listed.difference(&rooms) {
        wrong.push(format!(
            "{}: the order of rooms has {room}, the crate has not",
            graph.name
        ));
    }
    let height = |room: &str| order.iter().position(|found| *found == room);
    for ((from, to), files) in graph.between() {
        if let (Some(own), Some(needed)) = (height(from), height(to))
            && needed > own
        {
            let files = files.join("; ");
            wrong.push(format!(
                "{}: {from} needs {to}, which stands above it: {files}",
                graph.name
            ));
        }
    }
    wrong
}
