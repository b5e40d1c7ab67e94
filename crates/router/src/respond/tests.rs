use http_body_util::BodyExt;

use super::*;
use crate::enforcer::Metadata;
use crate::error::{CheckError, Flag};

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.into()).unwrap()
}

fn body(code: &str, message: &str, description: &str) -> String {
    format!(r#"{{"code":"{code}","message":"{message}","description":"{description}"}}"#)
}

/// Every error that can reach the wire. A new variant fails to compile in [`reply`]; it belongs here as well.
#[tokio::test]
async fn every_error_has_its_answer() {
    let reset = "upstream connect error or disconnect/reset before headers. reset reason: ";
    let down = |error| ProxyError::Downstream(error);
    let up = |error| ProxyError::Upstream(error);
    let internal = |error| ProxyError::Internal(error);
    let plain = |text: &str| text.to_owned();
    let cases: Vec<(ProxyError, Flag, u16, String, bool)> = vec![
        (
            down(DownstreamError::AmbiguousTarget("dot_segment")),
            Flag::InvalidHeader,
            400,
            body(
                "102517",
                "Ambiguous request target",
                "The request target is refused: dot_segment.",
            ),
            false,
        ),
        (
            down(DownstreamError::BodyBroken),
            Flag::DownstreamProtocol,
            400,
            plain("Bad Request"),
            true,
        ),
        (
            down(DownstreamError::BodyTooLarge),
            Flag::None,
            413,
            plain("Payload Too Large"),
            false,
        ),
        (
            down(DownstreamError::Crowded),
            Flag::Overload,
            503,
            body(
                "102518",
                "Gateway overloaded",
                "Too many requests of this address are under way.",
            ),
            false,
        ),
        (
            down(DownstreamError::Fragment),
            Flag::InvalidHeader,
            400,
            body(
                "102517",
                "Ambiguous request target",
                "The request target is refused: fragment.",
            ),
            true,
        ),
        (
            down(DownstreamError::Framing),
            Flag::DownstreamProtocol,
            400,
            plain("Bad Request"),
            true,
        ),
        (
            down(DownstreamError::HeadersTooLarge),
            Flag::DownstreamProtocol,
            431,
            plain(""),
            true,
        ),
        (
            down(DownstreamError::InvalidHeader("several hosts")),
            Flag::InvalidHeader,
            400,
            body("102512", "Strictly checked header validation failure", ""),
            true,
        ),
        (
            down(DownstreamError::Limited),
            Flag::RateLimited,
            429,
            plain("local_rate_limited"),
            false,
        ),
        (
            down(DownstreamError::NoHost),
            Flag::DownstreamProtocol,
            400,
            plain(""),
            true,
        ),
        (
            down(DownstreamError::NoPath),
            Flag::NoRoute,
            404,
            plain(""),
            false,
        ),
        (
            down(DownstreamError::NoRoute),
            Flag::NoRoute,
            404,
            body("404", "Not Found", "The requested resource is not available."),
            false,
        ),
        (
            down(DownstreamError::RequestTimeout),
            Flag::StreamIdle,
            408,
            plain("request timeout"),
            true,
        ),
        (
            down(DownstreamError::StreamIdle),
            Flag::StreamIdle,
            500,
            body("102513", "Stream idle timeout", "stream timeout"),
            true,
        ),
        (
            down(DownstreamError::TransferCoding),
            Flag::DownstreamProtocol,
            501,
            plain("Not Implemented"),
            true,
        ),
        (
            down(DownstreamError::UpgradeRefused),
            Flag::None,
            403,
            plain(""),
            false,
        ),
        (
            down(DownstreamError::Version),
            Flag::DownstreamProtocol,
            426,
            plain("Upgrade Required"),
            true,
        ),
        (
            internal(InternalError::Check(CheckError::Overloaded)),
            Flag::Overload,
            503,
            body(
                "102518",
                "Gateway overloaded",
                "Too many requests wait to be checked.",
            ),
            false,
        ),
        (
            internal(InternalError::Check(CheckError::TooLarge)),
            Flag::Unauthorized,
            500,
            body(
                "102500",
                "Unclassified Validation Failure",
                "Error during validating the request",
            ),
            false,
        ),
        (
            internal(InternalError::Check(CheckError::TimedOut)),
            Flag::Unauthorized,
            500,
            body(
                "102500",
                "Unclassified Validation Failure",
                "Error during validating the request",
            ),
            false,
        ),
        (
            internal(InternalError::NoCluster),
            Flag::NoCluster,
            500,
            body("102507", "Upstream not configured for the resource", ""),
            false,
        ),
        (
            internal(InternalError::Rewrite),
            Flag::NoCluster,
            500,
            body("102507", "Upstream not configured for the resource", ""),
            false,
        ),
        (
            up(UpstreamError::Connect),
            Flag::UpstreamConnect,
            503,
            body(
                "102503",
                "Upstream connection failed",
                &format!("{reset}connection failure"),
            ),
            false,
        ),
        (
            up(UpstreamError::MaxDuration),
            Flag::UpstreamMaxDuration,
            500,
            body(
                "102516",
                "Upstream request reached max stream duration",
                "upstream max stream duration reached",
            ),
            false,
        ),
        (
            up(UpstreamError::NoEndpoint),
            Flag::UpstreamHealth,
            503,
            body("102508", "No healthy upstream", "no healthy upstream"),
            false,
        ),
        (
            up(UpstreamError::Overflow),
            Flag::UpstreamOverflow,
            503,
            body("102505", "Upstream overflow", &format!("{reset}overflow")),
            false,
        ),
        (
            up(UpstreamError::Protocol),
            Flag::UpstreamProtocol,
            500,
            body(
                "102515",
                "HTTP protocol error in upstream request",
                &format!("{reset}protocol error"),
            ),
            false,
        ),
        (
            up(UpstreamError::Refused),
            Flag::UpstreamReset,
            503,
            body(
                "102509",
                "Upstream connection reset by the remote",
                &format!("{reset}remote refused stream reset"),
            ),
            false,
        ),
        (
            up(UpstreamError::Reset),
            Flag::UpstreamReset,
            503,
            body(
                "102509",
                "Upstream connection reset by the remote",
                &format!("{reset}remote reset"),
            ),
            false,
        ),
        (
            up(UpstreamError::ResetLocal),
            Flag::LocalReset,
            503,
            body(
                "102511",
                "Connection reset by the gateway",
                &format!("{reset}local reset"),
            ),
            false,
        ),
        (
            up(UpstreamError::Terminated),
            Flag::UpstreamTerminated,
            503,
            body(
                "102510",
                "Upstream connection termination",
                &format!("{reset}connection termination"),
            ),
            false,
        ),
        (
            up(UpstreamError::TimedOut),
            Flag::UpstreamTimeout,
            504,
            body(
                "102504",
                "Upstream connection timeout",
                "upstream request timeout",
            ),
            false,
        ),
    ];
    for (error, flag, status, want, close) in cases {
        let name = format!("{error:?}");
        assert_eq!(error.flag(), flag, "{name}");
        let response = local(&error, Speech::Json);
        assert_eq!(response.status(), status, "{name}");
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .map(|value| value.to_str().unwrap().to_owned());
        let kind = match want.as_bytes().first() {
            None => None,
            Some(b'{') => Some("application/json"),
            Some(_) => Some("text/plain"),
        };
        assert_eq!(content_type.as_deref(), kind, "{name}");
        assert_eq!(response.headers().contains_key(CONNECTION), close, "{name}");
        assert_eq!(text(response).await, want, "{name}");
    }
}

#[tokio::test]
async fn grpc_callers_get_head_only_answers() {
    let cases = [
        (
            DownstreamError::NoRoute.into(),
            "12",
            r#"{"code":"404","description":"The requested resource is not available.","message":"Not Found"}"#,
        ),
        (DownstreamError::Limited.into(), "14", "local_rate_limited"),
        (
            UpstreamError::TimedOut.into(),
            "14",
            r#"{"code":"102504","description":"upstream request timeout","message":"Upstream connection timeout"}"#,
        ),
    ];
    for (error, status, message) in cases {
        let response = local(&error, Speech::Grpc);
        assert_eq!(response.status(), 200, "{error:?}");
        assert_eq!(response.headers()["grpc-status"], status, "{error:?}");
        assert_eq!(response.headers()["grpc-message"], message, "{error:?}");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc", "{error:?}");
        assert_eq!(text(response).await, "", "{error:?}");
    }
}

#[tokio::test]
async fn soap_callers_get_faults_where_that_is_switched_on() {
    let cases = [
        ("application/soap+xml", false, Some("application/soap+xml")),
        (
            "Application/SOAP+XML; charset=utf-8",
            false,
            Some("application/soap+xml"),
        ),
        ("text/xml", true, Some("text/xml")),
        ("text/xml;charset=utf-8", true, Some("text/xml")),
        ("text/xml", false, None),
        ("application/xml", true, None),
        ("application/soap+xmls", true, None),
    ];
    for (content_type, action, want) in cases {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if action {
            headers.insert("soapaction", HeaderValue::from_static(""));
        }
        assert_eq!(Speech::of(&headers, false), Speech::Json, "{content_type}");
        let speech = Speech::of(&headers, true);
        let response = local(&UpstreamError::NoEndpoint.into(), speech);
        let kind = want.unwrap_or("application/json");
        assert_eq!(response.headers()[CONTENT_TYPE], kind, "{content_type}");
        assert_eq!(response.status(), 503, "{content_type}");
        let text = text(response).await;
        assert_eq!(text.starts_with("<?xml"), want.is_some(), "{text}");
        // What has no code is plain text for everybody.
        let response = local(&DownstreamError::BodyTooLarge.into(), speech);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain", "{content_type}");
    }
    let fault = local(&DownstreamError::NoRoute.into(), Speech::Soap(Soap::V1_1));
    let want = concat!(
        r#"<?xml version="1.0" encoding="UTF-8"?>"#,
        r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><soapenv:Fault>"#,
        "<faultcode>soapenv:Server</faultcode><faultstring>Not Found</faultstring>",
        "<detail>404:The requested resource is not available.</detail>",
        "</soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    );
    assert_eq!(text(fault).await, want);
    let fault = local(&DownstreamError::NoRoute.into(), Speech::Soap(Soap::V1_2));
    let want = want
        .replace(
            "http://schemas.xmlsoap.org/soap/envelope/",
            "http://www.w3.org/2003/05/soap-envelope/",
        )
        .replace("soapenv:Server", "soapenv:Receiver");
    assert_eq!(text(fault).await, want);
}

#[tokio::test]
async fn a_denial_does_not_set_the_framing() {
    let header = |name: &'static str, value: &'static str| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let denial = Denial {
        status: StatusCode::UNAUTHORIZED,
        headers: vec![
            header("content-length", "1"),
            header("transfer-encoding", "chunked"),
            header("www-authenticate", "x"),
            header("www-authenticate", "y"),
        ],
        body: Bytes::from_static(b"denied"),
        metadata: Metadata::default(),
    };
    let response = denied(denial, false);
    let names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(
        (response.status().as_u16(), names),
        (401, vec!["www-authenticate"])
    );
    let challenges = response.headers().get_all("www-authenticate").iter();
    assert!(challenges.eq(["x", "y"]), "both arrive");
    assert_eq!(text(response).await, "denied");
}
