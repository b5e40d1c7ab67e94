//! Where the files of a project come from.

pub(crate) mod archive;
pub(crate) mod folder;
pub(crate) mod layout;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::document::diagnostic::Diagnostic;
use crate::settings::Limits;

/// The files of a project that matter, by path relative to wherever the source starts, `/`-separated.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Something that holds the files of a project. `wanted` tells by path which files will be looked at; others need not be
/// read, but count against [`Limits::entries`].
pub trait ProjectSource {
    /// Reads the wanted files, or says why not. Implementations bound everything by `limits` and never leave the project.
    ///
    /// # Errors
    /// All reasons for which the source as a whole is refused.
    fn load(&self, limits: &Limits, wanted: &dyn Fn(&str) -> bool) -> Result<Files, Vec<Diagnostic>>;

    /// Name of the only file when this is a definition without a project around it. That one is loaded by the name that a
    /// definition has in a project.
    fn alone(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// A project as zip archive, or a definition without one: an archive whose only entry is a YAML or JSON file at its root.
#[derive(Debug, Clone, Copy)]
pub struct Archive<'a>(pub &'a [u8]);

/// A project as folder on disk. Links that lead out of the folder are refused.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

/// A definition alone, without any other file of a project.
#[derive(Debug, Clone, Copy)]
pub struct Definition<'a> {
    /// Name of the file, for diagnostics and as the last resort for the API's name.
    pub name: &'a str,
    /// Its content.
    pub content: &'a [u8],
}

/// Files already in memory.
#[derive(Debug, Clone, Default)]
pub struct Memory(pub Files);

impl ProjectSource for Definition<'_> {
    fn load(&self, limits: &Limits, _wanted: &dyn Fn(&str) -> bool) -> Result<Files, Vec<Diagnostic>> {
        fits(self.name, self.content, limits)?;
        // Filed under the name a project has it by, so that the reader needs no second way in.
        Ok(Files::from([(DEFINITION.to_owned(), self.content.to_vec())]))
    }

    fn alone(&self) -> Option<Cow<'_, str>> {
        Some(self.name.into())
    }
}

/// Where a definition without a project is put.
pub(crate) const DEFINITION: &str = "Definitions/swagger.yaml";

impl ProjectSource for Memory {
    fn load(&self, limits: &Limits, wanted: &dyn Fn(&str) -> bool) -> Result<Files, Vec<Diagnostic>> {
        let mut files = Files::new();
        for (name, content) in &self.0 {
            let path =
                clean(name, limits).map_err(|reason| vec![Diagnostic::error(name.as_str(), "", reason)])?;
            if wanted(&path) {
                fits(&path, content, limits)?;
                files.insert(path, content.clone());
            }
        }
        Ok(files)
    }
}

fn fits(name: &str, content: &[u8], limits: &Limits) -> Result<(), Vec<Diagnostic>> {
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > limits.entry_bytes {
        let message = format!("file is greater than the {} bytes allowed", limits.entry_bytes);
        return Err(vec![Diagnostic::error(name, "", message)]);
    }
    Ok(())
}

/// A name longer than this is not a project file's.
const MAX_NAME: usize = 1_024;

/// The path of an entry without empty and `.` steps, or why a name has no place in a project.
pub(crate) fn clean(name: &str, limits: &Limits) -> Result<String, &'static str> {
    if name.len() > MAX_NAME {
        return Err("entry name is too long");
    }
    if name.chars().any(char::is_control) {
        return Err("entry name has a control character");
    }
    if name.contains('\\') {
        return Err("entry name has a backslash");
    }
    if name.starts_with('/') || name.as_bytes().get(1) == Some(&b':') {
        return Err("entry name is an absolute path");
    }
    let steps: Vec<&str> = name
        .split('/')
        .filter(|step| !step.is_empty() && *step != ".")
        .collect();
    if steps.contains(&"..") {
        return Err("entry name leads out of the project");
    }
    if steps.len() > limits.path_depth {
        return Err("entry lies too deep");
    }
    Ok(steps.join("/"))
}
