//! Route configurations.

use std::collections::{HashMap, HashSet};
use std::mem::take;
use std::time::Duration;

use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::config::route::v3 as proto;
use trireme_proto::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use trireme_proto::envoy::config::route::v3::route_action::{
    ClusterSpecifier, HostRewriteSpecifier, UpgradeConfig,
};
use trireme_proto::envoy::config::route::v3::route_match::PathSpecifier;
use trireme_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use trireme_proto::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};
use trireme_proto::google::protobuf::Any;
use trireme_proto::names::{CLUSTER_HEADER, filter, type_url};
use trireme_proto::trireme::router::v1 as messages;

use crate::Invalid;
use crate::filter::{Filters, Given, PerRoute as _, Rules};
use crate::snapshot::{
    Action, ClusterRef, Forward, Fragment, PathMatch, Position, Retry, Revision, Rewrite, Route, VirtualHost,
};
use crate::wire::names::{RETRY_ON, WEBSOCKET, WHOLE_PATH};
use crate::wire::own;
use crate::wire::read::{Path, boolean, duration, fixed, nothing_else, number, only, pattern, span, text};

/// Envoy's own, where the message says nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// Envoy's own stream idle timeout, where the message says nothing.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn fragment(mut message: proto::RouteConfiguration) -> Result<Fragment, Invalid> {
    let root = &Path::ROOT;
    let name = text(take(&mut message.name), &root.field("name"))?;
    let (position, revision) = settings(take(&mut message.typed_per_filter_config), root)?;
    // The router removes this one from every request; it has no other such list.
    let removed = &root.field("request_headers_to_remove");
    for (index, header) in take(&mut message.request_headers_to_remove)
        .into_iter()
        .enumerate()
    {
        fixed(&header.as_str(), &CLUSTER_HEADER, &removed.index(index))?;
    }
    let hosts = &root.field("virtual_hosts");
    let mut virtual_hosts: Vec<VirtualHost> = Vec::new();
    let mut names = HashSet::new();
    for (index, host) in take(&mut message.virtual_hosts).into_iter().enumerate() {
        let path = &hosts.index(index);
        let host = virtual_host(host, path)?;
        if !names.insert(host.name.clone()) {
            return Err(path
                .field("domains")
                .invalid(format!("{:?} is taken by another virtual host", host.name)));
        }
        virtual_hosts.push(host);
    }
    nothing_else(&message, root)?;
    Ok(Fragment {
        name,
        position,
        revision,
        virtual_hosts,
    })
}

fn settings(mut configs: HashMap<String, Any>, root: &Path<'_>) -> Result<(Position, Revision), Invalid> {
    let path = &root.field("typed_per_filter_config");
    let any = configs.remove(filter::FRAGMENT);
    if let Some(other) = configs.keys().min() {
        return Err(path.key(other).invalid("not supported"));
    }
    // Another control plane's configuration says neither.
    let Some(any) = any else {
        return Ok((Position::Front, Revision::default()));
    };
    let path = &path.key(filter::FRAGMENT);
    let settings: messages::Fragment = own::read(any, type_url::FRAGMENT, path)?;
    let position = match messages::fragment::Position::try_from(settings.position) {
        Ok(messages::fragment::Position::Front) => Position::Front,
        Ok(messages::fragment::Position::Back) => Position::Back,
        Ok(messages::fragment::Position::System) => Position::System,
        Err(_) => {
            return Err(path
                .field("position")
                .invalid(format!("unknown: {}", settings.position)));
        }
    };
    Ok((
        position,
        Revision {
            epoch: settings.revision_epoch,
            counter: settings.revision_counter,
        },
    ))
}

fn virtual_host(mut host: proto::VirtualHost, path: &Path<'_>) -> Result<VirtualHost, Invalid> {
    let domains = &path.field("domains");
    let name = domain(&take(&mut host.domains), domains)?;
    host.name.clear();
    let list = &path.field("routes");
    let read = |(index, entry)| route(entry, &list.index(index));
    let routes = take(&mut host.routes)
        .into_iter()
        .enumerate()
        .map(read)
        .collect::<Result<_, _>>()?;
    nothing_else(&host, path)?;
    Ok(VirtualHost { name, routes })
}

/// The name that `[<name>]`, `[<name>, <name>:*]` stand for.
fn domain(domains: &[String], path: &Path<'_>) -> Result<String, Invalid> {
    let Some((name, rest)) = domains.split_first() else {
        return Err(path.invalid("must not be empty"));
    };
    if name != "*" && (name.is_empty() || name.contains(['*', ' ', '/', '@', '?', '#'])) {
        return Err(path.index(0).invalid("must be a host name or \"*\""));
    }
    if name.contains(':') && !(name.starts_with('[') && name.ends_with(']')) {
        return Err(path.index(0).invalid("must be without a port"));
    }
    match rest {
        [] => {}
        [ports] if name != "*" && ports.strip_suffix(":*") == Some(name) => {}
        _ => {
            return Err(path
                .index(1)
                .invalid(format!("only {:?} is supported", format!("{name}:*"))));
        }
    }
    Ok(name.to_ascii_lowercase())
}

