//! The metric registry of a process.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::registry::{Metric, Registry};

use crate::process::Process;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metric registry of a process. Clones share it. Counting happens on what was registered; the registry is only
/// locked to register and to encode.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry that holds the facts about the process itself: start time, memory, open files, CPU time.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::new()));
        Self {
            registry: Arc::new(Mutex::new(registry)),
        }
    }

    /// Registers a metric and gives it back. `name` is one of [`crate::names`], in full: the `_total` of a counter is
    /// part of it, although the exposition format would add it again. `help` is a sentence without its full stop.
    pub fn register<M: Metric + Clone>(&self, name: &'static str, help: &str, metric: M) -> M {
        let name = name.strip_suffix("_total").unwrap_or(name);
        self.registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .register(name, help, metric.clone());
        metric
    }

    /// Registers something that is asked when metrics are read.
    pub fn collect(&self, collector: impl Collector) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(collector));
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut text, &registry).expect("a string takes any text");
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;

    use super::*;
    use crate::names;

    #[test]
    fn counters_appear_once_under_their_full_name() {
        let metrics = Metrics::new();
        let refusals = metrics.register(
            names::TLS_REFUSALS,
            "Handshakes refused",
            Family::<[(&str, &str); 1], Counter>::default(),
        );
        refusals.get_or_create(&[("listener", "grpc")]).inc_by(3);
        let text = metrics.encode();
        assert!(
            text.contains("trireme_tls_refusals_total{listener=\"grpc\"} 3\n"),
            "{text}"
        );
        assert!(!text.contains("_total_total"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn the_process_describes_itself() {
        let text = Metrics::new().encode();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.split(' ').next() == Some(name));
            line.and_then(|line| line.split(' ').nth(1))
                .unwrap_or_else(|| panic!("{name}: {text}"))
                .parse()
                .unwrap()
        };
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
