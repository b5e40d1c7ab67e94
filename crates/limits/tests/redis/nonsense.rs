//! Servers that are no Redis.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;
use trireme_limits::{Counters, Mode, Outcome, Server, SharedSettings, Window};
use trireme_telemetry::Metrics;

use crate::server::{limit, metric, settings, take};

/// Answers every read with the same bytes.
struct Parrot {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Parrot {
    fn start(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                serve(&connection.unwrap(), &answers);
            }
        });
        Self {
            port,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let (Ok(_) | Err(_)) = TcpStream::connect(("127.0.0.1", self.port));
        let (Ok(()) | Err(_)) = self.thread.take().unwrap().join();
    }
}

/// The answers in turn, the last one again and again, until the other end has enough.
fn serve(mut connection: &TcpStream, answers: &[Vec<u8>]) {
    connection
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let mut turn = 0;
    let mut request = [0; 65_536];
    while connection.read(&mut request).is_ok_and(|read| read > 0) {
        let answer = &answers[turn.min(answers.len() - 1)];
        if connection.write_all(answer).is_err() {
            return;
        }
        turn += 1;
    }
}

const DIGEST: &[u8] = b"$40\r\n0123456789012345678901234567890123456789\r\n";

#[tokio::test]
async fn what_is_no_answer_is_a_failure() {
    let greeting = |answer: &[u8]| vec![answer.to_vec()];
    let after = |answer: &[u8]| vec![DIGEST.to_vec(), answer.to_vec()];
    let nested = b"*1\r\n".repeat(500);
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        (
            "another protocol",
            greeting(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        ),
        ("zeros", greeting(&[0; 1_000])),
        ("no digest", greeting(b"+OK\r\n")),
        ("a short digest", greeting(b"$3\r\nabc\r\n")),
        ("endless text", greeting(&[b'+'; 1 << 20])),
        (
            "an endless string",
            greeting(&[b"$2147483647\r\n", &[b'x'; 1 << 20][..]].concat()),
        ),
        (
            "a length of its own",
            greeting(b"*9223372036854775807\r\n:1\r\n:1\r\n"),
        ),
        ("a negative length", greeting(b"*-9223372036854775808\r\n")),
        ("a negative map", greeting(b"%-3\r\n:1\r\n")),
        ("a negative attribute", greeting(b"|-1\r\n:1\r\n")),
        ("a negative text", greeting(b"!-5\r\n")),
        ("a push", greeting(b">1\r\n:1\r\n")),
        ("nested without end", greeting(&nested)),
        ("nothing", after(b"*0\r\n")),
        ("text", after(b"+OK\r\n")),
        ("null", after(b"$-1\r\n")),
        ("too many numbers", after(b"*3\r\n:1\r\n:1\r\n:1\r\n")),
        ("a negative number", after(b"*1\r\n:-5\r\n")),
        ("an error", after(b"-ERR what\r\n")),
        ("an error without words", after(b"-\r\n")),
        ("a bad line end", after(b"*1\r:5\r")),
    ];
    for (name, answers) in cases {
        let parrot = Parrot::start(answers);
        let metrics = Metrics::new();
        let counters = Counters::shared(quick(parrot.port), [0; 16], &metrics);
        assert!(!counters.started().await, "{name}");
        let decision = take(&counters, &[limit(b"a", 1, Window::DAY)]).await;
        assert_eq!(decision.outcome, Outcome::Unavailable { admit: false }, "{name}");
    }
}

/// A server that seems one until it is asked.
#[tokio::test]
async fn nonsense_after_a_good_beginning() {
    let far = format!("*4\r\n:1000\r\n:0\r\n:1\r\n:{}\r\n", u64::MAX / 2);
    let cases: [&[u8]; 7] = [
        b"*4\r\n:1000\r\n:7\r\n:1\r\n:86400000\r\n",
        b"*4\r\n:1000\r\n:0\r\n:1\r\n:900\r\n",
        b"*4\r\n:1000\r\n:0\r\n:-1\r\n:86400000\r\n",
        b"*4\r\n:1000\r\n:0\r\n+1\r\n:86400000\r\n",
        b"*2\r\n:1000\r\n:0\r\n",
        far.as_bytes(),
        &[b'x'; 1 << 20],
    ];
    for (number, answer) in cases.into_iter().enumerate() {
        let parrot = Parrot::start(vec![
            DIGEST.to_vec(),
            b"*1\r\n:1000\r\n".to_vec(),
            answer.to_vec(),
        ]);
        let metrics = Metrics::new();
        let counters = Counters::shared(quick(parrot.port), [0; 16], &metrics);
        assert!(counters.started().await, "{number}");
        let begun = Instant::now();
        let decision = take(&counters, &[limit(b"a", 1, Window::DAY)]).await;
        assert_eq!(
            decision.outcome,
            Outcome::Unavailable { admit: false },
            "{number}"
        );
        assert!(
            begun.elapsed() < Duration::from_millis(900),
            "{number}: {:?}",
            begun.elapsed()
        );
        let failures = metric(&metrics, "trireme_limit_redis_failures_total{kind=\"nonsense\"}");
        assert!(
            failures >= 1.0,
            "{number}: {}",
            metrics.encode(trireme_telemetry::Format::Text)
        );
    }
}

fn quick(port: u16) -> SharedSettings {
    SharedSettings {
        server: Server::parse(&format!("redis://127.0.0.1:{port}")).unwrap(),
        wait: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(300),
        ..settings(Mode::Ask)
    }
}
