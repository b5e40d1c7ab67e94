//! Why a call has no answer.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper_util::client::legacy;

use crate::connect::{ConnectError, Refused};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address can't be called.
    #[error("not an http or https address")]
    Address,
    /// The body was cut off.
    #[error("body cannot be read")]
    Body(#[source] hyper::Error),
    /// No connection.
    #[error(transparent)]
    Connect(Arc<ConnectError>),
    /// The exchange broke off before there was an answer, or its head is longer than is read.
    #[error("exchange failed")]
    Exchange(#[source] ExchangeError),
    /// The method asks for something else than an answer.
    #[error("CONNECT is not for calls")]
    Method,
    /// An answer of another status than asked for.
    #[error("answered {0}")]
    Status(StatusCode),
    /// Not done in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The body is longer than this many bytes.
    #[error("body is longer than {0} bytes")]
    TooLong(usize),
}

impl FetchError {
    /// Whether the request surely was not sent, so that it may be made once more whatever its method. Of the other
    /// failures only the caller knows: a request without side effects may be repeated after each of them.
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Address
            | Self::Body(_)
            | Self::Exchange(_)
            | Self::Method
            | Self::Status(_)
            | Self::Timeout(_)
            | Self::TooLong(_) => false,
        }
    }
}

impl From<legacy::Error> for FetchError {
    fn from(error: legacy::Error) -> Self {
        let refused = error.source().and_then(|cause| cause.downcast_ref::<Refused>());
        match refused {
            Some(Refused(cause)) => Self::Connect(Arc::clone(cause)),
            None => Self::Exchange(ExchangeError(error)),
        }
    }
}

/// What went wrong in an exchange: hyper's own words, without those of the pool around it.
#[derive(Debug)]
pub struct ExchangeError(legacy::Error);

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(cause) => fmt::Display::fmt(cause, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl Error for ExchangeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()?.source()
    }
}
