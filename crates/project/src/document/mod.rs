//! YAML and JSON files as trees, bounded, leaving out what nobody reads.
//!
//! Most of a real definition is schemas and prose. They are skipped while parsing, so that a definition of ten megabytes does
//! not become a tree of a hundred.

pub(crate) mod diagnostic;
pub(crate) mod refs;
mod repeated;
pub(crate) mod tree;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use self::diagnostic::{Diagnostic, Findings, pointer_token};
use self::repeated::Repeated;
use crate::settings::Limits;

/// Stands where a skipped subtree was, so that a `$ref` into it still has a target. A file that spells it out with escapes
/// gains nothing: it can only shorten the way to an object that then isn't one.
pub(crate) const SKIPPED: &str = "\u{0}skipped";

/// What is kept of a part of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Everything below.
    All,
    /// `components` of OpenAPI 3.
    Components,
    /// The root of an OpenAPI definition.
    Definition,
    /// Nothing at all.
    Drop,
    /// A map whose values are of the given kind.
    MapOf(&'static Self),
    /// An operation.
    Operation,
    /// A path item.
    PathItem,
    /// Only `$ref`.
    Reference,
    /// Nothing: the mark alone.
    Skip,
}

impl Keep {
    fn of(self, key: &str) -> Self {
        match self {
            Self::All => Self::All,
            Self::Components => match key {
                "callbacks" | "examples" | "headers" | "links" | "requestBodies" | "schemas" => Self::Skip,
                "parameters" | "responses" => Self::MapOf(&Self::Reference),
                "pathItems" => Self::MapOf(&Self::PathItem),
                _ => Self::All,
            },
            Self::Definition => match key {
                "components" => Self::Components,
                "definitions" | "externalDocs" | "tags" | "webhooks" => Self::Skip,
                "parameters" | "responses" => Self::MapOf(&Self::Reference),
                "paths" => Self::MapOf(&Self::PathItem),
                _ => Self::All,
            },
            Self::MapOf(kind) => *kind,
            Self::Operation => match key {
                "callbacks" | "description" | "externalDocs" | "requestBody" | "summary" | "tags" => {
                    Self::Drop
                }
                "parameters" | "responses" => Self::MapOf(&Self::Reference),
                _ => Self::All,
            },
            Self::PathItem => match key {
                "connect" | "delete" | "get" | "head" | "options" | "patch" | "post" | "put" | "trace" => {
                    Self::Operation
                }
                "description" | "summary" => Self::Drop,
                "parameters" => Self::MapOf(&Self::Reference),
                _ => Self::All,
            },
            Self::Reference => {
                if key == "$ref" {
                    Self::All
                } else {
                    Self::Drop
                }
            }
            Self::Drop | Self::Skip => self,
        }
    }

    /// Entries of a list are of the kind the entries of a map would be.
    fn of_item(self) -> Self {
        match self {
            Self::MapOf(kind) => *kind,
            other => other,
        }
    }
}

/// Parses one file; what is wrong with it goes to `findings`.
pub(crate) fn parse(
    file: &str,
    content: &[u8],
    keep: Keep,
    limits: &Limits,
    findings: &mut Findings,
) -> Option<Value> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        Err(_) if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") => {
            let message = "not UTF-8 text but UTF-16: save it as UTF-8";
            findings.push(Diagnostic::error(file, "", message));
            return None;
        }
        Err(error) => {
            let message = format!("not UTF-8 text: bad byte at offset {}", error.valid_up_to());
            findings.push(Diagnostic::error(file, "", message));
            return None;
        }
    };
    let mut tally = Tally::new(limits);
    let parsed = if is_json(text) {
        json(text, keep, &mut tally)
    } else {
        yaml(text, keep, &mut tally, limits)
    };
    for repeated in tally.repeated {
        findings.push(repeated.finding(file));
    }
    if tally.unlisted {
        let message = format!("more than {MAX_REPEATED} keys are given more than once, with other values");
        findings.push(Diagnostic::refusal(file, "", message));
    }
    match parsed {
        Ok(value) => Some(value),
        Err(message) => {
            findings.push(Diagnostic::error(file, "", message));
            None
        }
    }
}

