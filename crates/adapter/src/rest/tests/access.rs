//! Who gets in, and with what.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;
use trireme_tls::serve::Peer;

use super::super::frame::STRANGER_TIMEOUT;
use super::super::serve::{DRAIN, IDLE_TIMEOUT, builder, serve_connection};
use super::*;

#[tokio::test]
async fn tokens_are_given_for_the_right_password_only() {
    struct Case {
        name: &'static str,
        body: String,
        status: u16,
        code: u16,
        message: &'static str,
    }
    let long = "a".repeat(101);
    let cases = [
        Case {
            name: "wrong password",
            body: r#"{"username":"admin","password":"wrong"}"#.to_owned(),
            status: 401,
            code: 401,
            message: "the user name or the password is wrong",
        },
        Case {
            name: "unknown user",
            body: r#"{"username":"nobody","password":"s3cret"}"#.to_owned(),
            status: 401,
            code: 401,
            message: "the user name or the password is wrong",
        },
        Case {
            name: "other user's password",
            body: r#"{"username":"admin","password":"else"}"#.to_owned(),
            status: 401,
            code: 401,
            message: "the user name or the password is wrong",
        },
        Case {
            name: "no password",
            body: r#"{"username":"admin"}"#.to_owned(),
            status: 422,
            code: 602,
            message: "password in body is required",
        },
        Case {
            name: "no user name",
            body: r#"{"password":"s3cret"}"#.to_owned(),
            status: 422,
            code: 602,
            message: "username in body is required",
        },
        Case {
            name: "too long",
            body: format!(r#"{{"username":"{long}","password":"s3cret"}}"#),
            status: 422,
            code: 603,
            message: "username in body should be at most 100 chars long",
        },
        Case {
            name: "pattern",
            body: r#"{"username":"a b","password":"s3cret"}"#.to_owned(),
            status: 422,
            code: 605,
            message: "username in body should match '^[a-zA-Z0-9_~.@-]*$'",
        },
        Case {
            name: "no body",
            body: String::new(),
            status: 422,
            code: 602,
            message: "body in body is required",
        },
        Case {
            name: "wrong type",
            body: r#"{"username":1,"password":"s3cret"}"#.to_owned(),
            status: 400,
            code: 400,
            message: "parsing body body from \"\" failed, because username is not a string",
        },
    ];
    let api = Api::start().await;
    for case in cases {
        let answer = api.token(&case.body).await;
        assert_eq!(answer.status, case.status, "{}", case.name);
        let want = json!({ "code": case.code, "message": case.message });
        assert_eq!(answer.body, want, "{}", case.name);
    }
    assert_eq!(api.token("{").await.status, 400, "not JSON");

    let answer = api.token(r#"{"password":"s3cret","username":"admin"}"#).await;
    assert_eq!(answer.status, 200);
    let members = answer.body.as_object().unwrap();
    assert_eq!(members.len(), 1, "apictl takes strings only");
    let token = members["accessToken"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["username"], "admin");
    assert_eq!(claims["scope"], "admin");
    assert!(claims["exp"].is_u64());
    assert_eq!(claims.as_object().unwrap().len(), 3);

    let form = Request::post(TOKEN).header("content-type", "application/x-www-form-urlencoded");
    let answer = api.send(form.body(Body::from("username=admin")).unwrap()).await;
    assert_eq!(answer.status, 415);
    let answer = api.send(Request::get(TOKEN).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.headers["allow"], "POST");
    api.bench.stop().await;
}

#[tokio::test]
async fn callers_are_known_by_password_or_token() {
    let api = Api::start().await;
    let good = tokens(&api.folder, Duration::from_secs(60))
        .issue("admin")
        .unwrap();
    let expired = tokens(&api.folder, Duration::ZERO).issue("admin").unwrap();
    let stranger = tokens(&api.folder, Duration::from_secs(60))
        .issue("gone")
        .unwrap();
    let (signed, _) = good.rsplit_once('.').unwrap();
    let unsigned = format!("{signed}.");
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#),
        signed.split_once('.').unwrap().1
    );
    let claimless = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256),
        &json!({ "exp": 9_999_999_999_u64 }),
        &jsonwebtoken::EncodingKey::from_rsa_pem(KEY.as_bytes()).unwrap(),
    )
    .unwrap();
    let scopeless = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256),
        &json!({ "exp": 9_999_999_999_u64, "username": "admin", "scope": "read" }),
        &jsonwebtoken::EncodingKey::from_rsa_pem(KEY.as_bytes()).unwrap(),
    )
    .unwrap();
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let invalid = "unauthenticated for The provided token is not valid";
    let cases = [
        ("basic", Some(basic("admin", "s3cret")), APIS.to_owned(), 200, ""),
        (
            "basic, second user",
            Some(basic("other", "else")),
            APIS.to_owned(),
            200,
            "",
        ),
        (
            "basic wrong",
            Some(basic("admin", "else")),
            APIS.to_owned(),
            401,
            "Credentials are invalid",
        ),
        (
            "basic empty",
            Some(basic("", "")),
            APIS.to_owned(),
            401,
            "Credentials are invalid",
        ),
        (
            "nothing",
            None,
            APIS.to_owned(),
            401,
            "unauthenticated for invalid credentials",
        ),
        (
            "other scheme",
            Some("Digest x".to_owned()),
            APIS.to_owned(),
            401,
            "unauthenticated for invalid credentials",
        ),
        ("bearer", bearer(&good), APIS.to_owned(), 200, ""),
        (
            "bearer in the query",
            None,
            format!("{APIS}?access_token={good}"),
            200,
            "",
        ),
        (
            "bearer in the query wrong",
            None,
            format!("{APIS}?access_token=x"),
            401,
            invalid,
        ),
        ("expired", bearer(&expired), APIS.to_owned(), 401, invalid),
        ("user gone", bearer(&stranger), APIS.to_owned(), 401, invalid),
        ("unsigned", bearer(&unsigned), APIS.to_owned(), 401, invalid),
        ("alg none", bearer(&none), APIS.to_owned(), 401, invalid),
        ("no claims", bearer(&claimless), APIS.to_owned(), 401, invalid),
        ("other scope", bearer(&scopeless), APIS.to_owned(), 401, invalid),
        ("garbage", bearer("a.b.c"), APIS.to_owned(), 401, invalid),
        (
            "64 KB",
            bearer(&"a".repeat(64 << 10)),
            APIS.to_owned(),
            401,
            invalid,
        ),
    ];
    for (name, authorization, target, status, message) in cases {
        let mut request = Request::get(target);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json", "{name}");
        if status == 401 {
            assert_eq!(answer.body, json!({ "code": 401, "message": message }), "{name}");
            assert_eq!(
                answer.headers["www-authenticate"], "Basic realm=\"API\"",
                "{name}"
            );
        }
    }

    let project = Project::default().archive();
    let in_form = |parts: &[(&str, &Bytes)]| upload("").body(form(parts)).unwrap();
    let token = Bytes::from(good.clone());
    let named = api
        .send(in_form(&[("access_token", &token), ("file", &project)]))
        .await;
    assert_eq!(named.status, 200, "token in the form: {}", named.body);
    for (name, parts) in [
        ("no token in the form", vec![("file", &project)]),
        (
            "token after the file",
            vec![("file", &project), ("access_token", &token)],
        ),
        ("nothing in the form", vec![]),
    ] {
        assert_eq!(api.send(in_form(&parts)).await.status, 401, "{name}");
    }
    api.bench.stop().await;
}

