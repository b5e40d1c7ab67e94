use std::path::PathBuf;
use std::time::Duration;

use crate::Warning;
use crate::sections::{CodecType, TlsVersion};
use crate::testing::{Holds, errors, good, load_with, warnings};

#[test]
fn keys_match_in_four_spellings() {
    let cases = [
        ("[router.upstream.dns]\nDNSRefreshRate = 7", Some(7)),
        ("[router.upstream.dns]\ndnsrefreshrate = 7", Some(7)),
        ("[router.upstream.dns]\nDNSREFRESHRATE = 7", Some(7)),
        ("[router.upstream.dns]\ndNSRefreshRate = 7", Some(7)),
        ("[Router.UPSTREAM.Dns]\ndNSRefreshRate = 7", Some(7)),
        ("router.upstream.dns.dNSRefreshRate = 7", Some(7)),
        ("[router.upstream.dns]\ndnsRefreshRate = 7", None),
        ("[router.upstream.dns]\nDnsRefreshRate = 7", None),
        ("[roUter.upstream.dns]\ndNSRefreshRate = 7", None),
    ];
    for (text, want) in cases {
        let loaded = good(text);
        let got = loaded.config.router.upstream.dns.dns_refresh_rate;
        assert_eq!(got, Duration::from_millis(want.unwrap_or(5000)), "{text}");
        assert_eq!(
            loaded.warnings.len(),
            usize::from(want.is_none()),
            "{text}: {:?}",
            loaded.warnings
        );
    }
}

#[test]
fn of_several_spellings_the_first_in_the_originals_order_counts() {
    let loaded = good("[router]\nlistenerPort = 1\nListenerPort = 2\nLISTENERPORT = 3");
    assert_eq!(loaded.config.router.listener_port, 2);
    assert_eq!(
        warnings(&loaded),
        [
            "config.toml:4: router.LISTENERPORT: ignored, ListenerPort counts",
            "config.toml:2: router.listenerPort: ignored, ListenerPort counts",
        ]
    );
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    let loaded = good(
        "nonsense = 1\n[router]\nlistnerPort = 1\n[router.connectionTimeout]\nidle = 1\n[[adapter.server.users]]\nuser = \"x\"\nusername = \"a\"\npassword = \"b\"\n[controlPlane.httpClient]\nrequestTimeOut = 1",
    );
    let mut got = warnings(&loaded);
    got.sort();
    assert_eq!(
        got,
        [
            "config.toml:10: controlPlane.httpClient: unknown key, ignored (nearest known: controlPlane.HTTPClient)",
            "config.toml:1: nonsense: unknown key, ignored",
            "config.toml:3: router.listnerPort: unknown key, ignored (nearest known: router.listenerPort)",
            "config.toml:4: router.connectionTimeout: unknown key, ignored (nearest known: router.connection.timeouts)",
            "config.toml:7: adapter.server.users[0].user: unknown key, ignored (nearest known: adapter.server.users.username)",
        ]
    );
}

#[test]
fn tables_merge_lists_and_maps_replace() {
    let loaded = good(
        r#"
        [router.cors]
        allowOrigins = ["https://a"]
        [[adapter.vhostMapping]]
        environment = "EU"
        vhost = "eu.example"
        [[enforcer.security.tokenService]]
        name = "only"
        [[enforcer.security.tokenService.claimMapping]]
        remoteClaim = "r"
        localClaim = "l"
        [tracing.configProperties]
        host = "h"
        port = 9411
        "x.y" = true
        publisher.reporter.class = "c"
        "#,
    );
    let config = &loaded.config;
    assert_eq!(config.router.cors.allow_origins, ["https://a"]);
    assert_eq!(
        config.router.cors.allow_methods.len(),
        6,
        "the rest of a table keeps its defaults"
    );
    assert_eq!(config.router.listener_port, 9090);
    let rows: Vec<_> = config
        .adapter
        .vhost_mapping
        .iter()
        .map(|row| (&*row.environment, &*row.vhost))
        .collect();
    assert_eq!(rows, [("EU", "eu.example")]);
    let [only] = &config.enforcer.security.token_service[..] else {
        panic!("{:?}", config.enforcer.security)
    };
    assert_eq!(
        (&*only.name, &*only.issuer, only.validate_subscription),
        ("only", "", false)
    );
    assert_eq!(
        only.certificate_file_path,
        PathBuf::new(),
        "rows start from nothing, not from defaults"
    );
    assert_eq!(
        (
            &*only.claim_mapping[0].remote_claim,
            &*only.claim_mapping[0].local_claim
        ),
        ("r", "l")
    );
    let map: Vec<_> = config
        .tracing
        .config_properties
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    assert_eq!(
        map,
        [
            ("host", "h"),
            ("port", "9411"),
            ("publisher.reporter.class", "c"),
            ("x.y", "true")
        ]
    );
    assert_eq!(loaded.warnings, []);
}

