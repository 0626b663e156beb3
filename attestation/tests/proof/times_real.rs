//! Real evidence around every boundary of everything that it relies upon. What must fail when is worked out
//! here from the documents' own times.

use std::collections::BTreeSet;

use attestation::{
    AppraisalPolicy, DeviceKind, EndorsementKind, Endorsements, NvidiaDevice, UnixTime, Verifier,
    certificates_in_pem, explain_reference_manifest, published_names,
};

use crate::azure;
use crate::real::{COLLATERAL_AGE_SECONDS, Real, failed, manifest, text};
use crate::sweep::say;

/// From when until when a clause passes, as far as one document decides it.
struct Bound {
    clause: &'static str,
    from: UnixTime,
    until: UnixTime,
}

impl Bound {
    /// Of a certificate or a revocation list in DER.
    fn of(clause: &'static str, der: &[u8]) -> Self {
        let names = published_names(der).expect("a certificate or a list");
        Self {
            clause,
            from: names.not_before,
            until: names.not_after,
        }
    }

    fn age(clause: &'static str, from: UnixTime) -> Self {
        Self {
            clause,
            from,
            until: from.plus_seconds(COLLATERAL_AGE_SECONDS),
        }
    }
}

/// Asserts at −1, 0 and +1 seconds of each boundary that exactly the clauses fail which some document decides so;
/// how many moments those were.
fn assert_bounds(name: &str, bounds: &[Bound], failed: impl Fn(UnixTime) -> BTreeSet<&'static str>) -> usize {
    let seconds: BTreeSet<u64> = bounds
        .iter()
        .flat_map(|bound| [bound.from.seconds(), bound.until.seconds()])
        .flat_map(|second| [second - 1, second, second + 1])
        .collect();
    for second in &seconds {
        let now = UnixTime::from_seconds(*second);
        let outside = |bound: &&Bound| now < bound.from || now > bound.until;
        let expected: BTreeSet<_> = bounds.iter().filter(outside).map(|bound| bound.clause).collect();
        assert_eq!(failed(now), expected, "{name} at {now}");
    }
    seconds.len()
}

fn snp_bounds(real: &Real) -> Vec<Bound> {
    let document = |kind| real.endorsements.document(kind);
    let validity = |der: &[u8]| Bound::of("snp-certificate-validity", der);
    let mut bounds = vec![
        validity(document(EndorsementKind::SnpLeaf).expect("a leaf")),
        validity(document(EndorsementKind::SnpIntermediate).expect("an intermediate")),
        validity(&real.root),
    ];
    if let Some(list) = document(EndorsementKind::SnpCrl) {
        let current = Bound::of("snp-crl-current", list);
        bounds.push(Bound::age("snp-collateral-age", current.from));
        bounds.push(current);
    }
    bounds
}

/// Bounds of the documents around a quote.
fn tdx_bounds(quote: &[u8], endorsements: &Endorsements) -> Vec<Bound> {
    let document = |kind| endorsements.document(kind).expect("a document");
    let pem_at = quote
        .windows(10)
        .position(|window| window == b"-----BEGIN")
        .expect("PEM");
    let end = b"-----END CERTIFICATE-----";
    let pem_end = quote
        .windows(end.len())
        .rposition(|window| window == end)
        .expect("PEM")
        + end.len();
    let pck_chain = certificates_in_pem(&quote[pem_at..pem_end]).expect("the PCK chain");
    let signers = certificates_in_pem(document(EndorsementKind::TdxTcbSigningChain)).expect("the signer");
    let validity = |der: &Vec<u8>| Bound::of("tdx-certificate-validity", der);
    let mut bounds: Vec<_> = pck_chain.iter().chain(&signers).map(validity).collect();
    let of_ca = Bound::of("tdx-crl-current", document(EndorsementKind::TdxPckCrl));
    bounds.push(Bound::of(
        "tdx-crl-current",
        document(EndorsementKind::TdxRootCrl),
    ));
    bounds.push(Bound::age("tdx-collateral-age", of_ca.from));
    bounds.push(of_ca);
    let json = [
        (EndorsementKind::TdxTcbInfo, "tcbInfo"),
        (EndorsementKind::TdxQeIdentity, "enclaveIdentity"),
    ];
    let current = json.map(|(kind, name)| {
        let object: serde_json::Value = serde_json::from_slice(document(kind)).expect("JSON");
        let moment = |key: &str| UnixTime::parse_rfc3339(object[name][key].as_str().expect("text"));
        Bound {
            clause: "tdx-collateral-current",
            from: moment("issueDate").expect("a moment"),
            until: moment("nextUpdate").expect("a moment"),
        }
    });
    let oldest = current[0].from.min(current[1].from);
    bounds.push(Bound::age("tdx-collateral-age", oldest));
    bounds.extend(current);
    bounds
}

