//! Who the caller is, through all three processes: a forged header changes nothing.

use std::time::Duration;

use trireme_harness::{Answer, Gateway};

/// The address that is turned away.
const DENIED: &str =
    "\n[enforcer.throttling]\nenabled = true\n[[enforcer.throttling.deny]]\ntype = 'ip'\nvalue = ";

/// The gateway of `before`, or a new one, with further lines of configuration.
async fn start(lines: &str) -> anyhow::Result<Gateway> {
    let (_, data) = Gateway::builder().start().await?.stop().await?;
    let path = data.path().join("conf/config.toml");
    let written = std::fs::read_to_string(&path)?;
    std::fs::write(&path, written + lines)?;
    Gateway::builder().data(data).start().await
}

/// The sample call, with what a caller claims of its way here.
async fn call(gateway: &Gateway, forwarded_for: &str) -> anyhow::Result<(u16, String)> {
    let sample = &gateway.ready.sample;
    let mut request = gateway.http.get(&sample.url).bearer_auth(&gateway.ready.token);
    if let Some(host) = &sample.host {
        request = request.header("host", host);
    }
    let response = request.header("x-forwarded-for", forwarded_for).send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

#[tokio::test]
async fn a_forged_header_does_not_help_past_a_denial() -> anyhow::Result<()> {
    let gateway = start(&format!("{DENIED}'127.0.0.1'\n")).await?;
    for forged in ["", "198.51.100.1", "198.51.100.1, 127.0.0.2", "::1"] {
        let (status, body) = call(&gateway, forged).await?;
        assert_eq!(status, 403, "{forged}: {body}");
        assert!(body.contains("900805"), "{forged}: {body}");
    }
    drop(gateway.stop().await?);

    // Behind a proxy its word counts, and nothing that stands before it.
    let lines = "\n[router.clientAddress]\ntrustedRanges = ['127.0.0.0/8']\n";
    let gateway = start(&format!("{lines}{DENIED}'198.51.100.0/24'\n")).await?;
    for (header, denied) in [
        ("198.51.100.1", true),
        ("192.0.2.66, 198.51.100.1", true),
        ("192.0.2.66, 198.51.100.1, 127.0.0.9", true),
        ("192.0.2.66, ::ffff:198.51.100.1", true),
        ("198.51.100.1, 192.0.2.66", false),
        ("198.51.100.1, nonsense", false),
        ("", false),
    ] {
        let (status, body) = call(&gateway, header).await?;
        assert_eq!(status == 403, denied, "{header}: {status} {body}");
        assert_eq!(body.contains("900805"), denied, "{header}: {body}");
    }
    drop(gateway.stop().await?);
    Ok(())
}

/// Asks for a test token from an address.
async fn login(gateway: &Gateway, from: &str, password: &str) -> anyhow::Result<Answer> {
    let request = gateway.http.post(format!("{}/testkey", gateway.ready.https));
    let request = request.basic_auth(&gateway.ready.username, Some(password));
    // Whatever the caller says of it itself, too.
    let request = request
        .header("x-forwarded-for", format!("192.0.2.66, {from}"))
        .header("x-trireme-client-address", "192.0.2.67");
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer {
        status,
        headers,
        body: response.text().await?,
    })
}

#[tokio::test]
async fn who_guesses_passwords_for_test_tokens_is_slowed_down() -> anyhow::Result<()> {
    let gateway = start("\n[router.clientAddress]\ntrustedHops = 1\n").await?;
    let credentials = std::fs::read(gateway.data().join("security/credentials.json"))?;
    let credentials: serde_json::Value = serde_json::from_slice(&credentials)?;
    let password = credentials["token_password"].as_str().unwrap_or_default();
    let mut refused = Vec::new();
    for guess in 0..11 {
        refused.push(login(&gateway, "198.51.100.1", &guess.to_string()).await?);
    }
    let last = refused.pop().expect("one");
    assert!(refused.iter().all(|answer| answer.status == 401), "{refused:?}");
    assert_eq!(last.status, 429, "{last:?}");
    let after: u64 = last.header("retry-after").unwrap_or_default().parse()?;
    assert!((1..=6).contains(&after), "{after}");
    let right = login(&gateway, "198.51.100.1", password).await?;
    assert_eq!(right.status, 429, "not even looked at: {right:?}");
    let other = login(&gateway, "198.51.100.2", password).await?;
    assert_eq!(other.status, 200, "{other:?}");
    let bound = Duration::from_secs(30);
    drop(tokio::time::timeout(bound, gateway.stop()).await??);
    Ok(())
}
