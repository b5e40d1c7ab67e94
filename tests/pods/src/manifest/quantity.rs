//! Quantities as Kubernetes writes them: `500m`, `1.5`, `500Mi`, `2e3`.

use anyhow::{Context as _, ensure};
use serde::Deserialize;

const SUFFIXES: [(&str, f64); 13] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("", 1.0),
];

/// A number, or a text with a suffix.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Written {
    Number(f64),
    Text(String),
}

impl Written {
    fn value(&self) -> anyhow::Result<f64> {
        let text = match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        };
        let found = SUFFIXES.iter().find_map(|&(suffix, factor)| {
            let number = text.strip_suffix(suffix)?;
            // "1e3" ends in no suffix, "nan" and "inf" are no numbers here.
            let plain = number.starts_with(|first: char| first.is_ascii_digit() || first == '.');
            let number: f64 = number.parse().ok().filter(|_| plain)?;
            Some(number * factor)
        });
        let value = found.with_context(|| format!("{text:?} is no quantity"))?;
        ensure!(value.is_finite() && value >= 0.0, "{text:?} is no quantity");
        Ok(value)
    }
}

/// Thousandths, as of processors.
///
/// # Errors
/// No quantity.
pub fn millis(text: &str) -> anyhow::Result<u64> {
    whole(Written::Text(text.to_owned()).value()? * 1e3)
}

/// Whole units, as bytes of memory.
///
/// # Errors
/// No quantity.
pub fn bytes(text: &str) -> anyhow::Result<u64> {
    whole(Written::Text(text.to_owned()).value()?)
}

pub(super) fn of(written: &Written, factor: f64) -> anyhow::Result<u64> {
    whole(written.value()? * factor)
}

fn whole(value: f64) -> anyhow::Result<u64> {
    ensure!(value < 1e18, "a quantity too large");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "finite, not negative and below 1e18, by the checks above"
    )]
    let whole = value.ceil() as u64;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_and_exponents() {
        let cases = [
            ("500m", 500),
            ("1", 1000),
            ("0.25", 250),
            ("2e1", 20_000),
            ("1.5", 1500),
        ];
        for (text, want) in cases {
            assert_eq!(millis(text).unwrap(), want, "{text}");
        }
        assert_eq!(bytes("500Mi").unwrap(), 524_288_000);
        assert_eq!(bytes("1G").unwrap(), 1_000_000_000);
        for text in ["", "Mi", "-1", "nan", "inf", "1 Mi", "1Xi", "1e40"] {
            bytes(text).expect_err(text);
        }
    }
}
