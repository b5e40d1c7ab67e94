//! Keys of `api.yaml` that nobody here reads.

use crate::document::diagnostic::{Findings, Pointer};
use crate::document::tree::Section;
use crate::document::value::Value;

/// Keys of `data` that the reader looks at.
const READ: &[&str] = &[
    "additionalProperties",
    "additionalPropertiesMap",
    "apiPolicies",
    "apiThrottlingPolicy",
    "authorizationHeader",
    "context",
    "corsConfiguration",
    "description",
    "endpointConfig",
    "endpointImplementationType",
    "id",
    "isDefaultVersion",
    "lifeCycleStatus",
    "name",
    "operations",
    "organizationId",
    "provider",
    "revisionId",
    "securityScheme",
    "type",
    "version",
];

/// Keys that exports of API Manager 3.0 to 4.6 and `apictl init` carry anyway, for its portals and its other gateways: nobody
/// who has them in a file asks for anything here.
const ORDINARY: &[&str] = &[
    "accessControl",
    "accessControlRoles",
    "advertiseInfo",
    "aiConfiguration",
    "asyncTransportProtocols",
    "audience",
    "businessInformation",
    "cacheTimeout",
    "categories",
    "createdTime",
    "deploymentEnvironments",
    "destinationStatsEnabled",
    "displayName",
    "egress",
    "enableStore",
    "enableSubscriberVerification",
    "endpointSecurity",
    "endpoints",
    "gatewayEnvironments",
    "gatewayType",
    "gatewayVendor",
    "hasThumbnail",
    "initiatedFromGateway",
    "isRevision",
    "keyManagers",
    "labels",
    "lastUpdatedTime",
    "lastUpdatedTimestamp",
    "monetization",
    "organizationPolicies",
    "policies",
    "primaryProductionEndpointId",
    "primarySandboxEndpointId",
    "responseCachingEnabled",
    "revisionedApiId",
    "scopes",
    "serviceInfo",
    "subscriptionAvailability",
    "subscriptionAvailableTenants",
    "subtypeConfiguration",
    "tags",
    "testKey",
    "throttlingLimit",
    "transport",
    "visibility",
    "visibleOrganizations",
    "visibleRoles",
    "visibleTenants",
    "websubSubscriptionConfiguration",
    "workflowStatus",
    "wsUriMapping",
    "wsdlInfo",
    "wsdlUrl",
];

/// Tells every key of `data` whose owner believes in it: those that nobody knows, and those that would guard or limit something
/// and don't.
pub(crate) fn tell(data: &Section<'_>, findings: &mut Findings) {
    for (key, value) in data.map {
        let pointer = data.pointer.key(key);
        if value.is_null() || knows(READ, key) || knows(ORDINARY, key) {
            continue;
        }
        match Guard::of(key) {
            Some(guard) if guard.is_set(value) => guard.tell(data.file, &pointer, findings),
            Some(_) => {}
            None => findings.warning(data.file, &pointer, "has no effect here"),
        }
    }
}

fn knows(keys: &[&str], key: &str) -> bool {
    keys.iter().any(|known| known.eq_ignore_ascii_case(key))
}

/// What an owner may set to guard or limit an API, and what is not applied.
#[derive(Debug, Clone, Copy)]
enum Guard {
    ApiKeyHeader,
    Audiences,
    MaxTps,
    Mediation,
    SchemaValidation,
    ThreatProtection,
}

