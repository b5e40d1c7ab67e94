//! The rules by which a peer's certificate is accepted.
//!
//! A certificate is trusted when it chains to a trust anchor, or when it *is* one of the configured anchors. The second
//! rule is what the original's shipped certificates need: one self-signed certificate that is key pair and anchor at
//! once, made by `openssl req -x509`, which marks it as a CA and thereby unfit as an end entity for the path builder.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tracing::debug;

use super::connector::ServerCheck;
use crate::facts;

/// More hints than this make the handshake's first flight larger than they are worth; none means "any".
const MAX_HINTS: usize = 64;

/// What a peer may chain to.
#[derive(Clone)]
pub(crate) struct Trust {
    pub(crate) roots: Arc<RootCertStore>,
    /// SHA-256 of each configured (not system) certificate.
    pub(crate) pinned: Arc<HashSet<[u8; 32]>>,
}

impl Trust {
    /// `Some` when the certificate is itself a configured anchor: whether it is within its validity.
    fn pinned(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Option<Result<(), Error>> {
        self.pinned
            .contains(&facts::fingerprint(certificate))
            .then(|| facts::check_validity(certificate, now))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("roots", &self.roots.len())
            .field("pinned", &self.pinned.len())
            .finish()
    }
}

/// Verifies clients on a server.
#[derive(Debug)]
pub(crate) struct Clients {
    trust: Trust,
    /// `None` when nothing is trusted, so that nobody gets in.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
    required: bool,
}

impl Clients {
    pub(crate) fn new(trust: Trust, provider: Arc<CryptoProvider>, required: bool) -> Self {
        let chain =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&trust.roots), Arc::clone(&provider))
                .build()
                .ok();
        let hints = trust.roots.subjects();
        let hints = if hints.len() > MAX_HINTS {
            Vec::new()
        } else {
            hints
        };
        Self {
            trust,
            chain,
            hints,
            provider,
            required,
        }
    }

    pub(crate) fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if let Some(verdict) = self.trust.pinned(end_entity, now) {
            return verdict;
        }
        match &self.chain {
            Some(chain) => chain
                .verify_client_cert(end_entity, intermediates, now)
                .map(|_| ()),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates, now)
            .map(|()| ClientCertVerified::assertion())
            .inspect_err(
                |error| debug!(%error, certificate = facts::label(end_entity), "client certificate refused"),
            )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Verifies the server on a client.
#[derive(Debug)]
pub(crate) struct Servers {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    check: ServerCheck,
}

impl Servers {
    pub(crate) fn new(trust: Trust, provider: Arc<CryptoProvider>, check: ServerCheck) -> Self {
        Self {
            trust,
            provider,
            check,
        }
    }

    pub(crate) fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.check == ServerCheck::Nothing {
            return Ok(());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        match self.trust.pinned(end_entity, now) {
            Some(verdict) => verdict?,
            None => verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.trust.roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?,
        }
        match self.check {
            ServerCheck::Name => verify_server_name(&certificate, name),
            ServerCheck::Chain | ServerCheck::Nothing => Ok(()),
        }
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, server_name, now)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::protocols;

    /// A verdict at three moments: before, within and after the validity.
    fn verdicts(check: impl Fn(UnixTime) -> Result<(), Error>) -> [Option<CertificateError>; 3] {
        [500, 1500, 2500].map(|seconds| {
            match check(UnixTime::since_unix_epoch(Duration::from_secs(seconds))) {
                Ok(()) => None,
                Err(Error::InvalidCertificate(error)) => Some(error),
                Err(error) => panic!("{error}"),
            }
        })
    }

    fn params(names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let moment = |seconds| std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        params.not_before = moment(1000).into();
        params.not_after = moment(2000).into();
        params
    }

    /// The check of a resumed session is made of these: it must see the clock, not the handshake that came first.
    #[test]
    fn verdicts_follow_the_clock() {
        let mut ca = params(&[]);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let anchor = ca.self_signed(&ca_key).unwrap();
        let issued = params(&["enforcer"])
            .signed_by(&key, &Issuer::new(ca, ca_key))
            .unwrap();
        let alone = params(&["enforcer"]).self_signed(&key).unwrap();

        for (case, trusted, leaf) in [("issued", &anchor, &issued), ("installed", &alone, &alone)] {
            let mut roots = RootCertStore::empty();
            roots.add(trusted.der().clone()).unwrap();
            let pinned = HashSet::from([facts::fingerprint(trusted.der())]);
            let trust = Trust {
                roots: Arc::new(roots),
                pinned: Arc::new(pinned),
            };
            let clients = Clients::new(trust.clone(), protocols::provider(), true);
            let servers = Servers::new(trust, protocols::provider(), ServerCheck::Name);
            let name = ServerName::try_from("enforcer").unwrap();
            for verdicts in [
                verdicts(|now| clients.check(leaf.der(), &[], now)),
                verdicts(|now| servers.check(leaf.der(), &[], &name, now)),
            ] {
                let [before, within, after] = verdicts;
                assert!(
                    before.is_some_and(|error| format!("{error:?}").contains("NotValidYet")),
                    "{case}"
                );
                assert_eq!(within, None, "{case}");
                assert!(
                    after.is_some_and(|error| format!("{error:?}").contains("Expired")),
                    "{case}"
                );
            }
        }
    }
}
