//! AMD's key distribution service and Azure's, as their documents describe them.

use std::collections::BTreeMap;

use attestation::{EndorsementKind, Endorsements, PlatformTag};
use endorser::{ServiceUrl, Services};

use crate::fake::{Asked, Fake, Reply};
use crate::vectors::{Vectors, at, pem, wanted};
use crate::{AGES, endorser, services};

const SNP: PlatformTag = PlatformTag::AmdSevSnp;
/// When the revocation lists of the vectors are in force.
pub(crate) const NOW: &str = "2025-10-01T00:00:00Z";

/// Certificates by product, hardware id and TCB; chains and lists by product.
#[derive(Clone, Default)]
pub(crate) struct Published {
    leaves: BTreeMap<(String, String, Vec<u32>), Vec<u8>>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Published {
    pub(crate) fn of(vectors: &Vectors) -> Self {
        let mut published = Self::default();
        for vector in vectors.all().filter(|vector| {
            vector.platform() == "snp" && vector.name() != "snp-milan-v3-oak-kernel-other-chip-vcek"
        }) {
            let (report, product) = (vector.evidence(), vector.generation().to_owned());
            let Some(leaf) = vector.companion("leaf") else {
                continue;
            };
            let tcb: Vec<u32> = report[0x180..0x188].iter().map(|byte| u32::from(*byte)).collect();
            let (id_bytes, tcb) = match product.as_str() {
                "Turin" => (8, vec![tcb[0], tcb[1], tcb[2], tcb[3], tcb[7]]),
                _ => (64, vec![tcb[0], tcb[1], tcb[6], tcb[7]]),
            };
            let id = hex::encode(&report[0x1a0..0x1a0 + id_bytes]);
            published.leaves.insert((product, id, tcb), leaf);
        }
        let read = |name: &str| vectors.read(&format!("trust-roots/{name}"));
        for product in ["Milan", "Genoa", "Turin"] {
            let lower = product.to_lowercase();
            let ark = pem(&read(&format!("amd-ark-{lower}.der")));
            let chain = pem(&read(&format!("amd-ask-{lower}.der"))) + &ark;
            published
                .files
                .insert(format!("/vcek/v1/{product}/cert_chain"), chain.into_bytes());
            // No list of Turin's root is at hand.
            if product != "Turin" {
                let list = read(&format!("amd-{lower}.crl"));
                for signer in ["vcek", "vlek"] {
                    published
                        .files
                        .insert(format!("/{signer}/v1/{product}/crl"), list.clone());
                }
            }
            if product == "Milan" {
                let chain = pem(&read("amd-asvk-milan.der")) + &ark;
                published
                    .files
                    .insert("/vlek/v1/Milan/cert_chain".to_owned(), chain.into_bytes());
            }
        }
        published
    }

    /// AMD 57230, chapter 4; strict about everything that it says.
    pub(crate) fn answer(&self, asked: &Asked) -> Reply {
        if asked.method != "GET" || !asked.body.is_empty() {
            return Reply::status(405);
        }
        let parts: Vec<&str> = asked.path().split('/').skip(1).collect();
        let [signer, "v1", product, last] = parts[..] else {
            return Reply::status(404);
        };
        if !["vcek", "vlek"].contains(&signer) || !["Milan", "Genoa", "Turin"].contains(&product) {
            return Reply::status(404);
        }
        if ["cert_chain", "crl"].contains(&last) {
            let file = self.files.get(asked.path());
            return match file.filter(|_| !asked.target.contains('?')) {
                Some(file) => Reply::ok(file.clone()),
                None => Reply::status(404),
            };
        }
        let turin = product == "Turin";
        let digits = if turin { 16 } else { 128 };
        if signer != "vcek" || last.len() != digits || hex::decode(last).is_err() {
            return Reply::status(400);
        }
        let names: &[&str] = if turin {
            &["fmcSPL", "blSPL", "teeSPL", "snpSPL", "ucodeSPL"]
        } else {
            &["blSPL", "teeSPL", "snpSPL", "ucodeSPL"]
        };
        let Some(parameters) = asked.parameters() else {
            return Reply::status(400);
        };
        let value = |name: &&str| {
            let (_, value) = parameters.iter().find(|(other, _)| other == name)?;
            value.parse::<u32>().ok().filter(|value| *value <= 255)
        };
        let tcb: Option<Vec<u32>> = names.iter().map(value).collect();
        let Some(tcb) = tcb.filter(|_| parameters.len() == names.len()) else {
            return Reply::status(400);
        };
        let key = (product.to_owned(), last.to_ascii_lowercase(), tcb);
        match self.leaves.get(&key) {
            Some(leaf) => Reply::ok(leaf.clone()),
            None => Reply::status(404),
        }
    }
}

pub(crate) async fn kds(vectors: &Vectors) -> Fake {
    let published = Published::of(vectors);
    Fake::start(move |asked| published.answer(asked)).await
}

#[tokio::test]
async fn the_documents_of_a_report_are_fetched_once_and_kept() {
    let Some(vectors) = Vectors::open() else { return };
    let fake = kds(&vectors).await;
    for (name, requests) in [
        ("snp-genoa-v3-aci-ms", 3),
        ("snp-milan-v3-oak-kernel", 3),
        ("snp-genoa-v5-lunal", 3),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let endorser = endorser(folder.path(), services(&fake));
        let vector = vectors.named(name);
        let report = vector.evidence();
        let served = endorser
            .endorsements(wanted(SNP, &report), AGES, at(NOW))
            .await
            .expect(name);
        assert!(served.fetched && served.warning.is_none());
        assert_eq!(fake.take_targets().len(), requests, "{name}");
        let document = |kind| served.endorsements.document(kind).map(<[u8]>::to_vec);
        let lower = vector.generation().to_lowercase();
        let file = |name: &str| Some(vectors.read(&format!("trust-roots/{name}")));
        assert_eq!(document(EndorsementKind::SnpLeaf), vector.companion("leaf"));
        assert_eq!(
            document(EndorsementKind::SnpIntermediate),
            file(&format!("amd-ask-{lower}.der"))
        );
        assert_eq!(
            document(EndorsementKind::SnpCrl),
            file(&format!("amd-{lower}.crl"))
        );
        let again = endorser
            .endorsements(wanted(SNP, &report), AGES, at(NOW).plus_seconds(60))
            .await
            .expect("kept");
        assert!(!again.fetched);
        assert_eq!(again.endorsements, served.endorsements);
        assert_eq!(fake.take_targets(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_leaf_of_a_chip_is_asked_for_once_and_its_list_every_time() {
    let Some(vectors) = Vectors::open() else { return };
    let fake = kds(&vectors).await;
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    let report = vectors.named("snp-genoa-v3-aci-ms").evidence();
    for (day, requests) in [(0, 3), (2, 2)] {
        let now = at(NOW).plus_seconds(day * crate::DAY);
        let served = endorser
            .endorsements(wanted(SNP, &report), AGES, now)
            .await
            .expect("served");
        assert!(served.fetched);
        assert_eq!(fake.take_targets().len(), requests);
    }
    // A certificate that came with the evidence spares the question too.
    let other = tempfile::tempdir().expect("a folder");
    let endorser = crate::endorser(other.path(), services(&fake));
    let mut with = Endorsements::new();
    let leaf = vectors
        .named("snp-genoa-v3-aci-ms")
        .companion("leaf")
        .expect("a leaf");
    with.insert(EndorsementKind::SnpLeaf, leaf);
    let wanted = endorser::Wanted {
        with: Some(&with),
        ..wanted(SNP, &report)
    };
    endorser
        .endorsements(wanted, AGES, at(NOW))
        .await
        .expect("served");
    assert_eq!(
        fake.take_targets(),
        ["/vcek/v1/Genoa/cert_chain", "/vcek/v1/Genoa/crl"]
    );
}

#[tokio::test]
async fn turin_is_asked_for_with_eight_bytes_and_its_fmc() {
    let Some(vectors) = Vectors::open() else { return };
    let fake = kds(&vectors).await;
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    for name in ["snp-turin-v5-aci-ms", "snp-turin-v5-anolis"] {
        let report = vectors.named(name).evidence();
        let error = endorser
            .endorsements(wanted(SNP, &report), AGES, at(NOW))
            .await
            .expect_err("no list of Turin's root is at hand");
        let targets = fake.take_targets();
        assert!(targets[0].contains("?fmcSPL="), "{}", targets[0]);
        assert_eq!(
            targets[2], "/vcek/v1/Turin/crl",
            "the leaf and the chain were taken"
        );
        assert!(error.to_string().contains("crl is not published"), "{error}");
    }
}

#[tokio::test]
async fn a_report_that_names_no_processor_is_tried_with_each() {
    let Some(vectors) = Vectors::open() else { return };
    let mut published = Published::of(&vectors);
    let vector = vectors.named("snp-milan-v2-virtee");
    let fake = {
        let published = published.clone();
        Fake::start(move |asked| published.answer(asked)).await
    };
    let folder = tempfile::tempdir().expect("a folder");
    let report = vector.evidence();
    let served = endorser(folder.path(), services(&fake))
        .endorsements(wanted(SNP, &report), AGES, at(NOW))
        .await
        .expect("Milan is found");
    assert_eq!(
        served.endorsements.document(EndorsementKind::SnpLeaf),
        vector.companion("leaf").as_deref()
    );
    published.leaves.clear();
    let fake = Fake::start(move |asked| published.answer(asked)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let error = endorser(folder.path(), services(&fake))
        .endorsements(wanted(SNP, &report), AGES, at(NOW))
        .await
        .expect_err("nobody has it");
    let targets = fake.take_targets();
    assert!(targets[0].starts_with("/vcek/v1/Milan/") && targets[1].starts_with("/vcek/v1/Genoa/"));
    assert!(
        error.to_string().contains("is not published (status 404)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_vlek_report_needs_the_certificate_from_its_host_or_a_named_processor() {
    let Some(vectors) = Vectors::open() else { return };
    let fake = kds(&vectors).await;
    let folder = tempfile::tempdir().expect("a folder");
    let endorser = endorser(folder.path(), services(&fake));
    let named = vectors.named("snp-milan-v3-vlek-vmpl1-coco").evidence();
    let served = endorser
        .endorsements(wanted(SNP, &named), AGES, at(NOW))
        .await
        .expect("version 3 names Milan");
    assert_eq!(
        served.endorsements.document(EndorsementKind::SnpIntermediate),
        Some(&vectors.read("trust-roots/amd-asvk-milan.der")[..])
    );
    let vector = vectors.named("snp-milan-v2-vlek-aws");
    let report = vector.evidence();
    let error = endorser
        .endorsements(wanted(SNP, &report), AGES, at(NOW))
        .await
        .expect_err("nothing names the processor");
    assert!(error.to_string().contains("VLEK"), "{error}");
    let mut with = Endorsements::new();
    with.insert(
        EndorsementKind::SnpLeaf,
        vector.companion("leaf").expect("a leaf"),
    );
    let wanted = endorser::Wanted {
        with: Some(&with),
        ..wanted(SNP, &report)
    };
    let error = endorser
        .endorsements(wanted, AGES, at(NOW))
        .await
        .expect_err("that certificate lived a year");
    assert!(
        error.to_string().contains("snp-leaf of") && error.to_string().contains("ended 2025-05-05"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_the_document_is_refused() {
    let Some(vectors) = Vectors::open() else { return };
    let report = vectors.named("snp-genoa-v3-aci-ms").evidence();
    let other_chip = vectors
        .named("snp-genoa-v3-tinfoil")
        .companion("leaf")
        .expect("a leaf");
    let milan_chain = Published::of(&vectors).files["/vcek/v1/Milan/cert_chain"].clone();
    let milan_list = vectors.read("trust-roots/amd-milan.crl");
    let html = b"<html>please log in</html>".to_vec();
    for (position, body, problem) in [
        (0, other_chip, "not the certificate of this chip"),
        (0, html.clone(), "not the certificate of this chip"),
        (1, milan_chain, "not the certificates of this product"),
        (1, html.clone(), "not the certificates of this product"),
        (2, milan_list, "not a revocation list of this product"),
        (2, html, "not a revocation list of this product"),
        (2, Vec::new(), "not a revocation list of this product"),
    ] {
        let fake = kds(&vectors).await;
        let mut faults = vec![crate::fake::Fault::Nothing; position];
        faults.push(crate::fake::Fault::Body(body));
        fake.fail(faults);
        let folder = tempfile::tempdir().expect("a folder");
        let endorser = endorser(folder.path(), services(&fake));
        let error = endorser
            .endorsements(wanted(SNP, &report), AGES, at(NOW))
            .await
            .expect_err(problem);
        assert!(error.to_string().contains(problem), "{error}");
        assert_eq!(fake.asked().len(), position + 1, "it is not asked for again");
        let kept = endorser
            .cache()
            .lookup(SNP, &[&report[0x1a0..0x1e0], &report[0x180..0x188]].concat());
        assert_eq!(kept.expect("readable"), None, "nothing of it is kept");
    }
}

/// Azure's documented answer; refuses what the metadata address refuses.
async fn thim(leaf: Vec<u8>, chain: Vec<u8>, lists: Published) -> Fake {
    Fake::start(move |asked| {
        if asked.path() != "/metadata/THIM/amd/certification" {
            return lists.answer(asked);
        }
        if asked.header("metadata") != Some("true") {
            return Reply::status(400);
        }
        let document = serde_json::json!({
            "vcekCert": pem(&leaf),
            "tcbm": "DB18000000000004",
            "certificateChain": String::from_utf8_lossy(&chain),
            "cacheControl": "86400",
        });
        Reply::ok(document.to_string())
    })
    .await
}

#[tokio::test]
async fn azure_hands_out_the_certificates_of_its_own_machine_only() {
    let Some(vectors) = Vectors::open() else { return };
    let vector = vectors.named("snp-genoa-v3-aci-ms");
    let (report, leaf) = (vector.evidence(), vector.companion("leaf").expect("a leaf"));
    let published = Published::of(&vectors);
    let chain = published.files["/vcek/v1/Genoa/cert_chain"].clone();
    let at_azure = |fake: &Fake| Services {
        azure_thim: Some(ServiceUrl::parse(&fake.url).expect("a loopback URL")),
        ..services(fake)
    };
    let fake = thim(leaf.clone(), chain.clone(), published.clone()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let served = endorser(folder.path(), at_azure(&fake))
        .endorsements(wanted(SNP, &report), AGES, at(NOW))
        .await
        .expect("served");
    assert_eq!(
        served.endorsements.document(EndorsementKind::SnpLeaf),
        Some(&leaf[..])
    );
    assert_eq!(
        fake.take_targets(),
        ["/metadata/THIM/amd/certification", "/vcek/v1/Genoa/crl"]
    );
    let other = vectors
        .named("snp-genoa-v3-tinfoil")
        .companion("leaf")
        .expect("a leaf");
    let fake = thim(other, chain, published).await;
    let folder = tempfile::tempdir().expect("a folder");
    let error = endorser(folder.path(), at_azure(&fake))
        .endorsements(wanted(SNP, &report), AGES, at(NOW))
        .await
        .expect_err("another machine's");
    assert!(
        error.to_string().contains("not the certificate of this chip"),
        "{error}"
    );
}
