//! Example responses for APIs that the gateway answers itself.

use serde_json::Value;

use crate::definition::Format;
use crate::model::{MockContent, MockResponse};
use crate::refs;
use crate::tree::{Section, scalar};

/// Examples of one response are capped: they are sent to every enforcer.
const MAX_EXAMPLES: usize = 64;

/// The examples of an operation by response code; responses without any content are left out.
pub(crate) fn responses(root: &Value, operation: &Section<'_>, format: Format) -> Vec<MockResponse> {
    let Some(Value::Object(responses)) = operation.get("responses") else {
        return Vec::new();
    };
    let mut mocks = Vec::new();
    for (code, response) in responses {
        let code = code.to_ascii_lowercase();
        if !is_code(&code) {
            continue;
        }
        let Some(response) = refs::layers(root, response)
            .ok()
            .and_then(|layers| layers.last().copied())
        else {
            continue;
        };
        let (headers, content) = match format {
            Format::OpenApi2 => (Vec::new(), content_of_2(response)),
            Format::OpenApi3 | Format::AsyncApi2 => {
                (headers_of_3(root, response), content_of_3(root, response))
            }
        };
        if !content.is_empty() {
            mocks.push(MockResponse {
                code,
                headers,
                content,
            });
        }
    }
    mocks
}

/// Three digits or `x`, or `default`.
fn is_code(code: &str) -> bool {
    code == "default" || (code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit() || byte == b'x'))
}

fn content_of_2(response: &Value) -> Vec<MockContent> {
    let Some(Value::Object(examples)) = response.get("examples") else {
        return Vec::new();
    };
    let of = |(media_type, example): (&String, &Value)| MockContent {
        media_type: media_type.clone(),
        examples: vec![(String::new(), example.to_string())],
    };
    examples.iter().take(MAX_EXAMPLES).map(of).collect()
}

fn content_of_3(root: &Value, response: &Value) -> Vec<MockContent> {
    let Some(Value::Object(content)) = response.get("content") else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (media_type, media) in content.iter().take(MAX_EXAMPLES) {
        let examples = match (media.get("example"), media.get("examples")) {
            (Some(example), _) => vec![(String::new(), example.to_string())],
            (None, Some(Value::Object(named))) => named
                .iter()
                .take(MAX_EXAMPLES)
                .filter_map(|(name, example)| {
                    let example = *refs::layers(root, example).ok()?.last()?;
                    Some((name.clone(), example.get("value")?.to_string()))
                })
                .collect(),
            (None, _) => Vec::new(),
        };
        if !examples.is_empty() {
            all.push(MockContent {
                media_type: media_type.clone(),
                examples,
            });
        }
    }
    all
}

fn headers_of_3(root: &Value, response: &Value) -> Vec<(String, String)> {
    let Some(Value::Object(headers)) = response.get("headers") else {
        return Vec::new();
    };
    headers
        .iter()
        .filter_map(|(name, header)| {
            let header = *refs::layers(root, header).ok()?.last()?;
            Some((name.clone(), scalar(header.get("example")?)?))
        })
        .collect()
}
