//! What evidence leads to, and the dates and signatures of documents, on the manufacturers' own.

use std::path::{Path, PathBuf};

use attestation::{
    EndorsementKind, Endorsements, Lookup, PckAuthority, PlatformTag, SnpSigner, UnixTime,
    certificates_in_pem, endorsement_lookup, is_authentic, is_pck_authority, published,
};

const SNP: PlatformTag = PlatformTag::AmdSevSnp;

/// The folder of vectors, or `None` (said plainly) if it is not here. In CI it must be.
#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
fn vectors() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "no vectors in {}",
        folder.display()
    );
    eprintln!("NOT RUN: no vectors in {} (set ADYTON_VECTORS)", folder.display());
    None
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).expect("the file of a vector")
}

fn snp(folder: &Path, name: &str) -> attestation::SnpLookup {
    match endorsement_lookup(SNP, &read(folder, &format!("snp/{name}/report.bin"))) {
        Ok(Lookup::Snp(lookup)) => lookup,
        other => panic!("{name}: {other:?}"),
    }
}

/// TCB info, QE identity and what they need, as a service hands them out.
fn collateral(folder: &Path, name: &str) -> (serde_json::Value, Endorsements) {
    let parts: serde_json::Value =
        serde_json::from_slice(&read(folder, &format!("collateral/{name}"))).expect("JSON");
    let text = |key: &str| parts[key].as_str().expect("a text").to_owned();
    let signed = |member: &str, key: &str| {
        let (object, signature) = (text(key), text(&format!("{key}_signature")));
        format!("{{\"{member}\":{object},\"signature\":\"{signature}\"}}").into_bytes()
    };
    let mut endorsements = Endorsements::new();
    endorsements.insert(EndorsementKind::TdxTcbInfo, signed("tcbInfo", "tcb_info"));
    endorsements.insert(
        EndorsementKind::TdxQeIdentity,
        signed("enclaveIdentity", "qe_identity"),
    );
    endorsements.insert(
        EndorsementKind::TdxTcbSigningChain,
        text("tcb_info_issuer_chain").into_bytes(),
    );
    for (kind, key) in [
        (EndorsementKind::TdxPckCrl, "pck_crl"),
        (EndorsementKind::TdxRootCrl, "root_ca_crl"),
    ] {
        endorsements.insert(kind, hex::decode(text(key)).expect("hexadecimal"));
    }
    (parts, endorsements)
}

#[test]
fn a_report_names_its_product_chip_and_versions() {
    let Some(folder) = vectors() else { return };
    for (name, product, id_bytes) in [
        ("snp-genoa-v3-aci-ms", "Genoa", 64),
        ("snp-genoa-v5-lunal", "Genoa", 64),
        ("snp-milan-v3-oak-kernel", "Milan", 64),
        ("snp-turin-v5-aci-ms", "Turin", 8),
        ("snp-turin-v5-anolis", "Turin", 8),
    ] {
        let lookup = snp(&folder, name);
        let [found] = &lookup.products[..] else {
            panic!("{name}: {:?}", lookup.products);
        };
        assert_eq!(
            (found.name, found.hardware_id.len()),
            (product, id_bytes),
            "{name}"
        );
        assert_eq!(found.tcb.fmc.is_some(), product == "Turin");
        assert_eq!(lookup.signer, SnpSigner::Vcek);
        let leaf = read(&folder, &format!("snp/{name}/vcek.der"));
        assert!(found.is_named_by(lookup.signer, &leaf), "{name}");
        assert!(!found.is_named_by(SnpSigner::Vlek, &leaf));
        for other in ["snp-genoa-v3-tinfoil", "snp-milan-v2-debug"] {
            let other = read(&folder, &format!("snp/{other}/vcek.der"));
            assert!(!found.is_named_by(lookup.signer, &other), "{name}");
        }
        let mut versions = found.clone();
        versions.tcb.microcode ^= 1;
        assert!(
            !versions.is_named_by(lookup.signer, &leaf),
            "{name}: other versions"
        );
    }
}

#[test]
fn version_2_can_be_of_several_and_a_vlek_of_any_chip() {
    let Some(folder) = vectors() else { return };
    let names = |name: &str| -> Vec<&str> {
        let lookup = snp(&folder, name);
        lookup.products.iter().map(|product| product.name).collect()
    };
    assert_eq!(names("snp-milan-v2-virtee"), ["Milan", "Genoa"]);
    let lookup = snp(&folder, "snp-milan-v3-vlek-vmpl1-coco");
    assert_eq!(lookup.signer, SnpSigner::Vlek);
    let leaf = read(&folder, "snp/snp-milan-v3-vlek-vmpl1-coco/vlek.der");
    assert!(lookup.products[0].is_named_by(SnpSigner::Vlek, &leaf));
}

