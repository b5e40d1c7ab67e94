//! A stock Envoy accepts what is encoded. Needs the program `envoy` on the path; skips without it, except under CI.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use prost::Message;
use trireme_proto::envoy::config::bootstrap::v3::{Admin, Bootstrap, bootstrap::StaticResources};
use trireme_proto::envoy::config::core::v3::socket_address::PortSpecifier;
use trireme_proto::envoy::config::core::v3::{Address, SocketAddress, address};
use trireme_proto::envoy::config::listener::v3::filter::ConfigType;
use trireme_proto::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use trireme_proto::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use trireme_proto::google::protobuf::Any;
use trireme_proto::names;
use trireme_routing::encode;
use trireme_routing::snapshot::*;

const SECOND: Duration = Duration::from_secs(1);

fn listener(name: &str, port: u16, tls: Option<ListenerTls>, format: AccessLogFormat) -> Listener {
    let secured = tls.is_some();
    Listener {
        name: name.to_owned(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        tls,
        proxy_protocol: secured,
        caps: Caps::default(),
        http: HttpSettings {
            request_timeout: Duration::ZERO,
            request_headers_timeout: Duration::ZERO,
            stream_idle_timeout: 300 * SECOND,
            idle_timeout: 3600 * SECOND,
            max_head_kib: 96,
            use_remote_address: false,
            proxies: match secured {
                true => Proxies::Ranges(vec!["10.0.0.0/8".parse().expect("a range")]),
                false => Proxies::None,
            },
            server_name: "envoy".to_owned(),
            soap_errors: name == "HTTPSListener",
        },
        check: CheckSettings {
            cluster: "ext-authz".to_owned(),
            timeout: 20 * SECOND,
            max_request_bytes: 102_400,
        },
        access_log: Some(AccessLog {
            path: "/dev/stdout".to_owned(),
            format,
        }),
    }
}

fn upstream_tls(trust: Trust, host: &str, client: Option<(Pem, Pem)>) -> UpstreamTls {
    UpstreamTls {
        sni: Some(host.to_owned()).filter(|host| host.parse::<IpAddr>().is_err()),
        verify_host: Some(host.to_owned()),
        trust,
        client_certificate: client,
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        ciphers: vec!["ECDHE-RSA-AES128-GCM-SHA256".to_owned(), "AES256-SHA".to_owned()],
    }
}

fn cluster(name: &str, endpoints: Vec<Endpoint>) -> Cluster {
    Cluster {
        name: name.to_owned(),
        endpoints,
        connect_timeout: 20 * SECOND,
        dns_refresh: 5 * SECOND,
        respect_dns_ttl: true,
        protocol: UpstreamProtocol::Http1,
        health: None,
        limits: ClusterLimits::default(),
    }
}

fn endpoint(host: &str, port: u16, priority: u32, tls: Option<UpstreamTls>) -> Endpoint {
    Endpoint {
        host: host.to_owned(),
        port,
        priority,
        tls,
    }
}

fn route(name: &str, path: PathMatch, action: Action) -> Route {
    let mut route = Route {
        name: name.to_owned(),
        ambiguous_paths: trireme_routing::Permitted::ALL,
        ..Route::new(path, action)
    };
    route.filters.check = Check::Disabled;
    route
}

fn forward(cluster: ClusterRef, rewrite: Option<Rewrite>) -> Forward {
    Forward {
        cluster,
        rewrite,
        auto_host: true,
        timeout: 60 * SECOND,
        idle_timeout: 300 * SECOND,
        retry: None,
        websocket: false,
        max_stream_duration: None,
    }
}

fn system() -> Fragment {
    let rest = || ClusterRef::Name(names::ENFORCER_REST_CLUSTER.to_owned());
    let to = |path: &str| Action::Forward(forward(rest(), Some(Rewrite::Path(path.to_owned()))));
    let mut jwks = route(
        "jwks",
        PathMatch::Exact("/.wellknown/jwks".to_owned()),
        to("/jwks"),
    );
    jwks.filters.limit = Some(LocalLimit {
        tokens: 1000,
        interval: 10 * SECOND,
    });
    let health = Action::Direct {
        status: 200,
        body: r#"{"status": "healthy"}"#.to_owned(),
    };
    let routes = vec![
        route("testkey", PathMatch::Exact("/testkey".to_owned()), to("/testkey")),
        jwks,
        route("health", PathMatch::Exact("/health".to_owned()), health),
        route("anything", PathMatch::Prefix("/system/".to_owned()), to("/all")),
    ];
    fragment(names::SYSTEM_FRAGMENT, Position::System, "localhost", routes)
}

fn api() -> Fragment {
    let pattern = r"^(?:/pets/1\.0\.0|/pets)/pet/([^/]+)(/.*)*";
    let mut action = forward(
        ClusterRef::Header(names::CLUSTER_HEADER.to_owned()),
        Some(Rewrite::Regex {
            pattern: pattern.to_owned(),
            substitution: r"/v1/pet/\1\2".to_owned(),
        }),
    );
    action.retry = Some(Retry {
        count: 0,
        statuses: vec![504],
        backoff_base: Duration::from_millis(25),
    });
    action.websocket = true;
    action.max_stream_duration = Some(86_400 * SECOND);
    let mut sandbox = route(
        "/pets/1.0.0",
        PathMatch::Regex(pattern.to_owned()),
        Action::Forward(action),
    );
    sandbox.methods = vec!["GET".to_owned(), "PUT".to_owned()];
    sandbox.filters.check = Check::Required {
        context: BTreeMap::from([
            (names::context::PATH.to_owned(), "/pet/{id}/*".to_owned()),
            (names::context::REVISION.to_owned(), "1.2".to_owned()),
        ]),
        with_body: true,
    };
    sandbox.filters.cors = Some(std::sync::Arc::new(Cors {
        allow_origins: vec!["*".to_owned(), "https://*.example.com".to_owned()],
        allow_methods: vec!["GET".to_owned(), "PUT".to_owned()],
        allow_headers: vec!["authorization".to_owned()],
        expose_headers: Vec::new(),
        allow_credentials: true,
    }));
    let production = sandbox.clone();
    sandbox.headers = vec![(names::CLUSTER_HEADER.to_owned(), "sand".to_owned())];
    fragment(
        "localhost/pets/1.0.0",
        Position::Back,
        "localhost",
        vec![sandbox, production],
    )
}

fn fragment(name: &str, position: Position, host: &str, routes: Vec<Route>) -> Fragment {
    let virtual_hosts = vec![VirtualHost {
        name: host.to_owned(),
        routes,
    }];
    Fragment {
        name: name.to_owned(),
        position,
        revision: Revision { epoch: 1, counter: 2 },
        virtual_hosts,
    }
}

/// The listener with its routes inside, for there is no discovery here.
fn with_routes(listener: &Listener, routes: &Any) -> trireme_proto::envoy::config::listener::v3::Listener {
    let mut message = trireme_proto::envoy::config::listener::v3::Listener::decode(
        encode::listener(listener).value.as_slice(),
    )
    .expect("a listener");
    let filter = &mut message.filter_chains[0].filters[0];
    let Some(ConfigType::TypedConfig(any)) = &mut filter.config_type else {
        panic!("typed")
    };
    let mut manager = HttpConnectionManager::decode(any.value.as_slice()).expect("a connection manager");
    let routes = Message::decode(routes.value.as_slice()).expect("a route configuration");
    manager.route_specifier = Some(RouteSpecifier::RouteConfig(routes));
    any.value = manager.encode_to_vec();
    message
}

fn bootstrap() -> Bootstrap {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate = Pem::Inline(signed.cert.pem());
    let key = Pem::Inline(signed.signing_key.serialize_pem());
    let client = Some((certificate.clone(), key.clone()));
    let tls = ListenerTls {
        certificate: certificate.clone(),
        key,
        client_ca: Some(certificate.clone()),
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        ciphers: vec![
            "ECDHE-ECDSA-AES128-GCM-SHA256".to_owned(),
            "AES128-SHA".to_owned(),
        ],
    };
    let anchors = || Trust::Anchors(certificate.clone());
    let mut failover = cluster(
        "failover",
        vec![
            endpoint(
                "a.example.com",
                443,
                0,
                Some(upstream_tls(anchors(), "a.example.com", client)),
            ),
            endpoint(
                "127.0.0.1",
                443,
                1,
                Some(upstream_tls(anchors(), "127.0.0.1", None)),
            ),
            endpoint("127.0.0.1", 80, 2, None),
            endpoint("::1", 443, 3, Some(upstream_tls(Trust::None, "::1", None))),
        ],
    );
    failover.protocol = UpstreamProtocol::Http2 {
        header_table_size: Some(4096),
        max_streams: Some(2_147_483_647),
    };
    failover.health = Some(HealthCheck {
        timeout: SECOND,
        interval: 10 * SECOND,
        unhealthy: 2,
        healthy: 2,
    });
    failover.limits = ClusterLimits {
        max_connections: Some(10),
        max_retries: Some(1),
        ..ClusterLimits::default()
    };
    let balanced = vec![
        endpoint("127.0.0.1", 80, 0, None),
        endpoint("127.0.0.1", 81, 0, None),
        endpoint("h_1", 82, 0, None),
    ];
    let clusters = [
        failover,
        cluster("balanced", balanced),
        cluster("ext-authz", vec![endpoint("localhost", 8081, 0, None)]),
        cluster(
            names::ENFORCER_REST_CLUSTER,
            vec![endpoint("localhost", 9001, 0, None)],
        ),
    ];
    let routes = encode::assembled(&[system(), api()]);
    let line = "[%START_TIME%] \"%REQ(:METHOD)% %REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%\" \
                %DYNAMIC_METADATA(envoy.filters.http.ext_authz:originalPath)% %RESPONSE_FLAGS%\n";
    let json = BTreeMap::from([
        ("status".to_owned(), "%RESPONSE_CODE%".to_owned()),
        ("a".to_owned(), "b".to_owned()),
    ]);
    let listeners = [
        listener("HTTPListener", 9090, None, AccessLogFormat::Text(line.to_owned())),
        listener("HTTPSListener", 9095, Some(tls), AccessLogFormat::Json(json)),
    ];
    let resources = StaticResources {
        listeners: listeners
            .iter()
            .map(|listener| with_routes(listener, &routes))
            .collect(),
        clusters: clusters
            .iter()
            .map(|cluster| Message::decode(encode::cluster(cluster).value.as_slice()).expect("a cluster"))
            .collect(),
        ..Default::default()
    };
    Bootstrap {
        static_resources: Some(resources),
        ..Default::default()
    }
}

/// The program, or nothing where it may be missing.
#[allow(
    clippy::disallowed_methods,
    reason = "CI is a setting of the test run, not of the product"
)]
fn envoy(folder: &Path, bootstrap: &Bootstrap) -> Option<Command> {
    let path = folder.join("bootstrap.pb");
    std::fs::write(&path, bootstrap.encode_to_vec()).expect("written");
    let required = std::env::var("CI").as_deref() == Ok("true");
    match Command::new("envoy")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
    {
        Err(error) if error.kind() == ErrorKind::NotFound && !required => {
            eprintln!("SKIPPED: no envoy on the path");
            return None;
        }
        status => assert!(status.expect("envoy runs").success()),
    }
    let mut command = Command::new("envoy");
    command
        .args([
            "--log-level",
            "warning",
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "-c",
        ])
        .arg(path);
    Some(command)
}

