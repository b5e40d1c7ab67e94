//! ConfigMaps and Secrets: names and bytes.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::object::Metadata;

/// What a ConfigMap or a Secret holds.
pub type Data = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigMap {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "immutable")]
    _immutable: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Secret {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    string_data: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "immutable")]
    _immutable: bool,
}

pub(super) fn config_map(document: yaml_serde::Deserializer<'_>) -> anyhow::Result<(String, Data)> {
    let object = ConfigMap::deserialize(document)?;
    let mut data = decoded(object.binary_data)?;
    for (key, text) in object.data.unwrap_or_default() {
        ensure!(
            data.insert(valid(key)?, text.into_bytes()).is_none(),
            "a key in both data and binaryData"
        );
    }
    Ok((object.metadata.name, data))
}

pub(super) fn secret(document: yaml_serde::Deserializer<'_>) -> anyhow::Result<(String, Data)> {
    let object = Secret::deserialize(document)?;
    let mut data = decoded(object.data)?;
    for (key, text) in object.string_data.unwrap_or_default() {
        data.insert(valid(key)?, text.into_bytes());
    }
    if object.kind.as_deref() == Some("kubernetes.io/tls") {
        for key in ["tls.crt", "tls.key"] {
            ensure!(
                data.contains_key(key),
                "a Secret of type kubernetes.io/tls without {key}"
            );
        }
    }
    Ok((object.metadata.name, data))
}

fn decoded(data: Option<BTreeMap<String, String>>) -> anyhow::Result<Data> {
    let decode = |(key, text): (String, String)| {
        let folded: String = text.split_ascii_whitespace().collect();
        let bytes = STANDARD
            .decode(folded)
            .with_context(|| format!("data of {key}"))?;
        Ok((valid(key)?, bytes))
    };
    data.unwrap_or_default().into_iter().map(decode).collect()
}

/// A key becomes the name of a file.
fn valid(key: String) -> anyhow::Result<String> {
    let fine = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    ensure!(
        !key.is_empty() && key.len() <= 253 && key.chars().all(fine) && !key.starts_with(".."),
        "{key:?} is no key"
    );
    Ok(key)
}
