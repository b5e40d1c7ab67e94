//! 352 real OpenAPI documents, when they lie beside the repository.

use std::collections::BTreeSet;
use std::io::{Cursor, Read};
use std::path::PathBuf;

use trireme_project::{Archive, Defaults, Definition, Limits, Settings, archive, read, scaffold};

/// The documents by name, or none when the file isn't there.
fn corpus() -> Option<Vec<(String, Vec<u8>)>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/openapi-corpus.tar.xz");
    let Ok(packed) = std::fs::read(&path) else {
        #[allow(
            clippy::disallowed_methods,
            reason = "only the environment of the test run says whether it may be skipped"
        )]
        let required = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!required, "{} is needed when CI=true", path.display());
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    };
    let mut archive = tar::Archive::new(liblzma::read::XzDecoder::new(Cursor::new(packed)));
    let mut documents = Vec::new();
    for entry in archive.entries().expect("the corpus is a tar archive") {
        let mut entry = entry.expect("the corpus is whole");
        if entry.header().entry_type().is_file() {
            let path = entry.path().expect("names in the corpus are paths").into_owned();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("the corpus is whole");
            documents.push((name, content));
        }
    }
    Some(documents)
}

#[test]
fn real_documents_are_accepted() {
    let Some(documents) = corpus() else { return };
    assert_eq!(documents.len(), 352);
    let settings = Settings::new(Defaults::Derive);
    let (mut paths, mut operations, mut without_endpoint) = (0, 0, 0);
    let (mut base_paths, mut refused) = (Vec::new(), Vec::new());
    for (name, content) in &documents {
        match read(&Definition { name, content }, &settings) {
            Ok(reading) => {
                let project = reading.project;
                paths += project.resources.len();
                operations += project
                    .resources
                    .iter()
                    .map(|resource| resource.operations.len())
                    .sum::<usize>();
                without_endpoint += usize::from(project.production.is_none());
                assert!(
                    project.base_path.starts_with('/') && project.base_path.len() > 1,
                    "{name}: {}",
                    project.base_path
                );
                assert!(
                    !project.identity.name.is_empty() && !project.identity.version.is_empty(),
                    "{name}"
                );
                base_paths.push(project.base_path);
            }
            Err(findings) => {
                let told = findings
                    .iter()
                    .any(|f| f.is_error() && f.file == *name && !f.message.is_empty());
                assert!(told, "{name}: {findings:?}");
                refused.extend(findings.into_iter().filter(|finding| finding.is_error()));
            }
        }
    }
    let accepted = base_paths.len();
    let distinct = base_paths.iter().collect::<BTreeSet<_>>().len();
    eprintln!(
        "{accepted} of {} accepted, {paths} paths, {operations} operations",
        documents.len()
    );
    eprintln!("{without_endpoint} without endpoint, {distinct} distinct base paths");
    for finding in &refused {
        eprintln!("{finding}");
    }
    assert_eq!(accepted, documents.len());
    assert!(paths > 7_000, "only {paths} paths");
}

#[test]
fn projects_made_of_real_documents_say_the_same() {
    let Some(documents) = corpus() else { return };
    let mut tried = 0;
    // Every fifth of the smaller ones: writing YAML and reading it back takes its time without optimization.
    for (name, content) in documents
        .iter()
        .filter(|(_, content)| content.len() < 60_000)
        .step_by(5)
    {
        let definition = Definition { name, content };
        let Ok(alone) = read(&definition, &Settings::new(Defaults::Derive)) else {
            continue;
        };
        let packed = archive("p", scaffold(definition, &Limits::default()).unwrap()).unwrap();
        let project = read(&Archive(&packed), &Settings::new(Defaults::Require))
            .unwrap_or_else(|findings| panic!("{name}: {findings:?}"));
        assert_eq!(project.project.base_path, alone.project.base_path, "{name}");
        let shape = |project: &trireme_project::ApiProject| -> Vec<(String, usize)> {
            project
                .resources
                .iter()
                .map(|resource| (resource.path.clone(), resource.operations.len()))
                .collect()
        };
        assert_eq!(shape(&project.project), shape(&alone.project), "{name}");
        tried += 1;
    }
    assert!(tried > 30, "{tried}");
}
