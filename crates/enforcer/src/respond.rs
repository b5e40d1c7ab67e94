//! Where a verdict meets the wire: the only place that knows statuses, codes, texts and headers of answers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use prost::Message;
use prost::bytes::Bytes;
use trireme_proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use trireme_proto::envoy::service::auth::v3::check_response::HttpResponse;
use trireme_proto::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use trireme_proto::envoy::r#type::v3::HttpStatus;
use trireme_proto::google::protobuf::{Struct, Value, value::Kind};
use trireme_proto::google::rpc::Status;
use trireme_proto::names;
use trireme_proto::trireme::auth::v1 as stream;

use crate::attributes::Attributes;
use crate::verdict::{Admitted, Challenge, Denial, Level, LimitFields, Reason, Steering, Verdict};
use crate::wire::{field, nested};

/// Appended to the description of every 900901.
const CREDENTIALS: &str = "Make sure you have provided the correct security credentials";
const SUBSCRIPTION: &str =
    "User is NOT authorized to access the Resource. API Subscription validation failed.";
const FORBIDDEN: &str = "Resource forbidden ";
const THROTTLED: &str = "Message throttled out";
const QUOTA: &str = "You have exceeded your quota";
const UNCLASSIFIED: &str = "Unclassified Authentication Failure";
const INVALID: &str = "Invalid Credentials";

/// Status and body of a refusal (spec/enforcer.md §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) status: u16,
    /// Error code; empty when there is no body.
    pub(crate) code: &'static str,
    /// Error message.
    pub(crate) message: &'static str,
    /// Error description.
    pub(crate) description: Cow<'static, str>,
}

/// The table of refusals, of a request for this resource.
#[must_use]
pub(crate) fn refusal(reason: &Reason, template: &str) -> Refusal {
    let of = |status, code, message, description| Refusal {
        status,
        code,
        message,
        description,
    };
    let told = |status, code, message, text: &'static str| of(status, code, message, Cow::Borrowed(text));
    let invalid = |text: &str| {
        of(
            401,
            "900901",
            INVALID,
            Cow::Owned(format!("{text}. {CREDENTIALS}")),
        )
    };
    match reason {
        Reason::ApiBlocked => told(
            503,
            "700700",
            "API blocked",
            "This API has been blocked temporarily. Please try again later or contact the system administrators.",
        ),
        Reason::ApiKeyInvalid => invalid("API key authentication failed."),
        Reason::Behind => told(
            503,
            "503",
            "Service Unavailable",
            "The policy of this API is being deployed. Please try again.",
        ),
        Reason::Blocked => told(
            403,
            "900805",
            "Message blocked",
            "You have been blocked from accessing the resource",
        ),
        Reason::CertificateUnreadable => told(401, "900900", UNCLASSIFIED, "Invalid client certificate"),
        Reason::Forbidden => told(403, "900908", FORBIDDEN, FORBIDDEN),
        Reason::KeyTypeUnknown => invalid("Invalid key type."),
        Reason::KeysUnavailable => told(503, "900900", UNCLASSIFIED, UNCLASSIFIED),
        Reason::LengthMissing => told(
            411,
            "411",
            "Length Required",
            "The limits of this API count bytes. Please send the length of the body.",
        ),
        Reason::Limit(exceeded) => {
            let code = match exceeded.level {
                Level::Api => "900800",
                Level::Application => "900803",
                Level::Custom => "900806",
                Level::Resource => "900802",
                Level::Subscription => "900804",
            };
            told(429, code, THROTTLED, QUOTA)
        }
        Reason::LimitsUnavailable => told(
            503,
            "900808",
            "Limits unavailable",
            "The limits of this request cannot be told. Please try again later.",
        ),
        Reason::NoCredentials => told(401, "900901", INVALID, CREDENTIALS),
        Reason::NoProduction => invalid("Production key offered to an API with no production endpoint"),
        Reason::NoSandbox => invalid("Sandbox key offered to an API with no sandbox endpoint"),
        Reason::NotAToken => invalid("Not a JWT token. Failed to decode the token header"),
        Reason::Preflight(_) => told(204, "", "", ""),
        Reason::Scope => of(
            403,
            "900910",
            "The access token does not allow you to access the requested resource",
            Cow::Owned(format!(
                "User is NOT authorized to access the Resource: {template}. Scope validation failed."
            )),
        ),
        Reason::SignerMissing => told(500, "900900", UNCLASSIFIED, UNCLASSIFIED),
        Reason::Subscription => told(403, "900908", FORBIDDEN, SUBSCRIPTION),
        Reason::TokenInvalid => invalid("Invalid Credentials"),
        Reason::UnknownKey => told(401, "900900", UNCLASSIFIED, UNCLASSIFIED),
        Reason::Unknown => told(
            404,
            "404",
            "Not Found",
            "The requested resource is not available.",
        ),
    }
}

/// The answer of a unary check. What steers are headers in it. `soap` allows SOAP faults for SOAP calls.
#[must_use]
pub(crate) fn respond(verdict: &Verdict<'_>, attributes: &Attributes<'_>, soap: bool) -> CheckResponse {
    match verdict {
        Verdict::Admitted(admitted) => ok(admitted),
        Verdict::Denied(denial) => denied(denial, attributes, soap),
    }
}

