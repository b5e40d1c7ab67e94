//! Uploads that are refused, and those that only look as if they should be.

use super::*;

#[tokio::test]
async fn an_upload_has_a_bound() {
    let limits = Limits {
        archive_bytes: 1000,
        ..Limits::default()
    };
    let api = Api::start_with(false, limits).await;
    for size in [1001, 3 << 20] {
        let answer = api.deploy(vec![0; size].into(), "").await;
        let want = json!({ "code": 413, "message": "the upload is greater than 1000 bytes" });
        assert_eq!((answer.status, answer.body), (413, want), "{size}");
    }
    api.bench.stop().await;
}

#[tokio::test]
async fn bad_projects_are_refused_with_what_is_wrong() {
    const API: &str = "data: { name: Bad, version: 1.0.0, context: /bad, type: HTTP, endpointConfig: { \
                       production_endpoints: { url: 'http://a.local' } } }";
    const ROOT: &str = "openapi: 3.0.0\ninfo: { title: Bad, version: 1.0.0 }\n";
    struct Case {
        name: &'static str,
        archive: Bytes,
        status: u16,
        file: &'static str,
        pointer: &'static str,
        message: &'static str,
    }
    let project = |definition: &str| {
        archive(&[
            ("api.yaml", API.as_bytes()),
            ("Definitions/swagger.yaml", definition.as_bytes()),
        ])
    };
    let definition = "Definitions/swagger.yaml";
    let in_archive = "project/Definitions/swagger.yaml";
    let link = {
        // The kind is the upper half byte of the mode, which is the upper half of the attributes in the last record.
        let mut files = Project::default().files();
        files.push(("Docs/more", b"/etc/passwd".to_vec()));
        let files = files.iter().map(|(path, content)| (*path, content));
        let mut packed = trireme_project::archive("", files).unwrap();
        let last = packed
            .windows(4)
            .rposition(|bytes| bytes == b"PK\x01\x02")
            .unwrap();
        packed[last + 41] = 0o12 << 4 | 1;
        Bytes::from(packed)
    };
    let spaces = vec![b' '; 3 << 20];
    let cases = [
        Case {
            name: "broken zip",
            archive: Bytes::from_static(b"PK\x03\x04 no zip"),
            status: 500,
            file: "",
            pointer: "",
            message: "not a readable zip archive: invalid Zip archive: Could not find EOCD",
        },
        Case {
            name: "empty upload",
            archive: Bytes::new(),
            status: 500,
            file: "",
            pointer: "",
            message: "not a readable zip archive: invalid Zip archive: Could not find EOCD",
        },
        Case {
            name: "zip bomb",
            archive: archive(&[("api.yaml", API.as_bytes()), (definition, &spaces)]),
            status: 500,
            file: in_archive,
            pointer: "",
            message: "entry expands more than 200 times",
        },
        Case {
            name: "path out of the project",
            archive: archive(&[("../../api.yaml", API)]),
            status: 500,
            file: "project/../../api.yaml",
            pointer: "",
            message: "entry name leads out of the project",
        },
        Case {
            name: "api.yaml without data",
            archive: archive(&[("api.yaml", "type: api\n"), (definition, ROOT)]),
            status: 500,
            file: "project/api.yaml",
            pointer: "",
            message: "has no data section",
        },
        Case {
            name: "not OpenAPI",
            archive: project("hello: world\n"),
            status: 500,
            file: in_archive,
            pointer: "",
            message: "not an OpenAPI definition: neither openapi nor swagger is given",
        },
        Case {
            name: "unresolvable reference",
            archive: project(&format!("{ROOT}paths: {{ /a: {{ $ref: '#/nowhere' }} }}\n")),
            status: 500,
            file: in_archive,
            pointer: "/paths/~1a/$ref",
            message: "$ref #/nowhere leads nowhere",
        },
        Case {
            name: "circular reference",
            archive: project(&format!(
                "{ROOT}paths: {{ /a: {{ $ref: '#/paths/~1b' }}, /b: {{ $ref: '#/paths/~1a' }} }}\n"
            )),
            status: 500,
            file: in_archive,
            pointer: "/paths/~1a/$ref",
            message: "circular $ref #/paths/~1a",
        },
        Case {
            name: "virtual host that is none",
            archive: Project {
                environments: &[("Default", "a b")],
                ..Project::default()
            }
            .archive(),
            status: 500,
            file: "deployment_environments.yaml",
            pointer: "/data/0/deploymentVhost",
            message: "a b is not a host name",
        },
        Case {
            name: "link",
            archive: link,
            status: 422,
            file: "Docs/more",
            pointer: "",
            message: "entry is a symbolic link, which is not followed: put the file in its place",
        },
        Case {
            name: "open path given again",
            archive: project(&format!(
                "{ROOT}paths: {{ /a: {{ get: {{}} }}, /a: {{ get: {{ x-wso2-disable-security: true }} }} }}\n"
            )),
            status: 422,
            file: in_archive,
            pointer: "/paths/~1a",
            message: "key is given more than once, and what is said of who may call differs: keep one of them",
        },
        Case {
            name: "one path with two guards",
            archive: project(&format!(
                "{ROOT}paths: {{ '/{{a}}': {{ get: {{}} }}, '/{{b}}': {{ get: {{ x-wso2-disable-security: true }} }} }}\n"
            )),
            status: 500,
            file: in_archive,
            pointer: "/paths/~1{b}",
            message: "GET /{b} matches the same requests as GET /{a} and asks for other security",
        },
        Case {
            name: "half a parameter",
            archive: project(&format!("{ROOT}paths: {{ '/{{a': {{ get: {{}} }} }}\n")),
            status: 422,
            file: in_archive,
            pointer: "/paths/~1{a",
            message: "path /{a has a { without its }",
        },
        Case {
            name: "path of two lines",
            archive: project(&format!("{ROOT}paths: {{ \"/a\\r\\nb\": {{ get: {{}} }} }}\n")),
            status: 422,
            file: in_archive,
            pointer: "/paths/~1a\r\nb",
            message: "path \"/a\\r\\nb\" has a control character",
        },
        Case {
            name: "broken, and half a parameter",
            archive: project(&format!(
                "{ROOT}paths: {{ '/{{a': {{ get: {{}} }}, /b: {{ $ref: '#/no' }} }}\n"
            )),
            status: 500,
            file: in_archive,
            pointer: "/paths/~1{a",
            message: "path /{a has a { without its }",
        },
    ];
    let api = Api::start_with(
        false,
        Limits {
            entry_bytes: 2 << 20,
            ..Limits::default()
        },
    )
    .await;
    let good = Project::default();
    assert_eq!(api.deploy(good.archive(), "").await.status, 200);
    let before = api.list().await;
    for case in cases {
        let answer = api.deploy(case.archive, "?override=true").await;
        assert_eq!(answer.status, case.status, "{}: {}", case.name, answer.body);
        assert_eq!(
            answer.body["message"], "The API project is not valid",
            "{}",
            case.name
        );
        let found = &answer.body["diagnostics"][0];
        assert_eq!(found["severity"], "error", "{}", case.name);
        assert_eq!(
            (
                found["file"].as_str(),
                found["pointer"].as_str(),
                found["message"].as_str()
            ),
            (Some(case.file), Some(case.pointer), Some(case.message)),
            "{}",
            case.name
        );
        assert_eq!(api.list().await, before, "{} changed something", case.name);
    }
    api.bench.stop().await;
}

