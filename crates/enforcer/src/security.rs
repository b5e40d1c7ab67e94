//! What the settings say about credentials, made ready for checks. Built anew when the settings change; tokens found good
//! under other settings are forgotten with it.

use trireme_policy::Settings;

use crate::credential::issuer::Issuers;
use crate::credential::jwks::Fetcher;
use crate::credential::tokens::TokenCache;
use crate::event;
use crate::limits::Limits;

/// Everything that checks need of the settings.
#[derive(Debug)]
pub(crate) struct Security {
    /// What it was made from.
    pub(crate) settings: Settings,
    pub(crate) issuers: Issuers,
    /// Lower-case header of the access token.
    pub(crate) authorization: String,
    /// Lower-case header of the internal key.
    pub(crate) internal_key: String,
    /// Lower-case header of the client certificate.
    pub(crate) certificate: String,
    /// Lower-case header in which the upstream expects a token of ours; absent where none is made.
    pub(crate) assertion: Option<String>,
    pub(crate) tokens: TokenCache,
    pub(crate) internal_keys: TokenCache,
    pub(crate) application_keys: TokenCache,
    /// Limits of callers; absent when they are off.
    pub(crate) limits: Option<Limits>,
}

impl Security {
    /// Makes settings ready, with the issuers of [`Issuers::new`] and the limits of [`Limits::new`].
    #[must_use]
    pub(crate) fn new(
        settings: Settings,
        limits: Option<Limits>,
        fetcher: &Fetcher,
        held: Option<&Self>,
    ) -> Self {
        tell_gaps(&settings);
        let cache = &settings.cache;
        let always = trireme_policy::settings::Cache {
            enabled: true,
            ..cache.clone()
        };
        let authorization = match settings.auth_header.authorization.to_ascii_lowercase() {
            name if name.is_empty() => "authorization".to_owned(),
            name => name,
        };
        Self {
            issuers: Issuers::new(&settings.issuers, fetcher, held.map(|held| &held.issuers)),
            authorization,
            internal_key: settings.auth_header.internal_key.to_ascii_lowercase(),
            certificate: settings.mutual_tls.header.to_ascii_lowercase(),
            assertion: Some(settings.generator.header.to_ascii_lowercase())
                .filter(|name| settings.generator.enabled && !name.is_empty()),
            tokens: TokenCache::new(cache),
            internal_keys: TokenCache::new(&always),
            application_keys: TokenCache::new(&always),
            limits,
            settings,
        }
    }
}

/// Says what of the settings guards less than somebody may think.
fn tell_gaps(settings: &Settings) {
    for filter in &settings.filters {
        event::FilterLeftOut { class: &filter.class }.emit();
    }
    if !settings.mutual_tls.from_connection {
        let header = &settings.mutual_tls.header;
        event::CertificateFromHeader { header }.emit();
    }
}
