//! Azure's reports of the paravisor, vTPM quotes, registers and certificates of the vTPM's key.

use attestation::{AppraisalPolicy, AzureEvidence, EndorsementKind, Endorsements, Verdict, Verifier};

use super::{Fate, assert_none_accepted, copy, fate, number, pem, reports, resize, swap};
use crate::azure;
use crate::random::Random;

type Accepts = dyn Fn(&AzureEvidence, &Endorsements) -> bool + Send + Sync;

struct Accepted {
    evidence: AzureEvidence,
    endorsements: Endorsements,
    accepts: Box<Accepts>,
}

fn all() -> Option<Vec<Accepted>> {
    let (folder, vectors) = azure::vectors()?;
    let of = |vector| {
        let real = azure::Real::new(&folder, vector);
        let (evidence, endorsements) = (real.evidence(), real.endorsements());
        let with_crl = endorsements.document(EndorsementKind::SnpCrl).is_some();
        let policy = AppraisalPolicy::from_toml(&real.policy(&evidence, with_crl)).expect("the policy reads");
        let (verifier, asked, tag, now) = (Verifier::new(policy), real.asked(), real.tag(), real.now());
        let accepts = move |evidence: &AzureEvidence, endorsements: &Endorsements| {
            let explanation =
                verifier.explain_azure_evidence(tag, evidence, None, endorsements, Some(&asked), now);
            matches!(explanation.verdict, Verdict::Accepted(_))
        };
        accepts(&evidence, &endorsements).then(|| Accepted {
            evidence,
            endorsements,
            accepts: Box::new(accepts),
        })
    };
    Some(vectors.iter().filter_map(of).collect())
}

/// Header, hardware report or runtime data of the paravisor's report.
fn paravisor(random: &mut Random, hcl: &mut Vec<u8>, other: &[u8], on_tdx: bool) {
    let end = hcl.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    match random.below(9) {
        0 | 1 => {
            let at = *random.pick(&[0, 4, 8, 12, 16, 20, 24, 28, 1216, 1220, 1224, 1228, 1232]);
            number(random, hcl, at, 4);
        }
        2 | 3 if !on_tdx => {
            let mut report = hcl[32..1216].to_vec();
            reports::mutate(random, &mut report, other.get(32..1216).unwrap_or_default());
            report.resize(1184, 0);
            hcl[32..1216].copy_from_slice(&report);
        }
        // A TDREPORT from its TEE_TCB_INFO on: what stands before has parts that nothing outside the CPU binds.
        2 | 3 => random.flip(hcl, 32 + 256, 1216),
        4 => copy(hcl, other, 1216, end.saturating_sub(1216)),
        5 => copy(hcl, other, 32, 1184),
        6 => {
            let text = String::from_utf8_lossy(&hcl[1236..end]).into_owned();
            let (from, to) = *random.pick(&[
                ("HCLAkPub", "HCLEkPub"),
                ("HCLEkPub", "HCLAkPub"),
                ("\"secure-boot\":true", "\"secure-boot\":false"),
                ("\"kid\"", "\"kxd\""),
                ("AQAB", "AQAD"),
                ("true", "null"),
                ("{", "{\"keys\":[],"),
                ("\"n\"", "\"m\""),
                ("RSA", "oct"),
                ("vmUniqueId", "vmUniqueID"),
            ]);
            let changed = text.replacen(from, to, 1).into_bytes();
            hcl.splice(1236..end, changed);
        }
        7 => random.flip(hcl, 1216, end),
        _ => resize(random, hcl),
    }
}

