//! Listeners and their HTTP connection manager.

use std::collections::BTreeMap;
use std::mem::take;
use std::time::Duration;

use trireme_proto::envoy::config::accesslog::v3 as accesslog;
use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::config::core::v3::substitution_format_string::Format;
use trireme_proto::envoy::config::listener::v3 as proto;
use trireme_proto::envoy::extensions::access_loggers::file::v3::{FileAccessLog, file_access_log};
use trireme_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, RouteSpecifier, UpgradeConfig,
};
use trireme_proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use trireme_proto::envoy::extensions::formatter::req_without_query::v3::ReqWithoutQuery;
use trireme_proto::google::protobuf::value;
use trireme_proto::names::DEFAULT_ROUTE_CONFIG;

use super::tls;
use crate::Invalid;
use crate::caller;
use crate::filter::{CHAIN, Http, Settings};
use crate::replies;
use crate::snapshot::{AccessLog, AccessLogFormat, CheckSettings, HttpSettings, Listener, Proxies};
use crate::wire::names::{BUFFER_LIMIT, CONNECTION_MANAGER, FILE_ACCESS_LOG, STAT_PREFIX, WEBSOCKET};
use crate::wire::read::{
    Path, address, boolean, duration, fixed, nothing_else, only, text, transport_socket, unpack,
};

pub(super) fn listener(mut message: proto::Listener) -> Result<Listener, Invalid> {
    let root = &Path::ROOT;
    let name = text(take(&mut message.name), &root.field("name"))?;
    let address_path = root.field("address");
    let (host, port) = address(message.address.take(), &address_path)?;
    let host = host
        .parse()
        .map_err(|_| address_path.invalid("not an IP address"))?;
    if let Some(limit) = message.per_connection_buffer_limit_bytes.take() {
        fixed(
            &limit.value,
            &BUFFER_LIMIT,
            &root.field("per_connection_buffer_limit_bytes"),
        )?;
    }
    let (proxy_protocol, caps) = caller::read_listener_filters(
        take(&mut message.listener_filters),
        &root.field("listener_filters"),
    )?;
    let chains = &root.field("filter_chains");
    let mut chain = only(take(&mut message.filter_chains), chains)?;
    nothing_else(&message, root)?;
    let path = &chains.index(0);
    let tls = match chain.transport_socket.take() {
        None => None,
        Some(socket) => {
            let path = &path.field("transport_socket");
            Some(tls::downstream(
                &transport_socket(socket, path)?,
                &path.field("typed_config"),
            )?)
        }
    };
    let filters = &path.field("filters");
    let network = only(take(&mut chain.filters), filters)?;
    nothing_else(&chain, path)?;
    let path = &filters.index(0);
    fixed(&network.name.as_str(), &CONNECTION_MANAGER, &path.field("name"))?;
    let path = &path.field("typed_config");
    let Some(proto::filter::ConfigType::TypedConfig(any)) = network.config_type else {
        return Err(path.invalid("missing"));
    };
    let (http, check, access_log) = connection_manager(unpack(Some(&any), path)?, path)?;
    Ok(Listener {
        name,
        address: host,
        port,
        tls,
        proxy_protocol,
        caps,
        http,
        check,
        access_log,
    })
}

