use super::*;
use crate::{Balance, EndpointCluster};
use std::time::Duration;

fn urls(cluster: Option<&EndpointCluster>) -> String {
    let Some(cluster) = cluster else {
        return "-".to_owned();
    };
    let mark = if cluster.balance == Balance::Failover {
        "!"
    } else {
        ""
    };
    let urls: Vec<&str> = cluster
        .endpoints
        .iter()
        .map(|endpoint| endpoint.url.as_str())
        .collect();
    format!("{mark}{}", urls.join(" "))
}

fn sides(api: &ApiProject) -> (String, String) {
    (urls(api.production.as_ref()), urls(api.sandbox.as_ref()))
}

const BOTH: &str = "  endpointConfig:\n    production_endpoints: {url: http://yaml-prod}\n    sandbox_endpoints: {url: http://yaml-sand}\n";

#[test]
fn precedence() {
    let servers =
        "servers: [{url: 'https://s1.example/v1'}, {url: /rel}, {url: 'ftp://no'}, {url: 's2.example/v1'}]\n";
    let templated = "servers: [{url: 'https://{region}.example/{v}', variables: {region: {default: eu}, v: {default: v9}}}]\n";
    let production = "x-wso2-production-endpoints: {urls: ['http://ext-prod'], type: load_balance}\n";
    let sandbox = "x-wso2-sandbox-endpoints: {urls: ['http://ext-sand'], type: failover_x}\n";
    let cases: [(&str, String, &str, &str); 10] = [
        ("api.yaml", String::new(), "http://yaml-prod", "http://yaml-sand"),
        (
            "servers clear the sandbox",
            servers.to_owned(),
            "https://s1.example/v1 http://s2.example/v1",
            "-",
        ),
        (
            "variable hosts don't count where there are others",
            templated.to_owned(),
            "http://yaml-prod",
            "http://yaml-sand",
        ),
        (
            "nor do variable schemes",
            "servers: [{url: '{s}://h.example/v1', variables: {s: {default: https}}}]\n".to_owned(),
            "http://yaml-prod",
            "http://yaml-sand",
        ),
        (
            "variable paths do",
            "servers: [{url: 'https://h.example/{v}', variables: {v: {default: v9}}}]\n".to_owned(),
            "https://h.example/v9",
            "-",
        ),
        (
            "production extension",
            production.to_owned(),
            "http://ext-prod",
            "http://yaml-sand",
        ),
        (
            "production extension and servers",
            format!("{servers}{production}"),
            "http://ext-prod",
            "-",
        ),
        (
            "sandbox extension alone",
            sandbox.to_owned(),
            "-",
            "!http://ext-sand",
        ),
        (
            "sandbox extension and servers",
            format!("{servers}{sandbox}"),
            "-",
            "!http://ext-sand",
        ),
        (
            "both",
            format!("{servers}{production}{sandbox}"),
            "http://ext-prod",
            "!http://ext-sand",
        ),
    ];
    for (name, root, production, sandbox) in cases {
        let api = accepted(pets(BOTH, &openapi(&format!("{root}{PATHS}"))));
        assert_eq!(sides(&api), (production.to_owned(), sandbox.to_owned()), "{name}");
    }
    let api = accepted(alone(&openapi(&format!("{templated}{PATHS}"))));
    assert_eq!(sides(&api).0, "https://eu.example/v9", "better than none");
    let prototype = format!("{BOTH}    implementation_status: prototyped\n");
    let two = format!("swagger: '2.0'\nhost: a.example\nbasePath: /v2\n{PATHS}");
    let api = accepted(pets(&prototype, &two));
    assert_eq!(
        (sides(&api).0.as_str(), api.base_path.as_str()),
        ("http://yaml-prod", "/v2")
    );
    let api = accepted(pets(&prototype, &openapi(&format!("{servers}{PATHS}"))));
    assert_eq!(
        (sides(&api).0.as_str(), api.base_path.as_str()),
        ("http://yaml-prod", "/pets/1.0.0")
    );
}

#[test]
fn openapi_2_hosts() {
    let cases = [
        (
            "host: a.example\nbasePath: /v2\nschemes: [http, https]\n",
            "https://a.example/v2",
        ),
        ("host: a.example:8080\nbasePath: v2\n", "http://a.example:8080/v2"),
        ("host: a.example\nschemes: [wss]\n", "http://a.example"),
        ("basePath: /v2\n", "-"),
        ("host: a_b\n", "http://a_b"),
        ("host: '[::1]'\n", "-"),
    ];
    for (root, want) in cases {
        let definition = format!("swagger: '2.0'\ninfo: {{title: t, version: v}}\n{root}{PATHS}");
        assert_eq!(sides(&accepted(alone(&definition))).0, want, "{root}");
    }
}

