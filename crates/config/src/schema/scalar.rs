//! Values of the file: booleans, numbers, text, lists and keywords.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use toml::de::{DeInteger, DeValue};

use super::{Leaf, Node, Refusal, Shape};
use crate::secret::Secret;

macro_rules! leaves {
    ($($ty:ty),+) => { $(
        impl Node for $ty {
            fn shape(&mut self) -> Shape<'_> {
                Shape::Leaf(self)
            }
        }
    )+ };
}

leaves!(
    bool,
    i32,
    u16,
    u32,
    String,
    PathBuf,
    IpAddr,
    Secret,
    Vec<IpNet>,
    Vec<String>,
    Vec<u32>,
    Vec<Secret>
);

/// "expected X, found Y"
pub(crate) fn mismatch(expected: &str, found: &DeValue<'_>) -> String {
    format!("expected {expected}, found {}", found.type_str())
}

pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(super) fn integer(value: &DeInteger<'_>) -> Result<i64, String> {
    i64::from_str_radix(value.as_str(), value.radix()).map_err(|_| format!("{value} is out of range"))
}

fn text<'a>(value: &'a DeValue<'_>) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| mismatch("a string", value))
}

impl Leaf for bool {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        *self = value.as_bool().ok_or_else(|| mismatch("a boolean", value))?;
        Ok(())
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        *self = match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return Err("expected true or false".to_owned().into()),
        };
        Ok(())
    }

    fn literal(&self) -> String {
        self.to_string()
    }

    fn yields_to(&self, deprecated: &DeValue<'_>) -> bool {
        deprecated.as_bool() != Some(*self)
    }

    fn truth(&self) -> Option<bool> {
        Some(*self)
    }
}

fn number<T: TryFrom<i64> + std::fmt::Display>(value: &DeValue<'_>, limits: [T; 2]) -> Result<T, String> {
    narrow(
        integer(value.as_integer().ok_or_else(|| mismatch("an integer", value))?)?,
        limits,
    )
}

fn number_text<T: TryFrom<i64> + std::fmt::Display>(text: &str, limits: [T; 2]) -> Result<T, String> {
    narrow(
        text.trim()
            .parse()
            .map_err(|_| format!("{text:?} is not an integer"))?,
        limits,
    )
}

fn narrow<T: TryFrom<i64> + std::fmt::Display>(number: i64, [least, greatest]: [T; 2]) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("{number} is not between {least} and {greatest}"))
}

macro_rules! numbers {
    ($($ty:ty),+) => { $(
        impl Leaf for $ty {
            fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
                *self = number(value, [Self::MIN, Self::MAX])?;
                Ok(())
            }

            fn parse(&mut self, text: &str) -> Result<(), Refusal> {
                *self = number_text(text, [Self::MIN, Self::MAX])?;
                Ok(())
            }

            fn literal(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}

numbers!(i32, u16, u32);

impl Leaf for String {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        text(value)?.clone_into(self);
        Ok(())
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        text.clone_into(self);
        Ok(())
    }

    fn literal(&self) -> String {
        quoted(self)
    }
}

impl Leaf for PathBuf {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        self.parse(text(value)?)
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        if text.contains('\0') {
            return Err("a path cannot hold a NUL".to_owned().into());
        }
        *self = Self::from(text);
        Ok(())
    }

    fn literal(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

/// An address to bind: empty means every address.
impl Leaf for IpAddr {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        Leaf::parse(self, text(value)?)
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        *self = bind_address(text).ok_or_else(|| format!("{text:?} is not an address to bind"))?;
        Ok(())
    }

    fn literal(&self) -> String {
        quoted(&self.to_string())
    }
}

/// Reads an address to bind: an IP address, `localhost`, or nothing for every address.
pub(crate) fn bind_address(text: &str) -> Option<IpAddr> {
    match text.trim() {
        "" => Some(Ipv4Addr::UNSPECIFIED.into()),
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        text => text.trim_start_matches('[').trim_end_matches(']').parse().ok(),
    }
}

impl Leaf for Secret {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        *self = Self::new(text(value)?);
        Ok(())
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        *self = Self::new(text);
        Ok(())
    }

    fn literal(&self) -> String {
        quoted(self.reveal())
    }

    fn is_secret(&self) -> bool {
        true
    }

    fn secrets(&mut self) -> &mut [Secret] {
        std::slice::from_mut(self)
    }
}

/// Elements of a list; `from_text` reads one element of the comma-separated override.
pub(crate) fn read_list<T>(
    value: &DeValue<'_>,
    element: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let array = value.as_array().ok_or_else(|| mismatch("an array", value))?;
    let mut list = Vec::with_capacity(array.len());
    for (index, item) in array.iter().enumerate() {
        list.push(element(item.get_ref()).map_err(|reason| format!("element {index}: {reason}"))?);
    }
    Ok(list)
}

fn literal_list<T>(list: &[T], element: impl Fn(&T) -> String) -> String {
    format!("[{}]", list.iter().map(element).collect::<Vec<_>>().join(", "))
}

impl Leaf for Vec<String> {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        *self = read_list(value, |item| text(item).map(str::to_owned))?;
        Ok(())
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        *self = text.split(',').map(|item| item.trim().to_owned()).collect();
        Ok(())
    }

    fn literal(&self) -> String {
        literal_list(self, |item| quoted(item))
    }
}

