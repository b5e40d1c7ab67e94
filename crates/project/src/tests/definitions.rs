use super::*;
use crate::{Cors, Resource};

fn paths(resources: &[Resource]) -> Vec<(&str, Vec<&str>)> {
    resources
        .iter()
        .map(|resource| {
            (
                resource.path.as_str(),
                resource
                    .operations
                    .iter()
                    .map(|operation| operation.method.as_str())
                    .collect(),
            )
        })
        .collect()
}

#[test]
fn versions() {
    let path = "paths: {/a: {get: {}}}\n";
    let cases = [
        ("swagger: '2.0'\n", true),
        ("swagger: 2.0\n", true),
        ("openapi: 3.0.0\n", true),
        (
            "openapi: 3.1.0\njsonSchemaDialect: x\nwebhooks: {w: {post: {}}}\n",
            true,
        ),
        ("openapi: '3.0.1'\n", true),
        ("asyncapi: '3.0.0'\n", false),
        ("asyncapi: 1.2.0\n", false),
        ("info: {}\n", false),
    ];
    for (head, want) in cases {
        let got = alone(&format!("{head}info: {{title: t, version: v}}\n{path}"));
        assert_eq!(got.is_ok(), want, "{head}: {got:?}");
    }
    assert_eq!(
        errors(alone("hello")),
        ["error: my api.yaml: not an OpenAPI definition: neither openapi nor swagger is given"]
    );
    assert_eq!(
        errors(alone("asyncapi: 3.0.0\n")),
        ["error: my api.yaml#/asyncapi: AsyncAPI 3.0.0 is not supported, only 2.x is"]
    );
}

#[test]
fn path_items() {
    let text = openapi(
        "paths:\n  /b/*: {get: {}}\n  /b/{id}: {put: {}, get: {}, x-y: 1, summary: s}\n  /b: {trace: {}, options: {}}\n  /none: {parameters: []}\n  /null:\n  x-ext: {get: {}}\n  c: {get: {}}\n  /with space: {get: {}}\n  /größe: {get: {}}\n",
    );
    let reading = alone(&text).unwrap();
    assert_eq!(
        paths(&reading.project.resources),
        [
            ("/b", vec!["OPTIONS"]),
            ("/größe", vec!["GET"]),
            ("/with space", vec!["GET"]),
            ("/b/{id}", vec!["GET", "PUT"]),
            ("/b/*", vec!["GET"]),
        ]
    );
    assert_eq!(
        lines(&reading.warnings),
        [
            "warning: my api.yaml#/paths/~1b/trace: ignored: this method is not routed",
            "warning: my api.yaml#/paths/~1null: ignored: nothing is said of the path",
            "warning: my api.yaml#/paths/c: ignored: a path must start with /",
            "warning: my api.yaml: no endpoint is given: calls will be refused until there is one",
        ]
    );
    let later = openapi(
        "servers: [{url: 'http://b1'}]\npaths:\n  /a:\n    get: {}\n    query: {requestBody: {}}\n    Trace: {}\n    connect: {}\n    \
         additionalOperations: {COPY: {}, x/y: {$ref: '#/nowhere'}}\n  /b: {query: {}, additionalOperations: [1]}\n",
    );
    let later = alone(&later.replace("3.0.3", "3.2.0")).unwrap();
    assert_eq!(paths(&later.project.resources), [("/a", vec!["GET"])]);
    assert_eq!(
        lines(&later.warnings),
        [
            "warning: my api.yaml#/paths/~1a/additionalOperations/COPY: ignored: this method is not routed",
            "warning: my api.yaml#/paths/~1a/additionalOperations/x~1y: ignored: this method is not routed",
            "warning: my api.yaml#/paths/~1a/query: ignored: this method is not routed",
            "warning: my api.yaml#/paths/~1a/Trace: ignored: this method is not routed",
            "warning: my api.yaml#/paths/~1a/connect: ignored: this method is not routed",
            "warning: my api.yaml#/paths/~1b/query: ignored: this method is not routed",
        ]
    );
    let swapped = alone(&text).unwrap().project;
    assert_eq!(swapped, reading.project, "reading is repeatable, ids included");
}

