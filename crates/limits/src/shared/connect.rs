//! A connection that can count: authenticated, with the script in place, and tried out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value, cmd,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use trireme_tls::channel::dial;

use super::call::{Answer, Call, SCRIPT, write_name};
use super::failure::{Failure, TooMuch};
use super::settings::SharedSettings;
use crate::limit::Window;

/// What a server may say before it is asked: greetings, errors.
const SLACK: usize = 16 << 10;
/// The longest text of a number in an answer, with its mark and line end.
const NUMBER: usize = 24;

/// The most that may be on its way: several of the largest answers.
const MOST: usize = 2 << 20;

/// An open connection. Clones share it; the last one dropped closes it.
#[derive(Clone)]
pub(crate) struct Connection {
    redis: MultiplexedConnection,
    digest: Arc<str>,
    allowed: Arc<AtomicUsize>,
    closed: CancellationToken,
    _io: Arc<AbortOnDropHandle<()>>,
}

impl Connection {
    /// Connects within the connect timeout, and counts once within the wait of a request: a server that would be too slow
    /// for those, or refuses to write, is as good as away. In a task of its own, as what the server sends is read there.
    pub(crate) async fn open(settings: Arc<SharedSettings>) -> Result<Self, Failure> {
        let bound = settings.connect_timeout;
        let wait = settings.wait;
        let attempt = AbortOnDropHandle::new(tokio::spawn(async move {
            let opened = timeout(bound, Box::pin(Self::connect(&settings))).await;
            let mut connection = opened.unwrap_or(Err(Failure::Timeout(bound)))?;
            let mut call = Call::default();
            let mut name = Vec::new();
            write_name(&mut name, &settings.prefix, Window::SECOND, b"probe");
            call.add(&name, Window::SECOND, 1);
            let tried = timeout(wait, Box::pin(connection.call(&call))).await;
            tried.unwrap_or(Err(Failure::Timeout(wait)))?;
            Ok(connection)
        }));
        attempt
            .await
            .unwrap_or(Err(Failure::nonsense("reading it failed")))
    }

    async fn connect(settings: &SharedSettings) -> Result<Self, Failure> {
        let server = &settings.server;
        let tls = match (server.secure, &settings.tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(tls),
            (true, None) => {
                let error = io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "no trusted certificates are configured",
                );
                return Err(Failure::Tls(error));
            }
        };
        let stream = dial(&server.host, server.port, settings.connect_timeout)
            .await
            .map_err(Failure::Connect)?;
        let stream = match tls {
            Some(tls) => {
                let stream = tls.connect(&server.host, stream).await.map_err(Failure::Tls)?;
                Either::Right(Box::new(stream))
            }
            None => Either::Left(stream),
        };
        let allowed = Arc::new(AtomicUsize::new(SLACK));
        let stream = Measured {
            stream,
            allowed: Arc::clone(&allowed),
        };
        let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = &server.username {
            info = info.set_username(username);
        }
        if let Some(password) = &server.password {
            info = info.set_password(password);
        }
        let options = AsyncConnectionConfig::default();
        let (redis, io) = MultiplexedConnection::new_with_config(&info, stream, options).await?;
        let closed = CancellationToken::new();
        let guard = closed.clone().drop_guard();
        let io = AbortOnDropHandle::new(tokio::spawn(async move {
            io.await;
            drop(guard);
        }));
        let mut connection = Self {
            redis,
            digest: Arc::default(),
            allowed,
            closed,
            _io: Arc::new(io),
        };
        // Not left to the library, which would not say that it is the password that is missing.
        if server.database > 0 {
            let mut select = cmd("SELECT");
            connection.send(select.arg(server.database)).await?;
        }
        let mut load = cmd("SCRIPT");
        let digest = match connection.send(load.arg("LOAD").arg(SCRIPT)).await? {
            Value::BulkString(digest) => String::from_utf8(digest).ok(),
            Value::SimpleString(digest) => Some(digest),
            _ => None,
        };
        let sound = |text: &String| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digest = digest.filter(sound);
        connection.digest = digest.ok_or(Failure::nonsense("no digest of the script"))?.into();
        Ok(connection)
    }

    /// Ends when the connection does.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// One round trip; two where Redis has forgotten the script. Without a bound in time.
    pub(crate) async fn call(&mut self, call: &Call) -> Result<Answer, Failure> {
        let answer = SLACK + (call.answers + 2) * NUMBER;
        let more = |allowed: usize| Some(allowed.saturating_add(answer).min(MOST));
        let (Ok(_) | Err(_)) = self
            .allowed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let value = match self.send(&call.command("EVALSHA", &self.digest)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(&call.command("EVAL", SCRIPT)).await?
            }
            outcome => outcome?,
        };
        Answer::read(value, call)
    }

    async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        self.redis.send_packed_command(command).await?.extract_error()
    }
}

/// A stream that ends where more comes than was asked for: what is read of one answer is kept until it is whole.
struct Measured {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    allowed: Arc<AtomicUsize>,
}

impl AsyncRead for Measured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        let take = |allowed: usize| allowed.checked_sub(read);
        let allowed = &self.allowed;
        match allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => outcome,
            Err(_) => Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, TooMuch))),
        }
    }
}

impl AsyncWrite for Measured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
