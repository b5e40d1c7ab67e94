//! The whole process, over real connections: discovery in, checks and tokens out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::SystemTime;

use futures_util::StreamExt;
use prost::Message;
use prost::bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Server};
use tonic::{Code, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use trireme_config::Env;
use trireme_policy::api::Revision;
use trireme_policy::encode;
use trireme_policy::{ApiPolicy, Settings};
use trireme_proto::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use trireme_proto::envoy::service::auth::v3::check_response::HttpResponse;
use trireme_proto::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use trireme_proto::names::type_url;
use trireme_proto::trireme::auth::v1::check_stream_client::CheckStreamClient;
use trireme_proto::trireme::auth::v1::{Check, CheckBatch, VerdictBatch};
use trireme_tls::channel::{self, Target};
use trireme_tls::serve::incoming;
use trireme_tls::{ClientAuth, GRPC_ALPN, Material, Settings as TlsSettings};
use trireme_xds::Resource;
use trireme_xds::server::{self, Cache};

use super::bench::request;
use super::fixture::*;
use super::limits::limited;
use crate::app::{self, Config, Running};

const LABEL: &str = "Default";

/// An adapter's discovery and an enforcer that subscribes to it.
struct Gateway {
    cache: Cache,
    xds: SocketAddr,
    stop: CancellationToken,
    state: TempDir,
    enforcer: Running,
}

fn material(name: &str) -> Material {
    Material::load(TlsSettings {
        key: path(&format!("{name}.key")),
        certificate: path(&format!("{name}.pem")),
        trust: vec![KEYS.authority.certificate_path()],
        ..Default::default()
    })
    .unwrap()
}

fn environment(xds: SocketAddr, state: &TempDir) -> Config {
    let pairs = [
        ("ADAPTER_HOST", "127.0.0.1".to_owned()),
        ("ADAPTER_HOST_NAME", "localhost".to_owned()),
        ("ADAPTER_XDS_PORT", xds.port().to_string()),
        ("ENFORCER_LABEL", LABEL.to_owned()),
        ("ENFORCER_PRIVATE_KEY_PATH", text("ours.key")),
        ("ENFORCER_PUBLIC_CERT_PATH", text("ours.pem")),
        (
            "TRUSTED_CA_CERTS_PATH",
            KEYS.authority.certificate_path().to_str().unwrap().to_owned(),
        ),
        ("TRUST_DEFAULT_CERTS", "false".to_owned()),
        ("TRIREME_ENFORCER_GRPC_BIND", "127.0.0.1:0".to_owned()),
        ("TRIREME_ENFORCER_REST_BIND", "127.0.0.1:0".to_owned()),
        ("TRIREME_ENFORCER_ADMIN_BIND", "127.0.0.1:0".to_owned()),
        ("TRIREME_STATE_DIR", state.path().to_str().unwrap().to_owned()),
        (
            "TRIREME_BOUND_FILE",
            state.path().join("bound.json").to_str().unwrap().to_owned(),
        ),
        ("TRIREME_WORKERS", "2".to_owned()),
        ("PASSWORD", "secret".to_owned()),
    ];
    Config::read(Env::from_iter(pairs)).unwrap()
}

impl Gateway {
    async fn start() -> Self {
        let cache = Cache::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let xds = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let service = server::service(cache.clone(), |node, type_url| match type_url {
            type_url::CONFIG => Ok("config".to_owned()),
            _ => Ok(format!("api/{}", node.id)),
        });
        let incoming = incoming(
            listener,
            material("theirs").acceptor(ClientAuth::Required, GRPC_ALPN),
        );
        let served = Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        tokio::spawn(served);
        let state = tempfile::tempdir().unwrap();
        let enforcer = app::build(environment(xds, &state)).await.unwrap();
        Self {
            cache,
            xds,
            stop,
            state,
            enforcer,
        }
    }

    /// With settings and the usual API.
    async fn ready() -> Self {
        let gateway = Self::start().await;
        gateway.publish_settings(&test_settings());
        gateway.publish(&[policy()], &[]);
        timeout(BOUND, gateway.enforcer.wait_ready()).await.unwrap();
        gateway
    }

    fn publish_settings(&self, settings: &Settings) -> u64 {
        let version = format!("{:?}", SystemTime::now());
        let resource = Resource::new("Config", version, encode::settings(settings));
        let version = self
            .cache
            .apply("config", type_url::CONFIG, vec![resource], Vec::new());
        self.cache.seal("config", type_url::CONFIG);
        version
    }

    fn publish(&self, policies: &[ApiPolicy], removals: &[String]) -> u64 {
        let resources = policies
            .iter()
            .map(|policy| Resource::new(policy.name(), policy.revision.to_string(), encode::api(policy)));
        let group = format!("api/{LABEL}");
        let version = self
            .cache
            .apply(&group, type_url::API, resources.collect(), removals.to_vec());
        self.cache.seal(&group, type_url::API);
        version
    }

    async fn settled(&self, version: u64) -> server::Settled {
        self.cache
            .settled(&format!("api/{LABEL}"), type_url::API, version, BOUND)
            .await
    }

    fn channel(&self, name: &str) -> Channel {
        channel(self.enforcer.grpc, name)
    }

    async fn check(&self, request: CheckRequest) -> Result<CheckResponse, tonic::Status> {
        let mut client = AuthorizationClient::new(self.channel("ours"));
        timeout(BOUND, client.check(request))
            .await
            .unwrap()
            .map(tonic::Response::into_inner)
    }

    async fn admin(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.enforcer.admin))
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn end(self) {
        timeout(BOUND, self.enforcer.drain()).await.unwrap();
        self.stop.cancel();
    }
}

