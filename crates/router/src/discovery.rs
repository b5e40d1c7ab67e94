//! Resources in, snapshot out. Runs on the control runtime: decode, convert, build what changed, swap, then acknowledge.
//! A resource that cannot be used is named with its reason and keeps its last good version; the others apply (design D16).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use tracing::{info, warn};
use trireme_proto::envoy::config::core::v3::Node;
use trireme_proto::google::protobuf::{Struct, Value, value};
use trireme_proto::names::{feature, type_url};
use trireme_routing::{RouteTable, decode, snapshot};
use trireme_telemetry::access::{AccessLog, Format};
use trireme_telemetry::{LineWriter, WriterSettings, chain};
use trireme_xds::client::{Apply, Update};
use trireme_xds::{Rejection, Resource};

use crate::cluster::resolve::Resolver;
use crate::cluster::transport::Builder;
use crate::cluster::{Cluster, health};
use crate::downstream::ports::Ports;
use crate::downstream::worker::Shared;
use crate::event::Sinks;
use crate::event::access::Log;
use crate::settings::Settings;
use crate::snapshot::{Listener, Snapshot};

/// The types we subscribe to. Routes come after the clusters that they name, listeners after both.
pub(crate) const TYPES: [&str; 3] = [type_url::CLUSTER, type_url::ROUTE, type_url::LISTENER];

/// Where the access log goes when its file cannot be opened.
const STANDARD_OUTPUT: &str = "/dev/stdout";

/// Takes updates and publishes snapshots.
#[derive(Debug)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
    ports: Ports,
    resolver: Resolver,
    builder: Builder,
    routes: RouteTable,
    clusters: HashMap<String, Arc<Cluster>>,
    listeners: BTreeMap<String, snapshot::Listener>,
    writers: HashMap<String, LineWriter>,
    /// What was warned of in the settings of access logs.
    faults: HashSet<String>,
    /// Types whose initial content is there.
    complete: [bool; TYPES.len()],
    version: u64,
}

impl Feed {
    /// A feed that serves nothing yet; `fixed` are clusters of our own, which discovery cannot change.
    pub(crate) fn new(shared: Arc<Shared>, ports: Ports, fixed: Vec<Arc<Cluster>>) -> Self {
        let resolver = Resolver::new();
        for cluster in &fixed {
            resolver.watch(cluster);
        }
        let clusters = fixed
            .into_iter()
            .map(|cluster| (cluster.config.name.clone(), cluster))
            .collect();
        Self {
            shared,
            ports,
            resolver,
            builder: Builder::default(),
            routes: RouteTable::new(),
            clusters,
            listeners: BTreeMap::new(),
            writers: HashMap::new(),
            faults: HashSet::new(),
            complete: [false; TYPES.len()],
            version: 0,
        }
    }

    fn clusters(&mut self, upserts: Vec<Resource>, removals: &[String]) -> Vec<Rejection> {
        for name in removals {
            self.clusters.remove(name);
        }
        upserts
            .into_iter()
            .filter_map(|resource| self.cluster(&resource).err())
            .collect()
    }

    fn cluster(&mut self, resource: &Resource) -> Result<(), Rejection> {
        let reject = |reason: String| Rejection::new(&resource.name, reason);
        let config = decode::cluster(&resource.body).map_err(|invalid| reject(invalid.to_string()))?;
        let mut hasher = DefaultHasher::new();
        resource.body.hash(&mut hasher);
        let fingerprint = hasher.finish();
        // What is sent again unchanged keeps its connections.
        if self
            .clusters
            .get(&config.name)
            .is_some_and(|old| old.fingerprint == fingerprint)
        {
            return Ok(());
        }
        let name = config.name.clone();
        let old = self.clusters.get(&name);
        let usage = old.map_or_else(Arc::default, |old| Arc::clone(&old.usage));
        let cluster = Cluster::new(config, fingerprint, usage, &mut self.builder)
            .map_err(|error| reject(chain(&error)))?;
        self.resolver.watch(&cluster);
        health::check(&cluster);
        self.clusters.insert(name, cluster);
        Ok(())
    }

    fn fragments(&mut self, upserts: &[Resource], removals: &[String]) -> Vec<Rejection> {
        let mut rejected = Vec::new();
        let mut fragments = Vec::with_capacity(upserts.len());
        for resource in upserts {
            match decode::fragment(&resource.body) {
                Ok(fragment) => fragments.push(fragment),
                Err(invalid) => rejected.push(Rejection::new(&resource.name, invalid.to_string())),
            }
        }
        let update = self.routes.update(fragments, removals);
        self.routes = update.table;
        self.shared
            .buckets
            .retain(|fragment| self.routes.revision(fragment).is_some());
        rejected.extend(
            update
                .rejected
                .into_iter()
                .map(|rejected| Rejection::new(rejected.fragment, rejected.invalid.to_string())),
        );
        rejected
    }

    fn listeners(&mut self, upserts: Vec<Resource>, removals: &[String]) -> Vec<Rejection> {
        for name in removals {
            self.listeners.remove(name);
        }
        let mut rejected = Vec::new();
        for resource in upserts {
            match decode::listener(&resource.body) {
                Ok(listener) => {
                    let check = self.ports.check(&listener);
                    match check {
                        Ok(()) => {
                            self.listeners.insert(listener.name.clone(), listener);
                        }
                        Err(error) => rejected.push(Rejection::new(&resource.name, chain(&error))),
                    }
                }
                Err(invalid) => rejected.push(Rejection::new(&resource.name, invalid.to_string())),
            }
        }
        rejected
    }

