//! `CC_*` variables: every key can be set without editing the file.

use std::collections::BTreeMap;

use crate::env::Env;
use crate::error::{Origin, Warning};
use crate::overlay::{Findings, nearest};
use crate::schema::{Refusal, Section, Value, walk};

const PREFIX: &str = "CC_";

/// The original names this list by its field rather than by its key; both are taken.
const FIELD_NAME: (&str, &str) = (
    "CC_ENFORCER_JWTISSUER_JWTUSERS_",
    "CC_ENFORCER_JWTISSUER_JWTUSER_",
);

/// Sets every key below `root` that a variable names. Values that do not fit are reported and ignored.
pub(crate) fn apply(root: &mut dyn Section, env: &Env, findings: &mut Findings) {
    let mut variables = variables(env);
    if variables.is_empty() {
        return;
    }
    let mut known = Vec::new();
    walk(root, &mut |item| {
        let name = variable(item.path);
        match item.value {
            Value::Leaf(leaf) => {
                if let Some((written, text)) = variables.remove(&name) {
                    match leaf.parse(text) {
                        Ok(()) => {}
                        Err(Refusal::Replaced(reason)) => findings.warnings.push(Warning::Replaced {
                            origin: Origin::Variable(written.to_owned()),
                            key: item.path.to_owned(),
                            reason,
                        }),
                        Err(Refusal::Wrong(reason)) => {
                            let (name, key) = (written.to_owned(), item.path.to_owned());
                            findings
                                .warnings
                                .push(Warning::WrongOverride { name, key, reason });
                            return;
                        }
                    }
                    findings
                        .set
                        .insert(item.path.to_owned(), Origin::Variable(written.to_owned()));
                }
                known.push(name);
            }
            Value::Map(map) => {
                for (key, value) in &mut map.0 {
                    let name = format!("{name}_{}", variable_part(key));
                    if let Some((written, text)) = variables.remove(&name) {
                        text.clone_into(value);
                        findings
                            .set
                            .insert(item.path.to_owned(), Origin::Variable(written.to_owned()));
                    }
                    known.push(name);
                }
            }
        }
    });
    let roots = roots(root);
    for (name, (written, _)) in variables {
        if roots.iter().any(|root| name.starts_with(root)) {
            let nearest = nearest(&name, &known);
            findings.warnings.push(Warning::UnknownVariable {
                name: written.to_owned(),
                nearest,
            });
        }
    }
}

/// Override variables by their name in upper case. Of two that differ in case only, the one in upper case counts.
fn variables(env: &Env) -> BTreeMap<String, (&str, &str)> {
    let mut variables = BTreeMap::new();
    for (written, text) in env.iter() {
        let mut name = written.to_uppercase();
        if let Some(rest) = name.strip_prefix(FIELD_NAME.0) {
            name = format!("{}{rest}", FIELD_NAME.1);
        }
        if name.starts_with(PREFIX) {
            variables.entry(name).or_insert((written, text));
        }
    }
    variables
}

/// The variable of a key path: `a.b[0].c` is `CC_A_B_0_C`.
fn variable(path: &str) -> String {
    format!("{PREFIX}{}", variable_part(path))
}

fn variable_part(path: &str) -> String {
    path.replace(['.', '['], "_").replace(']', "").to_uppercase()
}

/// Prefixes by which a variable is known to be meant for us; `CC_` alone begins names of other programs' variables.
fn roots(root: &mut dyn Section) -> Vec<String> {
    let mut roots = Vec::new();
    root.fields(&mut |key, _| roots.push(format!("{}_", variable(key.name))));
    roots
}

#[cfg(test)]
mod tests;
