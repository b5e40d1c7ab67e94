//! One router takes over the listening sockets of another, so that a restart refuses nobody.
//!
//! ```text
//! successor                                predecessor, behind the door
//!    │ want sockets ─────────────────────────▶ │
//!    │ ◀──── listener or admin, with a socket ─┤   each of its sockets
//!    │ ◀──────────────────────────── that was all
//!    │   (applies a snapshot, reaches the enforcer, accepts: both do now)
//!    │ serving ──────────────────────────────▶ │   accepts no more, drains, ends
//!    │ ◀─────────────────────────────── relieved
//! ```
//!
//! Both hold the same sockets, not others on the same port: who waits in the queue of one is served by whoever accepts
//! first, and nobody is reset when the predecessor closes its end. Who wants news instead is told when the
//! predecessor drains without a successor, which keeps its sockets then, since somebody will start one, and when one serves.

mod channel;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::channel::Channel;
pub(crate) use self::channel::Door;

/// For the predecessor to hand over what it has, and to answer.
const BOUND: Duration = Duration::from_secs(5);
/// Connections at once.
const GUESTS: usize = 16;
/// For who follows a router to come to its successor.
const FOLLOWING: Duration = Duration::from_secs(1);
/// Before accepting is tried again when there are no file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

const WANT: &str = "want";
const SOCKETS: &str = "sockets";
const NEWS: &str = "news";
const KIND: &str = "kind";
const LISTENER: &str = "listener";
const ADMIN: &str = "admin";
const DONE: &str = "done";
const BUSY: &str = "busy";
const SERVING: &str = "serving";
const RELIEVED: &str = "relieved";
const DRAINING: &str = "draining";
const FOLLOWED: &str = "followed";

/// Why nothing is taken over although somebody is there.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// Another successor is starting.
    #[error("another successor is taking over")]
    Busy,
    /// The predecessor does not answer, or says what nobody understands.
    #[error("the running router does not hand its sockets over")]
    Failed(#[source] io::Error),
}

/// What a router was handed.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    /// Sockets of listeners, by the address they are bound to.
    pub(crate) listeners: HashMap<SocketAddr, Vec<TcpListener>>,
    /// The admin port.
    pub(crate) admin: Option<(SocketAddr, TcpListener)>,
    /// Who serves until it is told.
    pub(crate) predecessor: Option<Predecessor>,
}

/// The router that was here before.
#[derive(Debug)]
pub(crate) struct Predecessor(Channel);

/// What a router has for a successor, and tells of itself. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Succession(Arc<Held>);

#[derive(Debug, Default)]
struct Held {
    shelf: Mutex<Vec<Kept>>,
    fate: watch::Sender<Fate>,
    relieved: CancellationToken,
    /// Held for the successor that takes over.
    claim: tokio::sync::Mutex<()>,
    /// Until when who followed the predecessor is expected here.
    expected: Mutex<Option<Instant>>,
}

/// A socket, and what it is for.
#[derive(Debug, Clone)]
struct Kept {
    /// Number of the binding; none for the admin port.
    id: Option<u64>,
    socket: Arc<TcpListener>,
}

/// What becomes of a router, as far as others are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Fate {
    /// It serves.
    #[default]
    Serving,
    /// It drains, and no successor serves yet.
    Draining,
    /// A successor serves.
    Relieved,
}

/// Takes over from the router behind the door at `path`, if there is one.
///
/// # Errors
/// [`HandoverError`]: one is there, and hands nothing over.
pub(crate) async fn take(path: &Path) -> Result<Inheritance, HandoverError> {
    let channel = match Channel::open(path) {
        Ok(channel) => channel,
        Err(error) if is_nobody(&error) => return Ok(Inheritance::default()),
        Err(error) => return Err(HandoverError::Failed(error)),
    };
    match timeout(BOUND, receive(&channel)).await {
        Ok(Ok(Some(mut inheritance))) => {
            info!(
                sockets = inheritance.listeners.values().map(Vec::len).sum::<usize>(),
                "taking over from the running router"
            );
            inheritance.predecessor = Some(Predecessor(channel));
            Ok(inheritance)
        }
        Ok(Ok(None)) => Err(HandoverError::Busy),
        // It ended meanwhile.
        Ok(Err(error)) if is_nobody(&error) => Ok(Inheritance::default()),
        Ok(Err(error)) => Err(HandoverError::Failed(error)),
        Err(late) => Err(HandoverError::Failed(late.into())),
    }
}

