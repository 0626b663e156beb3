//! Real evidence, each with the verdict that it must get.

use attestation::{AppraisalPolicy, AzureEvidence, EndorsementKind, Verdict, Verifier};

use super::vectors::{Real, failed, pem, text, vectors};

#[test]
fn real_evidence_gets_its_expected_verdict() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    for vector in &vectors {
        let real = Real::new(&folder, vector);
        let failed = failed(&real.explain(&real.evidence()));
        // Three have no vTPM quote; one of these has no TD quote either.
        let expected: &[_] = match real.name {
            "azure-snp-milan-v2-kinvolk" => &["snp-chip-id", "snp-report-signature", "vtpm-quote-kind"],
            "azure-tdx-hcl-only-kinvolk" => &["azure-td-quote", "tdx-quote-version", "vtpm-quote-kind"],
            "azure-tdx-openpcc" => &["vtpm-quote-kind"],
            "azure-tdx-coco" => &["tdx-tcb-status"],
            _ => &[],
        };
        assert_eq!(failed, expected.iter().copied().collect(), "{}", real.name);
        let accepted = text(vector["expected"].as_table().expect("expected"), "verdict") == "accept";
        assert_eq!(
            accepted,
            expected.is_empty() || real.name == "azure-tdx-openpcc",
            "{}",
            real.name
        );
    }
    assert_eq!(vectors.len(), 10, "vectors of Azure");
}

#[test]
fn real_evidence_is_refused_for_another_nonce_and_under_strict_policies() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    for vector in &vectors {
        let real = Real::new(&folder, vector);
        let evidence = real.evidence();
        if !failed(&real.explain(&evidence)).is_empty() {
            continue;
        }
        let endorsements = real.endorsements();
        let with = |from: &str, to: &str| {
            let change = |policy: String| {
                assert!(policy.contains(from), "{from}");
                policy.replacen(from, to, 1)
            };
            failed(&real.explain_with(&evidence, &endorsements, change))
        };
        let name = real.name;
        assert_eq!(
            with("\"console-enabled\", ", ""),
            ["azure-console"].into(),
            "{name}"
        );
        let other = "vm_ids = [\"00000000-0000-0000-0000-000000000000\"]";
        assert_eq!(with("vm_ids = \"any\"", other), ["azure-vm-id"].into(), "{name}");
        let (pcr, zero) = (hex::encode(&evidence.pcr_values[..32]), "00".repeat(32));
        assert_eq!(
            with(&format!("0 = [\"{pcr}\"]"), &format!("0 = [\"{zero}\"]")),
            ["vtpm-pcr-values"].into()
        );
        assert_eq!(
            with(&format!("0 = [\"{pcr}\"]"), ""),
            ["vtpm-pcr-selection"].into(),
            "{name}"
        );
        let paravisor = if real.on_tdx {
            ("mrtd = [\"", "tdx-mrtd")
        } else {
            ("launch_measurements = [\"", "snp-measurement")
        };
        let measurement = format!("{}{}\", \"", paravisor.0, "00".repeat(48));
        assert!(with(paravisor.0, &measurement).is_empty(), "one of two is enough");
        let certificate = endorsements.document(EndorsementKind::VtpmAkChain).is_some();
        let strict = with("\"absent-ak-certificate\", ", "");
        assert_eq!(strict.is_empty(), certificate, "{name}");
        assert!(
            strict.is_empty() || strict == ["azure-ak-certificates"].into(),
            "{name}"
        );

        let policy = AppraisalPolicy::from_toml(&real.policy(
            &evidence,
            endorsements.document(EndorsementKind::SnpCrl).is_some(),
        ));
        let verifier = Verifier::new(policy.expect("the policy reads"));
        let asked = real.asked();
        for other in [&asked[..asked.len() - 1], &[&asked[..], &[0]].concat()] {
            let explanation = verifier.explain_azure_evidence(
                real.tag(),
                &evidence,
                None,
                &endorsements,
                Some(other),
                real.now(),
            );
            assert_eq!(failed(&explanation), ["vtpm-extra-data"].into(), "{name}");
        }
    }
}

