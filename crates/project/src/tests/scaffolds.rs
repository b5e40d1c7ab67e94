use super::*;
use crate::{Archive, Limits, ScaffoldOptions, archive, scaffold, scaffold_with};

fn files(definition: &str, options: &ScaffoldOptions) -> Vec<(String, Vec<u8>)> {
    let definition = Definition {
        name: "pets.yaml",
        content: definition.as_bytes(),
    };
    scaffold_with(definition, options, &Limits::default()).unwrap_or_else(|findings| panic!("{findings:?}"))
}

fn text(files: &[(String, Vec<u8>)], path: &str) -> String {
    let content = files
        .iter()
        .find(|(name, _)| name == path)
        .unwrap_or_else(|| panic!("{path}"))
        .1
        .clone();
    String::from_utf8(content).unwrap()
}

fn back(files: &[(String, Vec<u8>)]) -> ApiProject {
    let packed = archive("p", files.iter().map(|(path, content)| (path, content))).unwrap();
    accepted(read(&Archive(&packed), &Settings::new(Defaults::Require)))
}

#[test]
fn credentials_that_only_the_upstream_gives_out_become_tokens() {
    struct Case {
        schemes: &'static str,
        want: bool,
    }
    let cases = [
        Case {
            schemes: "{}",
            want: false,
        },
        Case {
            schemes: "{k: {type: apiKey, in: header, name: k}}",
            want: true,
        },
        Case {
            schemes: "{b: {type: http, scheme: basic}}",
            want: true,
        },
        Case {
            schemes: "{k: {type: apiKey, in: query, name: k}, o: {type: oauth2, flows: {}}}",
            want: false,
        },
        Case {
            schemes: "{k: {type: openIdConnect, openIdConnectUrl: 'https://a.test'}}",
            want: false,
        },
    ];
    for Case { schemes, want } in cases {
        let definition = format!(
            "openapi: 3.0.1\ninfo: {{version: '1', title: Pets}}\ncomponents: {{securitySchemes: {schemes}}}\nsecurity: [{{k: []}}]\npaths: {{/pets: {{get: {{responses: {{}}}}}}}}\n"
        );
        let files = files(&definition, &ScaffoldOptions::default());
        let written = text(&files, "api.yaml").contains("securityScheme:\n  - oauth2\n");
        assert_eq!(written, want, "{schemes}");
        if want {
            assert_eq!(back(&files).security_schemes, [], "{schemes}");
            assert_eq!(back(&files).security, [], "{schemes}");
        }
    }
}

#[test]
fn the_generated_files() {
    let files = files(
        "# lost\nopenapi: 3.0.1\npaths: {/pets: {get: {responses: {200: {description: 'yes'}}}}}\ninfo:\n  version: '1.0'\n  title: My Pets\n",
        &ScaffoldOptions::default(),
    );
    let names: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        names,
        [
            "api.yaml",
            "api_meta.yaml",
            "deployment_environments.yaml",
            "README.md",
            "Definitions/swagger.yaml",
            "Client-certificates/",
            "Docs/",
            "Endpoint-certificates/",
            "Image/",
            "Interceptors/",
            "Policies/",
            "libs/",
        ]
    );
    assert_eq!(
        text(&files, "api.yaml"),
        "type: api\nversion: v4.2.0\ndata:\n  name: MyPets\n  context: /my-pets\n  version: \"1.0\"\n  provider: admin\n  lifeCycleStatus: CREATED\n  isRevision: false\n  revisionId: 0\n  type: HTTP\n  transport:\n  - http\n  - https\n  policies:\n  - Unlimited\n  visibility: PUBLIC\n  endpointConfig:\n    endpoint_type: http\n    production_endpoints:\n      url: http://localhost:8080\n    sandbox_endpoints:\n      url: http://localhost:8081\n  endpointImplementationType: ENDPOINT\n  websubSubscriptionConfiguration: null\n"
    );
    assert_eq!(
        text(&files, "Definitions/swagger.yaml"),
        "info:\n  title: My Pets\n  version: \"1.0\"\nopenapi: \"3.0.1\"\npaths:\n  /pets:\n    get:\n      responses:\n        \"200\":\n          description: \"yes\"\nx-wso2-basePath: /my-pets/1.0\n"
    );
    assert_eq!(
        text(&files, "deployment_environments.yaml"),
        "type: deployment_environments\nversion: v4.2.0\ndata:\n- displayOnDevportal: true\n  deploymentEnvironment: Default\n"
    );
    assert_eq!(
        text(&files, "api_meta.yaml"),
        "deploy:\n  import:\n    preserveProvider: true\n    rotateRevision: false\n    update: true\nname: MyPets\nversion: \"1.0\"\n"
    );
}

