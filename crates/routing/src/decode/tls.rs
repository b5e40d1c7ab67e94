//! TLS contexts of both sides.

use std::mem::take;

use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::extensions::transport_sockets::tls::v3 as tls;
use trireme_proto::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use trireme_proto::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use trireme_proto::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use trireme_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use trireme_proto::google::protobuf::Any;

use crate::Invalid;
use crate::snapshot::{ListenerTls, Pem, TlsVersion, Trust, UpstreamTls};
use crate::wire::read::{Path, boolean, nothing_else, only, unpack};

/// What both sides' contexts hold.
struct Common {
    min_version: TlsVersion,
    max_version: TlsVersion,
    ciphers: Vec<String>,
    certificates: Vec<tls::TlsCertificate>,
    trust: Option<Pem>,
    verify_host: Option<String>,
}

pub(super) fn downstream(any: &Any, path: &Path<'_>) -> Result<ListenerTls, Invalid> {
    let mut context: tls::DownstreamTlsContext = unpack(Some(any), path)?;
    let common_path = path.field("common_tls_context");
    let common = common(context.common_tls_context.take(), &common_path)?;
    if boolean(context.require_client_certificate.take()) {
        return Err(path
            .field("require_client_certificate")
            .invalid("client certificates are never required"));
    }
    nothing_else(&context, path)?;
    let path = &common_path;
    if common.verify_host.is_some() {
        let path = path.field("validation_context");
        return Err(path
            .field("match_typed_subject_alt_names")
            .invalid("not supported on a listener"));
    }
    let (certificate, key) = certificate(only(common.certificates, &path.field("tls_certificates"))?, path)?;
    Ok(ListenerTls {
        certificate,
        key,
        client_ca: common.trust,
        min_version: common.min_version,
        max_version: common.max_version,
        ciphers: common.ciphers,
    })
}

pub(super) fn upstream(any: &Any, path: &Path<'_>) -> Result<UpstreamTls, Invalid> {
    let mut context: tls::UpstreamTlsContext = unpack(Some(any), path)?;
    let common_path = path.field("common_tls_context");
    let common = common(context.common_tls_context.take(), &common_path)?;
    let sni = take(&mut context.sni);
    nothing_else(&context, path)?;
    let client_certificate = match common.certificates.len() {
        0 => None,
        _ => Some(certificate(
            only(common.certificates, &common_path.field("tls_certificates"))?,
            &common_path,
        )?),
    };
    Ok(UpstreamTls {
        sni: Some(sni).filter(|sni| !sni.is_empty()),
        trust: common.trust.map_or(Trust::None, Trust::Anchors),
        verify_host: common.verify_host,
        client_certificate,
        min_version: common.min_version,
        max_version: common.max_version,
        ciphers: common.ciphers,
    })
}

fn common(context: Option<tls::CommonTlsContext>, path: &Path<'_>) -> Result<Common, Invalid> {
    let mut context = context.ok_or_else(|| path.invalid("missing"))?;
    let (min_version, max_version, ciphers) =
        parameters(context.tls_params.take(), &path.field("tls_params"))?;
    let certificates = take(&mut context.tls_certificates);
    // The router offers what it speaks, so the list needs no reading beyond this.
    if let Some(other) = take(&mut context.alpn_protocols)
        .iter()
        .find(|name| *name != "h2" && *name != "http/1.1")
    {
        return Err(path
            .field("alpn_protocols")
            .invalid(format!("{other:?} is not supported")));
    }
    let (trust, verify_host) = match context.validation_context_type.take() {
        None => (None, None),
        Some(ValidationContextType::ValidationContext(validation)) => {
            validated(validation, &path.field("validation_context"))?
        }
        Some(_) => {
            return Err(path
                .field("validation_context_type")
                .invalid("only validation_context is supported"));
        }
    };
    nothing_else(&context, path)?;
    Ok(Common {
        min_version,
        max_version,
        ciphers,
        certificates,
        trust,
        verify_host,
    })
}

