//! What projects ask for and the gateway doesn't do yet.

use std::collections::BTreeSet;

use trireme_project::{ApiKind, ApiProject, Extensions, Implementation};

use crate::findings::{API, DEFINITION, Findings};
use crate::{guards, names};

/// Half of an API is worse than none: what the gateway can't do yet is refused by name.
pub(crate) fn refuse(project: &ApiProject, findings: &mut Findings) {
    match project.kind {
        ApiKind::GraphQl => findings.refuse(API, "/data/type", "APIs of type GRAPHQL are not served yet"),
        ApiKind::Ws => findings.refuse(API, "/data/type", "APIs of type WS are not served yet"),
        ApiKind::Http | ApiKind::Soap => {}
    }
    match project.implementation {
        Implementation::Lambda => findings.refuse(
            API,
            "/data/endpointConfig/endpoint_type",
            "AWS functions are not served yet",
        ),
        Implementation::Mocked => findings.refuse(
            API,
            "/data/endpointImplementationType",
            "mocked APIs are not served yet",
        ),
        Implementation::Upstream => {}
    }
    guards::refuse(project, findings);
    let mut clusters = BTreeSet::new();
    for name in project.named_endpoints.keys() {
        if !clusters.insert(names::cluster("", names::Role::Named(name), "", None)) {
            findings.refuse(
                DEFINITION,
                "/x-wso2-endpoints",
                &format!(
                    "{name} differs from another name by blanks only, which names of clusters leave out"
                ),
            );
        }
    }
}

/// What is taken and has no effect.
pub(crate) fn warn(project: &ApiProject, findings: &mut Findings) {
    let operations = || project.resources.iter().flat_map(|resource| &resource.operations);
    if !project.api_policies.is_empty() || operations().any(|operation| !operation.policies.is_empty()) {
        findings.warn("operation policies have no effect yet");
    }
    let interceptor = |extensions: &Extensions| extensions.contains_key("x-wso2-response-interceptor");
    if interceptor(&project.extensions)
        || project
            .resources
            .iter()
            .any(|resource| interceptor(&resource.extensions))
        || operations().any(|operation| interceptor(&operation.extensions))
    {
        findings.warn("response interceptors have no effect yet");
    }
}
