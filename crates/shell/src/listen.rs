//! Sockets that are listened on. Every worker has its own on the same port (`SO_REUSEPORT`); the kernel spreads connections.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that wait to be accepted, a socket.
const BACKLOG: i32 = 1024;

/// Binds `count` sockets (one at least) to one address; port 0 lets the system choose one for all of them. They do not
/// block, and take no connection before [`start`].
///
/// # Errors
/// The address is not to be had. Nobody else may listen on the port: `SO_REUSEPORT` alone would share it with any process of
/// the same user.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    drop(socket(address, false)?);
    join(address, count)
}

/// As [`bind`], for a port of which this process has sockets already.
///
/// # Errors
/// The address is not to be had.
pub fn join(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = listener(address)?;
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(listener(bound)?);
    }
    Ok((bound, listeners))
}

/// Lets a bound socket take connections.
///
/// # Errors
/// Another process listens on the port by now.
pub fn start(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).listen(BACKLOG)
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_taken_in_before_the_start() {
        let (address, sockets) = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
        let call = || std::net::TcpStream::connect(address).map(drop);
        assert_eq!(call().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        for socket in &sockets {
            start(socket).unwrap();
        }
        call().unwrap();
    }

    #[test]
    fn a_port_belongs_to_one_process_and_its_workers() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, sockets) = bind(any, 3).unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(sockets.len(), 3);
        for socket in &sockets {
            assert_eq!(socket.local_addr().unwrap(), address);
            start(socket).unwrap();
        }
        assert_eq!(bind(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(join(address, 2).unwrap().0, address);
        drop(sockets);
        assert_eq!(bind(address, 1).unwrap().0, address);
    }
}
