//! `adyton proxy`: verifies, then serves until a signal.

use std::{net::SocketAddr, path::Path, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    cli::{self, Padding},
    discovery,
    error::ClientError,
    output::{FAINT, NOTICE, Output, STRONG},
    private_file::{self, PUBLIC_MODE},
    proxy::{self, relay::Relay},
    session::{Attested, Session},
    verdict,
};

/// Serves until SIGINT or SIGTERM. Fails at once when the deployment's evidence is not accepted.
pub async fn run(arguments: cli::Proxy, output: Output) -> Result<u8, ClientError> {
    let deployment = &arguments.deployment;
    let transport = discovery::transport(deployment, None)?;
    let url = transport.base().to_owned();
    let verifier = discovery::verifier(deployment)?;
    if let Some(path) = &arguments.token_file {
        proxy::relay::read_token(path)?;
    }
    let listener = proxy::bind(arguments.listen, arguments.danger_listen_beyond_loopback).await?;
    let address = listener.local_addr().map_err(|source| ClientError::Listen {
        address: String::new(),
        source,
    })?;
    let session = Arc::new(Session::open(transport, verifier, arguments.shape.padding.into()).await?);
    let attested = session.attested().await?;
    announce(output, address, &url, &attested, arguments.ready_file.as_deref())?;

    let relay = Arc::new(Relay {
        session,
        token_file: arguments.token_file,
    });
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        if signalled().await.is_ok() {
            stop.send_replace(true);
        }
    });
    proxy::serve(listener, relay, output, stopped).await?;
    Ok(0)
}

/// Waits for SIGINT or SIGTERM.
pub async fn signalled() -> Result<(), ClientError> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |source: std::io::Error| ClientError::State(format!("no signal handler: {source}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

fn announce(
    output: Output,
    address: SocketAddr,
    url: &str,
    attested: &Attested,
    ready_file: Option<&Path>,
) -> Result<(), ClientError> {
    let document = ready_document(address, url, attested);
    if let Some(path) = ready_file {
        private_file::write(path, document.to_string().as_bytes(), PUBLIC_MODE)?;
    }
    let assurance = attested.evidence().assurance();
    let headline = verdict::headline(&attestation::Verdict::Accepted(assurance), url);
    let text = format!(
        "{headline}{STRONG}Base URL{STRONG:#}  http://{address}/v1\n{FAINT}evidence is renewed before {}; Ctrl-C stops{FAINT:#}",
        attested.evidence().fresh_until()
    );
    if !address.ip().is_loopback() {
        output.notice(&format!(
            "{NOTICE}other machines can reach {address}; prompts travel to it in the clear{NOTICE:#}"
        ));
    }
    output.result(&text, &document)
}

fn ready_document(address: SocketAddr, url: &str, attested: &Attested) -> Value {
    let evidence = attested.evidence();
    json!({
        "base_url": format!("http://{address}/v1"),
        "host_url": url,
        "assurance": verdict::assurance_word(evidence.assurance()),
        "fresh_until": evidence.fresh_until().to_string(),
    })
}

impl From<Padding> for exchange::Padding {
    fn from(padding: Padding) -> Self {
        match padding {
            Padding::Off => Self::Off,
            Padding::Sized => Self::Sized,
            Padding::Constant => Self::Constant,
        }
    }
}
