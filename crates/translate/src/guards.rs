//! What may refuse a request can't be left out: without it the API would be open to more callers than its owner meant. So a
//! project that names a guard, wherever it does, is refused by name until the guard can be applied.

use trireme_project::{ApiProject, Extensions, PolicyReference};

use crate::findings::{API, DEFINITION, Findings};

const REQUEST_INTERCEPTOR: &str = "x-wso2-request-interceptor";

/// Actions of policies that refuse nobody (spec/adapter.md 6.3). Of an action that isn't here nobody knows what it does.
const HARMLESS: [&str; 5] = [
    "ADD_QUERY",
    "REMOVE_HEADER",
    "REWRITE_RESOURCE_METHOD",
    "REWRITE_RESOURCE_PATH",
    "SET_HEADER",
];

/// Refuses every guard that the project names.
pub(crate) fn refuse(project: &ApiProject, findings: &mut Findings) {
    interceptors(project, findings);
    let mut look = |policy: &PolicyReference, place: &str, pointer: &str| {
        if let Some(reason) = objection(project, policy) {
            let name = file_name(policy);
            findings.refuse(API, pointer, &format!("policy {name} at {place} {reason}"));
        }
    };
    for (index, policy) in project.api_policies.request.iter().enumerate() {
        look(policy, "the API", &format!("/data/apiPolicies/request/{index}"));
    }
    for resource in &project.resources {
        for operation in &resource.operations {
            for policy in &operation.policies.request {
                look(policy, &resource.path, "/data/operations");
            }
        }
    }
    for one in &project.unattached {
        look(&one.policy, "an operation that is not served", &one.pointer);
    }
}

fn interceptors(project: &ApiProject, findings: &mut Findings) {
    const MESSAGE: &str = "request interceptors are not called yet";
    let named = |extensions: &Extensions| extensions.contains_key(REQUEST_INTERCEPTOR);
    if named(&project.extensions) {
        findings.refuse(DEFINITION, &format!("/{REQUEST_INTERCEPTOR}"), MESSAGE);
    }
    for resource in &project.resources {
        let mut operations = resource.operations.iter();
        if named(&resource.extensions) || operations.any(|operation| named(&operation.extensions)) {
            let path = resource.path.replace('~', "~0").replace('/', "~1");
            findings.refuse(DEFINITION, &format!("/paths/{path}"), MESSAGE);
        }
    }
}

/// Base name of the files of a policy.
fn file_name(policy: &PolicyReference) -> String {
    format!("{}_{}", policy.name, policy.version)
}

/// Why a policy of the request flow can't be left out, if it can't.
fn objection(project: &ApiProject, policy: &PolicyReference) -> Option<&'static str> {
    let file = project.policies.get(&file_name(policy));
    let Some(template) = file.and_then(|file| file.template.as_deref()) else {
        return Some("may refuse requests: its template (.gotmpl) is not in the project");
    };
    let actions = actions(template);
    let harmless = actions.iter().all(|action| HARMLESS.contains(action));
    (actions.is_empty() || !harmless).then_some("may refuse requests, and is not applied yet")
}

