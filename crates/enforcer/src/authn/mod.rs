//! Who is calling. One module for each way to prove it; each looks at its own credential and says whose it is, nothing else.
//! What a caller may do is `authz`'s business, and which credentials count, in what order, is a stage of `check`.

pub(crate) mod access_token;
pub(crate) mod api_key;
pub(crate) mod internal_key;
pub(crate) mod mutual_tls;
mod signed_key;

use std::sync::Arc;

use crate::credential::issuer::Issuer;
use crate::credential::tokens::Token;
use crate::verdict::{KeyType, Scheme};

/// Who is calling.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) scheme: Scheme,
    /// Environment; `None` for a claim that means nothing.
    pub(crate) key_type: Option<KeyType>,
    /// The token that was shown; absent for a certificate and where nothing has to be shown.
    pub(crate) token: Option<Arc<Token>>,
    /// Who signed an access token.
    pub(crate) issuer: Option<Arc<Issuer>>,
    /// Which of the API's certificates was shown, where nothing else had to be.
    pub(crate) certificate: Option<usize>,
}

impl Identity {
    /// A caller without a token, in this environment.
    #[must_use]
    pub(crate) fn bare(scheme: Scheme, environment: KeyType) -> Self {
        Self {
            scheme,
            key_type: Some(environment),
            token: None,
            issuer: None,
            certificate: None,
        }
    }

    /// The holder of a key that is a signed token.
    fn of_key(scheme: Scheme, token: Arc<Token>) -> Self {
        Self {
            scheme,
            key_type: token.key_type,
            token: Some(token),
            issuer: None,
            certificate: None,
        }
    }
}
