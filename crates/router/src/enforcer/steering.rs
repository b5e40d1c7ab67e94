//! What the enforcer tells the gateway, as opposed to the upstream: cluster, path, method, time, retries. Typed values on the
//! check stream; headers in the answer of a unary check, as Envoy's authorization filter and router take them.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};
use trireme_proto::names::CLUSTER_HEADER;

use super::wire::{Fields, Value};
use crate::error::CheckError;

/// Where and how an admitted request goes. A caller's own headers of these names were taken out at the border, so whatever
/// is here is the enforcer's.
#[derive(Debug, Default)]
pub(crate) struct Steering {
    /// Name of the cluster.
    pub(crate) cluster: Option<Bytes>,
    /// Path and query, before the route's rewrite.
    pub(crate) path: Option<PathAndQuery>,
    /// Method towards the upstream.
    pub(crate) method: Option<Method>,
    /// Host towards the upstream.
    pub(crate) authority: Option<HeaderValue>,
    /// Instead of the route's; zero means none.
    pub(crate) timeout: Option<Duration>,
    /// Retries by status.
    pub(crate) retry: Retry,
    /// It came as headers, which can make another route the first match.
    pub(crate) by_headers: bool,
}

/// What is said of retries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Retries by status are on, whether the route has a policy or not.
    pub(crate) on: bool,
    /// How many, where they are on.
    pub(crate) count: Option<u32>,
    /// For which statuses, besides those of the route.
    pub(crate) statuses: Vec<u16>,
}

/// Prefix of the headers that steer Envoy's router.
const INTERNAL: &str = "x-envoy-";

impl Steering {
    /// Reads `trireme.auth.v1.Steering`.
    ///
    /// # Errors
    /// When it holds what no request can be sent by.
    pub(super) fn read(message: Bytes) -> Result<Self, CheckError> {
        let mut steering = Self::default();
        for field in Fields(message) {
            match field? {
                (1, Value::Body(name)) => steering.cluster = Some(name),
                (2, Value::Number(millis)) => steering.timeout = Some(Duration::from_millis(millis)),
                (3, Value::Number(count)) => {
                    steering.retry.on = true;
                    steering.retry.count = Some(u32::try_from(count).unwrap_or(u32::MAX));
                }
                (4, value) => steering.retry.statuses(value)?,
                (5, Value::Body(name)) => steering.method = Some(method(&name)?),
                (6, Value::Body(text)) => steering.path = Some(path(text)?),
                _ => {}
            }
        }
        Ok(steering)
    }

    /// Takes a header that is meant for the gateway; gives back any other.
    ///
    /// # Errors
    /// As [`Steering::read`].
    pub(super) fn take(
        &mut self,
        name: &[u8],
        value: HeaderValue,
    ) -> Result<Option<(HeaderName, HeaderValue)>, CheckError> {
        match name {
            b":path" => self.path = Some(path(Bytes::copy_from_slice(value.as_bytes()))?),
            b":method" => self.method = Some(method(value.as_bytes())?),
            b":authority" => self.authority = Some(value),
            _ => {
                let name =
                    HeaderName::from_bytes(name).map_err(|_| CheckError::Malformed("invalid header name"))?;
                if name == HOST {
                    self.authority = Some(value);
                } else if name == CLUSTER_HEADER {
                    self.cluster = Some(Bytes::copy_from_slice(value.as_bytes()));
                } else if name.as_str().starts_with(INTERNAL) {
                    self.internal(name.as_str(), &value);
                } else {
                    return Ok(Some((name, value)));
                }
            }
        }
        self.by_headers = true;
        Ok(None)
    }

    /// What cannot be read counts as not said.
    fn internal(&mut self, name: &str, value: &HeaderValue) {
        let text = value.to_str().unwrap_or_default();
        let mut parts = text.split(',').map(str::trim);
        match name {
            "x-envoy-max-retries" => self.retry.count = text.parse().ok(),
            "x-envoy-retriable-status-codes" => {
                self.retry.statuses = parts.filter_map(|code| code.parse().ok()).collect();
            }
            "x-envoy-retry-on" => self.retry.on = parts.any(|policy| policy == "retriable-status-codes"),
            "x-envoy-upstream-rq-timeout-ms" => self.timeout = text.parse().ok().map(Duration::from_millis),
            _ => {}
        }
    }
}

