//! What ends a process, and what does not: signals, and the end of standard input when the parent is to be outlived by nobody.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Cancels the token at SIGTERM, SIGINT, or, when asked, at the end of standard input. To be called on a runtime.
///
/// # Errors
/// When the system gives no signals or no thread.
pub(crate) fn watch(token: &CancellationToken, stdin: bool) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signalled = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = signalled.cancelled() => return,
        };
        info!(signal = name, "draining");
        signalled.cancel();
    });
    if stdin {
        let token = token.clone();
        // A thread of its own: a blocking read of the runtime would hold up its end.
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || {
                let mut waste = [0; 256];
                while !matches!(std::io::stdin().read(&mut waste), Ok(0) | Err(_)) {}
                token.cancel();
            })?;
    }
    Ok(())
}

/// Keeps SIGPIPE from ending the process where nobody ignores it any more. To be called on a runtime.
///
/// # Errors
/// When the system gives no signals.
pub(crate) fn outlive_pipes() -> std::io::Result<()> {
    // What takes a signal goes on to do so when nobody listens.
    signal(SignalKind::pipe()).map(drop)
}
