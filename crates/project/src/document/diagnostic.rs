//! What is wrong with a project, and where.

use std::fmt::{self, Display, Write as _};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// File inside the project, such as `Definitions/swagger.yaml`; empty when the project as a whole is meant.
    pub file: String,
    /// JSON pointer into the file (RFC 6901), such as `/paths/~1pets/get`; empty for the whole file.
    pub pointer: String,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Whether the project is refused for it.
    pub severity: Severity,
}

/// Weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The project is refused: it is broken, to the original as well, or what guards it is in doubt.
    Error,
    /// The project is refused by a rule of this gateway: the original takes it, and leaves open what comes of it.
    Refusal,
    /// The project is read, something in it has no effect.
    Warning,
}

impl Severity {
    /// `error` or `warning`, for either kind of refusal the same.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error | Self::Refusal => "error",
            Self::Warning => "warning",
        }
    }
}

impl Diagnostic {
    /// An error in `file` at `pointer`.
    pub fn error(file: impl Into<String>, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            pointer: pointer.into(),
            message: message.into(),
            severity: Severity::Error,
        }
    }

    /// A rule of this gateway that `file` breaks at `pointer`.
    pub fn refusal(file: impl Into<String>, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Refusal,
            ..Self::error(file, pointer, message)
        }
    }

    /// A warning in `file` at `pointer`.
    pub fn warning(file: impl Into<String>, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(file, pointer, message)
        }
    }

    /// Whether it refuses the project.
    #[must_use]
    pub fn is_error(&self) -> bool {
        match self.severity {
            Severity::Error | Severity::Refusal => true,
            Severity::Warning => false,
        }
    }
}

/// On one line: control characters, which names in files may have, are written as escapes.
impl Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.severity.as_str())?;
        f.write_str(": ")?;
        if !self.file.is_empty() {
            line(&self.file, f)?;
            if !self.pointer.is_empty() {
                f.write_str("#")?;
                line(&self.pointer, f)?;
            }
            f.write_str(": ")?;
        }
        line(&self.message, f)
    }
}

fn line(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

/// Place in a document, kept on the stack so that a pointer is only written out for a finding.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pointer<'p> {
    Index(&'p Self, usize),
    Key(&'p Self, &'p str),
    Root,
}

impl<'p> Pointer<'p> {
    pub(crate) fn key(&'p self, key: &'p str) -> Self {
        Self::Key(self, key)
    }

    pub(crate) fn index(&'p self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
            Self::Key(parent, key) => write!(f, "{parent}/{}", pointer_token(key)),
        }
    }
}

/// A key as a token of a JSON pointer (RFC 6901 section 3): `~` and `/` in the form that they have there.
#[must_use]
pub fn pointer_token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// More findings than this in one project are counted, not kept: a hostile file must not fill the memory with them.
const MAX_KEPT: usize = 1_000;

/// Collects the findings of one read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<Diagnostic>,
    errors: usize,
    dropped: usize,
}

impl Findings {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if diagnostic.is_error() {
            self.errors += 1;
        }
        if self.kept.len() < MAX_KEPT {
            self.kept.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    pub(crate) fn error(&mut self, file: &str, pointer: &Pointer<'_>, message: impl Into<String>) {
        self.push(Diagnostic::error(file, pointer.to_string(), message));
    }

    pub(crate) fn refusal(&mut self, file: &str, pointer: &Pointer<'_>, message: impl Into<String>) {
        self.push(Diagnostic::refusal(file, pointer.to_string(), message));
    }

    pub(crate) fn warning(&mut self, file: &str, pointer: &Pointer<'_>, message: impl Into<String>) {
        self.push(Diagnostic::warning(file, pointer.to_string(), message));
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// All that was kept, errors first, and a last line when some were dropped.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.kept.sort_by_key(|d| !d.is_error());
        if self.dropped > 0 {
            let rest = format!("{} more findings are not listed", self.dropped);
            self.kept.push(if self.errors > 0 {
                Diagnostic::error("", "", rest)
            } else {
                Diagnostic::warning("", "", rest)
            });
        }
        self.kept
    }
}
