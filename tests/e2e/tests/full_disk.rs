//! A disk that is full for a while: nothing can be deployed meanwhile, and everything again afterwards.

use std::io::Write as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use trireme_harness::{Gateway, Role, Upstream, missing, run};

const BOUND: Duration = Duration::from_secs(30);
/// Runs the words behind its first where that folder is a small disk, for them alone.
const SMALL_DISK: &str = "mount -t tmpfs -o size=4m,mode=700 tmpfs \"$0\" && exec \"$@\"";
const OWN_MOUNTS: [&str; 3] = ["unshare", "--map-root-user", "--mount"];

/// Words that run what follows them where a folder is a small disk; `None`, said loudly, where the machine lets nobody mount.
async fn small_disk(folder: &str) -> Option<Vec<&str>> {
    let words = [&OWN_MOUNTS[..], &["sh", "-c", SMALL_DISK, folder]].concat();
    let (program, others) = words.split_first()?;
    let mut command = tokio::process::Command::new(program);
    let outcome = run(command.args(others).arg("true"), BOUND).await;
    if outcome.is_ok_and(|output| output.status.success()) {
        return Some(words);
    }
    missing("a disk of its own", "a machine that lets a process mount one");
    None
}

/// Takes all the room there is.
fn fill(path: &Path) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(path)?;
    // Smaller and smaller pieces, so that nothing is left.
    for piece in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; piece]).is_ok() {}
    }
    Ok(())
}

fn text(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr];
    both.map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

#[tokio::test]
async fn deploying_goes_on_after_a_full_disk() -> anyhow::Result<()> {
    const DEFINITION: &str = "openapi: 3.0.3\ninfo: { title: NAME, version: 1.0.0 }\nx-wso2-basePath: /NAME\nx-note: NOTE\n\
                              servers: [ { url: 'UPSTREAM/' } ]\npaths: { /a: { get: { responses: {} } } }\n";
    let (folder, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let state = data.path().join("state");
    std::fs::create_dir(&state)?;
    let state = state.display().to_string();
    let Some(words) = small_disk(&state).await else {
        return Ok(());
    };
    let upstream = Upstream::start(Duration::ZERO).await;
    let gateway = Gateway::builder().data(data).through(words).start().await?;
    let deploy = async |name: &str| {
        let file = folder.path().join(format!("{name}.yaml"));
        // Nothing that packs well: so little would find room on any disk.
        let note: String = (0..200_000).map(|_| fastrand::alphanumeric()).collect();
        let definition = DEFINITION.replace("NAME", name).replace("NOTE", &note);
        std::fs::write(&file, definition.replace("UPSTREAM", &upstream.url()))?;
        gateway
            .trireme(&["deploy", &file.display().to_string()], BOUND)
            .await
    };
    let undeploy = async |name| {
        gateway
            .trireme(&["undeploy", "-n", name, "-v", "1.0.0"], BOUND)
            .await
    };
    let ready = async || {
        let url = format!("http://{}/ready", gateway.address(Role::Adapter, "admin"));
        let response = gateway.http.get(url).send().await?;
        anyhow::Ok((response.status().as_u16(), response.text().await?))
    };
    let first = deploy("first").await?;
    assert!(first.status.success(), "{}", text(&first));

    // The disk as those see it who have it.
    let filler = format!("/proc/{}/root{state}/filler", gateway.pid(Role::Adapter));
    let filler = Path::new(&filler);
    fill(filler)?;
    for attempt in 1..=3 {
        let (deployed, undeployed) = (deploy("second").await?, undeploy("first").await?);
        for output in [deployed, undeployed] {
            let told = text(&output);
            assert!(!output.status.success(), "attempt {attempt}: {told}");
            assert!(
                told.contains("500 ") && told.contains("disk is full"),
                "attempt {attempt}: {told}"
            );
        }
        let (status, told) = ready().await?;
        assert_eq!(status, 503, "attempt {attempt}: {told}");
        assert!(
            told.starts_with("not ready: store (") && told.contains("disk is full"),
            "attempt {attempt}: {told}"
        );
        let served = gateway.get("/first/a", true).await?;
        assert_eq!(served.status, 200, "attempt {attempt}: {}", served.body);
        let other = gateway.get("/second/a", true).await?;
        assert_eq!(other.status, 404, "attempt {attempt}: {}", other.body);
    }

    std::fs::remove_file(filler)?;
    let (status, told) = ready().await?;
    assert_eq!(status, 200, "found out without a deployment: {told}");
    let second = deploy("second").await?;
    assert!(second.status.success(), "{}", text(&second));
    assert_eq!(gateway.get("/second/a", true).await?.status, 200);
    let gone = undeploy("first").await?;
    assert!(gone.status.success(), "{}", text(&gone));
    assert_eq!(gateway.get("/first/a", true).await?.status, 404);
    gateway.stop().await?;
    Ok(())
}
