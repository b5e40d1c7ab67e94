//! What the admin port shows beside what it shows of every process: `/snapshot`, and metrics that are facts of the moment.

use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use trireme_shell::Readiness;
use trireme_shell::admin::Admin;
use trireme_telemetry::{Metrics, names};
use trireme_tls::Material;
use trireme_xds::client::Status;

use crate::snapshot::Current;

/// APIs listed by `/snapshot`.
const MAX_LISTED: usize = 10_000;

/// Metrics that are facts of the moment: how discovery is doing, and when the own certificate expires.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) discovery: watch::Receiver<Status>,
    pub(crate) material: Material,
}

impl Collector for Facts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name, help, value: f64| {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let status = self.discovery.borrow();
        let connected = if status.connected { 1.0 } else { 0.0 };
        gauge(
            names::DISCOVERY_CONNECTED,
            "Whether the discovery stream is up",
            connected,
        )?;
        if let Some(age) = status.age(SystemTime::now()) {
            gauge(
                names::DISCOVERY_AGE,
                "Age of the newest accepted configuration",
                age.as_secs_f64(),
            )?;
        }
        let expiry = self
            .material
            .not_after()
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        if let Some(expiry) = expiry {
            let help = "When the own certificate expires, in seconds since 1970";
            gauge(names::TLS_CERTIFICATE_EXPIRY, help, expiry.as_secs_f64())?;
        }
        Ok(())
    }
}

/// What was decided about each API that is held.
#[derive(Debug)]
pub(crate) struct Tallies(pub(crate) Arc<Current>);

impl Collector for Tallies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let snapshot = self.0.load_full();
        let name = names::ENFORCER_VERDICTS.trim_end_matches("_total");
        let help = "Verdicts about requests to an API";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (api, held) in snapshot.apis.iter() {
            let mut line = |verdict, reason, count| {
                let labels = [("api", api), ("verdict", verdict), ("reason", reason)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)
            };
            line("admitted", "", held.tally.admitted())?;
            for (reason, count) in held.tally.denied() {
                line("denied", reason, count)?;
            }
        }
        Ok(())
    }
}

/// The pages of the admin port.
pub(crate) fn pages(
    readiness: Readiness,
    metrics: Metrics,
    current: Arc<Current>,
    discovery: watch::Receiver<Status>,
) -> Admin {
    Admin::new(readiness, metrics).page("/snapshot", move || snapshot(&current, &discovery))
}

fn snapshot(current: &Current, discovery: &watch::Receiver<Status>) -> Value {
    let snapshot = current.load_full();
    let discovery = discovery.borrow().clone();
    let now = SystemTime::now();
    let mut apis: Vec<_> = snapshot
        .apis
        .iter()
        .map(|(name, api)| (name, api.policy.revision))
        .collect();
    apis.sort_unstable_by_key(|(name, _)| *name);
    apis.truncate(MAX_LISTED);
    let types: Map<String, Value> = discovery
        .types
        .iter()
        .map(|(type_url, held)| {
            let rejected: Vec<_> = held
                .rejected
                .iter()
                .map(|rejection| json!({ "resource": rejection.resource, "reason": rejection.reason }))
                .collect();
            let told = json!({
                "version": held.version,
                "held": held.held,
                "complete": held.complete,
                "live": held.live,
                "rejected": rejected,
            });
            (type_url.clone(), told)
        })
        .collect();
    let security = snapshot.security.as_deref();
    json!({
        "version": snapshot.version,
        "ready": snapshot.ready().is_some(),
        "configuration": security.is_some(),
        "issuers": security.map_or(0, |security| security.issuers.access.len()),
        "tokens_cached": security.map_or(0, |security| security.tokens.len()),
        "api_count": snapshot.apis.len(),
        "apis": apis
            .into_iter()
            .map(|(name, revision)| json!({ "name": name, "revision": revision.to_string() }))
            .collect::<Vec<_>>(),
        "discovery": {
            "connected": discovery.connected,
            "age_secs": discovery.age(now).map(|age| age.as_secs()),
            "last_error": discovery.last_error,
            "file_refused": discovery.file_refused,
            "file_unwritten": discovery.file_unwritten,
            "types": types,
        },
    })
}