#[test]
fn references() {
    let components = "components:\n  pathItems:\n    shared: {get: {}, put: {}, x-wso2-disable-security: true}\n    round: {$ref: '#/components/pathItems/trip'}\n    trip: {$ref: '#/components/pathItems/round'}\n  parameters:\n    id: {$ref: '#/components/parameters/real'}\n    real: {name: id, in: path}\n    a: {$ref: '#/components/parameters/b'}\n    b: {$ref: '#/components/parameters/a'}\n  responses:\n    ok: {description: ok}\n  schemas:\n    node: {properties: {next: {$ref: '#/components/schemas/node'}, gone: {$ref: '#/components/schemas/gone'}}}\n";
    let good = openapi(&format!(
        "servers: [{{url: 'http://host'}}]\npaths:\n  /a: {{$ref: '#/components/pathItems/shared', put: {{x-throttling-tier: T}}}}\n  /b~c: {{get: {{}}}}\n  /d: {{$ref: '#/paths/~1b~0c'}}\n  /e:\n    parameters: [{{$ref: '#/components/parameters/id'}}]\n    get:\n      parameters: [{{$ref: '#/components/schemas/node/properties/next'}}]\n      requestBody: {{$ref: '#/components/requestBodies/none'}}\n      responses: {{200: {{$ref: '#/components/responses/ok'}}, 404: {{$ref: other.yaml}}}}\n{components}"
    ));
    let reading = alone(&good).unwrap();
    assert_eq!(
        paths(&reading.project.resources),
        [
            ("/a", vec!["GET", "PUT"]),
            ("/b~c", vec!["GET"]),
            ("/d", vec!["GET"]),
            ("/e", vec!["GET"]),
        ]
    );
    let operations = &reading.project.resources[0].operations;
    assert_eq!(
        operations[1].tier.as_deref(),
        Some("T"),
        "what stands beside a reference wins"
    );
    assert!(operations.iter().all(|operation| operation.disable_security));
    assert_eq!(
        lines(&reading.warnings),
        [
            "warning: my api.yaml#/paths/~1e/get/responses/404/$ref: $ref other.yaml leads out of the file; only references within it are followed",
            "warning: my api.yaml#/paths/~1e/get/requestBody: without meaning: a body of GET has none (RFC 9110 section 9.3); it is passed on as it is",
        ]
    );

    let cases = [
        (
            "/a: {$ref: '#/components/pathItems/none'}",
            "/paths/~1a/$ref: $ref #/components/pathItems/none leads nowhere",
        ),
        (
            "/a: {$ref: '#/components/pathItems/round'}",
            "/paths/~1a/$ref: circular $ref #/components/pathItems/round",
        ),
        (
            "/a: {$ref: '#/paths/~1a'}",
            "/paths/~1a/$ref: circular $ref #/paths/~1a",
        ),
        (
            "/a: {$ref: './a.yaml'}",
            "/paths/~1a/$ref: $ref ./a.yaml leads out of the file; only references within it are followed",
        ),
        (
            "/a: {$ref: 'https://x/y'}",
            "/paths/~1a/$ref: $ref https://x/y leads out of the file; only references within it are followed",
        ),
        ("/a: {$ref: [1]}", "/paths/~1a/$ref: $ref must be text"),
        ("/a: {$ref: '#/info/title'}", "/paths/~1a: must be an object"),
        (
            "/a: {$ref: '#/components/schemas/node'}",
            "/paths/~1a: must be an object",
        ),
        ("/a: 3", "/paths/~1a: must be an object"),
        ("/a: {get: []}", "/paths/~1a/get: must be an object"),
        (
            "/a: {get: {parameters: {}}}",
            "/paths/~1a/get/parameters: must be a list",
        ),
    ];
    for (item, want) in cases {
        let got = errors(alone(&openapi(&format!("paths:\n  {item}\n{components}"))));
        assert_eq!(got, [format!("error: my api.yaml#{want}")], "{item}");
    }
    let unread = [
        (
            "/a: {get: {}, parameters: [{$ref: '#/components/parameters/a'}]}",
            "/paths/~1a/parameters/0/$ref: circular $ref #/components/parameters/a",
        ),
        (
            "/a: {get: {parameters: [{}, {$ref: '#/x'}]}}",
            "/paths/~1a/get/parameters/1/$ref: $ref #/x leads nowhere",
        ),
        (
            "/a: {get: {responses: {200: {$ref: '#/components/responses/none'}}}}",
            "/paths/~1a/get/responses/200/$ref: $ref #/components/responses/none leads nowhere",
        ),
    ];
    let servers = "servers: [{url: 'http://host'}]";
    for (item, want) in unread {
        let got = warnings(alone(&openapi(&format!(
            "{servers}\npaths:\n  {item}\n{components}"
        ))));
        assert_eq!(got, [format!("warning: my api.yaml#{want}")], "{item}");
    }
    let all = openapi("paths:\n  /a: {$ref: '#/x'}\n  /b: {$ref: '#/y'}\n  /c: {get: 3}\nsecurity: 3\n");
    assert_eq!(errors(alone(&all)).len(), 4, "all are reported");
}

