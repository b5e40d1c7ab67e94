//! Layouts of the start time: `strftime` with Envoy's fractions of a second.

use std::io::Write as _;
use std::time::SystemTime;

use time::OffsetDateTime;

/// A compiled layout; times are UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// `%C`.
    Century,
    /// `%a`, and `%A` in full.
    DayName(Length),
    /// `%u`: Monday is 1; `%w`: Sunday is 0, and Monday 1, too.
    DayNumber {
        sunday: u8,
    },
    /// `%d`.
    Day,
    /// `%e`.
    DayPadded,
    /// `%j`.
    DayOfYear,
    /// `%f` and relatives: that many digits.
    Fraction(u8),
    /// `%H`.
    Hour,
    /// `%I`.
    Hour12,
    /// `%l`.
    Hour12Padded,
    /// `%k`.
    HourPadded,
    /// `%p`.
    HalfDay,
    /// `%P`.
    HalfDayLower,
    /// `%M`.
    Minute,
    /// `%m`.
    Month,
    /// `%b`, and `%B` in full.
    MonthName(Length),
    /// `%S`.
    Second,
    Text(String),
    /// `%s`.
    Unix,
    /// `%V`, as ISO 8601 counts.
    Week,
    /// `%W`: the first Monday begins week 1.
    WeekFromMonday,
    /// `%U`: the first Sunday begins week 1.
    WeekFromSunday,
    /// `%G`, the year of [`Self::Week`].
    WeekYear,
    /// `%g`.
    WeekYear2,
    /// `%Y`.
    Year,
    /// `%y`.
    Year2,
    /// `%Z`.
    Zone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Full,
    Short,
}

impl Default for Layout {
    fn default() -> Self {
        Self::parse("%Y-%m-%dT%H:%M:%E3SZ").expect("the layout consists of known items")
    }
}

impl Layout {
    /// `None` when an item is not known here, or breaks the line.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut items = Vec::new();
        let mut rest = text;
        while let Some((before, item)) = rest.split_once('%') {
            push_text(&mut items, before);
            rest = take_item(&mut items, item)?;
        }
        push_text(&mut items, rest);
        Some(Self { items })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, moment: SystemTime) {
        let moment = OffsetDateTime::from(moment);
        for item in &self.items {
            item.write(out, moment).expect("a vector takes any bytes");
        }
    }
}

fn push_text(items: &mut Vec<Item>, text: &str) {
    match items.last_mut() {
        _ if text.is_empty() => {}
        Some(Item::Text(last)) => last.push_str(text),
        _ => items.push(Item::Text(text.to_owned())),
    }
}

/// Takes one item after its percent sign and gives what follows it.
fn take_item<'a>(items: &mut Vec<Item>, text: &'a str) -> Option<&'a str> {
    let mut chars = text.chars();
    let item = match chars.next()? {
        '%' => return literal(items, "%", chars.as_str()),
        'a' => Item::DayName(Length::Short),
        'A' => Item::DayName(Length::Full),
        'b' | 'h' => Item::MonthName(Length::Short),
        'B' => Item::MonthName(Length::Full),
        'c' => return nested(items, "%a %b %e %T %Y", chars.as_str()),
        'C' => Item::Century,
        'd' => Item::Day,
        'D' | 'x' => return nested(items, "%m/%d/%y", chars.as_str()),
        'e' => Item::DayPadded,
        'E' => return take_extended(items, chars.as_str()),
        'f' => Item::Fraction(9),
        'F' => return nested(items, "%Y-%m-%d", chars.as_str()),
        'g' => Item::WeekYear2,
        'G' => Item::WeekYear,
        'H' => Item::Hour,
        'I' => Item::Hour12,
        'j' => Item::DayOfYear,
        'k' => Item::HourPadded,
        'l' => Item::Hour12Padded,
        'm' => Item::Month,
        'M' => Item::Minute,
        'p' => Item::HalfDay,
        'P' => Item::HalfDayLower,
        'r' => return nested(items, "%I:%M:%S %p", chars.as_str()),
        'R' => return nested(items, "%H:%M", chars.as_str()),
        's' => Item::Unix,
        'S' => Item::Second,
        't' => return literal(items, "\t", chars.as_str()),
        'T' | 'X' => return nested(items, "%H:%M:%S", chars.as_str()),
        'u' => Item::DayNumber { sunday: 7 },
        'U' => Item::WeekFromSunday,
        'V' => Item::Week,
        'w' => Item::DayNumber { sunday: 0 },
        'W' => Item::WeekFromMonday,
        'y' => Item::Year2,
        'Y' => Item::Year,
        'z' => return literal(items, "+0000", chars.as_str()),
        'Z' => Item::Zone,
        // %3f: three digits of fraction. With seconds since 1970 it is a width, which they always have.
        digit @ '1'..='9' => match chars.next()? {
            'f' => Item::Fraction(u8::try_from(digit.to_digit(10)?).ok()?),
            's' => Item::Unix,
            _ => return None,
        },
        _ => return None,
    };
    items.push(item);
    Some(chars.as_str())
}

