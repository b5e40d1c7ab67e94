//! What `trireme up` shows: progress while starting, the facts once ready, then one line per event.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use crate::commands::say;
use crate::home::{Credentials, Home, Role};

use super::Ready;

/// Standard error for progress and events, standard output for the facts.
#[derive(Debug, Clone)]
pub(super) struct Console {
    json: bool,
    progress: ProgressBar,
}

impl Console {
    pub(super) fn new(json: bool) -> Self {
        let progress = if !json && std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        } else {
            ProgressBar::hidden()
        };
        Self { json, progress }
    }

    /// The next thing that is waited for.
    pub(super) fn step(&self, what: &'static str) {
        self.progress.set_message(what);
        if self.progress.is_hidden() && !self.json {
            self.event("trireme", what);
        }
    }

    /// Something that happened to a process.
    pub(super) fn event(&self, who: &str, what: &str) {
        self.progress
            .suspend(|| drop(writeln!(std::io::stderr().lock(), "{who:<8} | {what}")));
    }

    /// Hands on the children's lines until the last of them has ended.
    pub(super) async fn print(self, mut lines: mpsc::Receiver<(Role, String)>) {
        while let Some((role, line)) = lines.recv().await {
            self.event(role.name(), &line);
        }
    }

    /// The facts: one line of JSON, or addresses and calls to copy.
    pub(super) fn ready(&self, ready: &Ready<'_>) {
        self.progress.finish_and_clear();
        if self.json {
            match serde_json::to_string(ready) {
                Ok(line) => say(line),
                Err(error) => self.event("trireme", &error.to_string()),
            }
            return;
        }
        let Ready {
            http,
            https,
            adapter,
            username,
            password,
            token,
            sample,
            started_in_ms,
            ..
        } = ready;
        let call = format!("-X {} '{}'", sample.method, sample.url);
        say(format_args!(
            "
Ready after {started_in_ms} ms.

  APIs             {http}  and  {https}
  management API   {adapter}   user {username}, password {password}

Call the API with a test token, then without one:

  TOKEN='{token}'
  curl -i {call} -H \"Authorization: Bearer $TOKEN\"
  curl -i {call}
"
        ));
    }

    /// What else is there to know, for people.
    pub(super) fn explain(&self, home: &Home, credentials: &Credentials) {
        if self.json {
            return;
        }
        let data = home.path("");
        let data = data.display();
        let ca = home.authority_certificate();
        say(format_args!(
            "Get a new test token:

  curl --cacert '{ca}' -u {user}:{password} -X POST https://localhost:{port}/testkey

Deploy your own OpenAPI file:  trireme deploy --data '{data}' FILE
Data and configuration:        {data}
Ctrl-C drains and stops.
",
            ca = ca.display(),
            user = credentials.username,
            password = credentials.token_password,
            port = home
                .bound(Role::Router)
                .and_then(|bound| bound.address("https").ok())
                .map_or(9095, |address| address.port()),
        ));
    }

    /// Leaves the terminal clean.
    pub(super) fn finish(&self) {
        self.progress.finish_and_clear();
    }
}
