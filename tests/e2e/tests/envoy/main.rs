//! The router and a stock Envoy, driven by the same adapter and enforcer, give the same answers to the same bytes.
//!
//! Everything is compared: status, headers, body, and what the upstream saw. What may differ is listed here with its reason.

mod answers;
mod apis;
mod bytes;
mod case;
mod requests;
mod soap;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use trireme_harness::{Envoy, Gateway, GatewayBuilder, Ports, Raw, Role, Upstream};

use crate::answers::Scripted;
use crate::case::{Case, Observed, Over, difference, get};
struct Both {
    gateway: Gateway,
    envoy: Envoy,
    upstreams: [Upstream; 2],
    _scripted: Scripted,
    _folder: tempfile::TempDir,
}

impl Both {
    /// `None`, said loudly, without Envoy.
    async fn start(builder: GatewayBuilder) -> anyhow::Result<Option<Self>> {
        let Some(program) = Envoy::program() else {
            return Ok(None);
        };
        let upstream = Upstream::start(Duration::ZERO).await;
        let slow = Upstream::start(Duration::from_secs(5)).await;
        let scripted = Scripted::start().await?;
        let folder = tempfile::tempdir()?;
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().context("parent")?)?;
            let text = text.replace("UPSTREAM", &upstream.url());
            let text = text.replace("SCRIPTED", &scripted.address.to_string());
            std::fs::write(&path, text.replace("SLOW", &slow.url()))?;
            anyhow::Ok(path)
        };
        let (shop, sand) = (
            write("shop.yaml", apis::DEFINITION)?,
            write("sand.yaml", apis::SAND)?,
        );
        for (folder, files) in [("plain", apis::PLAIN), ("bare", apis::BARE)] {
            for (name, text) in files {
                write(&format!("{folder}/{name}"), text)?;
            }
        }
        let ports = Ports::take()?;
        let builder = builder
            .api(shop)
            .api(sand)
            .api(folder.path().join("plain"))
            .api(folder.path().join("bare"));
        let gateway = ports.configure(builder).start().await?;
        let envoy = Envoy::start(program, &gateway, ports).await?;
        trireme_harness::eventually("the APIs in both", async || {
            for path in ["/shop/1.0/items/7", "/plain/items/7", "/bare/x"] {
                let theirs = envoy.get(&gateway, path).await.ok()?;
                let ours = gateway.get(path, true).await.ok()?;
                (theirs.status == 200 && ours.status == 200).then_some(())?;
            }
            Some(())
        })
        .await;
        Ok(Some(Self {
            gateway,
            envoy,
            upstreams: [upstream, slow],
            _scripted: scripted,
            _folder: folder,
        }))
    }

    fn router(&self) -> SocketAddr {
        self.gateway.address(Role::Router, "http")
    }

    /// Has both answer the cases, over each protocol that can say them, and counts the calls.
    async fn compare(&self, cases: impl Iterator<Item = &Case>) -> anyhow::Result<u32> {
        let token = self.gateway.token("some").await?;
        let (mut calls, mut differences) = (0_u32, Vec::new());
        for case in cases {
            let protocols: &[Over] = match case.http2 {
                true => &[Over::Http1, Over::Http2],
                false => &[Over::Http1],
            };
            for over in protocols {
                let ours = self.ask(case, over, self.router(), &token).await?;
                let theirs = self.ask(case, over, self.envoy.address(), &token).await?;
                differences.extend(difference(case, over, &ours, &theirs));
                calls += 1;
            }
        }
        assert!(
            differences.is_empty(),
            "{} differ\n{}",
            differences.len(),
            differences.join("\n")
        );
        Ok(calls)
    }

    async fn ask(
        &self,
        case: &Case,
        over: &Over,
        address: SocketAddr,
        token: &str,
    ) -> anyhow::Result<Observed> {
        let observed = match over {
            Over::Http2 => self.observe(case.http2(address, token)).await,
            Over::Both | Over::Http1 => self.observe(case.http1(address, token)).await,
        };
        observed.context(case.name)
    }

    async fn observe(&self, call: impl Future<Output = anyhow::Result<Raw>>) -> anyhow::Result<Observed> {
        let requests = || self.upstreams.iter().map(Upstream::requests).sum::<u64>();
        let before = requests();
        let raw = call.await?;
        Ok(Observed {
            raw,
            reached: requests() - before,
        })
    }
}