fn mutate(random: &mut Random, evidence: &mut AzureEvidence, other: &AzureEvidence) {
    let on_tdx = evidence.td_quote.is_some();
    match random.below(10) {
        0..5 => paravisor(random, &mut evidence.hcl_report, &other.hcl_report, on_tdx),
        5 => {
            let end = evidence.quote_message.len();
            match random.below(3) {
                0 => evidence.quote_message.clone_from(&other.quote_message),
                1 => resize(random, &mut evidence.quote_message),
                _ => random.flip(&mut evidence.quote_message, 0, end),
            }
        }
        6 => match random.below(3) {
            0 => evidence.quote_signature.clone_from(&other.quote_signature),
            1 => evidence.quote_signature.fill(random.byte()),
            _ => random.flip(&mut evidence.quote_signature, 0, 256),
        },
        7 => swap(
            &mut evidence.pcr_values,
            32 * random.below(24),
            32 * random.below(24),
            32,
        ),
        8 => {
            let pcr = 32 * random.below(24);
            match random.below(3) {
                0 => copy(&mut evidence.pcr_values, &other.pcr_values, pcr, 32),
                1 => resize(random, &mut evidence.pcr_values),
                _ => random.flip(&mut evidence.pcr_values, 0, 768),
            }
        }
        _ => evidence.td_quote = other.td_quote.clone().or_else(|| Some(vec![4, 0])),
    }
}

/// Nothing signs the header of the paravisor's report. Its version means nothing as long as it is one of the two
/// that there are, and the zero padding after the report means nothing either.
fn trimmed(evidence: &AzureEvidence) -> AzureEvidence {
    let mut trimmed = evidence.clone();
    if matches!(evidence.hcl_report.get(4..8), Some([1 | 2, 0, 0, 0])) {
        trimmed.hcl_report[4] = 1;
    }
    let end = trimmed.hcl_report.iter().rposition(|byte| *byte != 0);
    trimmed.hcl_report.truncate(end.map_or(0, |at| at + 1));
    trimmed
}

#[test]
fn no_mutant_of_azures_real_evidence_is_accepted() {
    let Some(all) = all() else { return };
    assert!(all.len() >= 5, "{} accepted", all.len());
    assert_none_accepted("paravisors", 4_000, |random| -> Fate {
        let (one, other) = (random.pick(&all), random.pick(&all));
        let mut evidence = one.evidence.clone();
        mutate(random, &mut evidence, &other.evidence);
        let same = trimmed(&evidence) == trimmed(&one.evidence);
        let [original, changed] =
            [&one.evidence, &evidence].map(|evidence| evidence.encode().unwrap_or_default());
        fate(same, &original, &changed, || {
            (one.accepts)(&evidence, &one.endorsements)
        })
    });
}

#[test]
fn the_version_of_a_real_paravisors_report_is_one_of_two() {
    let Some(all) = all() else { return };
    for one in &all {
        for version in (0..256).chain([0x0101, 0x0001_0001, u32::MAX]) {
            let mut evidence = one.evidence.clone();
            evidence.hcl_report[4..8].copy_from_slice(&version.to_le_bytes());
            let accepted = (one.accepts)(&evidence, &one.endorsements);
            assert_eq!(accepted, matches!(version, 1 | 2), "version {version}");
        }
    }
}

/// Without the policy's exception for keys without certificates this would be worth less: the policy has it, and
/// still a chain that is there must hold.
#[test]
fn no_mutant_of_a_real_vtpm_keys_certificates_is_accepted() {
    let Some(all) = all() else { return };
    let chain = |one: &Accepted| {
        one.endorsements
            .document(EndorsementKind::VtpmAkChain)
            .map(<[u8]>::to_vec)
    };
    let one = all
        .iter()
        .find(|one| chain(one).is_some())
        .expect("a key with certificates");
    let own = chain(one).expect("a chain");
    assert_none_accepted("certificates of vTPM keys", 1_000, |random| -> Fate {
        let changed = pem::mutate(random, &own, &own);
        let same = pem::same(&changed, &own);
        let mut endorsements = one.endorsements.clone();
        endorsements.insert(EndorsementKind::VtpmAkChain, changed.clone());
        fate(same, &own, &changed, || {
            (one.accepts)(&one.evidence, &endorsements)
        })
    });
}
