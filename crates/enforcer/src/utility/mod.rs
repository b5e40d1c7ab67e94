//! What the enforcer offers beside checks: test tokens and the keys that it publishes.

pub(crate) mod rest;
pub(crate) mod test_token;

use arc_swap::ArcSwapOption;
use trireme_policy::Settings;

use test_token::TestIssuer;

/// What the settings say about it, made ready; empty until they are there.
pub(crate) type Utility = ArcSwapOption<Offer>;

/// What is offered under some settings.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Issues test tokens; absent when it is disabled or can't work.
    test_issuer: Option<TestIssuer>,
    /// The document of `/jwks`; absent when the generator is disabled.
    jwks: Option<String>,
}

impl Offer {
    /// Reads the keys and certificates that the settings name; what can't be used is told in the log and not offered.
    /// `refuses_defaults`: no test tokens for the login that everybody knows.
    pub(crate) fn new(settings: &Settings, refuses_defaults: bool) -> Self {
        let generator = &settings.generator;
        Self {
            test_issuer: TestIssuer::new(&settings.test_issuer)
                .map(|issuer| issuer.refusing_defaults(refuses_defaults)),
            jwks: generator.enabled.then(|| test_token::jwks(&generator.keypairs)),
        }
    }
}
