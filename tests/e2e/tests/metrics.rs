//! The metrics of all three processes, as Prometheus' own tool reads them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use trireme_harness::{Gateway, Role, required};

#[tokio::test]
async fn promtool_has_nothing_to_say() -> anyhow::Result<()> {
    let Some(promtool) = required("promtool", "Debian's package prometheus") else {
        return Ok(());
    };
    let gateway = Gateway::builder().start().await?;
    // Something of each kind: an answer of an upstream's, refusals of the enforcer's and of the router's.
    for (path, token) in [
        ("/harbour/1.0.0/ships", true),
        ("/harbour/1.0.0/ships", false),
        ("/nowhere", false),
    ] {
        gateway.get(path, token).await?;
    }
    for role in Role::ALL {
        let url = format!("http://{}/metrics", gateway.address(role, "admin"));
        let text = reqwest::get(url).await?.error_for_status()?.text().await?;
        assert!(
            text.contains("# TYPE process_open_fds gauge"),
            "{}: {text}",
            role.name()
        );
        let mut check = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = check.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        let output = check.wait_with_output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && told.is_empty(),
            "{}: {told}",
            role.name()
        );
    }
    drop(gateway.stop().await?);
    Ok(())
}
