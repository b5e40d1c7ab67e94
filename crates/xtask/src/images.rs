//! The images of the three processes: static binaries, the file systems around them, archives for `docker load`, and what
//! else `docker-compose build` and `up` need on a fresh clone.
//!
//! ```text
//! cargo build ─▶ strip ─▶ layers (base, one for each process) ─┬─▶ target/images/<arch>/<layer>.tar       Dockerfile
//!                                                              └─▶ target/images/archives/<image>.tar     docker load
//! cargo cyclonedx ────────────────────────────────────────────────▶ target/images/archives/<image>.cdx.json
//! ```
//!
//! The same sources, compiler and CA bundle give the same bytes.

mod archive;
mod layer;
mod sbom;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use crate::cargo::step;
use archive::{Image, Labels};
use layer::{Layer, UID};

const HOST: &str = env!("XTASK_TARGET");
/// Where distributions keep the CA bundle.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// What an image may weigh, compressed.
const MOST_BYTES: u64 = 12 << 20;

/// What `cargo xtask images` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Cargo profile
    #[arg(long, default_value = "dist")]
    profile: String,
    /// Another processor than this machine's; its Rust target and linker must be installed
    #[arg(long, value_enum)]
    arch: Option<Arch>,
    /// Write the archives although the profile is `dev`, whose binaries are ten times as large
    #[arg(long)]
    archives: bool,
    /// Take the static binaries in this folder instead of building them
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
}

/// A processor, by the name that images have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// x86-64
    Amd64,
    /// AArch64
    Arm64,
}

/// A process, and the ports it listens on.
struct Process {
    name: &'static str,
    title: &'static str,
    ports: &'static [u16],
    /// What `check_health.sh` holds, where the original has one.
    script: Option<&'static str>,
}

/// The ports are those of spec/deployment.md 4 that are served.
const PROCESSES: [Process; 3] = [
    Process {
        name: "router",
        title: "Trireme router: the data plane of the API gateway",
        ports: &[9000, 9090, 9095],
        script: None,
    },
    Process {
        name: "enforcer",
        title: "Trireme enforcer: the authorization service of the API gateway",
        ports: &[8081, 9001],
        script: Some(include_str!(
            "../../../docker-compose/images/enforcer-check_health.sh"
        )),
    },
    Process {
        name: "adapter",
        title: "Trireme adapter: the control plane of the API gateway",
        ports: &[9843, 18000],
        script: Some(include_str!(
            "../../../docker-compose/images/adapter-check_health.sh"
        )),
    },
];

/// Fills `target/images` and, where it is missing, `docker-compose/resources/*/security`.
pub(crate) fn build(root: &Path, options: &Options) -> anyhow::Result<()> {
    let host = Arch::of(HOST);
    let Some(arch) = options.arch.or(host) else {
        bail!("name the processor with --arch: there are images for amd64 and arm64");
    };
    let foreign = host != Some(arch);
    let target = if foreign { arch.target() } else { HOST };
    let dev = options.profile == "dev";
    let built = match &options.binaries {
        Some(folder) => folder.clone(),
        None => compile(root, &options.profile, target, foreign)?,
    };
    let images = root.join("target/images");
    let layers = images.join(arch.name());
    std::fs::create_dir_all(&layers)?;
    // Tests of several kinds build images beside one another.
    let lock = std::fs::File::create(root.join("target/images.lock"))?;
    lock.lock()?;

    let base = base(root)?;
    base.write(&layers.join("base.tar"))?;
    let archives = images.join("archives");
    for process in &PROCESSES {
        let name = format!("trireme-{}", process.name);
        let stripped = layers.join(&name);
        strip(&built.join(&name), &stripped)?;
        let own = own(process, &stripped)?;
        own.write(&layers.join(process.name).with_extension("tar"))?;
        if dev && !options.archives {
            continue;
        }
        std::fs::create_dir_all(&archives)?;
        let image = Image {
            name: &name,
            arch: arch.name(),
            ports: process.ports,
            labels: Labels {
                title: process.title,
                version: env!("CARGO_PKG_VERSION"),
                revision: revision(root),
            },
        };
        let file = archives.join(format!("{name}-{}.tar", arch.name()));
        let bytes = image.write(&[&base, &own], dev, &file)?;
        eprintln!("xtask: {} {}", file.display(), megabytes(bytes));
        if bytes > MOST_BYTES && !dev {
            bail!("{name} is more than {} compressed", megabytes(MOST_BYTES));
        }
    }
    if !dev {
        let names = PROCESSES.iter().map(|process| process.name);
        sbom::write(root, names, target, &archives)?;
    }
    if foreign {
        eprintln!("xtask: built for {target}, not tried on it");
        return Ok(());
    }
    security(root, &built.join("trireme"))
}

