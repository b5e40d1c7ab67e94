//! The calling side of mutual TLS: connections, and tonic channels over them, as tonic is built without a TLS stack of its
//! own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::client;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::material::Connector;

/// Bounds looking up, connecting and the handshake together.
const CONNECT_BOUND: Duration = Duration::from_secs(10);

/// Where a gRPC peer is and what its certificate must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// DNS name or address to connect to.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Name (or address) that the certificate must carry.
    pub server_name: String,
}

/// The settings that connections between our processes use: keep-alive pings that notice a dead peer within half a
/// minute, and windows that let a megabyte of configuration pass in one round trip. Adjust them and go on with
/// [`channel_with`].
pub fn endpoint(target: &Target) -> Endpoint {
    // The name the peer is known by makes the better `:authority`; where it lives is the connector's business, and so
    // is a name that is none: it fails there, with the reason.
    let name = if target.server_name.contains(':') {
        format!("[{}]", target.server_name)
    } else {
        target.server_name.clone()
    };
    let uri = Uri::builder()
        .scheme("https")
        .authority(format!("{name}:{}", target.port))
        .path_and_query("/")
        .build()
        .unwrap_or_else(|_| Uri::from_static("https://invalid/"));
    Endpoint::from(uri)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
}

/// A channel that connects at the first call and again whenever the connection is lost. A call made while the peer is
/// away fails at once with UNAVAILABLE and the reason; so does every call when the target is no usable address.
pub fn channel(target: Target, connector: Connector) -> Channel {
    channel_with(&endpoint(&target), target, connector)
}

/// As [`channel`], with an [`endpoint`] whose settings were adjusted.
pub fn channel_with(endpoint: &Endpoint, target: Target, connector: Connector) -> Channel {
    endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let (target, connector) = (target.clone(), connector.clone());
        async move { connect(&target, &connector).await.map(TokioIo::new) }
    }))
}

/// Opens one connection with TCP_NODELAY, trying every address of the host, each for its share of the ten seconds that
/// bound the whole. The error names host and port.
pub async fn connect(target: &Target, connector: &Connector) -> io::Result<client::TlsStream<TcpStream>> {
    let attempt = async {
        let stream = dial(&target.host, target.port, CONNECT_BOUND).await?;
        connector.connect(&target.server_name, stream).await
    };
    let outcome = timeout(CONNECT_BOUND, Box::pin(attempt))
        .await
        .unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no connection within ten seconds",
            ))
        });
    outcome.map_err(|error| io::Error::new(error.kind(), format!("{}:{}: {error}", target.host, target.port)))
}

/// Looks a host up (a name, or an address without brackets) and connects to the first of its addresses that answers, with
/// TCP_NODELAY. One that swallows packets, such as that of a network without a route, must not use up the time of those
/// that follow: `bound` is shared out among them. Fails as looking up does, or as the last address did.
pub async fn dial(host: &str, port: u16, bound: Duration) -> io::Result<TcpStream> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the host cannot be looked up in time");
    let deadline = Instant::now() + bound;
    let addresses = timeout(bound, lookup_host((host, port))).await.map_err(late)??;
    let stream = first(&addresses.collect::<Vec<_>>(), deadline).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn first(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for (index, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")),
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// The queue of a listener that nobody serves fills up, whereupon the system drops what else comes, as a network
    /// without a route would.
    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let deaf = socket.listen(1).unwrap();
        let deaf = (deaf.local_addr().unwrap(), deaf);
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(deaf.0)).await {
            waiting.push(stream.unwrap());
            assert!(waiting.len() < 64, "the queue has no end");
        }
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = good.local_addr().unwrap();
        let within = |millis| Instant::now() + Duration::from_millis(millis);
        let stream = first(&[deaf.0, address], within(1000)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let error = first(&[deaf.0], within(100)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = first(&[], within(1000)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
