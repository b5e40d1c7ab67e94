//! Definitions in all forms of what the gateway reads, by number: the same number gives the same definition.

use fastrand::Rng;

/// What a definition is made of.
#[derive(Debug, Clone)]
enum Tree {
    Flag(bool),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
    /// A text that YAML may hold without quotes, though many of its readers would make something else of it.
    Plain(String),
    Text(String),
}

use Tree::{Flag, List, Map, Plain, Text};

/// Definition `number`, in JSON or YAML, with the file name it goes by.
pub(crate) fn definition(number: u64) -> (String, Vec<u8>) {
    let mut rng = Rng::with_seed(number);
    let tree = Maker::new(&mut rng).document();
    let json = rng.bool();
    let mut text = String::new();
    if json {
        tree.json(&mut text);
    } else {
        tree.yaml(0, &mut rng, &mut text);
    }
    (
        format!("generated-{number}.{}", if json { "json" } else { "yaml" }),
        text.into_bytes(),
    )
}

struct Maker<'a> {
    version: &'static str,
    /// `x-wso2-endpoints` is referred to.
    names: bool,
    /// Declared schemes that ask for a token.
    tokens: &'static [&'static str],
    /// Declared schemes whose credentials are the upstream's.
    others: &'static [&'static str],
    rng: &'a mut Rng,
}

fn map<const N: usize>(entries: [(&str, Tree); N]) -> Tree {
    Map(entries.map(|(key, value)| (key.to_owned(), value)).into())
}

fn text(text: impl Into<String>) -> Tree {
    Text(text.into())
}