/// An operation by reference has the scopes and tier of what it refers to; they must not get lost.
#[test]
fn operations_by_reference() {
    let shared = "x-operations:\n  read: {security: [{default: [admin]}], x-throttling-tier: T}\n  loop: {$ref: '#/x-operations/pool'}\n  pool: {$ref: '#/x-operations/loop'}\ncomponents: {securitySchemes: {default: {type: oauth2}}}\n";
    let paths = "paths:\n  /a:\n    get: {$ref: '#/x-operations/read'}\n    put: {$ref: '#/paths/~1a/get', x-throttling-tier: U}\n";
    let operations = &accepted(alone(&openapi(&format!("{shared}{paths}")))).resources[0].operations;
    let got: Vec<(&str, Option<&str>)> = operations
        .iter()
        .map(|operation| {
            (
                operation.security[0]["default"][0].as_str(),
                operation.tier.as_deref(),
            )
        })
        .collect();
    assert_eq!(got, [("admin", Some("T")), ("admin", Some("U"))]);
    let cases = [
        ("'#/x-operations/none'", "$ref #/x-operations/none leads nowhere"),
        ("'#/x-operations/loop'", "circular $ref #/x-operations/loop"),
        (
            "get.yaml",
            "$ref get.yaml leads out of the file; only references within it are followed",
        ),
    ];
    for (target, want) in cases {
        let paths = format!("paths:\n  /a: {{get: {{$ref: {target}}}}}\n");
        let got = errors(alone(&openapi(&format!("{shared}{paths}"))));
        assert_eq!(got, [format!("error: my api.yaml#/paths/~1a/get/$ref: {want}")]);
    }
}

#[test]
fn servers_without_a_host() {
    let text = openapi(&format!(
        "servers: [{{url: /api/v3}}, {{url: //h.example/v1}}]\n{PATHS}"
    ));
    assert_eq!(
        warnings(alone(&text)),
        [
            "warning: my api.yaml#/servers: no usable address is given: calls will be refused until there is one"
        ]
    );
}

/// Each of these is a way to believe that something is routed or limited which is not.
#[test]
fn what_has_no_effect_is_said() {
    let text = openapi(
        "servers: [{url: 'http://host'}]\nsecurity: []\npaths:\n  /a:\n    GET: {}\n    x-throttling-tier: Gold\n    x-auth-type: None\n    get: {}\n",
    );
    assert_eq!(
        warnings(alone(&text)),
        [
            "warning: my api.yaml#/paths/~1a/GET: ignored: methods are written in lower case",
            "warning: my api.yaml#/paths/~1a/x-throttling-tier: ignored: tiers are read from the operation or the root",
            "warning: my api.yaml#/paths/~1a/x-auth-type: ignored: x-auth-type is read from the operation or the root",
        ]
    );
}

#[test]
fn an_empty_tier_is_none() {
    let tiers = "x-wso2-throttling-tier: ''\npaths: {/a: {get: {x-wso2-throttling-tier: '', x-throttling-tier: T}}}\n";
    let api = accepted(pets(
        &format!("  apiThrottlingPolicy: Lead\n{ENDPOINT}"),
        &openapi(tiers),
    ));
    assert_eq!(api.tier.as_deref(), Some("Lead"));
    assert_eq!(api.resources[0].operations[0].tier.as_deref(), Some("T"));
}

