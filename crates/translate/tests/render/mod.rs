//! Routes, clusters and policies as values that are written to golden files. What is as the settings say is left out.

use std::time::Duration;

use serde_json::{Map, Value, json};
use trireme_policy::api::{
    ApiPolicy, EndpointCluster, Location, MutualTls, Operation, Requirement, SchemeKind,
};
use trireme_routing::Ambiguity;
use trireme_routing::snapshot::{
    Action, Changes, Check, Cluster, ClusterRef, Cors, Endpoint, Forward, Headers, PathMatch, Pem, Position,
    Rewrite, Route, Text, Trust, UpstreamProtocol,
};
use trireme_translate::{Api, Settings};

/// An object that leaves out what says nothing.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let empty = match &value {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Number(_) => false,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
        };
        if !empty {
            self.0.insert(key.to_owned(), value);
        }
        self
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

pub(crate) fn routes(api: &Api, settings: &Settings) -> Value {
    let fragment = &api.fragment;
    let hosts = fragment.virtual_hosts.iter().map(|host| {
        let routes = host.routes.iter().map(|one| route(one, settings));
        json!({ "name": host.name, "routes": routes.collect::<Value>() })
    });
    Object::default()
        .put("fragment", fragment.name.as_str())
        .put(
            "position",
            match fragment.position {
                Position::Front => "",
                Position::Back => "back",
                Position::System => "system",
            },
        )
        .put("virtual_hosts", hosts.collect::<Value>())
        .put(
            "clusters",
            api.clusters
                .iter()
                .map(|one| cluster(one, settings))
                .collect::<Value>(),
        )
        .done()
}

fn route(route: &Route, settings: &Settings) -> Value {
    let path = match &route.path {
        PathMatch::Exact(path) => json!({ "exact": path }),
        PathMatch::Prefix(path) => json!({ "prefix": path }),
        PathMatch::Regex(pattern) => pattern.as_str().into(),
    };
    let headers: Map<String, Value> = route
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let object = Object::default()
        .put("name", route.name.as_str())
        .put("path", path)
        .put("methods", route.methods.join(" "))
        .put("headers", headers)
        .put(
            "cors",
            match &route.filters.cors {
                global if *global == settings.cors => Value::Null,
                None => "off".into(),
                Some(cors) => self::cors(cors),
            },
        )
        .put("changes", route.filters.headers.as_deref().map(changes))
        .put(
            "ambiguous_paths",
            route
                .ambiguous_paths
                .iter()
                .map(Ambiguity::as_str)
                .collect::<Value>(),
        );
    let object = match &route.action {
        Action::Direct { status, body } => object.put("direct", json!({ "status": status, "body": body })),
        Action::Forward(forward) => self::forward(object, forward, settings),
    };
    match &route.filters.check {
        Check::Disabled => object.put("check", "disabled"),
        Check::Required { context, with_body } => {
            let context: Map<String, Value> = context
                .iter()
                .map(|(key, value)| (key.clone(), value.as_str().into()))
                .collect();
            object.put("check", context).put("with_body", *with_body)
        }
    }
    .done()
}

fn forward(object: Object, forward: &Forward, settings: &Settings) -> Object {
    let upstream = &settings.upstream;
    let differs = |value: Duration, usual: Duration| match value == usual {
        true => String::new(),
        false => format!("{value:?}"),
    };
    let rewrite = match &forward.rewrite {
        None => Value::Null,
        Some(Rewrite::Path(path)) => json!({ "path": path }),
        Some(Rewrite::Regex {
            pattern,
            substitution,
        }) => {
            json!({ "pattern": pattern, "substitution": substitution })
        }
    };
    object
        .put(
            "cluster",
            match &forward.cluster {
                ClusterRef::Header(header) => json!({ "header": header }),
                ClusterRef::Name(name) => name.as_str().into(),
            },
        )
        .put("rewrite", rewrite)
        .put("keep_host", !forward.auto_host)
        .put("timeout", differs(forward.timeout, upstream.route_timeout))
        .put(
            "idle_timeout",
            differs(forward.idle_timeout, upstream.route_idle_timeout),
        )
        .put(
            "retry",
            forward.retry.as_ref().map(|retry| {
                json!({
                    "count": retry.count,
                    "statuses": retry.statuses,
                    "backoff": format!("{:?}", retry.backoff_base),
                })
            }),
        )
        .put("websocket", forward.websocket)
}

fn changes(headers: &Headers) -> Value {
    let direction = |changes: &Changes| {
        let set: Vec<_> = changes
            .set
            .iter()
            .map(|change| {
                format!(
                    "{:?} {}: {}",
                    change.mode,
                    change.name,
                    match &change.value {
                        Text::ClientAddress => "(the address of the caller)",
                        Text::Fixed(value) => value.to_str().unwrap_or("?"),
                    }
                )
            })
            .collect();
        let remove: Vec<_> = changes.remove.iter().map(ToString::to_string).collect();
        Object::default()
            .put("remove", remove.join(" "))
            .put("set", set)
            .done()
    };
    Object::default()
        .put("request", direction(&headers.request))
        .put("response", direction(&headers.response))
        .done()
}

fn cors(cors: &Cors) -> Value {
    Object::default()
        .put("origins", cors.allow_origins.clone())
        .put("methods", cors.allow_methods.clone())
        .put("headers", cors.allow_headers.clone())
        .put("expose", cors.expose_headers.clone())
        .put("credentials", cors.allow_credentials)
        .done()
}

