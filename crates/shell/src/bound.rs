//! The file that tells where a process listens, for whoever started it with ports of 0.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value};

/// Writes `{"pid":…,"<name>":"<address>",…}`, names in the given order. Written beside and moved, so that a reader finds the
/// whole or nothing.
///
/// # Errors
/// The folder cannot be written.
pub fn write(path: &Path, addresses: impl IntoIterator<Item = (&'static str, SocketAddr)>) -> io::Result<()> {
    let pid = std::process::id();
    let mut facts = Map::from_iter([("pid".to_owned(), Value::from(pid))]);
    for (name, address) in addresses {
        facts.insert(name.to_owned(), address.to_string().into());
    }
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{pid}"));
    std::fs::write(&part, Value::Object(facts).to_string())?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bound.json");
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        write(&path, [("xds", at(1)), ("admin", at(2))]).unwrap();
        write(&path, [("xds", at(3)), ("admin", at(4))]).unwrap();
        let want = format!(
            r#"{{"pid":{},"xds":"127.0.0.1:3","admin":"127.0.0.1:4"}}"#,
            std::process::id()
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), want);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&folder.path().join("nowhere/bound.json"), []).unwrap_err();
    }
}
