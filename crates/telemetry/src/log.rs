//! Setting up `tracing`.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::writer::{LineWriter, Rotation, WriterSettings};

mod text;

/// How a process logs.
#[derive(Clone, Debug, Default)]
pub struct LogSettings {
    /// Level of everything that `targets` does not name.
    pub level: Level,
    /// Levels of parts of the program: a target such as `trireme_xds` or `trireme_router::upstream`, and its level.
    pub targets: Vec<(String, Level)>,
    /// Layout of the lines on standard error.
    pub format: LogFormat,
    /// Colours; for a terminal.
    pub ansi: bool,
    /// A file that takes the same lines without colours, with its rotation.
    pub file: Option<(PathBuf, Option<Rotation>)>,
}

impl LogSettings {
    /// Level and layout by the words of the original's `log_config.toml`; a word that is none leaves the default.
    pub fn of_words(level: &str, format: &str) -> Self {
        Self {
            level: level.parse().unwrap_or_default(),
            format: if format.eq_ignore_ascii_case("JSON") {
                LogFormat::Json
            } else {
                LogFormat::default()
            },
            ..Self::default()
        }
    }
}

/// Layout of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Time, level, target, message, fields.
    #[default]
    Text,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// Act now.
    Error,
    /// Degraded and coping.
    Warn,
    /// State changed.
    #[default]
    Info,
    /// Per connection.
    Debug,
    /// Per frame.
    Trace,
}

/// A word that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a log level")]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Takes the words of the original's files (`DEBG`, `ERRO`, `FATL`, `PANC`) and the usual ones, in any case.
    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        Ok(match word.to_ascii_uppercase().as_str() {
            "OFF" => Self::Off,
            // What ends the original's process is an error here.
            "ERRO" | "ERROR" | "FATAL" | "FATL" | "PANC" | "PANIC" => Self::Error,
            "WARN" | "WARNING" => Self::Warn,
            "INFO" => Self::Info,
            "DEBG" | "DEBUG" => Self::Debug,
            "TRACE" | "TRAC" => Self::Trace,
            _ => return Err(UnknownLevel(word.to_owned())),
        })
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Somebody else set up `tracing` in this process.
    #[error("logging is set up already, not by us")]
    Taken,
}

/// Changes levels while the process runs. Clones act on the same logger.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    file: Option<LineWriter>,
}

impl LogHandle {
    /// Puts levels in force: that of everything, and those of the named targets. All earlier ones are forgotten.
    pub fn set_levels(&self, level: Level, targets: &[(String, Level)]) {
        // Fails only when the logger is gone, with the process.
        self.filter.reload(filter(level, targets)).ok();
    }

    /// The levels in force, as `info,trireme_xds=debug`.
    pub fn levels(&self) -> String {
        self.filter.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Opens the log file anew, after it was moved away or on SIGHUP.
    pub fn reopen(&self) {
        if let Some(file) = &self.file {
            file.reopen();
        }
    }

    /// Waits until the log file holds every line, at most two seconds. To be called before the process ends.
    pub fn flush(&self) {
        if let Some(file) = &self.file {
            file.flush();
        }
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle")
            .field("levels", &self.levels())
            .finish_non_exhaustive()
    }
}

/// Sends `tracing` events of the whole process to standard error, and to a file if asked. A file that cannot be opened is
/// logged and done without, as in the original. The second call and later ones change the levels only and give the same
/// handle, so every test may make it.
pub fn init(settings: &LogSettings) -> Result<LogHandle, LogError> {
    static HANDLE: Mutex<Option<LogHandle>> = Mutex::new(None);
    let mut handle = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = handle.as_ref() {
        handle.set_levels(settings.level, &settings.targets);
        return Ok(handle.clone());
    }
    let opened = settings.file.as_ref().map(|(path, rotation)| {
        let settings = WriterSettings {
            rotation: *rotation,
            ..WriterSettings::default()
        };
        LineWriter::open(path, settings)
    });
    let (file, unopened) = match opened.transpose() {
        Ok(file) => (file, None),
        Err(error) => (None, Some(error)),
    };
    let (filter, reload) = reload::Layer::new(filter(settings.level, &settings.targets));
    let mut layers = vec![layer(settings.format, settings.ansi, io::stderr)];
    if let Some(file) = &file {
        layers.push(layer(settings.format, false, FileWriter(file.clone())));
    }
    Registry::default()
        .with(layers.with_filter(filter))
        .try_init()
        .map_err(|_| LogError::Taken)?;
    if let Some(error) = unopened {
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::warn!(error, "no log file, logging to standard error only");
    }
    Ok(handle.insert(LogHandle { filter: reload, file }).clone())
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn layer<W>(format: LogFormat, ansi: bool, writer: W) -> BoxedLayer
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(ansi)
        .with_writer(writer);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Text => layer.event_format(text::Text).boxed(),
    }
}

fn filter(level: Level, targets: &[(String, Level)]) -> Targets {
    let named = targets
        .iter()
        .map(|(target, level)| (target.clone(), LevelFilter::from(*level)));
    // What the libraries below us log per frame is of interest to those who name them only.
    let quiet = QUIET_TARGETS
        .iter()
        .map(|target| ((*target).to_owned(), LevelFilter::from(level.min(Level::Info))));
    Targets::new()
        .with_default(LevelFilter::from(level))
        .with_targets(quiet)
        .with_targets(named)
}

const QUIET_TARGETS: &[&str] = &[
    "h2",
    "hyper",
    "hyper_util",
    "rustls",
    "tokio_util",
    "tonic",
    "tower",
];

/// Hands each line to a [`LineWriter`].
struct FileWriter(LineWriter);

impl<'a> MakeWriter<'a> for FileWriter {
    type Writer = FileLine<'a>;

    fn make_writer(&'a self) -> FileLine<'a> {
        FileLine(&self.0)
    }
}

struct FileLine<'a>(&'a LineWriter);

impl io::Write for FileLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
