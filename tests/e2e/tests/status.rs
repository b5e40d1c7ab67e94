//! What the adapter says of an API is what a stock Envoy serves of it: names that nobody answers, and clusters that it refuses.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use trireme_harness::{Answer, Beside, Envoy, Gateway, Ports, Role, Upstream, eventually};

/// A name server on loopback: what starts with `silent` it never answers, what starts with `slow` once it may, everything
/// else at once, always with 127.0.0.1. Ends when dropped.
struct Names {
    address: SocketAddr,
    released: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Names {
    async fn start() -> anyhow::Result<Self> {
        let socket = Arc::new(UdpSocket::bind(("127.0.0.1", 0)).await?);
        let address = socket.local_addr()?;
        let (released, mut may) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut waiting: Vec<(Vec<u8>, SocketAddr)> = Vec::new();
            let mut buffer = [0; 1024];
            loop {
                tokio::select! {
                    received = socket.recv_from(&mut buffer) => {
                        let Ok((length, from)) = received else { return };
                        let query = buffer.get(..length).unwrap_or_default().to_vec();
                        let starts = |name: &[u8]| query.get(13..).is_some_and(|asked| asked.starts_with(name));
                        if starts(b"silent") {
                            continue;
                        }
                        if starts(b"slow") && !*may.borrow() {
                            waiting.push((query, from));
                            continue;
                        }
                        // Who asked will ask again.
                        drop(socket.send_to(&answer(&query), from).await);
                    }
                    changed = may.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        for (query, from) in waiting.drain(..) {
                            drop(socket.send_to(&answer(&query), from).await);
                        }
                    }
                }
            }
        });
        Ok(Self {
            address,
            released,
            task,
        })
    }

    fn release(&self) {
        self.released.send_replace(true);
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries connections to the adapter as long as it may. Ends when dropped.
struct Wire {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Wire {
    async fn to(adapter: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (whole, state) = watch::channel(true);
        let task = tokio::spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                if !*state.borrow() {
                    continue;
                }
                carried.spawn(async move {
                    let Ok(mut far) = TcpStream::connect(adapter).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Ok(Self { address, whole, task })
    }

    /// Breaks what is carried and carries nothing more; waits until the adapter has noticed.
    async fn cut(&self, gateway: &Gateway) {
        self.whole.send_replace(false);
        eventually("the end of Envoy's stream", async || {
            (peers(gateway).await.ok()? == 1).then_some(())
        })
        .await;
    }

    /// Carries again; waits until Envoy has come back.
    async fn mend(&self, gateway: &Gateway) {
        self.whole.send_replace(true);
        eventually("Envoy's stream", async || {
            (peers(gateway).await.ok()? == 2).then_some(())
        })
        .await;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How many routers are connected.
async fn peers(gateway: &Gateway) -> anyhow::Result<usize> {
    let url = format!("http://{}/snapshot", gateway.address(Role::Adapter, "admin"));
    let all: Value = serde_json::from_str(&gateway.http.get(url).send().await?.text().await?)?;
    let peers = all.get("peers").and_then(Value::as_array).context("peers")?;
    let group = |peer: &&Value| peer.get("group").is_some_and(|group| group == "cluster/Default");
    Ok(peers.iter().filter(group).count())
}

/// One address for the one question of a query (RFC 1035 section 4.1).
fn answer(query: &[u8]) -> Vec<u8> {
    let question = query.get(12..).unwrap_or_default();
    let name = question.iter().position(|byte| *byte == 0).unwrap_or_default();
    let mut answer = query.get(..2).unwrap_or_default().to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend(question.get(..name + 5).unwrap_or_default());
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    answer
}

/// The endpoint certificate of an API that a router refuses.
const NO_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n";

/// A certificate that is valid from the thirteenth month on, which Envoy refuses to read.
fn odd_certificate(gateway: &Gateway) -> anyhow::Result<String> {
    let pem = std::fs::read(gateway.data().join("security/truststore/ca.pem"))?;
    let mut der = CertificateDer::from_pem_slice(&pem)?.to_vec();
    // UTCTime of thirteen and GeneralizedTime of fifteen characters (RFC 5280 section 4.1.2.5).
    let short = der.windows(2).position(|tag| tag == [0x17, 13]).map(|at| at + 4);
    let long = der.windows(2).position(|tag| tag == [0x18, 15]).map(|at| at + 6);
    let month = short.into_iter().chain(long).min().context("a time")?;
    der.get_mut(month..month + 2)
        .context("a month")?
        .copy_from_slice(b"13");
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    Ok(format!(
        "-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
    ))
}

/// A project at `/<name>/1.0` with one operation, `GET /i`.
fn project(name: &str, endpoint: &str, certificate: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let api = format!(
        "type: api\nversion: v4.2.0\ndata: {{ name: {name}, version: '1.0', context: /{name}, type: HTTP, \
         endpointConfig: {{ production_endpoints: {{ url: '{endpoint}' }} }} }}\n"
    );
    let definition = format!(
        "openapi: 3.0.1\ninfo: {{ title: {name}, version: '1.0' }}\npaths:\n  /i:\n    get: {{ responses: {{ '200': \
         {{ description: ok }} }} }}\n"
    );
    let mut files = vec![("p/api.yaml", api), ("p/Definitions/swagger.yaml", definition)];
    if let Some(certificate) = certificate {
        files.push(("p/Endpoint-certificates/upstream.crt", certificate.to_owned()));
    }
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(name, zip::write::SimpleFileOptions::default())?;
        writer.write_all(content.as_bytes())?;
    }
    Ok(writer.finish()?.into_inner())
}

async fn deploy(gateway: &Gateway, archive: Vec<u8>) -> anyhow::Result<()> {
    let answer = gateway.upload(archive, true).await?;
    anyhow::ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// What the adapter's admin port says of an API.
async fn status(gateway: &Gateway, name: &str) -> anyhow::Result<Value> {
    let url = format!("http://{}/status", gateway.address(Role::Adapter, "admin"));
    let all: Value = serde_json::from_str(&gateway.http.get(url).send().await?.text().await?)?;
    let apis = all.get("apis").and_then(Value::as_array).context("apis")?;
    let found = apis
        .iter()
        .find(|api| api.get("api").is_some_and(|api| api == name));
    Ok(found
        .and_then(|api| api.get("status"))
        .cloned()
        .unwrap_or_default())
}

async fn until(gateway: &Gateway, name: &str, state: &str) -> Value {
    eventually(&format!("{name} {state}"), async || {
        let status = status(gateway, name).await.ok()?;
        (status.get("state")? == state).then_some(status)
    })
    .await
}

/// What the upstream behind an answer saw.
fn target(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    Some(body.get("target")?.as_str()?.to_owned())
}

#[tokio::test]
async fn names_that_nobody_answers_are_named_and_hold_up_nobody_else() -> anyhow::Result<()> {
    let Some(program) = Envoy::program() else {
        return Ok(());
    };
    let (names, upstream) = (Names::start().await?, Upstream::start(Duration::ZERO).await);
    let port = upstream.address().port();
    let ports = Ports::take()?;
    let gateway = ports.configure(Gateway::builder()).start().await?;
    let beside = Beside {
        names: Some(names.address),
        ..Beside::default()
    };
    let envoy = Envoy::start_beside(program, &gateway, ports, beside).await?;

    // Endpoint and path change together: the new path must not go to the old upstream.
    deploy(
        &gateway,
        project("moving", &format!("{}/old", upstream.url()), None)?,
    )
    .await?;
    until(&gateway, "moving", "active").await;
    let before = envoy.get(&gateway, "/moving/1.0/i").await?;
    assert_eq!(target(&before).as_deref(), Some("/old/i"), "{before:?}");
    let slow = format!("http://slow.test:{port}/new");
    deploy(&gateway, project("moving", &slow, None)?).await?;
    let pending = until(&gateway, "moving", "pending").await;
    assert!(pending.to_string().contains("Default (cluster "), "{pending}");
    let meanwhile = envoy.get(&gateway, "/moving/1.0/i").await?;
    assert_eq!(target(&meanwhile).as_deref(), Some("/old/i"), "{meanwhile:?}");
    names.release();
    eventually("the new path", async || {
        let answer = envoy.get(&gateway, "/moving/1.0/i").await.ok()?;
        (target(&answer)? == "/new/i").then_some(())
    })
    .await;
    until(&gateway, "moving", "active").await;

    // A name that is never answered delays others once, by the bound that routes wait for clusters.
    deploy(&gateway, project("silent", "http://silent.test", None)?).await?;
    for (name, bound) in [("first", 20), ("second", 5)] {
        let begun = Instant::now();
        deploy(&gateway, project(name, &upstream.url(), None)?).await?;
        let path = format!("/{name}/1.0/i");
        eventually("an API beside it", async || {
            let answer = envoy.get(&gateway, &path).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        let took = begun.elapsed();
        println!("{name}: {took:?}");
        assert!(took < Duration::from_secs(bound), "{name}: {took:?}");
    }
    let pending = status(&gateway, "silent").await?;
    assert_eq!(
        pending.get("state").and_then(Value::as_str),
        Some("pending"),
        "{pending}"
    );
    assert!(pending.to_string().contains("Default (cluster "), "{pending}");
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_is_refused_is_rejected_also_after_a_restart() -> anyhow::Result<()> {
    let Some(program) = Envoy::program() else {
        return Ok(());
    };
    let upstream = Upstream::start(Duration::ZERO).await;
    let ports = Ports::take()?;
    let gateway = ports.configure(Gateway::builder()).start().await?;
    let envoy = Envoy::start(program.clone(), &gateway, ports).await?;
    deploy(
        &gateway,
        project("yew", &format!("{}/old", upstream.url()), None)?,
    )
    .await?;
    until(&gateway, "yew", "active").await;
    let refused = project("yew", "https://127.0.0.1:1/new", Some(NO_CERTIFICATE))?;
    deploy(&gateway, refused).await?;
    until(&gateway, "yew", "rejected").await;
    eventually("the last good one", async || {
        let answer = envoy.get(&gateway, "/yew/1.0/i").await.ok()?;
        (target(&answer)? == "/old/i").then_some(())
    })
    .await;
    drop(envoy);
    let (_, data) = gateway.stop().await?;

    let ports = Ports::take()?;
    let gateway = ports.configure(Gateway::builder().data(data)).start().await?;
    let envoy = Envoy::start(program, &gateway, ports).await?;
    let rejected = until(&gateway, "yew", "rejected").await;
    assert!(rejected.to_string().contains("refused"), "{rejected}");
    // No good one is known any more: no route may lead to what another revision left behind.
    eventually("no routes", async || {
        let theirs = envoy.get(&gateway, "/yew/1.0/i").await.ok()?;
        let ours = gateway.get("/yew/1.0/i", true).await.ok()?;
        (theirs.status == 404 && ours.status == 404).then_some(())
    })
    .await;

    deploy(
        &gateway,
        project("yew", &format!("{}/good", upstream.url()), None)?,
    )
    .await?;
    until(&gateway, "yew", "active").await;
    eventually("the next good one", async || {
        let answer = envoy.get(&gateway, "/yew/1.0/i").await.ok()?;
        (target(&answer)? == "/good/i").then_some(())
    })
    .await;
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_an_envoy_took_of_a_response_that_it_refused_is_known_when_it_comes_again() -> anyhow::Result<()>
{
    let Some(program) = Envoy::program() else {
        return Ok(());
    };
    let (one, two) = (
        Upstream::start(Duration::ZERO).await,
        Upstream::start(Duration::ZERO).await,
    );
    let ports = Ports::take()?;
    let gateway = ports.configure(Gateway::builder()).start().await?;
    let wire = Wire::to(gateway.address(Role::Adapter, "xds")).await?;
    let beside = Beside {
        adapter: Some(wire.address),
        ..Beside::default()
    };
    let envoy = Envoy::start_beside(program, &gateway, ports, beside).await?;
    let reaches = async |upstream: &Upstream| {
        eventually("the endpoint that is deployed", async || {
            let before = upstream.requests();
            let answer = envoy.get(&gateway, "/yew/1.0/i").await.ok()?;
            (answer.status == 200 && upstream.requests() > before).then_some(())
        })
        .await;
    };
    deploy(&gateway, project("yew", &one.url(), None)?).await?;
    reaches(&one).await;

    wire.cut(&gateway).await;
    let odd = odd_certificate(&gateway)?;
    deploy(&gateway, project("bad", "https://127.0.0.1:1", Some(&odd))?).await?;
    // The router takes it, which doesn't look at that time.
    until(&gateway, "bad", "active").await;
    deploy(&gateway, project("yew", &two.url(), None)?).await?;
    wire.mend(&gateway).await;
    reaches(&two).await;
    let rejected = until(&gateway, "bad", "rejected").await;
    assert!(rejected.to_string().contains("Default refused"), "{rejected}");

    wire.cut(&gateway).await;
    deploy(&gateway, project("yew", &one.url(), None)?).await?;
    wire.mend(&gateway).await;
    reaches(&one).await;
    until(&gateway, "yew", "active").await;
    gateway.stop().await?;
    Ok(())
}
