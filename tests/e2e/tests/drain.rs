//! SIGTERM to the router under load: nobody notices but by `connection: close`.

use std::time::Duration;

use rustix::process::Signal;
use trireme_harness::{Gateway, Load, Outcome, Role, eventually};

#[tokio::test]
async fn no_request_is_lost_when_the_router_drains() -> anyhow::Result<()> {
    let gateway = Gateway::builder().start().await?;
    let address = gateway.address(Role::Router, "http");
    let path = gateway.ready.sample.url.replacen(&gateway.ready.http, "", 1);
    let before = gateway.pid(Role::Router);
    let pause = Duration::from_millis(5);
    let load = Load::start(
        address,
        &path,
        Some(&gateway.ready.token),
        32,
        pause,
        Duration::from_secs(60),
    );
    // Some calls must be under way when the signal comes.
    let metrics = format!("http://{}/metrics", gateway.address(Role::Router, "admin"));
    let http = gateway.http.clone();
    eventually("load", async || {
        let text = http.get(&metrics).send().await.ok()?.text().await.ok()?;
        (requests(&text) > 200.0).then_some(())
    })
    .await;
    gateway.signal(Role::Router, Signal::TERM)?;
    eventually("a successor", async || {
        let pid = gateway.facts(Role::Router)?.get("pid")?.as_i64()?;
        (pid != i64::from(before)).then_some(())
    })
    .await;
    let tally = load.finish().await;
    println!("{tally:?}");
    let answered = tally.get(&Outcome::Status(200)).copied().unwrap_or_default();
    assert!(answered > 200, "{tally:?}");
    assert_eq!(tally.get(&Outcome::Reset), None, "{tally:?}");
    // New connections are refused between the end of one router and the start of the next; nothing else may happen.
    let other: Vec<_> = tally
        .keys()
        .filter(|outcome| !matches!(outcome, Outcome::Status(200) | Outcome::Refused))
        .collect();
    assert_eq!(other, Vec::<&Outcome>::new(), "{tally:?}");
    gateway.stop().await?;
    Ok(())
}

/// Sum of all request counters in Prometheus text.
fn requests(text: &str) -> f64 {
    let lines = text
        .lines()
        .filter(|line| line.starts_with("trireme_router_requests_total"));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}