/// Ranges of addresses; a single address is a range of its own.
impl Leaf for Vec<IpNet> {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        *self = read_list(value, |item| range(text(item)?))?;
        Ok(())
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        *self = items.map(range).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn literal(&self) -> String {
        literal_list(self, |range| quoted(&range.to_string()))
    }
}

/// Reads a range, or an address. An IPv4 range in the guise of IPv6 is what it stands for.
fn range(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("{text:?} is not a range of addresses such as 10.0.0.0/8");
    let range: IpNet = match text.contains('/') {
        true => text.parse().map_err(|_| wrong())?,
        false => IpNet::from(text.parse::<IpAddr>().map_err(|_| wrong())?),
    };
    let range = range.trunc();
    let IpNet::V6(six) = range else { return Ok(range) };
    let four = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
    let four = four.and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    Ok(four.map_or(range, IpNet::V4))
}

impl Leaf for Vec<u32> {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        *self = read_list(value, |item| number(item, [0, u32::MAX]))?;
        Ok(())
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        *self = text
            .split(',')
            .map(|item| number_text(item, [0, u32::MAX]))
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    fn literal(&self) -> String {
        literal_list(self, ToString::to_string)
    }
}

impl Leaf for Vec<Secret> {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        *self = read_list(value, |item| text(item).map(Secret::new))?;
        Ok(())
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        *self = text.split(',').map(|item| Secret::new(item.trim())).collect();
        Ok(())
    }

    fn literal(&self) -> String {
        literal_list(self, |item| quoted(item.reveal()))
    }

    fn is_secret(&self) -> bool {
        true
    }

    fn secrets(&mut self) -> &mut [Secret] {
        self
    }
}

/// A list that the file writes as one string with commas.
pub(crate) struct Comma<'a>(pub(crate) &'a mut Vec<String>);

impl Leaf for Comma<'_> {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        self.parse(text(value)?)
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        *self.0 = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect();
        Ok(())
    }

    fn literal(&self) -> String {
        quoted(&self.0.join(", "))
    }
}

/// A port that the file writes as a string; a number is taken as well.
pub(crate) struct PortText<'a>(pub(crate) &'a mut u16);

impl Leaf for PortText<'_> {
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal> {
        match value.as_str() {
            Some(text) => self.parse(text),
            None => self.0.read(value),
        }
    }

    fn parse(&mut self, text: &str) -> Result<(), Refusal> {
        self.0.parse(text)
    }

    fn literal(&self) -> String {
        quoted(&self.0.to_string())
    }
}

/// Declares a closed set of words. Case is ignored; a word that is not in the set is taken as the `else` one, as the
/// original does, and the caller is told. Without an `else`, it is an error.
macro_rules! keyword {
    (
        $(#[$meta:meta])*
        pub enum $name:ident else $fallback:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )+
        }
    ) => {
        $crate::schema::keyword! {
            @words
            $(#[$meta])*
            pub enum $name {
                $( $(#[$variant_meta])* $variant = $text, )+
            }
        }

        impl $name {
            fn take(&mut self, text: &str) -> Result<(), $crate::schema::Refusal> {
                let known = Self::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
                *self = known.map_or(Self::$fallback, |(_, value)| *value);
                if known.is_none() {
                    return Err($crate::schema::Refusal::Replaced(format!(
                        "{text:?} is none of {} and is taken as {}",
                        Self::words(),
                        self.as_str()
                    )));
                }
                Ok(())
            }
        }
    };
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )+
        }
    ) => {
        $crate::schema::keyword! {
            @words
            $(#[$meta])*
            pub enum $name {
                $( $(#[$variant_meta])* $variant = $text, )+
            }
        }

        impl $name {
            fn take(&mut self, text: &str) -> Result<(), $crate::schema::Refusal> {
                let known = Self::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
                let none = || format!("{text:?} is none of {}", Self::words());
                *self = known.map(|(_, value)| *value).ok_or_else(none)?;
                Ok(())
            }
        }
    };
    (
        @words
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($text, Self::$variant)),+];

            /// The word as the file writes it.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }
        }

        impl $name {
            /// All of them, for messages.
            fn words() -> String {
                let words: Vec<_> = Self::WORDS.iter().map(|(word, _)| *word).collect();
                words.join(", ")
            }
        }

        impl $crate::schema::Leaf for $name {
            fn read(&mut self, value: &toml::de::DeValue<'_>) -> Result<(), $crate::schema::Refusal> {
                match value.as_str() {
                    Some(text) => self.take(text),
                    None => Err(format!("expected a string, found {}", value.type_str()).into()),
                }
            }

            fn parse(&mut self, text: &str) -> Result<(), $crate::schema::Refusal> {
                self.take(text)
            }

            fn literal(&self) -> String {
                format!("{:?}", self.as_str())
            }
        }

        impl $crate::schema::Node for $name {
            fn shape(&mut self) -> $crate::schema::Shape<'_> {
                $crate::schema::Shape::Leaf(self)
            }
        }
    };
}
pub(crate) use keyword;
