//! The compiler from Envoy's format strings to what is written per request.

use std::io::Write as _;
use std::net::SocketAddr;

use super::grpc::Form;
use super::record::{Field, Headers, Record, Value};
use super::time::Layout;
use crate::escape;

/// What the original logs unless told otherwise.
pub const DEFAULT_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ",
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" ",
    "\"%UPSTREAM_HOST%\"\n"
);

/// In the place of a value that there is not.
const ABSENT: &[u8] = b"-";

/// Far more than a line ever needs; it bounds what one header can add to it.
const MAX_VALUE_BYTES: usize = 16 << 10;

/// A compiled format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    parts: Vec<Part>,
    unknown: Vec<String>,
}

/// Why a format string could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access log format: {reason} at offset {offset}")]
pub struct InvalidFormat {
    /// Byte offset of the operator.
    pub offset: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Something in the brackets is not understood.
    #[error("%{operator}% does not take the argument \"{argument}\"")]
    Argument {
        /// The operator.
        operator: String,
        /// What its brackets hold.
        argument: String,
    },
    /// What follows the colon is not a length.
    #[error("%{0}% has a length that is not a number")]
    Length(String),
    /// The operator needs brackets and has none.
    #[error("%{0}% needs an argument in brackets")]
    MissingArgument(String),
    /// What follows the percent sign is no operator: names have capital letters, digits and underscores.
    #[error("\"{0}\" is not the name of an operator")]
    Name(String),
    /// A percent sign without its partner.
    #[error("operator without an end")]
    Unterminated,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Fixed text between operators.
    Text(Vec<u8>),
    Value(Source, Option<usize>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// An address without its port.
    AddressOnly(Field),
    Field(Field),
    GrpcStatus(Form),
    Header {
        from: Headers,
        name: String,
        otherwise: Option<String>,
        without_query: bool,
    },
    Metadata {
        namespace: String,
        path: Vec<String>,
    },
    /// The port of an address.
    Port(Field),
    Time(Layout),
}

impl Format {
    /// Compiles a format string. The line always ends in a newline, whether the string does or not. Fails on what is
    /// malformed, naming the operator, as Envoy does. One that is well formed but not known, by its name or by its
    /// argument, is no failure: a line without one value is worth more than no line, so it is always `-` and
    /// [`Self::unknown`] has its name.
    pub fn parse(text: &str) -> Result<Self, InvalidFormat> {
        let mut parts = Vec::new();
        let mut unknown: Vec<String> = Vec::new();
        let mut fixed = Vec::new();
        let mut rest = text;
        let offset = |rest: &str| text.len() - rest.len();
        while let Some((before, operator)) = rest.split_once('%') {
            fixed.extend_from_slice(before.as_bytes());
            let at = offset(operator) - 1;
            if let Some(after) = operator.strip_prefix('%') {
                fixed.push(b'%');
                rest = after;
                continue;
            }
            let invalid = |reason| InvalidFormat { offset: at, reason };
            let (operator, after) = Operator::split(operator).map_err(invalid)?;
            rest = after;
            let Some(source) = operator.source().map_err(invalid)? else {
                fixed.extend_from_slice(ABSENT);
                let told = operator.told();
                if !unknown.contains(&told) {
                    unknown.push(told);
                }
                continue;
            };
            if !fixed.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut fixed)));
            }
            parts.push(Part::Value(source, operator.length));
        }
        fixed.extend_from_slice(rest.as_bytes());
        if fixed.last() != Some(&b'\n') {
            fixed.push(b'\n');
        }
        parts.push(Part::Text(fixed));
        Ok(Self { parts, unknown })
    }

    /// Names of the operators that nobody knows here, each once, in the order of the format; with its argument where
    /// that is what is not known. They say `-` in every line; whoever opens the log warns of them.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Appends the line for one request. Values from outside are escaped; one that is missing is `-`, while a header that
    /// is there without a value is nothing at all.
    pub fn write(&self, out: &mut Vec<u8>, record: &dyn Record) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Value(source, length) => {
                    let limit = length.unwrap_or(MAX_VALUE_BYTES).min(MAX_VALUE_BYTES);
                    source.write(out, record, limit);
                }
            }
        }
    }
}

