//! `api.yaml`: the facts of an API that its definition doesn't state.

pub(crate) mod attachments;
pub(crate) mod cluster;
pub(crate) mod properties;
mod without_effect;

use std::collections::BTreeSet;

use self::cluster::{Addresses, Side};
use crate::document::diagnostic::{Findings, Pointer};
use crate::document::tree::Section;
use crate::document::value::Value;
use crate::model::ambiguous::AmbiguousPath;
use crate::model::endpoint::{EndpointCluster, HostNames, Scheme};
use crate::model::{
    ApiKind, Cors, CorsPolicy, EndpointSecurity, Implementation, OperationPolicies, PolicyReference,
};

/// What `api.yaml` says, checked.
#[derive(Debug)]
pub(crate) struct ApiYaml {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) context: String,
    pub(crate) description: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) organization: Option<String>,
    pub(crate) revision_id: i64,
    pub(crate) default_version: bool,
    pub(crate) kind: ApiKind,
    pub(crate) lifecycle: String,
    pub(crate) implementation: Implementation,
    /// The definition's own hosts are to be ignored.
    pub(crate) prototyped: bool,
    pub(crate) auth_header: Option<String>,
    pub(crate) tier: Option<String>,
    pub(crate) security_scheme: Vec<String>,
    pub(crate) cors: Cors,
    pub(crate) production: Option<EndpointCluster>,
    pub(crate) sandbox: Option<EndpointCluster>,
    pub(crate) production_security: Option<EndpointSecurity>,
    pub(crate) sandbox_security: Option<EndpointSecurity>,
    pub(crate) operations: Vec<ApiOperation>,
    /// `apiPolicies`.
    pub(crate) policies: OperationPolicies,
    /// `x-wso2-allow-ambiguous-path` among the additional properties.
    pub(crate) ambiguous_paths: Option<BTreeSet<AmbiguousPath>>,
}

/// One entry of `operations`.
#[derive(Debug, Default)]
pub(crate) struct ApiOperation {
    pub(crate) target: String,
    pub(crate) verb: String,
    pub(crate) auth_type: Option<String>,
    pub(crate) tier: Option<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) policies: OperationPolicies,
}

