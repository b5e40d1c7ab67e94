//! Rules that tie several keys together, applied when all values are known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::error::{Broken, ConfigError, Origin, Warning};
use crate::limits;
use crate::overlay::{Findings, RESOLVED};
use crate::schema::{Value, walk};
use crate::sections::Config;

/// Gives the secrets of the adapter their values, and checks what belongs together.
pub(crate) fn apply(config: &mut Config, file: &Path, env: &Env, findings: &mut Findings) {
    resolve_secrets(config, file, env, findings);
    forget_references_of_idle_features(config, findings);
    let mut broken = Vec::new();
    listeners(config, &mut broken);
    users(config, &mut broken);
    signing_key(config, &mut broken);
    limits::check(config, &mut broken);
    // A value that couldn't be read was told, and what stands in its place says nothing.
    let told = |findings: &Findings, key: &str| {
        let mut errors = findings.errors.iter();
        errors.any(|error| matches!(error, ConfigError::Invalid { key: told, .. } if told == key))
    };
    for (key, reason) in broken {
        if told(findings, &key) {
            continue;
        }
        findings.errors.push(ConfigError::Invalid {
            origin: origin(findings, file, &key),
            key,
            reason,
        });
    }
}

fn origin(findings: &Findings, file: &Path, key: &str) -> Origin {
    findings.set.get(key).cloned().unwrap_or_else(|| Origin::Default {
        path: file.to_owned(),
    })
}

/// A secret without a value is an error only where it would be used: the defaults refer to variables that nobody sets
/// who does not use the feature.
fn resolve_secrets(config: &mut Config, file: &Path, env: &Env, findings: &mut Findings) {
    let mut failed = Vec::new();
    walk(config, &mut |item| {
        let resolved_here = RESOLVED
            .iter()
            .any(|root| item.path.split('.').next() == Some(root));
        let Value::Leaf(leaf) = item.value else { return };
        if !resolved_here {
            return;
        }
        for secret in leaf.secrets() {
            match secret.resolve(env) {
                Ok(resolved) => *secret = resolved,
                Err(source) if !item.off => failed.push((item.path.to_owned(), source)),
                Err(_) => {}
            }
        }
    });
    for (key, source) in failed {
        findings.errors.push(ConfigError::Secret {
            origin: origin(findings, file, &key),
            key,
            source,
        });
    }
}

/// Drops warnings of unset variables where nothing reads the value, where an override variable has replaced it, and in
/// `[tracing]`, which the enforcer resolves after us with its own variables.
fn forget_references_of_idle_features(config: &mut Config, findings: &mut Findings) {
    let mut idle = BTreeSet::new();
    walk(config, &mut |item| {
        let replaced = matches!(findings.set.get(item.path), Some(Origin::Variable(_)));
        if item.off || replaced || item.path.starts_with("tracing.") {
            idle.insert(item.path.to_owned());
        }
    });
    findings.warnings.retain(
        |warning| !matches!(warning, Warning::UnsetVariable { key, .. } if idle.contains(key.as_str())),
    );
}

fn listeners(config: &Config, broken: &mut Broken) {
    let router = &config.router;
    let key = "router.securedListenerPort".to_owned();
    if router.listener_port == 0 && router.secured_listener_port == 0 {
        broken.push((
            key,
            "both listeners are off, router.listenerPort is 0 as well".to_owned(),
        ));
    } else if (router.listener_port, router.listener_host)
        == (router.secured_listener_port, router.secured_listener_host)
    {
        broken.push((key, "is also the port of the plain listener".to_owned()));
    }
    let client = &router.client_address;
    if client.trusted_hops > 0 && !client.trusted_ranges.is_empty() {
        let key = "router.clientAddress.trustedRanges".to_owned();
        broken.push((key, "cannot stand beside trustedHops".to_owned()));
    }
    if !(1..=8192).contains(&router.connection.max_request_head) {
        let key = "router.connection.maxRequestHeadInKiB".to_owned();
        broken.push((key, "must be 1 to 8192".to_owned()));
    }
}

/// A user without a name or a password would let everybody in.
fn users(config: &Config, broken: &mut Broken) {
    let server = &config.adapter.server;
    for (index, user) in server.users.iter().enumerate().filter(|_| server.enabled) {
        for (key, empty) in [
            ("username", user.username.is_empty()),
            ("password", user.password.is_empty()),
        ] {
            if empty {
                broken.push((
                    format!("adapter.server.users[{index}].{key}"),
                    "must not be empty".to_owned(),
                ));
            }
        }
    }
}

/// Exactly one key signs, and needs both files. Private keys of the others are not passed on.
fn signing_key(config: &mut Config, broken: &mut Broken) {
    let generator = &mut config.enforcer.jwt_generator;
    for pair in generator.keypair.iter_mut().filter(|pair| !pair.use_for_signing) {
        pair.private_key_path = PathBuf::new();
    }
    if !generator.enabled {
        return;
    }
    let key = "enforcer.jwtGenerator.keypair".to_owned();
    let mut signing = generator.keypair.iter().filter(|pair| pair.use_for_signing);
    let reason = match (signing.next(), signing.next()) {
        (None, _) => "no entry has useForSigning = true",
        (Some(_), Some(_)) => "more than one entry has useForSigning = true",
        (Some(pair), None) if pair.public_certificate_path.as_os_str().is_empty() => {
            "the signing entry has no publicCertificatePath"
        }
        (Some(pair), None) if pair.private_key_path.as_os_str().is_empty() => {
            "the signing entry has no privateKeyPath"
        }
        (Some(_), None) => return,
    };
    broken.push((key, reason.to_owned()));
}

#[cfg(test)]
mod tests;
