//! What limits ask of a caller (spec/enforcer.md §7.2, §7.4, §7.6).

use std::net::IpAddr;

use crate::attributes::Attributes;
use crate::credential::tokens::Token;
use crate::verdict::KeyType;

/// Tenant of APIs and subscribers that name none.
const SUPER_TENANT: &str = "carbon.super";

/// Who calls, with what the defaults of the original say where nothing is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// Address of the downstream peer, as the router tells it.
    pub(crate) peer: &'a str,
    /// The token that was shown.
    pub(crate) token: Option<&'a Token>,
    /// Name without tenant; may be empty.
    pub(crate) username: &'a str,
    /// Id of the application, `-1` for anonymous ones.
    pub(crate) application: &'a str,
    /// Name of the application: what stands before it, and it. Anonymous ones are named by the issuer of the token.
    pub(crate) application_name: (&'static str, &'a str),
    /// Tier of the application.
    pub(crate) application_tier: &'a str,
    /// Owner of the application.
    pub(crate) subscriber: &'a str,
    /// Tenant of the subscriber; empty when nobody says.
    pub(crate) subscriber_tenant: &'a str,
    /// Tier of the subscription.
    pub(crate) subscription_tier: &'a str,
    /// Whether a subscription that is used up refuses; absent where the token doesn't say.
    pub(crate) stop_on_quota_reach: Option<bool>,
    /// Environment.
    pub(crate) key_type: KeyType,
}

impl<'a> Caller<'a> {
    /// A caller of whom nothing but the address is known.
    pub(crate) fn anonymous(attributes: &Attributes<'a>, key_type: KeyType) -> Self {
        Self {
            peer: attributes.peer,
            token: None,
            username: "anonymous",
            application: "-1",
            application_name: ("", ""),
            application_tier: "",
            subscriber: "anonymous",
            subscriber_tenant: "",
            subscription_tier: "",
            stop_on_quota_reach: None,
            key_type,
        }
    }

    /// Its address; absent where the router tells none.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.peer.parse().ok()
    }

    /// The tenant of the subscriber, or else of the API.
    pub(crate) fn tenant<'b>(&self, base_path: &'b str) -> &'b str
    where
        'a: 'b,
    {
        match self.subscriber_tenant {
            "" => api_tenant(base_path),
            tenant => tenant,
        }
    }

    /// Appends the name with its tenant, unless it is in there already. Nobody has no tenant either.
    pub(crate) fn write_user(&self, base_path: &str, out: &mut Vec<u8>) {
        let tenant = self.tenant(base_path);
        out.extend_from_slice(self.username.as_bytes());
        if !self.username.is_empty() && !self.username.contains(tenant) {
            out.push(b'@');
            out.extend_from_slice(tenant.as_bytes());
        }
    }

    /// Appends the name of the application.
    pub(crate) fn write_application(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.application_name.0.as_bytes());
        out.extend_from_slice(self.application_name.1.as_bytes());
    }
}

/// The tenant of an API: base paths of tenants begin with `/t/` and its name.
pub(crate) fn api_tenant(base_path: &str) -> &str {
    let tenant = base_path
        .strip_prefix("/t/")
        .and_then(|rest| rest.split('/').next())
        .filter(|tenant| !tenant.is_empty());
    tenant.unwrap_or(SUPER_TENANT)
}
