//! `[router]`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::ambiguous::AmbiguousPath;
use super::tls::{Keystore, SYSTEM_BUNDLE, TlsVersion, ciphers};
use crate::properties::Properties;
use crate::schema::{keyword, section};

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

section! {
    /// Settings of the router.
    pub struct Router {
        /// Address of the plain listener.
        listener_host["listenerHost"]: IpAddr = Ipv4Addr::UNSPECIFIED.into(),
        /// Port of the plain listener; 0 turns it off.
        listener_port["listenerPort"]: u16 = 9090,
        /// Address of the TLS listener.
        secured_listener_host["securedListenerHost"]: IpAddr = Ipv4Addr::UNSPECIFIED.into(),
        /// Port of the TLS listener; 0 turns it off.
        secured_listener_port["securedListenerPort"]: u16 = 9095,
        /// HTTP versions the listeners take: AUTO, HTTP1 or HTTP2.
        listener_codec_type["listenerCodecType"]: CodecType = CodecType::Auto,
        /// Seconds to connect to an upstream service, TLS included.
        cluster_timeout["clusterTimeoutInSeconds"]: Duration as Seconds = Duration::from_secs(20),
        /// Seconds the enforcer has for one check.
        enforcer_response_timeout["enforcerResponseTimeoutInSeconds"]: Duration as Seconds = Duration::from_secs(20),
        /// Host name of the gateway's own paths: /health, /ready, /testkey and /.wellknown/jwks.
        system_host["systemHost"]: String = "localhost".to_owned(),
        /// Every connection to the plain listener begins with a PROXY header (version 1 or 2), which names the caller; one
        /// without it is closed. Whoever reaches the port can name anybody, so only the balancer should; probes need another.
        listener_proxy_protocol["listenerProxyProtocol"]: bool = false,
        /// The same for the TLS listener, where it comes before the handshake.
        secured_listener_proxy_protocol["securedListenerProxyProtocol"]: bool = false,
        /// Add the address of the connection to x-forwarded-for, and make up x-forwarded-proto and x-request-id of callers from
        /// outside, rather than pass the three on as they come. Whom the header makes the caller says clientAddress.
        use_remote_address["useRemoteAddress"]: bool = false,
        /// Where callers are: at the other end of the connection, unless proxies are in front of the gateway. What is found
        /// counts for permitted addresses, conditions of limits, denials, bounds per address and the access log alike.
        client_address["clientAddress"]: ClientAddress,
        /// Greatest number of bytes that is buffered for a connection, bodies included.
        per_connection_buffer_limit_bytes["perConnectionBufferLimitBytes"]: u32 = 1_048_576,
        /// Paths with two readings that are taken where an API says nothing of them (x-wso2-allow-ambiguous-path in its
        /// definition replaces this list, so that [] closes it): double_encoding (%252F), empty_segment (//),
        /// encoded_backslash (%5C) and encoded_slash (%2F). All others are refused with 400.
        allow_ambiguous_path["allowAmbiguousPath"]: Vec<AmbiguousPath>,
        /// Key pair of the TLS listener; the adapter reads the files and sends them to the router. Upstream services
        /// that ask for a certificate get it as well.
        keystore["keystore" was "keyStore"]: Keystore,
        /// CORS for APIs that bring no policy of their own.
        cors["cors"]: Cors,
        /// The side of the upstream services.
        upstream["upstream"]: Upstream,
        /// The side of the callers.
        downstream["downstream"]: Downstream,
        /// Connections of callers.
        connection["connection"]: Connection,
        /// Request bodies for the enforcer.
        payload_passing_to_enforcer["payloadPassingToEnforcer"]: PayloadPassing,
        /// AWS Lambda functions as upstream services.
        aws_lambda["awsLambda"]: AwsLambda,
        /// Optional filters.
        filters["filters"]: RouterFilters,
    }
}

