//! A layer of an image: files, folders and links, in one order, without clocks.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use tar::{Builder, EntryType, Header};

/// The user that the containers run as.
pub(super) const UID: u32 = 10500;

/// What a layer adds, by path. Folders above an entry come by themselves, as root's.
#[derive(Debug, Default)]
pub(super) struct Layer {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    owner: u32,
    mode: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    File(Vec<u8>),
    Folder,
    Link(String),
}

impl Layer {
    /// A file of root's.
    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        self.add(path, 0, mode, Kind::File(bytes));
    }

    /// A file of the user that the containers run as.
    pub(super) fn own_file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        self.add(path, UID, mode, Kind::File(bytes));
    }

    /// A folder of root's.
    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        self.add(path, 0, mode, Kind::Folder);
    }

    /// A folder of the user that the containers run as, with those above it up to its home.
    pub(super) fn own_folder(&mut self, path: &str) {
        let mut end = path.len();
        while let Some(folder) = path.get(..end).filter(|folder| folder.starts_with("home/")) {
            self.add(folder, UID, 0o755, Kind::Folder);
            end = folder.rfind('/').unwrap_or(0);
        }
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, to: &str) {
        self.add(path, 0, 0o777, Kind::Link(to.to_owned()));
    }

    fn add(&mut self, path: &str, owner: u32, mode: u32, kind: Kind) {
        for (end, _) in path.match_indices('/') {
            let above = path.get(..end).unwrap_or_default().to_owned();
            self.entries.entry(above).or_insert(Entry {
                owner: 0,
                mode: 0o755,
                kind: Kind::Folder,
            });
        }
        self.entries.insert(path.to_owned(), Entry { owner, mode, kind });
    }

    /// Writes it as a tar file, which is there whole or as it was before: an engine may be reading that one.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        let file = std::fs::File::create(&draft).with_context(|| draft.display().to_string())?;
        self.tar(std::io::BufWriter::new(file))?.flush()?;
        std::fs::rename(&draft, path).with_context(|| path.display().to_string())
    }

    /// Writes it as a tar stream.
    pub(super) fn tar<W: Write>(&self, to: W) -> std::io::Result<W> {
        let mut tar = Builder::new(to);
        for (path, entry) in &self.entries {
            let mut header = Header::new_ustar();
            header.set_mtime(0);
            header.set_mode(entry.mode);
            header.set_uid(entry.owner.into());
            header.set_gid(entry.owner.into());
            header.set_size(0);
            match &entry.kind {
                Kind::File(bytes) => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, path, bytes.as_slice())?;
                }
                Kind::Folder => {
                    header.set_entry_type(EntryType::Directory);
                    tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
                }
                Kind::Link(to) => {
                    header.set_entry_type(EntryType::Symlink);
                    tar.append_link(&mut header, path, to)?;
                }
            }
        }
        tar.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them_and_belong_to_whom_they_should() {
        let mut layer = Layer::default();
        layer.own_file("home/wso2/conf/config.toml", 0o644, b"a = 1\n".to_vec());
        layer.own_folder("home/wso2/conf");
        layer.link("bin/sh", "/home/wso2/trireme");
        layer.folder("tmp", 0o1777);
        let bytes = layer.tar(Vec::new()).unwrap();
        assert_eq!(bytes, layer.tar(Vec::new()).unwrap());
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header();
            let link = header.link_name().unwrap().map(|to| to.display().to_string());
            let facts = (
                header.uid().unwrap(),
                header.mode().unwrap(),
                header.mtime().unwrap(),
            );
            (entry.path().unwrap().display().to_string(), facts, link, text)
        });
        let entries: Vec<_> = entries.collect();
        let plain = |path: &str, uid, mode| (path.to_owned(), (uid, mode, 0), None, String::new());
        let want = [
            plain("bin/", 0, 0o755),
            (
                "bin/sh".to_owned(),
                (0, 0o777, 0),
                Some("/home/wso2/trireme".to_owned()),
                String::new(),
            ),
            plain("home/", 0, 0o755),
            plain("home/wso2/", 10500, 0o755),
            plain("home/wso2/conf/", 10500, 0o755),
            (
                "home/wso2/conf/config.toml".to_owned(),
                (10500, 0o644, 0),
                None,
                "a = 1\n".to_owned(),
            ),
            plain("tmp/", 0, 0o1777),
        ];
        assert_eq!(entries, want);
    }
}
