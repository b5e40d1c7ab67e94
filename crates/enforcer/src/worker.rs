//! The threads that answer checks: each has its own runtime and its own listening socket on the shared port.

use std::io;
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;
use trireme_proto::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use trireme_proto::trireme::auth::v1::check_stream_server::CheckStreamServer;
use trireme_tls::Acceptor;
use trireme_tls::serve::incoming;

use crate::event;
use crate::health::Probe;
use crate::service::Service;

/// Longest batch: 64 checks that carry a body of 100 KiB each, and room.
const MAX_BATCH: usize = 16 * 1024 * 1024;
/// Longest single check.
const MAX_CHECK: usize = 4 * 1024 * 1024;
/// Calls at a time on one connection; a stock Envoy makes one for each request.
const MAX_CALLS: u32 = 4096;
/// Longest header block of a call (the original's `maxHeaderLimit`).
const MAX_HEADERS: u32 = 8192;

/// One thread that answers checks.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: Acceptor,
    pub(crate) service: Service,
    pub(crate) probe: Probe,
    /// Ends what drains too long.
    pub(crate) stop: CancellationToken,
}

impl Worker {
    /// Starts the thread. It ends when the drain token of its service is cancelled and its connections have ended, or
    /// when `stop` is.
    pub(crate) fn start(self, index: usize) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name(format!("check-{index}"))
            .spawn(move || {
                let stop = self.stop.clone();
                runtime.block_on(async {
                    tokio::select! {
                        () = Box::pin(self.serve()) => {}
                        () = stop.cancelled() => {}
                    }
                });
                runtime.shutdown_background();
            })
    }

    async fn serve(self) {
        let drain = self.service.drain.clone();
        let listener = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return event::WorkerFailed { error: &error }.emit(),
        };
        let served = Server::builder()
            .max_concurrent_streams(MAX_CALLS)
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_keepalive_interval(Some(Duration::from_secs(60)))
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .add_service(CheckStreamServer::new(self.service.clone()).max_decoding_message_size(MAX_BATCH))
            .add_service(AuthorizationServer::new(self.service).max_decoding_message_size(MAX_CHECK))
            .add_service(HealthServer::new(self.probe))
            .serve_with_incoming_shutdown(incoming(listener, self.acceptor), drain.cancelled_owned())
            .await;
        if let Err(error) = served {
            event::WorkerFailed { error: &error }.emit();
        }
    }
}
