//! What a path on the command line stands for: an OpenAPI file, a project folder or a project archive.

use std::path::Path;

use anyhow::{Context as _, bail};
use trireme_project::{
    ApiProject, Archive, Defaults, Definition, Diagnostic, Folder, Limits, Operation, ProjectSource, Settings,
};

/// First bytes of a zip archive.
const ARCHIVE_MARK: &[u8] = b"PK";

/// A call of an API that should work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The host that the API has; absent until it is deployed.
    pub(crate) host: Option<String>,
    pub(crate) method: String,
    pub(crate) path: String,
    /// OAuth2 scopes that the token needs.
    pub(crate) scopes: Vec<String>,
}

/// What `trireme validate` found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) findings: Vec<Diagnostic>,
    /// What the API is; absent when it would be refused.
    pub(crate) summary: Option<String>,
}

/// The archive that is uploaded for a path.
///
/// # Errors
/// The path cannot be read, or what it holds is no project; then every finding is in the message.
pub(crate) fn archive(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.is_dir() {
        let files = Folder(path.to_owned())
            .load(&Limits::default(), &|_| true)
            .map_err(refused)?;
        let root = path
            .file_name()
            .map_or_else(|| "project".into(), |name| name.to_string_lossy());
        return Ok(trireme_project::archive(&root, files)?);
    }
    let content = read(path)?;
    if content.starts_with(ARCHIVE_MARK) {
        return Ok(content);
    }
    archive_definition(&name_of(path), &content)
}

/// An archive of a bare definition, which is read before anybody is asked to take it.
pub(crate) fn archive_definition(name: &str, content: &[u8]) -> anyhow::Result<Vec<u8>> {
    trireme_project::read(&Definition { name, content }, &reading(Defaults::Derive)).map_err(refused)?;
    Ok(trireme_project::archive_alone(name, content)?)
}

/// The files of a new project around a definition.
pub(crate) fn scaffold(path: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let (name, content) = (name_of(path), read(path)?);
    let files = trireme_project::scaffold(
        Definition {
            name: &name,
            content: &content,
        },
        &Limits::default(),
    );
    Ok(files.map_err(refused)?.into_iter().collect())
}

/// Everything there is to say about what a path holds.
pub(crate) fn validate(path: &Path) -> anyhow::Result<Report> {
    if path.is_dir() {
        return Ok(report(&Folder(path.to_owned()), Defaults::Require));
    }
    let content = read(path)?;
    if content.starts_with(ARCHIVE_MARK) {
        return Ok(report(&Archive(&content), Defaults::Require));
    }
    let definition = Definition {
        name: &name_of(path),
        content: &content,
    };
    Ok(report(&definition, Defaults::Derive))
}

/// A call of the API in an archive: a GET without path parameters if there is one.
pub(crate) fn sample_call(archive: &[u8]) -> Option<Call> {
    let project = trireme_project::read(&Archive(archive), &reading(Defaults::Require))
        .ok()?
        .project;
    let calls = |method: &'static str| {
        project.resources.iter().filter(move |resource| {
            resource
                .operations
                .iter()
                .any(|operation| operation.method.eq_ignore_ascii_case(method))
        })
    };
    let plain = calls("GET").find(|resource| !resource.path.contains(['{', '*']));
    let resource = plain.or_else(|| calls("GET").next());
    let (method, resource) = match resource {
        Some(resource) => ("GET".to_owned(), resource),
        None => {
            let resource = project.resources.first()?;
            (resource.operations.first()?.method.clone(), resource)
        }
    };
    let base = project.base_path.trim_end_matches('/');
    let operation = resource
        .operations
        .iter()
        .find(|operation| operation.method.eq_ignore_ascii_case(&method))?;
    Some(Call {
        host: None,
        path: format!("{base}{}", filled(&resource.path)),
        scopes: scopes(&project, operation),
        method,
    })
}

/// Scopes of the first alternative that a token can satisfy.
fn scopes(project: &ApiProject, operation: &Operation) -> Vec<String> {
    let asks = |name: &String| {
        let mut schemes = project.security_schemes.iter();
        schemes.any(|scheme| scheme.definition == *name && scheme.asks_for_token())
    };
    let mut found = project
        .requirements(operation)
        .iter()
        .flatten()
        .filter(|(name, _)| asks(name));
    found.next().map(|(_, scopes)| scopes.clone()).unwrap_or_default()
}

/// The template with `1` for every parameter.
fn filled(template: &str) -> String {
    let mut path = String::new();
    let mut inside = false;
    for character in template.chars() {
        match character {
            '{' => {
                inside = true;
                path.push('1');
            }
            '}' => inside = false,
            '*' if !inside => path.push('1'),
            _ if !inside => path.push(character),
            _ => {}
        }
    }
    path
}

fn report(source: &dyn ProjectSource, defaults: Defaults) -> Report {
    match trireme_translate::validate(source, reading(defaults)) {
        Ok((project, findings)) => Report {
            findings,
            summary: Some(summary(&project)),
        },
        Err(findings) => Report {
            findings,
            summary: None,
        },
    }
}

