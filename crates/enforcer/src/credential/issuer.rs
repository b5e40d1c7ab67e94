//! Who signs tokens, made ready from the settings.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use trireme_policy::settings::{ClaimMapping, Issuer as Declared};

use super::jwks::{Fetcher, KeySet};
use super::keys::PublicKey;
use super::unsupported::Unsupported;
use crate::event::{self, NamedBy};

/// Issuer name whose certificate signs internal keys, and API keys when there is no other.
const PUBLISHER: &str = "APIM Publisher";
/// Issuer name whose certificate signs API keys.
const API_KEY: &str = "APIM APIkey";
/// Where the issuer of API keys is filed, whatever its setting says, so that it can't stand in for another.
const API_KEY_ISSUER: &str = "https://host:9443/apikey";

/// Everybody whose signature counts.
#[derive(Debug)]
pub(crate) struct Issuers {
    /// Of access tokens, by the `iss` that they are filed under.
    pub(crate) access: HashMap<String, Arc<Issuer>>,
    /// Signs internal keys.
    pub(crate) publisher: Option<Signer>,
    /// Signs API keys.
    pub(crate) api_keys: Option<Signer>,
}

/// Who signs keys that are tokens.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) key: Arc<PublicKey>,
    pub(crate) validate_subscription: bool,
    /// Algorithms of keys that were shown.
    pub(crate) unsupported: Arc<Unsupported>,
}

/// Who signs access tokens.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// Name that it is configured by.
    pub(crate) name: Box<str>,
    pub(crate) validate_subscription: bool,
    mapping: Vec<ClaimMapping>,
    /// Its own certificate: for tokens with a key id and no key set to find it in.
    pub(crate) certificate: Option<Arc<PublicKey>>,
    /// The certificate of its alias: for tokens without a key id, before the keys that it publishes.
    pub(crate) alias: Option<Arc<PublicKey>>,
    pub(crate) key_set: Option<Arc<KeySet>>,
    /// Algorithms of tokens that state it.
    pub(crate) unsupported: Arc<Unsupported>,
}

impl Issuer {
    /// Name that a claim has in tokens of this issuer.
    pub(crate) fn remote<'a>(&'a self, local: &'a str) -> &'a str {
        let mapped = self.mapping.iter().find(|mapping| mapping.local == local);
        mapped.map_or(local, |mapping| &mapping.remote)
    }

    /// Changes whenever its keys do.
    pub(crate) fn generation(&self) -> u64 {
        self.key_set.as_ref().map_or(0, |set| set.generation())
    }
}

impl Issuers {
    /// Makes declared issuers ready. Reads certificate files. An issuer whose certificate can't be read and that has no key
    /// set is left out with an error in the log: its tokens are refused, those of others aren't. Keys that `held` has fetched
    /// from the same address are kept, so that new settings don't need the key servers to be there, and so is what it has told.
    pub(crate) fn new(all: &[Declared], fetcher: &Fetcher, held: Option<&Self>) -> Self {
        let mut aliases: HashMap<String, Arc<PublicKey>> = HashMap::new();
        let mut own = Vec::with_capacity(all.len());
        for declared in all {
            let key = certificate(declared);
            if let Some(key) = &key {
                aliases.insert(alias(declared).to_owned(), Arc::clone(key));
            }
            own.push(key);
        }
        let mut access = HashMap::new();
        for (declared, certificate) in all.iter().zip(own.iter().cloned()) {
            let former = held.and_then(|held| held.access.get(filed(declared)));
            let key_set = key_set(
                declared,
                fetcher,
                former.and_then(|issuer| issuer.key_set.as_ref()),
            );
            let alias = signing(declared, certificate.as_ref(), &aliases);
            if certificate.is_none() && alias.is_none() && key_set.is_none() {
                event::IssuerLeftOut {
                    name: &declared.name,
                    issuer: &declared.issuer,
                }
                .emit();
                continue;
            }
            let issuer = Issuer {
                name: declared.name.as_str().into(),
                validate_subscription: declared.validate_subscription,
                mapping: declared.claim_mapping.clone(),
                certificate,
                alias,
                key_set,
                unsupported: told(former.map(|issuer| &issuer.unsupported), &declared.issuer),
            };
            access.insert(filed(declared).to_owned(), Arc::new(issuer));
        }
        let named = |name: &str| all.iter().position(|issuer| issuer.name == name);
        let signer = |name: &str, held: Option<&Signer>| {
            let index = named(name)?;
            let declared = all.get(index)?;
            Some(Signer {
                key: signing(declared, own.get(index)?.as_ref(), &aliases)?,
                validate_subscription: declared.validate_subscription,
                unsupported: told(held.map(|signer| &signer.unsupported), name),
            })
        };
        let publisher = signer(PUBLISHER, held.and_then(|held| held.publisher.as_ref()));
        let of_api_keys = if named(API_KEY).is_some() {
            API_KEY
        } else {
            PUBLISHER
        };
        let api_keys = signer(of_api_keys, held.and_then(|held| held.api_keys.as_ref()));
        Self {
            access,
            publisher,
            api_keys,
        }
    }
}

