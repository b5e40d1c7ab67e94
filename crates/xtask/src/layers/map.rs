//! `crates/README.md`, compared with what is there.
//!
//! Its first code block is the map: `name/  package  words` for a crate, `name/src/folder/  words` for a folder of one, both
//! below a line `crates/`, and the same without the package for what stands beside `crates/`. The table below
//! [`HEADING`] has a line for each crate, or for several, by the names of their folders.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::source::Files;

/// Where the table of crates begins.
const HEADING: &str = "## Who may depend on whom";

/// Package of each crate, by the name of its folder.
pub(super) type Packages<'a> = BTreeMap<&'a str, &'a str>;

/// The folders of a crate that want a line on the map: those with more than tests.
pub(super) fn folders(krate: &str, files: &Files) -> BTreeSet<String> {
    let mut folders = BTreeSet::new();
    for path in files.keys() {
        let Some((folder, file)) = path.rsplit_once('/') else {
            continue;
        };
        if file != "tests.rs" && folder.split('/').all(|name| name != "tests") {
            folders.insert(format!("crates/{krate}/src/{folder}"));
        }
    }
    folders
}

/// What the map lacks of `folders` and of the crates, and what it has beside what is there.
pub(super) fn map(
    readme: &str,
    folders: &BTreeSet<String>,
    packages: &Packages<'_>,
    there: impl Fn(&Path) -> bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut listed = BTreeSet::new();
    let mut above = "";
    let block = readme.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    for line in block.take_while(|line| !line.starts_with("```")) {
        let (names, words) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
        let words = words.trim();
        if !line.starts_with(' ') {
            above = if words.is_empty() { names } else { "" };
        } else if words.is_empty() {
            wrong.push(format!("the map says nothing of {names}"));
        }
        for name in names.split(", ") {
            let name = name.trim_end_matches('/');
            let path = if line.starts_with(' ') {
                format!("{above}{name}")
            } else {
                name.into()
            };
            if !there(Path::new(&path)) {
                wrong.push(format!("the map has {path}, which is no folder"));
            }
            if let Some(package) = packages.get(name)
                && path == format!("crates/{name}")
                && words.split_whitespace().next() != Some(package)
            {
                wrong.push(format!("the map does not say that {path} is {package}"));
            }
            if !listed.insert(path.clone()) {
                wrong.push(format!("the map has {path} twice"));
            }
        }
    }
    let crates = packages.keys().map(|name| format!("crates/{name}"));
    let crates: BTreeSet<_> = crates.filter(|path| there(Path::new(path))).collect();
    let lacking = crates.union(folders).filter(|path| !listed.contains(*path));
    wrong.extend(lacking.map(|path| format!("the map lacks {path}")));
    wrong
}

/// Where the table of crates says otherwise than `allowed`, packages and what they may depend on.
pub(super) fn table(readme: &str, allowed: &[(&str, &[&str])], packages: &Packages<'_>) -> Vec<String> {
    let mut rows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut wrong = Vec::new();
    let section = readme.lines().skip_while(|line| *line != HEADING).skip(1);
    for line in section.take_while(|line| !line.starts_with("## ")) {
        let mut cells = line.split('|').skip(1);
        let (Some(names), Some(needs)) = (cells.next(), cells.next()) else {
            continue;
        };
        for name in quoted(names) {
            if rows.insert(name, quoted(needs).collect()).is_some() {
                wrong.push(format!("the table of crates has {name} twice"));
            }
        }
    }
    let folder = |package: &str| {
        packages
            .iter()
            .find(|(_, found)| **found == package)
            .map(|(name, _)| *name)
    };
    for (package, needs) in allowed {
        let Some(name) = folder(package) else {
            wrong.push(format!(
                "{package} may depend on others, but there is no such crate"
            ));
            continue;
        };
        let needs: BTreeSet<_> = needs.iter().filter_map(|need| folder(need)).collect();
        match rows.remove(name) {
            None => wrong.push(format!("the table of crates lacks {name}")),
            Some(told) if told != needs => wrong.push(format!(
                "the table of crates says that {name} may depend on {}, allowed are {}",
                list(&told),
                list(&needs)
            )),
            Some(_) => {}
        }
    }
    wrong.extend(
        rows.keys()
            .map(|name| format!("the table of crates has {name}, which is no crate")),
    );
    wrong
}

fn list(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return "nothing".into();
    }
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}