#[test]
fn real_reports_hold_within_their_documents_times_to_the_second() {
    let Some(all) = Real::all() else { return };
    let mut count = 0;
    for name in [
        "snp-milan-v3-oak-container",
        "snp-genoa-v3-tinfoil-live",
        "snp-turin-v5-aci-ms",
        "snp-milan-v2-vlek-aws",
        "azure-snp-genoa-v3-coco",
    ] {
        let real = all.iter().find(|real| real.name == name).expect(name);
        let failed = |now| failed(&real.explain(&real.evidence, &real.endorsements, now));
        count += assert_bounds(name, &snp_bounds(real), failed);
    }
    say(&format!("real reports: {count} moments"));
    assert!(count > 80);
}

#[test]
fn real_quotes_hold_within_their_documents_times_to_the_second() {
    let Some(all) = Real::all() else { return };
    let mut count = 0;
    for name in [
        "tdx-v4-near",
        "tdx-v5-google",
        "gcp-tdx-flashbots-2026",
        "composite-tdx-8xhopper-near",
    ] {
        let real = all.iter().find(|real| real.name == name).expect(name);
        let failed = |now| failed(&real.explain(&real.evidence, &real.endorsements, now));
        count += assert_bounds(name, &tdx_bounds(&real.evidence, &real.endorsements), failed);
    }
    say(&format!("real quotes: {count} moments"));
    assert!(count > 120);
}

#[test]
fn the_certificates_of_a_real_vtpm_key_hold_to_the_second() {
    let Some((folder, vectors)) = azure::vectors() else {
        return;
    };
    let name = "azure-tdx-flashbots-ak-chain";
    let vector = vectors.iter().find(|vector| azure::text(vector, "name") == name);
    let real = azure::Real::new(&folder, vector.expect(name));
    let (evidence, endorsements) = (real.evidence(), real.endorsements());
    let policy = AppraisalPolicy::from_toml(&real.policy(&evidence, false)).expect("the policy reads");
    let (verifier, asked) = (Verifier::new(policy), real.asked());
    let quote = evidence.td_quote.as_deref().expect("a quote");
    let mut bounds = tdx_bounds(quote, &endorsements);
    let chain = certificates_in_pem(
        endorsements
            .document(EndorsementKind::VtpmAkChain)
            .expect("a chain"),
    );
    let root = real.companion("azure-virtual-tpm-root-2023").expect("the root");
    let certificates = chain.expect("certificates").into_iter().chain([root]);
    bounds.extend(certificates.map(|der| Bound::of("azure-ak-validity", &der)));
    let count = assert_bounds(name, &bounds, |now| {
        let tag = real.tag();
        failed(&verifier.explain_azure_evidence(tag, &evidence, None, &endorsements, Some(&asked), now))
    });
    say(&format!("{name}: {count} moments"));
}

