//! Limits that projects name, through all three processes.

mod load;
mod redis;

use std::path::Path;
use std::time::{Duration, SystemTime};

use trireme_harness::{Answer, Gateway, Upstream};

use self::redis::Redis;

const BOUND: Duration = Duration::from_secs(30);
/// Exit status of a command whose input is refused.
const REFUSED: Option<i32> = Some(2);

/// Windows of a week, which no test runs into the end of.
const POLICIES: &str = "\n[enforcer.throttling]\nrateLimitFields = true\n[[enforcer.throttling.policy]]\nname = 'Five'\n\
                        quota = 5\ntimeUnit = 'week'\n";

/// A gateway with further lines of configuration.
async fn start(lines: &str) -> anyhow::Result<Gateway> {
    let (_, data) = Gateway::builder().start().await?.stop().await?;
    let path = data.path().join("conf/config.toml");
    let written = std::fs::read_to_string(&path)?;
    std::fs::write(&path, written + lines)?;
    Gateway::builder().data(data).start().await
}

/// Deploys a definition; gives the exit status and what was printed.
async fn deploy(gateway: &Gateway, folder: &Path, definition: &str) -> anyhow::Result<(Option<i32>, String)> {
    let file = folder.join("api.yaml");
    std::fs::write(&file, definition)?;
    let output = gateway
        .trireme(&["deploy", &file.display().to_string()], BOUND)
        .await?;
    let both = [&output.stdout, &output.stderr];
    let text = both.map(|bytes| String::from_utf8_lossy(bytes)).concat();
    Ok((output.status.code(), text))
}

fn definition(upstream: &str, root: &str, operation: &str) -> String {
    format!(
        "openapi: 3.0.3\ninfo: {{ title: Shop, version: '1.0.0' }}\nx-wso2-basePath: /shop\n{root}\n\
         servers: [ {{ url: '{upstream}' }} ]\npaths:\n  /a: {{ get: {{ {operation} responses: {{}} }} }}\n  \
         /b: {{ get: {{ responses: {{}} }} }}\n"
    )
}

async fn five_then_refused(gateway: &Gateway, code: &str) -> anyhow::Result<()> {
    let mut left = Vec::new();
    for call in 0..5 {
        let answer = gateway.get("/shop/a", true).await?;
        assert_eq!(answer.status, 200, "{call}: {answer:?}");
        left.push(answer.header("ratelimit").unwrap_or_default().to_owned());
    }
    for (taken, left) in left.iter().enumerate() {
        assert!(left.contains(&format!(";r={};t=", 4 - taken)), "{left}");
    }
    let answer: Answer = gateway.get("/shop/a", true).await?;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(
        answer.body,
        format!(
            r#"{{"error_message":"Message throttled out","code":"{code}","error_description":"You have exceeded your quota"}}"#
        )
    );
    let until = httpdate::parse_http_date(answer.header("retry-after").unwrap_or_default())?;
    let until = until.duration_since(SystemTime::now())?;
    assert!(until <= Duration::from_secs(7 * 86_400), "{until:?}");
    Ok(())
}

#[tokio::test]
async fn a_tier_of_five_admits_five_and_refuses_the_sixth() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let gateway = start(POLICIES).await?;
    let url = upstream.url();

    // Of an operation: the one beside it goes on.
    let of_operation = definition(&url, "", "x-wso2-throttling-tier: Five,");
    let (status, text) = deploy(&gateway, folder.path(), &of_operation).await?;
    assert_eq!(status, Some(0), "{text}");
    five_then_refused(&gateway, "900802").await?;
    let answer = gateway.get("/shop/b", true).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    // Who is refused for another reason is told that one.
    assert_eq!(gateway.get("/shop/a", false).await?.status, 401);

    // Of the API: all of it. What was counted for the operation is another's.
    let of_api = definition(&url, "x-wso2-throttling-tier: Five", "");
    let (status, text) = deploy(&gateway, folder.path(), &of_api).await?;
    assert_eq!(status, Some(0), "{text}");
    five_then_refused(&gateway, "900800").await?;
    assert_eq!(gateway.get("/shop/b", true).await?.status, 429);

    // A tier that nobody defined refuses the deploy, and what is served stays.
    let undefined = definition(&url, "x-wso2-throttling-tier: Fife", "");
    let (status, text) = deploy(&gateway, folder.path(), &undefined).await?;
    assert_eq!(status, REFUSED, "{text}");
    assert!(
        text.contains("the throttling tier Fife is not defined") && text.contains("the nearest is Five"),
        "{text}"
    );
    assert_eq!(gateway.get("/shop/b", true).await?.status, 429);
    drop(gateway.stop().await?);
    Ok(())
}

#[tokio::test]
async fn counters_in_redis_outlive_the_gateway_and_refuse_without_it() -> anyhow::Result<()> {
    let Some(redis) = Redis::start("hunter2")? else {
        return Ok(());
    };
    let upstream = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let store = format!(
        "{POLICIES}[enforcer.throttling.store]\ntype = 'redis'\nurl = 'redis://127.0.0.1:{}'\npassword = 'hunter2'\n\
         onFailure = 'closed'\ntimeoutInMillis = 5000\n",
        redis.port()
    );
    let gateway = start(&store).await?;
    let limited = definition(&upstream.url(), "x-wso2-throttling-tier: Five", "");
    let (status, text) = deploy(&gateway, folder.path(), &limited).await?;
    assert_eq!(status, Some(0), "{text}");
    five_then_refused(&gateway, "900800").await?;

    let (_, data) = gateway.stop().await?;
    let gateway = Gateway::builder().data(data).start().await?;
    assert_eq!(gateway.get("/shop/a", true).await?.status, 429);

    drop(redis);
    let answer = gateway.get("/shop/a", true).await?;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains(r#""code":"900808""#), "{answer:?}");
    drop(gateway.stop().await?);
    Ok(())
}