#[test]
fn what_names_no_chip_leads_nowhere() {
    let Some(folder) = vectors() else { return };
    let report = read(&folder, "snp/snp-genoa-v3-aci-ms/report.bin");
    let products = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = report.clone();
        change(&mut changed);
        match endorsement_lookup(SNP, &changed) {
            Ok(Lookup::Snp(lookup)) => Some(lookup.products.len()),
            _ => None,
        }
    };
    assert_eq!(products(&|_| ()), Some(1));
    assert_eq!(
        products(&|report| report[0x1a0..0x1e0].fill(0)),
        Some(0),
        "masked chip id"
    );
    assert_eq!(
        products(&|report| report[0x188] = 0x20),
        Some(0),
        "unknown processor"
    );
    assert_eq!(
        products(&|report| report[0x183] = 1),
        Some(0),
        "reserved TCB byte"
    );
    assert_eq!(products(&|report| report[0x48] = 7 << 2), None, "no key");
    assert_eq!(products(&|report| report.truncate(1183)), None);
}

#[test]
fn a_quote_names_its_platform_and_authority() {
    let Some(folder) = vectors() else { return };
    let quote = read(&folder, "tdx/tdx-v4-near/quote.bin");
    let Ok(Lookup::Tdx(lookup)) = endorsement_lookup(PlatformTag::IntelTdx, &quote) else {
        panic!("a quote");
    };
    assert_eq!(hex::encode(lookup.fmspc), "b0c06f000000");
    assert_eq!(lookup.authority, PckAuthority::Platform);
    assert!(is_pck_authority(&lookup.authority_certificate));
    assert_eq!(lookup.mrtd[..], quote[48 + 136..48 + 184]);
    let root = read(&folder, "trust-roots/intel-sgx-root-ca.der");
    assert!(
        !is_pck_authority(&root),
        "the root is not an authority below itself"
    );
    for length in [0, 100, 700, quote.len() / 2] {
        assert!(endorsement_lookup(PlatformTag::IntelTdx, &quote[..length]).is_err());
    }
}

#[test]
fn documents_tell_their_dates() {
    let Some(folder) = vectors() else { return };
    let at = |text: &str| UnixTime::parse_rfc3339(text).expect("a moment");
    let list = read(&folder, "trust-roots/amd-genoa.crl");
    let dates = published(EndorsementKind::SnpCrl, &list)
        .expect("a list")
        .expect("dated");
    assert_eq!(dates.issuer, "ARK-Genoa");
    assert_eq!(dates.issued, at("2024-10-23T04:36:24Z"));
    assert_eq!(dates.until, at("2025-11-03T01:00:00Z"));
    let (_, endorsements) = collateral(&folder, "b0c06f000000-eval20-20260813T104538Z-dc25a753.json");
    let dates = |kind| {
        let document = endorsements.document(kind).expect("a document");
        published(kind, document).expect("of its kind")
    };
    let info = dates(EndorsementKind::TdxTcbInfo).expect("dated");
    assert_eq!((info.issuer.as_str(), info.number), ("b0c06f000000", Some(20)));
    assert_eq!(info.issued, at("2026-08-13T10:45:38Z"));
    let identity = dates(EndorsementKind::TdxQeIdentity).expect("dated");
    assert_eq!((identity.issuer.as_str(), identity.number), ("TD_QE", Some(19)));
    assert_eq!(dates(EndorsementKind::TdxTcbSigningChain), None);
    for kind in EndorsementKind::ALL.into_iter().filter(|kind| kind.is_reissued()) {
        for bytes in [&b""[..], b"{}", b"\x30\x00", &[0xff; 64]] {
            assert!(published(kind, bytes).is_err(), "{kind:?}");
        }
    }
}

#[test]
fn only_what_the_manufacturer_signed_is_authentic() {
    let Some(folder) = vectors() else { return };
    let (parts, endorsements) = collateral(&folder, "b0c06f000000-eval18-20251118T193814Z-bfd3c5e2.json");
    let authorities = certificates_in_pem(parts["pck_crl_issuer_chain"].as_str().expect("PEM").as_bytes())
        .expect("certificates");
    let mut all = endorsements.clone();
    all.insert(
        EndorsementKind::SnpCrl,
        read(&folder, "trust-roots/amd-milan.crl"),
    );
    let mut count = 0;
    for (kind, document) in all.iter().filter(|(kind, _)| kind.is_reissued()) {
        assert!(
            is_authentic(kind, document, &endorsements, &authorities),
            "{kind:?}"
        );
        for at in (0..document.len()).step_by(97) {
            let mut changed = document.to_vec();
            changed[at] ^= 1;
            assert!(
                !is_authentic(kind, &changed, &endorsements, &authorities),
                "{kind:?} byte {at}"
            );
        }
        count += 1;
    }
    assert_eq!(count, 5);
    let info = EndorsementKind::TdxTcbInfo;
    let document = endorsements.document(info).expect("a document");
    assert!(
        !is_authentic(info, document, &Endorsements::new(), &authorities),
        "without the signer's chain"
    );
    let list = EndorsementKind::TdxPckCrl;
    let document = endorsements.document(list).expect("a document");
    assert!(
        !is_authentic(list, document, &endorsements, &[]),
        "without its issuer"
    );
    let root = vec![read(&folder, "trust-roots/intel-sgx-root-ca.der")];
    assert!(!is_authentic(list, document, &endorsements, &root));
}
