//! Project folders on disk.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::source::{Files, Folder, Limits, ProjectSource, clean};

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
        };
        walk.folder(&root, "").map_err(|diagnostic| vec![diagnostic])?;
        Ok(walk.files)
    }
}

struct Walk<'a> {
    root: &'a Path,
    limits: &'a Limits,
    wanted: &'a dyn Fn(&str) -> bool,
    entries: usize,
    left: u64,
    files: Files,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, prefix: &str) -> Result<(), Diagnostic> {
        let unreadable =
            |error: std::io::Error| Diagnostic::error(prefix, "", format!("folder cannot be read: {error}"));
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            names.push(entry.map_err(unreadable)?.file_name());
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(Diagnostic::error(
                    "",
                    "",
                    format!("project has more than {} files", self.limits.entries),
                ));
            }
        }
        names.sort();
        for name in names {
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
            self.entry(&folder.join(name), path)?;
        }
        Ok(())
    }

    fn entry(&mut self, place: &Path, path: String) -> Result<(), Diagnostic> {
        let path = clean(&path, self.limits).map_err(|reason| Diagnostic::error(path, "", reason))?;
        let place = self.inside(place, &path)?;
        let facts = fs::metadata(&place).map_err(|error| unreadable(&path, &error))?;
        if facts.is_dir() {
            return self.folder(&place, &path);
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
        if length > bound {
            return Err(if bound == self.left {
                Diagnostic::error(
                    "",
                    "",
                    format!(
                        "project is greater than the {} bytes allowed",
                        self.limits.total_bytes
                    ),
                )
            } else {
                Diagnostic::error(
                    path,
                    "",
                    format!(
                        "file is greater than the {} bytes allowed",
                        self.limits.entry_bytes
                    ),
                )
            });
        }
        self.left -= length;
        self.files.insert(path, content);
        Ok(())
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
