//! Sockets we accept on. Every worker has its own on the same port (`SO_REUSEPORT`); the kernel spreads connections.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, warn};
use trireme_shell::listen;
use trireme_tls::Acceptor;

use super::connection::{self, Serve};
use super::gate::Waiting;
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
    /// It does not listen yet.
    pub(crate) waiting: Waiting,
}

/// The sockets of one worker.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: Vec<Accepting>,
    closing: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Accepting {
    id: u64,
    stop: Rc<Stop>,
    task: JoinHandle<()>,
}

/// Tells a socket's task to end.
#[derive(Debug, Default)]
struct Stop {
    told: Notify,
    /// Another process has the socket as well, and takes what waits in its queue.
    left_behind: Cell<bool>,
}

/// How long the queue of finished handshakes must stay empty before a socket is closed.
const QUIET: Duration = Duration::from_millis(30);

// === impl Listeners ===

impl Listeners {
    /// Accepts on a socket until it is closed.
    pub(crate) fn open(&mut self, worker: &Rc<Worker>, socket: Socket, exchange: impl Serve) {
        let (id, stop) = (socket.id, Rc::<Stop>::default());
        let task = tokio::task::spawn_local(accept(Rc::clone(worker), socket, exchange, Rc::clone(&stop)));
        self.open.push(Accepting { id, stop, task });
    }

    /// Stops accepting on the sockets of one binding.
    pub(crate) fn close(&mut self, id: u64) {
        self.end(|accepting| accepting.id == id, false);
    }

    /// Stops accepting. What waits in the queues is another process's when sockets are left behind for it.
    pub(crate) fn close_all(&mut self, left_behind: bool) {
        self.end(|_| true, left_behind);
    }

    fn end(&mut self, which: impl Fn(&Accepting) -> bool, left_behind: bool) {
        for Accepting { stop, task, .. } in self.open.extract_if(.., |accepting| which(accepting)) {
            stop.left_behind.set(left_behind);
            stop.told.notify_one();
            self.closing.push(task);
        }
        self.closing.retain(|task| !task.is_finished());
    }

    /// Whether nothing is accepted any more.
    pub(crate) fn are_closed(&self) -> bool {
        self.open.is_empty() && self.closing.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for accepting in &self.open {
            accepting.task.abort();
        }
    }
}

async fn accept(worker: Rc<Worker>, socket: Socket, exchange: impl Serve, stop: Rc<Stop>) {
    let Socket {
        name,
        listener,
        acceptor,
        waiting,
        ..
    } = socket;
    tokio::select! {
        () = waiting.passed() => {}
        () = stop.told.notified() => return,
    }
    let listener = match listen::start(&listener).and_then(|()| TcpListener::from_std(listener)) {
        Ok(listener) => listener,
        Err(error) => {
            worker
                .shared
                .ready
                .listening
                .miss_because(format!("{name}: {error}"));
            error!(%error, listener = &*name, "socket cannot be used");
            return;
        }
    };
    drop(waiting);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.told.notified() => break,
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
    if stop.left_behind.get() {
        return;
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
    let open = match connection::Open::count(worker, &stream, peer, name) {
        Ok(open) => open,
        Err(refusal) => return worker.tally.refuse(refusal),
    };
    worker.tally.connection(acceptor.is_some());
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY");
    }
    tokio::task::spawn_local(connection::serve(
        Rc::clone(worker),
        stream,
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
