//! What happened. Each event writes its log line and moves its metric, so the two can't disagree.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tracing::{debug, error, info, warn};
use trireme_config::ALLOW_DEFAULT_CREDENTIALS;
use trireme_telemetry::{Metrics, chain, names};

type Labels = [(&'static str, &'static str); 1];

/// The enforcer's metrics. Clones share them.
#[derive(Clone)]
pub(crate) struct Counters {
    admitted: Counter,
    denied: Counter,
    failed: Counter,
    denials: Family<Labels, Counter>,
    duration: Histogram,
    batch: Histogram,
    fetched: Counter,
    fetch_failed: Counter,
    arrived: Counter,
    timed_out: Counter,
    apis: Gauge,
    resources: Family<[(&'static str, String); 2], Counter>,
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

impl Counters {
    /// Registers the metrics.
    #[must_use]
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let checks = metrics.register(
            names::ENFORCER_CHECKS,
            "Checks answered",
            Family::<Labels, Counter>::default(),
        );
        let fetches = metrics.register(
            names::ENFORCER_KEY_FETCHES,
            "Fetches of key sets",
            Family::<Labels, Counter>::default(),
        );
        let waits = metrics.register(
            names::ENFORCER_REVISION_WAITS,
            "Checks that waited for a newer policy or for keys",
            Family::<Labels, Counter>::default(),
        );
        let of =
            |family: &Family<Labels, Counter>, label, value| family.get_or_create_owned(&[(label, value)]);
        Self {
            admitted: of(&checks, "verdict", "admitted"),
            denied: of(&checks, "verdict", "denied"),
            failed: of(&checks, "verdict", "failed"),
            denials: metrics.register(names::ENFORCER_DENIALS, "Refusals", Family::default()),
            duration: metrics.register(
                names::ENFORCER_CHECK_DURATION,
                "How long a check took inside the enforcer",
                Histogram::new([2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]),
            ),
            batch: metrics.register(
                names::ENFORCER_BATCH_SIZE,
                "Checks in a batch",
                Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]),
            ),
            fetched: of(&fetches, "outcome", "fetched"),
            fetch_failed: of(&fetches, "outcome", "failed"),
            arrived: of(&waits, "outcome", "arrived"),
            timed_out: of(&waits, "outcome", "timed_out"),
            apis: metrics.register(
                names::ENFORCER_APIS,
                "APIs whose policy is held",
                Gauge::default(),
            ),
            resources: metrics.register(
                names::DISCOVERY_UPDATES,
                "Resources from discovery",
                Family::default(),
            ),
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The request went on.
    Admitted,
    /// The request was refused.
    Denied {
        /// Error code of the body.
        code: &'static str,
        /// Which of the reasons.
        reason: &'static str,
    },
    /// The check itself failed.
    Failed,
}

/// A check was decided.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    /// How it ended.
    pub(crate) ended: Ended,
    /// Virtual host and base path of the route.
    pub(crate) api: (&'a str, &'a str),
    /// Id of the request.
    pub(crate) request: &'a str,
    /// Time it took, without what it waited for.
    pub(crate) duration: Duration,
}

impl Checked<'_> {
    /// Counts it. Refusals are told at debug level; the router's access log tells the rest.
    pub(crate) fn emit(&self, counters: &Counters) {
        counters.duration.observe(self.duration.as_secs_f64());
        match self.ended {
            Ended::Admitted => {
                counters.admitted.inc();
            }
            Ended::Denied { code, reason } => {
                counters.denied.inc();
                counters.denials.get_or_create(&[("code", code)]).inc();
                let (vhost, base_path) = self.api;
                debug!(
                    request = self.request,
                    vhost, base_path, code, reason, "check denied"
                );
            }
            Ended::Failed => {
                counters.failed.inc();
                let (vhost, base_path) = self.api;
                debug!(request = self.request, vhost, base_path, "check failed");
            }
        }
    }
}

/// A batch of checks came in.
#[derive(Debug)]
pub(crate) struct Batch {
    /// How many checks it has.
    pub(crate) size: usize,
}

impl Batch {
    /// Counts it.
    pub(crate) fn emit(&self, counters: &Counters) {
        counters
            .batch
            .observe(f64::from(u32::try_from(self.size).unwrap_or(u32::MAX)));
    }
}