/// Takes what follows `%E`: `3S` are seconds with three digits of fraction, `3f` the fraction alone, `4Y` is the year and `z`
/// the offset with a colon.
fn take_extended<'a>(items: &mut Vec<Item>, text: &'a str) -> Option<&'a str> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if first == 'z' {
        return literal(items, "+00:00", chars.as_str());
    }
    let digits = u8::try_from(first.to_digit(10)?).ok()?;
    match (digits, chars.next()?) {
        (0, 'S') => items.push(Item::Second),
        (_, 'S') => items.extend([Item::Second, Item::Text(".".to_owned()), Item::Fraction(digits)]),
        (1..=9, 'f') => items.push(Item::Fraction(digits)),
        (4, 'Y') => items.push(Item::Year),
        _ => return None,
    }
    Some(chars.as_str())
}

fn literal<'a>(items: &mut Vec<Item>, text: &str, rest: &'a str) -> Option<&'a str> {
    push_text(items, text);
    Some(rest)
}

fn nested<'a>(items: &mut Vec<Item>, layout: &str, rest: &'a str) -> Option<&'a str> {
    for item in Layout::parse(layout)?.items {
        match item {
            Item::Text(text) => push_text(items, &text),
            item => items.push(item),
        }
    }
    Some(rest)
}

impl Item {
    fn write(&self, out: &mut Vec<u8>, at: OffsetDateTime) -> std::io::Result<()> {
        match self {
            Self::Century => write!(out, "{:02}", at.year().div_euclid(100)),
            Self::Day => write!(out, "{:02}", at.day()),
            Self::DayName(length) => out.write_all(length.of(&at.weekday().to_string())),
            Self::DayNumber { sunday } => match at.weekday().number_days_from_sunday() {
                0 => write!(out, "{sunday}"),
                day => write!(out, "{day}"),
            },
            Self::DayOfYear => write!(out, "{:03}", at.ordinal()),
            Self::DayPadded => write!(out, "{:2}", at.day()),
            Self::Fraction(digits) => write_fraction(out, at, *digits),
            Self::HalfDay => out.write_all(if at.hour() < 12 { b"AM" } else { b"PM" }),
            Self::HalfDayLower => out.write_all(if at.hour() < 12 { b"am" } else { b"pm" }),
            Self::Hour => write!(out, "{:02}", at.hour()),
            Self::Hour12 => write!(out, "{:02}", (at.hour() + 11) % 12 + 1),
            Self::Hour12Padded => write!(out, "{:2}", (at.hour() + 11) % 12 + 1),
            Self::HourPadded => write!(out, "{:2}", at.hour()),
            Self::Minute => write!(out, "{:02}", at.minute()),
            Self::Month => write!(out, "{:02}", u8::from(at.month())),
            Self::MonthName(length) => out.write_all(length.of(&at.month().to_string())),
            Self::Second => write!(out, "{:02}", at.second()),
            Self::Text(text) => out.write_all(text.as_bytes()),
            Self::Unix => write!(out, "{}", at.unix_timestamp()),
            Self::Week => write!(out, "{:02}", at.iso_week()),
            Self::WeekFromMonday => write!(out, "{:02}", at.monday_based_week()),
            Self::WeekFromSunday => write!(out, "{:02}", at.sunday_based_week()),
            Self::WeekYear => write!(out, "{:04}", at.to_iso_week_date().0),
            Self::WeekYear2 => write!(out, "{:02}", at.to_iso_week_date().0.rem_euclid(100)),
            Self::Year => write!(out, "{:04}", at.year()),
            Self::Year2 => write!(out, "{:02}", at.year().rem_euclid(100)),
            Self::Zone => out.write_all(b"UTC"),
        }
    }
}

fn write_fraction(out: &mut Vec<u8>, at: OffsetDateTime, digits: u8) -> std::io::Result<()> {
    let value = at.nanosecond() / 10_u32.pow(9 - u32::from(digits.min(9)));
    write!(out, "{value:0width$}", width = usize::from(digits))
}

impl Length {
    /// A name, or its first three letters.
    fn of(self, name: &str) -> &[u8] {
        match self {
            Self::Full => name.as_bytes(),
            Self::Short => name.as_bytes().get(..3).unwrap_or_default(),
        }
    }
}
