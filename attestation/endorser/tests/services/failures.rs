//! What servers and networks do, and what the client then does and does not do.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attestation::PlatformTag;
use endorser::{Endorser, EndorserError, Limits, Transport};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;

use crate::amd::{NOW, Published, kds};
use crate::fake::{Fake, Fault, Reply};
use crate::vectors::{Vectors, at, wanted};
use crate::{AGES, LIMITS, endorser, services};

/// Fetches the documents of one report from `fake`, whose first answers are `faults`.
async fn fetch(
    vectors: &Vectors,
    fake: &Fake,
    faults: impl IntoIterator<Item = Fault>,
) -> Result<(), EndorserError> {
    fake.fail(faults);
    let folder = tempfile::tempdir().expect("a folder");
    let report = vectors.named("snp-genoa-v3-aci-ms").evidence();
    endorser(folder.path(), services(fake))
        .endorsements(wanted(PlatformTag::AmdSevSnp, &report), AGES, at(NOW))
        .await
        .map(|_| ())
}

fn cause(error: EndorserError) -> EndorserError {
    match error {
        EndorserError::Unusable {
            cause: Some(cause), ..
        } => *cause,
        other => other,
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let Some(vectors) = Vectors::open() else { return };
    for faults in [
        vec![Fault::Reply(Reply::status(500))],
        vec![Fault::Reply(Reply::status(502)), Fault::Reply(Reply::status(503))],
        vec![Fault::Reply(Reply::status(504)), Fault::Close, Fault::Truncated],
        vec![Fault::Hang],
    ] {
        let fake = kds(&vectors).await;
        let count = faults.len();
        fetch(&vectors, &fake, faults).await.expect("it passes");
        assert_eq!(fake.asked().len(), count + 3);
    }
}

#[tokio::test]
async fn attempts_are_bounded() {
    let Some(vectors) = Vectors::open() else { return };
    for (fault, code) in [
        (Fault::Reply(Reply::status(503)), "endorser-busy"),
        (Fault::Truncated, "endorser-unreachable"),
        (Fault::Close, "endorser-unreachable"),
    ] {
        let fake = kds(&vectors).await;
        let error = fetch(&vectors, &fake, vec![fault; 50]).await.expect_err(code);
        assert_eq!(cause(error).code(), code);
        assert_eq!(fake.asked().len(), 4);
    }
}

#[tokio::test]
async fn a_slow_server_is_left() {
    let Some(vectors) = Vectors::open() else { return };
    let fake = kds(&vectors).await;
    fake.fail(vec![Fault::Hang; 2]);
    let limits = Limits {
        attempts: 2,
        attempt_timeout: Duration::from_millis(200),
        ..LIMITS
    };
    let folder = tempfile::tempdir().expect("a folder");
    let transport = Transport::new(None, limits).expect("a transport");
    let endorser = Endorser::new(folder.path(), services(&fake), transport).expect("a cache");
    let report = vectors.named("snp-genoa-v3-aci-ms").evidence();
    let started = std::time::Instant::now();
    let error = endorser
        .endorsements(wanted(PlatformTag::AmdSevSnp, &report), AGES, at(NOW))
        .await
        .expect_err("too slow");
    assert_eq!(cause(error).code(), "endorser-timeout");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_stays_as_it_is_is_asked_once() {
    let Some(vectors) = Vectors::open() else { return };
    let large = Reply::ok(vec![0x30; endorser::ANSWER_BYTES_MAX + 1]);
    let compressed = Reply::ok(b"x".to_vec()).with("content-encoding", "gzip");
    for (reply, code) in [
        (Reply::status(404), "endorser-not-published"),
        (Reply::status(410), "endorser-not-published"),
        (Reply::status(400), "endorser-refused"),
        (Reply::status(401), "endorser-refused"),
        (Reply::status(204), "endorser-refused"),
        (large, "endorser-too-large"),
        (compressed, "endorser-content"),
    ] {
        let fake = kds(&vectors).await;
        let error = fetch(&vectors, &fake, [Fault::Reply(reply)])
            .await
            .expect_err(code);
        assert_eq!(cause(error).code(), code);
        assert_eq!(fake.asked().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn retry_after_is_respected_if_it_is_near_and_reported_if_it_is_not() {
    let Some(vectors) = Vectors::open() else { return };
    let fake = kds(&vectors).await;
    let busy = |seconds: &str| Fault::Reply(Reply::status(429).with("retry-after", seconds));
    let started = std::time::Instant::now();
    fetch(&vectors, &fake, [busy("1")]).await.expect("it passes");
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    let fake = kds(&vectors).await;
    let started = std::time::Instant::now();
    let error = fetch(&vectors, &fake, [busy("3600")]).await.expect_err("too far");
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(fake.asked().len(), 1);
    let error = cause(error);
    assert_eq!(error.code(), "endorser-busy");
    assert!(
        error.to_string().contains("asked again in 3600 seconds"),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_leads_nowhere_else() {
    let Some(vectors) = Vectors::open() else { return };
    let elsewhere = kds(&vectors).await;
    let to = |location: String| Fault::Reply(Reply::status(302).with("location", location));
    for location in [
        format!("{}/vcek/v1/Genoa/crl", elsewhere.url),
        "http://example.com/".to_owned(),
        "//example.com/".to_owned(),
        String::new(),
    ] {
        let fake = kds(&vectors).await;
        let error = fetch(&vectors, &fake, [to(location)])
            .await
            .expect_err("elsewhere");
        assert_eq!(cause(error).code(), "endorser-redirected");
        assert_eq!(fake.asked().len(), 1);
    }
    assert!(elsewhere.asked().is_empty());
    // On the same server it is followed, twice at most.
    let fake = kds(&vectors).await;
    let chain = "/vcek/v1/Genoa/cert_chain".to_owned();
    fetch(&vectors, &fake, [Fault::Nothing, to(chain.clone())])
        .await
        .expect("the same server");
    let fake = kds(&vectors).await;
    let error = fetch(&vectors, &fake, vec![to(chain); 5])
        .await
        .expect_err("in circles");
    assert_eq!(cause(error).code(), "endorser-redirected");
    assert_eq!(fake.asked().len(), 3);
}

#[tokio::test]
async fn nobody_at_the_port_is_said_plainly() {
    let Some(vectors) = Vectors::open() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let services = endorser::Services {
        amd_kds: endorser::ServiceUrl::parse(&format!("http://127.0.0.1:{port}")).expect("a URL"),
        ..endorser::Services::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let report = vectors.named("snp-genoa-v3-aci-ms").evidence();
    let error = endorser(folder.path(), services)
        .endorsements(wanted(PlatformTag::AmdSevSnp, &report), AGES, at(NOW))
        .await
        .expect_err("nobody");
    assert!(
        error.to_string().contains("nothing is kept") && error.to_string().contains("refused"),
        "{error}"
    );
}

/// A CA of its own and a server certificate for 127.0.0.1.
fn authority() -> (String, tokio_rustls::TlsAcceptor) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("signed");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .expect("parameters")
        .signed_by(&key, &issuer)
        .expect("signed");
    let config = ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(
            vec![server.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a certificate and its key");
    (
        ca_certificate.pem(),
        tokio_rustls::TlsAcceptor::from(Arc::new(config)),
    )
}

async fn over_tls(vectors: &Vectors, fake: &Fake, ca: Option<&Path>) -> Result<(), EndorserError> {
    let folder = tempfile::tempdir().expect("a folder");
    let transport = Transport::new(ca, LIMITS)?;
    let report = vectors.named("snp-genoa-v3-aci-ms").evidence();
    Endorser::new(folder.path(), services(fake), transport)?
        .endorsements(wanted(PlatformTag::AmdSevSnp, &report), AGES, at(NOW))
        .await
        .map(|_| ())
}

#[tokio::test]
async fn only_a_server_that_is_vouched_for_is_heard() {
    let Some(vectors) = Vectors::open() else { return };
    let (ca, acceptor) = authority();
    let (other_ca, _) = authority();
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, contents: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).expect("written");
        path
    };
    let (good, other) = (file("ca.pem", &ca), file("other.pem", &other_ca));
    let published = Published::of(&vectors);
    let fake = Fake::serve(move |asked| published.answer(asked), Some(acceptor)).await;
    over_tls(&vectors, &fake, Some(&good))
        .await
        .expect("the named CA");
    fake.take_targets();
    for ca in [None, Some(other.as_path())] {
        let error = over_tls(&vectors, &fake, ca).await.expect_err("not vouched for");
        assert_eq!(cause(error).code(), "endorser-untrusted-server");
    }
    assert!(fake.asked().is_empty(), "nothing was asked");
    for broken in [
        "",
        "-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n",
    ] {
        let error = Transport::new(Some(&file("broken.pem", broken)), LIMITS).err();
        assert_eq!(error.map(|error| error.code()), Some("endorser-config"));
    }
}

#[tokio::test]
async fn whoever_watches_is_told_what_happens() {
    let Some(vectors) = Vectors::open() else { return };
    let fake = kds(&vectors).await;
    fake.fail([Fault::Reply(Reply::status(503))]);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let transport = Transport::new(None, LIMITS)
        .expect("a transport")
        .observed_by(Arc::new(move |line: &str| {
            sink.lock().expect("not poisoned").push(line.to_owned());
        }));
    let folder = tempfile::tempdir().expect("a folder");
    let report = vectors.named("snp-genoa-v3-aci-ms").evidence();
    Endorser::new(folder.path(), services(&fake), transport)
        .expect("a cache")
        .endorsements(wanted(PlatformTag::AmdSevSnp, &report), AGES, at(NOW))
        .await
        .expect("served");
    let lines = lines.lock().expect("not poisoned").join("\n");
    assert!(lines.contains("AMD KDS: http://127.0.0.1"), "{lines}");
    assert!(
        lines.contains("answered 503; attempt 1 of 4, again in"),
        "{lines}"
    );
}
