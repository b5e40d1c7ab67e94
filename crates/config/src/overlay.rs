//! Lays the parsed file over the defaults.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::effect::without_indices;
use crate::env::Env;
use crate::error::{ConfigError, Origin, Warning};
use crate::properties::Properties;
use crate::schema::{Key, Leaf, Refusal, Rows, Section, Shape, join, paths};

/// Sections in which the adapter replaces `$env{NAME}`; the others are sent as written.
pub(crate) const RESOLVED: [&str; 5] = ["adapter", "controlPlane", "globalAdapter", "router", "tracing"];

/// Suggestions cost a comparison with every key; a file with more unknown keys than this gets none for the rest.
const MOST_SUGGESTIONS: usize = 100;

/// What is found on the way through a file.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<Warning>,
    /// Key paths of the values that were set.
    pub(crate) set: BTreeMap<String, Origin>,
}

/// A file under way.
pub(crate) struct Overlay<'a> {
    file: &'a Path,
    /// Offsets of the line breaks.
    breaks: Vec<usize>,
    env: &'a Env,
    known: Vec<String>,
    /// Unknown keys that may still get a suggestion.
    suggestions: usize,
    /// `$env{NAME}` is replaced in the section at hand.
    resolving: bool,
    findings: &'a mut Findings,
}

type Entries<'t, 's> = BTreeMap<&'t str, (&'t Spanned<DeString<'s>>, &'t Spanned<DeValue<'s>>)>;

impl<'a> Overlay<'a> {
    /// Lays `table`, which was parsed from `text`, over `root`.
    pub(crate) fn run<T: Section + Default>(
        root: &mut T,
        table: &DeTable<'_>,
        (file, text): (&'a Path, &'a str),
        env: &'a Env,
        findings: &'a mut Findings,
    ) {
        let known = paths::<T>();
        let breaks = text.match_indices('\n').map(|(at, _)| at).collect();
        let suggestions = MOST_SUGGESTIONS;
        let mut overlay = Overlay {
            file,
            breaks,
            env,
            known,
            suggestions,
            resolving: false,
            findings,
        };
        overlay.section(root, table, &mut String::new());
    }

