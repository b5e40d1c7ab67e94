//! What goes upstream once a request is admitted: where, with which path, with and without which headers.

use percent_encoding::percent_decode_str;
use trireme_policy::api::ApiKind;
use trireme_proto::names::CLUSTER_HEADER;

use crate::api::{Api, Operation};
use crate::attributes::Attributes;
use crate::need::Question;
use crate::security::Security;
use crate::verdict::{Admitted, KeyType, Scheme, Steering};

/// What goes upstream for a caller that was let through, to its environment.
pub(super) fn authorized<'a>(question: &Question<'a>, scheme: Scheme, key_type: KeyType) -> Admitted<'a> {
    let Question {
        attributes,
        api,
        operation,
        security,
        ..
    } = *question;
    let environment = operation.environment(key_type);
    let kept_here = scheme != Scheme::Unsecured || api.policy.endpoint_type == "awslambda";
    let mut admitted = Admitted {
        steering: Steering {
            cluster: attributes.route.cluster(key_type),
            timeout_ms: environment.timeout_ms,
            retry: environment.retry.as_ref(),
            path: upstream_path(attributes, api, environment.bare, kept_here),
        },
        identity: Some((scheme, key_type)),
        path: attributes.path_only(),
        ..Admitted::default()
    };
    if kept_here {
        admitted.remove = credentials(api, security);
    }
    admitted.remove.extend(security.assertion.as_deref());
    if let Some(basic) = api.basic(key_type) {
        admitted.remove.retain(|&name| name != "authorization");
        admitted.authorization = Some(basic);
    }
    admitted
}

/// What goes upstream for an API that is open because it is a prototype.
pub(super) fn prototyped<'a>(
    attributes: &'a Attributes<'a>,
    api: &'a Api,
    operation: &Operation,
    security: &'a Security,
) -> Admitted<'a> {
    let cluster = attributes.route.production;
    let bare = operation.environment(KeyType::Production).bare;
    let mut admitted = Admitted {
        steering: Steering {
            cluster,
            path: upstream_path(attributes, api, bare, !operation.open),
            ..Steering::default()
        },
        path: attributes.path_only(),
        ..Admitted::default()
    };
    if !operation.open {
        admitted.remove = credentials(api, security);
    }
    admitted.remove.extend(security.assertion.as_deref());
    // A caller must not choose the cluster, whether there is one to set or not.
    if cluster.is_empty() {
        admitted.remove.push(CLUSTER_HEADER);
    }
    admitted
}

/// Headers with credentials, which aren't the upstream's business (spec/enforcer.md §1.8). What a caller puts into the header
/// of the token that the upstream expects from us is taken out apart from these, at open operations as well: the upstream
/// believes what it says.
fn credentials<'a>(api: &'a Api, security: &'a Security) -> Vec<&'a str> {
    let mut names = Vec::with_capacity(4 + api.key_headers.len());
    names.extend(api.key_headers.iter().map(String::as_str));
    names.push(&security.internal_key);
    let settings = &security.settings;
    if !settings.auth_header.outbound {
        names.push(api.authorization.as_deref().unwrap_or(&security.authorization));
    }
    if !settings.mutual_tls.outbound && api.policy.kind != ApiKind::WebSocket {
        names.push(&security.certificate);
    }
    names
}

/// The path to send instead of the one received, if it has to differ: where credentials stay here, API keys leave the query,
/// everything else in it stays as it was; and a request for the base path itself gets a slash when the endpoint has no path
/// to offer.
fn upstream_path(attributes: &Attributes<'_>, api: &Api, bare: bool, kept_here: bool) -> Option<String> {
    let path = attributes.path_only();
    // The default version is called without its number.
    let base = api.policy.base_path.as_str();
    let unversioned = base
        .strip_suffix(api.policy.version.as_str())
        .and_then(|base| base.strip_suffix('/'));
    let slash = bare && !path.ends_with('/') && (path == base || Some(path) == unversioned);
    let query = attributes.query();
    let is_key = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy();
        api.key_parameters.iter().any(|parameter| *parameter == name)
    };
    let drop = kept_here
        && !api.key_parameters.is_empty()
        && query.is_some_and(|query| query.split('&').any(is_key));
    if !slash && !drop {
        return None;
    }
    let mut rebuilt = path.to_owned();
    if slash {
        rebuilt.push('/');
    }
    let kept = query.map(|query| {
        query
            .split('&')
            .filter(|pair| !(drop && is_key(pair)))
            .collect::<Vec<_>>()
            .join("&")
    });
    // A query that is empty now goes, one that was empty before stays.
    if let Some(kept) = kept.filter(|kept| !kept.is_empty() || !drop) {
        rebuilt.push('?');
        rebuilt.push_str(&kept);
    }
    Some(rebuilt)
}
