//! Project folders on disk.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::document::diagnostic::Diagnostic;
use crate::settings::Limits;
use crate::source::{Files, Folder, ProjectSource, clean};

impl ProjectSource for Folder {
    fn load(&self, limits: &Limits, wanted: &dyn Fn(&str) -> bool) -> Result<Files, Vec<Diagnostic>> {
        let refuse = |error: &std::io::Error| {
            vec![Diagnostic::error(
                "",
                "",
                format!("folder {} cannot be read: {error}", self.0.display()),
            )]
        };
        let root = fs::canonicalize(&self.0).map_err(|error| refuse(&error))?;
        if !root.is_dir() {
            return Err(vec![Diagnostic::error(
                "",
                "",
                format!("{} is not a folder", self.0.display()),
            )]);
        }
        let mut walk = Walk {
            root: &root,
            limits,
            wanted,
            entries: 0,
            left: limits.total_bytes,
            files: Files::new(),
            found: Vec::new(),
            full: false,
        };
        walk.folder(&root, "");
        if walk.found.is_empty() {
            Ok(walk.files)
        } else {
            Err(walk.found)
        }
    }
}

/// Findings that are kept; a folder full of bad links can have one for each.
const MAX_FINDINGS: usize = 100;

struct Walk<'a> {
    root: &'a Path,
    limits: &'a Limits,
    wanted: &'a dyn Fn(&str) -> bool,
    entries: usize,
    left: u64,
    files: Files,
    found: Vec<Diagnostic>,
    /// The project as a whole is too large: nothing more is looked at.
    full: bool,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, prefix: &str) {
        let names = match self.names(folder, prefix) {
            Ok(names) => names,
            Err(finding) => return self.found.push(finding),
        };
        for name in names {
            if self.full || self.found.len() >= MAX_FINDINGS {
                return;
            }
            let Some(name) = name.to_str() else { continue };
            // Hidden entries are never part of a project: `.git`, and the generations behind a mounted ConfigMap.
            if name.starts_with('.') {
                continue;
            }
            let path = if prefix.is_empty() {
                name.to_owned()
            } else {
                format!("{prefix}/{name}")
            };
            if let Err(finding) = self.entry(folder, name, path) {
                self.found.push(finding);
            }
        }
    }

    /// The names in a folder, in order, so that the same folder gives the same findings.
    fn names(&mut self, folder: &Path, prefix: &str) -> Result<Vec<OsString>, Diagnostic> {
        let unreadable =
            |error: std::io::Error| Diagnostic::error(prefix, "", format!("folder cannot be read: {error}"));
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            names.push(entry.map_err(unreadable)?.file_name());
            self.entries += 1;
            if self.entries > self.limits.entries {
                self.full = true;
                let message = format!("project has more than {} files", self.limits.entries);
                return Err(Diagnostic::error("", "", message));
            }
        }
        names.sort();
        Ok(names)
    }

    fn entry(&mut self, folder: &Path, name: &str, path: String) -> Result<(), Diagnostic> {
        let path = clean(&path, self.limits).map_err(|reason| Diagnostic::error(path, "", reason))?;
        let place = self.inside(&folder.join(name), &path)?;
        let facts = fs::metadata(&place).map_err(|error| unreadable(&path, &error))?;
        if facts.is_dir() {
            if folder.starts_with(&place) {
                return Err(Diagnostic::error(
                    path,
                    "",
                    "link leads back to a folder it lies in",
                ));
            }
            self.folder(&place, &path);
            return Ok(());
        }
        if !facts.is_file() || !(self.wanted)(&path) {
            return Ok(());
        }
        let bound = self.limits.entry_bytes.min(self.left);
        let mut content = Vec::new();
        fs::File::open(&place)
            .and_then(|file| file.take(bound + 1).read_to_end(&mut content))
            .map_err(|error| unreadable(&path, &error))?;
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if length <= bound {
            self.left -= length;
            self.files.insert(path, content);
            return Ok(());
        }
        if bound < self.left {
            let message = format!("file is greater than the {bound} bytes allowed");
            return Err(Diagnostic::error(path, "", message));
        }
        self.full = true;
        let message = format!(
            "project is greater than the {} bytes allowed",
            self.limits.total_bytes
        );
        Err(Diagnostic::error("", "", message))
    }

    /// The real place of an entry, which must lie in the project. Links within it are fine: a mounted ConfigMap is made of them.
    fn inside(&self, place: &Path, path: &str) -> Result<PathBuf, Diagnostic> {
        let real = fs::canonicalize(place).map_err(|error| unreadable(path, &error))?;
        if real.starts_with(self.root) {
            Ok(real)
        } else {
            Err(Diagnostic::error(path, "", "link leads out of the project"))
        }
    }
}

fn unreadable(path: &str, error: &std::io::Error) -> Diagnostic {
    Diagnostic::error(path, "", format!("file cannot be read: {error}"))
}
