//! Limits under load, through whole gateways: minutes, so outside CI (`cargo xtask limits`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use reqwest::header::AUTHORIZATION;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use trireme_harness::{Gateway, Upstream};

use super::redis::Redis;
use super::{definition, deploy, start};

const CALLERS: usize = 200;
const PASSWORD: &str = "hunter2";
/// How long a request waits for Redis.
const WAIT: Duration = Duration::from_millis(100);
const TIERS: &str = "\n[enforcer.throttling]\n[[enforcer.throttling.policy]]\nname = 'Ten'\nquota = 10\ntimeUnit = 'sec'\n\
                     [[enforcer.throttling.policy]]\nname = 'Thousands'\nquota = 10000\ntimeUnit = 'min'\n\
                     [[enforcer.throttling.policy]]\nname = 'Millions'\nquota = 1000000000\ntimeUnit = 'week'\n";

fn store(redis: &Redis, mode: &str, on_failure: &str) -> String {
    format!(
        "{TIERS}[enforcer.throttling.store]\ntype = 'redis'\nurl = 'redis://127.0.0.1:{}'\npassword = '{PASSWORD}'\nmode = '{mode}'\n\
         onFailure = '{on_failure}'\ntimeoutInMillis = {}\n",
        redis.port(),
        WAIT.as_millis()
    )
}

/// Gateways with an API `/ten` and one `/thousands`, held to the tiers of these names.
async fn gateways(count: usize, lines: &str, upstream: &str) -> anyhow::Result<Vec<Gateway>> {
    let mut gateways = Vec::new();
    for _ in 0..count {
        let gateway = start(lines).await?;
        for (path, tier) in [
            ("ten", "Ten"),
            ("thousands", "Thousands"),
            ("millions", "Millions"),
        ] {
            let folder = tempfile::tempdir()?;
            let tier = format!("x-wso2-throttling-tier: {tier}");
            let definition = definition(upstream, &tier, "").replace("/shop", &format!("/{path}"));
            let definition = definition.replace("title: Shop", &format!("title: {path}"));
            let (status, text) = deploy(&gateway, folder.path(), &definition).await?;
            anyhow::ensure!(status == Some(0), "{text}");
        }
        gateways.push(gateway);
    }
    Ok(gateways)
}

/// Until a tenth of a second after the next half minute of the wall clock, which no limit's window begins at.
async fn half_minute() -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let minute = Duration::from_secs(60);
    let into = Duration::from_nanos(u64::try_from(now.as_nanos() % minute.as_nanos())?);
    let mark = Duration::from_millis(30_100);
    sleep(if into < mark {
        mark - into
    } else {
        mark + minute - into
    })
    .await;
    Ok(())
}

/// Answers 200 of each API, in a minute and a tenth of a second of calls by all callers to all gateways.
async fn admitted(gateways: &[Gateway], until: Instant) -> anyhow::Result<[u64; 2]> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let gateway = gateways.get(caller % gateways.len()).context("no gateway")?;
        let (http, token) = (gateway.http.clone(), format!("Bearer {}", gateway.ready.token));
        let urls = ["ten", "thousands"].map(|path| format!("{}/{path}/a", gateway.ready.http));
        callers.spawn(async move {
            let mut admitted = [0; 2];
            while Instant::now() < until {
                for (url, admitted) in urls.iter().zip(&mut admitted) {
                    let answer = http.get(url).header(AUTHORIZATION, &token).send().await?;
                    match answer.status().as_u16() {
                        200 => *admitted += 1,
                        429 => {}
                        other => anyhow::bail!("{url}: {other}"),
                    }
                }
            }
            Ok(admitted)
        });
    }
    let mut all = [0; 2];
    while let Some(caller) = callers.join_next().await {
        let [ten, thousands] = caller??;
        all = [all[0] + ten, all[1] + thousands];
    }
    Ok(all)
}

