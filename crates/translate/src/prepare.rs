//! The way that every project takes, whoever brings it: from its files to a draft for each virtual host.

use trireme_project::{ApiProject, Diagnostic, ProjectSource, Reading};

use crate::names::DEFAULT_VHOST;
use crate::targets::{self, Target, Targets};
use crate::{Deployed, Draft, Settings, Undefined, accepted, draft};

/// What a project is prepared with.
pub struct Surroundings<'a> {
    /// How its files are read.
    pub reading: trireme_project::Settings<'a>,
    /// Organization of projects that name none.
    pub organization: &'a str,
    /// Default virtual host of an environment; `None` for environments that nothing is deployed to.
    pub vhost: &'a dyn Fn(&str) -> Option<String>,
    /// Translation.
    pub settings: &'a Settings,
}

/// A project that can be deployed.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What it is.
    pub project: ApiProject,
    /// Whose it is.
    pub organization: String,
    /// What becomes of it, for each of its targets; none when nothing of it is to be deployed here.
    pub drafts: Vec<(Target, Draft)>,
    /// Findings that don't keep it back, each once.
    pub warnings: Vec<Diagnostic>,
}

/// Why a project can't be deployed.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// What was found in the steps before the one that it fails in.
    pub before: Vec<Diagnostic>,
    /// What it is refused for, with what else that step has found.
    pub findings: Vec<Diagnostic>,
}

impl Refused {
    /// All that was found, in order.
    #[must_use]
    pub fn all(self) -> Vec<Diagnostic> {
        [self.before, self.findings].concat()
    }
}

impl Surroundings<'_> {
    /// Reads a project, and translates it for every target.
    ///
    /// # Errors
    /// The findings of the first step that has an error among them: reading, the choice of targets, or one translation.
    pub fn prepare(&self, source: &dyn ProjectSource) -> Result<Prepared, Refused> {
        let refused = |before: &[Diagnostic], findings| Refused {
            before: before.to_vec(),
            findings,
        };
        let Reading {
            project,
            mut warnings,
        } = trireme_project::read(source, &self.reading).map_err(|findings| refused(&[], findings))?;
        let organization = project.identity.organization.as_deref();
        let organization = organization.unwrap_or(self.organization).to_owned();
        let Targets {
            targets,
            warnings: left_out,
        } = targets::of(&project, self.vhost).map_err(|findings| refused(&warnings, findings))?;
        warnings.extend(left_out);
        let mut drafts = Vec::with_capacity(targets.len());
        for target in targets {
            let deployed = Deployed {
                project: &project,
                organization: &organization,
                vhost: &target.vhost,
            };
            let draft = draft(&deployed, self.settings).map_err(|findings| refused(&warnings, findings))?;
            accepted::check(&draft).map_err(|findings| refused(&warnings, findings))?;
            for warning in draft.warnings() {
                if !warnings.contains(warning) {
                    warnings.push(warning.clone());
                }
            }
            drafts.push((target, draft));
        }
        Ok(Prepared {
            project,
            organization,
            drafts,
            warnings,
        })
    }
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("reading", &self.reading)
            .field("organization", &self.organization)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Judges a project for those who have no gateway at hand, as one would that comes as it is and has every environment that the
/// project names: the API, and what was found in it.
///
/// # Errors
/// All that was found, when it can't be deployed.
pub fn validate(
    source: &dyn ProjectSource,
    reading: trireme_project::Settings<'_>,
) -> Result<(ApiProject, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut settings = Settings::default();
    // Only the gateway's configuration knows all of them.
    settings.tiers.undefined = Undefined::Told;
    let surroundings = Surroundings {
        reading,
        organization: "",
        vhost: &|_| Some(DEFAULT_VHOST.to_owned()),
        settings: &settings,
    };
    let Prepared {
        project,
        organization,
        drafts,
        mut warnings,
    } = surroundings.prepare(source).map_err(Refused::all)?;
    if drafts.is_empty() {
        // It names no environment. What it says is to be judged nevertheless.
        let deployed = Deployed {
            project: &project,
            organization: &organization,
            vhost: DEFAULT_VHOST,
        };
        match draft(&deployed, surroundings.settings)
            .and_then(|draft| accepted::check(&draft).map(|()| draft))
        {
            Ok(draft) => warnings.extend_from_slice(draft.warnings()),
            Err(findings) => return Err([warnings, findings].concat()),
        }
    }
    Ok((project, warnings))
}

#[cfg(test)]
mod tests {
    use trireme_project::{Defaults, Memory};

    use super::*;
    use crate::testing;

    const TARGETS: &str = "deployment_environments.yaml";