/// The answer to a check of a stream: a serialized `CheckResponse`, and what steers. With `typed` that is a value of its own
/// and none of it is in the response; without, it is headers there as in a unary answer.
///
/// `scratch` is where the response is written before it is given away in its length; its content doesn't matter.
#[must_use]
pub(crate) fn encode(
    verdict: &Verdict<'_>,
    attributes: &Attributes<'_>,
    soap: bool,
    typed: bool,
    scratch: &mut Vec<u8>,
) -> (Bytes, Option<stream::Steering>) {
    match verdict {
        Verdict::Admitted(admitted) => {
            scratch.clear();
            write_ok(admitted, typed, scratch);
            let steering = typed.then(|| steering(&admitted.steering));
            (Bytes::copy_from_slice(scratch), steering)
        }
        Verdict::Denied(denial) => (denied(denial, attributes, soap).encode_to_vec().into(), None),
    }
}

fn steering(steering: &Steering<'_>) -> stream::Steering {
    let path = match steering.path.as_deref() {
        // No path would mean the one that was received, with the key in it that had to go.
        Some("") => "/",
        path => path.unwrap_or_default(),
    };
    stream::Steering {
        cluster: steering.cluster.to_owned(),
        timeout_ms: steering.timeout_ms,
        retries: steering.retry.map(|retry| retry.count),
        retry_statuses: steering
            .retry
            .map_or_else(Vec::new, |retry| retry.status_codes.clone()),
        method: String::new(),
        path: path.to_owned(),
    }
}

/// Headers to set, each in place of what was there; with `steering`, what steers is among them.
fn headers(admitted: &Admitted<'_>, steering: bool, mut set: impl FnMut(&str, &str)) {
    let Steering {
        cluster,
        timeout_ms,
        retry,
        path,
    } = &admitted.steering;
    if steering && !cluster.is_empty() {
        set(names::CLUSTER_HEADER, cluster);
    }
    if let Some(retry) = retry.filter(|_| steering) {
        let codes: Vec<_> = retry.status_codes.iter().map(u32::to_string).collect();
        set("x-envoy-retry-on", "retriable-status-codes");
        set("x-envoy-max-retries", &retry.count.to_string());
        set("x-envoy-retriable-status-codes", &codes.join(","));
    }
    if let Some(millis) = timeout_ms.filter(|_| steering) {
        set("x-envoy-upstream-rq-timeout-ms", &millis.to_string());
    }
    if let Some(value) = admitted.authorization {
        set("authorization", value);
    }
    if let Some(path) = path.as_deref().filter(|_| steering) {
        set(":path", path);
    }
}

/// Headers of the answer to the caller.
fn answer_headers(admitted: &Admitted<'_>, mut set: impl FnMut(&str, &str)) {
    if let Some(limits) = &admitted.limits {
        limit_headers(limits, &mut set);
    }
}

fn limit_headers(limits: &LimitFields, mut set: impl FnMut(&str, &str)) {
    set("ratelimit-policy", &limits.policy);
    set("ratelimit", &limits.left);
}

/// What the router logs of an admitted request.
fn metadata<'a>(admitted: &Admitted<'a>, mut tell: impl FnMut(&'static str, &'a str)) {
    tell(names::ENFORCER_REPLY, "Ok");
    tell("originalPath", admitted.path);
    if let Some((scheme, key_type)) = admitted.identity {
        tell("tokenType", scheme.as_str());
        tell("keyType", key_type.as_str());
    }
}

/// Appends what [`ok`] is on the wire. Built of owned strings and maps, it is the dearest part of a check.
fn write_ok(admitted: &Admitted<'_>, typed: bool, out: &mut Vec<u8>) {
    // CheckResponse.status (1), a Status of code 0.
    field(out, 1, &[]);
    // CheckResponse.ok_response (3), an OkHttpResponse.
    nested(out, 3, |out| {
        headers(admitted, !typed, |name, value| {
            // OkHttpResponse.headers (2), its header (1), key (1) and value (2) of that.
            nested(out, 2, |out| {
                nested(out, 1, |out| {
                    field(out, 1, name.as_bytes());
                    if !value.is_empty() {
                        field(out, 2, value.as_bytes());
                    }
                });
            });
        });
        for name in &admitted.remove {
            // OkHttpResponse.headers_to_remove (5).
            field(out, 5, name.as_bytes());
        }
        answer_headers(admitted, |name, value| {
            // OkHttpResponse.response_headers_to_add (6), as headers above.
            nested(out, 6, |out| {
                nested(out, 1, |out| {
                    field(out, 1, name.as_bytes());
                    field(out, 2, value.as_bytes());
                });
            });
        });
    });
    // CheckResponse.dynamic_metadata (4), a Struct.
    nested(out, 4, |out| {
        metadata(admitted, |key, value| {
            // Struct.fields (1), a map: key (1) and value (2), whose string_value is 3.
            nested(out, 1, |out| {
                field(out, 1, key.as_bytes());
                nested(out, 2, |out| field(out, 3, value.as_bytes()));
            });
        });
    });
}