    /// Publishes what is held. Sockets are opened after the first complete content, and closed before the settings of
    /// their listener go.
    fn publish(&mut self) -> Vec<Rejection> {
        if self.complete.contains(&false) {
            return Vec::new();
        }
        let definitions: Vec<snapshot::Listener> = self.listeners.values().cloned().collect();
        let listeners = definitions
            .iter()
            .map(|listener| Arc::new(self.listener(listener)))
            .collect();
        self.version += 1;
        self.shared.store.swap(Snapshot {
            version: self.version,
            routes: self.routes.clone(),
            clusters: self.clusters.clone(),
            listeners,
        });
        if self.version == 1 {
            info!(
                routes = self.routes.routes(),
                clusters = self.clusters.len(),
                listeners = self.listeners.len(),
                "first snapshot applied"
            );
        }
        let failed = match self.shared.ready.not_draining.is_met() {
            true => self.ports.open(&definitions),
            false => Vec::new(),
        };
        // Last: what waits for it finds the sockets.
        self.shared.ready.configuration.set(!self.listeners.is_empty());
        failed
            .into_iter()
            .map(|(name, error)| Rejection::new(name, chain(&error)))
            .collect()
    }

    fn listener(&mut self, listener: &snapshot::Listener) -> Listener {
        let log = listener.access_log.as_ref().and_then(|settings| {
            let log = self.access_log(settings);
            // Once, though all listeners have the same, and get it again with every change.
            if let Err(reason) = &log
                && self.faults.insert(reason.clone())
            {
                warn!(reason, path = settings.path, "no access log");
            }
            log.ok()
        });
        Listener {
            name: listener.name.clone(),
            proxy_protocol: listener.proxy_protocol,
            caps: listener.caps,
            http: listener.http.clone(),
            check: listener.check.clone(),
            server: HeaderValue::from_str(&listener.http.server_name)
                .unwrap_or_else(|_| HeaderValue::from_static("envoy")),
            sinks: Arc::new(Sinks::new(log)),
        }
    }

    /// Opens the log; one file is opened once, however many listeners write to it.
    fn access_log(&mut self, settings: &snapshot::AccessLog) -> Result<Log, String> {
        let text = match &settings.format {
            snapshot::AccessLogFormat::Text(text) => text.clone(),
            snapshot::AccessLogFormat::Json(fields) => json_format(fields),
        };
        let format = Format::parse(&text).map_err(|error| error.to_string())?;
        for operator in format.unknown() {
            if self.faults.insert(operator.clone()) {
                warn!(operator, "unknown operator of the access log, `-` in every line");
            }
        }
        let writer = match self.writers.get(&settings.path) {
            Some(writer) => writer.clone(),
            None => {
                let writer = writer(&settings.path)?;
                self.writers.insert(settings.path.clone(), writer.clone());
                writer
            }
        };
        Ok(Log::new(AccessLog::new(format.clone(), writer), &format))
    }
}

/// Opens the file of an access log, or standard output in its place: a root may be read-only, with nothing mounted where the
/// file is to be. Told once, as the writer is kept.
fn writer(path: &str) -> Result<LineWriter, String> {
    let open = |path: &str| {
        let opened = LineWriter::open(Path::new(path), WriterSettings::default());
        opened.map_err(|error| chain(&error))
    };
    open(path).or_else(|reason| {
        warn!(reason, path, "the access log goes to standard output");
        open(STANDARD_OUTPUT)
    })
}

impl Apply for Feed {
    fn apply(&mut self, update: Update) -> Vec<Rejection> {
        let Some(at) = TYPES.iter().position(|url| *url == update.type_url) else {
            return vec![Rejection::new(
                "*",
                format!("type {} was not asked for", update.type_url),
            )];
        };
        let mut rejected = match update.type_url.as_str() {
            type_url::CLUSTER => self.clusters(update.upserts, &update.removals),
            type_url::ROUTE => self.fragments(&update.upserts, &update.removals),
            _ => self.listeners(update.upserts, &update.removals),
        };
        if update.complete
            && let Some(complete) = self.complete.get_mut(at)
        {
            *complete = true;
        }
        rejected.extend(self.publish());
        for Rejection { resource, reason, .. } in &rejected {
            warn!(
                resource,
                reason,
                kind = update.type_url,
                "resource rejected, its last good version stays"
            );
        }
        rejected
    }
}

/// Who we are to the adapter.
pub(crate) fn node(settings: &Settings) -> Node {
    let instance = Value {
        kind: Some(value::Kind::StringValue(settings.instance.clone())),
    };
    Node {
        id: settings.label.clone(),
        cluster: settings.cluster.clone(),
        metadata: Some(Struct {
            fields: HashMap::from([("instanceIdentifier".to_owned(), instance)]),
        }),
        user_agent_name: "trireme-router".to_owned(),
        client_features: vec![feature::ROUTE_FRAGMENTS.to_owned()],
        ..Node::default()
    }
}

/// The format string of a JSON line. Values are escaped by the log as text, which is the same for all they can hold but
/// bytes that are no characters.
fn json_format(fields: &BTreeMap<String, String>) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\":\"{value}\""))
        .collect();
    format!("{{{}}}\n", fields.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_log_that_cannot_be_opened_goes_to_standard_output() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.log");
        let own = writer(file.to_str().unwrap()).unwrap();
        own.write(b"line\n");
        own.flush();
        assert_eq!(std::fs::read(&file).unwrap(), b"line\n");
        // /sys takes no files, whoever asks.
        let standard = writer("/sys/none/access.log").unwrap();
        standard.write(b"access log of a test\n");
        assert!(standard.flush(), "it is written");
    }
}
