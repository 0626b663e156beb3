//! Raw reports and quotes: `adyton verify FILE`, `adyton inspect FILE`.

use std::fs;
use std::path::{Path, PathBuf};

use attestation::PlatformTag;

use crate::support::{Ran, adyton, text, vectors};

/// A report with its certificates in one folder, and a policy drafted from it.
struct Place {
    folder: tempfile::TempDir,
    report: PathBuf,
    policy: PathBuf,
}

const AT: &str = "2026-07-01T00:00:00Z";

impl Place {
    fn new() -> Option<Self> {
        let vectors = vectors()?;
        let folder = tempfile::tempdir().expect("a folder");
        let copy = |from: &str, to: &str| {
            let to = folder.path().join(to);
            fs::copy(vectors.join(from), &to).expect("a vector");
            to
        };
        let report = copy("snp/snp-genoa-v3-tinfoil-live/report.bin", "report.bin");
        let leaf = fs::read_dir(vectors.join("snp/snp-genoa-v3-tinfoil-live")).expect("a folder");
        let leaf = leaf
            .map(|entry| entry.expect("an entry").path())
            .find(|path| path.extension().is_some_and(|extension| extension == "der"))
            .expect("a leaf");
        fs::copy(leaf, folder.path().join("leaf.der")).expect("a vector");
        copy("trust-roots/amd-ask-genoa.der", "ask.der");
        let policy = folder.path().join("policy.toml");
        let drafted = adyton(
            &[
                "policy",
                "new",
                text(&report),
                "--endorsements",
                text(folder.path()),
                "--out",
                text(&policy),
            ],
            b"",
        );
        assert_eq!(drafted.code, 0, "{}", drafted.stderr);
        // The vector has no revocation list: the policy must say that it does without.
        let written = fs::read_to_string(&policy).expect("the draft");
        let changed = written.replace("exceptions = []", "exceptions = [\"absent-revocation-list\"]");
        assert_ne!(written, changed);
        fs::write(&policy, changed).expect("it is written");
        Some(Self {
            folder,
            report,
            policy,
        })
    }

    fn verify(&self, file: &Path, more: &[&str]) -> Ran {
        let fixed = [
            "verify",
            text(file),
            "--policy",
            text(&self.policy),
            "--at",
            AT,
            "--json",
        ];
        adyton(&[&fixed[..], more].concat(), b"")
    }
}

#[test]
fn a_report_is_accepted_with_what_lies_beside_it_and_only_if_it_is_bound() {
    let Some(place) = Place::new() else { return };
    let report = fs::read(&place.report).expect("the report");
    let own = hex::encode(&report[0x50..0x90]);
    let bound = place.verify(&place.report, &["--report-data", &own]);
    assert_eq!(bound.code, 0, "{}", bound.stdout);
    assert_eq!(bound.json()["bound"], true);
    let other = place.verify(&place.report, &["--report-data", &"00".repeat(64)]);
    assert_eq!((other.code, other.failed()), (10, vec!["report-data".to_owned()]));
    let unbound = place.verify(&place.report, &["--unbound"]);
    assert_eq!(unbound.code, 0);
    assert_eq!(unbound.json()["bound"], false);
    // Nobody said what it must carry: everything is shown, and nothing accepted.
    let open = place.verify(&place.report, &[]);
    assert_eq!((open.code, open.failed()), (10, Vec::new()));
    assert_eq!(open.json()["error"]["clause"], "report-data");
}

