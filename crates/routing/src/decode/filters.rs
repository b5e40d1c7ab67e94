//! Typed per-route filter configuration.

use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;

use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use trireme_proto::envoy::extensions::filters::http::ext_authz::v3::{
    ExtAuthzPerRoute, ext_authz_per_route::Override,
};
use trireme_proto::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use trireme_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use trireme_proto::envoy::r#type::v3::fractional_percent::DenominatorType;
use trireme_proto::google::protobuf::Any;
use trireme_proto::names::{filter, type_url};
use trireme_proto::trireme::router::v1::RequestRules;

use crate::Invalid;
use crate::snapshot::{Check, Cors, Filters, Guard, LocalLimit, Route};
use crate::wire::own;
use crate::wire::read::{Path, boolean, fixed, nothing_else, number, pattern, span, unpack};

/// Reads into `route` what its filters are told.
pub(super) fn per_route(
    mut configs: HashMap<String, Any>,
    route: &mut Route,
    path: &Path<'_>,
) -> Result<(), Invalid> {
    let mut filters = Filters::default();
    if let Some(any) = configs.remove(filter::EXT_AUTHZ) {
        filters.check = check(&any, &path.key(filter::EXT_AUTHZ))?;
    }
    if let Some(any) = configs.remove(filter::CORS) {
        filters.cors = cors(&any, &path.key(filter::CORS))?;
    }
    if let Some(any) = configs.remove(filter::LOCAL_RATELIMIT) {
        filters.limit = Some(local_limit(&any, &path.key(filter::LOCAL_RATELIMIT))?);
    }
    if let Some(any) = configs.remove(filter::REQUEST) {
        let rules: RequestRules = own::read(any, type_url::REQUEST_RULES, &path.key(filter::REQUEST))?;
        route.allow_ambiguous_path = rules.allow_ambiguous_path;
        route.guard = match rules.guard {
            0 => Guard::Untold,
            1 => Guard::Open,
            demand => Guard::Demand(demand),
        };
    }
    route.filters = filters;
    match configs.keys().min() {
        Some(other) => Err(path.key(other).invalid("not supported")),
        None => Ok(()),
    }
}

fn check(any: &Any, path: &Path<'_>) -> Result<Check, Invalid> {
    let message: ExtAuthzPerRoute = unpack(Some(any), path)?;
    match message.r#override {
        Some(Override::Disabled(true)) => Ok(Check::Disabled),
        Some(Override::CheckSettings(mut settings)) => {
            let path = &path.field("check_settings");
            let context = take(&mut settings.context_extensions).into_iter().collect();
            let with_body = !take(&mut settings.disable_request_body_buffering);
            nothing_else(&settings, path)?;
            Ok(Check::Required { context, with_body })
        }
        Some(Override::Disabled(false)) | None => Err(path.invalid("must be disabled or check_settings")),
    }
}

fn cors(any: &Any, path: &Path<'_>) -> Result<Option<Arc<Cors>>, Invalid> {
    let mut policy: CorsPolicy = unpack(Some(any), path)?;
    if policy == CorsPolicy::default() {
        return Ok(None);
    }
    let list = &path.field("allow_origin_string_match");
    let mut allow_origins = Vec::new();
    for (index, mut matcher) in take(&mut policy.allow_origin_string_match)
        .into_iter()
        .enumerate()
    {
        let path = &list.index(index);
        allow_origins.push(match matcher.match_pattern.take() {
            Some(MatchPattern::SafeRegex(regex)) => {
                let path = &path.field("safe_regex");
                let pattern = pattern(regex, path)?;
                origin(&pattern).ok_or_else(|| path.field("regex").invalid("must be literal text and .*"))?
            }
            Some(MatchPattern::Exact(text)) if !text.contains('*') => text,
            _ => return Err(path.invalid("must be safe_regex or exact")),
        });
        nothing_else(&matcher, path)?;
    }
    let names = |list: String| -> Vec<String> {
        list.split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let read = Cors {
        allow_origins,
        allow_methods: names(take(&mut policy.allow_methods)),
        allow_headers: names(take(&mut policy.allow_headers)),
        expose_headers: names(take(&mut policy.expose_headers)),
        allow_credentials: boolean(policy.allow_credentials.take()),
    };
    nothing_else(&policy, path)?;
    Ok(Some(Arc::new(read)))
}

/// Literal text in which `*` stands for what is `.*` in `pattern`; `None` for a pattern that is not of this kind.
fn origin(pattern: &str) -> Option<String> {
    let mut origin = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            '.' if chars.next() == Some('*') => origin.push('*'),
            // A star that stands for itself has no place in the text.
            '\\' => origin.push(
                chars
                    .next()
                    .filter(|char| char.is_ascii_punctuation() && *char != '*')?,
            ),
            '.' | '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => return None,
            other => origin.push(other),
        }
    }
    Some(origin)
}

fn local_limit(any: &Any, path: &Path<'_>) -> Result<LocalLimit, Invalid> {
    let mut limit: LocalRateLimit = unpack(Some(any), path)?;
    limit.stat_prefix.clear();
    always(limit.filter_enabled.take(), &path.field("filter_enabled"))?;
    always(limit.filter_enforced.take(), &path.field("filter_enforced"))?;
    let bucket = limit.token_bucket.take();
    nothing_else(&limit, path)?;
    let path = &path.field("token_bucket");
    let bucket = bucket.ok_or_else(|| path.invalid("missing"))?;
    let tokens = bucket.max_tokens;
    if tokens == 0 {
        return Err(path.field("max_tokens").invalid("must be greater than zero"));
    }
    fixed(
        &number(bucket.tokens_per_fill).unwrap_or(1),
        &tokens,
        &path.field("tokens_per_fill"),
    )?;
    Ok(LocalLimit {
        tokens,
        interval: span(bucket.fill_interval, &path.field("fill_interval"))?,
    })
}

/// The filter must be on for all requests: it is off where nothing says so.
fn always(fraction: Option<core::RuntimeFractionalPercent>, path: &Path<'_>) -> Result<(), Invalid> {
    let default = fraction
        .and_then(|fraction| fraction.default_value)
        .unwrap_or_default();
    let whole = match DenominatorType::try_from(default.denominator) {
        Ok(DenominatorType::Hundred) => 100,
        Ok(DenominatorType::TenThousand) => 10_000,
        Ok(DenominatorType::Million) => 1_000_000,
        Err(_) => u32::MAX,
    };
    fixed(
        &default.numerator,
        &whole,
        &path.field("default_value").field("numerator"),
    )
}
