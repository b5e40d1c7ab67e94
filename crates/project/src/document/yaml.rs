//! YAML as events: what the parser gives, with what aliases stand for, within bounds.
//!
//! Only the parser of `serde-saphyr` is used, not its values: they come without the text they were made of, and of a value that
//! nobody asks for it refuses a tag that it can't resolve.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use serde_saphyr::granit_parser::{self, ErrorKind, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::event::{Event, Events, Fault, Form};
use super::stand_in::StandIn;
use crate::settings::Limits;

/// Events that are kept because an anchor names them, and the bytes of their texts.
const ANCHOR_EVENTS: usize = 200_000;
const ANCHOR_BYTES: usize = 16 << 20;
/// Events that aliases bring in, and the bytes of their texts, which nobody else counts where they are left out.
const ALIAS_EVENTS: usize = 500_000;
const ALIAS_BYTES: usize = 64 << 20;

const TOO_MUCH: &str = "the file has too many values or aliases";
const DOCUMENTS: &str = "the file has more than one document";

/// The events of the only document of a text.
pub(super) struct Yaml<'t> {
    parser: Parser<'t, StrInput<'t>>,
    stand_in: Option<StandIn>,
    /// Events of values that have an anchor, each once: anchors within anchors share them.
    log: Vec<Event<'t>>,
    /// Where in the log the value of an anchor is.
    anchors: HashMap<usize, Range<usize>>,
    /// Anchors whose value is being read: their number, where in the log it begins, and the depth it began at.
    open: Vec<(usize, usize, usize)>,
    /// Parts of the log that come before what the parser gives, the innermost last.
    replays: Vec<Range<usize>>,
    /// Lists and objects that are open in the parser.
    depth: usize,
    max_depth: usize,
    /// What is left of the events of the file, of what aliases bring in (events and bytes), and of the bytes that are kept.
    left: usize,
    left_replayed: (usize, usize),
    left_kept: usize,
    /// Line and column of the last event, from 1.
    at: (usize, usize),
}

impl<'t> Yaml<'t> {
    /// The events of `text`, in which `stand_in` stands for other characters.
    pub(super) fn new(text: &'t str, stand_in: Option<StandIn>, limits: &Limits) -> Self {
        let options = granit_parser::options! {
            emit_comments: false,
            // One more than is taken: the tree refuses it, and knows where.
            block_nesting_limit: limits.depth.saturating_add(1),
            flow_nesting_limit: limits.depth.saturating_add(1),
        };
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            stand_in,
            log: Vec::new(),
            anchors: HashMap::new(),
            open: Vec::new(),
            replays: Vec::new(),
            depth: 0,
            max_depth: limits.depth,
            left: limits.nodes.saturating_mul(4),
            left_replayed: (ALIAS_EVENTS, ALIAS_BYTES),
            left_kept: ANCHOR_BYTES,
            at: (1, 1),
        }
    }

    /// Nothing may come after the only document.
    pub(super) fn end(mut self) -> Result<(), Fault> {
        while let Some(event) = self.raw()? {
            if matches!(event, granit_parser::Event::DocumentStart(..)) {
                return Err(self.fault(DOCUMENTS));
            }
        }
        Ok(())
    }

    /// The next event of the parser; `None` at the end.
    fn raw(&mut self) -> Result<Option<granit_parser::Event<'t>>, Fault> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                self.at = (span.start.line(), span.start.col() + 1);
                Ok(Some(event))
            }
            Some(Err(error)) => Err(self.scan_fault(&error)),
        }
    }

    fn scan_fault(&self, error: &ScanError) -> Fault {
        let reason = match error.kind() {
            ErrorKind::RecursionLimitExceeded => format!("nested deeper than {} levels", self.max_depth),
            _ => error.info(),
        };
        let mark = error.marker();
        Fault {
            reason,
            line: mark.line(),
            column: mark.col() + 1,
        }
    }

    /// The next event of the file, and the anchor of the value that begins with it; 0 is none.
    fn parsed(&mut self) -> Result<(Event<'t>, usize), Fault> {
        use granit_parser::Event as Parsed;
        loop {
            let event = match self.raw()? {
                // A file without a document says nothing.
                None | Some(Parsed::StreamEnd) => (Event::Scalar("".into(), Form::Plain), 0),
                Some(Parsed::Alias(anchor)) => (Event::Alias(anchor), 0),
                Some(Parsed::Scalar(text, style, anchor, tag)) => {
                    let text = self.restored(text, style)?;
                    (Event::Scalar(text, form(style, tag.as_deref())), anchor)
                }
                Some(Parsed::SequenceStart(_, anchor, _)) => (Event::List, anchor),
                Some(Parsed::MappingStart(_, anchor, _)) => (Event::Object, anchor),
                Some(Parsed::SequenceEnd | Parsed::MappingEnd) => (Event::End, 0),
                // Starts, and marks that aren't asked for.
                Some(_) => continue,
            };
            return Ok(event);
        }
    }

    fn restored(&self, text: Cow<'t, str>, style: ScalarStyle) -> Result<Cow<'t, str>, Fault> {
        let Some(stand_in) = self.stand_in.filter(|stand_in| stand_in.is_in(&text)) else {
            return Ok(text);
        };
        let restored = stand_in.restored(&text);
        if matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted) {
            return Ok(restored.into());
        }
        let control = restored
            .chars()
            .find(|c| StandIn::is_needed(*c))
            .unwrap_or_default();
        Err(self.fault(&format!(
            "unexpected character U+{:04X}, which may stand in quotes only",
            u32::from(control)
        )))
    }

    /// Keeps an event as long as a value with an anchor is open.
    fn record(&mut self, event: &Event<'t>, anchor: usize) -> Result<(), Fault> {
        let begins = matches!(event, Event::List | Event::Object);
        if anchor != 0 {
            self.open.push((anchor, self.log.len(), self.depth));
        }
        self.depth = match event {
            Event::End => self.depth.saturating_sub(1),
            _ if begins => self.depth + 1,
            _ => self.depth,
        };
        if self.open.is_empty() {
            return Ok(());
        }
        let left = self
            .left_kept
            .checked_sub(size(event))
            .filter(|_| self.log.len() < ANCHOR_EVENTS);
        self.left_kept = left.ok_or_else(|| self.fault(TOO_MUCH))?;
        self.log.push(event.clone());
        while let Some((anchor, start, _)) = self.open.pop_if(|(.., depth)| *depth == self.depth) {
            self.anchors.insert(anchor, start..self.log.len());
        }
        Ok(())
    }
}