#[test]
fn accepts_everything_we_encode() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut command) = envoy(folder.path(), &bootstrap()) else {
        return;
    };
    let output = command.args(["--mode", "validate"]).output().expect("envoy runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // A deprecated field is one that the next release may refuse; the DNS settings are known and have no successor
    // within STRICT_DNS clusters.
    let deprecated: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("eprecated") && !line.contains("dns"))
        .collect();
    assert!(deprecated.is_empty(), "{deprecated:#?}");
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("envoy ends");
    }
}

/// Runs it with all listeners on free ports; their addresses by name once there are `count`.
fn run(folder: &Path, mut bootstrap: Bootstrap, count: usize) -> Option<(Running, BTreeMap<String, String>)> {
    let any_port = Some(Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: Ipv4Addr::LOCALHOST.to_string(),
            port_specifier: Some(PortSpecifier::PortValue(0)),
            ..Default::default()
        })),
    });
    let resources = bootstrap.static_resources.as_mut().expect("resources");
    for listener in &mut resources.listeners {
        listener.address.clone_from(&any_port);
    }
    bootstrap.admin = Some(Admin {
        address: any_port,
        ..Default::default()
    });
    let mut command = envoy(folder, &bootstrap)?;
    let admin = folder.join("admin");
    let child = command
        .arg("--admin-address-path")
        .arg(&admin)
        .args(["--file-flush-interval-msec", "10"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let running = Running(child.expect("envoy starts"));
    let listeners = (0..500)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            let address = std::fs::read_to_string(&admin)
                .ok()
                .filter(|address| !address.is_empty())?;
            ask(&address, "GET", "h", "/ready", "").filter(|answer| answer.starts_with("HTTP/1.1 200"))?;
            let listeners = ask(&address, "GET", "h", "/listeners", "")?;
            let named = listeners.lines().filter_map(|line| line.split_once("::"));
            let named: BTreeMap<_, _> = named
                .map(|(name, address)| (name.to_owned(), address.to_owned()))
                .collect();
            (named.len() == count).then_some(named)
        })
        .expect("envoy listens within 10 s");
    Some((running, listeners))
}

