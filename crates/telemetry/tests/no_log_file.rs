//! There is one logger in a process, so this has one of its own.

#![allow(clippy::unwrap_used, reason = "a test")]

use trireme_telemetry::{LogSettings, init};

/// The folder may be read-only, as in a container; that's no reason not to serve.
#[test]
fn a_log_file_that_cannot_be_opened_is_done_without() {
    let folder = tempfile::tempdir().unwrap();
    let handle = init(&LogSettings {
        file: Some((folder.path().to_owned(), None)),
        ..LogSettings::default()
    })
    .unwrap();
    assert_eq!(handle.levels().split(',').next_back(), Some("info"));
    handle.flush();
}
