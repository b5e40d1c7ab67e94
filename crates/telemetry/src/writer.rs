//! Lines on their way to a file, written by a thread of their own.
//!
//! Callers append to a buffer under a short lock; the thread takes the whole buffer at once. A disk or a reader of
//! standard output that stands still fills the buffer, after which lines are dropped and counted: nobody waits.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

pub use sink::Rotation;
use sink::Sink;

mod sink;

/// How lines are collected and written.
#[derive(Clone, Copy, Debug)]
pub struct WriterSettings {
    /// How much may wait to be written before lines are dropped.
    pub max_waiting_bytes: usize,
    /// How long the first waiting line waits for company.
    pub flush_interval: Duration,
    /// None for a file that somebody else rotates.
    pub rotation: Option<Rotation>,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            max_waiting_bytes: 8 << 20,
            flush_interval: Duration::from_millis(100),
            rotation: None,
        }
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}: log file cannot be opened", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// The operating system's reason.
    #[source]
    pub source: std::io::Error,
}

/// Past this the thread does not wait for more.
const BATCH_BYTES: usize = 64 << 10;
/// Buffers that grew in a burst are given back.
const KEPT_BYTES: usize = 256 << 10;
/// Shutdown must end even when standard output is blocked.
const LONGEST_FLUSH: Duration = Duration::from_secs(2);

/// A file (or standard output) that takes lines. Clones share it; the last one to go writes what is waiting.
#[derive(Clone)]
pub struct LineWriter {
    owner: Arc<Owner>,
}

/// Ends the thread when the last clone goes.
struct Owner {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    wake: Condvar,
    /// Wakes those who wait for a flush.
    flushed: Condvar,
    max_waiting_bytes: usize,
    written: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    lines: u64,
    /// Grows with every request to flush; the thread copies it when it has written all that was waiting then.
    flush_asked: u64,
    flush_done: u64,
    reopen: bool,
    stop: bool,
    stopped: bool,
}

impl LineWriter {
    /// Opens `path` for appending, making its folder if need be; `/dev/stdout` and `/dev/stderr` are the process's own
    /// streams, whatever they lead to.
    pub fn open(path: &Path, settings: WriterSettings) -> Result<Self, OpenError> {
        let fail = |source| OpenError {
            path: path.to_owned(),
            source,
        };
        let sink = Sink::open(path, settings.rotation).map_err(fail)?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            flushed: Condvar::new(),
            max_waiting_bytes: settings.max_waiting_bytes,
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let thread_shared = Arc::clone(&shared);
        thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || thread_shared.run(sink, settings.flush_interval))
            .map_err(fail)?;
        Ok(Self {
            owner: Arc::new(Owner { shared }),
        })
    }

    /// Takes one line, newline included; says whether it was taken. Never waits for the disk.
    pub fn write(&self, line: &[u8]) -> bool {
        let shared = &self.owner.shared;
        let mut state = shared.lock();
        if state.waiting.len() + line.len() > shared.max_waiting_bytes {
            drop(state);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let before = state.waiting.len();
        state.waiting.extend_from_slice(line);
        state.lines += 1;
        // One wake for the first line of a batch and one when the batch is large, not one per line.
        let wake = before == 0 || (before < BATCH_BYTES && state.waiting.len() >= BATCH_BYTES);
        drop(state);
        if wake {
            shared.wake.notify_one();
        }
        true
    }

    /// Opens the file anew before the next write: after somebody moved it away (also noticed without being told) or on
    /// SIGHUP.
    pub fn reopen(&self) {
        self.owner.shared.lock().reopen = true;
        self.owner.shared.wake.notify_one();
    }

    /// Waits until everything taken so far is written, at most two seconds; says whether it is.
    pub fn flush(&self) -> bool {
        let shared = &self.owner.shared;
        let mut state = shared.lock();
        state.flush_asked += 1;
        let mine = state.flush_asked;
        shared.wake.notify_one();
        let (state, _) = shared
            .flushed
            .wait_timeout_while(state, LONGEST_FLUSH, |state| {
                state.flush_done < mine && !state.stopped
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.flush_done >= mine
    }

    /// Lines written.
    pub fn written(&self) -> u64 {
        self.owner.shared.written.load(Ordering::Relaxed)
    }

    /// Lines lost: taken by nobody while too many were waiting, or refused by the disk.
    pub fn dropped(&self) -> u64 {
        self.owner.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stop = true;
        self.shared.wake.notify_one();
        // Not joined: a blocked standard output would hold up the end of the process for ever.
        drop(
            self.shared
                .flushed
                .wait_timeout_while(state, LONGEST_FLUSH, |state| !state.stopped)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl fmt::Debug for LineWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineWriter")
            .field("written", &self.written())
            .field("dropped", &self.dropped())
            .finish()
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut sink: Sink, flush_interval: Duration) {
        let mut batch = Vec::new();
        loop {
            let mut state = self.lock();
            state = self
                .wake
                .wait_while(state, |state| state.waiting.is_empty() && !state.is_urgent())
                .unwrap_or_else(PoisonError::into_inner);
            if !state.is_urgent() {
                let gathering = |state: &mut State| state.waiting.len() < BATCH_BYTES && !state.is_urgent();
                state = self
                    .wake
                    .wait_timeout_while(state, flush_interval, gathering)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            std::mem::swap(&mut state.waiting, &mut batch);
            let lines = std::mem::take(&mut state.lines);
            let reopen = std::mem::take(&mut state.reopen);
            let (asked, stop) = (state.flush_asked, state.stop);
            drop(state);

            let outcome = sink.write(&batch, reopen);
            let counter = if outcome.is_ok() {
                &self.written
            } else {
                &self.dropped
            };
            counter.fetch_add(lines, Ordering::Relaxed);
            batch.clear();
            batch.shrink_to(KEPT_BYTES);

            let mut state = self.lock();
            state.flush_done = asked;
            state.stopped = stop;
            self.flushed.notify_all();
            if stop {
                return;
            }
        }
    }
}

impl State {
    fn is_urgent(&self) -> bool {
        self.stop || self.reopen || self.flush_asked > self.flush_done
    }
}

#[cfg(test)]
mod tests;
