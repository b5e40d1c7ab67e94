//! Keys that are given more than once. The last one counts, as in the original's reader; but not where that would decide who may
//! call: another reader takes the first, and whoever wrote both meant one of them.

use std::collections::BTreeSet;

use super::diagnostic::{Diagnostic, pointer_token};
use super::value::{Object, Value};

/// Keys under which it is said who may call, in definitions, `api.yaml` and lists of certificates.
const GUARDS: [&str; 13] = [
    "$ref",
    "apiPolicies",
    "authType",
    "certificate",
    "operationPolicies",
    "scopes",
    "security",
    "securityDefinitions",
    "securityScheme",
    "securitySchemes",
    "x-auth-type",
    "x-scopes",
    "x-wso2-disable-security",
];

/// Keys below which nothing of that kind is said, whatever stands there.
const HARMLESS: [&str; 7] = [
    "definitions",
    "examples",
    "info",
    "parameters",
    "responses",
    "schemas",
    "tags",
];

/// Objects whose keys are names that mean nothing.
const NAMES: [&str; 3] = ["channels", "pathItems", "paths"];

/// Whether a key, in any case, says who may call.
pub(crate) fn is_guard(key: &str) -> bool {
    GUARDS.iter().any(|guard| guard.eq_ignore_ascii_case(key))
}

/// A key that has been given again.
#[derive(Debug)]
pub(crate) struct Repeated {
    /// Tokens of the pointer to it, innermost first.
    steps: Vec<String>,
    /// The values are not the same.
    differs: bool,
    /// They say different things of who may call.
    guards: bool,
}

impl Repeated {
    pub(crate) fn new(key: &str, first: &Value, second: &Value) -> Self {
        let differs = first != second;
        let names = NAMES.contains(&key);
        Self {
            steps: vec![pointer_token(key)],
            differs,
            guards: differs && !same(Some(first), Some(second), names),
        }
    }

    /// It lies in what is under `step`, a token of a pointer.
    pub(crate) fn enter(&mut self, step: &str) {
        self.steps.push(step.to_owned());
    }

    /// What is told of it.
    pub(crate) fn finding(self, file: &str) -> Diagnostic {
        let decides = self.decides();
        let pointer: String = self.steps.iter().rev().map(|step| format!("/{step}")).collect();
        if decides {
            let message =
                "key is given more than once, and what is said of who may call differs: keep one of them";
            Diagnostic::refusal(file, pointer, message)
        } else {
            Diagnostic::warning(file, pointer, "key is given more than once; the last one counts")
        }
    }

    /// Whether which of them counts decides who may call. The outermost step that says anything of it counts.
    fn decides(&self) -> bool {
        let mut steps = self.steps.iter().rev();
        while let Some(step) = steps.next() {
            if NAMES.contains(&step.as_str()) {
                steps.next();
            } else if is_guard(step) {
                return self.differs;
            } else if HARMLESS.contains(&step.as_str()) {
                return false;
            }
        }
        self.guards
    }
}

/// Whether two values, of which one may be missing, say the same of who may call. The keys of `names` mean nothing.
fn same(first: Option<&Value>, second: Option<&Value>, names: bool) -> bool {
    let (one, other) = (
        first.and_then(Value::as_object),
        second.and_then(Value::as_object),
    );
    let keys: BTreeSet<&String> = one.into_iter().chain(other).flat_map(Object::keys).collect();
    let objects = keys.into_iter().all(|key| {
        let (one, other) = (
            one.and_then(|map| map.get(key)),
            other.and_then(|map| map.get(key)),
        );
        if names {
            same(one, other, false)
        } else if is_guard(key) {
            one == other
        } else {
            HARMLESS.contains(&key.as_str()) || same(one, other, NAMES.contains(&key.as_str()))
        }
    });
    let (one, other) = (items(first), items(second));
    let longer = one.len().max(other.len());
    objects && (0..longer).all(|index| same(one.get(index), other.get(index), false))
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).unwrap_or_default()
}
