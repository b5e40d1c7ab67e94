//! `paths`: path items, their operations, and the references in them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use super::defined::Circumstances;
use super::format::Format;
use super::{extensions, hosts, mock, normal, order, security};
use crate::api::cluster::{self, Side};
use crate::api::properties::AMBIGUOUS_PATHS;
use crate::document::diagnostic::{Findings, Pointer};
use crate::document::refs;
use crate::document::tree::Section;
use crate::document::value::{Object, Value};
use crate::model::ambiguous::AmbiguousPath;
use crate::model::endpoint::EndpointCluster;
use crate::model::id::name_based;
use crate::model::{MockResponse, Operation, OperationPolicies, Resource};

/// Methods that are routed, in the order operations are listed.
pub(crate) const METHODS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];

/// Methods OpenAPI knows and this gateway doesn't route: the enforcer of the original chokes on the first and the last, neither of
/// which is meant to pass a gateway; `query` came with OpenAPI 3.2.
const UNROUTED: [&str; 3] = ["connect", "query", "trace"];

/// A path is read before it is known whose it is.
const NOT_AT_THE_ROOT: &str = "ignored: ambiguous paths are allowed for the API as a whole, at the root";

const UNROUTED_REASON: &str = "ignored: this method is not routed";

/// Operations of any other method, by its name (OpenAPI 3.2, Path Item Object).
const ADDITIONAL: &str = "additionalOperations";

/// Fields of a path item that are no methods.
const FIELDS: [&str; 6] = [
    "$ref",
    ADDITIONAL,
    "description",
    "parameters",
    "servers",
    "summary",
];

/// Values that references to path items and to named endpoints may bring in, all together. A shared path item is read anew for
/// each path that refers to it, so that a small file could otherwise become a large project.
const MAX_REFERRED: usize = 200_000;

/// Paths of one API: what more of them would become is too large to be published as one resource.
const MAX_PATHS: usize = 20_000;

/// What the path items of one definition share.
struct Paths<'a> {
    file: &'a str,
    root: &'a Value,
    format: Format,
    circumstances: Circumstances<'a>,
    upstream: Upstream<'a>,
    /// `x-wso2-disable-security` at the root.
    disable_security: Option<bool>,
    /// What is left of [`MAX_REFERRED`].
    left: Cell<usize>,
    /// What is wrong with the targets of references to parameters and responses: thousands of operations have the same few, and
    /// each may be a long chain.
    followed: RefCell<HashMap<String, Option<String>>>,
    /// What is left for examples.
    examples: mock::Room,
}

/// Where requests go that path items and operations say nothing of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upstream<'a> {
    /// Groups of `x-wso2-endpoints`.
    pub(crate) named: &'a BTreeMap<String, EndpointCluster>,
    /// Production endpoints of all.
    pub(crate) production: Option<&'a EndpointCluster>,
    /// An extension names them, and not the definition in the words of its standard.
    pub(crate) extended: bool,
}

/// Reads `paths` into resources in the order they're tried.
pub(crate) fn read(
    top: &Section<'_>,
    root: &Value,
    format: Format,
    circumstances: Circumstances<'_>,
    upstream: Upstream<'_>,
    disable_security: Option<bool>,
    findings: &mut Findings,
) -> Vec<Resource> {
    let Some(paths) = top.section("paths", findings) else {
        if top.get("paths").is_none() {
            findings.warning(top.file, &top.pointer, "defines no paths");
        }
        return Vec::new();
    };
    let shared = Paths {
        file: top.file,
        root,
        format,
        circumstances,
        upstream,
        disable_security,
        left: Cell::new(MAX_REFERRED),
        followed: RefCell::default(),
        examples: mock::Room::default(),
    };
    if paths.map.len() > MAX_PATHS {
        let message = format!(
            "{} paths are more than the {MAX_PATHS} an API may have",
            paths.map.len()
        );
        findings.refusal(top.file, &paths.pointer, message);
        return Vec::new();
    }
    // Its faults are told where it is read.
    let allowed = extensions::ambiguous_paths(top, &mut Findings::default());
    let allowed = allowed.as_ref().or(circumstances.ambiguous_paths);
    let mut resources: Vec<Resource> = Vec::new();
    for (path, item) in paths.map {
        let pointer = paths.pointer.key(path);
        if path.starts_with("x-") {
            continue;
        }
        if !path.starts_with('/') {
            findings.warning(top.file, &pointer, "ignored: a path must start with /");
            continue;
        }
        if let Some(fault) = normal::fault(path) {
            findings.refusal(top.file, &pointer, fault);
        } else if is_unreachable(path) {
            findings.warning(top.file, &pointer, "no request can have this path");
        } else if let Some(kind) = ambiguity(path).find(|kind| allowed.is_none_or(|all| !all.contains(kind)))
        {
            let message = format!(
                "no request can have this path unless the API allows {}",
                kind.as_str()
            );
            findings.warning(top.file, &pointer, message);
        }
        if let Some(escape) = normal::delimiter(path) {
            // Written out and escaped they are one path to most upstreams, and another here: a route beside this one would be
            // asked for less, or for more.
            let message = format!("{escape} can be read in two ways: write the character itself");
            findings.refusal(top.file, &pointer, message);
        }
        resources.extend(shared.resources(path, item, &pointer, findings));
    }
    if resources.len() > MAX_PATHS {
        let message = format!(
            "{} paths, one more for each operation with servers of its own, are more than the {MAX_PATHS} an API may have",
            resources.len()
        );
        findings.refusal(top.file, &paths.pointer, message);
        return Vec::new();
    }
    resources.sort_by_cached_key(|resource| order::key(&resource.path));
    resources
}

