use super::*;

#[test]
fn defaults() {
    let env = Env::default();
    let router = RouterEnv::read(&env).unwrap();
    assert_eq!(
        (&*router.label, &*router.cluster, &*router.process.instance),
        ("Default", "default_cluster", "Unassigned")
    );
    assert_eq!(router.admin_bind.to_string(), "127.0.0.1:9000");
    assert_eq!(
        (router.http_bind, router.https_bind, router.process.workers),
        (None, None, None)
    );
    let peers = [
        &router.adapter,
        &router.enforcer,
        &router.enforcer_rest,
        &router.analytics,
    ]
    .map(ToString::to_string);
    assert_eq!(
        peers,
        [
            "adapter:18000",
            "enforcer:8081",
            "enforcer:9001",
            "enforcer:18090"
        ]
    );
    assert_eq!(
        (&*router.adapter_server_name, &*router.enforcer_server_name),
        ("adapter", "enforcer")
    );
    assert_eq!(router.process.conf, PathBuf::from("conf/config.toml"));
    assert_eq!(
        (
            router.process.state_dir,
            router.process.bound_file,
            router.process.exit_on_stdin_eof
        ),
        (None, None, false)
    );

    let enforcer = EnforcerEnv::read(&env).unwrap();
    assert_eq!(
        (&*enforcer.label, &*enforcer.region, enforcer.trust_system),
        ("Default", "UNKNOWN", true)
    );
    assert_eq!(
        (enforcer.grpc_bind, enforcer.rest_bind.to_string()),
        (None, "0.0.0.0:9001".to_owned())
    );
    assert_eq!(
        (enforcer.max_message_bytes, enforcer.retry_period),
        (4_194_304, Duration::from_secs(15))
    );
    assert_eq!(enforcer.opa_private_key, enforcer.private_key);

    let adapter = AdapterEnv::read(&env).unwrap();
    assert_eq!(
        (adapter.xds_bind.to_string(), adapter.rest_bind),
        ("0.0.0.0:18000".to_owned(), None)
    );
}

#[test]
fn values() {
    let env = Env::from_iter([
        ("ROUTER_LABEL", "EU"),
        ("ROUTER_ADMIN_HOST", "0.0.0.0"),
        ("ROUTER_ADMIN_PORT", "9100"),
        ("ROUTER_CLUSTER", ""),
        ("ADAPTER_HOST", "10.0.0.1"),
        ("ADAPTER_PORT", "18001"),
        ("ADAPTER_HOST_NAME", "adapter.example"),
        ("ENFORCER_HOST", "::1"),
        ("ENFORCER_REST_PORT", "19001"),
        ("ENFORCER_ANALYTICS_HOST", "logs"),
        ("CONCURRENCY", "3"),
        ("TRAILING_ARGS", "--log-level trace"),
        ("TRIREME_ROUTER_HTTP_BIND", "127.0.0.1:0"),
        ("TRIREME_ROUTER_HTTPS_BIND", "[::1]:8443"),
        ("TRIREME_ROUTER_HANDOVER", "/run/router.sock"),
        ("TRIREME_STATE_DIR", "/state"),
        ("TRIREME_BOUND_FILE", "/bound"),
        ("TRIREME_EXIT_ON_STDIN_EOF", "1"),
        ("HOSTNAME", "pod-1"),
    ]);
    let router = RouterEnv::read(&env).unwrap();
    assert_eq!(
        (&*router.label, &*router.cluster, &*router.process.instance),
        ("EU", "default_cluster", "pod-1")
    );
    assert_eq!(router.admin_bind.to_string(), "0.0.0.0:9100");
    let peers = [
        &router.adapter,
        &router.enforcer,
        &router.enforcer_rest,
        &router.analytics,
    ]
    .map(ToString::to_string);
    assert_eq!(
        peers,
        ["10.0.0.1:18001", "[::1]:8081", "[::1]:19001", "logs:18090"]
    );
    assert_eq!(
        (&*router.adapter_server_name, &*router.enforcer_server_name),
        ("adapter.example", "enforcer"),
        "a certificate holds the peer's name, wherever it is reached"
    );
    assert_eq!(
        router.http_bind.map(|bind| bind.to_string()).as_deref(),
        Some("127.0.0.1:0")
    );
    assert_eq!(
        router.https_bind.map(|bind| bind.to_string()).as_deref(),
        Some("[::1]:8443")
    );
    assert_eq!(
        router.handover.as_deref(),
        Some(std::path::Path::new("/run/router.sock"))
    );
    assert_eq!(router.process.workers, NonZeroUsize::new(3));
    assert_eq!(
        router.process.ignored,
        ["ENFORCER_ANALYTICS_HOST", "TRAILING_ARGS"]
    );
    assert!(router.process.exit_on_stdin_eof);

    let env = Env::from_iter([
        ("TRIREME_WORKERS", "2"),
        ("CONCURRENCY", "3"),
        ("TRUST_DEFAULT_CERTS", "False"),
        ("ADAPTER_XDS_PORT", "18002"),
        ("TRIREME_ENFORCER_GRPC_BIND", ":0"),
        ("TRIREME_ENFORCER_ADMIN_BIND", "localhost:0"),
        ("OPA_CLIENT_PRIVATE_KEY_PATH", "/opa.key"),
    ]);
    let enforcer = EnforcerEnv::read(&env).unwrap();
    assert_eq!(
        (enforcer.process.workers, enforcer.trust_system),
        (NonZeroUsize::new(2), false)
    );
    assert_eq!(
        (enforcer.adapter.port, &*enforcer.adapter_server_name),
        (18002, "adapter")
    );
    assert_eq!(
        enforcer.grpc_bind.map(|bind| bind.to_string()).as_deref(),
        Some("0.0.0.0:0")
    );
    assert_eq!(enforcer.admin_bind.to_string(), "127.0.0.1:0");
    assert_eq!(
        (enforcer.opa_private_key, enforcer.opa_certificate),
        (PathBuf::from("/opa.key"), enforcer.certificate)
    );
    assert_eq!(AdapterEnv::read(&env).unwrap().xds_bind.port(), 18002);
}

