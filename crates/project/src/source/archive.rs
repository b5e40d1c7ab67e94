//! Zip archives: bounded reading and writing.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::document::diagnostic::Diagnostic;
use crate::settings::Limits;
use crate::source::layout::{Role, role};
use crate::source::{Archive, DEFINITION, Files, ProjectSource, clean};

/// Expansion below this size is never looked at: a page of spaces compresses well and harms nobody.
const RATIO_FREE_BYTES: u64 = 1 << 20;

/// Signature of a central directory record.
const CENTRAL_RECORD: &[u8] = b"PK\x01\x02";

/// Findings about single entries that are kept; a hostile archive can have one for each of its entries.
const MAX_FINDINGS: usize = 100;

impl ProjectSource for Archive<'_> {
    fn load(&self, limits: &Limits, wanted: &dyn Fn(&str) -> bool) -> Result<Files, Vec<Diagnostic>> {
        let size = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        if size > limits.archive_bytes {
            let message = format!(
                "archive of {size} bytes is greater than the {} allowed",
                limits.archive_bytes
            );
            return Err(whole(message));
        }
        // Counted before the directory is parsed, since its in-memory form is some ten times its size in the file.
        let records = memchr::memmem::find_iter(self.0, CENTRAL_RECORD)
            .take(limits.entries + 1)
            .count();
        if records > limits.entries {
            return Err(whole(format!("archive has more than {} entries", limits.entries)));
        }
        let mut archive = ZipArchive::new(Cursor::new(self.0))
            .map_err(|error| whole(format!("not a readable zip archive: {error}")))?;
        if archive.has_duplicate_names() {
            let name = repeated_name(self.0, archive.central_directory_start()).unwrap_or_default();
            return Err(vec![Diagnostic::error(name, "", TWICE)]);
        }
        if alone(&archive).is_some() {
            let chosen = survey(&archive, limits, &|_| true)?;
            let files = unpack(&mut archive, chosen, limits)?;
            return Ok(files
                .into_values()
                .map(|content| (DEFINITION.to_owned(), content))
                .collect());
        }
        let chosen = survey(&archive, limits, wanted)?;
        unpack(&mut archive, chosen, limits)
    }

    fn alone(&self) -> Option<Cow<'_, str>> {
        // Few of them, so that the directory is small whatever else is in the file.
        let few = memchr::memmem::find_iter(self.0, CENTRAL_RECORD).take(9).count() < 9;
        let archive = few.then(|| ZipArchive::new(Cursor::new(self.0)).ok()).flatten()?;
        alone(&archive).map(Cow::Owned)
    }
}

/// The name of the only entry, if it is that of a definition without a project.
fn alone(archive: &ZipArchive<Cursor<&[u8]>>) -> Option<String> {
    let name = (archive.len() == 1)
        .then(|| archive.name_for_index(0))
        .flatten()?;
    name.ok().filter(|name| is_definition(name)).map(Cow::into_owned)
}