/// `apictl` shows no body: the log is where its users find what is wrong.
#[tokio::test]
async fn every_finding_has_its_line_in_the_log() {
    const DEPLOYMENTS: &str = "deployment_environments.yaml";
    let definition = "Definitions/swagger.yaml";
    let api = Api::start().await;
    let logged = Logged::start();
    let found = |told: &[Value]| -> Vec<[String; 7]> {
        let keys = [
            "api", "version", "origin", "severity", "file", "pointer", "finding",
        ];
        let text = |line: &Value, key| line[key].as_str().unwrap_or("absent").to_owned();
        told.iter().map(|line| keys.map(|key| text(line, key))).collect()
    };
    let line = |name: &str, version: &str, [severity, file, pointer, finding]: [&str; 4]| {
        [name, version, "management api", severity, file, pointer, finding].map(str::to_owned)
    };
    let mut bad = Project::default().files();
    bad[0]
        .1
        .extend_from_slice(b"  apiThrottlingPolicy: [ no text ]\n");
    bad[1].1 = b"openapi: 3.0.1\ninfo: { title: T, version: V }\npaths:\n  \"/a\\r\\nINFO [trireme_adapter] forged\": { $ref: '#/no' }\n  \
        /b: { $ref: '#/nor' }\n  c: {}\n"
        .to_vec();
    let warned = Project {
        environments: &[("Default", ""), ("Elsewhere", "")],
        ..Project::default()
    };
    let other = Project {
        name: "Other",
        ..warned.clone()
    };
    let elsewhere = [
        "warning",
        DEPLOYMENTS,
        "/data/1/deploymentEnvironment",
        "environment Elsewhere is not configured; nothing is deployed to it",
    ];
    let forged = "/paths/~1a\r\nINFO [trireme_adapter] forged";
    let cases = [
        (
            "refused",
            archive(&bad),
            500,
            vec![
                line(
                    "Pets",
                    "1.0.0",
                    [
                        "error",
                        "project/api.yaml",
                        "/data/apiThrottlingPolicy",
                        "must be text",
                    ],
                ),
                line(
                    "Pets",
                    "1.0.0",
                    [
                        "error",
                        &format!("project/{definition}"),
                        forged,
                        "path \"/a\\r\\nINFO [trireme_adapter] forged\" has a control character",
                    ],
                ),
                line(
                    "Pets",
                    "1.0.0",
                    [
                        "error",
                        &format!("project/{definition}"),
                        &format!("{forged}/$ref"),
                        "$ref #/no leads nowhere",
                    ],
                ),
                line(
                    "Pets",
                    "1.0.0",
                    [
                        "error",
                        &format!("project/{definition}"),
                        "/paths/~1b/$ref",
                        "$ref #/nor leads nowhere",
                    ],
                ),
                line(
                    "Pets",
                    "1.0.0",
                    [
                        "warning",
                        &format!("project/{definition}"),
                        "/paths/c",
                        "ignored: a path must start with /",
                    ],
                ),
            ],
        ),
        (
            "no archive",
            Bytes::from_static(b"PK\x03\x04 no zip"),
            500,
            vec![line(
                "",
                "",
                [
                    "error",
                    "",
                    "",
                    "not a readable zip archive: invalid Zip archive: Could not find EOCD",
                ],
            )],
        ),
        (
            "warned",
            warned.archive(),
            200,
            vec![line("Pets", "1.0.0", elsewhere)],
        ),
        (
            "warned and refused",
            other.archive(),
            409,
            vec![line("Other", "1.0.0", elsewhere)],
        ),
        ("good", Project::default().archive(), 200, vec![]),
    ];
    for (name, archive, status, want) in cases {
        let answer = api.deploy(archive, "?override=true").await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        assert_eq!(found(&logged.take("finding in a project")), want, "{name}");
    }
    api.bench.stop().await;
}

