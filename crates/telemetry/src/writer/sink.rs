//! The file end of a [`LineWriter`](super::LineWriter).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::time::Instant;

/// When a log file is full and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The file is put aside when it would grow past this.
    pub max_bytes: u64,
    /// How many put-aside files (`name.1` is the newest) are kept.
    pub backups: u32,
    /// How long one is kept at most; they are looked at when one more is made.
    pub max_age: Option<Duration>,
    /// Put-aside files are compressed (`name.1.gz`).
    pub compress: bool,
}

/// How often it is checked whether somebody moved the file away.
const MOVED_CHECK: Duration = Duration::from_secs(1);
/// How often a failing disk is complained about.
const COMPLAINT: Duration = Duration::from_secs(60);
/// Ends of the names of files that were put aside.
const PLAIN: &str = "";
const COMPRESSED: &str = ".gz";
const FORMS: [&str; 2] = [PLAIN, COMPRESSED];

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
        self.try_write(batch, reopen)
            .inspect_err(|error| self.complain("log lines are lost", error))
    }

    /// Not through the log, which may be what is failing.
    fn complain(&mut self, what: &str, error: &io::Error) {
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAINT) {
            self.complained = Some(Instant::now());
            let complaint = format!("{}: {what}: {error}\n", self.path.display());
            io::stderr().write_all(complaint.as_bytes()).ok();
        }
    }

    fn try_write(&mut self, batch: &[u8], reopen: bool) -> io::Result<()> {
        if reopen || self.was_moved() {
            self.open_anew()?;
        }
        if let Some(rotation) = self.rotation.filter(|_| self.regular)
            && self.len > 0
            && self.len + batch.len() as u64 > rotation.max_bytes
            && let Err(error) = self.rotate(rotation)
        {
            // A file that is mounted by itself cannot be moved, and a folder may be closed to us: a file that grows is
            // better than lines that are lost. Tried again when as much has been written once more.
            self.complain("the log file cannot be put aside", &error);
            self.len = 0;
        }
        self.file.write_all(batch)?;
        self.len += batch.len() as u64;
        Ok(())
    }

    fn open_anew(&mut self) -> io::Result<()> {
        *self = Self {
            complained: self.complained,
            ..Self::open(&self.path, self.rotation)?
        };
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
        if rotation.backups == 0 {
            fs::remove_file(&self.path)?;
            return self.open_anew();
        }
        // The oldest goes, whichever form it has.
        for form in FORMS {
            unless_missing(fs::remove_file(self.backup(rotation.backups, form)))?;
        }
        for number in (1..rotation.backups).rev() {
            for form in FORMS {
                // A gap in the row of backups is normal at first.
                unless_missing(fs::rename(
                    self.backup(number, form),
                    self.backup(number + 1, form),
                ))?;
            }
        }
        let aside = self.backup(1, PLAIN);
        fs::rename(&self.path, &aside)?;
        self.open_anew()?;
        if rotation.compress
            && let Err(error) = compress(&aside, &self.backup(1, COMPRESSED))
        {
            self.complain("a log file that was put aside cannot be compressed", &error);
        }
        if let Some(age) = rotation.max_age {
            self.remove_older_than(age, rotation.backups);
        }
        Ok(())
    }

    fn remove_older_than(&mut self, age: Duration, backups: u32) {
        for (number, form) in (1..=backups).flat_map(|number| FORMS.map(|form| (number, form))) {
            let path = self.backup(number, form);
            let old = fs::metadata(&path)
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|written| written.elapsed().is_ok_and(|elapsed| elapsed > age));
            if old && let Err(error) = fs::remove_file(&path) {
                self.complain("an old log file cannot be removed", &error);
            }
        }
    }

    fn backup(&self, number: u32, form: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}{form}"));
        PathBuf::from(name)
    }
}

fn unless_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Replaces a file by its compressed form, whole or not at all. It keeps the time of its last line, by which its age is
/// told.
fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let mut half = to.to_owned().into_os_string();
    half.push(".new");
    let half = PathBuf::from(half);
    let write = || {
        let mut plain = File::open(from)?;
        let written = plain.metadata()?.modified()?;
        let mut coder = GzEncoder::new(File::create(&half)?, Compression::default());
        io::copy(&mut plain, &mut coder)?;
        coder.finish()?.set_modified(written)?;
        fs::rename(&half, to)
    };
    write().inspect_err(|_| drop(fs::remove_file(&half)))?;
    fs::remove_file(from)
}