/// Everything that is handed over; none when somebody else is getting it.
async fn receive(channel: &Channel) -> io::Result<Option<Inheritance>> {
    channel.send(&json!({ WANT: SOCKETS }), None).await?;
    let mut inheritance = Inheritance::default();
    loop {
        let (record, socket) = channel.receive().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        match (kind(&record), socket) {
            (Some(DONE), None) => return Ok(Some(inheritance)),
            (Some(BUSY), None) => return Ok(None),
            (Some(LISTENER), Some(socket)) => {
                let (address, listener) = listener(socket)?;
                inheritance.listeners.entry(address).or_default().push(listener);
            }
            (Some(ADMIN), Some(socket)) => inheritance.admin = Some(listener(socket)?),
            // What a newer one has besides.
            _ => debug!(%record, "left out of a handover"),
        }
    }
}

fn listener(socket: OwnedFd) -> io::Result<(SocketAddr, TcpListener)> {
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok((listener.local_addr()?, listener))
}

/// What a router tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It drains, and no successor serves yet: one that is started now finds its sockets.
    Draining,
    /// A successor serves in its place.
    Relieved,
}

/// Tells what becomes of the router behind the door at `path`, and of those after it. Ends when nobody listens.
pub async fn follow(path: &Path, news: mpsc::Sender<News>) {
    while !news.is_closed() {
        match read(path, &news).await {
            // The successor is behind the door by now.
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) if is_nobody(&error) => {}
            Err(error) => debug!(%error, "no news of the router"),
        }
        sleep(PAUSE).await;
    }
}

