//! Endorsements under a root made here: no real one is at hand. They prove that each check is there.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use std::sync::OnceLock;

use base64::Engine as _;
use proptest::prelude::*;
use simulated::gce::{Chain, Golden, LaunchEndorser};

use super::{Evidence, RULES, examine};
use crate::UnixTime;
use crate::clause::Outcome;
use crate::examination::Examination;
use crate::policy::{GceFirmware, Machine};

const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);
const DAY: u64 = 24 * 3600;
const MRTD: [u8; 48] = [4; 48];
const LAUNCH_DIGEST: [u8; 48] = [3; 48];

/// This crate is linked twice: times cross over as numbers.
fn endorser(chain: Chain) -> LaunchEndorser {
    let now = simulated::UnixTime::from_seconds(NOW.seconds() - 10 * DAY);
    LaunchEndorser::new(now, 100 * DAY, chain).expect("an endorser")
}

fn google() -> &'static LaunchEndorser {
    static GOOGLE: OnceLock<LaunchEndorser> = OnceLock::new();
    GOOGLE.get_or_init(|| endorser(Chain::Direct))
}

fn golden(endorser: &LaunchEndorser) -> Golden {
    let mut golden = endorser.golden(simulated::UnixTime::from_seconds(NOW.seconds() - DAY));
    golden.of_ram_gib = alloc::vec![(8, alloc::vec![7; 48]), (16, MRTD.to_vec())];
    golden.of_vcpus = alloc::vec![(2, alloc::vec![6; 48]), (4, LAUNCH_DIGEST.to_vec())];
    golden
}

/// Two days ago, version 2.
fn policy(endorser: &LaunchEndorser, sizes: &str) -> GceFirmware {
    let root = base64::engine::general_purpose::STANDARD.encode(endorser.root_certificate());
    let floor = UnixTime::from_seconds(NOW.seconds() - 2 * DAY);
    let text =
        alloc::format!("root_certificate = \"{root}\"\nissued_after = \"{floor}\"\nsvn_minimum = 2\n{sizes}");
    toml::from_str(&text).expect("the policy reads")
}

const ANY: &str = "ram_gib = \"any\"\nvcpus = \"any\"";

fn failed_at(
    document: Option<&[u8]>,
    policy: &GceFirmware,
    machine: Machine,
    measurement: &[u8; 48],
    now: UnixTime,
) -> BTreeSet<&'static str> {
    let mut examination = Examination::new(now);
    let evidence = Evidence {
        document,
        policy,
        machine,
        measurement,
    };
    let endorsed = examine(&mut examination, &evidence);
    let conclusion = examination.conclude(&[RULES]);
    assert_eq!(endorsed, conclusion.error.is_none());
    let failed = conclusion
        .clauses
        .iter()
        .filter(|clause| clause.outcome == Outcome::Fail);
    failed.map(|clause| clause.id).collect()
}

fn failed(document: &[u8]) -> BTreeSet<&'static str> {
    failed_at(Some(document), &policy(google(), ANY), Machine::Tdx, &MRTD, NOW)
}

fn endorsed(golden: &Golden) -> Vec<u8> {
    google().endorse(golden).expect("a signature")
}

#[test]
fn an_endorsement_of_this_measurement_is_accepted() {
    let document = endorsed(&golden(google()));
    assert_eq!(failed(&document), BTreeSet::new());
    let snp = failed_at(
        Some(&document),
        &policy(google(), ANY),
        Machine::Snp,
        &LAUNCH_DIGEST,
        NOW,
    );
    assert_eq!(snp, BTreeSet::new());
    for sizes in ["ram_gib = [16]", "ram_gib = [1, 16]"] {
        let failed = failed_at(
            Some(&document),
            &policy(google(), sizes),
            Machine::Tdx,
            &MRTD,
            NOW,
        );
        assert_eq!(failed, BTreeSet::new(), "{sizes}");
    }
}

