//! The enforcer's answer, `envoy.service.auth.v3.CheckResponse`. Nothing is admitted for want of data: an answer that is
//! empty, contradicts itself or cannot be read is an error, never a yes.
//!
//! Changes of headers are read as Envoy's authorization filter reads them, which is not as the messages describe it:
//!
//! | Of | `append` | `append_action` |
//! | --- | --- | --- |
//! | the request | true extends the first line that is there, else it replaces | not read |
//! | the response | true adds a line, false replaces | read where `append` is not said |
//! | a denial | true drops the header, else it adds a line | not read |

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use trireme_proto::names::ENFORCER_REPLY;

use super::metadata::Metadata;
use super::steering::Steering;
use super::wire::{Fields, Truncated, Value};
use crate::edit::{Edit, Mode};
use crate::error::CheckError;

/// Most headers that a verdict may set of one head. A map of headers has room for 24,576, and a request brings some already.
const HEADERS: usize = 4096;

/// What the enforcer decided.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "lives for a moment, and nearly always is the large one"
)]
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
    /// Where and how the request goes.
    pub(crate) steering: Steering,
    /// Changes of the response.
    pub(crate) response: Changes,
    /// For the logs.
    pub(crate) metadata: Metadata,
}

/// Changes of a response.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// In place of the status.
    pub(crate) status: Option<StatusCode>,
    /// Of the headers, in order.
    pub(crate) edits: Vec<Edit>,
}

/// A no, as it goes to the caller.
#[derive(Debug)]
pub(crate) struct Denial {
    /// Status.
    pub(crate) status: StatusCode,
    /// Headers; a name that comes twice has two lines.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Body.
    pub(crate) body: Bytes,
    /// For the logs.
    pub(crate) metadata: Metadata,
}

impl From<Truncated> for CheckError {
    fn from(_: Truncated) -> Self {
        Self::Malformed("truncated message")
    }
}

/// An answer as it comes from the enforcer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `envoy.service.auth.v3.CheckResponse`.
    pub(crate) response: Bytes,
    /// `trireme.auth.v1.Steering`; empty where nothing is steered, and for unary checks.
    pub(crate) steering: Bytes,
}

impl Verdict {
    /// Reads an answer.
    ///
    /// # Errors
    /// `Malformed`, with what is wrong.
    pub(crate) fn read(answer: Answer) -> Result<Self, CheckError> {
        let mut status = None;
        let mut denied = None;
        let mut ok = None;
        let mut metadata = Metadata::default();
        for item in Fields(answer.response) {
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
            (Some(0), None, ok) => {
                let steering = Steering::read(answer.steering)?;
                let admission = Admission::read(ok.unwrap_or_default(), steering, metadata)?;
                Ok(Self::Admitted(admission))
            }
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
    fn read(message: Bytes, steering: Steering, metadata: Metadata) -> Result<Self, CheckError> {
        let mut admission = Self {
            steering,
            metadata,
            ..Self::default()
        };
        for item in Fields(message) {
            match item? {
                (2, Value::Body(body)) => admission.edit(body)?,
                (5, Value::Body(body)) => {
                    // Like Envoy: neither pseudo-headers nor Host can be removed.
                    let name = HeaderName::from_bytes(&body).ok();
                    admission
                        .remove
                        .extend(name.filter(|name| *name != http::header::HOST));
                }
                (6, Value::Body(body)) => admission.response.edit(body)?,
                (7 | 8, _) => return Err(CheckError::Malformed("query parameter changes are not supported")),
                _ => {}
            }
        }
        Ok(admission)
    }

    /// One change of the request.
    fn edit(&mut self, message: Bytes) -> Result<(), CheckError> {
        let Some(line) = HeaderOption::read(message)? else {
            return Ok(());
        };
        let value = line.value()?;
        if let Some((name, value)) = self.steering.take(&line.name, value)? {
            let mode = match line.append {
                Some(true) => Mode::Extend,
                Some(false) | None => Mode::Overwrite,
            };
            self.edits.push(room(&self.edits, Edit { name, value, mode })?);
        }
        Ok(())
    }
}

impl Changes {
    fn edit(&mut self, message: Bytes) -> Result<(), CheckError> {
        let Some(line) = HeaderOption::read(message)? else {
            return Ok(());
        };
        if line.name == ":status" {
            let status = StatusCode::from_bytes(&line.value)
                .ok()
                .filter(|status| (200..600).contains(&status.as_u16()));
            self.status = Some(status.ok_or(CheckError::Malformed("invalid status"))?);
            return Ok(());
        }
        let mode = match (line.append, line.action) {
            (Some(true), _) => Mode::Append,
            (Some(false), _) => Mode::Overwrite,
            (None, 1) => Mode::AddIfAbsent,
            (None, 2) => Mode::Overwrite,
            (None, 3) => Mode::OverwriteIfPresent,
            (None, _) => Mode::Append,
        };
        let (name, value) = line.header()?;
        self.edits.push(room(&self.edits, Edit { name, value, mode })?);
        Ok(())
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
                (2, Value::Body(body)) => {
                    if let Some(line) = HeaderOption::read(body)?
                        && line.append != Some(true)
                    {
                        denial.headers.push(room(&denial.headers, line.header()?)?);
                    }
                }
                (3, Value::Body(body)) => denial.body = body,
                _ => {}
            }
        }
        Ok(denial)
    }
}

/// One more, where there is room for it.
fn room<T>(so_far: &[T], one: T) -> Result<T, CheckError> {
    match so_far.len() < HEADERS {
        true => Ok(one),
        false => Err(CheckError::Malformed("too many headers")),
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
struct HeaderOption {
    name: Bytes,
    value: Bytes,
    append: Option<bool>,
    action: u64,
}

impl HeaderOption {
    /// None where no header is named.
    fn read(message: Bytes) -> Result<Option<Self>, CheckError> {
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
        let (mut name, mut value, mut raw) = (Bytes::new(), Bytes::new(), Bytes::new());
        for item in Fields(header) {
            match item? {
                (1, Value::Body(body)) => name = body,
                (2, Value::Body(body)) => value = body,
                (3, Value::Body(body)) => raw = body,
                _ => {}
            }
        }
        if value.is_empty() {
            value = raw;
        }
        Ok(Some(Self {
            name,
            value,
            append,
            action,
        }))
    }

    fn value(&self) -> Result<HeaderValue, CheckError> {
        HeaderValue::from_maybe_shared(self.value.clone())
            .map_err(|_| CheckError::Malformed("invalid header value"))
    }

    fn header(&self) -> Result<(HeaderName, HeaderValue), CheckError> {
        let name =
            HeaderName::from_bytes(&self.name).map_err(|_| CheckError::Malformed("invalid header name"))?;
        Ok((name, self.value()?))
    }
}

#[cfg(test)]
mod tests;
