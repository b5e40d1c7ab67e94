//! Why a request was not answered by its upstream. [`crate::respond`] alone turns these into answers.

use std::fmt;

use thiserror::Error;

/// A request that ends in an answer of our own, by the side that caused it.
#[derive(Debug, Error)]
pub(crate) enum ProxyError {
    /// The caller's side.
    #[error("the request cannot be served")]
    Downstream(#[from] DownstreamError),
    /// Ours.
    #[error("the gateway failed")]
    Internal(#[from] InternalError),
    /// The service's side.
    #[error("the upstream failed")]
    Upstream(#[from] UpstreamError),
}

/// Faults of the request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum DownstreamError {
    /// The target has two readings, or is not a path.
    #[error("ambiguous request target: {0}")]
    AmbiguousTarget(&'static str),
    /// The body is greater than what is passed to the enforcer.
    #[error("request body too large")]
    BodyTooLarge,
    /// The body ended early or was malformed.
    #[error("request body broken off")]
    BodyBroken,
    /// Too many requests of the caller's address are under way.
    #[error("too many requests of one address")]
    Crowded,
    /// The target has a fragment.
    #[error("fragment in the request target")]
    Fragment,
    /// The bytes frame the body in two ways, or in none.
    #[error("framing with two readings")]
    Framing,
    /// Too many header fields.
    #[error("too many header fields")]
    HeadersTooLarge,
    /// A header field with two readings.
    #[error("invalid header: {0}")]
    InvalidHeader(&'static str),
    /// A route's local limit is used up.
    #[error("local rate limit reached")]
    Limited,
    /// Neither Host nor `:authority`.
    #[error("no host named")]
    NoHost,
    /// The target is the server as a whole.
    #[error("no path")]
    NoPath,
    /// No route matches.
    #[error("no route")]
    NoRoute,
    /// The whole request did not arrive in time.
    #[error("request not complete in time")]
    RequestTimeout,
    /// Nothing moved on the stream for too long.
    #[error("stream idle")]
    StreamIdle,
    /// The body has a coding other than chunked.
    #[error("transfer coding not supported")]
    TransferCoding,
    /// An upgrade that the route does not allow.
    #[error("upgrade refused")]
    UpgradeRefused,
    /// HTTP/1.0 and older.
    #[error("protocol version not supported")]
    Version,
}

/// Faults of the gateway and its own dependencies.
#[derive(Debug, Error)]
pub(crate) enum InternalError {
    /// The enforcer gave no verdict; nothing is forwarded.
    #[error("no verdict from the enforcer")]
    Check(#[source] CheckError),
    /// The route's cluster does not exist.
    #[error("cluster not configured")]
    NoCluster,
    /// The route's rewrite gives no path.
    #[error("rewritten path is not valid")]
    Rewrite,
}

/// Why a check had no verdict.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum CheckError {
    /// Answered by something that is not a verdict.
    #[error("malformed verdict: {0}")]
    Malformed(&'static str),
    /// Too much waits for the enforcer already.
    #[error("too much waits for the enforcer")]
    Overloaded,
    /// The enforcer reported a failed call.
    #[error("enforcer failed with gRPC status {0}")]
    Status(u32),
    /// No answer in time.
    #[error("enforcer did not answer in time")]
    TimedOut,
    /// The check is larger than the enforcer takes.
    #[error("check too large")]
    TooLarge,
    /// No connection, or it broke.
    #[error("enforcer unreachable")]
    Unreachable,
}

/// Faults of the upstream side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum UpstreamError {
    /// No connection could be made.
    #[error("connection failed")]
    Connect,
    /// The stream's greatest duration is over.
    #[error("stream reached its greatest duration")]
    MaxDuration,
    /// The cluster has no address.
    #[error("no healthy endpoint")]
    NoEndpoint,
    /// A circuit breaker is open.
    #[error("circuit breaker open")]
    Overflow,
    /// The answer is not HTTP.
    #[error("protocol error")]
    Protocol,
    /// The peer did not look at the request: the stream was refused, or the connection goes away.
    #[error("refused by the upstream")]
    Refused,
    /// The peer reset the stream.
    #[error("reset by the upstream")]
    Reset,
    /// The gateway reset the stream.
    #[error("reset by the gateway")]
    ResetLocal,
    /// The connection ended before the answer.
    #[error("connection ended before the answer")]
    Terminated,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
}

/// Envoy's response flags, as the access log writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    /// The caller went away.
    DownstreamGone,
    /// The caller broke the protocol.
    DownstreamProtocol,
    /// A header check failed.
    InvalidHeader,
    /// Reset by the gateway.
    LocalReset,
    /// No cluster.
    NoCluster,
    /// No route.
    NoRoute,
    /// Nothing out of the ordinary.
    None,
    /// Too much was under way.
    Overload,
    /// A limit refused it.
    RateLimited,
    /// The stream was idle.
    StreamIdle,
    /// Refused by the enforcer, or the enforcer failed.
    Unauthorized,
    /// Upstream connection failed.
    UpstreamConnect,
    /// No upstream address.
    UpstreamHealth,
    /// Stream duration exceeded.
    UpstreamMaxDuration,
    /// Circuit breaker open.
    UpstreamOverflow,
    /// The upstream broke the protocol.
    UpstreamProtocol,
    /// Reset by the upstream.
    UpstreamReset,
    /// Retries used up.
    UpstreamRetries,
    /// The upstream closed the connection.
    UpstreamTerminated,
    /// The upstream was too slow.
    UpstreamTimeout,
}

impl From<&hyper::Error> for UpstreamError {
    /// What a failed exchange with an upstream was about.
    fn from(error: &hyper::Error) -> Self {
        if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
            return Self::Protocol;
        }
        // Streams of HTTP/2 are reset; everything on HTTP/1 ends with its connection.
        let cause = std::error::Error::source(error)
            .map(ToString::to_string)
            .unwrap_or_default();
        // A GOAWAY without an error fails those streams only that it does not count in (RFC 9113 section 6.8).
        if cause.starts_with("stream error received: refused stream")
            || cause.starts_with("connection error received: not a result of an error")
        {
            Self::Refused
        } else if cause.starts_with("stream error received") {
            Self::Reset
        } else if cause.starts_with("stream error") {
            Self::ResetLocal
        } else {
            Self::Terminated
        }
    }
}

// === impl ProxyError ===

impl ProxyError {
    /// The response flag it leaves in the access log.
    pub(crate) const fn flag(&self) -> Flag {
        match self {
            Self::Downstream(error) => error.flag(),
            Self::Internal(InternalError::Check(CheckError::Overloaded)) => Flag::Overload,
            Self::Internal(InternalError::Check(_)) => Flag::Unauthorized,
            Self::Internal(InternalError::NoCluster | InternalError::Rewrite) => Flag::NoCluster,
            Self::Upstream(error) => error.flag(),
        }
    }
}

impl ProxyError {
    /// Why the answer is the gateway's own, in Envoy's words (`%RESPONSE_CODE_DETAILS%`).
    pub(crate) const fn details(&self) -> &'static str {
        match self {
            Self::Downstream(error) => error.details(),
            Self::Internal(InternalError::Check(CheckError::Overloaded)) => "overload",
            Self::Internal(InternalError::Check(_)) => "ext_authz_error",
            Self::Internal(InternalError::NoCluster) => "cluster_not_found",
            Self::Internal(InternalError::Rewrite) => "rewrite_failed",
            Self::Upstream(error) => error.details(),
        }
    }
}

impl DownstreamError {
    const fn details(self) -> &'static str {
        match self {
            Self::AmbiguousTarget(_) | Self::Fragment => "path_normalization_failed",
            Self::BodyBroken => "downstream_remote_disconnect",
            Self::Crowded => "overload",
            Self::Framing => "http1.codec_error",
            Self::BodyTooLarge => "request_payload_too_large",
            Self::HeadersTooLarge => "http1.too_many_headers",
            Self::InvalidHeader(_) => "http1.invalid_characters",
            Self::Limited => "local_rate_limited",
            Self::NoHost => "missing_host_header",
            Self::NoPath => "missing_path_rejected",
            Self::NoRoute => "route_not_found",
            Self::RequestTimeout => "request_overall_timeout",
            Self::StreamIdle => "stream_idle_timeout",
            Self::TransferCoding => "http1.invalid_transfer_encoding",
            Self::UpgradeRefused => "upgrade_failed",
            Self::Version => "low_version",
        }
    }