#[tokio::test]
async fn an_unknown_environment_deploys_nothing_and_says_so() {
    let api = Api::start().await;
    let project = Project {
        environments: &[("Elsewhere", "")],
        ..Project::default()
    };
    let answer = api.deploy(project.archive(), "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["action"], "none");
    assert_eq!(
        answer.body["diagnostics"],
        json!([{ "file": "deployment_environments.yaml", "pointer": "/data/0/deploymentEnvironment",
            "message": "environment Elsewhere is not configured; nothing is deployed to it", "severity": "warning" }])
    );
    assert_eq!(api.list().await, json!({ "list": null }));
    api.bench.stop().await;
}

#[tokio::test]
async fn a_definition_of_ten_megabytes_is_taken() {
    let api = Api::start().await;
    let mut definition =
        String::from("openapi: 3.0.0\ninfo:\n  title: Big\n  version: 1.0.0\n  description: \"");
    // Text that compresses as text does, not as a bomb.
    let mut seed = 1_u32;
    while definition.len() < 10 << 20 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        definition.push_str(&format!("{seed:x} "));
    }
    definition.push_str("\"\npaths:\n  /a:\n    get: { responses: { '200': { description: ok } } }\n");
    let mut files = Project::default().files();
    files[1].1 = definition.into_bytes();
    let answer = api.deploy(archive(&files), "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    api.bench.stop().await;
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_nothing_changes() {
    let api = Api::start().await;
    assert_eq!(api.deploy(Project::default().archive(), "").await.status, 200);
    let before = api.list().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(api.folder.path().join("state").join(crate::store::FILE));
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql(
        "CREATE TRIGGER full BEFORE INSERT ON deployment BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END; \
         CREATE TRIGGER full_delete BEFORE DELETE ON deployment BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END",
    )
    .execute(&mut other)
    .await
    .unwrap();
    let second = Project {
        name: "Second",
        context: "/second",
        environments: &[("Default", "one.local"), ("Default", "two.local")],
        ..Project::default()
    };
    let answer = api.deploy(second.archive(), "").await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body["message"], "Deploying the API failed");
    let reason = answer.body["description"].as_str().unwrap();
    assert!(reason.contains("database or disk is full"), "{reason}");
    let answer = api
        .call("DELETE", &format!("{APIS}?apiName=Pets&version=1.0.0"))
        .await;
    assert_eq!(answer.status, 500);
    assert_eq!(api.list().await, before);

    sqlx::raw_sql("DROP TRIGGER full; DROP TRIGGER full_delete")
        .execute(&mut other)
        .await
        .unwrap();
    assert_eq!(
        api.deploy(second.archive(), "").await.status,
        200,
        "it works again"
    );
    api.bench.stop().await;
}
