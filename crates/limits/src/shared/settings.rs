//! Where Redis is, and how far it is waited for.

use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use trireme_tls::Connector;

/// A Redis server.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// DNS name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Number of the database.
    pub database: u16,
    /// User of the access list; none is Redis's `default`.
    pub username: Option<String>,
    /// Password. Never printed.
    pub password: Option<String>,
    /// Whether the URL asks for TLS.
    pub secure: bool,
}

/// Why a text is no URL of a Redis server. The text itself is not repeated, as it may hold a password.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidUrl {
    /// Neither `redis://` nor `rediss://`.
    #[error("a Redis URL begins with redis:// or rediss://")]
    Scheme,
    /// User or password are not percent-encoded UTF-8.
    #[error("user and password of a Redis URL are percent-encoded UTF-8")]
    User,
    /// No host.
    #[error("the Redis URL names no host")]
    Host,
    /// Not a port.
    #[error("the port of the Redis URL is not one of 1 to 65535")]
    Port,
    /// Not a number of a database.
    #[error("the path of the Redis URL is not the number of a database")]
    Database,
}

impl Server {
    /// Reads `redis[s]://[[user]:password@]host[:port][/database]`, as IANA has the scheme registered. No query.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(InvalidUrl::Scheme)?;
        let secure = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(InvalidUrl::Scheme),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (username, password) = match user {
            Some(user) => credentials(user)?,
            None => (None, None),
        };
        let (host, port) = address_of(address)?;
        let database = match path {
            "" => 0,
            number => decimal(number).ok_or(InvalidUrl::Database)?,
        };
        Ok(Self {
            host,
            port,
            database,
            username,
            password,
            secure,
        })
    }
}

/// User and password before the `@`.
fn credentials(text: &str) -> Result<(Option<String>, Option<String>), InvalidUrl> {
    let decoded = |text: &str| -> Result<Option<String>, InvalidUrl> {
        let text = percent_decode_str(text)
            .decode_utf8()
            .map_err(|_| InvalidUrl::User)?;
        Ok((!text.is_empty()).then(|| text.into_owned()))
    };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok((decoded(user)?, decoded(password)?))
}

fn address_of(text: &str) -> Result<(String, u16), InvalidUrl> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(InvalidUrl::Host)?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(InvalidUrl::Port),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let sound = |byte: u8| byte.is_ascii_graphic() && !b"?#[]@/\\%".contains(&byte);
    if host.is_empty() || !host.bytes().all(sound) {
        return Err(InvalidUrl::Host);
    }
    let port = match port {
        None => 6379,
        Some(port) => decimal(port).filter(|port| *port != 0).ok_or(InvalidUrl::Port)?,
    };
    Ok((host.to_owned(), port))
}

/// Digits only: `parse` alone would take a sign.
fn decimal(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("secure", &self.secure)
            .finish()
    }
}

/// How exact shared counters are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every check asks: exact.
    #[default]
    Ask,
    /// Each process takes slices of what is left and counts those itself. Never above a limit; below it by what lies unused
    /// in slices when a window ends. For each process that is one slice: as much as its waiting requests need, or at most
    /// an eighth of what was left when it was taken and about what the process uses in 0.4 s, whichever of these is less.
    Lease,
}

/// What becomes of a request whose limits cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It passes.
    #[default]
    Open,
    /// It is refused.
    Closed,
}

/// How counters are shared. Redis 5 or later, a standalone server; it must not evict what has not expired (`maxmemory-policy`
/// `noeviction`), as an evicted counter begins anew. The user may do with `EVALSHA`, `EVAL`, `SCRIPT LOAD`, `TIME`, `MGET`,
/// `SET` and `SELECT` on keys with the prefix.
#[derive(Clone, Debug)]
pub struct SharedSettings {
    /// The server.
    pub server: Server,
    /// Makes TLS connections, expecting a certificate for the server's host. Required where the server is `secure`: without
    /// it no connection is made.
    pub tls: Option<Connector>,
    /// What keys in Redis begin with, such as `trireme:limits:`. Enforcers with the same share their counters.
    pub prefix: String,
    /// Ask each time, or lease.
    pub mode: Mode,
    /// What becomes of a request when there is no answer.
    pub on_failure: OnFailure,
    /// How long a request waits at most.
    pub wait: Duration,
    /// How long opening a connection may take, authentication included. Together with the pauses between attempts, which
    /// are at most a quarter of a second, it bounds how long it takes to notice that Redis is back.
    pub connect_timeout: Duration,
    /// How many slices are held at most, in [`Mode::Lease`]. Where that is not enough, the smallest of some is given up.
    pub capacity: usize,
}
