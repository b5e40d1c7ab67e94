//! The local limit: a token bucket of a route in the router itself. Envoy's `local_ratelimit`.

use std::time::Duration;

use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use trireme_proto::envoy::r#type::v3::{FractionalPercent, TokenBucket, fractional_percent::DenominatorType};
use trireme_proto::names::filter;

use super::seam::{Draft, Given, Http, PerRoute};
use crate::Invalid;
use crate::wire::read::{self, Path, fixed, nothing_else, span, unpack};
use crate::wire::write::{duration, number, pack};

/// Token bucket in the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalLimit {
    /// Requests per interval.
    pub tokens: u32,
    /// Interval.
    pub interval: Duration,
}

pub(super) const HTTP: Http = Http {
    name: filter::LOCAL_RATELIMIT,
    // Routes with a limit take none.
    upgrades: false,
    encode: |_| {
        pack(&LocalRateLimit {
            stat_prefix: "http_local_rate_limiter".to_owned(),
            ..Default::default()
        })
    },
    decode: |config, _, path| {
        let mut limit: LocalRateLimit = unpack(config, path)?;
        limit.stat_prefix.clear();
        nothing_else(&limit, path)
    },
};

impl PerRoute for Option<LocalLimit> {
    fn encode(&self, draft: &mut Draft) {
        let Some(LocalLimit { tokens, interval }) = *self else {
            return;
        };
        let message = LocalRateLimit {
            stat_prefix: "jwks_rate_limit".to_owned(),
            token_bucket: Some(TokenBucket {
                max_tokens: tokens,
                tokens_per_fill: number(tokens),
                fill_interval: duration(interval),
            }),
            filter_enabled: all(),
            filter_enforced: all(),
            ..Default::default()
        };
        draft.set(filter::LOCAL_RATELIMIT, pack(&message));
    }

    fn decode(given: &mut Given<'_>) -> Result<Self, Invalid> {
        let Some((mut limit, path)) = given.take::<LocalRateLimit>(filter::LOCAL_RATELIMIT)? else {
            return Ok(None);
        };
        limit.stat_prefix.clear();
        always(limit.filter_enabled.take(), &path.field("filter_enabled"))?;
        always(limit.filter_enforced.take(), &path.field("filter_enforced"))?;
        let bucket = limit.token_bucket.take();
        nothing_else(&limit, &path)?;
        let path = &path.field("token_bucket");
        let bucket = bucket.ok_or_else(|| path.invalid("missing"))?;
        let tokens = bucket.max_tokens;
        if tokens == 0 {
            return Err(path.field("max_tokens").invalid("must be greater than zero"));
        }
        fixed(
            &read::number(bucket.tokens_per_fill).unwrap_or(1),
            &tokens,
            &path.field("tokens_per_fill"),
        )?;
        Ok(Some(LocalLimit {
            tokens,
            interval: span(bucket.fill_interval, &path.field("fill_interval"))?,
        }))
    }
}

/// The filter is on for all requests: it would be for none where nothing says so.
fn all() -> Option<core::RuntimeFractionalPercent> {
    Some(core::RuntimeFractionalPercent {
        default_value: Some(FractionalPercent {
            numerator: 100,
            denominator: DenominatorType::Hundred.into(),
        }),
        ..Default::default()
    })
}

/// Refuses anything but [`all`], in whatever parts it is counted.
fn always(fraction: Option<core::RuntimeFractionalPercent>, path: &Path<'_>) -> Result<(), Invalid> {
    let default = fraction
        .and_then(|fraction| fraction.default_value)
        .unwrap_or_default();
    let whole = match DenominatorType::try_from(default.denominator) {
        Ok(DenominatorType::Hundred) => 100,
        Ok(DenominatorType::TenThousand) => 10_000,
        Ok(DenominatorType::Million) => 1_000_000,
        Err(_) => u32::MAX,
    };
    fixed(
        &default.numerator,
        &whole,
        &path.field("default_value").field("numerator"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::seam::Reader;
    use super::super::tests::{refusal, through};
    use super::*;

    #[test]
    fn round_trip() {
        let limit = LocalLimit {
            tokens: 1000,
            interval: Duration::from_millis(10_500),
        };
        for limit in [None, Some(limit)] {
            assert_eq!(through(&limit, Reader::Envoy), limit);
        }
    }

    #[test]
    fn refuses() {
        let refused = |change: fn(&mut LocalRateLimit)| {
            let mut limit = LocalRateLimit {
                token_bucket: Some(TokenBucket {
                    max_tokens: 2,
                    tokens_per_fill: number(2),
                    fill_interval: duration(Duration::from_secs(1)),
                }),
                filter_enabled: all(),
                filter_enforced: all(),
                ..Default::default()
            };
            change(&mut limit);
            refusal::<Option<LocalLimit>>(filter::LOCAL_RATELIMIT, pack(&limit))
        };
        let cases = [
            (
                refused(|limit| limit.filter_enforced = None),
                ".filter_enforced.default_value.numerator: must be 100",
            ),
            (
                refused(|limit| {
                    let half = limit
                        .filter_enabled
                        .as_mut()
                        .and_then(|enabled| enabled.default_value.as_mut());
                    half.expect("all").denominator = DenominatorType::TenThousand.into();
                }),
                ".filter_enabled.default_value.numerator: must be 10000",
            ),
            (
                refused(|limit| limit.token_bucket = None),
                ".token_bucket: missing",
            ),
            (
                refused(|limit| limit.token_bucket = Some(TokenBucket::default())),
                ".token_bucket.max_tokens: must be greater than zero",
            ),
            (
                refused(|limit| limit.token_bucket.as_mut().expect("a bucket").tokens_per_fill = None),
                ".token_bucket.tokens_per_fill: must be 2",
            ),
            (
                refused(|limit| limit.token_bucket.as_mut().expect("a bucket").fill_interval = None),
                ".token_bucket.fill_interval: must be greater than zero",
            ),
            (refused(|limit| limit.stage = 1), ".stage: not supported"),
        ];
        for (got, want) in cases {
            assert_eq!(got, want);
        }
    }
}