section! {
    /// Proxies in front of the gateway that write x-forwarded-for; one of the two at most.
    pub struct ClientAddress {
        /// Proxies that each request passes, wherever they are. The caller is the entry that the first of them wrote, counted from
        /// the end of x-forwarded-for; without that entry it is the other end of the connection. 0 believes nobody.
        trusted_hops["trustedHops"]: u32 = 0,
        /// Addresses of proxies, as 10.0.0.0/8 or 2001:db8::1. If the connection comes from one of them, the caller is the last
        /// entry of x-forwarded-for that is none of them. A stock Envoy as router refuses them beside useRemoteAddress = true.
        trusted_ranges["trustedRanges"]: Vec<IpNet>,
    }
}

keyword! {
    /// HTTP versions a listener takes.
    pub enum CodecType else Auto {
        /// HTTP/1.1 and HTTP/2.
        Auto = "AUTO",
        /// HTTP/1.1 only.
        Http1 = "HTTP1",
        /// HTTP/2 only.
        Http2 = "HTTP2",
    }
}

section! {
    /// CORS for APIs that bring no policy of their own.
    pub struct Cors {
        /// Answer preflight requests and add CORS headers.
        enabled["enabled"]: bool = true,
        /// Origins; a * within one stands for any text.
        allow_origins["allowOrigins"]: Vec<String> = words(["*"]),
        /// Methods.
        allow_methods["allowMethods"]: Vec<String> = words(["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"]),
        /// Request headers.
        allow_headers["allowHeaders"]: Vec<String> = words([
            "authorization",
            "Access-Control-Allow-Origin",
            "Content-Type",
            "SOAPAction",
            "apikey",
            "testKey",
            "Internal-Key",
        ]),
        /// Response headers that scripts may read.
        expose_headers["exposeHeaders"]: Vec<String>,
        /// Let browsers send cookies and credentials.
        allow_credentials["allowCredentials"]: bool = false,
    }
}

section! {
    /// The side of the upstream services.
    pub struct Upstream {
        /// TLS towards upstream services.
        tls["tls"]: UpstreamTls,
        /// How long an upstream service may take.
        timeouts["timeouts"]: UpstreamTimeouts,
        /// TCP health checks of APIs with more than one endpoint.
        health["health"]: UpstreamHealth,
        /// Name resolution.
        dns["dns"]: UpstreamDns,
        /// Retries.
        retry["retry"]: UpstreamRetry,
        /// HTTP/2 towards upstream services.
        http2["http2"]: UpstreamHttp2,
    }
}

section! {
    /// TLS towards upstream services.
    pub struct UpstreamTls {
        /// Lowest version: TLS1_0, TLS1_1, TLS1_2 or TLS1_3. Below TLS1_2 counts as TLS1_2.
        minimum_protocol_version["minimumProtocolVersion"]: TlsVersion = TlsVersion::V1_1,
        /// Highest version.
        maximum_protocol_version["maximumProtocolVersion"]: TlsVersion = TlsVersion::V1_2,
        /// Cipher suites of TLS 1.2 by their OpenSSL names, separated by commas; weak ones are passed over.
        ciphers["ciphers"]: Vec<String> as Comma = ciphers(),
        /// CA bundle (a file on the router) for APIs that bring no certificate of their own.
        trusted_cert_path["trustedCertPath"]: PathBuf = SYSTEM_BUNDLE.into(),
        /// Require that the certificate holds the endpoint's host name.
        verify_host_name["verifyHostName"]: bool = true,
        /// Take any certificate. For experiments only.
        disable_ssl_verification["disableSslVerification"]: bool = false,
    }
}

section! {
    /// How long an upstream service may take.
    pub struct UpstreamTimeouts {
        /// Seconds until the answer must have begun.
        route_timeout["routeTimeoutInSeconds"]: Duration as Seconds = Duration::from_secs(60),
        /// Upper bound in seconds on what an API sets for itself.
        max_route_timeout["maxRouteTimeoutInSeconds"]: Duration as Seconds = Duration::from_secs(60),
        /// Seconds without a byte in either direction until a request is given up.
        route_idle_timeout["routeIdleTimeoutInSeconds"]: Duration as Seconds = Duration::from_secs(300),
    }
}

