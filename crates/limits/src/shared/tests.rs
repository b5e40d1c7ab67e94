use super::settings::InvalidUrl;
use super::*;

#[test]
fn urls_of_servers() {
    let server =
        |host: &str, port, database, username: Option<&str>, password: Option<&str>, secure| Server {
            host: host.to_owned(),
            port,
            database,
            username: username.map(str::to_owned),
            password: password.map(str::to_owned),
            secure,
        };
    let cases = [
        ("redis://redis", server("redis", 6379, 0, None, None, false)),
        ("redis://redis/", server("redis", 6379, 0, None, None, false)),
        (
            "rediss://10.0.0.1:6380/15",
            server("10.0.0.1", 6380, 15, None, None, true),
        ),
        ("redis://[::1]:1/2", server("::1", 1, 2, None, None, false)),
        ("redis://[::1]", server("::1", 6379, 0, None, None, false)),
        (
            "redis://:p%40ss@h",
            server("h", 6379, 0, None, Some("p@ss"), false),
        ),
        (
            "rediss://u:a@b@h",
            server("h", 6379, 0, Some("u"), Some("a@b"), true),
        ),
        ("redis://u@h", server("h", 6379, 0, Some("u"), None, false)),
    ];
    for (url, want) in cases {
        assert_eq!(Server::parse(url), Ok(want), "{url}");
    }
}

#[test]
fn urls_that_are_none() {
    let cases = [
        ("", InvalidUrl::Scheme),
        ("redis", InvalidUrl::Scheme),
        ("http://h", InvalidUrl::Scheme),
        ("redis://", InvalidUrl::Host),
        ("redis://:6379", InvalidUrl::Host),
        ("redis://a b", InvalidUrl::Host),
        ("redis://h?x=1", InvalidUrl::Host),
        ("redis://[::1", InvalidUrl::Host),
        ("redis://[::1]x", InvalidUrl::Port),
        ("redis://h:0", InvalidUrl::Port),
        ("redis://h:", InvalidUrl::Port),
        ("redis://h:+1", InvalidUrl::Port),
        ("redis://h:65536", InvalidUrl::Port),
        ("redis://::1", InvalidUrl::Host),
        ("redis://h/x", InvalidUrl::Database),
        ("redis://h/0/1", InvalidUrl::Database),
        ("redis://%ff:x@h", InvalidUrl::User),
    ];
    for (url, want) in cases {
        assert_eq!(Server::parse(url), Err(want), "{url}");
    }
}

#[test]
fn passwords_are_not_printed() {
    let server = Server::parse("redis://u:s3cret@h").unwrap();
    let text = format!("{server:?}");
    assert!(!text.contains("s3cret") && text.contains("***"), "{text}");
}

#[test]
fn names_in_redis_are_bounded_and_differ() {
    let name = |window, key: &[u8]| {
        let mut name = Vec::new();
        write_name(&mut name, "p:", window, key);
        name
    };
    assert_eq!(name(Window::MINUTE, b"k"), b"p:60000:k");
    let (long, longer) = (
        name(Window::MINUTE, &[b'x'; 257]),
        name(Window::MINUTE, &[b'x'; 5_000]),
    );
    assert_eq!(long.len(), 2 + 5 + 1 + 32);
    assert_ne!(long, longer);
    assert_ne!(name(Window::HOUR, b"k"), name(Window::MINUTE, b"k"));
}
