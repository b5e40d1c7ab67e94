//! Upstream addresses: their text form and the groups they come in.

use super::endpoint_config::EndpointConfig;

/// A group of upstream addresses with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointCluster {
    /// How the addresses relate.
    pub balance: Balance,
    /// At least one address; with [`Balance::Failover`] in order of preference.
    pub endpoints: Vec<Endpoint>,
    /// Timeouts, retries, thresholds.
    pub config: EndpointConfig,
    /// Name in [`crate::ApiProject::named_endpoints`] when the project refers to that group instead of listing its own.
    pub reference: Option<String>,
}

/// How the addresses of a cluster relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Balance {
    /// The first that is well.
    Failover,
    /// All take turns.
    RoundRobin,
}

/// One upstream address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Scheme.
    pub scheme: Scheme,
    /// Host name or IPv4 address.
    pub host: String,
    /// Port; the scheme's default when the text has none.
    pub port: u16,
    /// Path in front of every request path; empty or starting with `/`, as written but for what may not stand in a path (RFC 3986
    /// section 3.3), letters beyond ASCII above all, which is percent-encoded.
    pub base_path: String,
    /// The text, trimmed and with a scheme: the key of the certificate map.
    pub url: String,
    /// `<query>` of a `consul(<query>,<default URL>)` expression; the rest is the default address.
    pub consul: Option<String>,
}

/// Scheme of an upstream address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// Plain WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Scheme {
    /// The upstream connection uses TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }

    /// Its port where an address has none.
    #[must_use]
    pub fn port(self) -> u16 {
        if self.is_tls() { 443 } else { 80 }
    }

    /// Lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// Why a text is no upstream address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Nothing but blanks.
    #[error("endpoint is empty")]
    Blank,
    /// `consul(…)` that has not two parts, or is not allowed.
    #[error("consul expression must be consul(<query>,<default URL>), and Consul must be enabled")]
    Consul,
    /// Blanks or control characters inside.
    #[error("endpoint {0:?} has blanks or control characters")]
    Characters(String),
    /// Host missing or with characters that host names don't have.
    #[error(
        "host {0:?} must be two or more letters, digits, '.' or '-', starting and ending with a letter or digit"
    )]
    Host(String),
    /// Host missing or with characters that no name has.
    #[error(
        "host {0:?} must have only letters, digits, '.', '-' and '_', and begin and end with none of '.' and '-'"
    )]
    Name(String),
    /// Port out of range.
    #[error("port {0:?} is not in 1..65535")]
    Port(String),
    /// A path alone.
    #[error("endpoint {0:?} is a path without a host")]
    Relative(String),
    /// A scheme and a single slash.
    #[error("endpoint {0:?} lacks a slash after its scheme")]
    Slash(String),
    /// Another scheme than http, https, ws or wss.
    #[error("scheme {0:?} is none of http, https, ws, wss")]
    Scheme(String),
}

/// Which hosts an address may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostNames {
    /// Whatever a resolver may know.
    Any,
    /// The contract's, for projects (spec/adapter.md 4.4).
    Contract,
}

