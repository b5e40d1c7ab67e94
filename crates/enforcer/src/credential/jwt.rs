//! The compact form of signed tokens: shape, signature, time. Who signed and what for is the caller's business.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::keys::{Algorithm, PublicKey};

/// Longest token that is looked at. The router's header block is 16 KiB, so a longer one is nobody's token.
pub(crate) const MAX_TOKEN: usize = 16 * 1024;
/// Clocks may differ by this many seconds.
pub(crate) const SKEW: u64 = 5;

/// A text that isn't a token: not three base64url segments, or header or claims aren't JSON objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a compact JWS with JSON claims")]
pub(crate) struct NotAToken;

/// Claims of a token that can't be meant, or a time outside of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidClaims {
    #[error("a registered claim has the wrong type")]
    Type,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    Early,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    alg: Option<Value>,
    #[serde(default)]
    kid: Option<Value>,
    #[serde(default)]
    typ: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// True for any value that is there, a null as well.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|IgnoredAny| true)
}

/// What a token says it is, by the `typ` of its header (RFC 7515 §4.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenType {
    /// `at+jwt` (RFC 9068 §2.1).
    AccessToken,
    /// `JWT`, or nothing said: any of those that are in use here.
    Jwt,
}

impl TokenType {
    /// `None` for a type that nobody shows here (RFC 8725 §3.12), and for what isn't text. A null says nothing, as in claims.
    fn of(typ: Option<&Value>) -> Option<Self> {
        let Some(typ) = typ else {
            return Some(Self::Jwt);
        };
        let typ = typ.as_str()?;
        // A media type, of which this much may be left out.
        let bare = typ
            .split_at_checked("application/".len())
            .filter(|(start, _)| start.eq_ignore_ascii_case("application/"))
            .map_or(typ, |(_, rest)| rest);
        if bare.eq_ignore_ascii_case("jwt") {
            Some(Self::Jwt)
        } else if bare.eq_ignore_ascii_case("at+jwt") {
            Some(Self::AccessToken)
        } else {
            None
        }
    }
}

/// What is read of claims before the signature.
#[derive(Deserialize)]
struct Stated {
    #[serde(default)]
    iss: Option<Value>,
}

/// Whether a text has the shape of a compact token. Like the original, a text that ends in dots has fewer parts.
pub(crate) fn has_three_parts(text: &str) -> bool {
    // Searched for dots, many bytes at a time; every token that comes passes here.
    text.trim_end_matches('.').splitn(4, '.').count() == 3
}

/// A parsed token whose signature nobody has looked at.
pub(crate) struct Unverified<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    /// Absent as well when something else in the header keeps the token from being good.
    algorithm: Option<Algorithm>,
    /// The name of an algorithm that isn't accepted.
    pub(crate) unsupported: Option<String>,
    token_type: Option<TokenType>,
    /// Key id of the header; absent when empty.
    pub(crate) kid: Option<String>,
    issuer: Option<Value>,
    /// Anybody can send sixteen kilobytes of claims; a map of them is made for those that carry a signature.
    claims: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Parses a token. Padded segments are taken as well, because tokens in use have them; anything else outside the
    /// alphabet is not.
    pub(crate) fn parse(token: &'a str) -> Result<Self, NotAToken> {
        if token.len() > MAX_TOKEN {
            return Err(NotAToken);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(NotAToken)?;
        let (header, claims) = signed.split_once('.').ok_or(NotAToken)?;
        let header: Header = object(&segment(header)?)?;
        let claims = segment(claims)?;
        let Stated { iss: issuer } = object(&claims)?;
        let (algorithm, unsupported) = match header.alg {
            Some(Value::String(name)) => match Algorithm::parse(&name) {
                None => (None, Some(name)),
                algorithm => (algorithm, None),
            },
            _ => (None, None),
        };
        // An extension that must be understood isn't, and the list of them is never null (RFC 7515 §4.1.11). A key id that isn't
        // text names no key (§4.1.4).
        let understood = !header.crit && header.kid.as_ref().is_none_or(Value::is_string);
        Ok(Self {
            signed,
            // One that can't be read is a wrong signature, not another kind of text.
            signature: segment(signature).unwrap_or_default(),
            algorithm: algorithm.filter(|_| understood),
            unsupported,
            token_type: TokenType::of(header.typ.as_ref()),
            kid: header
                .kid
                .and_then(|kid| kid.as_str().map(str::to_owned))
                .filter(|kid| !kid.is_empty()),
            issuer,
            claims,
        })
    }

    /// Whether the header is of a token of one of these types and names an algorithm that is accepted. Asked before any key is
    /// fetched.
    pub(crate) fn acceptable(&self, types: &[TokenType]) -> bool {
        self.algorithm.is_some() && self.token_type.is_some_and(|own| types.contains(&own))
    }

    /// The claim `iss` as the token states it, to choose the key by. Nothing else may be believed before `verify`.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_ref().and_then(Value::as_str)
    }

    /// Whether the key is for signatures of the token's algorithm.
    pub(crate) fn fits(&self, key: &PublicKey) -> bool {
        self.algorithm.is_some_and(|algorithm| key.fits(algorithm))
    }

    /// The claims, when the key made the signature.
    pub(crate) fn verify(&self, key: &PublicKey) -> Option<Claims> {
        let algorithm = self.algorithm?;
        if !key.verify(algorithm, self.signed.as_bytes(), &self.signature) {
            return None;
        }
        let map = object(&self.claims).ok()?;
        Some(Claims {
            map,
            text: self.claims.clone(),
        })
    }
}