#[test]
fn what_is_written_reads_back() {
    let info = "info: {title: 'A b', version: '1 0'}\n";
    let cases = [
        (
            "servers",
            "servers: [{url: 'https://h.example/v1'}]\n",
            "/a-b/10",
            "https://h.example/v1",
            false,
        ),
        (
            "variable host",
            "servers: [{url: 'https://{x}.example', variables: {x: {default: eu}}}]\n",
            "/a-b/10",
            "https://eu.example",
            false,
        ),
        ("nothing", "", "/a-b/10", "http://localhost:8080", false),
        (
            "base path with version",
            "x-wso2-basePath: /x/10/\n",
            "/x/10/",
            "http://localhost:8080",
            true,
        ),
        (
            "base path with placeholder",
            "x-wso2-basePath: /x/{version}\n",
            "/x/10",
            "http://localhost:8080",
            false,
        ),
        (
            "many",
            "x-wso2-production-endpoints: {urls: ['http://b1', 'http://b2']}\n",
            "/a-b/10",
            "http://b1",
            false,
        ),
        (
            "failover",
            "x-wso2-production-endpoints: {urls: ['http://b1', 'http://b2'], type: failover}\nx-wso2-sandbox-endpoints: {urls: ['http://b3']}\n",
            "/a-b/10",
            "http://b1",
            false,
        ),
    ];
    for (name, rest, base_path, url, default_version) in cases {
        let definition = format!("openapi: 3.0.0\n{info}{rest}{PATHS}");
        let project = back(&files(&definition, &ScaffoldOptions::default()));
        assert_eq!(project.base_path, base_path, "{name}");
        assert_eq!(project.production.unwrap().endpoints[0].url, url, "{name}");
        assert_eq!(project.default_version, default_version, "{name}");
        assert_eq!(
            (project.identity.name.as_str(), project.identity.version.as_str()),
            ("Ab", "10"),
            "{name}"
        );
        let alone = accepted(super::alone(&definition));
        assert_eq!(
            alone.base_path, project.base_path,
            "{name}: alone and in a project it's at the same place"
        );
    }
    let two = format!("swagger: '2.0'\n{info}host: h.example\nbasePath: /v2\n{PATHS}");
    assert_eq!(
        back(&files(&two, &ScaffoldOptions::default())).base_path,
        "/a-b/10"
    );
    let named = ScaffoldOptions {
        name: Some("Other One".into()),
        published: true,
    };
    let project = back(&files(&two, &named));
    assert_eq!(
        (project.identity.name.as_str(), project.base_path.as_str()),
        ("OtherOne", "/otherone/10")
    );
    assert_eq!(project.lifecycle, "PUBLISHED");
}

#[test]
fn odd_texts_survive() {
    let odd = [
        "yes",
        "0123",
        "1e3",
        "~",
        "- a",
        "a: b",
        "# c",
        " lead",
        "trail ",
        "multi\nline\n\n",
        "tab\tx",
        "'",
        "\"",
        "\\",
        "{}",
        "\u{e4}\u{1f600}",
        "2020-01-01",
        "=",
        "<<",
        "!x",
        "&y",
        "*z",
        "%",
        "@",
        "`",
        "",
    ];
    let values = serde_json::json!({
        "openapi": "3.0.0",
        "info": {"title": "t", "version": "1"},
        "paths": {"/pets": {"get": {}}},
        "x-wso2-basePath": "/x",
        "x-wso2-odd": odd,
        "x-wso2-keys": odd.iter().map(|key| ((*key).to_owned(), serde_json::Value::from(*key))).collect::<serde_json::Map<_, _>>(),
        "x-wso2-numbers": [0, -1, 1.5, 1e300, u64::MAX, i64::MIN, 0.1 + 0.2],
    });
    let project = back(&files(&values.to_string(), &ScaffoldOptions::default()));
    assert_eq!(project.extensions["x-wso2-odd"].to_json(), values["x-wso2-odd"]);
    assert_eq!(project.extensions["x-wso2-keys"].to_json(), values["x-wso2-keys"]);
    assert_eq!(
        project.extensions["x-wso2-numbers"].to_json(),
        values["x-wso2-numbers"]
    );
}

/// What is written anew has values alone, so texts get their quotes.
#[test]
fn texts_stay_as_written() {
    let definition = "openapi: 3.0.0\ninfo: {title: 0x10, version: 1.10}\nservers: [{url: 'http://b1/{c}/v{v}', variables: {c: {default: \
        no}, v: {default: 2.0}}}]\nx-throttling-tier: 050\nx-trireme-headers: {request: {add: {a: [1.10, y]}}}\npaths:\n  /pets:\n    \
        servers: [{url: 'http://b2/{c}', variables: {c: {default: y}}}]\n    get: {x-wso2-throttling-tier: 1e3, security: [{o: \
        [1.10]}]}\ncomponents: {securitySchemes: {o: {type: oauth2}}}\n";
    let api = back(&files(definition, &ScaffoldOptions::default()));
    assert_eq!(
        (api.identity.name.as_str(), api.identity.version.as_str()),
        ("0x10", "1.10")
    );
    assert_eq!(api.production.unwrap().endpoints[0].base_path, "/no/v2.0");
    assert_eq!(api.tier.as_deref(), Some("050"));
    let headers = api.extensions["x-trireme-headers"].to_json();
    assert_eq!(
        headers,
        serde_json::json!({"request": {"add": {"a": ["1.10", "y"]}}})
    );
    let resource = &api.resources[0];
    assert_eq!(resource.production.as_ref().unwrap().endpoints[0].base_path, "/y");
    assert_eq!(resource.operations[0].tier.as_deref(), Some("1e3"));
    assert_eq!(resource.operations[0].security[0]["o"], ["1.10"]);
}

#[test]
fn refusals_name_the_file() {
    let definition = Definition {
        name: "x.json",
        content: b"{",
    };
    let findings = scaffold(definition, &Limits::default()).unwrap_err();
    assert_eq!(
        lines(&findings),
        ["error: x.json: not valid JSON: EOF while parsing an object at line 1 column 1"]
    );
}
