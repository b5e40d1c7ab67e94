//! Example responses for APIs that the gateway answers itself.

use std::cell::Cell;

use super::format::Format;
use crate::document::refs;
use crate::document::tree::Section;
use crate::document::value::Value;
use crate::model::{MockContent, MockResponse};

/// Examples of one response are capped: they are sent to every enforcer.
const MAX_EXAMPLES: usize = 64;

/// Bytes of all examples of an API together. A response that many operations refer to is written out for each of them, so that
/// a small file could otherwise fill the memory.
const MAX_BYTES: usize = 8 << 20;

/// The examples of an API are more than [`MAX_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the examples of the API are more than the {MAX_BYTES} bytes allowed")]
pub(crate) struct Full;

/// What the examples of one API may still take; nothing at all once one of them found no room.
#[derive(Debug)]
pub(crate) struct Room(Cell<Option<usize>>);

impl Default for Room {
    fn default() -> Self {
        Self(Cell::new(Some(MAX_BYTES)))
    }
}

impl Room {
    /// The API has been refused already for what it takes.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.0.get().is_none()
    }

    /// The text of the example called `name`, if there is room for both.
    fn take(&self, name: &str, text: String) -> Result<String, Full> {
        let left = self
            .0
            .get()
            .and_then(|left| left.checked_sub(name.len() + text.len()));
        self.0.set(left);
        left.map(|_| text).ok_or(Full)
    }
}

/// The examples of an operation by response code; responses without any content are left out.
pub(crate) fn responses(
    root: &Value,
    operation: &Section<'_>,
    format: Format,
    room: &Room,
) -> Result<Vec<MockResponse>, Full> {
    let Some(Value::Object(responses)) = operation.get("responses") else {
        return Ok(Vec::new());
    };
    let mut mocks = Vec::new();
    for (code, response) in responses {
        let code = code.to_ascii_lowercase();
        if !is_code(&code) {
            continue;
        }
        let Some(response) = end(root, response) else {
            continue;
        };
        let (headers, content) = match format {
            Format::OpenApi2 => (Vec::new(), content_of_2(response, room)?),
            Format::OpenApi3 | Format::AsyncApi2 => (
                headers_of_3(root, response, room)?,
                content_of_3(root, response, room)?,
            ),
        };
        if !content.is_empty() {
            mocks.push(MockResponse {
                code,
                headers,
                content,
            });
        }
    }
    Ok(mocks)
}

/// Three digits or `x`, or `default`.
fn is_code(code: &str) -> bool {
    code == "default" || (code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit() || byte == b'x'))
}

fn content_of_2(response: &Value, room: &Room) -> Result<Vec<MockContent>, Full> {
    let Some(Value::Object(examples)) = response.get("examples") else {
        return Ok(Vec::new());
    };
    let of = |(media_type, example): (&String, &Value)| {
        Ok(MockContent {
            media_type: media_type.clone(),
            examples: vec![(
                String::new(),
                room.take(media_type, example.to_json().to_string())?,
            )],
        })
    };
    examples.iter().take(MAX_EXAMPLES).map(of).collect()
}

fn content_of_3(root: &Value, response: &Value, room: &Room) -> Result<Vec<MockContent>, Full> {
    let Some(Value::Object(content)) = response.get("content") else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for (media_type, media) in content.iter().take(MAX_EXAMPLES) {
        let mut examples = Vec::new();
        match (media.get("example"), media.get("examples")) {
            (Some(example), _) => examples.push((
                String::new(),
                room.take(media_type, example.to_json().to_string())?,
            )),
            (None, Some(Value::Object(named))) => {
                for (name, example) in named.iter().take(MAX_EXAMPLES) {
                    if let Some(value) = end(root, example).and_then(|example| example.get("value")) {
                        examples.push((name.clone(), room.take(name, value.to_json().to_string())?));
                    }
                }
            }
            (None, _) => {}
        }
        if !examples.is_empty() {
            room.take(media_type, String::new())?;
            all.push(MockContent {
                media_type: media_type.clone(),
                examples,
            });
        }
    }
    Ok(all)
}

fn headers_of_3(root: &Value, response: &Value, room: &Room) -> Result<Vec<(String, String)>, Full> {
    let Some(Value::Object(headers)) = response.get("headers") else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for (name, header) in headers {
        let example = end(root, header).and_then(|header| header.get("example"));
        if let Some(text) = example.and_then(Value::text) {
            all.push((name.clone(), room.take(name, text.to_owned())?));
        }
    }
    Ok(all)
}

/// What the `$ref` of a value leads to; the value itself without one.
fn end<'a>(root: &'a Value, value: &'a Value) -> Option<&'a Value> {
    refs::layers(root, value).ok()?.last().copied()
}
