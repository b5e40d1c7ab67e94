//! JSON and YAML as one tree, with scalars as they are written.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    /// A text, number or boolean, as written.
    Scalar(String),
    List(Vec<Self>),
    /// In the order of the document.
    Map(Vec<(String, Self)>),
}

/// Why a text is no definition.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not UTF-8.
    #[error("not UTF-8")]
    Text(#[source] std::str::Utf8Error),
    /// Neither `swagger` nor `openapi` at the root.
    #[error("no OpenAPI definition")]
    Unknown,
    /// Not YAML.
    #[error("not YAML")]
    Yaml(#[source] yaml_serde::Error),
}

/// Reads a document: JSON when it begins with a brace and is JSON, YAML otherwise.
///
/// # Errors
/// It is neither.
pub(crate) fn parse(content: &[u8]) -> Result<Node, Unreadable> {
    let text = std::str::from_utf8(content).map_err(Unreadable::Text)?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        let mut json = serde_json::Deserializer::from_str(text);
        // YAML's flow style begins alike.
        if let Ok(node) = Tree(Place::Root).deserialize(&mut json)
            && json.end().is_ok()
        {
            return Ok(node);
        }
    }
    let mut node = Tree(Place::Root)
        .deserialize(yaml_serde::Deserializer::from_str(text))
        .map_err(Unreadable::Yaml)?;
    // Values of an untyped reading have lost their spelling, `1.10` is a number there. Read as text they have it.
    Spelling(&mut node)
        .deserialize(yaml_serde::Deserializer::from_str(text))
        .map_err(Unreadable::Yaml)?;
    Ok(node)
}

impl Node {
    /// The value of a key; of several equal ones the last, as most readers have it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .rfind(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// The value of a key in any case, the exact one first.
    pub(crate) fn get_any_case(&self, key: &str) -> Option<&Self> {
        self.get(key).or_else(|| {
            self.entries()
                .rfind(|(name, _)| name.eq_ignore_ascii_case(key))
                .map(|(_, value)| value)
        })
    }

    /// The entries of an object; none of anything else.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = (&str, &Self)> {
        let entries = if let Self::Map(entries) = self {
            entries.as_slice()
        } else {
            &[]
        };
        entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The items of a list; `None` of anything else.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        if let Self::List(items) = self {
            Some(items)
        } else {
            None
        }
    }

    /// A scalar as written.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Scalar(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// A boolean.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self.text()? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self, Self::Map(_))
    }

    /// What a reference within the document points to (RFC 6901 in a URI fragment).
    pub(crate) fn at(&self, reference: &str) -> Option<&Self> {
        let pointer = percent_encoding::percent_decode_str(reference.strip_prefix("#/")?)
            .decode_utf8()
            .ok()?;
        pointer.split('/').try_fold(self, |node, step| {
            let step = step.replace("~1", "/").replace("~0", "~");
            match node {
                Self::List(items) => items.get(step.parse::<usize>().ok()?),
                // OpenAPI 2.0 may have it in another case (faults.md B7).
                _ if step == "paths" => node.get_any_case(&step),
                _ => node.get(&step),
            }
        })
    }
}

/// Where in a definition a value stands, so that nothing is made of what nobody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Components,
    Paths,
    PathItem,
    Operation,
    Anywhere,
}

impl Place {
    /// Where the value of a key stands; `None` when it is left out.
    fn below(self, key: &str) -> Option<Self> {
        let place = match (self, key) {
            (
                Self::Root,
                "definitions" | "parameters" | "responses" | "tags" | "webhooks" | "externalDocs",
            ) => return None,
            (Self::Root, "components") => Self::Components,
            (Self::Root, _) if key.eq_ignore_ascii_case("paths") => Self::Paths,
            (Self::Components, "pathItems") => Self::Paths,
            (Self::Components, "securitySchemes") => Self::Anywhere,
            (Self::Components, _) => return None,
            (Self::Paths, _) => Self::PathItem,
            (Self::PathItem, "parameters" | "description") => return None,
            (Self::PathItem, _)
                if !key.starts_with("x-") && !["servers", "additionalOperations"].contains(&key) =>
            {
                Self::Operation
            }
            (
                Self::Operation,
                "responses" | "requestBody" | "parameters" | "callbacks" | "description" | "tags",
            ) => return None,
            _ => Self::Anywhere,
        };
        Some(place)
    }
}

/// Reads a tree, without the spelling of numbers.
struct Tree(Place);

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(format!("{value:?}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Self(Place::Anywhere))? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = match self.0.below(&key) {
                Some(place) => map.next_value_seed(Self(place))?,
                None => map.next_value::<IgnoredAny>().map(|_| Node::Null)?,
            };
            entries.push((key, value));
        }
        Ok(Node::Map(entries))
    }
}

/// Reads the same document once more, and puts every scalar as it is written.
struct Spelling<'a>(&'a mut Node);

impl<'de> DeserializeSeed<'de> for Spelling<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0 {
            Node::Null => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ()),
            Node::Scalar(_) => deserializer.deserialize_str(self),
            Node::List(_) => deserializer.deserialize_seq(self),
            Node::Map(_) => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Spelling<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was there before")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        *self.0 = Node::Scalar(value.to_owned());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if let Node::List(items) = self.0 {
            for item in items {
                list.next_element_seed(Spelling(item))?;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Node::Map(entries) = self.0 {
            for (_, value) in entries {
                map.next_key::<IgnoredAny>()?;
                map.next_value_seed(Spelling(value))?;
            }
        }
        Ok(())
    }
}
