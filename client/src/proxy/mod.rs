//! `adyton proxy`: an OpenAI endpoint on loopback whose every request is sealed to a verified enclave.
//!
//! 1. [`guard`] refuses what a web page could send without its user's will.
//! 2. [`relay`] seals the request, opens the answer, and passes it on; a cut answer becomes a cut answer.
//! 3. [`openai`] says what went wrong in the form that OpenAI clients read.
//!
//! There is no unsealed way: the only path from a request to the network is [`crate::session::Session::ask`].

pub mod guard;
pub mod openai;
pub mod relay;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, middleware, routing, serve::ListenerExt as _};
use tokio::{net::TcpListener, sync::watch};

use crate::{discovery, error::ClientError, output::Output, session::Session, verdict};
use relay::Relay;

/// How long before its end evidence is renewed, as a part of its life.
const RENEWAL_MARGIN_DIVISOR: u64 = 10;
/// Shortest pause between two renewals (seconds).
const RENEWAL_PAUSE_SECONDS: u64 = 1;
/// How long requests in flight may take to end when the proxy is stopped.
const DRAIN_SECONDS_MAX: u64 = 5;

/// Takes the listen address, which must be loopback unless `beyond_loopback`.
pub async fn bind(listen: SocketAddr, beyond_loopback: bool) -> Result<TcpListener, ClientError> {
    if !listen.ip().is_loopback() && !beyond_loopback {
        return Err(ClientError::Usage(format!(
            "{listen} can be reached by other machines, and prompts travel in the clear before they are sealed; \
             listen on 127.0.0.1, or accept the danger with --danger-listen-beyond-loopback"
        )));
    }
    TcpListener::bind(listen)
        .await
        .map_err(|source| ClientError::Listen {
            address: listen.to_string(),
            source,
        })
}

/// The routes, for a listener at `address`.
pub fn routes(relay: Arc<Relay>, address: SocketAddr) -> Router {
    let guarded = routing::any(relay::pass_on).with_state(Arc::clone(&relay));
    Router::new()
        .route("/healthz", routing::get(relay::health).with_state(relay))
        .route("/v1/{*path}", guarded)
        .fallback(openai::nothing_here)
        .layer(middleware::from_fn_with_state(address, guard::check))
}

/// Serves until `stop` turns true, then lets requests in flight end for a while.
pub async fn serve(
    listener: TcpListener,
    relay: Arc<Relay>,
    output: Output,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ClientError> {
    let address = listener.local_addr().map_err(|source| ClientError::Listen {
        address: String::new(),
        source,
    })?;
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true); // only latency suffers
    });
    let renewing = tokio::spawn(renew_at_epochs(Arc::clone(&relay.session), output));
    let mut stopped = stop.clone();
    let serving = axum::serve(listener, routes(relay, address)).with_graceful_shutdown(async move {
        let _ = stop.wait_for(|stop| *stop).await;
    });
    let drained = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
        tokio::time::sleep(Duration::from_secs(DRAIN_SECONDS_MAX)).await;
    };
    let served = tokio::select! {
        served = serving => served,
        () = drained => Ok(()),
    };
    renewing.abort();
    served.map_err(|source| ClientError::Listen {
        address: address.to_string(),
        source,
    })
}

/// Appraises fresh evidence shortly before what is accepted runs out, so that no request has to wait; says when
/// something changes.
async fn renew_at_epochs(session: Arc<Session>, output: Output) {
    let mut last_failure = None;
    loop {
        let now = discovery::now();
        let left = session
            .fresh_until()
            .and_then(|until| until.seconds_since(now))
            .unwrap_or(0);
        let wait = (left - left / RENEWAL_MARGIN_DIVISOR).max(RENEWAL_PAUSE_SECONDS);
        tokio::time::sleep(Duration::from_secs(wait)).await;
        match session.renew().await {
            Ok(attested) => {
                if last_failure.take().is_some() {
                    let word = verdict::assurance_word(attested.evidence().assurance());
                    output.notice(&format!("evidence is accepted again ({word})"));
                }
            }
            Err(error) => {
                let failure = error.to_string();
                if last_failure.as_ref() != Some(&failure) {
                    output.notice(&format!("evidence is not accepted: {failure} [{}]", error.code()));
                }
                last_failure = Some(failure);
            }
        }
    }
}
