//! Operations of a definition.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{self, Address, Source};
use crate::node::{Node, Unreadable, parse};
use crate::security::{self, Demand, Refusal, Security};
use crate::version::Version;

/// A definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Version of the OpenAPI Specification.
    pub version: Version,
    /// Title, as written.
    pub title: String,
    /// Version of the API, as written.
    pub api_version: String,
    /// `x-wso2-basePath`.
    pub base_path: Option<String>,
    /// What the root's own requirements refuse the definition for, though no operation may have them.
    pub refusals: BTreeSet<Refusal>,
    /// In the order of the document.
    pub operations: Vec<Operation>,
    /// Path items that refer to something outside of the document, or that is not there: a refusal, for nobody knows what they ask for.
    pub elsewhere: Vec<String>,
}

/// One method of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Upper case, or as `additionalOperations` names it.
    pub method: String,
    /// Path template, as written.
    pub path: String,
    /// Where requests go.
    pub source: Source,
    /// What is asked of callers.
    pub security: Security,
}

/// Reads a definition.
///
/// # Errors
/// The text is neither JSON nor YAML, or names no version of OpenAPI.
pub fn read(content: &[u8]) -> Result<Definition, Unreadable> {
    let root = parse(content)?;
    let version = Version::of(&root).ok_or(Unreadable::Unknown)?;
    let info = version.field(&root, "info");
    let text = |key| {
        info.and_then(|info| version.field(info, key))
            .and_then(Node::text)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let mut definition = Definition {
        version,
        title: text("title"),
        api_version: text("version"),
        base_path: root
            .get("x-wso2-basePath")
            .and_then(Node::text)
            .map(str::to_owned),
        refusals: security::of(&root, &Node::Null, &Node::Null).refusals,
        operations: Vec::new(),
        elsewhere: Vec::new(),
    };
    // Only keys with a slash in front are paths; the others are extensions (Paths Object).
    let paths = version.field(&root, "paths").into_iter().flat_map(Node::entries);
    for (path, written) in paths.filter(|(path, _)| path.starts_with('/')) {
        let Some(item) = resolved(&root, written) else {
            definition.elsewhere.push(path.to_owned());
            continue;
        };
        for (method, operation) in operations(version, &item) {
            definition.operations.push(Operation {
                method,
                path: path.to_owned(),
                source: address::of(version, &root, &item, operation),
                security: security::of(&root, &item, operation),
            });
        }
    }
    mark_twins(&mut definition.operations);
    Ok(definition)
}

/// A path item with what its reference adds; `None` when that lies elsewhere.
fn resolved(root: &Node, item: &Node) -> Option<Node> {
    let mut entries: Vec<(String, Node)> = Vec::new();
    let mut next = Some(item);
    // As for schemes: a chain is short.
    for _ in 0..8 {
        let Some(found) = next else { break };
        for (key, value) in found.entries().filter(|(key, _)| *key != "$ref") {
            // Its own fields go before those it refers to.
            if entries.iter().all(|(known, _)| known != key) {
                entries.push((key.to_owned(), value.clone()));
            }
        }
        next = match found.get("$ref").and_then(Node::text) {
            Some(reference) => Some(root.at(reference)?),
            None => None,
        };
    }
    Some(Node::Map(entries))
}

fn operations(version: Version, item: &Node) -> Vec<(String, &Node)> {
    let mut methods = vec!["get", "put", "post", "delete", "options", "head", "patch"];
    if version != Version::V2 {
        methods.push("trace");
    }
    if version == Version::V3_2 {
        methods.push("query");
    }
    let fixed = methods
        .iter()
        .filter_map(|method| Some((method.to_ascii_uppercase(), version.field(item, method)?)));
    let others = item
        .get("additionalOperations")
        .filter(|_| version == Version::V3_2);
    let others = others
        .into_iter()
        .flat_map(Node::entries)
        .map(|(method, operation)| (method.to_owned(), operation));
    fixed
        .chain(others)
        .filter(|(_, operation)| operation.is_map())
        .collect()
}

/// Two paths that match the same requests with one method, and ask for different things or go to different places.
fn mark_twins(operations: &mut [Operation]) {
    /// What is asked for, and the addresses of both key types.
    type Kind = (Demand, Vec<Address>, Vec<Address>);
    let mut demands: BTreeMap<(String, String), BTreeSet<Kind>> = BTreeMap::new();
    let key = |operation: &Operation| (shape(&operation.path), operation.method.clone());
    for operation in operations.iter() {
        demands.entry(key(operation)).or_default().insert((
            operation.security.demand.clone(),
            operation.source.production.clone(),
            operation.source.sandbox.clone(),
        ));
    }
    for operation in operations {
        if demands
            .get(&key(operation))
            .is_some_and(|demands| demands.len() > 1)
        {
            operation.security.refusals.insert(Refusal::Twins);
        }
    }
}

/// A template without what makes no difference to a request: names of parameters, a slash at the end, a query.
fn shape(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut shape = String::new();
    let mut rest = path.trim_end_matches('/');
    while let Some((before, _, after)) = address::braces(rest) {
        shape.push_str(&address::encoded(before));
        shape.push_str("{}");
        rest = after;
    }
    shape + &address::encoded(rest)
}