fn summary(project: &ApiProject) -> String {
    let operations: usize = project
        .resources
        .iter()
        .map(|resource| resource.operations.len())
        .sum();
    format!(
        "{} {} at {}, {} paths with {operations} operations",
        project.identity.name,
        project.identity.version,
        project.base_path,
        project.resources.len()
    )
}

/// How a project is read. Overrides from the environment are those of the adapter's process, not of this command.
fn reading(defaults: Defaults) -> Settings<'static> {
    Settings {
        limits: Limits::default(),
        defaults,
        variable: &|_| None,
        consul: false,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn refused(findings: Vec<Diagnostic>) -> anyhow::Error {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("refused\n  {}", lines.join("\n  "))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let meta = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    let bound = Limits::default().archive_bytes;
    if meta.len() > bound {
        bail!("{}: more than {bound} bytes", path.display());
    }
    std::fs::read(path).with_context(|| path.display().to_string())
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(
        || "definition".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled() {
        let cases = [
            ("/ships", "/ships"),
            ("/ships/{name}", "/ships/1"),
            ("/a/{b}.{c}/d", "/a/1.1/d"),
            ("/files/*", "/files/1"),
        ];
        for (template, want) in cases {
            assert_eq!(filled(template), want, "{template}");
        }
    }

    #[test]
    fn a_bare_definition_becomes_a_project_with_a_call() {
        let definition = b"openapi: 3.0.3\ninfo: { title: Pets, version: 1.0.0 }\n\
            servers: [ { url: 'http://127.0.0.1:1/v2' } ]\n\
            paths:\n  /pets/{id}: { get: { responses: {} } }\n  /pets: { get: { responses: {} } }\n";
        let archive = archive_definition("pets.yaml", definition).unwrap();
        let call = sample_call(&archive).unwrap();
        assert_eq!(call.method, "GET");
        assert!(call.path.ends_with("/pets"), "{}", call.path);
        assert_eq!(call.scopes, [""; 0]);
    }

    #[test]
    fn a_call_names_the_scopes_its_token_needs() {
        let definition = b"openapi: 3.0.3\ninfo: { title: Pets, version: 1.0.0 }\n\
            servers: [ { url: 'http://127.0.0.1:1/v2' } ]\n\
            components: { securitySchemes: { keys: { type: apiKey, in: header, name: k }, login: { type: oauth2, flows: {} } } }\n\
            security: [ { keys: [] }, { login: [ 'read:pets', 'list' ] } ]\n\
            paths:\n  /pets: { get: { responses: {} } }\n";
        let archive = archive_definition("pets.yaml", definition).unwrap();
        assert_eq!(sample_call(&archive).unwrap().scopes, ["read:pets", "list"]);
    }

    #[test]
    fn what_validates_is_what_an_adapter_takes() {
        const DEFINITION: &str = "openapi: 3.0.3\ninfo: { title: Pets, version: 1.0.0 }\n\
            servers: [ { url: 'http://127.0.0.1:1/v2' } ]\npaths: { /pets: { get: { responses: {} } } }\n";
        const API: &str = "data: { name: Pets, version: 1.0.0, context: /pets, type: HTTP, endpointConfig: { \
            production_endpoints: { url: 'http://a.local' } } }\n";
        struct Case {
            name: &'static str,
            files: Vec<(&'static str, String)>,
            want: Option<&'static str>,
        }
        let definition = || ("Definitions/swagger.yaml", DEFINITION.to_owned());
        let cases = [
            Case {
                name: "good",
                files: vec![("api.yaml", API.to_owned()), definition()],
                want: None,
            },
            Case {
                name: "no api.yaml",
                files: vec![definition()],
                want: Some("api.yaml"),
            },
            Case {
                name: "a kind that is not served",
                files: vec![
                    ("api.yaml", API.replace("HTTP", "GRAPHQL")),
                    ("Definitions/schema.graphql", "type Query { a: Int }".to_owned()),
                ],
                want: Some("GRAPHQL are not served"),
            },
            Case {
                name: "virtual host that is none",
                files: vec![
                    ("api.yaml", API.to_owned()),
                    definition(),
                    (
                        "deployment_environments.yaml",
                        "data: [ { deploymentEnvironment: Other, deploymentVhost: 'a b' } ]".to_owned(),
                    ),
                ],
                want: Some("a b is not a host name"),
            },
        ];
        for case in cases {
            let archive = trireme_project::archive("project", case.files).unwrap();
            let report = report(&Archive(&archive), Defaults::Require);
            assert_eq!(report.summary.is_none(), case.want.is_some(), "{}", case.name);
            let findings: String = report.findings.iter().map(ToString::to_string).collect();
            assert!(
                findings.contains(case.want.unwrap_or_default()),
                "{}: {findings}",
                case.name
            );
        }
    }

    #[test]
    fn what_is_no_definition_is_refused_by_name() {
        let error = archive_definition("note.txt", b"hello").unwrap_err().to_string();
        assert!(error.contains("refused"), "{error}");
    }
}
