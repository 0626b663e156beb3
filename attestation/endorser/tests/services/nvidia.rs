//! NVIDIA's manifest service and OCSP responder.

use attestation::EndorsementKind;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use endorser::Gpu;
use sha2::{Digest as _, Sha256, Sha384};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use crate::fake::{Asked, Fake, Fault, Reply};
use crate::vectors::{Vectors, at};
use crate::{AGES, endorser, services};

const NOW: &str = "2026-07-01T00:00:00Z";
const DRIVER: &str = "nvidia/rim/NV_GPU_DRIVER_GH100_550.144.03.xml";
const VBIOS: &str = "nvidia/rim/1010_0200_882_96005E0001_PROD.swidtag";

/// Issuer's name hash, issuer's key hash, serial: what a responder knows its certificates by.
type Known = (Vec<u8>, Vec<u8>, Vec<u8>);

/// Reads a certificate with another parser than the client's.
fn certificate(der: &[u8]) -> Certificate {
    Certificate::from_der(der).expect("a certificate")
}

fn known(chain: &[Vec<u8>]) -> Vec<Known> {
    chain
        .windows(2)
        .map(|pair| {
            let (subject, issuer) = (certificate(&pair[0]), certificate(&pair[1]));
            let issuer = issuer.tbs_certificate();
            let name = issuer.subject().to_der().expect("DER");
            let key = issuer.subject_public_key_info().subject_public_key.raw_bytes();
            (
                Sha384::digest(name).to_vec(),
                Sha384::digest(key).to_vec(),
                subject.tbs_certificate().serial_number().as_bytes().to_vec(),
            )
        })
        .collect()
}

fn pem_chain(pem: &[u8]) -> Vec<Vec<u8>> {
    attestation::certificates_in_pem(pem).expect("PEM")
}

/// Certificates in a manifest, found without the client's help.
fn manifest_chain(xml: &[u8]) -> Vec<Vec<u8>> {
    let text = std::str::from_utf8(xml).expect("XML");
    text.split("<ds:X509Certificate>")
        .skip(1)
        .map(|rest| {
            let digits: String = rest
                .split('<')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            STANDARD.decode(digits).expect("base64")
        })
        .collect()
}

/// The next element: tag, contents, rest.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        _ => return None,
    };
    Some((*tag, rest.get(..length)?, rest.get(length..)?))
}

/// The contents of the only element, with this tag.
fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    match element(bytes)? {
        (found, contents, []) if found == tag => Some(contents),
        _ => None,
    }
}

fn der(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    let length = contents.len();
    let header = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [header, contents].concat()
}

/// A request taken apart as RFC 6960 writes it, and nothing else: CertID and nonce.
fn request(body: &[u8]) -> Option<(Vec<u8>, Known, Vec<u8>)> {
    let tbs = only(only(body, 0x30)?, 0x30)?;
    let (0x30, list, extensions) = element(tbs)? else {
        return None;
    };
    let id = only(only(list, 0x30)?, 0x30)?;
    let (0x30, algorithm, rest) = element(id)? else {
        return None;
    };
    let (0x06, [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02], [0x05, 0x00]) = element(algorithm)?
    else {
        return None;
    };
    let (0x04, name, rest) = element(rest)? else {
        return None;
    };
    let (0x04, key, rest) = element(rest)? else {
        return None;
    };
    let serial = only(rest, 0x02)?;
    let extension = only(only(only(extensions, 0xa2)?, 0x30)?, 0x30)?;
    let (0x06, [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02], value) = element(extension)? else {
        return None;
    };
    let nonce = only(only(value, 0x04)?, 0x04)?;
    let named = (name.to_vec(), key.to_vec(), serial.to_vec());
    (name.len() == 48 && key.len() == 48 && nonce.len() == 32)
        .then(|| (der(0x30, &[id]), named, nonce.to_vec()))
}

