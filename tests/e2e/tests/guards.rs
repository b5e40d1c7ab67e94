//! What a guard asks for cannot be got round by spelling, neighbours or names.

use std::io::Write as _;
use std::process::Output;
use std::time::Duration;

use tempfile::TempDir;
use trireme_harness::{Answer, Gateway, GatewayBuilder, Raw, Role, Seen, Upstream};

const BOUND: Duration = Duration::from_secs(30);
/// Exit status of a command whose input is refused.
const REFUSED: Option<i32> = Some(2);

/// A gateway, and a folder for what is deployed.
struct Site {
    gateway: Gateway,
    folder: TempDir,
}

impl Site {
    async fn start(builder: GatewayBuilder) -> anyhow::Result<Self> {
        Ok(Self {
            gateway: builder.start().await?,
            folder: tempfile::tempdir()?,
        })
    }

    /// Runs a command of `trireme` on a definition; gives its exit status and what it printed.
    async fn run(
        &self,
        command: &str,
        name: &str,
        definition: &str,
    ) -> anyhow::Result<(Option<i32>, String)> {
        let file = self.folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, definition)?;
        let path = file.display().to_string();
        let output = if command == "validate" {
            let mut command = tokio::process::Command::new(trireme_harness::program("trireme")?);
            trireme_harness::run(command.args(["validate", &path]), BOUND).await?
        } else {
            self.gateway.trireme(&[command, &path], BOUND).await?
        };
        Ok((output.status.code(), text(&output)))
    }

    /// Gives what the command printed.
    async fn deploy(&self, api: &Api<'_>) -> anyhow::Result<String> {
        let (status, text) = self.run("deploy", api.name, &api.definition()).await?;
        assert_eq!(status, Some(0), "{}: {text}", api.name);
        Ok(text)
    }

    async fn undeploy(&self, api: &Api<'_>) -> anyhow::Result<()> {
        let version = format!("--version={}", api.version);
        let words = ["undeploy", "--name", api.name, &version];
        let output = self.gateway.trireme(&words, BOUND).await?;
        assert!(output.status.success(), "{}", text(&output));
        Ok(())
    }

    /// Calls a target that is sent as it is written.
    async fn call(&self, method: &str, target: &str, token: Option<&str>) -> anyhow::Result<Raw> {
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        self.send(method, target, &token.unwrap_or_default(), "").await
    }

    /// Sends lines of headers and a body as they are written.
    async fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> anyhow::Result<Raw> {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n{body}"
        );
        let router = self.gateway.address(Role::Router, "http");
        Raw::http1(router, request.as_bytes()).await
    }

    async fn call_http2(&self, target: &str, token: Option<&str>) -> anyhow::Result<Raw> {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer
            .iter()
            .map(|value| ("authorization", value.as_str()))
            .collect();
        let router = self.gateway.address(Role::Router, "http");
        let url = format!("http://localhost{target}");
        Raw::http2(router, "GET", &url, &headers, "").await
    }

    /// The list of what is deployed.
    async fn list(&self) -> anyhow::Result<String> {
        Ok(text(&self.gateway.trireme(&["list"], BOUND).await?))
    }
}

fn text(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr];
    both.map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// What a bare definition says.
struct Api<'a> {
    name: &'a str,
    version: &'a str,
    base: &'a str,
    upstream: &'a str,
    /// Its paths and schemes.
    rest: &'a str,
}

const fn api<'a>(name: &'a str, base: &'a str, upstream: &'a str, rest: &'a str) -> Api<'a> {
    Api {
        name,
        version: "1.0.0",
        base,
        upstream,
        rest,
    }
}

impl Api<'_> {
    fn definition(&self) -> String {
        let Self {
            name,
            version,
            base,
            upstream,
            rest,
        } = self;
        format!(
            "openapi: 3.0.3\ninfo: {{ title: {name}, version: '{version}' }}\nx-wso2-basePath: {base}\n\
             servers: [ {{ url: '{upstream}' }} ]\n{rest}"
        )
    }
}