#[test]
fn answers_as_the_specification_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bootstrap = bootstrap();
    let resources = bootstrap.static_resources.as_mut().expect("resources");
    resources.listeners.truncate(1);
    // Envoy listens once every name of every cluster was looked up.
    resources
        .clusters
        .retain(|cluster| !["failover", "balanced"].contains(&cluster.name.as_str()));
    let Some((running, listeners)) = run(folder.path(), bootstrap, 1) else {
        return;
    };
    let listener = &listeners["HTTPListener"];
    let not_found =
        r#"{"code":"404","description":"The requested resource is not available.","message":"Not Found"}"#;
    let unchecked = concat!(
        r#"{"code":"102500","description":"Error during validating the request","#,
        r#""message":"Unclassified Validation Failure"}"#
    );
    let healthy = r#"{"status": "healthy"}"#;
    for (method, host, path, status, body) in [
        ("GET", "localhost", "/health", 200, healthy),
        ("PUT", "LOCALHOST:9090", "/health", 200, healthy),
        ("GET", "localhost", "/health/", 404, not_found),
        ("GET", "other", "/health", 404, not_found),
        ("GET", "localhost", "/pets/pet/", 404, not_found),
        ("DELETE", "localhost", "/pets/pet/1", 404, not_found),
        ("PATCH", "localhost", "/pets/pet/1", 404, not_found),
        // The enforcer cannot be reached: never forwarded.
        ("GET", "localhost", "/pets/pet/1", 500, unchecked),
        ("PUT", "localhost", "/pets/1.0.0/pet/1/x", 500, unchecked),
        ("OPTIONS", "localhost", "/pets/1.0.0/pet/1/x", 500, unchecked),
    ] {
        let answer = ask(listener, method, host, path, "").expect("an answer");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{method} {host}{path}: {answer}"
        );
        let got = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim_end());
        assert_eq!(got, Some(body), "{method} {host}{path}");
    }
    let preflight = "origin: https://a.example.com\r\naccess-control-request-method: PUT\r\n";
    let answer = ask(listener, "OPTIONS", "localhost", "/pets/pet/1", preflight).expect("an answer");
    for line in [
        "HTTP/1.1 200 OK\r\n",
        "access-control-allow-origin: https://a.example.com\r\n",
        "access-control-allow-methods: GET, PUT\r\n",
        "access-control-allow-headers: authorization\r\n",
        "access-control-allow-credentials: true\r\n",
    ] {
        assert!(answer.contains(line), "{line}{answer}");
    }
    drop(running);
}