/// A response of RFC 6960. Its signature is nothing: the client does not look at it.
fn response(certificate_id: &[u8], status: &[u8], nonce: &[u8]) -> Vec<u8> {
    let time = |text: &str| der(0x18, &[text.as_bytes()]);
    let next = der(0xa0, &[&time("20260708000000Z")]);
    let single = der(0x30, &[certificate_id, status, &time("20260630000000Z"), &next]);
    let nonce_id = [0x06, 9, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];
    let value = der(0x04, &[&der(0x04, &[nonce])]);
    let extensions = der(0xa1, &[&der(0x30, &[&der(0x30, &[&nonce_id, &value])])]);
    let responder = der(0xa2, &[&der(0x04, &[&[7; 20]])]);
    let data = der(
        0x30,
        &[
            &responder,
            &time("20260630000000Z"),
            &der(0x30, &[&single]),
            &extensions,
        ],
    );
    let algorithm = der(
        0x30,
        &[&[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03]],
    );
    let basic = der(0x30, &[&data, &algorithm, &der(0x03, &[&[0; 97]])]);
    let basic_id = [0x06, 9, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
    let typed = der(0x30, &[&basic_id, &der(0x04, &[&basic])]);
    der(0x30, &[&[0x0a, 1, 0], &der(0xa0, &[&typed])])
}

const GOOD: &[u8] = &[0x80, 0x00];
const REVOKED: &[u8] = &[
    0xa1, 0x16, 0x18, 0x0f, b'2', b'0', b'2', b'6', b'0', b'1', b'0', b'1', b'0', b'0', b'0', b'0', b'0',
    b'0', b'Z', 0xa0, 0x03, 0x0a, 0x01, 0x06,
];

fn ocsp(asked: &Asked, known: &[Known], status: &[u8]) -> Reply {
    let unsuccessful = |status| Reply::ok(der(0x30, &[&[0x0a, 1, status]]));
    let typed = asked.header("content-type") == Some("application/ocsp-request");
    if asked.method != "POST" || !typed {
        return Reply::status(415);
    }
    match request(&asked.body) {
        None => unsuccessful(1),
        Some((_, named, _)) if !known.contains(&named) => unsuccessful(6),
        Some((id, _, nonce)) => {
            Reply::ok(response(&id, status, &nonce)).with("content-type", "application/ocsp-response")
        }
    }
}

fn manifest(id: &str, xml: &[u8]) -> String {
    serde_json::json!({
        "id": id,
        "rim": STANDARD.encode(xml),
        "sha256": hex::encode(Sha256::digest(xml)),
        "last_updated": "2025-01-09T22:33:13.000Z",
        "rim_format": "TCG",
        "request_id": "b6a8e4f2",
    })
    .to_string()
}

struct Published {
    known: Vec<Known>,
    driver: Vec<u8>,
    vbios: Vec<u8>,
    driver_id: String,
    vbios_id: String,
    status: &'static [u8],
}

impl Published {
    /// Real manifests, under the ids of `gpu`: no pair of manifest and report is at hand.
    fn of(vectors: &Vectors, gpu: &Gpu, chain: &[u8]) -> Self {
        let (driver, vbios) = (vectors.read(DRIVER), vectors.read(VBIOS));
        // The signer of the report lives in the GPU only: the responder does not know it.
        let mut known = self::known(&pem_chain(chain)[1..]);
        known.extend(self::known(&manifest_chain(&driver)));
        known.extend(self::known(&manifest_chain(&vbios)));
        Self {
            known,
            driver,
            vbios,
            driver_id: gpu.driver_rim_id.clone(),
            vbios_id: gpu.vbios_rim_id.clone(),
            status: GOOD,
        }
    }

    fn answer(&self, asked: &Asked) -> Reply {
        match asked.path().strip_prefix("/v1/rim/") {
            Some(id) if id == self.driver_id => Reply::ok(manifest(id, &self.driver)),
            Some(id) if id == self.vbios_id => Reply::ok(manifest(id, &self.vbios)),
            Some(_) => Reply::status(404),
            None => ocsp(asked, &self.known, self.status),
        }
    }
}

fn gpu(vectors: &Vectors, name: &str) -> (Gpu, Vec<u8>) {
    let chain = vectors.read(&format!("nvidia/{name}/chain.pem"));
    let gpu = Gpu::read(&vectors.named(name).evidence(), &chain).expect(name);
    (gpu, chain)
}

#[test]
fn real_reports_lead_to_their_manifests() {
    let Some(vectors) = Vectors::open() else { return };
    for (name, driver, vbios) in [
        (
            "nvidia-hopper",
            "NV_GPU_DRIVER_GH100_590.12",
            "NV_GPU_VBIOS_G520_0200_885_9600A50001",
        ),
        (
            "nvidia-hopper-sdk",
            "NV_GPU_DRIVER_GH100_535.86.09",
            "NV_GPU_VBIOS_1010_0200_882_96005E0001",
        ),
        (
            "nvidia-hopper-coco",
            "NV_GPU_DRIVER_GH100_580.95.05",
            "NV_GPU_VBIOS_1010_0200_882_960074001A",
        ),
        (
            "nvidia-blackwell-veraison",
            "NV_GPU_CC_DRIVER_GB100_590.48.01",
            "NV_GPU_VBIOS_G525_0220_886_9700E40011",
        ),
    ] {
        let (gpu, _) = gpu(&vectors, name);
        assert_eq!(gpu.driver_rim_id, driver, "{name}");
        assert_eq!(gpu.vbios_rim_id, vbios, "{name}");
    }
}

#[tokio::test]
async fn manifests_and_the_state_of_every_link_are_fetched() {
    let Some(vectors) = Vectors::open() else { return };
    let (gpu, chain) = gpu(&vectors, "nvidia-hopper-sdk");
    let published = Published::of(&vectors, &gpu, &chain);
    let mut distinct = published.known.clone();
    distinct.sort();
    distinct.dedup();
    let fake = Fake::start(move |asked| published.answer(asked)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    let served = endorser
        .gpu_endorsements(&gpu, AGES, at(NOW))
        .await
        .expect("served");
    let document = |kind| served.endorsements.document(kind).expect("a document");
    assert_eq!(document(EndorsementKind::NvidiaDriverRim), vectors.read(DRIVER));
    assert_eq!(document(EndorsementKind::NvidiaVbiosRim), vectors.read(VBIOS));
    let mut rest = document(EndorsementKind::NvidiaOcsp);
    let mut responses = 0;
    while !rest.is_empty() {
        let length = 4 + usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        rest = &rest[length..];
        responses += 1;
    }
    assert_eq!(responses, distinct.len(), "one response a link, each link once");
    let nonces: std::collections::BTreeSet<_> = fake
        .asked()
        .iter()
        .filter_map(|asked| request(&asked.body))
        .map(|(_, _, nonce)| nonce)
        .collect();
    assert_eq!(nonces.len(), responses, "a nonce for each question");
    let again = endorser
        .gpu_endorsements(&gpu, AGES, at(NOW))
        .await
        .expect("kept");
    assert!(!again.fetched);
    let listed = endorser::list(endorser.cache(), AGES, at(NOW)).expect("a list");
    assert_eq!(listed[0].folder, "nvidia-gpu");
    assert!(listed[0].subject.contains("NV_GPU_DRIVER_GH100_535.86.09"));
    assert_eq!(listed[0].condition.as_str(), "fresh");
    // The responses end on 8 July: after that they are of no use.
    let listed = endorser::list(endorser.cache(), AGES, at("2026-07-09T00:00:00Z")).expect("a list");
    assert_eq!(listed[0].condition.as_str(), "expired");
}

#[tokio::test]
async fn a_revocation_is_kept_for_the_verifier_to_see() {
    let Some(vectors) = Vectors::open() else { return };
    let (gpu, chain) = gpu(&vectors, "nvidia-hopper-cert-hold");
    let mut published = Published::of(&vectors, &gpu, &chain);
    published.status = REVOKED;
    let fake = Fake::start(move |asked| published.answer(asked)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let served = endorser(folder.path(), services(&fake))
        .gpu_endorsements(&gpu, AGES, at(NOW))
        .await
        .expect("served");
    let responses = served
        .endorsements
        .document(EndorsementKind::NvidiaOcsp)
        .expect("responses");
    assert!(responses.windows(REVOKED.len()).any(|window| window == REVOKED));
}

#[tokio::test]
async fn answers_of_another_question_are_refused() {
    let Some(vectors) = Vectors::open() else { return };
    let (gpu, chain) = gpu(&vectors, "nvidia-hopper");
    let rim = |id: &str, xml: &[u8]| Fault::Body(manifest(id, xml).into_bytes());
    let driver = vectors.read(DRIVER);
    let wrong_digest = manifest(&gpu.driver_rim_id, &driver).replace("\"sha256\":\"", "\"sha256\":\"00");
    let some_id = der(
        0x30,
        &[&der(0x30, &[&[0x06, 1, 1]]), &[4, 0], &[4, 0], &[2, 1, 1]],
    );
    for (position, fault, problem) in [
        (0, rim("NV_GPU_DRIVER_GH100_1", &driver), "another id"),
        (0, rim(&gpu.driver_rim_id, b"<html>"), "no SWID document"),
        (0, Fault::Body(wrong_digest.into_bytes()), "not of its digest"),
        (0, Fault::Body(b"{}".to_vec()), "not JSON"),
        (2, Fault::Body(der(0x30, &[&[0x0a, 1, 3]])), "try later"),
        (
            2,
            Fault::Body(response(&some_id, GOOD, &[0; 32])),
            "without the request's nonce",
        ),
        (2, Fault::Body(b"<html>".to_vec()), "not an OCSP response"),
    ] {
        let published = Published::of(&vectors, &gpu, &chain);
        let fake = Fake::start(move |asked| published.answer(asked)).await;
        fake.fail(vec![Fault::Nothing; position]);
        fake.fail([fault]);
        let folder = tempfile::tempdir().expect("a folder");
        let error = endorser(folder.path(), services(&fake))
            .gpu_endorsements(&gpu, AGES, at(NOW))
            .await
            .expect_err(problem);
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn a_response_about_another_certificate_is_refused() {
    let Some(vectors) = Vectors::open() else { return };
    let (gpu, chain) = gpu(&vectors, "nvidia-hopper");
    let published = Published::of(&vectors, &gpu, &chain);
    let fake = Fake::start(move |asked| match request(&asked.body) {
        // The right nonce, but the first certificate's state whatever was asked.
        Some((_, _, nonce)) => {
            let (name, key, serial) = &published.known[0];
            let algorithm = der(
                0x30,
                &[&[0x06, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02]],
            );
            let id = der(
                0x30,
                &[&algorithm, &der(4, &[name]), &der(4, &[key]), &der(2, &[serial])],
            );
            Reply::ok(response(&id, GOOD, &nonce))
        }
        None => published.answer(asked),
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let error = endorser(folder.path(), services(&fake))
        .gpu_endorsements(&gpu, AGES, at(NOW))
        .await
        .expect_err("another certificate");
    assert!(error.to_string().contains("about another certificate"), "{error}");
    assert_eq!(
        fake.asked().len(),
        4,
        "two manifests, the first state, the second"
    );
}

#[test]
fn what_is_no_gpu_evidence_leads_nowhere() {
    let Some(vectors) = Vectors::open() else { return };
    let hopper = vectors.named("nvidia-hopper").evidence();
    let chain = vectors.read("nvidia/nvidia-hopper/chain.pem");
    assert!(Gpu::read(&hopper, &chain).is_ok());
    let switch = vectors.named("nvidia-switch-ls10").evidence();
    for (evidence, chain) in [
        (&hopper[..100], &chain[..]),
        (b"", &chain),
        (&hopper, b"" as &[u8]),
        (&hopper, b"<html>"),
        (&switch, &vectors.read("nvidia/nvidia-switch-ls10/chain.pem")),
    ] {
        assert_eq!(
            Gpu::read(evidence, chain).expect_err("nothing").code(),
            "endorser-unidentified"
        );
    }
}