impl<'a> Maker<'a> {
    fn new(rng: &'a mut Rng) -> Self {
        let mut maker = Self {
            version: "2.0",
            names: false,
            tokens: &[],
            others: &[],
            rng,
        };
        maker.version = maker.one(&["2.0", "3.0.3", "3.1.0", "3.2.0"]);
        let all: &[&str] = match maker.version {
            "2.0" => &["oauth", "017"],
            _ => &["oauth", "017", "oidc", "alias"],
        };
        // A file that declares one kind alone is read in another way than one with several.
        let alone: &[&str] = if maker.is_v2() {
            &["oauth"]
        } else {
            maker.one(&[&["oauth"][..], &["oidc"]])
        };
        maker.tokens = maker.one(&[all, all, alone, &[]]);
        let all: &[&str] = match maker.version {
            "2.0" => &["key", "query", "basic"],
            "3.0.3" => &["key", "query", "basic", "bearer"],
            _ => &["key", "query", "basic", "bearer", "mutual"],
        };
        maker.others = maker.one(&[all, all, &["key"], &["basic"], &[]]);
        maker
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(..of.len())].clone()
    }

    /// True in `percent` of the cases.
    fn sometimes(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    fn is_v2(&self) -> bool {
        self.version == "2.0"
    }

    /// A key of OpenAPI 2.0 in another case, now and then.
    fn key(&mut self, key: &str) -> String {
        if !self.is_v2() || !self.sometimes(10) {
            return key.to_owned();
        }
        let capital = key
            .chars()
            .take(1)
            .flat_map(char::to_uppercase)
            .chain(key.chars().skip(1))
            .collect();
        self.one(&[key.to_lowercase(), key.to_uppercase(), capital])
    }

    fn document(&mut self) -> Tree {
        let mut root: Vec<(String, Tree)> = Vec::new();
        let name = if self.is_v2() { "swagger" } else { "openapi" };
        root.push((name.to_owned(), text(self.version)));
        let title = self.one(&[
            "Pets",
            "no",
            "017",
            "1e3",
            "0x1F",
            "Blue Boats",
            "~x",
            "12:30:45",
            "on",
        ]);
        let version = self.one(&[
            "1.10",
            "1.0.0",
            "2024-01-01",
            "1e3",
            "017",
            "v1",
            "y",
            "0.1",
            "+1.0",
            "1_000",
        ]);
        let info = map([
            ("title", Plain(title.to_owned())),
            ("version", Plain(version.to_owned())),
        ]);
        let info = if self.sometimes(10) {
            with(info, "contact", List(vec![Plain("1.0".into())]))
        } else {
            info
        };
        root.push((self.key("info"), info));
        if self.sometimes(30) {
            let base = self.one(&["/base/one", "/b/1.10", "/x", "/017/no"]);
            root.push(("x-wso2-basePath".to_owned(), Plain(base.to_owned())));
        }
        if self.version == "3.2.0" && self.sometimes(30) {
            root.push(("$self".to_owned(), text("https://descriptions.test/api.yaml")));
        }
        if self.is_v2() {
            self.hosts(&mut root);
        } else if self.sometimes(92) {
            root.push(("servers".to_owned(), self.servers()));
        }
        if self.sometimes(6) {
            self.endpoints(&mut root);
        }
        if self.sometimes(40) {
            root.push(("security".to_owned(), self.security()));
        }
        if self.sometimes(2) {
            root.push(("x-wso2-disable-security".to_owned(), Flag(self.rng.bool())));
        }
        let schemes = self.schemes();
        root.push(if self.is_v2() {
            ("securityDefinitions".to_owned(), schemes)
        } else {
            let item = self.item(false);
            (
                "components".to_owned(),
                map([
                    ("securitySchemes", schemes),
                    ("pathItems", map([("shared", item)])),
                ]),
            )
        });
        let key = self.key("paths");
        root.push((key, self.paths()));
        if self.names {
            root.push((
                "x-wso2-endpoints".to_owned(),
                List(vec![map([("named", self.urls())])]),
            ));
        }
        // The order of the root's keys means nothing.
        self.rng.shuffle(&mut root[1..]);
        Map(root)
    }

    fn hosts(&mut self, root: &mut Vec<(String, Tree)>) {
        if self.sometimes(85) {
            let host = self.one(&[
                "h.test",
                "h.test:8080",
                "H.test",
                "127.0.0.1:19500",
                "http://h.test",
                "h.test/v1",
                "h.test:8443",
            ]);
            root.push((self.key("host"), text(host)));
        }
        if self.sometimes(70) {
            let path = self.one(&["/v1", "/", "/v1/", "/1.10", "v1", "/ü"]);
            root.push((self.key("basePath"), Plain(path.to_owned())));
        }
        if self.sometimes(70) {
            root.push((self.key("schemes"), self.protocols()));
        }
    }

    fn protocols(&mut self) -> Tree {
        let schemes: &[&str] = self.one(&[
            &["http"][..],
            &["https"],
            &["http", "https"],
            &["https", "http"],
            &["HTTPS"],
            &["wss", "https"],
            &[],
        ]);
        List(schemes.iter().map(|scheme| text(*scheme)).collect())
    }

    fn servers(&mut self) -> Tree {
        let mut servers = vec![self.server()];
        while self.sometimes(25) {
            servers.push(self.server());
        }
        if self.sometimes(3) {
            List(Vec::new())
        } else {
            List(servers)
        }
    }

    fn server(&mut self) -> Tree {
        let number = self.rng.u32(1..4);
        let variable = |default: &str| {
            map([
                ("default", Plain(default.to_owned())),
                ("description", text("one of several")),
            ])
        };
        let mut server = match self.rng.u32(..24) {
            0..=4 => map([("url", text(format!("http://h{number}.test:8080/v{number}")))]),
            5 | 6 => map([("url", text(format!("https://h{number}.test")))]),
            7 | 8 => map([
                ("url", text("http://h.test:8080/{country}/v{v}")),
                ("variables", {
                    let (country, version) = (
                        self.one(&["no", "on", "y", "de"]),
                        self.one(&["1.10", "017", "1e3", "0x1F", "2"]),
                    );
                    map([("country", variable(country)), ("v", variable(version))])
                }),
            ]),
            9 => map([
                ("url", text("{scheme}://{name}:{port}/x")),
                (
                    "variables",
                    map([
                        ("scheme", variable("https")),
                        ("name", variable("h4.test")),
                        ("port", variable("8443")),
                    ]),
                ),
            ]),
            10 => map([
                ("url", text("https://{h}.test/{path}")),
                ("variables", map([("h", map([("description", text("none"))]))])),
            ]),
            11 => {
                let url = self.one(&["/api/v3", "/", "", "api/v3", "."]);
                map([("url", text(url))])
            }
            12 => map([("url", text("//h.test/v1"))]),
            13 => {
                let url = self.one(&[
                    "http://h.test/ü",
                    "http://h.test/a%20b",
                    "http://h.test/a\"b",
                    "https://h.test/v1/",
                    "http://h.test/a//b",
                ]);
                map([("url", text(url))])
            }
            14 => {
                let url = self.one(&[
                    "HTTP://H.test:80/Up",
                    "HTTPS://h.test/x?y=1#z",
                    "http://user@h.test/x",
                    " http://h.test/x ",
                ]);
                map([("url", text(url))])
            }
            15 => {
                let url = self.one(&[
                    "http://[::1]:8080/x",
                    "http://my_host:80/x",
                    "http://h/x",
                    "http://h.test:/x",
                    "http://h.test:0/x",
                ]);
                map([("url", text(url))])
            }
            16 => map([("url", text("h.test/v1"))]),
            17 => map([("description", text("no address"))]),
            18 => map([("url", text("ftp://h.test/x"))]),
            _ => map([("url", text(format!("http://h{number}.test/v1")))]),
        };
        if self.version == "3.2.0" && self.sometimes(30) {
            server = with(server, "name", text("prod"));
        }
        server
    }

    fn urls(&mut self) -> Tree {
        let host = self.rng.u32(5..8);
        let mut urls = vec![text(format!("http://e{host}.test:8080/e"))];
        if self.sometimes(40) {
            urls.push(text("http://e9.test:8080/e"));
        }
        map([("urls", List(urls)), ("type", text("load_balance"))])
    }

    /// The extensions that name endpoints, on the root or on a path item.
    fn endpoints(&mut self, entries: &mut Vec<(String, Tree)>) {
        let which = self.rng.u32(..3);
        if which != 0 {
            let is_named = self.sometimes(30);
            self.names |= is_named;
            let cluster = if is_named {
                text("#/x-wso2-endpoints/named")
            } else {
                self.urls()
            };
            entries.push(("x-wso2-production-endpoints".to_owned(), cluster));
        }
        if which != 1 {
            entries.push(("x-wso2-sandbox-endpoints".to_owned(), self.urls()));
        }
    }

    fn schemes(&mut self) -> Tree {
        let v2 = self.is_v2();
        let oauth = if v2 {
            map([
                ("type", text("oauth2")),
                ("flow", text("implicit")),
                ("authorizationUrl", text("https://a.test")),
                ("scopes", map([])),
            ])
        } else {
            map([("type", text("oauth2")), ("flows", map([]))])
        };
        let mut key = map([("type", text("apiKey")), ("in", text("header"))]);
        if self.sometimes(97) {
            key = with(key, "name", text("X-Key"));
        }
        let mut schemes = vec![
            ("oauth".to_owned(), oauth.clone()),
            ("017".to_owned(), oauth),
            ("key".to_owned(), key),
            (
                "query".to_owned(),
                map([
                    ("type", text("apiKey")),
                    ("in", text("query")),
                    ("name", text("k")),
                ]),
            ),
        ];
        if v2 {
            schemes.push(("basic".to_owned(), map([("type", text("basic"))])));
        } else {
            let oidc = map([
                ("type", text("openIdConnect")),
                ("openIdConnectUrl", text("https://a.test")),
            ]);
            schemes.extend([
                ("oidc".to_owned(), oidc),
                (
                    "basic".to_owned(),
                    map([("type", text("http")), ("scheme", text("basic"))]),
                ),
                (
                    "bearer".to_owned(),
                    map([("type", text("http")), ("scheme", text("bearer"))]),
                ),
                (
                    "alias".to_owned(),
                    map([("$ref", text("#/components/securitySchemes/oauth"))]),
                ),
            ]);
            if self.version != "3.0.3" {
                schemes.push(("mutual".to_owned(), map([("type", text("mutualTLS"))])));
            }
        }
        schemes
            .retain(|(name, _)| self.tokens.contains(&name.as_str()) || self.others.contains(&name.as_str()));
        let kind = self.one(&["OAuth2", "oauth", "http ", "openidconnect", "bearer"]);
        schemes.push((
            "odd".to_owned(),
            if self.sometimes(80) {
                map([("type", text(kind))])
            } else {
                map([("in", text("header"))])
            },
        ));
        Map(schemes)
    }

    fn security(&mut self) -> Tree {
        match self.rng.u32(..12) {
            0 => List(Vec::new()),
            1 => List(vec![map([])]),
            2 => List(vec![map([]), self.requirement(1)]),
            3 | 4 => List(vec![self.requirement(2)]),
            5 | 6 => List(vec![self.requirement(1), self.requirement(1)]),
            7 => List(vec![
                self.requirement(2),
                self.requirement(1),
                self.requirement(1),
            ]),
            _ => List(vec![self.requirement(1)]),
        }
    }

    fn requirement(&mut self, schemes: u32) -> Tree {
        let mut wanted: Vec<(String, Tree)> = Vec::new();
        for _ in 0..schemes {
            let (name, scopes) = self.wanted();
            if wanted.iter().all(|(known, _)| *known != name) {
                let scopes = scopes.into_iter().map(|scope| Plain(scope.to_owned())).collect();
                wanted.push((name, List(scopes)));
            }
        }
        Map(wanted)
    }

    fn wanted(&mut self) -> (String, Vec<&'static str>) {
        let scopes = self.one(&[
            &["read"][..],
            &["read", "write"],
            &["admin"],
            &["no"],
            &["1.10", "017"],
            &[],
        ]);
        match self.rng.u32(..200) {
            0 => ("odd".to_owned(), scopes.to_vec()),
            1 => ("undeclared".to_owned(), scopes.to_vec()),
            2 if !self.others.is_empty() => (self.one(self.others).to_owned(), scopes.to_vec()),
            3..=9 if self.version == "3.2.0" && self.tokens.contains(&"oauth") => {
                ("#/components/securitySchemes/oauth".to_owned(), scopes.to_vec())
            }
            3..=120 if !self.tokens.is_empty() => (self.one(self.tokens).to_owned(), scopes.to_vec()),
            _ if !self.others.is_empty() => (self.one(self.others).to_owned(), Vec::new()),
            _ if !self.tokens.is_empty() => (self.one(self.tokens).to_owned(), scopes.to_vec()),
            _ => ("undeclared".to_owned(), Vec::new()),
        }
    }

    fn paths(&mut self) -> Tree {
        const PATHS: [&str; 18] = [
            "/a",
            "/a/{id}",
            "/a/{id}/b",
            "/settings",
            "/{x}",
            "/größe",
            "/a b",
            "/v1/{user.id}",
            "/v1/settings",
            "/keys/{id}:export",
            "/keys/{id}",
            "/~admin",
            "/c/",
            "/wild/*",
            "/q\"<x>",
            "/v1.0/{a}.{b}",
            "/",
            "/p%c3%a9/x%2Dy",
        ];
        let mut chosen: Vec<&str> = Vec::new();
        for _ in 0..self.rng.u32(1..6) {
            let path = self.one(&PATHS);
            if !chosen.contains(&path) {
                chosen.push(path);
            }
        }
        // Another name for the same requests.
        if self.sometimes(20) {
            for (path, twin) in [
                ("/a/{id}", "/a/{ID}"),
                ("/c/", "/c"),
                ("/settings", "/settings?x=1"),
            ] {
                if chosen.contains(&path) {
                    chosen.push(twin);
                }
            }
        }
        let mut paths: Vec<(String, Tree)> = chosen
            .into_iter()
            .map(|path| (path.to_owned(), self.item(true)))
            .collect();
        if self.sometimes(12) {
            let target = match (self.version, paths.first()) {
                _ if self.sometimes(10) => "other.yaml#/x".to_owned(),
                ("3.1.0" | "3.2.0", _) if self.rng.bool() => "#/components/pathItems/shared".to_owned(),
                (_, Some((path, _))) => format!("#/paths/{}", fragment(path)),
                (_, None) => "#/paths/~1nowhere".to_owned(),
            };
            paths.push(("/referred".to_owned(), map([("$ref", text(target))])));
        }
        if self.sometimes(10) {
            paths.push(("x-note".to_owned(), map([("get", map([]))])));
        }
        Map(paths)
    }

    fn item(&mut self, all: bool) -> Tree {
        let mut entries: Vec<(String, Tree)> = Vec::new();
        let mut methods = vec!["get", "put", "post", "delete", "options", "head", "patch"];
        if !self.is_v2() {
            methods.push("trace");
        }
        if self.version == "3.2.0" {
            methods.push("query");
        }
        for _ in 0..self.rng.u32(1..4) {
            let method = self.one(&methods);
            let key = self.key(method);
            if entries.iter().all(|(known, _)| !known.eq_ignore_ascii_case(&key)) {
                entries.push((key, self.operation()));
            }
        }
        if !self.is_v2() && self.sometimes(2) {
            entries.retain(|(known, _)| known != "get");
            entries.push(("GET".to_owned(), self.operation()));
        }
        if self.version == "3.2.0" && self.sometimes(15) {
            let method = self.one(&["COPY", "LINK", "lower"]);
            entries.push((
                "additionalOperations".to_owned(),
                map([(method, self.operation())]),
            ));
        }
        if all && !self.is_v2() && self.sometimes(8) {
            entries.push(("servers".to_owned(), self.servers()));
        }
        if all && self.sometimes(3) {
            self.endpoints(&mut entries);
        }
        if self.sometimes(2) {
            entries.push(("x-wso2-disable-security".to_owned(), Flag(self.rng.bool())));
        }
        entries.push(("parameters".to_owned(), List(Vec::new())));
        Map(entries)
    }

    fn operation(&mut self) -> Tree {
        let code = self.one(&["200", "default"]);
        let mut entries = vec![(
            "responses".to_owned(),
            map([(code, map([("description", Plain("ok".into()))]))]),
        )];
        if self.sometimes(50) {
            entries.push(("security".to_owned(), self.security()));
        }
        if self.sometimes(2) {
            entries.push(("x-wso2-disable-security".to_owned(), Flag(self.rng.bool())));
        }
        if self.sometimes(2) {
            entries.push(("x-auth-type".to_owned(), text("None")));
        }
        if self.is_v2() && self.sometimes(2) {
            entries.push(("schemes".to_owned(), self.protocols()));
        }
        if !self.is_v2() && self.sometimes(3) {
            entries.push(("servers".to_owned(), self.servers()));
        }
        entries.push(("summary".to_owned(), Plain("1.10".into())));
        Map(entries)
    }
}