impl ApiYaml {
    /// Reads the file. `None` when there's a reason to refuse it, which is among the findings then.
    pub(crate) fn read(file: &str, value: &Value, consul: bool, findings: &mut Findings) -> Option<Self> {
        let root = Section::new(file, Pointer::Root, value, findings)?.any_case_told(findings);
        if root.get("data").is_none() {
            findings.error(file, &Pointer::Root, "has no data section");
            return None;
        }
        let data = root.section("data", findings)?.any_case_told(findings);
        let kind = kind(&data, findings);
        let (implementation, prototyped) = implementation(&data, findings);
        let mandatory = mandatory(&data, findings);
        let scheme = if kind == Some(ApiKind::Ws) {
            Scheme::Ws
        } else {
            Scheme::Http
        };
        let addresses = Addresses {
            scheme,
            consul,
            hosts: HostNames::Contract,
        };
        let endpoints = data.section("endpointConfig", findings);
        let mut group = |side| cluster::from_api_yaml(endpoints.as_ref()?, side, addresses, findings);
        let (production, sandbox) = (group(Side::Production), group(Side::Sandbox));
        let mut secret = |side| cluster::security_from_api_yaml(endpoints.as_ref()?, side, findings);
        let (production_security, sandbox_security) = (secret(Side::Production), secret(Side::Sandbox));
        let operations_pointer = data.pointer.key("operations");
        let operations = data
            .list("operations", findings)
            .iter()
            .enumerate()
            .filter_map(|(index, item)| operation(file, operations_pointer.index(index), item, findings))
            .collect();
        // Some tools write an empty list for none.
        let none = data
            .get("apiPolicies")
            .and_then(Value::as_array)
            .is_some_and(<[Value]>::is_empty);
        let policies = if none {
            OperationPolicies::default()
        } else {
            policies(&data, "apiPolicies", findings)
        };
        without_effect::tell(&data, findings);
        let mut owned = |key: &str| {
            data.text(key, findings)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let (id, description, provider) = (owned("id"), owned("description"), owned("provider"));
        let (organization, auth_header) = (owned("organizationId"), owned("authorizationHeader"));
        let tier = owned("apiThrottlingPolicy");
        let lifecycle = owned("lifeCycleStatus").unwrap_or_default().to_uppercase();
        let [name, version, context] = mandatory?;
        let bounded = [
            ("authorizationHeader", auth_header.as_deref().unwrap_or_default()),
            ("context", &context),
            ("id", id.as_deref().unwrap_or_default()),
            ("name", &name),
            ("organizationId", organization.as_deref().unwrap_or_default()),
            ("version", &version),
        ];
        for (key, text) in bounded {
            let pointer = data.pointer.key(key);
            if text.len() > MAX_TEXT {
                findings.error(file, &pointer, format!("is longer than {MAX_TEXT} bytes"));
            }
            if text.chars().any(char::is_control) {
                findings.error(file, &pointer, "has a control character");
            }
        }
        Some(Self {
            id,
            name,
            version,
            context,
            description,
            provider,
            organization,
            revision_id: data.integer("revisionId", findings).unwrap_or(0),
            default_version: data.flag("isDefaultVersion", findings).unwrap_or(false),
            kind: kind?,
            lifecycle,
            implementation: implementation?,
            prototyped,
            auth_header,
            tier,
            security_scheme: security_scheme(&data, findings),
            cors: cors(&data, findings),
            production,
            sandbox,
            production_security,
            sandbox_security,
            operations,
            policies,
            ambiguous_paths: properties::ambiguous_paths(&data, findings),
        })
    }
}

/// `securityScheme`. Words that are not known have never had an effect; without `mutualssl` its `_mandatory` has none either.
fn security_scheme(data: &Section<'_>, findings: &mut Findings) -> Vec<String> {
    let names = data.texts("securityScheme", findings);
    let key = data
        .entry("securityScheme")
        .map_or("securityScheme", |(key, _)| key);
    let pointer = data.pointer.key(key);
    for (index, name) in names.iter().enumerate() {
        let reason = match name.as_str() {
            "mutualssl_mandatory" if !names.iter().any(|name| name == "mutualssl") => {
                "ignored: it has no effect without mutualssl".to_owned()
            }
            "api_key"
            | "mutualssl"
            | "mutualssl_mandatory"
            | "oauth2"
            | "oauth_basic_auth_api_key_mandatory" => {
                continue;
            }
            other => format!("ignored: security scheme {other:?} is not supported"),
        };
        findings.warning(data.file, &pointer.index(index), reason);
    }
    names
}

/// Longest id, name, version, context and organization, in bytes: they stand in every route of the API, and some in headers.
pub(crate) const MAX_TEXT: usize = 1_024;

/// Name, version and context, or one finding that lists all that is missing.
fn mandatory(data: &Section<'_>, findings: &mut Findings) -> Option<[String; 3]> {
    let mut missing = Vec::new();
    let mut complete = true;
    let values = ["name", "version", "context"].map(|key| {
        let present = data.get(key).is_some();
        let text = data.text(key, findings).unwrap_or_default().trim();
        if text.is_empty() {
            complete = false;
            if !present || data.get(key).is_some_and(|value| value.text().is_some()) {
                missing.push(key);
            }
        }
        text.to_owned()
    });
    if !missing.is_empty() {
        findings.error(
            data.file,
            &data.pointer,
            format!("{} must be given", missing.join(", ")),
        );
    }
    complete.then_some(values)
}

fn kind(data: &Section<'_>, findings: &mut Findings) -> Option<ApiKind> {
    data.get("type").or_else(|| {
        findings.error(data.file, &data.pointer, "type must be given");
        None
    })?;
    let text = data.text("type", findings)?;
    match text.to_uppercase().as_str() {
        "GRAPHQL" => Some(ApiKind::GraphQl),
        "HTTP" => Some(ApiKind::Http),
        "SOAP" => Some(ApiKind::Soap),
        "WS" => Some(ApiKind::Ws),
        _ => {
            let message = format!("API type {text:?} is none of HTTP, WS, SOAP, GRAPHQL");
            findings.error(data.file, &data.pointer.key("type"), message);
            None
        }
    }
}

/// Who answers, and whether the API is a prototype.
fn implementation(data: &Section<'_>, findings: &mut Findings) -> (Option<Implementation>, bool) {
    let config = data.section("endpointConfig", findings);
    let mut text = |key| config.as_ref().and_then(|config| config.text(key, findings));
    let lambda = text("endpoint_type") == Some("awslambda");
    let prototyped = text("implementation_status") == Some("prototyped");
    let implementation = match data.text("endpointImplementationType", findings) {
        Some("INLINE") => {
            let message = "endpoint implementation type INLINE is not supported";
            findings.error(
                data.file,
                &data.pointer.key("endpointImplementationType"),
                message,
            );
            None
        }
        Some("MOCKED_OAS") => Some(Implementation::Mocked),
        _ if lambda => Some(Implementation::Lambda),
        _ => Some(Implementation::Upstream),
    };
    (implementation, prototyped)
}

fn operation(
    file: &str,
    pointer: Pointer<'_>,
    item: &Value,
    findings: &mut Findings,
) -> Option<ApiOperation> {
    let section = Section::new(file, pointer, item, findings)?.any_case_told(findings);
    let mut owned = |key: &str| section.text(key, findings).map(str::to_owned);
    let (target, verb) = (
        owned("target").unwrap_or_default(),
        owned("verb").unwrap_or_default(),
    );
    let (auth_type, tier) = (
        owned("authType"),
        owned("throttlingPolicy").filter(|tier| !tier.is_empty()),
    );
    let scopes = section.texts("scopes", findings);
    let policies = policies(&section, "operationPolicies", findings);
    Some(ApiOperation {
        target,
        verb,
        auth_type,
        tier,
        scopes,
        policies,
    })
}

/// The policies of each flow below a key.
fn policies(section: &Section<'_>, key: &str, findings: &mut Findings) -> OperationPolicies {
    let Some(flows) = section.section(key, findings) else {
        return OperationPolicies::default();
    };
    for key in flows.map.keys() {
        let flow = key.to_ascii_lowercase();
        if !["request", "response", "fault"].contains(&flow.as_str()) && !flow.starts_with("x-") {
            // A guard under a name that nobody reads would be no guard.
            let pointer = flows.pointer.key(key);
            findings.error(
                flows.file,
                &pointer,
                "is none of the flows request, response, fault",
            );
        }
    }
    let mut flow = |name: &str| {
        let name = flows.entry(name).map_or(name, |(name, _)| name);
        let list_pointer = flows.pointer.key(name);
        let items = flows.list(name, findings).iter().enumerate();
        items
            .filter_map(|(index, item)| policy(flows.file, list_pointer.index(index), item, findings))
            .collect()
    };
    OperationPolicies {
        request: flow("request"),
        response: flow("response"),
        fault: flow("fault"),
    }
}

fn policy(
    file: &str,
    pointer: Pointer<'_>,
    item: &Value,
    findings: &mut Findings,
) -> Option<PolicyReference> {
    let section = Section::new(file, pointer, item, findings)?.any_case();
    let name = section
        .text("policyName", findings)
        .unwrap_or_default()
        .to_owned();
    if name.is_empty() {
        findings.error(file, &pointer, "policyName must be given");
        return None;
    }
    let version = section
        .text("policyVersion", findings)
        .unwrap_or_default()
        .to_owned();
    let parameters = section
        .section("parameters", findings)
        .map(|section| section.map.clone())
        .unwrap_or_default();
    Some(PolicyReference {
        name,
        version,
        parameters,
    })
}

/// `corsConfiguration`; used for GraphQL only, where there's no definition to say it.
fn cors(data: &Section<'_>, findings: &mut Findings) -> Cors {
    let Some(section) = data.section("corsConfiguration", findings) else {
        return Cors::Global;
    };
    if !section
        .flag("corsConfigurationEnabled", findings)
        .unwrap_or(false)
    {
        return Cors::Global;
    }
    Cors::Custom(cors_policy(&section, findings))
}

/// The keys of a CORS policy, in any case.
pub(crate) fn cors_policy(section: &Section<'_>, findings: &mut Findings) -> CorsPolicy {
    CorsPolicy {
        allow_origins: section.texts("accessControlAllowOrigins", findings),
        allow_headers: section.texts("accessControlAllowHeaders", findings),
        allow_methods: section.texts("accessControlAllowMethods", findings),
        expose_headers: section.texts("accessControlExposeHeaders", findings),
        allow_credentials: section
            .flag("accessControlAllowCredentials", findings)
            .unwrap_or(false),
    }
}
