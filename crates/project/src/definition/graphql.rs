//! GraphQL projects: schema, complexities, and operations from `api.yaml`.

use std::collections::BTreeMap;

use crate::api::ApiYaml;
use crate::document::diagnostic::{Diagnostic, Findings, Pointer};
use crate::document::tree::Section;
use crate::document::{self, Keep};
use crate::model::id::name_based;
use crate::model::{GraphQl, GraphQlComplexity, Operation, OperationPolicies, Resource};
use crate::settings::Limits;
use crate::source::layout::{Layout, Role};

/// The schema and complexities of the project.
pub(crate) fn read(layout: &Layout<'_>, limits: &Limits, findings: &mut Findings) -> GraphQl {
    let mut graphql = GraphQl::default();
    match layout.one(Role::Schema) {
        Some((file, content)) => match std::str::from_utf8(content) {
            Ok(text) if text.trim().is_empty() => {
                findings.push(Diagnostic::error(file, "", "schema is empty"))
            }
            Ok(text) => text.clone_into(&mut graphql.schema),
            Err(_) => findings.push(Diagnostic::error(file, "", "not UTF-8 text")),
        },
        None => findings.push(Diagnostic::error(
            "Definitions/schema.graphql",
            "",
            "schema of the GraphQL API is missing",
        )),
    }
    if let Some((file, content)) = layout.one(Role::Complexity)
        && let Some(value) = document::parse(file, content, Keep::All, limits, findings)
        && let Some(root) = Section::new(file, Pointer::Root, &value, findings)
        && let Some(data) = root.any_case().section("data", findings)
    {
        let list_pointer = data.pointer.key("list");
        for (index, item) in data.list("list", findings).iter().enumerate() {
            let Some(item) = Section::new(file, list_pointer.index(index), item, findings) else {
                continue;
            };
            let item = item.any_case();
            let mut owned = |key: &str| item.text(key, findings).unwrap_or_default().to_owned();
            let (kind, field) = (owned("type"), owned("field"));
            let value = item.integer("complexityValue", findings).unwrap_or(0);
            graphql
                .complexities
                .push(GraphQlComplexity { kind, field, value });
        }
    }
    graphql
}

/// One resource per operation of `api.yaml`, in file order.
pub(crate) fn resources(api: &ApiYaml, uuid: &str) -> Vec<Resource> {
    let mut resources = Vec::new();
    for operation in &api.operations {
        let disable_security = operation.auth_type.as_deref() == Some("None");
        let security = BTreeMap::from([("default".to_owned(), operation.scopes.clone())]);
        let method = operation.verb.to_uppercase();
        let id = name_based(&[uuid, &operation.target, &method]);
        resources.push(Resource {
            id: id.clone(),
            path: operation.target.clone(),
            operations: vec![Operation {
                id,
                method,
                security: if disable_security {
                    Vec::new()
                } else {
                    vec![security]
                },
                tier: operation.tier.clone(),
                disable_security,
                policies: OperationPolicies::default(),
                uri_mapping: None,
                mock: Vec::new(),
                extensions: BTreeMap::new(),
            }],
            production: None,
            sandbox: None,
            extensions: BTreeMap::new(),
        });
    }
    resources
}