/// Builds the binaries, and the command that makes certificates where it can run; gives their folder.
fn compile(root: &Path, profile: &str, target: &str, foreign: bool) -> anyhow::Result<PathBuf> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .args(["build", "--profile", profile, "--target", target])
        .args(["--package", "trireme-router", "--package", "trireme-enforcer"])
        .args(["--package", "trireme-adapter"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    if !foreign {
        command.args(["--package", "trireme"]);
    }
    step(&mut command)?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(root.join("target").join(target).join(folder))
}

/// What all three images have: a home as in the original's images, with what is mounted there left empty and the default
/// configuration in place, and the process under the names that the original's probes call.
fn base(root: &Path) -> anyhow::Result<Layer> {
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    let bundle = BUNDLES
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .context("no CA bundle on this machine")?;
    let mut layer = Layer::default();
    for name in ["bin/sh", "bin/bash", "bin/grpc_health_probe", "bin/sleep"] {
        layer.link(name, "/home/wso2/trireme");
    }
    layer.file("etc/group", 0o644, b"root:x:0:\nwso2:x:10500:\n".to_vec());
    let users = "root:x:0:0::/:/none\nwso2:x:10500:10500::/home/wso2:/none\n";
    layer.file("etc/passwd", 0o644, users.into());
    layer.file("etc/ssl/certs/ca-certificates.crt", 0o644, read(bundle)?);
    layer.file("licenses/LICENSE", 0o644, read(&root.join("LICENSE"))?);
    layer.folder("tmp", 0o1777);
    for folder in [
        "artifacts/apis",
        "conf",
        "git-artifacts",
        "lib/dropins",
        "logs",
        "security/keystore",
        "security/truststore",
        "state",
    ] {
        layer.own_folder(&format!("home/wso2/{folder}"));
    }
    for file in ["config.toml", "log_config.toml"] {
        let text = read(&root.join("conf").join(file))?;
        layer.own_file(&format!("home/wso2/conf/{file}"), 0o644, text);
    }
    Ok(layer)
}

/// What one process has beside that.
fn own(process: &Process, binary: &Path) -> anyhow::Result<Layer> {
    let mut layer = Layer::default();
    let bytes = std::fs::read(binary).with_context(|| binary.display().to_string())?;
    layer.own_folder("home/wso2");
    layer.file("home/wso2/trireme", 0o755, bytes);
    if let Some(script) = process.script {
        // A file, not a link: charts mount their own over it.
        layer.own_file("home/wso2/check_health.sh", 0o755, script.into());
    }
    Ok(layer)
}

/// Copies without debug information when `strip` is there, whole when not.
fn strip(from: &Path, to: &Path) -> anyhow::Result<()> {
    let stripped = Command::new("strip").arg("-o").arg(to).arg(from).status();
    if !stripped.is_ok_and(|status| status.success()) {
        eprintln!("xtask: strip does not take {}: symbols stay", from.display());
        std::fs::copy(from, to).with_context(|| from.display().to_string())?;
    }
    Ok(())
}

/// The commit that is checked out, where this is a clone.
fn revision(root: &Path) -> Option<String> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["rev-parse", "HEAD"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
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
    for process in &PROCESSES {
        readable(&resources.join(process.name).join("security"))?;
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

fn megabytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

// === impl Arch ===

impl Arch {
    fn of(target: &str) -> Option<Self> {
        match target.split('-').next()? {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}
