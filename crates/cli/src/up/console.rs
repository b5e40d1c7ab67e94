//! What `trireme up` shows: progress while starting, the facts once ready, then one line per event.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use crate::commands::say;
use crate::home::{Credentials, Home, Role};

use super::facts::Ready;

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
    pub(super) fn ready(&self, ready: &Ready<'_>, home: &Home, credentials: &Credentials) {
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
            sample,
            started_in_ms,
            ..
        } = ready;
        say(format_args!(
            "
Ready after {started_in_ms} ms.

  APIs             {http}  and  {https}
  management API   {adapter}   user {username}, password {password}

Get a test token, call the API with it, then without it:

  {token}
  curl -i {call} -H \"Authorization: Bearer $TOKEN\"
  curl -i {call}

Deploy your own OpenAPI file:  trireme deploy --data {folder} FILE
Data and configuration:        {data}
Ctrl-C drains and stops.
",
            token = token_line(ready, home, credentials),
            call = format_args!(
                "-X {}{} {}",
                sample.method,
                host(sample.host.as_deref()),
                quoted(&sample.url)
            ),
            data = home.path("").display(),
            folder = quoted(&home.path("").to_string_lossy()),
        ));
    }

    /// Leaves the terminal clean.
    pub(super) fn finish(&self) {
        self.progress.finish_and_clear();
    }
}

/// The option of `curl` for another host than the address has.
fn host(host: Option<&str>) -> String {
    host.map_or_else(String::new, |host| {
        format!(" -H {}", quoted(&format!("Host: {host}")))
    })
}

/// Asks for a token with the scopes that the printed call needs, and keeps it in a variable.
fn token_line(ready: &Ready<'_>, home: &Home, credentials: &Credentials) -> String {
    let scope = match ready.scope {
        "" => String::new(),
        scope => format!(" --data-urlencode {}", quoted(&format!("scope={scope}"))),
    };
    format!(
        "TOKEN=$(curl -s --cacert {ca} -u {user}:{password} -X POST{host}{scope} {https}/testkey)",
        host = host(ready.system_host),
        ca = quoted(&home.authority_certificate().to_string_lossy()),
        user = credentials.username,
        password = credentials.token_password,
        https = ready.https,
    )
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_one_word() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $x"), r"'it'\''s $x'");
    }
}