fn route(mut message: proto::Route, path: &Path<'_>) -> Result<Route, Invalid> {
    let name = take(&mut message.name);
    let match_path = &path.field("match");
    let condition = message
        .r#match
        .take()
        .ok_or_else(|| match_path.invalid("missing"))?;
    let (condition, methods, headers) = route_match(condition, match_path)?;
    // A name for traces, which the router makes itself.
    if let Some(mut decorator) = message.decorator.take() {
        decorator.operation.clear();
        nothing_else(&decorator, &path.field("decorator"))?;
    }
    let action = match message.action.take() {
        Some(proto::route::Action::DirectResponse(direct)) => {
            direct_response(direct, &path.field("direct_response"))?
        }
        Some(proto::route::Action::Route(action)) => {
            Action::Forward(route_action(action, &condition, &path.field("route"))?)
        }
        Some(_) | None => return Err(path.field("action").invalid("must be route or direct_response")),
    };
    let list = path.field("typed_per_filter_config");
    let mut given = Given::new(&mut message, path, &list);
    let filters = Filters::decode(&mut given)?;
    let Rules {
        ambiguous_paths,
        guard,
    } = Rules::decode(&mut given)?;
    given.finish()?;
    Ok(Route {
        name,
        path: condition,
        methods,
        headers,
        action,
        filters,
        ambiguous_paths,
        guard,
    })
}

type Conditions = (PathMatch, Vec<String>, Vec<(String, String)>);

fn route_match(mut message: proto::RouteMatch, path: &Path<'_>) -> Result<Conditions, Invalid> {
    let condition = match message.path_specifier.take() {
        Some(PathSpecifier::Path(exact)) => PathMatch::Exact(exact),
        Some(PathSpecifier::Prefix(prefix)) => PathMatch::Prefix(prefix),
        Some(PathSpecifier::SafeRegex(matcher)) => {
            PathMatch::Regex(pattern(matcher, &path.field("safe_regex"))?)
        }
        Some(_) | None => {
            return Err(path
                .field("path_specifier")
                .invalid("must be path, prefix or safe_regex"));
        }
    };
    let mut methods = Vec::new();
    let mut headers = Vec::new();
    let list = &path.field("headers");
    for (index, mut matcher) in take(&mut message.headers).into_iter().enumerate() {
        let path = &list.index(index);
        let name = text(take(&mut matcher.name), &path.field("name"))?;
        let Some(HeaderMatchSpecifier::StringMatch(mut value)) = matcher.header_match_specifier.take() else {
            return Err(path.field("string_match").invalid("missing"));
        };
        nothing_else(&matcher, path)?;
        let path = &path.field("string_match");
        match (name.as_str(), value.match_pattern.take()) {
            (":method", Some(MatchPattern::Exact(method))) if methods.is_empty() => methods = vec![method],
            (":method", Some(MatchPattern::SafeRegex(matcher))) if methods.is_empty() => {
                methods = method_names(matcher, &path.field("safe_regex"))?;
            }
            (":method", _) => return Err(path.invalid("must be one safe_regex or exact")),
            (_, Some(MatchPattern::Exact(value))) => headers.push((name.to_ascii_lowercase(), value)),
            (_, _) => return Err(path.invalid("must be exact")),
        }
        nothing_else(&value, path)?;
    }
    nothing_else(&message, path)?;
    Ok((condition, methods, headers))
}

/// Reads `^A|B|OPTIONS$`.
fn method_names(matcher: RegexMatcher, path: &Path<'_>) -> Result<Vec<String>, Invalid> {
    let pattern = pattern(matcher, path)?;
    let list = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    let is_name = |name: &&str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let names: Vec<&str> = list.unwrap_or_default().split('|').collect();
    if names.iter().all(is_name) {
        Ok(names.into_iter().map(str::to_owned).collect())
    } else {
        Err(path.field("regex").invalid("must be ^METHOD|METHOD|OPTIONS$"))
    }
}

fn direct_response(mut message: proto::DirectResponseAction, path: &Path<'_>) -> Result<Action, Invalid> {
    let status = u16::try_from(take(&mut message.status))
        .ok()
        .filter(|status| (200..600).contains(status));
    let status = status.ok_or_else(|| path.field("status").invalid("must be 200 to 599"))?;
    let mut body = message.body.take().unwrap_or_default();
    let text = match body.specifier.take() {
        Some(core::data_source::Specifier::InlineString(text)) => text,
        None => String::new(),
        Some(_) => return Err(path.field("body").invalid("must be inline_string")),
    };
    nothing_else(&body, &path.field("body"))?;
    nothing_else(&message, path)?;
    Ok(Action::Direct { status, body: text })
}

