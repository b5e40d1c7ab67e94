//! What is found on the way.

use trireme_project::Diagnostic;

/// The file that says what kind of API it is.
pub(crate) const API: &str = "api.yaml";
/// The definition, by its usual name.
pub(crate) const DEFINITION: &str = "Definitions/swagger.yaml";

/// Collects what is found on the way.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) found: Vec<Diagnostic>,
    pub(crate) refused: bool,
}

impl Findings {
    pub(crate) fn refuse(&mut self, file: &str, pointer: &str, message: &str) {
        self.refused = true;
        self.found.push(Diagnostic::error(file, pointer, message));
    }

    pub(crate) fn warn_at(&mut self, file: &str, pointer: &str, message: &str) {
        self.found.push(Diagnostic::warning(file, pointer, message));
    }

    pub(crate) fn warn(&mut self, message: impl Into<String>) {
        self.found.push(Diagnostic::warning("", "", message));
    }
}
