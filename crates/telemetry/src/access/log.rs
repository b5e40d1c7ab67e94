//! A format and where its lines go.

use std::cell::Cell;
use std::path::Path;

use super::format::Format;
use super::record::Record;
use crate::writer::{LineWriter, OpenError, WriterSettings};

thread_local! {
    /// One line's worth of memory per thread instead of one allocation per request.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Longer lines do occur; memory for them is not kept.
const KEPT_BYTES: usize = 16 << 10;

/// An access log: a format and the file (or standard output) that takes its lines. Clones share the file.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: std::sync::Arc<Format>,
    writer: LineWriter,
}

impl AccessLog {
    /// Opens the log; `/dev/stdout` and `/dev/stderr` are the process's own streams.
    pub fn open(path: &Path, format: Format) -> Result<Self, OpenError> {
        Ok(Self::new(
            format,
            LineWriter::open(path, WriterSettings::default())?,
        ))
    }

    /// A log that writes to an open writer.
    pub fn new(format: Format, writer: LineWriter) -> Self {
        Self {
            format: std::sync::Arc::new(format),
            writer,
        }
    }

    /// Logs one request. Never waits for the disk: the line is dropped and counted when too many are waiting.
    pub fn record(&self, record: &dyn Record) {
        // Taken, not borrowed: a record that logs another one meanwhile must not panic, nor one at the thread's end.
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        line.clear();
        self.format.write(&mut line, record);
        self.writer.write(&line);
        line.shrink_to(KEPT_BYTES);
        LINE.try_with(|kept| kept.set(line)).ok();
    }

    /// Where the lines go: to flush, to reopen after rotation, and for its counters.
    pub fn writer(&self) -> &LineWriter {
        &self.writer
    }
}
