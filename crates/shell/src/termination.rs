//! The last word of a process that Kubernetes ends, or that ends by itself: the file that it reads the termination message
//! from. Where there is no such file, nothing is written.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Where it is unless a container says otherwise (`terminationMessagePath`).
const PATH: &str = "/dev/termination-log";
/// Kubernetes keeps no more of it.
const MOST: usize = 4096;

/// Leaves a message instead of the one that is there.
pub(crate) fn write(message: &str) {
    write_to(Path::new(PATH), message);
}

/// Takes back what was said before.
pub(crate) fn forget() {
    let path = Path::new(PATH);
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
        write_to(path, "");
    }
}

/// One line; what cannot be written is not: it stands in the log as well.
fn write_to(path: &Path, message: &str) {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.get(..line.floor_char_boundary(MOST)).unwrap_or_default();
    let file = OpenOptions::new().write(true).truncate(true).open(path);
    if let Ok(mut file) = file {
        file.write_all(line.as_bytes()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_is_one_bounded_line_of_a_file_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("termination-log");
        write_to(&path, "nobody asks");
        assert!(!path.exists());
        std::fs::write(&path, "something older and longer than what comes").unwrap();
        write_to(&path, "cannot start:\n port\ttaken ");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "cannot start: port taken"
        );
        write_to(&path, &"é".repeat(MOST));
        assert_eq!(std::fs::read(&path).unwrap().len(), MOST);
        write_to(&path, "");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
}
