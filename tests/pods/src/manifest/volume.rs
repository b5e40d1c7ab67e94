//! Volumes of a pod.

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use super::quantity::{self, Written};

/// A volume.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Keys of a Secret.
    #[serde(default)]
    pub secret: Option<SecretVolume>,
    /// Keys of a ConfigMap.
    #[serde(default)]
    pub config_map: Option<SourceVolume>,
    /// Empty at first, gone with the pod.
    #[serde(default)]
    pub empty_dir: Option<EmptyDir>,
    /// Several in one folder.
    #[serde(default)]
    pub projected: Option<Projected>,
    /// Outlives the pod.
    #[serde(default)]
    pub persistent_volume_claim: Option<Claim>,
}

/// Keys of a Secret; `secretName` is what others call `name`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretVolume {
    /// The Secret.
    pub secret_name: String,
    /// Some keys, all when empty.
    #[serde(default)]
    pub items: Vec<Item>,
    /// Mode of the files.
    #[serde(default)]
    pub default_mode: Option<u32>,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// Keys of a ConfigMap or, in a projection, of a Secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceVolume {
    /// Which.
    pub name: String,
    /// Some keys, all when empty.
    #[serde(default)]
    pub items: Vec<Item>,
    /// Mode of the files; not in a projection.
    #[serde(default)]
    pub default_mode: Option<u32>,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// A key and the file it becomes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Item {
    /// Key.
    pub key: String,
    /// File.
    pub path: String,
    /// Mode of the file.
    #[serde(default)]
    pub mode: Option<u32>,
}

/// An empty folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmptyDir {
    /// `Memory` for a file system in memory.
    #[serde(default)]
    pub medium: Option<String>,
    #[serde(default)]
    pub(super) size_limit: Option<Written>,
}

/// Several in one folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Projected {
    /// In this order; a later one's file wins.
    pub sources: Vec<Projection>,
    /// Mode of the files.
    #[serde(default)]
    pub default_mode: Option<u32>,
}

/// One of several.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Projection {
    /// Keys of a Secret.
    #[serde(default)]
    pub secret: Option<SourceVolume>,
    /// Keys of a ConfigMap.
    #[serde(default)]
    pub config_map: Option<SourceVolume>,
}

/// A claim by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// Which.
    pub claim_name: String,
    /// Whether it cannot be written.
    #[serde(default)]
    pub read_only: bool,
}

impl Volume {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let kinds = [
            self.secret.is_some(),
            self.config_map.is_some(),
            self.empty_dir.is_some(),
            self.projected.is_some(),
            self.persistent_volume_claim.is_some(),
        ];
        ensure!(
            kinds.iter().filter(|kind| **kind).count() == 1,
            "of one kind, no more and no less"
        );
        if let Some(dir) = &self.empty_dir {
            ensure!(
                matches!(dir.medium.as_deref(), None | Some("" | "Memory")),
                "a medium that nothing here has"
            );
            dir.size_limit()?;
        }
        let projections = self.projected.iter().flat_map(|projected| &projected.sources);
        for projection in projections {
            let ((Some(source), None) | (None, Some(source))) = (&projection.secret, &projection.config_map)
            else {
                bail!("a projection's source is of one kind");
            };
            ensure!(
                source.default_mode.is_none(),
                "a projection's source has no defaultMode"
            );
        }
        Ok(())
    }
}

impl EmptyDir {
    /// Greatest size, bytes.
    ///
    /// # Errors
    /// No quantity.
    pub fn size_limit(&self) -> anyhow::Result<Option<u64>> {
        let limit = self.size_limit.as_ref().map(|limit| quantity::of(limit, 1.0));
        limit.transpose().context("sizeLimit")
    }
}
