//! Where requests go: Server Objects (OpenAPI 3), host and schemes (2.0), and the gateway's own extensions.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::node::Node;
use crate::version::Version;

/// An upstream address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// In lower case.
    pub scheme: String,
    /// In lower case, IPv6 addresses in brackets.
    pub host: String,
    /// As written, else the scheme's own.
    pub port: u16,
    /// Empty, or begins with `/` and does not end with one; percent-encoded.
    pub path: String,
}

/// The object that says where an operation's requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// An operation.
    Operation,
    /// A path item.
    Path,
    /// The document.
    Root,
}

/// Where an operation's requests go, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Who says so of production.
    pub level: Level,
    /// The servers as written, of which the first counts; none where an extension says it, or nothing does.
    pub servers: Vec<String>,
    /// Addresses of production; none when nothing says where requests go, or not in full.
    pub production: Vec<Address>,
    /// Addresses of the sandbox.
    pub sandbox: Vec<Address>,
}

/// What may not stand in a path (RFC 3986 section 3.3); escapes stay as written.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'^')
    .add(b'|')
    .add(b'\\')
    .add(b'[')
    .add(b']');

/// A path as it is sent.
pub(crate) fn encoded(path: &str) -> String {
    utf8_percent_encode(path, UNSAFE).to_string()
}

/// What stands before, between and behind the first braces.
pub(crate) fn braces(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (between, behind) = rest.split_once('}')?;
    Some((before, between, behind))
}

impl Address {
    /// Reads an absolute URL; a reference (RFC 3986 section 4.2) is `None`, for nobody knows what it is relative to.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let own_port = match scheme.as_str() {
            "http" | "ws" => 80,
            "https" | "wss" => 443,
            _ => return None,
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, authority)| authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, ""),
        };
        // An empty port is the scheme's (RFC 3986 section 3.2.3).
        let port = if port.is_empty() {
            own_port
        } else {
            port.parse().ok().filter(|port| *port > 0)?
        };
        let is_host = !host.is_empty() && !host.contains(['{', '}', ' ', '/']);
        is_host.then(|| Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
            path: encoded(path.trim_end_matches('/')),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}{}", self.scheme, self.host, self.port, self.path)
    }
}

/// Where an operation's requests go: of the objects that hold it, the innermost that says anything counts.
pub(crate) fn of(version: Version, root: &Node, item: &Node, operation: &Node) -> Source {
    let levels = [
        (Level::Operation, operation),
        (Level::Path, item),
        (Level::Root, root),
    ];
    let extended = [(Level::Path, item), (Level::Root, root)]
        .into_iter()
        .any(|(level, node)| extensions(level, root, node).is_some_and(|said| !said.production.is_empty()));
    let mut said = levels.into_iter().filter_map(|(level, node)| {
        // Schemes are those of the definition's host, which an extension replaces.
        let is_moot = version == Version::V2 && level == Level::Operation && extended;
        let standard = servers(version, level, root, node).filter(|_| !is_moot);
        // No extension is defined for operations (spec/adapter.md 4.4).
        let Some(mut said) = (level != Level::Operation)
            .then(|| extensions(level, root, node))
            .flatten()
        else {
            return standard;
        };
        // At the root, an extension for the sandbox takes production away; on a path it does not.
        if let Some(standard) = standard.filter(|_| said.production.is_empty() && level == Level::Path) {
            (said.servers, said.production) = (standard.servers, standard.production);
        }
        Some(said)
    });
    let mut source = said.next().unwrap_or(Source {
        level: Level::Root,
        servers: Vec::new(),
        production: Vec::new(),
        sandbox: Vec::new(),
    });
    for outer in said {
        // An environment that the inner object's extensions leave out is the outer one's, as is one that servers do not speak of.
        if source.production.is_empty() && source.servers.is_empty() {
            (source.level, source.servers, source.production) =
                (outer.level, outer.servers, outer.production);
        }
        if source.sandbox.is_empty() {
            source.sandbox = outer.sandbox;
        }
    }
    source
}

