//! What stands before ready pods in a cluster: new connections go to one of them, open ones stay where they are.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Balances connections over pods, on a free loopback port. Ends when dropped; open connections go on.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    backends: Arc<Mutex<Vec<SocketAddr>>>,
    task: JoinHandle<()>,
}

impl Balancer {
    /// Starts it, with nothing behind it.
    ///
    /// # Errors
    /// No loopback port can be bound.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let backends = Arc::new(Mutex::new(Vec::<SocketAddr>::new()));
        let known = Arc::clone(&backends);
        let task = tokio::spawn(async move {
            let turn = AtomicUsize::new(0);
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let backend = {
                    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    let turn = turn.fetch_add(1, Ordering::Relaxed);
                    known
                        .get(turn.checked_rem(known.len()).unwrap_or_default())
                        .copied()
                };
                // Without one, closed at once: what a caller sees where nothing is ready.
                if let Some(backend) = backend {
                    tokio::spawn(forward(stream, backend));
                }
            }
        });
        Ok(Self {
            address,
            backends,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections there too.
    pub fn add(&self, backend: SocketAddr) {
        self.known().push(backend);
    }

    /// Sends no new connections there.
    pub fn remove(&self, backend: SocketAddr) {
        self.known().retain(|other| *other != backend);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<SocketAddr>> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut stream: TcpStream, backend: SocketAddr) {
    let Ok(mut onward) = TcpStream::connect(backend).await else {
        return;
    };
    if stream.set_nodelay(true).and(onward.set_nodelay(true)).is_err() {
        return;
    }
    // A connection that breaks is seen by both ends.
    drop(tokio::io::copy_bidirectional(&mut stream, &mut onward).await);
}
