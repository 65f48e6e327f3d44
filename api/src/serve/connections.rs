//! Connections: HTTP/1.1 and HTTP/2, with or without TLS, and what no client may make them cost.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use prometheus::{IntCounter, Registry};
use tokio::net::{TcpListener, TcpStream};

/// How long a client may take for the handshake of TLS, and how long for the headers of a connection's first request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// How long a connection may wait for the headers of its next request. Longer than the 600 s that Google's load balancers keep connections for:
/// where they send a request just when one is closed here, their client gets a 502. A client that trickles headers in costs no more than an idle
/// one.
const NEXT_REQUEST: Duration = Duration::from_secs(620);

/// How often clients of HTTP/2 are asked whether they are still there, and how long they may take to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);

/// How many connections may be open.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    most: usize,
    refused: IntCounter,
}

impl Limit {
    /// At most `most` at a time. Adds the metric to `registry`.
    pub(crate) fn register(most: usize, registry: &Registry) -> Result<Self, prometheus::Error> {
        let refused = IntCounter::new(
            "trellis_api_connections_refused_total",
            "Connections that were closed because as many as may be were open.",
        )?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self { most, refused })
    }
}

/// Serves `router` on `listener` until `handle` is told to end, and then until the last connection has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    handle: Handle<SocketAddr>,
    limit: Limit,
    tls: Option<RustlsConfig>,
) -> io::Result<()> {
    let limited = Limited { handle: handle.clone(), limit };
    let mut server = Server::<SocketAddr>::from_listener(listener)
        .handle(handle)
        .first_request_timeout(FIRST_REQUEST)
        .accept_error_handler(log);
    server.http_builder().http1().header_read_timeout(NEXT_REQUEST);
    server.http_builder().http2().keep_alive_interval(PING).keep_alive_timeout(PONG);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        None => server.acceptor(limited).serve(service).await,
        Some(config) => {
            let acceptor = RustlsAcceptor::new(config).handshake_timeout(FIRST_REQUEST).acceptor(limited);
            server.acceptor(acceptor).serve(service).await
        }
    }
}

/// What one client does is no news; that none can be heard any more is.
fn log(client: Option<&SocketAddr>, error: &io::Error) {
    match client {
        Some(_) => tracing::debug!(%error, "a connection was not begun"),
        None => tracing::warn!(%error, "no connection can be accepted"),
    }
}

/// Takes connections while there are not too many. Without Nagle's algorithm: answers are small, and each would wait for the one before to be
/// acknowledged.
#[derive(Clone)]
struct Limited {
    handle: Handle<SocketAddr>,
    limit: Limit,
}

impl<S> Accept<TcpStream, S> for Limited {
    type Stream = TcpStream;
    type Service = S;
    type Future = Ready<io::Result<(TcpStream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // This one is counted already.
        if self.handle.connection_count() > self.limit.most {
            self.limit.refused.inc();
            return ready(Err(io::Error::other("too many connections are open")));
        }
        ready(stream.set_nodelay(true).map(|()| (stream, service)))
    }
}