#[test]
fn each_rule_refuses_what_it_should() {
    let with = |change: &dyn Fn(&mut Golden)| {
        let mut golden = golden(google());
        change(&mut golden);
        failed(&endorsed(&golden))
    };
    let only = |id: &'static str| BTreeSet::from([id]);
    let measurement = only("gce-endorsement-measurement");
    assert_eq!(with(&|golden| golden.of_ram_gib[1].1[47] ^= 1), measurement);
    assert_eq!(with(&|golden| golden.of_ram_gib.clear()), measurement);
    assert_eq!(with(&|golden| golden.svn = 1), only("gce-endorsement-floor"));
    assert_eq!(
        with(&|golden| golden.issued = NOW.seconds() - 2 * DAY - 1),
        only("gce-endorsement-floor")
    );
    assert_eq!(
        with(&|golden| golden.issued = NOW.seconds() - 2 * DAY),
        BTreeSet::new()
    );
    assert_eq!(
        with(&|golden| golden.issued = NOW.seconds() + 1),
        only("gce-endorsement-validity")
    );
    assert_eq!(with(&|golden| golden.issued = NOW.seconds()), BTreeSet::new());
    let format = only("gce-endorsement-format");
    assert_eq!(
        failed_at(None, &policy(google(), ANY), Machine::Tdx, &MRTD, NOW),
        format
    );
    assert_eq!(with(&|golden| golden.issued = u64::MAX), format);
    assert_eq!(
        with(&|golden| golden.firmware_digest = alloc::vec![9; 47]),
        format
    );
    assert_eq!(
        with(&|golden| golden.of_ram_gib[0].1 = alloc::vec![7; 49]),
        format
    );
    assert_eq!(with(&|golden| golden.of_vcpus[0].1.clear()), format);
    assert_eq!(
        with(&|golden| golden.of_vcpus[0].0 = 4),
        format,
        "a key of a map twice"
    );
    assert_eq!(with(&|golden| golden.of_ram_gib[0].0 = 1 << 32), format);
    assert_eq!(with(&|golden| golden.svn = 1 << 32), format);
    assert_eq!(with(&|golden| golden.ca_bundle = b"no PEM".to_vec()), format);
    assert_eq!(
        with(&|golden| golden.more = alloc::vec![0x10, 1]),
        format,
        "a field twice"
    );
    assert_eq!(with(&|golden| golden.more = alloc::vec![0x0b]), format, "a group");
    assert_eq!(
        with(&|golden| golden.more = alloc::vec![0x52, 1, 7]),
        BTreeSet::new(),
        "a field of later"
    );
    assert_eq!(
        with(&|golden| golden.certificate.clear()),
        [
            "gce-endorsement-chain",
            "gce-endorsement-signature",
            "gce-endorsement-validity"
        ]
        .into()
    );
    let large = |golden: &mut Golden| golden.more = [&[0x52, 0x80, 0x80, 0x04][..], &[0; 65536]].concat();
    assert_eq!(with(&large), format);
    for (measurement_of_other, machine) in [(&MRTD, Machine::Snp), (&LAUNCH_DIGEST, Machine::Tdx)] {
        let document = endorsed(&golden(google()));
        let failed = failed_at(
            Some(&document),
            &policy(google(), ANY),
            machine,
            measurement_of_other,
            NOW,
        );
        assert_eq!(failed, measurement);
    }
}

#[test]
fn sizes_are_those_of_the_policy() {
    let document = endorsed(&golden(google()));
    for sizes in ["ram_gib = [8]", "vcpus = \"any\"", ""] {
        let failed = failed_at(
            Some(&document),
            &policy(google(), sizes),
            Machine::Tdx,
            &MRTD,
            NOW,
        );
        assert_eq!(failed, ["gce-endorsement-measurement"].into(), "{sizes}");
    }
}

