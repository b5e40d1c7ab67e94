//! Listeners and their HTTP connection manager (spec/adapter.md 5.1).

use prost::Name;
use trireme_proto::Wire;
use trireme_proto::envoy::config::accesslog::v3 as accesslog;
use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::config::listener::v3 as proto;
use trireme_proto::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use trireme_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, RouteSpecifier, UpgradeConfig,
};
use trireme_proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use trireme_proto::envoy::extensions::formatter::req_without_query::v3::ReqWithoutQuery;
use trireme_proto::google::protobuf::Any;
use trireme_proto::names::DEFAULT_ROUTE_CONFIG;

use super::tls;
use crate::caller;
use crate::filter::{CHAIN, Http, Told};
use crate::replies;
use crate::snapshot::{AccessLog, AccessLogFormat, HttpSettings, Listener};
use crate::wire::names::{BUFFER_LIMIT, CONNECTION_MANAGER, FILE_ACCESS_LOG, STAT_PREFIX, WEBSOCKET};
use crate::wire::write::{
    Writer, address, boolean, duration, inline, json_format, number, pack, tag, transport_socket,
};

pub(super) fn message(listener: &Listener) -> Vec<u8> {
    let manager = Any {
        type_url: HttpConnectionManager::type_url(),
        value: connection_manager(listener),
    };
    let chain = proto::FilterChain {
        filters: vec![proto::Filter {
            name: CONNECTION_MANAGER.to_owned(),
            config_type: Some(proto::filter::ConfigType::TypedConfig(manager)),
        }],
        transport_socket: listener
            .tls
            .as_ref()
            .and_then(|settings| transport_socket(tls::downstream(settings))),
        ..Default::default()
    };
    let message = proto::Listener {
        name: listener.name.clone(),
        address: address(&listener.address.to_string(), listener.port),
        filter_chains: vec![chain],
        per_connection_buffer_limit_bytes: number(BUFFER_LIMIT),
        listener_filters: caller::listener_filters(listener.proxy_protocol, listener.caps),
        ..Default::default()
    };
    message.to_wire()
}

fn connection_manager(listener: &Listener) -> Vec<u8> {
    let http = &listener.http;
    let ads = core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(Default::default())),
        ..Default::default()
    };
    let rds = Rds {
        config_source: Some(ads),
        route_config_name: DEFAULT_ROUTE_CONFIG.to_owned(),
    };
    let upgrading = CHAIN.iter().filter(|filter| filter.upgrades);
    let mut manager = HttpConnectionManager {
        codec_type: CodecType::Auto.into(),
        stat_prefix: STAT_PREFIX.to_owned(),
        route_specifier: Some(RouteSpecifier::Rds(rds)),
        http_filters: CHAIN.iter().map(|filter| http_filter(filter, listener)).collect(),
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: WEBSOCKET.to_owned(),
            filters: upgrading.map(|filter| http_filter(filter, listener)).collect(),
            enabled: boolean(true),
        }],
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: duration(http.idle_timeout),
            ..Default::default()
        }),
        stream_idle_timeout: duration(http.stream_idle_timeout),
        request_timeout: duration(http.request_timeout),
        request_headers_timeout: duration(http.request_headers_timeout),
        max_request_headers_kb: match http.max_head_kib {
            HttpSettings::HEAD_KIB => None,
            kib => number(kib),
        },
        use_remote_address: boolean(http.use_remote_address),
        server_name: http.server_name.clone(),
        strip_matching_host_port: true,
        // Ours knows nothing else. A stock Envoy must not take an encoded letter for another path than its upstream does.
        normalize_path: boolean(true),
        access_log: listener.access_log.iter().map(access_log).collect(),
        ..Default::default()
    };
    http.proxies.encode(&mut manager);
    let mut manager = Writer::of(&manager);
    manager.field(
        tag::HTTP_CONNECTION_MANAGER_LOCAL_REPLY_CONFIG,
        &replies::message(http.soap_errors),
    );
    manager.finish()
}

fn access_log(log: &AccessLog) -> accesslog::AccessLog {
    let mut format = Writer::default();
    match &log.format {
        AccessLogFormat::Json(fields) => {
            let fields = fields
                .iter()
                .map(|(name, format)| (name.as_str(), format.as_str()));
            format.field(tag::FORMAT_JSON, &json_format(fields));
        }
        AccessLogFormat::Text(text) => {
            let text =
                core::substitution_format_string::Format::TextFormatSource(inline(text).unwrap_or_default());
            format = Writer::of(&core::SubstitutionFormatString {
                format: Some(text),
                ..Default::default()
            });
        }
    }
    let formatter = core::TypedExtensionConfig {
        name: "envoy.formatter.req_without_query".to_owned(),
        typed_config: Some(pack(&ReqWithoutQuery {})),
    };
    format.message(&core::SubstitutionFormatString {
        formatters: vec![formatter],
        ..Default::default()
    });
    let mut file = Writer::of(&FileAccessLog {
        path: log.path.clone(),
        ..Default::default()
    });
    file.field(tag::FILE_ACCESS_LOG_FORMAT, &format.finish());
    accesslog::AccessLog {
        name: FILE_ACCESS_LOG.to_owned(),
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(Any {
            type_url: FileAccessLog::type_url(),
            value: file.finish(),
        })),
        ..Default::default()
    }
}

fn http_filter(filter: &Http, listener: &Listener) -> HttpFilter {
    HttpFilter {
        name: filter.name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig((filter.encode)(&Told {
            check: &listener.check,
        }))),
        ..Default::default()
    }
}
