//! Writes the settings as TOML: the commented template, and the settings in use without their secrets.

use std::fmt::Write as _;

use crate::properties::Properties;
use crate::schema::{Rows, Section, Shape, join, paths};
use crate::sections::Config;

const HEAD: &str = "\
# Every key of config.toml with its default. A file needs only what differs.
#
# $env{NAME} in a string stands for the environment variable NAME: the adapter's, in [enforcer] and [analytics] the
# enforcer's. A password may also be $file{PATH}, the content of a file. Every key can be set by a variable of the
# adapter as well: CC_ and the key path in any case, joined with _, such as CC_ADAPTER_SERVER_USERS_0_PASSWORD.
#
# Generated from the schema; do not edit.
";

/// `conf/config.toml.template`: every key at its default, with a comment.
pub fn template() -> String {
    let mut writer = Writer {
        text: HEAD.to_owned(),
        comments: true,
        reveal: true,
        prefix: "",
    };
    writer.section(&mut Config::default(), &mut String::new());
    writer.text
}

/// The settings as TOML with `***` in place of secrets, for `--check` and the admin port.
pub fn redacted(config: &Config) -> String {
    let mut writer = Writer {
        text: String::new(),
        comments: false,
        reveal: false,
        prefix: "",
    };
    writer.section(&mut config.clone(), &mut String::new());
    writer.text
}

struct Writer {
    text: String,
    comments: bool,
    reveal: bool,
    /// What every line begins with; `# ` for rows that only show which keys there are.
    prefix: &'static str,
}

impl Writer {
    /// Values first, then tables: TOML would take a value after a table as part of that table.
    fn section(&mut self, section: &mut dyn Section, path: &mut String) {
        section.fields(&mut |key, shape| {
            if let Shape::Leaf(leaf) = shape {
                self.comment(key.comment);
                let literal = if leaf.is_secret() && !self.reveal {
                    "\"***\"".to_owned()
                } else {
                    leaf.literal()
                };
                self.line(&format!("{} = {literal}", key.name));
            }
        });
        section.fields(&mut |key, shape| {
            let length = path.len();
            join(path, key.name);
            match shape {
                Shape::Leaf(_) => {}
                Shape::Map(map) => self.map(map, key.comment, path),
                Shape::Rows(rows) => self.rows(rows, key.comment, path),
                Shape::Section(section) => {
                    self.header(&format!("[{path}]"), key.comment);
                    self.section(section, path);
                }
            }
            path.truncate(length);
        });
    }

    fn rows(&mut self, rows: &mut dyn Rows, comment: &str, path: &mut String) {
        let header = format!("[[{path}]]");
        if rows.count() == 0 {
            if self.comments {
                let outer = std::mem::replace(&mut self.prefix, "# ");
                rows.add(&mut |row| {
                    self.header(&header, comment);
                    self.section(row, path);
                });
                rows.clear();
                self.prefix = outer;
            }
            return;
        }
        let mut first = true;
        rows.each(&mut |row| {
            self.header(&header, if first { comment } else { "" });
            let comments = self.comments;
            self.comments = comments && first;
            self.section(row, path);
            self.comments = comments;
            first = false;
        });
    }

    fn map(&mut self, map: &mut Properties, comment: &str, path: &str) {
        self.header(&format!("[{path}]"), comment);
        for (key, value) in map.iter() {
            let value = if self.reveal { value } else { "***" };
            let (key, value) = (toml_key(key), toml::Value::String(value.to_owned()));
            self.line(&format!("{key} = {value}"));
        }
    }

    fn header(&mut self, header: &str, comment: &str) {
        self.text.push('\n');
        self.comment(comment);
        self.line(header);
    }

    fn comment(&mut self, comment: &str) {
        if self.comments {
            for line in comment.lines() {
                self.line(&format!("# {}", line.trim()));
            }
        }
    }

    fn line(&mut self, line: &str) {
        // Writing to a string cannot fail.
        if writeln!(self.text, "{}{line}", self.prefix).is_err() {
            self.text.push('\n');
        }
    }
}

fn toml_key(key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare {
        key.to_owned()
    } else {
        toml::Value::String(key.to_owned()).to_string()
    }
}

/// Every key path of `config.toml`, tables included, rows without an index. For documentation and completion.
pub fn keys() -> Vec<String> {
    paths::<Config>()
}

#[cfg(test)]
mod tests;