/// The format is told by the first character, as the original does; a name says nothing.
pub(crate) fn is_json(text: &str) -> bool {
    text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n'])
        .starts_with('{')
}

fn json(text: &str, keep: Keep, tally: &mut Tally) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Seed {
        tally,
        keep,
        depth: 0,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value))
    .map_err(|error| format!("not valid JSON: {error}"))
}

fn yaml(text: &str, keep: Keep, tally: &mut Tally, limits: &Limits) -> Result<Value, String> {
    deep(limits.depth, || {
        let seed = Seed {
            tally,
            keep,
            depth: 0,
        };
        serde_saphyr::with_deserializer_from_str_with_options(text, yaml_options(limits), |deserializer| {
            seed.deserialize(deserializer)
        })
        .map_err(|error| format!("not valid YAML: {}", yaml_reason(&error)))
    })
    .unwrap_or_else(|reason| Err(format!("not readable as YAML: {reason}")))
}

/// Runs work on YAML where the stack is deep enough for `depth` levels: the library takes up to 30 KiB of it for each (measured
/// without optimization), so that the 2 MiB of an ordinary thread would end at 70.
pub(crate) fn deep<T: Send>(depth: usize, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    const LEVEL_BYTES: usize = 64 << 10;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("yaml".to_owned())
            .stack_size(LEVEL_BYTES * (depth.min(1_000) + 32))
            .spawn_scoped(scope, work)
            .map_err(|error| format!("no thread for it: {error}"))?;
        thread.join().map_err(|_| "the parser failed".to_owned())
    })
}

/// Values that anchors keep to be used again, and their bytes.
const ANCHOR_EVENTS: usize = 200_000;
const ANCHOR_BYTES: usize = 16 << 20;
/// Values that aliases bring in.
const ALIAS_EVENTS: usize = 500_000;

/// Parser settings: the tolerance of the YAML 1.1 parsers that real files were written for, within bounds.
fn yaml_options(limits: &Limits) -> serde_saphyr::Options {
    let events = limits.nodes.saturating_mul(4);
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: limits.depth,
            max_documents: 1,
            max_events: events,
            max_nodes: events,
            flow_nesting_limit: limits.depth,
            // One anchor that a hundred operations use is good style; how much aliases bring in is bounded by itself.
            enforce_alias_anchor_ratio: false,
            // Anchors in anchors are copied into one another while they are read: 400 bytes of text made 250 MB of them.
            max_recorded_anchor_events: ANCHOR_EVENTS,
            max_recorded_anchor_bytes: ANCHOR_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_EVENTS,
        },
        // Repeated keys are told apart by the seed, which knows where they are.
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    }
}

/// The parser's words on one line.
fn yaml_reason(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::budget::BudgetBreach;
    let error = error.without_snippet();
    if let serde_saphyr::Error::Budget { breach, location } = error {
        let reason = match breach {
            BudgetBreach::Depth { depth } => format!("nested deeper than {} levels", depth.saturating_sub(1)),
            BudgetBreach::Documents { .. } => "the file has more than one document".to_owned(),
            // What is left counts aliases and what they bring in, or the values of the file.
            _ => "the file has too many values or aliases".to_owned(),
        };
        return format!(
            "{reason} at line {}, column {}",
            location.line(),
            location.column()
        );
    }
    let words = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    // A breach within an alias comes as the words of one.
    match words
        .strip_prefix("budget breached: ")
        .and_then(|breach| breach.split_once(" } "))
    {
        Some((_, place)) => format!("the file has too many values or aliases {place}"),
        None => words,
    }
}

