//! The tables of `config.toml` and `log_config.toml`: for every key its name, type, default and comment.
//!
//! This is the only place where a key, its default or its comment is written; the loader, the overrides and the
//! template follow from it.

mod adapter;
mod ambiguous;
mod analytics;
mod control_plane;
mod enforcer;
mod limits;
mod log;
mod router;
mod throttling;
mod tls;
mod tracing;

pub use self::adapter::{
    Adapter, AdapterMetrics, Consul, Repository, Server, SourceControl, Truststore, User, VhostMapping,
};
pub use self::ambiguous::AmbiguousPath;
pub use self::analytics::{Analytics, AnalyticsAdapter, AnalyticsEnforcer, CustomProperties, LogReceiver};
pub use self::control_plane::{BrokerConnection, ControlPlane, GlobalAdapter, HttpClient, RequestWorkerPool};
pub use self::enforcer::{
    AuthHeader, AuthService, Cache, ClaimMapping, Enforcer, EnforcerMetrics, Filter, JwtGenerator, JwtIssuer,
    KeyPair, Management, MutualSsl, RestServer, Security, ThreadPool, TokenService,
};
pub use self::limits::{
    ConditionGroup, DataUnit, DeniedCaller, DenyKind, KeyTemplate, LimitCondition, LimitConditionKind,
    LimitStore, LimitStoreKind, LimitStoreMode, LimitTier, QuotaKind, StoreFailure, TimeUnit, WhenFull,
};
pub use self::log::{AccessLogs, LogConfig, LogFormat, LogLevel, Package, Rotation, WireLogs};
pub use self::router::{
    AwsLambda, ClientAddress, CodecType, Compression, CompressionRequest, CompressionResponse, Connection,
    ConnectionTimeouts, Cors, Downstream, DownstreamTls, PayloadPassing, Router, RouterFilters, Upstream,
    UpstreamDns, UpstreamHealth, UpstreamHttp2, UpstreamRetry, UpstreamTimeouts, UpstreamTls,
};
pub use self::throttling::{Publisher, PublisherAgent, PublisherPool, Throttling, UrlGroup};
pub use self::tls::{Keystore, TlsVersion};
pub use self::tracing::Tracing;
use crate::schema::section;

section! {
    /// Everything in `config.toml`.
    pub struct Config {
        /// The adapter.
        adapter["adapter"]: Adapter,
        /// The router; the adapter sends these settings to it.
        router["router"]: Router,
        /// The enforcer; the adapter sends these settings to it as they are, and `$env{NAME}` in them means the
        /// enforcer's own environment.
        enforcer["enforcer"]: Enforcer,
        /// WSO2 API Manager as the control plane.
        control_plane["controlPlane"]: ControlPlane,
        /// The global adapter that assigns APIs to gateways.
        global_adapter["globalAdapter"]: GlobalAdapter,
        /// Analytics.
        analytics["analytics"]: Analytics,
        /// Distributed tracing.
        tracing["tracing"]: Tracing,
    }
}
