//! A restart of the router under load: nobody notices but by `connection: close` and `GOAWAY`.

use std::time::Duration;

use rustix::process::Signal;
use trireme_harness::{Gateway, Load, Outcome, Role, Upstream, eventually, rounds};

const BOUND: Duration = Duration::from_secs(300);

#[tokio::test]
async fn a_restart_of_the_router_refuses_nothing() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("streams.yaml");
    let definition = "openapi: 3.0.3\ninfo: { title: Streams, version: 1.0.0 }\nx-wso2-basePath: /streams/1.0.0\n\
                      servers: [ { url: 'UPSTREAM/' } ]\npaths:\n  /a: { get: { responses: {} } }\n  \
                      /sent-events: { get: { responses: {} } }\n";
    std::fs::write(&file, definition.replace("UPSTREAM", &upstream.url()))?;
    let gateway = Gateway::builder().api(&file).start().await?;
    let address = gateway.address(Role::Router, "http");
    let token = Some(gateway.ready.token.as_str());
    let (call, events) = ("/streams/1.0.0/a", "/streams/1.0.0/sent-events");
    let pause = Duration::from_millis(5);
    let loads = [
        ("kept", Load::start(address, call, token, 16, pause, BOUND)),
        ("streams", Load::http2(address, call, token, 4, 8, BOUND)),
        (
            "events",
            Load::start(address, events, token, 8, Duration::ZERO, BOUND),
        ),
        (
            "events over HTTP/2",
            Load::http2(address, events, token, 2, 4, BOUND),
        ),
    ];
    for round in 0..rounds(4) {
        // Calls are under way in every round.
        let before = upstream.requests();
        eventually("load", async || {
            (upstream.requests() > before + 200).then_some(())
        })
        .await;
        let pid = gateway.pid(Role::Router);
        // By hand, or by whoever started it all.
        match round % 2 {
            0 => gateway.signal(Role::Router, Signal::TERM)?,
            _ => gateway.renew_router()?,
        }
        eventually("a successor", async || {
            (gateway.facts(Role::Router)?.get("pid")?.as_i64()? != i64::from(pid)).then_some(())
        })
        .await;
    }
    for (name, load) in loads {
        let tally = load.finish().await;
        println!("{name}: {tally:?}");
        let answered = tally.get(&Outcome::Status(200)).copied().unwrap_or_default();
        // Every caller of the smallest load has had an answer.
        assert!(answered >= 8, "{name}: {tally:?}");
        assert_eq!(tally.len(), 1, "{name}: {tally:?}");
    }
    gateway.stop().await?;
    Ok(())
}
