//! Paths of one API that match the same requests.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::definition::normal;
use crate::document::diagnostic::{Diagnostic, Findings, pointer_token};
use crate::model::endpoint::EndpointCluster;
use crate::model::{ApiKind, ApiProject, Operation, Requirement, Resource};

/// Looks for two paths with the same requests and a method in common: the order of their names chooses which operation is
/// meant. They're refused when different things are asked of callers, since nobody can tell what guards the request, and in a
/// definition that comes alone when they go to different upstreams. Otherwise it's worth a warning: OAS 3.0.3 (Paths Object) forbids them, but real definitions have them.
///
/// A method that only one of them has is no matter.
pub(crate) fn check(project: &ApiProject, file: &str, findings: &mut Findings) {
    if project.kind == ApiKind::GraphQl {
        return;
    }
    let mut asked = Asked {
        project,
        root: None,
        ids: HashMap::new(),
    };
    let mut seen: HashMap<(String, &str), First<'_>> = HashMap::new();
    for resource in &project.resources {
        let shape = normal::shape(&resource.path);
        for operation in &resource.operations {
            let place = (shape.clone(), operation.method.as_str());
            let Some(first) = seen.get_mut(&place) else {
                seen.insert(
                    place,
                    First {
                        resource,
                        operation,
                        asked: None,
                    },
                );
                continue;
            };
            let first_asked = *first.asked.get_or_insert_with(|| asked.id(first.operation));
            let (method, path) = (&operation.method, &resource.path);
            let pointer = match project.kind {
                ApiKind::Ws => "/channels".to_owned(),
                ApiKind::GraphQl | ApiKind::Http | ApiKind::Soap => format!("/paths/{}", pointer_token(path)),
            };
            let same = format!(
                "{method} {path} matches the same requests as {method} {}",
                first.resource.path
            );
            let elsewhere = upstream(project, first.resource) != upstream(project, resource);
            findings.push(if first_asked != asked.id(operation) {
                Diagnostic::error(file, pointer, format!("{same} and asks for other security"))
            } else if !elsewhere {
                Diagnostic::warning(file, pointer, format!("{same}, which is tried first"))
            } else if project.is_bare() {
                Diagnostic::refusal(file, pointer, format!("{same} and goes to another upstream"))
            } else {
                let message = format!("{same}, which is tried first; its own endpoints are not called");
                Diagnostic::warning(file, pointer, message)
            });
        }
    }
}

/// The operation that has the requests.
struct First<'a> {
    resource: &'a Resource,
    operation: &'a Operation,
    /// [`Asked::id`], once it is needed.
    asked: Option<usize>,
}

/// Where requests go in production and in the sandbox.
fn upstream<'a>(project: &'a ApiProject, resource: &'a Resource) -> [Option<&'a EndpointCluster>; 2] {
    [
        resource.production.as_ref().or(project.production.as_ref()),
        resource.sandbox.as_ref().or(project.sandbox.as_ref()),
    ]
}

/// What is asked of callers: nothing, or any of these. Each list is looked at once, however many paths share their requests.
struct Asked<'a> {
    project: &'a ApiProject,
    /// The id of the API's own list.
    root: Option<usize>,
    ids: HashMap<Option<Alternatives<'a>>, usize>,
}

type Alternatives<'a> = BTreeSet<BTreeMap<&'a str, BTreeSet<&'a str>>>;

impl<'a> Asked<'a> {
    /// The same number for the same security.
    fn id(&mut self, operation: &'a Operation) -> usize {
        let project = self.project;
        if operation.disable_security {
            return self.number(None);
        }
        if !operation.security.is_empty() {
            return self.number(Some(alternatives(&operation.security)));
        }
        if let Some(root) = self.root {
            return root;
        }
        let root = self.number(Some(alternatives(&project.security)));
        self.root = Some(root);
        root
    }

    fn number(&mut self, security: Option<Alternatives<'a>>) -> usize {
        let next = self.ids.len();
        *self.ids.entry(security).or_insert(next)
    }
}

/// Requirements without what doesn't matter: order and repetition.
fn alternatives(requirements: &[Requirement]) -> Alternatives<'_> {
    let schemes = requirements.iter().map(|requirement| {
        let schemes = requirement.iter();
        schemes
            .map(|(scheme, scopes)| (scheme.as_str(), scopes.iter().map(String::as_str).collect()))
            .collect()
    });
    schemes.collect()
}
