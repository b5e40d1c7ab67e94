//! PROXY headers, by which a balancer that passes bytes on tells whose they are: versions 1 (text) and 2 (binary) of HAProxy's
//! `proxy-protocol.txt`. What is not as written there ends the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::peer::Ends;
use crate::places::canonical;

/// Why a connection does not begin with a PROXY header.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("malformed PROXY header: {0}")]
    Malformed(&'static str),
}

/// Greatest header of version 1, and what no such header is shorter than: `PROXY UNKNOWN\r\n`.
const LONGEST: usize = 107;
const SHORTEST: usize = 15;
/// Greatest header of version 2 that is taken: addresses of any kind and some kilobyte of further facts.
const LONGEST_BINARY: usize = 2048;
const TEXT: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and protocol, and the length of what follows.
const FIXED: usize = SIGNATURE.len() + 4;

/// What the bytes read so far are.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// A whole header, and both ends if it names them.
    Header(Option<(SocketAddr, SocketAddr)>),
    /// The beginning of one: it has at least as many bytes.
    AtLeast(usize),
    /// The beginning of a line: it ends with the first line feed.
    Line,
}

/// Reads the header, and nothing beyond it, and gives the ends that it names. They are those of the socket where it names none.
/// None when the connection ends without a byte, as those do that only look whether the port is open.
///
/// # Errors
/// What is not a header, and the end of the connection. It takes as long as the bytes take to come.
pub(super) async fn read(stream: &mut TcpStream, socket: Ends) -> Result<Option<Ends>, ProxyError> {
    let mut header = Vec::with_capacity(FIXED);
    loop {
        let more = match parse(&header).map_err(ProxyError::Malformed)? {
            Parsed::Header(None) => return Ok(Some(socket)),
            Parsed::Header(Some((peer, local))) => {
                return Ok(Some(Ends {
                    peer,
                    local: Some(local),
                    ..socket
                }));
            }
            Parsed::AtLeast(least) => least - header.len(),
            Parsed::Line => to_line_feed(stream, LONGEST - header.len()).await?,
        };
        let mut limited = (&mut *stream).take(more as u64);
        match limited.read_buf(&mut header).await? {
            0 if header.is_empty() => return Ok(None),
            0 => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            _ => {}
        }
    }
}

/// How many of the bytes that are here, of `most`, belong to the line.
async fn to_line_feed(stream: &TcpStream, most: usize) -> std::io::Result<usize> {
    let mut ahead = [0; LONGEST];
    let ahead = ahead.get_mut(..most).unwrap_or_default();
    let here = stream.peek(ahead).await?;
    let end = ahead.iter().take(here).position(|byte| *byte == b'\n');
    // At the end of the stream the next read says so.
    Ok(end.map_or(here.max(1), |end| end + 1))
}

fn parse(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, wanted)| byte == wanted);
    if bytes.is_empty() {
        Ok(Parsed::AtLeast(SHORTEST))
    } else if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(TEXT) {
        text(bytes)
    } else {
        Err("neither version begins like this")
    }
}

fn text(bytes: &[u8]) -> Result<Parsed, &'static str> {
    if bytes.len() < SHORTEST {
        return Ok(Parsed::AtLeast(SHORTEST));
    }
    let Some((b'\n', line)) = bytes.split_last() else {
        return match bytes.len() < LONGEST {
            true if bytes.contains(&b'\n') => Err("more than a line"),
            true => Ok(Parsed::Line),
            false => Err("line too long"),
        };
    };
    let line = line
        .strip_suffix(b"\r")
        .ok_or("the line does not end with CR and LF")?;
    let line = std::str::from_utf8(line).map_err(|_| "not ASCII")?;
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        // Whatever follows is to be passed over.
        return Ok(Parsed::Header(None));
    }
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            Some("TCP4") => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            Some("TCP6") => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let from = address().ok_or("source address")?;
    let to = address().ok_or("destination address")?;
    let from = SocketAddr::new(canonical(from), port(words.next()).ok_or("source port")?);
    let to = SocketAddr::new(canonical(to), port(words.next()).ok_or("destination port")?);
    match words.next() {
        None => Ok(Parsed::Header(Some((from, to)))),
        Some(_) => Err("something after the ports"),
    }
}

