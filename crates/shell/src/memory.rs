//! The allocator. The system's keeps nearly all that was ever needed at once, for as long as small things lie between: a router
//! that four thousand stalled streams had taken to 115 MiB stayed at 112. This one gives back what is free.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Milliseconds after which it gives free memory back. Left to itself it waits for a second and then for more to do, which an
/// idle process has not. It reads this once, before `main`.
#[cfg(all(target_os = "linux", not(test)))]
const DELAY: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "0");

/// Starts the program anew in this very process, once, for the allocator to be told; another value than ours stays as it is. A
/// system that does not allow it costs memory only.
#[cfg(all(target_os = "linux", not(test)))]
#[expect(
    clippy::disallowed_methods,
    reason = "the allocator's own variable, which is none of the gateway's settings"
)]
pub(crate) fn settle() {
    use std::os::unix::process::CommandExt as _;

    let (name, value) = DELAY;
    if std::env::var_os(name).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let mut program = std::process::Command::new("/proc/self/exe");
    if let Some(own) = arguments.next() {
        program.arg0(own);
    }
    // It gives an error, or does not come back.
    let _error = program.args(arguments).env(name, value).exec();
}

/// See the other one.
#[cfg(any(not(target_os = "linux"), test))]
pub(crate) fn settle() {}
