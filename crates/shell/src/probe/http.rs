//! A process asks its own admin port whether it is ready: what a container's health check runs.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Bound on connecting and on each read and write.
const BOUND: Duration = Duration::from_secs(2);
/// What is read of the answer.
const MOST: u64 = 16 << 10;

/// What the admin port says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// It answers 200.
    pub(crate) ready: bool,
    /// What it says to it, such as what is missing: lines without an end.
    pub(crate) text: String,
}

/// Asks for `/ready`. An unspecified address is asked on the loopback interface.
///
/// # Errors
/// There is no answer within the bound.
pub(crate) fn ready(admin: SocketAddr) -> std::io::Result<Answer> {
    let address = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, admin.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, admin.port()).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => admin,
    };
    let mut stream = TcpStream::connect_timeout(&address, BOUND)?;
    stream.set_read_timeout(Some(BOUND))?;
    stream.set_write_timeout(Some(BOUND))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(MOST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok(Answer {
        ready: text.starts_with("HTTP/1.1 200 "),
        text: body.trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answer(text: &'static str) -> std::io::Result<Answer> {
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
            assert!(request.starts_with(b"GET /ready HTTP/1.1\r\n"));
            stream.write_all(text.as_bytes()).unwrap();
        });
        let answer = ready(address);
        server.join().unwrap();
        answer
    }

    #[test]
    fn what_is_missing_is_told() {
        let cases = [
            ("HTTP/1.1 200 OK\r\n\r\nready\n", true, "ready"),
            (
                "HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nnot ready: store\nnote\n",
                false,
                "not ready: store\nnote",
            ),
            ("HTTP/1.1 2", false, ""),
            ("", false, ""),
        ];
        for (text, ready, want) in cases {
            let want = Answer {
                ready,
                text: want.to_owned(),
            };
            assert_eq!(answer(text).unwrap(), want, "{text:?}");
        }
    }

    #[test]
    fn nobody_there_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(ready(address).is_err());
    }
}
