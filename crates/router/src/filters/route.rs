//! Finds the route that serves an admitted request, and puts together what is sent.

use http::HeaderValue;
use trireme_proto::names::CLUSTER_HEADER;
use trireme_routing::snapshot::{ClusterRef, Forward};
use trireme_routing::{Matched, Target};

use super::admitted::{Admitted, Bounds, Retries};
use super::call::Call;
use super::check::Checked;
use crate::edge;
use crate::enforcer::Steering;
use crate::error::{DownstreamError, InternalError, ProxyError};
use crate::event::Completed;

/// The route after the check, which may have chosen cluster, path and host.
pub(super) fn on_request<'a>(
    call: &mut Call<'a>,
    steering: &mut Steering,
) -> Result<Matched<'a>, ProxyError> {
    if let Some(authority) = steering.authority.take() {
        call.authority = authority;
    }
    let path = steering.path.take();
    let elsewhere = path.as_ref().is_some_and(|path| path.path() != call.path.path());
    if let Some(path) = path {
        call.path = path;
    }
    match steering.cluster.as_deref().map(std::str::from_utf8) {
        _ if elsewhere => again(call, steering, elsewhere),
        None => Ok(call.matched),
        Some(Ok(cluster)) if !steering.by_headers => Ok(call.matched.steered(cluster)),
        Some(_) => again(call, steering, elsewhere),
    }
}

/// Searches again, where headers say what steers, as Envoy does, or where the enforcer chose another path: another route of
/// the same operation may be the first match now. The verdict was about that operation, so a route with another context is
/// not served. The path is read as strictly as a caller's.
fn again<'a>(call: &mut Call<'a>, steering: &Steering, elsewhere: bool) -> Result<Matched<'a>, ProxyError> {
    let before = call.matched;
    let chosen = call.path.clone();
    let read;
    let target = if elsewhere {
        let host = call.authority.to_str().unwrap_or_default();
        read = Target::parse(chosen.as_str(), host).map_err(edge::refused)?;
        call.path = edge::with_path(&chosen, read.path.clone())?;
        &read
    } else {
        call.target
    };
    let header = |name: &str| {
        if name == CLUSTER_HEADER {
            steering.cluster.as_deref()
        } else {
            call.headers.get(name).map(HeaderValue::as_bytes)
        }
    };
    let (routes, method) = (&call.snapshot.routes, call.method.as_str());
    let after = routes
        .find(&call.target.host.name, &target.path, method, header)
        .ok_or(DownstreamError::NoRoute)?;
    routes
        .admit(&after, target, method, header)
        .map_err(edge::ambiguous)?;
    let same = after.fragment() == before.fragment()
        && after.context() == before.context()
        && after.route().filters.check == before.route().filters.check;
    if same {
        Ok(after)
    } else {
        Err(DownstreamError::NoRoute.into())
    }
}

/// Puts together what is sent.
pub(super) fn admit(
    call: Call<'_>,
    matched: &Matched<'_>,
    forward: &Forward,
    checked: Checked,
    event: &mut Completed,
) -> Result<Admitted, ProxyError> {
    let Checked {
        pass,
        steering,
        mut barred,
        ..
    } = checked;
    let name = cluster(&forward.cluster, &steering).ok_or(InternalError::NoCluster)?;
    let cluster = call.snapshot.clusters.get(name).ok_or(InternalError::NoCluster)?;
    let path = edge::with_path(&call.path, matched.rewrite_path(call.path.path()))?;
    event.rewritten(&path);
    let Call {
        mut headers,
        method,
        authority,
        ..
    } = call;
    let named = edge::leave(&mut headers);
    if let Some(barred) = &mut barred {
        barred.extend(named);
        barred.extend(headers.keys().cloned());
    }
    let bounds = Bounds {
        response: steering.timeout.unwrap_or(forward.timeout),
        idle: forward.idle_timeout,
        request: call.listener.http.request_timeout,
        deadline: forward
            .max_stream_duration
            .map(|bound| event.facts.live.started + bound),
    };
    event.allow(bounds.idle);
    Ok(Admitted {
        cluster: cluster.clone(),
        method: steering.method.unwrap_or(method),
        path,
        authority,
        auto_host: forward.auto_host,
        headers,
        barred,
        bounds,
        retries: Retries::of(forward.retry.as_ref(), &steering.retry),
        _pass: pass,
    })
}

/// The name of the cluster.
fn cluster<'a>(reference: &'a ClusterRef, steering: &'a Steering) -> Option<&'a str> {
    match reference {
        ClusterRef::Name(name) => Some(name),
        ClusterRef::Header(name) if name == CLUSTER_HEADER => {
            std::str::from_utf8(steering.cluster.as_ref()?).ok()
        }
        // Any other header could be the caller's.
        ClusterRef::Header(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_the_enforcer_names_a_cluster() {
        let steering = Steering {
            cluster: Some(Bytes::from_static(b"prod")),
            ..Steering::default()
        };
        let by = |name: &str| ClusterRef::Header(name.to_owned());
        assert_eq!(cluster(&by(CLUSTER_HEADER), &steering), Some("prod"));
        assert_eq!(cluster(&by("x-other"), &steering), None);
        assert_eq!(
            cluster(&ClusterRef::Name("fixed".into()), &steering),
            Some("fixed")
        );
        assert_eq!(cluster(&by(CLUSTER_HEADER), &Steering::default()), None);
    }
}
