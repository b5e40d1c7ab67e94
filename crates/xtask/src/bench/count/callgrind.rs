//! A process under callgrind, told by vgdb when to count and when to write down.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::bench::process::{Guard, until};

/// Wait for a process under callgrind to come up; it takes a second or two while nothing is counted.
pub(super) const START: Duration = Duration::from_secs(120);
/// The file that gets the addresses.
const BOUND: &str = "bound.json";
/// The file that gets what the process writes.
const LOG: &str = "log";
const DUMP: &str = "callgrind";

/// A running process whose instructions are counted; ends with the value.
#[derive(Debug)]
pub(super) struct Counted {
    process: Guard,
    folder: PathBuf,
    addresses: BTreeMap<String, Value>,
    /// Dumps so far; valgrind numbers their files.
    dumps: u32,
}

/// What one dump says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dump {
    /// Instructions since the dump before.
    pub(super) totals: u64,
    /// Version of callgrind.
    pub(super) version: String,
}

impl Counted {
    /// Starts the subcommand `name` of the program with its own state in a folder below `folder`, and waits until its
    /// sockets are bound. Nothing is counted yet.
    pub(super) fn start(
        program: &Path,
        name: &str,
        environment: Vec<(OsString, OsString)>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let log = File::create(folder.join(LOG))?;
        let option = |name: &str, file: &str| {
            let mut option = OsString::from(format!("--{name}="));
            option.push(folder.join(file));
            option
        };
        let child = Command::new("valgrind")
            .args(["--tool=callgrind", "--instr-atstart=no", "--vgdb=yes"])
            .arg(option("vgdb-prefix", "vgdb"))
            .arg(option("log-file", "valgrind.log"))
            .arg(option("callgrind-out-file", DUMP))
            .arg(program)
            .arg(name)
            .env_clear()
            .envs(environment)
            // Set, so that it does not start anew to set it, which ends the counting.
            .env("MIMALLOC_PURGE_DELAY", "0")
            .env("TRIREME_STATE_DIR", &folder)
            .env("TRIREME_BOUND_FILE", folder.join(BOUND))
            // Drains when this ends, however this ends.
            .env("TRIREME_EXIT_ON_STDIN_EOF", "1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("valgrind (Debian package valgrind)")?;
        let mut counted = Self {
            process: Guard::new(child),
            folder,
            addresses: BTreeMap::new(),
            dumps: 0,
        };
        let bound = counted.folder.join(BOUND);
        let mut ended = false;
        until(&format!("the {name} under callgrind"), START, || {
            if let Ok(text) = std::fs::read(&bound) {
                counted.addresses = serde_json::from_slice(&text).unwrap_or_default();
            }
            ended = counted.process.has_ended();
            ended || !counted.addresses.is_empty()
        })?;
        if ended {
            let log = std::fs::read_to_string(counted.folder.join(LOG)).unwrap_or_default();
            bail!("the {name} ended under callgrind:\n{log}");
        }
        Ok(counted)
    }

    /// The port of one of its sockets.
    pub(super) fn port(&self, name: &str) -> anyhow::Result<u16> {
        let address = self.addresses.get(name).and_then(Value::as_str);
        let port = address.and_then(|address| address.rsplit_once(':')?.1.parse().ok());
        port.with_context(|| format!("no address named {name}"))
    }

    /// Counts from now on.
    pub(super) fn instrument(&self) -> anyhow::Result<()> {
        self.tell(&["instrumentation", "on"])
    }

    /// What was counted since the last time, and counts anew.
    pub(super) fn take(&mut self) -> anyhow::Result<Dump> {
        self.tell(&["dump"])?;
        self.dumps += 1;
        let path = self.folder.join(format!("{DUMP}.{}", self.dumps));
        let text = std::fs::read_to_string(&path).context("dump of callgrind")?;
        // Some 50 KB each, and there are many.
        std::fs::remove_file(&path)?;
        parse(&text).context("dump of callgrind")
    }

    fn tell(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut prefix = OsString::from("--vgdb-prefix=");
        prefix.push(self.folder.join("vgdb"));
        let output = Command::new("vgdb")
            .arg(prefix)
            .arg(format!("--pid={}", self.process.pid()))
            // A process that sleeps is woken up by ptrace, after this time.
            .args(["--max-invoke-ms=10", "--cmd-time-out=60"])
            .args(words)
            .output()
            .context("vgdb (Debian package valgrind)")?;
        if !output.status.success() {
            bail!("vgdb {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

/// Reads a dump that has instructions as its only event.
fn parse(dump: &str) -> Option<Dump> {
    let field = |name: &str| dump.lines().find_map(|line| line.strip_prefix(name));
    // There is a `summary:` as well; it misses the calls that were under way when counting began.
    Some(Dump {
        totals: field("totals: ")?.trim().parse().ok()?,
        version: field("creator: callgrind-")?.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 10
cmd:  trireme router
part: 1


desc: Timerange: Basic block 0 - 29050187
desc: Trigger: dump

positions: line
events: Ir
summary: 45986995


ob=(2) libc.so.6
fl=(13) writev.c
fn=(476) writev
26 3000
-1 6000

totals: 45987295
";

    #[test]
    fn a_dump_gives_the_total_and_the_version() {
        let want = Dump {
            totals: 45_987_295,
            version: "3.19.0".into(),
        };
        assert_eq!(parse(DUMP), Some(want));
    }

    #[test]
    fn a_dump_that_is_cut_off_or_counts_more_than_instructions_is_refused() {
        let cut = DUMP.split("totals").next().unwrap();
        assert_eq!(parse(cut), None);
        assert_eq!(
            parse(&DUMP.replace("totals: 45987295", "totals: 45987295 12 7")),
            None
        );
    }
}
