//! Entry point of the router; see the library.

fn main() -> std::process::ExitCode {
    trireme_router::main()
}