    fn section(&mut self, section: &mut dyn Section, table: &DeTable<'_>, path: &mut String) {
        let mut entries: Entries<'_, '_> = table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), (key, value)))
            .collect();
        section.fields(&mut |key, mut shape| {
            let length = path.len();
            join(path, key.name);
            if length == 0 {
                self.resolving = RESOLVED.contains(&key.name);
            }
            let older = key.deprecated.and_then(|old| deprecated(old, key, &entries));
            let wins = older.is_some_and(|value| yields(&shape, value.get_ref()));
            if let Some((_, value)) = self.find(key.name, &mut entries, path) {
                self.field(&mut shape, value, path);
            }
            if let Some(old) = key.deprecated
                && let Some((written, value)) = self.find(old, &mut entries, path)
            {
                let origin = self.origin(written.span().start);
                let instead = path.clone();
                self.findings.warnings.push(Warning::Deprecated {
                    origin,
                    key: sibling(path, old),
                    instead,
                });
                if wins {
                    self.field(&mut shape, value, path);
                }
            }
            path.truncate(length);
        });
        for (written, _) in entries.into_values() {
            let mut key = path.clone();
            join(&mut key, written.get_ref());
            self.unknown(key, written.span().start);
        }
    }

    /// Takes the entry of a key: the first of its four spellings that is there. Further ones are reported.
    fn find<'t, 's>(
        &mut self,
        name: &str,
        entries: &mut Entries<'t, 's>,
        path: &str,
    ) -> Option<(&'t Spanned<DeString<'s>>, &'t Spanned<DeValue<'s>>)> {
        let mut found: Option<(&'t Spanned<DeString<'s>>, &'t Spanned<DeValue<'s>>)> = None;
        for spelling in Key::spellings(name) {
            let Some((written, value)) = entries.remove(spelling.as_str()) else {
                continue;
            };
            match found {
                None => found = Some((written, value)),
                Some((by, _)) => {
                    let origin = self.origin(written.span().start);
                    let by = by.get_ref().to_string();
                    self.findings.warnings.push(Warning::Shadowed {
                        origin,
                        key: sibling(path, &spelling),
                        by,
                    });
                }
            }
        }
        found
    }

    fn field(&mut self, shape: &mut Shape<'_>, value: &Spanned<DeValue<'_>>, path: &mut String) {
        let at = value.span().start;
        match (shape, value.get_ref()) {
            (Shape::Leaf(leaf), value) => self.leaf(*leaf, value, path, at),
            (Shape::Map(map), DeValue::Table(table)) => self.map(map, table, path, at),
            (Shape::Section(section), DeValue::Table(table)) => self.section(*section, table, path),
            (Shape::Rows(rows), DeValue::Array(array)) => {
                rows.clear();
                self.set(path, at);
                let length = path.len();
                for (index, row) in array.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.row(*rows, row, path);
                    path.truncate(length);
                }
            }
            (Shape::Map(_) | Shape::Section(_), found) => self.wrong(path, at, expected("a table", found)),
            (Shape::Rows(_), found) => self.wrong(path, at, expected("an array of tables", found)),
        }
    }

    fn row(&mut self, rows: &mut dyn Rows, value: &Spanned<DeValue<'_>>, path: &mut String) {
        match value.get_ref() {
            DeValue::Table(table) => rows.add(&mut |row| self.section(row, table, path)),
            found => self.wrong(path, value.span().start, expected("a table", found)),
        }
    }

    fn leaf(&mut self, leaf: &mut dyn Leaf, value: &DeValue<'_>, path: &str, at: usize) {
        self.set(path, at);
        let value = if self.resolving && !leaf.is_secret() {
            self.expanded(value, path, at)
        } else {
            Cow::Borrowed(value)
        };
        match leaf.read(&value) {
            Ok(()) => {}
            Err(Refusal::Replaced(reason)) => {
                let warning = Warning::Replaced {
                    origin: self.origin(at),
                    key: path.to_owned(),
                    reason,
                };
                self.findings.warnings.push(warning);
            }
            Err(Refusal::Wrong(reason)) => self.wrong(path, at, reason),
        }
    }

    /// The file's table replaces the whole default. Dotted keys may be written as nested tables.
    fn map(&mut self, map: &mut Properties, table: &DeTable<'_>, path: &str, at: usize) {
        self.set(path, at);
        map.0.clear();
        let mut pending: Vec<(String, &Spanned<DeValue<'_>>)> = table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), value))
            .collect();
        while let Some((key, value)) = pending.pop() {
            let at = value.span().start;
            let text = match value.get_ref() {
                DeValue::Table(table) => {
                    pending.extend(
                        table
                            .iter()
                            .map(|(below, value)| (format!("{key}.{}", below.get_ref()), value)),
                    );
                    continue;
                }
                DeValue::Boolean(truth) => truth.to_string(),
                DeValue::Float(number) => number.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::String(_) => {
                    let value = if self.resolving {
                        self.expanded(value.get_ref(), path, at)
                    } else {
                        Cow::Borrowed(value.get_ref())
                    };
                    value.as_str().unwrap_or_default().to_owned()
                }
                found @ (DeValue::Array(_) | DeValue::Datetime(_)) => {
                    self.wrong(&format!("{path}.{key}"), at, expected("text", found));
                    continue;
                }
            };
            map.0.insert(key, text);
        }
    }

    /// Replaces `$env{NAME}` in strings and in elements of arrays.
    fn expanded<'v, 's>(&mut self, value: &'v DeValue<'s>, path: &str, at: usize) -> Cow<'v, DeValue<'s>> {
        match value {
            DeValue::String(text) if text.contains("$env{") => {
                let expanded = self.env.expand(text);
                for variable in expanded.unset {
                    let warning = Warning::UnsetVariable {
                        origin: self.origin(at),
                        key: path.to_owned(),
                        variable,
                    };
                    self.findings.warnings.push(warning);
                }
                Cow::Owned(DeValue::String(expanded.text.into()))
            }
            DeValue::Array(array) => {
                let mut array = array.clone();
                for item in array.iter_mut() {
                    let replaced = match self.expanded(item.get_ref(), path, at) {
                        Cow::Owned(replaced) => replaced,
                        Cow::Borrowed(_) => continue,
                    };
                    *item.get_mut() = replaced;
                }
                Cow::Owned(DeValue::Array(array))
            }
            _ => Cow::Borrowed(value),
        }
    }

    fn set(&mut self, path: &str, at: usize) {
        let origin = self.origin(at);
        self.findings.set.insert(path.to_owned(), origin);
    }

    fn wrong(&mut self, path: &str, at: usize, reason: String) {
        let origin = self.origin(at);
        self.findings.errors.push(ConfigError::Invalid {
            origin,
            key: path.to_owned(),
            reason,
        });
    }

    fn unknown(&mut self, key: String, at: usize) {
        let nearest = match self.suggestions.checked_sub(1) {
            Some(left) => {
                self.suggestions = left;
                nearest(&without_indices(&key), &self.known)
            }
            None => None,
        };
        let origin = self.origin(at);
        self.findings
            .warnings
            .push(Warning::UnknownKey { origin, key, nearest });
    }

    fn origin(&self, at: usize) -> Origin {
        let line = self.breaks.partition_point(|line_break| *line_break < at) + 1;
        Origin::File {
            path: self.file.to_owned(),
            line,
        }
    }
}