/// In memory with one enforcer, and in one Redis with three. 61 windows of a second and two of a minute are met, each long
/// enough to be used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo xtask limits"]
async fn each_window_admits_what_it_should() -> anyhow::Result<()> {
    let Some(redis) = Redis::start(PASSWORD)? else {
        return Ok(());
    };
    let upstream = Upstream::start(Duration::ZERO).await;
    for (name, count, lines, least) in [
        ("memory, one enforcer", 1, TIERS.to_owned(), 1.0),
        ("ask, three enforcers", 3, store(&redis, "ask", "closed"), 1.0),
        (
            "lease, three enforcers",
            3,
            store(&redis, "lease", "closed"),
            0.99,
        ),
    ] {
        let gateways = gateways(count, &lines, &upstream.url()).await?;
        half_minute().await?;
        let got = admitted(&gateways, Instant::now() + Duration::from_millis(60_100)).await?;
        println!(
            "{name}: {} of 610 at 10/s, {} of 20000 at 10000/min",
            got[0], got[1]
        );
        for (got, most) in got.into_iter().zip([610_u32, 20_000]) {
            assert!(got <= u64::from(most), "{name}: {got} of {most}");
            assert!(got as f64 >= f64::from(most) * least, "{name}: {got} of {most}");
        }
        for gateway in gateways {
            drop(gateway.stop().await?);
        }
    }
    Ok(())
}

/// What callers see while Redis is in some state.
#[derive(Debug, Default)]
struct Seen {
    admitted: u64,
    unavailable: u64,
    longest: Duration,
    /// When the last answer came that was not 200, since the beginning.
    last_refused: Duration,
}

async fn seen(gateway: &Gateway, length: Duration) -> anyhow::Result<Seen> {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    let url: Arc<str> = format!("{}/millions/a", gateway.ready.http).into();
    for _ in 0..20 {
        let (http, token) = (gateway.http.clone(), format!("Bearer {}", gateway.ready.token));
        let url = Arc::clone(&url);
        callers.spawn(async move {
            let mut seen = Seen::default();
            let mut next = begun;
            while next < begun + length {
                sleep_until(next).await;
                next += Duration::from_millis(50);
                let asked = Instant::now();
                let answer = http.get(&*url).header(AUTHORIZATION, &token).send().await?;
                seen.longest = seen.longest.max(asked.elapsed());
                match answer.status().as_u16() {
                    200 => seen.admitted += 1,
                    503 => {
                        seen.unavailable += 1;
                        seen.last_refused = begun.elapsed();
                        anyhow::ensure!(answer.text().await?.contains("900808"), "another 503");
                    }
                    other => anyhow::bail!("{other}"),
                }
            }
            Ok(seen)
        });
    }
    let mut all = Seen::default();
    while let Some(caller) = callers.join_next().await {
        let seen = caller??;
        all.admitted += seen.admitted;
        all.unavailable += seen.unavailable;
        all.longest = all.longest.max(seen.longest);
        all.last_refused = all.last_refused.max(seen.last_refused);
    }
    Ok(all)
}

/// Redis killed and started again, stopped and continued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo xtask limits"]
async fn redis_away_is_as_configured_and_back_within_a_second() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let length = Duration::from_secs(5);
    for mode in ["ask", "lease"] {
        for on_failure in ["closed", "open"] {
            let Some(mut redis) = Redis::start(PASSWORD)? else {
                return Ok(());
            };
            let gateways = gateways(1, &store(&redis, mode, on_failure), &upstream.url()).await?;
            let gateway = gateways.first().context("no gateway")?;
            let usual = seen(gateway, length).await?;
            println!("{mode}, {on_failure}: usual: {usual:?}");
            assert_eq!(usual.unavailable, 0);
            for away in ["killed", "stopped"] {
                if away == "killed" {
                    redis.kill();
                } else {
                    redis.signal(Signal::STOP)?;
                }
                // A slice that is held goes on for a while.
                let during = seen(gateway, length).await?;
                println!("{mode}, {on_failure}: {away}: {during:?}");
                if on_failure == "open" {
                    assert_eq!(during.unavailable, 0);
                } else {
                    assert!(during.unavailable > 0 || mode == "lease", "{during:?}");
                }
                assert!(
                    during.longest < usual.longest + WAIT + Duration::from_millis(50),
                    "{during:?}"
                );
                if away == "killed" {
                    redis.restart()?;
                } else {
                    redis.signal(Signal::CONT)?;
                }
                let back = seen(gateway, length).await?;
                println!("{mode}, {on_failure}: back: {back:?}");
                assert!(back.last_refused < Duration::from_secs(1), "{back:?}");
            }
            for gateway in gateways {
                drop(gateway.stop().await?);
            }
        }
    }
    Ok(())
}