/// Thousands of references to one long chain: each was followed anew, which took seconds.
#[test]
fn shared_references_are_followed_once() {
    let chain: String = (0..60)
        .map(|i| format!("    p{i}: {{$ref: '#/components/parameters/p{}'}}\n", i + 1))
        .collect();
    let references = "{$ref: '#/components/parameters/p0'}, ".repeat(3_000);
    let text = openapi(&format!(
        "servers: [{{url: 'http://host'}}]\npaths: {{/a: {{get: {{parameters: [{references}]}}}}}}\ncomponents:\n  parameters:\n{chain}"
    ));
    let got = warnings(alone(&text));
    assert_eq!(got.len(), 1_001);
    assert!(got[2_999 % 1_000].ends_with("$ref #/components/parameters/p60 leads nowhere"));
}

#[test]
fn what_references_bring_in_is_bounded() {
    let parameters = "{}, ".repeat(2_000);
    let shared = format!("components: {{pathItems: {{big: {{get: {{}}, parameters: [{parameters}]}}}}}}\n");
    let paths: String = (0..200)
        .map(|index| format!("  /{index}: {{$ref: '#/components/pathItems/big'}}\n"))
        .collect();
    let got = errors(alone(&openapi(&format!("{shared}paths:\n{paths}"))));
    assert_eq!(got.len(), 101);
    assert!(
        got[0].ends_with("/$ref: references expand to too much"),
        "{}",
        got[0]
    );

    let urls = "'http://host', ".repeat(2_000);
    let named = format!("x-wso2-endpoints: [{{all: {{urls: [{urls}]}}}}]\n");
    let paths: String = (0..101)
        .map(|index| {
            format!("  /{index}: {{get: {{}}, x-wso2-production-endpoints: '#/x-wso2-endpoints/all'}}\n")
        })
        .collect();
    let got = errors(alone(&openapi(&format!("{named}paths:\n{paths}"))));
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(
        got[0].ends_with("/x-wso2-production-endpoints: references expand to too much"),
        "{}",
        got[0]
    );
}

#[test]
fn paths_are_bounded() {
    let paths: String = (0..=20_000).map(|index| format!("  /{index}: {{}}\n")).collect();
    assert_eq!(
        errors(alone(&openapi(&format!("paths:\n{paths}")))),
        ["error: my api.yaml#/paths: 20001 paths are more than the 20000 an API may have"]
    );
}

#[test]
fn findings_are_bounded() {
    let items: String = (0..3_000).map(|index| format!("  /{index}: 1\n")).collect();
    let findings = alone(&openapi(&format!("paths:\n{items}"))).unwrap_err();
    assert_eq!(findings.len(), 1_001);
    assert!(
        findings
            .last()
            .unwrap()
            .message
            .contains("more findings are not listed")
    );
}

