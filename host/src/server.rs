//! Listeners: the relay over TLS, the operator's over plain HTTP on loopback. Every wait and every count is bounded.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::error::HostError;

const HANDSHAKE_SECONDS_MAX: Duration = Duration::from_secs(10);
const HEADER_SECONDS_MAX: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 16 << 10;
const STREAMS_A_CONNECTION_MAX: u32 = 64;

/// Binds a listener and tells the address it got.
///
/// # Errors
/// [`HostError::Listen`] when the address is taken.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), HostError> {
    let named = |source| HostError::Listen {
        address: address.to_string(),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(named)?;
    let bound = listener.local_addr().map_err(named)?;
    Ok((listener, bound))
}

/// Serves `routes` until `stop` turns true; over TLS where an acceptor is given.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Router,
    connections_max: usize,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(connections_max));
    loop {
        // A slot before the accept: past the bound, connections wait in the listen queue.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors: let some close
                    continue;
                }
            },
            () = stopped(&mut stop) => return,
        };
        let (tls, routes, stop) = (tls.clone(), routes.clone(), stop.clone());
        tokio::spawn(async move {
            let _slot = slot;
            serve_socket(socket, tls, routes, stop).await;
        });
    }
}

/// Resolves when `stop` turns true (or its sender is gone).
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await; // an error means the sender is gone: stop as well
}

async fn serve_socket(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    routes: Router,
    stop: watch::Receiver<bool>,
) {
    let _ = socket.set_nodelay(true); // only latency suffers
    match tls {
        Some(acceptor) => {
            // Faults of a peer's handshake or HTTP end its connection and are nobody else's concern.
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_SECONDS_MAX, acceptor.accept(socket)).await {
                serve_http(stream, routes, stop).await;
            }
        }
        None => serve_http(socket, routes, stop).await,
    }
}

async fn serve_http<S>(stream: S, routes: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_SECONDS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_A_CONNECTION_MAX)
        .keep_alive_interval(Duration::from_secs(20));
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(Duration::from_secs(5), connection).await; // cut what has not ended
        }
    }
}
