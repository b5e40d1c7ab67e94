//! Hands the host's target triple to the code.

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells build scripts by variables only"
)]
fn main() {
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=XTASK_TARGET={target}");
    println!("cargo::rerun-if-changed=build.rs");
}