fn route_action(
    mut message: proto::RouteAction,
    condition: &PathMatch,
    path: &Path<'_>,
) -> Result<Forward, Invalid> {
    let cluster = match message.cluster_specifier.take() {
        Some(ClusterSpecifier::Cluster(name)) => ClusterRef::Name(text(name, &path.field("cluster"))?),
        Some(ClusterSpecifier::ClusterHeader(name)) => {
            ClusterRef::Header(text(name, &path.field("cluster_header"))?.to_ascii_lowercase())
        }
        Some(_) | None => {
            return Err(path
                .field("cluster_specifier")
                .invalid("must be cluster or cluster_header"));
        }
    };
    let auto_host = match message.host_rewrite_specifier.take() {
        None => false,
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) => auto.value,
        Some(_) => {
            return Err(path
                .field("host_rewrite_specifier")
                .invalid("must be auto_host_rewrite"));
        }
    };
    let whole = take(&mut message.prefix_rewrite);
    let rewrite = match (message.regex_rewrite.take(), whole.is_empty()) {
        (None, true) => None,
        (Some(regex), true) => Some(regex_rewrite(regex, condition, &path.field("regex_rewrite"))?),
        (None, false) if !matches!(condition, PathMatch::Prefix(_)) => Some(Rewrite::Path(whole)),
        (_, false) => {
            return Err(path
                .field("prefix_rewrite")
                .invalid("only with an exact path or a safe_regex"));
        }
    };
    let timeout = duration(message.timeout.take(), &path.field("timeout"))?;
    let idle_timeout = duration(message.idle_timeout.take(), &path.field("idle_timeout"))?;
    let retry_path = &path.field("retry_policy");
    let retry = message
        .retry_policy
        .take()
        .map(|policy| retry_policy(policy, retry_path))
        .transpose()?;
    let websocket = upgrades(take(&mut message.upgrade_configs), &path.field("upgrade_configs"))?;
    let limit_path = &path.field("max_stream_duration");
    let mut limit = message.max_stream_duration.take().unwrap_or_default();
    let max_stream_duration = duration(
        limit.max_stream_duration.take(),
        &limit_path.field("max_stream_duration"),
    )?;
    nothing_else(&limit, limit_path)?;
    nothing_else(&message, path)?;
    Ok(Forward {
        cluster,
        rewrite,
        auto_host,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        idle_timeout: idle_timeout.unwrap_or(DEFAULT_IDLE_TIMEOUT),
        retry,
        websocket,
        max_stream_duration,
    })
}

fn regex_rewrite(
    message: RegexMatchAndSubstitute,
    condition: &PathMatch,
    path: &Path<'_>,
) -> Result<Rewrite, Invalid> {
    let pattern_path = path.field("pattern");
    let matcher = message.pattern.ok_or_else(|| pattern_path.invalid("missing"))?;
    let pattern = pattern(matcher, &pattern_path)?;
    let substitution = message.substitution;
    let literal = substitution.replace(r"\\", "");
    if pattern == WHOLE_PATH && matches!(condition, PathMatch::Prefix(_)) && !literal.contains('\\') {
        return Ok(Rewrite::Path(substitution.replace(r"\\", r"\")));
    }
    Ok(Rewrite::Regex {
        pattern,
        substitution,
    })
}

fn retry_policy(mut policy: proto::RetryPolicy, path: &Path<'_>) -> Result<Retry, Invalid> {
    let on = take(&mut policy.retry_on);
    fixed(&on.as_str(), &RETRY_ON, &path.field("retry_on"))?;
    let codes = &path.field("retriable_status_codes");
    let status = |(index, code): (usize, u32)| {
        let status = u16::try_from(code)
            .ok()
            .filter(|status| (100..600).contains(status));
        status.ok_or_else(|| codes.index(index).invalid("not a status code"))
    };
    let statuses = take(&mut policy.retriable_status_codes)
        .into_iter()
        .enumerate()
        .map(status);
    let statuses = statuses.collect::<Result<_, _>>()?;
    let backoff_path = &path.field("retry_back_off");
    let backoff_base = match policy.retry_back_off.take() {
        // Envoy's own, where the message says nothing.
        None => Duration::from_millis(25),
        Some(mut backoff) => {
            let base = span(backoff.base_interval.take(), &backoff_path.field("base_interval"))?;
            nothing_else(&backoff, backoff_path)?;
            base
        }
    };
    let count = number(policy.num_retries.take()).unwrap_or(1);
    nothing_else(&policy, path)?;
    Ok(Retry {
        count,
        statuses,
        backoff_base,
    })
}

fn upgrades(configs: Vec<UpgradeConfig>, path: &Path<'_>) -> Result<bool, Invalid> {
    if configs.is_empty() {
        return Ok(false);
    }
    let mut config = only(configs, path)?;
    let path = &path.index(0);
    fixed(
        &take(&mut config.upgrade_type).as_str(),
        &WEBSOCKET,
        &path.field("upgrade_type"),
    )?;
    // Enabled where the message says nothing.
    let enabled = config.enabled.take().is_none_or(|enabled| boolean(Some(enabled)));
    nothing_else(&config, path)?;
    Ok(enabled)
}
