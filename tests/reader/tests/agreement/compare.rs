//! One definition, read twice.

use std::collections::BTreeSet;
use std::fmt;

use trireme_reader::{Address, Definition, Demand, Operation};

use crate::served::Served;

/// What two readings differ in: what the reader says, and what the gateway does.
pub(crate) enum What {
    /// The template of the operation that answers, of none when empty.
    Answer(String, String),
    /// What is asked of callers; of the gateway `None` when nobody can bring it.
    Demand(Demand, Option<Demand>),
    /// Something is served that is not in the definition.
    Extra(String),
    /// Base path, title or version.
    Identity(String, String),
    /// Production's addresses with the path that is sent there, apart by blanks.
    Production(String, String),
    /// The gateway refuses, for these reasons.
    Refused(String),
    /// As for production.
    Sandbox(String, String),
    /// The reader refuses, the gateway does not.
    Taken,
    /// `validate` and `deploy` do not both refuse, for these reasons.
    Ways(String),
}

/// One disagreement.
pub(crate) struct Difference<'a> {
    pub(crate) what: What,
    pub(crate) definition: &'a Definition,
    pub(crate) operation: Option<&'a Operation>,
    /// What the gateway told of the definition.
    pub(crate) told: &'a [String],
}

impl What {
    /// In a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Answer(..) => "answer",
            Self::Demand(..) => "demand",
            Self::Extra(_) => "extra",
            Self::Identity(..) => "identity",
            Self::Production(..) => "production",
            Self::Refused(_) => "refused",
            Self::Sandbox(..) => "sandbox",
            Self::Taken => "taken",
            Self::Ways(_) => "ways",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(read, served)
            | Self::Identity(read, served)
            | Self::Production(read, served)
            | Self::Sandbox(read, served) => {
                write!(f, "{}: read {read:?}, served {served:?}", self.kind())
            }
            Self::Demand(read, served) => write!(f, "demand: read {read:?}, served {served:?}"),
            Self::Extra(what) | Self::Refused(what) | Self::Ways(what) => {
                write!(f, "{}: {what}", self.kind())
            }
            Self::Taken => f.write_str("taken, and to be refused"),
        }
    }
}

/// All that differs. `told` is what the gateway warned of.
pub(crate) fn differences<'a>(
    definition: &'a Definition,
    served: &Result<Served, Vec<String>>,
    told: &'a [String],
) -> Vec<Difference<'a>> {
    let mut found = Vec::new();
    let mut differ = |what, operation| {
        found.push(Difference {
            what,
            definition,
            operation,
            told,
        })
    };
    let operations = || definition.operations.iter();
    let is_refused = !definition.elsewhere.is_empty()
        || !definition.refusals.is_empty()
        || operations().any(|operation| !operation.security.refusals.is_empty());
    let served = match served {
        Ok(served) => served,
        Err(_) if is_refused => return found,
        Err(errors) => {
            differ(What::Refused(errors.join("; ")), None);
            return found;
        }
    };
    if is_refused {
        differ(What::Taken, None);
    }
    for (read, served) in identity(definition, served) {
        if read != served {
            differ(What::Identity(read, served), None);
        }
    }
    for operation in operations() {
        let below = sample(&operation.path);
        let answer = served.answer(&operation.method, &below).filter(|answer| {
            // Another template for the same requests may answer as well.
            answer.path == operation.path
                || sample(&answer.path).trim_end_matches('/') == below.trim_end_matches('/')
        });
        let Some(answer) = answer else {
            let other = served
                .answer(&operation.method, &below)
                .map_or_else(String::new, |answer| answer.path);
            differ(What::Answer(operation.path.clone(), other), Some(operation));
            continue;
        };
        if answer.demand.as_ref() != Some(&operation.security.demand) {
            differ(
                What::Demand(operation.security.demand.clone(), answer.demand),
                Some(operation),
            );
        }
        let below = sample(&answer.path);
        let (read, given) = (
            written(&operation.source.production, &below),
            written(&answer.production, ""),
        );
        if read != given {
            differ(What::Production(read, given), Some(operation));
        }
        let (read, given) = (
            written(&operation.source.sandbox, &below),
            written(&answer.sandbox, ""),
        );
        if read != given {
            differ(What::Sandbox(read, given), Some(operation));
        }
    }
    for (method, path) in served.operations() {
        if !operations().any(|operation| operation.method == method && operation.path == path) {
            differ(What::Extra(format!("{method} {path}")), None);
        }
    }
    found
}

/// Base path, title and version by both.
fn identity(definition: &Definition, served: &Served) -> Vec<(String, String)> {
    let policy = served.policy();
    let mut both = Vec::new();
    let (title, version) = (&definition.title, &definition.api_version);
    if let Some(path) = &definition.base_path {
        both.push((path.replace("{version}", version), policy.base_path.clone()));
    } else if is_word(title) && version.split('.').all(is_word) {
        // README: below `/<title>/<version>`, where there is nothing to replace in them.
        both.push((
            format!("/{title}/{version}").to_lowercase(),
            policy.base_path.clone(),
        ));
    }
    if !title.is_empty() && !version.is_empty() {
        both.push((title.replace(' ', ""), policy.title.replace(' ', "")));
        both.push((version.replace(' ', ""), policy.version.clone()));
    }
    both
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// A path that a template matches: without its query, with something in place of its parameters.
fn sample(template: &str) -> String {
    let template = template.split('?').next().unwrap_or_default();
    let (mut rest, end) = template
        .strip_suffix("/*")
        .map_or((template, ""), |steps| (steps, "/rest"));
    let (mut path, mut count) = (String::new(), 0);
    while let Some((before, (_, after))) = rest
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        path.push_str(&sent(before));
        path.push_str(&format!("p{count}"));
        count += 1;
        rest = after;
    }
    path + &sent(rest) + end
}

/// Literal text as clients send it and the router forwards it: percent-encoded, escapes of unreserved characters taken back.
fn sent(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = if escaped.is_some() { &after[2..] } else { after };
        let plain = if escaped.is_some() {
            "-._~:@"
        } else {
            "-._~:@!$&'()*+,;=/"
        };
        let byte = escaped.unwrap_or(*first);
        if byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Addresses as text, with `below` under the path of each.
fn written<'a>(addresses: impl IntoIterator<Item = &'a Address>, below: &str) -> String {
    let all: BTreeSet<String> = addresses
        .into_iter()
        .map(|address| {
            let scheme = if matches!(address.scheme.as_str(), "https" | "wss") {
                "https"
            } else {
                "http"
            };
            format!(
                "{scheme}://{}:{}{}{below}",
                address.host, address.port, address.path
            )
        })
        .collect();
    all.into_iter().collect::<Vec<_>>().join(" ")
}