#[test]
fn the_certificates_of_a_real_key_lead_to_azures_root() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    let vector = vectors
        .iter()
        .find(|vector| text(vector, "name") == "azure-tdx-flashbots-ak-chain");
    let real = Real::new(&folder, vector.expect("the vector"));
    let chain: Vec<_> = real
        .companions()
        .filter(|companion| text(companion, "role").starts_with("vTPM AK certificate chain"))
        .map(|companion| real.read(companion))
        .collect();
    let root = real.companion("azure-virtual-tpm-root-2023").expect("the root");
    let other_root = real
        .companion("microsoft-rsa-devices-root-2021")
        .expect("another root");
    let failed = |chain: &[Vec<u8>]| {
        let mut endorsements = real.endorsements();
        endorsements.insert(EndorsementKind::VtpmAkChain, pem(chain));
        failed(&real.explain_with(&real.evidence(), &endorsements, |policy| policy))
    };
    assert_eq!(chain.len(), 3);
    let [leaf, issuer, authority] = [chain[0].clone(), chain[1].clone(), chain[2].clone()];
    assert_eq!(failed(&chain), [].into());
    let mut padded = leaf.clone();
    padded.resize(4096, 0);
    assert_eq!(failed(&[padded, issuer.clone(), authority.clone()]), [].into());
    assert_eq!(failed(&[chain.clone(), vec![root]].concat()), [].into());
    assert_eq!(
        failed(&[chain.clone(), vec![other_root]].concat()),
        ["azure-ak-chain"].into()
    );
    assert_eq!(failed(&chain[..2]), ["azure-ak-chain"].into());
    assert_eq!(
        failed(&[leaf.clone(), authority.clone()]),
        ["azure-ak-chain"].into()
    );
    // Its issuer's certificate in the place of its own.
    assert_eq!(failed(&chain[1..]), ["azure-ak-chain", "azure-ak-key"].into());
    for at in (0..leaf.len()).step_by(9) {
        let mut changed = leaf.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(
            !failed(&[changed, issuer.clone(), authority.clone()]).is_empty(),
            "byte {at}"
        );
    }
}

/// One part of evidence, to change.
type Part = fn(&mut AzureEvidence) -> &mut Vec<u8>;

/// Real evidence with a bit changed in each byte of its headers and its quote, in every third byte of the
/// hardware report and the runtime data; and cut short. CPUSVN and MAC of a TDREPORT are covered by nothing
/// outside the processor, and nothing relies on them.
#[test]
fn changed_and_cut_real_evidence_is_refused() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    for name in ["azure-snp-genoa-v3-coco", "azure-tdx-flashbots-ak-chain"] {
        let vector = vectors.iter().find(|vector| text(vector, "name") == name);
        let real = Real::new(&folder, vector.expect("the vector"));
        let (good, endorsements) = (real.evidence(), real.endorsements());
        let with_crl = endorsements.document(EndorsementKind::SnpCrl).is_some();
        let policy = AppraisalPolicy::from_toml(&real.policy(&good, with_crl)).expect("the policy reads");
        let (verifier, asked) = (Verifier::new(policy), real.asked());
        let accepted = |evidence: &AzureEvidence| {
            let explanation = verifier.explain_azure_evidence(
                real.tag(),
                evidence,
                None,
                &endorsements,
                Some(&asked),
                real.now(),
            );
            matches!(explanation.verdict, Verdict::Accepted(_))
        };
        assert!(accepted(&good), "{name}");
        let padding = good
            .hcl_report
            .iter()
            .rposition(|byte| *byte != 0)
            .expect("a report");
        let headers = |at: &usize| *at < 32 || (1216..1240).contains(at);
        let report = (0..padding + 3).filter(|at| headers(at) || at % 3 == 0).collect();
        let all = |part: &[u8]| (0..part.len()).collect::<Vec<_>>();
        let parts: [(Part, Vec<usize>); 4] = [
            (|evidence| &mut evidence.hcl_report, report),
            (|evidence| &mut evidence.quote_message, all(&good.quote_message)),
            (
                |evidence| &mut evidence.quote_signature,
                all(&good.quote_signature),
            ),
            (|evidence| &mut evidence.pcr_values, (0..768).step_by(5).collect()),
        ];
        for (number, (part, positions)) in parts.into_iter().enumerate() {
            let mut evidence = good.clone();
            for at in &positions {
                let outside = (48..64).contains(at) || (256..288).contains(at);
                let unbound = real.on_tdx && number == 0 && outside;
                part(&mut evidence)[*at] ^= 1 << (at % 8);
                assert_eq!(accepted(&evidence), unbound, "{name} part {number} byte {at}");
                part(&mut evidence)[*at] ^= 1 << (at % 8);
            }
            for end in positions.iter().step_by(9).filter(|end| **end <= padding) {
                let mut cut = good.clone();
                part(&mut cut).truncate(*end);
                assert!(!accepted(&cut), "{name} part {number} cut at {end}");
            }
        }
    }
}

#[test]
fn a_log_of_other_pcrs_is_refused() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    let other = std::fs::read(folder.join("measurement/tcg-eventlog-ovmf-uki.bin")).expect("a log");
    for vector in &vectors {
        let real = Real::new(&folder, vector);
        let evidence = real.evidence();
        if !failed(&real.explain(&evidence)).is_empty() {
            continue;
        }
        for log in [&other[..], b"no log"] {
            let explanation = real.explain_log(&evidence, Some(log), &real.endorsements(), |policy| policy);
            assert_eq!(failed(&explanation), ["vtpm-event-log"].into(), "{}", real.name);
        }
    }
}