impl<'t> Events<'t> for Yaml<'t> {
    fn next(&mut self) -> Result<Event<'t>, Fault> {
        while let Some(replay) = self.replays.last_mut() {
            if let Some(event) = replay.next().and_then(|at| self.log.get(at)) {
                let (events, bytes) = self.left_replayed;
                let left = events.checked_sub(1).zip(bytes.checked_sub(size(event)));
                let event = event.clone();
                self.left_replayed = left.ok_or_else(|| self.fault(TOO_MUCH))?;
                return Ok(event);
            }
            self.replays.pop();
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| self.fault(TOO_MUCH))?;
        let (event, anchor) = self.parsed()?;
        self.record(&event, anchor)?;
        Ok(event)
    }

    fn follow(&mut self, alias: usize) -> Result<(), Fault> {
        // One that is being read still has no place: it would hold itself.
        let range = self.anchors.get(&alias).cloned();
        self.replays
            .push(range.ok_or_else(|| self.fault("an alias stands within what it names"))?);
        Ok(())
    }

    fn fault(&self, reason: &str) -> Fault {
        let (line, column) = self.at;
        Fault {
            reason: reason.to_owned(),
            line,
            column,
        }
    }
}

/// Bytes of the text of an event.
fn size(event: &Event<'_>) -> usize {
    match event {
        Event::Scalar(text, _) => text.len(),
        Event::Alias(_) | Event::End | Event::List | Event::Object => 0,
    }
}

/// How a scalar is to be read. Tags that nobody here knows say nothing.
fn form(style: ScalarStyle, tag: Option<&Tag>) -> Form {
    let implied = match style {
        ScalarStyle::Plain => Form::Plain,
        _ => Form::Text,
    };
    let Some(tag) = tag else { return implied };
    // `!` alone: not to be resolved (YAML 1.2.2 section 6.9.1).
    if tag.suffix_in_namespace("!").is_some_and(|name| name.is_empty()) {
        return Form::Text;
    }
    match tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() {
        Some("bool") => Form::Bool,
        Some("float" | "int") => Form::Number,
        Some("null") => Form::Null,
        Some("binary" | "str" | "timestamp") => Form::Text,
        _ => implied,
    }
}