impl Source {
    fn write(&self, out: &mut Vec<u8>, record: &dyn Record, limit: usize) {
        match self {
            Self::AddressOnly(field) => match record.field(*field) {
                Value::Address(address) => write_display(out, &address.ip(), limit),
                other => write_value(out, other, limit),
            },
            Self::Field(field) => write_value(out, record.field(*field), limit),
            Self::GrpcStatus(form) => match record.field(Field::GrpcStatus) {
                Value::Bytes(name) => form.of(name, |text| write_value(out, Value::Bytes(text), limit)),
                other => write_value(out, other, limit),
            },
            Self::Header {
                from,
                name,
                otherwise,
                without_query,
            } => {
                let value = record
                    .header(*from, name)
                    .or_else(|| record.header(*from, otherwise.as_deref()?));
                let value = match value {
                    Some(value) if *without_query => value.split(|byte| *byte == b'?').next(),
                    value => value,
                };
                write_value(out, value.map_or(Value::Absent, Value::Bytes), limit);
            }
            Self::Metadata { namespace, path } => write_value(out, record.metadata(namespace, path), limit),
            Self::Port(field) => match record.field(*field) {
                Value::Address(address) => write_display(out, &address.port(), limit),
                _ => write_value(out, Value::Absent, limit),
            },
            Self::Time(layout) => layout.write(out, record.start_time()),
        }
    }
}

fn write_value(out: &mut Vec<u8>, value: Value<'_>, limit: usize) {
    match value {
        Value::Absent => out.extend_from_slice(ABSENT),
        Value::Address(address) => write_display::<SocketAddr>(out, &address, limit),
        Value::Bytes(bytes) => escape::append(out, bytes.get(..limit).unwrap_or(bytes)),
        Value::Duration(duration) => write_display(out, &duration.as_millis(), limit),
        Value::Number(number) => write_display(out, &number, limit),
    }
}

fn write_display<T: std::fmt::Display>(out: &mut Vec<u8>, value: &T, limit: usize) {
    let start = out.len();
    write!(out, "{value}").expect("a vector takes any bytes");
    out.truncate(start.saturating_add(limit).min(out.len()));
}

/// One operator as written: `NAME(argument):length`.
struct Operator<'a> {
    name: &'a str,
    argument: Option<&'a str>,
    length: Option<usize>,
}

