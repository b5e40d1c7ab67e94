//! Bodies of the answers that the router itself gives (spec/adapter.md 5.14).

use trireme_proto::Wire as _;
use trireme_proto::envoy::config::accesslog::v3 as accesslog;
use trireme_proto::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use trireme_proto::envoy::config::core::v3::SubstitutionFormatString;
use trireme_proto::envoy::config::core::v3::substitution_format_string::Format;
use trireme_proto::envoy::config::route::v3 as route;
use trireme_proto::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use trireme_proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    LocalReplyConfig, ResponseMapper,
};
use trireme_proto::envoy::r#type::matcher::v3 as matcher;
use trireme_proto::envoy::r#type::matcher::v3::metadata_matcher::{PathSegment, path_segment};
use trireme_proto::envoy::r#type::matcher::v3::value_matcher::{MatchPattern, NullMatch};
use trireme_proto::names;

use crate::soap::Soap;
use crate::wire::write::{Writer, boolean, inline, json_format, number, tag};

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

/// A `LocalReplyConfig`; with `soap`, faults for SOAP calls before the rest.
pub(crate) fn message(soap: bool) -> Vec<u8> {
    let mut config = Writer::default();
    let dialects: &[Soap] = if soap { &Soap::ALL } else { &[] };
    for dialect in dialects {
        for reply in REPLIES {
            config.field(tag::LOCAL_REPLY_CONFIG_MAPPERS, &fault(reply, *dialect));
        }
    }
    for reply in REPLIES {
        config.field(tag::LOCAL_REPLY_CONFIG_MAPPERS, &object(reply));
    }
    config.finish()
}

/// A row as a JSON object.
fn object(reply: &Reply) -> Vec<u8> {
    let Reply(_, _, code, message, _) = *reply;
    let body = [
        ("code", code),
        ("description", reply.description()),
        ("message", message),
    ];
    let mut format = Writer::default();
    format.field(tag::FORMAT_JSON, &json_format(body));
    let mut mapper = Writer::of(&reply.mapper(Vec::new()));
    mapper.field(tag::RESPONSE_MAPPER_BODY_FORMAT_OVERRIDE, &format.finish());
    mapper.finish()
}

/// A row as a SOAP fault.
fn fault(reply: &Reply, soap: Soap) -> Vec<u8> {
    let Reply(_, _, code, message, _) = *reply;
    let text = soap.fault(code, message, reply.description());
    let format = SubstitutionFormatString {
        content_type: soap.content_type().to_owned(),
        format: inline(&text).map(Format::TextFormatSource),
        ..Default::default()
    };
    // The media type alone decides: upstream's exact match missed calls that name a charset.
    let media = format!(r"(?i){}[ \t]*(;.*)?", soap.content_type().replace('+', r"\+"));
    let media = matcher::StringMatcher {
        match_pattern: Some(matcher::string_matcher::MatchPattern::SafeRegex(
            matcher::RegexMatcher {
                regex: media,
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    let mut conditions = vec![header("content-type", HeaderMatchSpecifier::StringMatch(media))];
    if let Some(name) = soap.header() {
        conditions.push(header(name, HeaderMatchSpecifier::PresentMatch(true)));
    }
    ResponseMapper {
        body_format_override: Some(format),
        ..reply.mapper(conditions)
    }
    .to_wire()
}

impl Reply {
    fn description(&self) -> &'static str {
        self.4.unwrap_or("%LOCAL_REPLY_BODY%")
    }

    /// What picks the row out, and its status.
    fn mapper(&self, mut conditions: Vec<accesslog::AccessLogFilter>) -> ResponseMapper {
        let Self(flag, status, ..) = self;
        conditions.push(flagged(flag));
        if *flag == "UAEX" {
            // The enforcer's own denials pass unchanged.
            conditions.push(unmarked());
        }
        ResponseMapper {
            filter: all(conditions),
            status_code: number(*status),
            ..Default::default()
        }
    }
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

fn header(name: &str, specifier: HeaderMatchSpecifier) -> accesslog::AccessLogFilter {
    let header = route::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    };
    filter(FilterSpecifier::HeaderFilter(accesslog::HeaderFilter {
        header: Some(header),
    }))
}

/// All of several conditions; Envoy takes no conjunction of one.
fn all(mut filters: Vec<accesslog::AccessLogFilter>) -> Option<accesslog::AccessLogFilter> {
    if filters.len() < 2 {
        return filters.pop();
    }
    Some(filter(FilterSpecifier::AndFilter(accesslog::AndFilter {
        filters,
    })))
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

/// Whether a decoded configuration asks for SOAP faults; none when it is not the table. Rows may stand in any order, those
/// for SOAP calls before the rest.
pub(crate) fn soap(config: &LocalReplyConfig) -> Option<bool> {
    [false, true].into_iter().find(|soap| {
        LocalReplyConfig::from_wire(&message(*soap)).is_ok_and(|own| {
            let faults = own.mappers.len().saturating_sub(REPLIES.len());
            let (mine, given) = (
                own.mappers.split_at_checked(faults),
                config.mappers.split_at_checked(faults),
            );
            own.body_format == config.body_format
                && mine
                    .zip(given)
                    .is_some_and(|(mine, given)| same_rows(mine.0, given.0) && same_rows(mine.1, given.1))
        })
    })
}

fn same_rows(own: &[ResponseMapper], given: &[ResponseMapper]) -> bool {
    own.len() == given.len() && own.iter().all(|mapper| given.contains(mapper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_known_with_and_without_faults() {
        let rows = REPLIES.len();
        type Change = fn(&mut Vec<ResponseMapper>);
        let cases: [(&str, bool, Change, Option<bool>); 7] = [
            ("JSON", false, |_| {}, Some(false)),
            ("JSON, another order", false, |rows| rows.reverse(), Some(false)),
            ("SOAP", true, |_| {}, Some(true)),
            ("SOAP, another order", true, |rows| rows.swap(0, 20), Some(true)),
            ("JSON before SOAP", true, |rows| rows.reverse(), None),
            ("a row less", true, |rows| drop(rows.remove(3)), None),
            ("no row", false, Vec::clear, None),
        ];
        for (name, faults, change, want) in cases {
            let mut config = LocalReplyConfig::from_wire(&message(faults)).expect("encoded");
            assert_eq!(
                config.mappers.len(),
                if faults { 3 * rows } else { rows },
                "{name}"
            );
            change(&mut config.mappers);
            assert_eq!(soap(&config), want, "{name}");
        }
    }
}
