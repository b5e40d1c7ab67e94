//! YAML and JSON files as trees, bounded, leaving out what nobody reads.
//!
//! Most of a real definition is schemas and prose. They are skipped while parsing, so that a definition of ten megabytes does
//! not become a tree of a hundred.
//!
//! ```text
//! json ──▶ event ──▶ build ──▶ value, looked into by tree
//! yaml ────╯          ▲
//!  ▲                  keep
//!  stand_in
//! ```

mod build;
pub(crate) mod diagnostic;
mod event;
mod json;
mod keep;
pub(crate) mod refs;
mod repeated;
mod stand_in;
pub(crate) mod tree;
pub(crate) mod value;
mod yaml;

pub(crate) use self::build::weight;
use self::build::{MAX_REPEATED, Tally};
use self::diagnostic::{Diagnostic, Findings};
use self::json::Json;
pub(crate) use self::keep::{Keep, SKIPPED};
use self::stand_in::StandIn;
use self::value::Value;
use self::yaml::Yaml;
use crate::settings::Limits;

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
        yaml(text, keep, limits, &mut tally)
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
    let mut events = Json::new(text).map_err(|error| format!("not valid JSON: {error}"))?;
    build::tree(&mut events, keep, tally).map_err(|fault| format!("not valid JSON: {fault}"))
}

fn yaml(text: &str, keep: Keep, limits: &Limits, tally: &mut Tally) -> Result<Value, String> {
    let (text, stand_in) = StandIn::prepare(text);
    let mut events = Yaml::new(&text, stand_in, limits);
    let tree = build::tree(&mut events, keep, tally).and_then(|tree| events.end().map(|()| tree));
    tree.map_err(|fault| format!("not valid YAML: {fault}"))
}