#[test]
fn openapi_2_schemes_must_be_a_list() {
    let definition = format!("swagger: '2.0'\nhost: a.example\nschemes: https\n{PATHS}");
    assert_eq!(
        errors(alone(&definition)),
        ["error: my api.yaml#/schemes: must be a list"],
        "plain HTTP to such a host would be a surprise"
    );
}

/// The default of a variable is text (OpenAPI 3.0.3, Server Variable Object).
#[test]
fn server_variables_are_taken_as_written() {
    let definition = |url: &str, value: &str| {
        openapi(&format!(
            "servers: [{{url: '{url}', variables: {{v: {{default: {value}}}}}}}]\n{PATHS}"
        ))
    };
    for value in ["no", "y", "1.10", "017", "0x10", "1_0", "8"] {
        for url in ["http://b1/{v}", "http://b1/x/{v}/"] {
            let api = accepted(alone(&definition(url, value)));
            assert_eq!(
                urls(api.production.as_ref()),
                url.replace("{v}", value),
                "{value}"
            );
        }
    }
    let host = accepted(alone(&definition("http://h{v}.example/a", "1.10")));
    assert_eq!(urls(host.production.as_ref()), "http://h1.10.example/a");
    assert_eq!(
        warnings(alone(&definition("http://b1/{v}", "no"))),
        [
            "warning: my api.yaml#/servers/0/variables/v/default: taken as written; other readers may make true or false of it: put \
             quotes around it"
        ]
    );
    let json = "{\"openapi\": \"3.0.0\", \"info\": {\"title\": \"t\", \"version\": \"1\"}, \"servers\": [{\"url\": \"http://b1/v{v}\", \
                \"variables\": {\"v\": {\"default\": 2.0}}}], \"paths\": {\"/a\": {\"get\": {}}}}";
    assert_eq!(urls(accepted(alone(json)).production.as_ref()), "http://b1/v2.0");
}

#[test]
fn api_yaml_shapes() {
    let config = |text: &str| accepted(pets(&format!("  endpointConfig: {text}\n"), &openapi(PATHS)));
    let cases = [
        ("{production_endpoints: {url: ' b1 '}}", "http://b1", "-"),
        (
            "{production_endpoints: [{url: http://b1}, {url: http://b2}]}",
            "http://b1 http://b2",
            "-",
        ),
        (
            "{production_endpoints: {url: http://b1}, production_failovers: [{url: http://b2}], sandbox_endpoints: {}}",
            "!http://b1 http://b2",
            "-",
        ),
        ("{sandbox_endpoints: [{url: http://b1}]}", "-", "http://b1"),
    ];
    for (text, production, sandbox) in cases {
        assert_eq!(
            sides(&config(text)),
            (production.to_owned(), sandbox.to_owned()),
            "{text}"
        );
    }
    let first = config("{production_endpoints: [{url: http://b1, config: {actionDuration: '1500', retryTimeOut: '3'}}, {url: http://b2, config: {actionDuration: '9'}}]}").production.unwrap().config;
    assert_eq!(first.timeout, Some(Duration::from_millis(1_500)));
    assert_eq!(
        first.retry.map(|retry| (retry.count, retry.status_codes)),
        Some((3, vec![]))
    );
    let numbers = pets(
        "  endpointConfig: {production_endpoints: {url: http://b1, config: {actionDuration: 1500}}}\n",
        &openapi(PATHS),
    )
    .unwrap();
    assert_eq!(numbers.project.production.unwrap().config.timeout, None);
    assert_eq!(
        lines(&numbers.warnings),
        [
            "warning: p/api.yaml#/data/endpointConfig/production_endpoints/config/actionDuration: ignored: must be text"
        ]
    );
    let secure = config(
        "{production_endpoints: {url: http://b1}, endpoint_security: {production: {enabled: true, type: BASIC, username: u, password: p, customparameters: {a: 1}}}}",
    );
    let security = secure.production_security.clone().unwrap();
    assert_eq!(
        (
            security.enabled,
            security.username.as_str(),
            security.password.as_str()
        ),
        (true, "u", "p")
    );
    assert_eq!(security.custom_parameters["a"], "1");
    assert!(
        !format!("{secure:?}").contains("\"p\""),
        "passwords aren't printed"
    );
}