fn parameters(
    parameters: Option<tls::TlsParameters>,
    path: &Path<'_>,
) -> Result<(TlsVersion, TlsVersion, Vec<String>), Invalid> {
    let mut parameters = parameters.unwrap_or_default();
    let version = |number: i32, auto, field| match TlsProtocol::try_from(number) {
        Ok(TlsProtocol::TlsAuto) => Ok(auto),
        Ok(TlsProtocol::TlSv12) => Ok(TlsVersion::V1_2),
        Ok(TlsProtocol::TlSv13) => Ok(TlsVersion::V1_3),
        Ok(TlsProtocol::TlSv10 | TlsProtocol::TlSv11) | Err(_) => {
            Err(path.field(field).invalid("must be TLSv1_2 or TLSv1_3"))
        }
    };
    let min = take(&mut parameters.tls_minimum_protocol_version);
    let min = version(min, TlsVersion::V1_2, "tls_minimum_protocol_version")?;
    let max = take(&mut parameters.tls_maximum_protocol_version);
    let max = version(max, TlsVersion::V1_3, "tls_maximum_protocol_version")?;
    if max < min {
        return Err(path
            .field("tls_maximum_protocol_version")
            .invalid("lower than tls_minimum_protocol_version"));
    }
    let ciphers = take(&mut parameters.cipher_suites);
    nothing_else(&parameters, path)?;
    Ok((min, max, ciphers))
}

/// Trust anchors and the name that a certificate must hold.
fn validated(
    mut context: tls::CertificateValidationContext,
    path: &Path<'_>,
) -> Result<(Option<Pem>, Option<String>), Invalid> {
    let trust_path = path.field("trusted_ca");
    let trust = context
        .trusted_ca
        .take()
        .map(|source| pem(source, &trust_path))
        .transpose()?;
    let names_path = path.field("match_typed_subject_alt_names");
    let names = take(&mut context.match_typed_subject_alt_names);
    let name = match names.len() {
        0 => None,
        _ => Some(subject_name(only(names, &names_path)?, &names_path.index(0))?),
    };
    nothing_else(&context, path)?;
    if name.is_some() && trust.is_none() {
        return Err(names_path.invalid("needs trusted_ca"));
    }
    Ok((trust, name))
}

fn subject_name(mut matcher: tls::SubjectAltNameMatcher, path: &Path<'_>) -> Result<String, Invalid> {
    let mut text = matcher.matcher.take().unwrap_or_default();
    let Some(MatchPattern::Exact(name)) = text.match_pattern.take() else {
        return Err(path.field("matcher").invalid("must be exact"));
    };
    nothing_else(&text, &path.field("matcher"))?;
    let wanted = if name.parse::<std::net::IpAddr>().is_ok() {
        SanType::IpAddress
    } else {
        SanType::Dns
    };
    if take(&mut matcher.san_type) != i32::from(wanted) {
        return Err(path
            .field("san_type")
            .invalid(format!("must be {}", wanted.as_str_name())));
    }
    nothing_else(&matcher, path)?;
    Ok(name)
}

fn certificate(mut certificate: tls::TlsCertificate, path: &Path<'_>) -> Result<(Pem, Pem), Invalid> {
    let list = path.field("tls_certificates");
    let path = list.index(0);
    let part = |source: Option<core::DataSource>, name| {
        let path = path.field(name);
        pem(source.ok_or_else(|| path.invalid("missing"))?, &path)
    };
    let chain = part(certificate.certificate_chain.take(), "certificate_chain")?;
    let key = part(certificate.private_key.take(), "private_key")?;
    nothing_else(&certificate, &path)?;
    Ok((chain, key))
}

fn pem(mut source: core::DataSource, path: &Path<'_>) -> Result<Pem, Invalid> {
    let pem = match source.specifier.take() {
        Some(core::data_source::Specifier::Filename(name)) => Pem::File(name),
        Some(core::data_source::Specifier::InlineString(text)) => Pem::Inline(text),
        Some(core::data_source::Specifier::InlineBytes(bytes)) => Pem::Inline(
            String::from_utf8(bytes).map_err(|_| path.field("inline_bytes").invalid("not UTF-8"))?,
        ),
        Some(core::data_source::Specifier::EnvironmentVariable(_)) | None => {
            return Err(path.invalid("must be filename, inline_string or inline_bytes"));
        }
    };
    nothing_else(&source, path)?;
    Ok(pem)
}
