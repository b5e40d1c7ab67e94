//! `trireme init` makes a project that can be deployed.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use trireme_harness::{Gateway, Upstream, program, run};

const BOUND: Duration = Duration::from_secs(30);

async fn trireme(folder: &Path, words: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let mut command = Command::new(program("trireme")?);
    let output = run(command.current_dir(folder).args(words), BOUND).await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(text)?))
}

#[tokio::test]
async fn a_new_project_is_whole_and_can_be_deployed() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let definition = format!(
        "openapi: 3.0.3\ninfo: {{ title: Fresh, version: 1.0.0 }}\nservers: [ {{ url: '{}/base' }} ]\n\
         paths: {{ /a: {{ get: {{ responses: {{}} }} }} }}\n",
        upstream.url()
    );
    std::fs::write(folder.path().join("fresh.yaml"), definition)?;

    let (code, text) = trireme(folder.path(), &["init", "proj", "--oas", "fresh.yaml"]).await?;
    assert_eq!(code, Some(0), "{text}");
    let project = folder.path().join("proj");
    assert!(project.join("api.yaml").is_file(), "{text}");
    assert!(project.join("Definitions/swagger.yaml").is_file(), "{text}");
    assert!(project.join("Client-certificates").is_dir(), "{text}");
    let files = walk(&project)?;
    assert!(text.contains(&format!("proj: {files} files")), "{text}");

    let (code, text) = trireme(folder.path(), &["init", "proj", "--oas", "fresh.yaml"]).await?;
    assert_eq!(code, Some(1));
    assert!(text.contains("proj exists"), "{text}");
    let (code, text) = trireme(folder.path(), &["init", "proj", "--oas", "fresh.yaml", "--force"]).await?;
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = trireme(folder.path(), &["validate", "proj"]).await?;
    assert_eq!(code, Some(0), "{text}");

    // What goes wrong leaves nothing behind.
    std::fs::write(folder.path().join("file"), "")?;
    let (code, text) = trireme(folder.path(), &["init", "file/inside", "--oas", "fresh.yaml"]).await?;
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = trireme(folder.path(), &["init", "other", "--oas", "absent.yaml"]).await?;
    assert_ne!(code, Some(0), "{text}");
    let mut left: Vec<_> = std::fs::read_dir(folder.path())?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<std::io::Result<_>>()?;
    left.sort();
    assert_eq!(left, ["file", "fresh.yaml", "proj"]);

    let gateway = Gateway::builder().start().await?;
    let output = gateway
        .trireme(&["deploy", &project.display().to_string()], BOUND)
        .await?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let (_, list) = trireme(
        folder.path(),
        &["list", "--data", &gateway.data().display().to_string()],
    )
    .await?;
    assert!(list.contains("Fresh"), "{list}");
    gateway.stop().await?;
    Ok(())
}

fn walk(folder: &Path) -> std::io::Result<usize> {
    let mut files = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() {
            walk(&entry.path())?
        } else {
            1
        };
    }
    Ok(files)
}