/// As a caller at `address` and any port.
fn peer(address: &str) -> Peer {
    Peer {
        remote: (address.parse::<IpAddr>().unwrap(), 40_000).into(),
        local: None,
        certificate: None,
    }
}

#[tokio::test]
async fn who_guesses_is_slowed_down() {
    let api = Api::start().await;
    tokio::time::pause();
    let from = |address: &str, authorization: &str| {
        let request = Request::get(APIS).header("authorization", authorization);
        request.extension(peer(address)).body(Body::empty()).unwrap()
    };
    let token = |address: &str, password: &str| {
        let request = Request::post(TOKEN).header("content-type", "application/json");
        let body = json!({ "username": "admin", "password": password }).to_string();
        request.extension(peer(address)).body(Body::from(body)).unwrap()
    };
    let (here, right) = ("192.0.2.1", basic("admin", "s3cret"));
    let answer = api.send(token(here, "s3cret")).await;
    let bearer = format!("Bearer {}", answer.body["accessToken"].as_str().unwrap());
    for number in 0..4 {
        let wrong = basic("admin", &format!("guess{number}"));
        assert_eq!(api.send(from(here, &wrong)).await.status, 401, "{number}");
        let unknown = basic(&format!("user{number}"), "s3cret");
        assert_eq!(api.send(from(here, &unknown)).await.status, 401, "{number}");
        assert_eq!(
            api.send(from(here, "Bearer guess")).await.status,
            401,
            "no password"
        );
        assert_eq!(api.send(from(here, &right)).await.status, 200, "{number}");
    }
    assert_eq!(api.send(token(here, "guess")).await.status, 401);
    assert_eq!(api.send(token("::ffff:192.0.2.1", "guess")).await.status, 401);

    let want = json!({ "code": 429, "message": "too many wrong passwords, try again in 6 s" });
    for (name, request) in [
        ("wrong", from(here, &basic("admin", "guess"))),
        ("unknown user", from(here, &basic("nobody", "guess"))),
        ("right", from(here, &right)),
        ("token", token(here, "s3cret")),
    ] {
        let answer = api.send(request).await;
        assert_eq!((answer.status, &answer.body), (429, &want), "{name}");
        assert_eq!(answer.headers["retry-after"], "6", "{name}");
    }
    for (name, request) in [
        ("elsewhere", from("192.0.2.2", &right)),
        ("elsewhere, IPv6", from("2001:db8::1", &right)),
        ("elsewhere, token", token("192.0.2.2", "s3cret")),
        ("here, by token", from(here, &bearer)),
    ] {
        assert_eq!(api.send(request).await.status, 200, "{name}");
    }
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(api.send(from(here, &right)).await.status, 200, "later");
    tokio::time::resume();
    api.bench.stop().await;
}

