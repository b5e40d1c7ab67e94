//! Policies of `api.yaml`, and its keys that nobody reads.

use super::*;
use crate::{OperationPolicies, PolicyReference};

#[test]
fn policies_are_attached_by_target_and_verb() {
    let data = format!(
        "{ENDPOINT}  operations:\n  - target: /pets/\n    verb: get\n    operationPolicies:\n      request: [{{policyName: add, policyVersion: v1, parameters: {{a: 1}}}}]\n  - {{target: /pets, verb: GET, operationPolicies: {{response: [{{policyName: late}}]}}}}\n  - {{target: /none, verb: GET, operationPolicies: {{response: [{{policyName: x}}]}}}}\n"
    );
    let (api, swagger) = (api_yaml(&data), openapi(PATHS));
    let files = [
        ("api.yaml", api.as_str()),
        ("Definitions/swagger.yaml", swagger.as_str()),
        ("Policies/add_v1.yaml", "data: {name: add}\n"),
        ("Policies/add_v1.gotmpl", "definition:\n  action: X\n"),
    ];
    let reading = project(&files).unwrap();
    let policies = &reading.project.resources[0].operations[0].policies;
    assert_eq!(
        (policies.request.len(), policies.response.len()),
        (1, 0),
        "the first entry wins"
    );
    assert_eq!(
        (
            policies.request[0].name.as_str(),
            policies.request[0].version.as_str()
        ),
        ("add", "v1")
    );
    let file = &reading.project.policies["add_v1"];
    assert_eq!(file.template.as_deref(), Some("definition:\n  action: X\n"));
    assert!(file.specification.is_some());
    assert_eq!(
        lines(&reading.warnings),
        [
            "warning: api.yaml#/data/operations/1: ignored: an earlier entry is for the same operation",
            "warning: api.yaml#/data/operations/2: ignored: the definition has no operation GET /none",
        ]
    );
    assert_eq!(reading.project.unattached, [], "the response flow guards nothing");
}

fn names(policies: &[PolicyReference]) -> Vec<&str> {
    policies.iter().map(|policy| policy.name.as_str()).collect()
}

/// A request policy that finds no operation may have been meant as its guard.
#[test]
fn request_policies_never_vanish() {
    const ENTRY: &str = "operationPolicies: {request: [{policyName: one}, {policyName: two, policyVersion: v2}], response: [{policyName: late}]}";
    struct Case {
        name: &'static str,
        kind: &'static str,
        operations: String,
        /// Those of GET `/pets`.
        attached: &'static [&'static str],
        /// Pointers of the others.
        unattached: &'static [&'static str],
        /// The one warning, after file and `/data/operations`.
        warning: &'static str,
    }
    let entry = |target: &str, verb: &str| format!("  - {{target: {target}, verb: {verb}, {ENTRY}}}\n");
    let second = &[
        "/data/operations/1/operationPolicies/request/0",
        "/data/operations/1/operationPolicies/request/1",
    ];
    let first = &[
        "/data/operations/0/operationPolicies/request/0",
        "/data/operations/0/operationPolicies/request/1",
    ];
    let cases = [
        Case {
            name: "attached",
            kind: "HTTP",
            operations: entry("/pets", "GET"),
            attached: &["one", "two"],
            unattached: &[],
            warning: "",
        },
        Case {
            name: "the same twice",
            kind: "HTTP",
            operations: entry("/pets", "GET") + &entry("/pets/", "get"),
            attached: &["one", "two"],
            unattached: &[],
            warning: "",
        },
        Case {
            name: "an earlier entry with nothing",
            kind: "HTTP",
            operations: format!("  - {{target: /pets, verb: GET}}\n{}", entry("/pets", "GET")),
            attached: &[],
            unattached: second,
            warning: "/1: ignored: an earlier entry is for the same operation",
        },
        Case {
            name: "no such path",
            kind: "HTTP",
            operations: format!("  - {{target: /pets, verb: GET}}\n{}", entry("/cats", "GET")),
            attached: &[],
            unattached: second,
            warning: "/1: ignored: the definition has no operation GET /cats",
        },
        Case {
            name: "no such method",
            kind: "HTTP",
            operations: entry("/pets", "put"),
            attached: &[],
            unattached: first,
            warning: "/0: ignored: the definition has no operation PUT /pets",
        },
        Case {
            name: "SOAP has none",
            kind: "SOAP",
            operations: entry("/pets", "GET"),
            attached: &[],
            unattached: first,
            warning: ": ignored: policies of an API of type SOAP are not applied",
        },
    ];
    for case in cases {
        let data = format!("{ENDPOINT}  operations:\n{}", case.operations);
        let (api, swagger) = (api_yaml(&data).replace("HTTP", case.kind), openapi(PATHS));
        let reading = project(&[
            ("api.yaml", api.as_str()),
            ("Definitions/swagger.yaml", swagger.as_str()),
        ])
        .unwrap();
        let project = reading.project;
        let attached = &project.resources[0].operations[0].policies.request;
        assert_eq!(names(attached), case.attached, "{}", case.name);
        let pointers: Vec<&str> = project
            .unattached
            .iter()
            .map(|kept| kept.pointer.as_str())
            .collect();
        assert_eq!(pointers, case.unattached, "{}", case.name);
        let kept: Vec<&str> = project
            .unattached
            .iter()
            .map(|kept| kept.policy.name.as_str())
            .collect();
        assert!(kept.is_empty() || kept == ["one", "two"], "{}", case.name);
        let want = format!("warning: api.yaml#/data/operations{}", case.warning);
        let want: Vec<String> = (!case.warning.is_empty()).then_some(want).into_iter().collect();
        assert_eq!(lines(&reading.warnings), want, "{}", case.name);
    }
}

