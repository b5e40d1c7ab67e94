//! Who is turned away (spec/enforcer.md §7.4).

use std::collections::HashSet;

use trireme_policy::throttle::{Addresses, Denial};

use super::caller::{Caller, api_tenant};

/// All denials.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    /// With a letter of their kind before them.
    texts: HashSet<Box<[u8]>>,
    addresses: Vec<Range>,
}

#[derive(Debug)]
struct Range {
    addresses: Addresses,
    invert: bool,
    /// Of the API; empty for all.
    tenant: Box<str>,
}

impl Denials {
    pub(super) fn new(denials: &[Denial]) -> Self {
        let mut all = Self::default();
        for denial in denials {
            let (kind, text) = match denial {
                Denial::Addresses {
                    addresses,
                    invert,
                    tenant,
                } => {
                    all.addresses.push(Range {
                        addresses: *addresses,
                        invert: *invert,
                        tenant: tenant.as_str().into(),
                    });
                    continue;
                }
                Denial::Api(text) => (b'a', text),
                Denial::Application(text) => (b'p', text),
                Denial::Subscription(text) => (b's', text),
                Denial::User(text) => (b'u', text),
            };
            let text: Vec<u8> = [kind].into_iter().chain(text.bytes()).collect();
            all.texts.insert(text.into());
        }
        all
    }

    /// Whether this caller is turned away at this API.
    pub(crate) fn hit(&self, caller: &Caller<'_>, base_path: &str, version: &str) -> bool {
        self.addressed(caller, base_path) || !self.texts.is_empty() && self.named(caller, base_path, version)
    }

    /// A caller without an address is none of those that may call.
    fn addressed(&self, caller: &Caller<'_>, base_path: &str) -> bool {
        if self.addresses.is_empty() {
            return false;
        }
        let address = caller.address();
        let mut here = self
            .addresses
            .iter()
            .filter(|range| range.tenant.is_empty() || *range.tenant == *api_tenant(base_path));
        here.any(|range| {
            let inside = address.map(|address| range.addresses.contain(address));
            inside.is_none_or(|inside| inside != range.invert)
        })
    }

    fn named(&self, caller: &Caller<'_>, base_path: &str, version: &str) -> bool {
        let mut text = Vec::with_capacity(128);
        let mut listed = |write: &dyn Fn(&mut Vec<u8>)| {
            text.clear();
            write(&mut text);
            self.texts.contains(text.as_slice())
        };
        listed(&|text| {
            text.push(b'a');
            text.extend_from_slice(base_path.as_bytes());
        }) || listed(&|text| {
            text.push(b'p');
            text.extend_from_slice(caller.subscriber.as_bytes());
            text.push(b':');
            caller.write_application(text);
        }) || listed(&|text| {
            text.push(b'u');
            caller.write_user(base_path, text);
        }) || listed(&|text| {
            text.push(b's');
            for part in [base_path, ":", version, ":", caller.subscriber, "-"] {
                text.extend_from_slice(part.as_bytes());
            }
            caller.write_application(text);
            text.push(b':');
            text.extend_from_slice(caller.key_type.as_str().as_bytes());
        })
    }
}
