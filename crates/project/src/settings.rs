//! What one read is told: bounds, defaults, and the environment.

use std::fmt;

/// Settings of one read.
pub struct Settings<'a> {
    /// Bounds.
    pub limits: Limits,
    /// What to do about facts that only `api.yaml` may state.
    pub defaults: Defaults,
    /// Value of a process environment variable, for the per-API endpoint overrides (`api_<sha1>_prod_endpoint_0`, …).
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// `consul(…)` expressions are allowed as endpoints.
    pub consul: bool,
}

impl Settings<'_> {
    /// Settings with default bounds, no environment and no Consul.
    #[must_use]
    pub fn new(defaults: Defaults) -> Self {
        Self {
            limits: Limits::default(),
            defaults,
            variable: &|_| None,
            consul: false,
        }
    }
}

impl fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("limits", &self.limits)
            .field("defaults", &self.defaults)
            .field("consul", &self.consul)
            .finish_non_exhaustive()
    }
}

/// What to do about facts that only `api.yaml` may state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defaults {
    /// Take them from the definition, or make sensible ones: a bare OpenAPI file is a complete project.
    Derive,
    /// Refuse the project, as the original does. A definition alone is none: it is read as by [`Defaults::Derive`].
    Require,
}

/// Bounds on what is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Greatest archive in bytes.
    pub archive_bytes: u64,
    /// Greatest number of entries of an archive or folder, folders and ignored files included.
    pub entries: usize,
    /// Greatest single file in bytes, unpacked.
    pub entry_bytes: u64,
    /// Greatest sum of all files in bytes, unpacked.
    pub total_bytes: u64,
    /// Greatest unpacked/packed ratio of an entry; looked at beyond 1 MiB unpacked.
    pub ratio: u64,
    /// Greatest depth of folders.
    pub path_depth: usize,
    /// Greatest nesting of a YAML or JSON file.
    pub depth: usize,
    /// Greatest number of values in a YAML or JSON file, of what is kept of it; an object with keys counts as several, so that each
    /// stands for some 72 bytes of memory.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            archive_bytes: 64 << 20,
            entries: 10_000,
            entry_bytes: 32 << 20,
            total_bytes: 256 << 20,
            ratio: 200,
            path_depth: 32,
            depth: 100,
            nodes: 2_000_000,
        }
    }
}
