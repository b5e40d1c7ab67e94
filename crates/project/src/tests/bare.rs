//! A definition without a project around it.

use super::*;
use crate::{Archive, archive, archive_alone};

fn deployed(name: &str, content: &str) -> Result<Reading, Vec<Diagnostic>> {
    let archive = archive_alone(name, content.as_bytes()).unwrap();
    read(&Archive(&archive), &Settings::new(Defaults::Require))
}

fn definition(rest: &str) -> String {
    format!("openapi: 3.1.0\ninfo: {{title: My Pets, version: '1'}}\n{rest}")
}

#[test]
fn deployed_it_is_what_it_is_validated_as() {
    let text =
        definition("servers: [{url: /v1}, {url: 'http://b.example'}]\npaths: {/a: {get: {}, trace: {}}}\n");
    let reading = deployed("pets.yml", &text).unwrap();
    let judged = read(
        &Definition {
            name: "pets.yml",
            content: text.as_bytes(),
        },
        &Settings::new(Defaults::Derive),
    );
    assert_eq!(Ok(&reading), judged.as_ref());
    let project = &reading.project;
    assert_eq!(
        (project.identity.name.as_str(), project.base_path.as_str()),
        ("MyPets", "/my-pets/1")
    );
    assert_eq!(project.identity.uuid, crate::digest("MyPets", "1"));
    let environments: Vec<&str> = project
        .deployments
        .iter()
        .map(|deployment| deployment.environment.as_str())
        .collect();
    assert_eq!(environments, ["Default"]);
    let warnings: Vec<String> = reading.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "warning: pets.yml#/servers/0: not called: it names no host, and the definition comes from nowhere",
            "warning: pets.yml#/paths/~1a/trace: ignored: this method is not routed"
        ]
    );
}

#[test]
fn an_archive_of_one_definition_is_one() {
    let text = definition("servers: [{url: 'http://b.example'}]\npaths: {/a: {get: {}}}\n");
    for name in [
        "swagger.json",
        "a b.YAML",
        "../up.yml",
        "note.txt",
        "",
        "api.yaml",
    ] {
        let reading = deployed(name, &text).unwrap_or_else(|found| panic!("{name}: {found:?}"));
        assert_eq!(reading.project.resources.len(), 1, "{name}");
    }
    let bytes = text.as_bytes();
    for (files, want) in [
        (vec![("api.yaml", bytes)], "data"),
        (
            vec![("a.yaml", bytes), ("b.yaml", bytes)],
            "api.yaml or api.json not found",
        ),
        (vec![("a.txt", bytes)], "api.yaml or api.json not found"),
        (vec![("folder/a.yaml", bytes)], "api.yaml or api.json not found"),
    ] {
        let packed = archive("", files.clone()).unwrap();
        let found = read(&Archive(&packed), &Settings::new(Defaults::Require)).unwrap_err();
        assert!(
            found.iter().any(|found| found.message.contains(want)),
            "{files:?}: {found:?}"
        );
    }
}

/// What operations ask for: `open`, or the scopes of each alternative.
fn asked(security: &str) -> String {
    let text = definition(&format!(
        "servers: [{{url: 'http://b.example'}}]\n\
         components: {{securitySchemes: {{o: {{type: oauth2, flows: {{}}}}, c: {{type: openIdConnect, openIdConnectUrl: 'https://a.test'}}, \
         k: {{type: apiKey, in: header, name: k}}, b: {{type: http, scheme: bearer}}, m: {{type: mutualTLS}}}}}}\n{security}\n"
    ));
    let reading = deployed("a.yaml", &text).unwrap();
    let project = reading.project;
    assert!(project.security.is_empty(), "each operation has its own");
    assert!(
        project
            .security_schemes
            .iter()
            .all(crate::SecurityScheme::asks_for_token)
    );
    let operation = &project.resources[0].operations[0];
    let told = reading
        .warnings
        .iter()
        .filter(|warning| warning.message == "GET /a can be called without a token")
        .count();
    assert_eq!(told, usize::from(operation.disable_security), "{security}");
    if operation.disable_security {
        return "open".to_owned();
    }
    let alternatives: Vec<String> = operation
        .security
        .iter()
        .map(|requirement| {
            let scopes: Vec<String> = requirement
                .iter()
                .map(|(name, scopes)| format!("{name}:{}", scopes.join("+")))
                .collect();
            scopes.join("&")
        })
        .collect();
    alternatives.join("|")
}

