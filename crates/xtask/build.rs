//! Hands the host's target triple to the code.

fn main() {
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=XTASK_TARGET={target}");
    println!("cargo::rerun-if-changed=build.rs");
}
