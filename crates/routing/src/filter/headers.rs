//! Changes that a route makes in the headers of requests and responses, whatever they say. Fields of Envoy's `Route`, which
//! its router carries out: `request_headers_to_add` and the like.

use std::mem::take;
use std::sync::Arc;

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, EXPECT, HOST, HeaderName, HeaderValue,
    SERVER, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;

use super::seam::{Draft, Given, PerRoute};
use crate::Invalid;
use crate::wire::read::{Path, nothing_else};

/// Changes in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// Of the request, before it goes upstream.
    pub request: Changes,
    /// Of the response, before it goes downstream.
    pub response: Changes,
}

/// Changes in one direction. Removals come first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Headers that are removed.
    pub remove: Vec<HeaderName>,
    /// Headers that are set, in order.
    pub set: Vec<Change>,
}

/// A header that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub name: HeaderName,
    /// To what.
    pub value: Text,
    /// How it meets what is there.
    pub mode: Mode,
}

/// What a header is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// The address of the caller, without a port. Requests alone have it.
    ClientAddress,
    /// Said outright.
    Fixed(HeaderValue),
}

impl From<HeaderValue> for Text {
    fn from(value: HeaderValue) -> Self {
        Self::Fixed(value)
    }
}

/// How a value meets what is there. Wire: `HeaderAppendAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only when the header is not there (`ADD_IF_ABSENT`).
    AddIfAbsent,
    /// As another line (`APPEND_IF_EXISTS_OR_ADD`).
    Append,
    /// Instead of all lines (`OVERWRITE_IF_EXISTS_OR_ADD`).
    Overwrite,
    /// Instead of all lines, and only when there are any (`OVERWRITE_IF_EXISTS`).
    OverwriteIfPresent,
}

/// Headers that are set in one direction at most, as Envoy's own rules for these fields have it. A header map has a bound of
/// its own, at which it panics.
const MAX_SET: usize = 1000;

/// The operator of Envoy's log format for [`Text::ClientAddress`].
const CLIENT_ADDRESS: &str = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%";

/// What frames a message or belongs to one connection.
const UNTOUCHABLE: [HeaderName; 14] = [
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    DATE,
    EXPECT,
    HOST,
    SERVER,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

impl Headers {
    /// Whether a route may change a header of that name: not what frames or describes a message, belongs to one connection, is
    /// the gateway's own word or steers the gateway itself.
    #[must_use]
    pub fn may_change(name: &HeaderName) -> bool {
        let text = name.as_str();
        !UNTOUCHABLE.contains(name)
            && !text.starts_with("x-envoy-")
            && text != trireme_proto::names::CLUSTER_HEADER
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.request, &self.response]
            .iter()
            .all(|changes| changes.remove.is_empty() && changes.set.is_empty())
    }
}

impl PerRoute for Option<Arc<Headers>> {
    fn encode(&self, draft: &mut Draft) {
        let Some(Headers { request, response }) = self.as_deref() else {
            return;
        };
        let route = &mut draft.route;
        (route.request_headers_to_remove, route.request_headers_to_add) = write(request);
        (route.response_headers_to_remove, route.response_headers_to_add) = write(response);
    }

    fn decode(given: &mut Given<'_>) -> Result<Self, Invalid> {
        let Given { route, path, .. } = given;
        let headers = Headers {
            request: Changes {
                remove: names(
                    &take(&mut route.request_headers_to_remove),
                    &path.field("request_headers_to_remove"),
                )?,
                set: changes(
                    take(&mut route.request_headers_to_add),
                    true,
                    &path.field("request_headers_to_add"),
                )?,
            },
            response: Changes {
                remove: names(
                    &take(&mut route.response_headers_to_remove),
                    &path.field("response_headers_to_remove"),
                )?,
                set: changes(
                    take(&mut route.response_headers_to_add),
                    false,
                    &path.field("response_headers_to_add"),
                )?,
            },
        };
        Ok((!headers.is_empty()).then(|| Arc::new(headers)))
    }
}

