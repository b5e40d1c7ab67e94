//! What a check asks for.

use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many limits one check may have.
pub const MAX_LIMITS: usize = 16;

/// A moment of the wall clock: milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// How long it is from `earlier` until this moment; nothing if it is over.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Moments before 1970 count as 1970.
impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Time> for SystemTime {
    fn from(time: Time) -> Self {
        UNIX_EPOCH
            .checked_add(Duration::from_millis(time.0))
            .unwrap_or(UNIX_EPOCH)
    }
}

/// The length of a fixed window. Windows begin at its multiples of the wall clock since 1970, UTC: a minute at second 0, a
/// day at midnight, a week on Thursday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(NonZeroU64);

impl Window {
    /// One second.
    pub const SECOND: Self = Self::millis(NonZeroU64::new(1_000).expect("not 0"));
    /// One minute.
    pub const MINUTE: Self = Self::millis(NonZeroU64::new(60_000).expect("not 0"));
    /// One hour.
    pub const HOUR: Self = Self::millis(NonZeroU64::new(3_600_000).expect("not 0"));
    /// One day.
    pub const DAY: Self = Self::millis(NonZeroU64::new(86_400_000).expect("not 0"));
    /// The longest: 400 days.
    pub const LONGEST: Self = Self::millis(NonZeroU64::new(400 * 86_400_000).expect("not 0"));

    /// A window of so many milliseconds; more than [`Window::LONGEST`] count as that.
    pub const fn millis(millis: NonZeroU64) -> Self {
        const LONGEST: u64 = 400 * 86_400_000;
        match NonZeroU64::new(LONGEST) {
            Some(longest) if millis.get() > LONGEST => Self(longest),
            _ => Self(millis),
        }
    }

    /// Whole milliseconds of `duration`; none for less than one, or for more than [`Window::LONGEST`].
    pub fn of(duration: Duration) -> Option<Self> {
        let millis = u64::try_from(duration.as_millis())
            .ok()
            .and_then(NonZeroU64::new)?;
        (millis <= Self::LONGEST.0).then_some(Self(millis))
    }

    /// Its length in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0.get()
    }

    /// When the window that holds `now` ends: the first moment of the next one.
    pub(crate) fn end(self, now: Time) -> Time {
        let length = self.as_millis();
        Time((now.0 / length).saturating_add(1).saturating_mul(length))
    }
}

/// One limit of a check. The counter is known by `key` and `window` together: a burst is a second limit with the same key
/// and a shorter window. The quota is no part of it, so that a changed quota applies to what is already counted.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'a> {
    /// Whose counter: any bytes, such as id of the limit, then the caller. Different kinds of key need different beginnings.
    pub key: &'a [u8],
    /// How much one window admits: requests, or bytes.
    pub quota: u64,
    /// The length of the window.
    pub window: Window,
    /// How much this request takes: 1, or its bytes. With 0 it is admitted while anything is left, and what it takes is
    /// [added](crate::Counters::add) when known.
    pub cost: u64,
}