#[test]
fn callers_show_tokens_and_the_upstream_gets_its_keys() {
    let operation =
        |security: &str| format!("security: [{{o: [all]}}]\npaths: {{/a: {{get: {{{security}}}}}}}");
    let cases = [
        (operation(""), "o:all"),
        (operation("security: [{o: [r, w]}]"), "o:r+w"),
        (operation("security: [{c: [r]}]"), "c:r"),
        // Left without any: a token, whatever its scopes.
        (operation("security: [{k: []}]"), ""),
        (operation("security: [{b: []}, {m: []}]"), ""),
        (operation("security: [{k: [], o: [r]}]"), "o:r"),
        (operation("security: [{k: []}, {o: [r]}]"), "o:r"),
        (operation("security: [{o: [r]}, {c: [w]}]"), "o:r|c:w"),
        (operation("security: [{o: [r]}, {c: []}]"), ""),
        // Nothing is asked for.
        (operation("security: []"), "open"),
        (operation("security: [{}]"), "open"),
        (operation("security: [{o: [r]}, {}]"), "open"),
        (operation("security: [], x-wso2-disable-security: false"), "o:all"),
        // Of the root, which speaks of all operations, only what asks for something counts.
        ("security: []\npaths: {/a: {get: {}}}".to_owned(), ""),
        (
            "security: [{}, {o: [r]}]\npaths: {/a: {get: {}}}".to_owned(),
            "o:r",
        ),
        ("security: [{k: []}]\npaths: {/a: {get: {}}}".to_owned(), ""),
    ];
    for (security, want) in cases {
        assert_eq!(asked(&security), want, "{security}");
    }
}

/// Addresses of the API and of its first path.
fn called(text: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
    let reading = deployed("a.yaml", &definition(text)).unwrap();
    let urls = |cluster: &Option<crate::EndpointCluster>| -> Vec<String> {
        cluster
            .iter()
            .flat_map(|cluster| &cluster.endpoints)
            .map(|endpoint| endpoint.url.clone())
            .collect()
    };
    let project = &reading.project;
    let told = reading.warnings.iter().map(|warning| warning.pointer.clone());
    (
        urls(&project.production),
        urls(&project.resources[0].production),
        told.collect(),
    )
}

#[test]
fn the_first_server_is_called() {
    type Case = (
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    );
    let cases: [Case; 9] = [
        (
            "servers: [{url: 'http://a.test/v1'}, {url: 'http://b.test'}]\npaths: {/a: {get: {}}}",
            &["http://a.test/v1"],
            &[],
            &["/servers/1"],
        ),
        (
            "servers: [{url: 'http://{h}/p', variables: {h: {default: a.test}}}, {url: 'http://b.test/s'}]\npaths: {/a: {get: {}}}",
            &["http://a.test/p"],
            &[],
            &["/servers/1"],
        ),
        (
            "servers: [{url: /v1}, {url: 'http://b.test'}]\npaths: {/a: {get: {}}}",
            &["http://b.test"],
            &[],
            &["/servers/0"],
        ),
        (
            "servers: [{url: api/v1}, {url: 'http://my_db:'}]\npaths: {/a: {get: {}}}",
            &["http://my_db:"],
            &[],
            &["/servers/0"],
        ),
        (
            "servers: [{url: 'db:8080/v1'}]\npaths: {/a: {get: {}}}",
            &["http://db:8080/v1"],
            &[],
            &["/servers/0/url"],
        ),
        (
            "servers: [{url: 'http://[::1]:8080'}, {url: 'http://x'}]\npaths: {/a: {get: {}}}",
            &["http://x"],
            &[],
            &["/servers/0/url"],
        ),
        (
            "servers: [{url: 'http://a.test'}, {url: 'http://a.test'}]\npaths: {/a: {get: {}}}",
            &["http://a.test"],
            &[],
            &[],
        ),
        (
            "servers: [{url: 'http://a.test'}]\n\
             paths: {/a: {servers: [{url: 'http://{h}/q', variables: {h: {default: b.test}}}, {url: 'http://c.test'}], get: {}}}",
            &["http://a.test"],
            &["http://b.test/q"],
            &["/paths/~1a/servers/1"],
        ),
        (
            "servers: [{url: 'http://a.test'}]\npaths: {/a: {servers: [], get: {}}}",
            &["http://a.test"],
            &[],
            &[],
        ),
    ];
    for (text, api, path, told) in cases {
        let owned = |texts: &[&str]| -> Vec<String> { texts.iter().map(ToString::to_string).collect() };
        assert_eq!(called(text), (owned(api), owned(path), owned(told)), "{text}");
    }
    let text = "servers: [{url: 'http://a.test'}]\npaths: {/a: {servers: [{url: /rel}], get: {}}}";
    let found = deployed("a.yaml", &definition(text)).unwrap_err();
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "error: a.yaml#/paths/~1a/servers: no usable address is given, and the API's servers are not meant: name a host"
        ]
    );
}