/// What the upstream saw, of an answer that is its own.
fn seen(answer: &Raw) -> anyhow::Result<Seen> {
    anyhow::ensure!(answer.status == 200, "{answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

/// Where a token leads, of three: none, one without scopes, and one with `admin`.
struct Spelling {
    target: &'static str,
    want: [u16; 3],
    /// What the upstream sees.
    path: &'static str,
}

const fn spelling(target: &'static str, want: [u16; 3], path: &'static str) -> Spelling {
    Spelling { target, want, path }
}

const OPEN: [u16; 3] = [200, 200, 200];
const GUARDED: [u16; 3] = [401, 200, 200];
const SCOPED: [u16; 3] = [401, 403, 200];

#[tokio::test]
async fn another_spelling_of_an_operation_is_that_operation() -> anyhow::Result<()> {
    /// Name, which is the base path as well, and paths.
    const APIS: [(&str, &str); 6] = [
        (
            "catch-all",
            "paths: { '/*': { get: { x-auth-type: None } }, /me: { get: {} } }",
        ),
        (
            "parameter",
            "paths: { '/{id}': { get: { x-auth-type: None } }, /me: { get: {} } }",
        ),
        (
            "bare",
            "paths:\n  /u/{id}: { get: { x-wso2-disable-security: true, responses: {} } }\n  /u/admin: { get: { responses: {} } }",
        ),
        (
            "scopes",
            "components: { securitySchemes: { o: { type: oauth2, flows: {} } } }\npaths:\n  /u/{id}: { get: { responses: {} } }\n  \
             /u/admin: { get: { security: [ { o: [ admin ] } ], responses: {} } }\n  \
             '/u/a:b': { get: { security: [ { o: [ admin ] } ], responses: {} } }\n  \
             '/u/a@b': { get: { security: [ { o: [ admin ] } ], responses: {} } }",
        ),
        (
            "cut",
            "paths: { '/*': { get: { x-auth-type: None } }, /secret: { get: {} }, /p0/secret: { get: {} } }",
        ),
        (
            "alone",
            "paths: { '/{id}': { get: { x-auth-type: None } }, '/all/*': { get: {} } }",
        ),
    ];
    const SPELLINGS: [Spelling; 26] = [
        spelling("/catch-all/me", GUARDED, "/me"),
        spelling("/catch-all/%6de", GUARDED, "/me"),
        spelling("/catch-all/%6D%65", GUARDED, "/me"),
        spelling("/%63atch-all/%6de", GUARDED, "/me"),
        spelling("/catch%2dall/%6de?a=%6d", GUARDED, "/me?a=%6d"),
        spelling("/catch-all/other", OPEN, "/other"),
        spelling("/catch-all/%6fther", OPEN, "/other"),
        spelling("/parameter/me", GUARDED, "/me"),
        spelling("/parameter/%6de", GUARDED, "/me"),
        spelling("/parameter/you", OPEN, "/you"),
        spelling("/bare/u/admin", GUARDED, "/u/admin"),
        spelling("/bare/u/%61dmin", GUARDED, "/u/admin"),
        spelling("/bare/u/7", OPEN, "/u/7"),
        spelling("/scopes/u/admin", SCOPED, "/u/admin"),
        spelling("/scopes/u/%61dmin", SCOPED, "/u/admin"),
        spelling("/scopes/u/a:b", SCOPED, "/u/a:b"),
        spelling("/scopes/u/a%3Ab", SCOPED, "/u/a:b"),
        spelling("/scopes/u/a%3ab", SCOPED, "/u/a:b"),
        spelling("/scopes/u/a@b", SCOPED, "/u/a@b"),
        spelling("/scopes/u/a%40b", SCOPED, "/u/a@b"),
        spelling("/scopes/u/a:c", GUARDED, "/u/a:c"),
        // No sibling has these requests without what follows the semicolon.
        spelling("/cut/other;jsessionid=1", OPEN, "/other;jsessionid=1"),
        spelling("/cut/p0;x/other", OPEN, "/p0;x/other"),
        spelling("/alone/secret;jsessionid=1", OPEN, "/secret;jsessionid=1"),
        spelling("/alone/all/p0;x/secret", GUARDED, "/all/p0;x/secret"),
        spelling("/alone/all/secret%3Bx", GUARDED, "/all/secret%3Bx"),
    ];
    /// Some read another operation.
    const AMBIGUOUS: [&str; 6] = [
        "/cut/secret;jsessionid=1",
        "/cut/secret;",
        "/cut/%73ecret%3bjsessionid=1",
        "/cut/p0;x/secret",
        "/cut/p0/secret;x",
        "/cut/p0;x/secret;y=1;z",
    ];
    let upstream = Upstream::start(Duration::ZERO).await;
    let site = Site::start(Gateway::builder()).await?;
    for (name, paths) in APIS {
        site.deploy(&api(name, &format!("/{name}"), &upstream.url(), paths))
            .await?;
    }
    let admin = site.gateway.token("admin").await?;
    let tokens = [None, Some(site.gateway.ready.token.as_str()), Some(&admin)];
    for Spelling { target, want, path } in SPELLINGS {
        for (token, want) in tokens.into_iter().zip(want) {
            let before = upstream.requests();
            let one = site.call("GET", target, token).await?;
            let two = site.call_http2(target, token).await?;
            for (answer, over) in [(one, "HTTP/1.1"), (two, "HTTP/2")] {
                assert_eq!(answer.status, want, "{target} over {over}: {answer:?}");
                if want == 200 {
                    assert_eq!(seen(&answer)?.target, path, "{target} over {over}");
                }
            }
            let forwarded = if want == 200 { 2 } else { 0 };
            assert_eq!(upstream.requests(), before + forwarded, "{target}");
        }
    }
    let before = upstream.requests();
    for target in AMBIGUOUS {
        for token in tokens {
            let one = site.call("GET", target, token).await?;
            let two = site.call_http2(target, token).await?;
            for answer in [one, two] {
                assert_eq!(answer.status, 400, "{target}: {answer:?}");
                assert!(answer.body.contains("path_parameter"), "{target}: {answer:?}");
            }
        }
    }
    assert_eq!(upstream.requests(), before, "what is refused is not forwarded");
    site.gateway.stop().await?;
    Ok(())
}

/// Open to everybody, whatever the method.
const ALL_OPEN: &str = "paths: { '/*': { get: { x-auth-type: None }, post: { x-auth-type: None } }, \
                        /: { post: { x-auth-type: None } } }";
const ALL_GUARDED: &str = "paths: { '/*': { get: {} } }";

#[tokio::test]
async fn an_api_takes_neither_another_apis_paths_nor_the_gateways_own() -> anyhow::Result<()> {
    let guarded = Upstream::start(Duration::ZERO).await;
    let open = Upstream::start(Duration::ZERO).await;
    let site = Site::start(Gateway::builder().env("CC_ENFORCER_JWTGENERATOR_ENABLED", "true")).await?;
    let (guarded_url, open_url) = (guarded.url(), open.url());
    let outer = api("Outer", "/", &open_url, ALL_OPEN);
    // A fragment's name ends in the version, and this one stands before a slash.
    let nest = Api {
        version: "-1",
        ..api("Nest", "/nest", &open_url, ALL_OPEN)
    };
    let token = Some(site.gateway.ready.token.as_str());
    for (inner, outer, secret, beside) in [
        (
            api("Inner", "/zz", &guarded_url, ALL_GUARDED),
            outer,
            "/zz/secret",
            "/beside",
        ),
        (
            api("Deep", "/nest/in", &guarded_url, ALL_GUARDED),
            nest,
            "/nest/in/secret",
            "/nest/beside",
        ),
    ] {
        for deployed in [[&inner, &outer], [&outer, &inner]] {
            for one in deployed {
                site.deploy(one).await?;
            }
            let order = format!("{} first", deployed.map(|one| one.name)[0]);
            let before = open.requests();
            let without = site.call("GET", secret, None).await?;
            assert_eq!(without.status, 401, "{order}: {without:?}");
            let with = site.call("GET", secret, token).await?;
            assert_eq!(seen(&with)?.target, "/secret", "{order}");
            assert_eq!(open.requests(), before, "{order}");
            let other = site.call("GET", beside, None).await?;
            assert_eq!(seen(&other)?.target, "/beside", "{order}");
            assert_eq!(open.requests(), before + 1, "{order}");
            for one in deployed {
                site.undeploy(one).await?;
            }
        }
    }

    // One at the root, and one at the very page that is given the password.
    let pages = ["/testkey", "/health", "/ready", "/.wellknown/jwks"];
    let told = |page: &str| format!("requests for {page} on localhost are answered by the gateway itself");
    let root = api("Root", "/", &open_url, ALL_OPEN);
    let testkey = api("Testkey", "/testkey", &open_url, ALL_OPEN);
    let (everything, one) = (site.deploy(&root).await?, site.deploy(&testkey).await?);
    for page in pages {
        assert!(everything.contains(&told(page)), "{page}: {everything}");
        assert_eq!(one.contains(&told(page)), page == "/testkey", "{page}: {one}");
    }
    let before = open.requests();
    let credentials = std::fs::read(site.gateway.data().join("security/credentials.json"))?;
    let credentials: serde_json::Value = serde_json::from_slice(&credentials)?;
    let password = credentials
        .get("token_password")
        .and_then(serde_json::Value::as_str);
    for base in [&site.gateway.ready.http, &site.gateway.ready.https] {
        let request = site.gateway.http.post(format!("{base}/testkey"));
        let answer = request
            .basic_auth(&site.gateway.ready.username, password)
            .send()
            .await?;
        assert_eq!(answer.status(), 200);
        let token = answer.text().await?;
        let call = site.gateway.ready.sample.url.clone();
        let answer = site.gateway.http.get(call).bearer_auth(token).send().await?;
        assert_eq!(answer.status(), 200, "the token is one");
    }
    for (method, page, says) in [
        ("GET", "/health", "healthy"),
        ("POST", "/health", "healthy"),
        ("GET", "/%68ealth", "healthy"),
        ("GET", "/ready", "\"ready\""),
        ("GET", "/.wellknown/jwks", "\"keys\""),
        ("GET", "/testkey", "NOT authorized to generate a token"),
        ("POST", "/testkey", "NOT authorized to generate a token"),
        ("POST", "/%74estkey", "NOT authorized to generate a token"),
    ] {
        let answer = site.send(method, page, "content-length: 0\r\n", "").await?;
        assert!(answer.body.contains(says), "{method} {page}: {answer:?}");
    }
    assert_eq!(
        open.requests(),
        before,
        "no page of the gateway's own reaches an API"
    );
    // Both are there.
    for (target, path) in [("/testkey/a", "/a"), ("/a", "/a")] {
        assert_eq!(
            seen(&site.call("GET", target, None).await?)?.target,
            path,
            "{target}"
        );
    }
    site.gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn each_operation_asks_for_its_own_scopes() -> anyhow::Result<()> {
    const SCOPES: [&str; 4] = ["read", "admin", "export", "write"];
    const NAMED: &str = "components:\n  securitySchemes:\n    default: { type: oauth2, flows: { implicit: { authorizationUrl: \
         'https://a.test', scopes: { read: r, admin: a, export: e, write: w } } } }\n    \
         oidc: { type: openIdConnect, openIdConnectUrl: 'https://a.test' }\npaths:\n";
    const APIS: [(&str, &str); 4] = [
        (
            "names",
            "  /v1/{user.id}: { get: { security: [ { default: [ read ] } ] } }\n  \
             /v1/settings: { get: { security: [ { default: [ admin ] } ] } }\n  \
             /v1/keys/{id}: { get: { security: [ { default: [ read ] } ] }, post: { security: [ { default: [ write ] } ] } }\n  \
             /v1/keys/{id}:export: { get: { security: [ { default: [ export ] } ] }, post: { security: [ { default: [ export ] } ] } }\n  \
             /{id}: { get: { security: [ { default: [ read ] } ] } }\n  \
             /~admin: { get: { security: [ { default: [ admin ] } ] } }\n",
        ),
        (
            "oidc",
            "  /a: { get: { security: [ { oidc: [ admin ] } ], responses: { '200': { description: ok } } } }\n",
        ),
        // Nobody has both requests.
        (
            "methods",
            "  /u/{id}: { get: { security: [ { default: [ admin ] } ] } }\n  \
             /u/{ID}: { post: { security: [ { default: [ read ] } ] } }\n",
        ),
        // The same is asked for.
        (
            "twins",
            "  /u/{id}: { get: { security: [ { default: [ admin ] } ] } }\n  \
             /u/{ID}: { get: { security: [ { default: [ admin ] } ] } }\n",
        ),
    ];
    const CALLS: [(&str, &str, &str); 14] = [
        ("GET", "/names/v1/settings", "admin"),
        ("GET", "/names/v1/7", "read"),
        ("GET", "/names/v1/a.b", "read"),
        ("GET", "/names/v1/keys/7", "read"),
        ("POST", "/names/v1/keys/7", "write"),
        ("GET", "/names/v1/keys/7:export", "export"),
        ("POST", "/names/v1/keys/7:export", "export"),
        ("GET", "/names/7", "read"),
        ("GET", "/names/~admin", "admin"),
        ("GET", "/names/%7Eadmin", "admin"),
        ("GET", "/oidc/a", "admin"),
        ("GET", "/methods/u/7", "admin"),
        ("POST", "/methods/u/7", "read"),
        ("GET", "/twins/u/7", "admin"),
    ];
    let upstream = Upstream::start(Duration::ZERO).await;
    let site = Site::start(Gateway::builder()).await?;
    for (name, paths) in APIS {
        let rest = format!("{NAMED}{paths}");
        let base = format!("/{name}");
        let told = site.deploy(&api(name, &base, &upstream.url(), &rest)).await?;
        assert_eq!(
            told.contains("matches the same requests"),
            name == "twins",
            "{told}"
        );
    }
    for scope in SCOPES {
        let token = site.gateway.token(scope).await?;
        for (method, target, asked) in CALLS {
            let headers = format!("authorization: Bearer {token}\r\ncontent-length: 0\r\n");
            let before = upstream.requests();
            let answer = site.send(method, target, &headers, "").await?;
            let what = format!("{method} {target} with {scope}: {answer:?}");
            if scope == asked {
                let path = target.replace("%7E", "~");
                let (_, path) = path
                    .get(1..)
                    .and_then(|path| path.split_once('/'))
                    .unwrap_or_default();
                assert_eq!(seen(&answer)?.target, format!("/{path}"), "{what}");
            } else {
                assert_eq!(answer.status, 403, "{what}");
                assert_eq!(upstream.requests(), before, "{what}");
            }
        }
    }
    site.gateway.stop().await?;
    Ok(())
}

/// A project's archive.
fn zip(entries: &[(&str, &str)]) -> anyhow::Result<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default())?;
        writer.write_all(content.as_bytes())?;
    }
    Ok(writer.finish()?.into_inner())
}

