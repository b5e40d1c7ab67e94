//! What the admin port shows beside what it shows of every process: `/snapshot`.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use tokio::sync::watch;
use trireme_shell::admin::Admin;
use trireme_telemetry::Metrics;
use trireme_xds::client::Status;

use crate::downstream::worker::Shared;

/// The pages of the admin port.
pub(crate) fn pages(shared: Arc<Shared>, metrics: Metrics, discovery: watch::Receiver<Status>) -> Admin {
    Admin::new(shared.ready.list.clone(), metrics)
        .text("text/plain")
        .page("/snapshot", move || snapshot(&shared, &discovery))
}

fn snapshot(shared: &Shared, discovery: &watch::Receiver<Status>) -> Value {
    let snapshot = shared.store.load();
    let status = discovery.borrow();
    let types: Map<String, Value> = status
        .types
        .iter()
        .map(|(url, of)| {
            let rejected: Vec<_> = of
                .rejected
                .iter()
                .map(|rejection| json!({"resource": rejection.resource, "reason": rejection.reason}))
                .collect();
            let name = url.rsplit('/').next().unwrap_or(url).to_owned();
            let facts =
                json!({"version": of.version, "held": of.held, "live": of.live, "rejected": rejected});
            (name, facts)
        })
        .collect();
    json!({
        "version": snapshot.version,
        "listeners": snapshot.listeners.iter().map(|listener| listener.name.as_str()).collect::<Vec<_>>(),
        "fragments": snapshot.routes.fragments(),
        "routes": snapshot.routes.routes(),
        "clusters": snapshot.clusters.len(),
        "discovery": {
            "connected": status.connected,
            "age_secs": status.age(SystemTime::now()).map(|age| age.as_secs()),
            "last_error": status.last_error,
            "file_refused": status.file_refused,
            "file_unwritten": status.file_unwritten,
            "types": types,
        },
    })
}
