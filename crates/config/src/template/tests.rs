use std::path::Path;

use super::*;
use crate::env::Env;
use crate::load::load_text;
use crate::overlay::nearest;
use crate::sections::User;

const CONF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf");

fn passwords() -> Env {
    Env::from_iter([("adapter_admin_pwd", "$env{adapter_admin_pwd}")])
}

#[test]
fn the_file_is_the_generated_one() {
    let file = std::fs::read_to_string(Path::new(CONF).join("config.toml.template")).unwrap();
    assert!(
        file == template(),
        "conf/config.toml.template differs from the schema: run cargo xtask golden"
    );
}

#[test]
fn loads_as_the_defaults() {
    let loaded = load_text(&template(), Path::new("template"), &passwords()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, []);
}

#[test]
fn has_every_key() {
    let text = template();
    for key in keys() {
        let last = key.rsplit('.').next().unwrap();
        let there = [format!("{last} = "), format!("[{key}]")];
        assert!(
            there.iter().any(|there| text.contains(there)) || key == "adapter" || is_bare(&key),
            "{key}"
        );
    }
}

/// Tables that hold tables only need no header, yet get one.
fn is_bare(key: &str) -> bool {
    template().contains(&format!("[{key}."))
}

#[test]
fn every_key_has_a_comment() {
    fn look(section: &mut dyn Section) {
        section.fields(&mut |key, shape| {
            assert!(
                key.comment.trim().ends_with('.') || key.comment.trim().ends_with(':'),
                "{}",
                key.name
            );
            if let Shape::Section(section) = shape {
                look(section);
            }
        });
    }
    look(&mut Config::default());
}

#[test]
fn prints_what_is_in_use_without_secrets() {
    let mut config = Config::default();
    config.adapter.server.users = vec![User {
        username: "eve".to_owned(),
        password: crate::Secret::new("hunter2"),
    }];
    config.router.listener_port = 1234;
    let text = redacted(&config);
    assert!(
        text.contains("username = \"eve\"\npassword = \"***\"\n"),
        "{text}"
    );
    assert!(text.contains("listenerPort = 1234\n"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains('#'), "{text}");
    assert!(text.contains("eventListeningEndpoints = \"***\"\n"), "{text}");
    assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
}

#[test]
fn suggestions() {
    let known = keys();
    let cases = [
        (
            "router.upstream.dns.dnsRefreshRate",
            Some("router.upstream.dns.dNSRefreshRate"),
        ),
        ("router.connectionTimeout", Some("router.connection.timeouts")),
        ("controlPlane.httpClient", Some("controlPlane.HTTPClient")),
        ("router.listnerPort", Some("router.listenerPort")),
        (
            "adapter.server.users.pasword",
            Some("adapter.server.users.password"),
        ),
        ("routr", Some("router")),
        (
            "enforcer.routeIdleTimeoutInSeconds",
            Some("router.upstream.timeouts.routeIdleTimeoutInSeconds"),
        ),
        ("somethingElse", None),
    ];
    for (key, want) in cases {
        assert_eq!(nearest(key, &known).as_deref(), want, "{key}");
    }
}
