//! Applies the enforcer's yes: header changes, what steers the gateway, and the route that serves what came of it.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};
use trireme_proto::names::CLUSTER_HEADER;
use trireme_routing::snapshot::{ClusterRef, Retry};
use trireme_routing::{Matched, Target};

use super::Call;
use super::check::{Admission, Edit, Field, Mode};
use crate::edge::{self, INTERNAL};
use crate::error::{CheckError, DownstreamError, InternalError, ProxyError};
use crate::upstream::Retries;

/// What the enforcer told the gateway, as opposed to the upstream. A caller's own such headers were taken out at the
/// border, so whatever is here is the enforcer's.
#[derive(Debug, Default)]
pub(super) struct Steering {
    cluster_header: Option<HeaderValue>,
    /// Instead of the route's; zero means none.
    pub(super) timeout: Option<Duration>,
    retry_on: bool,
    retry_count: Option<u32>,
    retry_statuses: Vec<u16>,
    path_changed: bool,
    /// Method towards the upstream.
    pub(super) method: Option<Method>,
}

impl Steering {
    /// The name of the cluster.
    pub(super) fn cluster<'a>(&'a self, reference: &'a ClusterRef) -> Option<&'a str> {
        match reference {
            ClusterRef::Name(name) => Some(name),
            ClusterRef::Header(name) if name == CLUSTER_HEADER => self.cluster_header.as_ref()?.to_str().ok(),
            // Any other header could be the caller's.
            ClusterRef::Header(_) => None,
        }
    }

    /// Retries by the route's policy, which the enforcer's headers change.
    pub(super) fn retries(&self, route: Option<&Retry>) -> Retries {
        let base = route.map_or(Retries::BASE, |retry| retry.backoff_base);
        let mut statuses = route.map(|retry| retry.statuses.clone()).unwrap_or_default();
        statuses.extend(&self.retry_statuses);
        let configured = route.map_or(0, |retry| retry.count);
        let count = match (self.retry_on, self.retry_count) {
            (_, Some(count)) if self.retry_on || route.is_some() => count,
            (true, _) => configured.max(1),
            (false, _) => configured,
        };
        Retries {
            count: count.min(32),
            statuses,
            base,
        }
    }

    /// Takes a header that is meant for the gateway.
    fn take(&mut self, name: &str, value: &HeaderValue) {
        let text = value.to_str().unwrap_or_default();
        match name {
            "x-envoy-max-retries" => self.retry_count = text.parse().ok(),
            "x-envoy-retriable-status-codes" => {
                self.retry_statuses = text
                    .split(',')
                    .filter_map(|code| code.trim().parse().ok())
                    .collect();
            }
            "x-envoy-retry-on" => {
                self.retry_on = text
                    .split(',')
                    .any(|policy| policy.trim() == "retriable-status-codes");
            }
            "x-envoy-upstream-rq-timeout-ms" => self.timeout = text.parse().ok().map(Duration::from_millis),
            _ => {}
        }
    }
}

/// What trailers must not hold by the verdict, besides the headers that `Connection` named: whatever it changes or removes,
/// be it there or not.
pub(super) fn barred(named: Vec<HeaderName>, admission: &Admission) -> Vec<HeaderName> {
    let changed = admission.edits.iter().filter_map(|edit| match &edit.field {
        Field::Header(name) => Some(name),
        Field::Method | Field::Path => None,
    });
    let mut barred = named;
    barred.extend(admission.remove.iter().chain(changed).cloned());
    barred
}

/// Applies the changes in their order, then the removals.
pub(super) fn apply(
    call: &mut Call<'_>,
    edits: Vec<Edit>,
    remove: &[HeaderName],
) -> Result<Steering, ProxyError> {
    let mut steering = Steering::default();
    for Edit { field, value, mode } in edits {
        match field {
            Field::Path => {
                let path = PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(value.as_bytes()))
                    .ok()
                    .filter(|path| path.path().starts_with('/'))
                    .ok_or(InternalError::Check(CheckError::Malformed("invalid path")))?;
                steering.path_changed = path.path() != call.path.path();
                call.path = path;
            }
            Field::Method => {
                let method = Method::from_bytes(value.as_bytes())
                    .map_err(|_| InternalError::Check(CheckError::Malformed("invalid method")))?;
                steering.method = Some(method);
            }
            Field::Header(name) if name == CLUSTER_HEADER => steering.cluster_header = Some(value),
            Field::Header(HOST) => call.authority = value,
            Field::Header(name) if name.as_str().starts_with(INTERNAL) => {
                steering.take(name.as_str(), &value)
            }
            Field::Header(name) => match mode {
                Mode::AddIfAbsent => {
                    call.headers.entry(name).or_insert(value);
                }
                Mode::Append => {
                    call.headers.append(name, value);
                }
                Mode::Overwrite => {
                    call.headers.insert(name, value);
                }
                Mode::OverwriteIfPresent => {
                    if call.headers.contains_key(&name) {
                        call.headers.insert(name, value);
                    }
                }
            },
        }
    }
    for name in remove {
        call.headers.remove(name);
    }
    Ok(steering)
}

