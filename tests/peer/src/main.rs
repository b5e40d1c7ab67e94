//! `trireme-peer hold`: does nothing, for as long as a pod's network is needed. `trireme-peer serve PORT`: an upstream that
//! answers every request with the pets that the quick start asks for.
//!
//! It is linked statically and is all that an image `FROM scratch` holds, hence the standard library alone: HTTP/1.1 as the
//! router speaks it to an upstream, one thread a connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;

/// The answer to everything, as the Petstore gives it to `findByStatus`.
const PETS: &str = r#"[{"id":1,"name":"Rex","photoUrls":[],"status":"available"}]"#;
/// Greatest request head, bytes.
const MAX_HEAD: u64 = 128 << 10;
/// Greatest request body, bytes.
const MAX_BODY: u64 = 16 << 20;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["hold"] => loop {
            std::thread::park();
        },
        ["serve", port] => match port.parse() {
            Ok(port) => serve(port),
            Err(error) => {
                eprintln!("port: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("trireme-peer hold | serve PORT");
            ExitCode::FAILURE
        }
    }
}

fn serve(port: u16) -> ExitCode {
    let listener = match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            // A connection that breaks is the peer's affair.
            while let Ok(true) = answer(&stream) {}
        });
    }
    ExitCode::SUCCESS
}

/// Answers one request; whether another may follow.
fn answer(mut stream: &TcpStream) -> std::io::Result<bool> {
    stream.set_nodelay(true)?;
    // What is read ahead is lost with the reader: callers here send a request after the answer to the one before.
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    let mut head = reader.by_ref().take(MAX_HEAD);
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        let text = line.trim_end();
        if text.is_empty() {
            break;
        }
        if let Some((name, value)) = text.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(std::io::Error::other("a body without a length"));
            }
        }
    }
    if length > MAX_BODY {
        return Err(std::io::Error::other("a body too large"));
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{PETS}",
        PETS.len()
    );
    stream.write_all(answer.as_bytes())?;
    Ok(true)
}