#[test]
fn extension_objects() {
    let root = "x-wso2-endpoints:\n- one: {urls: ['http://n1', 'http://n2'], type: failover, securityConfig: {type: basic}}\n- two: {urls: ['http://n3']}\n  three: {urls: ['http://n4']}\nx-wso2-production-endpoints: '#/x-wso2-endpoints/one'\nx-wso2-sandbox-endpoints:\n  urls: ['http://b1']\n  advanceEndpointConfig:\n    timeoutInMillis: 500\n    retryConfig: {count: -1, statusCodes: [400, 401, 504, 598, 599, 70000]}\n    circuitBreakers: {maxConnections: 5, maxRequests: 0, maxRetries: -2}\n  securityConfig: {type: Basic, username: u, password: p}\n";
    let paths = "paths:\n  /a:\n    x-wso2-production-endpoints: '#/x-wso2-endpoints/two'\n    servers: [{url: 'http://ignored'}]\n    get: {x-wso2-production-endpoints: {urls: ['http://op']}}\n  /b: {servers: [{url: 'http://path-server'}], get: {}}\n";
    let reading = pets(ENDPOINT, &openapi(&format!("{root}{paths}"))).unwrap();
    let api = reading.project;
    assert_eq!(
        sides(&api),
        ("!http://n1 http://n2".to_owned(), "http://b1".to_owned())
    );
    assert_eq!(api.production.as_ref().unwrap().reference.as_deref(), Some("one"));
    assert_eq!(
        api.named_endpoints.keys().collect::<Vec<_>>(),
        ["one", "three", "two"]
    );
    let config = api.sandbox.unwrap().config;
    assert_eq!(config.timeout, Some(Duration::from_millis(500)));
    assert_eq!(
        config.retry.map(|retry| (retry.count, retry.status_codes)),
        Some((u32::MAX, vec![401, 504, 598]))
    );
    let breakers = config.circuit_breakers.unwrap();
    assert_eq!(
        (
            breakers.max_connections,
            breakers.max_requests,
            breakers.max_retries
        ),
        (Some(5), None, None)
    );
    assert!(api.sandbox_security.unwrap().enabled);
    assert_eq!(urls(api.resources[0].production.as_ref()), "http://n3");
    assert_eq!(urls(api.resources[1].production.as_ref()), "http://path-server");
    assert_eq!(
        lines(&reading.warnings),
        [
            "warning: p/Definitions/swagger.yaml#/x-wso2-endpoints/0/one/securityConfig: ignored: credentials are used for API-level endpoints only",
            "warning: p/Definitions/swagger.yaml#/paths/~1a/get/x-wso2-production-endpoints: ignored: endpoints are read from the path item or the root",
        ]
    );
}

#[test]
fn refused_extensions() {
    let cases = [
        (
            "x-wso2-production-endpoints: '#/x-wso2-endpoints/none'\n",
            "/x-wso2-production-endpoints: \"#/x-wso2-endpoints/none\" names no entry of x-wso2-endpoints",
        ),
        (
            "x-wso2-production-endpoints: [a]\n",
            "/x-wso2-production-endpoints: must be an object",
        ),
        (
            "x-wso2-production-endpoints: {urls: []}\n",
            "/x-wso2-production-endpoints/urls: must list at least one URL",
        ),
        (
            "x-wso2-sandbox-endpoints: {urls: ['http://ab', 'http://a_b']}\n",
            "/x-wso2-sandbox-endpoints/urls/1: host \"a_b\" must be two or more letters, digits, '.' or '-', starting and ending with a letter or digit",
        ),
        (
            "x-wso2-sandbox-endpoints: {urls: ['http://ab'], securityConfig: {type: digest}}\n",
            "/x-wso2-sandbox-endpoints/securityConfig/type: \"digest\" is not supported, only basic is",
        ),
        ("x-wso2-endpoints: {a: {}}\n", "/x-wso2-endpoints: must be a list"),
        (
            "x-wso2-endpoints: [{a: {urls: ['consul(x,http://ab)']}}]\n",
            "/x-wso2-endpoints/0/a/urls/0: consul expression must be consul(<query>,<default URL>), and Consul must be enabled",
        ),
    ];
    for (root, want) in cases {
        let got = errors(pets(ENDPOINT, &openapi(&format!("{root}{PATHS}"))));
        assert_eq!(
            got,
            [format!("error: p/Definitions/swagger.yaml#{want}")],
            "{root}"
        );
    }
}

