//! Last-good snapshot on disk (design D17): what a client held, so that its process can serve before, and without, a server.
//!
//! ```text
//! "TRIRXDS\n"  format version (u32)  payload length (u64)  SHA-256 of the payload  payload
//! ```
//!
//! Numbers are big endian; the payload is the protobuf message [`Payload`]. A file that is not exactly that is refused with a
//! reason and left alone until the next good snapshot replaces it. All functions block.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, message};
use sha2::{Digest, Sha256};

use crate::resource::Resource;

const MAGIC: &[u8; 8] = b"TRIRXDS\n";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = MAGIC.len() + 4 + 8 + 32;
/// Far above anything a node can serve; bounds what a wrong file can make us read.
const MAX_PAYLOAD_BYTES: u64 = 512 << 20;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Id of the node that held it: another node's resources are of no use.
    pub(crate) node: String,
    /// When the last update of it was accepted.
    pub(crate) updated: SystemTime,
    /// By type URL. A type that is listed is complete.
    pub(crate) types: Vec<(String, Vec<Resource>)>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the checksum is wrong, the file is damaged")]
    Checksum,
    #[error("the format version is {0}, not {FORMAT}")]
    Format(u32),
    #[error("cannot read it")]
    Io(#[source] io::Error),
    #[error("the payload is malformed")]
    Malformed(#[source] prost::DecodeError),
    #[error("it was written for node {0:?}")]
    Node(String),
    #[error("it is not a snapshot file")]
    NotASnapshot,
    #[error("it is longer than {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge,
    #[error("it ends early or has more than it should")]
    WrongLength,
}

/// Tags of [`Payload::types`] and [`PayloadType::resources`].
const TYPES: u32 = 3;
const RESOURCES: u32 = 2;

#[derive(Clone, PartialEq, Message)]
struct Payload {
    #[prost(string, tag = "1")]
    node: String,
    #[prost(uint64, tag = "2")]
    updated_unix_ms: u64,
    #[prost(message, repeated, tag = "3")]
    types: Vec<PayloadType>,
}

#[derive(Clone, PartialEq, Message)]
struct PayloadType {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(message, repeated, tag = "2")]
    resources: Vec<PayloadResource>,
}

#[derive(Clone, PartialEq, Message)]
struct PayloadResource {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
}

/// Reads the snapshot of a node; none when there is no file.
pub(crate) fn read(path: &Path, node: &str) -> Result<Option<Snapshot>, Refused> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Refused::Io(error)),
    };
    let metadata = file.metadata().map_err(Refused::Io)?;
    if !metadata.is_file() {
        return Err(Refused::NotASnapshot);
    }
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Refused::NotASnapshot,
        _ => Refused::Io(error),
    })?;
    let mut header = header.as_slice();
    if !header.starts_with(MAGIC) {
        return Err(Refused::NotASnapshot);
    }
    header.advance(MAGIC.len());
    let format = header.get_u32();
    if format != FORMAT {
        return Err(Refused::Format(format));
    }
    let length = header.get_u64();
    if length > MAX_PAYLOAD_BYTES {
        return Err(Refused::TooLarge);
    }
    // The length in the file may be a lie: nothing is reserved beyond what the file system says is there.
    if metadata.len() != length.saturating_add(u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX)) {
        return Err(Refused::WrongLength);
    }
    let mut payload = Vec::with_capacity(usize::try_from(length).map_err(|_| Refused::TooLarge)?);
    file.take(length).read_to_end(&mut payload).map_err(Refused::Io)?;
    if Sha256::digest(&payload).as_slice() != header {
        return Err(Refused::Checksum);
    }
    let payload = Payload::decode(Bytes::from(payload)).map_err(Refused::Malformed)?;
    if payload.node != node {
        return Err(Refused::Node(payload.node));
    }
    // Bodies are copied so that the whole file does not stay in memory as long as one of them is held.
    let resource = |r: PayloadResource| Resource::new(r.name, r.version, Bytes::copy_from_slice(&r.body));
    let types = payload
        .types
        .into_iter()
        .map(|t| (t.type_url, t.resources.into_iter().map(resource).collect()));
    Ok(Some(Snapshot {
        updated: UNIX_EPOCH
            .checked_add(Duration::from_millis(payload.updated_unix_ms))
            .unwrap_or(UNIX_EPOCH),
        types: types.collect(),
        node: payload.node,
    }))
}

/// Puts a snapshot in the place of the file, whole or not at all, readable by its owner only.
pub(crate) fn write(path: &Path, snapshot: Snapshot) -> io::Result<()> {
    let temporary = temporary(path);
    replace(path, &temporary, snapshot).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

fn replace(path: &Path, temporary: &Path, snapshot: Snapshot) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    let mut writer = Writer::new(file)?;
    writer.snapshot(snapshot)?;
    writer.finish()?.sync_all()?;
    fs::rename(temporary, path)?;
    // Without this the rename itself may be lost with the machine.
    File::open(folder)?.sync_all()
}

/// Writes a [`Payload`] resource by resource, so that no second copy of everything is ever in memory. The header comes last,
/// into the place that is kept for it.
struct Writer {
    file: BufWriter<File>,
    length: u64,
    sum: Sha256,
}

