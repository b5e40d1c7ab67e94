//! The caller's byte stream with some additions: its connection is told when bytes move and which request has two
//! readings, heads that hyper cannot read get our answer in place of its own, and closing waits a moment for the caller to read
//! what was sent.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connection::{Conn, Unread};
use super::heads::Heads;

/// A caller's byte stream.
#[derive(Debug)]
pub(crate) struct Io<S> {
    inner: S,
    conn: Rc<Conn>,
    /// Of HTTP/1.
    heads: Option<Heads>,
    /// What came cannot be followed any further.
    broken: bool,
    /// Exchanges of which all is sent, when nothing else was to be sent at the last flush.
    settled: Option<u64>,
    unread: Answer,
    /// Our answer to a head that hyper cannot read, as much as is not sent.
    own: Bytes,
    replaced: bool,
    linger: Option<Linger>,
}

/// Answers a head that hyper cannot read.
type Answer = fn(&Conn, &Unread<'_>) -> Vec<u8>;

/// How hyper's answers to heads that it cannot read begin.
const REFUSAL: &[u8] = b"HTTP/1.1 4";

#[derive(Debug)]
struct Linger {
    timer: Pin<Box<Sleep>>,
    left: usize,
}

/// Closing a socket with unread bytes makes the kernel reset it, and a reset can overtake the answer: a caller that is still
/// sending a body we refused would never see why. So after our end is closed we read for a while and throw away.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 4 << 20;

impl<S> Io<S> {
    /// The stream of a connection.
    pub(crate) fn new(inner: S, conn: Rc<Conn>, http2: bool, unread: Answer) -> Self {
        Self {
            inner,
            heads: (!http2).then(|| Heads::new(conn.max_head)),
            conn,
            broken: false,
            settled: (!http2).then_some(0),
            unread,
            own: Bytes::new(),
            replaced: false,
            linger: None,
        }
    }

    /// Whether an answer of hyper's own was replaced by ours.
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// Whether hyper sends an answer of its own now, which it does for a head that it cannot read. All that it was given is
    /// sent to the end and it has called for no exchange since, so these bytes can be nothing else. Ours takes their place.
    fn replace(&mut self, bytes: &[u8]) -> bool {
        let settled = self.settled.is_some_and(|begun| self.conn.is_settled(begun));
        if !settled || !bytes.starts_with(REFUSAL) {
            return false;
        }
        let digits = bytes.get(REFUSAL.len()..REFUSAL.len() + 2).unwrap_or_default();
        let number = self.settled.map_or(0, |begun| begun + 1);
        let line = self.heads.as_ref().and_then(|heads| heads.request(number));
        let unread = Unread {
            too_large: digits == b"31",
            line: line.unwrap_or_default(),
        };
        self.own = (self.unread)(&self.conn, &unread).into();
        self.replaced = true;
        true
    }
}

impl<S> Io<S> {
    /// The connection is told how a write went.
    fn written(&self, written: Poll<std::io::Result<usize>>) -> Poll<std::io::Result<usize>> {
        self.conn.block(written.is_pending());
        if matches!(written, Poll::Ready(Ok(_))) {
            self.conn.moved(false);
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> Io<S> {
    /// Sends what is left of our own answer.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while !self.own.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.own))?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.own.advance(written);
            self.conn.moved(false);
        }
        Poll::Ready(Ok(()))
    }
}

/// Percent-encodes the characters that stand at `odd`, counted from `start`, if there is room for them.
fn encode(buffer: &mut ReadBuf<'_>, start: usize, odd: &[usize]) {
    let Some(first) = odd.first().filter(|_| buffer.remaining() >= 2 * odd.len()) else {
        return;
    };
    let from = start + first;
    let tail = buffer.filled().get(from..).unwrap_or_default().to_vec();
    buffer.set_filled(from);
    let mut odd = odd.iter().map(|at| at - first).peekable();
    let mut plain = 0;
    while let Some(at) = odd.next() {
        let Some(byte) = tail.get(at) else { continue };
        buffer.put_slice(percent_encoding::percent_encode_byte(*byte).as_bytes());
        plain = at + 1;
        let end = odd.peek().copied().unwrap_or(tail.len());
        buffer.put_slice(tail.get(plain..end).unwrap_or_default());
        plain = end;
    }
    buffer.put_slice(tail.get(plain..).unwrap_or_default());
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let Self {
            inner,
            conn,
            heads,
            broken,
            ..
        } = &mut *self;
        if *broken {
            return Poll::Ready(Err(std::io::ErrorKind::InvalidData.into()));
        }
        ready!(Pin::new(inner).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        let refused = heads.as_mut().and_then(|heads| heads.follow(read));
        if let Some(heads) = heads
            && !heads.odd().is_empty()
        {
            encode(buffer, before, heads.odd());
        }
        let read = buffer.filled().get(before..).unwrap_or_default();
        if let Some((request, error)) = refused {
            conn.refuse(request, error);
            if let Some(rest) = heads.as_ref().and_then(Heads::endless) {
                // hyper gets what was in order, without the end of the line that is not, and then an error.
                let whole = buffer.filled().len();
                buffer.set_filled(whole.saturating_sub(rest + 1).max(before));
                *broken = true;
                conn.moved(true);
                return match buffer.filled().len() > before {
                    true => Poll::Ready(Ok(())),
                    false => Poll::Ready(Err(std::io::ErrorKind::InvalidData.into())),
                };
            }
        }
        if !read.is_empty() {
            conn.moved(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.replace(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        if let Some(first) = slices.first()
            && self.replace(first)
        {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ready!(self.poll_own(cx))?;
        if self.heads.is_some() {
            // hyper flushes when it has nothing left to write.
            self.settled = self.conn.settled();
        }
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.conn.block(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            self.linger = Some(Linger {
                timer: Box::pin(sleep(LINGER)),
                left: LINGER_BYTES,
            });
        }
        let Self { inner, linger, .. } = &mut *self;
        let Some(linger) = linger else {
            return Poll::Ready(Ok(()));
        };
        let mut waste = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut waste);
            match Pin::new(&mut *inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    linger.left = linger.left.saturating_sub(buffer.filled().len());
                    if linger.left == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                // The caller has closed as well, or is gone.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return linger.timer.as_mut().poll(cx).map(Ok),
            }
        }
    }
}
