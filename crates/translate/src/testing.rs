//! A small project to vary.

use trireme_project::{Defaults, Files, Memory, Reading};

/// `api.yaml`, open at its end for further members of `data`.
pub(crate) const API: &str = "type: api\nversion: v4.2.0\ndata:\n  name: Pets\n  version: 1.0.0\n  context: /pets\n  type: HTTP\n  \
     endpointConfig: { production_endpoints: { url: 'http://pets.local' } }\n";

/// A definition with one operation.
pub(crate) const DEFINITION: &str = "openapi: 3.0.1\ninfo: { title: T, version: V }\npaths:\n  /a:\n    get: { responses: { '200': { \
     description: ok } } }\n";

/// Reads a project of `api.yaml`, a definition and other files.
pub(crate) fn read(api: &str, definition: &str, others: &[(&str, &str)]) -> Reading {
    let named = [("api.yaml", api), ("Definitions/swagger.yaml", definition)];
    let files: Files = named
        .iter()
        .chain(others)
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect();
    trireme_project::read(&Memory(files), &trireme_project::Settings::new(Defaults::Require)).unwrap()
}
