//! The enforcer's answer, `envoy.service.auth.v3.CheckResponse`. Nothing is admitted for want of data: an answer that is
//! empty, contradicts itself or cannot be read is an error, never a yes.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use trireme_proto::names::ENFORCER_REPLY;

use super::wire::{Fields, Truncated, Value};
use crate::error::CheckError;

/// What the enforcer decided.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Go on.
    Admitted(Admission),
    /// Answer this.
    Denied(Denial),
}

/// A yes and what it changes.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// Changes of the request's headers, in order.
    pub(crate) edits: Vec<Edit>,
    /// Headers to remove, after the changes.
    pub(crate) remove: Vec<HeaderName>,
    /// Changes of the response's headers.
    pub(crate) response_edits: Vec<Edit>,
    /// For the access log.
    pub(crate) metadata: Metadata,
}

/// A no, as it goes to the caller.
#[derive(Debug)]
pub(crate) struct Denial {
    /// Status.
    pub(crate) status: StatusCode,
    /// Headers.
    pub(crate) headers: Vec<Edit>,
    /// Body.
    pub(crate) body: Bytes,
    /// For the access log.
    pub(crate) metadata: Metadata,
}

/// One change of a header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// What is changed.
    pub(crate) field: Field,
    /// New value.
    pub(crate) value: HeaderValue,
    /// How.
    pub(crate) mode: Mode,
}

/// What a change is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// A header.
    Header(HeaderName),
    /// `:method`.
    Method,
    /// `:path`.
    Path,
}

/// How a header is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Only when it is not there.
    AddIfAbsent,
    /// Beside what is there.
    Append,
    /// Instead of what is there.
    Overwrite,
    /// Only instead of what is there.
    OverwriteIfPresent,
}

/// Dynamic metadata, read only when somebody asks: `google.protobuf.Struct`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metadata(Bytes);

impl From<Truncated> for CheckError {
    fn from(_: Truncated) -> Self {
        Self::Malformed("truncated message")
    }
}

impl Verdict {
    /// Reads an answer.
    pub(crate) fn read(message: Bytes) -> Result<Self, CheckError> {
        let mut status = None;
        let mut denied = None;
        let mut ok = None;
        let mut metadata = Metadata::default();
        for item in Fields(message) {
            match item? {
                (1, Value::Body(body)) => status = Some(grpc_code(body)?),
                (2, Value::Body(body)) => denied = Some(body),
                (3, Value::Body(body)) => ok = Some(body),
                (4, Value::Body(body)) => metadata = Metadata(body),
                (5, _) => return Err(CheckError::Malformed("error response")),
                _ => {}
            }
        }
        match (status, denied, ok) {
            (None, ..) => Err(CheckError::Malformed("no status")),
            (Some(0), None, ok) => Ok(Self::Admitted(Admission::read(ok.unwrap_or_default(), metadata)?)),
            (Some(0), Some(_), _) => Err(CheckError::Malformed("denial with status OK")),
            (Some(_), _, Some(_)) => Err(CheckError::Malformed("admission with a status that is not OK")),
            // The original tells the enforcer's own denials from those of a failed call by this mark.
            (Some(_), ..) if metadata.text(ENFORCER_REPLY).is_none() => {
                Err(CheckError::Malformed("denial without the enforcer's mark"))
            }
            (Some(_), denied, None) => Ok(Self::Denied(Denial::read(denied.unwrap_or_default(), metadata)?)),
        }
    }
}

impl Admission {
    fn read(message: Bytes, metadata: Metadata) -> Result<Self, CheckError> {
        let mut admission = Self {
            metadata,
            ..Self::default()
        };
        for item in Fields(message) {
            match item? {
                (2, Value::Body(body)) => admission.edits.extend(edit(body)?),
                (5, Value::Body(body)) => {
                    // Like Envoy: neither pseudo-headers nor Host can be removed.
                    let name = HeaderName::from_bytes(&body).ok();
                    admission
                        .remove
                        .extend(name.filter(|name| *name != http::header::HOST));
                }
                (6, Value::Body(body)) => admission.response_edits.extend(edit(body)?),
                (7 | 8, _) => return Err(CheckError::Malformed("query parameter changes are not supported")),
                _ => {}
            }
        }
        Ok(admission)
    }
}

