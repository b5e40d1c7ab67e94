//! Bodies of the answers that the router itself gives (spec/adapter.md 5.14).

use prost::Message;
use trireme_proto::envoy::config::accesslog::v3 as accesslog;
use trireme_proto::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use trireme_proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    LocalReplyConfig, ResponseMapper,
};
use trireme_proto::envoy::r#type::matcher::v3 as matcher;
use trireme_proto::envoy::r#type::matcher::v3::metadata_matcher::{PathSegment, path_segment};
use trireme_proto::envoy::r#type::matcher::v3::value_matcher::{MatchPattern, NullMatch};
use trireme_proto::names;

use super::{boolean, number};
use crate::wire::{Writer, json_format, tag};

/// One row of the table: response flag, status, code, message, and the description where it is not Envoy's own text.
struct Reply(
    &'static str,
    u32,
    &'static str,
    &'static str,
    Option<&'static str>,
);

/// The specific cause first: where several flags are set, the first row answers.
const REPLIES: &[Reply] = &[
    Reply(
        "UAEX",
        500,
        "102500",
        "Unclassified Validation Failure",
        Some("Error during validating the request"),
    ),
    Reply(
        "NR",
        404,
        "404",
        "Not Found",
        Some("The requested resource is not available."),
    ),
    Reply(
        "NC",
        500,
        "102507",
        "Upstream not configured for the resource",
        None,
    ),
    Reply("UF", 503, "102503", "Upstream connection failed", None),
    Reply("UT", 504, "102504", "Upstream connection timeout", None),
    Reply("UO", 503, "102505", "Upstream overflow", None),
    Reply("UH", 503, "102508", "No healthy upstream", None),
    Reply(
        "UR",
        503,
        "102509",
        "Upstream connection reset by the remote",
        None,
    ),
    Reply("UC", 503, "102510", "Upstream connection termination", None),
    Reply("LR", 503, "102511", "Connection reset by the gateway", None),
    Reply(
        "IH",
        400,
        "102512",
        "Strictly checked header validation failure",
        None,
    ),
    Reply("SI", 500, "102513", "Stream idle timeout", None),
    Reply(
        "DPE",
        500,
        "102514",
        "HTTP protocol error in downstream request",
        None,
    ),
    Reply(
        "UPE",
        500,
        "102515",
        "HTTP protocol error in upstream request",
        None,
    ),
    Reply(
        "UMSDR",
        500,
        "102516",
        "Upstream request reached max stream duration",
        None,
    ),
    Reply(
        "URX",
        500,
        "102506",
        "Upstream maximum connect attempts reached",
        None,
    ),
];

/// A `LocalReplyConfig`.
pub(crate) fn message() -> Vec<u8> {
    let mut config = Writer::default();
    for Reply(flag, status, code, message, description) in REPLIES {
        let mut filter = flagged(flag);
        if *flag == "UAEX" {
            // The enforcer's own denials pass unchanged.
            filter = both(filter, unmarked());
        }
        let mapper = ResponseMapper {
            filter: Some(filter),
            status_code: number(*status),
            ..Default::default()
        };
        let mut mapper = Writer::of(&mapper);
        let body = [
            ("code", *code),
            ("description", description.unwrap_or("%LOCAL_REPLY_BODY%")),
            ("message", *message),
        ];
        let mut format = Writer::default();
        format.field(tag::FORMAT_JSON, &json_format(body));
        mapper.field(tag::RESPONSE_MAPPER_BODY_FORMAT_OVERRIDE, &format.finish());
        config.field(tag::LOCAL_REPLY_CONFIG_MAPPERS, &mapper.finish());
    }
    config.finish()
}

fn filter(specifier: FilterSpecifier) -> accesslog::AccessLogFilter {
    accesslog::AccessLogFilter {
        filter_specifier: Some(specifier),
    }
}

fn flagged(flag: &str) -> accesslog::AccessLogFilter {
    filter(FilterSpecifier::ResponseFlagFilter(
        accesslog::ResponseFlagFilter {
            flags: vec![flag.to_owned()],
        },
    ))
}

fn both(a: accesslog::AccessLogFilter, b: accesslog::AccessLogFilter) -> accesslog::AccessLogFilter {
    filter(FilterSpecifier::AndFilter(accesslog::AndFilter {
        filters: vec![a, b],
    }))
}

/// The dynamic metadata lacks the mark that the enforcer sets on each of its answers.
fn unmarked() -> accesslog::AccessLogFilter {
    let segment = path_segment::Segment::Key(names::ENFORCER_REPLY.to_owned());
    let matcher = matcher::MetadataMatcher {
        filter: names::EXT_AUTHZ_NAMESPACE.to_owned(),
        path: vec![PathSegment {
            segment: Some(segment),
        }],
        // Envoy ignores `invert` here. A mark is never null, so its presence never matches; its absence does, below.
        value: Some(matcher::ValueMatcher {
            match_pattern: Some(MatchPattern::NullMatch(NullMatch {})),
        }),
        ..Default::default()
    };
    let metadata = accesslog::MetadataFilter {
        matcher: Some(matcher),
        match_if_key_not_found: boolean(true),
    };
    filter(FilterSpecifier::MetadataFilter(metadata))
}

/// Whether a decoded configuration holds the table: its rows in any order, nothing else.
pub(crate) fn is_the_table(config: &LocalReplyConfig) -> bool {
    LocalReplyConfig::decode(message().as_slice()).is_ok_and(|own| {
        own.body_format == config.body_format
            && own.mappers.len() == config.mappers.len()
            && own.mappers.iter().all(|mapper| config.mappers.contains(mapper))
    })
}
