//! TLS, user and password.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use trireme_limits::{Counters, Mode, Server, SharedSettings, Window};
use trireme_telemetry::Metrics;
use trireme_tls::authority::{Authority, LOCAL_NAMES, Validity};
use trireme_tls::{Connector, Material};

use crate::server::{Redis, connected, limit, metric, settings, take};

fn trusting(file: &Path) -> Connector {
    Material::load_trust(vec![file.to_owned()], false)
        .unwrap()
        .connector(&[])
}

#[tokio::test]
async fn tls_with_a_password() {
    let (ours, others) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let authority = Authority::open_or_create(ours.path()).unwrap();
    let stranger = Authority::open_or_create(others.path()).unwrap();
    let validity = Validity::starting(SystemTime::now(), Duration::from_secs(86_400));
    let issued = authority.issue("redis", LOCAL_NAMES, validity).unwrap();
    let start = Redis::start_with(|folder, port| {
        let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
        issued.write(&key, &certificate).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (key, certificate) = (text(&key), text(&certificate));
        let (trusted, port) = (text(&authority.certificate_path()), port.to_string());
        let arguments = [
            ["--port", "0"],
            ["--tls-port", &port],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &trusted],
            ["--tls-auth-clients", "no"],
            ["--requirepass", "s3cret:@/%"],
        ];
        arguments
            .as_flattened()
            .iter()
            .map(|text| (*text).to_owned())
            .collect()
    });
    let Some(redis) = start else { return };

    let url = |scheme: &str, user: &str| {
        Server::parse(&format!("{scheme}://{user}127.0.0.1:{}/3", redis.port)).unwrap()
    };
    let with = |server: Server, tls: Option<Connector>| SharedSettings {
        server,
        tls,
        connect_timeout: Duration::from_secs(5),
        ..settings(Mode::Ask)
    };
    let trusted = || Some(trusting(&authority.certificate_path()));
    let password = ":s3cret%3A%40%2F%25@";
    let (counters, _) = connected(with(url("rediss", password), trusted())).await;
    assert!(take(&counters, &[limit(b"a", 1, Window::DAY)]).await.admitted());
    assert!(!take(&counters, &[limit(b"a", 1, Window::DAY)]).await.admitted());

    let strange = Some(trusting(&stranger.certificate_path()));
    let cases = [
        ("refused", url("rediss", ""), trusted()),
        ("refused", url("rediss", ":wrong@"), trusted()),
        ("refused", url("rediss", &format!("nobody{password}")), trusted()),
        ("tls", url("rediss", password), strange),
        ("tls", url("rediss", password), None),
        // Without TLS the server hangs up, or sends an alert, which is no answer.
        ("", url("redis", password), None),
    ];
    for (kind, server, tls) in cases {
        let metrics = Metrics::new();
        let counters = Counters::shared(with(server.clone(), tls), [0; 16], &metrics);
        assert!(!counters.started().await, "{server:?}");
        let name = format!("trireme_limit_redis_failures_total{{kind=\"{kind}\"}}");
        assert!(
            kind.is_empty() || metric(&metrics, &name) >= 1.0,
            "{server:?}: {}",
            metrics.encode(trireme_telemetry::Format::Text)
        );
    }
}

/// A user of the access list that may do no more than is needed.
#[tokio::test]
async fn a_user_with_few_rights() {
    let list = "user default off\n\
                user gate on >pa55 ~test:* resetchannels -@all +evalsha +eval +script|load +time +mget +set +select\n\
                user lame on >pa55 ~other:* resetchannels -@all +evalsha +eval +script|load +time +mget +set +select\n";
    let start = Redis::start_with(|folder, port| {
        let file = folder.join("users.acl");
        fs::write(&file, list).unwrap();
        let (file, port) = (file.to_str().unwrap().to_owned(), port.to_string());
        ["--aclfile", &file, "--port", &port].map(str::to_owned).to_vec()
    });
    let Some(redis) = start else { return };
    let with = |user: &str| SharedSettings {
        server: Server::parse(&format!("redis://{user}:pa55@127.0.0.1:{}", redis.port)).unwrap(),
        ..settings(Mode::Ask)
    };
    let (counters, _) = connected(with("gate")).await;
    assert!(take(&counters, &[limit(b"a", 1, Window::DAY)]).await.admitted());
    assert!(!take(&counters, &[limit(b"a", 1, Window::DAY)]).await.admitted());

    let metrics = Metrics::new();
    let counters = Counters::shared(with("lame"), [0; 16], &metrics);
    assert!(!counters.started().await);
    assert!(
        metric(&metrics, "trireme_limit_redis_failures_total{kind=\"refused\"}") >= 1.0,
        "{}",
        metrics.encode(trireme_telemetry::Format::Text)
    );
}
