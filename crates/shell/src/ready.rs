//! Whether traffic should come to a process, as a list of conditions with names.
//!
//! Whatever readiness depends on registers a [`Condition`] at start and marks it from then on, from any thread, in either
//! direction; whoever asks reads one number, and is told by name what is missing.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Whether traffic should come to the process. Clones share the list. Without conditions it is ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// How many are not met. Steps of two threads may be added in another order than they were made, hence signed.
    unmet: AtomicIsize,
    list: Mutex<Vec<Arc<Entry>>>,
    /// What is to be known although it does not keep traffic away.
    notes: Mutex<Vec<Note>>,
    changed: watch::Sender<()>,
}

/// What is to be known now, if anything is.
type Told = Box<dyn Fn() -> Option<String> + Send + Sync>;

struct Note(Told);

#[derive(Debug)]
struct Entry {
    name: &'static str,
    met: AtomicBool,
    /// Why it is not met, where more is known than the name says.
    reason: Mutex<Option<String>>,
}

/// One thing that readiness depends on. Marking it with what it is already costs one read. Clones mark the same.
#[derive(Clone, Debug)]
pub struct Condition {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
}

impl Readiness {
    /// Adds a condition, which is not met. The name says what is missing while it is not: `configuration`. Several of one
    /// name, such as one for each worker, are told once.
    #[must_use]
    pub fn condition(&self, name: &'static str) -> Condition {
        let entry = Arc::new(Entry {
            name,
            met: AtomicBool::new(false),
            reason: Mutex::default(),
        });
        self.shared.unmet.fetch_add(1, Ordering::AcqRel);
        self.shared.list().push(Arc::clone(&entry));
        Condition {
            shared: Arc::clone(&self.shared),
            entry,
        }
    }

    /// Adds a condition that is met until something is in the way; the name says what: `draining`.
    #[must_use]
    pub fn unless(&self, name: &'static str) -> Condition {
        let condition = self.condition(name);
        condition.meet();
        condition
    }

    /// Whether all conditions are met. One read of a number.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.unmet.load(Ordering::Acquire) == 0
    }

    /// The names of the conditions that are not met, in the order of registration, each with its reason if there is one:
    /// `configuration`, `store (disk is full)`.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        for entry in &*self.shared.list() {
            if entry.met.load(Ordering::Acquire) {
                continue;
            }
            let told = match &*entry.reason() {
                Some(reason) => format!("{} ({reason})", entry.name),
                None => entry.name.to_owned(),
            };
            if !missing.contains(&told) {
                missing.push(told);
            }
        }
        missing
    }

    /// Adds what whoever asks is to know, ready or not: `no durable store (…)`.
    pub fn note(&self, note: String) {
        self.note_while(move || Some(note.clone()));
    }

    /// Adds what whoever asks is to know, ready or not, for as long as there is something: `certificate … has expired`.
    pub fn note_while(&self, told: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.shared.notes().push(Note(Box::new(told)));
    }

    /// What is noted, in order; what is the same is told once.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        for Note(told) in &*self.shared.notes() {
            if let Some(note) = told()
                && !notes.contains(&note)
            {
                notes.push(note);
            }
        }
        notes
    }

    /// Told whenever a condition changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }
}

// === impl Condition ===

impl Condition {
    /// It is met.
    pub fn meet(&self) {
        self.set(true);
    }

    /// It is not, or no longer.
    pub fn miss(&self) {
        *self.entry.reason() = None;
        self.set(false);
    }

    /// It is not, and this is why.
    pub fn miss_because(&self, reason: String) {
        *self.entry.reason() = Some(reason);
        self.set(false);
    }

    /// Marks it.
    pub fn set(&self, met: bool) {
        // Most marks change nothing, and a read leaves the memory to all threads.
        if self.entry.met.load(Ordering::Acquire) == met || self.entry.met.swap(met, Ordering::AcqRel) == met
        {
            return;
        }
        let step = if met { -1 } else { 1 };
        self.shared.unmet.fetch_add(step, Ordering::AcqRel);
        self.shared.changed.send_replace(());
    }

    /// Whether it is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.entry.met.load(Ordering::Acquire)
    }
}

// === impl Shared ===

impl Shared {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> MutexGuard<'_, Vec<Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Note ===

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0().fmt(f)
    }
}

// === impl Entry ===

impl Entry {
    fn reason(&self) -> MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_in_order() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        let configuration = readiness.condition("configuration");
        let workers = [readiness.condition("enforcer"), readiness.condition("enforcer")];
        let draining = readiness.unless("draining");
        assert!(!readiness.is_ready());
        assert_eq!(readiness.missing(), ["configuration", "enforcer"]);
        configuration.meet();
        workers[0].meet();
        assert_eq!(readiness.missing(), ["enforcer"]);
        workers[1].set(true);
        assert!(readiness.is_ready() && workers[1].is_met());
        assert!(readiness.missing().is_empty());
        draining.miss();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.missing(), ["draining"]);
    }

    #[test]
    fn conditions_go_back_and_marks_are_not_counted_twice() {
        let readiness = Readiness::default();
        let (store, other) = (readiness.condition("store"), readiness.condition("store"));
        other.meet();
        for _ in 0..3 {
            store.meet();
            store.clone().meet();
            assert!(readiness.is_ready());
            store.miss_because("disk is full".to_owned());
            store.miss_because("disk is still full".to_owned());
            assert!(!readiness.is_ready());
            assert_eq!(readiness.missing(), ["store (disk is still full)"]);
            store.miss();
            assert_eq!(readiness.missing(), ["store"]);
        }
    }

    #[test]
    fn threads_leave_the_count_as_the_last_marks_say() {
        let readiness = Readiness::default();
        let shared = readiness.condition("shared");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (shared, own) = (&shared, readiness.condition("own"));
                scope.spawn(move || {
                    for round in 0..10_000 {
                        shared.set(round % 2 == thread % 2);
                        own.set(round % 2 == 0);
                    }
                    own.meet();
                });
            }
        });
        shared.meet();
        assert!(readiness.is_ready(), "{readiness:?}");
        shared.miss();
        assert_eq!(readiness.missing(), ["shared"]);
    }

    #[test]
    fn notes_come_and_go_and_keep_nobody_away() {
        let readiness = Readiness::default();
        let expired = Arc::new(AtomicBool::new(false));
        readiness.note("no store".to_owned());
        for _ in 0..2 {
            let expired = Arc::clone(&expired);
            readiness.note_while(move || expired.load(Ordering::Relaxed).then(|| "expired".to_owned()));
        }
        assert_eq!(readiness.notes(), ["no store"]);
        expired.store(true, Ordering::Relaxed);
        assert_eq!(readiness.notes(), ["no store", "expired"]);
        assert!(readiness.is_ready());
    }

    #[tokio::test]
    async fn changes_are_told() {
        let readiness = Readiness::default();
        let condition = readiness.condition("configuration");
        let mut changes = readiness.subscribe();
        condition.miss();
        assert!(!changes.has_changed().unwrap(), "nothing has changed");
        condition.meet();
        changes.changed().await.unwrap();
        assert!(readiness.is_ready());
    }
}
