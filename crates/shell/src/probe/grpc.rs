//! `grpc_health_probe`: one call of `grpc.health.v1.Health/Check`, with the program's exit statuses and texts.

use std::error::Error;
use std::path::Path;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::service_fn;
use trireme_telemetry::chain;
use trireme_tls::channel::dial;
use trireme_tls::{Connector, GRPC_ALPN, Material, Protocols, ServerCheck, Settings, generated};

use super::flags::{Flags, Tls};
use super::owner::Owner;
use crate::termination;

/// Status of wrong arguments.
const INVALID: u8 = 1;
/// Status of a connection that could not be made.
const UNCONNECTED: u8 = 2;
/// Status of a call that failed.
const UNANSWERED: u8 = 3;
/// Status of an answer other than `SERVING`.
const UNHEALTHY: u8 = 4;

/// A probe that failed.
#[derive(Debug)]
struct Failed {
    status: u8,
    text: String,
}

/// Where the server is.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
}

/// Runs the program with what follows its name; gives its exit status.
pub(super) fn run(words: &[String], owner: Owner) -> u8 {
    let flags = match Flags::parse(words) {
        Ok(flags) => flags,
        Err(wrong) => {
            eprintln!("error: {wrong}");
            return INVALID;
        }
    };
    if flags.version {
        crate::say(concat!(
            "trireme ",
            env!("CARGO_PKG_VERSION"),
            " as grpc_health_probe"
        ));
        return 0;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(Box::pin(probe(&flags, owner))),
        Err(error) => Err(failed(UNCONNECTED, format!("error: {error}"))),
    };
    match outcome {
        Ok(()) => {
            crate::say("status: SERVING");
            termination::forget();
            0
        }
        Err(Failed { status, mut text }) => {
            for cause in expired(&flags).into_iter().chain((owner.reason)()) {
                text.push_str(": ");
                text.push_str(&cause);
            }
            eprintln!("{text}");
            termination::write(&format!("health probe failed: {text}"));
            status
        }
    }
}

async fn probe(flags: &Flags, owner: Owner) -> Result<(), Failed> {
    let Flags {
        addr,
        connect_timeout,
        rpc_timeout,
        ..
    } = flags;
    let unconnected = |reason: &str| {
        failed(
            UNCONNECTED,
            format!("error: failed to connect service at {addr:?}: {reason}"),
        )
    };
    let address = Address::read(addr).ok_or_else(|| unconnected("not host:port"))?;
    let tls = match &flags.tls {
        Some(tls) => Some(connector(tls, owner).map_err(|error| unconnected(&chain(&error)))?),
        None => None,
    };
    let connecting = connect(flags, &address, tls);
    let channel = timeout(*connect_timeout, connecting)
        .await
        .map_err(|_| {
            let text = format!("timeout: failed to connect service {addr:?} within {connect_timeout:?}");
            failed(UNCONNECTED, text)
        })?
        .map_err(|error| unconnected(&cause(&error)))?;
    if flags.verbose {
        eprintln!("connection established");
    }
    let mut client = HealthClient::new(channel);
    let asked = client.check(Request::new(HealthCheckRequest {
        service: flags.service.clone(),
    }));
    let answer = timeout(*rpc_timeout, asked).await.map_err(|_| {
        let text = format!("timeout: health rpc did not complete within {rpc_timeout:?}");
        failed(UNANSWERED, text)
    })?;
    let answer = answer.map_err(|status| {
        let text = match status.code() {
            Code::Unimplemented => format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
                status.message()
            ),
            // A server that refuses the certificate says so at the first call only, with TLS 1.3.
            code => format!("error: health rpc failed: {code:?}: {}", cause(&status)),
        };
        failed(UNANSWERED, text)
    })?;
    match answer.get_ref().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(failed(
            UNHEALTHY,
            format!("service unhealthy (responded with {:?})", other.as_str_name()),
        )),
    }
}