/// Whether a text begins with what may be a scheme (RFC 3986 section 3.1) and a single slash, which would make a host of the scheme.
pub(crate) fn is_cut_short(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    rest.starts_with('/')
        && !rest.starts_with("//")
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

impl Endpoint {
    /// Reads an address. Without a scheme it is `default`'s; query and fragment are dropped, as is a user name.
    ///
    /// # Errors
    /// When the text is none: see [`InvalidEndpoint`].
    pub fn parse(text: &str, default: Scheme) -> Result<Self, InvalidEndpoint> {
        Self::parse_named(text, default, HostNames::Contract)
    }

    /// As [`Self::parse`], with hosts of other names.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn parse_named(
        text: &str,
        default: Scheme,
        hosts: HostNames,
    ) -> Result<Self, InvalidEndpoint> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidEndpoint::Blank);
        }
        if text.starts_with('/') {
            return Err(InvalidEndpoint::Relative(text.to_owned()));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(InvalidEndpoint::Characters(text.to_owned()));
        }
        let url = if text.contains("://") {
            text.to_owned()
        } else if is_cut_short(text) {
            return Err(InvalidEndpoint::Slash(text.to_owned()));
        } else {
            format!("{}://{text}", default.as_str())
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "ws" => Scheme::Ws,
            "wss" => Scheme::Wss,
            _ => return Err(InvalidEndpoint::Scheme(scheme.to_owned())),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or("");
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'))
        {
            // No port is the scheme's (RFC 3986 section 3.2.3), but where a scheme stands twice it is none.
            Some((host, "")) if !path.starts_with("//") => (host, scheme.port()),
            Some((host, port)) => {
                // The standard library takes a sign as well.
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                let number = port.parse::<u16>().ok().filter(|number| digits && *number > 0);
                (
                    host,
                    number.ok_or_else(|| InvalidEndpoint::Port(port.to_owned()))?,
                )
            }
            None => (authority, scheme.port()),
        };
        match hosts {
            HostNames::Any if !is_name(host) => return Err(InvalidEndpoint::Name(host.to_owned())),
            HostNames::Contract if !is_host(host) => return Err(InvalidEndpoint::Host(host.to_owned())),
            HostNames::Any | HostNames::Contract => {}
        }
        let (host, base_path) = (host.to_owned(), encoded(path));
        Ok(Self {
            scheme,
            host,
            port,
            base_path,
            url,
            consul: None,
        })
    }

    /// Reads an address or a `consul(<query>,<default URL>)` expression; the latter only when `consul` allows.
    ///
    /// # Errors
    /// As [`Self::parse`], and for a malformed or unwelcome expression.
    pub fn parse_discovered(text: &str, default: Scheme, consul: bool) -> Result<Self, InvalidEndpoint> {
        Self::parse_discovered_named(text, default, consul, HostNames::Contract)
    }

    /// As [`Self::parse_discovered`], with hosts of other names.
    ///
    /// # Errors
    /// As [`Self::parse_discovered`].
    pub(crate) fn parse_discovered_named(
        text: &str,
        default: Scheme,
        consul: bool,
        hosts: HostNames,
    ) -> Result<Self, InvalidEndpoint> {
        let text = text.trim();
        let Some(inner) = text
            .strip_prefix("consul")
            .map(str::trim_start)
            .and_then(|rest| rest.strip_prefix('('))
        else {
            return Self::parse_named(text, default, hosts);
        };
        let parts = inner
            .trim_end()
            .strip_suffix(')')
            .and_then(|inner| inner.rsplit_once(','));
        let Some((query, address)) = parts.filter(|(query, _)| consul && !query.trim().is_empty()) else {
            return Err(InvalidEndpoint::Consul);
        };
        Ok(Self {
            consul: Some(query.trim().to_owned()),
            ..Self::parse_named(address, default, hosts)?
        })
    }
}

/// A path as it goes over the wire: escapes as they are, everything else that may not stand in a path escaped.
fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for (at, byte) in path.bytes().enumerate() {
        let digits = path.as_bytes().get(at + 1..at + 3).unwrap_or_default();
        let is_escape = byte == b'%' && digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit);
        if is_escape || byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A name that a resolver may know: those of containers have underscores, and one letter is enough. No IPv6.
