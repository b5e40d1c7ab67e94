//! How sections describe themselves: [`section!`] writes a struct, its defaults, its key names and its comments at once,
//! and every algorithm (overlay, overrides, template, effect) walks the result through [`Shape`].

mod duration;
mod scalar;

use toml::de::DeValue;

pub(crate) use self::duration::{Millis, Minutes, Nanos, Seconds, TokenLife};
pub(crate) use self::scalar::{Comma, PortText, bind_address, keyword, mismatch, quoted, read_list};
use crate::properties::Properties;

/// One key of the file.
#[derive(Debug)]
pub(crate) struct Key {
    /// Canonical spelling.
    pub(crate) name: &'static str,
    /// What it does, for the template.
    pub(crate) comment: &'static str,
    /// Older name that still works.
    pub(crate) deprecated: Option<&'static str>,
}

impl Key {
    /// The four spellings the original accepts, in its order of preference.
    pub(crate) fn spellings(name: &str) -> [String; 4] {
        let mut rest = name.chars();
        let first = rest.next();
        let with = |first: Option<char>| first.into_iter().chain(rest.clone()).collect::<String>();
        [
            with(first.map(|c| c.to_ascii_uppercase())),
            name.to_ascii_lowercase(),
            name.to_ascii_uppercase(),
            with(first.map(|c| c.to_ascii_lowercase())),
        ]
    }
}

/// A field as the algorithms see it.
pub(crate) enum Shape<'a> {
    /// A value.
    Leaf(&'a mut dyn Leaf),
    /// A table with free keys.
    Map(&'a mut Properties),
    /// An array of tables.
    Rows(&'a mut dyn Rows),
    /// A table.
    Section(&'a mut dyn Section),
}

/// A table of the file.
pub(crate) trait Section {
    /// Key of the boolean that turns the section on, where it has one; empty where a boolean of that name does not.
    fn switch(&self) -> &'static str;
    /// Visits every key in order.
    fn fields(&mut self, visit: &mut dyn FnMut(&'static Key, Shape<'_>));
}

/// An array of tables.
pub(crate) trait Rows {
    /// Empties the array.
    fn clear(&mut self);
    /// Adds a row whose values are all zero or empty, and hands it out.
    fn add(&mut self, visit: &mut dyn FnMut(&mut dyn Section));
    /// Visits every row in order.
    fn each(&mut self, visit: &mut dyn FnMut(&mut dyn Section));
    /// Number of rows.
    fn count(&self) -> usize;
}

/// Why a value is not taken as written; the texts leave out the key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A word the original does not know either; its replacement is in place.
    Replaced(String),
    /// Wrong type or range; the field is unchanged.
    Wrong(String),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Wrong(reason)
    }
}

/// A value of the file.
pub(crate) trait Leaf {
    /// Takes the value the file has.
    fn read(&mut self, value: &DeValue<'_>) -> Result<(), Refusal>;
    /// Takes the text of an override variable.
    fn parse(&mut self, text: &str) -> Result<(), Refusal>;
    /// The value as TOML.
    fn literal(&self) -> String;
    /// Whether a value under the deprecated name wins over this default.
    fn yields_to(&self, deprecated: &DeValue<'_>) -> bool {
        deprecated.as_str() != Some("")
    }
    /// The value, when it is a boolean.
    fn truth(&self) -> Option<bool> {
        None
    }
    /// Whether it holds secrets, which are resolved on their own.
    fn is_secret(&self) -> bool {
        false
    }
    /// The secrets inside.
    fn secrets(&mut self) -> &mut [crate::secret::Secret] {
        &mut []
    }
}

/// A type that can be a field.
pub(crate) trait Node {
    /// The field as the algorithms see it.
    fn shape(&mut self) -> Shape<'_>;
}

impl Node for Properties {
    fn shape(&mut self) -> Shape<'_> {
        Shape::Map(self)
    }
}

impl<T: Section + Default> Node for Vec<T> {
    fn shape(&mut self) -> Shape<'_> {
        Shape::Rows(self)
    }
}

impl<T: Section + Default> Rows for Vec<T> {
    fn clear(&mut self) {
        Self::clear(self);
    }

    fn add(&mut self, visit: &mut dyn FnMut(&mut dyn Section)) {
        let mut row = T::default();
        visit(&mut row);
        self.push(row);
    }

    fn each(&mut self, visit: &mut dyn FnMut(&mut dyn Section)) {
        for row in self {
            visit(row);
        }
    }

    fn count(&self) -> usize {
        self.len()
    }
}

/// A leaf, and where it stands.
pub(crate) struct Item<'a> {
    /// Key path, rows as `users[0]`.
    pub(crate) path: &'a str,
    /// The feature it belongs to is switched off.
    pub(crate) off: bool,
    /// The value.
    pub(crate) value: Value<'a>,
}

