//! Any process that takes part: its end, its CPU, its environment, the wait for it.

use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};

/// A process that was told to end is killed after this; longer than the gateway's own bound on draining.
const END: Duration = Duration::from_secs(40);
/// Between looks at something that is waited for.
const POLL: Duration = Duration::from_millis(50);

/// Ends its process with the value: SIGTERM, then SIGKILL.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    pub(super) fn new(child: Child) -> Self {
        Self(child)
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(Command::new("kill").arg(self.0.id().to_string()).status());
        let ended = until("the end", END, || self.has_ended());
        if ended.is_err() {
            drop(self.0.kill());
        }
        drop(self.0.wait());
    }
}

/// User and system time of a process so far, in seconds.
pub(super) fn cpu(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // Linux reports in USER_HZ, 100 a second on every architecture we build for.
    Ok(ticks(&text).context(path)? / 100.0)
}

/// `utime` and `stime` of a line of `/proc/<pid>/stat`, added up.
fn ticks(stat: &str) -> Option<f64> {
    // The second field is in parentheses and may hold spaces and parentheses; the two are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    let (user, system) = (next()?, next()?);
    Some(f64::from(user) + f64::from(system))
}

/// The variables that a process was started with.
pub(super) fn environment(pid: u32) -> anyhow::Result<Vec<(OsString, OsString)>> {
    let path = format!("/proc/{pid}/environ");
    let bytes = std::fs::read(&path).context(path)?;
    Ok(variables(&bytes))
}

/// Names and values of `/proc/<pid>/environ`, which ends each with a zero byte.
fn variables(environ: &[u8]) -> Vec<(OsString, OsString)> {
    let text = |bytes| OsStr::from_bytes(bytes).to_owned();
    environ
        .split(|byte| *byte == 0)
        .filter_map(|variable| {
            let mut parts = variable.splitn(2, |byte| *byte == b'=');
            Some((text(parts.next()?), text(parts.next()?)))
        })
        .collect()
}

/// Waits until something holds, `bound` at most.
pub(super) fn until(what: &str, bound: Duration, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = SystemTime::now() + bound;
    while !holds() {
        if SystemTime::now() > deadline {
            bail!("{what} did not come within {bound:?}");
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let numbers = "S 1 2 2 0 -1 4194560 9 0 0 0 125 75 3 4 20 0 7 0 99";
        for (name, stat, want) in [
            ("plain", format!("10 (trireme) {numbers}"), Some(200.0)),
            (
                "spaces and parentheses",
                format!("10 (a) b (c) {numbers}"),
                Some(200.0),
            ),
            (
                "cut off",
                "10 (trireme) S 1 2 2 0 -1 4194560 9 0 0 0 125".to_owned(),
                None,
            ),
            ("no name", numbers.to_owned(), None),
        ] {
            assert_eq!(ticks(&stat), want, "{name}");
        }
    }

    #[test]
    fn variables_are_split_at_the_first_equals_sign() {
        let found = variables(b"A=1\0EMPTY=\0PATH_=a=b\nc\0broken\0");
        let want = [("A", "1"), ("EMPTY", ""), ("PATH_", "a=b\nc")];
        assert_eq!(found, want.map(|(name, value)| (name.into(), value.into())));
        assert!(variables(b"").is_empty());
    }

    #[test]
    fn the_own_process_can_be_read() {
        let pid = std::process::id();
        assert!(cpu(pid).unwrap() >= 0.0);
        assert!(!environment(pid).unwrap().is_empty());
    }
}
