//! 352 real OpenAPI documents, when they lie beside the repository.

use std::io::{Cursor, Read};
use std::path::PathBuf;

/// How many there are.
pub(crate) const DOCUMENTS: usize = 352;

/// The documents by name, or none when the archive is not there.
pub(crate) fn documents() -> Option<Vec<(String, Vec<u8>)>> {
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