#[test]
fn names_and_versions_of_bare_definitions() {
    let cases = [
        (
            "title: Pet Store, version: 1.10",
            "PetStore",
            "1.10",
            "/pet-store/1.10",
        ),
        (
            "title: '  Pets\n  & More  ', version: v2 beta",
            "Pets&More",
            "v2beta",
            "/pets-more/v2beta",
        ),
        (
            "title: \u{5ba0}\u{7269}, version: '1.0.0+build.7'",
            "\u{5ba0}\u{7269}",
            "1.0.0+build.7",
            "",
        ),
        ("title: 2048, version: 2", "2048", "2", "/2048/2"),
        (
            "title: Caf\u{e9} API, version: '2021-03-01'",
            "Caf\u{e9}API",
            "2021-03-01",
            "/caf-api/2021-03-01",
        ),
        ("version: '../..'", "myapi", "../..", "/my-api"),
        ("title: '', version: ''", "myapi", "1.0.0", "/my-api/1.0.0"),
    ];
    for (info, name, version, base_path) in cases {
        let api = accepted(alone(&format!(
            "openapi: 3.0.0\ninfo: {{{info}}}\nservers: [{{url: 'https://h.example/v1'}}]\n{PATHS}"
        )));
        assert_eq!(
            (api.identity.name.as_str(), api.identity.version.as_str()),
            (name, version),
            "{info}"
        );
        if base_path.is_empty() {
            assert!(
                api.base_path.starts_with("/api-") && api.base_path.ends_with("/1.0.0-build.7"),
                "{}",
                api.base_path
            );
        } else {
            assert_eq!(api.base_path, base_path, "{info}");
        }
        assert!(crate::read::derive::is_base_path(&api.base_path), "{info}");
    }
    // Whatever else is odd in it, and in JSON as well.
    for (head, version) in [
        ("info: {title: [A], version: 1.10}", "1.10"),
        ("info: {title: A, version: 1.20, version: 1.10}", "1.10"),
        ("info: {title: A, title: B, version: 1.10}", "1.10"),
        ("info: {version: 1}\ninfo: {title: A, version: 1.10}", "1.10"),
        ("info: {title: A, ~: x, version: 1.10}", "1.10"),
        ("null: x\ninfo: {title: A, version: 1.10}", "1.10"),
        ("info: {title: A, version: !!float 1.10}", "1.10"),
        ("info: {title: A, version: !!int 0x10}", "0x10"),
        ("info: {title: A, version: no}", "no"),
        ("x: &v 1.10\ninfo: {title: A, version: *v}", "1.10"),
        ("x: &i {version: 1.10}\ninfo: {<<: *i, title: A}", "1.10"),
    ] {
        let got = alone(&format!("openapi: 3.0.0\n{head}\n{PATHS}"));
        assert_eq!(accepted(got).identity.version, version, "{head}");
    }
    let json = "{\"openapi\": \"3.0.0\", \"info\": {\"title\": 12e0, \"version\": 1.10 }, \"paths\": {\"/pets\": {\"get\": {}}}}";
    let reading = alone(json).unwrap();
    let identity = &reading.project.identity;
    assert_eq!(
        (identity.name.as_str(), identity.version.as_str()),
        ("12e0", "1.10")
    );
    let note = "taken as written; other readers may make another number of it: put quotes around it";
    assert_eq!(
        lines(&reading.warnings)[..2],
        [
            format!("warning: my api.yaml#/info/title: {note}"),
            format!("warning: my api.yaml#/info/version: {note}"),
        ]
    );
    let nothing = alone(&format!("openapi: 3.0.0\n{PATHS}"));
    assert_eq!(
        warnings(nothing)[..2],
        [
            "warning: my api.yaml#/info/title: not given: my api is used",
            "warning: my api.yaml#/info/version: not given: 1.0.0 is used",
        ]
    );
}

#[test]
fn base_path_precedence() {
    let three = |rest: &str| openapi(&format!("{rest}{PATHS}"));
    let two = |rest: &str| format!("swagger: '2.0'\ninfo: {{title: Pets, version: '9'}}\n{rest}{PATHS}");
    let servers = "servers: [{url: 'https://a.example/one'}, {url: /rel}, {url: 'https://b.example/two/'}]\n";
    let cases = [
        (
            "extension over all",
            three(&format!("x-wso2-basePath: /x/y\n{servers}")),
            "/x/y",
        ),
        (
            "version in the extension",
            three("x-wso2-basePath: /x/{version}\n"),
            "/x/1.0.0",
        ),
        ("last server", three(servers), "/two/"),
        (
            "root of a server",
            three("servers: [{url: 'https://a.example/'}]\n"),
            "/",
        ),
        (
            "server without path",
            three("servers: [{url: 'https://a.example'}]\n"),
            "/pets/1.0.0",
        ),
        (
            "server with a path that can't be one",
            three("servers: [{url: 'https://a.example/a(b)'}]\n"),
            "/pets/1.0.0",
        ),
        (
            "relative servers",
            three("servers: [{url: /v1}, {url: ''}]\n"),
            "/pets/1.0.0",
        ),
        ("2.0", two("basePath: /v2\n"), "/v2"),
        (
            "2.0, extension",
            two("basePath: /v2\nx-wso2-basePath: /v3\n"),
            "/v3",
        ),
        ("2.0 without", two("host: a.example\n"), "/pets/1.0.0"),
    ];
    for (name, definition, want) in cases {
        assert_eq!(accepted(pets(ENDPOINT, &definition)).base_path, want, "{name}");
    }
    for (definition, want) in [
        (
            three("servers: [{url: 'https://a.example/a(b)'}]\n"),
            "#/servers: base path \"/a(b)\"",
        ),
        (two("basePath: v2\n"), "#/basePath: base path \"v2\""),
    ] {
        let got = warnings(pets(ENDPOINT, &definition));
        assert_eq!(got.len(), 1, "{got:?}");
        assert!(got[0].contains(want), "{got:?}");
    }
    for bad in [
        "x", "/a b", "/a{b}", "/a/../b", "/ä", "//", "/a//b", "/./a", "/a%2Fb", "/(a|b)*", "/a?b#c",
        "/a\\\\b",
    ] {
        let got = errors(pets(ENDPOINT, &three(&format!("x-wso2-basePath: '{bad}'\n"))));
        let want = format!(
            "error: p/Definitions/swagger.yaml#/x-wso2-basePath: base path {bad:?} must start with / and have only letters, digits and ~ / _ . -"
        );
        assert_eq!(got, [want]);
    }
    assert_eq!(accepted(alone(&three("x-wso2-basePath: /x\n"))).base_path, "/x");
    assert_eq!(
        accepted(alone(&two("basePath: /v2\nhost: a.example\n"))).base_path,
        "/pets/9"
    );
}