#[tokio::test]
async fn the_login_that_everybody_knows_is_refused_where_told() {
    let users = || {
        ["admin", "other"]
            .map(|name| (name.to_owned(), Secret::new("admin")))
            .to_vec()
    };
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let auth = Auth::new(users(), Some(tokens(&folder, Duration::from_secs(60))));
    assert!(auth.has_defaults() && !Auth::new(super::users(), None).has_defaults());
    let rest = Rest::new(auth.refusing_defaults(), bench.catalogue.clone(), false, 1 << 20);
    let api = Api {
        router: router(rest),
        bench,
        folder,
    };
    let get = async |user: &str, password: &str| {
        let request = Request::get(APIS).header("authorization", basic(user, password));
        api.send(request.body(Body::empty()).unwrap()).await
    };
    let refused = get("admin", "admin").await;
    assert_eq!(refused.status, 403);
    let message = refused.body["message"].as_str().unwrap();
    assert!(
        message.contains("TRIREME_ALLOW_DEFAULT_CREDENTIALS=true"),
        "{message}"
    );
    let token = api.token(r#"{"password":"admin","username":"admin"}"#).await;
    assert_eq!((token.status, &token.body), (403, &refused.body));
    assert_eq!(get("admin", "guess").await.status, 401, "a wrong one is wrong");
    assert_eq!(get("other", "admin").await.status, 200);
    api.bench.stop().await;
}

#[tokio::test]
async fn without_a_key_there_are_no_tokens_but_passwords_work() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let rest = Rest::new(Auth::new(users(), None), bench.catalogue.clone(), false, 1 << 20);
    let api = Api {
        router: router(rest),
        bench,
        folder,
    };
    let want = json!({ "code": 500, "message": "error occurred while reading the token" });
    let answer = api.token(r#"{"password":"s3cret","username":"admin"}"#).await;
    assert_eq!((answer.status, &answer.body), (500, &want));
    let request = Request::get(APIS).header("authorization", "Bearer x");
    let answer = api.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, &answer.body), (500, &want));
    assert_eq!(api.call("GET", APIS).await.status, 200);
    api.bench.stop().await;
}

