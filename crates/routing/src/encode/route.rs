//! Route configurations (spec/adapter.md 5.2 to 5.8).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use trireme_proto::Wire;
use trireme_proto::envoy::config::route::v3 as proto;
use trireme_proto::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use trireme_proto::envoy::config::route::v3::route_action::{
    ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration, UpgradeConfig,
};
use trireme_proto::envoy::config::route::v3::route_match::PathSpecifier;
use trireme_proto::envoy::r#type::matcher::v3::{
    RegexMatchAndSubstitute, StringMatcher, string_matcher::MatchPattern,
};
use trireme_proto::google::protobuf::BoolValue;
use trireme_proto::names::{CLUSTER_HEADER, DEFAULT_ROUTE_CONFIG, filter, type_url};
use trireme_proto::trireme::router::v1::{self as messages};

use crate::filter::{Draft, PerRoute as _, Reader, Rules};
use crate::order;
use crate::snapshot::{
    Action, ClusterRef, Forward, Fragment, PathMatch, Position, Retry, Rewrite, Route, VirtualHost,
};
use crate::wire::names::{RETRY_ON, WEBSOCKET, WHOLE_PATH};
use crate::wire::own;
use crate::wire::write::{Writer, boolean, duration, inline, number, regex, tag};

pub(super) fn fragment(fragment: &Fragment) -> Vec<u8> {
    let position = match fragment.position {
        Position::Front => messages::fragment::Position::Front,
        Position::Back => messages::fragment::Position::Back,
        Position::System => messages::fragment::Position::System,
    };
    let settings = messages::Fragment {
        position: position.into(),
        revision_epoch: fragment.revision.epoch,
        revision_counter: fragment.revision.counter,
    };
    let mut message = configuration(&fragment.name);
    for host in &fragment.virtual_hosts {
        message.field(
            tag::ROUTE_CONFIGURATION_VIRTUAL_HOSTS,
            &virtual_host(&host.name, &host.routes, Reader::Trireme),
        );
    }
    let settings = own::write(type_url::FRAGMENT, &settings);
    message.entry(
        tag::ROUTE_CONFIGURATION_TYPED_PER_FILTER_CONFIG,
        filter::FRAGMENT,
        &settings.to_wire(),
    );
    message.finish()
}

/// A stock Envoy takes paths with two readings of every API, whatever the API permits: it resolves `.`, `..` and `\`, refuses
/// `%00`, and passes all else as sent. What is permitted is therefore the same there; what is not is not refused.
pub(super) fn assembled<'a>(fragments: impl Iterator<Item = &'a Fragment>) -> Vec<u8> {
    let mut hosts: BTreeMap<String, Vec<(&Fragment, Cow<'_, Route>)>> = BTreeMap::new();
    for fragment in fragments {
        for VirtualHost { name, routes } in &fragment.virtual_hosts {
            if !routes.is_empty() {
                let routes = routes
                    .iter()
                    .flat_map(order::apart)
                    .map(|route| (fragment, route));
                hosts.entry(name.to_ascii_lowercase()).or_default().extend(routes);
            }
        }
    }
    let mut message = configuration(DEFAULT_ROUTE_CONFIG);
    for (name, mut routes) in hosts {
        routes.sort_by_cached_key(|(fragment, route)| order::key(fragment, route));
        let routes = routes.iter().map(|(_, route)| &**route);
        message.field(
            tag::ROUTE_CONFIGURATION_VIRTUAL_HOSTS,
            &virtual_host(&name, routes, Reader::Envoy),
        );
    }
    message.finish()
}

fn configuration(name: &str) -> Writer {
    Writer::of(&proto::RouteConfiguration {
        name: name.to_owned(),
        request_headers_to_remove: vec![CLUSTER_HEADER.to_owned()],
        ..Default::default()
    })
}

fn virtual_host<'a>(name: &str, routes: impl IntoIterator<Item = &'a Route>, reader: Reader) -> Vec<u8> {
    let domains = if name == "*" {
        vec![name.to_owned()]
    } else {
        vec![name.to_owned(), format!("{name}:*")]
    };
    let mut message = Writer::of(&proto::VirtualHost {
        name: name.to_owned(),
        domains,
        ..Default::default()
    });
    for entry in routes {
        message.field(tag::VIRTUAL_HOST_ROUTES, &route(name, entry, reader));
    }
    message.finish()
}

