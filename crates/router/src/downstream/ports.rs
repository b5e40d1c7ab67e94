//! The ports of the process: which are bound, and which workers accept on them.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};
use trireme_routing::snapshot::{Listener, ListenerTls};
use trireme_shell::listen;
use trireme_tls::{Acceptor, ClientAuth, Watch};

use super::gate::Gate;
use super::handover::Succession;
use super::listener::Socket;
use super::worker::Command;
use crate::cluster::material::{self, MaterialError};
use crate::cluster::transport::protocols;

/// Addresses that are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bound {
    /// Plain listener.
    pub http: Option<SocketAddr>,
    /// TLS listener.
    pub https: Option<SocketAddr>,
    /// Admin port.
    pub admin: Option<SocketAddr>,
    /// The listeners are those of a complete snapshot, and take connections.
    pub serving: bool,
}

impl Bound {
    /// Those that are known, by name.
    pub(crate) fn addresses(self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let named = [("http", self.http), ("https", self.https), ("admin", self.admin)];
        named
            .into_iter()
            .filter_map(|(name, address)| Some((name, address?)))
    }
}

/// A port that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The operating system's reason.
    #[source]
    pub source: std::io::Error,
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The address is in use or not ours.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Certificate, key or CA cannot be used.
    #[error("certificate of the listener")]
    Material(#[from] MaterialError),
}

/// Opens and closes ports on all workers.
#[derive(Debug)]
pub(crate) struct Ports {
    overrides: [Option<SocketAddr>; 2],
    /// Bound before anything was discovered, here or by a predecessor.
    early: HashMap<SocketAddr, Vec<TcpListener>>,
    open: HashMap<String, Open>,
    workers: Vec<mpsc::Sender<Command>>,
    bound: watch::Sender<Bound>,
    gate: Gate,
    /// Where sockets are kept for a successor, if there may be one.
    succession: Option<Succession>,
    next_id: u64,
}

#[derive(Debug)]
struct Open {
    id: u64,
    wanted: SocketAddr,
    address: SocketAddr,
    tls: Option<ListenerTls>,
    _watch: Option<Watch>,
}

impl Ports {
    /// Binds the ports that the environment fixes, in as far as they were not handed over.
    pub(crate) fn new(
        [http, https]: [Option<SocketAddr>; 2],
        handed: HashMap<SocketAddr, Vec<TcpListener>>,
        workers: Vec<mpsc::Sender<Command>>,
        bound: watch::Sender<Bound>,
        gate: Gate,
        succession: Option<Succession>,
    ) -> Result<Self, BindError> {
        let mut early = handed;
        let mut addresses = [None, None];
        for (slot, wanted) in addresses.iter_mut().zip([http, https]) {
            let Some(wanted) = wanted else { continue };
            *slot = Some(wanted);
            if early.contains_key(&wanted) {
                continue;
            }
            let (address, sockets) = listen::bind(wanted, workers.len()).map_err(|source| BindError {
                address: wanted,
                source,
            })?;
            *slot = Some(address);
            // With port 0 twice the addresses are the same before binding and differ after.
            early.insert(address, sockets);
        }
        let [http, https] = addresses;
        bound.send_modify(|bound| (bound.http, bound.https) = (http, https));
        Ok(Self {
            overrides: addresses,
            early,
            open: HashMap::new(),
            workers,
            bound,
            gate,
            succession,
            next_id: 1,
        })
    }