#[test]
fn extensions() {
    let root = "x-wso2-throttling-tier: Gold\nx-throttling-tier: Tin\nx-wso2-auth-header: X-Key\nx-wso2-http2-backend-enabled: true\nx-wso2-pass-request-payload-to-enforcer: false\n";
    let api = accepted(pets(
        &format!("  apiThrottlingPolicy: Lead\n  authorizationHeader: X-No\n{ENDPOINT}"),
        &openapi(&format!("{root}{PATHS}")),
    ));
    assert_eq!(
        (api.tier.as_deref(), api.auth_header.as_deref()),
        (Some("Gold"), Some("X-Key"))
    );
    assert!(api.http2_backend && !api.pass_request_payload);
    assert_eq!(api.extensions.len(), 5);
    let plain = accepted(pets(ENDPOINT, &openapi(PATHS)));
    assert!(!plain.http2_backend && plain.pass_request_payload);
    let wrong = pets(
        ENDPOINT,
        &openapi(&format!(
            "x-wso2-basePath: 3\nx-wso2-disable-security: 'true'\n{PATHS}"
        )),
    );
    assert_eq!(
        warnings(wrong),
        [
            "warning: p/Definitions/swagger.yaml#/x-wso2-disable-security: ignored: must be true or false",
            "warning: p/Definitions/swagger.yaml#/x-wso2-basePath: ignored: must be text",
        ]
    );
}

/// As the original's reader of OpenAPI 2 does it.
#[test]
fn keys_of_openapi_2_may_have_any_case() {
    let json = serde_json::json!({
        "swagger": "2.0",
        "Info": {"Title": "Odd", "VERSION": "7"},
        "Host": "h.example",
        "basepath": "/v9",
        "Schemes": ["https"],
        "SecurityDefinitions": {"O": {"Type": "oauth2"}, "Type": {"type": "basic"}},
        "Security": [{"O": ["a"]}],
        "Paths": {
            "/Get": {"GET": {"Security": [{"O": ["b"]}]}, "Parameters": [], "post": {}, "Post": {"security": []}},
            "x-Get": {"GET": {}},
        },
    })
    .to_string();
    let reading = alone(&json).unwrap();
    let api = reading.project;
    assert_eq!(
        (api.identity.name.as_str(), api.identity.version.as_str()),
        ("Odd", "7")
    );
    assert_eq!(api.production.unwrap().endpoints[0].url, "https://h.example/v9");
    assert_eq!(api.resources[0].operations[0].security[0]["O"], ["b"]);
    assert_eq!(api.resources[0].operations[1].security[0]["O"], ["a"]);
    let operations: Vec<&str> = api.resources[0]
        .operations
        .iter()
        .map(|operation| operation.method.as_str())
        .collect();
    assert_eq!(
        (api.resources[0].path.as_str(), operations),
        ("/Get", vec!["GET", "POST"])
    );
    assert_eq!(api.resources[0].operations[0].security[0]["O"], ["b"]);
    let want = [
        "Info: taken for info",
        "Host: taken for host",
        "basepath: taken for basePath",
        "Schemes: taken for schemes",
        "SecurityDefinitions: taken for securityDefinitions",
        "Security: taken for security",
        "Paths: taken for paths",
        "info/Title: taken for title",
        "info/VERSION: taken for version",
        "securityDefinitions/O/Type: taken for type",
        "paths/~1Get/GET: taken for get",
        "paths/~1Get/Parameters: taken for parameters",
        "paths/~1Get/Post: ignored: post is given as well",
        "paths/~1Get/get/Security: taken for security",
    ];
    let got = lines(&reading.warnings);
    assert_eq!(got.len(), want.len(), "{got:?}");
    for (got, want) in got.iter().zip(want) {
        assert!(
            got.starts_with(&format!("warning: my api.yaml#/{want}")),
            "{got}: {want}"
        );
    }
    // Beside `api.yaml` as well; in OpenAPI 3 the case matters.
    assert_eq!(accepted(pets(ENDPOINT, &json)).base_path, "/v9");
    let three = json.replace("\"swagger\":\"2.0\"", "\"openapi\":\"3.0.0\"");
    assert_eq!(accepted(alone(&three)).resources.len(), 0);
}

