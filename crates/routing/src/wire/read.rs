//! Strict reading: what is not known is refused with the path of the field.
//!
//! A reader takes the fields that it knows out of a message and then asks [`nothing_else`] whether any other is set.

use std::fmt;
use std::time::Duration;

use prost::Name;
use trireme_proto::Wire;
use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::r#type::matcher::v3::RegexMatcher;
use trireme_proto::google::protobuf::{self, Any, BoolValue, UInt32Value};

use super::names;
use crate::Invalid;

/// Greatest size of one resource, in bytes.
const MAX_RESOURCE: usize = 16 * 1024 * 1024;

/// Where in a resource a value stands. Written out only when something is wrong there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
    Root,
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path {
        parent: None,
        step: Step::Root,
    };

    pub(crate) fn field(&'a self, name: &'a str) -> Self {
        Self {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    pub(crate) fn invalid(&self, reason: impl Into<String>) -> Invalid {
        Invalid::new(self.to_string(), reason)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_some_and(|parent| parent.parent.is_some()) => {
                write!(f, ".{name}")
            }
            Step::Field(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key:?}]"),
            Step::Root => Ok(()),
        }
    }
}

pub(crate) fn read<M: Wire>(message: &[u8]) -> Result<M, Invalid> {
    if message.len() > MAX_RESOURCE {
        return Err(Path::ROOT.invalid(format!("larger than {MAX_RESOURCE} bytes")));
    }
    M::from_wire(message).map_err(|error| Path::ROOT.invalid(format!("not a message of its type: {error}")))
}

/// Reads what an `Any` holds, which must be of type `M`.
pub(crate) fn unpack<M: Wire + Name>(any: Option<&Any>, path: &Path<'_>) -> Result<M, Invalid> {
    let any = any.ok_or_else(|| path.invalid("missing"))?;
    if any.type_url.rsplit('/').next() != Some(M::full_name().as_str()) {
        return Err(path.invalid(format!("type {:?} instead of {}", any.type_url, M::full_name())));
    }
    M::from_wire(&any.value).map_err(|error| path.invalid(format!("not a {}: {error}", M::NAME)))
}

/// Refuses a message in which anything is still set, naming the first such field.
pub(crate) fn nothing_else<M: Default + PartialEq + fmt::Debug>(
    message: &M,
    path: &Path<'_>,
) -> Result<(), Invalid> {
    let default = M::default();
    if *message == default {
        return Ok(());
    }
    let name = first_difference(&format!("{message:#?}"), &format!("{default:#?}"));
    Err(path.field(&name).invalid("not supported"))
}

/// Name of the first field that two pretty-printed structs differ in. Their generated `Debug` is the only list of field
/// names that the bindings carry; values stay out of the error, for they may be secret.
fn first_difference(message: &str, default: &str) -> String {
    fn fields(printed: &str) -> Vec<(&str, Vec<&str>)> {
        let mut fields: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in printed.lines() {
            let top = line
                .strip_prefix("    ")
                .filter(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase()));
            match (top.and_then(|rest| rest.split_once(':')), fields.last_mut()) {
                (Some((name, value)), _) => fields.push((name, vec![value])),
                (None, Some((_, lines))) => lines.push(line),
                (None, None) => {}
            }
        }
        fields
    }
    let differs = fields(message)
        .into_iter()
        .zip(fields(default))
        .find(|(a, b)| a != b);
    differs.map_or_else(|| "?".to_owned(), |((name, _), _)| name.to_owned())
}

pub(crate) fn duration(
    duration: Option<protobuf::Duration>,
    path: &Path<'_>,
) -> Result<Option<Duration>, Invalid> {
    let Some(protobuf::Duration { seconds, nanos }) = duration else {
        return Ok(None);
    };
    match (u64::try_from(seconds), u32::try_from(nanos)) {
        (Ok(seconds), Ok(nanos)) if seconds <= 315_576_000_000 && nanos < 1_000_000_000 => {
            Ok(Some(Duration::new(seconds, nanos)))
        }
        _ => Err(path.invalid("not a duration of zero or more")),
    }
}

/// A duration that must be there and greater than zero.
pub(crate) fn span(value: Option<protobuf::Duration>, path: &Path<'_>) -> Result<Duration, Invalid> {
    duration(value, path)?
        .filter(|span| !span.is_zero())
        .ok_or_else(|| path.invalid("must be greater than zero"))
}

/// A number, if it is said.
pub(crate) fn number(value: Option<UInt32Value>) -> Option<u32> {
    value.map(|UInt32Value { value }| value)
}

/// A switch, off where nothing is said.
pub(crate) fn boolean(value: Option<BoolValue>) -> bool {
    value.is_some_and(|BoolValue { value }| value)
}

/// A setting that the router has one way to do.
pub(crate) fn fixed<T: PartialEq + fmt::Display>(
    value: &T,
    only: &T,
    path: &Path<'_>,
) -> Result<(), Invalid> {
    if value == only {
        Ok(())
    } else {
        Err(path.invalid(format!("must be {only}")))
    }
}

/// The only element of a list.
pub(crate) fn only<T>(list: Vec<T>, path: &Path<'_>) -> Result<T, Invalid> {
    let one: Result<[T; 1], Vec<T>> = list.try_into();
    one.map(|[one]| one)
        .map_err(|list| path.invalid(format!("must hold one element, holds {}", list.len())))
}

pub(crate) fn text(value: String, path: &Path<'_>) -> Result<String, Invalid> {
    if value.is_empty() {
        Err(path.invalid("must not be empty"))
    } else {
        Ok(value)
    }
}

/// Host and port of a socket address.
pub(crate) fn address(address: Option<core::Address>, path: &Path<'_>) -> Result<(String, u16), Invalid> {
    let Some(core::Address {
        address: Some(core::address::Address::SocketAddress(mut socket)),
    }) = address
    else {
        return Err(path.invalid("must be a socket_address"));
    };
    let path = path.field("socket_address");
    let host = text(std::mem::take(&mut socket.address), &path.field("address"))?;
    let port = match socket.port_specifier.take() {
        Some(core::socket_address::PortSpecifier::PortValue(port)) => {
            u16::try_from(port).ok().filter(|port| *port > 0)
        }
        Some(core::socket_address::PortSpecifier::NamedPort(_)) | None => None,
    };
    let port = port.ok_or_else(|| path.field("port_value").invalid("must be 1 to 65535"))?;
    nothing_else(&socket, &path)?;
    Ok((host, port))
}

/// The configuration of a TLS transport socket.
pub(crate) fn transport_socket(socket: core::TransportSocket, path: &Path<'_>) -> Result<Any, Invalid> {
    fixed(&socket.name.as_str(), &names::TLS_SOCKET, &path.field("name"))?;
    match socket.config_type {
        Some(core::transport_socket::ConfigType::TypedConfig(any)) => Ok(any),
        None => Err(path.field("typed_config").invalid("missing")),
    }
}

pub(crate) fn pattern(matcher: RegexMatcher, path: &Path<'_>) -> Result<String, Invalid> {
    let mut matcher = matcher;
    // RE2 is what there is; older control planes still say so.
    matcher.engine_type = None;
    let pattern = text(std::mem::take(&mut matcher.regex), &path.field("regex"))?;
    nothing_else(&matcher, path)?;
    Ok(pattern)
}