/// A policy for one device of NVIDIA beside some confidential VM, without manifests and revocation.
pub(crate) fn nvidia_verifier(gpus: u32, switches: u32) -> Verifier {
    let (zero, measurement) = ("00".repeat(32), "00".repeat(48));
    let minima = [("hopper", true), ("blackwell", true), ("ls10", false)].map(|(architecture, driver)| {
        format!(
            "[[nvidia.minimum_versions]]\narchitecture = \"{architecture}\"\nvbios = \"00.00.00.00.00\"\n{}",
            if driver { "driver = \"0.0\"\n" } else { "" }
        )
    });
    let exceptions = [
        "no-reference-manifest",
        "no-revocation-check",
        "no-switch-evidence",
    ]
    .map(|name| format!("[[nvidia.exceptions]]\nname = \"{name}\"\nreason = \"test\"\n"));
    let policy = format!(
        "version = 1\nrole = \"broker\"\nevidence_age_seconds_max = 60\ncollateral_age_seconds_max = 86400\n\
         config_digests = [\"{zero}\"]\n[nvidia]\ngpus = {gpus}\nswitches = {switches}\n\
         modes = [\"single-gpu\", \"multi-gpu\", \"protected-pcie\"]\nenrolled_devices = \"any\"\n{}{}\
         [tdx]\nmrtd = [\"{measurement}\"]\nrtmr0 = [\"{measurement}\"]\nrtmr1 = [\"{measurement}\"]\n\
         rtmr2 = [\"{measurement}\"]\nrtmr3 = [\"{measurement}\"]\nxfam = [0]\nenrolled_machines = \"any\"\n\
         evaluation_number_minimum = 1\n",
        minima.concat(),
        exceptions.concat(),
    );
    Verifier::new(AppraisalPolicy::from_toml(&policy).expect("the policy reads"))
}

#[test]
fn the_certificates_of_real_devices_hold_to_the_second() {
    let Some((folder, _)) = manifest() else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).expect("the file of a vector");
    let root = read("trust-roots/nvidia-device-identity-ca.der");
    for (name, kind) in [
        ("nvidia-hopper-coco", DeviceKind::NvidiaGpu),
        ("nvidia-blackwell-veraison", DeviceKind::NvidiaGpu),
        ("nvidia-switch-ls10", DeviceKind::NvidiaSwitch),
    ] {
        let evidence = read(&format!("nvidia/{name}/evidence.bin"));
        let chain = read(&format!("nvidia/{name}/chain.pem"));
        let endorsements = Endorsements::new();
        let is_switch = kind == DeviceKind::NvidiaSwitch;
        let verifier = nvidia_verifier((!is_switch).into(), is_switch.into());
        let certificates = certificates_in_pem(&chain).expect("certificates").into_iter();
        let bounds = certificates.chain([root.clone()]);
        let bounds: Vec<_> = bounds
            .map(|der| Bound::of("nvidia-certificate-validity", &der))
            .collect();
        let nonce = evidence[4..36].try_into().expect("32 bytes");
        assert_bounds(name, &bounds, |now| {
            let device = NvidiaDevice {
                name,
                kind,
                evidence: &evidence,
                chain: &chain,
                endorsements: &endorsements,
            };
            failed(&verifier.explain_devices(&[device], &nonce, now))
        });
    }
}

#[test]
fn the_signers_of_real_manifests_hold_to_the_second() {
    use base64::Engine as _;
    let Some((folder, vectors)) = manifest() else {
        return;
    };
    let of_manifests = vectors
        .iter()
        .filter(|vector| text(vector, "platform") == "nvidia-rim");
    let mut count = 0;
    for vector in of_manifests.filter(|vector| !text(vector, "name").ends_with("expired")) {
        let read = |name: &str| std::fs::read(folder.join(name)).expect("the file of a vector");
        let document = read(text(vector, "file"));
        let xml = std::str::from_utf8(&document).expect("XML");
        let certificates = xml.split("X509Certificate>").skip(1).step_by(2).map(|rest| {
            let digits = rest
                .split('<')
                .next()
                .expect("text")
                .split_whitespace()
                .collect::<String>();
            base64::engine::general_purpose::STANDARD
                .decode(digits)
                .expect("base64")
        });
        let root = certificates_in_pem(&read("nvidia/rim/rim-root.crt"))
            .expect("the root")
            .into_iter();
        let bounds: Vec<_> = certificates
            .chain(root)
            .map(|der| Bound::of("nvidia-manifest-validity", &der))
            .collect();
        assert!(bounds.len() > 2);
        assert_bounds(text(vector, "name"), &bounds, |now| {
            failed(&explain_reference_manifest(&document, now))
        });
        count += 1;
    }
    assert_eq!(count, 3, "manifests");
}
