//! Key templates (spec/enforcer.md §7.6).

use std::net::IpAddr;

use trireme_policy::throttle;

use super::caller::{Caller, api_tenant};
use super::quota::{Inapplicable, Quota, inapplicable};

/// A limit for each value of a key.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) quota: Quota,
    pieces: Box<[Piece]>,
}

#[derive(Debug)]
enum Piece {
    Text(Box<str>),
    Variable(Variable),
}

#[derive(Debug, Clone, Copy)]
enum Variable {
    ApiContext,
    ApiTenant,
    ApiVersion,
    AppId,
    AppTenant,
    ClientIp,
    ResourceKey,
    UserId,
}

/// By their names.
const VARIABLES: [(&str, Variable); 8] = [
    ("apiContext", Variable::ApiContext),
    ("apiTenant", Variable::ApiTenant),
    ("apiVersion", Variable::ApiVersion),
    ("appId", Variable::AppId),
    ("appTenant", Variable::AppTenant),
    ("clientIp", Variable::ClientIp),
    ("resourceKey", Variable::ResourceKey),
    ("userId", Variable::UserId),
];

impl Template {
    pub(super) fn new(at: &str, template: &throttle::Template) -> Result<Self, Inapplicable> {
        let mut pieces = Vec::new();
        let mut parts = template.template.split('$');
        let text = |text: &str, pieces: &mut Vec<Piece>| {
            if !text.is_empty() {
                pieces.push(Piece::Text(text.into()));
            }
        };
        text(parts.next().unwrap_or_default(), &mut pieces);
        for part in parts {
            let end = part
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(part.len());
            let (name, rest) = part.split_at_checked(end).unwrap_or((part, ""));
            let known = VARIABLES.iter().find(|(known, _)| *known == name);
            // `$customProperty` is set by filters of one's own, which are not run.
            let (_, variable) = known
                .ok_or_else(|| inapplicable(format!("{at}.template"), format!("${name} is not known")))?;
            pieces.push(Piece::Variable(*variable));
            text(rest, &mut pieces);
        }
        Ok(Self {
            quota: Quota::new(&format!("{at}.quota"), &template.quota)?,
            pieces: pieces.into_boxed_slice(),
        })
    }

    /// Appends the key of this request. Values are taken as they are, and what isn't known is empty.
    pub(crate) fn write(
        &self,
        caller: &Caller<'_>,
        (base_path, version): (&str, &str),
        resource: &dyn Fn(&mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        for piece in &self.pieces {
            let text = match piece {
                Piece::Text(text) => text,
                Piece::Variable(Variable::ApiContext) => base_path,
                Piece::Variable(Variable::ApiTenant) => api_tenant(base_path),
                Piece::Variable(Variable::ApiVersion) => version,
                Piece::Variable(Variable::AppId) => caller.application,
                Piece::Variable(Variable::AppTenant) => caller.subscriber_tenant,
                Piece::Variable(Variable::ClientIp) => {
                    let number = caller.address().map(|address| match address.to_canonical() {
                        IpAddr::V4(address) => u128::from(address.to_bits()),
                        IpAddr::V6(address) => address.to_bits(),
                    });
                    out.extend(number.iter().flat_map(|number| number.to_string().into_bytes()));
                    continue;
                }
                Piece::Variable(Variable::ResourceKey) => {
                    resource(out);
                    continue;
                }
                Piece::Variable(Variable::UserId) => {
                    caller.write_user(base_path, out);
                    continue;
                }
            };
            out.extend_from_slice(text.as_bytes());
        }
    }
}
