//! An API opts in to paths with two readings (fault E5): they pass as they were sent, and open nothing else.

use std::path::Path;
use std::time::Duration;

use trireme_harness::{Gateway, Raw, Role, Seen, Upstream};

const BOUND: Duration = Duration::from_secs(30);
/// Exit status of a command whose input is refused.
const REFUSED: Option<i32> = Some(2);
const KEY: &str = "x-wso2-allow-ambiguous-path";

fn definition(name: &str, base: &str, upstream: &str, rest: &str) -> String {
    format!(
        "openapi: 3.0.3\ninfo: {{ title: {name}, version: '1.0.0' }}\nx-wso2-basePath: {base}\n\
         servers: [ {{ url: '{upstream}' }} ]\n{rest}\n"
    )
}

/// Runs a command of `trireme` on a file; gives its exit status and what it printed.
async fn run(gateway: &Gateway, command: &str, path: &Path) -> anyhow::Result<(Option<i32>, String)> {
    let words = [command, &path.display().to_string()];
    let output = if command == "validate" {
        let mut command = tokio::process::Command::new(trireme_harness::program("trireme")?);
        trireme_harness::run(command.args(words), BOUND).await?
    } else {
        gateway.trireme(&words, BOUND).await?
    };
    let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    Ok((output.status.code(), both.concat()))
}

async fn deploy(gateway: &Gateway, path: &Path) -> anyhow::Result<()> {
    let (status, text) = run(gateway, "deploy", path).await?;
    assert_eq!(status, Some(0), "{text}");
    Ok(())
}

/// Calls a target as it is written, over both versions, which must agree.
async fn call(gateway: &Gateway, target: &str, token: Option<&str>) -> anyhow::Result<Raw> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let line = bearer
        .as_ref()
        .map(|bearer| format!("authorization: {bearer}\r\n"));
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\r\n",
        line.unwrap_or_default()
    );
    let router = gateway.address(Role::Router, "http");
    let one = Raw::http1(router, request.as_bytes()).await?;
    let headers: Vec<_> = bearer
        .iter()
        .map(|value| ("authorization", value.as_str()))
        .collect();
    let two = Raw::http2(router, "GET", &format!("http://localhost{target}"), &headers, "").await?;
    assert_eq!(one.status, two.status, "{target}: {one:?} {two:?}");
    Ok(one)
}

/// What is deployed, by name, which is the base path as well; what it says of ambiguous paths; its paths.
const APIS: [(&str, &str, &str); 5] = [
    (
        "ids",
        "[ encoded_slash, double_slash ]",
        "{ '/r/{a}': { get: {} }, '/r/{a}/{b}': { get: {} }, '/u/{id}': { get: { x-auth-type: None } }, \
         /u/me/keys: { get: {} }, '/files/*': { get: { x-auth-type: None } }, /files/secret: { get: {} } }",
    ),
    ("closed", "[]", "{ '/r/{a}': { get: { x-auth-type: None } } }"),
    ("silent", "", "{ '/*': { get: { x-auth-type: None } } }"),
    // Above the next one.
    (
        "tree",
        "[ encoded_slash, empty_segment, double_encoding, encoded_backslash ]",
        "{ '/*': { get: { x-auth-type: None } } }",
    ),
    ("tree/inner", "[]", "{ '/*': { get: {} } }"),
];

/// Target, what calls get without a token and with one, and what the upstream sees.
const PASS: [(&str, [u16; 2], &str); 12] = [
    ("/ids/r/a%2Fb", [401, 200], "/r/a%2Fb"),
    ("/ids/r/a%2fb?q=%2f//", [401, 200], "/r/a%2Fb?q=%2f//"),
    ("/ids/r/@scope%2Fname", [401, 200], "/r/@scope%2Fname"),
    ("/ids/r/x%2Fy/z", [401, 200], "/r/x%2Fy/z"),
    ("/ids/u/group%2Fproject", [200, 200], "/u/group%2Fproject"),
    ("/ids/files//a///b%2Fc/", [200, 200], "/files//a///b%2Fc/"),
    (
        "/ids/files/https:%2F%2Fa.test%2Fb",
        [200, 200],
        "/files/https:%2F%2Fa.test%2Fb",
    ),
    // The default.
    ("/silent/a%2Fb", [200, 200], "/a%2Fb"),
    ("/tree/a%2Fb//c%5Cd%252Fe", [200, 200], "/a%2Fb//c%5Cd%252Fe"),
    ("/tree//a", [200, 200], "//a"),
    ("/tree/inner/a", [401, 200], "/a"),
    // A project's additional properties.
    ("/added/1.0.0/r/a%2Fb", [401, 200], "/r/a%2Fb"),
];

