//! How tests load a text.

use std::path::Path;

use crate::env::Env;
use crate::error::ConfigError;
use crate::load::{Loaded, load_text};

/// A text, and what must hold of the settings that come of it.
pub(crate) type Holds<'a> = &'a dyn Fn(&crate::Config) -> bool;

/// The variable that the default user refers to.
const PASSWORD: (&str, &str) = ("adapter_admin_pwd", "secret");

pub(crate) fn env(variables: &[(&str, &str)]) -> Env {
    variables.iter().copied().chain([PASSWORD]).collect()
}

pub(crate) fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Vec<ConfigError>> {
    load_text(text, Path::new("config.toml"), &env(variables))
}

pub(crate) fn good(text: &str) -> Loaded {
    load_with(text, &[]).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

pub(crate) fn errors(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match load_with(text, variables) {
        Ok(loaded) => panic!("{text}: loaded as {loaded:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}
