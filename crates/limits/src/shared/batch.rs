//! The checks of one call.

use std::collections::HashMap;
use std::mem;

use tokio::sync::oneshot;

use super::call::{Answer, Call};
use super::failure::Failure;
use super::lease::{Leases, Slice, Terms, settle};
use crate::decision::{Decision, Outcome, Standing};
use crate::limit::{Time, Window};
use crate::memory::Id;

/// What waits for the next call.
#[derive(Debug)]
pub(crate) enum Job {
    /// Counts what was used already.
    Add {
        /// Name of the counter in Redis.
        name: Vec<u8>,
        /// Its window.
        window: Window,
        /// How much.
        amount: u64,
    },
    /// A check.
    Check(Check),
}

/// A check that waits.
#[derive(Debug)]
pub(crate) struct Check {
    /// Its limits.
    pub(crate) limits: Vec<Terms>,
    /// The names of their counters, one after the other.
    pub(crate) names: Vec<u8>,
    /// Where each name ends.
    pub(crate) name_ends: Vec<usize>,
    /// Who waits.
    pub(crate) reply: oneshot::Sender<Decision>,
}

impl Check {
    fn named(&self) -> impl Iterator<Item = (&Terms, &[u8])> {
        let begins = [0].into_iter().chain(self.name_ends.iter().copied());
        let ends = self.name_ends.iter().copied();
        let names = begins.zip(ends).map(|(begin, end)| &self.names[begin..end]);
        self.limits.iter().zip(names)
    }

    fn answer(self, decision: Decision) {
        // Nobody waits any more: what was charged stays so.
        let (Ok(()) | Err(_)) = self.reply.send(decision);
    }
}

/// Checks on their way.
#[derive(Debug)]
pub(crate) struct Batch {
    checks: Vec<Check>,
    slices: Option<Slices>,
    sent: Time,
}

/// The limits of all checks of a batch, each once.
#[derive(Debug, Default)]
struct Slices {
    slices: Vec<Slice>,
    /// For each check the places of its limits in `slices`.
    places: Vec<Vec<usize>>,
}

impl Batch {
    /// How many checks.
    pub(crate) fn len(&self) -> usize {
        self.checks.len()
    }

    /// Every check asks for itself.
    pub(crate) fn ask(jobs: &mut Vec<Job>, now: Time) -> (Self, Call) {
        let mut call = Call::default();
        let checks = waiting(jobs, &mut call);
        for check in &checks {
            call.check(check.limits.len());
            for (terms, name) in check.named() {
                call.limit(name, terms.window, terms.quota, terms.cost);
            }
        }
        let batch = Self {
            checks,
            slices: None,
            sent: now,
        };
        (batch, call)
    }

    /// Asks for slices of what the checks need and what is not here by now.
    pub(crate) fn lease(jobs: &mut Vec<Job>, leases: &Leases, now: Time) -> (Self, Call) {
        let mut call = Call::default();
        let mut checks = Vec::new();
        for check in waiting(jobs, &mut call) {
            match leases.take(&check.limits, now) {
                Some(decision) => check.answer(decision),
                None => checks.push(check),
            }
        }
        let mut wanted: Vec<(Terms, &[u8], u64)> = Vec::new();
        let mut found: HashMap<Id, usize> = HashMap::new();
        let mut places = Vec::with_capacity(checks.len());
        for check in &checks {
            let mut own = Vec::with_capacity(check.limits.len());
            for (terms, name) in check.named() {
                let place = *found.entry(terms.id).or_insert(wanted.len());
                match wanted.get_mut(place) {
                    Some((_, _, need)) => *need = need.saturating_add(terms.cost),
                    None => wanted.push((*terms, name, terms.cost)),
                }
                own.push(place);
            }
            places.push(own);
        }
        let mut slices = Vec::with_capacity(wanted.len());
        for (terms, name, need) in wanted {
            let slice = leases.put_aside(&terms, need, now);
            let missing = need.saturating_sub(slice.have);
            call.lease(name, terms.window, terms.quota, missing, slice.want);
            slices.push(slice);
        }
        let batch = Self {
            checks,
            slices: Some(Slices { slices, places }),
            sent: now,
        };
        (batch, call)
    }

    /// Answers every check. Where the answer is nonsense, those that are left hear nothing.
    pub(crate) fn settle(self, mut answer: Answer, leases: Option<&Leases>) -> Result<(), Failure> {
        let now = Time(answer.next()?);
        let (Some(mut all), Some(leases)) = (self.slices, leases) else {
            for check in self.checks {
                let decision = asked(&check.limits, now, &mut answer)?;
                check.answer(decision);
            }
            return Ok(());
        };
        for slice in &mut all.slices {
            let granted = answer.next()?;
            slice.have = slice.have.saturating_add(granted);
            slice.left = answer.next()?;
            answer.next()?;
            slice.ends = Time(answer.next()?);
            sound(&slice.terms, slice.ends, now)?;
            if granted.saturating_add(slice.left) > slice.terms.quota {
                return Err(Failure::nonsense("more is granted than the limit has"));
            }
        }
        for (check, places) in self.checks.into_iter().zip(&all.places) {
            let decision = settle(&check.limits, &mut all.slices, places, now);
            check.answer(decision);
        }
        for slice in &all.slices {
            leases.keep(slice, self.sent, now);
        }
        Ok(())
    }
}

/// The checks somebody still waits for; what else is to be done goes into the call.
fn waiting(jobs: &mut Vec<Job>, call: &mut Call) -> Vec<Check> {
    let mut checks = Vec::with_capacity(jobs.len());
    for job in mem::take(jobs) {
        match job {
            Job::Add { name, window, amount } => call.add(&name, window, amount),
            Job::Check(check) if check.reply.is_closed() => {}
            Job::Check(check) => checks.push(check),
        }
    }
    checks
}

/// The answer to a check that asked for itself.
fn asked(limits: &[Terms], now: Time, answer: &mut Answer) -> Result<Decision, Failure> {
    let exhausted = usize::try_from(answer.next()?).unwrap_or(usize::MAX);
    if exhausted > limits.len() {
        return Err(Failure::nonsense("a limit is exhausted that was not asked for"));
    }
    let outcome = match exhausted.checked_sub(1) {
        Some(index) => Outcome::Exhausted(index),
        None => Outcome::Admitted,
    };
    let mut decision = Decision::new(outcome, now);
    for terms in limits {
        let used = answer.next()?;
        let ends = Time(answer.next()?);
        sound(terms, ends, now)?;
        let quota = terms.quota;
        decision.push(Standing { quota, used, ends });
    }
    Ok(decision)
}

/// Windows end after now, and not much later than they last: a counter is a little ahead where the clock was set back.
fn sound(terms: &Terms, ends: Time, now: Time) -> Result<(), Failure> {
    let longest = terms.window.as_millis().saturating_mul(2).saturating_add(10_000);
    if ends > now && ends.0 - now.0 <= longest {
        Ok(())
    } else {
        Err(Failure::nonsense("a window ends at no possible time"))
    }
}