/// What a walk stops at.
pub(crate) enum Value<'a> {
    /// A value.
    Leaf(&'a mut dyn Leaf),
    /// A table with free keys.
    Map(&'a mut Properties),
}

/// Visits every leaf below `root`, depth first.
pub(crate) fn walk(root: &mut dyn Section, visit: &mut dyn FnMut(Item<'_>)) {
    walk_section(root, &mut String::new(), false, visit);
}

fn walk_section(section: &mut dyn Section, path: &mut String, off: bool, visit: &mut dyn FnMut(Item<'_>)) {
    let off = off || switched_off(section);
    section.fields(&mut |key, shape| {
        let length = path.len();
        join(path, key.name);
        match shape {
            Shape::Leaf(leaf) => visit(Item {
                path,
                off,
                value: Value::Leaf(leaf),
            }),
            Shape::Map(map) => visit(Item {
                path,
                off,
                value: Value::Map(map),
            }),
            Shape::Section(section) => walk_section(section, path, off, visit),
            Shape::Rows(rows) => {
                let (length, mut index) = (path.len(), 0);
                rows.each(&mut |row| {
                    path.push_str(&format!("[{index}]"));
                    walk_section(row, path, off, visit);
                    path.truncate(length);
                    index += 1;
                });
            }
        }
        path.truncate(length);
    });
}

fn switched_off(section: &mut dyn Section) -> bool {
    let switch = section.switch();
    let mut off = false;
    section.fields(&mut |key, shape| {
        if let Shape::Leaf(leaf) = shape
            && key.name == switch
        {
            off = leaf.truth() == Some(false);
        }
    });
    off
}

/// Appends a key to a key path.
pub(crate) fn join(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

/// Every key path below `T`, tables included; rows without an index.
pub(crate) fn paths<T: Section + Default>() -> Vec<String> {
    fn collect(section: &mut dyn Section, prefix: &str, into: &mut Vec<String>) {
        section.fields(&mut |key, shape| {
            let mut path = prefix.to_owned();
            join(&mut path, key.name);
            into.push(path.clone());
            match shape {
                Shape::Leaf(_) | Shape::Map(_) => {}
                Shape::Section(section) => collect(section, &path, into),
                Shape::Rows(rows) => {
                    rows.clear();
                    rows.add(&mut |row| collect(row, &path, into));
                }
            }
        });
    }
    let mut all = Vec::new();
    collect(&mut T::default(), "", &mut all);
    all
}

/// Declares a table: doc comments become the comments of the template, `switch` names the boolean that turns it on where
/// that is not `enabled`, `[..]` holds the key, `was` an older name of it, `as` the way a value is written in the file,
/// and what follows `=` is the default (left out: zero or empty, as the rows of an array of tables start).
macro_rules! section {
    (
        $(#[doc = $title:literal])+
        $(#[switch($switch:literal)])?
        pub struct $name:ident {
            $(
                $(#[doc = $comment:literal])+
                $field:ident [$key:literal $(was $old:literal)?]: $ty:ty $(as $unit:ident)? $(= $default:expr)?,
            )*
        }
    ) => {
        $(#[doc = $title])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $comment])+ pub $field: $ty, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::schema::section!(@default $($default)?), )* }
            }
        }

        impl $crate::schema::Section for $name {
            fn switch(&self) -> &'static str {
                $crate::schema::section!(@switch $($switch)?)
            }

            fn fields(&mut self, visit: &mut dyn FnMut(&'static $crate::schema::Key, $crate::schema::Shape<'_>)) {
                $({
                    static KEY: $crate::schema::Key = $crate::schema::Key {
                        name: $key,
                        comment: concat!($($comment, "\n"),+),
                        deprecated: $crate::schema::section!(@old $($old)?),
                    };
                    $crate::schema::section!(@visit visit, self.$field $(, $unit)?);
                })*
            }
        }

        impl $crate::schema::Node for $name {
            fn shape(&mut self) -> $crate::schema::Shape<'_> {
                $crate::schema::Shape::Section(self)
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@switch) => { "enabled" };
    (@switch $switch:literal) => { $switch };
    (@old) => { None };
    (@old $old:literal) => { Some($old) };
    (@visit $visit:ident, $field:expr) => { $visit(&KEY, $crate::schema::Node::shape(&mut $field)) };
    (@visit $visit:ident, $field:expr, $unit:ident) => {
        $visit(&KEY, $crate::schema::Shape::Leaf(&mut $crate::schema::$unit(&mut $field)))
    };
}
pub(crate) use section;
