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
        ["warning: pets.yml#/paths/~1a/trace: ignored: this method is not routed"]
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
    let cases: [Case; 6] = [
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
            &[],
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