#[tokio::test]
async fn strangers_take_no_room() {
    const CHUNK: usize = 16 << 10;
    let api = Api::start().await;
    let begin = Bytes::from(format!("--{BOUNDARY}\r\nx: "));
    let token = Bytes::from(format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\n"
    ));
    for (name, start) in [
        ("no boundary", Bytes::new()),
        ("head of a part", begin),
        ("token", token),
    ] {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        // 32 MiB, of which only so much is read as it takes to see that nobody is known.
        let body = futures_util::stream::once(async { Ok::<_, std::io::Error>(start) }).chain(
            futures_util::stream::iter(0..2048).map(move |_| {
                count.fetch_add(CHUNK, Ordering::Relaxed);
                Ok(Bytes::from_static(&[b'a'; CHUNK]))
            }),
        );
        let answer = api.send(upload("").body(Body::from_stream(body)).unwrap()).await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.body);
        let taken = taken.load(Ordering::Relaxed);
        assert!(taken <= 8 * CHUNK, "{name}: {taken} bytes");
    }
    api.bench.stop().await;
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed() {
    let api = Api::start().await;
    tokio::time::pause();
    let list = format!(
        "GET {APIS} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\n\r\n",
        basic("admin", "s3cret")
    );
    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    for (name, words) in [
        ("nothing", ""),
        ("half a preface", "PRI"),
        ("half a head", "GET / HTTP/1.1\r\n"),
        ("a call, then nothing", &list),
        ("HTTP/2, then nothing", http2),
    ] {
        let (mut near, far) = tokio::io::duplex(64 << 10);
        let (router, stop) = (api.router.clone(), CancellationToken::new());
        let serving = tokio::spawn(async move {
            serve_connection(far, peer("192.0.2.1"), router, &builder(), &stop).await;
        });
        near.write_all(words.as_bytes()).await.unwrap();
        tokio::time::timeout(2 * IDLE_TIMEOUT + DRAIN + Duration::from_secs(1), serving)
            .await
            .unwrap_or_else(|_| panic!("{name} is kept open"))
            .unwrap();
        drop(near);
    }
    tokio::time::resume();
    api.bench.stop().await;
}

#[tokio::test]
async fn strangers_have_little_time() {
    let api = Api::start().await;
    tokio::time::pause();
    let never = || Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let token = Request::post(TOKEN).header("content-type", "application/json");
    for (name, request) in [("token", token), ("upload", upload(""))] {
        let answer = tokio::time::timeout(2 * STRANGER_TIMEOUT, api.send(request.body(never()).unwrap()))
            .await
            .unwrap_or_else(|_| panic!("{name} is waited for"));
        assert_eq!(answer.status, 408, "{name}: {}", answer.body);
    }
    tokio::time::resume();
    api.bench.stop().await;
}

/// The answer reaches a caller that is still sending, whatever it sends.
#[tokio::test]
async fn a_body_that_is_too_great_is_read_on() {
    use tokio::io::AsyncReadExt as _;
    let api = Api::start().await;
    let (near, far) = tokio::io::duplex(4 << 10);
    let (router, stop) = (api.router.clone(), CancellationToken::new());
    let serving = tokio::spawn(async move {
        serve_connection(far, peer("192.0.2.1"), router, &builder(), &stop).await;
    });
    let (mut answers, mut requests) = tokio::io::split(near);
    let length = 2 << 20;
    let sending = tokio::spawn(async move {
        let head = format!(
            "POST {TOKEN} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        requests.write_all(head.as_bytes()).await?;
        requests.write_all(&vec![b' '; length]).await?;
        Ok::<_, std::io::Error>(requests)
    });
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), answers.read_to_end(&mut answer))
        .await
        .expect("in time")
        .unwrap();
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    assert!(
        text.contains("connection: close") && text.ends_with('}'),
        "{text}"
    );
    drop(sending.await.unwrap().expect("all of it was taken"));
    serving.await.unwrap();
    api.bench.stop().await;
}