    /// Whether the listener's certificates can be used.
    pub(crate) fn check(&self, listener: &Listener) -> Result<(), ListenError> {
        match &listener.tls {
            Some(tls) if self.open.get(&listener.name).and_then(|open| open.tls.as_ref()) != Some(tls) => {
                Ok(acceptor(tls).map(drop)?)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Opens what is new or changed and closes what is gone. New sockets accept before old ones stop.
    pub(crate) fn open(&mut self, listeners: &[Listener]) -> Vec<(String, ListenError)> {
        let mut failed = Vec::new();
        for listener in listeners {
            let wanted = self.address(listener);
            let same = |open: &Open| open.wanted == wanted && open.tls == listener.tls;
            if self.open.get(&listener.name).is_some_and(same) {
                continue;
            }
            match self.start(listener, wanted) {
                Ok(open) => {
                    info!(listener = listener.name, address = %open.address, "listening");
                    if let Some(old) = self.open.insert(listener.name.clone(), open) {
                        self.close(old.id);
                    }
                }
                Err(error) => failed.push((listener.name.clone(), error)),
            }
        }
        let gone: Vec<String> = self
            .open
            .keys()
            .filter(|name| listeners.iter().all(|listener| listener.name != **name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(open) = self.open.remove(&name) {
                info!(listener = name, address = %open.address, "no longer listening");
                self.close(open.id);
            }
        }
        self.early.clear();
        self.report(listeners);
        failed
    }

    fn report(&self, listeners: &[Listener]) {
        let address = |tls: bool| {
            listeners
                .iter()
                .filter(|listener| listener.tls.is_some() == tls)
                .find_map(|listener| self.open.get(&listener.name))
                .map(|open| open.address)
        };
        self.bound.send_if_modified(|bound| {
            let new = Bound {
                http: address(false),
                https: address(true),
                ..*bound
            };
            std::mem::replace(bound, new) != new
        });
    }

    fn address(&self, listener: &Listener) -> SocketAddr {
        let [http, https] = self.overrides;
        let fixed = if listener.tls.is_some() { https } else { http };
        fixed.unwrap_or_else(|| SocketAddr::new(listener.address, listener.port))
    }

    fn start(&mut self, listener: &Listener, wanted: SocketAddr) -> Result<Open, ListenError> {
        let (acceptor, watch) = match &listener.tls {
            Some(tls) => {
                let (acceptor, watch) = acceptor(tls)?;
                (Some(acceptor), watch)
            }
            None => (None, None),
        };
        let ours = self.open.values().any(|open| open.address == wanted);
        let count = self.workers.len();
        let sockets = match self.early.remove(&wanted) {
            Some(sockets) => enough(wanted, sockets, count),
            None if ours => listen::join(wanted, count),
            None => listen::bind(wanted, count),
        };
        let (address, sockets) = sockets.map_err(|source| BindError {
            address: wanted,
            source,
        })?;
        let id = self.next_id;
        self.next_id += 1;
        let name: Arc<str> = listener.name.as_str().into();
        for (worker, socket) in self.workers.iter().cycle().zip(sockets) {
            if let Some(succession) = &self.succession {
                match socket.try_clone() {
                    Ok(socket) => succession.keep(Some(id), socket),
                    Err(error) => warn!(%error, listener = listener.name, "not kept for a successor"),
                }
            }
            let socket = Socket {
                id,
                name: Arc::clone(&name),
                listener: socket,
                acceptor: acceptor.clone(),
                waiting: self.gate.wait(),
            };
            if worker.try_send(Command::Listen(socket)).is_err() {
                error!(listener = listener.name, "a worker takes no commands");
            }
        }
        Ok(Open {
            id,
            wanted,
            address,
            tls: listener.tls.clone(),
            _watch: watch,
        })
    }

    fn close(&self, id: u64) {
        if let Some(succession) = &self.succession {
            succession.forget(id);
        }
        for worker in &self.workers {
            if worker.try_send(Command::Unlisten(id)).is_err() {
                error!("a worker takes no commands");
            }
        }
    }
}

/// Sockets for all workers. A predecessor had one for each of its own: of more, some workers take several, so that no queue
/// is left alone.
fn enough(
    address: SocketAddr,
    mut sockets: Vec<TcpListener>,
    count: usize,
) -> std::io::Result<(SocketAddr, Vec<TcpListener>)> {
    if let Some(missing) = count.checked_sub(sockets.len()).filter(|missing| *missing > 0) {
        sockets.extend(listen::join(address, missing)?.1);
    }
    Ok((address, sockets))
}

fn acceptor(tls: &ListenerTls) -> Result<(Acceptor, Option<Watch>), MaterialError> {
    let identity = (tls.certificate.clone(), tls.key.clone());
    let (material, watch) = material::load(Some(&identity), tls.client_ca.as_ref())?;
    let (protocols, unknown) = protocols(tls.min_version, tls.max_version, &tls.ciphers);
    if !unknown.is_empty() {
        // The original's defaults hold some.
        info!(ciphers = unknown.join(","), "cipher suites that are not offered");
    }
    let auth = if tls.client_ca.is_some() {
        ClientAuth::Optional
    } else {
        ClientAuth::None
    };
    Ok((
        material.acceptor_with(auth, &[b"h2", b"http/1.1"], protocols),
        watch,
    ))
}
