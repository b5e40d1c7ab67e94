use super::*;

/// Root of a definition whose schemes are `o` (OAuth2) and `k` (a key).
fn definition(paths: &str) -> String {
    openapi(&format!(
        "servers: [{{url: 'http://host'}}]\nsecurity: [{{o: [root]}}]\ncomponents:\n  securitySchemes:\n    o: {{type: oauth2, flows: {{}}}}\n    k: {{type: apiKey, name: k, in: header}}\npaths:\n{paths}"
    ))
}

struct Case {
    name: &'static str,
    /// Two paths with their operations.
    paths: [(&'static str, &'static str); 2],
    want: &'static str,
}

#[test]
fn paths_with_the_same_requests() {
    const ADMIN: &str = "get: {security: [{o: [admin]}]}";
    const READ: &str = "get: {security: [{o: [read]}]}";
    const OPEN: &str = "get: {x-wso2-disable-security: true}";
    let refused = "error: my api.yaml#/paths/SECOND: GET SECOND matches the same requests as GET FIRST and asks for other security";
    let warned = "warning: my api.yaml#/paths/SECOND: GET SECOND matches the same requests as GET FIRST, which is tried first";
    let cases = [
        Case {
            name: "names of parameters",
            paths: [("/u/{ID}", READ), ("/u/{id}", ADMIN)],
            want: refused,
        },
        Case {
            name: "in the other order of the file",
            paths: [("/u/{id}", ADMIN), ("/u/{ID}", READ)],
            want: refused,
        },
        Case {
            name: "slash at the end",
            paths: [("/u", OPEN), ("/u/", ADMIN)],
            want: refused,
        },
        Case {
            name: "query",
            paths: [("/a", READ), ("/a?x=1", ADMIN)],
            want: refused,
        },
        Case {
            name: "two queries",
            paths: [("/u?op=del", ADMIN), ("/u?op=get", READ)],
            want: refused,
        },
        Case {
            name: "escape of a letter",
            paths: [("/%61", READ), ("/a", ADMIN)],
            want: refused,
        },
        Case {
            name: "escape of a colon",
            paths: [("/a%3ab", READ), ("/a:b", ADMIN)],
            want: refused,
        },
        Case {
            name: "what callers encode",
            paths: [("/gr%C3%b6ße", READ), ("/größe", ADMIN)],
            want: refused,
        },
        Case {
            name: "wildcards",
            paths: [("/{a}/*", READ), ("/{b}/*", ADMIN)],
            want: refused,
        },
        Case {
            name: "open beside the root's security",
            paths: [("/u/{a}", "get: {}"), ("/u/{b}", OPEN)],
            want: refused,
        },
        Case {
            name: "a key instead of a token",
            paths: [("/u/{a}", "get: {}"), ("/u/{b}", "get: {security: [{k: []}]}")],
            want: refused,
        },
        Case {
            name: "the same security",
            paths: [("/u/{a}", READ), ("/u/{b}", READ)],
            want: warned,
        },
        Case {
            name: "the root's security, written again",
            paths: [
                ("/u/{a}", "get: {}"),
                ("/u/{b}", "get: {security: [{o: [root]}]}"),
            ],
            want: warned,
        },
        Case {
            name: "alternatives and scopes in another order",
            paths: [
                ("/u/{a}", "get: {security: [{o: [a, b]}, {k: []}]}"),
                ("/u/{b}", "get: {security: [{k: []}, {o: [b, a]}]}"),
            ],
            want: warned,
        },
        Case {
            name: "both open, whatever they name",
            paths: [
                ("/u/{a}", OPEN),
                (
                    "/u/{b}",
                    "get: {x-wso2-disable-security: true, security: [{o: [a]}]}",
                ),
            ],
            want: warned,
        },
        Case {
            name: "other methods",
            paths: [("/u/{a}", READ), ("/u/{b}", "put: {security: [{o: [admin]}]}")],
            want: "",
        },
        Case {
            name: "other requests",
            paths: [("/u/{a}", READ), ("/u/{a}{b}", ADMIN)],
            want: "",
        },
        Case {
            name: "escape that is no equivalent",
            paths: [("/a%2Fb", READ), ("/a/b", ADMIN)],
            want: "warning: my api.yaml#/paths/~1a%2Fb: no request can have this path unless the API allows encoded_slash",
        },
        Case {
            name: "escape that some take for an equivalent",
            paths: [("/a%2Bb", READ), ("/{x}", ADMIN)],
            want: "error: my api.yaml#/paths/~1a%2Bb: %2B can be read in two ways: write the character itself",
        },
    ];
    for Case { name, paths, want } in cases {
        let lines: String = paths
            .map(|(path, item)| format!("  '{path}': {{{item}}}\n"))
            .concat();
        let got = match alone(&definition(&lines)) {
            Ok(reading) => super::lines(&reading.warnings),
            Err(findings) => super::lines(&findings),
        };
        let mut sorted = paths.map(|(path, _)| path);
        sorted.sort_unstable();
        let [first, second] = sorted;
        let pointer = format!("/paths/{}", second.replace('/', "~1"));
        let want = want.replace("/paths/SECOND", &pointer);
        let want = want.replace("SECOND", second).replace("FIRST", first);
        let want: Vec<String> = (!want.is_empty()).then_some(want).into_iter().collect();
        assert_eq!(got, want, "{name}");
    }
}

