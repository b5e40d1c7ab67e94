//! Whole projects in, whole models or exact findings out.

mod bare;
mod definitions;
mod documents;
mod endpoints;
mod paths;
mod policies;
mod projects;
mod scaffolds;
mod scopes;
mod security;
mod sources;

use crate::{ApiProject, Defaults, Definition, Diagnostic, Files, Memory, Reading, Settings, read};

/// `api.yaml` with the mandatory facts and whatever else is given as lines of `data`.
pub(crate) fn api_yaml(data: &str) -> String {
    format!(
        "type: api\nversion: v4.2.0\ndata:\n  name: Pets\n  version: 1.0.0\n  context: /pets\n  type: HTTP\n{data}"
    )
}

/// An endpoint section for [`api_yaml`].
pub(crate) const ENDPOINT: &str =
    "  endpointConfig:\n    production_endpoints:\n      url: http://backend:8080/v1\n";

pub(crate) fn project(files: &[(&str, &str)]) -> Result<Reading, Vec<Diagnostic>> {
    let files: Files = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect();
    read(&Memory(files), &Settings::new(Defaults::Require))
}

/// A project of `api.yaml` data and a definition.
pub(crate) fn pets(data: &str, definition: &str) -> Result<Reading, Vec<Diagnostic>> {
    project(&[
        ("p/api.yaml", &api_yaml(data)),
        ("p/Definitions/swagger.yaml", definition),
    ])
}

/// A definition alone.
pub(crate) fn alone(definition: &str) -> Result<Reading, Vec<Diagnostic>> {
    let definition = Definition {
        name: "my api.yaml",
        content: definition.as_bytes(),
    };
    read(&definition, &Settings::new(Defaults::Derive))
}

pub(crate) fn accepted(result: Result<Reading, Vec<Diagnostic>>) -> ApiProject {
    result
        .map(|reading| reading.project)
        .unwrap_or_else(|findings| panic!("{}", lines(&findings).join("\n")))
}

pub(crate) fn lines(findings: &[Diagnostic]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// The errors of a refusal.
pub(crate) fn errors(result: Result<Reading, Vec<Diagnostic>>) -> Vec<String> {
    let findings = result.expect_err("must be refused");
    lines(
        &findings
            .into_iter()
            .filter(Diagnostic::is_error)
            .collect::<Vec<_>>(),
    )
}

/// The warnings of a success.
pub(crate) fn warnings(result: Result<Reading, Vec<Diagnostic>>) -> Vec<String> {
    lines(
        &result
            .unwrap_or_else(|findings| panic!("{}", lines(&findings).join("\n")))
            .warnings,
    )
}

/// A definition with one path and more lines at the root.
pub(crate) fn openapi(rest: &str) -> String {
    format!("openapi: 3.0.3\ninfo: {{title: Pets, version: 1.0.0}}\n{rest}")
}

/// One GET under `/pets`.
pub(crate) const PATHS: &str = "paths:\n  /pets:\n    get: {responses: {200: {description: ok}}}\n";