#[test]
fn policies_of_the_whole_api() {
    let read = |kind: &str, policies: &str| {
        let data = format!("{ENDPOINT}  apiPolicies: {policies}\n");
        let (api, swagger) = (api_yaml(&data).replace("HTTP", kind), openapi(PATHS));
        project(&[
            ("api.yaml", api.as_str()),
            ("Definitions/swagger.yaml", swagger.as_str()),
        ])
    };
    let guard = "{request: [{policyName: opaGuard, policyVersion: v1, parameters: {serverUrl: 'http://127.0.0.1:1'}}], response: [{policyName: add}], fault: []}";
    for kind in ["HTTP", "SOAP"] {
        let policies = accepted(read(kind, guard)).api_policies;
        assert_eq!(names(&policies.request), ["opaGuard"], "{kind}");
        assert_eq!(policies.request[0].version, "v1", "{kind}");
        assert_eq!(
            policies.request[0].parameters["serverUrl"].text(),
            Some("http://127.0.0.1:1"),
            "{kind}"
        );
        assert_eq!(names(&policies.response), ["add"], "{kind}");
    }
    for nothing in ["null", "{}", "[]", "{request: null, response: []}"] {
        let reading = read("HTTP", nothing).unwrap();
        assert_eq!(
            reading.project.api_policies,
            OperationPolicies::default(),
            "{nothing}"
        );
        assert!(reading.warnings.is_empty(), "{nothing}");
    }
    let refused = [
        ("[{policyName: a}]", "/data/apiPolicies: must be an object"),
        ("{request: {}}", "/data/apiPolicies/request: must be a list"),
        (
            "{Request: [{}]}",
            "/data/apiPolicies/Request/0: policyName must be given",
        ),
    ];
    for (policies, want) in refused {
        assert_eq!(
            errors(read("HTTP", policies)),
            [format!("error: api.yaml#{want}")],
            "{policies}"
        );
    }
}

#[test]
fn keys_without_effect() {
    struct Case {
        line: &'static str,
        want: &'static str,
    }
    let case = |line, want| Case { line, want };
    let cases = [
        case("rateLimits: {a: 1}", "rateLimits: has no effect here"),
        case("x-guard: true", "x-guard: has no effect here"),
        case("rateLimits: null", ""),
        case("Visibility: PUBLIC", ""),
        case("gatewayType: wso2/synapse", ""),
        case(
            "apiKeyHeader: X-Key",
            "apiKeyHeader: has no effect here: a key is taken from the header that its security scheme names",
        ),
        case("apiKeyHeader: ApiKey", ""),
        case("apikeyheader: ''", ""),
        case(
            "threatProtectionPolicies: {list: [{policyId: a, priority: 1}]}",
            "threatProtectionPolicies: has no effect here: threat protection is not applied",
        ),
        case("threatProtectionPolicies: {list: []}", ""),
        case("threatProtectionPolicies: null", ""),
        case(
            "mediationPolicies: [{name: log, type: OUT}, {name: guard, type: IN, shared: true}]",
            "mediationPolicies: has no effect here: mediation sequences are not run",
        ),
        case(
            "mediationPolicies: [{name: guard, type: request}]",
            "mediationPolicies: has no effect here: mediation sequences are not run",
        ),
        case("mediationPolicies: [{name: log, type: fault}]", ""),
        case("mediationPolicies: []", ""),
        case(
            "audiences: [all, me]",
            "audiences: has no effect here: the audience of a token is not checked",
        ),
        case("audiences: [ALL]", ""),
        case("audiences: []", ""),
        case(
            "enableSchemaValidation: true",
            "enableSchemaValidation: has no effect here: requests are not checked against schemas",
        ),
        case("enableSchemaValidation: false", ""),
        case(
            "maxTps: {production: 10, sandbox: null}",
            "maxTps: has no effect here: calls of the endpoints are not limited",
        ),
        case("maxTps: {production: null}", ""),
        case("maxTps: null", ""),
    ];
    for Case { line, want } in cases {
        let got = warnings(pets(&format!("  {line}\n{ENDPOINT}"), &openapi(PATHS)));
        let want = format!("warning: p/api.yaml#/data/{want}");
        let want: Vec<String> = (!want.ends_with('/')).then_some(want).into_iter().collect();
        assert_eq!(got, want, "{line}");
    }
}

/// A guard under a name that nobody reads would be no guard.
#[test]
fn flows_have_three_names() {
    let project = |lines: &str| pets(&format!("{lines}\n{ENDPOINT}"), &openapi(PATHS));
    assert_eq!(
        errors(project("  apiPolicies: {requests: [], x-note: 1, Response: []}")),
        ["error: p/api.yaml#/data/apiPolicies/requests: is none of the flows request, response, fault"]
    );
}

/// The definition decides about scopes; those of `api.yaml` alone are told.
#[test]
fn scopes_of_operations_are_told_when_nobody_asks_for_them() {
    let told = |security: &str| {
        let data = format!(
            "{ENDPOINT}  operations:\n  - {{target: /a/, verb: get, scopes: [read, admin]}}\n  - {{target: /b, verb: GET, scopes: [x]}}\n"
        );
        let definition = openapi(&format!(
            "components: {{securitySchemes: {{default: {{type: oauth2}}}}}}\npaths:\n  /a:\n    get: {{{security}}}\n"
        ));
        warnings(pets(&data, &definition))
    };
    assert_eq!(told("security: [{default: [read, admin]}]"), Vec::<String>::new());
    for security in ["", "security: [{default: [read]}]"] {
        let scope = if security.is_empty() { "read" } else { "admin" };
        assert_eq!(
            told(security),
            [format!(
                "warning: p/api.yaml#/data/operations/0/scopes: scope {scope:?} is not asked for: security of the definition decides"
            )]
        );
    }
}
