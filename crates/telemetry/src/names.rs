//! Names of metrics: `trireme_<process>_<thing>_<unit>[_total]`, seconds and bytes. Labels take bounded values only
//! (api, route, cluster, code class, reason), never a path, a user or a token. Stable unless said otherwise.

/// Handshakes refused by the own TLS servers; label `listener`.
pub const TLS_REFUSALS: &str = "trireme_tls_refusals_total";
/// When the own certificate expires, in seconds since 1970.
pub const TLS_CERTIFICATE_EXPIRY: &str = "trireme_tls_certificate_expiry_seconds";

/// Access log lines written.
pub const ACCESS_LOG_LINES: &str = "trireme_access_log_lines_total";
/// Access log lines lost because too many were waiting or the disk refused them.
pub const ACCESS_LOG_DROPPED: &str = "trireme_access_log_dropped_total";

/// Resources held from discovery; label `type`.
pub const DISCOVERY_RESOURCES: &str = "trireme_discovery_resources";
/// Discovery updates; labels `type`, `outcome` (`accepted`, `rejected`).
pub const DISCOVERY_UPDATES: &str = "trireme_discovery_updates_total";
/// Whether the discovery stream is up: 1 or 0.
pub const DISCOVERY_CONNECTED: &str = "trireme_discovery_connected";
/// Age of the newest accepted configuration.
pub const DISCOVERY_AGE: &str = "trireme_discovery_age_seconds";

/// Requests answered by the router; labels `listener`, `code_class`.
pub const ROUTER_REQUESTS: &str = "trireme_router_requests_total";
/// Requests answered by the router itself instead of an upstream; label `reason`.
pub const ROUTER_LOCAL_REPLIES: &str = "trireme_router_local_replies_total";
/// From the first byte of a request to the last of its response.
pub const ROUTER_REQUEST_DURATION: &str = "trireme_router_request_duration_seconds";
/// Requests in progress.
pub const ROUTER_REQUESTS_ACTIVE: &str = "trireme_router_requests_active";
/// Open downstream connections.
pub const ROUTER_CONNECTIONS_ACTIVE: &str = "trireme_router_connections_active";
/// Downstream connections accepted; label `listener`.
pub const ROUTER_CONNECTIONS: &str = "trireme_router_connections_total";
/// Downstream connections refused; label `reason` (`address`: too many of one, `limit`: too many in all, `proxy_protocol`: without a
/// good PROXY header).
pub const ROUTER_CONNECTIONS_REFUSED: &str = "trireme_router_connections_refused_total";
/// Requests answered with 503 because too many were under way; label `reason` (`address`: of one, `checks`: for the enforcer).
pub const ROUTER_REQUESTS_SHED: &str = "trireme_router_requests_shed_total";
/// Bytes of request bodies received.
pub const ROUTER_RECEIVED_BYTES: &str = "trireme_router_received_bytes_total";
/// Bytes of response bodies sent.
pub const ROUTER_SENT_BYTES: &str = "trireme_router_sent_bytes_total";
/// Checks asked of the enforcer; label `outcome` (`allowed`, `denied`, `failed`).
pub const ROUTER_CHECKS: &str = "trireme_router_checks_total";
/// How long a check took, as the router saw it.
pub const ROUTER_CHECK_DURATION: &str = "trireme_router_check_duration_seconds";
/// Routes in the table.
pub const ROUTER_ROUTES: &str = "trireme_router_routes";
/// Clusters in the table.
pub const ROUTER_CLUSTERS: &str = "trireme_router_clusters";
/// Upstream connections opened; label `outcome`.
pub const ROUTER_UPSTREAM_CONNECTS: &str = "trireme_router_upstream_connects_total";
/// Open upstream connections; label `cluster`.
pub const ROUTER_UPSTREAM_CONNECTIONS_ACTIVE: &str = "trireme_router_upstream_connections_active";
/// Requests sent to upstreams; labels `cluster`, `code_class`.
pub const ROUTER_UPSTREAM_REQUESTS: &str = "trireme_router_upstream_requests_total";
/// Requests sent again.
pub const ROUTER_UPSTREAM_RETRIES: &str = "trireme_router_upstream_retries_total";