/// What `api.yaml` makes of the requirements is what counts.
#[test]
fn security_of_the_project_decides() {
    let paths = "  /u/{a}: {get: {security: [{o: [read]}]}}\n  /u/{b}: {get: {security: [{o: [admin]}]}, put: {}}\n  /u/{c}: {put: {}}\n";
    let shared = [
        "GET /u/{b} matches the same requests as GET /u/{a}",
        "PUT /u/{c} matches the same requests as PUT /u/{b}",
    ];
    let kept = errors(pets(ENDPOINT, &definition(paths)));
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(
        kept[0].ends_with(&format!("{} and asks for other security", shared[0])),
        "{kept:?}"
    );
    let replaced = warnings(pets(
        &format!("  securityScheme: [api_key]\n{ENDPOINT}"),
        &definition(paths),
    ));
    for want in shared {
        let told = replaced
            .iter()
            .any(|line| line.ends_with(&format!("{want}, which is tried first")));
        assert!(told, "{want}: {replaced:?}");
    }
}

#[test]
fn channels_with_the_same_requests() {
    let api =
        api_yaml("  endpointConfig: {production_endpoints: {url: 'ws://host'}}\n").replace("HTTP", "WS");
    let definition = "asyncapi: 2.0.0\nchannels:\n  notes: {publish: {x-scopes: [a]}}\n  /notes: {publish: {x-scopes: [b]}}\ncomponents: {securitySchemes: {o: {type: oauth2}}}\n";
    let got = errors(project(&[
        ("api.yaml", &api),
        ("Definitions/asyncapi.yaml", definition),
    ]));
    assert_eq!(
        got,
        [
            "error: Definitions/asyncapi.yaml#/channels: GET /notes matches the same requests as GET /notes and asks for other security"
        ]
    );
}

/// Callers percent-encode what a path can't have, so a template with it is reached all the same.
#[test]
fn paths_that_no_request_has() {
    struct Case {
        path: &'static str,
        want: bool,
    }
    let case = |path, want| Case { path, want };
    let cases = [
        case("/my path/größe", false),
        case("/a\"<>`^|b", false),
        case("/a.b/...", false),
        case("/a#b", true),
        case("/a\\b", true),
        case("/a/./b", true),
        case("/a/%2E%2e", true),
    ];
    for Case { path, want } in cases {
        let text = serde_json::json!({
            "openapi": "3.0.3",
            "info": {"title": "Pets", "version": "1"},
            "servers": [{"url": "http://host"}],
            "paths": {path: {"get": {}}},
        });
        let got = warnings(alone(&text.to_string()));
        let told = got
            .iter()
            .any(|line| line.ends_with("no request can have this path"));
        assert_eq!(told, want, "{path}: {got:?}");
        assert_eq!(got.len(), usize::from(want), "{path}: {got:?}");
    }
}

