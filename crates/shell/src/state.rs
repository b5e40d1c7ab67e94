//! The folder for what is to outlive a process.

use std::io;
use std::path::Path;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use tracing::warn;
use trireme_telemetry::{Metrics, names};

use crate::ready::Readiness;

/// Says in the log, on `/ready` and as a metric that nothing outlives the process, where that is so: a root that is read-only,
/// a folder of somebody else. Whether there is to be such a folder is for whoever sets it; without one the metric alone tells.
pub fn look(folder: Option<&Path>, readiness: &Readiness, metrics: &Metrics) {
    let tried = folder.map(|folder| (folder, try_out(folder)));
    metrics.collect(Durable(matches!(tried, Some((_, Ok(()))))));
    if let Some((folder, Err(error))) = tried {
        warn!(%error, folder = %folder.display(), "no last good file: a restart needs the adapter");
        readiness.note(format!("no last good file ({}: {error})", folder.display()));
    }
}

#[derive(Debug)]
struct Durable(bool);

impl Collector for Durable {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let metric = ConstGauge::new(i64::from(self.0));
        let help = "Whether the last good configuration outlives the process";
        metric.encode(encoder.encode_descriptor(names::STATE_DURABLE, help, None, metric.metric_type())?)
    }
}

fn try_out(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(format!(".probe.{}", std::process::id()));
    std::fs::write(&probe, "")?;
    std::fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_takes_nothing_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let readiness = Readiness::default();
        let look = |folder: Option<&Path>| {
            let metrics = Metrics::new();
            look(folder, &readiness, &metrics);
            metrics
                .encode(trireme_telemetry::Format::Text)
                .contains("trireme_state_durable 1\n")
        };
        assert!(look(Some(&folder.path().join("new"))));
        assert!(!look(None));
        assert!(readiness.notes().is_empty());
        assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 0);
        // /sys takes no folders, whoever asks.
        assert!(!look(Some(Path::new("/sys/trireme"))));
        let [note] = &readiness.notes()[..] else {
            panic!("{:?}", readiness.notes());
        };
        assert!(note.starts_with("no last good file (/sys/trireme: "), "{note}");
        assert!(readiness.is_ready());
    }
}
