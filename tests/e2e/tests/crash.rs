//! `kill -9` of each process under load, and of all of them in every order.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use trireme_harness::{Gateway, Load, Outcome, Role, Tally, Upstream, eventually, rounds};

const BOUND: Duration = Duration::from_secs(60);

fn load(gateway: &Gateway, token: bool, pause: Duration) -> Load {
    let address = gateway.address(Role::Router, "http");
    let path = gateway.ready.sample.url.replacen(&gateway.ready.http, "", 1);
    let token = token.then_some(gateway.ready.token.as_str());
    Load::start(address, &path, token, 8, pause, BOUND)
}

fn count(tally: &Tally, outcome: Outcome) -> u64 {
    tally.get(&outcome).copied().unwrap_or_default()
}

/// Waits until the API answers with the token; gives the number of calls that were answered 200 meanwhile.
async fn recovered(gateway: &Gateway) -> u64 {
    let path = gateway.ready.sample.url.replacen(&gateway.ready.http, "", 1);
    eventually("recovery", async || {
        let answer = gateway.get(&path, true).await.ok()?;
        (answer.status == 200).then_some(1)
    })
    .await
}

#[tokio::test]
async fn the_adapter_is_not_on_the_request_path() -> anyhow::Result<()> {
    let gateway = Gateway::builder().start().await?;
    let load = load(&gateway, true, Duration::from_millis(2));
    gateway.kill(Role::Adapter).await?;
    let output = eventually("the adapter's list", async || {
        let output = gateway.trireme(&["list"], Duration::from_secs(20)).await.ok()?;
        output.status.success().then_some(output)
    })
    .await;
    let list = String::from_utf8(output.stdout)?;
    assert!(list.contains("Harbour"), "still deployed: {list}");
    let tally = load.finish().await;
    println!("{tally:?}");
    assert!(count(&tally, Outcome::Status(200)) > 0);
    assert_eq!(tally.len(), 1, "nothing but 200: {tally:?}");
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn without_the_enforcer_everything_is_refused() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("counted.yaml");
    let definition = "openapi: 3.0.3\ninfo: { title: Counted, version: 1.0.0 }\nx-wso2-basePath: /counted/1.0.0\n\
                      servers: [ { url: 'UPSTREAM/' } ]\npaths: { /a: { get: { responses: {} } } }\n";
    std::fs::write(&file, definition.replace("UPSTREAM", &upstream.url()))?;
    let gateway = Gateway::builder().api(&file).start().await?;
    let load = load(&gateway, true, Duration::from_millis(2));
    let path = gateway.ready.sample.url.replacen(&gateway.ready.http, "", 1);
    // Without its key it cannot come back; a restart alone would only make calls wait.
    let key = gateway.data().join("security/keystore/enforcer.key");
    let aside = key.with_extension("aside");
    std::fs::rename(&key, &aside)?;
    gateway.signal(Role::Enforcer, Signal::KILL)?;
    let mut answered = 0;
    let refusal = eventually("a refusal", async || {
        let answer = gateway.get(&path, true).await.ok()?;
        answered += u64::from(answer.status == 200);
        (answer.status == 500).then_some(answer)
    })
    .await;
    assert_eq!(
        refusal.json(),
        json!({ "code": "102500", "message": "Unclassified Validation Failure",
            "description": "Error during validating the request" })
    );
    std::fs::rename(&aside, &key)?;
    answered += recovered(&gateway).await;
    let tally = load.finish().await;
    println!("{tally:?}");
    assert_eq!(
        count(&tally, Outcome::Status(200)) + answered,
        upstream.requests(),
        "what was refused was not forwarded"
    );
    assert!(count(&tally, Outcome::Status(500)) > 0, "{tally:?}");
    let other: Vec<_> = tally
        .keys()
        .filter(|outcome| !matches!(outcome, Outcome::Status(200 | 500)))
        .collect();
    assert_eq!(other, Vec::<&Outcome>::new(), "{tally:?}");
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_restart_of_the_enforcer_refuses_nothing() -> anyhow::Result<()> {
    let gateway = Gateway::builder().start().await?;
    let load = load(&gateway, true, Duration::from_millis(2));
    for signal in [Signal::TERM, Signal::KILL] {
        let before = gateway.pid(Role::Enforcer);
        gateway.signal(Role::Enforcer, signal)?;
        eventually("a successor", async || {
            let pid = gateway.facts(Role::Enforcer)?.get("pid")?.as_i64()?;
            (pid != i64::from(before)).then_some(())
        })
        .await;
        recovered(&gateway).await;
    }
    let tally = load.finish().await;
    println!("{tally:?}");
    assert!(count(&tally, Outcome::Status(200)) > 0);
    assert_eq!(tally.len(), 1, "nothing but 200: {tally:?}");
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_new_router_serves_new_connections() -> anyhow::Result<()> {
    let gateway = Gateway::builder().start().await?;
    let load = load(&gateway, true, Duration::from_millis(2));
    gateway.kill(Role::Router).await?;
    recovered(&gateway).await;
    let tally = load.finish().await;
    println!("{tally:?}");
    assert!(count(&tally, Outcome::Status(200)) > 0, "{tally:?}");
    gateway.stop().await?;
    Ok(())
}

/// Design D5: whatever is lost or late, a protected API is never served without its policy.
#[tokio::test]
async fn a_protected_api_is_never_open_while_processes_restart() -> anyhow::Result<()> {
    const ORDERS: [[Role; 3]; 6] = [
        [Role::Adapter, Role::Enforcer, Role::Router],
        [Role::Adapter, Role::Router, Role::Enforcer],
        [Role::Enforcer, Role::Adapter, Role::Router],
        [Role::Enforcer, Role::Router, Role::Adapter],
        [Role::Router, Role::Adapter, Role::Enforcer],
        [Role::Router, Role::Enforcer, Role::Adapter],
    ];
    let rounds = rounds(3);
    let gateway = Gateway::builder().start().await?;
    let mut total = Tally::new();
    for round in 0..rounds {
        for order in ORDERS {
            // Eight callers with a pause of 40 ms: 200 calls a second.
            let probes = load(&gateway, false, Duration::from_millis(40));
            let before = order.map(|role| gateway.pid(role));
            for role in order {
                gateway.signal(role, Signal::KILL)?;
            }
            eventually("three successors", async || {
                let now = order.map(|role| gateway.facts(role).and_then(|facts| facts.get("pid")?.as_i64()));
                now.iter()
                    .zip(before)
                    .all(|(now, before)| now.is_some_and(|now| now != i64::from(before)))
                    .then_some(())
            })
            .await;
            recovered(&gateway).await;
            for (outcome, count) in probes.finish().await {
                *total.entry(outcome).or_default() += count;
            }
        }
        println!("round {round}: {total:?}");
    }
    assert!(count(&total, Outcome::Status(401)) > 0, "{total:?}");
    let open: Vec<_> = total
        .keys()
        .filter(|outcome| matches!(outcome, Outcome::Status(200..=299)))
        .collect();
    assert_eq!(open, Vec::<&Outcome>::new(), "{total:?}");
    gateway.stop().await?;
    Ok(())
}
