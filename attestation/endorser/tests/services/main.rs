//! The clients against servers on loopback that are as strict as the published interfaces, with the
//! manufacturers' real documents. Nothing here reaches a network.

mod amd;
mod failures;
mod fake;
mod google;
mod intel;
mod nvidia;
mod offline;
mod vectors;

use std::path::Path;
use std::time::Duration;

use endorser::{Ages, Endorser, Limits, ServiceUrl, Services, Transport};

/// Short times, so that a test of four attempts takes a moment.
const LIMITS: Limits = Limits {
    attempts: 4,
    attempt_timeout: Duration::from_millis(1500),
    pause_first: Duration::from_millis(5),
    pause_max: Duration::from_millis(1200),
};
const DAY: u64 = 86_400;
const AGES: Ages = Ages {
    refresh_seconds: DAY,
    collateral_seconds: 60 * DAY,
};

/// Every service at one fake.
fn services(fake: &fake::Fake) -> Services {
    let url = || ServiceUrl::parse(&fake.url).expect("a loopback URL");
    Services {
        amd_kds: url(),
        intel_pcs: url(),
        intel_root_crl: endorser::RootCrl::DistributionPoint(
            ServiceUrl::parse(&format!("{}/IntelSGXRootCA.der", fake.url)).expect("a loopback URL"),
        ),
        nvidia_rim: url(),
        nvidia_ocsp: url(),
        gce_tcb: url(),
        ..Services::default()
    }
}

fn endorser(folder: &Path, services: Services) -> Endorser {
    let transport = Transport::new(None, LIMITS).expect("a transport");
    Endorser::new(folder, services, transport).expect("a cache")
}
