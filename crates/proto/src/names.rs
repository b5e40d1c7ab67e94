//! Names that two processes must agree on: type URLs, node features, metadata keys, context extensions.

/// Type URLs of the resources that travel over discovery streams.
pub mod type_url {
    /// `envoy.config.listener.v3.Listener`.
    pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
    /// `envoy.config.route.v3.RouteConfiguration`.
    pub const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    /// `envoy.config.cluster.v3.Cluster`.
    pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
    pub const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    /// `wso2.discovery.api.Api`.
    pub const API: &str = "type.googleapis.com/wso2.discovery.api.Api";
    /// `wso2.discovery.config.enforcer.Config`.
    pub const CONFIG: &str = "type.googleapis.com/wso2.discovery.config.enforcer.Config";
    /// `trireme.router.v1.Fragment`.
    pub const FRAGMENT: &str = "type.googleapis.com/trireme.router.v1.Fragment";
    /// `trireme.router.v1.RequestRules`.
    pub const REQUEST_RULES: &str = "type.googleapis.com/trireme.router.v1.RequestRules";
    /// `trireme.router.v1.Callers`.
    pub const CALLERS: &str = "type.googleapis.com/trireme.router.v1.Callers";
}

/// Features that a node announces in `Node.client_features`.
pub mod feature {
    /// The node takes one `RouteConfiguration` per API instead of the assembled `default`.
    pub const ROUTE_FRAGMENTS: &str = "trireme.route-fragments";
}

/// Names of listener filters of ours.
pub mod listener_filter {
    /// `trireme.router.v1.Callers` on a Listener.
    pub const CALLERS: &str = "trireme.callers";
}

/// Keys of `typed_per_filter_config`.
pub mod filter {
    /// `trireme.router.v1.Fragment` on a RouteConfiguration.
    pub const FRAGMENT: &str = "trireme.fragment";
    /// `trireme.router.v1.RequestRules` on a Route.
    pub const REQUEST: &str = "trireme.request";
    /// `envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute` on a Route.
    pub const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";
    /// `envoy.extensions.filters.http.cors.v3.CorsPolicy` on a Route.
    pub const CORS: &str = "envoy.filters.http.cors";
    /// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit` on a Route.
    pub const LOCAL_RATELIMIT: &str = "envoy.filters.http.local_ratelimit";
}

/// Keys of the ext_authz context extensions that a route carries.
pub mod context {
    /// Resource template as in the definition.
    pub const PATH: &str = "path";
    /// Virtual host.
    pub const VHOST: &str = "vHost";
    /// Versioned base path.
    pub const BASE_PATH: &str = "basePath";
    /// Methods of the resource, joined by one space.
    pub const METHOD: &str = "method";
    /// API version.
    pub const VERSION: &str = "version";
    /// API title.
    pub const NAME: &str = "name";
    /// Production cluster; may be empty.
    pub const PROD_CLUSTER: &str = "prodClusterName";
    /// Sandbox cluster; may be empty.
    pub const SAND_CLUSTER: &str = "sandClusterName";
    /// Revision of the API that the route belongs to, `<epoch>.<counter>` in decimal (design D5).
    pub const REVISION: &str = "trireme.revision";
}

/// Request header by which the enforcer chooses the cluster.
pub const CLUSTER_HEADER: &str = "x-wso2-cluster-header";
/// Request header by which the router tells the enforcer's REST server where the caller is.
pub const CLIENT_ADDRESS_HEADER: &str = "x-trireme-client-address";
/// Dynamic metadata namespace of ext_authz.
pub const EXT_AUTHZ_NAMESPACE: &str = "envoy.filters.http.ext_authz";
/// Dynamic metadata key that marks an answer as the enforcer's own.
pub const ENFORCER_REPLY: &str = "choreo-connect-enforcer-reply";
/// Name of the assembled route configuration, which listeners refer to.
pub const DEFAULT_ROUTE_CONFIG: &str = "default";
/// Name of the route fragment with the system routes.
pub const SYSTEM_FRAGMENT: &str = "trireme.system";
/// Name of the only `Config` resource.
pub const CONFIG_RESOURCE: &str = "Config";
/// Cluster of the enforcer's utility REST server, which the router's own settings define.
pub const ENFORCER_REST_CLUSTER: &str = "ext_authz_http_cluster";
/// Node id that selects what all enforcers share.
pub const COMMON_ENFORCER_LABEL: &str = "commonEnforcerLabel";
