//! What went into the binaries, as CycloneDX documents beside the images, by `cargo cyclonedx`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::cargo::{installed, step};

/// How the tool's files are named while they lie in the sources.
const NAME: &str = "xtask-sbom";

/// Writes `trireme-<process>.cdx.json` into `folder`; without the tool it says so and goes on.
pub(super) fn write<'a>(
    root: &Path,
    processes: impl Iterator<Item = &'a str>,
    target: &str,
    folder: &Path,
) -> anyhow::Result<()> {
    if !installed("cyclonedx") {
        eprintln!("xtask: NO BILLS OF MATERIALS: cargo install cargo-cyclonedx");
        return Ok(());
    }
    let written = step(
        Command::new(env!("CARGO"))
            .current_dir(root)
            .args(["cyclonedx", "--format", "json", "--target", target])
            .args(["--override-filename", NAME]),
    );
    let read = processes.map(|process| {
        let path = root
            .join("crates")
            .join(process)
            .join(NAME)
            .with_extension("json");
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        anyhow::Ok((process, document(&text)?))
    });
    let read = written.and_then(|()| read.collect::<anyhow::Result<Vec<_>>>());
    // The tool writes beside every manifest of the workspace.
    for members in ["crates", "tests"] {
        clean(&root.join(members))?;
    }
    for (process, text) in read? {
        std::fs::write(folder.join(format!("trireme-{process}.cdx.json")), text)?;
    }
    Ok(())
}

/// The document without what is another each time, and without the place where it was made.
fn document(text: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(text)?;
    let Some(fields) = document.as_object_mut() else {
        bail!("the bill of materials is no object");
    };
    fields.remove("serialNumber");
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("timestamp");
    }
    Ok(serde_json::to_vec_pretty(&document)?)
}

fn clean(members: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(members)? {
        let path = entry?.path().join(NAME).with_extension("json");
        if path.exists() {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_each_time_is_left_out() {
        let text = br#"{"bomFormat":"CycloneDX","serialNumber":"urn:uuid:1","metadata":{"timestamp":"now","tools":[]}}"#;
        let left: Value = serde_json::from_slice(&document(text).unwrap()).unwrap();
        assert_eq!(
            left,
            serde_json::json!({ "bomFormat": "CycloneDX", "metadata": { "tools": [] } })
        );
        document(b"[]").unwrap_err();
    }
}