/// A check had to wait.
#[derive(Debug)]
pub(crate) struct Waited {
    /// Whether what it waited for came.
    pub(crate) arrived: bool,
}

impl Waited {
    /// Counts it.
    pub(crate) fn emit(&self, counters: &Counters) {
        if self.arrived {
            &counters.arrived
        } else {
            &counters.timed_out
        }
        .inc();
    }
}

/// A fetch of a key set ended.
#[derive(Debug)]
pub(crate) struct KeysFetched<'a> {
    /// Whose keys.
    pub(crate) issuer: &'a str,
    /// Where they are.
    pub(crate) address: &'a http::Uri,
    /// How many there are, or why none.
    pub(crate) outcome: Result<usize, &'a (dyn std::error::Error + 'static)>,
}

impl KeysFetched<'_> {
    /// Tells and counts it.
    pub(crate) fn emit(&self, counters: &Counters) {
        let (issuer, address) = (self.issuer, self.address);
        match self.outcome {
            Ok(keys) => {
                counters.fetched.inc();
                info!(issuer, keys, "key set fetched");
            }
            Err(error) => {
                counters.fetch_failed.inc();
                warn!(issuer, %address, error = %chain(error), "key set not fetched");
            }
        }
    }
}

/// An issuer has no usable key.
#[derive(Debug)]
pub(crate) struct IssuerLeftOut<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its `iss`.
    pub(crate) issuer: &'a str,
}

impl IssuerLeftOut<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        error!(
            name = self.name,
            issuer = self.issuer,
            "token issuer has no key, its tokens are refused"
        );
    }
}

/// Key material of the settings can't be used.
#[derive(Debug)]
pub(crate) struct KeyUnusable<'a> {
    /// Whose it is.
    pub(crate) name: &'a str,
    /// File or address.
    pub(crate) path: &'a str,
    /// Why.
    pub(crate) reason: &'a str,
}

impl KeyUnusable<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        error!(
            name = self.name,
            path = self.path,
            reason = self.reason,
            "key material cannot be used"
        );
    }
}

/// What names an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// A published key.
    Key,
    /// A token, which anybody can have made.
    Token,
}

/// An algorithm isn't supported.
#[derive(Debug)]
pub(crate) struct AlgorithmUnsupported<'a> {
    /// Whose key it is, or who is said to have signed the token.
    pub(crate) issuer: &'a str,
    /// Its name.
    pub(crate) algorithm: &'a str,
    /// What names it.
    pub(crate) by: NamedBy,
}

impl AlgorithmUnsupported<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        let (issuer, algorithm) = (self.issuer, self.algorithm);
        match self.by {
            NamedBy::Key => warn!(
                issuer,
                algorithm, "published key left out, its algorithm is not supported"
            ),
            NamedBy::Token => warn!(
                issuer,
                algorithm, "token refused, its algorithm is not supported; further ones are refused silently"
            ),
        }
    }
}

/// Certificates of callers are taken from a header, and nothing here tells who put them there.
#[derive(Debug)]
pub(crate) struct CertificateFromHeader<'a> {
    /// The header.
    pub(crate) header: &'a str,
}

impl CertificateFromHeader<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        warn!(
            header = self.header,
            "client certificates are taken from a header: a proxy in front must remove it from what callers send"
        );
    }
}

/// A custom filter is configured, and there is nothing that could run it.
#[derive(Debug)]
pub(crate) struct FilterLeftOut<'a> {
    /// Its class.
    pub(crate) class: &'a str,
}

impl FilterLeftOut<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        error!(
            class = self.class,
            "custom filter left out, requests pass without it"
        );
    }
}

/// A tier is named that nobody defined.
#[derive(Debug)]
pub(crate) struct TierUndefined<'a> {
    /// Its name.
    pub(crate) tier: &'a str,
}

impl TierUndefined<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        warn!(
            tier = self.tier,
            "nobody defined this throttling tier, its callers have no limit; it is told once"
        );
    }
}

/// A new snapshot is in force.
#[derive(Debug)]
pub(crate) struct Applied<'a> {
    /// Its number.
    pub(crate) version: u64,
    /// Type of the resources that changed.
    pub(crate) type_url: &'a str,
    /// Resources taken, removed and refused.
    pub(crate) taken: usize,
    /// Removed.
    pub(crate) removed: usize,
    /// Refused.
    pub(crate) rejected: usize,
    /// APIs held after it.
    pub(crate) apis: usize,
}