fn write(changes: &Changes) -> (Vec<String>, Vec<core::HeaderValueOption>) {
    let remove = changes.remove.iter().map(|name| name.as_str().to_owned());
    let set = changes.set.iter().map(|change| {
        let value = match &change.value {
            Text::ClientAddress => CLIENT_ADDRESS.to_owned(),
            // Envoy would else read operators of its log format.
            Text::Fixed(value) => String::from_utf8_lossy(value.as_bytes()).replace('%', "%%"),
        };
        core::HeaderValueOption {
            // And leave out what is empty.
            keep_empty_value: value.is_empty(),
            header: Some(core::HeaderValue {
                key: change.name.as_str().to_owned(),
                value,
                ..Default::default()
            }),
            append_action: match change.mode {
                Mode::AddIfAbsent => HeaderAppendAction::AddIfAbsent,
                Mode::Append => HeaderAppendAction::AppendIfExistsOrAdd,
                Mode::Overwrite => HeaderAppendAction::OverwriteIfExistsOrAdd,
                Mode::OverwriteIfPresent => HeaderAppendAction::OverwriteIfExists,
            }
            .into(),
            ..Default::default()
        }
    });
    (remove.collect(), set.collect())
}

fn names(list: &[String], path: &Path<'_>) -> Result<Vec<HeaderName>, Invalid> {
    list.iter()
        .enumerate()
        .map(|(index, text)| name(text, &path.index(index)))
        .collect()
}

fn name(text: &str, path: &Path<'_>) -> Result<HeaderName, Invalid> {
    let name = HeaderName::try_from(text).map_err(|_| path.invalid("not the name of a header"))?;
    if Headers::may_change(&name) {
        Ok(name)
    } else {
        Err(path.invalid(format!("{name} is not a route's to change")))
    }
}

fn changes(
    list: Vec<core::HeaderValueOption>,
    request: bool,
    path: &Path<'_>,
) -> Result<Vec<Change>, Invalid> {
    if list.len() > MAX_SET {
        return Err(path.invalid(format!("more than {MAX_SET}")));
    }
    list.into_iter()
        .enumerate()
        .map(|(index, option)| change(option, request, &path.index(index)))
        .collect()
}

fn change(mut option: core::HeaderValueOption, request: bool, path: &Path<'_>) -> Result<Change, Invalid> {
    let field = &path.field("header");
    let mut header = option.header.take().ok_or_else(|| field.invalid("missing"))?;
    let (key, text) = (take(&mut header.key), take(&mut header.value));
    nothing_else(&header, field)?;
    let name = name(&key, &field.field("key"))?;
    let field = &field.field("value");
    let kept = take(&mut option.keep_empty_value);
    if text.is_empty() && !kept {
        return Err(field.invalid("must not be empty without keep_empty_value"));
    }
    let value = if request && text == CLIENT_ADDRESS {
        Text::ClientAddress
    } else {
        let text =
            literal(&text).ok_or_else(|| field.invalid("must be literal, with %% for a percent sign"))?;
        let value = HeaderValue::try_from(text).map_err(|_| field.invalid("not the value of a header"))?;
        Text::Fixed(value)
    };
    let action = take(&mut option.append_action);
    let mode = match HeaderAppendAction::try_from(action) {
        Ok(HeaderAppendAction::AddIfAbsent) => Mode::AddIfAbsent,
        Ok(HeaderAppendAction::AppendIfExistsOrAdd) => Mode::Append,
        Ok(HeaderAppendAction::OverwriteIfExistsOrAdd) => Mode::Overwrite,
        Ok(HeaderAppendAction::OverwriteIfExists) => Mode::OverwriteIfPresent,
        Err(_) => return Err(path.field("append_action").invalid(format!("unknown: {action}"))),
    };
    nothing_else(&option, path)?;
    Ok(Change { name, value, mode })
}

