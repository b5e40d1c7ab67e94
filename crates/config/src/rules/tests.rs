use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::error::ConfigError;
use crate::load::{Loaded, load_text};
use crate::testing::{errors, good};

#[test]
fn passwords_without_a_value_refuse_to_start_where_they_are_used() {
    let bare = |text: &str| load_text(text, Path::new("config.toml"), &Env::default());
    let message = |result: Result<Loaded, Vec<ConfigError>>| match result {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ConfigError::report).collect(),
    };
    let unset = |origin: &str, key: &str, variable: &str| {
        vec![format!(
            "{origin}: {key}: has no value: the environment variable {variable} is not set"
        )]
    };
    let user = "adapter.server.users[0].password";
    let off = "adapter.server.enabled = false\n";
    assert_eq!(
        message(bare("")),
        unset("config.toml (default)", user, "adapter_admin_pwd")
    );
    assert_eq!(
        message(bare(
            "[[adapter.server.users]]\nusername = \"a\"\npassword = \"$env{mine}\""
        )),
        unset("config.toml:3", user, "mine")
    );
    assert_eq!(message(bare(off)), Vec::<String>::new());
    assert_eq!(
        message(bare(&format!(
            "{off}[enforcer.throttling]\nenableGlobalEventPublishing = true"
        ))),
        Vec::<String>::new()
    );
    let control_plane = message(bare(&format!("{off}[controlPlane]\nenabled = true")));
    assert_eq!(control_plane.len(), 2, "{control_plane:?}");
    assert!(
        control_plane.iter().all(|error| error.contains("cp_admin_pwd")),
        "{control_plane:?}"
    );
    assert_eq!(
        message(bare(
            "[[adapter.server.users]]\nusername = \"a\"\npassword = \"\""
        )),
        ["config.toml:3: adapter.server.users[0].password: must not be empty"]
    );
    assert_eq!(
        message(bare("[[adapter.server.users]]\npassword = \"x\"")),
        ["config.toml (default): adapter.server.users[0].username: must not be empty"]
    );
}

#[test]
fn passwords_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "s3cret\n").unwrap();
    let text = format!(
        "adapter.server.users = [{{ username = \"a\", password = \"$file{{{}}}\" }}]",
        path.display()
    );
    assert!(
        good(&text).config.adapter.server.users[0]
            .password
            .matches("s3cret")
    );
}

#[test]
fn rules() {
    let key = "enforcer.jwtGenerator.keypair";
    let pair = |sign: bool, private: &str| {
        format!("{{ publicCertificatePath = \"p\", privateKeyPath = \"{private}\", useForSigning = {sign} }}")
    };
    let generator = |pairs: &[String]| {
        format!(
            "[enforcer.jwtGenerator]\nenabled = true\nkeypair = [{}]",
            pairs.join(", ")
        )
    };
    let cases = [
        (generator(&[]), format!("config.toml:3: {key}: no entry has useForSigning = true")),
        (generator(&[pair(false, "k")]), format!("config.toml:3: {key}: no entry has useForSigning = true")),
        (
            generator(&[pair(true, "k"), pair(true, "k")]),
            format!("config.toml:3: {key}: more than one entry has useForSigning = true"),
        ),
        (generator(&[pair(true, "")]), format!("config.toml:3: {key}: the signing entry has no privateKeyPath")),
        (
            "[router]\nlistenerPort = 0\nsecuredListenerPort = 0".to_owned(),
            "config.toml:3: router.securedListenerPort: both listeners are off, router.listenerPort is 0 as well".to_owned(),
        ),
        (
            "router.listenerPort = 9095".to_owned(),
            "config.toml (default): router.securedListenerPort: is also the port of the plain listener".to_owned(),
        ),
        (
            "router.connection.maxRequestHeadInKiB = 0".to_owned(),
            "config.toml:1: router.connection.maxRequestHeadInKiB: must be 1 to 8192".to_owned(),
        ),
        (
            "router.clientAddress = { trustedHops = 1, trustedRanges = [\"10.0.0.0/8\"] }".to_owned(),
            "config.toml:1: router.clientAddress.trustedRanges: cannot stand beside trustedHops".to_owned(),
        ),
        (
            "router.clientAddress.trustedRanges = [\"10.0.0.1\", \"10.0.0.0/33\"]".to_owned(),
            "config.toml:1: router.clientAddress.trustedRanges: element 1: \"10.0.0.0/33\" is not a range of addresses such as 10.0.0.0/8"
                .to_owned(),
        ),
    ];
    for (text, want) in cases {
        assert_eq!(errors(&text, &[]), [want], "{text}");
    }
    let loaded = good(&generator(&[pair(true, "k"), pair(false, "hidden")]));
    let keys: Vec<_> = loaded
        .config
        .enforcer
        .jwt_generator
        .keypair
        .iter()
        .map(|pair| &pair.private_key_path)
        .collect();
    assert_eq!(keys, [&PathBuf::from("k"), &PathBuf::new()]);
}