/// Neither what the original makes of them is served, nor anything else.
#[test]
fn paths_that_are_no_templates() {
    let control = "has a control character";
    let cases = [
        ("/{a", "path /{a has a { without its }"),
        ("/b}", "path /b} has a } without its {"),
        ("/{a}}", "path /{a}} has a } without its {"),
        ("/{a{b}c}", "path /{a{b}c} has a { within braces"),
        ("/a/{id?}", "path /a/{id?} has a { without its }"),
        ("/a\r\nb", &format!("path \"/a\\r\\nb\" {control}")),
        ("/a?\tb", &format!("path \"/a?\\tb\" {control}")),
        ("/a\u{85}", &format!("path \"/a\\u{{85}}\" {control}")),
        ("/{a}/{}/%7B", ""),
        ("/{a}?b={c", ""),
    ];
    for (path, want) in cases {
        let open = serde_json::json!({
            "openapi": "3.0.3",
            "info": {"title": "Pets", "version": "1"},
            "servers": [{"url": "http://host"}],
            "paths": {path: {"get": {}}},
        });
        let channels = serde_json::json!({"asyncapi": "2.0.0", "channels": {path: {"publish": {}}}});
        let sockets =
            api_yaml("  endpointConfig: {production_endpoints: {url: 'ws://host'}}\n").replace("HTTP", "WS");
        let both = [
            (alone(&open.to_string()), "my api.yaml", "paths"),
            (
                project(&[
                    ("api.yaml", &sockets),
                    ("Definitions/asyncapi.yaml", &channels.to_string()),
                ]),
                "Definitions/asyncapi.yaml",
                "channels",
            ),
        ];
        for (got, file, key) in both {
            let Err(found) = got else {
                assert_eq!(want, "", "{key} {path:?}");
                continue;
            };
            let pointer = format!("/{key}/{}", path.replace('/', "~1"));
            assert_eq!(found, [Diagnostic::refusal(file, pointer, want)], "{path:?}");
            let told = found[0].to_string();
            assert!(!told.contains(char::is_control), "{told:?}");
        }
    }
}

fn kinds(api: &ApiProject) -> Option<Vec<&'static str>> {
    let kinds = api.ambiguous_paths.as_ref();
    kinds.map(|kinds| kinds.iter().map(|kind| kind.as_str()).collect())
}

