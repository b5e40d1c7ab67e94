//! The counters of all workers, added up for the admin port, beside the sizes of what is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use trireme_telemetry::names;

use crate::cluster::usage::CLASSES;
use crate::error::Flag;
use crate::event::metrics::{BOUNDS, CHECKS, CONNECTS, Histogram, LISTENERS, REFUSALS, SHED, Tally};
use crate::places::Places;
use crate::snapshot::{Snapshot, Store};

/// Adds the workers' counters up for the admin port.
#[derive(Debug)]
pub(crate) struct Exporter {
    /// One for each worker.
    pub(crate) tallies: Vec<Arc<Tally>>,
    /// For the sizes of what is served.
    pub(crate) store: Arc<Store>,
    /// Open downstream connections.
    pub(crate) open: Arc<Places>,
}

impl Exporter {
    fn sum(&self, read: impl Fn(&Tally) -> &AtomicU64) -> u64 {
        self.tallies
            .iter()
            .map(|tally| read(tally).load(Ordering::Relaxed))
            .sum()
    }

    fn histogram(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        read: impl Fn(&Tally) -> &Histogram,
    ) -> Result<(), std::fmt::Error> {
        let mut buckets = Vec::with_capacity(BOUNDS.len() + 1);
        let mut count = 0;
        let bounds = BOUNDS
            .iter()
            .map(|bound| f64::from(*bound) / 1e6)
            .chain([f64::INFINITY]);
        for (index, bound) in bounds.enumerate() {
            let here = self
                .tallies
                .iter()
                .filter_map(|tally| read(tally).buckets.get(index))
                .map(|bucket| bucket.load(Ordering::Relaxed))
                .sum::<u64>();
            count += here;
            buckets.push((bound, here));
        }
        let micros = self.sum(|tally| &read(tally).micros);
        let seconds = Duration::from_micros(micros).as_secs_f64();
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
    }

    fn counters<'a>(
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        series: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, u64)>,
    ) -> Result<(), std::fmt::Error> {
        let name = name.strip_suffix("_total").unwrap_or(name);
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counter(
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        value: u64,
    ) -> Result<(), std::fmt::Error> {
        let name = name.strip_suffix("_total").unwrap_or(name);
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn gauge(
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        value: u64,
    ) -> Result<(), std::fmt::Error> {
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)
    }
}

