//! Sockets we accept on. Every worker has its own on the same port (`SO_REUSEPORT`); the kernel spreads connections.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};
use trireme_tls::Acceptor;

use super::connection::{self, Serve};
use super::worker::Worker;

/// A bound socket on its way to a worker.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Number of the binding; all sockets of one port have the same.
    pub(crate) id: u64,
    /// Name of the listener resource.
    pub(crate) name: Arc<str>,
    /// The socket.
    pub(crate) listener: StdListener,
    /// TLS.
    pub(crate) acceptor: Option<Acceptor>,
}

/// The sockets of one worker.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: HashMap<u64, Accepting>,
    closing: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Accepting {
    stop: Rc<Notify>,
    task: JoinHandle<()>,
}

/// How long the queue of finished handshakes must stay empty before a socket is closed.
const QUIET: Duration = Duration::from_millis(30);

// === impl Listeners ===

impl Listeners {
    /// Accepts on a socket until it is closed.
    pub(crate) fn open(&mut self, worker: &Rc<Worker>, socket: Socket, exchange: impl Serve) {
        let stop = Rc::new(Notify::new());
        let task = tokio::task::spawn_local(accept(
            Rc::clone(worker),
            socket.listener,
            socket.name,
            socket.acceptor,
            exchange,
            Rc::clone(&stop),
        ));
        self.open.insert(socket.id, Accepting { stop, task });
    }

    /// Stops accepting on one socket.
    pub(crate) fn close(&mut self, id: u64) {
        if let Some(Accepting { stop, task }) = self.open.remove(&id) {
            stop.notify_one();
            self.closing.push(task);
        }
        self.closing.retain(|task| !task.is_finished());
    }

    /// Stops accepting.
    pub(crate) fn close_all(&mut self) {
        let ids: Vec<u64> = self.open.keys().copied().collect();
        for id in ids {
            self.close(id);
        }
    }

    /// Whether nothing is accepted any more.
    pub(crate) fn are_closed(&self) -> bool {
        self.open.is_empty() && self.closing.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for accepting in self.open.values() {
            accepting.task.abort();
        }
    }
}

async fn accept(
    worker: Rc<Worker>,
    listener: StdListener,
    name: Arc<str>,
    acceptor: Option<Acceptor>,
    exchange: impl Serve,
    stop: Rc<Notify>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(%error, listener = &*name, "socket cannot be used");
            return;
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.notified() => break,
        };
        match accepted {
            Ok((stream, peer)) => start(&worker, stream, peer, &name, acceptor.as_ref(), exchange),
            Err(error) => {
                warn!(%error, listener = &*name, "accept failed");
                // Out of file descriptors: the queue waits until some are given back.
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    // Closing a socket resets the connections in its queue, whose callers believe to be connected. So new ones are kept
    // away first, without a reset, and what is in the queue is served; the port is free for a successor at once.
    refuse_new(&listener);
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline {
        match timeout(QUIET, listener.accept()).await {
            Ok(Ok((stream, peer))) => start(&worker, stream, peer, &name, acceptor.as_ref(), exchange),
            Ok(Err(error)) => debug!(%error, "accept failed while closing"),
            Err(_) => break,
        }
    }
}

fn start(
    worker: &Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    name: &Arc<str>,
    acceptor: Option<&Acceptor>,
    exchange: impl Serve,
) {
    let open = match connection::Open::count(worker, peer.ip()) {
        Ok(open) => open,
        Err(cap) => return worker.tally.refuse(cap),
    };
    worker.tally.connection(acceptor.is_some());
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY");
    }
    tokio::task::spawn_local(connection::serve(
        Rc::clone(worker),
        stream,
        peer,
        Arc::clone(name),
        acceptor.cloned(),
        exchange,
        open,
    ));
}

/// Drops SYN packets of the listening socket silently; what its handshakes still need passes. Callers try again and find
/// the successor's socket, or are refused once this one is closed.
fn refuse_new(listener: &TcpListener) {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    let program = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    if let Err(error) = SockRef::from(listener).attach_filter(&program) {
        debug!(%error, "no filter on the closing socket");
    }
}
