//! What `trireme validate` tells of a definition is what an adapter tells of it: in the answer to its upload, which `trireme deploy`
//! shows, and in its log, where those find it who see no answer.
//!
//! One adapter, over its real sockets. Of 352 real definitions and 2,000 made ones some are sent each time, and all when asked for:
//! `cargo test -p trireme-reader --test told -- --ignored --nocapture`.

#[path = "../agreement/corpus.rs"]
mod corpus;
#[path = "../agreement/generate.rs"]
mod generate;
mod log;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use tokio::time::Instant;
use trireme_adapter::app::{Running, Setup, build};
use trireme_config::{AccessLogs, AdapterEnv, Config, Env, Secret, User};
use trireme_project::{Defaults, Definition, Settings, archive_alone};
use trireme_tls::authority::Authority;

use log::Log;

/// How many definitions are made.
const MADE: u64 = 2_000;
/// Of how many one is sent when not all are.
const SAMPLE: usize = 10;
/// Longest wait for one answer.
const SOON: Duration = Duration::from_secs(60);

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Finding {
    severity: String,
    file: String,
    pointer: String,
    message: String,
}

/// What an answer to an upload says, or an error.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    diagnostics: Vec<Finding>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_are_told_alike() {
    Box::pin(told_alike(SAMPLE)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; the same for all definitions"]
async fn all_are_told_alike() {
    Box::pin(told_alike(1)).await;
}

/// Sends one definition of `step` and compares what is told of it.
async fn told_alike(step: usize) {
    let began = Instant::now();
    let log = Log::take().await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (running, client) = start(folder.path()).await;
    let rest = running.rest.expect("the management API is on");
    let base = format!("https://localhost:{}/api/mgw/adapter/0.1/apis", rest.port());

    let made = (0..MADE).map(generate::definition);
    let real = corpus::documents();
    if let Some(real) = &real {
        assert_eq!(real.len(), corpus::DOCUMENTS);
    }
    let real = real.into_iter().flatten();
    let (mut sent, mut refused, mut findings) = (0_usize, 0_usize, 0_usize);
    let mut wrong = Vec::new();
    for (name, content) in made.chain(real).step_by(step) {
        let definition = Definition {
            name: &name,
            content: &content,
        };
        let judged = trireme_translate::validate(&definition, Settings::new(Defaults::Derive));
        let (project, found) = match judged {
            Ok((project, warnings)) => (Some(project), warnings),
            Err(found) => (None, found),
        };
        let validated = found.into_iter().map(|found| Finding {
            severity: found.severity.as_str().to_owned(),
            file: found.file,
            pointer: found.pointer,
            message: found.message,
        });
        let validated: BTreeSet<Finding> = validated.collect();

        let packed = archive_alone(&name, &content).expect("one file is packed");
        let part = Part::bytes(packed).file_name("project.zip");
        let upload = client.post(&base).basic_auth("admin", Some("s3cret"));
        let response = upload.multipart(Form::new().part("file", part)).send().await;
        let response = response.unwrap_or_else(|error| panic!("{name}: {error}"));
        let status = response.status();
        let body = response.bytes().await.expect("the answer is whole");
        let answer: Answer = serde_json::from_slice(&body).unwrap_or_else(|error| {
            panic!("{name}: {status} {error}: {}", String::from_utf8_lossy(&body));
        });
        let answered: BTreeSet<Finding> = answer.diagnostics.into_iter().collect();
        let logged = log.drain();

        let is_refusal = matches!(
            status,
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::UNPROCESSABLE_ENTITY
        );
        if (project.is_some(), project.is_none()) != (status == StatusCode::OK, is_refusal) {
            wrong.push(format!(
                "{name}: validated {validated:?}, answered {status} {answered:?}"
            ));
        }
        if validated != answered || validated != logged {
            wrong.push(format!(
                "{name}:\n  validated {validated:?}\n  answered {answered:?}\n  logged {logged:?}"
            ));
        }
        sent += 1;
        refused += usize::from(is_refusal);
        findings += validated.len();
        if let Some(project) = project.filter(|_| status == StatusCode::OK) {
            // Base paths may be the same.
            let query = [
                ("apiName", project.identity.name.as_str()),
                ("version", project.identity.version.as_str()),
                ("vhost", ""),
                ("environments", ""),
            ];
            let gone = client
                .delete(&base)
                .basic_auth("admin", Some("s3cret"))
                .query(&query);
            let gone = gone
                .send()
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(gone.status(), StatusCode::OK, "{name}");
        }
    }
    running.drain().await;
    eprintln!(
        "{sent} definitions sent, {refused} of them refused, {findings} findings, {} told otherwise, in {:.1} s",
        wrong.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(findings > sent / 10, "hardly anything was found");
    assert!(
        wrong.is_empty(),
        "{} in all:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
}

/// An adapter with its ports and its files for itself, and a client that trusts it.
async fn start(folder: &Path) -> (Running, reqwest::Client) {
    let authority = Authority::open_or_create(folder).expect("an authority can be made");
    let (key, certificate) = (folder.join("mg.key"), folder.join("mg.pem"));
    authority
        .ensure("adapter", &key, &certificate)
        .expect("a certificate can be made");
    let bind = "127.0.0.1:0".to_owned();
    let variables = Env::from_iter([
        ("TRIREME_ADAPTER_XDS_BIND", bind.clone()),
        ("TRIREME_ADAPTER_REST_BIND", bind.clone()),
        ("TRIREME_ADAPTER_ADMIN_BIND", bind),
        ("TRIREME_STATE_DIR", folder.join("state").display().to_string()),
    ]);
    let mut config = Config::default();
    config.adapter.artifacts_directory = folder.join("artifacts");
    config.adapter.keystore.key_path = key;
    config.adapter.keystore.cert_path = certificate;
    config.adapter.truststore.location = folder.join("ca.pem");
    config.adapter.server.users = vec![User {
        username: "admin".to_owned(),
        password: Secret::new("s3cret"),
    }];
    let setup = Setup {
        config,
        access_logs: AccessLogs::default(),
        env: AdapterEnv::read(&variables).expect("the variables are good"),
        variables,
    };
    let running = build(setup).await.expect("the adapter starts");
    let authority = std::fs::read(folder.join("ca.pem")).expect("the authority has a certificate");
    let authority = reqwest::Certificate::from_pem(&authority).expect("it is one");
    let client = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .timeout(SOON)
        .tls_certs_only([authority])
        .build()
        .expect("a client can be made");
    (running, client)
}