#[test]
fn what_has_no_meaning_is_named_when_somebody_relies_on_it() {
    let usual = [
        ("ENFORCER_REGION", "UNKNOWN"),
        ("XDS_MAX_MSG_SIZE", "4194304"),
        ("XDS_MAX_RETRIES", "3"),
        ("JAVA_OPTS", ""),
        ("ENFORCER_HOST", "enforcer"),
        ("ENFORCER_ANALYTICS_HOST", "enforcer"),
        ("ENFORCER_ANALYTICS_RECEIVER_PORT", "18090"),
    ];
    let env = Env::from_iter(usual);
    assert!(EnforcerEnv::read(&env).unwrap().process.ignored.is_empty());
    assert!(RouterEnv::read(&env).unwrap().process.ignored.is_empty());
    let env = Env::from_iter([
        ("ENFORCER_REGION", "EU"),
        ("XDS_MAX_MSG_SIZE", "8388608"),
        ("XDS_MAX_RETRIES", "9"),
        ("JAVA_OPTS", "-Xmx1g"),
        ("ENFORCER_ANALYTICS_RECEIVER_PORT", "18091"),
    ]);
    assert_eq!(
        EnforcerEnv::read(&env).unwrap().process.ignored,
        [
            "ENFORCER_REGION",
            "JAVA_OPTS",
            "XDS_MAX_MSG_SIZE",
            "XDS_MAX_RETRIES"
        ]
    );
    assert_eq!(
        RouterEnv::read(&env).unwrap().process.ignored,
        ["ENFORCER_ANALYTICS_RECEIVER_PORT"]
    );
}

#[test]
fn wrong_values_are_all_named() {
    let env = Env::from_iter([
        ("ADAPTER_PORT", "many"),
        ("ENFORCER_PORT", "70000"),
        ("ROUTER_ADMIN_HOST", "not an address"),
        ("TRIREME_ROUTER_HTTP_BIND", "9090"),
        ("TRIREME_WORKERS", "0"),
        ("TRIREME_EXIT_ON_STDIN_EOF", "maybe"),
    ]);
    let mut names: Vec<_> = RouterEnv::read(&env)
        .unwrap_err()
        .into_iter()
        .map(|error| match error {
            ConfigError::Variable { name, .. } => name,
            other => panic!("{other}"),
        })
        .collect();
    names.sort();
    let mut want: Vec<_> = env.iter().map(|(name, _)| name.to_owned()).collect();
    want.sort();
    assert_eq!(names, want);
}
