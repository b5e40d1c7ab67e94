//! What is asked for: the API and operation of a request.

use trireme_policy::api::Method;

use crate::api::{Api, Operation};
use crate::attributes::{Attributes, Route};
use crate::snapshot::Snapshot;
use crate::verdict::Reason;

/// The API of the route. Names are concatenations, so the parts have to agree as well.
pub(super) fn find_api<'a>(route: &Route<'_>, snapshot: &'a Snapshot) -> Option<&'a Api> {
    let length = route.vhost.len() + route.base_path.len() + route.version.len();
    let mut name = String::with_capacity(length);
    for part in [route.vhost, route.base_path, route.version] {
        name.push_str(part);
    }
    let api = snapshot.apis.find(&name)?;
    let policy = &api.policy;
    (policy.vhost == route.vhost && policy.base_path == route.base_path && policy.version == route.version)
        .then_some(api)
}

/// The operation, by the route's template and the method. `OPTIONS` on a resource that doesn't define it is answered with
/// the methods that it and other paths for the same requests define.
pub(super) fn find_operation<'a>(attributes: &Attributes<'_>, api: &'a Api) -> Result<&'a Operation, Reason> {
    let operations = api.operations(attributes.route.template);
    let method = Method::parse(attributes.method).ok_or(Reason::Unknown)?;
    if let Some(operation) = operations.iter().find(|operation| operation.method == method) {
        return Ok(operation);
    }
    if method != Method::Options || operations.is_empty() {
        return Err(Reason::Unknown);
    }
    let mut allow = "OPTIONS".to_owned();
    for method in api.methods(attributes.route.template) {
        allow.push_str(", ");
        allow.push_str(method.as_str());
    }
    Err(Reason::Preflight(allow))
}
