//! Deploying, listing, undeploying, and calls that are none.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::*;
use crate::testing::Peer;

#[tokio::test]
async fn what_is_listed_can_be_removed_whatever_its_name() {
    let api = Api::start().await;
    let project = Project {
        name: "Größe (&Co), 2",
        version: "2024-01-01-preview",
        environments: &[("Default", "a_b.local"), ("Second", "")],
        ..Project::default()
    };
    assert_eq!(api.deploy(project.archive(), "").await.status, 200);
    let list = api.list().await;
    let target = |member: &str| {
        let text = list["list"][0][member].as_str().unwrap();
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let target = format!(
        "{APIS}?apiName={}&version={}",
        target("apiName"),
        target("version")
    );
    let of_vhost = format!("{target}&vhost=a_b.local");
    assert_eq!(api.call("DELETE", &of_vhost).await.status, 200);
    assert_eq!(api.list().await["total"], 1);
    // What the original's rules forbid and nobody has is answered by them.
    assert_eq!(api.call("DELETE", &of_vhost).await.status, 422);
    assert_eq!(api.call("DELETE", &target).await.status, 200);
    assert_eq!(api.list().await["total"], Value::Null);
    assert_eq!(api.call("DELETE", &target).await.status, 422);
}

#[tokio::test]
async fn deploys_that_wait_for_peers_keep_no_upload_waiting() {
    let api = Api::start().await;
    let mut silent = Peer::enforcer(&api.bench.cache, "Default").await;
    silent.take(1).await;
    let apis = [
        ("A", "/a"),
        ("B", "/b"),
        ("C", "/c"),
        ("D", "/d"),
        ("E", "/e"),
        ("F", "/f"),
    ];
    let mut deploys: FuturesUnordered<_> = apis
        .iter()
        .map(|(name, context)| {
            let project = Project {
                name,
                context,
                ..Project::default()
            };
            api.deploy(project.archive(), "")
        })
        .collect();
    let all_stored = async {
        while api.list().await["total"] != apis.len() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        Some(answer) = deploys.next() => panic!("answered {} before all are stored", answer.status),
        () = all_stored => {}
    }
}

#[tokio::test]
async fn an_api_is_deployed_replaced_listed_and_removed() {
    let api = Api::start().await;
    let empty = api.call("GET", APIS).await;
    assert_eq!((empty.status, empty.body), (200, json!({ "list": null })));

    let project = Project::default();
    let answer = api.deploy(project.archive(), "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["action"], "deployed");
    assert_eq!(answer.body["deployments"][0]["status"]["state"], "active");

    let again = api.deploy(project.archive(), "").await;
    let want = json!({ "code": 409, "message": "API already exists",
        "description": "the API is already deployed on virtual host localhost" });
    assert_eq!((again.status, again.body), (409, want));
    assert_eq!(api.deploy(project.archive(), "?override=false").await.status, 409);
    for (query, action) in [("?override=true", "unchanged"), ("?override=1", "unchanged")] {
        let answer = api.deploy(project.archive(), query).await;
        assert_eq!(
            (answer.status, answer.body["action"].as_str()),
            (200, Some(action)),
            "{query}"
        );
    }
    let moved = Project {
        context: "/animals",
        ..project.clone()
    };
    let answer = api.deploy(moved.archive(), "?override=true").await;
    assert_eq!(
        (answer.status, answer.body["action"].as_str()),
        (200, Some("deployed"))
    );

    let taken = Project {
        name: "Others",
        context: "/animals",
        ..project.clone()
    };
    for query in ["", "?override=true"] {
        let answer = api.deploy(taken.archive(), query).await;
        let want = json!({ "code": 409, "message": "Base path already exists",
            "description": "base path /animals/1.0.0 on virtual host localhost is taken by Pets 1.0.0" });
        assert_eq!((answer.status, answer.body), (409, want), "{query}");
    }

    let list = api.list().await;
    assert_eq!(list["total"], 1);
    assert_eq!(list["count"], 1);
    let item = &list["list"][0];
    for (member, want) in [
        ("apiName", json!("Pets")),
        ("apiType", json!("HTTP")),
        ("context", json!("/animals/1.0.0")),
        ("gateway-envs", json!(["Default"])),
        ("version", json!("1.0.0")),
        ("vhost", json!("localhost")),
    ] {
        assert_eq!(item[member], want, "{member}");
    }

    let target = format!("{APIS}?apiName=Pets&environments=&version=1.0.0&vhost=");
    assert_eq!(api.call("DELETE", &target).await.status, 200);
    let answer = api.call("DELETE", &target).await;
    let want = json!({ "code": 404, "message": "API not found", "description": "there is no such API" });
    assert_eq!((answer.status, answer.body), (404, want));
    assert_eq!(api.list().await, json!({ "list": null }));
    api.bench.stop().await;
}

#[tokio::test]
async fn environments_go_one_by_one() {
    let api = Api::start().await;
    let project = Project {
        environments: &[
            ("Default", ""),
            ("Second", "localhost"),
            ("Second", "other.local"),
        ],
        ..Project::default()
    };
    assert_eq!(api.deploy(project.archive(), "").await.status, 200);
    assert_eq!(api.list().await["total"], 2, "one item for each virtual host");
    let delete = |query: &str| format!("{APIS}?apiName=Pets&version=1.0.0{query}");
    for unmatched in [
        "&environments=Third",
        "&environments=Default&vhost=other.local",
        "&vhost=nowhere.local",
    ] {
        assert_eq!(
            api.call("DELETE", &delete(unmatched)).await.status,
            404,
            "{unmatched}"
        );
    }
    assert_eq!(
        api.call("DELETE", &delete("&environments=Default&vhost=LOCALHOST"))
            .await
            .status,
        200
    );
    let list = api.list().await;
    assert_eq!(list["total"], 2);
    assert_eq!(list["list"][0]["gateway-envs"], json!(["Second"]));
    assert_eq!(
        api.call("DELETE", &delete("&environments=Default:Second"))
            .await
            .status,
        200
    );
    assert_eq!(api.list().await, json!({ "list": null }));
    api.bench.stop().await;
}

#[tokio::test]
async fn lists_are_filtered_and_cut() {
    let api = Api::start().await;
    for (name, context) in [("Aaa", "/a"), ("Bbb", "/b"), ("Ccc", "/c")] {
        let project = Project {
            name,
            context,
            ..Project::default()
        };
        assert_eq!(api.deploy(project.archive(), "").await.status, 200);
    }
    let cases = [
        ("?query=&limit=", 3),
        ("?query=type:http", 3),
        ("?query=type:HTTP&limit=2", 2),
        ("?query=type:ws", 0),
        ("?query=name:x", 3),
        ("?query=type", 3),
        ("?limit=1", 1),
        ("?limit=100000000", 3),
    ];
    for (query, count) in cases {
        let answer = api.call("GET", &format!("{APIS}{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        assert_eq!(answer.body["total"], 3, "{query}");
        let listed = answer.body["list"].as_array().map_or(0, Vec::len);
        assert_eq!(listed, count, "{query}");
        assert_eq!(
            answer.body.get("count").and_then(Value::as_u64).unwrap_or(0),
            listed as u64
        );
    }
    let cut = api.call("GET", &format!("{APIS}?limit=2")).await.body;
    assert_eq!(cut["list"][0]["apiName"], "Aaa", "the order is fixed");
    api.bench.stop().await;
}

#[tokio::test]
async fn parameters_have_rules() {
    let long = "a".repeat(256);
    let cases = [
        (
            "GET",
            "?limit=0".to_owned(),
            609,
            "limit in query should be greater than or equal to 1",
        ),
        (
            "GET",
            "?limit=x".to_owned(),
            601,
            "limit in query must be of type int64: \"x\"",
        ),
        (
            "GET",
            "?limit=100000001".to_owned(),
            608,
            "limit in query should be less than or equal to 1e+08",
        ),
        (
            "GET",
            "?query=type:https".to_owned(),
            603,
            "query in query should be at most 9 chars long",
        ),
        (
            "GET",
            "?query=a%3D1".to_owned(),
            605,
            "query in query should match '^[a-zA-Z:]*$'",
        ),
        ("DELETE", String::new(), 602, "apiName in query is required"),
        (
            "DELETE",
            "?version=1".to_owned(),
            602,
            "apiName in query is required",
        ),
        (
            "DELETE",
            "?apiName=ab&version=1".to_owned(),
            604,
            "apiName in query should be at least 3 chars long",
        ),
        (
            "DELETE",
            format!("?apiName={long}&version=1"),
            603,
            "apiName in query should be at most 255 chars long",
        ),
        (
            "DELETE",
            "?apiName=a+b+c&version=1".to_owned(),
            605,
            "apiName in query should match '^[a-zA-Z0-9_~.-]*$'",
        ),
        (
            "DELETE",
            "?apiName=abc".to_owned(),
            602,
            "version in query is required",
        ),
        (
            "DELETE",
            "?apiName=abc&version=1234567890123456".to_owned(),
            603,
            "version in query should be at most 15 chars long",
        ),
        (
            "DELETE",
            "?apiName=abc&version=1%2F2".to_owned(),
            605,
            "version in query should match '^[a-zA-Z0-9_.-]*$'",
        ),
        (
            "DELETE",
            format!("?apiName=abc&version=1&vhost={long}"),
            603,
            "vhost in query should be at most 255 chars long",
        ),
        (
            "DELETE",
            "?apiName=abc&version=1&environments=a::b".to_owned(),
            605,
            "environments in query should match '^[\\w\\s.-]*(:[\\w\\s.-]+)*$'",
        ),
    ];
    let api = Api::start().await;
    for (method, query, code, message) in cases {
        let answer = api.call(method, &format!("{APIS}{query}")).await;
        assert_eq!(answer.status, 422, "{method} {query}");
        assert_eq!(
            answer.body,
            json!({ "code": code, "message": message }),
            "{method} {query}"
        );
    }
    api.bench.stop().await;
}

#[tokio::test]
async fn the_frame_of_a_call_is_judged() {
    let api = Api::start().await;
    let project = Project::default().archive();
    let admin = basic("admin", "s3cret");
    let post = |media: &str, accept: &str| {
        Request::post(APIS)
            .header("authorization", &admin)
            .header("content-type", media)
            .header("accept", accept)
    };
    let multipart = format!("multipart/form-data; boundary={BOUNDARY}");

    let answer = api
        .send(post("text/plain", "*/*").body(Body::from("x")).unwrap())
        .await;
    let want = json!({ "code": 415,
        "message": "unsupported media type \"text/plain\", only [multipart/form-data] are allowed" });
    assert_eq!((answer.status, answer.body), (415, want));
    let plain = Request::post(APIS)
        .header("authorization", &admin)
        .body(Body::empty())
        .unwrap();
    assert_eq!(api.send(plain).await.status, 415, "no media type at all");

    let answer = api
        .send(
            post(&multipart, "text/html")
                .body(form(&[("file", &project)]))
                .unwrap(),
        )
        .await;
    let want = json!({ "code": 406,
        "message": "unsupported media type requested, only [application/json] are available" });
    assert_eq!((answer.status, answer.body), (406, want));
    let html = Request::get(APIS)
        .header("authorization", &admin)
        .header("accept", "text/html, application/*;q=0");
    assert_eq!(api.send(html.body(Body::empty()).unwrap()).await.status, 406);
    let either = Request::get(APIS)
        .header("authorization", &admin)
        .header("accept", "text/html, */*;q=0.1");
    assert_eq!(api.send(either.body(Body::empty()).unwrap()).await.status, 200);

    let answer = api
        .send(
            post(&multipart, "*/*")
                .body(form(&[("other", &project)]))
                .unwrap(),
        )
        .await;
    let want = json!({ "code": 400, "message": "reading file \"file\" failed: http: no such file" });
    assert_eq!((answer.status, answer.body), (400, want));
    let answer = api
        .send(post(&multipart, "*/*").body(Body::from("no form")).unwrap())
        .await;
    assert_eq!(answer.status, 400);
    let message = answer.body["message"].as_str().unwrap();
    assert!(message.starts_with("reading file \"file\" failed: "), "{message}");
    let unbounded = post("multipart/form-data", "*/*").body(Body::from("x")).unwrap();
    assert_eq!(api.send(unbounded).await.status, 400, "no boundary");

    let answer = api.call("GET", "/api/mgw/adapter/0.1/nothing").await;
    let want = json!({ "code": 404, "message": "path /api/mgw/adapter/0.1/nothing was not found" });
    assert_eq!((answer.status, answer.body), (404, want));
    let answer = api.call("PUT", APIS).await;
    let want = json!({ "code": 405, "message": "method PUT is not allowed, but [DELETE,GET,POST] are" });
    assert_eq!((answer.status, answer.body), (405, want));
    assert_eq!(answer.headers["allow"], "DELETE,GET,POST");

    assert_eq!(
        api.call("GET", &format!("/{APIS}")).await.status,
        200,
        "a doubled slash"
    );
    let answer = api
        .send(Request::get("/swagger.json").body(Body::empty()).unwrap())
        .await;
    assert_eq!(
        (answer.status, &answer.body["basePath"]),
        (200, &json!("/api/mgw/adapter/0.1"))
    );
    let docs = Request::get("/api/mgw/adapter/0.1/docs")
        .body(Body::empty())
        .unwrap();
    let answer = api.send(docs).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    api.bench.stop().await;
}

#[tokio::test]
async fn with_a_control_plane_nothing_is_deployed_here() {
    let api = Api::start_with(true, Limits::default()).await;
    let answer = api.deploy(Project::default().archive(), "").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body["code"], 400);
    assert_eq!(answer.body["error"], Value::Null);
    assert!(
        answer.body["message"]
            .as_str()
            .unwrap()
            .starts_with("When control plane is enabled, ")
    );
    let answer = api
        .call("DELETE", &format!("{APIS}?apiName=Pets&version=1.0.0"))
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body["description"], "Bad request");
    assert_eq!(api.call("GET", APIS).await.status, 200);
    api.bench.stop().await;
}