/// The value under a deprecated name, without taking it.
fn deprecated<'t, 's>(old: &str, key: &Key, entries: &Entries<'t, 's>) -> Option<&'t Spanned<DeValue<'s>>> {
    let current = Key::spellings(key.name);
    let mut spellings = Key::spellings(old)
        .into_iter()
        .filter(|spelling| !current.contains(spelling));
    spellings.find_map(|spelling| entries.get(spelling.as_str()).map(|(_, value)| *value))
}

fn yields(shape: &Shape<'_>, deprecated: &DeValue<'_>) -> bool {
    match shape {
        Shape::Leaf(leaf) => leaf.yields_to(deprecated),
        Shape::Rows(_) => deprecated
            .as_array()
            .is_none_or(|rows| rows.iter().next().is_some()),
        Shape::Map(_) | Shape::Section(_) => true,
    }
}

fn expected(what: &str, found: &DeValue<'_>) -> String {
    format!("expected {what}, found {}", found.type_str())
}

/// `path` with its last key replaced by `name`.
fn sibling(path: &str, name: &str) -> String {
    match path.rsplit_once('.') {
        Some((parent, _)) => format!("{parent}.{name}"),
        None => name.to_owned(),
    }
}

/// The known path that is written most like `path`, if any is near; failing that, the only one with the same last key.
pub(crate) fn nearest(path: &str, known: &[String]) -> Option<String> {
    /// No key is nearly as long; longer ones are not worth comparing.
    const LONGEST: usize = 200;
    if path.len() > LONGEST {
        return None;
    }
    let path = path.to_lowercase();
    let distance = |known: &String| strsim::damerau_levenshtein(&path, &known.to_lowercase());
    let (best, near) = known.iter().map(|known| (distance(known), known)).min()?;
    if best <= (path.len() / 5).max(2) {
        return Some(near.clone());
    }
    let last = |path: &str| path.rsplit('.').next().map(str::to_lowercase);
    let mut same = known.iter().filter(|known| last(known) == last(&path));
    match (same.next(), same.next()) {
        (Some(only), None) => Some(only.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