#[test]
fn an_empty_list_is_a_list() {
    let loaded = good("adapter.vhostMapping = []\nrouter.upstream.retry.statusCodes = []");
    assert!(loaded.config.adapter.vhost_mapping.is_empty());
    assert!(loaded.config.router.upstream.retry.status_codes.is_empty());
}

#[test]
fn inline_rows() {
    let loaded = good(
        r#"adapter.server.users = [{ username = "a", password = "1" }, { Username = "b", PASSWORD = "2" }]"#,
    );
    let users: Vec<_> = loaded
        .config
        .adapter
        .server
        .users
        .iter()
        .map(|u| (&*u.username, u.password.reveal()))
        .collect();
    assert_eq!(users, [("a", "1"), ("b", "2")]);
}

#[test]
fn wrong_values_are_all_reported_with_key_file_and_line() {
    let text = r#"
router = { listenerPort = 70000, securedListenerPort = -1, systemHost = 5, listenerHost = "not an ip" }
[adapter.server]
enabled = "yes"
port = "99999"
users = "admin"
[adapter]
keystore = 5
vhostMapping = ["a"]
[router.upstream.timeouts]
routeTimeoutInSeconds = -5
maxRouteTimeoutInSeconds = "a while"
[router.upstream.retry]
statusCodes = [504, "x"]
[tracing.configProperties]
a = [1]
"#;
    let text = text
        .replacen("router = { ", "[router]\n", 1)
        .replacen(" }\n", "\n", 1)
        .replacen(", securedL", "\nsecuredL", 1);
    let text =
        text.replacen(", systemHost", "\nsystemHost", 1)
            .replacen(", listenerHost", "\nlistenerHost", 1);
    let mut got = errors(&text, &[]);
    got.sort();
    assert_eq!(
        got,
        [
            "config.toml:10: adapter.server.users: expected an array of tables, found string",
            "config.toml:12: adapter.keystore: expected a table, found integer",
            "config.toml:13: adapter.vhostMapping[0]: expected a table, found string",
            "config.toml:15: router.upstream.timeouts.routeTimeoutInSeconds: -5 is negative",
            "config.toml:16: router.upstream.timeouts.maxRouteTimeoutInSeconds: \"a while\" is not a duration such as \"20s\" or \"1h30m\"",
            "config.toml:18: router.upstream.retry.statusCodes: element 1: expected an integer, found string",
            "config.toml:20: tracing.configProperties.a: expected text, found array",
            "config.toml:3: router.listenerPort: 70000 is not between 0 and 65535",
            "config.toml:4: router.securedListenerPort: -1 is not between 0 and 65535",
            "config.toml:5: router.systemHost: expected a string, found integer",
            "config.toml:6: router.listenerHost: \"not an ip\" is not an address to bind",
            "config.toml:8: adapter.server.enabled: expected a boolean, found string",
            "config.toml:9: adapter.server.port: 99999 is not between 0 and 65535",
        ]
    );
}

#[test]
fn values_that_the_original_replaces() {
    let loaded = good(
        "[router]\nlistenerCodecType = \"http2\"\n[router.upstream.tls]\nminimumProtocolVersion = \"SSL3\"\nciphers = \" A, ,B\"\n[adapter.server]\ntokenTTL = \"48h\"",
    );
    assert_eq!(loaded.config.router.listener_codec_type, CodecType::Http2);
    assert_eq!(
        loaded.config.router.upstream.tls.minimum_protocol_version,
        TlsVersion::Auto
    );
    assert_eq!(loaded.config.router.upstream.tls.ciphers, ["A", "B"]);
    assert_eq!(
        loaded.config.adapter.server.token_ttl,
        Duration::from_secs(24 * 3600)
    );
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    for (text, want) in [
        ("\"\"", 3600),
        ("\"soon\"", 3600),
        ("\"0s\"", 3600),
        ("\"90s\"", 90),
    ] {
        let loaded = good(&format!("adapter.server.tokenTTL = {text}"));
        assert_eq!(
            loaded.config.adapter.server.token_ttl,
            Duration::from_secs(want),
            "{text}"
        );
    }
}

#[test]
fn durations() {
    let cases = [
        ("router.clusterTimeoutInSeconds = 7", 7_000),
        ("router.clusterTimeoutInSeconds = \"1m30s\"", 90_000),
        ("router.clusterTimeoutInSeconds = \"$env{T}\"", 250),
    ];
    for (text, want) in cases {
        let loaded = load_with(text, &[("T", "250ms")]).unwrap();
        assert_eq!(
            loaded.config.router.cluster_timeout,
            Duration::from_millis(want),
            "{text}"
        );
    }
    let loaded = good("analytics.adapter.bufferFlushInterval = 5000000\nenforcer.cache.expiryTime = 3");
    assert_eq!(
        loaded.config.analytics.adapter.buffer_flush_interval,
        Duration::from_millis(5)
    );
    assert_eq!(loaded.config.enforcer.cache.expiry_time, Duration::from_secs(180));
}

