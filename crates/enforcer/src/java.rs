//! What folders of the original hold for its Java machine and has no effect here (spec/deployment.md 2): told at start, so that
//! nobody waits for it.

use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

/// Entries of `lib/dropins` that are looked at.
const MOST_ENTRIES: usize = 10_000;
/// Jars that are named.
const MOST_NAMED: usize = 8;

/// A file, or several, that the original's enforcer would read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WithoutEffect {
    /// Custom filters, key managers and reporters.
    Jars {
        folder: PathBuf,
        names: Vec<String>,
        all: usize,
    },
    /// `conf/log4j2.properties`.
    LogProperties(PathBuf),
}

/// What there is in the home folder.
pub(crate) fn without_effect(home: &Path) -> Vec<WithoutEffect> {
    let mut found = Vec::new();
    let properties = home.join("conf").join("log4j2.properties");
    if properties.is_file() {
        found.push(WithoutEffect::LogProperties(properties));
    }
    let folder = home.join("lib").join("dropins");
    let entries = std::fs::read_dir(&folder).into_iter().flatten();
    let mut names: Vec<String> = entries
        .take(MOST_ENTRIES)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("jar"))
        })
        .filter_map(|path| path.file_name().map(OsStr::to_string_lossy).map(String::from))
        .collect();
    names.sort_unstable();
    let all = names.len();
    names.truncate(MOST_NAMED);
    if all > 0 {
        found.push(WithoutEffect::Jars { folder, names, all });
    }
    found
}

/// What it is, that it has no effect and why, and what to do.
impl Display for WithoutEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jars { folder, names, all } => {
                let more = all - names.len();
                write!(
                    f,
                    "{all} jars in {} have no effect, because this enforcer runs no Java code: {}",
                    folder.display(),
                    names.join(", ")
                )?;
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
                f.write_str("; take them out, and do not rely on what they checked or reported")
            }
            Self::LogProperties(file) => write!(
                f,
                "{} has no effect, because this enforcer logs without Log4j; set level and form in log_config.toml",
                file.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_java_machine_are_named() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        assert_eq!(without_effect(home), []);
        for folder in ["conf", "lib/dropins"] {
            std::fs::create_dir_all(home.join(folder)).unwrap();
        }
        std::fs::write(home.join("lib/dropins/README.md"), "").unwrap();
        assert_eq!(without_effect(home), []);
        std::fs::write(home.join("conf/log4j2.properties"), "").unwrap();
        for nth in 0..10 {
            std::fs::write(home.join(format!("lib/dropins/filter-{nth}.JAR")), "").unwrap();
        }
        let told: Vec<String> = without_effect(home).iter().map(ToString::to_string).collect();
        let shown = home.display();
        assert_eq!(
            told,
            [
                format!(
                    "{shown}/conf/log4j2.properties has no effect, because this enforcer logs without Log4j; set level and form in log_config.toml"
                ),
                format!(
                    "10 jars in {shown}/lib/dropins have no effect, because this enforcer runs no Java code: filter-0.JAR, filter-1.JAR, \
                     filter-2.JAR, filter-3.JAR, filter-4.JAR, filter-5.JAR, filter-6.JAR, filter-7.JAR and 2 more; take them out, and do \
                     not rely on what they checked or reported"
                ),
            ]
        );
    }
}
