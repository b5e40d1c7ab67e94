//! `sleep`, for hooks before the end of a container: until no node sends it new connections any more.

use std::time::Duration;

/// Status of wrong arguments, as of the program.
const INVALID: u8 = 1;
/// A hook waits this long, in seconds, or is refused.
const MAX_SECONDS: f64 = 3_600.0;

/// Waits for as long as it is told; gives the exit status.
pub(super) fn run(words: &[String]) -> u8 {
    match length(words) {
        Ok(length) => {
            std::thread::sleep(length);
            0
        }
        Err(wrong) => {
            eprintln!("sleep: {wrong}");
            INVALID
        }
    }
}

/// `5`, `0.5`, `5s` or `1m`; several add up.
fn length(words: &[String]) -> Result<Duration, String> {
    if words.is_empty() {
        return Err("how many seconds?".to_owned());
    }
    let mut seconds = 0.0;
    for word in words {
        let (digits, unit) = match (word.strip_suffix('s'), word.strip_suffix('m')) {
            (Some(digits), _) => (digits, 1.0),
            (_, Some(digits)) => (digits, 60.0),
            _ => (word.as_str(), 1.0),
        };
        let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
        let number = digits.parse::<f64>().ok().filter(|_| plain);
        seconds += unit * number.ok_or_else(|| format!("{word:?} is no number of seconds or minutes"))?;
    }
    if seconds > MAX_SECONDS {
        return Err(format!("longer than {MAX_SECONDS} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_minutes_up_to_an_hour() {
        for (text, want) in [
            ("5", Ok(5_000)),
            ("0.25", Ok(250)),
            ("5s", Ok(5_000)),
            ("1m 1.5s", Ok(61_500)),
            ("0", Ok(0)),
            ("3600", Ok(3_600_000)),
            ("3601", Err("longer than 3600 seconds")),
            ("99999999999999999999999999", Err("longer than 3600 seconds")),
            ("", Err("how many seconds?")),
            ("-1", Err("\"-1\" is no number of seconds or minutes")),
            ("inf", Err("\"inf\" is no number of seconds or minutes")),
            ("1e9", Err("\"1e9\" is no number of seconds or minutes")),
            ("s", Err("\"s\" is no number of seconds or minutes")),
        ] {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let want = want.map(Duration::from_millis).map_err(str::to_owned);
            assert_eq!(length(&words), want, "{text}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "this thread sleeps, not a task")]
    fn it_waits() {
        let began = std::time::Instant::now();
        assert_eq!(run(&["0.02".to_owned()]), 0);
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert_eq!(run(&["soon".to_owned()]), INVALID);
    }
}
