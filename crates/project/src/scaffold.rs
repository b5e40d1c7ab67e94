//! New projects around a definition, in the shape `apictl init` gives them.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::api::cluster::Side;
use crate::definition::extensions::TIERS;
use crate::document::diagnostic::{Diagnostic, Findings};
use crate::document::value::{Object, Value as Written};
use crate::document::{self, Keep};
use crate::model::endpoint::{Balance, EndpointCluster};
use crate::model::{ApiKind, ApiProject};
use crate::read::{derive, read};
use crate::settings::Limits;
use crate::settings::{Defaults, Settings};
use crate::source::{DEFINITION, Definition};

/// Release named in the generated files; only `apictl` and API Manager look at it.
const RELEASE: &str = "v4.2.0";

/// What may be chosen about a new project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScaffoldOptions {
    /// Name of the API instead of the definition's title.
    pub name: Option<String>,
    /// Life-cycle state is `PUBLISHED` instead of `CREATED`.
    pub published: bool,
}

/// The files of a new project around a definition: path inside the project and content; a path that ends in `/` is an empty
/// folder. [`crate::archive`] packs them.
///
/// The definition gets an `x-wso2-basePath` when it has none, so that its place doesn't depend on where its upstream lies. Its endpoints
/// are written to `api.yaml` as well; without any, it's `http://localhost:8080` and `:8081` as `apictl` does.
///
/// # Errors
/// The findings, when the definition can't be read.
pub fn scaffold(
    definition: Definition<'_>,
    limits: &Limits,
) -> Result<Vec<(String, Vec<u8>)>, Vec<Diagnostic>> {
    scaffold_with(definition, &ScaffoldOptions::default(), limits)
}

/// [`scaffold`] with choices.
///
/// # Errors
/// The findings, when the definition can't be read.
pub fn scaffold_with(
    definition: Definition<'_>,
    options: &ScaffoldOptions,
    limits: &Limits,
) -> Result<Vec<(String, Vec<u8>)>, Vec<Diagnostic>> {
    let settings = Settings {
        limits: limits.clone(),
        ..Settings::new(Defaults::Derive)
    };
    let mut project = read(&definition, &settings)?.project;
    if let Some(name) = &options.name {
        project.identity.name.clone_from(name);
    }
    // `apictl` drops blanks; its `undeploy` takes names without them.
    project.identity.name = project.identity.name.replace(' ', "");
    let mut findings = Findings::default();
    // Schemas included, which reading leaves out: of a definition as large as allowed, they are several times the rest.
    let whole = Limits {
        nodes: limits.nodes.saturating_mul(4),
        ..limits.clone()
    };
    let Some(read) = document::parse(
        definition.name,
        definition.content,
        Keep::All,
        &whole,
        &mut findings,
    ) else {
        return Err(findings.into_sorted());
    };
    let mut root = as_written(read).to_json();
    let place = Place::of(&project, &root, options);
    if let (Some(path), Value::Object(root)) = (&place.added_base_path, &mut root) {
        root.insert("x-wso2-basePath".to_owned(), Value::from(path.as_str()));
    }
    root.sort_all_objects();
    let yaml =
        |value: &Value| to_yaml(value).map_err(|reason| vec![Diagnostic::error(definition.name, "", reason)]);
    let api = api_yaml(&project, &place, options, declares_schemes(&root));
    let targets = json!({
        "type": "deployment_environments",
        "version": RELEASE,
        "data": [{"displayOnDevportal": true, "deploymentEnvironment": "Default"}],
    });
    let meta = json!({
        "deploy": {"import": {"preserveProvider": true, "rotateRevision": false, "update": true}},
        "name": project.identity.name,
        "version": project.identity.version,
    });
    let mut files = vec![
        ("api.yaml".to_owned(), yaml(&api)?.into_bytes()),
        ("api_meta.yaml".to_owned(), yaml(&meta)?.into_bytes()),
        (
            "deployment_environments.yaml".to_owned(),
            yaml(&targets)?.into_bytes(),
        ),
        ("README.md".to_owned(), readme(&project).into_bytes()),
        (definition_path(&project).to_owned(), yaml(&root)?.into_bytes()),
    ];
    for folder in [
        "Client-certificates",
        "Docs",
        "Endpoint-certificates",
        "Image",
        "Interceptors",
        "Policies",
        "libs",
    ] {
        files.push((format!("{folder}/"), Vec::new()));
    }
    Ok(files)
}

fn definition_path(project: &ApiProject) -> &'static str {
    if project.kind == ApiKind::Ws {
        "Definitions/asyncapi.yaml"
    } else {
        DEFINITION
    }
}

