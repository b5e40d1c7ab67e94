//! Tiers that a project names: each has to be defined, or the limit that its owner meant isn't there.

use std::collections::BTreeSet;

use trireme_policy::throttle::UNLIMITED;
use trireme_project::{ApiProject, Extensions, Operation};

use crate::findings::{API, DEFINITION, Findings};
use crate::settings::{Tiers, Undefined};

/// Where a definition names a tier.
const EXTENSIONS: [&str; 2] = ["x-wso2-throttling-tier", "x-throttling-tier"];
/// Most names in one message.
const MOST: usize = 8;

/// A tier, and where it is named.
struct Named<'a> {
    tier: &'a str,
    file: &'static str,
    pointer: String,
}

/// Looks at every tier that the project names.
pub(crate) fn judge(project: &ApiProject, tiers: &Tiers, findings: &mut Findings) {
    let all = all(project);
    if tiers.undefined == Undefined::Off {
        let limits: BTreeSet<&str> = all
            .iter()
            .map(|named| named.tier)
            .filter(|tier| limits(tier))
            .collect();
        let names: Vec<&str> = limits.into_iter().take(MOST).collect();
        if !names.is_empty() {
            let names = names.join(", ");
            findings.warn(format!(
                "limits are switched off: throttling tiers have no effect ({names})"
            ));
        }
        return;
    }
    for Named { tier, file, pointer } in &all {
        if !limits(tier) || tiers.defined.iter().any(|defined| defined == tier) {
            continue;
        }
        let nearest = nearest(tier, tiers);
        match tiers.undefined {
            Undefined::Off | Undefined::Refused => {
                let message = format!(
                    "the throttling tier {tier} is not defined (enforcer.throttling.policy of config.toml){nearest}"
                );
                findings.refuse(file, pointer, &message);
            }
            Undefined::Told => {
                let message = format!("the throttling tier {tier} has to be defined by the gateway{nearest}");
                findings.warn_at(file, pointer, &message);
            }
            Undefined::Unlimited => {
                let message = format!("the throttling tier {tier} is not defined and has no limit{nearest}");
                findings.warn_at(file, pointer, &message);
            }
        }
    }
    // As in API Manager (spec/enforcer.md §14.1, K8).
    let api = project.tier.as_deref().is_some_and(|tier| !tier.is_empty());
    let operations = || project.resources.iter().flat_map(|resource| &resource.operations);
    if api
        && operations()
            .filter_map(|operation| operation.tier.as_deref())
            .any(limits)
    {
        findings.warn("the API has a throttling tier: those of its operations have no effect");
    }
}

/// The tier that calls of the operation are held to: the API's, else its own; none where that limits nothing.
pub(crate) fn tier<'p>(project: &'p ApiProject, operation: &'p Operation) -> Option<&'p str> {
    let given = |tier: &'p Option<String>| tier.as_deref().filter(|tier| !tier.is_empty());
    given(&project.tier)
        .or_else(|| given(&operation.tier))
        .filter(|tier| limits(tier))
}

/// Whether a tier of this name is meant to limit anything.
fn limits(tier: &str) -> bool {
    !tier.is_empty() && !tier.eq_ignore_ascii_case(UNLIMITED)
}

/// Every tier that is named, in the order of the project; each place once.
fn all(project: &ApiProject) -> Vec<Named<'_>> {
    let mut all = Vec::new();
    if let Some(tier) = project.tier.as_deref() {
        let (file, pointer) = match extension(&project.extensions) {
            Some(key) => (DEFINITION, format!("/{key}")),
            None => (API, "/data/apiThrottlingPolicy".to_owned()),
        };
        all.push(Named { tier, file, pointer });
    }
    for resource in &project.resources {
        let path = resource.path.replace('~', "~0").replace('/', "~1");
        for operation in &resource.operations {
            let Some(tier) = operation.tier.as_deref() else {
                continue;
            };
            let (file, pointer) = match extension(&operation.extensions) {
                Some(key) => {
                    let method = operation.method.to_ascii_lowercase();
                    (DEFINITION, format!("/paths/{path}/{method}/{key}"))
                }
                None => (API, "/data/operations".to_owned()),
            };
            all.push(Named { tier, file, pointer });
        }
    }
    for (index, certificate) in project.client_certificates.iter().enumerate() {
        all.push(Named {
            tier: &certificate.tier,
            file: "Client-certificates/client_certificates.yaml",
            pointer: format!("/data/{index}/tierName"),
        });
    }
    all
}

fn extension(extensions: &Extensions) -> Option<&'static str> {
    EXTENSIONS.into_iter().find(|key| extensions.contains_key(*key))
}

