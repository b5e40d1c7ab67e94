//! What happened, told once: each function writes the log line.

use std::error::Error;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::Path;

use tracing::{error, info, warn};
use trireme_project::Diagnostic;
pub(crate) use trireme_telemetry::chain;

use crate::store::{Deployment, Origin};

/// An API is stored and on its way.
pub(crate) fn deployed(deployment: &Deployment, counter: u64) {
    info!(
        api = deployment.name,
        version = deployment.version,
        vhost = deployment.identity.vhost,
        base_path = deployment.base_path,
        environments = ?deployment.environments,
        origin = %origin(&deployment.origin),
        revision = counter,
        "api deployed"
    );
}

/// An API is gone from the store and will be gone from the gateway.
pub(crate) fn undeployed(deployment: &Deployment) {
    info!(
        api = deployment.name,
        version = deployment.version,
        vhost = deployment.identity.vhost,
        origin = %origin(&deployment.origin),
        "api undeployed"
    );
}

/// A project was refused. What is wrong with one that is bad, each finding tells.
pub(crate) fn refused(from: &Origin, error: &dyn Error) {
    warn!(origin = %origin(from), reason = %chain(error), "project refused");
}

/// A finding in a project that was taken, or one of those it was refused for: `apictl` shows no body, so its users find them here.
/// `api` is name and version, as far as they are known.
pub(crate) fn finding(from: &Origin, api: &(String, String), finding: &Diagnostic) {
    let (api, version) = api;
    warn!(
        api,
        version,
        origin = %origin(from),
        severity = finding.severity.as_str(),
        file = finding.file,
        pointer = finding.pointer,
        finding = finding.message,
        "finding in a project"
    );
}

/// A peer doesn't take what was published.
pub(crate) fn rejected(resource: &str, reason: &str) {
    error!(
        resource,
        reason, "api rejected by a peer, its last good revision stays"
    );
}

/// A peer doesn't take an entry of a plain set.
pub(crate) fn set_rejected(set: &'static str, entry: &str, reason: &str) {
    error!(
        set,
        entry, reason, "entry rejected by a peer, its last good one stays"
    );
}

/// Own bytes can't be read back.
pub(crate) fn undecodable(resource: &str, reason: &dyn Error) {
    error!(resource, reason = %chain(reason), "fragment left out of the assembled routes");
}

/// A stored API can't be translated by this version or with this configuration.
pub(crate) fn unusable(deployment: &Deployment, reason: &dyn Display) {
    error!(
        api = deployment.name,
        version = deployment.version,
        vhost = deployment.identity.vhost,
        %reason,
        "stored api left out"
    );
}

/// All of the store is published.
pub(crate) fn loaded(apis: usize, left_out: usize, took: std::time::Duration) {
    info!(apis, left_out, took_ms = took.as_millis(), "apis loaded");
}

/// The mounted folder can't be read.
pub(crate) fn folder_unreadable(path: &Path, reason: &dyn Error) {
    warn!(path = %path.display(), reason = %chain(reason), "projects folder can't be read, its apis stay as they are");
}

/// The mounted folder isn't watched; it is still looked at from time to time.
pub(crate) fn folder_unwatched(path: &Path, reason: &dyn Error) {
    warn!(path = %path.display(), reason = %chain(reason), "projects folder isn't watched");
}

/// Something of the management API that nobody is told otherwise.
pub(crate) fn rest_failed(what: &'static str, reason: &dyn Error) {
    warn!(what, reason = %chain(reason), "management api");
}

/// An address has given so many wrong passwords that it has to wait. Told once until it has stopped for a while.
pub(crate) fn guessing(peer: IpAddr) {
    warn!(%peer, "too many wrong passwords, this address is slowed down");
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Entry { source, entry } => format!("{source} entry {entry}"),
        Origin::Rest => "management api".to_owned(),
    }
}
