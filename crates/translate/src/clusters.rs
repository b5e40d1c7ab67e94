//! Endpoint groups to clusters, and which of them a resource uses (spec/adapter.md 5.7).

use std::collections::BTreeMap;
use std::net::IpAddr;

use trireme_project::{ApiProject, Balance, EndpointCertificates, EndpointCluster, Resource};
use trireme_routing::snapshot::{
    Cluster, ClusterLimits, Endpoint, Pem, Trust, UpstreamProtocol, UpstreamTls,
};

use crate::findings::Findings;
use crate::names::{self, Role};
use crate::{Settings, TlsSettings};

/// Where requests of one environment go: a cluster, and the path in front of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) cluster: String,
    pub(crate) base_path: String,
}

/// Targets of both environments; absent where the environment isn't served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Targets {
    pub(crate) production: Option<Target>,
    pub(crate) sandbox: Option<Target>,
}

/// The clusters of one API on one virtual host, and what uses them.
pub(crate) struct Plan<'a> {
    project: &'a ApiProject,
    settings: &'a Settings,
    organization: &'a str,
    stem: String,
    api: Targets,
    named: BTreeMap<&'a str, Target>,
    clusters: BTreeMap<String, Cluster>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(
        project: &'a ApiProject,
        organization: &'a str,
        vhost: &str,
        settings: &'a Settings,
        findings: &mut Findings,
    ) -> Self {
        let stem = names::cluster_stem(vhost, &project.identity.name, &project.identity.version);
        let mut plan = Self {
            project,
            settings,
            organization,
            stem,
            api: Targets::default(),
            named: BTreeMap::new(),
            clusters: BTreeMap::new(),
        };
        for (name, endpoints) in &project.named_endpoints {
            let target = plan.target(endpoints, Role::Named(name), None, findings);
            if let Some(target) = target {
                plan.named.insert(name, target);
            }
        }
        let production = project
            .production
            .as_ref()
            .and_then(|endpoints| plan.target(endpoints, Role::Production, None, findings));
        let sandbox = match (&project.production, &project.sandbox) {
            (Some(one), Some(two)) if same(one, two) => production.clone(),
            (_, Some(endpoints)) => plan.target(endpoints, Role::Sandbox, None, findings),
            (_, None) => None,
        };
        plan.api = Targets { production, sandbox };
        plan
    }

    /// The clusters that were planned so far, in order of their names.
    pub(crate) fn into_clusters(self) -> Vec<Cluster> {
        self.clusters.into_values().collect()
    }

    /// Where the requests of one resource go.
    pub(crate) fn targets(&mut self, resource: &Resource, findings: &mut Findings) -> Targets {
        if resource.production.is_none() && resource.sandbox.is_none() {
            return self.forced(self.api.clone());
        }
        let id = resource.id.as_str();
        let production = match &resource.production {
            Some(endpoints) => self
                .target(endpoints, Role::Production, Some(id), findings)
                .or_else(|| self.api.production.clone()),
            None => self.api.production.clone(),
        };
        let sandbox = match (&resource.production, &resource.sandbox) {
            (Some(one), Some(two)) if same(one, two) => production.clone(),
            (_, Some(endpoints)) => self
                .target(endpoints, Role::Sandbox, Some(id), findings)
                .or_else(|| self.api.sandbox.clone()),
            (_, None) => self.api.sandbox.clone(),
        };
        self.forced(Targets { production, sandbox })
    }

    /// With `x-wso2-endpoints` in use every path of a project is rewritten to the API's own base path, whatever the group says. Without
    /// a project around them each group has its own.
    fn forced(&self, mut targets: Targets) -> Targets {
        if self.project.named_endpoints.is_empty() || self.project.is_bare() {
            return targets;
        }
        let base_path = [&self.api.production, &self.api.sandbox]
            .into_iter()
            .flatten()
            .chain(self.named.values())
            .map(|target| target.base_path.clone())
            .next();
        if let Some(base_path) = base_path {
            for target in [&mut targets.production, &mut targets.sandbox]
                .into_iter()
                .flatten()
            {
                target.base_path.clone_from(&base_path);
            }
        }
        targets
    }

    /// Plans the cluster of `endpoints`; `None` when they can't be one cluster.
    fn target(
        &mut self,
        endpoints: &EndpointCluster,
        role: Role<'_>,
        resource: Option<&str>,
        findings: &mut Findings,
    ) -> Option<Target> {
        if let (Some(reference), Role::Production | Role::Sandbox) = (&endpoints.reference, role)
            && let Some(target) = self.named.get(reference.as_str())
        {
            let target = target.clone();
            if self.project.http2_backend
                && resource.is_none()
                && let Some(cluster) = self.clusters.get_mut(&target.cluster)
            {
                cluster.protocol = self.settings.upstream.http2.clone();
            }
            return Some(target);
        }
        let name = names::cluster(self.organization, role, &self.stem, resource);
        let mut base_paths = endpoints
            .endpoints
            .iter()
            .map(|endpoint| endpoint.base_path.trim_end_matches('/'));
        let base_path = base_paths.next()?.to_owned();
        if base_paths.any(|other| other != base_path) {
            findings.warn(format!(
                "the endpoints of cluster {name} have different base paths; they are left out"
            ));
            return None;
        }
        let http2 = self.project.http2_backend && resource.is_none() && !matches!(role, Role::Named(_));
        let cluster = build(
            name.clone(),
            endpoints,
            http2,
            &self.project.endpoint_certificates,
            self.settings,
        );
        self.clusters.insert(name.clone(), cluster);
        Some(Target {
            cluster: name,
            base_path,
        })
    }
}

