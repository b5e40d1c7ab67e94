use super::*;
use crate::KeyType;
use crate::source::layout::{Role, role};
use crate::{ApiKind, Deployment, Implementation, MutualSsl};

#[test]
fn files_are_told_by_whole_steps() {
    let cases = [
        ("api.yaml", Some(Role::Api)),
        ("p/p/api.json", Some(Role::Api)),
        ("Docs/api.yaml", Some(Role::Api)),
        ("p/Docs/api.yaml", None),
        ("p/rate-api.yaml", None),
        ("p/api.yml", None),
        ("p/Policies/rate-api.yaml", Some(Role::Policy)),
        ("p/Policies/api.yaml", Some(Role::Policy)),
        ("p/Policies/x.gotmpl", Some(Role::Policy)),
        ("p/Policies/x.j2", None),
        ("p/Definitions/swagger.yaml", Some(Role::Definition)),
        ("p/Definitions/swagger.anything", Some(Role::Definition)),
        ("p/Definitions/asyncapi.yml", Some(Role::Definition)),
        ("p/Definitions/api.yaml", None),
        ("p/Definitions/parts/swagger.yaml", None),
        ("p/MyDefinitions/swagger.yaml", None),
        ("p/Definitions/schema.graphql", Some(Role::Schema)),
        ("p/Definitions/graphql-complexity.yaml", Some(Role::Complexity)),
        ("p/deployment_environments.yaml", Some(Role::Deployments)),
        ("p/deployment_environments.json", None),
        ("p/Endpoint-certificates/a.crt", Some(Role::EndpointCertificate)),
        (
            "p/Endpoint-certificates/interceptors/a.pem",
            Some(Role::InterceptorCertificate),
        ),
        (
            "p/Endpoint-certificates/endpoint_certificates.json",
            Some(Role::EndpointCertificates),
        ),
        (
            "p/Client-certificates/client_certificates.yaml",
            Some(Role::ClientCertificates(None)),
        ),
        (
            "p/Client-certificates/SANDBOX/client_certificates.yaml",
            Some(Role::ClientCertificates(Some(KeyType::Sandbox))),
        ),
        (
            "p/Client-certificates/Production/c.crt",
            Some(Role::ClientCertificate(Some(KeyType::Production))),
        ),
        (
            "PRODUCTION/Client-certificates/other/c.crt",
            Some(Role::ClientCertificate(None)),
        ),
        ("p/Client-certificates/c.crt", Some(Role::ClientCertificate(None))),
        ("p/Client-certificates/c.key", None),
        ("p/api_meta.yaml", None),
        ("p/README.md", None),
        ("__MACOSX/p/Endpoint-certificates/._a.crt", None),
        ("__MACOSX/p/api.yaml", None),
        ("p/Policies/._add_v1.yaml", None),
        ("p/.git/Definitions/swagger.yaml", None),
        (".p/api.yaml", Some(Role::Api)),
    ];
    for (path, want) in cases {
        assert_eq!(role(path), want, "{path}");
    }
}

#[test]
fn a_complete_project() {
    let data = "  id: abc\n  Provider: alice\n  organizationId: org\n  revisionId: 3\n  isDefaultVersion: true\n  lifeCycleStatus: published\n  apiThrottlingPolicy: Gold\n  authorizationHeader: X-Auth\n  securityScheme: [oauth2, mutualssl, oauth_basic_auth_api_key_mandatory]\n";
    let api = accepted(pets(&format!("{data}{ENDPOINT}"), &openapi(PATHS)));
    assert_eq!(api.identity.uuid, "abc");
    assert_eq!(
        (api.identity.name.as_str(), api.identity.version.as_str()),
        ("Pets", "1.0.0")
    );
    assert_eq!(
        api.identity.provider.as_deref(),
        Some("alice"),
        "keys match in any case"
    );
    assert_eq!(
        (api.identity.organization.as_deref(), api.identity.revision_id),
        (Some("org"), 3)
    );
    assert_eq!(
        (api.kind, api.implementation),
        (ApiKind::Http, Implementation::Upstream)
    );
    assert_eq!(
        (api.base_path.as_str(), api.context.as_deref()),
        ("/pets/1.0.0", Some("/pets"))
    );
    assert!(api.default_version && api.application_security);
    assert_eq!(api.lifecycle, "PUBLISHED");
    assert_eq!(
        (api.tier.as_deref(), api.auth_header.as_deref()),
        (Some("Gold"), Some("X-Auth"))
    );
    assert_eq!(api.mutual_ssl, MutualSsl::Optional);
    let default = Deployment {
        environment: "Default".into(),
        vhost: None,
        on_devportal: true,
        place: 0,
    };
    assert_eq!(api.deployments, [default]);
    let anonymous = accepted(pets(ENDPOINT, &openapi(PATHS)));
    assert_eq!(anonymous.identity.uuid, crate::digest("Pets", "1.0.0"));
}