/// Fault E5: an API opts in to kinds of paths with two readings, as a whole.
#[test]
fn ambiguous_paths_that_an_api_takes() {
    let key = "x-wso2-allow-ambiguous-path";
    let own = |value: &str| {
        format!(
            "{}servers: [{{url: 'http://b1'}}]\n{key}: {value}\n",
            openapi(PATHS)
        )
    };
    let taken: [(&str, &[&str]); 5] = [
        (
            "[encoded_slash, double_slash]",
            &["empty_segment", "encoded_slash"],
        ),
        ("[encoded_slash, encoded_slash]", &["encoded_slash"]),
        (
            "[double_encoding, empty_segment, encoded_backslash, 'encoded_slash']",
            &[
                "double_encoding",
                "empty_segment",
                "encoded_backslash",
                "encoded_slash",
            ],
        ),
        ("[]", &[]),
        ("null", &["none said"]),
    ];
    for (value, want) in taken {
        let reading = alone(&own(value));
        let api = accepted(reading.clone());
        let told = usize::from(value == "null");
        assert_eq!(warnings(reading).len(), told, "{value}");
        assert_eq!(kinds(&api).unwrap_or(vec!["none said"]), want, "{value}");
    }
    for (value, pointer, want) in [
        (
            "encoded_slash",
            "",
            "must be a list of kinds, such as [encoded_slash]",
        ),
        ("true", "", "must be a list of kinds, such as [encoded_slash]"),
        (
            "{encoded_slash: true}",
            "",
            "must be a list of kinds, such as [encoded_slash]",
        ),
        ("[encoded_slash, 7]", "/1", "must be text"),
        ("[[]]", "/0", "must be text"),
        (
            "[encoded-slash]",
            "/0",
            "\"encoded-slash\" is no kind of ambiguous path (nearest known: encoded_slash)",
        ),
        (
            "['a b']",
            "/0",
            "\"a b\" is no kind of ambiguous path: must be one of double_encoding, empty_segment, encoded_backslash, encoded_slash",
        ),
        (
            "[dot_segment]",
            "/0",
            "dot_segment can't be allowed: it is resolved on the way, so that what is checked would not be what is served",
        ),
    ] {
        let want = format!("error: my api.yaml#/{key}{pointer}: {want}");
        assert_eq!(errors(alone(&own(value))), [want], "{value}");
    }
    let below = format!(
        "{}servers: [{{url: 'http://b1'}}]\npaths: {{/a: {{{key}: [], get: {{{key}: [encoded_slash]}}}}}}\n",
        openapi("")
    );
    let ignored = "ignored: ambiguous paths are allowed for the API as a whole, at the root";
    assert_eq!(
        warnings(alone(&below)),
        [
            format!("warning: my api.yaml#/paths/~1a/get/{key}: {ignored}"),
            format!("warning: my api.yaml#/paths/~1a/{key}: {ignored}"),
        ]
    );
    assert_eq!(kinds(&accepted(alone(&below))), None);
    // A path of a template is reachable only where the API takes it.
    let double = |value: &str| own(value).replace("/pets", "/pets//dogs");
    assert_eq!(warnings(alone(&double("[empty_segment]"))), Vec::<String>::new());
    assert_eq!(
        warnings(alone(&double("[encoded_slash]"))),
        [
            "warning: my api.yaml#/paths/~1pets~1~1dogs: no request can have this path unless the API allows empty_segment"
        ]
    );
    for (path, kind) in [
        ("/pets/a%2fb", Some("encoded_slash")),
        ("/pets/a%5Cb", Some("encoded_backslash")),
        ("/pets/a%252Fb", Some("double_encoding")),
        ("/pets/a%25", None),
        ("/pets/a%41", None),
        ("/pets?x=%2F", None),
    ] {
        let definition = openapi(PATHS).replace("/pets", path);
        let told = warnings(pets(ENDPOINT, &definition));
        let end = kind.map(|kind| format!("no request can have this path unless the API allows {kind}"));
        let found = told.iter().find(|line| line.contains("no request can"));
        assert_eq!(found.is_some(), end.is_some(), "{path}: {told:?}");
        assert!(
            found
                .zip(end.as_ref())
                .is_none_or(|(line, end)| line.ends_with(end)),
            "{path}: {told:?}"
        );
        let Some(kind) = kind else { continue };
        let allowed = format!(
            "  additionalProperties: [{{name: x-wso2-allow-ambiguous-path, value: {kind}}}]\n{ENDPOINT}"
        );
        assert_eq!(
            warnings(pets(&allowed, &definition)),
            Vec::<String>::new(),
            "{path}"
        );
    }
}

