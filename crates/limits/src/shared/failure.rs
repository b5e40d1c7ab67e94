//! Why there is no answer.

use std::io;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The host has no address, or none of them answers.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection broke off.
    #[error("the connection to Redis is lost")]
    Lost(#[source] Option<RedisError>),
    /// What came is no answer to what was asked.
    #[error("Redis does not answer what was asked: {reason}")]
    Nonsense {
        /// What is wrong with it.
        reason: String,
    },
    /// Redis does not accept user and password, or what they may do.
    #[error("Redis does not accept user and password")]
    Refused(#[source] RedisError),
    /// Redis answers that it cannot: read-only, loading, out of memory.
    #[error("Redis cannot count")]
    Server(#[source] RedisError),
    /// No answer in time.
    #[error("no answer of Redis within {0:?}")]
    Timeout(Duration),
    /// The server is not who it should be, or speaks no TLS.
    #[error("no TLS connection to Redis")]
    Tls(#[source] io::Error),
}

impl Failure {
    pub(crate) fn nonsense(reason: &str) -> Self {
        let reason = reason.to_owned();
        Self::Nonsense { reason }
    }

    /// The label of the metric.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Lost(_) => "lost",
            Self::Nonsense { .. } => "nonsense",
            Self::Refused(_) => "refused",
            Self::Server(_) => "server",
            Self::Timeout(_) => "timeout",
            Self::Tls(_) => "tls",
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Self::Refused(error)
            }
            ErrorKind::Extension if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => {
                Self::Refused(error)
            }
            ErrorKind::Extension | ErrorKind::Server(_) => Self::Server(error),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Nonsense {
                reason: error.to_string(),
            },
            ErrorKind::Io if TooMuch::is(&error) => Self::nonsense("more than was asked for"),
            _ => Self::Lost(Some(error)),
        }
    }
}

/// More bytes than an answer has.
#[derive(Debug, thiserror::Error)]
#[error("more than was asked for")]
pub(crate) struct TooMuch;

impl TooMuch {
    fn is(error: &RedisError) -> bool {
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            if error.is::<Self>() {
                return true;
            }
            source = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        false
    }
}