/// The defined tier that is written most like this one, for a message.
fn nearest(tier: &str, tiers: &Tiers) -> String {
    /// A name that is longer is like none.
    const LONGEST: usize = 200;
    let lower = tier.to_lowercase();
    let distance = |defined: &&String| strsim::damerau_levenshtein(&lower, &defined.to_lowercase());
    let best = tiers
        .defined
        .iter()
        .filter(|_| tier.len() <= LONGEST)
        .min_by_key(distance);
    best.map_or_else(String::new, |best| format!("; the nearest is {best}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{API as WRITTEN, read};
    use crate::{Deployed, Settings, draft};

    /// Errors and warnings about tiers, as `file#pointer: message`.
    fn found(api: &str, root: &str, operation: &str, undefined: Undefined) -> (Vec<String>, Vec<String>) {
        let definition = format!(
            "openapi: 3.0.1\ninfo: {{ title: T, version: V }}\n{root}\npaths:\n  /a/~b:\n    get: {{ {operation} }}\n"
        );
        let project = read(&format!("{WRITTEN}{api}"), &definition, &[]).project;
        let deployed = Deployed {
            project: &project,
            organization: "carbon.super",
            vhost: "localhost",
        };
        let mut settings = Settings::default();
        settings.tiers.undefined = undefined;
        let (errors, told) = match draft(&deployed, &settings) {
            Ok(draft) => (Vec::new(), draft.warnings().to_vec()),
            Err(found) => (found, Vec::new()),
        };
        let text = |found: Vec<trireme_project::Diagnostic>| -> Vec<String> {
            let lines = found.iter().map(ToString::to_string);
            lines.filter(|line| line.contains("tier")).collect()
        };
        (text(errors), text(told))
    }

    #[test]
    fn a_tier_that_nobody_defined_is_refused_by_name_where_it_stands() {
        let undefined = "is not defined (enforcer.throttling.policy of config.toml); the nearest is";
        let cases = [
            ("", "", "", ""),
            ("  apiThrottlingPolicy: Gold\n", "", "", ""),
            ("  apiThrottlingPolicy: unlimited\n", "", "", ""),
            (
                "",
                "x-wso2-throttling-tier: 10KPerMin",
                "x-throttling-tier: Unlimited",
                "",
            ),
            (
                "  apiThrottlingPolicy: Glod\n",
                "",
                "",
                "error: api.yaml#/data/apiThrottlingPolicy: the throttling tier Glod UNDEFINED Gold",
            ),
            (
                "",
                "x-throttling-tier: 5KPerMin",
                "",
                "error: Definitions/swagger.yaml#/x-throttling-tier: the throttling tier 5KPerMin UNDEFINED 50KPerMin",
            ),
            (
                "",
                "",
                "x-wso2-throttling-tier: gold",
                "error: Definitions/swagger.yaml#/paths/~1a~1~0b/get/x-wso2-throttling-tier: the throttling tier gold UNDEFINED Gold",
            ),
            (
                "  operations: [ { target: /a/~b, verb: GET, throttlingPolicy: Mine } ]\n",
                "",
                "",
                "error: api.yaml#/data/operations: the throttling tier Mine UNDEFINED",
            ),
        ];
        for (api, root, operation, want) in cases {
            let want = want.replace("UNDEFINED", undefined);
            let (errors, _) = found(api, root, operation, Undefined::Refused);
            assert_eq!(errors.is_empty(), want.is_empty(), "{errors:?}");
            assert!(errors.iter().all(|error| error.starts_with(&want)), "{errors:?}");
            // Elsewhere it is told, and nothing is refused.
            let (errors, told) = found(api, root, operation, Undefined::Unlimited);
            assert_eq!((errors.len(), told.is_empty()), (0, want.is_empty()), "{told:?}");
            let (errors, told) = found(api, root, operation, Undefined::Told);
            assert_eq!((errors.len(), told.is_empty()), (0, want.is_empty()), "{told:?}");
        }
    }

    #[test]
    fn limits_that_are_off_are_told() {
        let (errors, told) = found("", "", "x-throttling-tier: Nobody", Undefined::Off);
        assert_eq!(errors, Vec::<String>::new());
        let want = "warning: limits are switched off: throttling tiers have no effect (Nobody)";
        assert_eq!(told, [want]);
        let (_, told) = found("", "", "x-throttling-tier: Unlimited", Undefined::Off);
        assert_eq!(told, Vec::<String>::new());
    }

    #[test]
    fn operations_below_a_tier_of_the_api_are_told_that_theirs_has_no_effect() {
        let (_, told) = found(
            "",
            "x-throttling-tier: Unlimited",
            "x-throttling-tier: Gold",
            Undefined::Refused,
        );
        assert_eq!(
            told,
            ["warning: the API has a throttling tier: those of its operations have no effect"]
        );
    }
}