/// Hands on news until the router ends or, then the answer is yes, is relieved.
async fn read(path: &Path, news: &mpsc::Sender<News>) -> io::Result<bool> {
    let channel = Channel::open(path)?;
    channel.send(&json!({ WANT: NEWS }), None).await?;
    while let Some((record, _)) = channel.receive().await? {
        let told = match kind(&record) {
            Some(DRAINING) => News::Draining,
            Some(RELIEVED) => News::Relieved,
            // What a newer one says besides.
            _ => continue,
        };
        // Nobody listens any more: the caller finds out.
        news.send(told).await.unwrap_or_default();
        if told == News::Relieved {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether an error says that there is no router behind the door, or no longer.
fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof
    )
}

fn kind(record: &Value) -> Option<&str> {
    record.get(KIND)?.as_str()
}

// === impl Predecessor ===

impl Predecessor {
    /// Completes when it has ended by itself.
    pub(crate) async fn gone(&self) {
        while let Ok(Some(_)) = self.0.receive().await {}
    }

    /// Tells it that we serve, and waits until it takes nothing new. Whether somebody follows it, who will follow us.
    pub(crate) async fn relieve(self) -> bool {
        let told = async {
            self.0.send(&json!({ KIND: SERVING }), None).await?;
            self.0.receive().await
        };
        match timeout(BOUND, told).await {
            Ok(Ok(Some((record, _)))) => return record.get(FOLLOWED) == Some(&Value::Bool(true)),
            Ok(Ok(None)) => debug!("the router that was here before has ended"),
            Ok(Err(error)) => debug!(%error, "the router that was here before has ended"),
            Err(_) => warn!("the router that was here before does not answer"),
        }
        false
    }
}

// === impl Succession ===

impl Succession {
    /// Keeps a socket of a binding, or the admin port's.
    pub(crate) fn keep(&self, id: Option<u64>, socket: TcpListener) {
        let socket = Arc::new(socket);
        self.shelf().push(Kept { id, socket });
    }

    /// Forgets the sockets of a binding.
    pub(crate) fn forget(&self, id: u64) {
        self.shelf().retain(|kept| kept.id != Some(id));
    }

    /// Cancelled when a successor serves.
    pub(crate) fn relieved(&self) -> &CancellationToken {
        &self.0.relieved
    }

    /// Whether somebody follows us, or is about to.
    pub(crate) fn is_awaited(&self) -> bool {
        let expected = *self.0.expected.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.fate.receiver_count() > 0 || expected.is_some_and(|until| Instant::now() < until)
    }

    /// Whoever followed the predecessor will come.
    pub(crate) fn expect(&self) {
        let until = Instant::now() + FOLLOWING;
        *self.0.expected.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// The router drains. Whether its sockets stay for a successor, which somebody will start.
    pub(crate) fn drain(&self) -> bool {
        let awaited = self.relieved().is_cancelled() || self.is_awaited();
        if awaited {
            self.0.fate.send_if_modified(|fate| {
                let first = *fate == Fate::Serving;
                if first {
                    *fate = Fate::Draining;
                }
                first
            });
        } else {
            self.shelf().clear();
        }
        awaited
    }

    /// Waits for the successor that somebody was told to start to serve, for as long as somebody is there to start it, and for
    /// five seconds at most: a router with nothing left to do would take its sockets along.
    pub(crate) async fn served(&self) {
        let left = async {
            let expected = *self.0.expected.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(until) = expected {
                sleep_until(until).await;
            }
            self.0.fate.closed().await;
        };
        tokio::select! {
            () = self.relieved().cancelled() => {}
            () = left => {}
            () = sleep(BOUND) => warn!("no successor serves"),
        }
    }

    /// Hands over to who comes to the door, and tells who asks what becomes of us. Ends, with what is under way, when it is
    /// dropped.
    pub(crate) async fn offer(self, door: Door) {
        let mut guests = JoinSet::new();
        loop {
            let guest = tokio::select! {
                guest = door.next() => guest,
                Some(_) = guests.join_next() => continue,
                () = self.relieved().cancelled() => break,
            };
            match guest {
                Ok(channel) if guests.len() < GUESTS => {
                    guests.spawn(self.clone().receive(channel));
                }
                Ok(_) => debug!("too many at the door"),
                Err(error) => {
                    debug!(%error, "nobody taken in for a handover");
                    sleep(PAUSE).await;
                }
            }
        }
        // The successor has a door of its own; those who are in are told.
        drop(door);
        while guests.join_next().await.is_some() {}
    }

    async fn receive(self, guest: Channel) {
        let served = match timeout(BOUND, guest.receive()).await {
            Ok(Ok(Some((record, _)))) => match record.get(WANT).and_then(Value::as_str) {
                Some(SOCKETS) => self.hand_over(&guest).await,
                Some(NEWS) => self.tell(&guest).await,
                _ => Err(io::ErrorKind::InvalidData.into()),
            },
            Ok(Ok(None)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(late) => Err(late.into()),
        };
        if let Err(error) = served
            && !is_nobody(&error)
        {
            warn!(%error, "handover failed");
        }
    }

    async fn hand_over(&self, successor: &Channel) -> io::Result<()> {
        let claim = self.0.claim.try_lock();
        if claim.is_err() || self.relieved().is_cancelled() {
            return successor.send(&json!({ KIND: BUSY }), None).await;
        }
        let shelf = self.shelf().clone();
        for Kept { id, socket } in shelf {
            let kind = if id.is_some() { LISTENER } else { ADMIN };
            let along = Some(socket.as_fd());
            timeout(BOUND, successor.send(&json!({ KIND: kind }), along)).await??;
        }
        timeout(BOUND, successor.send(&json!({ KIND: DONE }), None)).await??;
        match successor.receive().await? {
            Some((record, _)) if kind(&record) == Some(SERVING) => {}
            Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            None => {
                warn!("the successor ended before it served");
                return Ok(());
            }
        }
        info!("a successor serves");
        let followed = self.is_awaited();
        self.0.fate.send_replace(Fate::Relieved);
        self.relieved().cancel();
        successor
            .send(&json!({ KIND: RELIEVED, FOLLOWED: followed }), None)
            .await
    }

    async fn tell(&self, reader: &Channel) -> io::Result<()> {
        let mut fate = self.0.fate.subscribe();
        let mut last = Fate::Serving;
        while last != Fate::Relieved {
            let change = async {
                // The sender is ours.
                let changed = fate.wait_for(|fate| *fate != last).await;
                changed.map_or(Fate::Relieved, |fate| *fate)
            };
            last = tokio::select! {
                fate = change => fate,
                left = reader.receive() => return left.map(drop),
            };
            let kind = match last {
                Fate::Draining => DRAINING,
                Fate::Relieved | Fate::Serving => RELIEVED,
            };
            reader.send(&json!({ KIND: kind }), None).await?;
        }
        Ok(())
    }

    fn shelf(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
