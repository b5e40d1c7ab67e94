//! A process asks its own admin port whether it is ready: what a container's health check runs.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Bound on connecting and on each read and write.
const BOUND: Duration = Duration::from_secs(2);
/// What is read of the answer: the status line is in it.
const HEAD: usize = 64;

/// Whether `GET /ready` on the admin port answers 200. An unspecified address is asked on the loopback interface.
///
/// # Errors
/// There is no answer within the bound.
pub(crate) fn ready(admin: SocketAddr) -> std::io::Result<bool> {
    let address = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, admin.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, admin.port()).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => admin,
    };
    let mut stream = TcpStream::connect_timeout(&address, BOUND)?;
    stream.set_read_timeout(Some(BOUND))?;
    stream.set_write_timeout(Some(BOUND))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; HEAD];
    let mut length = 0;
    while let Some(room) = head.get_mut(length..).filter(|room| !room.is_empty()) {
        match stream.read(room)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(head.starts_with(b"HTTP/1.1 200 "))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answer(text: &'static str) -> std::io::Result<bool> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, listener.local_addr().unwrap().port()));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of it: closing with something unread would reset the connection.
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                request.extend_from_slice(&byte);
            }
            assert!(request.starts_with(b"GET /ready "));
            stream.write_all(text.as_bytes()).unwrap();
        });
        let told = ready(address);
        server.join().unwrap();
        told
    }

    #[test]
    fn only_200_is_ready() {
        assert!(answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap());
        assert!(!answer("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap());
        assert!(!answer("HTTP/1.1 2").unwrap());
    }

    #[test]
    fn nobody_there_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(ready(address).is_err());
    }
}
