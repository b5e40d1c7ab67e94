//! Byte-exact writing of protobuf fields.
//!
//! The generated types keep maps in hash maps, whose order changes from run to run. The same snapshot must give the same
//! bytes, else a restarted adapter would send everything again; so messages with maps of several entries are written in
//! parts: the message without its map by `prost`, the map's entries, sorted, by [`Writer`]. A protobuf reader merges the
//! parts.

use std::time::Duration;

use prost::Name;
use prost::encoding::{WireType, encode_key, encode_varint};
use trireme_proto::Wire;
use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::r#type::matcher::v3::RegexMatcher;
use trireme_proto::google::protobuf::{self, Any, BoolValue, UInt32Value, Value, value};

use super::names;

/// Collects the fields of one message.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Starts with the fields that `message` has set.
    pub(crate) fn of(message: &impl Wire) -> Self {
        Self(message.to_wire())
    }

    /// Appends the fields that `message` has set.
    pub(crate) fn message(&mut self, message: &impl Wire) {
        self.0.extend_from_slice(&message.to_wire());
    }

    /// Appends a length-delimited field: a nested message, a string or bytes.
    pub(crate) fn field(&mut self, tag: u32, body: &[u8]) {
        encode_key(tag, WireType::LengthDelimited, &mut self.0);
        encode_varint(body.len() as u64, &mut self.0);
        self.0.extend_from_slice(body);
    }

    /// Appends one entry of a map whose values are length-delimited.
    pub(crate) fn entry(&mut self, tag: u32, key: &str, value: &[u8]) {
        let mut entry = Self::default();
        entry.field(1, key.as_bytes());
        entry.field(2, value);
        self.field(tag, &entry.0);
    }

    /// The message.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Packs a message into an `Any`.
pub(crate) fn pack<M: Wire + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.to_wire(),
    }
}

/// `json_format` of a `SubstitutionFormatString`: a `Struct` of strings, in the order given.
pub(crate) fn json_format<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut object = Writer::default();
    for (name, format) in fields {
        let value = Value {
            kind: Some(value::Kind::StringValue(format.to_owned())),
        };
        object.entry(1, name, &value.to_wire());
    }
    object.finish()
}

pub(crate) fn duration(duration: Duration) -> Option<protobuf::Duration> {
    // Protobuf's greatest duration is 10,000 years; a longer one is as good as that.
    let seconds = i64::try_from(duration.as_secs())
        .unwrap_or(i64::MAX)
        .min(315_576_000_000);
    Some(protobuf::Duration {
        seconds,
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    })
}

pub(crate) fn boolean(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub(crate) fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(crate) fn inline(text: &str) -> Option<core::DataSource> {
    source(core::data_source::Specifier::InlineString(text.to_owned()))
}

pub(crate) fn source(specifier: core::data_source::Specifier) -> Option<core::DataSource> {
    Some(core::DataSource {
        specifier: Some(specifier),
        ..Default::default()
    })
}

pub(crate) fn address(host: &str, port: u16) -> Option<core::Address> {
    let socket = core::SocketAddress {
        address: host.to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    Some(core::Address {
        address: Some(core::address::Address::SocketAddress(socket)),
    })
}

pub(crate) fn transport_socket(context: Any) -> Option<core::TransportSocket> {
    Some(core::TransportSocket {
        name: names::TLS_SOCKET.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(context)),
    })
}

pub(crate) fn regex(pattern: String) -> RegexMatcher {
    RegexMatcher {
        regex: pattern,
        ..Default::default()
    }
}

/// Field numbers of what [`Writer`] writes.
pub(crate) mod tag {
    pub(crate) const CHECK_SETTINGS_CONTEXT_EXTENSIONS: u32 = 1;
    pub(crate) const EXT_AUTHZ_PER_ROUTE_CHECK_SETTINGS: u32 = 2;
    pub(crate) const FILE_ACCESS_LOG_FORMAT: u32 = 5;
    pub(crate) const FORMAT_JSON: u32 = 2;
    pub(crate) const HTTP_CONNECTION_MANAGER_LOCAL_REPLY_CONFIG: u32 = 38;
    pub(crate) const LOCAL_REPLY_CONFIG_MAPPERS: u32 = 1;
    pub(crate) const RESPONSE_MAPPER_BODY_FORMAT_OVERRIDE: u32 = 4;
    pub(crate) const ROUTE_CONFIGURATION_TYPED_PER_FILTER_CONFIG: u32 = 16;
    pub(crate) const ROUTE_CONFIGURATION_VIRTUAL_HOSTS: u32 = 2;
    pub(crate) const ROUTE_TYPED_PER_FILTER_CONFIG: u32 = 13;
    pub(crate) const VIRTUAL_HOST_ROUTES: u32 = 3;
}
