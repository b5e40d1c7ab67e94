//! Which file of a project is what.

use std::collections::BTreeMap;

use crate::document::diagnostic::{Diagnostic, Findings};
use crate::model::KeyType;
use crate::source::Files;

/// What a file is for. Matching is by whole path steps at any depth, since archives have any root folder name, or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// `api.yaml` or `api.json`.
    Api,
    /// A client certificate, below a folder of one key type or beside them.
    ClientCertificate(Option<KeyType>),
    /// `Client-certificates/client_certificates.*`; API Manager 4.5 and later have one below a folder for each key type.
    ClientCertificates(Option<KeyType>),
    /// `Definitions/graphql-complexity*`.
    Complexity,
    /// `Definitions/swagger.*` or `Definitions/asyncapi.*`.
    Definition,
    /// `deployment_environments.yaml`.
    Deployments,
    /// An upstream CA certificate.
    EndpointCertificate,
    /// `Endpoint-certificates/endpoint_certificates.*`.
    EndpointCertificates,
    /// `endpoints.yaml` or `endpoints.json`, which nobody reads.
    Endpoints,
    /// An interceptor CA certificate.
    InterceptorCertificate,
    /// `mcp_server.yaml` or `mcp_server.json`.
    McpServer,
    /// A file of `Policies/`.
    Policy,
    /// `api_product.yaml` or `api_product.json`.
    Product,
    /// `Definitions/schema.*`.
    Schema,
}

impl Role {
    /// At most one file of the project has this role.
    fn is_single(self) -> bool {
        match self {
            Self::Api
            | Self::ClientCertificates(_)
            | Self::Complexity
            | Self::Definition
            | Self::Deployments
            | Self::EndpointCertificates
            | Self::Endpoints
            | Self::McpServer
            | Self::Product
            | Self::Schema => true,
            Self::ClientCertificate(_)
            | Self::EndpointCertificate
            | Self::InterceptorCertificate
            | Self::Policy => false,
        }
    }
}

/// Folders whose content is never looked at, below the root.
const IGNORED: [&str; 3] = ["Docs", "Image", "libs"];

/// What macOS adds to an archive beside its root: a shadow of each file, under the same path and with `._` before the name.
const MAC_SHADOWS: &str = "__MACOSX";

/// The role of a path, if it has one.
pub(crate) fn role(path: &str) -> Option<Role> {
    let mut folders: Vec<&str> = path.split('/').collect();
    let file = folders.pop()?;
    // Hidden files are no more part of an archive than they are of a folder: `._a.crt`, `.git/…`.
    if file.starts_with('.') || folders.contains(&MAC_SHADOWS) {
        return None;
    }
    let ignored = |folder: &&str| IGNORED.contains(folder) || folder.starts_with('.');
    if folders.iter().skip(1).any(ignored) {
        return None;
    }
    let within = |name: &str| folders.contains(&name);
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    let certificate = matches!(extension, "crt" | "pem");
    if within("Definitions") {
        return if folders.last() != Some(&"Definitions") {
            None
        } else if file.starts_with("swagger.") || file.starts_with("asyncapi.") {
            Some(Role::Definition)
        } else if file.starts_with("schema.") {
            Some(Role::Schema)
        } else if file.starts_with("graphql-complexity") {
            Some(Role::Complexity)
        } else {
            None
        };
    }
    if within("Endpoint-certificates") {
        return if certificate && folders.last() == Some(&"interceptors") {
            Some(Role::InterceptorCertificate)
        } else if file.starts_with("endpoint_certificates.") {
            Some(Role::EndpointCertificates)
        } else {
            certificate.then_some(Role::EndpointCertificate)
        };
    }
    if let Some(at) = folders.iter().position(|folder| *folder == "Client-certificates") {
        let key_type = folders.get(at + 1).and_then(|folder| KeyType::parse(folder));
        return if file.starts_with("client_certificates.") {
            Some(Role::ClientCertificates(key_type))
        } else {
            certificate.then_some(Role::ClientCertificate(key_type))
        };
    }
    if within("Policies") {
        return matches!(extension, "yaml" | "json" | "gotmpl").then_some(Role::Policy);
    }
    match file {
        "api.yaml" | "api.json" => Some(Role::Api),
        "api_product.yaml" | "api_product.json" => Some(Role::Product),
        "deployment_environments.yaml" => Some(Role::Deployments),
        "endpoints.yaml" | "endpoints.json" => Some(Role::Endpoints),
        "mcp_server.yaml" | "mcp_server.json" => Some(Role::McpServer),
        _ => None,
    }
}

/// The files of a project by role.
#[derive(Debug, Default)]
pub(crate) struct Layout<'f> {
    single: BTreeMap<Role, (&'f str, &'f [u8])>,
    many: BTreeMap<Role, Vec<(&'f str, &'f [u8])>>,
}

impl<'f> Layout<'f> {
    /// Sorts the files out. Of several candidates for one role the one nearest to the root counts, then the first by name.
    pub(crate) fn new(files: &'f Files, findings: &mut Findings) -> Self {
        let mut ordered: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_slice()))
            .collect();
        ordered.sort_by_key(|(path, _)| (path.matches('/').count(), *path));
        let mut layout = Self::default();
        for (path, content) in ordered {
            let Some(role) = role(path) else { continue };
            if !role.is_single() {
                layout.many.entry(role).or_default().push((path, content));
            } else if let Some((taken, _)) = layout.single.get(&role) {
                findings.push(Diagnostic::warning(
                    path,
                    "",
                    format!("ignored, since {taken} is used"),
                ));
            } else {
                layout.single.insert(role, (path, content));
            }
        }
        layout
    }

    pub(crate) fn one(&self, role: Role) -> Option<(&'f str, &'f [u8])> {
        self.single.get(&role).copied()
    }

    pub(crate) fn all(&self, role: Role) -> &[(&'f str, &'f [u8])] {
        self.many.get(&role).map_or(&[], Vec::as_slice)
    }
}

/// Last step of a path.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