fn route(host: &str, route: &Route, reader: Reader) -> Vec<u8> {
    let (PathMatch::Exact(path) | PathMatch::Prefix(path) | PathMatch::Regex(path)) = &route.path;
    let message = proto::Route {
        name: route.name.clone(),
        r#match: Some(route_match(route)),
        decorator: Some(proto::Decorator {
            operation: format!("{host}:{path}"),
            ..Default::default()
        }),
        action: Some(match &route.action {
            Action::Direct { status, body } => {
                proto::route::Action::DirectResponse(proto::DirectResponseAction {
                    status: (*status).into(),
                    body: inline(body),
                    ..Default::default()
                })
            }
            Action::Forward(forward) => proto::route::Action::Route(route_action(&route.path, forward)),
        }),
        ..Default::default()
    };
    let mut draft = Draft::new(message, reader);
    route.filters.encode(&mut draft);
    let rules = Rules {
        ambiguous_paths: route.ambiguous_paths,
        guard: route.guard,
    };
    rules.encode(&mut draft);
    draft.finish()
}

fn route_match(route: &Route) -> proto::RouteMatch {
    let matcher = |name: &str, pattern| proto::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(pattern),
            ..Default::default()
        })),
        ..Default::default()
    };
    let methods = methods_pattern(&route.methods)
        .map(|pattern| matcher(":method", MatchPattern::SafeRegex(regex(pattern))));
    let headers = route
        .headers
        .iter()
        .map(|(name, value)| matcher(name, MatchPattern::Exact(value.clone())));
    proto::RouteMatch {
        path_specifier: Some(match &route.path {
            PathMatch::Exact(path) => PathSpecifier::Path(path.clone()),
            PathMatch::Prefix(path) => PathSpecifier::Prefix(path.clone()),
            PathMatch::Regex(pattern) => PathSpecifier::SafeRegex(regex(pattern.clone())),
        }),
        headers: methods.into_iter().chain(headers).collect(),
        ..Default::default()
    }
}

/// `^GET|PUT|OPTIONS$`. Envoy matches the whole value, so that each alternative stands alone although the anchors bind
/// to the first and the last only.
fn methods_pattern(methods: &[String]) -> Option<String> {
    if methods.is_empty() {
        return None;
    }
    let options = (!methods.iter().any(|method| method == "OPTIONS")).then_some("OPTIONS");
    let all: Vec<&str> = methods.iter().map(String::as_str).chain(options).collect();
    Some(format!("^{}$", all.join("|")))
}

fn route_action(path: &PathMatch, forward: &Forward) -> proto::RouteAction {
    let mut action = proto::RouteAction {
        cluster_specifier: Some(match &forward.cluster {
            ClusterRef::Header(name) => ClusterSpecifier::ClusterHeader(name.clone()),
            ClusterRef::Name(name) => ClusterSpecifier::Cluster(name.clone()),
        }),
        host_rewrite_specifier: forward
            .auto_host
            .then_some(HostRewriteSpecifier::AutoHostRewrite(BoolValue { value: true })),
        timeout: duration(forward.timeout),
        idle_timeout: duration(forward.idle_timeout),
        retry_policy: forward.retry.as_ref().map(retry_policy),
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: WEBSOCKET.to_owned(),
            enabled: boolean(forward.websocket),
            ..Default::default()
        }],
        max_stream_duration: forward.max_stream_duration.map(|limit| MaxStreamDuration {
            max_stream_duration: duration(limit),
            ..Default::default()
        }),
        ..Default::default()
    };
    match (&forward.rewrite, path) {
        (None, _) => {}
        (Some(Rewrite::Path(to)), PathMatch::Exact(_) | PathMatch::Regex(_)) => {
            action.prefix_rewrite = to.clone()
        }
        (Some(Rewrite::Path(to)), PathMatch::Prefix(_)) => {
            action.regex_rewrite = Some(substitute(WHOLE_PATH, to.replace('\\', r"\\")));
        }
        (
            Some(Rewrite::Regex {
                pattern,
                substitution,
            }),
            _,
        ) => {
            action.regex_rewrite = Some(substitute(pattern, substitution.clone()));
        }
    }
    action
}

fn retry_policy(retry: &Retry) -> proto::RetryPolicy {
    proto::RetryPolicy {
        retry_on: RETRY_ON.to_owned(),
        num_retries: number(retry.count),
        retriable_status_codes: retry.statuses.iter().copied().map(u32::from).collect(),
        retry_back_off: Some(proto::retry_policy::RetryBackOff {
            // Envoy refuses zero and rounds what is less up to this.
            base_interval: duration(retry.backoff_base.max(Duration::from_millis(1))),
            max_interval: None,
        }),
        ..Default::default()
    }
}

fn substitute(pattern: &str, substitution: String) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute {
        pattern: Some(regex(pattern.to_owned())),
        substitution,
    }
}
