//! When the last-good file is written: some time after a change, one write at a time, seldom when writing is slow.

use std::{io, path::PathBuf, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

use crate::state_file::{self, Snapshot};

/// Wait after a failed write.
const RETRY: Duration = Duration::from_secs(10);
/// Writing takes at most this part of the time.
const SHARE: u32 = 10;

#[derive(Debug)]
pub(crate) struct Keeper {
    path: PathBuf,
    delay: Duration,
    /// When what has changed is to be written.
    due: Option<Instant>,
    /// No write before this.
    rest: Instant,
    writing: Option<(Instant, JoinHandle<io::Result<()>>)>,
}

/// What the owner has to act on.
#[derive(Debug)]
pub(crate) enum Event {
    /// Call [`Keeper::start`].
    Due,
    /// A write has ended.
    Written(io::Result<()>),
}

impl Keeper {
    pub(crate) fn new(path: PathBuf, delay: Duration) -> Self {
        Self {
            path,
            delay,
            due: None,
            rest: Instant::now(),
            writing: None,
        }
    }

    /// Something changed. Changes that follow do not put the write off.
    pub(crate) fn touch(&mut self) {
        let rest = self.rest;
        self.due
            .get_or_insert_with(|| (Instant::now() + self.delay).max(rest));
    }

    /// Writes in the background; the file takes the change in whole or not at all, even if the process ends.
    pub(crate) fn start(&mut self, snapshot: Snapshot) {
        self.due = None;
        let path = self.path.clone();
        self.writing = Some((
            Instant::now(),
            tokio::task::spawn_blocking(move || state_file::write(&path, snapshot)),
        ));
    }

    /// The next thing to act on; pends while there is none. Cancel safe.
    pub(crate) async fn event(&mut self) -> Event {
        if self.writing.is_some() {
            return self.written().await;
        }
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
        Event::Due
    }

    /// Like [`Keeper::event`], without waiting for the time; none when everything is written or has failed at last.
    pub(crate) async fn last_event(&mut self) -> Option<Event> {
        if self.writing.is_some() {
            let event = self.written().await;
            if matches!(event, Event::Written(Err(_))) {
                self.due = None;
            }
            return Some(event);
        }
        self.due.is_some().then_some(Event::Due)
    }

    async fn written(&mut self) -> Event {
        let Some((started, writing)) = &mut self.writing else {
            return std::future::pending().await;
        };
        let result = writing.await.unwrap_or_else(|panicked| Err(panicked.into()));
        let now = Instant::now();
        self.rest = now + (now - *started) * SHARE;
        self.writing = None;
        if result.is_err() {
            self.due = Some(now + RETRY);
        } else if let Some(due) = &mut self.due {
            *due = (*due).max(self.rest);
        }
        Event::Written(result)
    }
}
