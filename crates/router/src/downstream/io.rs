//! The caller's byte stream with three additions: its connection is told when bytes move and which request has two
//! readings, and closing waits a moment for the caller to read what was sent.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connection::Conn;
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
    linger: Option<Linger>,
}

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
    pub(crate) fn new(inner: S, conn: Rc<Conn>, http2: bool) -> Self {
        Self {
            inner,
            conn,
            heads: (!http2).then(Heads::default),
            broken: false,
            linger: None,
        }
    }
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
        if let Some((request, error)) = heads.as_mut().and_then(|heads| heads.follow(read)) {
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
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.conn.moved(false);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, slices))?;
        self.conn.moved(false);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
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