/// `x-wso2-production-endpoints` and `x-wso2-sandbox-endpoints` (spec/adapter.md 4.4, 4.5): all of their addresses.
fn extensions(level: Level, root: &Node, node: &Node) -> Option<Source> {
    let endpoints = |key: &str| {
        let written = node.get(key)?;
        let named = written
            .text()
            .and_then(|name| name.strip_prefix("#/x-wso2-endpoints/"));
        let object = match named {
            Some(name) => root
                .get("x-wso2-endpoints")?
                .items()?
                .iter()
                .find_map(|entry| entry.get(name))?,
            None => written,
        };
        let urls = object.get("urls")?.items()?.iter().filter_map(Node::text);
        Some(
            urls.filter_map(|url| Address::parse(url).or_else(|| Address::parse(&format!("http://{url}"))))
                .collect::<Vec<_>>(),
        )
    };
    let (production, sandbox) = (
        endpoints("x-wso2-production-endpoints"),
        endpoints("x-wso2-sandbox-endpoints"),
    );
    (production.is_some() || sandbox.is_some()).then(|| Source {
        level,
        servers: Vec::new(),
        production: production.unwrap_or_default(),
        sandbox: sandbox.unwrap_or_default(),
    })
}

/// What the standard's own words say; `None` where they say nothing at this level.
fn servers(version: Version, level: Level, root: &Node, node: &Node) -> Option<Source> {
    let (servers, url) = if version == Version::V2 {
        let url = host(level, root, node)?;
        (vec![url.clone()], url)
    } else {
        // Servers are alternatives, and a gateway takes one for all: the first (faults.md D-M4).
        let servers = node.get("servers")?.items()?;
        let written = servers.iter().map(|server| {
            server
                .get("url")
                .and_then(Node::text)
                .unwrap_or_default()
                .to_owned()
        });
        (written.collect(), server(servers.first()?))
    };
    Some(Source {
        level,
        servers,
        production: Address::parse(&url).into_iter().collect(),
        sandbox: Vec::new(),
    })
}

/// A Server Object's URL with the defaults of its variables (OAS 3.0.3, Server Object, Server Variable Object). A variable without
/// a default stays as it is, and the URL is none then.
fn server(server: &Node) -> String {
    let mut rest = server.get("url").and_then(Node::text).unwrap_or_default();
    let mut url = String::new();
    while let Some((before, name, after)) = braces(rest) {
        let variable = server.get("variables").and_then(|variables| variables.get(name));
        url.push_str(before);
        match variable
            .and_then(|variable| variable.get("default"))
            .and_then(Node::text)
        {
            Some(value) => url.push_str(value),
            None => url.push_str(&format!("{{{name}}}")),
        }
        rest = after;
    }
    url + rest
}

/// `schemes`, `host` and `basePath` of OpenAPI 2.0, where an operation may replace the schemes. HTTPS goes before HTTP, and HTTP is
/// for those that name neither (spec/adapter.md 4.4).
fn host(level: Level, root: &Node, node: &Node) -> Option<String> {
    let own_schemes = node
        .get_any_case("schemes")
        .and_then(Node::items)
        .unwrap_or_default();
    let says = |wanted: &str| {
        let mut schemes = own_schemes.iter().filter_map(Node::text);
        schemes.any(|scheme| scheme.eq_ignore_ascii_case(wanted))
    };
    if level == Level::Path || (level == Level::Operation && !says("http") && !says("https")) {
        return None;
    }
    let host = root.get_any_case("host").and_then(Node::text)?;
    let schemes = node
        .get_any_case("schemes")
        .and_then(Node::items)
        .unwrap_or_default();
    let named = |wanted: &str| {
        schemes
            .iter()
            .filter_map(Node::text)
            .any(|scheme| scheme.eq_ignore_ascii_case(wanted))
    };
    let scheme = if named("https") { "https" } else { "http" };
    let path = root
        .get_any_case("basePath")
        .and_then(Node::text)
        .unwrap_or_default();
    // The host only, without scheme and path.
    (!host.contains('/')).then(|| format!("{scheme}://{}/{}", host.trim(), path.trim_start_matches('/')))
}
