//! What `securityScheme` of `api.yaml` makes of schemes and requirements, and requirements that can't be asked for as written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use crate::definition::security::{DEFAULT, OddScheme};
use crate::document::diagnostic::{Diagnostic, Findings, Pointer, pointer_token};
use crate::model::{ApiKind, ApiProject, MutualSsl, Requirement, SecurityScheme};

const API_KEY_HEADER: &str = "api_key_header";
const API_KEY_QUERY: &str = "api_key_query";

/// What `securityScheme` of `api.yaml` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chosen {
    oauth2: bool,
    api_key: bool,
    pub(crate) mutual_ssl: MutualSsl,
    pub(crate) application_security: bool,
}

impl Chosen {
    pub(crate) fn new(names: &[String]) -> Self {
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        let mutual_ssl = match (has("mutualssl"), has("mutualssl_mandatory")) {
            (true, true) => MutualSsl::Mandatory,
            (true, false) => MutualSsl::Optional,
            (false, _) => MutualSsl::NotDefined,
        };
        Self {
            oauth2: has("oauth2"),
            api_key: has("api_key"),
            mutual_ssl,
            application_security: has("oauth_basic_auth_api_key_mandatory"),
        }
    }
}

/// Applies the choice of `api.yaml` to schemes and requirements; then drops requirements that name no scheme. One that would open
/// an operation, since nobody can ask for its scopes, refuses the project.
pub(crate) fn apply(
    project: &mut ApiProject,
    odd: &[OddScheme],
    chosen: Chosen,
    file: &str,
    findings: &mut Findings,
) {
    let replaced = project.kind != ApiKind::Ws && (chosen.oauth2 || chosen.api_key);
    if replaced {
        replace_schemes(&mut project.security_schemes, chosen);
    }
    let dropped = drop_requirements(project, replaced);
    tell_dropped(dropped, replaced, chosen, file, findings);
    if replaced && chosen.api_key {
        offer_keys(project, chosen);
    }
    check_types(project, odd, file, findings);
}

fn replace_schemes(schemes: &mut Vec<SecurityScheme>, chosen: Chosen) {
    schemes.retain(|scheme| chosen.oauth2 && scheme.definition == DEFAULT);
    if !chosen.api_key {
        return;
    }
    for (definition, location) in [(API_KEY_HEADER, "header"), (API_KEY_QUERY, "query")] {
        schemes.push(SecurityScheme {
            definition: definition.to_owned(),
            kind: "apiKey".to_owned(),
            name: "apikey".to_owned(),
            location: location.to_owned(),
        });
    }
}

fn offer_keys(project: &mut ApiProject, chosen: Chosen) {
    let alternatives =
        || [API_KEY_HEADER, API_KEY_QUERY].map(|name| BTreeMap::from([(name.to_owned(), Vec::new())]));
    let operations = project
        .resources
        .iter_mut()
        .flat_map(|resource| &mut resource.operations);
    for operation in operations {
        // An operation without requirements of its own has the API's, which offer the keys already.
        if chosen.oauth2 && !operation.security.is_empty() {
            operation.security.extend(alternatives());
        }
    }
    project.security.extend(alternatives());
}

/// Where a requirement stands.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Api,
    Operation { method: &'a str, path: &'a str },
}

impl Place<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Api => "/security".to_owned(),
            Self::Operation { method, path } => {
                format!(
                    "/paths/{}/{}/security",
                    pointer_token(path),
                    method.to_ascii_lowercase()
                )
            }
        }
    }
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api => f.write_str("the API"),
            Self::Operation { method, path } => write!(f, "{method} {path}"),
        }
    }
}

/// Requirements on one scheme that were left out.
#[derive(Debug, Default)]
struct Dropped {
    scopes: BTreeSet<String>,
    /// The first that names scopes: in words, and as a pointer.
    place: Option<(String, String)>,
}

/// Leaves out what names no scheme, and where `api.yaml` replaces what the definition says, all but [`DEFAULT`].
fn drop_requirements(project: &mut ApiProject, replaced: bool) -> BTreeMap<String, Dropped> {
    let schemes = project.security_schemes.iter();
    let known: BTreeSet<&str> = schemes.map(|scheme| scheme.definition.as_str()).collect();
    let mut dropped: BTreeMap<String, Dropped> = BTreeMap::new();
    let mut retain = |requirements: &mut Vec<Requirement>, place: Place<'_>| {
        for requirement in requirements.iter_mut() {
            requirement.retain(|name, scopes| {
                let keep = known.contains(name.as_str()) && (!replaced || name == DEFAULT);
                if !keep {
                    let entry = dropped.entry(name.clone()).or_default();
                    if !scopes.is_empty() {
                        entry.scopes.extend(scopes.drain(..));
                        entry
                            .place
                            .get_or_insert_with(|| (place.to_string(), place.pointer()));
                    }
                }
                keep
            });
        }
        requirements.retain(|requirement| !requirement.is_empty());
    };
    retain(&mut project.security, Place::Api);
    for resource in &mut project.resources {
        let path = resource.path.as_str();
        for operation in &mut resource.operations {
            let method = operation.method.as_str();
            retain(&mut operation.security, Place::Operation { method, path });
        }
    }
    dropped
}