#[tokio::test]
async fn a_stock_envoy_gives_the_same_answers() -> anyhow::Result<()> {
    let Some(both) = Both::start(Gateway::builder()).await? else {
        return Ok(());
    };
    let calls = both.compare(requests::REQUESTS.iter()).await?;
    println!("{calls} calls compared");
    both.gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_stock_envoy_gives_the_same_answers_to_odd_bytes() -> anyhow::Result<()> {
    let Some(both) = Both::start(Gateway::builder()).await? else {
        return Ok(());
    };
    let answers = answers::ANSWERS.iter().map(|answer| &answer.case);
    let calls = both.compare(bytes::BYTES.iter().chain(answers)).await?;
    println!("{calls} calls compared");
    both.gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn soap_faults_through_a_stock_envoy() -> anyhow::Result<()> {
    let faults = Gateway::builder().env("CC_ADAPTER_SOAPERRORINXMLENABLED", "true");
    let Some(both) = Both::start(faults).await? else {
        return Ok(());
    };
    both.compare(soap::SOAP.iter()).await?;
    let token = both.gateway.token("some").await?;
    let case = soap::SOAP.first().context("cases")?;
    let ours = both.ask(case, &Over::Http1, both.router(), &token).await?;
    assert!(ours.raw.body.starts_with("<?xml"), "{ours:?}");
    both.gateway.stop().await?;
    Ok(())
}

/// Calls of the gateway's own pages, and of an API below another, which no API takes.
const SYSTEM: [&str; 4] = ["plain", "health", "ready", "test tokens without a password"];

#[tokio::test]
async fn system_routes_through_a_stock_envoy() -> anyhow::Result<()> {
    let generator = Gateway::builder().env("CC_ENFORCER_JWTGENERATOR_ENABLED", "true");
    // An API that would have everything.
    let root = Upstream::start(Duration::ZERO).await;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("root.yaml");
    std::fs::write(&file, apis::ROOT.replace("UPSTREAM", &root.url()))?;
    let Some(both) = Both::start(generator.api(file)).await? else {
        return Ok(());
    };
    let token = both.gateway.token("some").await?;
    let at_root = get("the API at the root", "/elsewhere", 200);
    for address in [both.router(), both.envoy.address()] {
        let observed = both.observe(at_root.http1(address, &token)).await?;
        assert_eq!(observed.raw.status, 200, "{observed:?}");
    }
    let before = root.requests();
    let own = requests::REQUESTS
        .iter()
        .filter(|case| SYSTEM.contains(&case.name));
    assert_eq!(both.compare(own).await?, 2 * u32::try_from(SYSTEM.len())?);

    let mut keys = Vec::new();
    for address in [both.router(), both.envoy.address()] {
        let request = "GET /.wellknown/jwks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = both.observe(Raw::http1(address, request.as_bytes())).await?;
        assert_eq!(answer.raw.status, 200, "{answer:?}");
        keys.push(answer);
    }
    let [ours, theirs] = keys.as_slice() else {
        anyhow::bail!("two answers");
    };
    assert_eq!(ours.comparable(true), theirs.comparable(true));

    // Test tokens differ; each must open an API behind the other.
    let credentials = std::fs::read(both.gateway.data().join("security/credentials.json"))?;
    let credentials: Value = serde_json::from_slice(&credentials)?;
    let password = credentials.get("token_password").and_then(Value::as_str);
    let addresses = [both.router(), both.envoy.address()];
    let [router, envoy] = addresses;
    let mut seen = Vec::new();
    for (issuer, server) in [(router, envoy), (envoy, router)] {
        let request = both.gateway.http.post(format!("http://{issuer}/testkey"));
        let request = request.header("host", "localhost").form(&[("scope", "some")]);
        let answer = request
            .basic_auth(&both.gateway.ready.username, password)
            .send()
            .await?;
        assert_eq!(answer.status(), 200, "{issuer}");
        let token = answer.text().await?;
        let case = get("token of the other", "/shop/1.0/items/7", 200);
        let observed = both.observe(case.http1(server, &token)).await?;
        assert_eq!(observed.raw.status, case.want, "{observed:?}");
        let body: Value = serde_json::from_str(&observed.raw.body)?;
        let headers = body.get("headers").and_then(Value::as_object).cloned();
        let names: Vec<String> = headers.context("headers")?.keys().cloned().collect();
        seen.push(names);
    }
    assert_eq!(seen.first(), seen.last(), "headers that the upstream saw");
    assert_eq!(
        root.requests(),
        before,
        "nothing of that is for the API at the root"
    );
    both.gateway.stop().await?;
    Ok(())
}

/// What both can say of a call alike, behind the address that tells who says it.
const LINE: &str = "%DOWNSTREAM_LOCAL_ADDRESS% %REQ(:METHOD)% \
    %DYNAMIC_METADATA(envoy.filters.http.ext_authz:originalPath)% %REQ_WITHOUT_QUERY(:PATH)% %PROTOCOL% %RESPONSE_CODE% \
    %RESPONSE_FLAGS% %BYTES_RECEIVED% '%REQ(X-FORWARDED-FOR)%' '%REQ(USER-AGENT)%' '%REQ(:AUTHORITY)%' '%UPSTREAM_HOST%'";

const LOGGED: [&str; 12] = [
    "plain",
    "query",
    "encoded space",
    "resource with an upstream of its own",
    "chunked body",
    "unknown path of the API",
    "no token",
    "what the caller may not choose",
    "OPTIONS",
    "forwarding headers",
    "upstream that is down",
    "upstream that is slow",
];

#[tokio::test]
async fn a_stock_envoy_writes_the_same_access_log() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let log = data.path().join("access.log");
    let text = format!("[accessLogs]\nenable = true\nlogfile = {log:?}\nformat = \"{LINE}\\n\"\n");
    std::fs::create_dir(data.path().join("conf"))?;
    std::fs::write(data.path().join("conf/log_config.toml"), text)?;
    let Some(both) = Both::start(Gateway::builder().data(data)).await? else {
        return Ok(());
    };
    let all = requests::REQUESTS.iter();
    let logged = || all.clone().filter(|case| LOGGED.contains(&case.name));
    assert_eq!(logged().count(), LOGGED.len());
    let (first, last) = (get("", "/first", 404), get("", "/last", 404));
    let cases = [&first].into_iter().chain(logged()).chain([&last]);
    both.compare(cases).await?;
    let read = |address: SocketAddr| -> Option<Vec<String>> {
        let text = std::fs::read_to_string(&log).ok()?;
        let own = format!("{address} ");
        let lines = text.lines().filter_map(|line| line.strip_prefix(&own));
        let lines = lines
            .skip_while(|line| !line.contains("/first"))
            .map(str::to_owned);
        let lines: Vec<_> = lines.collect();
        let ends = lines.iter().filter(|line| line.contains("/last")).count();
        (ends == 2).then_some(lines)
    };
    // Envoy writes every ten seconds.
    let (ours, theirs) = trireme_harness::eventually("the last lines", async || {
        read(both.router()).zip(read(both.envoy.address()))
    })
    .await;
    assert_eq!(ours, theirs);
    both.gateway.stop().await?;
    Ok(())
}
