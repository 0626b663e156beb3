//! Intel's provisioning certification service and a caching service in front of it.

use std::sync::{Arc, Mutex};

use attestation::{EndorsementKind, PlatformTag};
use endorser::{RootCrl, Services};
use serde_json::Value;

use crate::fake::{Asked, Fake, Reply};
use crate::vectors::{Vectors, at, wanted};
use crate::{AGES, endorser, services};

pub(crate) const TDX: PlatformTag = PlatformTag::IntelTdx;

/// Collateral of one platform, as the service hands it out.
#[derive(Clone)]
pub(crate) struct Collateral(Value);

impl Collateral {
    pub(crate) fn read(vectors: &Vectors, file: &str) -> Self {
        let bytes = vectors.read(&format!("collateral/{file}"));
        Self(serde_json::from_slice(&bytes).expect("JSON"))
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.0[key].as_str().expect("a text")
    }

    pub(crate) fn der(&self, key: &str) -> Vec<u8> {
        hex::decode(self.text(key)).expect("hexadecimal")
    }

    fn fmspc(&self) -> String {
        let info: Value = serde_json::from_str(self.text("tcb_info")).expect("JSON");
        info["fmspc"].as_str().expect("a text").to_owned()
    }

    pub(crate) fn tcb_info(&self) -> Vec<u8> {
        let (object, signature) = (self.text("tcb_info"), self.text("tcb_info_signature"));
        format!("{{\"tcbInfo\":{object},\"signature\":\"{signature}\"}}").into_bytes()
    }

    pub(crate) fn qe_identity(&self) -> Vec<u8> {
        let (object, signature) = (self.text("qe_identity"), self.text("qe_identity_signature"));
        format!("{{\"enclaveIdentity\":{object},\"signature\":\"{signature}\"}}").into_bytes()
    }
}

/// Everything but letters and digits, as Intel encodes its headers.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// PCS v4; strict about parameters. `caching` answers what only a PCCS has, as a PCCS does.
pub(crate) fn answer(collateral: &Collateral, caching: bool, asked: &Asked) -> Reply {
    let Some(parameters) = asked.parameters().filter(|_| asked.method == "GET") else {
        return Reply::status(400);
    };
    let known = |names: &[&str]| parameters.iter().all(|(name, _)| names.contains(name));
    let value = |name: &str| {
        let found = parameters.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| *value)
    };
    let update = value("update").is_none_or(|update| ["early", "standard"].contains(&update));
    match asked.path() {
        "/tdx/certification/v4/tcb" => {
            let fmspc = value("fmspc").filter(|fmspc| fmspc.len() == 12 && hex::decode(fmspc).is_ok());
            match fmspc {
                Some(fmspc) if known(&["fmspc", "update"]) && update => {
                    if !fmspc.eq_ignore_ascii_case(&collateral.fmspc()) {
                        return Reply::status(404);
                    }
                    let chain = percent_encoded(collateral.text("tcb_info_issuer_chain"));
                    Reply::ok(collateral.tcb_info()).with("TCB-Info-Issuer-Chain", chain)
                }
                _ => Reply::status(400),
            }
        }
        "/tdx/certification/v4/qe/identity" if known(&["update"]) && update => {
            let chain = percent_encoded(collateral.text("qe_identity_issuer_chain"));
            Reply::ok(collateral.qe_identity()).with("SGX-Enclave-Identity-Issuer-Chain", chain)
        }
        "/sgx/certification/v4/pckcrl" => {
            let authority = value("ca").is_some_and(|ca| ["platform", "processor"].contains(&ca));
            if !authority || value("encoding") != Some("der") || !known(&["ca", "encoding"]) {
                return Reply::status(400);
            }
            if value("ca") == Some("processor") {
                return Reply::status(404);
            }
            let chain = percent_encoded(collateral.text("pck_crl_issuer_chain"));
            Reply::ok(collateral.der("pck_crl")).with("SGX-PCK-CRL-Issuer-Chain", chain)
        }
        "/IntelSGXRootCA.der" if !caching => Reply::ok(collateral.der("root_ca_crl")),
        "/sgx/certification/v4/rootcacrl" if caching => Reply::ok(collateral.text("root_ca_crl")),
        _ => Reply::status(404),
    }
}

