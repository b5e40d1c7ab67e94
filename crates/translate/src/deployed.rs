//! What is translated.

use trireme_project::ApiProject;

use crate::names;

/// One API on one virtual host.
#[derive(Debug, Clone, Copy)]
pub struct Deployed<'a> {
    /// What it is.
    pub project: &'a ApiProject,
    /// Whose it is.
    pub organization: &'a str,
    /// Where it is, in lower case.
    pub vhost: &'a str,
}

impl Deployed<'_> {
    /// Name of the API's fragment and policy.
    #[must_use]
    pub fn name(&self) -> String {
        names::resource(
            self.vhost,
            &self.project.base_path,
            &self.project.identity.version,
        )
    }
}
