//! `[analytics]`.

use std::time::Duration;

use super::ThreadPool;
use crate::properties::Properties;
use crate::schema::section;

section! {
    /// Analytics.
    pub struct Analytics {
        /// Stream access logs from the router to the enforcer, which publishes them.
        enabled["enabled"]: bool = false,
        /// Where to: Default or ELK.
        kind["type"]: String = "Default".to_owned(),
        /// The stream that the router sends.
        adapter["adapter"]: AnalyticsAdapter,
        /// What the enforcer does with it.
        enforcer["enforcer"]: AnalyticsEnforcer,
    }
}

section! {
    /// The stream of access logs that the router sends.
    pub struct AnalyticsAdapter {
        /// Longest wait before entries are sent, such as 1s; a bare number counts nanoseconds.
        buffer_flush_interval["bufferFlushInterval"]: Duration as Nanos = Duration::from_secs(1),
        /// Bytes that are collected before entries are sent.
        buffer_size_bytes["bufferSizeBytes"]: u32 = 16_384,
        /// Bound on opening the stream, such as 20s; a bare number counts nanoseconds.
        grpc_request_timeout["gRPCRequestTimeout"]: Duration as Nanos = Duration::from_secs(20),
        /// Headers that are logged as well.
        custom_properties["customProperties"]: CustomProperties,
    }
}

section! {
    /// Headers that are logged as well.
    pub struct CustomProperties {
        /// Log them.
        enabled["enabled"]: bool = false,
        /// Names of request headers.
        request_headers["requestHeaders"]: Vec<String> = vec![String::new()],
        /// Names of response headers.
        response_headers["responseHeaders"]: Vec<String> = vec![String::new()],
        /// Names of response trailers.
        response_trailers["responseTrailers"]: Vec<String> = vec![String::new()],
    }
}

section! {
    /// What the enforcer does with the stream.
    pub struct AnalyticsEnforcer {
        /// Settings of the publisher.
        config_properties["configProperties"]: Properties = Properties::from_iter([
            ("authURL", "$env{analytics_authURL}"),
            ("authToken", "$env{analytics_authToken}"),
        ]),
        /// The port that receives the stream.
        log_receiver["LogReceiver"]: LogReceiver,
    }
}

section! {
    /// The port that receives the stream.
    pub struct LogReceiver {
        /// Port.
        port["port"]: u16 = 18090,
        /// Greatest message in bytes.
        max_message_size["maxMessageSize"]: i32 = 1_000_000_000,
        /// Greatest size of the headers of a call in bytes.
        max_header_limit["maxHeaderLimit"]: i32 = 8192,
        /// Seconds without a call until a connection is probed.
        keep_alive_time["keepAliveTime"]: Duration as Seconds = Duration::from_secs(600),
        /// Threads of the original; accepted, this gateway needs none.
        thread_pool["threadPool"]: ThreadPool =
            ThreadPool { core_size: 10, max_size: 100, ..ThreadPool::default() },
    }
}
