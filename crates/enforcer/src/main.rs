//! `trireme-enforcer`: the authorization service as a process of its own.

/// Runs the enforcer; see [`trireme_enforcer::main`].
fn main() -> std::process::ExitCode {
    trireme_enforcer::main()
}