#[test]
fn what_no_file_brings_is_taken_from_the_cache_of_that_machine() {
    let Some(place) = Place::new() else { return };
    let report = fs::read(&place.report).expect("the report");
    let beside = client::endorsement_files::read(&[place.folder.path().to_owned()]).expect("readable");
    let subject = attestation::endorsement_subject(PlatformTag::AmdSevSnp, &report).expect("a machine");
    let (nothing, kept) = (tempfile::tempdir(), tempfile::tempdir());
    let (nothing, kept) = (nothing.expect("a folder"), kept.expect("a folder"));
    let without = [
        "--unbound",
        "--endorsements",
        text(nothing.path()),
        "--cache",
        text(kept.path()),
    ];
    assert_eq!(
        place.verify(&place.report, &without).failed(),
        ["snp-certificates"]
    );
    endorser::Cache::open(kept.path())
        .and_then(|cache| cache.store(PlatformTag::AmdSevSnp, &subject, &beside))
        .expect("it is kept");
    let ran = place.verify(&place.report, &without);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert!(ran.stderr.contains("from the cache: snp-leaf"), "{}", ran.stderr);
    // Another machine's cache is of no use: a changed chip id names another subject.
    let mut other = report;
    other[0x1a0] ^= 1;
    let changed = nothing.path().join("changed.bin");
    fs::write(&changed, &other).expect("it is written");
    assert!(
        place
            .verify(&changed, &without)
            .failed()
            .contains(&"snp-certificates".to_owned())
    );
}

#[test]
fn what_is_missing_or_changed_is_named() {
    let Some(place) = Place::new() else { return };
    let mut report = fs::read(&place.report).expect("the report");
    report[0x90] ^= 1;
    let changed = place.folder.path().join("changed.bin");
    fs::write(&changed, &report).expect("it is written");
    let ran = place.verify(&changed, &["--unbound"]);
    assert_eq!(ran.failed(), ["snp-report-signature", "snp-measurement"]);
    let nothing = tempfile::tempdir().expect("a folder");
    let endorsements = ["--unbound", "--endorsements", text(nothing.path())];
    let ran = place.verify(&place.report, &endorsements);
    assert_eq!(ran.failed(), ["snp-certificates"]);
    let short = place.folder.path().join("short.bin");
    fs::write(&short, &report[..100]).expect("it is written");
    let ran = place.verify(&short, &[]);
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].clone()),
        (20, "bundle-shape".into())
    );
}

#[test]
fn an_unbound_verdict_says_so_to_a_person() {
    let Some(place) = Place::new() else { return };
    let arguments = [
        "verify",
        text(&place.report),
        "--policy",
        text(&place.policy),
        "--at",
        AT,
    ];
    let ran = adyton(&[&arguments[..], &["--unbound"]].concat(), b"");
    assert!(ran.stdout.starts_with("ACCEPTED"), "{}", ran.stdout);
    assert!(ran.stdout.contains("UNBOUND"), "{}", ran.stdout);
    let ran = adyton(&arguments, b"");
    assert!(ran.stdout.starts_with("REJECTED"), "{}", ran.stdout);
    assert!(ran.stdout.contains("--report-data"), "{}", ran.stdout);
}

#[test]
fn every_kind_of_file_shows_its_fields_by_the_specifications_names() {
    let Some(vectors) = vectors() else { return };
    for (file, names) in [
        (
            "snp/snp-turin-v5-anolis/report.bin",
            ["LAUNCH_MIT_VECTOR", "COMMITTED_TCB"],
        ),
        ("tdx/tdx-v5-google/quote.bin", ["MRSERVICETD", "PCK FMSPC"]),
        ("azure/azure-tdx-coco/hcl-report.bin", ["HCLAkPub", "secure-boot"]),
        ("azure/azure-tdx-coco/tpm-quote.msg", ["pcrSelect", "extraData"]),
        ("nvidia/nvidia-hopper/evidence.bin", ["FWID", "VBIOS manifest"]),
        ("trust-roots/amd-ask-genoa.der", ["subject", "not after"]),
        ("crl/amd-milan-empty.crl", ["issuer", "next update"]),
    ] {
        let path = vectors.join(file);
        let ran = adyton(&["inspect", text(&path), "--json"], b"");
        assert_eq!(ran.code, 0, "{file}: {}{}", ran.stdout, ran.stderr);
        let document = ran.json();
        let fields = document["parts"][0]["fields"].as_array().expect("fields");
        for name in names {
            assert!(fields.iter().any(|field| field["name"] == name), "{file}: {name}");
        }
        let plain = adyton(&["inspect", text(&path)], b"");
        assert!(plain.stdout.contains(names[0]), "{file}");
    }
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("noise");
    fs::write(&path, [7; 100]).expect("it is written");
    let ran = adyton(&["inspect", text(&path), "--json"], b"");
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].clone()),
        (20, "malformed".into())
    );
}