/// Where the API will be.
struct Place {
    context: String,
    default_version: bool,
    /// For definitions that don't say.
    added_base_path: Option<String>,
}

impl Place {
    fn of(project: &ApiProject, root: &Value, options: &ScaffoldOptions) -> Self {
        let version = project.identity.version.as_str();
        let written = root
            .get("x-wso2-basePath")
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|path| !path.is_empty());
        let Some(written) = written else {
            let named = options.name.is_some();
            let base_path = if named {
                derive::base_path(&project.identity)
            } else {
                project.base_path.clone()
            };
            let suffix = base_path.rsplit_once('/').map_or("", |(context, _)| context);
            let context = if suffix.is_empty() {
                base_path.clone()
            } else {
                suffix.to_owned()
            };
            return Self {
                context,
                default_version: false,
                added_base_path: Some(base_path),
            };
        };
        let default_version = !written.contains("{version}");
        let bare = written.replace("{version}", "").replace(version, "");
        let steps: Vec<&str> = bare.split('/').filter(|step| !step.is_empty()).collect();
        Self {
            context: format!("/{}", steps.join("/")),
            default_version,
            added_base_path: None,
        }
    }
}

fn api_yaml(project: &ApiProject, place: &Place, options: &ScaffoldOptions, declared: bool) -> Value {
    let identity = &project.identity;
    let mut data = Map::new();
    let mut set = |key: &str, value: Value| data.insert(key.to_owned(), value);
    set("name", json!(identity.name));
    if !project.description.is_empty() {
        set("description", json!(project.description));
    }
    set("context", json!(place.context));
    set("version", json!(identity.version));
    set("provider", json!("admin"));
    set(
        "lifeCycleStatus",
        json!(if options.published { "PUBLISHED" } else { "CREATED" }),
    );
    if place.default_version {
        set("isDefaultVersion", json!(true));
    }
    set("isRevision", json!(false));
    set("revisionId", json!(0));
    set("type", json!(project.kind.as_str()));
    set("transport", json!(["http", "https"]));
    set("policies", json!(["Unlimited"]));
    if let Some(header) = &project.auth_header {
        set("authorizationHeader", json!(header));
    }
    if let Some(schemes) = schemes(project, declared) {
        set("securityScheme", json!(schemes));
    }
    set("visibility", json!("PUBLIC"));
    set("endpointConfig", endpoint_config(project));
    set("endpointImplementationType", json!("ENDPOINT"));
    set("websubSubscriptionConfiguration", Value::Null);
    json!({"type": "api", "version": RELEASE, "data": data})
}

/// A definition whose schemes are all API keys, passwords and the like tells what its upstream asks for. The gateway has no such
/// credentials to give out, so nobody could call the API; callers show a token to it instead, and what the upstream asks for
/// passes through.
fn schemes(project: &ApiProject, declared: bool) -> Option<[&'static str; 1]> {
    // The others were left out when the definition was read.
    (declared && project.security_schemes.is_empty()).then_some(["oauth2"])
}

/// Whether a definition declares security schemes.
fn declares_schemes(root: &Value) -> bool {
    ["/securityDefinitions", "/components/securitySchemes"]
        .iter()
        .filter_map(|pointer| root.pointer(pointer)?.as_object())
        .any(|schemes| !schemes.is_empty())
}

/// Production decides about the shape, the sandbox only when there's no production.
fn endpoint_config(project: &ApiProject) -> Value {
    let Some(leading) = project.production.as_ref().or(project.sandbox.as_ref()) else {
        return json!({
            "endpoint_type": "http",
            "production_endpoints": {"url": "http://localhost:8080"},
            "sandbox_endpoints": {"url": "http://localhost:8081"},
        });
    };
    let kind = match (leading.endpoints.len(), leading.balance) {
        (0 | 1, _) => "http",
        (_, Balance::Failover) => "failover",
        (_, Balance::RoundRobin) => "load_balance",
    };
    let mut config = Map::new();
    config.insert("endpoint_type".to_owned(), json!(kind));
    for side in Side::BOTH {
        let (name, cluster) = match side {
            Side::Production => ("production", &project.production),
            Side::Sandbox => ("sandbox", &project.sandbox),
        };
        let Some(cluster) = cluster else { continue };
        let urls = urls(cluster);
        if kind == "load_balance" {
            config.insert(format!("{name}_endpoints"), json!(urls));
            continue;
        }
        let mut urls = urls.into_iter();
        config.insert(format!("{name}_endpoints"), urls.next().unwrap_or_default());
        let rest: Vec<Value> = urls.collect();
        if kind == "failover" && !rest.is_empty() {
            config.insert(format!("{name}_failovers"), json!(rest));
        }
    }
    Value::Object(config)
}

