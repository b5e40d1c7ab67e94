//! Which path and method is answered by what: everything that is found before anybody looks at a call.

use super::*;

const BASE: &str = "/api/mgw/adapter/0.1";

#[tokio::test]
async fn paths_and_methods_that_are_none_are_told_exactly() {
    // Method, target, and the path that is told as not found or the methods that are.
    let not_found = [
        ("GET", "/", "/"),
        ("GET", "/nothing?a=//b", "/nothing"),
        ("GET", "/swagger.json/", "/swagger.json/"),
        ("GET", "/Swagger.json", "/Swagger.json"),
        ("GET", "/docs", "/docs"),
        ("GET", BASE, BASE),
        ("GET", "/api/mgw/adapter/0.1/", "/api/mgw/adapter/0.1/"),
        ("GET", "/api/mgw/adapter/0.1/apis/", "/api/mgw/adapter/0.1/apis/"),
        (
            "GET",
            "/api/mgw/adapter/0.1/apis/x",
            "/api/mgw/adapter/0.1/apis/x",
        ),
        ("POST", "/api/mgw/adapter/0.1/APIS", "/api/mgw/adapter/0.1/APIS"),
        ("GET", "/API/mgw/adapter/0.1/apis", "/API/mgw/adapter/0.1/apis"),
        ("GET", "/api/mgw/adapter/0.2/apis", "/api/mgw/adapter/0.2/apis"),
        (
            "GET",
            "/api/mgw/adapter/0.1/%61pis",
            "/api/mgw/adapter/0.1/%61pis",
        ),
        (
            "GET",
            "/api%2Fmgw/adapter/0.1/apis",
            "/api%2Fmgw/adapter/0.1/apis",
        ),
        (
            "GET",
            "/api/mgw/adapter/0.1/./apis",
            "/api/mgw/adapter/0.1/./apis",
        ),
        (
            "GET",
            "//api//mgw/adapter/0.1//apis//",
            "/api/mgw/adapter/0.1/apis/",
        ),
        (
            "POST",
            "/api/mgw/adapter/0.1/oauth2",
            "/api/mgw/adapter/0.1/oauth2",
        ),
        ("POST", "/oauth2/token", "/oauth2/token"),
        ("OPTIONS", "*", "*"),
        ("FROB", "/nothing", "/nothing"),
    ];
    let not_allowed = [
        ("DELETE", "/swagger.json", "GET"),
        ("OPTIONS", "/swagger.json", "GET"),
        ("POST", "/api/mgw/adapter/0.1/docs", "GET"),
        ("POST", "//api/mgw/adapter/0.1///docs?x=1", "GET"),
        ("GET", TOKEN, "POST"),
        ("PUT", TOKEN, "POST"),
        ("PUT", APIS, "DELETE,GET,POST"),
        ("PATCH", APIS, "DELETE,GET,POST"),
        ("OPTIONS", APIS, "DELETE,GET,POST"),
        ("TRACE", APIS, "DELETE,GET,POST"),
        ("CONNECT", APIS, "DELETE,GET,POST"),
        ("FROB", APIS, "DELETE,GET,POST"),
        ("get", APIS, "DELETE,GET,POST"),
    ];
    let api = Api::start().await;
    for (method, target, told) in not_found {
        let answer = api.bare(method, target).await;
        let want = json!({ "code": 404, "message": format!("path {told} was not found") });
        assert_eq!((answer.status, answer.body), (404, want), "{method} {target}");
        assert!(!answer.headers.contains_key("allow"), "{method} {target}");
    }
    for (method, target, allowed) in not_allowed {
        let answer = api.bare(method, target).await;
        let message = format!("method {method} is not allowed, but [{allowed}] are");
        let want = json!({ "code": 405, "message": message });
        assert_eq!((answer.status, answer.body), (405, want), "{method} {target}");
        assert_eq!(answer.headers["allow"], allowed, "{method} {target}");
        assert_eq!(
            answer.headers.get_all("allow").iter().count(),
            1,
            "{method} {target}"
        );
    }
    for (target, allowed) in [
        ("/swagger.json", "GET"),
        (TOKEN, "POST"),
        (APIS, "DELETE,GET,POST"),
    ] {
        let answer = api.bare("HEAD", target).await;
        assert_eq!((answer.status, &answer.body), (405, &json!("")), "HEAD {target}");
        assert_eq!(answer.headers["allow"], allowed, "HEAD {target}");
    }
    // Whoever calls, after that.
    for method in ["DELETE", "GET", "POST"] {
        for target in [APIS, "//api/mgw//adapter/0.1/apis?a=//&b"] {
            let answer = api.bare(method, target).await;
            let message = "unauthenticated for invalid credentials";
            let want = json!({ "code": 401, "message": message });
            assert_eq!((answer.status, answer.body), (401, want), "{method} {target}");
            assert_eq!(answer.headers["www-authenticate"], "Basic realm=\"API\"");
        }
    }
    api.bench.stop().await;
}

#[tokio::test]
async fn answers_have_the_headers_they_always_had() {
    let api = Api::start().await;
    let mut heads = Vec::new();
    for (method, target) in [
        ("GET", "/nothing"),
        ("PUT", APIS),
        ("GET", "/swagger.json"),
        ("HEAD", TOKEN),
    ] {
        let answer = api.bare(method, target).await;
        let names = answer.headers.keys().map(ToString::to_string);
        let mut names: Vec<String> = names.collect();
        names.sort();
        heads.push(names.join(" "));
    }
    let plain = "content-length content-type";
    let with_methods = "allow content-length content-type";
    assert_eq!(heads, [plain, with_methods, plain, with_methods]);
    api.bench.stop().await;
}