/// Schemes may be written in any case (RFC 3986 section 3.1).
#[test]
fn https_in_any_case_is_https() {
    for (schemes, url, told) in [
        ("[HTTPS]", "https://a.test/v1", 1),
        ("[http, Https]", "https://a.test/v1", 1),
        ("[https]", "https://a.test/v1", 0),
        ("[HTTP]", "http://a.test/v1", 0),
    ] {
        let text = format!(
            "swagger: '2.0'\ninfo: {{title: A, version: '1'}}\nhost: a.test\nbasePath: /v1\nschemes: {schemes}\n\
             paths: {{/a: {{get: {{}}}}}}\n"
        );
        let reading = deployed("a.yaml", &text).unwrap();
        assert_eq!(
            reading.project.production.unwrap().endpoints[0].url,
            url,
            "{schemes}"
        );
        assert_eq!(reading.warnings.len(), told, "{schemes}: {:?}", reading.warnings);
    }
}

/// Servers of an operation, and its schemes in 2.0, stand in place of the path's and the root's.
#[test]
fn operations_may_have_an_upstream_of_their_own() {
    let places = |text: &str| -> Vec<(String, String)> {
        let project = deployed("a.yaml", text).unwrap().project;
        let place = |resource: &crate::Resource| {
            let methods: Vec<&str> = resource
                .operations
                .iter()
                .map(|one| one.method.as_str())
                .collect();
            let production = resource
                .production
                .as_ref()
                .or(project.production.as_ref())
                .unwrap();
            (methods.join(" "), production.endpoints[0].url.clone())
        };
        project.resources.iter().map(place).collect()
    };
    let text = "servers: [{url: 'http://root.test'}]\npaths:\n  /a:\n    servers: [{url: 'http://path.test'}]\n    get: {}\n    \
                put: {servers: [{url: 'http://own.test/p'}]}\n    post: {servers: [{url: 'http://root.test'}]}\n    \
                patch: {servers: [{url: 'http://own.test/p'}]}\n    delete: {servers: [{url: 'http://path.test'}]}\n";
    let wanted = [
        ("DELETE GET", "http://path.test"),
        ("PATCH PUT", "http://own.test/p"),
        ("POST", "http://root.test"),
    ];
    assert_eq!(
        places(&definition(text)),
        wanted.map(|(methods, url)| (methods.to_owned(), url.to_owned()))
    );
    let old = |root: &str| {
        format!(
            "swagger: '2.0'\ninfo: {{title: A, version: '1'}}\nhost: a.test\nschemes: [http]\n{root}paths:\n  /a:\n    get: {{}}\n    \
             put: {{schemes: [HTTPS]}}\n    post: {{schemes: [http, ws]}}\n    patch: {{schemes: []}}\n    delete: {{schemes: [wss]}}\n"
        )
    };
    let wanted = [
        ("DELETE GET PATCH POST", "http://a.test"),
        ("PUT", "https://a.test"),
    ];
    assert_eq!(
        places(&old("")),
        wanted.map(|(methods, url)| (methods.to_owned(), url.to_owned()))
    );
    let extended = old("x-wso2-production-endpoints: {urls: ['http://b.test']}\n");
    assert_eq!(
        places(&extended),
        [("DELETE GET PATCH POST PUT".to_owned(), "http://b.test".to_owned())]
    );
    let told = deployed("a.yaml", &extended).unwrap().warnings;
    assert_eq!(
        told.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "warning: a.yaml#/paths/~1a/put/schemes/0: taken for https",
            "warning: a.yaml#/paths/~1a/put/schemes: ignored: an extension names the endpoints",
        ]
    );
}