/// Refused, whoever calls, and the reason.
const REFUSALS: [(&str, &str); 23] = [
    // Another operation to those who decode, or merge.
    ("/ids/u/me%2Fkeys", "encoded_slash"),
    ("/ids/u/me%2f%6beys", "encoded_slash"),
    ("/ids/u/me%2F/keys", "encoded_slash"),
    ("/ids/files//secret", "empty_segment"),
    ("/ids/files/%2Fsecret", "encoded_slash"),
    ("/ids/files//secret;x", "empty_segment"),
    ("/tree//inner/a", "empty_segment"),
    ("/tree/inner%2Fa", "encoded_slash"),
    ("/tree/inner%5Ca", "encoded_backslash"),
    ("/tree/inner%252Fa", "encoded_slash"),
    ("/tree/%2569nner/a", "double_encoding"),
    // Out of the API.
    ("/ids/files%2F..%2Fsecret", "encoded_slash"),
    ("/ids/files/x%2F..%2Fsecret", "dot_segment"),
    ("/ids/u/..%2F..%2Ftree%2Finner%2Fa", "dot_segment"),
    ("/tree/x%5C..%5Cinner%5Ca", "dot_segment"),
    ("/tree/%252e%252e/a", "dot_segment"),
    ("/tree/x%2500", "encoded_control"),
    // Not permitted, alone and beside what is.
    ("/ids/files/a%5Cb", "encoded_backslash"),
    ("/ids/files/a%2Fb//c%252Fd", "double_encoding"),
    ("/closed/r/a%2Fb", "encoded_slash"),
    ("/tree/inner/a//b", "empty_segment"),
    ("/silent//a", "empty_segment"),
    ("/elsewhere/a%2Fb", "encoded_slash"),
];

#[tokio::test]
async fn an_api_takes_paths_with_two_readings_and_opens_nothing_else() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    let gateway = Gateway::builder()
        .env("CC_ROUTER_ALLOWAMBIGUOUSPATH", "encoded_slash")
        .start()
        .await?;
    let folder = tempfile::tempdir()?;
    for (name, kinds, paths) in APIS {
        let said = if kinds.is_empty() {
            String::new()
        } else {
            format!("{KEY}: {kinds}\n")
        };
        let (base, name) = (format!("/{name}"), name.replace('/', "-"));
        let path = folder.path().join(format!("{name}.yaml"));
        let rest = format!("{said}paths: {paths}");
        std::fs::write(&path, definition(&name, &base, &upstream.url(), &rest))?;
        deploy(&gateway, &path).await?;
    }
    let project = folder.path().join("Added");
    std::fs::create_dir_all(project.join("Definitions"))?;
    let api = format!(
        "type: api\nversion: v4.2.0\ndata:\n  name: Added\n  version: 1.0.0\n  context: /added\n  type: HTTP\n  \
         lifeCycleStatus: PUBLISHED\n  endpointConfig:\n    endpoint_type: http\n    production_endpoints: {{ url: '{}' }}\n  \
         additionalProperties: [ {{ name: {KEY}, value: 'encoded_slash, empty_segment', display: false }} ]\n",
        upstream.url()
    );
    std::fs::write(project.join("api.yaml"), api)?;
    std::fs::write(
        project.join("Definitions/swagger.yaml"),
        "openapi: 3.0.3\ninfo: { title: Added, version: 1.0.0 }\npaths: { '/r/{a}': { get: {} } }\n",
    )?;
    deploy(&gateway, &project).await?;

    let tokens = [None, Some(gateway.ready.token.as_str())];
    for (target, want, path) in PASS {
        for (token, want) in tokens.into_iter().zip(want) {
            let before = upstream.requests();
            let answer = call(&gateway, target, token).await?;
            assert_eq!(answer.status, want, "{target}: {answer:?}");
            if want == 200 {
                let seen: Seen = serde_json::from_str(&answer.body)?;
                assert_eq!(seen.target, path, "{target}");
            }
            let forwarded = if want == 200 { 2 } else { 0 };
            assert_eq!(upstream.requests(), before + forwarded, "{target}");
        }
    }
    let before = upstream.requests();
    for (target, reason) in REFUSALS {
        for token in tokens {
            let answer = call(&gateway, target, token).await?;
            assert_eq!(answer.status, 400, "{target}: {answer:?}");
            let told = format!("refused: {reason}.");
            assert!(answer.body.contains(&told), "{target}: {reason}, not {answer:?}");
        }
    }
    assert_eq!(upstream.requests(), before, "what is refused is not forwarded");

    // What an API may not say is refused by name.
    let path = folder.path().join("wrong.yaml");
    for (kinds, told) in [
        ("encoded_slash", "must be a list of kinds"),
        ("[ encoded_slah ]", "(nearest known: encoded_slash)"),
        ("[ dot_segment ]", "dot_segment can't be allowed"),
    ] {
        let rest = format!("{KEY}: {kinds}\npaths: {{ /a: {{ get: {{}} }} }}");
        std::fs::write(&path, definition("Wrong", "/wrong", &upstream.url(), &rest))?;
        for command in ["validate", "deploy"] {
            let (status, text) = run(&gateway, command, &path).await?;
            assert_eq!(status, REFUSED, "{command} {kinds}: {text}");
            assert!(
                text.contains(&format!("#/{KEY}")) && text.contains(told),
                "{command} {kinds}: {text}"
            );
        }
    }
    gateway.stop().await?;
    Ok(())
}
