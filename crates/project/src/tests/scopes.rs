//! Wherever a definition says that a caller needs a scope, the scope is asked for, or the project is refused by name.

use serde_json::{Map, Value, json};

use super::*;
use crate::{Archive, Definition, archive_alone};

const SCOPE: &str = "a scope";

/// What a definition may call the type of a scheme that means a token, and what a reader may take it for.
const KINDS: [&str; 6] = ["oauth2", "openIdConnect", "OAuth2", "oauth2 ", "foo", ""];

const NAMES: [&str; 5] = ["o", "default", "x-oauth", "a/b~ \u{e4}", "$ref"];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Version {
    Swagger2,
    OpenApi30,
    OpenApi31,
}

/// Where the requirement stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Operation,
    /// An operation that the path refers to.
    Referred,
    Root,
}

/// What stands beside the requirement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    /// A key as another alternative.
    Alternative,
    /// A key that is needed together with it.
    Together,
    /// "Or nobody at all".
    Empty,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    version: Version,
    place: Place,
    beside: Beside,
    kind: &'static str,
    name: &'static str,
    /// The scheme is declared through a reference.
    referred: bool,
    /// The scheme is declared at all.
    declared: bool,
}

impl Case {
    fn definition(&self) -> String {
        let mut scheme = json!({"flows": {}});
        if !self.kind.is_empty() {
            scheme["type"] = self.kind.into();
        }
        let mut schemes = Map::new();
        schemes.insert(
            "key".into(),
            json!({"type": "apiKey", "name": "k", "in": "header"}),
        );
        let mut root = json!({"info": {"title": "Pets", "version": "1.0.0"}});
        if self.referred {
            root["x-schemes"] = json!({"real": scheme});
            scheme = json!({"$ref": "#/x-schemes/real"});
        }
        if self.declared {
            schemes.insert(self.name.to_owned(), scheme);
        }
        match self.version {
            Version::Swagger2 => {
                root["swagger"] = "2.0".into();
                root["host"] = "backend".into();
                root["securityDefinitions"] = schemes.into();
            }
            Version::OpenApi30 | Version::OpenApi31 => {
                root["openapi"] = if self.version == Version::OpenApi30 {
                    "3.0.3"
                } else {
                    "3.1.0"
                }
                .into();
                root["servers"] = json!([{"url": "http://backend"}]);
                root["components"] = json!({"securitySchemes": schemes});
            }
        }
        let mut requirement = Map::from_iter([(self.name.to_owned(), json!([SCOPE]))]);
        let mut security = Vec::new();
        match self.beside {
            Beside::Nothing => {}
            Beside::Alternative => security.push(json!({"key": []})),
            Beside::Together => {
                requirement.insert("key".into(), json!([]));
            }
            Beside::Empty => security.push(json!({})),
        }
        security.push(requirement.into());
        let plain = json!({"responses": {}});
        let guarded = json!({"responses": {}, "security": security});
        root["paths"] = json!({"/a": {"get": plain}});
        match self.place {
            Place::Operation => root["paths"]["/a"]["get"] = guarded,
            Place::Referred => {
                root["x-operations"] = json!({"one": guarded});
                root["paths"]["/a"]["get"] = json!({"$ref": "#/x-operations/one"});
            }
            Place::Root => root["security"] = security.into(),
        }
        root.to_string()
    }

