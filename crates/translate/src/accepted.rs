//! What comes out of a translation is read once more, as those it goes to read it: an API that an enforcer or a router would
//! refuse is refused here, by whoever brings it, and not by name in a status nobody looks at.

use trireme_policy::ApiPolicy;
use trireme_project::Diagnostic;
use trireme_routing::snapshot::Revision;
use trireme_routing::{RouteTable, decode, encode};

use crate::{Api, Draft};

/// Whether everything would be taken.
///
/// # Errors
/// What would be refused, by whom, and the field that is at fault.
pub(crate) fn check(draft: &Draft) -> Result<(), Vec<Diagnostic>> {
    let api = draft.clone().at(Revision::default());
    let mut found: Vec<String> = Vec::new();
    found.extend(policy(&api.policy).map(|fault| format!("the enforcer would refuse this API: {fault}")));
    found.extend(routes(&api).map(|fault| format!("the router would refuse this API: {fault}")));
    if found.is_empty() {
        return Ok(());
    }
    Err(found
        .into_iter()
        .map(|message| Diagnostic::error("", "", message))
        .collect())
}

fn policy(policy: &ApiPolicy) -> Option<String> {
    let bytes = trireme_policy::encode::api(policy);
    trireme_policy::decode::api(&bytes)
        .err()
        .map(|fault| fault.to_string())
}

fn routes(api: &Api) -> Option<String> {
    for cluster in &api.clusters {
        if let Err(fault) = decode::cluster(&encode::cluster(cluster).value) {
            return Some(format!("cluster {}: {fault}", cluster.name));
        }
    }
    match decode::fragment(&encode::fragment(&api.fragment).value) {
        Ok(fragment) => {
            let rejected = RouteTable::new().update(vec![fragment], &[]).rejected;
            rejected.first().map(|rejected| rejected.invalid.to_string())
        }
        Err(fault) => Some(fault.to_string()),
    }
}