/// The only file of a project could be its `api.yaml` as well.
fn is_definition(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    !name.contains(['/', '\\'])
        && ["json", "yaml", "yml"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
        && !matches!(role(name), Some(Role::Api | Role::Deployments))
}

const TWICE: &str = "two entries of the archive have this name";

/// The first name that the directory at `start` has twice; the library tells only that there is one.
fn repeated_name(archive: &[u8], start: u64) -> Option<String> {
    let mut rest = archive.get(usize::try_from(start).ok()?..)?;
    let mut seen = BTreeSet::new();
    while rest.starts_with(CENTRAL_RECORD) {
        let length = |at: usize| {
            Some(usize::from(u16::from_le_bytes(
                rest.get(at..at + 2)?.try_into().ok()?,
            )))
        };
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let name = rest.get(46..46 + name)?;
        if !seen.insert(name) {
            return Some(String::from_utf8_lossy(name).escape_debug().to_string());
        }
        rest = rest.get(46 + name.len() + extra + comment..)?;
    }
    None
}

fn whole(message: impl Into<String>) -> Vec<Diagnostic> {
    vec![Diagnostic::error("", "", message)]
}

/// Looks at every entry by its directory record alone: names, declared sizes, expansion. Returns index and clean name of
/// the wanted ones.
///
/// An entry that is described as a link may be one, or a file: `apictl` describes the link and packs what it leads to. Those that
/// could be are among the chosen, to be looked at by [`unpack`].
fn survey(
    archive: &ZipArchive<Cursor<&[u8]>>,
    limits: &Limits,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Chosen>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut chosen = Vec::new();
    let mut total = 0_u64;
    for index in 0..archive.len() {
        match entry(archive, index, limits, &mut total, wanted) {
            Ok(Some(entry)) => chosen.push(entry),
            Ok(None) => {}
            Err(finding) if found.len() < MAX_FINDINGS => found.push(finding),
            Err(_) => break,
        }
    }
    if total > limits.total_bytes {
        let message = format!(
            "archive unpacks to {total} bytes, more than the {} allowed",
            limits.total_bytes
        );
        found.push(Diagnostic::error("", "", message));
    }
    if found.is_empty() { Ok(chosen) } else { Err(found) }
}

/// An entry to be unpacked.
struct Chosen {
    index: usize,
    /// Its clean path.
    path: String,
    /// It is a file of the project.
    wanted: bool,
    /// It may be a link.
    link: bool,
}

/// One entry when it is wanted, or may be a link.
fn entry(
    archive: &ZipArchive<Cursor<&[u8]>>,
    index: usize,
    limits: &Limits,
    total: &mut u64,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Option<Chosen>, Diagnostic> {
    let entry = archive.by_index_data(index).map_err(|error| {
        Diagnostic::error(
            "",
            "",
            format!("entry {index} of the archive is unreadable: {error}"),
        )
    })?;
    let name = entry.name().map_err(|error| {
        let raw = String::from_utf8_lossy(entry.name_raw())
            .escape_debug()
            .to_string();
        Diagnostic::error(raw, "", format!("entry name is unreadable: {error}"))
    })?;
    let path = clean(&name, limits)
        .map_err(|reason| Diagnostic::error(name.escape_debug().to_string(), "", reason))?;
    let link = match entry.unix_mode().unwrap_or_default() & FORMAT {
        // Some packers say nothing.
        0 | FOLDER | REGULAR => false,
        LINK => entry.size() <= MAX_LINK,
        _ => {
            return Err(Diagnostic::refusal(
                path,
                "",
                "entry is neither a file nor a folder",
            ));
        }
    };
    if entry.is_dir() && !link {
        return Ok(None);
    }
    *total = total.saturating_add(entry.size());
    if entry.size() > RATIO_FREE_BYTES && entry.size() / entry.compressed_size().max(1) > limits.ratio {
        return Err(Diagnostic::error(
            path,
            "",
            format!("entry expands more than {} times", limits.ratio),
        ));
    }
    let wanted = wanted(&path);
    if !wanted && !link {
        return Ok(None);
    }
    if entry.encrypted() {
        return Err(Diagnostic::error(path, "", "entry is encrypted"));
    }
    if entry.size() > limits.entry_bytes {
        let message = format!(
            "entry of {} bytes is greater than the {} allowed",
            entry.size(),
            limits.entry_bytes
        );
        return Err(Diagnostic::error(path, "", message));
    }
    Ok(Some(Chosen {
        index,
        path,
        wanted,
        link,
    }))
}

/// What the mode of a file says of its kind (POSIX.1 `sys/stat.h`; the numbers are those of the format's Unix attributes).
const FORMAT: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// Longest target of a link.
const MAX_LINK: u64 = 4_095;

/// Whether the content of an entry that is described as a link is where that leads: one line without an end, and nothing that
/// begins as JSON does.
fn is_target(content: &[u8]) -> bool {
    let text = std::str::from_utf8(content).unwrap_or("\n");
    !text.is_empty() && !text.starts_with(['{', '[']) && !text.contains(char::is_control)
}

/// Inflates the chosen entries. Declared sizes are not trusted: what really comes out is bounded again.
fn unpack(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    chosen: Vec<Chosen>,
    limits: &Limits,
) -> Result<Files, Vec<Diagnostic>> {
    let mut files = Files::new();
    let mut found = Vec::new();
    let mut left = limits.total_bytes;
    for Chosen {
        index,
        path,
        wanted,
        link,
    } in chosen
    {
        match inflate(archive, index, limits, &mut left) {
            Ok(content) if link && is_target(&content) => {
                let message = "entry is a symbolic link, which is not followed: put the file in its place";
                found.push(Diagnostic::refusal(path, "", message));
            }
            Ok(content) if wanted => {
                if files.insert(path.clone(), content).is_some() {
                    found.push(Diagnostic::error(path, "", TWICE));
                }
            }
            Ok(_) => {}
            Err(message) => found.push(Diagnostic::error(path, "", message)),
        }
        if found.len() >= MAX_FINDINGS || (left == 0 && !found.is_empty()) {
            break;
        }
    }
    if found.is_empty() { Ok(files) } else { Err(found) }
}

/// The content of one entry, taken from what is `left` for all of them.
fn inflate(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    index: usize,
    limits: &Limits,
    left: &mut u64,
) -> Result<Vec<u8>, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("entry cannot be unpacked: {error}");
    let mut entry = archive.by_index(index).map_err(|error| unreadable(&error))?;
    let expansion = entry
        .compressed_size()
        .saturating_mul(limits.ratio)
        .max(RATIO_FREE_BYTES);
    let bound = limits.entry_bytes.min(expansion).min(*left);
    let mut content = Vec::with_capacity(usize::try_from(entry.size().min(bound)).unwrap_or(0));
    let read = (&mut entry).take(bound + 1).read_to_end(&mut content);
    let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
    // What a broken entry gave counts as well: inflating it has taken its time.
    *left = left.saturating_sub(length);
    read.map_err(|error| unreadable(&error))?;
    if length <= bound {
        return Ok(content);
    }
    Err(if bound == limits.entry_bytes {
        format!("entry is greater than the {} bytes allowed", limits.entry_bytes)
    } else if bound == expansion {
        format!("entry expands more than {} times", limits.ratio)
    } else {
        format!(
            "archive unpacks to more than the {} bytes allowed",
            limits.total_bytes
        )
    })
}

/// A failure to write an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A name or size the format cannot express.
    #[error("cannot write the archive entry {name}")]
    Entry {
        /// Path of the entry.
        name: String,
        /// What the writer says.
        #[source]
        source: zip::result::ZipError,
    },
    /// The end of the archive could not be written.
    #[error("cannot finish the archive")]
    Finish(#[source] zip::result::ZipError),
}

/// Packs a definition without a project around it, by the name of its file: what [`Archive`] takes for one.
///
/// # Errors
/// As [`archive`].
pub fn archive_alone(name: &str, content: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = name.chars().filter(|c| !c.is_control() && *c != ':').collect();
    if !is_definition(&name) {
        name = format!("definition-{name}.yaml");
    }
    archive("", [(name, content)])
}

/// Packs files below one root folder, the way `apictl` does: `<root>/<path>`, forward slashes, deflated; a path that ends
/// in `/` is an empty folder. An empty root adds no folder. The same input gives the same bytes.
///
/// # Errors
/// When a name or size cannot be expressed in the format.
pub fn archive<P: AsRef<str>, C: AsRef<[u8]>>(
    root: &str,
    files: impl IntoIterator<Item = (P, C)>,
) -> Result<Vec<u8>, ArchiveError> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    for (path, content) in files {
        let name = if root.is_empty() {
            path.as_ref().to_owned()
        } else {
            format!("{root}/{}", path.as_ref())
        };
        let written = if name.ends_with('/') {
            writer.add_directory(name.as_str(), options.unix_permissions(0o755))
        } else {
            writer.start_file(name.as_str(), options).and_then(|()| {
                writer
                    .write_all(content.as_ref())
                    .map_err(zip::result::ZipError::from)
            })
        };
        written.map_err(|source| ArchiveError::Entry { name, source })?;
    }
    writer
        .finish()
        .map(Cursor::into_inner)
        .map_err(ArchiveError::Finish)
}