/// A port in decimal, without any zeros before it.
fn port(word: Option<&str>) -> Option<u16> {
    let word = word?;
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    plain.then(|| word.parse().ok()).flatten()
}

fn binary(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Parsed::AtLeast(FIXED));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 {
        return Err("version");
    }
    if FIXED + length > LONGEST_BINARY {
        return Err("too long");
    }
    if rest.len() < length {
        return Ok(Parsed::AtLeast(FIXED + length));
    }
    // What follows the addresses are further facts, which nobody here needs.
    match (command & 0xf, family) {
        // The balancer itself, about its health.
        (0, _) => Ok(Parsed::Header(None)),
        (1, 0x00) => Ok(Parsed::Header(None)),
        (1, 0x11) => ends::<4>(rest),
        (1, 0x21) => ends::<16>(rest),
        (1, _) => Err("family or protocol"),
        _ => Err("command"),
    }
}

/// Two addresses of `N` bytes and two ports.
fn ends<const N: usize>(bytes: &[u8]) -> Result<Parsed, &'static str>
where
    IpAddr: From<[u8; N]>,
{
    let split = || {
        let (from, rest) = bytes.split_first_chunk::<N>()?;
        let (to, rest) = rest.split_first_chunk::<N>()?;
        let (from_port, rest) = rest.split_first_chunk::<2>()?;
        let (to_port, _) = rest.split_first_chunk::<2>()?;
        let end = |address: &[u8; N], port: &[u8; 2]| {
            SocketAddr::new(canonical(IpAddr::from(*address)), u16::from_be_bytes(*port))
        };
        Some((end(from, from_port), end(to, to_port)))
    };
    let ends = split().ok_or("too short for its addresses")?;
    Ok(Parsed::Header(Some(ends)))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// A header of version 2.
    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, body].concat()
    }

    /// Both ends, where a header names them.
    type Named = Option<(SocketAddr, SocketAddr)>;

    fn ends(from: &str, to: &str) -> Named {
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0, 80];

    /// Whole headers, and what they say.
    fn good() -> Vec<(Vec<u8>, Named)> {
        let four = ends("192.0.2.1:4711", "198.51.100.2:80");
        let mut six = [0; 36];
        (six[0], six[15], six[16], six[31]) = (0x20, 1, 0x20, 2);
        six[32..].copy_from_slice(&[0xff, 0xff, 0, 0]);
        let long = [FOUR.as_slice(), &[4; 1000]].concat();
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST - 16));
        assert_eq!(longest.len(), LONGEST);
        vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\n".to_vec(), four),
            (
                b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n".to_vec(),
                ends("0.0.0.0:0", "255.255.255.255:65535"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec(),
                ends("[2001:db8::1]:1", "[::1]:2"),
            ),
            (
                b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 4711 80\r\n".to_vec(),
                four,
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (longest.into_bytes(), None),
            (v2(0x21, 0x11, &FOUR), four),
            (v2(0x21, 0x11, &long), four),
            (v2(0x21, 0x21, &six), ends("[2000::1]:65535", "[2000::2]:0")),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &FOUR), None),
        ]
    }

    #[test]
    fn whole_headers_and_all_their_beginnings() {
        for (header, want) in good() {
            let name = String::from_utf8_lossy(&header).into_owned();
            assert_eq!(parse(&header), Ok(Parsed::Header(want)), "{name}");
            for end in 0..header.len() {
                match parse(&header[..end]) {
                    Ok(Parsed::AtLeast(least)) => {
                        assert!(end < least && least <= header.len(), "{name} at {end}")
                    }
                    Ok(Parsed::Line) => assert_eq!(header[0], b'P', "{name} at {end}"),
                    other => panic!("{name} at {end}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_is_no_header() {
        let cases: [(&[u8], &str); 27] = [
            (b"GET / HTTP/1.1\r\n", "neither version begins like this"),
            (b"\x16\x03\x01", "neither version begins like this"),
            (b"\r\n\r\n\0\r\nQUIX", "neither version begins like this"),
            (b"PROXY\tTCP4", "neither version begins like this"),
            (b"proxy TCP4", "neither version begins like this"),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n",
                "the line does not end with CR and LF",
            ),
            (b"PROXY TCP4\r\n192.0.2.1 198.51.100.2 1 2", "more than a line"),
            (b"PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n", "source address"),
            (b"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n", "source address"),
            (b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n", "source address"),
            (b"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", "source address"),
            (b"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n", "source address"),
            (b"PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n", "source address"),
            (b"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n", "source address"),
            (b"PROXY UNKNOWNX 192.0.2.1\r\n", "source address"),
            (b"PROXY TCP4 192.0.2.1 \r\n", "destination address"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n", "source port"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n", "source port"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n", "source port"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n", "destination port"),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
                "something after the ports",
            ),
            (&v2(0x11, 0x11, &FOUR), "version"),
            (&v2(0x22, 0x11, &FOUR), "command"),
            (&v2(0x21, 0x12, &FOUR), "family or protocol"),
            (&v2(0x21, 0x31, &[0; 216]), "family or protocol"),
            (&v2(0x21, 0x11, &FOUR[..11]), "too short for its addresses"),
            (&v2(0x21, 0x11, &[0; 2033]), "too long"),
        ];
        for (bytes, want) in cases {
            assert_eq!(parse(bytes), Err(want), "{}", String::from_utf8_lossy(bytes));
        }
        let endless = [b'P', b'R', b'O', b'X', b'Y', b' '].iter().copied();
        let endless: Vec<u8> = endless.chain([b'1'; 200]).take(LONGEST).collect();
        assert_eq!(parse(&endless), Err("line too long"));
    }

    /// What `read` makes of bytes that come one by one or at once, and what it leaves of them.
    async fn through(bytes: &[u8], one_by_one: bool) -> (Result<Ends, String>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        caller.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let send = async {
            for piece in bytes.chunks(if one_by_one { 1 } else { bytes.len().max(1) }) {
                caller.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            caller.shutdown().await.unwrap();
        };
        let read = async {
            let socket = Ends::of("10.0.0.9:9".parse().unwrap(), None);
            let ends = read(&mut stream, socket).await;
            let ends = ends
                .map_err(|error| error.to_string())
                .and_then(|ends| ends.ok_or_else(|| "nothing".to_owned()));
            let mut rest = Vec::new();
            if ends.is_ok() {
                stream.read_to_end(&mut rest).await.unwrap();
            }
            (ends, rest)
        };
        tokio::join!(send, read).1
    }

    #[tokio::test]
    async fn nothing_is_read_beyond_the_header() {
        for (header, want) in good() {
            for one_by_one in [false, true] {
                let bytes = [header.as_slice(), b"\n\x16\x03rest"].concat();
                let (ends, rest) = through(&bytes, one_by_one).await;
                let ends = ends.unwrap();
                let socket: SocketAddr = "10.0.0.9:9".parse().unwrap();
                assert_eq!(ends.direct, socket);
                assert_eq!(ends.peer, want.map_or(socket, |(from, _)| from));
                assert_eq!(ends.local, want.map(|(_, to)| to));
                assert_eq!(rest, b"\n\x16\x03rest", "{}", String::from_utf8_lossy(&header));
            }
        }
    }

    #[tokio::test]
    async fn a_header_that_ends_early_is_none() {
        for (header, _) in good() {
            assert_eq!(through(b"", false).await.0, Err("nothing".to_owned()));
            for end in [1, 6, 14, header.len() - 1] {
                let (ends, _) = through(&header[..end], false).await;
                assert!(
                    ends.is_err_and(|error| error != "nothing"),
                    "{} at {end}",
                    String::from_utf8_lossy(&header)
                );
            }
        }
    }
}