/// A key as a step of a JSON pointer in a URI fragment (RFC 6901 section 6).
fn fragment(key: &str) -> String {
    let escaped = key.replace('~', "~0").replace('/', "~1");
    escaped
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'~' | b'.' | b'-' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn with(tree: Tree, key: &str, value: Tree) -> Tree {
    let Map(mut entries) = tree else { return tree };
    entries.push((key.to_owned(), value));
    Map(entries)
}

impl Tree {
    fn json(&self, out: &mut String) {
        match self {
            Flag(flag) => out.push_str(&flag.to_string()),
            Plain(text) | Text(text) => quoted(text, out),
            List(items) => joined('[', items, ']', out, |item, out| item.json(out)),
            Map(entries) => joined('{', entries, '}', out, |(key, value), out| {
                quoted(key, out);
                out.push_str(": ");
                value.json(out);
            }),
        }
    }

    /// Block style at the top, flow style below or where there is nothing in it.
    fn yaml(&self, depth: usize, rng: &mut Rng, out: &mut String) {
        match self {
            Map(entries) if !entries.is_empty() && depth < 4 && (depth == 0 || rng.u32(..8) > 0) => {
                for (at, (key, value)) in entries.iter().enumerate() {
                    if depth > 0 || at > 0 {
                        out.push('\n');
                        out.push_str(&"  ".repeat(depth));
                    }
                    scalar(key, is_safe(key), rng, out);
                    out.push_str(": ");
                    value.yaml(depth + 1, rng, out);
                }
            }
            Map(entries) => joined('{', entries, '}', out, |(key, value), out| {
                scalar(key, is_safe(key), rng, out);
                out.push_str(": ");
                value.yaml(9, rng, out);
            }),
            List(items) => joined('[', items, ']', out, |item, out| item.yaml(9, rng, out)),
            Flag(flag) => out.push_str(&flag.to_string()),
            Plain(text) => scalar(text, !text.contains([':', '"', '#', '<']), rng, out),
            Text(text) => scalar(text, is_safe(text), rng, out),
        }
    }
}

/// A text that every reader takes for one without quotes, in flow style too.
fn is_safe(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c))
}

fn scalar(text: &str, plain: bool, rng: &mut Rng, out: &mut String) {
    match rng.u32(..4) {
        0 | 1 if plain => out.push_str(text),
        2 if !text.is_empty() => {
            out.push_str(&format!("'{}'", text.replace('\'', "''")));
        }
        _ => quoted(text, out),
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

fn joined<T>(open: char, items: &[T], close: char, out: &mut String, mut each: impl FnMut(&T, &mut String)) {
    out.push(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        each(item, out);
    }
    out.push(close);
}
