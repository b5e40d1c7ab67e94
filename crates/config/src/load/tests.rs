use super::*;
use crate::error::Origin;
use crate::sections::{LogFormat, LogLevel};
use crate::testing::{env, errors, load_with};

#[test]
fn text_that_is_not_toml() {
    let cases = [
        ("a = $env{x}", "config.toml:1:5: "),
        (
            "[router]\nlistenerPort = 1\nlistenerPort = 2",
            "config.toml:3:1: ",
        ),
        ("[router\n", "config.toml:1:8: "),
        ("x = 99999999999999999999", ""),
    ];
    for (text, want) in cases {
        match load_with(text, &[]) {
            Err(errors) => assert!(errors[0].to_string().starts_with(want), "{text}: {errors:?}"),
            Ok(loaded) => assert!(want.is_empty(), "{text}: {loaded:?}"),
        }
    }
    let errors = errors("password = \"hunter2\" hunter2", &[]);
    assert!(
        errors.iter().all(|error| !error.contains("hunter2")),
        "{errors:?}"
    );
}

#[test]
fn keys_without_effect_are_listed_once_when_set() {
    type Variables<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(&str, Variables<'_>, &[&str])] = &[
        ("", &[], &[]),
        ("[analytics]\nenabled = false\ntype = \"ELK\"", &[], &[]),
        (
            "[analytics]\nenabled = true\ntype = \"ELK\"",
            &[],
            &["analytics.enabled", "analytics.type"],
        ),
        (
            "[router.filters.compression]\nenabled = true",
            &[],
            &["router.filters.compression.enabled"],
        ),
        ("[router.filters.compression]\nenabled = false", &[], &[]),
        (
            "[enforcer.throttling]\nenableGlobalEventPublishing = false\nenableHeaderConditions = true",
            &[],
            &[],
        ),
        (
            "[[enforcer.filters]]\nclassName = \"a\"\n[[enforcer.filters]]\nclassName = \"b\"\nposition = 2",
            &[],
            &["enforcer.filters.className", "enforcer.filters.position"],
        ),
        (
            "[enforcer.authService]\nport = 1\nmaxHeaderLimit = 2",
            &[],
            &["enforcer.authService.maxHeaderLimit"],
        ),
        (
            "[[enforcer.security.tokenService]]\nconsumerKeyClaim = \"\"\n[router.awsLambda]\nawsRegion = \"\"",
            &[],
            &[],
        ),
        // Its `enabled` has no meaning in the original: an API that names a function is enough.
        (
            "[router.awsLambda]\nawsRegion = \"eu-west-1\"",
            &[],
            &["router.awsLambda.awsRegion"],
        ),
        (
            "[controlPlane]\nenabled = true\nusername = \"a@b\"\nenvironmentLabels = [\"EU\"]\npassword = \"p\"\n[controlPlane.brokerConnectionParameters]\neventListeningEndpoints = []",
            &[],
            &[
                "controlPlane.brokerConnectionParameters.eventListeningEndpoints",
                "controlPlane.enabled",
                "controlPlane.password",
            ],
        ),
        ("", &[("CC_TRACING_ENABLED", "true")], &["tracing.enabled"]),
        ("", &[("CC_TRACING_CONFIGPROPERTIES_HOST", "h")], &[]),
        ("[router]\nlistenerPort = 1", &[], &[]),
    ];
    for (text, variables, want) in cases {
        assert_eq!(
            load_with(text, variables).unwrap().without_effect,
            *want,
            "{text} {variables:?}"
        );
    }
}

#[test]
fn strict_makes_errors_of_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let cases = [
        ("router.listnerPort = 1", false),
        ("router.listenerPort = 1\nrouter.ListenerPort = 2", false),
        ("router.systemHost = \"$env{unset}\"", false),
        ("adapter.consul.enable = false", true),
        ("", true),
    ];
    for (text, passes) in cases {
        std::fs::write(&file, text).unwrap();
        assert!(check(Some(&file), &env(&[]), false).is_ok(), "{text}");
        let strict = check(Some(&file), &env(&[]), true);
        assert_eq!(strict.is_ok(), passes, "{text}: {strict:?}");
        if let Err(errors) = strict {
            assert!(
                matches!(errors[..], [ConfigError::Strict(_)]),
                "{text}: {errors:?}"
            );
        }
    }
}