/// A service whose collateral a test can change.
pub(crate) async fn pcs(collateral: &Collateral) -> (Fake, Arc<Mutex<Collateral>>) {
    let shared = Arc::new(Mutex::new(collateral.clone()));
    let inner = shared.clone();
    let fake = Fake::start(move |asked| answer(&inner.lock().expect("not poisoned"), false, asked)).await;
    (fake, shared)
}

#[tokio::test]
async fn the_documents_of_a_quote_are_fetched_exactly() {
    let Some(vectors) = Vectors::open() else { return };
    for (name, file) in [
        (
            "tdx-v4-near",
            "b0c06f000000-eval18-20251118T193814Z-bfd3c5e2.json",
        ),
        (
            "tdx-v5-google",
            "90c06f000000-eval18-20260201T144926Z-58f798e7.json",
        ),
        (
            "tdx-v4-sierra-phala",
            "20a06f000000-eval17-20250902T074159Z-dfeeacae.json",
        ),
        (
            "tdx-v4-teepot",
            "00806f050000-eval17-20250304T153147Z-683678bc.json",
        ),
    ] {
        let collateral = Collateral::read(&vectors, file);
        let (fake, _) = pcs(&collateral).await;
        let folder = tempfile::tempdir().expect("a folder");
        let vector = vectors.named(name);
        let quote = vector.evidence();
        let served = endorser(folder.path(), services(&fake))
            .endorsements(wanted(TDX, &quote), AGES, vector.verify_at())
            .await
            .expect(name);
        let document = |kind| served.endorsements.document(kind).expect("a document").to_vec();
        assert_eq!(
            document(EndorsementKind::TdxTcbInfo),
            collateral.tcb_info(),
            "{name}"
        );
        assert_eq!(document(EndorsementKind::TdxQeIdentity), collateral.qe_identity());
        assert_eq!(document(EndorsementKind::TdxPckCrl), collateral.der("pck_crl"));
        assert_eq!(
            document(EndorsementKind::TdxRootCrl),
            collateral.der("root_ca_crl")
        );
        assert_eq!(
            document(EndorsementKind::TdxTcbSigningChain),
            collateral.text("tcb_info_issuer_chain").as_bytes()
        );
        assert_eq!(fake.take_targets().len(), 4);
    }
}

#[tokio::test]
async fn a_caching_service_gives_the_roots_list_as_digits() {
    let Some(vectors) = Vectors::open() else { return };
    let collateral = Collateral::read(&vectors, "b0c06f000000-eval18-20251118T193814Z-bfd3c5e2.json");
    let expected = collateral.der("root_ca_crl");
    let fake = Fake::start(move |asked| answer(&collateral, true, asked)).await;
    let services = Services {
        intel_root_crl: RootCrl::CachingService,
        intel_update: endorser::Update::Early,
        ..services(&fake)
    };
    let folder = tempfile::tempdir().expect("a folder");
    let vector = vectors.named("tdx-v4-near");
    let quote = vector.evidence();
    let served = endorser(folder.path(), services)
        .endorsements(wanted(TDX, &quote), AGES, vector.verify_at())
        .await
        .expect("served");
    assert_eq!(
        served.endorsements.document(EndorsementKind::TdxRootCrl),
        Some(&expected[..])
    );
    let targets = fake.take_targets();
    assert_eq!(
        targets[0],
        "/tdx/certification/v4/tcb?fmspc=b0c06f000000&update=early"
    );
    assert_eq!(targets[1], "/tdx/certification/v4/qe/identity?update=early");
}