/// The route after the check: a cluster or path that the enforcer chose can make another route of the same operation the
/// first match. The verdict was about that operation, so a route with another context is not served. The path is read as
/// strictly as a caller's.
pub(super) fn rematch<'a>(call: &mut Call<'a>, steering: &Steering) -> Result<Matched<'a>, ProxyError> {
    let before = call.matched;
    if steering.cluster_header.is_none() && !steering.path_changed {
        return Ok(before);
    }
    let chosen = call.path.clone();
    let read;
    let target = if steering.path_changed {
        let host = call.authority.to_str().unwrap_or_default();
        read = Target::parse(chosen.as_str(), host).map_err(edge::refused)?;
        call.path = edge::with_path(&chosen, read.path.clone())?;
        &read
    } else {
        call.target
    };
    let cluster = steering.cluster_header.as_ref().map(HeaderValue::as_bytes);
    let header = |name: &str| {
        if name == CLUSTER_HEADER {
            cluster
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

#[cfg(test)]
mod tests {
    use super::*;

    fn steering(headers: &[(&str, &str)]) -> Steering {
        let mut steering = Steering::default();
        for (name, value) in headers {
            steering.take(name, &HeaderValue::from_str(value).unwrap());
        }
        steering
    }

    #[test]
    fn retries() {
        let route = Retry {
            count: 0,
            statuses: vec![504],
            backoff_base: Duration::from_micros(25),
        };
        let on = ("x-envoy-retry-on", "retriable-status-codes");
        type Case<'a> = (
            &'a str,
            &'a [(&'a str, &'a str)],
            Option<&'a Retry>,
            u32,
            &'a [u16],
        );
        let cases: [Case<'_>; 6] = [
            ("nothing", &[], None, 0, &[]),
            ("route alone", &[], Some(&route), 0, &[504]),
            (
                "headers alone",
                &[
                    on,
                    ("x-envoy-max-retries", "3"),
                    ("x-envoy-retriable-status-codes", "502, 503"),
                ],
                None,
                3,
                &[502, 503],
            ),
            (
                "both",
                &[
                    on,
                    ("x-envoy-max-retries", "2"),
                    ("x-envoy-retriable-status-codes", "500"),
                ],
                Some(&route),
                2,
                &[504, 500],
            ),
            (
                "a count without a policy",
                &[("x-envoy-max-retries", "2")],
                None,
                0,
                &[],
            ),
            (
                "unreadable",
                &[
                    on,
                    ("x-envoy-max-retries", "x"),
                    ("x-envoy-retriable-status-codes", "y"),
                ],
                None,
                1,
                &[],
            ),
        ];
        for (name, headers, route, count, statuses) in cases {
            let got = steering(headers).retries(route);
            assert_eq!((got.count, got.statuses.as_slice()), (count, statuses), "{name}");
        }
    }

    #[test]
    fn only_the_enforcers_header_names_a_cluster() {
        let steering = Steering {
            cluster_header: Some(HeaderValue::from_static("prod")),
            ..Steering::default()
        };
        assert_eq!(
            steering.cluster(&ClusterRef::Header(CLUSTER_HEADER.into())),
            Some("prod")
        );
        assert_eq!(steering.cluster(&ClusterRef::Header("x-other".into())), None);
        assert_eq!(steering.cluster(&ClusterRef::Name("fixed".into())), Some("fixed"));
        assert_eq!(
            Steering::default().cluster(&ClusterRef::Header(CLUSTER_HEADER.into())),
            None
        );
    }
}