/// Whether both environments may share one cluster and one rewrite.
fn same(one: &EndpointCluster, two: &EndpointCluster) -> bool {
    one.balance == two.balance
        && one.reference == two.reference
        && one.endpoints == two.endpoints
        && one.config.circuit_breakers == two.config.circuit_breakers
}

fn build(
    name: String,
    endpoints: &EndpointCluster,
    http2: bool,
    certificates: &EndpointCertificates,
    settings: &Settings,
) -> Cluster {
    let upstream = &settings.upstream;
    let breakers = endpoints.config.circuit_breakers.clone().unwrap_or_default();
    Cluster {
        name,
        endpoints: endpoints
            .endpoints
            .iter()
            .zip(0_u32..)
            .map(|(endpoint, place)| Endpoint {
                host: endpoint.host.clone(),
                port: endpoint.port,
                priority: match endpoints.balance {
                    Balance::Failover => place,
                    Balance::RoundRobin => 0,
                },
                tls: endpoint
                    .scheme
                    .is_tls()
                    .then(|| tls(&endpoint.host, certificates.find(endpoint), &upstream.tls)),
            })
            .collect(),
        connect_timeout: upstream.connect_timeout,
        dns_refresh: upstream.dns_refresh,
        respect_dns_ttl: upstream.respect_dns_ttl,
        protocol: if http2 {
            upstream.http2.clone()
        } else {
            UpstreamProtocol::Http1
        },
        health: (endpoints.endpoints.len() > 1).then(|| upstream.health.clone()),
        limits: ClusterLimits {
            max_connections: breakers.max_connections,
            max_pending: breakers.max_pending_requests,
            max_requests: breakers.max_requests,
            max_retries: breakers.max_retries,
        },
    }
}

fn tls(host: &str, certificate: Option<&[u8]>, settings: &TlsSettings) -> UpstreamTls {
    UpstreamTls {
        sni: host.parse::<IpAddr>().is_err().then(|| host.to_owned()),
        trust: if settings.disable_verification {
            Trust::None
        } else {
            Trust::Anchors(match certificate {
                Some(pem) => Pem::Inline(String::from_utf8_lossy(pem).into_owned()),
                None => Pem::File(settings.trusted.clone()),
            })
        },
        verify_host: (settings.verify_host && !settings.disable_verification).then(|| host.to_owned()),
        client_certificate: settings.client_certificate.clone(),
        min_version: settings.min_version,
        max_version: settings.max_version,
        ciphers: settings.ciphers.clone(),
    }
}