/// An `api.yaml`, with more lines of `data`.
fn api_yaml(upstream: &str, data: &str) -> String {
    format!(
        "type: api\nversion: v4.2.0\ndata:\n  name: Bad\n  version: 1.0.0\n  context: /bad\n  type: HTTP\n  \
         lifeCycleStatus: PUBLISHED\n  endpointConfig:\n    endpoint_type: http\n    \
         production_endpoints: {{ url: '{upstream}' }}\n{data}"
    )
}

/// Everything that a refusal says.
fn diagnostics(answer: &Answer) -> String {
    let all = answer.json().pointer("/diagnostics").cloned().unwrap_or_default();
    all.to_string()
}

#[tokio::test]
async fn what_leaves_a_guard_in_doubt_is_refused_by_name() -> anyhow::Result<()> {
    struct Case {
        name: &'static str,
        rest: &'static str,
        named: &'static [&'static str],
    }
    const CASES: [Case; 8] = [
        Case {
            name: "names of a parameter",
            rest: "  /u/{id}: { get: { security: [ { o: [ admin ] } ] } }\n  /u/{ID}: { get: { security: [ { o: [ read ] } ] } }\n",
            named: &["/u/{id}", "/u/{ID}"],
        },
        Case {
            name: "slash at the end",
            rest: "  /u: { get: { x-wso2-disable-security: true } }\n  /u/: { get: { security: [ { o: [ admin ] } ] } }\n",
            named: &["GET /u ", "GET /u/ "],
        },
        Case {
            name: "query",
            rest: "  /a: { get: {} }\n  /a?x=1: { get: { security: [ { o: [ admin ] } ] } }\n",
            named: &["GET /a ", "GET /a?x=1"],
        },
        Case {
            name: "two queries",
            rest: "  /u?op=get: { get: {} }\n  /u?op=del: { get: { security: [ { o: [ admin ] } ] } }\n",
            named: &["GET /u?op=get", "GET /u?op=del"],
        },
        Case {
            name: "spellings",
            rest: "  /me: { get: {} }\n  /%6de: { get: { security: [ { o: [ admin ] } ] } }\n",
            named: &["GET /me", "GET /%6de"],
        },
        Case {
            name: "type in capitals",
            rest: "  /a: { get: { security: [ { m: [ admin ] } ] } }\n",
            named: &["\"m\"", "\"OAuth2\""],
        },
        Case {
            name: "type that nobody knows",
            rest: "  /a: { get: { security: [ { f: [ admin ] } ] } }\n",
            named: &["\"f\"", "\"foo\""],
        },
        Case {
            name: "no type",
            rest: "  /a: { get: { security: [ { n: [ admin ] } ] } }\n",
            named: &["\"n\" has no type"],
        },
    ];
    const SCHEMES: &str = "components:\n  securitySchemes:\n    o: { type: oauth2, flows: {} }\n    \
         m: { type: OAuth2, flows: {} }\n    f: { type: foo, flows: {} }\n    n: { flows: {} }\npaths:\n";
    /// Lines of `data`, and whether the policy has a file.
    const GUARDS: [(&str, &str, bool); 3] = [
        (
            "whole API",
            "  apiPolicies: { request: [ GUARD ], response: [], fault: [] }\n",
            true,
        ),
        (
            "whole API, without its file",
            "  apiPolicies: { request: [ GUARD ], response: [], fault: [] }\n",
            false,
        ),
        (
            "operation",
            "  operations: [ { target: /a, verb: GET, operationPolicies: { request: [ GUARD ], response: [], fault: [] } } ]\n",
            true,
        ),
    ];
    const GUARD: &str =
        "{ policyName: opaGuard, policyVersion: v1, parameters: { serverUrl: 'http://127.0.0.1:1' } }";
    let upstream = Upstream::start(Duration::ZERO).await;
    let url = upstream.url();
    let site = Site::start(Gateway::builder()).await?;
    for Case { name, rest, named } in CASES {
        let rest = format!("{SCHEMES}{rest}");
        let definition = api("Bad", "/bad/1.0.0", &url, &rest).definition();
        for command in ["deploy", "validate"] {
            let (status, text) = site.run(command, "bad", &definition).await?;
            assert_eq!(status, REFUSED, "{command}, {name}: {text}");
            for what in named {
                assert!(text.contains(what), "{command}, {name}: {what} in {text}");
            }
        }
        // Nobody has looked at it before the adapter does.
        let archive = zip(&[
            ("Bad/api.yaml", &api_yaml(&url, "")),
            ("Bad/Definitions/swagger.yaml", &definition),
        ])?;
        let answer = site.gateway.upload(archive, false).await?;
        assert_eq!(answer.status, 500, "{name}: {}", answer.body);
        for what in named {
            let escaped = what.replace('"', "\\\"");
            assert!(diagnostics(&answer).contains(&escaped), "{name}: {}", answer.body);
        }
    }

    let definition = api("Bad", "/bad/1.0.0", &url, "paths: { /a: { get: {} } }\n").definition();
    for (name, data, file) in GUARDS {
        let api = api_yaml(&url, &data.replace("GUARD", GUARD));
        let mut entries = vec![
            ("Bad/api.yaml", api.as_str()),
            ("Bad/Definitions/swagger.yaml", &definition),
        ];
        if file {
            entries.push(("Bad/Policies/opaGuard_v1.gotmpl", "definition:\n  action: OPA\n"));
        }
        let archive = zip(&entries)?;
        let answer = site.gateway.upload(archive.clone(), false).await?;
        assert_eq!(answer.status, 500, "{name}: {}", answer.body);
        assert!(
            diagnostics(&answer).contains("policy opaGuard_v1 at "),
            "{name}: {}",
            answer.body
        );
        let path = site.folder.path().join("bad.zip");
        std::fs::write(&path, archive)?;
        let output = site
            .gateway
            .trireme(&["deploy", &path.display().to_string()], BOUND)
            .await?;
        assert_eq!(output.status.code(), REFUSED, "{name}");
        assert!(text(&output).contains("policy opaGuard_v1 at "), "{name}");
    }

    let list = site.list().await?;
    assert!(list.contains("Harbour") && !list.contains("Bad"), "{list}");
    let token = site.gateway.token("admin").await?;
    for target in ["/bad/1.0.0/a", "/bad/1.0.0/u/7", "/bad/1.0.0/me"] {
        assert_eq!(
            site.call("GET", target, Some(&token)).await?.status,
            404,
            "{target}"
        );
    }
    assert_eq!(upstream.requests(), 0, "nothing is served");

    // It is the guard that is refused, not the project.
    let archive = zip(&[
        ("Bad/api.yaml", &api_yaml(&url, "")),
        ("Bad/Definitions/swagger.yaml", &definition),
    ])?;
    let answer = site.gateway.upload(archive, false).await?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = site.call("GET", "/bad/1.0.0/a", Some(&token)).await?;
    assert_eq!(seen(&answer)?.target, "/a");
    site.gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn identity_does_not_come_in_trailers() -> anyhow::Result<()> {
    let upstream = Upstream::start(Duration::ZERO).await;
    // Upstreams believe `x-jwt-assertion` where the enforcer is to send it.
    let site = Site::start(Gateway::builder().env("CC_ENFORCER_JWTGENERATOR_ENABLED", "true")).await?;
    let paths = "paths: { /a: { post: { responses: {} } } }";
    site.deploy(&api("Trailed", "/trailed", &upstream.url(), paths))
        .await?;
    let authorization = format!("authorization: Bearer {}\r\n", site.gateway.ready.token);
    for (name, forged) in [
        ("nothing", ""),
        ("as it is announced", "x-jwt-assertion: forged\r\n"),
        ("in capitals", "X-JWT-Assertion: forged\r\n"),
        ("the token", "authorization: Bearer forged\r\n"),
        ("the choice of the upstream", "x-wso2-cluster-header: forged\r\n"),
    ] {
        for header in ["", "x-jwt-assertion: forged\r\n"] {
            let headers = format!(
                "{authorization}{header}transfer-encoding: chunked\r\ntrailer: x-jwt-assertion, x-checksum\r\n"
            );
            let body = format!("3\r\nabc\r\n0\r\n{forged}x-checksum: 7\r\n\r\n");
            let answer = site.send("POST", "/trailed/a", &headers, &body).await?;
            let seen = seen(&answer)?;
            assert_eq!(seen.body_bytes, 3, "{name}: {seen:?}");
            let trailers: Vec<_> = seen.trailers.iter().collect();
            let ordinary = (&"x-checksum".to_owned(), &"7".to_owned());
            assert_eq!(trailers, [ordinary], "{name}: {seen:?}");
            assert!(!answer.body.contains("forged"), "{name}: {seen:?}");
        }
    }
    site.gateway.stop().await?;
    Ok(())
}