/// What was told of the tokens of an issuer, which may have told something already.
fn told(held: Option<&Arc<Unsupported>>, issuer: &str) -> Arc<Unsupported> {
    held.filter(|held| held.issuer() == issuer)
        .cloned()
        .unwrap_or_else(|| Arc::new(Unsupported::new(issuer, NamedBy::Token)))
}

/// The certificate file of an issuer.
fn certificate(declared: &Declared) -> Option<Arc<PublicKey>> {
    if declared.certificate_path.is_empty() {
        return None;
    }
    let key = std::fs::read(Path::new(&declared.certificate_path))
        .map_err(|error| error.to_string())
        .and_then(|pem| PublicKey::certificate(&pem).map_err(|error| error.to_string()));
    match key {
        Ok(key) => Some(Arc::new(key)),
        Err(reason) => {
            event::KeyUnusable {
                name: &declared.name,
                path: &declared.certificate_path,
                reason: &reason,
            }
            .emit();
            None
        }
    }
}

/// The certificate of an issuer's alias. Its own is the one that it brought there itself, whoever else uses the alias; only
/// an issuer that names no file takes what another one brought, because that is how it was set up. One whose file can't be
/// read has none: another's certificate must not stand for it.
fn signing(
    declared: &Declared,
    own: Option<&Arc<PublicKey>>,
    aliases: &HashMap<String, Arc<PublicKey>>,
) -> Option<Arc<PublicKey>> {
    match own {
        Some(own) => Some(Arc::clone(own)),
        None if declared.certificate_path.is_empty() => aliases.get(alias(declared)).cloned(),
        None => None,
    }
}

/// The `iss` that an issuer is found by.
fn filed(declared: &Declared) -> &str {
    if declared.name == API_KEY {
        API_KEY_ISSUER
    } else {
        &declared.issuer
    }
}

fn key_set(declared: &Declared, fetcher: &Fetcher, held: Option<&Arc<KeySet>>) -> Option<Arc<KeySet>> {
    if declared.jwks_url.is_empty() {
        return None;
    }
    match declared.jwks_url.parse() {
        Ok(address) if held.is_some_and(|held| *held.address() == address) => held.cloned(),
        Ok(address) => Some(Arc::new(KeySet::new(&declared.issuer, address, fetcher.clone()))),
        Err(_) => {
            event::KeyUnusable {
                name: &declared.name,
                path: &declared.jwks_url,
                reason: "not an address",
            }
            .emit();
            None
        }
    }
}

/// Aliases that the original gives to its own issuers.
fn alias(declared: &Declared) -> &str {
    match (declared.certificate_alias.as_str(), declared.name.as_str()) {
        ("", PUBLISHER) => "publisher_certificate_alias",
        ("", "Resident Key Manager") => "wso2carbon",
        ("", API_KEY) => "apikey_certificate_alias",
        // Without an alias nothing but its own certificate stands for an issuer.
        ("", _) => &declared.issuer,
        (alias, _) => alias,
    }
}