fn ok(admitted: &Admitted<'_>) -> CheckResponse {
    let mut fields = HashMap::with_capacity(4);
    metadata(admitted, |key, value| {
        fields.insert(key.to_owned(), text(value));
    });
    let mut set = Vec::new();
    headers(admitted, true, |name, value| set.push(header(name, value)));
    let mut answered = Vec::new();
    answer_headers(admitted, |name, value| answered.push(header(name, value)));
    CheckResponse {
        status: Some(Status::default()),
        dynamic_metadata: Some(Struct { fields }),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers: set,
            headers_to_remove: admitted.remove.iter().map(|&name| name.to_owned()).collect(),
            response_headers_to_add: answered,
            ..OkHttpResponse::default()
        })),
    }
}

fn denied(denial: &Denial, attributes: &Attributes<'_>, soap: bool) -> CheckResponse {
    let refusal = refusal(&denial.reason, attributes.route.template);
    let mut headers = Vec::new();
    if refusal.status == 401 {
        headers.push(header("WWW-Authenticate", challenge(denial.challenge)));
    }
    if let Reason::Preflight(allow) = &denial.reason {
        headers.push(header("allow", allow));
    }
    if let Reason::Limit(exceeded) = &denial.reason {
        let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(exceeded.until));
        // As a date, which is the form of the original (RFC 9110 §10.2.3).
        headers.extend(until.map(|until| header("Retry-After", &httpdate::fmt_http_date(until))));
        if let Some(limits) = &exceeded.fields {
            limit_headers(limits, |name, value| headers.push(header(name, value)));
        }
    }
    let mut body = String::new();
    if !refusal.code.is_empty() {
        let format = if soap {
            Format::of(attributes)
        } else {
            Format::Json
        };
        headers.push(header("content-type", format.content_type()));
        body = format.render(&refusal);
    }
    let fields = HashMap::from([
        (names::ENFORCER_REPLY.to_owned(), text("Ok")),
        ("correlationID".to_owned(), text(attributes.request_id())),
    ]);
    CheckResponse {
        status: Some(Status {
            code: grpc_code(refusal.status),
            ..Status::default()
        }),
        dynamic_metadata: Some(Struct { fields }),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus {
                code: i32::from(refusal.status),
            }),
            headers,
            body,
        })),
    }
}

/// Value of `WWW-Authenticate` on every 401.
fn challenge(challenge: Challenge) -> &'static str {
    match challenge {
        Challenge::Bearer => {
            "Bearer realm=\"Choreo Connect\", error=\"invalid_token\", \
             error_description=\"The provided token is invalid\""
        }
        // Two spaces, as the original joins the parts of silent authenticators.
        Challenge::MutualTls => {
            "Mutual SSL realm=\"Choreo Connect\"  Bearer realm=\"Choreo Connect\", \
             error=\"invalid_token\", error_description=\"The provided token is invalid\""
        }
    }
}

/// gRPC code that goes with an HTTP status (spec/enforcer.md §1.5).
fn grpc_code(status: u16) -> i32 {
    match status {
        401 => 16,
        403 => 7,
        429 => 8,
        _ => 13,
    }
}

fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

fn header(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    }
}

/// Shape of the body of a refusal (spec/enforcer.md §1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Soap11,
    Soap12,
}

impl Format {
    /// SOAP calls are told apart by the media type of the request.
    fn of(attributes: &Attributes<'_>) -> Self {
        let content_type = attributes.header("content-type").unwrap_or_default();
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/soap+xml") {
            Self::Soap12
        } else if media.eq_ignore_ascii_case("text/xml") && attributes.header("soapaction").is_some() {
            Self::Soap11
        } else {
            Self::Json
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Soap11 => "text/xml",
            Self::Soap12 => "application/soap+xml",
        }
    }

    fn render(self, refusal: &Refusal) -> String {
        let Refusal {
            code,
            message,
            description,
            ..
        } = refusal;
        match self {
            Self::Json => format!(
                r#"{{"error_message":{},"code":"{code}","error_description":{}}}"#,
                json(message),
                json(description),
            ),
            Self::Soap11 => format!(
                "<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\"><SOAP-ENV:Header/>\
                 <SOAP-ENV:Body><SOAP-ENV:Fault><faultcode>Server</faultcode><faultstring>{}</faultstring>\
                 <detail>{code}:{}</detail></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>",
                xml(message),
                xml(description),
            ),
            Self::Soap12 => format!(
                "<env:Envelope xmlns:env=\"http://www.w3.org/2003/05/soap-envelope\"><env:Header/><env:Body><env:Fault>\
                 <env:Code><env:Value>env:Receiver</env:Value></env:Code><env:Reason><env:Text xml:lang=\"en-US\">{}\
                 </env:Text></env:Reason><env:Detail>{code}:{}</env:Detail></env:Fault></env:Body></env:Envelope>",
                xml(message),
                xml(description),
            ),
        }
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