/// No request has it: what is refused before a route is looked for, and what never leaves a caller.
fn is_unreachable(path: &str) -> bool {
    path.contains(['#', '\\'])
        || normal::shape(path)
            .split('/')
            .any(|step| matches!(step, "." | ".."))
}

impl Paths<'_> {
    /// The operations of a path, as one resource, and one more for those that have an upstream of their own.
    fn resources(
        &self,
        path: &str,
        item: &Value,
        pointer: &Pointer<'_>,
        findings: &mut Findings,
    ) -> Vec<Resource> {
        if item.is_null() {
            findings.warning(self.file, pointer, "ignored: nothing is said of the path");
        }
        let Some(item) = self.resolved(item, pointer, findings) else {
            return Vec::new();
        };
        let item = Section {
            file: self.file,
            pointer: *pointer,
            map: &item,
            any_case: false,
        };
        self.parameters(&item, findings);
        let disable = item
            .flag_or_warn("x-wso2-disable-security", findings)
            .or(self.disable_security);
        let mut operations = Vec::new();
        for method in METHODS {
            let Some(value) = item.map.get(method) else {
                continue;
            };
            let pointer = item.pointer.key(method);
            if value.is_null() {
                let message = "ignored: nothing is said of the operation; {} would be one";
                findings.warning(self.file, &pointer, message);
                continue;
            }
            let Some(map) = self.resolved(value, &pointer, findings) else {
                continue;
            };
            let section = Section {
                pointer,
                map: &map,
                ..item
            };
            let own = self.own_upstream(&item, &section, findings);
            let operation = self.operation(path, method, &section, disable.unwrap_or(false), findings);
            operations.push((operation, own));
        }
        self.without_effect(&item, findings);
        if operations.is_empty() {
            return Vec::new();
        }
        let [production, sandbox] = Side::BOTH.map(|side| self.endpoints(&item, side, findings));
        let listed = (self.format == Format::OpenApi3 && !self.circumstances.prototyped)
            .then(|| item.get("servers"))
            .flatten();
        let servers = if operations.iter().any(|(_, own)| own.is_none()) {
            listed.and_then(|servers| self.servers(&item, servers, findings))
        } else {
            if listed.is_some_and(has_address) {
                let message = "not called: every operation names its own";
                findings.warning(self.file, &item.pointer.key("servers"), message);
            }
            None
        };
        let production = production.or(servers);
        let of_all = production.as_ref().or(self.upstream.production);
        let mut common = Vec::new();
        let mut apart: Vec<(EndpointCluster, Vec<Operation>)> = Vec::new();
        for (operation, own) in operations {
            let Some(own) = own.filter(|own| Some(own) != of_all) else {
                common.push(operation);
                continue;
            };
            match apart.iter_mut().find(|(known, _)| *known == own) {
                Some((_, operations)) => operations.push(operation),
                None => apart.push((own, vec![operation])),
            }
        }
        let resource = |id: String, operations, production| Resource {
            id,
            path: path.to_owned(),
            operations,
            production,
            sandbox: sandbox.clone(),
            extensions: extensions::kept(item.map),
        };
        let mut resources = Vec::with_capacity(1 + apart.len());
        if !common.is_empty() {
            let id = name_based(&[self.circumstances.uuid, path]);
            resources.push(resource(id, common, production));
        }
        for (own, operations) in apart {
            let id = operations
                .first()
                .map(|first| first.id.clone())
                .unwrap_or_default();
            resources.push(resource(id, operations, Some(own)));
        }
        resources
    }

    /// The servers of a path item or an operation. Where it names others than the API's and none of them can be called, its requests
    /// must not go to the API's.
    fn servers(
        &self,
        item: &Section<'_>,
        servers: &Value,
        findings: &mut Findings,
    ) -> Option<EndpointCluster> {
        let pointer = item.pointer.key("servers");
        let addresses = self.circumstances.addresses;
        if !self.circumstances.alone {
            return hosts::of_3(item, pointer, Some(servers), addresses, findings).production;
        }
        let found = hosts::first_of_3(item, pointer, Some(servers), addresses, findings).production;
        if found.is_none() && servers.as_array().is_some_and(|servers| !servers.is_empty()) {
            let message = "no usable address is given, and the API's servers are not meant: name a host";
            findings.refusal(self.file, &item.pointer.key("servers"), message);
        }
        found
    }

    /// Where the requests of an operation go that says so itself: by its servers, or by its schemes (OpenAPI 2.0). In a project it
    /// can't (spec/adapter.md 4.4).
    fn own_upstream(
        &self,
        item: &Section<'_>,
        operation: &Section<'_>,
        findings: &mut Findings,
    ) -> Option<EndpointCluster> {
        if self.circumstances.prototyped {
            return None;
        }
        match self.format {
            Format::AsyncApi2 => None,
            Format::OpenApi2 => {
                let top = Section::new(self.file, Pointer::Root, self.root, &mut Findings::default())?;
                let addresses = self.circumstances.addresses;
                let own = hosts::of_operation_2(&top, operation, addresses, findings)?;
                // Schemes belong to the host of the definition, which is not called then.
                let extended = self.upstream.extended || item.get(Side::Production.extension()).is_some();
                if self.circumstances.alone && !extended {
                    return Some(own);
                }
                let reason = if extended {
                    "ignored: an extension names the endpoints"
                } else {
                    "ignored: schemes are read from the root"
                };
                findings.warning(self.file, &operation.pointer.key("schemes"), reason);
                None
            }
            Format::OpenApi3 => {
                let servers = operation.get("servers")?;
                if self.circumstances.alone {
                    return self.servers(operation, servers, findings);
                }
                if has_address(servers) {
                    let reason = "ignored: servers are read from the path item or the root";
                    findings.warning(self.file, &operation.pointer.key("servers"), reason);
                }
                None
            }
        }
    }

    /// Whether the requirements of an operation can be met by nobody at all: there are none, or one of them asks for nothing
    /// (OpenAPI 3, Security Requirement Object). In a definition without a project that opens it.
    fn is_open(&self, section: &Section<'_>, method: &str, path: &str, findings: &mut Findings) -> bool {
        let Some(Value::Array(requirements)) = section.get("security") else {
            return false;
        };
        let asks_nothing = |requirement: &Value| {
            requirement
                .as_object()
                .is_some_and(|requirement| requirement.is_empty())
        };
        let open = self.circumstances.alone
            && section.get("x-wso2-disable-security").is_none()
            && (requirements.is_empty() || requirements.iter().any(asks_nothing));
        if open {
            let message = format!("{method} {path} can be called without a token");
            findings.warning(self.file, &section.pointer.key("security"), message);
        }
        open
    }

    /// What a path item says and nobody listens to.
    fn without_effect(&self, item: &Section<'_>, findings: &mut Findings) {
        let additional = item.get(ADDITIONAL).and_then(Value::as_object);
        for method in additional.into_iter().flat_map(Object::keys) {
            let pointer = item.pointer.key(ADDITIONAL);
            findings.warning(self.file, &pointer.key(method), UNROUTED_REASON);
        }
        for key in item.map.keys() {
            let reason = if UNROUTED.contains(&key.to_ascii_lowercase().as_str()) {
                UNROUTED_REASON
            } else if METHODS.contains(&key.to_ascii_lowercase().as_str()) && !METHODS.contains(&key.as_str())
            {
                "ignored: methods are written in lower case"
            } else if extensions::TIERS.contains(&key.as_str()) {
                "ignored: tiers are read from the operation or the root"
            } else if key == "x-auth-type" {
                "ignored: x-auth-type is read from the operation or the root"
            } else if key == "security" {
                "ignored: security is read from the operation or the root"
            } else if key == AMBIGUOUS_PATHS {
                NOT_AT_THE_ROOT
            } else if FIELDS.contains(&key.as_str())
                || METHODS.contains(&key.as_str())
                || key.starts_with("x-")
            {
                continue;
            } else {
                "ignored: neither a method that is routed nor a field of a path item"
            };
            findings.warning(self.file, &item.pointer.key(key), reason);
        }
    }

    /// A path item or an operation with what it refers to filled in.
    fn resolved<'v>(
        &self,
        item: &'v Value,
        pointer: &Pointer<'_>,
        findings: &mut Findings,
    ) -> Option<std::borrow::Cow<'v, Object>>
    where
        Self: 'v,
    {
        let layers = match refs::layers(self.root, item) {
            Ok(layers) => layers,
            Err(broken) => {
                findings.error(self.file, &pointer.key("$ref"), broken.to_string());
                return None;
            }
        };
        if let [Value::Object(only)] = layers.as_slice() {
            return Some(std::borrow::Cow::Borrowed(only));
        }
        if layers.as_slice() == [&Value::Null] {
            return None;
        }
        if !self.spend(layers.iter().map(|layer| values(layer, self.left.get())).sum()) {
            findings.refusal(self.file, &pointer.key("$ref"), "references expand to too much");
            return None;
        }
        let mut merged = Object::new();
        for layer in layers {
            let Value::Object(layer) = layer else {
                findings.error(self.file, pointer, "must be an object");
                return None;
            };
            for (key, value) in layer.iter().filter(|(key, _)| *key != "$ref") {
                if !merged.contains_key(key) {
                    merged.insert(key.clone(), value.clone());
                }
            }
        }
        Some(std::borrow::Cow::Owned(merged))
    }

    fn operation(
        &self,
        path: &str,
        method: &str,
        section: &Section<'_>,
        disable: bool,
        findings: &mut Findings,
    ) -> Operation {
        self.parameters(section, findings);
        if let Some(responses) = section.section("responses", findings) {
            for (code, response) in responses.map {
                self.reference(response, &responses.pointer.key(code), findings);
            }
        }
        for side in Side::BOTH {
            if section.get(side.extension()).is_some() {
                let pointer = section.pointer.key(side.extension());
                findings.warning(
                    self.file,
                    &pointer,
                    "ignored: endpoints are read from the path item or the root",
                );
            }
        }
        if section.get(AMBIGUOUS_PATHS).is_some() {
            let pointer = section.pointer.key(AMBIGUOUS_PATHS);
            findings.warning(self.file, &pointer, NOT_AT_THE_ROOT);
        }
        self.body(method, section, findings);
        let disable = section
            .flag_or_warn("x-wso2-disable-security", findings)
            .unwrap_or(disable);
        let method = method.to_ascii_uppercase();
        let requirement_pointer = section.pointer.key("security");
        let requirements = section.get("security");
        let open = self.is_open(section, &method, path, findings);
        let tier = extensions::tier(section, findings);
        Operation {
            id: name_based(&[self.circumstances.uuid, path, &method]),
            security: requirements
                .map(|value| security::requirements(self.file, &requirement_pointer, value, findings))
                .unwrap_or_default(),
            tier,
            disable_security: disable || open || extensions::is_unsecured(section),
            policies: OperationPolicies::default(),
            uri_mapping: None,
            mock: self.examples(section, findings),
            extensions: extensions::kept(section.map),
            method,
        }
    }

    /// Tells of a body that no caller is meant to send: what comes goes on as it is.
    fn body(&self, method: &str, section: &Section<'_>, findings: &mut Findings) {
        if ["get", "head", "delete"].contains(&method) && section.get("requestBody").is_some() {
            let message = format!(
                "without meaning: a body of {} has none (RFC 9110 section 9.3); it is passed on as it is",
                method.to_ascii_uppercase()
            );
            findings.warning(self.file, &section.pointer.key("requestBody"), message);
        }
    }

    /// Example responses, where the gateway answers with them.
    fn examples(&self, section: &Section<'_>, findings: &mut Findings) -> Vec<MockResponse> {
        if !self.circumstances.mocked || self.examples.is_exceeded() {
            return Vec::new();
        }
        let mocks = mock::responses(self.root, section, self.format, &self.examples);
        mocks.unwrap_or_else(|full| {
            findings.refusal(self.file, &section.pointer.key("responses"), full.to_string());
            Vec::new()
        })
    }

    fn parameters(&self, section: &Section<'_>, findings: &mut Findings) {
        let pointer = section.pointer.key("parameters");
        for (index, parameter) in section.list("parameters", findings).iter().enumerate() {
            self.reference(parameter, &pointer.index(index), findings);
        }
    }

    /// Parameters and responses aren't read, so a reference in them that can't be followed is worth a warning and no more.
    fn reference(&self, value: &Value, pointer: &Pointer<'_>, findings: &mut Findings) {
        let Some(target) = value.get("$ref") else { return };
        let target = target.as_str().unwrap_or_default();
        let mut followed = self.followed.borrow_mut();
        if !followed.contains_key(target) {
            let broken = refs::layers(self.root, value)
                .err()
                .map(|broken| broken.to_string());
            followed.insert(target.to_owned(), broken);
        }
        if let Some(Some(broken)) = followed.get(target) {
            findings.warning(self.file, &pointer.key("$ref"), broken.as_str());
        }
    }

    /// Whether there is room for `count` values more.
    fn spend(&self, count: usize) -> bool {
        let left = self.left.get().checked_sub(count);
        self.left.set(left.unwrap_or_default());
        left.is_some()
    }

    fn endpoints(&self, item: &Section<'_>, side: Side, findings: &mut Findings) -> Option<EndpointCluster> {
        let key = side.extension();
        let addresses = self.circumstances.addresses;
        let pointer = item.pointer.key(key);
        let value = item.get(key)?;
        let referred = value.as_str().map_or(0, |name| {
            let group = self
                .upstream
                .named
                .get(name.strip_prefix("#/x-wso2-endpoints/").unwrap_or_default());
            group.map_or(0, |group| group.endpoints.len())
        });
        if !self.spend(referred) {
            findings.refusal(self.file, &pointer, "references expand to too much");
            return None;
        }
        let found = cluster::extension(
            value,
            self.file,
            pointer,
            addresses,
            Some(self.upstream.named),
            findings,
        );
        found.map(|(cluster, security)| {
            if security.is_some() {
                cluster::unused_credentials(self.file, &pointer, findings);
            }
            cluster
        })
    }
}