#[test]
fn variables_in_values() {
    let variables = [
        ("HOST", "gw$1"),
        ("EMPTY", ""),
        ("PORT", "1234"),
        ("DIR", "/d"),
        ("NOT", "no"),
    ];
    let loaded = load_with(
        r#"
        [adapter]
        artifactsDirectory = "$env{DIR}/a/$env{DIR}"
        [adapter.server]
        port = "$env{PORT}"
        [[adapter.vhostMapping]]
        environment = "E$env{EMPTY}"
        vhost = "$env{HOST}"
        [router]
        systemHost = "$env{MISSING}"
        [router.cors]
        allowOrigins = ["$env{HOST}", "b"]
        [enforcer.jwtIssuer]
        issuer = "$env{HOST}"
        [tracing.configProperties]
        host = "$env{HOST}"
        token = "$env{MISSING}"
        "#,
        &variables,
    )
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.adapter.artifacts_directory, PathBuf::from("/d/a//d"));
    assert_eq!(config.adapter.server.port, 1234);
    assert_eq!(
        (
            &*config.adapter.vhost_mapping[0].environment,
            &*config.adapter.vhost_mapping[0].vhost
        ),
        ("E", "gw$1")
    );
    assert_eq!(config.router.cors.allow_origins, ["gw$1", "b"]);
    assert_eq!(config.router.system_host, "$env{MISSING}");
    assert_eq!(
        config.enforcer.jwt_issuer.issuer, "$env{HOST}",
        "the enforcer resolves its own section"
    );
    assert_eq!(config.tracing.config_properties["host"], "gw$1");
    assert_eq!(config.tracing.config_properties["token"], "$env{MISSING}");
    assert_eq!(
        warnings(&loaded),
        [
            "config.toml:10: router.systemHost: the environment variable MISSING is not set, the text stays as written"
        ]
    );
    assert!(
        errors("adapter.server.port = \"$env{NOT}\"", &variables)[0].contains("\"no\" is not an integer")
    );
}

#[test]
fn variables_in_features_that_are_off_are_nobodys_business() {
    let loaded = good("globalAdapter.localLabel = \"$env{local_label}\"");
    assert_eq!(
        (&*loaded.config.global_adapter.local_label, &loaded.warnings[..]),
        ("$env{local_label}", &[][..])
    );
    let on = "globalAdapter.localLabel = \"$env{local_label}\"\nglobalAdapter.enabled = true";
    assert_eq!(good(on).warnings.len(), 1);
    let replaced = load_with(on, &[("CC_GLOBALADAPTER_LOCALLABEL", "here")]).unwrap();
    assert_eq!(
        (
            &*replaced.config.global_adapter.local_label,
            &replaced.warnings[..]
        ),
        ("here", &[][..])
    );
}

#[test]
fn deprecated_names() {
    let cases: &[(&str, Holds<'_>)] = &[
        ("adapter.consul.enable = true", &|c| c.adapter.consul.enabled),
        // The original's field is spelled so, unlike that of the adapter.
        ("router.keyStore.certPath = \"old\"", &|c| {
            c.router.keystore.cert_path.as_os_str() == "old"
        }),
        ("adapter.consul = { enable = false, enabled = true }", &|c| {
            c.adapter.consul.enabled
        }),
        ("enforcer.restServer = { enable = false, enabled = true }", &|c| {
            !c.enforcer.rest_server.enabled
        }),
        ("enforcer.restServer = { enable = true, enabled = false }", &|c| {
            !c.enforcer.rest_server.enabled
        }),
        (
            "controlPlane = { serviceUrl = \"old\", serviceURL = \"new\" }",
            &|c| c.control_plane.service_url == "old",
        ),
        (
            "controlPlane = { serviceUrl = \"\", serviceURL = \"new\" }",
            &|c| c.control_plane.service_url == "new",
        ),
        ("globalAdapter.overwriteHostName = \"old\"", &|c| {
            c.global_adapter.override_host_name == "old"
        }),
        ("enforcer.throttling.jmsConnectionProviderUrl = \"old\"", &|c| {
            c.enforcer.throttling.jms_connection_provider_url.matches("old")
        }),
        (
            "enforcer.throttling.publisher.urlGroup = [{ type = \"old\" }]",
            &|c| {
                c.enforcer.throttling.publisher.url_group.len() == 1
                    && c.enforcer.throttling.publisher.url_group[0].kind == "old"
            },
        ),
        (
            "enforcer.throttling.publisher = { urlGroup = [], URLGroup = [{ type = \"new\" }] }",
            &|c| c.enforcer.throttling.publisher.url_group[0].kind == "new",
        ),
    ];
    for (text, holds) in cases {
        let loaded = good(text);
        assert!(holds(&loaded.config), "{text}");
        assert!(
            matches!(loaded.warnings[..], [Warning::Deprecated { .. }]),
            "{text}: {:?}",
            loaded.warnings
        );
    }
}

#[test]
fn many_unknown_keys_stay_cheap() {
    let text: String = (0..20_000).map(|n| format!("unknown{n} = 1\n")).collect();
    assert_eq!(good(&text).warnings.len(), 20_000);
}
