//! 100 APIs: memory, and the way back after a restart of everything.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;
use trireme_harness::{Gateway, Role, Upstream, is_dist};

const APIS: usize = 100;
const OPERATIONS: usize = 20;
/// Of the three processes together, bytes; for programs as they ship.
const MEMORY: u64 = 60 << 20;
/// From the start of everything to the first answer; for programs as they ship.
const RESTART: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_hundred_apis_stay_small_and_come_back_fast() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let mut words = vec!["deploy".to_owned()];
    for api in 0..APIS {
        let mut text = format!(
            "openapi: 3.0.3\ninfo: {{ title: Api{api}, version: 1.0.0 }}\nx-wso2-basePath: /api{api}/1.0.0\n\
             servers: [ {{ url: '{}/' }} ]\npaths:\n",
            upstream.url()
        );
        for operation in 0..OPERATIONS {
            writeln!(
                text,
                "  /things{operation}/{{id}}: {{ get: {{ responses: {{ '200': {{ description: ok }} }} }} }}"
            )?;
        }
        let file = folder.path().join(format!("api{api}.yaml"));
        std::fs::write(&file, text)?;
        words.push(file.display().to_string());
    }
    let gateway = Gateway::builder().start().await?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = gateway.trireme(&words, Duration::from_secs(120)).await?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(gateway.get("/api99/1.0.0/things7/x", true).await?.status, 200);

    let mut total = 0;
    for role in Role::ALL {
        let resident = gateway.resident(role)?;
        println!(
            "{APIS} APIs, {}: {:.1} MiB resident",
            role.name(),
            resident as f64 / f64::from(1 << 20)
        );
        total += resident;
    }
    println!("together {:.1} MiB", total as f64 / f64::from(1 << 20));
    assert!(!is_dist() || total < MEMORY, "{total} bytes resident");

    let (_, data) = gateway.stop().await?;
    let start = Instant::now();
    let gateway = Gateway::builder().data(data).start().await?;
    let answer = gateway.get("/api99/1.0.0/things7/x", true).await?;
    let took = start.elapsed();
    println!("first 200 of a deployed API {took:?} after the restart of everything");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!is_dist() || took < RESTART, "{took:?}");
    gateway.stop().await?;
    Ok(())
}
