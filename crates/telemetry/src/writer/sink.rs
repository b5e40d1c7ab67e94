//! The file end of a [`LineWriter`](super::LineWriter).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::Rotation;

/// How often it is checked whether somebody moved the file away.
const MOVED_CHECK: Duration = Duration::from_secs(1);
/// How often a failing disk is complained about.
const COMPLAINT: Duration = Duration::from_secs(60);

pub(super) enum Sink {
    Error(io::Stderr),
    File(LogFile),
    Output(io::Stdout),
}

impl Sink {
    pub(super) fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        // Opening these by name fails where they are sockets (systemd) or belong to another user (containers).
        match path.to_str() {
            Some("/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2") => Ok(Self::Error(io::stderr())),
            Some("/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => Ok(Self::Output(io::stdout())),
            _ => LogFile::open(path, rotation).map(Self::File),
        }
    }

    /// Writes a batch of whole lines.
    pub(super) fn write(&mut self, batch: &[u8], reopen: bool) -> io::Result<()> {
        match self {
            Self::Error(stream) => write_stream(stream, batch),
            Self::File(file) => file.write(batch, reopen),
            Self::Output(stream) => write_stream(stream, batch),
        }
    }
}

fn write_stream(stream: &mut impl Write, batch: &[u8]) -> io::Result<()> {
    stream.write_all(batch)?;
    stream.flush()
}

pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// A regular file can be moved and rotated; a pipe or a device cannot.
    regular: bool,
    identity: (u64, u64),
    len: u64,
    rotation: Option<Rotation>,
    checked: Instant,
    complained: Option<Instant>,
}

impl LogFile {
    fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            regular: metadata.is_file() && !metadata.file_type().is_fifo(),
            identity: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            file,
            rotation,
            checked: Instant::now(),
            complained: None,
        })
    }

    fn write(&mut self, batch: &[u8], reopen: bool) -> io::Result<()> {
        let outcome = self.try_write(batch, reopen);
        if let Err(error) = &outcome
            && self.complained.is_none_or(|at| at.elapsed() > COMPLAINT)
        {
            self.complained = Some(Instant::now());
            // Not through the log, which may be what is failing.
            let complaint = format!("{}: log lines are lost: {error}\n", self.path.display());
            io::stderr().write_all(complaint.as_bytes()).ok();
        }
        outcome
    }

    fn try_write(&mut self, batch: &[u8], reopen: bool) -> io::Result<()> {
        if reopen || self.was_moved() {
            *self = Self {
                complained: self.complained,
                ..Self::open(&self.path, self.rotation)?
            };
        }
        if let Some(rotation) = self.rotation.filter(|_| self.regular)
            && self.len > 0
            && self.len + batch.len() as u64 > rotation.max_bytes
        {
            self.rotate(rotation)?;
        }
        self.file.write_all(batch)?;
        self.len += batch.len() as u64;
        Ok(())
    }

    fn was_moved(&mut self) -> bool {
        if !self.regular || self.checked.elapsed() < MOVED_CHECK {
            return false;
        }
        self.checked = Instant::now();
        fs::metadata(&self.path).map_or(true, |metadata| (metadata.dev(), metadata.ino()) != self.identity)
    }

    fn rotate(&mut self, rotation: Rotation) -> io::Result<()> {
        let backup = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if rotation.backups == 0 {
            fs::remove_file(&self.path)?;
        } else {
            for number in (1..rotation.backups).rev() {
                // A gap in the row of backups is normal at first.
                match fs::rename(backup(number), backup(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.path, backup(1))?;
        }
        *self = Self {
            complained: self.complained,
            ..Self::open(&self.path, self.rotation)?
        };
        Ok(())
    }
}