    fn source(api: &str, targets: &str) -> Memory {
        let files = [
            ("api.yaml", api),
            ("Definitions/swagger.yaml", testing::DEFINITION),
            (TARGETS, targets),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        Memory(files.into_iter().filter(|(_, text)| !text.is_empty()).collect())
    }

    fn prepare(source: &Memory) -> Result<Prepared, Refused> {
        let surroundings = Surroundings {
            reading: trireme_project::Settings::new(Defaults::Require),
            organization: "carbon.super",
            vhost: &|environment| (environment == "Here").then(|| "here.local".to_owned()),
            settings: &Settings::default(),
        };
        surroundings.prepare(source)
    }

    #[test]
    fn each_target_has_its_draft_and_each_finding_is_told_once() {
        let policy = "{ policyName: h, policyVersion: v1 }";
        let operation =
            format!("{{ target: /a, verb: GET, operationPolicies: {{ response: [ {policy} ] }} }}");
        let api = format!("{}  operations: [ {operation} ]\n", testing::API);
        let targets = "data: [ { deploymentEnvironment: Here }, { deploymentEnvironment: Here, deploymentVhost: b.local }, \
                       { deploymentEnvironment: Nowhere } ]";
        let prepared = prepare(&source(&api, targets)).unwrap();
        let vhosts: Vec<&str> = prepared
            .drafts
            .iter()
            .map(|(target, _)| target.vhost.as_str())
            .collect();
        assert_eq!(vhosts, ["b.local", "here.local"]);
        let told = |text: &str| {
            prepared
                .warnings
                .iter()
                .filter(|found| found.message.contains(text))
                .count()
        };
        assert_eq!(told("policies have no effect"), 1, "{:?}", prepared.warnings);
        assert_eq!(
            told("environment Nowhere is not configured"),
            1,
            "{:?}",
            prepared.warnings
        );

        let nowhere = prepare(&source(&api, "data: [ { deploymentEnvironment: Nowhere } ]")).unwrap();
        assert!(nowhere.drafts.is_empty(), "taken, and deployed to no place");
    }

    #[test]
    fn what_was_found_before_is_kept_apart_from_what_refuses() {
        let api = testing::API.replace("HTTP", "GRAPHQL") + "  unheardOf: 1\n";
        let mut project = source(
            &api,
            "data: [ { deploymentEnvironment: Here }, { deploymentEnvironment: Nowhere } ]",
        );
        project.0.insert(
            "Definitions/schema.graphql".to_owned(),
            b"type Query { a: Int }".to_vec(),
        );
        let refused = prepare(&project).unwrap_err();
        assert!(refused.findings.iter().all(Diagnostic::is_error), "{refused:?}");
        assert!(
            refused
                .before
                .iter()
                .any(|found| found.message.contains("Nowhere")),
            "{refused:?}"
        );
        let both = refused.before.len() + refused.findings.len();
        assert_eq!(refused.all().len(), both);
    }

    #[test]
    fn a_project_for_no_environment_is_judged_nevertheless() {
        let judged = |api: &str, targets: &str| {
            let project = source(api, targets);
            validate(&project, trireme_project::Settings::new(Defaults::Require))
        };
        let function = testing::API.replace(
            "production_endpoints",
            "endpoint_type: awslambda, production_endpoints",
        );
        for targets in ["", "data: []", "data: [ { deploymentEnvironment: Anywhere } ]"] {
            assert_eq!(
                judged(testing::API, targets).unwrap().0.base_path,
                "/pets/1.0.0",
                "{targets:?}"
            );
            assert!(judged(&function, targets).is_err(), "{targets:?}");
        }
    }

    #[test]
    fn a_tier_that_only_the_gateway_can_know_is_told() {
        let api = format!("{}  apiThrottlingPolicy: Mine\n", testing::API);
        assert!(
            prepare(&source(&api, "data: [ { deploymentEnvironment: Here } ]")).is_err(),
            "a gateway knows its tiers"
        );
        let judged = validate(
            &source(&api, ""),
            trireme_project::Settings::new(Defaults::Require),
        );
        let (_, warnings) = judged.unwrap();
        let told = |found: &Diagnostic| found.message.contains("Mine has to be defined by the gateway");
        assert!(warnings.iter().any(told), "{warnings:?}");
    }

    #[test]
    fn what_its_peers_would_refuse_is_refused() {
        let cases = [
            (
                "components: {securitySchemes: {k: {type: apiKey, in: header}}}",
                "the enforcer would refuse this API: securityScheme[0].name: is empty",
            ),
            (
                "x-wso2-cors: {corsConfigurationEnabled: true, accessControlAllowOrigins: ['']}",
                "the router would refuse this API: virtual_hosts[0].routes[0].typed_per_filter_config[\"envoy.filters.http.cors\"].allow_origin_string_match[0].safe_regex.regex: must not be empty",
            ),
            ("tags: []", ""),
        ];
        for (line, want) in cases {
            let text = format!(
                "openapi: 3.0.3\ninfo: {{title: A, version: '1'}}\nservers: [{{url: 'http://up.test'}}]\n\
                 paths: {{/a: {{get: {{responses: {{}}}}}}}}\n{line}\n"
            );
            let mut source = source(testing::API, "");
            source
                .0
                .insert("Definitions/swagger.yaml".to_owned(), text.into_bytes());
            let judged = validate(&source, trireme_project::Settings::new(Defaults::Require));
            let errors: Vec<_> = judged.err().unwrap_or_default();
            let messages: Vec<&str> = errors.iter().map(|finding| &*finding.message).collect();
            assert_eq!(
                messages,
                Vec::from_iter(Some(want).filter(|want| !want.is_empty())),
                "{line}"
            );
        }
    }
}