impl<'a> Operator<'a> {
    /// Takes the operator after its first percent sign, and gives what follows its last.
    fn split(text: &'a str) -> Result<(Self, &'a str), Reason> {
        let end = text.find(['(', ':', '%']).ok_or(Reason::Unterminated)?;
        let (name, rest) = text.split_at(end);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(Reason::Name(name.to_owned()));
        }
        let (argument, rest) = match rest.strip_prefix('(') {
            // A layout of START_TIME has percent signs of its own, and an expression brackets: the bracket at the operator's
            // end decides.
            Some(rest) => {
                let mut ends = rest.match_indices(')').map(|(at, _)| rest.split_at(at));
                let ended = ends.find(|(_, end)| end.starts_with(")%") || end.starts_with("):"));
                let (argument, end) = ended.ok_or(Reason::Unterminated)?;
                (Some(argument), end.strip_prefix(')').unwrap_or(end))
            }
            None => (None, rest),
        };
        let (length, rest) = match rest.strip_prefix(':') {
            Some(rest) => {
                let (digits, rest) = rest.split_once('%').ok_or(Reason::Unterminated)?;
                let length = digits.parse().map_err(|_| Reason::Length(name.to_owned()))?;
                (Some(length), rest)
            }
            None => (None, rest.strip_prefix('%').ok_or(Reason::Unterminated)?),
        };
        Ok((
            Operator {
                name,
                argument,
                length,
            },
            rest,
        ))
    }

    /// What it stands for; nothing when no operator has the name, or this one does not know its argument here.
    fn source(&self) -> Result<Option<Source>, Reason> {
        match self.name {
            "DYNAMIC_METADATA" => self.required().map(metadata).map(Some),
            "GRPC_STATUS" => self.grpc_status(),
            "GRPC_STATUS_NUMBER" => self.without(Source::GrpcStatus(Form::Number)),
            "METADATA" => self.metadata(),
            "REQ" => self.header(Headers::Request, false),
            "REQ_WITHOUT_QUERY" => self.header(Headers::Request, true),
            "RESP" => self.header(Headers::Response, false),
            // Whatever is in the brackets, Envoy does not mind. Blanks are underscores here even where they are asked for.
            "RESPONSE_CODE_DETAILS" => Ok(Some(Source::Field(Field::ResponseCodeDetails))),
            "START_TIME" => Ok(match self.given() {
                Some(layout) => Layout::parse(layout).map(Source::Time),
                None => Some(Source::Time(Layout::default())),
            }),
            "TRAILER" => self.header(Headers::Trailers, false),
            _ => self.plain(),
        }
    }

    fn plain(&self) -> Result<Option<Source>, Reason> {
        if let Some(field) = Field::parse(self.name) {
            // Envoy can fall back to the host.
            if field == Field::RequestedServerName && self.given().is_some() {
                return Ok(None);
            }
            return self.without(Source::Field(field));
        }
        Ok(match self.address() {
            // The length of a network.
            Some(Source::AddressOnly(_)) if self.given().is_some() => None,
            Some(source) => return self.without(source),
            None => None,
        })
    }

    /// A source that takes no argument.
    fn without(&self, source: Source) -> Result<Option<Source>, Reason> {
        match self.given() {
            Some(_) => Err(self.wrong()),
            None => Ok(Some(source)),
        }
    }

    fn grpc_status(&self) -> Result<Option<Source>, Reason> {
        Ok(Some(match self.given() {
            None | Some("CAMEL_STRING") => Source::Field(Field::GrpcStatus),
            Some("NUMBER") => Source::GrpcStatus(Form::Number),
            Some("SNAKE_STRING") => Source::GrpcStatus(Form::Snake),
            Some(_) => return Err(self.wrong()),
        }))
    }

    fn address(&self) -> Option<Source> {
        if let Some(name) = self.name.strip_suffix("_WITHOUT_PORT") {
            return Field::parse(name)
                .filter(|field| is_address(*field))
                .map(Source::AddressOnly);
        }
        // DOWNSTREAM_LOCAL_PORT belongs to DOWNSTREAM_LOCAL_ADDRESS.
        let name = format!("{}_ADDRESS", self.name.strip_suffix("_PORT")?);
        Field::parse(&name)
            .filter(|field| is_address(*field))
            .map(Source::Port)
    }

    fn header(&self, from: Headers, without_query: bool) -> Result<Option<Source>, Reason> {
        let argument = self.required()?;
        let names: Vec<_> = argument
            .split('?')
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        if names.len() > 2 || !names.iter().all(|name| is_header(name)) {
            return Err(self.wrong());
        }
        // One of the two may be left out.
        let mut names = names.into_iter().filter(|name| !name.is_empty());
        Ok(Some(Source::Header {
            from,
            name: names.next().ok_or_else(|| self.wrong())?,
            otherwise: names.next(),
            without_query,
        }))
    }

    /// `METADATA(DYNAMIC:namespace:key)`; the other kinds describe routes and clusters, of which nothing is kept here.
    fn metadata(&self) -> Result<Option<Source>, Reason> {
        const OTHERS: [&str; 6] = [
            "CLUSTER",
            "LISTENER",
            "LISTENER_FILTER_CHAIN",
            "ROUTE",
            "UPSTREAM_HOST",
            "VIRTUAL_HOST",
        ];
        let argument = self.required()?;
        let (kind, path) = argument.split_once(':').unwrap_or((argument, ""));
        match kind {
            "DYNAMIC" => Ok(Some(metadata(path))),
            other if OTHERS.contains(&other) => Ok(None),
            _ => Err(self.wrong()),
        }
    }

    /// What is in the brackets, if anything is.
    fn given(&self) -> Option<&'a str> {
        self.argument.filter(|argument| !argument.is_empty())
    }

    fn required(&self) -> Result<&'a str, Reason> {
        self.given()
            .ok_or_else(|| Reason::MissingArgument(self.name.to_owned()))
    }

    /// What is said of one that is not known.
    fn told(&self) -> String {
        let known = matches!(self.name, "METADATA" | "START_TIME")
            || Field::parse(self.name).is_some()
            || self.address().is_some();
        match self.given() {
            Some(argument) if known => format!("{}({argument})", self.name),
            _ => self.name.to_owned(),
        }
    }

    fn wrong(&self) -> Reason {
        Reason::Argument {
            operator: self.name.to_owned(),
            argument: self.argument.unwrap_or_default().to_owned(),
        }
    }
}

/// `namespace:key:key`.
fn metadata(argument: &str) -> Source {
    let mut names = argument.split(':').map(|name| name.trim().to_owned());
    Source::Metadata {
        namespace: names.next().unwrap_or_default(),
        path: names.collect(),
    }
}

/// Whether a header can have the name, a pseudo header included.
fn is_header(name: &str) -> bool {
    let name = name.strip_prefix(':').unwrap_or(name);
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

fn is_address(field: Field) -> bool {
    matches!(
        field,
        Field::DownstreamDirectRemoteAddress
            | Field::DownstreamLocalAddress
            | Field::DownstreamRemoteAddress
            | Field::UpstreamHost
            | Field::UpstreamLocalAddress
            | Field::UpstreamRemoteAddress
    )
}

#[cfg(test)]
mod tests;