#[test]
fn refused_metadata() {
    let swagger = openapi(PATHS);
    let data = |text: &str| {
        vec![
            ("api.yaml", text.to_owned()),
            ("Definitions/swagger.yaml", swagger.clone()),
        ]
    };
    type Case<'a> = (&'a str, Vec<(&'a str, String)>, &'a [&'a str]);
    let long = "n".repeat(1_025);
    let cases: [Case<'_>; 18] = [
        (
            "nothing at all",
            vec![],
            &[
                "api.yaml: api.yaml or api.json not found",
                "Definitions/swagger.yaml: definition not found",
            ],
        ),
        (
            "definition only",
            vec![("Definitions/swagger.yaml", swagger.clone())],
            &["api.yaml: api.yaml or api.json not found"],
        ),
        (
            "metadata only",
            vec![("api.yaml", api_yaml(ENDPOINT))],
            &["Definitions/swagger.yaml: definition not found"],
        ),
        ("no data", data("type: api\n"), &["api.yaml: has no data section"]),
        (
            "a name without end",
            data(&api_yaml(&format!("  organizationId: {long}\n{ENDPOINT}")).replace("Pets", &long)),
            &[
                "api.yaml#/data/name: is longer than 1024 bytes",
                "api.yaml#/data/organizationId: is longer than 1024 bytes",
            ],
        ),
        (
            "line breaks where headers are made of",
            data(&api_yaml(&format!("  id: \"a\\nb\"\n{ENDPOINT}")).replace("Pets", "\"Pe\\r\\nts\"")),
            &[
                "api.yaml#/data/id: has a control character",
                "api.yaml#/data/name: has a control character",
            ],
        ),
        (
            "a broken definition hides nothing else",
            vec![
                ("api.yaml", api_yaml("")),
                ("Definitions/swagger.yaml", "a: 1\n".into()),
                ("Endpoint-certificates/a.crt", "hello".into()),
                ("Policies/p_v1.yaml", "{".into()),
            ],
            &[
                "Definitions/swagger.yaml: not an OpenAPI definition: neither openapi nor swagger is given",
                "Endpoint-certificates/a.crt: not a PEM certificate",
                "Policies/p_v1.yaml: not valid JSON: EOF while parsing an object at line 1 column 1",
            ],
        ),
        (
            "data is a list",
            data("data: []\n"),
            &["api.yaml#/data: must be an object"],
        ),
        ("empty file", data(""), &["api.yaml: must be an object"]),
        (
            "nothing in data",
            data("data: {x: 1}\n"),
            &[
                "api.yaml#/data: type must be given",
                "api.yaml#/data: name, version, context must be given",
            ],
        ),
        (
            "version as list",
            data("data: {name: a, version: [1.0], context: /a, type: HTTP}\n"),
            &["api.yaml#/data/version: must be text"],
        ),
        (
            "unknown type",
            data(&api_yaml(ENDPOINT).replace("HTTP", "SSE")),
            &["api.yaml#/data/type: API type \"SSE\" is none of HTTP, WS, SOAP, GRAPHQL"],
        ),
        (
            "inline",
            data(&api_yaml(&format!(
                "  endpointImplementationType: INLINE\n{ENDPOINT}"
            ))),
            &[
                "api.yaml#/data/endpointImplementationType: endpoint implementation type INLINE is not supported",
            ],
        ),
        (
            "no endpoint",
            data(&api_yaml("")),
            &["api.yaml: at least one production or sandbox endpoint must be given"],
        ),
        (
            "relative endpoint",
            data(&api_yaml(
                "  endpointConfig: {production_endpoints: {url: /v1}}\n",
            )),
            &[
                "api.yaml#/data/endpointConfig/production_endpoints/url: endpoint \"/v1\" is a path without a host",
                "api.yaml: at least one production or sandbox endpoint must be given",
            ],
        ),
        (
            "context",
            data(&api_yaml(ENDPOINT).replace("/pets", "pets{x}")),
            &[
                "api.yaml#/data/context: base path \"pets{x}/1.0.0\" of context and version must start with / and have only letters, digits and ~ / _ . -",
            ],
        ),
        (
            "flag as text",
            data(&api_yaml(&format!("  isDefaultVersion: maybe\n{ENDPOINT}"))),
            &["api.yaml#/data/isDefaultVersion: must be true or false"],
        ),
        (
            "both broken",
            vec![
                ("api.yaml", "data: 3\n".into()),
                ("Definitions/swagger.yaml", "a: 1\n".into()),
            ],
            &[
                "api.yaml#/data: must be an object",
                "Definitions/swagger.yaml: not an OpenAPI definition: neither openapi nor swagger is given",
            ],
        ),
    ];
    for (name, files, want) in cases {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let want: Vec<String> = want.iter().map(|line| format!("error: {line}")).collect();
        assert_eq!(errors(project(&files)), want, "{name}");
    }
}

/// What has no quotes is what its owner wrote, whatever YAML would make of it.
#[test]
fn texts_are_taken_as_written() {
    const BOOL: &str = "taken as written; other readers may make true or false of it: put quotes around it";
    const NUMBER: &str =
        "taken as written; other readers may make another number of it: put quotes around it";
    let cases = [
        ("12345", None),
        ("50", None),
        ("true", None),
        ("2.5", None),
        ("2020-01-01", None),
        ("'007'", None),
        ("007", Some(NUMBER)),
        ("1.10", Some(NUMBER)),
        ("1.0", Some(NUMBER)),
        ("0x10", Some(NUMBER)),
        ("1_000", Some(NUMBER)),
        ("1e3", Some(NUMBER)),
        (".inf", Some(NUMBER)),
        ("y", Some(BOOL)),
        ("no", Some(BOOL)),
        ("True", Some(BOOL)),
    ];
    for (text, note) in cases {
        let api = format!(
            "data:\n  name: {text}\n  version: {text}\n  context: /a\n  type: HTTP\n  apiThrottlingPolicy: {text}\n  \
             endpointConfig:\n    production_endpoints: {{url: http://b1}}\n    endpoint_security: {{production: {{enabled: 'true', \
             type: basic, username: {text}, password: {text}, customparameters: {{c: {text}}}}}}}\n  operations:\n  - {{target: /pets, \
             verb: get, throttlingPolicy: {text}, operationPolicies: {{request: [{{policyName: {text}, policyVersion: {text}}}]}}}}\n"
        );
        let targets = format!("data: [{{deploymentEnvironment: {text}}}]\n");
        let definition = openapi(&format!(
            "x-wso2-auth-header: {text}\nsecurity: [{{o: [{text}]}}]\ncomponents: {{securitySchemes: {{o: {{type: oauth2}}}}}}\n{PATHS}"
        ));
        let reading = project(&[
            ("api.yaml", &api),
            ("deployment_environments.yaml", &targets),
            ("Definitions/swagger.yaml", &definition),
        ])
        .unwrap_or_else(|findings| panic!("{text}: {}", lines(&findings).join("\n")));
        let api = reading.project;
        let security = api.production_security.unwrap();
        let policy = &api.resources[0].operations[0].policies.request[0];
        let got = [
            api.identity.name.as_str(),
            &api.identity.version,
            api.tier.as_deref().unwrap(),
            &security.username,
            &security.password,
            &security.custom_parameters["c"],
            &policy.name,
            &policy.version,
            &api.deployments[0].environment,
            &api.security[0]["o"][0],
            api.auth_header.as_deref().unwrap(),
        ];
        assert!(security.enabled, "{text}");
        assert_eq!(got, [text.trim_matches('\''); 11], "{text}");
        let told = reading.warnings.iter().map(|warning| warning.message.as_str());
        let told: Vec<&str> = told.filter(|message| message.starts_with("taken")).collect();
        // The tier of the operation is told as well.
        assert_eq!(told, note.map_or_else(Vec::new, |note| vec![note; 12]), "{text}");
    }
}

#[test]
fn json_metadata_and_nearest_file() {
    let json = "{\"DATA\": {\"name\": \"Pets\", \"version\": \"1.0\", \"context\": \"/pets\", \"type\": \"http\", \"endpointConfig\": {\"production_endpoints\": {\"url\": \"http://b1\"}}}}";
    let swagger = openapi(PATHS);
    let files = [
        ("p/p/api.json", json),
        ("p/p/Definitions/swagger.json", swagger.as_str()),
        ("p/p/old/api.yaml", "not even looked at: ["),
        ("p/p/Definitions/swagger.yaml", "{"),
    ];
    let reading = project(&files).unwrap();
    assert_eq!(reading.project.identity.version, "1.0");
    assert_eq!(
        lines(&reading.warnings),
        [
            "warning: p/p/Definitions/swagger.yaml: ignored, since p/p/Definitions/swagger.json is used",
            "warning: p/p/old/api.yaml: ignored, since p/p/api.json is used",
        ]
        .map(str::to_owned)
        .as_slice()
        .to_vec()
    );
}

#[test]
fn targets() {
    let target = |place: usize, environment: &str, vhost: Option<&str>| Deployment {
        environment: environment.into(),
        vhost: vhost.map(str::to_owned),
        on_devportal: false,
        place,
    };
    let cases: [(&str, Vec<Deployment>, usize); 6] = [
        (
            "data:\n - {deploymentEnvironment: Default}\n - {deploymentEnvironment: Default, deploymentVhost: a.example}\n",
            vec![
                target(0, "Default", None),
                target(1, "Default", Some("a.example")),
            ],
            0,
        ),
        ("data: []\n", vec![], 1),
        ("environments: [Default]\n", vec![], 1),
        (
            "data:\n - {deploymentVhost: x}\n - {deploymentEnvironment: US, deploymentVhost: ''}\n",
            vec![target(1, "US", None)],
            1,
        ),
        (
            "data: [",
            vec![Deployment {
                on_devportal: true,
                ..target(0, "Default", None)
            }],
            1,
        ),
        (
            "data: {a: 1}\n",
            vec![Deployment {
                on_devportal: true,
                ..target(0, "Default", None)
            }],
            1,
        ),
    ];
    for (text, want, count) in cases {
        let (api, swagger) = (api_yaml(ENDPOINT), openapi(PATHS));
        let files = [
            ("api.yaml", api.as_str()),
            ("Definitions/swagger.yaml", swagger.as_str()),
            ("deployment_environments.yaml", text),
        ];
        let reading = project(&files).unwrap();
        assert_eq!(reading.project.deployments, want, "{text}");
        assert_eq!(reading.warnings.len(), count, "{text}: {:?}", reading.warnings);
    }
}

/// A sequence of nothing much: whoever reads projects looks no further.
const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n";

#[test]
fn certificates() {
    let (api, swagger) = (api_yaml(ENDPOINT), openapi(PATHS));
    let (one, two) = (PEM.replace("CAQA", "CAQE"), PEM.replace("CAQA", "CAQI"));
    let map = "data:\n - {alias: a, endpoint: 'backend:8080/v1', certificate: one.crt}\n - {alias: b, endpoint: https://x, certificate: one.crt}\n - {endpoint: https://y, certificate: none.crt}\n";
    let clients =
        "data:\n - {alias: c, tierName: Gold, certificate: c.pem}\n - {alias: d, certificate: gone.pem}\n";
    let files = vec![
        ("api.yaml", api.as_str()),
        ("Definitions/swagger.yaml", swagger.as_str()),
        ("Endpoint-certificates/endpoint_certificates.yaml", map),
        ("Endpoint-certificates/one.crt", &one),
        ("Endpoint-certificates/two.pem", &two),
        ("Endpoint-certificates/three.pem", PEM),
        ("Endpoint-certificates/interceptors/i.pem", PEM),
        ("Client-certificates/client_certificates.yaml", clients),
        ("Client-certificates/c.pem", PEM),
    ];
    let reading = project(&files).unwrap();
    let api = &reading.project;
    let found = &api.endpoint_certificates;
    assert_eq!(
        found.by_url.keys().collect::<Vec<_>>(),
        ["http://backend:8080/v1", "https://x"],
        "one file may serve two"
    );
    assert_eq!(
        found.find(&api.production.as_ref().unwrap().endpoints[0]),
        Some(one.as_bytes())
    );
    assert_eq!(found.bundle, format!("{PEM}{two}").as_bytes());
    assert_eq!(found.interceptor_bundle, PEM.as_bytes());
    assert_eq!(api.client_certificates.len(), 1);
    assert_eq!(
        (
            api.client_certificates[0].alias.as_str(),
            api.client_certificates[0].tier.as_str()
        ),
        ("c", "Gold")
    );
    assert_eq!(
        lines(&reading.warnings),
        [
            "warning: Client-certificates/client_certificates.yaml#/data/1: ignored: no certificate file \"gone.pem\"",
            "warning: Endpoint-certificates/endpoint_certificates.yaml#/data/2: ignored: no certificate file \"none.crt\"",
        ]
    );
    let armoured = PEM.replace("MAMCAQA=", "bm90IGF0IGFsbA==");
    let longer = PEM.replace("MAMCAQA=", "MAMCAQAA");
    let second = format!("{PEM}{armoured}");
    for bad in ["hello", &armoured, &longer, &second, &PEM.replace('=', "*")] {
        let mut files = files.clone();
        files.push(("Endpoint-certificates/bad.crt", bad));
        assert_eq!(
            errors(project(&files)),
            ["error: Endpoint-certificates/bad.crt: not a PEM certificate"],
            "{bad}"
        );
    }
}

#[test]
fn client_certificates_of_each_key_type() {
    let (api, swagger) = (api_yaml(ENDPOINT), openapi(PATHS));
    let (one, two) = (PEM.replace("CAQA", "CAQE"), PEM.replace("CAQA", "CAQI"));
    let list = "data:\n - {alias: a, tierName: Gold, certificate: c.crt}\n";
    let beside =
        "data:\n - {alias: b, certificate: b.crt}\n - {alias: s, keyType: sandbox, certificate: b.crt}\n";
    let mut files = vec![
        ("api.yaml", api.as_str()),
        ("Definitions/swagger.yaml", swagger.as_str()),
        ("Client-certificates/client_certificates.yaml", beside),
        ("Client-certificates/b.crt", PEM),
        ("Client-certificates/PRODUCTION/client_certificates.yaml", list),
        ("Client-certificates/PRODUCTION/c.crt", one.as_str()),
        ("Client-certificates/PRODUCTION/only.crt", one.as_str()),
        ("Client-certificates/SANDBOX/client_certificates.yaml", list),
        ("Client-certificates/SANDBOX/c.crt", two.as_str()),
    ];
    let reading = project(&files).unwrap();
    assert_eq!(lines(&reading.warnings), <[&str; 0]>::default());
    let found: Vec<_> = reading
        .project
        .client_certificates
        .iter()
        .map(|one| (one.alias.as_str(), one.key_type, one.content.as_slice()))
        .collect();
    let (production, sandbox) = (Some(KeyType::Production), Some(KeyType::Sandbox));
    assert_eq!(
        found,
        [
            ("b", None, PEM.as_bytes()),
            ("s", sandbox, PEM.as_bytes()),
            ("a", production, one.as_bytes()),
            ("a", sandbox, two.as_bytes()),
        ]
    );
    let other = "data:\n - {certificate: only.crt}\n - {keyType: PRODUCTION, certificate: c.crt}\n - {keyType: test, certificate: c.crt}\n";
    files[7].1 = other;
    let file = "Client-certificates/SANDBOX/client_certificates.yaml";
    assert_eq!(
        lines(&project(&files).unwrap_err()),
        [
            format!("error: {file}#/data/1: keyType PRODUCTION is not that of its folder, SANDBOX"),
            format!("error: {file}#/data/2: keyType \"test\" is none of PRODUCTION, SANDBOX"),
            format!("warning: {file}#/data/0: ignored: no certificate file \"only.crt\""),
        ]
    );
}

/// What lies in the folder of one key type lets nobody in who is of the other.
#[test]
fn client_certificates_stay_with_their_key_type() {
    let (api, swagger) = (api_yaml(ENDPOINT), openapi(PATHS));
    let two = PEM.replace("CAQA", "CAQI");
    let list = "data:\n - {alias: s, keyType: SANDBOX, certificate: p.crt}\n - {alias: p, certificate: p.crt}\n \
                - {alias: both, certificate: b.crt}\n";
    let mut files = vec![
        ("api.yaml", api.as_str()),
        ("Definitions/swagger.yaml", swagger.as_str()),
        ("Client-certificates/client_certificates.yaml", list),
        ("Client-certificates/PRODUCTION/p.crt", PEM),
        ("Client-certificates/PRODUCTION/b.crt", PEM),
        ("Client-certificates/sandbox/b.crt", two.as_str()),
    ];
    let reading = project(&files).unwrap();
    let found = reading.project.client_certificates.iter();
    let found: Vec<_> = found
        .map(|one| (one.alias.as_str(), one.key_type, one.content.as_slice()))
        .collect();
    let (production, sandbox) = (Some(KeyType::Production), Some(KeyType::Sandbox));
    assert_eq!(
        found,
        [
            ("p", production, PEM.as_bytes()),
            ("both", production, PEM.as_bytes()),
            ("both", sandbox, two.as_bytes()),
        ]
    );
    assert_eq!(
        lines(&reading.warnings),
        [
            "warning: Client-certificates/client_certificates.yaml#/data/0: ignored: no certificate file \"p.crt\""
        ]
    );
    let chain = format!("{PEM}{two}");
    files[3].1 = &chain;
    let told = lines(&project(&files).unwrap().warnings);
    let want = "warning: Client-certificates/PRODUCTION/p.crt: the first certificate lets its bearer in, the others nobody";
    assert!(told.iter().any(|line| line == want), "{told:?}");
    files.push(("Client-certificates/PROD/c.crt", PEM));
    files.push(("Client-certificates/old/client_certificates.json", "{}"));
    assert_eq!(
        errors(project(&files)),
        [
            "error: Client-certificates/PROD/c.crt: the folder \"PROD\" is none of a key type's, PRODUCTION or SANDBOX"
        ]
    );
}

/// Small files that ask for much: entries that share one certificate, targets without end, policies that expand.
#[test]
fn smaller_files_are_bounded() {
    let (api, swagger) = (api_yaml(ENDPOINT), openapi(PATHS));
    let big = format!("{PEM}{}", " ".repeat(1 << 20));
    let entries: String = (0..20)
        .map(|i| format!(" - {{endpoint: 'http://h{i}', certificate: a.crt}}\n"))
        .collect();
    let list = format!("data:\n{entries}");
    let targets: String = (0..1_001)
        .map(|i| format!(" - {{deploymentEnvironment: e{i}}}\n"))
        .collect();
    let targets = format!("data:\n{targets}");
    let many = "1, ".repeat(300_000);
    let policy = format!("data: [{many}]\n");
    let files = [
        ("api.yaml", api.as_str()),
        ("Client-certificates/a.crt", big.as_str()),
        ("Client-certificates/client_certificates.yaml", list.as_str()),
        ("Definitions/swagger.yaml", swagger.as_str()),
        ("Endpoint-certificates/a.crt", big.as_str()),
        ("Endpoint-certificates/endpoint_certificates.yaml", list.as_str()),
        ("Policies/a_v1.yaml", policy.as_str()),
        ("Policies/b_v1.yaml", policy.as_str()),
        ("deployment_environments.yaml", targets.as_str()),
    ];
    let got = errors(project(&files));
    assert_eq!(
        got[..3],
        [
            "error: deployment_environments.yaml#/data: 1001 targets are more than the 1000 allowed",
            "error: Client-certificates/client_certificates.yaml#/data/15: the certificates listed are more than 16777216 bytes",
            "error: Endpoint-certificates/endpoint_certificates.yaml#/data/15: the certificates listed are more than 16777216 bytes",
        ]
    );
    assert!(got[3].starts_with("error: Policies/b_v1.yaml: not valid YAML: the file has too many values"));
    assert_eq!(got.len(), 4);
}

#[test]
fn graphql() {
    let data = format!(
        "{ENDPOINT}  securityScheme: [oauth2, api_key]\n  corsConfiguration: {{corsConfigurationEnabled: true, accessControlAllowOrigins: ['*']}}\n  operations:\n  - {{target: pets, verb: query, scopes: [read], authType: Any}}\n  - {{target: add, verb: MUTATION, authType: None, throttlingPolicy: Gold}}\n"
    );
    let api = api_yaml(&data).replace("HTTP", "GRAPHQL");
    let mut files = vec![
        ("api.yaml", api.as_str()),
        (
            "Definitions/graphql-complexity.yaml",
            "data: {list: [{type: Query, field: pets, complexityValue: 4}]}\n",
        ),
    ];
    assert_eq!(
        errors(project(&files)),
        ["error: Definitions/schema.graphql: schema of the GraphQL API is missing"]
    );
    files.push(("Definitions/schema.graphql", "type Query { pets: Int }"));
    let api = accepted(project(&files));
    assert_eq!(api.base_path, "/pets/1.0.0");
    let operation = |index: usize| &api.resources[index].operations[0];
    assert_eq!(
        (api.resources[0].path.as_str(), operation(0).method.as_str()),
        ("pets", "QUERY")
    );
    assert_eq!(
        operation(0)
            .security
            .iter()
            .flat_map(|r| r.keys())
            .collect::<Vec<_>>(),
        ["default", "api_key_header", "api_key_query"]
    );
    assert!(operation(1).disable_security && operation(1).security.is_empty());
    assert_eq!(operation(1).tier.as_deref(), Some("Gold"));
    assert!(matches!(api.cors, crate::Cors::Custom(_)));
    let graphql = api.graphql.unwrap();
    assert_eq!(
        (graphql.schema.as_str(), graphql.complexities[0].value),
        ("type Query { pets: Int }", 4)
    );
}

#[test]
fn websocket() {
    let api =
        api_yaml("  endpointConfig: {production_endpoints: {url: 'ws://api-yaml'}}\n").replace("HTTP", "WS");
    let definition = "asyncapi: 2.0.0\nx-wso2-basePath: /ignored\nservers: {production: {url: 'chat.example.com:9000/ws'}}\nchannels:\n  /notes: {publish: {x-scopes: [a, b], x-uri-mapping: /n}, subscribe: {x-scopes: [c]}}\n  rooms/{id}: {x-auth-type: None, subscribe: {x-scopes: {z: c}}}\n  /nothing: {}\ncomponents: {securitySchemes: {mine: {type: oauth2}}}\n";
    let reading = project(&[("api.yaml", &api), ("Definitions/asyncapi.yaml", definition)]).unwrap();
    let api = reading.project;
    assert_eq!((api.kind, api.base_path.as_str()), (ApiKind::Ws, "/pets/1.0.0"));
    assert_eq!(
        api.production.unwrap().endpoints[0].url,
        "ws://chat.example.com:9000/ws"
    );
    let paths: Vec<&str> = api
        .resources
        .iter()
        .map(|resource| resource.path.as_str())
        .collect();
    assert_eq!(paths, ["/notes", "/rooms/{id}"]);
    let operation = &api.resources[0].operations[0];
    assert_eq!(
        (operation.method.as_str(), operation.uri_mapping.as_deref()),
        ("GET", Some("/n"))
    );
    assert_eq!(operation.security[0]["oauth2"], ["a", "b"]);
    assert_eq!(api.resources[1].operations[0].security[0]["oauth2"], ["c"]);
    assert!(api.resources[1].operations[0].disable_security);
    assert_eq!(
        lines(&reading.warnings),
        [
            "warning: Definitions/asyncapi.yaml#/channels/~1notes/subscribe/x-scopes: ignored: scopes are read from x-scopes of publish, of subscribe without publish",
            "warning: Definitions/asyncapi.yaml#/channels/~1nothing: ignored: neither publish nor subscribe is given",
        ]
    );
    let http = api_yaml(ENDPOINT);
    let got = errors(project(&[
        ("api.yaml", &http),
        ("Definitions/asyncapi.yaml", definition),
    ]));
    assert_eq!(
        got[0],
        "error: Definitions/asyncapi.yaml: an API of type HTTP needs an OpenAPI definition"
    );
}

#[test]
fn what_newer_exports_hold_and_nobody_serves_is_named() {
    let definition = "openapi: 3.0.0\ninfo: {title: A, version: '1'}\npaths: {/a: {get: {}}}\n";
    let api = api_yaml(ENDPOINT);
    let with = |file: &str| {
        project(&[
            ("api.yaml", &api),
            ("Definitions/swagger.yaml", definition),
            (file, "a: 1"),
        ])
    };
    for (file, want) in [
        (
            "api_product.yaml",
            "error: api_product.yaml: API products are not served: deploy the APIs that it is made of",
        ),
        (
            "mcp_server.yaml",
            "error: mcp_server.yaml: MCP servers are not served",
        ),
    ] {
        assert_eq!(lines(&with(file).unwrap_err()), [want], "{file}");
    }
    assert_eq!(
        lines(&with("endpoints.yaml").unwrap().warnings),
        ["warning: endpoints.yaml: has no effect: endpoints are read from api.yaml and the definition"]
    );
}

#[test]
fn parameters_of_credentials_are_an_object() {
    for (parameters, want) in [("'{}'", true), ("{}", false), ("null", false)] {
        let api = api_yaml(&format!(
            "  endpointConfig:\n    production_endpoints: {{url: 'http://backend'}}\n    endpoint_security:\n      production: \
             {{enabled: true, type: OAUTH, username: u, password: p, customParameters: {parameters}}}\n"
        ));
        let definition = "openapi: 3.0.0\ninfo: {title: A, version: '1'}\npaths: {/a: {get: {}}}\n";
        let read = project(&[("api.yaml", &api), ("Definitions/swagger.yaml", definition)]);
        assert_eq!(read.is_err(), want, "{parameters}: {read:?}");
    }
}

/// Keys of `api.yaml` and of lists are found in any case, so two that differ in nothing else are one key given twice.
#[test]
fn keys_in_two_cases_are_one_key_twice() {
    let said = |data: &str| {
        let result = pets(&format!("{data}{ENDPOINT}"), &openapi(PATHS));
        match result {
            Ok(reading) => lines(&reading.warnings),
            Err(findings) => lines(&findings),
        }
    };
    assert_eq!(
        said("  description: a\n  Description: b\n"),
        ["warning: p/api.yaml#/data/Description: key is given as description too: keep one of them"]
    );
    assert_eq!(
        said("  securityScheme: [oauth2]\n  SECURITYSCHEME: []\n"),
        [
            "error: p/api.yaml#/data/SECURITYSCHEME: key is given as securityScheme too, and what is said of who may call differs: \
             keep one of them"
        ]
    );
    assert_eq!(
        said("  operations: [{target: /pets, verb: GET, authType: a, AuthType: a}]\n"),
        ["warning: p/api.yaml#/data/operations/0/AuthType: key is given as authType too: keep one of them"]
    );
}
