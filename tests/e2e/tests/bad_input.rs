//! Hostile calls and uploads: each has one exact answer, and nobody else notices.

use std::io::Write as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trireme_harness::{Gateway, Role};

/// Sends bytes on a connection of its own and gives the status line's code, or `None` when it was closed without.
async fn raw(gateway: &Gateway, request: &[u8]) -> anyhow::Result<Option<u16>> {
    let mut stream = TcpStream::connect(gateway.address(Role::Router, "http")).await?;
    // The router may answer and close before it has read all.
    drop(stream.write_all(request).await);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    let line = loop {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut chunk)).await?;
        let Ok(read @ 1..) = read else { return Ok(None) };
        answer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if let Some(end) = answer.windows(2).position(|window| window == b"\r\n") {
            break String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
        }
    };
    Ok(line.split(' ').nth(1).and_then(|code| code.parse().ok()))
}

#[tokio::test]
async fn hostile_calls_have_exact_answers() -> anyhow::Result<()> {
    struct Case {
        name: &'static str,
        target: String,
        headers: String,
        want: u16,
    }
    let gateway = Gateway::builder().start().await?;
    let authorization = format!("authorization: Bearer {}\r\n", gateway.ready.token);
    let many: String = (0..1000).map(|n| format!("x-header-{n}: {n}\r\n")).collect();
    let huge = format!("authorization: Bearer {}\r\n", "a".repeat(64 << 10));
    let plain = |name, target: &str, want| Case {
        name,
        target: target.to_owned(),
        headers: authorization.clone(),
        want,
    };
    let cases = [
        plain("good", "/harbour/1.0.0/ships", 200),
        plain("encoded slash", "/harbour/1.0.0/ships%2Fargo", 400),
        plain("encoded backslash", "/harbour/1.0.0/ships%5Cargo", 400),
        plain("double slash", "/harbour/1.0.0//ships", 400),
        plain("dot segments", "/harbour/1.0.0/x/../ships", 400),
        plain("encoded dot segments", "/harbour/1.0.0/x/%2e%2E/ships", 400),
        plain("double encoding", "/harbour/1.0.0/ships%252Fargo", 400),
        plain("encoded NUL", "/harbour/1.0.0/ships%00", 400),
        plain("raw NUL", "/harbour/1.0.0/ships\0", 400),
        plain("broken escape", "/harbour/1.0.0/ships%2", 400),
        Case {
            name: "token of 64 KB",
            target: "/harbour/1.0.0/ships".into(),
            headers: huge,
            want: 431,
        },
        Case {
            name: "1,000 headers",
            target: "/harbour/1.0.0/ships".into(),
            headers: many,
            want: 431,
        },
    ];
    for case in &cases {
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
            case.target, case.headers
        );
        let got = raw(&gateway, request.as_bytes()).await?;
        assert_eq!(got, Some(case.want), "{}", case.name);
        let other = gateway.get("/harbour/1.0.0/ships", true).await?;
        assert_eq!(other.status, 200, "another connection after {}", case.name);
    }
    gateway.stop().await?;
    Ok(())
}

fn zip(entries: &[(&str, &[u8])]) -> anyhow::Result<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default())?;
        writer.write_all(content)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[tokio::test]
async fn hostile_uploads_are_refused_and_change_nothing() -> anyhow::Result<()> {
    const API: &[u8] =
        b"type: api\nversion: v4.2\ndata: { name: Bad, version: 1.0.0, context: /bad, type: HTTP }\n";
    const SWAGGER: &str = "openapi: 3.0.0\ninfo: { title: Bad, version: 1.0.0 }\nx-wso2-basePath: /bad/1.0.0\n\
                           servers: [ { url: 'http://127.0.0.1:1/' } ]\n";
    let gateway = Gateway::builder().start().await?;
    let dangling = format!("{SWAGGER}paths: {{ /a: {{ $ref: '#/nowhere' }} }}\n");
    let circular =
        format!("{SWAGGER}paths: {{ /a: {{ $ref: '#/paths/~1b' }}, /b: {{ $ref: '#/paths/~1a' }} }}\n");
    let bomb = vec![b' '; 100 << 20];
    let definition = "Bad/Definitions/swagger.yaml";
    let cases: [(&str, Vec<u8>, &str); 7] = [
        (
            "broken archive",
            b"PK\x03\x04 this is not an archive".to_vec(),
            "archive",
        ),
        (
            "bomb",
            zip(&[("Bad/api.yaml", API), (definition, &bomb)])?,
            "expands more",
        ),
        ("traversal", zip(&[("../api.yaml", API)])?, "../api.yaml"),
        (
            "api.yaml without data",
            zip(&[("Bad/api.yaml", b"type: api\n")])?,
            "data",
        ),
        (
            "no OpenAPI",
            zip(&[("Bad/api.yaml", API), (definition, b"hello: world\n")])?,
            "openapi",
        ),
        (
            "dangling reference",
            zip(&[("Bad/api.yaml", API), (definition, dangling.as_bytes())])?,
            "#/nowhere",
        ),
        (
            "circular reference",
            zip(&[("Bad/api.yaml", API), (definition, circular.as_bytes())])?,
            "circular",
        ),
    ];
    for (name, archive, named) in cases {
        let answer = gateway.upload(archive, false).await?;
        assert_eq!(answer.status, 500, "{name}: {}", answer.body);
        let diagnostics = answer.json().pointer("/diagnostics").cloned().unwrap_or_default();
        let text = diagnostics.to_string();
        assert!(text.contains(named), "{name}: {named} in {}", answer.body);
        assert_eq!(
            gateway.get("/harbour/1.0.0/ships", true).await?.status,
            200,
            "others after {name}"
        );
    }
    let output = gateway
        .trireme(&["list", "--json"], Duration::from_secs(20))
        .await?;
    let list = String::from_utf8(output.stdout)?;
    assert!(!list.contains("Bad"), "{list}");
    gateway.stop().await?;
    Ok(())
}
