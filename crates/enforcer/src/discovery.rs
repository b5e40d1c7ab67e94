//! From discovery to snapshots: decode, make ready, swap. A resource that can't be used is named and refused, and what was
//! held under its name stays (design D16).

use std::sync::Arc;

use prost::bytes::Bytes;
use trireme_config::{Env, Secret};
use trireme_policy::settings::{Account, Settings};
use trireme_policy::{Update as Change, decode};
use trireme_proto::names::{CONFIG_RESOURCE, type_url};
use trireme_tls::generated;
use trireme_xds::client::{Apply, Rejection, Resource, Update};

use crate::api::Api;
use crate::credential::jwks::Fetcher;
use crate::event::{self, Counters};
use crate::limits::{Limits, Places};
use crate::security::Security;
use crate::snapshot::{Current, Snapshot};
use crate::utility::{Offer, Utility};

/// Types in the order they are asked for: settings first, because nothing can be checked without.
pub(crate) const TYPES: [&str; 2] = [type_url::CONFIG, type_url::API];

/// Takes updates and swaps snapshots in.
#[derive(Debug)]
pub(crate) struct Discovery {
    pub(crate) current: Arc<Current>,
    pub(crate) utility: Arc<Utility>,
    pub(crate) fetcher: Fetcher,
    /// Where requests are counted.
    pub(crate) places: Places,
    /// Where `$env{NAME}` in settings is looked up.
    pub(crate) env: Env,
    /// Stands for the own key pair where settings name it.
    pub(crate) stead: Option<generated::Stead>,
    /// No test tokens for the login that everybody knows.
    pub(crate) refuses_defaults: bool,
    pub(crate) counters: Counters,
}

impl Apply for Discovery {
    fn apply(&mut self, update: Update) -> Vec<Rejection> {
        let (taken, removed) = (update.upserts.len(), update.removals.len());
        let type_url = update.type_url.clone();
        let rejections = match type_url.as_str() {
            type_url::CONFIG => self.settings(&update.upserts),
            type_url::API => self.apis(update),
            _ => vec![Rejection::new(
                "*",
                format!("the type {type_url} was not asked for"),
            )],
        };
        for rejection in &rejections {
            event::Refused {
                resource: &rejection.resource,
                reason: &rejection.reason,
            }
            .emit();
        }
        let snapshot = self.current.load();
        event::Applied {
            version: snapshot.version,
            type_url: &type_url,
            taken: taken.saturating_sub(rejections.len()),
            removed,
            rejected: rejections.len(),
            apis: snapshot.apis.len(),
        }
        .emit(&self.counters);
        rejections
    }
}

impl Discovery {
    /// Settings are never taken away: the last good ones stay when the resource goes.
    fn settings(&mut self, upserts: &[Resource]) -> Vec<Rejection> {
        let mut rejections = Vec::new();
        for resource in upserts {
            match self.security(resource) {
                Ok(security) => {
                    let offer = Offer::new(&security.settings, self.refuses_defaults);
                    self.utility.store(Some(Arc::new(offer)));
                    let held = self.current.load();
                    self.current.store(Snapshot {
                        security: Some(Arc::new(security)),
                        apis: held.apis.clone(),
                        complete: held.complete,
                        version: held.version,
                    });
                }
                Err(reason) => rejections.push(Rejection::new(&resource.name, reason)),
            }
        }
        rejections
    }

    fn security(&mut self, resource: &Resource) -> Result<Security, String> {
        if resource.name != CONFIG_RESOURCE {
            return Err(format!("the only settings are named {CONFIG_RESOURCE}"));
        }
        let mut settings = decode::settings(&resource.body).map_err(|error| error.to_string())?;
        expand(&mut settings, &self.env)?;
        if let Some(stead) = &self.stead {
            stand_in(stead, &mut settings);
        }
        let limits = Limits::new(&settings, &mut self.places).map_err(|error| error.to_string())?;
        let held = self.current.load();
        let held = held.security.as_deref();
        Ok(Security::new(settings, limits, &self.fetcher, held))
    }