/// Connects once: whoever probes comes back.
async fn connect(
    flags: &Flags,
    address: &Address,
    tls: Option<(Connector, String)>,
) -> Result<Channel, tonic::transport::Error> {
    let plain = tls.is_none();
    let authority = match &tls {
        Some((_, name)) if !name.is_empty() => name.clone(),
        _ => address.host.clone(),
    };
    let authority = match authority.contains(':') {
        true => format!("[{authority}]:{}", address.port),
        false => format!("{authority}:{}", address.port),
    };
    let uri = Uri::builder()
        .scheme(if plain { "http" } else { "https" })
        .authority(authority)
        .path_and_query("/")
        .build()
        .unwrap_or_else(|_| Uri::from_static("http://invalid/"));
    let (host, port, bound) = (address.host.clone(), address.port, flags.connect_timeout);
    Endpoint::from(uri)
        .user_agent(flags.user_agent.clone())?
        .connect_with_connector(service_fn(move |_: Uri| {
            let (host, tls) = (host.clone(), tls.clone());
            async move {
                let stream = dial(&host, port, bound).await?;
                let stream: Box<dyn Stream> = match tls {
                    Some((connector, name)) => {
                        let name = if name.is_empty() { host } else { name };
                        Box::new(connector.connect(&name, stream).await?)
                    }
                    None => Box::new(stream),
                };
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        }))
        .await
}

/// A connection, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What is shown and trusted, and the name that is expected. A pair that the process made for itself, for want of one that is
/// mounted, stands for the files that are named and missing.
fn connector(tls: &Tls, owner: Owner) -> Result<(Connector, String), trireme_tls::TlsError> {
    let own = missing(tls).then(|| made(owner)).flatten();
    let path = |named: &str, own: Option<&Path>| own.map_or_else(|| named.into(), Path::to_path_buf);
    let (key, certificate) = (
        own.as_ref().map(|pair| &*pair.key),
        own.as_ref().map(|pair| &*pair.certificate),
    );
    let (trust, trust_system) = match (tls.ca.is_empty(), tls.no_verify) {
        (true, verified) => (Vec::new(), !verified),
        (false, _) => (vec![path(&tls.ca, certificate)], false),
    };
    let material = if tls.certificate.is_empty() {
        Material::load_trust(trust, trust_system)?
    } else {
        Material::load(Settings {
            key: path(&tls.key, key),
            certificate: path(&tls.certificate, certificate),
            trust,
            trust_system,
        })?
    };
    let check = match tls.no_verify {
        true => ServerCheck::Nothing,
        false => ServerCheck::Name,
    };
    let connector = material.connector_with(GRPC_ALPN, Protocols::default(), check);
    Ok((connector, tls.server_name.clone()))
}

/// The pair that the process has made for itself.
fn made(owner: Owner) -> Option<generated::Pair> {
    generated::find(owner.process, (owner.state)().as_deref())
}

/// Whether neither key nor certificate is where it is named.
fn missing(tls: &Tls) -> bool {
    let gone = |path: &str| !path.is_empty() && !Path::new(path).exists();
    gone(&tls.certificate) && gone(&tls.key)
}

/// Which of the certificates that were named is out of date: the server shows one of them, as a rule.
fn expired(flags: &Flags) -> Option<String> {
    let tls = flags.tls.as_ref()?;
    [&tls.certificate, &tls.ca]
        .into_iter()
        .filter(|path| !path.is_empty())
        .find_map(|path| trireme_tls::out_of_date(Path::new(path)))
}

/// The innermost reason: the layers above it say no more than that there was one.
fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    if text.is_empty() { chain(error) } else { text }
}

fn failed(status: u8, text: String) -> Failed {
    Failed { status, text }
}

// === impl Address ===

impl Address {
    /// `host:port`, `[v6]:port`, or `:port` of this machine.
    fn read(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']')?,
            None if host.is_empty() => "localhost",
            None if host.contains([':', '/']) => return None,
            None => host,
        };
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests;
