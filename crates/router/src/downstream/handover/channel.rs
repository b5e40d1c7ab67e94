//! Records between two processes of one user, over a Unix socket that keeps their borders (`SOCK_SEQPACKET`). A record may
//! bring an open socket along (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, recvmsg,
    sendmsg, socket_with,
};
use serde_json::Value;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

/// Longest record.
const RECORD: usize = 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 8;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

/// A socket that is connected to by the name of a file. Its end takes the file away, unless another process has it by then.
#[derive(Debug)]
pub(crate) struct Door {
    socket: UnixListener,
    path: PathBuf,
    /// Which file it is: device and number.
    file: (u64, u64),
}

// === impl Channel ===

impl Channel {
    /// Connects to the door at `path`.
    ///
    /// # Errors
    /// `NotFound` and `ConnectionRefused` when nobody is behind it, `PermissionDenied` when it is somebody else's.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let socket = socket()?;
        let (folder, name) = address(path)?;
        connect(&socket, &name)?;
        drop(folder);
        Self::of(UnixStream::from_std(socket.into())?)
    }

    fn of(socket: UnixStream) -> io::Result<Self> {
        if socket.peer_cred()?.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the other end belongs to another user",
            ));
        }
        Ok(Self(socket))
    }

    /// Sends one record, with a socket if there is one to go along. Cancel safe.
    pub(super) async fn send(&self, record: &Value, along: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = record.to_string();
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let rights = along.as_slice();
            if !rights.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(rights));
            }
            let data = [IoSlice::new(bytes.as_bytes())];
            Ok(sendmsg(&self.0, &data, &mut ancillary, SendFlags::NOSIGNAL)?)
        };
        self.0.async_io(Interest::WRITABLE, send).await.map(drop)
    }

    /// The next record, and the socket that came along; none when the other end is closed. Cancel safe.
    ///
    /// # Errors
    /// Something else than a record came.
    pub(super) async fn receive(&self) -> io::Result<Option<(Value, Option<OwnedFd>)>> {
        let mut bytes = [0; RECORD];
        let receive = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut data = [IoSliceMut::new(&mut bytes)];
            let got = recvmsg(&self.0, &mut data, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let along = ancillary.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
                _ => None,
            });
            Ok((got.bytes, got.flags.contains(ReturnFlags::TRUNC), along))
        };
        let (length, cut, along) = self.0.async_io(Interest::READABLE, receive).await?;
        if length == 0 {
            return Ok(None);
        }
        if cut {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a record is too long"));
        }
        let record = serde_json::from_slice(bytes.get(..length).unwrap_or_default())?;
        Ok(Some((record, along)))
    }
}

// === impl Door ===

impl Door {
    /// Puts a door at `path`, in place of whatever socket is there, for this user only.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = socket()?;
        let (folder, name) = address(&beside)?;
        bind(&socket, &name)?;
        drop(folder);
        rustix::fs::chmod(&beside, Mode::RUSR | Mode::WUSR)?;
        listen(&socket, BACKLOG)?;
        let socket = UnixListener::from_std(socket.into())?;
        let file = identity(&beside)?;
        std::fs::rename(&beside, path)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            file,
        })
    }

    /// The next who comes. Cancel safe.
    ///
    /// # Errors
    /// The system has no room for another connection; or it is somebody else's.
    pub(super) async fn next(&self) -> io::Result<Channel> {
        let (accepted, _) = self.socket.accept().await?;
        Channel::of(accepted)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            std::fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::lstat(path)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// The address of a file, by way of its open folder: an address has room for 107 bytes only.
fn address(path: &Path) -> io::Result<(OwnedFd, SocketAddrUnix)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no name of a file"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(parent.unwrap_or(Path::new(".")), flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(name);
    Ok((folder, SocketAddrUnix::new(&short)?))
}
