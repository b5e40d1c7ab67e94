//! Who may need whom: crates by the table of `crates/README.md`, compared with what cargo says, and inside of a crate its
//! rooms and files, compared with what its sources say. The map has a line for each folder.
//!
//! ```text
//! cargo metadata ───────────────────────────────▶ edges between crates ── ALLOWED ── map: crates/README.md
//! src/**/*.rs ──source──▶ modules ──graph──▶ arrows between files ─┬── rooms: one order, circles
//!                                                                  └── files: circles
//! ```
//!
//! A room is a folder or a file directly below `src`. `mod x` and `pub use` are no arrows: they make a name reachable, and
//! who uses the name has the arrow, to the file that declares it. Nor is a call of a method, or a field, whose type is not
//! named: only types would tell where those are declared.

mod graph;
mod map;
mod rooms;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use graph::{Circle, Graph};
use source::Crate;

/// Package, and the packages of ours that it may depend on outside tests.
const ALLOWED: [(&str, &[&str]); 23] = [
    ("trireme-proto", &[]),
    ("trireme-project", &[]),
    ("trireme-config", &[]),
    ("trireme-telemetry", &[]),
    ("trireme-tls", &["trireme-telemetry"]),
    ("trireme-fetch", &["trireme-tls"]),
    ("trireme-limits", &["trireme-tls", "trireme-telemetry"]),
    ("trireme-shell", &["trireme-tls", "trireme-telemetry"]),
    ("trireme-routing", &["trireme-proto"]),
    ("trireme-policy", &["trireme-proto"]),
    ("trireme-xds", &["trireme-proto", "trireme-telemetry"]),
    (
        "trireme-translate",
        &[
            "trireme-project",
            "trireme-routing",
            "trireme-policy",
            "trireme-proto",
        ],
    ),
    (
        "trireme-router",
        &[
            "trireme-routing",
            "trireme-xds",
            "trireme-proto",
            "trireme-config",
            "trireme-tls",
            "trireme-shell",
            "trireme-telemetry",
        ],
    ),
    (
        "trireme-enforcer",
        &[
            "trireme-fetch",
            "trireme-limits",
            "trireme-policy",
            "trireme-xds",
            "trireme-proto",
            "trireme-config",
            "trireme-tls",
            "trireme-shell",
            "trireme-telemetry",
        ],
    ),
    (
        "trireme-adapter",
        &[
            "trireme-project",
            "trireme-translate",
            "trireme-routing",
            "trireme-policy",
            "trireme-xds",
            "trireme-proto",
            "trireme-config",
            "trireme-tls",
            "trireme-shell",
            "trireme-telemetry",
        ],
    ),
    (
        "trireme",
        &[
            "trireme-router",
            "trireme-enforcer",
            "trireme-adapter",
            "trireme-project",
            "trireme-translate",
            "trireme-config",
            "trireme-tls",
        ],
    ),
    ("xtask", &[]),
    ("trireme-reader", &[]),
    ("trireme-charts", &["trireme-config"]),
    ("trireme-harness", &["trireme-config", "trireme-proto"]),
    ("trireme-peer", &[]),
    ("trireme-pods", &["trireme-harness", "trireme-tls"]),
    (
        "trireme-e2e",
        &["trireme-harness", "trireme-config", "trireme-proto"],
    ),
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

impl Package {
    /// The name of its folder.
    fn folder(&self) -> &str {
        let folder = self.manifest_path.parent().and_then(Path::file_name);
        folder.and_then(|name| name.to_str()).unwrap_or_default()
    }
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Circles of files that may be in all crates together, each inside one room.
const CIRCLES: usize = 3;
/// Circles of rooms that may be. With none, no circle of files leaves its room.
const ROOM_CIRCLES: usize = 0;

/// Fails with all that the layers do not allow, and prints what was compared.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cargo metadata")?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages: map::Packages<'_> = metadata
        .packages
        .iter()
        .map(|found| (found.folder(), &*found.name))
        .collect();
    let mut graphs = Vec::new();
    let mut folders = BTreeSet::new();
    for package in &metadata.packages {
        let files = source::files(&package.manifest_path.with_file_name("src"))?;
        graphs.push(Graph::new(&Crate::read(&package.name, &files)?));
        if package.manifest_path.starts_with(root.join("crates")) {
            folders.extend(map::folders(package.folder(), &files));
        }
    }
    let readme = root.join("crates/README.md");
    let readme = std::fs::read_to_string(&readme).with_context(|| readme.display().to_string())?;
    let mut wrong = violations(&metadata);
    wrong.extend(map::table(&readme, &ALLOWED, &packages));
    wrong.extend(map::map(&readme, &folders, &packages, |path| {
        root.join(path).is_dir()
    }));
    wrong.extend(graphs.iter().flat_map(rooms::violations));
    let found = Circles::of(&graphs);
    wrong.extend(found.violations(CIRCLES, ROOM_CIRCLES));
    if !wrong.is_empty() {
        bail!("what the layers do not allow:\n  {}", wrong.join("\n  "));
    }
    println!("{}", report(&graphs, &found));
    Ok(())
}

/// The circles of every crate, with its name.
#[derive(Debug)]
struct Circles<'a> {
    rooms: Vec<(&'a str, Circle)>,
    files: Vec<(&'a str, Circle)>,
}

impl<'a> Circles<'a> {
    fn of(graphs: &'a [Graph]) -> Self {
        let all = |circles: fn(&Graph) -> Vec<Circle>| {
            let named = |graph: &'a Graph| {
                circles(graph)
                    .into_iter()
                    .map(|circle| (graph.name.as_str(), circle))
            };
            graphs.iter().flat_map(named).collect()
        };
        Self {
            rooms: all(Graph::room_circles),
            files: all(Graph::circles),
        }
    }

    fn violations(&self, most: usize, most_rooms: usize) -> Vec<String> {
        let told = |(name, circle): &(&str, Circle)| {
            let cuts = circle.cuts.iter().map(|cut| format!("\n      cut {cut}"));
            format!(
                "\n    {name}: {}{}",
                circle.members.join(", "),
                cuts.collect::<String>()
            )
        };
        let mut wrong = Vec::new();
        if self.rooms.len() > most_rooms {
            let all: String = self.rooms.iter().map(told).collect();
            wrong.push(format!(
                "{} circles of rooms, allowed are {most_rooms}:{all}",
                self.rooms.len()
            ));
        }
        if self.files.len() > most {
            let all: String = self.files.iter().map(told).collect();
            wrong.push(format!(
                "{} circles of files, allowed are {most}:{all}",
                self.files.len()
            ));
        }
        wrong
    }
}

fn report(graphs: &[Graph], found: &Circles<'_>) -> String {
    let sum = |count: fn(&Graph) -> usize| graphs.iter().map(count).sum::<usize>();
    let mut lines = vec![
        format!(
            "crates {}, rooms {}, files {}",
            graphs.len(),
            sum(|graph| graph.rooms().len()),
            sum(|graph| graph.files.len()),
        ),
        format!(
            "arrows between files {}, between rooms {}",
            sum(|graph| graph.arrows.len()),
            sum(|graph| graph.between().len()),
        ),
        format!("circles of rooms {}", found.rooms.len()),
    ];
    for (name, circle) in &found.rooms {
        lines.push(format!("  {name}: {}", circle.members.join(", ")));
    }
    lines.push(format!("circles of files {}", found.files.len()));
    for (name, circle) in &found.files {
        let room = circle
            .room()
            .map_or_else(|| "several rooms".into(), |room| format!("room {room}"));
        lines.push(format!("  {name}, {room}: {}", circle.members.join(", ")));
    }
    lines.join("\n")
}

fn violations(metadata: &Metadata) -> Vec<String> {
    let ours: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("{} is not in the table", package.name));
            continue;
        };
        // A crate's own tests may start what it talks to.
        for dependency in package
            .dependencies
            .iter()
            .filter(|found| found.kind.as_deref() != Some("dev"))
        {
            let name = dependency.name.as_str();
            if ours.contains(name) && !allowed.contains(&name) {
                wrong.push(format!("{} -> {name}", package.name));
            }
        }
    }
    wrong
}