impl Applied<'_> {
    /// Tells and counts it.
    pub(crate) fn emit(&self, counters: &Counters) {
        counters.apis.set(i64::try_from(self.apis).unwrap_or(i64::MAX));
        let kind = self.type_url.rsplit('.').next().unwrap_or_default();
        for (outcome, count) in [("accepted", self.taken), ("rejected", self.rejected)] {
            let labels = [("type", kind.to_owned()), ("outcome", outcome.to_owned())];
            counters
                .resources
                .get_or_create(&labels)
                .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
        let (version, taken, removed, rejected, apis) =
            (self.version, self.taken, self.removed, self.rejected, self.apis);
        info!(version, kind, taken, removed, rejected, apis, "snapshot applied");
    }
}

/// A resource from discovery was refused.
#[derive(Debug)]
pub(crate) struct Refused<'a> {
    /// Its name.
    pub(crate) resource: &'a str,
    /// Field and reason.
    pub(crate) reason: &'a str,
}

impl Refused<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        warn!(
            resource = self.resource,
            reason = self.reason,
            "resource refused, its last good version stays"
        );
    }
}

/// A connection of the REST port ended badly.
#[derive(Debug)]
pub(crate) struct ConnectionFailed<'a> {
    /// Who.
    pub(crate) peer: std::net::SocketAddr,
    /// Why.
    pub(crate) error: &'a (dyn std::error::Error + 'static),
}

impl ConnectionFailed<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        debug!(peer = %self.peer, error = %chain(self.error), "connection failed");
    }
}

/// A test token was asked for.
#[derive(Debug)]
pub(crate) struct TestToken<'a> {
    /// Whether it was issued, or why not.
    pub(crate) outcome: Result<&'a str, &'a str>,
}

impl TestToken<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        match self.outcome {
            Ok(user) => info!(user, "test token issued"),
            Err(reason) => warn!(reason, "test token refused"),
        }
    }
}

/// Test tokens may be had with the login that everybody knows.
#[derive(Debug)]
pub(crate) struct DefaultLogin {
    /// It is refused.
    pub(crate) refused: bool,
}

impl DefaultLogin {
    /// Tells it.
    pub(crate) fn emit(&self) {
        if self.refused {
            warn!(
                "no test tokens for the default password of enforcer.jwtIssuer.jwtUser: set another one, or \
                 {ALLOW_DEFAULT_CREDENTIALS}=true for a trial"
            );
        } else {
            warn!("test tokens for the default password of enforcer.jwtIssuer.jwtUser: for trials only");
        }
    }
}

/// Counters of the process before this one were found.
#[derive(Debug)]
pub(crate) struct CountersTaken<'a> {
    /// Where.
    pub(crate) file: &'a std::path::Path,
    /// How many there are, or why they are of no use.
    pub(crate) restored: Result<usize, String>,
}

impl CountersTaken<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        let file = self.file.display();
        match &self.restored {
            Ok(count) => info!(%file, count, "counters of limits taken over"),
            Err(error) => warn!(%file, error, "counters of limits are not taken over: they begin anew"),
        }
    }
}

/// The successor of this process gets no counters.
#[derive(Debug)]
pub(crate) struct CountersLost<'a> {
    /// Why.
    pub(crate) error: &'a (dyn std::error::Error + 'static),
}

impl CountersLost<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        warn!(error = %chain(self.error), "counters of limits are not kept: they begin anew");
    }
}

/// A thread that answers checks can't go on.
#[derive(Debug)]
pub(crate) struct WorkerFailed<'a> {
    /// Why.
    pub(crate) error: &'a (dyn std::error::Error + 'static),
}

impl WorkerFailed<'_> {
    /// Tells it.
    pub(crate) fn emit(&self) {
        error!(error = %chain(self.error), "worker stopped");
    }
}

/// An address has given so many wrong passwords that it has to wait. Told once until it has stopped for a while.
pub(crate) fn guessing(client: IpAddr) {
    warn!(%client, "too many wrong passwords for test tokens, this address is slowed down");
}
