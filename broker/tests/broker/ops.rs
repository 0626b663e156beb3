//! The operator's listener: health, readiness, and metrics that name nobody.

use std::{collections::BTreeSet, net::SocketAddr};

use simulated::Flavor;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Deployment, MODEL, Options, refused, released};

pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    let body = text
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .expect("a body");
    (status, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_are_answered() {
    let deployment = Deployment::new(Options::default());
    let broker = deployment.start().await;
    let address = broker.addresses().ops;
    assert_eq!(get(address, "/healthz").await.0, 200);
    assert_eq!(get(address, "/readyz").await.0, 200);
    assert_eq!(get(address, "/v1/models").await.0, 404);
    broker.stop().await;
    assert!(
        TcpStream::connect(address).await.is_err(),
        "a stopped broker does not listen"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_no_labels_and_values_beyond_the_allow_list() {
    let deployment = Deployment::new(Options::default());
    let (broker, owner, mut enclave) = deployment.start_with_model(Flavor::Snp).await;
    let _ = released(enclave.ask(broker.addresses().release).await);
    enclave.launch_measurement[1] ^= 1;
    let _ = refused(enclave.ask(broker.addresses().release).await);
    assert_eq!(owner.get("/v1/models").await.status, 200);

    let (status, text) = get(broker.addresses().ops, "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        text.contains("adyton_broker_releases_total{assurance=\"simulated\"} 1\n"),
        "{text}"
    );
    assert!(
        text.contains("adyton_broker_refusals_total{code=\"evidence-rejected\"} 1\n"),
        "{text}"
    );
    assert!(text.contains("adyton_broker_audit_entries 3\n"), "{text}");
    assert!(!text.contains(MODEL) && !text.contains(&hex::encode(enclave.spki_sha256)));

    let mut labels = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = line.split_once('{') else {
            continue;
        };
        let (pairs, _) = rest.split_once('}').expect("closed");
        for pair in pairs.split(',') {
            let (name, value) = pair.split_once('=').expect("a pair");
            labels.insert(name.to_owned());
            assert!(value.len() < 32, "{line}");
        }
    }
    let allowed = ["assurance", "code", "le", "listener"].map(str::to_owned);
    assert_eq!(labels, BTreeSet::from(allowed));
    broker.stop().await;
}