impl Guard {
    fn of(key: &str) -> Option<Self> {
        const GUARDS: [(&str, Guard); 6] = [
            ("apiKeyHeader", Guard::ApiKeyHeader),
            ("audiences", Guard::Audiences),
            ("enableSchemaValidation", Guard::SchemaValidation),
            ("maxTps", Guard::MaxTps),
            ("mediationPolicies", Guard::Mediation),
            ("threatProtectionPolicies", Guard::ThreatProtection),
        ];
        let found = GUARDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, guard)| *guard)
    }

    /// Something else than what API Manager writes when nothing was chosen.
    fn is_set(self, value: &Value) -> bool {
        let texts = |default: &str| {
            let mut texts = items(value)
                .iter()
                .map(|item| item.text().unwrap_or_default().trim());
            texts.any(|text| !text.is_empty() && !text.eq_ignore_ascii_case(default))
        };
        match self {
            Self::ApiKeyHeader => texts("ApiKey"),
            Self::Audiences => texts("all"),
            Self::MaxTps => match value {
                Value::Object(sides) => sides.values().any(|limit| !limit.is_null()),
                other => !other.is_null(),
            },
            Self::Mediation => items(value).iter().any(is_inbound),
            Self::SchemaValidation => {
                let text = || value.text().is_some_and(|text| text.eq_ignore_ascii_case("true"));
                value.as_bool().unwrap_or_else(text)
            }
            Self::ThreatProtection => !items(value.get("list").unwrap_or(&Value::Null)).is_empty(),
        }
    }

    fn tell(self, file: &str, pointer: &Pointer<'_>, findings: &mut Findings) {
        let reason = match self {
            Self::ApiKeyHeader => "a key is taken from the header that its security scheme names",
            Self::Audiences => "the audience of a token is not checked",
            Self::MaxTps => "calls of the endpoints are not limited",
            Self::Mediation => "mediation sequences are not run",
            Self::SchemaValidation => "requests are not checked against schemas",
            Self::ThreatProtection => "threat protection is not applied",
        };
        findings.warning(file, pointer, format!("has no effect here: {reason}"));
    }
}

/// The items of a list; anything else is its own only item.
fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        other => std::slice::from_ref(other),
    }
}

/// A mediation sequence of the request flow.
fn is_inbound(sequence: &Value) -> bool {
    let flow = sequence.get("type").and_then(Value::as_str).unwrap_or_default();
    ["in", "request"]
        .iter()
        .any(|name| flow.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `apictl` of any release writes (spec/apictl.md 6.3) and API Manager exports.
    const WRITTEN: &str = "id, name, displayName, description, context, version, provider, lifeCycleStatus, wsdlInfo, wsdlUrl, \
        responseCachingEnabled, cacheTimeout, hasThumbnail, isDefaultVersion, isRevision, revisionId, enableSchemaValidation, type, \
        transport, tags, policies, apiThrottlingPolicy, authorizationHeader, apiKeyHeader, securityScheme, maxTps, visibility, \
        visibleRoles, visibleTenants, mediationPolicies, subscriptionAvailability, subscriptionAvailableTenants, \
        additionalProperties, monetization, accessControl, accessControlRoles, businessInformation, corsConfiguration, \
        workflowStatus, createdTime, lastUpdatedTimestamp, lastUpdatedTime, endpointConfig, endpointImplementationType, scopes, \
        operations, threatProtectionPolicies, categories, keyManagers, advertiseInfo, websubSubscriptionConfiguration, \
        gatewayVendor, asyncTransportProtocols, gatewayType, initiatedFromGateway, enableSubscriberVerification, apiPolicies, \
        audience, audiences, revisionedApiId, additionalPropertiesMap, serviceInfo, organizationId, egress, subtypeConfiguration, \
        primaryProductionEndpointId, primarySandboxEndpointId, visibleOrganizations, organizationPolicies";

    #[test]
    fn what_is_written_anyway_is_known() {
        for key in WRITTEN.split(", ") {
            let known = knows(READ, key) || knows(ORDINARY, key) || Guard::of(key).is_some();
            assert!(known, "{key}");
        }
    }

    #[test]
    fn keys_are_named_once() {
        let all: Vec<&str> = READ.iter().chain(ORDINARY).copied().collect();
        for (at, key) in all.iter().enumerate() {
            assert!(!all[..at].contains(key), "{key}");
            assert!(Guard::of(key).is_none(), "{key}");
        }
        assert!(READ.is_sorted() && ORDINARY.is_sorted());
    }
}
