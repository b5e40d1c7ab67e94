//! From events to a tree: what is kept of a document, within bounds.

use super::diagnostic::pointer_token;
use super::event::{Event, Events, Fault, Form};
use super::keep::{Keep, SKIPPED};
use super::repeated::Repeated;
use super::value::{self, Object, Value};
use crate::settings::Limits;

/// The tree of the value that comes next, which is the only one of a file.
pub(super) fn tree<'t>(events: &mut impl Events<'t>, keep: Keep, tally: &mut Tally) -> Result<Value, Fault> {
    let first = events.next()?;
    let mut builder = Builder { events, tally };
    builder.value(first, keep, 0)
}

/// What has been built so far, and how much of it is allowed.
#[derive(Debug)]
pub(super) struct Tally {
    nodes: usize,
    bytes: usize,
    max_depth: usize,
    /// Keys that are given more than once.
    pub(super) repeated: Vec<Repeated>,
    /// There are more of them than are listed, so that nobody knows what they decide.
    pub(super) unlisted: bool,
}

/// What the table behind an object with keys counts in addition: some 500 bytes for the first key, where a value has 72
/// (measured), so that 8 MB of `{"a":1},` took half a gigabyte.
const OBJECT_NODES: usize = 6;

/// Repeated keys that are reported of one file.
pub(super) const MAX_REPEATED: usize = 100;

impl Tally {
    pub(super) fn new(limits: &Limits) -> Self {
        let bytes = usize::try_from(limits.entry_bytes)
            .unwrap_or(usize::MAX)
            .saturating_mul(2);
        Self {
            nodes: limits.nodes,
            bytes,
            max_depth: limits.depth,
            repeated: Vec::new(),
            unlisted: false,
        }
    }

    /// One value, or what weighs as much in memory as `count`.
    fn nodes(&mut self, count: usize) -> Result<(), &'static str> {
        self.nodes = self
            .nodes
            .checked_sub(count)
            .ok_or("the file has too many values")?;
        Ok(())
    }

    /// Text counts by itself: aliases multiply it without multiplying the file.
    fn text(&mut self, text: &str) -> Result<(), &'static str> {
        let left = self.bytes.checked_sub(text.len());
        self.bytes = left.ok_or("the file expands to too much text")?;
        Ok(())
    }

    fn enter(&mut self, from: usize, step: &str) {
        for repeated in self.repeated.get_mut(from..).unwrap_or_default() {
            repeated.enter(step);
        }
    }

    /// `key` had the value `first`, and is given again. Both are looked at, which counts as another reading of them.
    fn repeat(&mut self, key: &str, first: &Value, second: &Value) -> Result<(), &'static str> {
        self.nodes(weight(first).saturating_add(weight(second)))?;
        if self.repeated.len() < MAX_REPEATED {
            self.repeated.push(Repeated::new(key, first, second));
        } else {
            self.unlisted |= first != second;
        }
        Ok(())
    }
}

/// What a value took of [`Limits::nodes`].
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Object(map) if map.is_empty() => 1,
        Value::Object(map) => 1 + OBJECT_NODES + map.values().map(weight).sum::<usize>(),
        Value::Null | Value::Scalar(_) | Value::String(_) => 1,
    }
}

/// What stands for others at the head of a line that has no key: the keys of what it names (YAML 1.1, type `merge`).
const MERGE: &str = "<<";

struct Builder<'b, E> {
    events: &'b mut E,
    tally: &'b mut Tally,
}