/// A JSON object in UTF-8 (RFC 7515 §5.2), also where nothing reads it. A list would do for a structure as well, and says nothing.
fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, NotAToken> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(NotAToken);
    }
    let text = std::str::from_utf8(json).map_err(|_| NotAToken)?;
    serde_json::from_str(text).map_err(|_| NotAToken)
}

fn segment(text: &str) -> Result<Vec<u8>, NotAToken> {
    let bare = text
        .strip_suffix("==")
        .or_else(|| text.strip_suffix('='))
        .unwrap_or(text);
    URL_SAFE_NO_PAD.decode(bare).map_err(|_| NotAToken)
}

/// Claims that carry a good signature.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    map: Map<String, Value>,
    text: Vec<u8>,
}

/// When a token is valid, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// Last second; `None` for tokens that may be endless and are.
    pub(crate) expires: Option<u64>,
    /// First second.
    pub(crate) not_before: u64,
}

impl Validity {
    /// Whether `now` lies within, give or take the skew.
    pub(crate) fn check(self, now: u64) -> Result<(), InvalidClaims> {
        if self
            .expires
            .is_some_and(|expires| expires.saturating_add(SKEW) <= now)
        {
            return Err(InvalidClaims::Expired);
        }
        if self.not_before > now.saturating_add(SKEW) {
            return Err(InvalidClaims::Early);
        }
        Ok(())
    }
}

impl Claims {
    pub(crate) fn get(&self, claim: &str) -> Option<&Value> {
        self.map.get(claim)
    }

    /// All of them, in the JSON that was signed.
    pub(crate) fn into_text(self) -> Box<[u8]> {
        self.text.into_boxed_slice()
    }

    /// A claim that is text; absent when it isn't there.
    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.get(claim).and_then(Value::as_str)
    }

    /// The times, once the registered claims that are used have the type that RFC 7519 §4.1 gives them. A null is no claim.
    /// Nothing is decided by `iat`, which test tokens in use have in milliseconds, nor by `aud`, since nothing configures what
    /// it should be: neither is looked at.
    pub(crate) fn validity(&self) -> Result<Validity, InvalidClaims> {
        let there = |claim| self.get(claim).filter(|value| !value.is_null());
        for claim in ["iss", "sub", "jti"] {
            if there(claim).is_some_and(|value| !value.is_string()) {
                return Err(InvalidClaims::Type);
            }
        }
        Ok(Validity {
            expires: there("exp").map(seconds).transpose()?,
            not_before: there("nbf").map(seconds).transpose()?.unwrap_or(0),
        })
    }
}

/// A `NumericDate`; a moment before 1970 counts as 0.
fn seconds(value: &Value) -> Result<u64, InvalidClaims> {
    if let Some(seconds) = value.as_u64() {
        return Ok(seconds);
    }
    let seconds = value.as_f64().ok_or(InvalidClaims::Type)?;
    if seconds <= 0.0 {
        return Ok(0);
    }
    std::time::Duration::try_from_secs_f64(seconds)
        .map(|duration| duration.as_secs())
        .map_err(|_| InvalidClaims::Type)
}