fn channel(address: SocketAddr, name: &str) -> Channel {
    let target = Target {
        host: "127.0.0.1".to_owned(),
        port: address.port(),
        server_name: "localhost".to_owned(),
    };
    channel::channel(target, material(name).connector(GRPC_ALPN))
}

/// Settings whose password is looked up in the enforcer's environment.
fn test_settings() -> Settings {
    let mut settings = settings();
    settings.test_issuer.users[0].password = "$env{PASSWORD}".to_owned();
    settings.test_issuer.users.truncate(1);
    settings
}

/// A token that is good by the clock.
fn current_token() -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let times = serde_json::json!({ "exp": now + 600, "nbf": now - 60 });
    token(&KEYS.ours, &header(), &changed(&times))
}

/// The request with a context extension changed.
fn with(mut request: CheckRequest, key: &str, value: &str) -> CheckRequest {
    let context = request.attributes.as_mut().unwrap();
    context
        .context_extensions
        .insert(key.to_owned(), value.to_owned());
    request
}

/// 200 for an admission, else the status of the refusal.
fn status(response: &CheckResponse) -> i32 {
    match response.http_response.as_ref().unwrap() {
        HttpResponse::OkResponse(_) => 200,
        HttpResponse::DeniedResponse(denied) => denied.status.as_ref().unwrap().code,
        HttpResponse::ErrorResponse(_) => panic!("an error response is never sent"),
    }
}

/// A check stream in use.
struct Batches {
    requests: mpsc::Sender<CheckBatch>,
    verdicts: Streaming<VerdictBatch>,
}

impl Batches {
    async fn open(channel: Channel) -> Self {
        let (requests, receiver) = mpsc::channel(8);
        let verdicts = CheckStreamClient::new(channel)
            .check(ReceiverStream::new(receiver))
            .await
            .unwrap()
            .into_inner();
        Self { requests, verdicts }
    }

    async fn send(&self, checks: &[(u64, Bytes)]) {
        let checks = checks
            .iter()
            .map(|(id, request)| Check {
                id: *id,
                request: request.clone(),
            })
            .collect();
        self.requests
            .send(CheckBatch {
                checks,
                ..CheckBatch::default()
            })
            .await
            .unwrap();
    }

    /// The next batch: status by id, gRPC codes as negative numbers.
    async fn next(&mut self) -> Option<BTreeMap<u64, i32>> {
        let batch = timeout(BOUND, self.verdicts.next()).await.unwrap()?.unwrap();
        let verdict = |answer: trireme_proto::trireme::auth::v1::Verdict| match answer.grpc_status {
            0 => (
                answer.id,
                status(&CheckResponse::decode(answer.response).unwrap()),
            ),
            code => (answer.id, -code),
        };
        Some(batch.verdicts.into_iter().map(verdict).collect())
    }
}

