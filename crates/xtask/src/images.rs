//! Static binaries for the images, and what else `docker-compose build` and `up` need on a fresh clone.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::cargo::step;

/// The user that the containers run as.
const UID: u32 = 10500;
const TARGET: &str = env!("XTASK_TARGET");
/// Where distributions keep the CA bundle.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Fills `target/images` and, where it is missing, `docker-compose/resources/*/security`.
pub(crate) fn build(root: &Path, profile: &str) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .args(["build", "--profile", profile, "--target", TARGET])
        .args(["--package", "trireme-router", "--package", "trireme-enforcer"])
        .args(["--package", "trireme-adapter", "--package", "trireme"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    step(&mut command)?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let built = root.join("target").join(TARGET).join(folder);
    let images = root.join("target/images");
    for inside in [
        "bin",
        "home/state",
        "home/conf",
        "home/artifacts/apis",
        "home/logs",
    ] {
        std::fs::create_dir_all(images.join(inside))?;
        if inside.starts_with("home") {
            // Empty folders would not be copied.
            std::fs::write(images.join(inside).join(".keep"), "")?;
        }
    }
    for process in ["router", "enforcer", "adapter"] {
        let name = format!("trireme-{process}");
        strip(&built.join(&name), &images.join("bin").join(&name))?;
    }
    let bundle = BUNDLES
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .context("no CA bundle on this machine")?;
    std::fs::copy(bundle, images.join("ca-certificates.crt"))?;
    security(root, &built.join("trireme"))
}

/// Copies without debug information when `strip` is there, whole when not.
fn strip(from: &Path, to: &Path) -> anyhow::Result<()> {
    let stripped = Command::new("strip").arg("-o").arg(to).arg(from).status();
    if !stripped.is_ok_and(|status| status.success()) {
        std::fs::copy(from, to).with_context(|| from.display().to_string())?;
    }
    Ok(())
}

/// One private CA and one certificate per process, laid out as the original's resources.
fn security(root: &Path, trireme: &Path) -> anyhow::Result<()> {
    let resources = root.join("docker-compose/resources");
    let status = Command::new(trireme)
        .arg("certs")
        .arg("--resources")
        .arg(&resources)
        .status()?;
    if !status.success() {
        bail!("trireme certs --resources: {status}");
    }
    for process in ["router", "enforcer", "adapter"] {
        readable(&resources.join(process).join("security"))?;
    }
    Ok(())
}

/// The containers' user must read the keys: made its own when we may, else readable by all on this machine.
fn readable(path: &Path) -> anyhow::Result<()> {
    let meta = std::fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    let owned = std::os::unix::fs::chown(path, Some(UID), Some(UID)).is_ok();
    if meta.is_dir() {
        std::fs::set_permissions(path, Permissions::from_mode(0o755))?;
        for entry in std::fs::read_dir(path)? {
            readable(&entry?.path())?;
        }
    } else if !owned {
        eprintln!(
            "xtask: {} becomes readable by all users of this machine",
            path.display()
        );
        std::fs::set_permissions(path, Permissions::from_mode(0o644))?;
    }
    Ok(())
}
