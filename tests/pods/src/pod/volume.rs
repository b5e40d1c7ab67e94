//! Volumes as a node makes them: folders below the pod's own.
//!
//! Keys of ConfigMaps and Secrets are files behind a link that is exchanged as a whole, so that a change is seen at once or
//! not at all; what is mounted by `subPath` stays what it was, as on a node.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use crate::engine::Engine;
use crate::manifest::{Data, Item, PodSpec, Volume};
use crate::namespace::{Namespace, World};

/// Mode of files when a manifest says nothing.
const DEFAULT_MODE: u32 = 0o644;
/// Size of a file system in memory when a manifest says nothing.
const DEFAULT_MEMORY: u64 = 64 << 20;
/// Links to the folder that holds the present files.
const CURRENT: &str = "..data";

/// A volume that can be mounted.
#[derive(Debug)]
pub(crate) enum Mounted {
    /// A folder of this machine, and whether every mount of it is read-only.
    Folder(PathBuf, bool),
    /// A volume of the engine.
    Engine(String),
}

impl Mounted {
    /// The engine's word for a mount of it, or of a part.
    ///
    /// # Errors
    /// The part cannot be made.
    pub(crate) fn bind(&self, part: Option<&str>, path: &str, read_only: bool) -> anyhow::Result<String> {
        let (source, fixed) = match self {
            Self::Engine(_) if part.is_some() => bail!("a part of a volume in memory cannot be shown here"),
            Self::Engine(name) => (name.clone(), false),
            Self::Folder(folder, fixed) => {
                let whole = folder.join(part.unwrap_or_default());
                // As a node does: a part that is not there becomes a folder.
                if !whole.exists() {
                    fs::create_dir_all(&whole).with_context(|| whole.display().to_string())?;
                }
                // The file behind the links, which no later change moves.
                let whole = if part.is_some() {
                    whole.canonicalize()?
                } else {
                    whole
                };
                (whole.display().to_string(), *fixed)
            }
        };
        let mode = if read_only || fixed { ":ro" } else { "" };
        Ok(format!("{source}:{path}{mode}"))
    }
}

/// Makes a volume.
///
/// # Errors
/// As a node reports it: something that the volume names is not there.
pub(crate) async fn make(
    engine: &Engine,
    cluster: &Namespace,
    volume: &Volume,
    pod: &str,
    folder: &Path,
    group: Option<u32>,
) -> anyhow::Result<Mounted> {
    let world = &cluster.world;
    if let Some(files) = files(world, volume)? {
        write(folder, &files, group)?;
        return Ok(Mounted::Folder(folder.to_owned(), true));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        let folder = world
            .claim(&claim.claim_name)
            .with_context(|| format!("persistentvolumeclaim \"{}\" not found", claim.claim_name))?;
        fs::create_dir_all(&folder)?;
        owned(&folder, group, 0o777)?;
        return Ok(Mounted::Folder(folder, claim.read_only));
    }
    let dir = volume.empty_dir.as_ref().context("a volume of no kind")?;
    if dir.medium.as_deref() == Some("Memory") {
        let size = dir.size_limit()?.unwrap_or(DEFAULT_MEMORY);
        let name = format!("{pod}-{}", volume.name);
        let group = group.map(|group| format!(",gid={group}")).unwrap_or_default();
        let options = format!("o=size={size},mode=1777{group}");
        let label = cluster.label();
        let words = [
            "volume",
            "create",
            "--label",
            &label,
            "--driver",
            "local",
            "--opt",
            "type=tmpfs",
        ];
        let words = words
            .into_iter()
            .chain(["--opt", "device=tmpfs", "--opt", &options, &name]);
        engine.run(words).await?;
        return Ok(Mounted::Engine(name));
    }
    fs::create_dir_all(folder)?;
    owned(folder, group, 0o777)?;
    Ok(Mounted::Folder(folder.to_owned(), false))
}

/// Writes a volume of keys anew, when it is one. What is missing now leaves the files as they are.
///
/// # Errors
/// As a node reports it: something that the volume names is not there.
pub(crate) fn refresh(
    world: &World,
    volume: &Volume,
    folder: &Path,
    group: Option<u32>,
) -> anyhow::Result<()> {
    match files(world, volume)? {
        Some(files) => write(folder, &files, group),
        None => Ok(()),
    }
}

/// Makes the folders that a mount inside another mount needs, as a node does.
///
/// # Errors
/// One cannot be made.
pub(crate) fn nested(pod: &PodSpec, made: &BTreeMap<String, Mounted>) -> anyhow::Result<()> {
    let mounts: Vec<_> = pod
        .containers
        .iter()
        .map(|container| &container.volume_mounts)
        .collect();
    for mounts in mounts {
        for outer in mounts.iter().filter(|mount| mount.sub_path.is_none()) {
            let Some(Mounted::Folder(folder, _)) = made.get(&outer.name) else {
                continue;
            };
            for inner in mounts {
                let below = Path::new(&inner.mount_path).strip_prefix(&outer.mount_path);
                if let Ok(below) = below
                    && below != Path::new("")
                    && inner.sub_path.is_none()
                {
                    fs::create_dir_all(folder.join(below))?;
                }
            }
        }
    }
    Ok(())
}