fn urls(cluster: &EndpointCluster) -> Vec<Value> {
    cluster
        .endpoints
        .iter()
        .map(|endpoint| json!({"url": endpoint.url}))
        .collect()
}

/// YAML text that reads back as the same value; what the serializer gets wrong is written as JSON, which YAML includes.
fn to_yaml(value: &Value) -> Result<String, String> {
    let limits = Limits {
        nodes: usize::MAX,
        depth: 128,
        ..Limits::default()
    };
    let text = deep(limits.depth, || serde_saphyr::to_string(value))?
        .map_err(|error| format!("cannot be written as YAML: {error}"))?;
    let back = document::parse("", text.as_bytes(), Keep::All, &limits, &mut Findings::default());
    if back.is_some_and(|back| back.to_json() == *value) {
        return Ok(text);
    }
    serde_json::to_string_pretty(value).map_err(|error| format!("cannot be written as JSON: {error}"))
}

/// Runs work on YAML where the stack is deep enough for `depth` levels: the library takes up to 30 KiB of it for each (measured
/// without optimization), so that the 2 MiB of an ordinary thread would end at 70.
fn deep<T: Send>(depth: usize, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    const LEVEL_BYTES: usize = 64 << 10;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("yaml".to_owned())
            .stack_size(LEVEL_BYTES * (depth.min(1_000) + 32))
            .spawn_scoped(scope, work)
            .map_err(|error| format!("no thread for it: {error}"))?;
        thread.join().map_err(|_| "the serializer failed".to_owned())
    })
}

/// A definition whose texts are in quotes where they stand without, since what is written anew has values alone: `1.10` would
/// become 1.1.
fn as_written(mut root: Written) -> Written {
    let Written::Object(top) = &mut root else {
        return root;
    };
    for key in ["title", "version"] {
        quote(
            top.get_mut("info")
                .and_then(|info| info.as_object_mut()?.get_mut(key)),
        );
    }
    quote_texts(top);
    let paths = top.get_mut("paths").and_then(Written::as_object_mut);
    for item in paths
        .into_iter()
        .flat_map(Object::values_mut)
        .filter_map(Written::as_object_mut)
    {
        quote_texts(item);
        for operation in item.values_mut().filter_map(Written::as_object_mut) {
            quote_texts(operation);
        }
    }
    root
}

/// What the root of a definition, its paths and their operations have in common.
fn quote_texts(object: &mut Object) {
    TIERS.iter().for_each(|tier| quote(object.get_mut(*tier)));
    for key in ["security", "x-trireme-headers"] {
        object.get_mut(key).into_iter().for_each(quote_all);
    }
    if let Some(Written::Array(servers)) = object.get_mut("servers") {
        for server in servers.iter_mut().filter_map(Written::as_object_mut) {
            let variables = server.get_mut("variables").and_then(Written::as_object_mut);
            for variable in variables.into_iter().flat_map(Object::values_mut) {
                quote(
                    variable
                        .as_object_mut()
                        .and_then(|variable| variable.get_mut("default")),
                );
            }
        }
    }
}

fn quote(value: Option<&mut Written>) {
    if let Some(value) = value
        && let Some(text) = value.text()
    {
        *value = Written::String(text.to_owned());
    }
}

/// Every scalar of a value of few levels.
fn quote_all(value: &mut Written) {
    match value {
        Written::Array(items) => items.iter_mut().for_each(quote_all),
        Written::Object(object) => object.values_mut().for_each(quote_all),
        Written::Null | Written::Scalar(_) | Written::String(_) => quote(Some(value)),
    }
}

fn readme(project: &ApiProject) -> String {
    let mut text = format!("# {} {}\n\n", project.identity.name, project.identity.version);
    text.push_str("An API project for the gateway. Deploy this folder with `trireme deploy` or `apictl mg deploy api`.\n\n");
    for (path, purpose) in [
        ("api.yaml", "name, version, endpoints, security"),
        (
            "Definitions/swagger.yaml",
            "the OpenAPI definition; its operations are what is served",
        ),
        (
            "deployment_environments.yaml",
            "where to deploy: environments and virtual hosts",
        ),
        (
            "Endpoint-certificates/",
            "CA certificates of upstream services, and endpoint_certificates.yaml that assigns them",
        ),
        (
            "Client-certificates/",
            "certificates of callers (mutual TLS), and client_certificates.yaml that lists them",
        ),
        ("Policies/", "operation policies: specifications and templates"),
    ] {
        // Writing to a String can't fail.
        let _written = writeln!(text, "- `{path}`: {purpose}");
    }
    text
}