impl Writer {
    fn new(file: File) -> io::Result<Self> {
        let mut file = BufWriter::new(file);
        file.write_all(&[0; HEADER_BYTES])?;
        Ok(Self {
            file,
            length: 0,
            sum: Sha256::new(),
        })
    }

    fn snapshot(&mut self, snapshot: Snapshot) -> io::Result<()> {
        let updated = snapshot.updated.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.put(&Payload {
            node: snapshot.node,
            updated_unix_ms: u64::try_from(updated.as_millis()).unwrap_or(u64::MAX),
            types: Vec::new(),
        })?;
        for (type_url, resources) in snapshot.types {
            let resources = resources.into_iter().map(|r| PayloadResource {
                name: r.name,
                version: r.version,
                body: r.body,
            });
            let head = PayloadType {
                type_url,
                resources: Vec::new(),
            };
            let resources: Vec<PayloadResource> = resources.collect();
            let length = head.encoded_len() + message::encoded_len_repeated(RESOURCES, &resources);
            self.embed(TYPES, length)?;
            self.put(&head)?;
            for resource in &resources {
                self.embed(RESOURCES, resource.encoded_len())?;
                self.put(resource)?;
            }
        }
        Ok(())
    }

    /// Begins a message inside another one.
    fn embed(&mut self, tag: u32, length: usize) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(16);
        encode_key(tag, WireType::LengthDelimited, &mut bytes);
        encode_varint(u64::try_from(length).unwrap_or(u64::MAX), &mut bytes);
        self.bytes(&bytes)
    }

    fn put(&mut self, message: &impl Message) -> io::Result<()> {
        self.bytes(&message.encode_to_vec())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length = self
            .length
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.length > MAX_PAYLOAD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "snapshot is too large",
            ));
        }
        self.sum.update(bytes);
        self.file.write_all(bytes)
    }

    fn finish(mut self) -> io::Result<File> {
        self.file.rewind()?;
        for part in [
            MAGIC.as_slice(),
            &FORMAT.to_be_bytes(),
            &self.length.to_be_bytes(),
            &self.sum.finalize(),
        ] {
            self.file.write_all(part)?;
        }
        self.file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            node: "Default".into(),
            updated: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            types: vec![
                (
                    "type/a".into(),
                    vec![Resource::new("x", "1", "body of x"), Resource::new("y", "2", "")],
                ),
                ("type/empty".into(), vec![]),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/router.snapshot");
        assert_eq!(read(&path, "Default").unwrap(), None);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(temporary(&path), "left over by a crash").unwrap();
        write(
            &path,
            Snapshot {
                types: vec![],
                ..snapshot()
            },
        )
        .unwrap();
        write(&path, snapshot()).unwrap();
        assert_eq!(read(&path, "Default").unwrap(), Some(snapshot()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        write(&path, snapshot()).unwrap();
        fs::create_dir(temporary(&path)).unwrap();
        assert!(
            write(
                &path,
                Snapshot {
                    types: vec![],
                    ..snapshot()
                }
            )
            .is_err()
        );
        assert_eq!(read(&path, "Default").unwrap(), Some(snapshot()));
    }

    #[test]
    fn refused_files() {
        struct Case {
            name: &'static str,
            damage: fn(&mut Vec<u8>),
            want: &'static str,
        }
        let cases = [
            Case {
                name: "empty",
                damage: Vec::clear,
                want: "it is not a snapshot file",
            },
            Case {
                name: "header cut",
                damage: |f| f.truncate(20),
                want: "it is not a snapshot file",
            },
            Case {
                name: "another file",
                damage: |f| f[0] = b'#',
                want: "it is not a snapshot file",
            },
            Case {
                name: "other format",
                damage: |f| f[11] = 9,
                want: "the format version is 9, not 1",
            },
            Case {
                name: "cut",
                damage: |f| f.truncate(f.len() - 1),
                want: "it ends early or has more than it should",
            },
            Case {
                name: "longer",
                damage: |f| f.push(0),
                want: "it ends early or has more than it should",
            },
            Case {
                name: "huge length",
                damage: |f| f[12..20].fill(0xff),
                want: "it is longer than 536870912 bytes",
            },
            Case {
                name: "one bit",
                damage: |f| *f.last_mut().unwrap() ^= 1,
                want: "the checksum is wrong, the file is damaged",
            },
            Case {
                name: "checksum",
                damage: |f| f[20] ^= 0x80,
                want: "the checksum is wrong, the file is damaged",
            },
            Case {
                name: "good checksum of nonsense",
                damage: |f| {
                    f[HEADER_BYTES..].fill(0xff);
                    let sum = Sha256::digest(&f[HEADER_BYTES..]);
                    f[20..HEADER_BYTES].copy_from_slice(&sum);
                },
                want: "the payload is malformed",
            },
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        for case in cases {
            write(&path, snapshot()).unwrap();
            let mut bytes = fs::read(&path).unwrap();
            (case.damage)(&mut bytes);
            fs::write(&path, bytes).unwrap();
            assert_eq!(
                read(&path, "Default").unwrap_err().to_string(),
                case.want,
                "{}",
                case.name
            );
        }
        write(&path, snapshot()).unwrap();
        assert_eq!(
            read(&path, "Other").unwrap_err().to_string(),
            "it was written for node \"Default\""
        );
        assert!(matches!(
            read(folder.path(), "Default"),
            Err(Refused::NotASnapshot)
        ));
    }
}
