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
    /// `%a`.
    DayName,
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
    /// `%p`.
    HalfDay,
    /// `%M`.
    Minute,
    /// `%m`.
    Month,
    /// `%b`.
    MonthName,
    /// `%S`.
    Second,
    Text(String),
    /// `%s`, with that many digits of fraction run on.
    Unix(u8),
    /// `%Y`.
    Year,
    /// `%y`.
    Year2,
    /// `%z`.
    Offset,
    /// `%Z`.
    Zone,
}

impl Default for Layout {
    fn default() -> Self {
        Self::parse("%Y-%m-%dT%H:%M:%E3SZ").expect("the layout consists of known items")
    }
}

impl Layout {
    /// `None` when an item is unknown.
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
        '%' => {
            push_text(items, "%");
            return Some(chars.as_str());
        }
        'a' => Item::DayName,
        'b' | 'h' => Item::MonthName,
        'd' => Item::Day,
        'e' => Item::DayPadded,
        // %E3S: seconds with three digits of fraction.
        'E' => {
            let digits = chars.next()?.to_digit(10)?;
            if chars.next()? != 'S' {
                return None;
            }
            items.extend([Item::Second, Item::Text(".".to_owned())]);
            Item::Fraction(digits_of(digits)?)
        }
        'f' => Item::Fraction(9),
        'F' => return nested(items, "%Y-%m-%d", chars.as_str()),
        'H' => Item::Hour,
        'I' => Item::Hour12,
        'j' => Item::DayOfYear,
        'm' => Item::Month,
        'M' => Item::Minute,
        'p' => Item::HalfDay,
        'R' => return nested(items, "%H:%M", chars.as_str()),
        's' => Item::Unix(0),
        'S' => Item::Second,
        'T' => return nested(items, "%H:%M:%S", chars.as_str()),
        'y' => Item::Year2,
        'Y' => Item::Year,
        'z' => Item::Offset,
        'Z' => Item::Zone,
        // %3f: three digits of fraction; %3s: the same after the seconds since 1970.
        digit @ '1'..='9' => {
            let digits = digits_of(digit.to_digit(10)?)?;
            match chars.next()? {
                'f' => Item::Fraction(digits),
                's' => Item::Unix(digits),
                _ => return None,
            }
        }
        _ => return None,
    };
    items.push(item);
    Some(chars.as_str())
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

fn digits_of(digits: u32) -> Option<u8> {
    u8::try_from(digits)
        .ok()
        .filter(|digits| (1..=9).contains(digits))
}

impl Item {
    fn write(&self, out: &mut Vec<u8>, at: OffsetDateTime) -> std::io::Result<()> {
        match self {
            Self::Day => write!(out, "{:02}", at.day()),
            Self::DayName => out.write_all(short(&at.weekday().to_string())),
            Self::DayOfYear => write!(out, "{:03}", at.ordinal()),
            Self::DayPadded => write!(out, "{:2}", at.day()),
            Self::Fraction(digits) => write_fraction(out, at, *digits),
            Self::HalfDay => out.write_all(if at.hour() < 12 { b"AM" } else { b"PM" }),
            Self::Hour => write!(out, "{:02}", at.hour()),
            Self::Hour12 => write!(out, "{:02}", (at.hour() + 11) % 12 + 1),
            Self::Minute => write!(out, "{:02}", at.minute()),
            Self::Month => write!(out, "{:02}", u8::from(at.month())),
            Self::MonthName => out.write_all(short(&at.month().to_string())),
            Self::Offset => out.write_all(b"+0000"),
            Self::Second => write!(out, "{:02}", at.second()),
            Self::Text(text) => out.write_all(text.as_bytes()),
            Self::Unix(digits) => {
                write!(out, "{}", at.unix_timestamp())?;
                write_fraction(out, at, *digits)
            }
            Self::Year => write!(out, "{:04}", at.year()),
            Self::Year2 => write!(out, "{:02}", at.year().rem_euclid(100)),
            Self::Zone => out.write_all(b"UTC"),
        }
    }
}

fn write_fraction(out: &mut Vec<u8>, at: OffsetDateTime, digits: u8) -> std::io::Result<()> {
    if digits == 0 {
        return Ok(());
    }
    let value = at.nanosecond() / 10_u32.pow(9 - u32::from(digits.min(9)));
    write!(out, "{value:0width$}", width = usize::from(digits))
}

fn short(name: &str) -> &[u8] {
    name.as_bytes().get(..3).unwrap_or_default()
}