/// A file's bytes and mode, by its path in the volume.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// The files of a volume that is made of keys.
fn files(world: &World, volume: &Volume) -> anyhow::Result<Option<Files>> {
    let mut files = Files::new();
    if let Some(secret) = &volume.secret {
        let mode = secret.default_mode.unwrap_or(DEFAULT_MODE);
        let found = world.secret(&secret.secret_name);
        let data = present(found, "secret", &secret.secret_name, secret.optional)?;
        take(&mut files, data.as_ref(), &secret.items, mode, secret.optional)?;
    } else if let Some(map) = &volume.config_map {
        let mode = map.default_mode.unwrap_or(DEFAULT_MODE);
        let data = present(world.config_map(&map.name), "configmap", &map.name, map.optional)?;
        take(&mut files, data.as_ref(), &map.items, mode, map.optional)?;
    } else if let Some(projected) = &volume.projected {
        let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
        for projection in &projected.sources {
            if let Some(source) = &projection.secret {
                let data = present(
                    world.secret(&source.name),
                    "secret",
                    &source.name,
                    source.optional,
                )?;
                take(&mut files, data.as_ref(), &source.items, mode, source.optional)?;
            }
            if let Some(source) = &projection.config_map {
                let data = present(
                    world.config_map(&source.name),
                    "configmap",
                    &source.name,
                    source.optional,
                )?;
                take(&mut files, data.as_ref(), &source.items, mode, source.optional)?;
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

fn present(found: Option<Data>, kind: &str, name: &str, optional: bool) -> anyhow::Result<Option<Data>> {
    if found.is_none() && !optional {
        bail!("{kind} \"{name}\" not found");
    }
    Ok(found)
}

fn take(
    files: &mut Files,
    data: Option<&Data>,
    items: &[Item],
    mode: u32,
    optional: bool,
) -> anyhow::Result<()> {
    let Some(data) = data else { return Ok(()) };
    if items.is_empty() {
        for (key, bytes) in data {
            files.insert(key.clone(), (bytes.clone(), mode));
        }
        return Ok(());
    }
    for item in items {
        let plain = Path::new(&item.path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        ensure!(
            plain && !item.path.starts_with(".."),
            "path {:?} leads out of its volume",
            item.path
        );
        match data.get(&item.key) {
            Some(bytes) => {
                files.insert(item.path.clone(), (bytes.clone(), item.mode.unwrap_or(mode)));
            }
            None => ensure!(optional, "references non-existent key: {}", item.key),
        }
    }
    Ok(())
}

/// Writes the files into a folder of their own and exchanges the link.
fn write(folder: &Path, files: &Files, group: Option<u32>) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    owned(folder, group, 0o755)?;
    let old = fs::read_link(folder.join(CURRENT)).ok();
    let number = old
        .as_deref()
        .and_then(Path::to_str)
        .and_then(|name| name.strip_prefix("..")?.parse::<u64>().ok())
        .unwrap_or_default();
    let version = format!("..{}", number + 1);
    let inside = folder.join(&version);
    fs::create_dir(&inside)?;
    owned(&inside, group, 0o755)?;
    for (path, (bytes, mode)) in files {
        let file = inside.join(path);
        if let Some(parent) = file.parent().filter(|parent| *parent != inside) {
            fs::create_dir_all(parent)?;
            owned(parent, group, 0o755)?;
        }
        fs::write(&file, bytes)?;
        // With a group of its own, a volume can be read by that group whatever the mode says.
        let mode = if group.is_some() { mode | 0o440 } else { *mode };
        owned(&file, group, mode)?;
    }
    let link = folder.join("..data_tmp");
    symlink(&version, &link)?;
    fs::rename(&link, folder.join(CURRENT))?;
    let names: Vec<_> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(CURRENT).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let link = entry.file_type()?.is_symlink();
        if link && !name.starts_with("..") && !names.contains(&name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(folder.join(old))?;
    }
    Ok(())
}

/// Sets mode and, where the pod has one, group. Who may give files to a group is root, as a node is; others get files that all
/// of this machine can read.
fn owned(path: &Path, group: Option<u32>, mode: u32) -> anyhow::Result<()> {
    let given = group.is_none_or(|group| chown(path, None, Some(group)).is_ok());
    let mode = if given {
        mode
    } else {
        mode | 0o444 | ((mode & 0o100) >> 2)
    };
    fs::set_permissions(path, Permissions::from_mode(mode)).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        let one = |&(path, text): &(&str, &str)| (path.to_owned(), (text.as_bytes().to_vec(), 0o400));
        pairs.iter().map(one).collect()
    }

    fn seen(folder: &Path, name: &str) -> Option<String> {
        fs::read_to_string(folder.join(name)).ok()
    }

    #[test]
    fn a_folder_changes_as_a_whole_and_a_part_of_it_never() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("volume");
        write(&folder, &files(&[("a", "1"), ("b", "1"), ("deep/c", "1")]), None).unwrap();
        let volume = Mounted::Folder(folder.clone(), true);
        let part = volume.bind(Some("a"), "/etc/a", false).unwrap();
        let part = part.strip_suffix(":/etc/a:ro").unwrap().to_owned();
        let held = File::open(&part).unwrap();
        write(&folder, &files(&[("a", "2"), ("deep/c", "2")]), None).unwrap();
        assert_eq!(seen(&folder, "a").as_deref(), Some("2"));
        assert_eq!(seen(&folder, "deep/c").as_deref(), Some("2"));
        assert_eq!(seen(&folder, "b"), None);
        assert_eq!(std::io::read_to_string(held).unwrap(), "1");
        let mode = fs::metadata(folder.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
    }

    #[test]
    fn a_part_that_is_not_there_becomes_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("volume");
        write(&folder, &files(&[("a", "1")]), None).unwrap();
        let volume = Mounted::Folder(folder.clone(), true);
        volume.bind(Some("missing"), "/etc/missing", false).unwrap();
        assert!(folder.join("missing").is_dir());
    }

    use std::fs::File;
}
