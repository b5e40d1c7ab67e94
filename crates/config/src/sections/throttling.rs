//! `[enforcer.throttling]`.

use std::time::Duration;

use super::limits::{DeniedCaller, KeyTemplate, LimitStore, LimitTier};
use crate::schema::section;
use crate::secret::Secret;

section! {
    /// Rate limits: those that the gateway counts itself, and the connection to a Traffic Manager, which is not built yet.
    #[switch("enableGlobalEventPublishing")]
    pub struct Throttling {
        /// Hold callers to the limits of the tiers that APIs, operations and tokens name, to key templates and denials.
        /// false turns all of them off.
        enabled["enabled"]: bool = true,
        /// Tell callers what is left of their limits in the fields RateLimit and RateLimit-Policy
        /// (draft-ietf-httpapi-ratelimit-headers). The original does not.
        rate_limit_fields["rateLimitFields"]: bool = false,
        /// Where requests are counted.
        store["store"]: LimitStore,
        /// A tier: a limit with a name. Those of API Manager are there without being written: 10PerMin, 20PerMin,
        /// 50PerMin, 10KPerMin, 20KPerMin, 50KPerMin, Bronze, Silver, Gold, Unauthenticated, Unlimited. One that is
        /// written here under their name takes the place of it.
        policy["policy"]: Vec<LimitTier>,
        /// A limit for each value of a key that is made of facts about the request.
        key_template["keyTemplate"]: Vec<KeyTemplate>,
        /// Callers and APIs that are turned away.
        deny["deny"]: Vec<DeniedCaller>,
        /// Tell the Traffic Manager about every request and follow its decisions.
        enable_global_event_publishing["enableGlobalEventPublishing"]: bool = false,
        /// Tell it the headers, for limits that depend on them.
        enable_header_conditions["enableHeaderConditions"]: bool = false,
        /// Tell it the query parameters, for limits that depend on them.
        enable_query_param_conditions["enableQueryParamConditions"]: bool = false,
        /// Tell it the claims of the token, for limits that depend on them.
        enable_jwt_claim_conditions["enableJwtClaimConditions"]: bool = false,
        /// Java class of the original; accepted, without meaning here.
        jms_connection_initial_context_factory["jmsConnectionInitialContextFactory"]: String =
            "org.wso2.andes.jndi.PropertiesFileInitialContextFactory".to_owned(),
        /// Where the Traffic Manager's decisions are received from.
        jms_connection_provider_url["jmsConnectionProviderURL" was "jmsConnectionProviderUrl"]: Secret =
            Secret::new("amqp://admin:$env{tm_admin_pwd}@carbon/carbon?brokerlist='tcp://apim:5672'"),
        /// The connection that reports requests.
        publisher["publisher"]: Publisher,
    }
}

section! {
    /// The connection that reports requests.
    pub struct Publisher {
        /// Name.
        username["username"]: String = "admin".to_owned(),
        /// Password.
        password["password"]: Secret = Secret::new("$env{tm_admin_pwd}"),
        /// Traffic Managers.
        url_group["URLGroup" was "urlGroup"]: Vec<UrlGroup> = vec![UrlGroup {
            receiver_urls: vec!["tcp://apim:9611".to_owned()],
            auth_urls: vec!["ssl://apim:9711".to_owned()],
            kind: String::new(),
        }],
        /// Objects of the original's connection pool.
        pool["pool"]: PublisherPool,
        /// Settings of a connection.
        agent["agent"]: PublisherAgent,
    }
}

section! {
    /// A group of Traffic Managers.
    pub struct UrlGroup {
        /// Where events are sent.
        receiver_urls["receiverURLs"]: Vec<String>,
        /// Where the sender logs in.
        auth_urls["authURLs"]: Vec<String>,
        /// failover or loadbalance.
        kind["type"]: String,
    }
}

section! {
    /// Objects of the original's connection pool.
    pub struct PublisherPool {
        /// Most idle senders.
        max_idle["maxIdleDataPublishingAgents"]: i32 = 1000,
        /// Senders at start.
        init_idle["initIdleObjectDataPublishingAgents"]: i32 = 200,
        /// Threads that are always there.
        core_size["publisherThreadPoolCoreSize"]: i32 = 200,
        /// Most threads.
        maximum_size["publisherThreadPoolMaximumSize"]: i32 = 1000,
        /// Seconds until an idle thread ends.
        keep_alive_time["publisherThreadPoolKeepAliveTime"]: Duration as Seconds = Duration::from_secs(200),
    }
}

