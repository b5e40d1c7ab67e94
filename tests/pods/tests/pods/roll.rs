//! Gateway pods are replaced one after the other behind a balancer, under load, while every certificate between the processes
//! is exchanged for one of another authority: no request fails.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use trireme_harness::{eventually, rounds};
use trireme_pods::manifest::Objects;
use trireme_pods::{Apictl, Balancer, Cluster, Curl, Engine, Images, Paced, Pod, Secrets, Trust, petstore};

use crate::common::{BOUND, data, profile, tell};

const HOST: &str = "gw.wso2.com";
const PATH: &str = "/v2/pet/findByStatus?status=available";
const ISSUER: &str = "https://apim.wso2.com/oauth2/token";
/// From the moment that a pod is to end until nobody sends new connections to it: nodes learn it one after the other.
const LATE: Duration = Duration::from_secs(2);
/// What one replacement may take, with its rotation.
const ROUND: Duration = Duration::from_secs(180);

/// Calls a second: few by default, or as many as `TRIREME_RATE` says.
fn rate() -> anyhow::Result<u32> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of the tests, no product setting"
    )]
    let rate = std::env::var("TRIREME_RATE");
    rate.map_or(Ok(100), |rate| rate.parse().context("TRIREME_RATE"))
}

/// Verifies the listener's certificate against both authorities.
fn tls(authorities: &[Trust]) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        roots.add(CertificateDer::from_pem_slice(
            authority.certificate().as_bytes(),
        )?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// How often the containers of some pods have taken new certificates.
async fn reloads(pods: &[&Pod]) -> anyhow::Result<Vec<usize>> {
    let mut counts = Vec::new();
    for pod in pods {
        for container in pod.containers() {
            let log = pod.log(container).await?;
            counts.push(log.matches("certificates reloaded").count());
        }
    }
    Ok(counts)
}

/// Puts Secrets in place, and waits until every process has taken them.
async fn exchange(cluster: &Cluster, secrets: &Secrets, pods: &[&Pod]) -> anyhow::Result<()> {
    let before = reloads(pods).await?;
    for (name, data) in secrets.objects() {
        cluster.put_secret(&name, data)?;
    }
    eventually("certificates are taken", async || {
        let now = reloads(pods).await.ok()?;
        let mut pairs = now.iter().zip(&before);
        pairs.all(|(now, before)| now > before).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_and_certificates_are_replaced_and_no_request_fails() -> anyhow::Result<()> {
    let (Some(engine), Some(curl)) = (Engine::find(), Curl::find()) else {
        return Ok(());
    };
    let (rounds, rate) = (rounds(1), rate()?);
    let mut objects = Objects::default();
    objects.folder(&trireme_pods::root()?.join("k8s-artifacts/choreo-connect"))?;
    let authorities = [Trust::new()?, Trust::new()?];
    let mut secrets = Secrets::issued(&authorities[0], HOST)?;
    secrets.put(&mut objects);
    tell(&objects);
    let token = secrets.token(ISSUER, "caller", "read:pets")?;

    let images = Images::build(&engine, &profile()).await?;
    let cluster = Cluster::new(&engine, &images, objects).await?;
    cluster.upstream(&["petstore.swagger.io"], 80).await?;
    let adapter = cluster.start("choreo-connect-adapter").await?;
    let mut pod = cluster.start("choreo-connect-deployment").await?;
    adapter.ready(BOUND).await?;
    pod.ready(BOUND).await?;
    let curl = curl.host("adapter.wso2.com", adapter.address(9843));
    let apictl = Apictl::add_env(&curl, "https://adapter.wso2.com");
    let login = apictl.login("admin", "admin").await?;
    let deployed = apictl
        .deploy(&login, &petstore(&data("petstore"))?, false)
        .await?;
    ensure!(deployed.status == 200, "deploy: {deployed:?}");

    let balancers = [(9095, Balancer::start().await?), (9090, Balancer::start().await?)];
    for (port, balancer) in &balancers {
        balancer.add(pod.address(*port));
    }
    let [(_, secured), (_, plain)] = &balancers;
    let config = tls(&authorities)?;
    // As an ingress calls: over TLS on kept connections; and, a tenth of all, in plain text on a new one each.
    let kept = Paced {
        address: secured.address(),
        host: HOST,
        path: PATH,
        token,
        tls: Some(config),
        rate: rate * 9 / 10,
        connections: 32,
        kept: true,
    };
    let fresh = Paced {
        address: plain.address(),
        tls: None,
        rate: rate / 10,
        connections: 8,
        kept: false,
        ..kept.clone()
    };
    eventually("the API", async || {
        let once = Paced {
            rate: 1,
            connections: 1,
            ..kept.clone()
        };
        (once.one().await == Ok(200)).then_some(())
    })
    .await;

    let bound = ROUND * u32::try_from(rounds)?;
    let under = [("kept", kept.start(bound)), ("fresh", fresh.start(bound))];
    let mut ends = tokio::task::JoinSet::new();
    for round in 0..rounds {
        // Both authorities are trusted, then certificates are of the other, then it alone is trusted.
        let authority = &authorities[(round + 1) % 2];
        let pods = [&adapter, &pod];
        secrets.trust = authorities.each_ref().map(Trust::certificate).concat();
        exchange(&cluster, &secrets, &pods).await?;
        secrets.pairs = Secrets::issued(authority, HOST)?.pairs;
        exchange(&cluster, &secrets, &pods).await?;
        authority.certificate().clone_into(&mut secrets.trust);
        exchange(&cluster, &secrets, &pods).await?;

        let next = cluster.start("choreo-connect-deployment").await?;
        let ready = next.ready(BOUND).await?;
        println!("round {round}: ready after {ready:?}");
        for (port, balancer) in &balancers {
            balancer.add(next.address(*port));
        }
        let old = std::mem::replace(&mut pod, next);
        let addresses = balancers.each_ref().map(|(port, _)| old.address(*port));
        ends.spawn(old.stop());
        tokio::time::sleep(LATE).await;
        for ((_, balancer), address) in balancers.iter().zip(addresses) {
            balancer.remove(address);
        }
    }
    while let Some(ended) = ends.join_next().await {
        for stopped in ended?? {
            println!(
                "{} ended with {} after {:?}",
                stopped.container, stopped.ended.code, stopped.after
            );
            assert_eq!(stopped.ended.code, 0, "{stopped:?}");
        }
    }
    for (name, under) in under {
        let report = under.finish().await;
        println!("{name}: {report}");
        assert_eq!(report.failures(), 0, "{name}: {report}");
        assert!(report.good > 0, "{name}: {report}");
    }
    Ok(())
}