#[tokio::test]
async fn documents_of_two_evaluations_are_asked_for_once_more_then_refused() {
    let Some(vectors) = Vectors::open() else { return };
    // TCB info of evaluation 20, QE identity of evaluation 19.
    let collateral = Collateral::read(&vectors, "b0c06f000000-eval20-20260813T104538Z-dc25a753.json");
    let (fake, _) = pcs(&collateral).await;
    let folder = tempfile::tempdir().expect("a folder");
    let vector = vectors.named("tdx-v4-near-eval20");
    let quote = vector.evidence();
    let error = endorser(folder.path(), services(&fake))
        .endorsements(wanted(TDX, &quote), AGES, vector.verify_at())
        .await
        .expect_err("two evaluations");
    assert!(error.to_string().contains("evaluation 20"), "{error}");
    assert_eq!(fake.take_targets().len(), 4, "each twice, and nothing after");
}

#[tokio::test]
async fn an_update_between_two_questions_is_waited_for() {
    let Some(vectors) = Vectors::open() else { return };
    let old = Collateral::read(&vectors, "90c06f000000-eval18-20260218T105851Z-b4585dff.json");
    let new = Collateral::read(&vectors, "90c06f000000-eval19-20260629T014247Z-ef1facb4.json");
    let (fake, _) = pcs(&new).await;
    fake.fail([crate::fake::Fault::Body(old.tcb_info())]);
    let folder = tempfile::tempdir().expect("a folder");
    let vector = vectors.named("composite-tdx-8xhopper-near");
    let quote = vector.evidence();
    let served = endorser(folder.path(), services(&fake))
        .endorsements(wanted(TDX, &quote), AGES, vector.verify_at())
        .await
        .expect("the second answers belong together");
    assert_eq!(
        served.endorsements.document(EndorsementKind::TdxTcbInfo),
        Some(&new.tcb_info()[..])
    );
    assert_eq!(fake.take_targets().len(), 6);
}

#[tokio::test]
async fn an_answer_that_is_not_the_document_is_refused() {
    let Some(vectors) = Vectors::open() else { return };
    let collateral = Collateral::read(&vectors, "b0c06f000000-eval18-20251118T193814Z-bfd3c5e2.json");
    let foreign = Collateral::read(&vectors, "90c06f000000-eval18-20260112T160313Z-c8cddffb.json");
    let vector = vectors.named("tdx-v4-near");
    let quote = vector.evidence();
    let without_chain = crate::fake::Fault::Reply(Reply::ok(collateral.tcb_info()));
    let body = crate::fake::Fault::Body;
    for (position, fault, problem) in [
        (0, body(foreign.tcb_info()), "not the signed document"),
        (0, body(collateral.qe_identity()), "not the signed document"),
        (0, body(b"{}".to_vec()), "not the signed document"),
        (0, without_chain, "no chain of the signer"),
        (1, body(collateral.tcb_info()), "not the signed document"),
        (2, body(collateral.der("root_ca_crl")), "not a revocation list"),
        (3, body(collateral.der("pck_crl")), "not a revocation list"),
        (3, body(b"<html>".to_vec()), "not a revocation list"),
    ] {
        let (fake, _) = pcs(&collateral).await;
        fake.fail(vec![crate::fake::Fault::Nothing; position]);
        fake.fail([fault]);
        let folder = tempfile::tempdir().expect("a folder");
        let error = endorser(folder.path(), services(&fake))
            .endorsements(wanted(TDX, &quote), AGES, vector.verify_at())
            .await
            .expect_err(problem);
        assert!(error.to_string().contains(problem), "{position}: {error}");
    }
}

#[tokio::test]
async fn an_unknown_platform_is_said_to_be_unknown() {
    let Some(vectors) = Vectors::open() else { return };
    let collateral = Collateral::read(&vectors, "b0c06f000000-eval18-20251118T193814Z-bfd3c5e2.json");
    let (fake, _) = pcs(&collateral).await;
    let folder = tempfile::tempdir().expect("a folder");
    let quote = vectors.named("tdx-v5-google").evidence();
    let error = endorser(folder.path(), services(&fake))
        .endorsements(wanted(TDX, &quote), AGES, at("2026-02-14T00:00:00Z"))
        .await
        .expect_err("another FMSPC");
    assert!(
        error.to_string().contains("fmspc=90c06f000000") && error.to_string().contains("not published"),
        "{error}"
    );
}