#[test]
fn the_file_is_found_where_the_variables_say() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "conf/config.toml"),
        (&[("MGW_HOME", "  ")], "conf/config.toml"),
        (&[("CC_HOME", "/c")], "/c/conf/config.toml"),
        (&[("CC_HOME", "/c"), ("MGW_HOME", "/m")], "/m/conf/config.toml"),
        (&[("TRIREME_CONF", "/t.toml"), ("MGW_HOME", "/m")], "/t.toml"),
    ];
    for (variables, want) in cases {
        assert_eq!(
            variables::conf(&variables.iter().copied().collect()),
            PathBuf::from(want),
            "{variables:?}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("conf")).unwrap();
    let home = folder.path().to_str().unwrap();
    let missing = load(None, &env(&[("MGW_HOME", home)])).unwrap_err();
    assert!(
        matches!(&missing[..], [ConfigError::Unreadable { file, .. }] if file.starts_with(home)),
        "{missing:?}"
    );
    std::fs::write(
        folder.path().join("conf/config.toml"),
        "\u{feff}router.listenerPort = 5",
    )
    .unwrap();
    assert_eq!(
        load(None, &env(&[("MGW_HOME", home)]))
            .unwrap()
            .config
            .router
            .listener_port,
        5
    );
}

#[test]
fn files_are_bounded_and_text() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    for bytes in [vec![b'#'; 4 * 1024 * 1024 + 1], vec![0xff, 0xfe]] {
        std::fs::write(&file, bytes).unwrap();
        assert!(
            matches!(load(Some(&file), &env(&[])), Err(errors) if matches!(errors[..], [ConfigError::Unreadable { .. }]))
        );
    }
    std::fs::write(&file, vec![b'#'; 4 * 1024 * 1024]).unwrap();
    assert!(load(Some(&file), &env(&[])).is_ok());
    let deep = format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(load_with(&deep, &[]).is_err());
}

#[test]
fn shipped_files_load_and_say_what_is_not_there_yet() {
    let conf = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf"));
    let loaded = check(Some(&conf.join("config.toml")), &env(&[]), true).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(
        loaded.without_effect,
        ["enforcer.security.tokenService.consumerKeyClaim"]
    );
    let names: Vec<_> = loaded
        .config
        .enforcer
        .security
        .token_service
        .iter()
        .map(|row| &*row.name)
        .collect();
    assert_eq!(names, ["Resident Key Manager", "MGW", "APIM Publisher"]);
    let log = load_log(Some(&conf.join("log_config.toml")), &Env::default());
    assert_eq!(log.warnings, []);
    assert_eq!(log.without_effect, [""; 0]);
    assert_eq!(log.config.packages.len(), 2);
}

#[test]
fn log_settings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log_config.toml");
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        load_log(Some(&file), &Env::default())
    };
    let loaded = load(
        "LogFormat = \"json\"\nlogLevel = \"DEBG\"\n[wireLogs]\nenable = true\n[[pkg]]\nname = \"p\"\nlogLevel = \"WARN\"\n[accessLogs]\nenable = true\nlogfile = \"$env{x}\"",
    );
    assert_eq!(
        (loaded.config.log_format, loaded.config.log_level),
        (LogFormat::Json, LogLevel::Debug)
    );
    assert_eq!(loaded.config.packages[0].log_level, LogLevel::Warn);
    assert_eq!(
        loaded.config.access_logs.logfile,
        PathBuf::from("$env{x}"),
        "nothing is substituted here"
    );
    assert_eq!(loaded.without_effect, ["wireLogs.enable"]);
    assert_eq!(loaded.warnings, []);
    for broken in ["logLevel = 5", "logLevel =", "\u{0}"] {
        let loaded = load(broken);
        assert_eq!(loaded.config, LogConfig::default(), "{broken}");
        assert!(
            matches!(loaded.warnings[..], [Warning::UnusableFile { .. }]),
            "{broken}: {:?}",
            loaded.warnings
        );
    }
}

#[test]
fn the_file_of_log_settings_is_found_where_the_variables_say() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let loaded = load_log(None, &Env::from_iter([("MGW_HOME", home)]));
    assert_eq!(
        (loaded.file, loaded.warnings),
        (folder.path().join("conf").join(LOG_FILE), vec![])
    );
    let named = folder.path().join("named.toml");
    let env = Env::from_iter([("LOG_CONFIG_PATH", named.to_str().unwrap())]);
    let loaded = load_log(None, &env);
    assert_eq!(loaded.file, named);
    assert!(
        matches!(loaded.warnings[..], [Warning::UnusableFile { .. }]),
        "{:?}",
        loaded.warnings
    );
    std::fs::write(&named, "logLevel = \"ERRO\"").unwrap();
    assert_eq!(load_log(None, &env).config.log_level, LogLevel::Error);
}

#[test]
fn origins_print_as_places() {
    let path = PathBuf::from("/c.toml");
    assert_eq!(
        Origin::Default { path: path.clone() }.to_string(),
        "/c.toml (default)"
    );
    assert_eq!(Origin::File { path, line: 3 }.to_string(), "/c.toml:3");
    assert_eq!(Origin::Variable("CC_X".to_owned()).to_string(), "CC_X");
}