#[test]
fn only_a_signer_below_the_policys_root_is_believed() {
    let chain = ["gce-endorsement-chain", "gce-endorsement-validity"].map(String::from);
    let failed_of = |endorser: &LaunchEndorser, root: &LaunchEndorser| -> BTreeSet<String> {
        let document = endorser.endorse(&golden(endorser)).expect("a signature");
        let failed = failed_at(Some(&document), &policy(root, ANY), Machine::Tdx, &MRTD, NOW);
        failed.into_iter().map(String::from).collect()
    };
    let intermediate = endorser(Chain::Intermediate);
    assert_eq!(failed_of(&intermediate, &intermediate), BTreeSet::new());
    assert_eq!(
        failed_of(&intermediate, google()),
        chain.clone().into(),
        "another root"
    );
    let other = endorser(Chain::Direct);
    assert_eq!(
        failed_of(&other, google()),
        chain.clone().into(),
        "another root of the same name"
    );
    let no_authority = endorser(Chain::IntermediateIsNoAuthority);
    assert_eq!(failed_of(&no_authority, &no_authority), chain.into());
    let authority = endorser(Chain::SignerIsAuthority);
    let no_signer = ["gce-endorsement-chain", "gce-endorsement-signature"].map(String::from);
    assert_eq!(failed_of(&authority, &authority), no_signer.into());
    // The bundle may be left out where the root itself issued.
    let mut bare = golden(google());
    bare.ca_bundle.clear();
    assert_eq!(failed(&endorsed(&bare)), BTreeSet::new());
    let mut bare = golden(&intermediate);
    bare.ca_bundle.clear();
    let document = intermediate.endorse(&bare).expect("a signature");
    let failed = failed_at(
        Some(&document),
        &policy(&intermediate, ANY),
        Machine::Tdx,
        &MRTD,
        NOW,
    );
    assert_eq!(
        failed,
        ["gce-endorsement-chain", "gce-endorsement-validity"].into()
    );
}

#[test]
fn certificates_have_their_time() {
    let document = endorsed(&golden(google()));
    let at = |now: UnixTime| failed_at(Some(&document), &policy(google(), ANY), Machine::Tdx, &MRTD, now);
    let end = NOW.seconds() + 90 * DAY;
    assert_eq!(at(UnixTime::from_seconds(end)), BTreeSet::new());
    assert_eq!(
        at(UnixTime::from_seconds(end + 1)),
        ["gce-endorsement-validity"].into()
    );
    let mut examination = Examination::new(NOW);
    let policy = policy(google(), ANY);
    let evidence = Evidence {
        document: Some(&document),
        policy: &policy,
        machine: Machine::Tdx,
        measurement: &MRTD,
    };
    assert!(examine(&mut examination, &evidence));
    assert_eq!(
        examination.conclude(&[RULES]).valid_until,
        UnixTime::from_seconds(end)
    );
}

#[test]
fn a_signature_is_over_these_bytes_by_this_key() {
    let (golden, other) = (golden(google()), endorser(Chain::Direct));
    let forged = other.endorse(&golden).expect("a signature");
    assert_eq!(failed(&forged), ["gce-endorsement-signature"].into());
}

#[test]
fn every_changed_byte_and_every_cut_is_refused() {
    let document = endorsed(&golden(google()));
    let policy = policy(google(), ANY);
    let refused = |document: &[u8]| !failed_at(Some(document), &policy, Machine::Tdx, &MRTD, NOW).is_empty();
    for at in 0..document.len() {
        let mut changed = document.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(refused(&changed), "byte {at}");
        assert!(refused(&document[..at]), "cut at {at}");
    }
    assert!(
        refused(&[&document[..], &[0x1a, 0]].concat()),
        "a field that is not signed"
    );
    assert!(refused(&[&document[..], &document].concat()), "both fields twice");
}

