//! Policies of `api.yaml` and the operations they belong to.

use std::collections::BTreeMap;

use crate::api::{ApiOperation, ApiYaml};
use crate::document::diagnostic::{Diagnostic, Findings};
use crate::model::{ApiKind, ApiProject, OperationPolicies, UnattachedPolicy};

/// Attaches `operationPolicies`, and `throttlingPolicy` where the definition names no tier: by target (a trailing `/` doesn't matter) and verb, the first entry wins. HTTP only. What finds
/// no operation is told and kept apart: it may have been meant to guard one.
pub(crate) fn policies(project: &mut ApiProject, api: &ApiYaml, file: &str, findings: &mut Findings) {
    project.api_policies = api.policies.clone();
    unasked_scopes(project, api, file, findings);
    if project.kind != ApiKind::Http {
        for (index, operation) in api.operations.iter().enumerate() {
            keep_apart(project, index, operation);
        }
        if api
            .operations
            .iter()
            .any(|operation| !operation.policies.is_empty())
        {
            let message = format!(
                "ignored: policies of an API of type {} are not applied",
                project.kind.as_str()
            );
            findings.push(Diagnostic::warning(file, "/data/operations", message));
        }
        return;
    }
    let mut places = BTreeMap::new();
    for (at, resource) in project.resources.iter().enumerate() {
        let target = resource.path.strip_suffix('/').unwrap_or(&resource.path);
        for (nth, operation) in resource.operations.iter().enumerate() {
            places
                .entry((target.to_owned(), operation.method.clone()))
                .or_insert((at, nth));
        }
    }
    let mut taken: BTreeMap<(&str, String), &OperationPolicies> = BTreeMap::new();
    for (index, operation) in api.operations.iter().enumerate() {
        let target = operation.target.strip_suffix('/').unwrap_or(&operation.target);
        let place = (target.to_owned(), operation.verb.to_uppercase());
        let fault = if let Some(first) = taken.get(&(target, place.1.clone())) {
            // The same again is no loss.
            (**first != operation.policies).then(|| "an earlier entry is for the same operation".to_owned())
        } else {
            let found = places.get(&place).and_then(|(at, nth)| {
                let resource = project.resources.get_mut(*at)?;
                resource.operations.get_mut(*nth)
            });
            taken.insert((target, place.1.clone()), &operation.policies);
            match found {
                Some(found) => {
                    found.policies = operation.policies.clone();
                    // What the definition names comes first, but a limit that only this file names is one.
                    let tier = operation.tier.as_ref();
                    let tier = tier.filter(|tier| !tier.eq_ignore_ascii_case("unlimited"));
                    found.tier = found.tier.take().or_else(|| tier.cloned());
                    None
                }
                None => Some(format!("the definition has no operation {} {target}", place.1)),
            }
        };
        if let Some(fault) = fault.filter(|_| !operation.policies.is_empty()) {
            keep_apart(project, index, operation);
            let pointer = format!("/data/operations/{index}");
            findings.push(Diagnostic::warning(file, pointer, format!("ignored: {fault}")));
        }
    }
}

/// Scopes that `api.yaml` names for an operation and the definition doesn't: the definition decides (spec/adapter.md 3.4), so they
/// aren't asked for, which their owner should know.
fn unasked_scopes(project: &ApiProject, api: &ApiYaml, file: &str, findings: &mut Findings) {
    if !matches!(project.kind, ApiKind::Http | ApiKind::Soap) {
        return;
    }
    let end = |path: &str| path.strip_suffix('/').unwrap_or(path).to_owned();
    let mut operations = BTreeMap::new();
    for resource in &project.resources {
        for operation in &resource.operations {
            let place = (end(&resource.path), operation.method.to_uppercase());
            operations.entry(place).or_insert(operation);
        }
    }
    for (index, entry) in api.operations.iter().enumerate() {
        let place = (end(&entry.target), entry.verb.to_uppercase());
        let Some(operation) = operations.get(&place) else {
            continue;
        };
        let requirements = project.requirements(operation);
        let asked = |scope: &String| {
            requirements
                .iter()
                .flatten()
                .any(|(_, scopes)| scopes.contains(scope))
        };
        if let Some(scope) = entry.scopes.iter().find(|scope| !asked(scope)) {
            let message = format!("scope {scope:?} is not asked for: security of the definition decides");
            findings.push(Diagnostic::warning(
                file,
                format!("/data/operations/{index}/scopes"),
                message,
            ));
        }
    }
}

fn keep_apart(project: &mut ApiProject, index: usize, operation: &ApiOperation) {
    let request = operation.policies.request.iter().enumerate();
    project
        .unattached
        .extend(request.map(|(nth, policy)| UnattachedPolicy {
            pointer: format!("/data/operations/{index}/operationPolicies/request/{nth}"),
            policy: policy.clone(),
        }));
}
