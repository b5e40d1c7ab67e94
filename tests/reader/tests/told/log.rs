//! What the adapter of this process logs of findings.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{LazyLock, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, MutexGuard as Held};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use crate::Finding;

static LINES: Mutex<BTreeSet<Finding>> = Mutex::new(BTreeSet::new());
/// All tests of a process have one log.
static TURN: Turn<()> = Turn::const_new(());
static SUBSCRIBED: LazyLock<()> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::registry().with(Lines);
    tracing::subscriber::set_global_default(subscriber).expect("there is no other subscriber");
});

/// The log, for one test at a time.
pub(crate) struct Log(#[expect(dead_code, reason = "held")] Held<'static, ()>);

impl Log {
    /// Waits for the other tests.
    pub(crate) async fn take() -> Self {
        let held = TURN.lock().await;
        LazyLock::force(&SUBSCRIBED);
        let log = Self(held);
        drop(log.drain());
        log
    }

    /// The findings of lines since the last time.
    #[expect(clippy::unused_self, reason = "whoever has the log may read it")]
    pub(crate) fn drain(&self) -> BTreeSet<Finding> {
        std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        if line.text == "finding in a project" {
            LINES
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(line.finding);
        }
    }
}

/// Fields of one line.
struct Line {
    text: String,
    finding: Finding,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            text: String::new(),
            finding: Finding {
                severity: String::new(),
                file: String::new(),
                pointer: String::new(),
                message: String::new(),
            },
        }
    }
}

impl Line {
    fn set(&mut self, field: &Field, value: String) {
        let place = match field.name() {
            "message" => &mut self.text,
            "severity" => &mut self.finding.severity,
            "file" => &mut self.finding.file,
            "pointer" => &mut self.finding.pointer,
            "finding" => &mut self.finding.message,
            _ => return,
        };
        *place = value;
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}"));
    }
}
