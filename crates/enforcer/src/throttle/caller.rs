//! Who calls, by the credential that was shown (spec/enforcer.md §3.5 to §3.9, §4.2).

use crate::authn::Identity;
use crate::credential::tokens::Token;
use crate::limits::Caller;
use crate::need::Question;
use crate::verdict::{KeyType, Scheme};

/// What stands for a name that nobody says.
const UNKNOWN: &str = "__unknown__";
/// Name and owner of the application of the try-out console.
const CONSOLE: &str = "internal-key-app";

pub(super) fn of<'a>(question: &Question<'a>, held: Option<(&'a Identity, KeyType)>) -> Caller<'a> {
    let Some((identity, key_type)) = held else {
        return Caller::anonymous(question.attributes, KeyType::Production);
    };
    let caller = Caller::anonymous(question.attributes, key_type);
    match (identity.scheme, identity.token.as_deref()) {
        // Nobody is of the tier `Unauthenticated` unless the API says so.
        (Scheme::Unsecured, _) => caller,
        (Scheme::InternalKey, token) => Caller {
            token,
            username: token.map_or("", |token| &token.subject),
            application_name: ("", CONSOLE),
            subscriber: CONSOLE,
            ..caller
        },
        (Scheme::AccessToken | Scheme::ApiKey, Some(token)) => holder(question, identity, token, caller),
        (Scheme::MutualTls, _) | (_, None) => {
            let certificate = identity
                .certificate
                .and_then(|index| question.api.certificates.get(index));
            Caller {
                username: certificate.map_or("", |certificate| &certificate.subject),
                subscriber: UNKNOWN,
                application_name: ("", UNKNOWN),
                subscription_tier: certificate.map_or("", |certificate| &certificate.tier),
                ..caller
            }
        }
    }
}

/// What a token says of its application and of the subscription to this API. Whether a subscription is needed is `authz`'s
/// business: a tier that is named holds either way.
fn holder<'a>(
    question: &Question<'a>,
    identity: &'a Identity,
    token: &'a Token,
    caller: Caller<'a>,
) -> Caller<'a> {
    let policy = &question.api.policy;
    let issuer = match &identity.issuer {
        Some(issuer) => &issuer.name,
        None => "APIM APIkey",
    };
    let mut caller = Caller {
        token: Some(token),
        username: &token.subject,
        application_name: ("anon:", issuer),
        subscriber: UNKNOWN,
        ..caller
    };
    if let Some(application) = &token.application {
        caller.application = &application.id;
        caller.application_name = ("", &application.name);
        caller.application_tier = &application.tier;
        caller.subscriber = &application.owner;
    }
    let mut entries = token.subscribed.iter().flatten();
    let entry = entries.find(|entry| *entry.name == *policy.title && *entry.version == *policy.version);
    if let Some(entry) = entry {
        caller.subscription_tier = &entry.tier;
        caller.subscriber_tenant = &entry.tenant;
        caller.stop_on_quota_reach = entry.stop_on_quota_reach;
    }
    caller
}
