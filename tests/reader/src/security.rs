//! What an operation asks of its callers: Security Requirement Objects, read as README promises for a bare file.

use std::collections::BTreeSet;

use crate::node::Node;
use crate::version::Version;

/// What an operation asks of its callers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// Nothing.
    Open,
    /// A token with one of these scopes, with any when there are none.
    Token(BTreeSet<String>),
}

/// What an operation asks of its callers, and what it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// What is asked.
    pub demand: Demand,
    /// How many requirements want a token.
    pub alternatives: usize,
    /// A requirement names a scheme without tokens, or one that is not declared.
    pub has_others: bool,
    /// The operation has requirements of its own.
    pub is_own: bool,
    /// The gateway's own extension keeps it closed, whatever the standard's words are.
    pub is_kept: bool,
    /// The gateway's own extensions open it, not the standard's words.
    pub is_disabled: bool,
    /// What it refuses the definition for.
    pub refusals: BTreeSet<Refusal>,
}

/// Why a definition is refused by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Scopes of a scheme that is not declared, or can have none (README).
    Scopes,
    /// Two paths match the same requests, and ask for different things or go to different places (README).
    Twins,
    /// A required scheme has none of the standard's types (faults.md D-M7).
    Type,
}

/// What a scheme is to a gateway that looks at tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its scopes are asked for.
    Token,
    /// Its credential is the upstream's, or it is not declared.
    Other,
    /// None of the standard's types.
    Misspelt,
}

/// Reads the requirements of an operation, its own or the root's.
pub(crate) fn of(root: &Node, item: &Node, operation: &Node) -> Security {
    let own = operation.get("security");
    let written = own.or_else(|| root.get("security")).and_then(Node::items);
    let (mut refusals, mut has_others) = (BTreeSet::new(), false);
    let mut open = own.is_some() && written.is_some_and(<[_]>::is_empty);
    // Scopes of each alternative that wants a token.
    let mut alternatives: Vec<BTreeSet<String>> = Vec::new();
    for alternative in written.unwrap_or_default() {
        open |= alternative.entries().next().is_none();
        let mut scopes = None;
        for (name, wanted) in alternative.entries() {
            let wanted = wanted
                .items()
                .unwrap_or_default()
                .iter()
                .filter_map(Node::text)
                .map(str::to_owned);
            let wanted: BTreeSet<String> = wanted.collect();
            let kind = kind(root, name);
            has_others |= kind != Kind::Token;
            match kind {
                Kind::Token => scopes.get_or_insert_with(BTreeSet::new).extend(wanted),
                Kind::Misspelt => drop(refusals.insert(Refusal::Type)),
                Kind::Other if wanted.is_empty() => {}
                Kind::Other => drop(refusals.insert(Refusal::Scopes)),
            }
        }
        alternatives.extend(scopes);
    }
    let count = alternatives.len();
    // One alternative that is met is enough, so one without scopes takes any token.
    let any = alternatives.iter().any(BTreeSet::is_empty);
    let scopes = if any {
        BTreeSet::new()
    } else {
        alternatives.into_iter().flatten().collect()
    };
    let is_disabled = disabled(root, item, operation);
    let demand = if open || is_disabled {
        Demand::Open
    } else {
        Demand::Token(scopes)
    };
    Security {
        demand,
        alternatives: count,
        has_others,
        is_own: own.is_some(),
        is_kept: !is_disabled && operation.get("x-wso2-disable-security").is_some(),
        is_disabled,
        refusals,
    }
}

/// The type of a declared scheme. OpenAPI 3.2 lets a requirement name a scheme by reference as well.
fn kind(root: &Node, name: &str) -> Kind {
    let components = root
        .get("components")
        .and_then(|components| components.get("securitySchemes"));
    let declared = components
        .or_else(|| root.get_any_case("securityDefinitions"))
        .and_then(|schemes| schemes.get(name));
    let version = Version::of(root);
    let mut scheme = declared.or_else(|| root.at(name).filter(|_| version == Some(Version::V3_2)));
    // A chain of references is short, or goes in a circle.
    for _ in 0..8 {
        match scheme.and_then(|scheme| scheme.get("$ref")).and_then(Node::text) {
            Some(reference) => scheme = root.at(reference),
            None => break,
        }
    }
    let Some(scheme) = scheme else {
        return Kind::Other;
    };
    let is_old = version == Some(Version::V2);
    match scheme.get("type").and_then(Node::text).unwrap_or_default() {
        "oauth2" => Kind::Token,
        "openIdConnect" if !is_old => Kind::Token,
        "apiKey" => Kind::Other,
        "basic" if is_old => Kind::Other,
        "http" | "mutualTLS" if !is_old => Kind::Other,
        _ => Kind::Misspelt,
    }
}

/// The gateway's own switches (spec/adapter.md 4.5): the nearest `x-wso2-disable-security` counts, `x-auth-type: None` on an operation
/// does the same.
fn disabled(root: &Node, item: &Node, operation: &Node) -> bool {
    let nearest = [operation, item, root]
        .into_iter()
        .find_map(|node| node.get("x-wso2-disable-security").and_then(Node::flag));
    nearest.unwrap_or(false) || operation.get("x-auth-type").and_then(Node::text) == Some("None")
}