fn bytes(request: &CheckRequest) -> Bytes {
    request.encode_to_vec().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_decided_before_configuration_and_apis_are_there() {
    let gateway = Gateway::start().await;
    let mut health = HealthClient::new(gateway.channel("ours"));
    let probe = || HealthCheckRequest {
        service: "any".to_owned(),
    };
    let serving =
        |response: tonic::Response<tonic_health::pb::HealthCheckResponse>| response.into_inner().status == 1;
    assert!(!serving(health.check(probe()).await.unwrap()));
    assert_eq!(
        gateway.check(request(&current_token())).await.unwrap_err().code(),
        Code::Unavailable
    );
    let mut batches = Batches::open(gateway.channel("ours")).await;
    batches.send(&[(7, bytes(&request(&current_token())))]).await;
    assert_eq!(batches.next().await.unwrap(), BTreeMap::from([(7, -14)]));
    assert_eq!(gateway.admin("/live").await.0, 200);
    let missing = "not ready: configuration, first set of APIs\n".to_owned();
    assert_eq!(gateway.admin("/ready").await, (503, missing));
    let mut watch = health.watch(probe()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 2);

    // APIs alone are not enough, nor is an API that can't be checked yet an unknown one.
    gateway.publish(&[policy()], &[]);
    gateway.publish_settings(&test_settings());
    timeout(BOUND, gateway.enforcer.wait_ready()).await.unwrap();
    assert_eq!(
        timeout(BOUND, watch.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .status,
        1
    );
    assert!(serving(health.check(probe()).await.unwrap()));
    assert_eq!(gateway.admin("/ready").await, (200, "ready\n".to_owned()));
    let answer = gateway.check(request(&current_token())).await.unwrap();
    assert_eq!(status(&answer), 200);
    // A new revision goes on with what was counted.
    gateway.publish(&[policy_with(|policy| policy.revision.counter += 1)], &[]);
    let answer = gateway.check(request("nonsense")).await.unwrap();
    assert_eq!(status(&answer), 401);
    let (_, metrics) = gateway.admin("/metrics").await;
    let api = policy().name();
    for line in [
        format!("trireme_enforcer_verdicts_total{{api=\"{api}\",verdict=\"admitted\",reason=\"\"}} 1"),
        format!(
            "trireme_enforcer_verdicts_total{{api=\"{api}\",verdict=\"denied\",reason=\"no_credentials\"}} 1"
        ),
    ] {
        assert!(metrics.contains(&line), "{metrics}");
    }
    assert!(
        metrics.contains("trireme_enforcer_checks_total{verdict=\"admitted\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("trireme_enforcer_checks_total{verdict=\"failed\"} 2"),
        "{metrics}"
    );
    assert!(metrics.contains("trireme_discovery_connected 1"), "{metrics}");
    assert!(
        metrics.contains("trireme_tls_certificate_expiry_seconds 1"),
        "{metrics}"
    );
    let (_, snapshot) = gateway.admin("/snapshot").await;
    let snapshot: Value = serde_json::from_str(&snapshot).unwrap();
    assert_eq!(snapshot["apis"][0]["revision"], "10.6");
    let bound: Value =
        serde_json::from_slice(&std::fs::read(gateway.state.path().join("bound.json")).unwrap()).unwrap();
    assert_eq!(bound["grpc"], gateway.enforcer.grpc.to_string());
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_answered_without_waiting_for_those_that_wait() {
    let gateway = Gateway::ready().await;
    let mut batches = Batches::open(gateway.channel("ours")).await;
    let good = request(&current_token());
    let ahead = with(good.clone(), "trireme.revision", "10.6");
    let never = with(good.clone(), "trireme.revision", "11.0");
    let unknown = with(good.clone(), "basePath", "/cats");
    batches
        .send(&[
            (1, bytes(&good)),
            (2, bytes(&ahead)),
            (3, bytes(&request("x.y.z"))),
            (4, bytes(&unknown)),
            (5, Bytes::from_static(b"\xff")),
            (6, bytes(&with(good.clone(), "trireme.revision", "new"))),
            (7, bytes(&never)),
        ])
        .await;
    let now = BTreeMap::from([(1, 200), (3, 401), (5, -3), (6, -3)]);
    assert_eq!(batches.next().await.unwrap(), now);
    // The next batch isn't held up either.
    batches.send(&[(8, bytes(&good))]).await;
    assert_eq!(batches.next().await.unwrap(), BTreeMap::from([(8, 200)]));
    let mut newer = policy();
    newer.revision.counter = 6;
    gateway.publish(&[newer], &[]);
    assert_eq!(batches.next().await.unwrap(), BTreeMap::from([(2, 200)]));
    let mut in_vain = batches.next().await.unwrap();
    while in_vain.len() < 2 {
        in_vain.extend(batches.next().await.unwrap());
    }
    assert_eq!(in_vain, BTreeMap::from([(4, 404), (7, 503)]));
    // What the unary call says of the same.
    assert_eq!(status(&gateway.check(never).await.unwrap()), 503);
    assert_eq!(status(&gateway.check(unknown).await.unwrap()), 404);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_resource_is_named_and_the_others_apply() {
    let gateway = Gateway::ready().await;
    let mut cats = policy_with(|policy| {
        policy.base_path = "/cats".to_owned();
        policy.revision = Revision {
            epoch: 10,
            counter: 6,
        };
    });
    let dogs = policy_with(|policy| {
        policy.base_path = "/dogs".to_owned();
        policy.mocked = true;
    });
    let settled = gateway
        .settled(gateway.publish(&[cats.clone(), dogs.clone()], &[]))
        .await;
    let rejection = settled.rejection_of(&dogs.name()).unwrap();
    assert_eq!(rejection.reason, "isMockedApi: mock APIs are not supported yet");
    assert_eq!(settled.rejections().len(), 1);
    let good = request(&current_token());
    let to = |base: &str| with(with(good.clone(), "basePath", base), "trireme.revision", "10.6");
    assert_eq!(status(&gateway.check(to("/cats")).await.unwrap()), 200);
    assert_eq!(status(&gateway.check(to("/dogs")).await.unwrap()), 404);
    // A bad revision of a good one leaves the good one in force.
    cats.mocked = true;
    cats.revision.counter = 7;
    let settled = gateway.settled(gateway.publish(&[cats.clone()], &[])).await;
    assert!(settled.rejection_of(&cats.name()).is_some());
    assert_eq!(status(&gateway.check(to("/cats")).await.unwrap()), 200);
    // Bad settings leave the good ones in force.
    let mut settings = test_settings();
    settings.test_issuer.users[0].password = "$env{NOT_SET}".to_owned();
    let version = gateway.publish_settings(&settings);
    let settled = gateway
        .cache
        .settled("config", type_url::CONFIG, version, BOUND)
        .await;
    let reason = &settled.rejection_of("Config").unwrap().reason;
    assert_eq!(
        reason,
        "jwtIssuer.jwt_users[0].password: the environment variable NOT_SET is not set"
    );
    let settled = gateway.settled(gateway.publish(&[], &[cats.name()])).await;
    assert!(settled.rejection_of(&cats.name()).is_none());
    assert_eq!(status(&gateway.check(to("/cats")).await.unwrap()), 404);
    assert_eq!(status(&gateway.check(good).await.unwrap()), 200);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_token_is_issued_and_opens_the_api() {
    let gateway = Gateway::ready().await;
    let rest = |certificate: bool| {
        let ca = reqwest::Certificate::from_pem(KEYS.authority.certificate().as_bytes()).unwrap();
        let mut builder = reqwest::Client::builder().tls_certs_only([ca]);
        if certificate {
            let pem = format!("{}{}", KEYS.theirs.certificate, KEYS.theirs.key);
            builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
        }
        builder.build().unwrap()
    };
    let url = |path: &str| format!("https://localhost:{}{path}", gateway.enforcer.rest.port());
    assert!(
        rest(false).post(url("/testkey")).send().await.is_err(),
        "no certificate, no answer"
    );
    let client = rest(true);
    let response = client
        .post(url("/testkey"))
        .basic_auth("admin", Some("secret"))
        .body("scope=read+write%3Apets")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain");
    let token = response.text().await.unwrap();
    let part = |index: usize| -> Value {
        use base64::Engine;
        let text = token.split('.').nth(index).unwrap();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text)
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    assert_eq!((&header["alg"], &header["typ"]), (&"RS256".into(), &"JWT".into()));
    assert_eq!(header["x5t"].as_str().unwrap().len(), 27);
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], "http://org.wso2.apimgt/gateway");
    assert_eq!(
        (&claims["sub"], &claims["keytype"]),
        (&"admin".into(), &"PRODUCTION".into())
    );
    assert_eq!(claims["scope"], "read write:pets");
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        3600
    );
    assert_eq!(status(&gateway.check(request(&token)).await.unwrap()), 200);

    for (user, password) in [
        ("admin", "wrong"),
        ("admin", ""),
        ("admin", "$env{PASSWORD}"),
        ("other", "secret"),
    ] {
        let response = client
            .post(url("/testkey"))
            .basic_auth(user, Some(password))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 401, "{user} {password}");
        let text = response.text().await.unwrap();
        assert_eq!(
            text,
            "Wrong username or password. Please provide valid credentials."
        );
    }
    let without = client.get(url("/testkey")).send().await.unwrap();
    assert_eq!(without.status(), 401);
    let bearer = client.get(url("/testkey")).bearer_auth("x").send().await.unwrap();
    assert_eq!(bearer.status(), 401);
    let garbage = client
        .get(url("/testkey"))
        .header("authorization", "Basic %%%")
        .send()
        .await
        .unwrap();
    assert_eq!(garbage.status(), 400);
    // The generator is off, so no keys are published, and there is nothing else.
    assert_eq!(client.get(url("/jwks")).send().await.unwrap().status(), 404);
    assert_eq!(client.get(url("/")).send().await.unwrap().status(), 404);

    let mut settings = test_settings();
    settings.generator.enabled = true;
    settings.generator.keypairs = vec![trireme_policy::settings::Keypair {
        certificate_path: text("ours.pem"),
        key_path: String::new(),
        signs: true,
    }];
    let version = gateway.publish_settings(&settings);
    gateway
        .cache
        .settled("config", type_url::CONFIG, version, BOUND)
        .await;
    let keys: Value = client
        .get(url("/jwks"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(keys["keys"][0]["kty"], "RSA");
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_need_a_certificate_of_the_installation() {
    let gateway = Gateway::ready().await;
    let folder = tempfile::tempdir().unwrap();
    let foreign = trireme_tls::authority::Authority::open_or_create(folder.path()).unwrap();
    let (key, certificate) = (folder.path().join("x.key"), folder.path().join("x.pem"));
    foreign.ensure("x", &key, &certificate).unwrap();
    let trust = vec![KEYS.authority.certificate_path()];
    let stranger = Material::load(TlsSettings {
        key,
        certificate,
        trust: trust.clone(),
        ..Default::default()
    })
    .unwrap();
    let nobody = Material::load_trust(trust, false).unwrap();
    for (name, material) in [("stranger", stranger), ("nobody", nobody)] {
        let target = Target {
            host: "127.0.0.1".to_owned(),
            port: gateway.enforcer.grpc.port(),
            server_name: "localhost".to_owned(),
        };
        let channel = channel::channel(target, material.connector(GRPC_ALPN));
        let outcome = timeout(
            BOUND,
            AuthorizationClient::new(channel).check(request(&current_token())),
        )
        .await
        .unwrap();
        assert!(outcome.is_err(), "{name}");
    }
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_without_an_adapter_serves_the_last_good_snapshot() {
    let gateway = Gateway::ready().await;
    let Gateway {
        cache,
        xds,
        stop,
        state,
        enforcer,
    } = gateway;
    cache.close();
    stop.cancel();
    timeout(BOUND, enforcer.drain()).await.unwrap();
    let enforcer = app::build(environment(xds, &state)).await.unwrap();
    timeout(BOUND, enforcer.wait_ready()).await.unwrap();
    let mut client = AuthorizationClient::new(channel(enforcer.grpc, "ours"));
    let answer = timeout(BOUND, client.check(request(&current_token())))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status(&answer.into_inner()), 200);
    timeout(BOUND, enforcer.drain()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_restart_takes_counters_along() {
    let gateway = Gateway::start().await;
    let mut settings = test_settings();
    settings.limits = limited(|limits| {
        let two = limits.tiers.iter_mut().find(|tier| tier.name == "Two").unwrap();
        // A window that does not end while the test runs.
        two.quota.as_mut().unwrap().window_secs = 400 * 86_400;
    })
    .limits;
    gateway.publish_settings(&settings);
    gateway.publish(&[policy_with(|policy| policy.tier = "Two".to_owned())], &[]);
    timeout(BOUND, gateway.enforcer.wait_ready()).await.unwrap();
    let ask = || gateway.check(request(&current_token()));
    assert_eq!(status(&ask().await.unwrap()), 200);
    assert_eq!(status(&ask().await.unwrap()), 200);
    let Gateway {
        cache,
        xds,
        stop,
        state,
        enforcer,
    } = gateway;
    timeout(BOUND, enforcer.drain()).await.unwrap();
    let enforcer = app::build(environment(xds, &state)).await.unwrap();
    timeout(BOUND, enforcer.wait_ready()).await.unwrap();
    let gateway = Gateway {
        cache,
        xds,
        stop,
        state,
        enforcer,
    };
    let answer = gateway.check(request(&current_token())).await.unwrap();
    assert_eq!(status(&answer), 429);
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_answers_what_came_in_and_ends_streams() {
    let gateway = Gateway::ready().await;
    let mut batches = Batches::open(gateway.channel("ours")).await;
    let waiting = with(request(&current_token()), "trireme.revision", "11.0");
    batches
        .send(&[(1, bytes(&waiting)), (2, bytes(&request(&current_token())))])
        .await;
    assert_eq!(batches.next().await.unwrap(), BTreeMap::from([(2, 200)]));
    let Gateway { stop, enforcer, .. } = gateway;
    let drained = tokio::spawn(enforcer.drain());
    assert_eq!(batches.next().await.unwrap(), BTreeMap::from([(1, 503)]));
    assert_eq!(batches.next().await, None);
    timeout(BOUND, drained).await.unwrap().unwrap();
    stop.cancel();
}
