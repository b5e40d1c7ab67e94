//! The check: whether the enforcer is asked, and what it is told. Envoy's `ext_authz`.

use std::collections::BTreeMap;
use std::mem::take;

use prost::Name;
use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::extensions::filters::http::ext_authz::v3::{
    BufferSettings, CheckSettings as OnRoute, ExtAuthz, ExtAuthzPerRoute, ext_authz,
    ext_authz_per_route::Override,
};
use trireme_proto::google::protobuf::Any;
use trireme_proto::names::filter;

use super::seam::{CheckSettings, Draft, Given, Http, PerRoute};
use crate::Invalid;
use crate::wire::read::{Path, fixed, nothing_else, span, text, unpack};
use crate::wire::write::{Writer, duration, pack, tag};

/// Whether the enforcer is asked. The default in the router is to ask; nothing is exempt by omission.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Check {
    /// Never (system routes only). Wire: `ExtAuthzPerRoute.disabled`.
    Disabled,
    /// Always.
    Required {
        /// Opaque to the router; keys in `trireme_proto::names::context`.
        context: BTreeMap<String, String>,
        /// Buffer the body and send it along.
        with_body: bool,
    },
}

pub(super) const HTTP: Http = Http {
    name: filter::EXT_AUTHZ,
    upgrades: true,
    encode: |told| pack(&told.check.encode()),
    decode: |config, settings, path| {
        settings.check = Some(CheckSettings::decode(unpack(config, path)?, path)?);
        Ok(())
    },
};

// === impl Check ===

impl Default for Check {
    /// As in Envoy: a route that says nothing is checked, body and all.
    fn default() -> Self {
        Self::Required {
            context: BTreeMap::new(),
            with_body: true,
        }
    }
}

impl PerRoute for Check {
    fn encode(&self, draft: &mut Draft) {
        let Self::Required { context, with_body } = self else {
            let disabled = ExtAuthzPerRoute {
                r#override: Some(Override::Disabled(true)),
            };
            return draft.set(filter::EXT_AUTHZ, pack(&disabled));
        };
        let mut settings = Writer::of(&OnRoute {
            disable_request_body_buffering: !with_body,
            ..Default::default()
        });
        for (key, value) in context {
            settings.entry(tag::CHECK_SETTINGS_CONTEXT_EXTENSIONS, key, value.as_bytes());
        }
        let mut message = Writer::default();
        message.field(tag::EXT_AUTHZ_PER_ROUTE_CHECK_SETTINGS, &settings.finish());
        let config = Any {
            type_url: ExtAuthzPerRoute::type_url(),
            value: message.finish(),
        };
        draft.set(filter::EXT_AUTHZ, config);
    }

    fn decode(given: &mut Given<'_>) -> Result<Self, Invalid> {
        let Some((message, path)) = given.take::<ExtAuthzPerRoute>(filter::EXT_AUTHZ)? else {
            return Ok(Self::default());
        };
        match message.r#override {
            Some(Override::Disabled(true)) => Ok(Self::Disabled),
            Some(Override::CheckSettings(mut settings)) => {
                let path = &path.field("check_settings");
                let context = take(&mut settings.context_extensions).into_iter().collect();
                let with_body = !take(&mut settings.disable_request_body_buffering);
                nothing_else(&settings, path)?;
                Ok(Self::Required { context, with_body })
            }
            Some(Override::Disabled(false)) | None => Err(path.invalid("must be disabled or check_settings")),
        }
    }
}

// === impl CheckSettings ===