#[test]
fn cors() {
    let policy = |text: &str| accepted(pets(ENDPOINT, &openapi(&format!("{text}{PATHS}")))).cors;
    assert_eq!(policy(""), Cors::Global);
    assert_eq!(
        policy("x-wso2-cors: {corsConfigurationEnabled: false, accessControlAllowOrigins: ['*']}\n"),
        Cors::Global
    );
    assert_eq!(policy("x-wso2-cors: on\n"), Cors::Off);
    let Cors::Custom(custom) = policy(
        "x-wso2-cors: {AccessControlAllowOrigins: [a, b], accessControlAllowMethods: [GET], accessControlAllowCredentials: true}\n",
    ) else {
        panic!("custom")
    };
    assert_eq!(
        (
            custom.allow_origins.len(),
            custom.allow_methods.len(),
            custom.allow_credentials
        ),
        (2, 1, true)
    );
    // A truth value in quotes is one.
    for (text, credentials) in [
        ("true", true),
        ("'true'", true),
        ("\"False\"", false),
        ("'FALSE'", false),
    ] {
        let Cors::Custom(custom) = policy(&format!(
            "x-wso2-cors: {{AccessControlAllowOrigins: [a], CorsConfigurationEnabled: 'true', AccessControlAllowCredentials: {text}}}\n"
        )) else {
            panic!("{text}")
        };
        assert_eq!(custom.allow_credentials, credentials, "{text}");
    }
    assert_eq!(
        policy("x-wso2-cors: {corsConfigurationEnabled: 'false'}\n"),
        Cors::Global
    );
    // Anything else takes the policy away, not the API.
    for (text, place) in [
        (
            "AccessControlAllowCredentials: maybe",
            "AccessControlAllowCredentials: CORS is off: must be true or false",
        ),
        (
            "AccessControlAllowCredentials: 1",
            "AccessControlAllowCredentials: CORS is off: must be true or false",
        ),
        (
            "corsConfigurationEnabled: [false]",
            "corsConfigurationEnabled: CORS is off: must be true or false",
        ),
        (
            "accessControlAllowMethods: GET",
            "accessControlAllowMethods: CORS is off: must be a list",
        ),
        (
            "accessControlAllowHeaders: [[]]",
            "accessControlAllowHeaders/0: CORS is off: must be text",
        ),
    ] {
        let reading = pets(
            ENDPOINT,
            &openapi(&format!(
                "x-wso2-cors: {{accessControlAllowOrigins: [a], {text}}}\n{PATHS}"
            )),
        )
        .unwrap();
        assert_eq!(reading.project.cors, Cors::Off, "{text}");
        assert_eq!(
            lines(&reading.warnings),
            [format!(
                "warning: p/Definitions/swagger.yaml#/x-wso2-cors/{place}"
            )]
        );
    }
    let hyphens = pets(
        ENDPOINT,
        &openapi(&format!(
            "x-wso2-cors: {{access-control-allow-origins: [a]}}\n{PATHS}"
        )),
    );
    assert_eq!(
        warnings(hyphens),
        [
            "warning: p/Definitions/swagger.yaml#/x-wso2-cors: no accessControlAllowOrigins: no origin is allowed"
        ]
    );
}