impl Denial {
    fn read(message: Bytes, metadata: Metadata) -> Result<Self, CheckError> {
        let mut denial = Self {
            status: StatusCode::FORBIDDEN,
            headers: Vec::new(),
            body: Bytes::new(),
            metadata,
        };
        for item in Fields(message) {
            match item? {
                (1, Value::Body(body)) => denial.status = http_status(body)?,
                (2, Value::Body(body)) => denial.headers.extend(edit(body)?),
                (3, Value::Body(body)) => denial.body = body,
                _ => {}
            }
        }
        Ok(denial)
    }
}

impl Metadata {
    /// The value of `key` as text; numbers and booleans are written out, anything nested is not there.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        Fields(self.0.clone())
            .flatten()
            .find_map(|(tag, value)| match (tag, value) {
                (1, Value::Body(entry)) => Self::entry(entry, key),
                _ => None,
            })
    }

    fn entry(entry: Bytes, wanted: &str) -> Option<String> {
        let mut fields = Fields(entry).flatten();
        match fields.next()? {
            (1, Value::Body(key)) if key == wanted.as_bytes() => {}
            _ => return None,
        }
        let (2, Value::Body(value)) = fields.next()? else {
            return None;
        };
        match Fields(value).next()?.ok()? {
            (2, Value::Fixed64(bits)) => Some(f64::from_le_bytes(bits).to_string()),
            (3, Value::Body(text)) => String::from_utf8(text.into()).ok(),
            (4, Value::Number(value)) => Some((value != 0).to_string()),
            _ => None,
        }
    }
}

/// `google.rpc.Status.code`.
fn grpc_code(message: Bytes) -> Result<u64, Truncated> {
    let mut code = 0;
    for item in Fields(message) {
        if let (1, Value::Number(value)) = item? {
            code = value;
        }
    }
    Ok(code)
}

/// `envoy.type.v3.HttpStatus.code`; what is not a final status becomes 403.
fn http_status(message: Bytes) -> Result<StatusCode, Truncated> {
    let mut status = StatusCode::FORBIDDEN;
    for item in Fields(message) {
        if let (1, Value::Number(value)) = item? {
            status = u16::try_from(value)
                .ok()
                .and_then(|code| StatusCode::from_u16(code).ok())
                .filter(|status| (200..600).contains(&status.as_u16()))
                .unwrap_or(StatusCode::FORBIDDEN);
        }
    }
    Ok(status)
}

/// `envoy.config.core.v3.HeaderValueOption`. A header that HTTP cannot carry fails the check: leaving it out could leave a
/// caller's own value in its place.
fn edit(message: Bytes) -> Result<Option<Edit>, CheckError> {
    let mut header = None;
    let mut append = None;
    let mut action = 0;
    for item in Fields(message) {
        match item? {
            (1, Value::Body(body)) => header = Some(body),
            (2, Value::Body(body)) => {
                append = Some(
                    Fields(body)
                        .flatten()
                        .any(|field| matches!(field, (1, Value::Number(value)) if value != 0)),
                );
            }
            (3, Value::Number(value)) => action = value,
            _ => {}
        }
    }
    let Some(header) = header else { return Ok(None) };
    let (mut key, mut value, mut raw) = (Bytes::new(), Bytes::new(), Bytes::new());
    for item in Fields(header) {
        match item? {
            (1, Value::Body(body)) => key = body,
            (2, Value::Body(body)) => value = body,
            (3, Value::Body(body)) => raw = body,
            _ => {}
        }
    }
    if value.is_empty() {
        value = raw;
    }
    let field = match key.as_ref() {
        b":path" => Field::Path,
        b":method" => Field::Method,
        name => Field::Header(
            HeaderName::from_bytes(name).map_err(|_| CheckError::Malformed("invalid header name"))?,
        ),
    };
    let value =
        HeaderValue::from_maybe_shared(value).map_err(|_| CheckError::Malformed("invalid header value"))?;
    // The filter reads `append` as Envoy's does: absent means overwrite, whatever the default of the action says.
    let mode = match (append, action) {
        (Some(true), _) => Mode::Append,
        (_, 1) => Mode::AddIfAbsent,
        (_, 3) => Mode::OverwriteIfPresent,
        _ => Mode::Overwrite,
    };
    Ok(Some(Edit { field, value, mode }))
}

#[cfg(test)]
mod tests;
