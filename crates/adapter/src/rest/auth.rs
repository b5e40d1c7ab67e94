//! Who calls the management API (spec/adapter.md 2.2).

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Extensions;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use trireme_config::{Secret, is_default_login};
use trireme_shell::Guesses;
use trireme_tls::serve::Peer;

use super::query::Query;
use super::token::Tokens;
use crate::event;
use crate::respond::RestError;

/// Query parameter or form field that may carry the token.
pub(super) const TOKEN_FIELD: &str = "access_token";

/// Who may call, and with what.
#[derive(Debug)]
pub(crate) struct Auth {
    users: Vec<(String, Secret)>,
    tokens: Option<Tokens>,
    guesses: Guesses,
    refuses_defaults: bool,
}

/// What a request says of its caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Somebody who may call.
    Known,
    /// Nobody yet; the body may still say.
    Silent,
}

impl Auth {
    pub(crate) fn new(users: Vec<(String, Secret)>, tokens: Option<Tokens>) -> Self {
        Self {
            users,
            tokens,
            guesses: Guesses::new(event::guessing),
            refuses_defaults: false,
        }
    }

    /// Refuses the login that everybody knows, though it is right.
    pub(crate) fn refusing_defaults(mut self) -> Self {
        self.refuses_defaults = true;
        self
    }

    /// Whether there is a user with the login that everybody knows.
    pub(crate) fn has_defaults(&self) -> bool {
        let mut users = self.users.iter();
        users.any(|(name, secret)| is_default_login(name, secret.reveal()))
    }

    /// Judges the head of a request: Basic, then a bearer token in the header or the query.
    pub(super) fn judge(&self, head: &Parts, query: &Query) -> Result<Caller, RestError> {
        let mut header = None;
        for value in head.headers.get_all(AUTHORIZATION) {
            header = Some(value.to_str().map_err(|_| RestError::NoCredentials)?);
        }
        if let Some((username, password)) = header.and_then(basic) {
            return if self.admits(address(&head.extensions), &username, &password)? {
                Ok(Caller::Known)
            } else {
                Err(RestError::Credentials)
            };
        }
        let bearer = header
            .and_then(|header| header.strip_prefix("Bearer "))
            .or_else(|| query.first(TOKEN_FIELD));
        match bearer {
            Some(token) => self.judge_token(token).map(|()| Caller::Known),
            None => Ok(Caller::Silent),
        }
    }

    /// Judges a bearer token.
    pub(super) fn judge_token(&self, token: &str) -> Result<(), RestError> {
        let tokens = self.tokens.as_ref().ok_or(RestError::TokenKey)?;
        let username = tokens.verify(token).ok_or(RestError::Token)?;
        if self.users.iter().any(|(known, _)| *known == username) {
            Ok(())
        } else {
            Err(RestError::Token)
        }
    }

    /// A token for a user who gives the password.
    pub(super) fn issue(&self, peer: IpAddr, username: &str, password: &str) -> Result<String, RestError> {
        if !self.admits(peer, username, password)? {
            return Err(RestError::TokenDenied);
        }
        let tokens = self.tokens.as_ref().ok_or(RestError::TokenKey)?;
        tokens.issue(username).ok_or(RestError::TokenKey)
    }

    /// Whether the password is right, for an address that may still try.
    fn admits(&self, peer: IpAddr, username: &str, password: &str) -> Result<bool, RestError> {
        let admitted = self
            .guesses
            .attempt(peer, || self.knows(username, password))
            .map_err(RestError::Guesses)?;
        if admitted && self.refuses_defaults && is_default_login(username, password) {
            return Err(RestError::DefaultCredentials);
        }
        Ok(admitted)
    }

    /// Takes the same time for every user and password: digests are compared, all users are gone through.
    fn knows(&self, username: &str, password: &str) -> bool {
        let digest = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
        let (username, password) = (digest(username), digest(password));
        let mut known = Choice::from(0);
        for (name, secret) in &self.users {
            known |= digest(name).ct_eq(&username) & digest(secret.reveal()).ct_eq(&password);
        }
        known.into()
    }
}

/// Where a request comes from; those that say nothing of it are all of one place.
pub(super) fn address(extensions: &Extensions) -> IpAddr {
    let peer = extensions.get::<Peer>();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.remote.ip())
}

fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}