impl<'t, E: Events<'t>> Builder<'_, E> {
    /// The value that begins with `event`.
    fn value(&mut self, event: Event<'t>, keep: Keep, depth: usize) -> Result<Value, Fault> {
        if keep == Keep::Skip {
            self.pass(&event)?;
            return Ok(Value::String(SKIPPED.to_owned()));
        }
        let spent = self.tally.nodes(1);
        spent.map_err(|reason| self.events.fault(reason))?;
        match event {
            Event::Alias(alias) => {
                self.events.follow(alias)?;
                // The alias counts as what it stands for.
                self.tally.nodes += 1;
                let event = self.events.next()?;
                self.value(event, keep, depth)
            }
            Event::End => Err(self.events.fault("unexpected end")),
            Event::List => {
                self.check_depth(depth)?;
                self.list(keep, depth)
            }
            Event::Object => {
                self.check_depth(depth)?;
                self.object(keep, depth)
            }
            Event::Scalar(text, form) => {
                self.spend_text(&text)?;
                Ok(match form {
                    Form::Bool => Value::truth(text),
                    Form::Json => Value::literal(&text),
                    Form::Null => Value::Null,
                    Form::Number => Value::number(text),
                    Form::Plain => Value::plain(text),
                    Form::Text => Value::String(text.into_owned()),
                })
            }
        }
    }

    fn check_depth(&self, depth: usize) -> Result<(), Fault> {
        let max = self.tally.max_depth;
        if depth >= max {
            return Err(self.events.fault(&format!("nested deeper than {max} levels")));
        }
        Ok(())
    }

    fn spend_text(&mut self, text: &str) -> Result<(), Fault> {
        let spent = self.tally.text(text);
        spent.map_err(|reason| self.events.fault(reason))
    }

    /// Leaves out the value that begins with `event`: tags in it are not looked at, aliases not followed.
    fn pass(&mut self, event: &Event<'t>) -> Result<(), Fault> {
        let mut open = usize::from(matches!(event, Event::List | Event::Object));
        while open > 0 {
            match self.events.next()? {
                Event::End => open -= 1,
                Event::List | Event::Object => open += 1,
                Event::Alias(_) | Event::Scalar(..) => {}
            }
        }
        Ok(())
    }

    fn list(&mut self, keep: Keep, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            let event = self.events.next()?;
            if event == Event::End {
                return Ok(Value::Array(items));
            }
            let mark = self.tally.repeated.len();
            let item = self.value(event, keep.of_item(), depth + 1)?;
            self.tally.enter(mark, &items.len().to_string());
            items.push(item);
        }
    }

    fn object(&mut self, keep: Keep, depth: usize) -> Result<Value, Fault> {
        let mut object = Object::new();
        let mut merged = Vec::new();
        while let Some((key, form)) = self.key()? {
            let event = self.events.next()?;
            if form == Form::Plain && key == MERGE {
                let mark = self.tally.repeated.len();
                self.merge(event, keep, depth, &mut merged)?;
                self.tally.enter(mark, MERGE);
                continue;
            }
            let kept = keep.of(&key);
            if kept == Keep::Drop {
                self.pass(&event)?;
                continue;
            }
            if object.is_empty() {
                let spent = self.tally.nodes(OBJECT_NODES);
                spent.map_err(|reason| self.events.fault(reason))?;
            }
            self.spend_text(&key)?;
            let mark = self.tally.repeated.len();
            let value = self.value(event, kept, depth + 1)?;
            if self.tally.repeated.len() > mark {
                self.tally.enter(mark, &pointer_token(&key));
            }
            if let Some(first) = object.get(&key) {
                let spent = self.tally.repeat(&key, first, &value);
                spent.map_err(|reason| self.events.fault(reason))?;
            }
            object.insert(key, value);
        }
        // What the object says itself wins, then the first of those it names.
        for (key, value) in merged.into_iter().flatten() {
            object.entry(key).or_insert(value);
        }
        Ok(Value::Object(object))
    }

    /// The next key of an object, `None` at its end.
    fn key(&mut self) -> Result<Option<(String, Form)>, Fault> {
        let mut event = self.events.next()?;
        if let Event::Alias(alias) = event {
            self.events.follow(alias)?;
            event = self.events.next()?;
        }
        match event {
            Event::End => Ok(None),
            // A key can be null, which a plain `null:` is.
            Event::Scalar(_, Form::Null) => Ok(Some(("null".to_owned(), Form::Null))),
            Event::Scalar(text, Form::Plain) if value::is_null(&text) => {
                Ok(Some(("null".to_owned(), Form::Null)))
            }
            Event::Scalar(text, form) => Ok(Some((text.into_owned(), form))),
            Event::Alias(_) | Event::List | Event::Object => Err(self.events.fault("a key must be text")),
        }
    }

    /// The keys that `<<` brings in: of an object, or of a list of them.
    fn merge(
        &mut self,
        mut event: Event<'t>,
        keep: Keep,
        depth: usize,
        merged: &mut Vec<Object>,
    ) -> Result<(), Fault> {
        if let Event::Alias(alias) = event {
            self.events.follow(alias)?;
            event = self.events.next()?;
        }
        match event {
            Event::List => loop {
                let event = self.events.next()?;
                if event == Event::End {
                    return Ok(());
                }
                self.merge_one(event, keep, depth, merged)?;
            },
            event => self.merge_one(event, keep, depth, merged),
        }
    }

    fn merge_one(
        &mut self,
        event: Event<'t>,
        keep: Keep,
        depth: usize,
        merged: &mut Vec<Object>,
    ) -> Result<(), Fault> {
        match self.value(event, keep, depth + 1)? {
            Value::Object(object) => merged.push(object),
            Value::Null => {}
            Value::Array(_) | Value::Scalar(_) | Value::String(_) => {
                return Err(self
                    .events
                    .fault("<< must be followed by an object, or a list of them"));
            }
        }
        Ok(())
    }
}
