//! Filter configuration of Trireme's own, wrapped so that a node which does not know it passes over it.

use prost::Name;
use trireme_proto::Wire;
use trireme_proto::envoy::config::route::v3::FilterConfig;
use trireme_proto::google::protobuf::Any;

use super::read::{Path, nothing_else, unpack};
use super::write::pack;
use crate::Invalid;

pub(crate) fn write(url: &str, message: &impl Wire) -> Any {
    let config = Any {
        type_url: url.to_owned(),
        value: message.to_wire(),
    };
    pack(&FilterConfig {
        config: Some(config),
        is_optional: true,
        ..Default::default()
    })
}

/// Reads one of our own messages, wrapped in a `FilterConfig` or bare.
pub(crate) fn read<M: Wire>(any: Any, url: &str, path: &Path<'_>) -> Result<M, Invalid> {
    let mut any = any;
    if any.type_url.rsplit('/').next() == Some(FilterConfig::full_name().as_str()) {
        let mut wrapper: FilterConfig = unpack(Some(&any), path)?;
        any = wrapper
            .config
            .take()
            .ok_or_else(|| path.field("config").invalid("missing"))?;
        wrapper.is_optional = false;
        nothing_else(&wrapper, path)?;
    }
    if any.type_url.rsplit('/').next() != url.rsplit('/').next() {
        return Err(path.invalid(format!("type {:?} instead of {url:?}", any.type_url)));
    }
    M::from_wire(&any.value).map_err(|error| path.invalid(format!("not a message of its type: {error}")))
}