impl Collector for Exporter {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let encoder = &mut encoder;
        let requests = LISTENERS.iter().enumerate().flat_map(|(at, listener)| {
            CLASSES.iter().enumerate().map(move |(class, name)| {
                let value = self
                    .tallies
                    .iter()
                    .filter_map(|tally| tally.requests.get(at)?.get(class));
                let value = value.map(|counter| counter.load(Ordering::Relaxed)).sum();
                (vec![("listener", *listener), ("code_class", *name)], value)
            })
        });
        Self::counters(encoder, (names::ROUTER_REQUESTS, "Requests answered"), requests)?;
        self.labelled(
            encoder,
            (
                names::ROUTER_LOCAL_REPLIES,
                "Requests answered without an upstream",
            ),
            "reason",
            Flag::ALL.iter().map(|flag| flag.name()),
            |tally| &tally.replies,
        )?;
        self.labelled(
            encoder,
            (names::ROUTER_CONNECTIONS, "Connections accepted"),
            "listener",
            LISTENERS,
            |tally| &tally.connections,
        )?;
        self.labelled(
            encoder,
            (names::ROUTER_CHECKS, "Checks asked of the enforcer"),
            "outcome",
            CHECKS,
            |tally| &tally.checks,
        )?;
        self.labelled(
            encoder,
            (names::ROUTER_UPSTREAM_CONNECTS, "Upstream connections tried"),
            "outcome",
            CONNECTS,
            |tally| &tally.connects,
        )?;
        self.labelled(
            encoder,
            (names::ROUTER_CONNECTIONS_REFUSED, "Connections refused"),
            "reason",
            REFUSALS,
            |tally| &tally.refused,
        )?;
        self.labelled(
            encoder,
            (
                names::ROUTER_REQUESTS_SHED,
                "Requests answered with 503 because too many were under way",
            ),
            "reason",
            SHED,
            |tally| &tally.shed,
        )?;
        for (name, help, value) in [
            (
                names::ROUTER_RECEIVED_BYTES,
                "Bytes of request bodies",
                self.sum(|tally| &tally.received),
            ),
            (
                names::ROUTER_SENT_BYTES,
                "Bytes of response bodies",
                self.sum(|tally| &tally.sent),
            ),
            (
                names::ROUTER_UPSTREAM_RETRIES,
                "Requests sent again",
                self.sum(|tally| &tally.retries),
            ),
        ] {
            Self::counter(encoder, (name, help), value)?;
        }
        let active = self
            .sum(|tally| &tally.started)
            .saturating_sub(self.sum(|tally| &tally.finished));
        let snapshot = self.store.load();
        for (name, help, value) in [
            (names::ROUTER_REQUESTS_ACTIVE, "Requests in progress", active),
            (
                names::ROUTER_CONNECTIONS_ACTIVE,
                "Open connections",
                self.open.count() as u64,
            ),
            (
                names::ROUTER_ROUTES,
                "Routes in the table",
                snapshot.routes.routes() as u64,
            ),
            (
                names::ROUTER_CLUSTERS,
                "Clusters in the table",
                snapshot.clusters.len() as u64,
            ),
        ] {
            Self::gauge(encoder, (name, help), value)?;
        }
        Self::upstreams(encoder, &snapshot)?;
        self.histogram(
            encoder,
            (names::ROUTER_REQUEST_DURATION, "Duration of requests"),
            |tally| &tally.duration,
        )?;
        self.histogram(
            encoder,
            (names::ROUTER_CHECK_DURATION, "Duration of checks"),
            |tally| &tally.check_duration,
        )
    }
}

impl Exporter {
    /// Only clusters that were used have series: a gateway holds thousands of others.
    fn upstreams(encoder: &mut DescriptorEncoder<'_>, snapshot: &Snapshot) -> Result<(), std::fmt::Error> {
        let mut clusters: Vec<_> = snapshot.clusters.values().collect();
        clusters.sort_unstable_by(|left, right| left.config.name.cmp(&right.config.name));
        let requests = clusters.iter().flat_map(|cluster| {
            let name = cluster.config.name.as_str();
            cluster
                .usage
                .classes()
                .map(move |(class, count)| (vec![("cluster", name), ("code_class", class)], count))
        });
        Self::counters(
            encoder,
            (names::ROUTER_UPSTREAM_REQUESTS, "Requests sent to upstreams"),
            requests,
        )?;
        let mut family = encoder.encode_descriptor(
            names::ROUTER_UPSTREAM_CONNECTIONS_ACTIVE,
            "Open upstream connections",
            None,
            MetricType::Gauge,
        )?;
        for cluster in clusters {
            let open = cluster.limits.connections();
            if open > 0 || cluster.usage.classes().next().is_some() {
                let labels = [("cluster", cluster.config.name.as_str())];
                ConstGauge::new(i64::from(open)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn labelled<'a, const N: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        about: (&str, &str),
        label: &'a str,
        values: impl IntoIterator<Item = &'a str>,
        read: impl Fn(&Tally) -> &[AtomicU64; N],
    ) -> Result<(), std::fmt::Error> {
        let series: Vec<_> = values
            .into_iter()
            .enumerate()
            .map(|(at, value)| {
                let counters = self.tallies.iter().filter_map(|tally| read(tally).get(at));
                (
                    vec![(label, value)],
                    counters.map(|counter| counter.load(Ordering::Relaxed)).sum(),
                )
            })
            .collect();
        Self::counters(encoder, about, series)
    }
}
