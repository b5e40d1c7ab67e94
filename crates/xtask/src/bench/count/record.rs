//! The file of recorded figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

use super::script::ROWS;

/// Figures, and what they were counted with.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Cargo profile of the program.
    pub(super) profile: String,
    pub(super) valgrind: String,
    pub(super) date: String,
    pub(super) rows: BTreeMap<String, Figures>,
}

/// Instructions per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Figures {
    pub(super) router: u64,
    pub(super) enforcer: u64,
}

impl Record {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, self.text()?).with_context(|| path.display().to_string())?;
        println!("recorded in {}", path.display());
        Ok(())
    }

    /// Says what may make the figures differ besides the code.
    pub(super) fn explain(&self, now: &Self) {
        println!(
            "against the figures of {}, profile {}, valgrind {}",
            self.date, self.profile, self.valgrind
        );
        for (what, then, now) in [
            ("profile", &self.profile, &now.profile),
            ("valgrind", &self.valgrind, &now.valgrind),
        ] {
            if then != now {
                println!("{what} is {now} now, which makes a difference of its own");
            }
        }
    }

    fn text(&self) -> anyhow::Result<String> {
        let mut text = format!(
            "# User-space instructions per request of router and enforcer, counted by callgrind. `cargo xtask bench count`
# compares with them, `--record` writes them anew; crates/xtask/src/bench/count/mod.rs says what is counted.

# Cargo profile of the program.
profile = \"{}\"
valgrind = \"{}\"
date = \"{}\"
",
            self.profile, self.valgrind, self.date
        );
        for row in &ROWS {
            let figures = self.rows.get(row.name).context(row.name)?;
            write!(
                text,
                "\n# {}.\n[rows.{}]\nrouter = {}\nenforcer = {}\n",
                row.about, row.name, figures.router, figures.enforcer
            )?;
        }
        Ok(text)
    }
}

/// The cargo profile of a program, by the folder that cargo builds it in.
pub(super) fn profile(program: &Path) -> String {
    let folder = program.parent().and_then(Path::file_name);
    match folder.and_then(|folder| folder.to_str()) {
        Some("debug") => "dev".to_owned(),
        Some(folder) => folder.to_owned(),
        None => "unknown".to_owned(),
    }
}

/// The date in UTC.
pub(super) fn today() -> anyhow::Result<String> {
    let output = Command::new("date")
        .args(["-u", "+%F"])
        .output()
        .context("date")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let figures = |(number, row): (u64, &super::super::Row)| {
            let figures = Figures {
                router: number,
                enforcer: number + 1,
            };
            (row.name.to_owned(), figures)
        };
        let record = Record {
            profile: "dist".into(),
            valgrind: "3.19.0".into(),
            date: "2026-01-02".into(),
            rows: (1..).zip(&ROWS).map(figures).collect(),
        };
        assert_eq!(toml::from_str::<Record>(&record.text().unwrap()).unwrap(), record);
    }

    #[test]
    fn the_profile_is_the_folder() {
        for (path, want) in [
            ("target/dist/trireme", "dist"),
            ("target/release/trireme", "release"),
            ("target/debug/trireme", "dev"),
            ("trireme", "unknown"),
        ] {
            assert_eq!(profile(Path::new(path)), want, "{path}");
        }
    }
}
