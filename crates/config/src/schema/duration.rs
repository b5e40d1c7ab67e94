//! Durations of the file: an integer counts the unit of the key, a string such as `"1m30s"` is a Go duration.

use std::time::Duration;

use toml::de::DeValue;

use super::scalar::{integer, mismatch, quoted};
use super::{Leaf, Refusal};

macro_rules! units {
    ($($(#[$meta:meta])* $name:ident = $nanos:expr;)+) => { $(
        $(#[$meta])*
        pub(crate) struct $name<'a>(pub(crate) &'a mut Duration);

        impl Leaf for $name<'_> {
            fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
                *self.0 = match (value.as_integer(), value.as_str()) {
                    (Some(count), _) => counted(integer(count)?, $nanos)?,
                    (None, Some(text)) => go_duration(text)?,
                    (None, None) => return Err(mismatch("an integer or a duration", value).into()),
                };
                Ok(())
            }

            fn parse(&mut self, text: &str) -> Result<(), Refusal> {
                *self.0 = match text.trim().parse::<i64>() {
                    Ok(count) => counted(count, $nanos)?,
                    Err(_) => go_duration(text)?,
                };
                Ok(())
            }

            fn literal(&self) -> String {
                literal(*self.0, $nanos)
            }
        }
    )+ };
}

units! {
    /// Counts milliseconds.
    Millis = 1_000_000_u128;
    /// Counts minutes.
    Minutes = 60_000_000_000_u128;
    /// Counts nanoseconds; printed as a Go duration.
    Nanos = 1_u128;
    /// Counts seconds.
    Seconds = 1_000_000_000_u128;
}

/// An integer when the unit divides the value, else a Go duration; always the latter for nanoseconds.
fn literal(duration: Duration, unit_nanos: u128) -> String {
    let nanos = duration.as_nanos();
    if unit_nanos > 1 && nanos.is_multiple_of(unit_nanos) {
        (nanos / unit_nanos).to_string()
    } else {
        quoted(&format_go(duration))
    }
}

fn counted(count: i64, unit_nanos: u128) -> Result<Duration, String> {
    let count = u128::try_from(count).map_err(|_| format!("{count} is negative"))?;
    bounded(count.saturating_mul(unit_nanos))
}

/// Anything above `i64::MAX` nanoseconds (292 years) is beyond what the original can hold.
fn bounded(nanos: u128) -> Result<Duration, String> {
    let nanos = i64::try_from(nanos)
        .ok()
        .and_then(|nanos| u64::try_from(nanos).ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| "longer than 292 years".to_owned())
}

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("µs", 1_000),
    ("μs", 1_000),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads what Go's `time.ParseDuration` reads: decimal numbers, each with a unit (`300ms`, `1.5h`, `1h30m`), or `0`.
pub(crate) fn go_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as \"20s\" or \"1h30m\"");
    let mut rest = text.trim();
    if rest.starts_with('-') {
        return Err(format!("{text:?} is negative"));
    }
    rest = rest.strip_prefix('+').unwrap_or(rest);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = 0_u128;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total = total.saturating_add(scaled(number, *nanos).ok_or_else(wrong)?);
        rest = after;
    }
    bounded(total)
}

/// `number` times `nanos`; digits below a nanosecond are dropped.
fn scaled(number: &str, nanos: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?
    };
    let mut total = u128::from(whole).saturating_mul(nanos);
    let mut weight = nanos;
    for digit in fraction.chars() {
        weight /= 10;
        total = total.saturating_add(weight.saturating_mul(u128::from(digit.to_digit(10)?)));
    }
    Some(total)
}

/// The shortest Go duration of one unit.
fn format_go(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let (name, unit) = UNITS
        .iter()
        .rev()
        .find(|(_, unit)| nanos.is_multiple_of(*unit))
        .unwrap_or(&("ns", 1));
    format!("{}{name}", nanos / unit)
}

/// How long a management token lives: a Go duration; an empty or wrong one is an hour, a day is the most.
pub(crate) struct TokenLife<'a>(pub(crate) &'a mut Duration);

impl TokenLife<'_> {
    const DEFAULT: Duration = Duration::from_secs(3600);
    const GREATEST: Duration = Duration::from_secs(24 * 3600);
}

impl Leaf for TokenLife<'_> {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        let text = value.as_str().ok_or_else(|| mismatch("a duration", value))?;
        self.parse(text)
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        *self.0 = Self::DEFAULT;
        if text.is_empty() {
            return Ok(());
        }
        match go_duration(text) {
            Ok(life) if life.is_zero() => Err(Refusal::Replaced(
                "a token cannot live for no time, 1h is used".to_owned(),
            )),
            Ok(life) if life > Self::GREATEST => {
                *self.0 = Self::GREATEST;
                Err(Refusal::Replaced(format!(
                    "{text:?} is more than 24h, 24h is used"
                )))
            }
            Ok(life) => {
                *self.0 = life;
                Ok(())
            }
            Err(reason) => Err(Refusal::Replaced(format!("{reason}, 1h is used"))),
        }
    }

    fn literal(&self) -> String {
        quoted(&format_go(*self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        let cases = [
            ("0", Some(0)),
            ("20s", Some(20_000_000_000)),
            ("+1h30m", Some(5_400_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("2.s", Some(2_000_000_000)),
            ("300ms", Some(300_000_000)),
            ("7µs", Some(7_000)),
            ("7μs", Some(7_000)),
            ("3ns", Some(3)),
            ("", None),
            ("20", None),
            ("s", None),
            (".s", None),
            ("1..5s", None),
            ("-1s", None),
            ("1d", None),
            ("1 s", None),
            ("99999999999h", None),
        ];
        for (text, want) in cases {
            let got = go_duration(text).ok().map(|duration| duration.as_nanos());
            assert_eq!(got, want, "{text:?}");
        }
    }

    #[test]
    fn durations_print_as_they_are_read() {
        for (nanos, want) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500_000, "1500us"),
            (90_000_000_000, "90s"),
            (3_600_000_000_000, "1h"),
        ] {
            assert_eq!(format_go(Duration::from_nanos(nanos)), want);
        }
    }
}
