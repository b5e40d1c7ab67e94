//! Variables of a container, as a node makes them.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};

use crate::manifest::{Container, EnvSource, EnvVar, PodSpec};
use crate::namespace::World;

/// What a pod may be told of itself.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

/// All variables of a container; what the image has comes before them.
///
/// # Errors
/// As a node reports it: a key that is not there, a field that nothing here knows.
pub(crate) fn variables(
    world: &World,
    pod: &PodSpec,
    container: &Container,
    facts: &Facts<'_>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    if pod.enable_service_links != Some(false) {
        variables.extend(world.links());
    }
    for from in &container.env_from {
        for (source, is_secret) in [(&from.config_map_ref, false), (&from.secret_ref, true)] {
            let Some(source) = source else { continue };
            let found = if is_secret {
                world.secret(&source.name)
            } else {
                world.config_map(&source.name)
            };
            match found {
                Some(data) => {
                    for (key, bytes) in data {
                        variables.insert(format!("{}{key}", from.prefix), text(bytes)?);
                    }
                }
                None if source.optional => {}
                None => bail!("{} not found", source.name),
            }
        }
    }
    for variable in &container.env {
        let value = value(world, pod, container, facts, variable, &variables)
            .with_context(|| format!("variable {}", variable.name))?;
        if let Some(value) = value {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

fn value(
    world: &World,
    pod: &PodSpec,
    container: &Container,
    facts: &Facts<'_>,
    variable: &EnvVar,
    before: &BTreeMap<String, String>,
) -> anyhow::Result<Option<String>> {
    match (&variable.value, &variable.value_from) {
        (Some(value), None) => Ok(Some(expanded(value, before))),
        (None, None) => Ok(Some(String::new())),
        (None, Some(source)) => from(world, pod, container, facts, source),
        (Some(_), Some(_)) => bail!("value and valueFrom"),
    }
}

fn from(
    world: &World,
    pod: &PodSpec,
    container: &Container,
    facts: &Facts<'_>,
    source: &EnvSource,
) -> anyhow::Result<Option<String>> {
    match source {
        EnvSource {
            secret_key_ref: Some(key),
            config_map_key_ref: None,
            field_ref: None,
            resource_field_ref: None,
        } => found(world.secret(&key.name), key, "Secret"),
        EnvSource {
            secret_key_ref: None,
            config_map_key_ref: Some(key),
            field_ref: None,
            resource_field_ref: None,
        } => found(world.config_map(&key.name), key, "ConfigMap"),
        EnvSource {
            secret_key_ref: None,
            config_map_key_ref: None,
            field_ref: Some(field),
            resource_field_ref: None,
        } => field_of(facts, &field.field_path).map(Some),
        EnvSource {
            secret_key_ref: None,
            config_map_key_ref: None,
            field_ref: None,
            resource_field_ref: Some(field),
        } => {
            let name = field.container_name.as_ref().unwrap_or(&container.name);
            let of = pod.containers.iter().find(|other| other.name == *name);
            let resources = &of.with_context(|| format!("no container {name}"))?.resources;
            let number = resources.field(&field.resource, field.divisor.as_deref())?;
            Ok(Some(number.to_string()))
        }
        _ => bail!("valueFrom has one source, no more and no less"),
    }
}

fn found(
    data: Option<crate::manifest::Data>,
    key: &crate::manifest::KeyRef,
    kind: &str,
) -> anyhow::Result<Option<String>> {
    let Some(mut data) = data else {
        if key.optional {
            return Ok(None);
        }
        bail!("{} \"{}\" not found", kind.to_lowercase(), key.name);
    };
    match data.remove(&key.key) {
        Some(bytes) => text(bytes).map(Some),
        None if key.optional => Ok(None),
        None => bail!("couldn't find key {} in {kind} {}", key.key, key.name),
    }
}

fn text(bytes: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(bytes).context("a value that is no text")
}

fn field_of(facts: &Facts<'_>, path: &str) -> anyhow::Result<String> {
    let keyed = |prefix: &str, values: &BTreeMap<String, String>| {
        let key = path
            .strip_prefix(prefix)?
            .strip_prefix("['")?
            .strip_suffix("']")?;
        Some(values.get(key).cloned().unwrap_or_default())
    };
    let value = match path {
        "metadata.name" => Some(facts.name.to_owned()),
        "metadata.namespace" => Some("default".to_owned()),
        "metadata.uid" => Some("00000000-0000-4000-8000-000000000000".to_owned()),
        "spec.nodeName" => Some("engine".to_owned()),
        "status.podIP" | "status.podIPs" => Some(facts.address.to_owned()),
        _ => keyed("metadata.labels", facts.labels)
            .or_else(|| keyed("metadata.annotations", facts.annotations)),
    };
    value.with_context(|| format!("field {path} is not known here"))
}

/// `$(NAME)` by the variable's value, where there is one; `$$(NAME)` stays as `$(NAME)`.
pub(crate) fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        done.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            done.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        match name.and_then(|(name, after)| Some((variables.get(name)?, after))) {
            Some((value, after)) => {
                done.push_str(value);
                rest = after;
            }
            None => done.push('$'),
        }
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_variables() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        let cases = [
            ("plain", "plain"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
        ];
        for (text, want) in cases {
            assert_eq!(expanded(text, &variables), want, "{text}");
        }
    }
}