    /// A type of a scheme that names scopes, in the words of the standard.
    fn is_token(&self) -> bool {
        self.declared
            && match self.kind {
                "oauth2" => true,
                "openIdConnect" => self.version != Version::Swagger2,
                _ => false,
            }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in [Version::Swagger2, Version::OpenApi30, Version::OpenApi31] {
        for place in [Place::Operation, Place::Referred, Place::Root] {
            for beside in [
                Beside::Nothing,
                Beside::Alternative,
                Beside::Together,
                Beside::Empty,
            ] {
                for name in NAMES {
                    let case = |kind, referred, declared| Case {
                        version,
                        place,
                        beside,
                        kind,
                        name,
                        referred,
                        declared,
                    };
                    for kind in KINDS {
                        cases.extend([case(kind, false, true), case(kind, true, true)]);
                    }
                    cases.push(case("oauth2", false, false));
                }
            }
        }
    }
    cases
}

/// The scope is asked of a token by what counts for the operation.
fn asks(project: &ApiProject) -> bool {
    let operation = &project.resources[0].operations[0];
    let alternatives = match operation.security.is_empty() {
        true => &project.security,
        false => &operation.security,
    };
    let is_token = |name: &str| {
        let mut schemes = project.security_schemes.iter();
        schemes.any(|scheme| {
            scheme.definition == name && matches!(scheme.kind.as_str(), "oauth2" | "openIdConnect")
        })
    };
    let mut named = alternatives.iter().flatten();
    !operation.disable_security
        && named.any(|(name, scopes)| is_token(name) && scopes.iter().any(|scope| scope == SCOPE))
}

/// What became of the scope.
#[derive(Debug, PartialEq)]
enum Fate {
    Asked,
    /// Refused with an error that names the scheme.
    Refused,
    /// Lost with a warning that names the scheme and the scope.
    Told,
    /// The operation is open, since it can be met without it, and a warning says so.
    Open,
    Lost,
}

fn fate(case: &Case, result: &Result<Reading, Vec<Diagnostic>>) -> Fate {
    let named = |finding: &Diagnostic| finding.message.contains(&format!("{:?}", case.name));
    match result {
        Ok(reading) if asks(&reading.project) => Fate::Asked,
        Ok(reading)
            if reading.project.resources[0].operations[0].disable_security
                && reading
                    .warnings
                    .iter()
                    .any(|warning| warning.message == "GET /a can be called without a token") =>
        {
            Fate::Open
        }
        Ok(reading)
            if reading
                .warnings
                .iter()
                .any(|w| named(w) && w.message.contains(SCOPE)) =>
        {
            Fate::Told
        }
        Err(findings)
            if findings
                .iter()
                .any(|finding| finding.is_error() && named(finding)) =>
        {
            Fate::Refused
        }
        Ok(_) | Err(_) => Fate::Lost,
    }
}

/// As an adapter does with a bare definition.
fn deployed(definition: &str) -> Result<Reading, Vec<Diagnostic>> {
    let definition = Definition {
        name: "my api.yaml",
        content: definition.as_bytes(),
    };
    let packed = archive_alone(definition.name, definition.content).unwrap();
    read(&Archive(&packed), &Settings::new(Defaults::Require))
}

#[test]
fn every_scope_is_asked_for_or_refused_by_name() {
    let mut fates = [0; 3];
    let mut check = |case: &Case, way: &str, want: Fate, result: Result<Reading, Vec<Diagnostic>>| {
        let got = fate(case, &result);
        assert_eq!(got, want, "{way}: {case:?}\n{}\n{result:?}", case.definition());
        match want {
            Fate::Asked => fates[0] += 1,
            Fate::Refused => fates[1] += 1,
            Fate::Told => fates[2] += 1,
            Fate::Lost | Fate::Open => {}
        }
    };
    for case in cases() {
        let definition = case.definition();
        let asked = || {
            if case.is_token() {
                Fate::Asked
            } else {
                Fate::Refused
            }
        };
        let optional = case.is_token() && case.beside == Beside::Empty && case.place != Place::Root;
        let bare = || if optional { Fate::Open } else { asked() };
        check(&case, "alone", bare(), alone(&definition));
        check(&case, "deployed", bare(), deployed(&definition));
        for list in ["[mutualssl]", "[oauth2]", "[api_key]", "[oauth2, api_key]"] {
            // The contract: these words replace what the definition says, but for the scheme of this name.
            let replaced = match list {
                "[oauth2]" | "[oauth2, api_key]" => case.name != "default",
                "[api_key]" => true,
                _ => false,
            };
            let want = if replaced { Fate::Told } else { asked() };
            let data = format!("  securityScheme: {list}\n{ENDPOINT}");
            check(&case, list, want, pets(&data, &definition));
        }
    }
    let [asked, refused, told] = fates;
    eprintln!("{asked} asked for, {refused} refused, {told} told, none lost");
    assert!(asked > 1_000 && refused > 1_000 && told > 1_000);
}

/// AsyncAPI has other types of schemes; its scopes stand beside them and are asked of the token whatever is declared.
#[test]
fn scopes_of_channels() {
    struct Case {
        name: &'static str,
        channel: Value,
        schemes: Value,
        /// Scopes that are asked for.
        want: &'static [&'static str],
        /// How the one finding begins, after the file.
        finding: &'static str,
    }
    let oauth2 = || json!({"o": {"type": "oauth2"}});
    let cases = [
        Case {
            name: "a list",
            channel: json!({"publish": {"x-scopes": ["a", "b"]}}),
            schemes: oauth2(),
            want: &["a", "b"],
            finding: "",
        },
        Case {
            name: "a map",
            channel: json!({"subscribe": {"x-scopes": {"one": "a"}}}),
            schemes: oauth2(),
            want: &["a"],
            finding: "",
        },
        Case {
            name: "another type",
            channel: json!({"publish": {"x-scopes": ["a"]}}),
            schemes: json!({"o": {"type": "openIdConnect"}}),
            want: &["a"],
            finding: "",
        },
        Case {
            name: "no type of a token",
            channel: json!({"publish": {"x-scopes": ["a"]}}),
            schemes: json!({"o": {"type": "OAuth2"}, "k": {"type": "httpApiKey"}}),
            want: &["a"],
            finding: "",
        },
        Case {
            name: "nothing declared",
            channel: json!({"publish": {"x-scopes": ["a"]}}),
            schemes: json!({}),
            want: &["a"],
            finding: "",
        },
        Case {
            name: "no scopes",
            channel: json!({"publish": {}}),
            schemes: json!({}),
            want: &[],
            finding: "",
        },
        Case {
            name: "text",
            channel: json!({"publish": {"x-scopes": "a"}}),
            schemes: oauth2(),
            want: &[],
            finding: "error: #/channels/~1c/publish/x-scopes: must be a list of scopes",
        },
        Case {
            name: "a number among texts",
            channel: json!({"publish": {"x-scopes": ["a", 1]}}),
            schemes: oauth2(),
            want: &["a", "1"],
            finding: "",
        },
        Case {
            name: "a list among texts",
            channel: json!({"publish": {"x-scopes": ["a", []]}}),
            schemes: oauth2(),
            want: &[],
            finding: "error: #/channels/~1c/publish/x-scopes: must be a list of scopes",
        },
        Case {
            name: "more beside publish",
            channel: json!({"publish": {"x-scopes": ["a"]}, "subscribe": {"x-scopes": {"z": "b"}}}),
            schemes: oauth2(),
            want: &["a"],
            finding: "warning: #/channels/~1c/subscribe/x-scopes: ignored",
        },
        Case {
            name: "the same beside publish",
            channel: json!({"publish": {"x-scopes": ["a"]}, "subscribe": {"x-scopes": ["a"]}}),
            schemes: oauth2(),
            want: &["a"],
            finding: "",
        },
        Case {
            name: "on the channel",
            channel: json!({"publish": {}, "x-scopes": ["a"]}),
            schemes: oauth2(),
            want: &[],
            finding: "warning: #/channels/~1c/x-scopes: ignored",
        },
        Case {
            name: "as later versions write it",
            channel: json!({"publish": {"security": [{"o": ["a"]}]}}),
            schemes: oauth2(),
            want: &[],
            finding: "warning: #/channels/~1c/publish/security: ignored",
        },
    ];
    for case in cases {
        let definition = json!({
            "asyncapi": "2.0.0",
            "info": {"title": "Chat", "version": "1"},
            "servers": {"production": {"url": "ws://host", "protocol": "ws", "security": [{"o": []}]}},
            "channels": {"/c": case.channel},
            "components": {"securitySchemes": case.schemes},
        });
        let (project, findings) = match alone(&definition.to_string()) {
            Ok(reading) => (Some(reading.project), reading.warnings),
            Err(findings) => (None, findings),
        };
        let got = lines(&findings);
        let wanted = case.finding.replacen(": #", ": my api.yaml#", 1);
        let told = if case.finding.is_empty() {
            got.is_empty()
        } else {
            got.len() == 1 && got[0].starts_with(&wanted)
        };
        assert!(told, "{}: {got:?}", case.name);
        let Some(project) = project else {
            assert!(case.finding.starts_with("error"), "{}", case.name);
            continue;
        };
        let security = &project.resources[0].operations[0].security;
        let scopes: Vec<&str> = security
            .iter()
            .flat_map(|one| one.values().flatten())
            .map(String::as_str)
            .collect();
        assert_eq!(scopes, case.want, "{}", case.name);
        let known = |name: &String| {
            let mut schemes = project.security_schemes.iter();
            schemes.any(|scheme| scheme.definition == *name && scheme.asks_for_token())
        };
        assert!(
            security.iter().flat_map(|one| one.keys()).all(known),
            "{}",
            case.name
        );
    }
    let server = json!({
        "asyncapi": "2.6.0",
        "info": {"title": "Chat", "version": "1"},
        "servers": {"production": {"url": "ws://host", "security": [{"o": ["a"]}]}},
        "channels": {"/c": {"publish": {}}},
    });
    assert_eq!(
        warnings(alone(&server.to_string())),
        [
            "warning: my api.yaml#/servers/production/security: ignored: scopes are read from x-scopes of channels"
        ]
    );
}