impl Retry {
    /// `repeated uint32`, packed or not; what is no status is never the status of an answer.
    fn statuses(&mut self, value: Value) -> Result<(), CheckError> {
        match value {
            Value::Number(code) => self.statuses.extend(u16::try_from(code)),
            Value::Body(mut packed) => {
                while !packed.is_empty() {
                    let code = prost::encoding::decode_varint(&mut packed)
                        .map_err(|_| CheckError::Malformed("truncated message"))?;
                    self.statuses.extend(u16::try_from(code));
                }
            }
            Value::Fixed32 | Value::Fixed64(_) => {}
        }
        Ok(())
    }
}

fn path(text: Bytes) -> Result<PathAndQuery, CheckError> {
    PathAndQuery::from_maybe_shared(text)
        .ok()
        .filter(|path| path.path().starts_with('/'))
        .ok_or(CheckError::Malformed("invalid path"))
}

fn method(name: &[u8]) -> Result<Method, CheckError> {
    Method::from_bytes(name).map_err(|_| CheckError::Malformed("invalid method"))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use trireme_proto::trireme::auth::v1 as proto;

    use super::*;

    fn by_headers(headers: &[(&str, &'static str)]) -> Steering {
        let mut steering = Steering::default();
        for (name, value) in headers {
            let left = steering.take(name.as_bytes(), HeaderValue::from_static(value));
            assert_eq!(left, Ok(None), "{name}");
        }
        steering
    }

    #[test]
    fn both_forms_say_the_same() {
        let typed = proto::Steering {
            cluster: "prod".to_owned(),
            timeout_ms: Some(1500),
            retries: Some(2),
            retry_statuses: vec![500, 504, 70_000],
            method: "PUT".to_owned(),
            path: "/a?b".to_owned(),
        };
        let typed = Steering::read(typed.encode_to_vec().into()).unwrap();
        let headers = by_headers(&[
            ("x-wso2-cluster-header", "prod"),
            ("x-envoy-upstream-rq-timeout-ms", "1500"),
            ("x-envoy-retry-on", "5xx, retriable-status-codes"),
            ("x-envoy-max-retries", "2"),
            ("x-envoy-retriable-status-codes", "500, 504, 70000"),
            (":method", "PUT"),
            (":path", "/a?b"),
        ]);
        assert!(headers.by_headers && !typed.by_headers);
        for steering in [&typed, &headers] {
            assert_eq!(steering.cluster.as_deref(), Some(&b"prod"[..]));
            assert_eq!(steering.timeout, Some(Duration::from_millis(1500)));
            assert_eq!(
                steering.retry,
                Retry {
                    on: true,
                    count: Some(2),
                    statuses: vec![500, 504]
                }
            );
            assert_eq!(steering.method, Some(Method::PUT));
            assert_eq!(steering.path.as_ref().map(PathAndQuery::as_str), Some("/a?b"));
        }
    }

    #[test]
    fn what_no_request_can_be_sent_by_is_refused() {
        let cases = [
            (
                "path",
                proto::Steering {
                    path: "a".to_owned(),
                    ..Default::default()
                },
            ),
            (
                "path with a space",
                proto::Steering {
                    path: "/a b".to_owned(),
                    ..Default::default()
                },
            ),
            (
                "method",
                proto::Steering {
                    method: "A B".to_owned(),
                    ..Default::default()
                },
            ),
        ];
        for (name, message) in cases {
            let read = Steering::read(message.encode_to_vec().into());
            assert!(matches!(read, Err(CheckError::Malformed(_))), "{name}: {read:?}");
        }
        let take =
            |name: &str, value| Steering::default().take(name.as_bytes(), HeaderValue::from_static(value));
        for (name, value) in [(":path", "a"), (":method", ""), (":scheme", "http"), ("a b", "")] {
            assert!(take(name, value).is_err(), "{name}");
        }
        let kept = take("x-other", "1").unwrap();
        assert_eq!(
            kept,
            Some((HeaderName::from_static("x-other"), HeaderValue::from_static("1")))
        );
    }

    #[test]
    fn packed_and_single_statuses_are_read_and_cut_ones_are_not() {
        let read = |bytes: &'static [u8]| Steering::read(Bytes::from_static(bytes));
        assert_eq!(
            read(&[0x20, 0xf4, 0x03, 0x20, 0xf8, 0x03])
                .unwrap()
                .retry
                .statuses,
            [500, 504]
        );
        assert_eq!(read(&[0x22, 2, 0xf4, 0x03]).unwrap().retry.statuses, [500]);
        assert!(read(&[0x22, 1, 0xf4]).is_err());
    }
}
