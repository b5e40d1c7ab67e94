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
        /// A fact about the exchange, named as in the operator. A record answers every one, if only with
        /// [`Value::Absent`], and so does each match over them. Forms and absences are those of Envoy 1.40.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field {
            $($(#[$doc])* $variant,)*
        }

        impl Field {
            /// Every fact there is an operator for.
            #[cfg(test)]
            pub(crate) const ALL: &[(Self, &str)] = &[$((Self::$variant, $operator),)*];

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
    /// Number: bytes of the request body that were read, 0 without one. Never absent.
    BytesReceived = "BYTES_RECEIVED",
    /// Number: bytes of the response body that were sent, 0 without one. Never absent.
    BytesSent = "BYTES_SENT",
    /// Number of the downstream connection, the same for all of its requests. Never absent.
    ConnectionId = "CONNECTION_ID",
    /// Text: why the connection was ended by a rule about connections. Absent for everything that happens to a single
    /// request, a caller that goes away included.
    ConnectionTerminationDetails = "CONNECTION_TERMINATION_DETAILS",
    /// Address: peer of the downstream connection, whatever headers say. Never absent.
    DownstreamDirectRemoteAddress = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    /// Address: own end of the downstream connection. Never absent.
    DownstreamLocalAddress = "DOWNSTREAM_LOCAL_ADDRESS",
    /// Text: issuer of the client certificate, as [`Self::DownstreamPeerSubject`]. Absent without a client certificate.
    DownstreamPeerIssuer = "DOWNSTREAM_PEER_ISSUER",
    /// Text: subject of the client certificate in the form of RFC 2253, the last name of the certificate first:
    /// `emailAddress=a@b.c,CN=J\C3\B6rg,UID=jd+OU=Dev,O=Acme\, Inc,C=LK`. Absent without a client certificate.
    DownstreamPeerSubject = "DOWNSTREAM_PEER_SUBJECT",
    /// Address: the client, as far as trusted headers tell. Never absent.
    DownstreamRemoteAddress = "DOWNSTREAM_REMOTE_ADDRESS",
    /// Text: cipher suite of the downstream connection in the words of OpenSSL: `ECDHE-RSA-AES128-GCM-SHA256`, and
    /// `TLS_AES_256_GCM_SHA384` under TLS 1.3. Absent without TLS.
    DownstreamTlsCipher = "DOWNSTREAM_TLS_CIPHER",
    /// Text: `TLSv1.2` or `TLSv1.3`. Absent without TLS.
    DownstreamTlsVersion = "DOWNSTREAM_TLS_VERSION",
    /// Duration: from the first byte of the request to the last of the response. Never absent.
    Duration = "DURATION",
    /// Text: gRPC status of the answer by its name, such as `NotFound`, `Canceled` or `OK`. The trailers count first,
    /// then the head, then what the HTTP status stands for; a number that has no name stands for itself, and what is
    /// no number is `-1`. Absent when the request is not gRPC or there was no answer. The format makes the other forms,
    /// `NOT_FOUND` and `5`, of the name.
    GrpcStatus = "GRPC_STATUS",
    /// Text: name of this machine. Absent when it has none.
    Hostname = "HOSTNAME",
    /// Text: `HTTP/1.1` or `HTTP/2`. Never absent.
    Protocol = "PROTOCOL",
    /// Text: server name that the client asked for in its handshake. Absent without TLS, and when it asked for none.
    RequestedServerName = "REQUESTED_SERVER_NAME",
    /// Number: names and values of the request's fields as they go upstream, the pseudo fields `:authority`, `:method`,
    /// `:path` and `:scheme` included, without separators. Fields of the hop, such as `transfer-encoding`, do not
    /// count. 0 when the head was not understood. Never absent.
    RequestHeadersBytes = "REQUEST_HEADERS_BYTES",
    /// Duration: from the first to the last byte of the request. Absent when its end was not read.
    RequestDuration = "REQUEST_DURATION",
    /// Duration: from the first byte of the request to the last one sent upstream. Absent when nothing, or not all, was
    /// sent.
    RequestTxDuration = "REQUEST_TX_DURATION",
    /// Number: HTTP status; 0 when none was sent. Never absent.
    ResponseCode = "RESPONSE_CODE",
    /// Text: why the status is what it is, such as `via_upstream`, `route_not_found` or
    /// `upstream_reset_before_response_started{connection_termination}`. Blanks in it are underscores,
    /// even where the format would have them.
    ResponseCodeDetails = "RESPONSE_CODE_DETAILS",
    /// Duration: from the first byte of the request to the first byte of the upstream's response. Absent when that
    /// never came.
    ResponseDuration = "RESPONSE_DURATION",
    /// Text: short codes of what went wrong, such as `URX,UF`. Absent when nothing did.
    ResponseFlags = "RESPONSE_FLAGS",
    /// Text: the same in words, `UpstreamRetryLimitExceeded,UpstreamConnectionFailure`. Absent when nothing did.
    ResponseFlagsLong = "RESPONSE_FLAGS_LONG",
    /// Number: names and values of the response's fields as they go to the caller, `:status` included, without
    /// separators, counted as in [`Self::RequestHeadersBytes`]. 0 when none was sent. Never absent.
    ResponseHeadersBytes = "RESPONSE_HEADERS_BYTES",
    /// Duration: from the first byte of the upstream's response to the last byte sent downstream. Absent when the
    /// answer is not the upstream's, or broke off.
    ResponseTxDuration = "RESPONSE_TX_DURATION",
    /// Text: name of the matched route. Absent when none matched or it has no name.
    RouteName = "ROUTE_NAME",
    /// Text: identity of the request, which is its `x-request-id`: that of the caller where it is trusted, else one
    /// made here. Absent when the request was refused before it had one.
    StreamId = "STREAM_ID",
    /// Text: trace identity. Absent when the request is not traced, even if the caller sent a `traceparent`.
    TraceId = "TRACE_ID",
    /// Text: cluster of the matched route, whether the request got there or not. Absent when the route has none, or
    /// names one that does not exist.
    UpstreamCluster = "UPSTREAM_CLUSTER",
    /// Address: endpoint that was chosen last, reached or not. Absent when none was.
    UpstreamHost = "UPSTREAM_HOST",
    /// Address: own end of the upstream connection. Absent when there was no connection.
    UpstreamLocalAddress = "UPSTREAM_LOCAL_ADDRESS",
    /// Address: peer of the upstream connection. Absent when there was no connection, unlike [`Self::UpstreamHost`].
    UpstreamRemoteAddress = "UPSTREAM_REMOTE_ADDRESS",
    /// Number: how often it was tried to send the request, 1 where a cluster had no endpoint or no room for it. 0 when
    /// it never came to that. Never absent.
    UpstreamRequestAttemptCount = "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    /// Text: why the upstream connection could not be made, with underscores for blanks:
    /// `delayed_connect_error:_Connection_refused`. Absent when it could, or none was tried.
    UpstreamTransportFailureReason = "UPSTREAM_TRANSPORT_FAILURE_REASON",
    /// Text: name of the matched virtual cluster. Absent without one, which is always where none are configured.
    VirtualClusterName = "VIRTUAL_CLUSTER_NAME",
}