/// The address that Envoy decides on, by what the listener is told of proxies.
#[test]
fn finds_the_caller_where_we_say() {
    let count = |count| Proxies::Count(std::num::NonZeroU32::new(count).expect("not 0"));
    let ranges =
        |list: &[&str]| Proxies::Ranges(list.iter().map(|range| range.parse().expect("a range")).collect());
    let here = ranges(&["127.0.0.0/8", "10.0.0.0/8"]);
    let cases = [
        (Proxies::None, false, "198.51.100.1", "127.0.0.1"),
        (Proxies::None, true, "198.51.100.1", "127.0.0.1"),
        (count(1), false, "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        (count(1), true, "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        (count(2), false, "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        (count(2), true, "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        (count(2), false, "198.51.100.1", "127.0.0.1"),
        (count(2), true, "198.51.100.1", "127.0.0.1"),
        (count(2), false, "198.51.100.1, unknown", "198.51.100.1"),
        (count(1), true, "198.51.100.1, unknown", "127.0.0.1"),
        (ranges(&["10.0.0.0/8"]), false, "198.51.100.1", "127.0.0.1"),
        (
            here.clone(),
            false,
            "192.0.2.66, 198.51.100.1, 10.0.0.7",
            "198.51.100.1",
        ),
        (here.clone(), false, "198.51.100.1, unknown", "127.0.0.1"),
        (here.clone(), false, "10.0.0.8, 10.0.0.7", "10.0.0.8"),
        // Ours passes over what is empty (RFC 9110 section 5.6.1), and takes the last address that it could read; Envoy none.
        (here.clone(), false, "198.51.100.1,,10.0.0.7", "127.0.0.1"),
        (here, false, "198.51.100.1, unknown, 10.0.0.7", "127.0.0.1"),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let log = |at: usize| folder.path().join(format!("{at}.log"));
    let routes = encode::assembled(&[system()]);
    let format = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\n";
    let listeners = cases.iter().enumerate().map(|(at, (proxies, remote, ..))| {
        let mut listener = listener(&at.to_string(), 1, None, AccessLogFormat::Text(format.to_owned()));
        listener.http.proxies = proxies.clone();
        listener.http.use_remote_address = *remote;
        if let Some(access_log) = &mut listener.access_log {
            access_log.path = log(at).display().to_string();
        }
        with_routes(&listener, &routes)
    });
    let mut bootstrap = bootstrap();
    let resources = bootstrap.static_resources.as_mut().expect("resources");
    resources
        .clusters
        .retain(|cluster| !["failover", "balanced"].contains(&cluster.name.as_str()));
    resources.listeners = listeners.collect();
    let Some((running, addresses)) = run(folder.path(), bootstrap, cases.len()) else {
        return;
    };
    for (at, (proxies, remote, header, want)) in cases.iter().enumerate() {
        let header = format!("x-forwarded-for: {header}\r\n");
        let answer = ask(
            &addresses[&at.to_string()],
            "GET",
            "localhost",
            "/health",
            &header,
        );
        assert!(answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
        let line = (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let line = std::fs::read_to_string(log(at)).ok()?;
            line.ends_with('\n').then_some(line)
        });
        let line = line.expect("a line of the log within 5 s");
        assert_eq!(line.trim_end(), *want, "{header} by {proxies:?} {remote}");
    }
    drop(running);
}

fn ask(address: &str, method: &str, host: &str, path: &str, headers: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(10 * SECOND)).ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}connection: close\r\n\r\n"
    )
    .ok()?;
    // Up to the announced length only: Envoy is slow to close after an answer of its own.
    let mut answer = String::new();
    let mut block = [0; 4096];
    loop {
        let read = stream.read(&mut block).ok()?;
        answer.push_str(std::str::from_utf8(&block[..read]).ok()?);
        let whole = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))?;
            Some(body.len() >= length.parse().ok()?)
        });
        if read == 0 || whole == Some(true) {
            return Some(answer);
        }
    }
}
