//! Why something can't be deployed or undeployed.

use tokio::task::JoinError;
use trireme_project::Diagnostic;

use crate::publish::Stopped;
use crate::store::{FOLDER, Origin, StoreError};

/// Why a project isn't deployed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// Another API has the base path.
    #[error("base path {base_path} on virtual host {vhost} is taken by {} {}", by.0, by.1)]
    BasePathTaken {
        /// The base path.
        base_path: String,
        /// The virtual host.
        vhost: String,
        /// Name and version of the API that has it.
        by: (String, String),
    },
    /// It couldn't be stored or handed to the publisher.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// It's there already, and the caller didn't ask to replace it.
    #[error("the API is already deployed on virtual host {vhost}")]
    Exists {
        /// The virtual host.
        vhost: String,
    },
    /// The project can't be read or served; all of its findings, at least one of them an error.
    #[error("the project can't be deployed")]
    Invalid(Vec<Diagnostic>),
    /// Another API's name and version read the same once spaces are left out and both are joined, as cluster names do.
    #[error("the API's name and version can't be told from those of {} {} on virtual host {vhost}", by.0, by.1)]
    NameTaken {
        /// The virtual host.
        vhost: String,
        /// Name and version of the other API.
        by: (String, String),
    },
    /// Somebody else deployed it.
    #[error("the API on virtual host {vhost} is deployed by {}", owner(origin))]
    Owned {
        /// The virtual host.
        vhost: String,
        /// Who.
        origin: Origin,
    },
    /// A bug on our side.
    #[error("the project couldn't be processed")]
    Panicked(#[source] JoinError),
}

/// Why something isn't undeployed.
#[derive(Debug, thiserror::Error)]
pub enum UndeployError {
    /// It couldn't be stored or handed to the publisher.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Somebody else deployed it.
    #[error("the API is deployed by {}", owner(.0))]
    Owned(Origin),
    /// A bug on our side.
    #[error("the call couldn't be processed")]
    Panicked(#[source] JoinError),
    /// There is no such deployment.
    #[error("there is no such API")]
    Unknown,
}

/// Why a decision couldn't be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A bug on our side.
    #[error("a stored project couldn't be processed")]
    Panicked(#[source] JoinError),
    /// The publisher has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored project can't be read any more.
    #[error("a stored project can't be used")]
    Stored(#[source] LoadError),
}

/// Why a stored project can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its rules have changed since it was stored, in this version or in the configuration.
    #[error("{}", findings(.0))]
    Invalid(Vec<Diagnostic>),
    /// It now says something else than when it was stored.
    #[error("it is no longer the API that was deployed")]
    Moved,
    /// A bug on our side.
    #[error("it couldn't be processed")]
    Panicked(#[source] JoinError),
}

fn owner(origin: &Origin) -> String {
    match origin {
        Origin::Entry { source, entry } => {
            let place = match source.as_ref() {
                FOLDER => "the projects folder".to_owned(),
                other => format!("source {other}"),
            };
            format!("the entry {entry} of {place}; change it there")
        }
        Origin::Rest => "the management API; undeploy it there first".to_owned(),
    }
}

fn findings(findings: &[Diagnostic]) -> String {
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.is_error())
        .map(ToString::to_string)
        .collect();
    errors.join("; ")
}