fn cluster(cluster: &Cluster, settings: &Settings) -> Value {
    let limits = &cluster.limits;
    let limits = Object::default()
        .put("connections", limits.max_connections)
        .put("pending", limits.max_pending)
        .put("requests", limits.max_requests)
        .put("retries", limits.max_retries)
        .done();
    let endpoints = cluster.endpoints.iter().map(|one| endpoint(one, settings));
    Object::default()
        .put("name", cluster.name.as_str())
        .put("endpoints", endpoints.collect::<Value>())
        .put(
            "http2",
            matches!(cluster.protocol, UpstreamProtocol::Http2 { .. }),
        )
        .put("health_check", cluster.health.is_some())
        .put("limits", limits)
        .done()
}

fn endpoint(endpoint: &Endpoint, settings: &Settings) -> Value {
    let tls = endpoint.tls.as_ref().map(|tls| {
        Object::default()
            .put("sni", tls.sni.clone())
            .put("verify_host", tls.verify_host.clone())
            .put(
                "trust",
                match &tls.trust {
                    Trust::None => "nothing is verified".to_owned(),
                    Trust::Anchors(Pem::File(path)) if *path == settings.upstream.tls.trusted => {
                        String::new()
                    }
                    Trust::Anchors(Pem::File(path)) => path.clone(),
                    Trust::Anchors(Pem::Inline(text)) => text.clone(),
                },
            )
            .done()
    });
    Object::default()
        .put("address", format!("{}:{}", endpoint.host, endpoint.port))
        .put("priority", (endpoint.priority > 0).then_some(endpoint.priority))
        .put("tls", tls)
        .done()
}

pub(crate) fn policy(policy: &ApiPolicy) -> Value {
    let schemes = policy.schemes.iter().map(|scheme| {
        Object::default()
            .put("definition", scheme.definition.as_str())
            .put(
                "type",
                match &scheme.kind {
                    SchemeKind::ApiKey => "apiKey",
                    SchemeKind::OAuth2 => "oauth2",
                    SchemeKind::OpenIdConnect => "openIdConnect",
                    SchemeKind::Other(kind) => kind,
                },
            )
            .put("name", scheme.name.as_str())
            .put(
                "in",
                match &scheme.location {
                    Location::Header => "header",
                    Location::Query => "query",
                    Location::Other(other) => other,
                },
            )
            .done()
    });
    let resources = policy.resources.iter().map(|resource| {
        Object::default()
            .put("path", resource.path.as_str())
            .put(
                "operations",
                resource.operations.iter().map(operation).collect::<Value>(),
            )
            .put("production", resource.production.as_ref().map(endpoints))
            .put("sandbox", resource.sandbox.as_ref().map(endpoints))
            .done()
    });
    let security = &policy.endpoint_security;
    let credentials = [
        ("production", &security.production),
        ("sandbox", &security.sandbox),
    ]
    .into_iter()
    .filter_map(|(name, one)| Some((name, one.as_ref()?)))
    .fold(Object::default(), |object, (name, one)| {
        object.put(
            name,
            json!({ "enabled": one.enabled, "type": one.kind, "user": one.username }),
        )
    });
    Object::default()
        .put("name", policy.name())
        .put("id", policy.id.as_str())
        .put("title", policy.title.as_str())
        .put("version", policy.version.as_str())
        .put("kind", policy.kind.as_str())
        .put("base_path", policy.base_path.as_str())
        .put("vhost", policy.vhost.as_str())
        .put("organization", policy.organization.as_str())
        .put("lifecycle", policy.lifecycle.as_str())
        .put("tier", policy.tier.as_str())
        .put("authorization_header", policy.authorization_header.clone())
        .put("disable_security", policy.disable_security)
        .put(
            "mutual_tls",
            match policy.mutual_tls {
                MutualTls::Absent => "",
                MutualTls::Mandatory => "mandatory",
                MutualTls::Optional => "optional",
            },
        )
        .put("application_security", policy.application_security)
        .put("mocked", policy.mocked)
        .put("schemes", schemes.collect::<Value>())
        .put("security", requirements(&policy.security))
        .put("credentials", credentials.done())
        .put("production", policy.production.as_ref().map(endpoints))
        .put("sandbox", policy.sandbox.as_ref().map(endpoints))
        .put("resources", resources.collect::<Value>())
        .done()
}

fn operation(operation: &Operation) -> Value {
    Object::default()
        .put("method", operation.method.as_str())
        .put("tier", operation.tier.as_str())
        .put("disable_security", operation.disable_security)
        .put("security", requirements(&operation.security))
        .done()
}

fn requirements(alternatives: &[Requirement]) -> Value {
    alternatives
        .iter()
        .map(|one| {
            let schemes = one
                .schemes
                .iter()
                .map(|(name, scopes)| (name.clone(), json!(scopes)));
            Value::Object(schemes.collect())
        })
        .collect()
}

fn endpoints(cluster: &EndpointCluster) -> Value {
    let urls = cluster
        .endpoints
        .iter()
        .map(|one| format!("{}://{}:{}{}", one.scheme, one.host, one.port, one.base_path));
    Object::default()
        .put("urls", urls.collect::<Value>())
        .put("timeout_millis", cluster.timeout_millis)
        .put(
            "retry",
            cluster
                .retry
                .as_ref()
                .map(|retry| json!({ "count": retry.count, "statuses": retry.status_codes })),
        )
        .done()
}
