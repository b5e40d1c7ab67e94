//! The admin port: whether the process lives, is ready, and what it has published. Loopback by default, no TLS.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trireme_telemetry::{CONTENT_TYPE as METRICS_TYPE, Metrics, names};
use trireme_tls::Material;
use trireme_xds::server::Cache;

use crate::catalogue::Catalogue;
use crate::source::dir::Refused;
use crate::status::Status;

/// What the admin port tells of.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) catalogue: Catalogue,
    pub(crate) cache: Cache,
    pub(crate) metrics: Metrics,
    pub(crate) refused: Refused,
    pub(crate) drain: CancellationToken,
}

/// Metrics that are facts of the moment.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) catalogue: Catalogue,
    pub(crate) cache: Cache,
    pub(crate) material: Material,
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

/// Answers until `stop` is cancelled.
pub(crate) async fn serve(
    listener: TcpListener,
    admin: Admin,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/snapshot", get(snapshot))
        .route("/status", get(status))
        .with_state(Arc::new(admin));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    if admin.drain.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    if let Err(reason) = admin.catalogue.writable().await {
        let text = format!("nothing can be deployed: {reason}\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    // The port is only served once the initial load is published.
    (StatusCode::OK, "ready\n").into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    ([(CONTENT_TYPE, METRICS_TYPE)], admin.metrics.encode()).into_response()
}

/// What each peer has.
async fn snapshot(State(admin): State<Arc<Admin>>) -> Response {
    let peers: Vec<Value> = admin
        .cache
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
    axum::Json(json!({ "peers": peers })).into_response()
}

/// How far each deployment has come, and which entries of the projects folder are refused.
async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let apis: Vec<Value> = admin
        .catalogue
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
    axum::Json(json!({ "apis": apis, "refused": admin.refused.all() })).into_response()
}