/// The word behind each `action:` of a template; empty where there is none, because the template puts one in.
fn actions(template: &str) -> Vec<&str> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let blank = |c: char| c.is_whitespace() || c == '"' || c == '\'';
    let mut pieces = template.split("action");
    let mut before = pieces.next().unwrap_or_default();
    let mut actions = Vec::new();
    for piece in pieces {
        let begins = !before.ends_with(word);
        let value = piece.trim_start_matches(blank).strip_prefix(':');
        if let Some(value) = value.filter(|_| begins) {
            let value = value.trim_start_matches(blank);
            actions.push(value.split(|c| !word(c)).next().unwrap_or_default());
        }
        before = piece;
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{API as WRITTEN, DEFINITION as OPERATION, read};
    use crate::{Deployed, Settings, draft};

    #[test]
    fn actions_are_found_as_templates_write_them() {
        let cases: [(&str, &[&str]); 9] = [
            ("definition:\n  action: SET_HEADER\n", &["SET_HEADER"]),
            ("definition: { \"action\" : 'OPA', parameters: {} }", &["OPA"]),
            (
                "{{if .x}}\naction: OPA\n{{else}}\naction: SET_HEADER\n{{end}}",
                &["OPA", "SET_HEADER"],
            ),
            ("action: {{ .action }}", &[""]),
            ("action:\n  SET_HEADER", &["SET_HEADER"]),
            ("transaction: OPA\nactions: [OPA]\n", &[]),
            ("reaction: x", &[]),
            ("", &[]),
            ("action", &[]),
        ];
        for (template, want) in cases {
            assert_eq!(actions(template), want, "{template:?}");
        }
    }

    /// A template by the name of its policy, and whether it may be left out.
    const POLICIES: [(&str, &str, bool); 8] = [
        ("header", "definition: { action: SET_HEADER }", true),
        (
            "method",
            "definition:\n  action: \"REWRITE_RESOURCE_METHOD\"\n",
            true,
        ),
        ("query", "{{ if .a }}{{ end }}\naction: ADD_QUERY", true),
        ("opa", "definition: { action: OPA }", false),
        ("call", "action: 'CALL_INTERCEPTOR_SERVICE'", false),
        ("mixed", "action: SET_HEADER\n---\naction: OPA", false),
        ("unheard", "action: JWT_CLAIM_GUARD", false),
        ("missing", "", false),
    ];

    /// Where a policy of the request flow can be named: kind of API, and lines of `data`.
    const PLACES: [(&str, &str, &str); 10] = [
        (
            "api",
            "HTTP",
            "  apiPolicies: { request: [ P ], response: [], fault: [] }\n",
        ),
        ("api of SOAP", "SOAP", "  apiPolicies: { request: [ P ] }\n"),
        (
            "operation",
            "HTTP",
            "  operations: [ { target: /a, verb: GET, operationPolicies: { request: [ P ] } } ]\n",
        ),
        (
            "second policy",
            "HTTP",
            "  operations: [ { target: /a/, verb: get, operationPolicies: { request: [ H, P ] } } ]\n",
        ),
        (
            "second entry",
            "HTTP",
            "  operations: [ { target: /a, verb: GET }, { target: /a, verb: GET, operationPolicies: { request: [ P ] } } ]\n",
        ),
        (
            "unknown target",
            "HTTP",
            "  operations: [ { target: /b, verb: GET, operationPolicies: { request: [ P ] } } ]\n",
        ),
        (
            "unknown verb",
            "HTTP",
            "  operations: [ { target: /a, verb: PUT, operationPolicies: { request: [ P ] } } ]\n",
        ),
        (
            "operation of SOAP",
            "SOAP",
            "  operations: [ { target: /a, verb: GET, operationPolicies: { request: [ P ] } } ]\n",
        ),
        (
            "key in another case",
            "HTTP",
            "  ApiPolicies: { Request: [ P ] }\n",
        ),
        (
            "response flow",
            "HTTP",
            "  operations: [ { target: /a, verb: GET, operationPolicies: { response: [ P ] } } ]\n",
        ),
    ];

    #[test]
    fn a_guard_is_refused_by_name_wherever_it_stands() {
        let mut looked = 0;
        for (place, kind, lines) in PLACES {
            for (name, template, harmless) in POLICIES {
                let reference = |name: &str| format!("{{ policyName: {name}, policyVersion: v1 }}");
                let lines = lines
                    .replace("[ P ]", &format!("[ {} ]", reference(name)))
                    .replace(
                        "[ H, P ]",
                        &format!("[ {}, {} ]", reference("header"), reference(name)),
                    );
                let text = WRITTEN.replace("type: HTTP", &format!("type: {kind}")) + &lines;
                let templates: Vec<(String, &str)> = POLICIES
                    .iter()
                    .filter(|(name, ..)| *name != "missing")
                    .map(|(name, template, _)| (format!("Policies/{name}_v1.gotmpl"), *template))
                    .collect();
                let templates: Vec<(&str, &str)> = templates
                    .iter()
                    .map(|(path, template)| (path.as_str(), *template))
                    .collect();
                let reading = read(&text, OPERATION, &templates);
                let deployed = Deployed {
                    project: &reading.project,
                    organization: "carbon.super",
                    vhost: "localhost",
                };
                let passes = harmless || place == "response flow";
                let what = format!("{name} ({template:?}) at {place}");
                match draft(&deployed, &Settings::default()) {
                    Ok(translated) => {
                        assert!(passes, "{what} is left out");
                        let told = translated.warnings().iter().chain(&reading.warnings);
                        let mut told = told.map(|found| found.message.as_str());
                        let says = |text: &str| text.contains("polic") || text.starts_with("ignored: ");
                        assert!(told.any(says), "{what} is left out in silence");
                    }
                    Err(found) => {
                        assert!(!passes, "{what}: {found:?}");
                        let named = format!("policy {name}_v1");
                        assert!(
                            found.iter().any(|one| one.message.contains(&named)),
                            "{what}: {found:?}"
                        );
                    }
                }
                looked += 1;
            }
        }
        println!("{looked} projects: every guard refused by name, nothing left out in silence");
    }

    #[test]
    fn a_request_interceptor_is_refused_wherever_it_stands() {
        const NAMED: &str = "x-wso2-request-interceptor: { serviceURL: 'https://i.test' }";
        let cases = [
            ("nowhere", "", "", "", true),
            ("root", NAMED, "", "", false),
            ("path item", "", NAMED, "", false),
            ("operation", "", "", NAMED, false),
        ];
        for (place, root, item, operation, passes) in cases {
            let definition = format!(
                "openapi: 3.0.1\ninfo: {{ title: T, version: V }}\n{root}\npaths:\n  /a:\n    {item}\n    get:\n      summary: s\n      {operation}\n"
            );
            let project = read(WRITTEN, &definition, &[]).project;
            let deployed = Deployed {
                project: &project,
                organization: "carbon.super",
                vhost: "localhost",
            };
            let outcome = draft(&deployed, &Settings::default());
            assert_eq!(outcome.is_ok(), passes, "{place}: {outcome:?}");
        }
    }
}
