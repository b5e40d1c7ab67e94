//! `trireme-adapter`: the control plane as a process of its own.

/// Runs the adapter; see [`trireme_adapter::main`].
fn main() -> std::process::ExitCode {
    trireme_adapter::main()
}