#[test]
fn sizes_and_times_have_their_bounds() {
    // A field of later fills it up; its length has three bytes in all of these.
    let of = |bytes: usize| {
        let padded = |padding: usize| {
            let mut golden = golden(google());
            let length = [
                padding as u8 & 0x7f | 0x80,
                (padding >> 7) as u8 | 0x80,
                (padding >> 14) as u8,
            ];
            golden.more = [&[0x52][..], &length, &alloc::vec![0; padding]].concat();
            endorsed(&golden)
        };
        let without = padded(32 * 1024).len() - 32 * 1024;
        let document = padded(bytes - without);
        assert_eq!(document.len(), bytes);
        failed(&document)
    };
    let format = BTreeSet::from(["gce-endorsement-format"]);
    assert_eq!(of(64 * 1024), BTreeSet::new());
    assert_eq!(of(64 * 1024 + 1), format);

    // A timestamp is seconds and nanoseconds; the simulated one has 5 of these.
    let encoded = golden(google()).encode();
    let with_nanoseconds = |nanoseconds: u32| {
        let mut golden = encoded.clone();
        let length = golden[1] as usize;
        assert_eq!(golden[..1], [0x0a]);
        assert_eq!(golden[length..length + 2], [0x10, 5]);
        let mut value = Vec::new();
        let mut left = nanoseconds;
        for _ in 0..4 {
            value.push(left as u8 & 0x7f | 0x80);
            left >>= 7;
        }
        value.push(left as u8);
        golden[1] += 4;
        golden.splice(length + 1..length + 2, value);
        failed(&google().endorse_bytes(&golden).expect("a signature"))
    };
    assert_eq!(with_nanoseconds(999_999_999), BTreeSet::new());
    assert_eq!(with_nanoseconds(1_000_000_000), format);

    // Both fields, neither of them empty.
    let golden = [&[0x0a, 4][..], b"gold"].concat();
    let signature = [&[0x12, 4][..], b"sign"].concat();
    for wrapper in [
        [&golden[..], &[0x12, 0]].concat(),
        [&[0x0a, 0][..], &signature].concat(),
        golden.clone(),
        signature,
    ] {
        assert!(super::endorsement::LaunchEndorsement::parse(&wrapper).is_none());
    }
    let (whole, encoded) = (endorsed(&self::golden(google())), &encoded);
    let unsigned = [&whole[..whole.len() - 256 - 3], &[0x12, 0]].concat();
    assert!(
        unsigned
            .windows(encoded.len())
            .any(|window| window == encoded.as_slice())
    );
    assert_eq!(failed(&unsigned), format);
}

#[test]
fn what_is_wrong_with_a_chain_is_said() {
    let found = |endorser: &LaunchEndorser, root: &LaunchEndorser| {
        let document = endorser.endorse(&golden(endorser)).expect("a signature");
        let policy = policy(root, ANY);
        let mut examination = Examination::new(NOW);
        let evidence = Evidence {
            document: Some(&document),
            policy: &policy,
            machine: Machine::Tdx,
            measurement: &MRTD,
        };
        let _ = examine(&mut examination, &evidence);
        let clauses = examination.conclude(&[RULES]).clauses;
        let clause = clauses
            .into_iter()
            .find(|clause| clause.id == "gce-endorsement-chain");
        clause.expect("it was examined").found
    };
    let of_itself = |chain| {
        let endorser = endorser(chain);
        found(&endorser, &endorser)
    };
    let anchor = policy(google(), ANY).root_certificate.0.common_name.clone();
    assert_eq!(found(google(), google()), anchor);
    assert_eq!(
        of_itself(Chain::SignerIsAuthority),
        "a certificate that is not for signatures"
    );
    assert_eq!(
        of_itself(Chain::IntermediateIsNoAuthority),
        "certificate 1 is no authority"
    );
    let other = endorser(Chain::Direct);
    assert_eq!(found(&other, google()), "certificate 1 is not issued by the next");
}

proptest! {
    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!failed(&bytes).is_empty());
        let document = google().endorse_bytes(&bytes).expect("a signature");
        prop_assert!(!failed(&document).is_empty());
    }
}
