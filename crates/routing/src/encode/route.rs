//! Route configurations (spec/adapter.md 5.2 to 5.8).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use prost::Name;
use trireme_proto::Wire;
use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::config::route::v3 as proto;
use trireme_proto::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use trireme_proto::envoy::config::route::v3::route_action::{
    ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration, UpgradeConfig,
};
use trireme_proto::envoy::config::route::v3::route_match::PathSpecifier;
use trireme_proto::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use trireme_proto::envoy::extensions::filters::http::ext_authz::v3::{
    CheckSettings, ExtAuthzPerRoute, ext_authz_per_route::Override,
};
use trireme_proto::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use trireme_proto::envoy::r#type::matcher::v3::{
    RegexMatchAndSubstitute, StringMatcher, string_matcher::MatchPattern,
};
use trireme_proto::envoy::r#type::v3::{FractionalPercent, TokenBucket, fractional_percent::DenominatorType};
use trireme_proto::google::protobuf::{Any, BoolValue};
use trireme_proto::names::{CLUSTER_HEADER, DEFAULT_ROUTE_CONFIG, filter, type_url};
use trireme_proto::trireme::router::v1::{self as messages, RequestRules};

use crate::order;
use crate::snapshot::{
    Action, Check, ClusterRef, Cors, Forward, Fragment, Guard, LocalLimit, PathMatch, Position, Retry,
    Rewrite, Route, VirtualHost,
};
use crate::wire::names::{RETRY_ON, WEBSOCKET, WHOLE_PATH};
use crate::wire::own;
use crate::wire::write::{Writer, boolean, duration, inline, number, pack, regex, tag};

/// Whether Trireme's own typed configuration goes along.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Envoy,
    Trireme,
}

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
            &virtual_host(&host.name, &host.routes, For::Trireme),
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
            &virtual_host(&name, routes, For::Envoy),
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

fn virtual_host<'a>(name: &str, routes: impl IntoIterator<Item = &'a Route>, node: For) -> Vec<u8> {
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
        message.field(tag::VIRTUAL_HOST_ROUTES, &route(name, entry, node));
    }
    message.finish()
}

fn route(host: &str, route: &Route, node: For) -> Vec<u8> {
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
    let mut message = Writer::of(&message);
    let mut filters = BTreeMap::from([
        (filter::CORS, pack(&cors(route.filters.cors.as_deref()))),
        (filter::EXT_AUTHZ, ext_authz(&route.filters.check)),
    ]);
    if let Some(limit) = &route.filters.limit {
        filters.insert(filter::LOCAL_RATELIMIT, pack(&local_limit(limit)));
    }
    let guard = match route.guard {
        Guard::Demand(demand) => demand,
        Guard::Open => 1,
        Guard::Untold => 0,
    };
    if node == For::Trireme && (route.allow_ambiguous_path || guard > 0) {
        let rules = RequestRules {
            allow_ambiguous_path: route.allow_ambiguous_path,
            guard,
        };
        filters.insert(filter::REQUEST, own::write(type_url::REQUEST_RULES, &rules));
    }
    for (name, config) in filters {
        message.entry(tag::ROUTE_TYPED_PER_FILTER_CONFIG, name, &config.to_wire());
    }
    message.finish()
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

/// Without a policy: one that allows nothing, which is how the filter is off for a route.
fn cors(policy: Option<&Cors>) -> CorsPolicy {
    let Some(policy) = policy else {
        return CorsPolicy::default();
    };
    let origins = policy.allow_origins.iter().map(|origin| StringMatcher {
        match_pattern: Some(MatchPattern::SafeRegex(regex(origin_pattern(origin)))),
        ..Default::default()
    });
    CorsPolicy {
        allow_origin_string_match: origins.collect(),
        allow_methods: policy.allow_methods.join(", "),
        allow_headers: policy.allow_headers.join(", "),
        expose_headers: policy.expose_headers.join(", "),
        allow_credentials: boolean(policy.allow_credentials),
        ..Default::default()
    }
}

/// Literal text, `*` as `.*`.
fn origin_pattern(origin: &str) -> String {
    let mut pattern = String::with_capacity(origin.len() + 8);
    for char in origin.chars() {
        match char {
            '*' => pattern.push_str(".*"),
            '.' | '^' | '$' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '\\' => {
                pattern.extend(['\\', char]);
            }
            other => pattern.push(other),
        }
    }
    pattern
}

fn ext_authz(check: &Check) -> Any {
    let Check::Required { context, with_body } = check else {
        return pack(&ExtAuthzPerRoute {
            r#override: Some(Override::Disabled(true)),
        });
    };
    let settings = CheckSettings {
        disable_request_body_buffering: !with_body,
        ..Default::default()
    };
    let mut settings = Writer::of(&settings);
    for (key, value) in context {
        settings.entry(tag::CHECK_SETTINGS_CONTEXT_EXTENSIONS, key, value.as_bytes());
    }
    let mut message = Writer::default();
    message.field(tag::EXT_AUTHZ_PER_ROUTE_CHECK_SETTINGS, &settings.finish());
    Any {
        type_url: ExtAuthzPerRoute::type_url(),
        value: message.finish(),
    }
}

fn local_limit(limit: &LocalLimit) -> LocalRateLimit {
    let always = || {
        Some(core::RuntimeFractionalPercent {
            default_value: Some(FractionalPercent {
                numerator: 100,
                denominator: DenominatorType::Hundred.into(),
            }),
            ..Default::default()
        })
    };
    LocalRateLimit {
        stat_prefix: "jwks_rate_limit".to_owned(),
        token_bucket: Some(TokenBucket {
            max_tokens: limit.tokens,
            tokens_per_fill: number(limit.tokens),
            fill_interval: duration(limit.interval),
        }),
        filter_enabled: always(),
        filter_enforced: always(),
        ..Default::default()
    }
}

fn substitute(pattern: &str, substitution: String) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute {
        pattern: Some(regex(pattern.to_owned())),
        substitution,
    }
}