section! {
    /// TCP health checks of APIs with more than one endpoint.
    pub struct UpstreamHealth {
        /// Seconds one probe may take.
        timeout["timeout"]: Duration as Seconds = Duration::from_secs(1),
        /// Seconds between two probes.
        interval["interval"]: Duration as Seconds = Duration::from_secs(10),
        /// Failed probes until an endpoint is left out.
        unhealthy_threshold["unhealthyThreshold"]: u32 = 2,
        /// Good probes until it is used again.
        healthy_threshold["healthyThreshold"]: u32 = 2,
    }
}

section! {
    /// Name resolution of upstream services.
    pub struct UpstreamDns {
        /// Milliseconds between two resolutions of a name.
        dns_refresh_rate["dNSRefreshRate"]: Duration as Millis = Duration::from_millis(5000),
        /// Follow the TTL of the record instead.
        respect_dns_ttl["respectDNSTtl"]: bool = false,
    }
}

section! {
    /// Retries towards upstream services.
    pub struct UpstreamRetry {
        /// Upper bound on the retries an API sets for itself.
        max_retry_count["maxRetryCount"]: u32 = 5,
        /// Milliseconds before the first retry; later ones wait longer.
        base_interval["baseIntervalInMillis"]: Duration as Millis = Duration::from_millis(25),
        /// Status codes that are retried when an API names none.
        status_codes["statusCodes"]: Vec<u32> = vec![504],
    }
}

section! {
    /// HTTP/2 towards upstream services.
    pub struct UpstreamHttp2 {
        /// Size of the header compression table in bytes.
        hpack_table_size["hpackTableSize"]: u32 = 4096,
        /// Streams at a time on one connection.
        max_concurrent_streams["maxConcurrentStreams"]: u32 = 2_147_483_647,
    }
}

section! {
    /// The side of the callers.
    pub struct Downstream {
        /// TLS of the listener.
        tls["tls"]: DownstreamTls,
    }
}

section! {
    /// TLS of the listener.
    pub struct DownstreamTls {
        /// Lowest version: TLS1_0, TLS1_1, TLS1_2 or TLS1_3. Below TLS1_2 counts as TLS1_2.
        minimum_protocol_version["minimumProtocolVersion"]: TlsVersion = TlsVersion::V1_1,
        /// Highest version.
        maximum_protocol_version["maximumProtocolVersion"]: TlsVersion = TlsVersion::V1_2,
        /// Cipher suites of TLS 1.2 by their OpenSSL names, separated by commas; weak ones are passed over.
        ciphers["ciphers"]: Vec<String> as Comma = ciphers(),
        /// CA bundle that certificates of callers are verified against.
        trusted_cert_path["trustedCertPath"]: PathBuf = SYSTEM_BUNDLE.into(),
        /// Ask callers for a certificate, for APIs with mutual TLS; a caller may have none.
        mtls_apis_enabled["mTLSAPIsEnabled"]: bool = false,
    }
}

section! {
    /// Connections of callers.
    pub struct Connection {
        /// Greatest head of a request in KiB, 1 to 8192.
        max_request_head["maxRequestHeadInKiB"]: u32 = 60,
        /// Connections that one address (one /64 network of IPv6) may have open, of both listeners; more are closed as they come.
        /// Those of proxies in clientAddress.trustedRanges are not counted. 0 is no bound. A stock Envoy as router takes no other
        /// value than this.
        max_connections_per_address["maxConnectionsPerAddress"]: u32 = 10_000,
        /// Requests of one address that may be under way; more are answered with 503. 0 is no bound. A stock Envoy as router takes
        /// no other value than this.
        max_requests_per_address["maxRequestsPerAddress"]: u32 = 0,
        /// How long callers may take.
        timeouts["timeouts"]: ConnectionTimeouts,
    }
}