/// What makes requests for a path ones that have two readings.
fn ambiguity(path: &str) -> impl Iterator<Item = AmbiguousPath> {
    let path = path.split('?').next().unwrap_or_default().to_ascii_lowercase();
    let kinds = [
        (AmbiguousPath::EmptySegment, "//"),
        (AmbiguousPath::EncodedSlash, "%2f"),
        (AmbiguousPath::EncodedBackslash, "%5c"),
        (AmbiguousPath::DoubleEncoding, "%25"),
    ];
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    kinds.into_iter().filter_map(move |(kind, mark)| {
        let mut found = path.match_indices(mark);
        let counts = |(at, _): (usize, &str)| {
            kind != AmbiguousPath::DoubleEncoding || path.get(at + 3..).is_some_and(is_escape)
        };
        found.any(counts).then_some(kind)
    })
}

/// A server with more than a path of its own.
fn has_address(servers: &Value) -> bool {
    servers.as_array().into_iter().flatten().any(|server| {
        let url = server
            .get("url")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim();
        !url.is_empty() && !url.starts_with('/')
    })
}

/// Values in `value`, itself included; counted as far as just above `enough`.
fn values(value: &Value, enough: usize) -> usize {
    let below = |items: &mut dyn Iterator<Item = &Value>| {
        let mut count = 1_usize;
        while let (true, Some(item)) = (count <= enough, items.next()) {
            count = count.saturating_add(values(item, enough - count));
        }
        count
    };
    match value {
        Value::Array(items) => below(&mut items.iter()),
        Value::Object(map) => below(&mut map.values()),
        Value::Null | Value::Scalar(_) | Value::String(_) => 1,
    }
}
