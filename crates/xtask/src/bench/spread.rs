//! Median, least and greatest of repeated measurements.

use std::fmt;

/// What some values have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Spread {
    /// Absent when there is no value. Between the two in the middle when their number is even.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted = Vec::from_iter(values);
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let lower = match sorted.len() % 2 {
            0 => *sorted.get(middle - 1)?,
            _ => upper,
        };
        Some(Self {
            median: f64::midpoint(lower, upper),
            least: *sorted.first()?,
            greatest: *sorted.last()?,
        })
    }
}

/// Median and range, with the precision that is asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(
            f,
            "{:.digits$} ({:.digits$}–{:.digits$})",
            self.median, self.least, self.greatest
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found_in_any_order() {
        for (name, values, want) in [
            ("none", vec![], None),
            ("one", vec![2.0], Some((2.0, 2.0, 2.0))),
            ("odd", vec![3.0, 1.0, 2.5], Some((2.5, 1.0, 3.0))),
            ("even", vec![4.0, 1.0, 2.0, 3.0], Some((2.5, 1.0, 4.0))),
        ] {
            let found = Spread::of(values).map(|spread| (spread.median, spread.least, spread.greatest));
            assert_eq!(found, want, "{name}");
        }
    }

    #[test]
    fn it_is_written_with_its_range() {
        let spread = Spread::of([1.0, 2.0, 4.0]).unwrap();
        assert_eq!(format!("{spread:.2}"), "2.00 (1.00–4.00)");
    }
}