#[test]
fn the_environment_wins() {
    let digest = crate::digest("Pets", "1.0.0");
    let values = [
        (format!("api_{digest}_prod_endpoint_0"), "\"http://env0/x\""),
        (format!("api_{digest}_prod_endpoint_1"), "`http://env1/x`"),
        (format!("api_{digest}_prod_endpoint_3"), "http://after-the-gap"),
        (format!("api_{digest}_sand_endpoint_0"), "env-sand"),
        (format!("api_{digest}_prod_basic_username"), "env-user"),
        (format!("api_{digest}_sand_basic_password"), "unused"),
    ];
    let variable = |name: &str| {
        values
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let settings = Settings {
        variable: &variable,
        ..Settings::new(Defaults::Require)
    };
    let data = "  endpointConfig: {production_endpoints: {url: http://b1, config: {actionDuration: '7'}}, production_failovers: [{url: http://b2}], endpoint_security: {production: {enabled: true, type: basic, username: u, password: p}}}\n";
    let files = Files::from([
        ("api.yaml".to_owned(), api_yaml(data).into_bytes()),
        ("Definitions/swagger.yaml".to_owned(), openapi(PATHS).into_bytes()),
    ]);
    let api = accepted(read(&Memory(files.clone()), &settings));
    assert_eq!(
        sides(&api),
        (
            "http://env0/x http://env1/x".to_owned(),
            "http://env-sand".to_owned()
        ),
        "even a side without endpoints"
    );
    assert_eq!(
        api.production.unwrap().config.timeout,
        Some(Duration::from_millis(7))
    );
    let security = api.production_security.unwrap();
    assert_eq!(
        (security.username.as_str(), security.password.as_str()),
        ("env-user", "p")
    );
    let bad = |name: &str| name.ends_with("sand_endpoint_0").then(|| "/path".to_owned());
    let settings = Settings {
        variable: &bad,
        ..Settings::new(Defaults::Require)
    };
    let got = errors(read(&Memory(files), &settings));
    assert_eq!(
        got,
        [format!(
            "error: environment variable api_{digest}_sand_endpoint_0: endpoint \"/path\" is a path without a host"
        )]
    );
}

/// In a project the contract has no servers for one operation (spec/adapter.md 4.4).
#[test]
fn servers_of_an_operation_are_told_in_a_project() {
    let definition =
        "paths: {/pets: {get: {servers: [{url: 'http://o.test'}]}, put: {servers: [{url: /rel}]}}}\n";
    let reading = pets(ENDPOINT, &openapi(definition)).unwrap();
    assert_eq!(reading.project.resources.len(), 1);
    assert_eq!(
        lines(&reading.warnings),
        [
            "warning: p/Definitions/swagger.yaml#/paths/~1pets/get/servers: ignored: servers are read from the path item or the root"
        ]
    );
}

#[test]
fn what_is_left_out_of_an_address_is_told() {
    let of = |url: &str| alone(&openapi(&format!("servers: [{{url: '{url}'}}]\n{PATHS}")));
    for (url, told) in [
        (
            "https://u:p@h.example/v1",
            "the user information before @ is not sent",
        ),
        (
            "https://h.example/v1?key=1",
            "what begins with ? or # is not sent",
        ),
        ("https://h.example/v1#a", "what begins with ? or # is not sent"),
    ] {
        let endpoint = &accepted(of(url)).production.unwrap().endpoints[0];
        assert_eq!(
            (endpoint.host.as_str(), endpoint.base_path.as_str()),
            ("h.example", "/v1")
        );
        assert_eq!(
            warnings(of(url)),
            [format!("warning: my api.yaml#/servers/0/url: {told}")]
        );
    }
    for url in ["ftp:/h.example/v1", "htps:/h.example"] {
        let want = format!("ignored: endpoint \"{url}\" lacks a slash after its scheme");
        assert!(
            warnings(of(url)).iter().any(|line| line.ends_with(&want)),
            "{url}"
        );
    }
    let two = |root: &str| {
        alone(&format!(
            "swagger: '2.0'\ninfo: {{title: t, version: v}}\n{root}{PATHS}"
        ))
    };
    let got = warnings(two("host: 'https:/h.example'\n"));
    assert!(
        got.iter()
            .any(|line| line.contains("#/host: ignored: a host has no scheme")),
        "{got:?}"
    );
    assert_eq!(
        warnings(two("host: h.example\nschemes: [gopher, HTTP]\n")),
        ["warning: my api.yaml#/schemes/0: ignored: none of http, https, ws, wss"]
    );
    let got = warnings(of("https:/h.example/v1"));
    let want = "ignored: endpoint \"https:/h.example/v1\" lacks a slash after its scheme";
    assert!(got.iter().any(|line| line.ends_with(want)), "{got:?}");
}

/// Servers of a path that none of its operations uses keep nobody from calling them.
#[test]
fn servers_of_a_path_whose_operations_have_their_own_are_not_needed() {
    let definition = openapi(
        "servers: [{url: 'http://top.example'}]\npaths:\n  /a:\n    servers: [{url: 'ftp://h.example'}]\n    \
         get: {servers: [{url: 'http://own.example'}], responses: {}}\n",
    );
    assert_eq!(
        warnings(alone(&definition)),
        ["warning: my api.yaml#/paths/~1a/servers: not called: every operation names its own"]
    );
}
