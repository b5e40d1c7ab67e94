//! The metric registry of a process.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::registry::{Metric, Registry};

use crate::process::Process;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, for those who ask for it.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, which everybody reads: `promtool check metrics` too.
    Text,
}

impl Format {
    /// The one for a request with this `Accept` header.
    pub fn accepted(accept: Option<&str>) -> Self {
        let asked = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if asked { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

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

    /// All metrics.
    pub fn encode(&self, format: Format) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut text, &registry).expect("a string takes any text");
        drop(registry);
        match format {
            Format::OpenMetrics => text,
            Format::Text => older(&text),
        }
    }
}

/// OpenMetrics in Prometheus' text format: there a counter is described under the name that its figures have, and nothing
/// marks the end.
fn older(text: &str) -> String {
    let mut older = String::with_capacity(text.len() + text.len() / 8);
    let mut help = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            if let Some((_, help)) = help.take().filter(|(described, _)| *described == name) {
                older.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            older.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            older.extend([line, "\n"]);
        }
    }
    older
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
        let line = "trireme_tls_refusals_total{listener=\"grpc\"} 3\n";
        let text = metrics.encode(Format::OpenMetrics);
        assert!(text.contains(line), "{text}");
        assert!(text.contains("# TYPE trireme_tls_refusals counter\n"), "{text}");
        assert!(!text.contains("_total_total"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");

        let text = metrics.encode(Format::Text);
        let described = "# HELP trireme_tls_refusals_total Handshakes refused.\n# TYPE trireme_tls_refusals_total counter\n";
        assert!(text.contains(&format!("{described}{line}")), "{text}");
        assert!(text.contains("\n# TYPE process_open_fds gauge\n"), "{text}");
        assert!(!text.contains("_total_total"), "{text}");
        assert!(!text.contains("EOF"), "{text}");
    }

    #[test]
    fn the_format_is_the_one_asked_for() {
        for (accept, want) in [
            (None, Format::Text),
            (Some("*/*"), Format::Text),
            (Some("text/plain;version=0.0.4;q=1,*/*;q=0.1"), Format::Text),
            (
                Some("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5"),
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::accepted(accept), want, "{accept:?}");
        }
    }

    #[test]
    fn the_process_describes_itself() {
        let text = Metrics::new().encode(Format::Text);
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