    fn apis(&self, update: Update) -> Vec<Rejection> {
        let mut rejections = Vec::new();
        let mut upserts = Vec::with_capacity(update.upserts.len());
        let held = self.current.load();
        for resource in update.upserts {
            match api(&resource.name, &resource.body) {
                Ok(mut api) => {
                    if let Some(before) = held.apis.find(&resource.name) {
                        api.tally = Arc::clone(&before.tally);
                    }
                    upserts.push((resource.name, Arc::new(api)));
                }
                Err(reason) => rejections.push(Rejection::new(&resource.name, reason)),
            }
        }
        let change = Change {
            upserts,
            removals: update.removals,
        };
        self.current.store(Snapshot {
            security: held.security.clone(),
            apis: held.apis.update(change),
            complete: held.complete || update.complete,
            version: held.version,
        });
        rejections
    }
}

fn api(name: &str, body: &Bytes) -> Result<Api, String> {
    let policy = decode::api(body).map_err(|error| error.to_string())?;
    // The name is what removals go by, so a policy under another name could never be taken away.
    if policy.name() != name {
        return Err(format!(
            "the name is not that of its vhost, basePath and version, {:?}",
            policy.name()
        ));
    }
    Api::new(policy).map_err(|error| error.to_string())
}

/// Puts the key pair that was made into the place of the one that is not mounted.
fn stand_in(stead: &generated::Stead, settings: &mut Settings) {
    let Settings {
        generator,
        test_issuer,
        ..
    } = settings;
    let pairs = generator.keypairs.iter_mut();
    let pairs = pairs.flat_map(|pair| [&mut pair.certificate_path, &mut pair.key_path]);
    for path in pairs.chain([&mut test_issuer.certificate_path, &mut test_issuer.key_path]) {
        *path = stead.file(path.as_ref()).display().to_string();
    }
}

/// Replaces `$env{NAME}` in every text. A variable that isn't set is an error: the text would stay, and with it a password
/// that anybody can read in the manual.
fn expand(settings: &mut Settings, env: &Env) -> Result<(), String> {
    let Settings {
        issuers,
        auth_header,
        mutual_tls,
        generator,
        test_issuer,
        management,
        limits,
        ..
    } = settings;
    for (index, issuer) in issuers.iter_mut().enumerate() {
        for (field, text) in [
            ("name", &mut issuer.name),
            ("issuer", &mut issuer.issuer),
            ("certificateAlias", &mut issuer.certificate_alias),
            ("jwksURL", &mut issuer.jwks_url),
            ("consumerKeyClaim", &mut issuer.consumer_key_claim),
            ("certificateFilePath", &mut issuer.certificate_path),
        ] {
            plain(&format!("security.tokenService[{index}].{field}"), text, env)?;
        }
    }
    for (path, text) in [
        (
            "security.authHeader.authorizationHeader",
            &mut auth_header.authorization,
        ),
        (
            "security.authHeader.testConsoleHeaderName",
            &mut auth_header.internal_key,
        ),
        ("security.mutualSSL.certificateHeader", &mut mutual_tls.header),
        ("jwtGenerator.claim_dialect", &mut generator.claim_dialect),
        ("jwtGenerator.header", &mut generator.header),
        ("jwtIssuer.issuer", &mut test_issuer.issuer),
        ("jwtIssuer.claim_dialect", &mut test_issuer.claim_dialect),
        (
            "jwtIssuer.public_certificate_path",
            &mut test_issuer.certificate_path,
        ),
        ("jwtIssuer.private_key_path", &mut test_issuer.key_path),
    ] {
        plain(path, text, env)?;
    }
    for (index, pair) in generator.keypairs.iter_mut().enumerate() {
        let at = format!("jwtGenerator.keypairs[{index}]");
        plain(
            &format!("{at}.public_certificate_path"),
            &mut pair.certificate_path,
            env,
        )?;
        plain(&format!("{at}.private_key_path"), &mut pair.key_path, env)?;
    }
    if let Some(redis) = limits.as_mut().and_then(|limits| limits.store.redis.as_mut()) {
        plain("limits.store.redis.url", &mut redis.url, env)?;
        plain("limits.store.redis.key_prefix", &mut redis.key_prefix, env)?;
        plain("limits.store.redis.username", &mut redis.username, env)?;
        redis.password = secret("limits.store.redis.password", &redis.password, env)?;
    }
    // Whoever turns test tokens off needs no password for them.
    if !test_issuer.enabled {
        test_issuer.users.clear();
    }
    for (index, user) in test_issuer.users.iter_mut().enumerate() {
        account(&format!("jwtIssuer.jwt_users[{index}]"), user, env)?;
    }
    account("management", management, env)
}