    const fn flag(self) -> Flag {
        match self {
            Self::AmbiguousTarget(_) | Self::Fragment | Self::InvalidHeader(_) => Flag::InvalidHeader,
            Self::BodyTooLarge | Self::UpgradeRefused => Flag::None,
            Self::Crowded => Flag::Overload,
            Self::BodyBroken
            | Self::Framing
            | Self::HeadersTooLarge
            | Self::NoHost
            | Self::TransferCoding
            | Self::Version => Flag::DownstreamProtocol,
            Self::Limited => Flag::RateLimited,
            Self::NoPath | Self::NoRoute => Flag::NoRoute,
            Self::RequestTimeout | Self::StreamIdle => Flag::StreamIdle,
        }
    }
}

impl UpstreamError {
    const fn details(self) -> &'static str {
        match self {
            Self::Connect => "upstream_reset_before_response_started{remote_connection_failure}",
            Self::MaxDuration => "max_duration_timeout",
            Self::NoEndpoint => "no_healthy_upstream",
            Self::Overflow => "upstream_reset_before_response_started{overflow}",
            Self::Protocol => "upstream_reset_before_response_started{protocol_error}",
            Self::Refused => "upstream_reset_before_response_started{remote_refused_stream_reset}",
            Self::Reset => "upstream_reset_before_response_started{remote_reset}",
            Self::ResetLocal => "upstream_reset_before_response_started{local_reset}",
            Self::Terminated => "upstream_reset_before_response_started{connection_termination}",
            Self::TimedOut => "response_timeout",
        }
    }

    /// The response flag it leaves in the access log.
    pub(crate) const fn flag(self) -> Flag {
        match self {
            Self::Connect => Flag::UpstreamConnect,
            Self::MaxDuration => Flag::UpstreamMaxDuration,
            Self::NoEndpoint => Flag::UpstreamHealth,
            Self::Overflow => Flag::UpstreamOverflow,
            Self::Protocol => Flag::UpstreamProtocol,
            Self::Refused | Self::Reset => Flag::UpstreamReset,
            Self::ResetLocal => Flag::LocalReset,
            Self::Terminated => Flag::UpstreamTerminated,
            Self::TimedOut => Flag::UpstreamTimeout,
        }
    }
}

