use super::*;

const SCHEMES: &str = "security: [{default: [a]}, {key: []}]\ncomponents:\n  securitySchemes:\n    default: {type: oauth2}\n    key: {type: apiKey, name: X-Key, in: header}\n    alias: {$ref: '#/components/securitySchemes/key'}\n";

fn definition() -> String {
    openapi(&format!(
        "{SCHEMES}paths:\n  /a:\n    get: {{}}\n    put: {{security: [{{default: [b, c]}}, {{key: []}}, {{other: []}}, {{}}]}}\n    post: {{security: [{{key: [], default: [d]}}]}}\n"
    ))
}

/// Schemes, API-level and, for GET, PUT and POST, operation-level requirements, as text.
fn shape(api: &ApiProject) -> [String; 5] {
    let text = |requirements: &[crate::Requirement]| {
        let one = |requirement: &crate::Requirement| {
            let parts: Vec<String> = requirement
                .iter()
                .map(|(name, scopes)| format!("{name}({})", scopes.join(",")))
                .collect();
            parts.join("+")
        };
        requirements.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    let schemes: Vec<String> = api
        .security_schemes
        .iter()
        .map(|scheme| {
            format!(
                "{}:{}:{}:{}",
                scheme.definition, scheme.kind, scheme.name, scheme.location
            )
        })
        .collect();
    let operation = |method: &str| {
        let found = api.resources[0]
            .operations
            .iter()
            .find(|operation| operation.method == method)
            .unwrap();
        text(&found.security)
    };
    [
        schemes.join(" "),
        text(&api.security),
        operation("GET"),
        operation("PUT"),
        operation("POST"),
    ]
}

#[test]
fn api_yaml_decides() {
    let keys = "api_key_header:apiKey:apikey:header api_key_query:apiKey:apikey:query";
    let both = format!("default:oauth2:: {keys}");
    let cases: [(&str, [&str; 5]); 5] = [
        (
            "[]",
            [
                "default:oauth2:: key:apiKey:X-Key:header alias:apiKey:X-Key:header",
                "default(a) key()",
                "",
                "default(b,c) key()",
                "default(d)+key()",
            ],
        ),
        (
            "[mutualssl]",
            [
                "default:oauth2:: key:apiKey:X-Key:header alias:apiKey:X-Key:header",
                "default(a) key()",
                "",
                "default(b,c) key()",
                "default(d)+key()",
            ],
        ),
        (
            "[oauth2]",
            ["default:oauth2::", "default(a)", "", "default(b,c)", "default(d)"],
        ),
        (
            "[api_key]",
            [keys, "api_key_header() api_key_query()", "", "", ""],
        ),
        (
            "[oauth2, api_key]",
            [
                &both,
                "default(a) api_key_header() api_key_query()",
                "",
                "default(b,c) api_key_header() api_key_query()",
                "default(d) api_key_header() api_key_query()",
            ],
        ),
    ];
    for (list, want) in cases {
        let api = accepted(pets(
            &format!("  securityScheme: {list}\n{ENDPOINT}"),
            &definition(),
        ));
        assert_eq!(shape(&api), want.map(str::to_owned), "{list}");
    }
    assert_eq!(
        warnings(pets(ENDPOINT, &definition())),
        [
            "warning: p/Definitions/swagger.yaml: security scheme \"other\" is not defined; requirements on it are ignored",
        ]
    );
}

/// A scheme of an unknown type asks for nothing, so what is required of it would be lost.
#[test]
fn types_of_schemes() {
    struct Case {
        name: &'static str,
        /// What `k` is, under Swagger 2.0 or OpenAPI 3.
        swagger: bool,
        scheme: &'static str,
        rest: &'static str,
        want: &'static str,
    }
    const ROOT: &str = "security: [{k: [a]}]\n";
    const OPERATION: &str = "paths: {/u/~x: {put: {security: [{k: []}]}}}\n";
    let case = |name, scheme, rest, want| Case {
        name,
        swagger: false,
        scheme,
        rest,
        want,
    };
    let two = |name, scheme, want| Case {
        name,
        swagger: true,
        scheme,
        rest: ROOT,
        want,
    };
    let cases = [
        case("oauth2", "{type: oauth2}", ROOT, ""),
        case("openIdConnect", "{type: openIdConnect}", ROOT, ""),
        case("mutualTLS", "{type: mutualTLS}", ROOT, ""),
        case("http", "{type: http}", OPERATION, ""),
        case("apiKey", "{type: apiKey}", OPERATION, ""),
        case(
            "another case",
            "{type: OAuth2}",
            ROOT,
            "error: FILE/type: type \"OAuth2\" of security scheme \"k\" is none of apiKey, http, mutualTLS, oauth2, openIdConnect; the API requires it",
        ),
        case(
            "on an operation, without scopes",
            "{type: foo}",
            OPERATION,
            "error: FILE/type: type \"foo\" of security scheme \"k\" is none of apiKey, http, mutualTLS, oauth2, openIdConnect; PUT /u/~x requires it",
        ),
        case(
            "no type",
            "{flows: {}}",
            ROOT,
            "error: FILE: security scheme \"k\" has no type: it must be one of apiKey, http, mutualTLS, oauth2, openIdConnect; the API requires it",
        ),
        case(
            "no text",
            "{type: [oauth2]}",
            ROOT,
            "error: FILE/type: security scheme \"k\" has no type: it must be one of apiKey, http, mutualTLS, oauth2, openIdConnect; the API requires it",
        ),
        case(
            "not required",
            "{type: openidconnect}",
            "",
            "warning: FILE/type: type \"openidconnect\" of security scheme \"k\" is none of apiKey, http, mutualTLS, oauth2, openIdConnect",
        ),
        case(
            "keys in any case",
            "{type: ' APIKEY'}",
            OPERATION,
            "warning: FILE/type: type \"APIKEY\" of security scheme \"k\" is taken for apiKey",
        ),
        case(
            "of OpenAPI 2",
            "{type: basic}",
            OPERATION,
            "error: FILE/type: type \"basic\" of security scheme \"k\" is none of apiKey, http, mutualTLS, oauth2, openIdConnect; PUT /u/~x requires it",
        ),
        two("oauth2 of OpenAPI 2", "{type: oauth2}", ""),
        two("basic", "{type: basic}", ""),
        two(
            "of OpenAPI 3",
            "{type: openIdConnect}",
            "error: FILE/type: type \"openIdConnect\" of security scheme \"k\" is none of apiKey, basic, oauth2; the API requires it",
        ),
    ];
    for Case {
        name,
        swagger,
        scheme,
        rest,
        want,
    } in cases
    {
        let (place, schemes) = if swagger {
            (
                "securityDefinitions",
                format!("securityDefinitions: {{k: {scheme}}}\n"),
            )
        } else {
            (
                "components/securitySchemes",
                format!("components: {{securitySchemes: {{k: {scheme}}}}}\n"),
            )
        };
        let paths = if rest.contains("paths") { "" } else { PATHS };
        let text = format!("{schemes}{rest}{paths}");
        let definition = if swagger {
            format!("swagger: '2.0'\ninfo: {{title: t, version: v}}\n{text}")
        } else {
            openapi(&text)
        };
        let got = match pets(ENDPOINT, &definition) {
            Ok(reading) => super::lines(&reading.warnings),
            Err(findings) => super::lines(&findings),
        };
        let want = want.replace("FILE", &format!("p/Definitions/swagger.yaml#/{place}/k"));
        let want: Vec<String> = (!want.is_empty()).then_some(want).into_iter().collect();
        assert_eq!(got, want, "{name}");
    }
    let replaced = openapi(&format!(
        "components: {{securitySchemes: {{k: {{type: foo}}, default: {{type: oauth2}}}}}}\nsecurity: [{{k: []}}]\n{PATHS}"
    ));
    let none: [&str; 0] = [];
    assert_eq!(
        warnings(pets(
            &format!("  securityScheme: [oauth2]\n{ENDPOINT}"),
            &replaced
        )),
        none,
        "what api.yaml replaces is not required"
    );
}

#[test]
fn scopes_that_nobody_asks_for() {
    const FILE: &str = "p/Definitions/swagger.yaml";
    let read = |list: &str, security: &str| {
        let text = format!(
            "components: {{securitySchemes: {{o: {{type: oauth2}}}}}}\npaths: {{/a: {{get: {{security: {security}}}}}}}\n"
        );
        let data = format!("  securityScheme: {list}\n{ENDPOINT}");
        match pets(&data, &openapi(&text)) {
            Ok(reading) => super::lines(&reading.warnings),
            Err(findings) => super::lines(&findings),
        }
    };
    struct Case {
        list: &'static str,
        security: &'static str,
        want: String,
    }
    let undefined = |name: &str| {
        format!(
            "error: {FILE}#/paths/~1a/get/security: security scheme {name:?} is not defined; GET /a would be open to callers without its scopes admin, read"
        )
    };
    let replaced = |name: &str, scopes: &str| {
        format!(
            "warning: {FILE}: securityScheme of api.yaml replaces security scheme {name:?}; its scopes {scopes} are not asked for"
        )
    };
    let cases = [
        Case {
            list: "[]",
            security: "[{ghost: [read, admin]}, {o: []}]",
            want: undefined("ghost"),
        },
        Case {
            list: "[mutualssl]",
            security: "[{o: [x], ghost: [read]}, {ghost: [admin]}]",
            want: undefined("ghost"),
        },
        Case {
            list: "[oauth2]",
            security: "[{default: [read, admin]}]",
            want: undefined("default"),
        },
        Case {
            list: "[]",
            security: "[{ghost: []}]",
            want: format!(
                "warning: {FILE}: security scheme \"ghost\" is not defined; requirements on it are ignored"
            ),
        },
        Case {
            list: "[oauth2]",
            security: "[{o: [read, admin]}]",
            want: replaced("o", "admin, read"),
        },
        Case {
            list: "[api_key]",
            security: "[{default: [read, admin]}]",
            want: replaced("default", "admin, read"),
        },
        Case {
            list: "[oauth2, api_key]",
            security: "[{o: ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10']}]",
            want: replaced("o", "1, 10, 2, 3, 4, 5, 6, 7 and 2 more"),
        },
        Case {
            list: "[oauth2]",
            security: "[{o: []}, {ghost: []}]",
            want: String::new(),
        },
    ];
    for Case { list, security, want } in cases {
        let want: Vec<String> = (!want.is_empty()).then_some(want).into_iter().collect();
        assert_eq!(read(list, security), want, "{list} {security}");
    }
}

#[test]
fn security_of_a_path_item_is_none() {
    let text = "servers: [{url: 'http://host'}]\npaths: {/a: {security: [{o: [admin]}], get: {}}}\n";
    assert_eq!(
        warnings(alone(&openapi(text))),
        [
            "warning: my api.yaml#/paths/~1a/security: ignored: security is read from the operation or the root"
        ]
    );
}

#[test]
fn openapi_2_schemes() {
    let definition = format!(
        "swagger: '2.0'\ninfo: {{title: t, version: v}}\nsecurityDefinitions: {{k: {{type: apiKey, name: q, in: query}}, x-note: 1}}\nsecurity: [{{k: []}}]\n{PATHS}"
    );
    let api = accepted(pets(ENDPOINT, &definition));
    assert_eq!(api.security_schemes.len(), 1);
    assert_eq!(api.security_schemes[0].location, "query");
    assert_eq!(api.security.len(), 1);
}

/// A name like that is common, and no extension: without the scheme, a token would do instead of the key.
#[test]
fn schemes_may_be_named_like_extensions() {
    let text = "security: [{x-api-key: []}]\ncomponents:\n  securitySchemes:\n    x-api-key: {type: apiKey, name: x-api-key, in: header}\n    x-alias: {$ref: '#/components/securitySchemes/x-api-key'}\n    x-note: {a: 1}\n";
    let reading = pets(ENDPOINT, &openapi(&format!("{text}{PATHS}"))).unwrap();
    let names: Vec<&str> = reading
        .project
        .security_schemes
        .iter()
        .map(|scheme| scheme.definition.as_str())
        .collect();
    assert_eq!(names, ["x-api-key", "x-alias"]);
    assert_eq!(reading.project.security.len(), 1);
    assert!(reading.warnings.is_empty(), "{:?}", reading.warnings);
}

#[test]
fn words_of_api_yaml_without_effect() {
    let data = format!("  securityScheme: [oauth2, mutualssl_mandatory, basic_auth]\n{ENDPOINT}");
    assert_eq!(
        warnings(pets(&data, &openapi(PATHS))),
        [
            "warning: p/api.yaml#/data/securityScheme/1: ignored: it has no effect without mutualssl",
            "warning: p/api.yaml#/data/securityScheme/2: ignored: security scheme \"basic_auth\" is not supported",
        ]
    );
}

#[test]
fn refused_schemes() {
    let cases = [
        (
            "components: {securitySchemes: {a: {$ref: '#/components/securitySchemes/b'}}}\n",
            "/components/securitySchemes/a/$ref: $ref #/components/securitySchemes/b leads nowhere",
        ),
        (
            "components: {securitySchemes: {a: {$ref: '#/components/securitySchemes/a'}}}\n",
            "/components/securitySchemes/a/$ref: circular $ref #/components/securitySchemes/a",
        ),
        (
            "components: {securitySchemes: {a: {$ref: 'x.yaml'}}}\n",
            "/components/securitySchemes/a/$ref: $ref x.yaml leads out of the file; only references within it are followed",
        ),
        (
            "components: {securitySchemes: {a: 1}}\n",
            "/components/securitySchemes/a: must be an object",
        ),
        (
            "components: {securitySchemes: []}\n",
            "/components/securitySchemes: must be an object",
        ),
        (
            "security: {a: []}\n",
            "/security: must be a list of security requirements",
        ),
        ("security: [a]\n", "/security/0: must be an object"),
        ("security: [{a: b}]\n", "/security/0/a: must be a list"),
    ];
    for (text, want) in cases {
        assert_eq!(
            errors(alone(&openapi(&format!("{text}{PATHS}")))),
            [format!("error: my api.yaml#{want}")],
            "{text}"
        );
    }
}

#[test]
fn the_nearest_switch_wins() {
    let paths = "paths:\n  /a:\n    x-wso2-disable-security: false\n    get: {}\n    put: {x-wso2-disable-security: true}\n    post: {x-wso2-disable-security: false, x-auth-type: None}\n    delete: {x-auth-type: none}\n  /b:\n    get: {}\n    put: {x-wso2-disable-security: false}\n";
    let off = |root: &str| {
        let api = accepted(pets(ENDPOINT, &openapi(&format!("{root}{paths}"))));
        let off: Vec<String> = api
            .resources
            .iter()
            .flat_map(|resource| {
                resource
                    .operations
                    .iter()
                    .map(move |operation| (resource, operation))
            })
            .filter(|(_, operation)| operation.disable_security)
            .map(|(resource, operation)| format!("{} {}", operation.method, resource.path))
            .collect();
        (api.disable_security, off.join(", "))
    };
    assert_eq!(off(""), (false, "POST /a, PUT /a".to_owned()));
    assert_eq!(
        off("x-wso2-disable-security: true\n"),
        (true, "POST /a, PUT /a, GET /b".to_owned())
    );
    assert_eq!(
        off("x-auth-type: None\n"),
        (true, "POST /a, PUT /a".to_owned()),
        "not inherited"
    );
}

/// What passes through to the upstream can't be asked for scopes here.
#[test]
fn scopes_of_keys_and_passwords_are_refused_in_a_bare_definition() {
    let bare = |scheme: &str, scopes: &str| {
        let text = format!(
            "openapi: 3.1.0\ninfo: {{title: t, version: v}}\nservers: [{{url: 'http://host'}}]\npaths:\n  /a:\n    get: {{security: [{{k: [{scopes}]}}]}}\ncomponents:\n  securitySchemes:\n    k: {scheme}\n"
        );
        let found = match alone(&text) {
            Ok(reading) => reading.warnings,
            Err(found) => found,
        };
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (scheme, kind) in [
        ("{type: http, scheme: bearer}", "http"),
        ("{type: apiKey, name: k, in: header}", "apiKey"),
        ("{type: mutualTLS}", "mutualTLS"),
    ] {
        assert_eq!(bare(scheme, ""), Vec::<String>::new(), "{kind} without scopes");
        assert_eq!(
            bare(scheme, "admin"),
            [format!(
                "error: my api.yaml#/paths/~1a/get/security: security scheme \"k\" of type \"{kind}\" has no scopes that could be asked \
                 for; GET /a would be open to callers without admin"
            )]
        );
    }
    assert_eq!(bare("{type: oauth2, flows: {}}", "admin"), Vec::<String>::new());
}