fn is_name(host: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = host.as_bytes();
    bytes.len() <= 253
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// The original's rule: two characters or more, no underscore, no IPv6.
fn is_host(host: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = host.as_bytes();
    bytes.len() >= 2
        && bytes.len() <= 253
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            (
                "http://localhost",
                "http://localhost",
                "http",
                "localhost",
                80,
                "",
            ),
            (
                " https://api.example.com/v1/ ",
                "https://api.example.com/v1/",
                "https",
                "api.example.com",
                443,
                "/v1/",
            ),
            ("backend:8080", "http://backend:8080", "http", "backend", 8080, ""),
            (
                "HTTPS://10.0.0.1:8443/a?b=c#d",
                "HTTPS://10.0.0.1:8443/a?b=c#d",
                "https",
                "10.0.0.1",
                8443,
                "/a",
            ),
            (
                "wss://chat.example.com",
                "wss://chat.example.com",
                "wss",
                "chat.example.com",
                443,
                "",
            ),
            (
                "http://u:p@host.example?x=/y",
                "http://u:p@host.example?x=/y",
                "http",
                "host.example",
                80,
                "",
            ),
            (
                "http://host/\u{fc}/\u{1f600}%c3%BC/%/%4x/{a}\"b\\c~(d);e=f,@:",
                "http://host/\u{fc}/\u{1f600}%c3%BC/%/%4x/{a}\"b\\c~(d);e=f,@:",
                "http",
                "host",
                80,
                "/%C3%BC/%F0%9F%98%80%c3%BC/%25/%254x/%7Ba%7D%22b%5Cc~(d);e=f,@:",
            ),
        ];
        for (text, url, scheme, host, port, path) in cases {
            let got = Endpoint::parse(text, Scheme::Http).unwrap();
            let got = (
                got.url.as_str(),
                got.scheme.as_str(),
                got.host.as_str(),
                got.port,
                got.base_path.as_str(),
            );
            assert_eq!(got, (url, scheme, host, port, path), "{text}");
        }
        assert_eq!(Endpoint::parse("host", Scheme::Ws).unwrap().url, "ws://host");
        for (url, port) in [("http://ab:", 80), ("https://ab:/x", 443), ("wss://ab:?q", 443)] {
            assert_eq!(Endpoint::parse(url, Scheme::Http).unwrap().port, port, "{url}");
        }
    }

    #[test]
    fn hosts_of_other_names() {
        for (host, is_one) in [
            ("x", true),
            ("my_service_1", true),
            ("_a", true),
            ("", false),
            ("-a", false),
            ("a.", false),
            ("[::1]", false),
            ("a{b}", false),
        ] {
            let got = Endpoint::parse_named(&format!("http://{host}/p"), Scheme::Http, HostNames::Any);
            let wanted = if is_one {
                Ok(host.to_owned())
            } else {
                Err(InvalidEndpoint::Name(host.to_owned()))
            };
            assert_eq!(got.map(|endpoint| endpoint.host), wanted);
        }
    }

    #[test]
    fn no_addresses() {
        use InvalidEndpoint as E;
        let cases = [
            ("", E::Blank),
            ("/v1", E::Relative("/v1".into())),
            ("http://", E::Host(String::new())),
            ("http://x", E::Host("x".into())),
            ("http://a_b", E::Host("a_b".into())),
            ("http://[::1]:80", E::Host("[::1]".into())),
            (
                "http://{region}.example.com",
                E::Host("{region}.example.com".into()),
            ),
            ("http://-ab", E::Host("-ab".into())),
            ("http://ab:0", E::Port("0".into())),
            ("http://ab:65536", E::Port("65536".into())),
            ("http://ab:+80", E::Port("+80".into())),
            ("http://ab://cd", E::Port(String::new())),
            ("http://:/x", E::Host(String::new())),
            ("ftp://ab", E::Scheme("ftp".into())),
            ("http://a b", E::Characters("http://a b".into())),
            ("http://ab/\u{0}", E::Characters("http://ab/\u{0}".into())),
        ];
        for (text, want) in cases {
            assert_eq!(Endpoint::parse(text, Scheme::Http).unwrap_err(), want, "{text:?}");
        }
    }

    #[test]
    fn consul() {
        let text = " consul( dc1.orders.[a,b] , https://orders.example.com/v1 ) ";
        let got = Endpoint::parse_discovered(text, Scheme::Http, true).unwrap();
        assert_eq!(
            (got.consul.as_deref(), got.url.as_str()),
            (Some("dc1.orders.[a,b]"), "https://orders.example.com/v1")
        );
        for (text, allowed) in [
            (text, false),
            ("consul(x)", true),
            ("consul(,http://ab)", true),
            ("consul(a,http://ab", true),
        ] {
            let got = Endpoint::parse_discovered(text, Scheme::Http, allowed);
            assert_eq!(got.unwrap_err(), InvalidEndpoint::Consul, "{text}");
        }
    }
}
