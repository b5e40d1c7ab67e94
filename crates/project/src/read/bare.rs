//! A definition without a project around it: what the contract leaves to `api.yaml`, and what of its security is the gateway's.

use std::collections::BTreeSet;

use crate::model::{ApiProject, Deployment, Requirement, SecurityScheme};

/// The environment that everything is deployed to which names none.
const ENVIRONMENT: &str = "Default";

/// A title as the name of an API: without blanks, as `apictl` makes it, whose `undeploy` takes no others.
pub(super) fn name(title: &str) -> String {
    title.replace(' ', "")
}

/// Gives a project that was made of a definition what it lacks, once its base path is made of the title, and takes from its security
/// what is not the gateway's.
pub(super) fn finish(project: &mut ApiProject) {
    project.identity.name = name(&project.identity.name);
    if project.deployments.is_empty() {
        project.deployments.push(Deployment {
            environment: ENVIRONMENT.to_owned(),
            vhost: None,
            on_devportal: true,
            place: 0,
        });
    }
    ask_for_tokens(project);
}

/// Callers show a token with the scopes that are asked for; keys and passwords are the upstream's and pass through. So schemes of
/// other kinds drop out of every requirement, and an operation that is left without any, or with one that names no scope and is
/// enough by itself, asks for a token of any scope.
fn ask_for_tokens(project: &mut ApiProject) {
    project.security_schemes.retain(SecurityScheme::asks_for_token);
    let schemes = project.security_schemes.iter();
    let tokens: BTreeSet<&str> = schemes.map(|scheme| scheme.definition.as_str()).collect();
    let of_all = std::mem::take(&mut project.security);
    let operations = project
        .resources
        .iter_mut()
        .flat_map(|resource| &mut resource.operations);
    for operation in operations {
        // What an operation asks for stands in place of what all do. What it is left with must not fall back to that.
        if operation.security.is_empty() {
            operation.security.clone_from(&of_all);
        }
        operation
            .security
            .iter_mut()
            .for_each(|requirement: &mut Requirement| {
                requirement.retain(|name, _| tokens.contains(name.as_str()))
            });
        operation.security.retain(|requirement| !requirement.is_empty());
        let any = |requirement: &Requirement| requirement.values().all(Vec::is_empty);
        if operation.security.iter().any(any) {
            operation.security.clear();
        }
    }
}