/// OpenAPI 3.2, Security Requirement Object: a scheme may be named by reference.
#[test]
fn schemes_may_be_named_by_reference() {
    let read = |version: &str, name: &str| {
        let text = format!(
            "openapi: {version}\ninfo: {{title: A, version: '1'}}\nservers: [{{url: 'http://a.test'}}]\n\
             paths: {{/a: {{get: {{security: [{{'{name}': [admin]}}]}}}}}}\n\
             components: {{securitySchemes: {{o~a: {{type: oauth2}}}}}}\nx-schemes: {{k: {{type: oauth2}}}}\n"
        );
        deployed("a.yaml", &text).map(|reading| reading.project.resources[0].operations[0].security.clone())
    };
    for (reference, name) in [
        ("#/components/securitySchemes/o~0a", "o~a"),
        ("#/components/securitySchemes/o%7E0a", "o~a"),
        ("#/x-schemes/k", "#/x-schemes/k"),
    ] {
        let security = read("3.2.0", reference).unwrap();
        assert_eq!(security.len(), 1, "{reference}");
        assert_eq!(security[0][name], ["admin"], "{reference}");
        assert!(read("3.1.0", reference).is_err(), "{reference}");
    }
    for nowhere in ["#/components/securitySchemes/none", "other.yaml#/x", "#"] {
        assert!(read("3.2.0", nowhere).is_err(), "{nowhere}");
    }
}

/// Two templates for the same requests that go to different upstreams: nobody knows which is meant.
#[test]
fn twins_go_to_one_upstream() {
    let text = |server: &str| {
        definition(&format!(
            "servers: [{{url: 'http://a.test'}}]\npaths: {{'/u/{{a}}': {{get: {{}}}}, '/u/{{b}}': {{servers: [{{url: '{server}'}}], get: {{}}}}}}\n"
        ))
    };
    assert!(deployed("a.yaml", &text("http://a.test")).is_ok());
    let found = deployed("a.yaml", &text("http://b.test")).unwrap_err();
    assert_eq!(
        found[0].to_string(),
        "error: a.yaml#/paths/~1u~1{b}: GET /u/{b} matches the same requests as GET /u/{a} and goes to another upstream"
    );
}

/// What is dropped is told, each at its place.
#[test]
fn what_is_dropped_is_told() {
    let text = definition(
        "servers: [{url: 'http://a.test'}]\npaths:\n  /a:\n    get: {requestBody: {}}\n    post: {requestBody: {}}\n    \
         propfind: {}\n    connect: {}\n    x-own: {}\n    summary: s\n",
    );
    let told = deployed("a.yaml", &text).unwrap().warnings;
    assert_eq!(
        told.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "warning: a.yaml#/paths/~1a/get/requestBody: without meaning: a body of GET has none (RFC 9110 section 9.3); it is \
             passed on as it is",
            "warning: a.yaml#/paths/~1a/propfind: ignored: neither a method that is routed nor a field of a path item",
            "warning: a.yaml#/paths/~1a/connect: ignored: this method is not routed",
        ]
    );
    for (host, want) in [("http://h.test", None), ("h.test/v1", Some("http://h.test/v1/x"))] {
        let text = format!(
            "swagger: '2.0'\ninfo: {{title: A, version: '1'}}\nhost: '{host}'\nbasePath: /x\npaths: {{/a: {{get: {{}}}}}}\n"
        );
        let reading = deployed("a.yaml", &text).unwrap();
        let production = reading.project.production;
        let url = production.as_ref().map(|found| found.endpoints[0].url.as_str());
        assert_eq!(url, want);
        assert_eq!(reading.warnings[0].pointer, "/host");
    }
}
