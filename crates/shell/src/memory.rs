//! The allocator. The system's keeps nearly all that was ever needed at once, for as long as small things lie between: a router
//! that four thousand stalled streams had taken to 115 MiB stayed at 112. This one gives back what is free.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Milliseconds after which it gives free memory back. Left to itself it waits for a second and then for more to do, which an
/// idle process has not. It reads this once, before `main`.
#[cfg(target_os = "linux")]
const DELAY: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "0");
/// The program that runs, wherever it was found.
#[cfg(all(target_os = "linux", not(test)))]
const OWN: &str = "/proc/self/exe";

/// Starts the program anew in this very process, once, for the allocator to be told; another value than ours stays as it is. A
/// system that does not allow it costs memory only. Whether that is so: then SIGPIPE ends the process, see
/// [`crate::signals::outlive_pipes`].
#[cfg(all(target_os = "linux", not(test)))]
#[expect(
    clippy::disallowed_methods,
    reason = "the allocator's own variable, which is none of the gateway's settings"
)]
pub(crate) fn settle() -> bool {
    if std::env::var_os(DELAY.0).is_some() {
        return false;
    }
    // By its path, which is what `ps` and `pgrep` know it by; that is gone when a successor was put in its place.
    if let Ok(path) = std::env::current_exe() {
        start_anew(&path);
    }
    start_anew(OWN.as_ref());
    true
}

/// Comes back only when that fails. The standard library has made SIGPIPE what it is by default by then.
#[cfg(target_os = "linux")]
fn start_anew(program: &std::path::Path) {
    use std::os::unix::process::CommandExt as _;

    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(own) = arguments.next() {
        command.arg0(own);
    }
    let _error = command.args(arguments).env(DELAY.0, DELAY.1).exec();
}

/// See the other one.
#[cfg(any(not(target_os = "linux"), test))]
pub(crate) fn settle() -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{ErrorKind, IoSlice, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A caller who goes away would end it otherwise.
    #[tokio::test]
    async fn a_process_that_cannot_start_anew_outlives_its_callers() {
        start_anew("/none/such".as_ref());
        crate::signals::outlive_pipes().unwrap();
        let (mut own, caller) = UnixStream::pair().unwrap();
        drop(caller);
        let error = own
            .write_vectored(&[IoSlice::new(b"a"), IoSlice::new(b"b")])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