section! {
    /// How long callers may take; 0 is for ever.
    pub struct ConnectionTimeouts {
        /// Seconds for a whole request.
        request_timeout["requestTimeoutInSeconds"]: Duration as Seconds,
        /// Seconds for the head of a request.
        request_headers_timeout["requestHeadersTimeoutInSeconds"]: Duration as Seconds,
        /// Seconds without a byte until a request is given up.
        stream_idle_timeout["streamIdleTimeoutInSeconds"]: Duration as Seconds = Duration::from_secs(300),
        /// Seconds without a request until a connection is closed.
        idle_timeout["idleTimeoutInSeconds"]: Duration as Seconds = Duration::from_secs(3600),
    }
}

section! {
    /// Request bodies for the enforcer.
    #[switch("passRequestPayload")]
    pub struct PayloadPassing {
        /// Send request bodies along with the check.
        pass_request_payload["passRequestPayload"]: bool = false,
        /// Greatest body in bytes that is sent.
        max_request_bytes["maxRequestBytes"]: u32 = 102_400,
        /// Send the beginning of a greater body; otherwise the request is refused with 413.
        allow_partial_message["allowPartialMessage"]: bool = false,
        /// Send the body as bytes instead of text.
        pack_as_bytes["packAsBytes"]: bool = false,
    }
}

section! {
    /// AWS Lambda functions as upstream services.
    #[switch("")]
    pub struct AwsLambda {
        /// Accepted as in the original, where it has no meaning: an API that names a function uses it.
        enabled["enabled"]: bool = false,
        /// Region of the functions.
        aws_region["awsRegion"]: String,
        /// Hand the body over as it is, not wrapped in JSON.
        payload_passthrough["payloadPassthrough"]: bool = true,
        /// SYNCHRONOUS waits for the function's answer, ASYNCHRONOUS does not.
        invocation_mode["invocationMode"]: String = "SYNCHRONOUS".to_owned(),
    }
}

section! {
    /// Optional filters of the router.
    pub struct RouterFilters {
        /// Compression of bodies.
        compression["compression"]: Compression,
    }
}

section! {
    /// Compression of bodies.
    pub struct Compression {
        /// Compress bodies.
        enabled["enabled"]: bool = true,
        /// Method; `gzip` is the only one.
        library["library"]: String = "gzip".to_owned(),
        /// Bodies of requests.
        request_direction["requestDirection"]: CompressionRequest,
        /// Bodies of answers.
        response_direction["responseDirection"]: CompressionResponse,
        /// Settings of the method.
        library_properties["libraryProperties"]: Properties = Properties::from_iter([
            ("memoryLevel", "3"),
            ("windowBits", "12"),
            ("compressionLevel", "9"),
            ("compressionStrategy", "defaultStrategy"),
            ("chunkSize", "4096"),
        ]),
    }
}

fn compressed_types() -> Vec<String> {
    words([
        "application/javascript",
        "application/json",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/css",
        "text/html",
        "text/plain",
        "text/xml",
    ])
}

section! {
    /// Compression of bodies of requests.
    pub struct CompressionRequest {
        /// Compress bodies of requests.
        enabled["enabled"]: bool = false,
        /// Smallest body in bytes that is compressed.
        minimum_content_length["minimumContentLength"]: u32 = 30,
        /// Content types that are compressed.
        content_type["contentType"]: Vec<String> = compressed_types(),
    }
}

section! {
    /// Compression of bodies of answers.
    pub struct CompressionResponse {
        /// Compress bodies of answers.
        enabled["enabled"]: bool = true,
        /// Smallest body in bytes that is compressed.
        minimum_content_length["minimumContentLength"]: u32 = 30,
        /// Content types that are compressed.
        content_type["contentType"]: Vec<String> = compressed_types(),
        /// Compress answers that carry an ETag as well.
        enable_for_etag_header["enableForEtagHeader"]: bool = true,
    }
}
