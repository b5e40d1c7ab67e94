//! What the admin port shows beside what it shows of every process: `/snapshot`, `/status`, and metrics that are facts of the
//! moment.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use serde_json::{Value, json};
use trireme_shell::admin::Admin;
use trireme_shell::{Condition, Readiness};
use trireme_telemetry::{Metrics, names};
use trireme_tls::Material;
use trireme_xds::server::Cache;

use crate::catalogue::Catalogue;
use crate::source::Refused;
use crate::status::{Status, Statuses};

/// What the admin port tells of.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) catalogue: Catalogue,
    pub(crate) cache: Cache,
    pub(crate) refused: Refused,
    pub(crate) statuses: Statuses,
    /// Deployments can be stored.
    pub(crate) store: Condition,
}

/// Metrics that are facts of the moment.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) catalogue: Catalogue,
    pub(crate) cache: Cache,
    pub(crate) material: Material,
    /// What is deployed outlives the process.
    pub(crate) durable: bool,
}

impl Collector for Facts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let listed = self.catalogue.list();
        let quarantined = listed
            .iter()
            .filter(|listed| matches!(listed.status, Some(Status::Rejected { .. })))
            .count();
        let peers = self.cache.status().len();
        let mut gauge = |name: &str, help: &str, value: i64| {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        gauge(
            names::ADAPTER_APIS,
            "Deployments, one for each API and virtual host",
            count(listed.len()),
        )?;
        gauge(
            names::ADAPTER_APIS_QUARANTINED,
            "Deployments that a peer refuses",
            count(quarantined),
        )?;
        gauge(
            names::ADAPTER_PEERS,
            "Subscriptions of connected routers and enforcers",
            count(peers),
        )?;
        gauge(
            names::ADAPTER_STORE_DURABLE,
            "Whether what is deployed outlives the process",
            i64::from(self.durable),
        )?;
        if let Some(at) = self.material.not_after()
            && let Ok(at) = at.duration_since(std::time::UNIX_EPOCH)
        {
            let help = "When the own certificate expires, in seconds since 1970";
            gauge(
                names::TLS_CERTIFICATE_EXPIRY,
                help,
                i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            )?;
        }
        let counters = self.cache.counters();
        let mut sent = |name: &str, help: &str, value: &dyn Fn(&trireme_xds::server::Counters) -> u64| {
            let name = name.strip_suffix("_total").unwrap_or(name);
            let family: Vec<_> = counters
                .iter()
                .map(|(url, counters)| (label(url), value(counters)))
                .collect();
            let kind = prometheus_client::metrics::MetricType::Counter;
            let mut descriptor = encoder.encode_descriptor(name, help, None::<&Unit>, kind)?;
            for (kind, value) in &family {
                let labels = [("type", *kind)];
                let metric = ConstCounter::new(*value);
                metric.encode(descriptor.encode_family(&labels)?)?;
            }
            Ok::<(), std::fmt::Error>(())
        };
        sent(
            names::ADAPTER_RESOURCES_SENT,
            "Resources sent to routers and enforcers",
            &|counters| counters.resources,
        )?;
        sent(
            names::ADAPTER_SENT_BYTES,
            "Bytes of responses sent to routers and enforcers",
            &|counters| counters.bytes,
        )
    }
}

/// The last word of a type URL.
fn label(type_url: &str) -> &str {
    type_url.rsplit('.').next().unwrap_or(type_url)
}

impl Told {
    /// The pages of the admin port. It is only served once the initial load is published.
    pub(crate) fn pages(self, readiness: Readiness, metrics: Metrics) -> Admin {
        let Self {
            catalogue,
            cache,
            refused,
            statuses,
            store,
        } = self;
        let deployed = catalogue.clone();
        Admin::new(readiness, metrics)
            .page("/snapshot", move || snapshot(&cache))
            .page("/status", move || status(&deployed, &refused, &statuses))
            .before_ready(move || look(catalogue.clone(), store.clone()))
    }
}

/// A store that couldn't be written is tried again, so that it's found out without a deployment when it can.
async fn look(catalogue: Catalogue, store: Condition) {
    match catalogue.writable().await {
        Ok(()) => store.meet(),
        Err(reason) => store.miss_because(reason),
    }
}

/// What each peer has.
fn snapshot(cache: &Cache) -> Value {
    let peers: Vec<Value> = cache
        .status()
        .into_iter()
        .map(|peer| {
            let rejected: Vec<Value> = peer
                .rejected
                .iter()
                .map(|rejection| json!({ "resource": rejection.resource, "reason": rejection.reason }))
                .collect();
            json!({
                "node": peer.node,
                "instance": peer.instance,
                "group": peer.group,
                "type": peer.type_url,
                "acked": peer.acked,
                "current": peer.current,
                "rejected": rejected,
            })
        })
        .collect();
    json!({ "peers": peers })
}

/// How far each deployment and each plain set has come, and which entries of sources are refused.
fn status(catalogue: &Catalogue, refused: &Refused, statuses: &Statuses) -> Value {
    let apis: Vec<Value> = catalogue
        .list()
        .into_iter()
        .map(|listed| {
            let deployment = listed.deployment;
            json!({
                "api": deployment.name,
                "version": deployment.version,
                "vhost": deployment.identity.vhost,
                "environments": deployment.environments,
                "revision": format!("{}.{}", listed.revision.epoch, listed.revision.counter),
                "status": listed.status,
            })
        })
        .collect();
    json!({ "apis": apis, "refused": refused.all(), "sets": statuses.sets() })
}
