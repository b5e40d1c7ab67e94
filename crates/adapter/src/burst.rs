//! Many changes as one: something that changes again and again is looked at when it rests, or after a while.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

/// Tells of changes. Clones tell the same [`Burst`].
#[derive(Debug, Clone)]
pub(crate) struct Teller(mpsc::Sender<()>);

/// Hears of changes.
#[derive(Debug)]
pub(crate) struct Burst {
    told: mpsc::Receiver<()>,
    /// When the burst began that is not over yet.
    since: Option<Instant>,
}

/// Both ends.
pub(crate) fn channel() -> (Teller, Burst) {
    let (sender, told) = mpsc::channel(1);
    (Teller(sender), Burst { told, since: None })
}

impl Teller {
    /// Something has changed.
    pub(crate) fn tell(&self) {
        // Full: it will be heard of already.
        self.0.try_send(()).unwrap_or_default();
    }
}

impl Burst {
    /// Waits for a change, and then until there was none for `quiet`, at most for `longest`. `false` when there will be no more.
    /// Dropping the future loses nothing.
    pub(crate) async fn over(&mut self, quiet: Duration, longest: Duration) -> bool {
        let since = match self.since {
            Some(since) => since,
            None if self.told.recv().await.is_none() => return false,
            None => *self.since.insert(Instant::now()),
        };
        let restless = async { while let Ok(Some(())) = timeout(quiet, self.told.recv()).await {} };
        // Whether it has come to rest makes no difference.
        timeout_at(since + longest, restless).await.unwrap_or_default();
        self.since = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(300);
    const LONGEST: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn what_rests_is_told_of_once() {
        let (teller, mut burst) = channel();
        let begun = Instant::now();
        for _ in 0..100 {
            teller.tell();
        }
        assert!(burst.over(QUIET, LONGEST).await);
        assert_eq!(begun.elapsed(), QUIET);
        let again = timeout(LONGEST, burst.over(QUIET, LONGEST)).await;
        assert!(again.is_err(), "nothing has changed since");

        teller.tell();
        let dropped = timeout(QUIET / 2, burst.over(QUIET, LONGEST)).await;
        assert!(dropped.is_err(), "it does not rest yet");
        drop(teller);
        assert!(burst.over(QUIET, LONGEST).await, "it was heard of");
        assert!(!burst.over(QUIET, LONGEST).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_rests_is_told_of_nevertheless() {
        let (teller, mut burst) = channel();
        let restless = async {
            loop {
                teller.tell();
                tokio::time::sleep(QUIET / 3).await;
            }
        };
        let begun = Instant::now();
        tokio::select! {
            there = burst.over(QUIET, LONGEST) => assert!(there),
            () = restless => {}
        }
        assert_eq!(begun.elapsed(), LONGEST);
    }
}