fn connection_manager(
    mut manager: HttpConnectionManager,
    path: &Path<'_>,
) -> Result<(HttpSettings, CheckSettings, Option<AccessLog>), Invalid> {
    if take(&mut manager.codec_type) != i32::from(CodecType::Auto) {
        return Err(path.field("codec_type").invalid("must be AUTO"));
    }
    fixed(
        &take(&mut manager.stat_prefix).as_str(),
        &STAT_PREFIX,
        &path.field("stat_prefix"),
    )?;
    fixed(
        &take(&mut manager.strip_matching_host_port),
        &true,
        &path.field("strip_matching_host_port"),
    )?;
    fixed(
        &manager
            .normalize_path
            .take()
            .is_none_or(|normalize| normalize.value),
        &true,
        &path.field("normalize_path"),
    )?;
    match manager.route_specifier.take() {
        Some(RouteSpecifier::Rds(rds)) => discovered(rds, &path.field("rds"))?,
        _ => return Err(path.field("rds").invalid("missing")),
    }
    let soap_errors = match manager.local_reply_config.take() {
        None => false,
        Some(config) => replies::soap(&config).ok_or_else(|| {
            path.field("local_reply_config")
                .invalid("the answers of the router are fixed")
        })?,
    };
    let filters = &path.field("http_filters");
    let mut settings = Settings::default();
    http_filters(take(&mut manager.http_filters), &CHAIN, &mut settings, filters)?;
    upgrades(
        take(&mut manager.upgrade_configs),
        &settings,
        &path.field("upgrade_configs"),
    )?;
    let check = settings
        .check
        .ok_or_else(|| filters.invalid("nothing asks the enforcer"))?;
    let use_remote_address = boolean(manager.use_remote_address.take());
    let proxies = Proxies::decode(&mut manager, use_remote_address, path)?;
    let common_path = path.field("common_http_protocol_options");
    let mut common = manager.common_http_protocol_options.take().unwrap_or_default();
    let time = |value, default, field| Ok(duration(value, &path.field(field))?.unwrap_or(default));
    let http = HttpSettings {
        request_timeout: time(manager.request_timeout.take(), Duration::ZERO, "request_timeout")?,
        request_headers_timeout: time(
            manager.request_headers_timeout.take(),
            Duration::ZERO,
            "request_headers_timeout",
        )?,
        // Envoy's own, where the message says nothing.
        stream_idle_timeout: time(
            manager.stream_idle_timeout.take(),
            Duration::from_secs(300),
            "stream_idle_timeout",
        )?,
        idle_timeout: duration(common.idle_timeout.take(), &common_path.field("idle_timeout"))?
            .unwrap_or(Duration::from_secs(3600)),
        max_head_kib: match manager.max_request_headers_kb.take() {
            None => HttpSettings::HEAD_KIB,
            Some(kib) if (1..=HttpSettings::MAX_HEAD_KIB).contains(&kib.value) => kib.value,
            Some(_) => return Err(path.field("max_request_headers_kb").invalid("must be 1 to 8192")),
        },
        use_remote_address,
        proxies,
        server_name: Some(take(&mut manager.server_name))
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "envoy".to_owned()),
        soap_errors,
    };
    nothing_else(&common, &common_path)?;
    let logs_path = path.field("access_log");
    let logs = take(&mut manager.access_log);
    let access_log = match logs.len() {
        0 => None,
        _ => Some(access_log(only(logs, &logs_path)?, &logs_path.index(0))?),
    };
    nothing_else(&manager, path)?;
    Ok((http, check, access_log))
}

fn discovered(rds: Rds, path: &Path<'_>) -> Result<(), Invalid> {
    fixed(
        &rds.route_config_name.as_str(),
        &DEFAULT_ROUTE_CONFIG,
        &path.field("route_config_name"),
    )?;
    let path = &path.field("config_source");
    let mut source = rds.config_source.unwrap_or_default();
    match source.config_source_specifier.take() {
        Some(core::config_source::ConfigSourceSpecifier::Ads(_)) => {}
        _ => return Err(path.field("ads").invalid("missing")),
    }
    if take(&mut source.resource_api_version) != i32::from(core::ApiVersion::V3) {
        return Err(path.field("resource_api_version").invalid("must be V3"));
    }
    nothing_else(&source, path)
}