/// What a format string without operators stands for.
fn literal(format: &str) -> Option<String> {
    let mut text = String::with_capacity(format.len());
    let mut parts = format.split('%');
    text.push_str(parts.next()?);
    // Between two percent signs that stand for one there is nothing.
    while let Some(between) = parts.next() {
        if !between.is_empty() {
            return None;
        }
        text.push('%');
        text.push_str(parts.next()?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use trireme_proto::envoy::config::route::v3::Route;
    use trireme_proto::google::protobuf::BoolValue;

    use super::super::seam::Reader;
    use super::super::tests::through;
    use super::*;

    fn set(name: &'static str, value: &'static str, mode: Mode) -> Change {
        Change {
            name: HeaderName::from_static(name),
            value: HeaderValue::from_static(value).into(),
            mode,
        }
    }

    #[test]
    fn round_trip() {
        let headers = Headers {
            request: Changes {
                remove: vec![HeaderName::from_static("x-gone")],
                set: vec![
                    set("x-a", "50% of %START_TIME%", Mode::Overwrite),
                    set("x-a", "", Mode::Append),
                    Change {
                        value: Text::ClientAddress,
                        ..set("x-c", "", Mode::Overwrite)
                    },
                    set("x-c", CLIENT_ADDRESS, Mode::Overwrite),
                ],
            },
            response: Changes {
                remove: Vec::new(),
                set: vec![
                    set("x-b", "%%", Mode::AddIfAbsent),
                    set("server-timing", "a", Mode::OverwriteIfPresent),
                ],
            },
        };
        for headers in [None, Some(Arc::new(headers))] {
            assert_eq!(through(&headers, Reader::Envoy), headers);
        }
    }

    fn refusal(route: Route) -> String {
        let mut route = route;
        let mut given = Given::new(&mut route, &Path::ROOT, &Path::ROOT);
        let read = <Option<Arc<Headers>>>::decode(&mut given);
        read.expect_err("refused").to_string()
    }

    #[test]
    fn refuses() {
        let adds = |key: &str, value: &str, change: fn(&mut core::HeaderValueOption)| {
            let mut option = core::HeaderValueOption {
                header: Some(core::HeaderValue {
                    key: key.to_owned(),
                    value: value.to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            };
            change(&mut option);
            Route {
                response_headers_to_add: vec![option],
                ..Default::default()
            }
        };
        let as_is = |_: &mut core::HeaderValueOption| {};
        let mut many = adds("x-a", "a", as_is);
        many.response_headers_to_add = vec![many.response_headers_to_add.remove(0); MAX_SET + 1];
        let literal = "response_headers_to_add[0].header.value: must be literal, with %% for a percent sign";
        let cases = [
            (
                Route {
                    request_headers_to_remove: vec!["x-ok".to_owned(), "Host".to_owned()],
                    ..Default::default()
                },
                "request_headers_to_remove[1]: host is not a route's to change",
            ),
            (
                adds("x-envoy-max-retries", "1", as_is),
                "response_headers_to_add[0].header.key: x-envoy-max-retries is not a route's to change",
            ),
            (
                adds(":path", "/", as_is),
                "response_headers_to_add[0].header.key: not the name of a header",
            ),
            (adds("x-a", "%PROTOCOL%", as_is), literal),
            (adds("x-a", "100%", as_is), literal),
            (
                adds("x-a", "", as_is),
                "response_headers_to_add[0].header.value: must not be empty without keep_empty_value",
            ),
            (
                adds("x-a", "a\nb", as_is),
                "response_headers_to_add[0].header.value: not the value of a header",
            ),
            (
                adds("x-a", "a", |option| option.append_action = 9),
                "response_headers_to_add[0].append_action: unknown: 9",
            ),
            (
                #[allow(deprecated, reason = "what others may still send")]
                adds("x-a", "a", |option| {
                    option.append = Some(BoolValue { value: true })
                }),
                "response_headers_to_add[0].append: not supported",
            ),
            (
                adds("x-a", "a", |option| option.header = None),
                "response_headers_to_add[0].header: missing",
            ),
            (many, "response_headers_to_add: more than 1000"),
        ];
        for (route, want) in cases {
            assert_eq!(refusal(route), want);
        }
    }
}