/// In a bare definition keys and passwords are its upstream's and pass through, so scopes on them can't be asked for. The first of a
/// scheme is told.
pub(crate) fn check_bare(project: &ApiProject, file: &str, findings: &mut Findings) {
    let keys: BTreeMap<&str, &str> = project
        .security_schemes
        .iter()
        // Types that nobody knows are told by themselves.
        .filter(|scheme| ["apiKey", "basic", "http", "mutualTLS"].contains(&scheme.kind.trim()))
        .map(|scheme| (scheme.definition.as_str(), scheme.kind.as_str()))
        .collect();
    let mut told = BTreeSet::new();
    let mut look = |requirements: &[Requirement], place: Place<'_>| {
        for (name, scopes) in requirements
            .iter()
            .flatten()
            .filter(|(_, scopes)| !scopes.is_empty())
        {
            let Some(kind) = keys.get(name.as_str()).filter(|_| told.insert(name.clone())) else {
                continue;
            };
            let scopes = listed(&scopes.iter().cloned().collect());
            let message = format!(
                "security scheme {name:?} of type {kind:?} has no scopes that could be asked for; {place} would be open to callers \
                 without {scopes}"
            );
            findings.push(Diagnostic::error(file, place.pointer(), message));
        }
    };
    look(&project.security, Place::Api);
    for resource in &project.resources {
        let path = resource.path.as_str();
        for operation in &resource.operations {
            let method = operation.method.as_str();
            look(&operation.security, Place::Operation { method, path });
        }
    }
}

fn tell_dropped(
    dropped: BTreeMap<String, Dropped>,
    replaced: bool,
    chosen: Chosen,
    file: &str,
    findings: &mut Findings,
) {
    for (name, dropped) in dropped {
        // A list in `api.yaml` is meant to replace what the definition says, but it means to keep this one.
        let wanted = !replaced || (chosen.oauth2 && name == DEFAULT);
        let scopes = listed(&dropped.scopes);
        match dropped.place {
            Some((place, pointer)) if wanted => {
                let message = format!(
                    "security scheme {name:?} is not defined; {place} would be open to callers without its scopes {scopes}"
                );
                findings.push(Diagnostic::error(file, pointer, message));
            }
            Some(_) => {
                let message = format!(
                    "securityScheme of api.yaml replaces security scheme {name:?}; its scopes {scopes} are not asked for"
                );
                findings.warning(file, &Pointer::Root, message);
            }
            None if !replaced => {
                let message =
                    format!("security scheme {name:?} is not defined; requirements on it are ignored");
                findings.warning(file, &Pointer::Root, message);
            }
            None => {}
        }
    }
}

/// The first of them, and how many more there are.
fn listed(scopes: &BTreeSet<String>) -> String {
    const MOST: usize = 8;
    let mut list = scopes
        .iter()
        .take(MOST)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(more) = scopes.len().checked_sub(MOST).filter(|more| *more > 0) {
        list.push_str(&format!(" and {more} more"));
    }
    list
}

/// A scheme of a type nobody knows: whatever is required of it can't be asked for.
fn check_types(project: &ApiProject, odd: &[OddScheme], file: &str, findings: &mut Findings) {
    let schemes = project.security_schemes.iter();
    let known: BTreeSet<&str> = schemes.map(|scheme| scheme.definition.as_str()).collect();
    let required = if odd.is_empty() {
        BTreeMap::new()
    } else {
        required(project)
    };
    for scheme in odd {
        let name = scheme.definition.as_str();
        if !known.contains(name) {
            continue;
        }
        let pointer = scheme.pointer.as_str();
        let kind = scheme.kind.trim();
        // Keys are told by their type in any case, and name no scopes.
        if kind.eq_ignore_ascii_case("apiKey") {
            let message = format!("type {kind:?} of security scheme {name:?} is taken for apiKey");
            findings.push(Diagnostic::warning(file, pointer, message));
            continue;
        }
        let types = scheme.known.join(", ");
        let fault = if kind.is_empty() {
            format!("security scheme {name:?} has no type: it must be one of {types}")
        } else {
            format!("type {kind:?} of security scheme {name:?} is none of {types}")
        };
        findings.push(match required.get(name) {
            Some(place) => Diagnostic::error(file, pointer, format!("{fault}; {place} requires it")),
            None => Diagnostic::warning(file, pointer, fault),
        });
    }
}

/// By name of scheme, the first place that requires it.
fn required(project: &ApiProject) -> BTreeMap<&str, Place<'_>> {
    let mut places = BTreeMap::new();
    for name in project.security.iter().flat_map(BTreeMap::keys) {
        places.entry(name.as_str()).or_insert(Place::Api);
    }
    for resource in &project.resources {
        let path = resource.path.as_str();
        for operation in &resource.operations {
            let method = operation.method.as_str();
            for name in operation.security.iter().flat_map(BTreeMap::keys) {
                let place = Place::Operation { method, path };
                places.entry(name.as_str()).or_insert(place);
            }
        }
    }
    places
}