section! {
    /// Settings of a connection to a Traffic Manager.
    pub struct PublisherAgent {
        /// TLS versions.
        ssl_enabled_protocols["sslEnabledProtocols"]: String = "TLSv1.2".to_owned(),
        /// Cipher suites by their Java names, separated by commas.
        ciphers["ciphers"]: Vec<String> as Comma = java_ciphers(),
        /// Events that may wait.
        queue_size["queueSize"]: i32 = 32_768,
        /// Events in one sending.
        batch_size["batchSize"]: i32 = 200,
        /// Threads that are always there.
        core_pool_size["corePoolSize"]: i32 = 1,
        /// Milliseconds a read may take.
        socket_timeout["socketTimeoutMS"]: Duration as Millis = Duration::from_secs(30),
        /// Most threads.
        max_pool_size["maxPoolSize"]: i32 = 1,
        /// Seconds until an idle thread ends.
        keep_alive_time_in_pool["keepAliveTimeInPool"]: Duration as Seconds = Duration::from_secs(20),
        /// Seconds between two attempts to connect.
        reconnection_interval["reconnectionInterval"]: Duration as Seconds = Duration::from_secs(30),
        /// Most plain connections.
        max_transport_pool_size["maxTransportPoolSize"]: i32 = 250,
        /// Most idle plain connections.
        max_idle_connections["maxIdleConnections"]: i32 = 250,
        /// Milliseconds between two looks for idle plain connections.
        eviction_time_period["evictionTimePeriod"]: Duration as Millis = Duration::from_millis(5500),
        /// Milliseconds a plain connection may be idle.
        min_idle_time_in_pool["minIdleTimeInPool"]: Duration as Millis = Duration::from_millis(5000),
        /// Most TLS connections.
        secure_max_transport_pool_size["secureMaxTransportPoolSize"]: i32 = 250,
        /// Most idle TLS connections.
        secure_max_idle_connections["secureMaxIdleConnections"]: i32 = 250,
        /// Milliseconds between two looks for idle TLS connections.
        secure_eviction_time_period["secureEvictionTimePeriod"]: Duration as Millis = Duration::from_millis(5500),
        /// Milliseconds a TLS connection may be idle.
        secure_min_idle_time_in_pool["secureMinIdleTimeInPool"]: Duration as Millis = Duration::from_millis(5000),
    }
}

/// The original's list, in its order; `DHE_RSA` with GCM stands in it twice.
fn java_ciphers() -> Vec<String> {
    const EXCHANGES: [&str; 7] = [
        "ECDHE_ECDSA",
        "ECDHE_RSA",
        "RSA",
        "ECDH_ECDSA",
        "ECDH_RSA",
        "DHE_RSA",
        "DHE_DSS",
    ];
    let family = |exchanges: &[&str], cipher: &str| -> Vec<String> {
        exchanges
            .iter()
            .map(|exchange| format!("TLS_{exchange}_WITH_AES_128_{cipher}"))
            .collect()
    };
    let gcm = [
        "ECDHE_ECDSA",
        "ECDHE_RSA",
        "RSA",
        "ECDH_ECDSA",
        "ECDH_RSA",
        "DHE_RSA",
        "DHE_RSA",
        "DHE_DSS",
    ];
    let triple_des = [
        "TLS_ECDHE_ECDSA",
        "TLS_ECDHE_RSA",
        "SSL_RSA",
        "TLS_ECDH_ECDSA",
        "TLS_ECDH_RSA",
        "SSL_DHE_RSA",
        "SSL_DHE_DSS",
    ];
    let mut all = vec!["TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA".to_owned()];
    all.extend(family(&EXCHANGES, "CBC_SHA256"));
    all.extend(family(&EXCHANGES, "CBC_SHA"));
    all.extend(family(&gcm, "GCM_SHA256"));
    all.extend(triple_des.map(|exchange| format!("{exchange}_WITH_3DES_EDE_CBC_SHA")));
    all.push("TLS_EMPTY_RENEGOTIATION_INFO_SCSV".to_owned());
    all
}