fn plain(path: &str, text: &mut String, env: &Env) -> Result<(), String> {
    if text.contains("$env{") {
        let expanded = env.expand(text);
        if let Some(name) = expanded.unset.first() {
            return Err(format!("{path}: the environment variable {name} is not set"));
        }
        *text = expanded.text;
    }
    Ok(())
}

fn account(path: &str, account: &mut Account, env: &Env) -> Result<(), String> {
    plain(&format!("{path}.username"), &mut account.username, env)?;
    account.password = secret(&format!("{path}.password"), &account.password, env)?;
    Ok(())
}

fn secret(path: &str, text: &str, env: &Env) -> Result<String, String> {
    let resolved = Secret::new(text).resolve(env);
    resolved
        .map(|secret| secret.reveal().to_owned())
        .map_err(|error| format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use trireme_policy::settings::{Issuer, Keypair};

    use super::*;

    #[test]
    fn without_test_tokens_their_passwords_are_not_asked_for() {
        let mut settings = Settings::default();
        settings.test_issuer.enabled = false;
        settings.test_issuer.users.push(Account {
            username: "admin".to_owned(),
            password: "$env{NOT_SET}".to_owned(),
        });
        assert_eq!(
            expand(&mut settings, &Env::from_iter([("OTHER", "x".to_owned())])),
            Ok(())
        );
        assert!(settings.test_issuer.users.is_empty());
    }

    /// A refusal is told to whoever wrote the settings; it has to say which of them is meant.
    #[test]
    fn a_variable_that_is_missing_is_named_with_its_field() {
        type Spoil = fn(&mut Settings) -> &mut String;
        let cases: [(Spoil, &str); 9] = [
            (|s| &mut s.issuers[0].jwks_url, "security.tokenService[0].jwksURL"),
            (|s| &mut s.issuers[0].issuer, "security.tokenService[0].issuer"),
            (
                |s| &mut s.issuers[0].certificate_path,
                "security.tokenService[0].certificateFilePath",
            ),
            (
                |s| &mut s.auth_header.internal_key,
                "security.authHeader.testConsoleHeaderName",
            ),
            (
                |s| &mut s.mutual_tls.header,
                "security.mutualSSL.certificateHeader",
            ),
            (
                |s| &mut s.generator.keypairs[0].key_path,
                "jwtGenerator.keypairs[0].private_key_path",
            ),
            (|s| &mut s.test_issuer.key_path, "jwtIssuer.private_key_path"),
            (
                |s| &mut s.test_issuer.users[0].username,
                "jwtIssuer.jwt_users[0].username",
            ),
            (|s| &mut s.management.password, "management.password"),
        ];
        for (field, path) in cases {
            let mut settings = Settings {
                issuers: vec![Issuer {
                    name: "MGW".to_owned(),
                    issuer: "https://issuer.example".to_owned(),
                    certificate_alias: String::new(),
                    jwks_url: String::new(),
                    validate_subscription: false,
                    consumer_key_claim: String::new(),
                    certificate_path: String::new(),
                    claim_mapping: Vec::new(),
                }],
                ..Settings::default()
            };
            settings.generator.keypairs.push(Keypair {
                certificate_path: String::new(),
                key_path: String::new(),
                signs: true,
            });
            settings.test_issuer.users.push(Account::default());
            *field(&mut settings) = "$env{NOT_SET}".to_owned();
            let error = expand(&mut settings, &Env::from_iter([("OTHER", "x".to_owned())])).unwrap_err();
            assert_eq!(
                error,
                format!("{path}: the environment variable NOT_SET is not set")
            );
        }
    }
}
