//! One call of the script, and its answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use aws_lc_rs::digest::{SHA256, digest};
use redis::{Cmd, cmd};

use super::failure::Failure;
use crate::limit::Window;

/// What runs in Redis.
pub(crate) const SCRIPT: &str = include_str!("script.lua");

/// Redis counts in floating point: the greatest number that is exact there.
const GREATEST: u64 = (1 << 53) - 1;

/// The longest key that stands in Redis as it is.
const LONGEST: usize = 256;

/// Writes the name of a counter in Redis: prefix, window and key, or the key's SHA-256 where that is shorter.
pub(crate) fn write_name(name: &mut Vec<u8>, prefix: &str, window: Window, key: &[u8]) {
    name.extend(prefix.as_bytes());
    name.extend(window.as_millis().to_string().as_bytes());
    if key.len() <= LONGEST {
        name.push(b':');
        name.extend(key);
    } else {
        name.push(b'#');
        name.extend(digest(&SHA256, key).as_ref());
    }
}

/// A call in the making.
#[derive(Debug, Default)]
pub(crate) struct Call {
    names: Vec<Vec<u8>>,
    windows: Vec<u64>,
    places: HashMap<Vec<u8>, usize>,
    groups: Vec<Arg>,
    /// Numbers that the answer has.
    pub(crate) answers: usize,
}

#[derive(Clone, Copy, Debug)]
enum Arg {
    Kind(&'static str),
    Number(u64),
}

impl Call {
    /// The place of a counter among the keys; the same name has one place.
    fn counter(&mut self, name: &[u8], window: Window) -> Arg {
        let next = self.names.len() + 1;
        let place = match self.places.entry(name.to_vec()) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                entry.insert(next);
                self.names.push(name.to_vec());
                self.windows.push(window.as_millis());
                next
            }
        };
        Arg::Number(u64::try_from(place).unwrap_or(u64::MAX))
    }

    /// Nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Begins a check of so many limits.
    pub(crate) fn check(&mut self, limits: usize) {
        let limits = u64::try_from(limits).unwrap_or(u64::MAX);
        self.groups.extend([Arg::Kind("C"), Arg::Number(limits)]);
        self.answers += 1;
    }

    /// One limit of the check that was begun.
    pub(crate) fn limit(&mut self, name: &[u8], window: Window, quota: u64, cost: u64) {
        let counter = self.counter(name, window);
        let [quota, cost] = [quota, cost].map(exact);
        self.groups.extend([counter, quota, cost]);
        self.answers += 2;
    }

    /// A slice.
    pub(crate) fn lease(&mut self, name: &[u8], window: Window, quota: u64, need: u64, want: u64) {
        let counter = self.counter(name, window);
        let [quota, need, want] = [quota, need, want].map(exact);
        self.groups.extend([Arg::Kind("L"), counter, quota, need, want]);
        self.answers += 4;
    }

    /// What was used already.
    pub(crate) fn add(&mut self, name: &[u8], window: Window, amount: u64) {
        let counter = self.counter(name, window);
        self.groups.extend([Arg::Kind("A"), counter, exact(amount)]);
    }

    /// The command; `by` and `script` are `EVALSHA` and a digest, or `EVAL` and the text.
    pub(crate) fn command(&self, by: &str, script: &str) -> Cmd {
        let mut command = cmd(by);
        command.arg(script).arg(self.names.len());
        for name in &self.names {
            command.arg(name.as_slice());
        }
        for window in &self.windows {
            command.arg(*window);
        }
        for arg in &self.groups {
            match arg {
                Arg::Kind(kind) => command.arg(*kind),
                Arg::Number(number) => command.arg(*number),
            };
        }
        command
    }
}

fn exact(number: u64) -> Arg {
    Arg::Number(number.min(GREATEST))
}

/// The numbers of an answer, one after the other.
#[derive(Debug)]
pub(crate) struct Answer {
    numbers: std::vec::IntoIter<u64>,
}

impl Answer {
    /// Fails where it is not as many numbers as the call has answers, and the time.
    pub(crate) fn read(value: redis::Value, call: &Call) -> Result<Self, Failure> {
        let redis::Value::Array(values) = value else {
            return Err(Failure::nonsense("the answer is no array"));
        };
        if values.len() != call.answers + 1 {
            return Err(Failure::nonsense(
                "the answer has another length than was asked for",
            ));
        }
        let number = |value| match value {
            redis::Value::Int(number) => u64::try_from(number).ok(),
            _ => None,
        };
        let numbers: Option<Vec<u64>> = values.into_iter().map(number).collect();
        let numbers = numbers.ok_or(Failure::nonsense("the answer holds something other than numbers"))?;
        Ok(Self {
            numbers: numbers.into_iter(),
        })
    }

    pub(crate) fn next(&mut self) -> Result<u64, Failure> {
        self.numbers.next().ok_or(Failure::nonsense(
            "the answer has another length than was asked for",
        ))
    }
}