#[test]
fn mock_examples() {
    let definition = openapi(
        "paths:\n  /pets:\n    get:\n      responses:\n        200:\n          headers: {X-A: {example: 7}, X-B: {}}\n          content:\n            application/json: {examples: {one: {value: {a: 1}}, two: {$ref: '#/components/examples/two'}, three: {}}}\n            text/plain: {example: hi}\n        4XX: {$ref: '#/components/responses/bad'}\n        204: {description: none}\n        '20': {content: {a/b: {example: 1}}}\ncomponents:\n  examples: {two: {value: [2]}}\n  responses: {bad: {content: {a/b: {example: {e: true}}}}}\n",
    );
    let mock = &accepted(pets("  endpointImplementationType: MOCKED_OAS\n", &definition)).resources[0]
        .operations[0]
        .mock;
    assert_eq!(
        mock.iter()
            .map(|response| response.code.as_str())
            .collect::<Vec<_>>(),
        ["200", "4xx"]
    );
    assert_eq!(mock[0].headers, [("X-A".to_owned(), "7".to_owned())]);
    assert_eq!(
        mock[0].content[0].examples,
        [("one".into(), "{\"a\":1}".into()), ("two".into(), "[2]".into())]
    );
    assert_eq!(
        mock[0].content[1].examples,
        [(String::new(), "\"hi\"".to_owned())]
    );
    assert_eq!(mock[1].content[0].examples[0].1, "{\"e\":true}");
    assert!(
        accepted(pets(ENDPOINT, &definition)).resources[0].operations[0]
            .mock
            .is_empty(),
        "only for mocks"
    );
}

/// One response that many operations refer to is written out for each.
#[test]
fn mock_examples_are_bounded() {
    let example = "x".repeat(100_000);
    let paths: String = (0..100)
        .map(|i| format!("  /{i}: {{get: {{responses: {{200: {{$ref: '#/components/responses/big'}}}}}}}}\n"))
        .collect();
    let definition = openapi(&format!(
        "paths:\n{paths}components:\n  responses: {{big: {{content: {{text/plain: {{example: {example}}}}}}}}}\n"
    ));
    assert_eq!(
        errors(pets("  endpointImplementationType: MOCKED_OAS\n", &definition)),
        [
            "error: p/Definitions/swagger.yaml#/paths/~183/get/responses: the examples of the API are more than the 8388608 bytes allowed"
        ]
    );
}

/// Keys of another version, and versions to come.
#[test]
fn what_belongs_to_another_version_is_told() {
    let servers = "servers: [{url: 'http://h.example'}]\n";
    let host = "host: h.example\n";
    for (text, want) in [
        (
            format!("openapi: 3.0.1\n{servers}host: a\nbasePath: /b\nschemes: [http]\n"),
            vec![
                "/host: ignored: it belongs to OpenAPI 2.0, and this is 3",
                "/basePath: ignored: it belongs to OpenAPI 2.0, and this is 3",
                "/schemes: ignored: it belongs to OpenAPI 2.0, and this is 3",
            ],
        ),
        (
            format!("swagger: '2.0'\nopenapi: 3.0.1\n{host}{servers}"),
            vec![
                "/openapi: ignored: swagger is given as well, and the definition is read as that",
                "/servers: ignored: it belongs to OpenAPI 3, and this is 2.0",
            ],
        ),
        (
            format!("openapi: 3.3.0\n{servers}"),
            vec!["/openapi: not known here: what is new in this version has no effect"],
        ),
        (
            format!("openapi: 3.10.0\n{servers}"),
            vec!["/openapi: not known here: what is new in this version has no effect"],
        ),
        (
            format!("swagger: '3.0'\n{host}"),
            vec!["/swagger: not known here: what is new in this version has no effect"],
        ),
        (
            format!("openapi: 3.1.0\n{servers}x-wso2-allow-ambiguous-paths: [encoded_slash]\n"),
            vec!["/x-wso2-allow-ambiguous-paths: ignored: x-wso2-allow-ambiguous-path may be meant"],
        ),
        (
            format!("openapi: 3.1.0\n{servers}x-wso2-allow-ambiguous-path:\n"),
            vec!["/x-wso2-allow-ambiguous-path: ignored: nothing is said; [] takes no such path"],
        ),
    ] {
        let definition = format!("{text}info: {{title: t, version: v}}\n{PATHS}");
        let want: Vec<_> = want
            .into_iter()
            .map(|line| format!("warning: my api.yaml#{line}"))
            .collect();
        assert_eq!(warnings(alone(&definition)), want, "{text}");
    }
}
