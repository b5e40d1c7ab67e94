use std::time::Duration;

use crate::testing::{Holds, good, load_with, warnings};

#[test]
fn overrides() {
    let cases: &[(&str, &str, Holds<'_>)] = &[
        ("CC_ADAPTER_SERVER_PORT", "9401", &|c| {
            c.adapter.server.port == 9401
        }),
        ("CC_Enforcer_JwtGenerator_Enabled", "true", &|c| {
            c.enforcer.jwt_generator.enabled
        }),
        ("CC_Analytics_Adapter_bufferSizeBytes", "32768", &|c| {
            c.analytics.adapter.buffer_size_bytes == 32768
        }),
        ("CC_GlobalAdapter_RetryInterval", "25", &|c| {
            c.global_adapter.retry_interval == Duration::from_secs(25)
        }),
        ("cc_analytics_enforcer_configProperties_authToken", "t", &|c| {
            c.analytics.enforcer.config_properties["authToken"] == "t"
        }),
        ("cc_enforcer_security_tokenService_1_name", "n", &|c| {
            c.enforcer.security.token_service[1].name == "n"
        }),
        ("CC_ADAPTER_SERVER_USERS_0_PASSWORD", "$env{pw}", &|c| {
            c.adapter.server.users[0].password.matches("hidden")
        }),
        ("CC_ENFORCER_JWTISSUER_JWTUSER_0_USERNAME", "u", &|c| {
            c.enforcer.jwt_issuer.jwt_users[0].username == "u"
        }),
        ("CC_ENFORCER_JWTISSUER_JWTUSERS_0_USERNAME", "u", &|c| {
            c.enforcer.jwt_issuer.jwt_users[0].username == "u"
        }),
        ("CC_CONTROLPLANE_ENVIRONMENTLABELS", "Default, EU", &|c| {
            c.control_plane.environment_labels == ["Default", "EU"]
        }),
        ("CC_ROUTER_UPSTREAM_RETRY_STATUSCODES", "502, 503", &|c| {
            c.router.upstream.retry.status_codes == [502, 503]
        }),
        ("CC_ROUTER_CLUSTERTIMEOUTINSECONDS", "2m", &|c| {
            c.router.cluster_timeout == Duration::from_secs(120)
        }),
        ("CC_ROUTER_SYSTEMHOST", "gw.example.com", &|c| {
            c.router.system_host == "gw.example.com"
        }),
        ("CC_ROUTER_SYSTEMHOST", "", &|c| c.router.system_host.is_empty()),
        ("CC_TRACING_CONFIGPROPERTIES_HOST", "h", &|c| {
            c.tracing.config_properties["host"] == "h"
        }),
        ("CC_ADAPTER_CONSUL_URL", "https://c", &|c| {
            c.adapter.consul.url == "https://c"
        }),
        ("CC_CONTROLPLANE_HTTPCLIENT_REQUESTTIMEOUT", "3", &|c| {
            c.control_plane.http_client.request_timeout == Duration::from_secs(3)
        }),
        ("CC_ROUTER_CORS_ENABLED", "F", &|c| !c.router.cors.enabled),
    ];
    for (name, text, holds) in cases {
        let loaded = load_with("adapter.server.port = \"1\"", &[(name, text), ("pw", "hidden")]).unwrap();
        assert!(holds(&loaded.config), "{name}={text}");
        assert_eq!(loaded.warnings, [], "{name}");
    }
}

#[test]
fn overrides_that_do_not_fit_are_ignored_aloud() {
    let cases = [
        (
            "CC_ROUTER_LISTENERPORT",
            "many",
            Some(
                "environment variable CC_ROUTER_LISTENERPORT: router.listenerPort: \"many\" is not an integer, ignored",
            ),
        ),
        (
            "CC_ROUTER_CORS_ENABLED",
            "yes",
            Some(
                "environment variable CC_ROUTER_CORS_ENABLED: router.cors.enabled: expected true or false, ignored",
            ),
        ),
        (
            "cc_Router_ListnerPort",
            "1",
            Some(
                "environment variable cc_Router_ListnerPort: names no key, ignored (nearest known: CC_ROUTER_LISTENERPORT)",
            ),
        ),
        (
            "CC_ADAPTER_SERVER_USERS_1_PASSWORD",
            "x",
            Some(
                "environment variable CC_ADAPTER_SERVER_USERS_1_PASSWORD: names no key, ignored (nearest known: CC_ADAPTER_SERVER_USERS_0_PASSWORD)",
            ),
        ),
        (
            "CC_TRACING_CONFIGPROPERTIES_OTHER",
            "x",
            Some(
                "environment variable CC_TRACING_CONFIGPROPERTIES_OTHER: names no key, ignored (nearest known: CC_TRACING_CONFIGPROPERTIES_HOST)",
            ),
        ),
        ("CC_x86_64_unknown_linux_gnu", "clang", None),
        ("CC", "clang", None),
    ];
    for (name, text, want) in cases {
        let loaded = load_with("", &[(name, text)]).unwrap();
        assert_eq!(warnings(&loaded), want.into_iter().collect::<Vec<_>>(), "{name}");
        let plain = good("");
        assert_eq!(loaded.config, plain.config, "{name}");
    }
}