/// Checks answered by the enforcer; label `verdict` (`admitted`, `denied`, `failed`).
pub const ENFORCER_CHECKS: &str = "trireme_enforcer_checks_total";
/// Verdicts about the requests to one API; labels `api` (its resource name), `verdict` (`admitted`, `denied`), `reason`.
pub const ENFORCER_VERDICTS: &str = "trireme_enforcer_verdicts_total";
/// Refusals; label `code` (the error code of the body).
pub const ENFORCER_DENIALS: &str = "trireme_enforcer_denials_total";
/// How long a check took inside the enforcer.
pub const ENFORCER_CHECK_DURATION: &str = "trireme_enforcer_check_duration_seconds";
/// Requests per batch of a check stream. Unstable.
pub const ENFORCER_BATCH_SIZE: &str = "trireme_enforcer_batch_size";
/// Look-ups in the token cache; label `outcome` (`hit`, `miss`).
pub const ENFORCER_TOKEN_CACHE: &str = "trireme_enforcer_token_cache_total";
/// Fetches of key sets; label `outcome`.
pub const ENFORCER_KEY_FETCHES: &str = "trireme_enforcer_key_fetches_total";
/// APIs whose policy is held.
pub const ENFORCER_APIS: &str = "trireme_enforcer_apis";
/// Checks that waited for a newer revision of their API; label `outcome` (`arrived`, `timed_out`).
pub const ENFORCER_REVISION_WAITS: &str = "trireme_enforcer_revision_waits_total";

/// Counters of rate limits held in the process, those of windows that have ended included.
pub const LIMIT_COUNTERS: &str = "trireme_limit_counters";
/// Counters forgotten before the end of their window, as there was no room for a new one.
pub const LIMIT_EVICTIONS: &str = "trireme_limit_evictions_total";
/// Counters refused, as there was no room and the settings say to refuse then.
pub const LIMIT_FULL: &str = "trireme_limit_full_total";
/// How long a call of Redis took.
pub const LIMIT_REDIS_DURATION: &str = "trireme_limit_redis_duration_seconds";
/// Checks in one call of Redis. Unstable.
pub const LIMIT_REDIS_BATCH: &str = "trireme_limit_redis_batch_size";
/// Calls of Redis, and attempts to connect, that failed; label `kind` (`connect`, `lost`, `nonsense`, `overload`, `refused`,
/// `server`, `timeout`, `tls`).
pub const LIMIT_REDIS_FAILURES: &str = "trireme_limit_redis_failures_total";
/// Whether Redis answers: 1 or 0.
pub const LIMIT_REDIS_CONNECTED: &str = "trireme_limit_redis_connected";
/// Checks decided as the settings say because Redis gave no answer.
pub const LIMIT_UNANSWERED: &str = "trireme_limit_unanswered_total";

/// APIs deployed.
pub const ADAPTER_APIS: &str = "trireme_adapter_apis";
/// APIs that are not served as stored; label `reason`.
pub const ADAPTER_APIS_QUARANTINED: &str = "trireme_adapter_apis_quarantined";
/// Deployments; labels `source` (`rest`, `folder`), `outcome`.
pub const ADAPTER_DEPLOYMENTS: &str = "trireme_adapter_deployments_total";
/// From an accepted deployment to its routes being published.
pub const ADAPTER_PUBLISH_DURATION: &str = "trireme_adapter_publish_duration_seconds";
/// Management requests answered; labels `route`, `code_class`.
pub const ADAPTER_REQUESTS: &str = "trireme_adapter_requests_total";
/// Of router and enforcer: 1 where their last good configuration outlives the process.
pub const STATE_DURABLE: &str = "trireme_state_durable";
/// 1 where what is deployed outlives the process, 0 where the store is in memory.
pub const ADAPTER_STORE_DURABLE: &str = "trireme_adapter_store_durable";
/// Connected discovery peers; label `type`.
pub const ADAPTER_PEERS: &str = "trireme_adapter_peers";
/// Resources sent over discovery; label `type`.
pub const ADAPTER_RESOURCES_SENT: &str = "trireme_adapter_resources_sent_total";
/// Bytes of resources sent over discovery; label `type`.
pub const ADAPTER_SENT_BYTES: &str = "trireme_adapter_sent_bytes_total";
