//! Both state machines of the protocol, without I/O and without a clock: [`session`] serves one stream, [`receiver`] reads
//! one. What the wire carries beyond Envoy's definition is in the crate documentation.

use std::time::Duration;

pub(crate) mod nack;
mod queue;
pub(crate) mod receiver;
mod refusal;
pub(crate) mod session;
mod topic;

/// End of `system_version_info` in every message of a split first answer but the last.
pub const PARTIAL: &str = ";more";

/// Subscription to everything of a type.
const WILDCARD: &str = "*";

/// A response stays below 256 KiB unless one resource alone is larger; the difference is for the fields beside the resources.
/// Both ends keep a buffer as large as the largest message they have had.
const MESSAGE_BYTES: usize = (256 << 10) - 2048;

/// Upper bound of the tags and lengths around one resource on the wire.
const RESOURCE_OVERHEAD: usize = 40;

/// Upper bound of the tag and length of one removed name.
const NAME_OVERHEAD: usize = 6;

/// Longest resource name, type URL and node id that a peer may send.
const MAX_NAME_BYTES: usize = 4096;

/// All names that one subscription may consist of, together.
const MAX_NAMES_BYTES: usize = 16 << 20;

/// Responses of one type that a peer may leave unanswered before it gets no more; what changes then is sent as one.
pub(crate) const MAX_OPEN: usize = 16;

/// How long routes wait for the answer to the clusters before them.
const CLUSTER_BOUND: Duration = Duration::from_secs(5);

/// Subscriptions of one stream.
const MAX_TOPICS: usize = 32;

/// How long to wait before connection attempt `attempt` (0 = first after a loss). Grows by half each time, so that a peer
/// that is just starting is found within its first second; `random` in 0..1 spreads it over the upper half.
pub(crate) fn backoff(attempt: u32, shortest: Duration, longest: Duration, random: f64) -> Duration {
    let grown = shortest.as_secs_f64() * 1.5_f64.powi(i32::try_from(attempt.min(64)).unwrap_or(64));
    let bounded = grown.min(longest.as_secs_f64());
    let jittered = bounded * (0.5 + 0.5 * random.clamp(0.0, 1.0));
    Duration::try_from_secs_f64(jittered)
        .unwrap_or(longest)
        .clamp(shortest.min(longest), longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_within_its_bounds() {
        let (low, high) = (Duration::from_millis(100), Duration::from_secs(10));
        assert_eq!(backoff(0, low, high, 0.0), low);
        assert_eq!(backoff(0, low, high, 1.0), low);
        assert_eq!(backoff(u32::MAX, low, high, 1.0), high);
        assert_eq!(backoff(u32::MAX, low, high, 0.0), high / 2);
        let mut sum = Duration::ZERO;
        for attempt in 0..20 {
            let (early, late) = (backoff(attempt, low, high, 0.0), backoff(attempt, low, high, 1.0));
            assert!(
                low <= early && early <= late && late <= high,
                "attempt {attempt}: {early:?}..{late:?}"
            );
            if attempt < 4 {
                sum += late;
            }
        }
        assert!(
            sum < Duration::from_secs(1),
            "four attempts in the first second, even unlucky: {sum:?}"
        );
    }
}
