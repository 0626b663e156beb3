//! The client against a host of one's choosing, before a SIMULATED enclave. It proves plumbing, never security of
//! hardware: whatever the host does, an answer is whole and from the attested enclave, or there is none.

#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod chat;
mod command;
mod enclave;
mod host;
mod proxy;
mod session;

use std::{sync::Arc, time::Duration};

use attestation::{AppraisalPolicy, Verifier};
use client::{ClientError, session::Session, transport::Transport};
use exchange::Padding;
use host::Host;

/// The policy that accepts the enclave `b"enclave"`.
fn verifier() -> Verifier {
    verifier_of(b"enclave")
}

fn verifier_of(executable: &[u8]) -> Verifier {
    Verifier::new(AppraisalPolicy::from_toml(&enclave::policy_text(executable)).expect("a policy"))
}

/// A session with `host`, whose clock is the host's.
async fn open(host: &Arc<Host>, verifier: Verifier) -> Result<Session, ClientError> {
    let url = format!("http://{}", host.listen().await);
    let transport = Transport::new(&url, None, None, Duration::from_secs(20)).expect("loopback");
    let clock = Arc::clone(host);
    Session::open_with_clock(transport, verifier, Padding::Sized, Box::new(move || clock.now())).await
}