impl CheckSettings {
    fn encode(&self) -> ExtAuthz {
        let service = core::GrpcService {
            timeout: duration(self.timeout),
            target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
                core::grpc_service::EnvoyGrpc {
                    cluster_name: self.cluster.clone(),
                    ..Default::default()
                },
            )),
            ..Default::default()
        };
        ExtAuthz {
            services: Some(ext_authz::Services::GrpcService(service)),
            transport_api_version: core::ApiVersion::V3.into(),
            // The enforcer chooses the cluster by a header that routes match on.
            clear_route_cache: true,
            include_peer_certificate: true,
            with_request_body: Some(BufferSettings {
                max_request_bytes: self.max_request_bytes,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn decode(mut filter: ExtAuthz, path: &Path<'_>) -> Result<Self, Invalid> {
        let service_path = path.field("grpc_service");
        let Some(ext_authz::Services::GrpcService(mut service)) = filter.services.take() else {
            return Err(service_path.invalid("missing"));
        };
        let grpc_path = service_path.field("envoy_grpc");
        let Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(mut grpc)) = service.target_specifier.take()
        else {
            return Err(grpc_path.invalid("missing"));
        };
        let cluster = text(take(&mut grpc.cluster_name), &grpc_path.field("cluster_name"))?;
        nothing_else(&grpc, &grpc_path)?;
        let timeout = span(service.timeout.take(), &service_path.field("timeout"))?;
        nothing_else(&service, &service_path)?;
        if take(&mut filter.transport_api_version) != i32::from(core::ApiVersion::V3) {
            return Err(path.field("transport_api_version").invalid("must be V3"));
        }
        fixed(
            &take(&mut filter.clear_route_cache),
            &true,
            &path.field("clear_route_cache"),
        )?;
        fixed(
            &take(&mut filter.include_peer_certificate),
            &true,
            &path.field("include_peer_certificate"),
        )?;
        let body_path = path.field("with_request_body");
        let mut body = filter
            .with_request_body
            .take()
            .ok_or_else(|| body_path.invalid("missing"))?;
        let max_request_bytes = take(&mut body.max_request_bytes);
        if max_request_bytes == 0 {
            return Err(body_path
                .field("max_request_bytes")
                .invalid("must be greater than zero"));
        }
        nothing_else(&body, &body_path)?;
        nothing_else(&filter, path)?;
        Ok(Self {
            cluster,
            timeout,
            max_request_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::seam::Reader;
    use super::super::tests::{refusal, through};
    use std::time::Duration;

    use super::*;

    #[test]
    fn round_trip() {
        let context =
            BTreeMap::from([("a", "b"), ("b", ""), ("", "c")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        let with_body = Check::Required {
            context,
            with_body: false,
        };
        for check in [Check::default(), Check::Disabled, with_body] {
            assert_eq!(through(&check, Reader::Envoy), check);
        }
    }

    #[test]
    fn refuses() {
        let with = |settings: OnRoute| ExtAuthzPerRoute {
            r#override: Some(Override::CheckSettings(settings)),
        };
        let cases = [
            (
                ExtAuthzPerRoute::default(),
                ": must be disabled or check_settings",
            ),
            (
                ExtAuthzPerRoute {
                    r#override: Some(Override::Disabled(false)),
                },
                ": must be disabled or check_settings",
            ),
            (
                with(OnRoute {
                    with_request_body: Some(BufferSettings::default()),
                    ..Default::default()
                }),
                ".check_settings.with_request_body: not supported",
            ),
        ];
        for (config, want) in cases {
            assert_eq!(refusal::<Check>(filter::EXT_AUTHZ, pack(&config)), want);
        }
    }

    #[test]
    fn settings_round_trip_and_refuse() {
        let settings = CheckSettings {
            cluster: "ext-authz".to_owned(),
            timeout: Duration::from_millis(1500),
            max_request_bytes: 1,
        };
        let path = &Path::ROOT.field("f");
        assert_eq!(
            CheckSettings::decode(settings.encode(), path),
            Ok(settings.clone())
        );
        let refused = |change: fn(&mut ExtAuthz)| {
            let mut message = settings.encode();
            change(&mut message);
            CheckSettings::decode(message, path)
                .expect_err("refused")
                .to_string()
        };
        let cases = [
            (
                refused(|filter| filter.failure_mode_allow = true),
                "failure_mode_allow: not supported",
            ),
            (refused(|filter| filter.services = None), "grpc_service: missing"),
            (
                refused(|filter| filter.clear_route_cache = false),
                "clear_route_cache: must be true",
            ),
            (
                refused(|filter| filter.with_request_body = None),
                "with_request_body: missing",
            ),
            (
                refused(|filter| filter.with_request_body = Some(BufferSettings::default())),
                "with_request_body.max_request_bytes: must be greater than zero",
            ),
            (
                refused(|filter| {
                    filter
                        .with_request_body
                        .as_mut()
                        .expect("settings")
                        .allow_partial_message = true
                }),
                "with_request_body.allow_partial_message: not supported",
            ),
        ];
        for (got, want) in cases {
            assert_eq!(got, format!("f.{want}"));
        }
    }
}