/// Reads HTTP filters, which must be those of `chain`, into `settings`.
fn http_filters(
    filters: Vec<HttpFilter>,
    chain: &[&Http],
    settings: &mut Settings,
    path: &Path<'_>,
) -> Result<(), Invalid> {
    let names: Vec<&str> = chain.iter().map(|filter| filter.name).collect();
    let present: Vec<&str> = filters.iter().map(|filter| filter.name.as_str()).collect();
    if present != names {
        return Err(path.invalid(format!("must be {}", names.join(", "))));
    }
    for (index, (mut entry, filter)) in filters.into_iter().zip(chain).enumerate() {
        let path = &path.index(index);
        entry.name.clear();
        let config = match entry.config_type.take() {
            Some(http_filter::ConfigType::TypedConfig(any)) => Some(any),
            Some(http_filter::ConfigType::ConfigDiscovery(_)) | None => None,
        };
        nothing_else(&entry, path)?;
        (filter.decode)(config.as_ref(), settings, &path.field("typed_config"))?;
    }
    Ok(())
}

/// Requests that change to WebSocket pass the same filters, but for those that are not for them.
fn upgrades(configs: Vec<UpgradeConfig>, settings: &Settings, path: &Path<'_>) -> Result<(), Invalid> {
    if configs.is_empty() {
        return Ok(());
    }
    let config = only(configs, path)?;
    let path = &path.index(0);
    fixed(
        &config.upgrade_type.as_str(),
        &WEBSOCKET,
        &path.field("upgrade_type"),
    )?;
    let chain: Vec<&Http> = CHAIN.into_iter().filter(|filter| filter.upgrades).collect();
    let filters = &path.field("filters");
    // Said again, it must change nothing.
    let mut again = settings.clone();
    http_filters(config.filters, &chain, &mut again, filters)?;
    if again == *settings {
        Ok(())
    } else {
        Err(filters.invalid("must be as in http_filters"))
    }
}

fn access_log(log: accesslog::AccessLog, path: &Path<'_>) -> Result<AccessLog, Invalid> {
    fixed(&log.name.as_str(), &FILE_ACCESS_LOG, &path.field("name"))?;
    if log.filter.is_some() {
        return Err(path.field("filter").invalid("not supported"));
    }
    let path = &path.field("typed_config");
    let Some(accesslog::access_log::ConfigType::TypedConfig(any)) = log.config_type else {
        return Err(path.invalid("missing"));
    };
    let mut file: FileAccessLog = unpack(Some(&any), path)?;
    let name = text(take(&mut file.path), &path.field("path"))?;
    let path = &path.field("log_format");
    let Some(file_access_log::AccessLogFormat::LogFormat(mut format)) = file.access_log_format.take() else {
        return Err(path.invalid("missing"));
    };
    formatters(&take(&mut format.formatters), &path.field("formatters"))?;
    let read = match format.format.take() {
        Some(Format::JsonFormat(fields)) => {
            AccessLogFormat::Json(json_fields(fields, &path.field("json_format"))?)
        }
        Some(Format::TextFormatSource(mut source)) => {
            let path = &path.field("text_format_source");
            let Some(core::data_source::Specifier::InlineString(text)) = source.specifier.take() else {
                return Err(path.field("inline_string").invalid("missing"));
            };
            nothing_else(&source, path)?;
            AccessLogFormat::Text(text)
        }
        _ => return Err(path.invalid("must be text_format_source or json_format")),
    };
    nothing_else(&format, path)?;
    Ok(AccessLog {
        path: name,
        format: read,
    })
}

fn formatters(formatters: &[core::TypedExtensionConfig], path: &Path<'_>) -> Result<(), Invalid> {
    for (index, formatter) in formatters.iter().enumerate() {
        unpack::<ReqWithoutQuery>(
            formatter.typed_config.as_ref(),
            &path.index(index).field("typed_config"),
        )?;
    }
    Ok(())
}

fn json_fields(
    fields: trireme_proto::google::protobuf::Struct,
    path: &Path<'_>,
) -> Result<BTreeMap<String, String>, Invalid> {
    let field = |(name, value): (String, trireme_proto::google::protobuf::Value)| match value.kind {
        Some(value::Kind::StringValue(format)) => Ok((name, format)),
        _ => Err(path.key(&name).invalid("must be a string")),
    };
    fields.fields.into_iter().map(field).collect()
}
