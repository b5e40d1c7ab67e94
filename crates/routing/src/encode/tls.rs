//! TLS contexts of both sides.

use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::extensions::transport_sockets::tls::v3 as tls;
use trireme_proto::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use trireme_proto::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use trireme_proto::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use trireme_proto::envoy::r#type::matcher::v3::{StringMatcher, string_matcher};
use trireme_proto::google::protobuf::Any;

use crate::snapshot::{ListenerTls, Pem, TlsVersion, Trust, UpstreamTls};
use crate::wire::write::{boolean, inline, pack, source};

pub(super) fn downstream(settings: &ListenerTls) -> Any {
    let validation = settings
        .client_ca
        .as_ref()
        .map(|ca| tls::CertificateValidationContext {
            trusted_ca: pem(ca),
            ..Default::default()
        });
    let common = tls::CommonTlsContext {
        tls_params: parameters(settings.min_version, settings.max_version, &settings.ciphers),
        tls_certificates: vec![certificate(&settings.certificate, &settings.key)],
        alpn_protocols: alpn(),
        validation_context_type: validation.map(ValidationContextType::ValidationContext),
        ..Default::default()
    };
    pack(&tls::DownstreamTlsContext {
        common_tls_context: Some(common),
        // Envoy wants it said where there is a validation context.
        require_client_certificate: boolean(false),
        ..Default::default()
    })
}

pub(super) fn upstream(settings: &UpstreamTls, http2: bool) -> Any {
    let certificates = settings
        .client_certificate
        .iter()
        .map(|(chain, key)| certificate(chain, key));
    let common = tls::CommonTlsContext {
        tls_params: parameters(settings.min_version, settings.max_version, &settings.ciphers),
        tls_certificates: certificates.collect(),
        alpn_protocols: if http2 { alpn() } else { Vec::new() },
        validation_context_type: validation(settings).map(ValidationContextType::ValidationContext),
        ..Default::default()
    };
    pack(&tls::UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: settings.sni.clone().unwrap_or_default(),
        ..Default::default()
    })
}

fn validation(settings: &UpstreamTls) -> Option<tls::CertificateValidationContext> {
    let trusted_ca = match &settings.trust {
        Trust::Anchors(anchors) => pem(anchors),
        // Envoy refuses names to check without anchors to check the chain against.
        Trust::None => return None,
    };
    let names = settings.verify_host.iter().map(|host| {
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        tls::SubjectAltNameMatcher {
            san_type: i32::from(if is_address {
                SanType::IpAddress
            } else {
                SanType::Dns
            }),
            matcher: Some(StringMatcher {
                match_pattern: Some(string_matcher::MatchPattern::Exact(host.clone())),
                ..Default::default()
            }),
            ..Default::default()
        }
    });
    Some(tls::CertificateValidationContext {
        trusted_ca,
        match_typed_subject_alt_names: names.collect(),
        ..Default::default()
    })
}

fn certificate(chain: &Pem, key: &Pem) -> tls::TlsCertificate {
    tls::TlsCertificate {
        certificate_chain: pem(chain),
        private_key: pem(key),
        ..Default::default()
    }
}

fn pem(pem: &Pem) -> Option<core::DataSource> {
    match pem {
        Pem::File(name) => source(core::data_source::Specifier::Filename(name.clone())),
        Pem::Inline(text) => inline(text),
    }
}

fn parameters(min: TlsVersion, max: TlsVersion, ciphers: &[String]) -> Option<tls::TlsParameters> {
    let version = |version| {
        i32::from(match version {
            TlsVersion::V1_2 => TlsProtocol::TlSv12,
            TlsVersion::V1_3 => TlsProtocol::TlSv13,
        })
    };
    Some(tls::TlsParameters {
        tls_minimum_protocol_version: version(min),
        tls_maximum_protocol_version: version(max),
        cipher_suites: ciphers.to_vec(),
        ..Default::default()
    })
}

fn alpn() -> Vec<String> {
    vec!["h2".to_owned(), "http/1.1".to_owned()]
}
