//! What the access log asks about a request.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// One finished request. The log calls only for what the format names.
pub trait Record {
    /// When the first byte of the request arrived.
    fn start_time(&self) -> SystemTime;

    /// The value of a header; `name` is lower case, and `:method`, `:path`, `:authority` and `:scheme` are asked for
    /// among the request's. The first value when there are several.
    fn header(&self, from: Headers, name: &str) -> Option<&[u8]>;

    /// A fact about the exchange.
    fn field(&self, field: Field) -> Value<'_>;

    /// A value that a filter left, such as `("envoy.filters.http.ext_authz", ["originalPath"])`.
    fn metadata(&self, namespace: &str, path: &[String]) -> Value<'_>;
}

/// Where a header is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// The request as it goes upstream, pseudo headers included.
    Request,
    /// The response as it goes downstream.
    Response,
    /// The trailers of the response.
    Trailers,
}

/// A value for one place in the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// There is none: `-`.
    Absent,
    /// An address with port.
    Address(SocketAddr),
    /// Bytes from outside; escaped before they are written.
    Bytes(&'a [u8]),
    /// Whole milliseconds.
    Duration(Duration),
    /// A count.
    Number(u64),
}

impl<'a> Value<'a> {
    /// Text, or absent when empty.
    pub fn text(text: &'a str) -> Self {
        if text.is_empty() {
            Self::Absent
        } else {
            Self::Bytes(text.as_bytes())
        }
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Value::Absent, Self::text)
    }
}

impl From<Option<SocketAddr>> for Value<'_> {
    fn from(address: Option<SocketAddr>) -> Self {
        address.map_or(Self::Absent, Self::Address)
    }
}

impl From<Option<Duration>> for Value<'_> {
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::Absent, Self::Duration)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// Declares [`Field`] together with the operators that name it.
macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $operator:literal,)*) => {
        /// A fact about the exchange, named as in the operator.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Field {
            $($(#[$doc])* $variant,)*
        }

        impl Field {
            pub(crate) fn parse(operator: &str) -> Option<Self> {
                match operator {
                    $($operator => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

fields! {
    /// Bytes of the request body.
    BytesReceived = "BYTES_RECEIVED",
    /// Bytes of the response body.
    BytesSent = "BYTES_SENT",
    /// Number of the downstream connection.
    ConnectionId = "CONNECTION_ID",
    /// Why the connection was ended early.
    ConnectionTerminationDetails = "CONNECTION_TERMINATION_DETAILS",
    /// Peer of the downstream connection, whatever headers say.
    DownstreamDirectRemoteAddress = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    /// Own address of the downstream connection.
    DownstreamLocalAddress = "DOWNSTREAM_LOCAL_ADDRESS",
    /// Issuer of the client certificate.
    DownstreamPeerIssuer = "DOWNSTREAM_PEER_ISSUER",
    /// Subject of the client certificate.
    DownstreamPeerSubject = "DOWNSTREAM_PEER_SUBJECT",
    /// The client, as far as trusted headers tell.
    DownstreamRemoteAddress = "DOWNSTREAM_REMOTE_ADDRESS",
    /// Cipher suite of the downstream connection.
    DownstreamTlsCipher = "DOWNSTREAM_TLS_CIPHER",
    /// TLS version of the downstream connection.
    DownstreamTlsVersion = "DOWNSTREAM_TLS_VERSION",
    /// From the first byte of the request to the last of the response.
    Duration = "DURATION",
    /// gRPC status of the answer.
    GrpcStatus = "GRPC_STATUS",
    /// Name of this machine.
    Hostname = "HOSTNAME",
    /// `HTTP/1.1` or `HTTP/2`.
    Protocol = "PROTOCOL",
    /// Server name that the client asked for in its handshake.
    RequestedServerName = "REQUESTED_SERVER_NAME",
    /// Bytes of the request's header fields.
    RequestHeadersBytes = "REQUEST_HEADERS_BYTES",
    /// From the first to the last byte of the request.
    RequestDuration = "REQUEST_DURATION",
    /// From the first byte of the request to the last one sent upstream.
    RequestTxDuration = "REQUEST_TX_DURATION",
    /// HTTP status; 0 when none was sent.
    ResponseCode = "RESPONSE_CODE",
    /// Why the status is what it is.
    ResponseCodeDetails = "RESPONSE_CODE_DETAILS",
    /// From the first byte of the request to the first byte of the upstream's response.
    ResponseDuration = "RESPONSE_DURATION",
    /// Short codes of what went wrong, such as `UF,URX`.
    ResponseFlags = "RESPONSE_FLAGS",
    /// The same in words.
    ResponseFlagsLong = "RESPONSE_FLAGS_LONG",
    /// Bytes of the response's header fields.
    ResponseHeadersBytes = "RESPONSE_HEADERS_BYTES",
    /// From the first byte of the upstream's response to the last byte sent downstream.
    ResponseTxDuration = "RESPONSE_TX_DURATION",
    /// Name of the matched route.
    RouteName = "ROUTE_NAME",
    /// Identity of the request.
    StreamId = "STREAM_ID",
    /// Trace identity.
    TraceId = "TRACE_ID",
    /// Cluster that served.
    UpstreamCluster = "UPSTREAM_CLUSTER",
    /// Endpoint that served.
    UpstreamHost = "UPSTREAM_HOST",
    /// Own address of the upstream connection.
    UpstreamLocalAddress = "UPSTREAM_LOCAL_ADDRESS",
    /// Address of the upstream connection's peer.
    UpstreamRemoteAddress = "UPSTREAM_REMOTE_ADDRESS",
    /// How often the request was sent.
    UpstreamRequestAttemptCount = "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    /// Why the upstream connection failed.
    UpstreamTransportFailureReason = "UPSTREAM_TRANSPORT_FAILURE_REASON",
    /// Name of the matched virtual cluster.
    VirtualClusterName = "VIRTUAL_CLUSTER_NAME",
}