/// Additional properties as releases of API Manager write them.
#[test]
fn ambiguous_paths_among_the_properties_of_api_yaml() {
    let key = "x-wso2-allow-ambiguous-path";
    let read = |properties: &str, definition: &str| {
        pets(
            &format!("{properties}{ENDPOINT}"),
            &format!("{}{definition}", openapi(PATHS)),
        )
    };
    let slash = vec!["encoded_slash"];
    for (properties, want) in [
        (
            format!(
                "  additionalProperties: [{{name: a, value: b}}, {{name: {key}, value: encoded_slash, display: false}}]\n"
            ),
            Some(slash.clone()),
        ),
        (
            format!(
                "  additionalPropertiesMap: {{a: {{name: a}}, {key}: {{name: {key}, value: ' encoded_slash,'}}}}\n"
            ),
            Some(slash.clone()),
        ),
        (
            format!("  additionalProperties: {{a: b, {key}: 'encoded_slash'}}\n"),
            Some(slash.clone()),
        ),
        (
            "  AdditionalProperties: {X-WSO2-Allow-Ambiguous-Path: [encoded_slash]}\n".to_owned(),
            Some(slash.clone()),
        ),
        (
            format!("  additionalProperties: [{{name: {key}, value: ''}}]\n"),
            Some(Vec::new()),
        ),
        (
            format!("  additionalProperties: [{{name: {key}}}, {{value: x}}, {key}, [{key}]]\n"),
            None,
        ),
        (
            format!("  additionalProperties: {key}\n  additionalPropertiesMap: {{{key}: null}}\n"),
            None,
        ),
        (
            format!(
                "  additionalProperties: [{{name: {key}, value: encoded_slash}}]\n  additionalPropertiesMap: {{{key}: {{value: encoded_slash}}}}\n"
            ),
            Some(slash.clone()),
        ),
    ] {
        let reading = read(&properties, "");
        assert_eq!(warnings(reading.clone()), Vec::<String>::new(), "{properties}");
        assert_eq!(kinds(&accepted(reading)), want, "{properties}");
    }
    for (properties, want) in [
        (
            format!("  additionalProperties: [{{name: {key}, value: 'encoded_slash, encoded_slsh'}}]\n"),
            "additionalProperties/0/value: \"encoded_slsh\" is no kind of ambiguous path (nearest known: encoded_slash)".to_owned(),
        ),
        (
            format!("  additionalPropertiesMap: {{{key}: {{value: path_parameter}}}}\n"),
            format!("additionalPropertiesMap/{key}/value: path_parameter can't be allowed: it is refused only where it may be another operation, which asks for something else"),
        ),
        (
            format!("  additionalProperties: {{{key}: 7}}\n"),
            format!("additionalProperties/{key}: must be names of kinds with commas between them"),
        ),
        (
            format!("  additionalProperties: [{{name: {key}, value: encoded_slash}}]\n  additionalPropertiesMap: {{{key}: {{value: ''}}}}\n"),
            format!("additionalPropertiesMap/{key}/value: {key} is given twice, with another value"),
        ),
    ] {
        assert_eq!(errors(read(&properties, "")), [format!("error: p/api.yaml#/data/{want}")]);
    }
    // The definition goes before.
    let properties = format!("  additionalProperties: {{{key}: encoded_slash}}\n");
    let reading = read(&properties, &format!("{key}: []\n"));
    assert_eq!(
        warnings(reading.clone()),
        [format!(
            "warning: p/api.yaml#/data/additionalProperties: {key} has no effect: that of the definition is used"
        )]
    );
    assert_eq!(kinds(&accepted(reading)), Some(Vec::new()));
}

#[test]
fn an_operation_of_which_nothing_is_said_is_told() {
    let definition = openapi("paths:\n  /a:\n    get:\n    put: {}\n  /b:\n");
    let reading = pets(ENDPOINT, &definition);
    let api = accepted(reading);
    let methods: Vec<_> = api.resources[0]
        .operations
        .iter()
        .map(|one| one.method.as_str())
        .collect();
    assert_eq!(methods, ["PUT"]);
    let told = warnings(pets(ENDPOINT, &definition));
    let want = "warning: p/Definitions/swagger.yaml#/paths/~1a/get: ignored: nothing is said of the operation; {} would be one";
    assert!(told.iter().any(|line| line == want), "{told:?}");
    let want = "warning: p/Definitions/swagger.yaml#/paths/~1b: ignored: nothing is said of the path";
    assert!(told.iter().any(|line| line == want), "{told:?}");
}