/// The text of `info.version` and `info.title` as written: `1.10` is a number to YAML, but a version to everybody else.
pub(crate) fn info_as_written(content: &[u8], limits: &Limits) -> Info {
    #[derive(serde::Deserialize, Default)]
    struct Head {
        #[serde(default)]
        info: Info,
    }
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    std::str::from_utf8(content)
        .ok()
        .filter(|text| !is_json(text))
        .and_then(|text| {
            let parse = || serde_saphyr::from_str_with_options::<Head>(text, yaml_options(limits)).ok();
            deep(limits.depth, parse).ok().flatten()
        })
        .unwrap_or_default()
        .info
}

/// Scalars of `info` as text.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Info {
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) version: Option<String>,
}

/// What has been built so far, and how much of it is allowed.
#[derive(Debug)]
struct Tally {
    nodes: usize,
    bytes: usize,
    max_depth: usize,
    /// Keys that are given more than once.
    repeated: Vec<Repeated>,
    /// There are more of them than are listed, so that nobody knows what they decide.
    unlisted: bool,
}

/// What the table behind an object with keys counts in addition: some 500 bytes for the first key, where a value has 72
/// (measured), so that 8 MB of `{"a":1},` took half a gigabyte.
const OBJECT_NODES: usize = 6;

/// Repeated keys that are reported of one file.
const MAX_REPEATED: usize = 100;

impl Tally {
    fn new(limits: &Limits) -> Self {
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
    fn nodes<E: Error>(&mut self, count: usize) -> Result<(), E> {
        self.nodes = self
            .nodes
            .checked_sub(count)
            .ok_or_else(|| E::custom("the file has too many values"))?;
        Ok(())
    }

    /// Text counts by itself: aliases multiply it without multiplying the file.
    fn text<E: Error>(&mut self, text: &str) -> Result<(), E> {
        self.bytes = self
            .bytes
            .checked_sub(text.len())
            .ok_or_else(|| E::custom("the file expands to too much text"))?;
        Ok(())
    }

    fn enter(&mut self, from: usize, step: &str) {
        for repeated in self.repeated.get_mut(from..).unwrap_or_default() {
            repeated.enter(step);
        }
    }

    /// `key` had the value `first`, and is given again. Both are looked at, which counts as another reading of them.
    fn repeat<E: Error>(&mut self, key: &str, first: &Value, second: &Value) -> Result<(), E> {
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
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => 1,
    }
}

struct Seed<'t> {
    tally: &'t mut Tally,
    keep: Keep,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.keep == Keep::Skip {
            return deserializer
                .deserialize_ignored_any(IgnoredAny)
                .map(|_| Value::from(SKIPPED));
        }
        self.tally.nodes(1)?;
        if self.depth > self.tally.max_depth {
            return Err(D::Error::custom(format_args!(
                "nested deeper than {} levels",
                self.tally.max_depth
            )));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.tally.text(value)?;
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.tally.text(&value)?;
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let mark = self.tally.repeated.len();
            let seed = Seed {
                tally: &mut *self.tally,
                keep: self.keep.of_item(),
                depth: self.depth + 1,
            };
            let Some(item) = access.next_element_seed(seed)? else {
                break;
            };
            self.tally.enter(mark, &items.len().to_string());
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<Option<String>>()? {
            // A YAML key can be null, which a plain `null:` is.
            let key = key.unwrap_or_else(|| "null".to_owned());
            if self.keep.of(&key) == Keep::Drop {
                access.next_value::<IgnoredAny>()?;
                continue;
            }
            self.tally.text(&key)?;
            if map.is_empty() {
                self.tally.nodes(OBJECT_NODES)?;
            }
            let mark = self.tally.repeated.len();
            let seed = Seed {
                tally: &mut *self.tally,
                keep: self.keep.of(&key),
                depth: self.depth + 1,
            };
            let value = access.next_value_seed(seed)?;
            if self.tally.repeated.len() > mark {
                self.tally.enter(mark, &pointer_token(&key));
            }
            if let Some(first) = map.get(&key) {
                self.tally.repeat(&key, first, &value)?;
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
