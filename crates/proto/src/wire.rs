//! Bytes to resource messages and back. `prost` writes both as generic functions, which every crate that calls them compiles
//! anew, all nested messages included; here they are compiled once, for size, since no request waits for them.

use envoy_types::pb::envoy::config::accesslog::v3::AccessLog;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::{SubstitutionFormatString, TypedExtensionConfig};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::{FilterConfig, Route, RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::{Cors, CorsPolicy};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{
    CheckSettings, ExtAuthz, ExtAuthzPerRoute,
};
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, LocalReplyConfig, ResponseMapper,
};
use envoy_types::pb::envoy::extensions::formatter::req_without_query::v3::ReqWithoutQuery;
use envoy_types::pb::envoy::extensions::http::original_ip_detection::xff::v3::XffConfig;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    DownstreamTlsContext, UpstreamTlsContext,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::google::protobuf::{Any, Value};
use prost::{DecodeError, Message};

use crate::trireme::router::v1::{Callers, Fragment, RequestRules};

/// A message that has its coding compiled here.
pub trait Wire: Sized {
    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are no protobuf, or a field has another type.
    fn from_wire(bytes: &[u8]) -> Result<Self, DecodeError>;

    /// The message as bytes.
    fn to_wire(&self) -> Vec<u8>;
}

macro_rules! wire {
    ($($message:ty),* $(,)?) => {
        $(impl Wire for $message {
            fn from_wire(bytes: &[u8]) -> Result<Self, DecodeError> {
                Self::decode(bytes)
            }

            fn to_wire(&self) -> Vec<u8> {
                self.encode_to_vec()
            }
        })*
    };
}

wire! {
    AccessLog,
    Any,
    Callers,
    CheckSettings,
    Cluster,
    Cors,
    CorsPolicy,
    DownstreamTlsContext,
    ExtAuthz,
    ExtAuthzPerRoute,
    FileAccessLog,
    FilterConfig,
    Fragment,
    HttpConnectionManager,
    HttpProtocolOptions,
    Listener,
    LocalRateLimit,
    LocalReplyConfig,
    ProxyProtocol,
    ReqWithoutQuery,
    RequestRules,
    ResponseMapper,
    Route,
    RouteConfiguration,
    Router,
    SubstitutionFormatString,
    TypedExtensionConfig,
    UpstreamTlsContext,
    Value,
    VirtualHost,
    XffConfig,
}