impl Flag {
    /// All of them, each at the place of its number.
    pub(crate) const ALL: [Self; 20] = [
        Self::DownstreamGone,
        Self::DownstreamProtocol,
        Self::InvalidHeader,
        Self::LocalReset,
        Self::NoCluster,
        Self::NoRoute,
        Self::None,
        Self::Overload,
        Self::RateLimited,
        Self::StreamIdle,
        Self::Unauthorized,
        Self::UpstreamConnect,
        Self::UpstreamHealth,
        Self::UpstreamMaxDuration,
        Self::UpstreamOverflow,
        Self::UpstreamProtocol,
        Self::UpstreamReset,
        Self::UpstreamRetries,
        Self::UpstreamTerminated,
        Self::UpstreamTimeout,
    ];

    /// Envoy's short name, `-` for none.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DownstreamGone => "DC",
            Self::DownstreamProtocol => "DPE",
            Self::InvalidHeader => "IH",
            Self::LocalReset => "LR",
            Self::NoCluster => "NC",
            Self::NoRoute => "NR",
            Self::None => "-",
            Self::Overload => "OM",
            Self::RateLimited => "RL",
            Self::StreamIdle => "SI",
            Self::Unauthorized => "UAEX",
            Self::UpstreamConnect => "UF",
            Self::UpstreamHealth => "UH",
            Self::UpstreamMaxDuration => "UMSDR",
            Self::UpstreamOverflow => "UO",
            Self::UpstreamProtocol => "UPE",
            Self::UpstreamReset => "UR",
            Self::UpstreamRetries => "URX",
            Self::UpstreamTerminated => "UC",
            Self::UpstreamTimeout => "UT",
        }
    }
}

impl Flag {
    /// Envoy's long name, `-` for none.
    pub(crate) const fn long_name(self) -> &'static str {
        match self {
            Self::DownstreamGone => "DownstreamConnectionTermination",
            Self::DownstreamProtocol => "DownstreamProtocolError",
            Self::InvalidHeader => "InvalidEnvoyRequestHeaders",
            Self::LocalReset => "LocalReset",
            Self::NoCluster => "NoClusterFound",
            Self::NoRoute => "NoRouteFound",
            Self::None => "-",
            Self::Overload => "OverloadManagerTerminated",
            Self::RateLimited => "RateLimited",
            Self::StreamIdle => "StreamIdleTimeout",
            Self::Unauthorized => "UnauthorizedExternalService",
            Self::UpstreamConnect => "UpstreamConnectionFailure",
            Self::UpstreamHealth => "NoHealthyUpstream",
            Self::UpstreamMaxDuration => "UpstreamMaxStreamDurationReached",
            Self::UpstreamOverflow => "UpstreamOverflow",
            Self::UpstreamProtocol => "UpstreamProtocolError",
            Self::UpstreamReset => "UpstreamRemoteReset",
            Self::UpstreamRetries => "UpstreamRetryLimitExceeded",
            Self::UpstreamTerminated => "UpstreamConnectionTermination",
            Self::UpstreamTimeout => "UpstreamRequestTimeout",
        }
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_stand_in_their_order() {
        for (at, flag) in Flag::ALL.iter().enumerate() {
            assert_eq!(*flag as usize, at, "{flag}");
        }
        assert_eq!(
            Flag::ALL.len(),
            Flag::UpstreamTimeout as usize + 1,
            "the last one"
        );
    }
}
