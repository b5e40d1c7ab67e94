//! What credentials are made of, whoever shows them: signed tokens, the keys that sign them, and those whose keys count.
//!
//! `jwt` is the compact form, `keys` the signatures; `issuer` is who may sign, with the keys that it publishes in `jwks`;
//! `tokens` keeps what was found good, and `unsupported` what was told of algorithms that aren't checked. Which credential a
//! request has to show is none of its business: see `authn`.

pub(crate) mod issuer;
pub(crate) mod jwks;
pub(crate) mod jwt;
pub(crate) mod keys;
mod restriction;
pub(crate) mod tokens;
mod unsupported;
