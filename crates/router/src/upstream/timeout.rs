//! How long an upstream may take.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::error::{DownstreamError, ProxyError, UpstreamError};
use crate::event::live::Live;
use crate::filters::Bounds;

/// Ends when a bound is exceeded, with the fault. The end of the request is seen when the timer next looks, which is never
/// after the bound that it starts.
pub(super) async fn expiry(live: &Live, bounds: Bounds) -> ProxyError {
    loop {
        let now = Instant::now();
        let done = live.request_done();
        let some = |bound: Duration| (!bound.is_zero()).then_some(bound);
        let response = some(bounds.response).map(|bound| done.unwrap_or(now) + bound);
        let idle = some(bounds.idle).map(|bound| live.activity() + bound);
        let request = some(bounds.request)
            .filter(|_| done.is_none())
            .map(|bound| live.started + bound);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(bounds.deadline) {
            return UpstreamError::MaxDuration.into();
        }
        if due(response) {
            return UpstreamError::TimedOut.into();
        }
        if due(request) {
            return DownstreamError::RequestTimeout.into();
        }
        if due(idle) {
            return DownstreamError::StreamIdle.into();
        }
        match [bounds.deadline, response, idle, request]
            .into_iter()
            .flatten()
            .min()
        {
            Some(next) => sleep_until(next).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(response: u64, idle: u64) -> Bounds {
        Bounds {
            response: Duration::from_secs(response),
            idle: Duration::from_secs(idle),
            request: Duration::ZERO,
            deadline: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_response_time_counts_from_the_end_of_the_request() {
        let live = Live::new(Instant::now());
        let expiry = expiry(&live, bounds(10, 0));
        let upload = async {
            sleep_until(live.started + Duration::from_secs(25)).await;
            live.finish_request();
            pending::<()>().await;
        };
        tokio::select! {
            error = expiry => {
                assert!(matches!(error, ProxyError::Upstream(UpstreamError::TimedOut)), "{error:?}");
                assert_eq!(live.started.elapsed(), Duration::from_secs(35));
            }
            () = upload => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_on_which_nothing_moves_is_idle() {
        let live = Live::new(Instant::now());
        let error = expiry(&live, bounds(0, 5)).await;
        assert!(
            matches!(error, ProxyError::Downstream(DownstreamError::StreamIdle)),
            "{error:?}"
        );
        assert_eq!(live.started.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn no_bound_never_ends() {
        let live = Live::new(Instant::now());
        let outcome = tokio::time::timeout(Duration::from_secs(86_400), expiry(&live, bounds(0, 0))).await;
        assert!(outcome.is_err());
    }
}
