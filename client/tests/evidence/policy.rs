//! `adyton policy`.

use std::{fs, path::Path};

use attestation::{AzureEvidence, Bundle, EndorsementKind, Endorsements, PlatformTag};
use toml::{Table, Value};

use crate::support::{adyton, text, vectors};

#[test]
fn a_draft_reads_says_what_it_leaves_open_and_differs_from_none_in_what_it_accepts() {
    let Some(vectors) = vectors() else { return };
    let place = tempfile::tempdir().expect("a folder");
    let draft = place.path().join("policy.toml");
    let quote = vectors.join("tdx/tdx-v4-near/quote.bin");
    let ran = adyton(&["policy", "new", text(&quote), "--out", text(&draft)], b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let written = fs::read_to_string(&draft).expect("the draft");
    assert!(written.contains("# Firmware; its configuration"), "{written}");

    let checked = adyton(&["policy", "check", text(&draft), "--json"], b"");
    assert_eq!(checked.code, 0);
    let codes = checked.json()["findings"].to_string();
    assert!(codes.contains("policy-placeholder"), "{codes}");
    assert!(!codes.contains("policy-any-machine"), "{codes}");
    assert_eq!(
        adyton(&["policy", "check", text(&draft), "--strict"], b"").code,
        1
    );

    let wider = place.path().join("wider.toml");
    let changed = written.replace("evaluation_number_minimum = 18", "evaluation_number_minimum = 17");
    assert_ne!(changed, written);
    fs::write(&wider, changed).expect("it is written");
    let ran = adyton(&["policy", "diff", text(&draft), text(&wider), "--json"], b"");
    assert_eq!(
        ran.json()["newly_accepted"][0]["key"],
        "tdx.evaluation_number_minimum"
    );
    assert_eq!(ran.json()["newly_refused"], serde_json::json!([]));
    let same = adyton(&["policy", "diff", text(&draft), text(&draft)], b"");
    assert!(same.stdout.contains("both accept the same"));
}

#[test]
fn what_is_no_policy_and_no_evidence_is_named() {
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("policy.toml");
    fs::write(&file, "version = 1\nunknown = 2\n").expect("it is written");
    let ran = adyton(&["policy", "check", text(&file), "--json"], b"");
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].clone()),
        (1, "policy-syntax".into())
    );
    let ran = adyton(&["policy", "new", text(&file), "--json"], b"");
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].clone()),
        (20, "malformed".into())
    );
}

/// A bundle as an Azure guest would send it, from a vector's parts; nothing in it answers a nonce of ours.
fn azure_bundle(folder: &Path, platform: PlatformTag) -> Vec<u8> {
    let read = |name: &str| fs::read(folder.join(name)).expect("a part of the vector");
    let mut endorsements = Endorsements::new();
    if platform == PlatformTag::AzureAmdSevSnp {
        endorsements.insert(EndorsementKind::SnpLeaf, read("vcek.der"));
    }
    let evidence = AzureEvidence {
        hcl_report: read("hcl-report.bin"),
        td_quote: (platform == PlatformTag::AzureIntelTdx).then(|| read("quote.bin")),
        quote_message: read("tpm-quote.msg"),
        quote_signature: attestation::rsassa_signature(&read("tpm-quote.sig"))
            .map_or_else(|| read("tpm-quote.sig"), <[u8]>::to_vec),
        pcr_values: read("pcrs-sha256.bin"),
    };
    let bundle = Bundle {
        platform,
        evidence: evidence.encode().expect("within the bounds"),
        statement: Vec::new(),
        event_log: None,
        endorsements,
        devices: Vec::new(),
    };
    bundle.encode().expect("within the bounds")
}

#[test]
fn a_draft_for_azure_pins_the_guest_by_its_pcrs_and_must_show_what_was_measured() {
    let Some(vectors) = vectors() else { return };
    let place = tempfile::tempdir().expect("a folder");
    let path = |name: &str| place.path().join(name);
    for (name, platform, processor) in [
        ("azure-snp-genoa-v3-coco", PlatformTag::AzureAmdSevSnp, "snp"),
        ("azure-snp-milan-v3-lunal", PlatformTag::AzureAmdSevSnp, "snp"),
        ("azure-tdx-coco", PlatformTag::AzureIntelTdx, "tdx"),
    ] {
        let folder = vectors.join("azure").join(name);
        fs::write(path("bundle"), azure_bundle(&folder, platform)).expect("written");
        let ran = adyton(
            &[
                "policy",
                "new",
                text(&path("bundle")),
                "--out",
                text(&path("draft")),
            ],
            b"",
        );
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        let draft: Table = fs::read_to_string(path("draft"))
            .expect("a draft")
            .parse()
            .expect("TOML");
        let azure = draft["azure"].as_table().expect("a table");
        assert!(azure.contains_key(processor), "{name}");
        let values = fs::read(folder.join("pcrs-sha256.bin")).expect("values");
        let value = |pcr: usize| hex::encode(&values[pcr * 32..][..32]);
        for pcr in [4, 9, 11] {
            assert_eq!(
                azure["pcrs"][pcr.to_string()][0].as_str(),
                Some(&*value(pcr)),
                "{name}"
            );
        }
        assert_eq!(azure["pcrs"].as_table().map(Table::len), Some(24), "{name}");
        assert_eq!(azure["pcrs"]["10"].as_str(), Some("any"));

        // The evidence holds under its own draft in everything that the vector has.
        let ran = adyton(
            &[
                "verify",
                text(&folder.join("hcl-report.bin")),
                "--policy",
                text(&path("draft")),
                "--unbound",
                "--json",
                "--tpm-quote",
                text(&folder.join("tpm-quote.msg")),
                "--tpm-signature",
                text(&folder.join("tpm-quote.sig")),
                "--pcrs",
                text(&folder.join("pcrs-sha256.bin")),
                "--endorsements",
                text(&folder),
                "--at",
                "1760000000",
            ],
            b"",
        );
        let failed = ran.failed();
        assert!(
            !failed
                .iter()
                .any(|clause| clause.starts_with("azure-") && !clause.starts_with("azure-td-")),
            "{name}: {failed:?}"
        );

        // What was measured is shown, or the draft is refused and not written.
        let measured = |pcr11: &str| format!("[azure.pcrs]\n4 = [\"{}\"]\n11 = [\"{pcr11}\"]\n", value(4));
        for (pcr11, code) in [(value(11), 0), ("ee".repeat(32), 10)] {
            fs::write(path("measured"), measured(&pcr11)).expect("written");
            let _ = fs::remove_file(path("compared"));
            let ran = adyton(
                &[
                    "policy",
                    "new",
                    text(&path("bundle")),
                    "--measured",
                    text(&path("measured")),
                    "--out",
                    text(&path("compared")),
                    "--json",
                ],
                b"",
            );
            assert_eq!(ran.code, code, "{name}: {}{}", ran.stdout, ran.stderr);
            assert_eq!(path("compared").exists(), code == 0);
            if code == 10 {
                assert_eq!(ran.json()["error"]["code"], "measurement-mismatch");
                assert!(ran.stdout.contains("azure.pcrs.11"), "{}", ran.stdout);
            }
        }
    }
    let secure_boot = |exceptions: &Value| exceptions.to_string().contains("secure-boot-disabled");
    let draft: Table = fs::read_to_string(path("draft"))
        .expect("a draft")
        .parse()
        .expect("TOML");
    assert!(!secure_boot(&draft["azure"]["exceptions"]), "it was on");
}

/// A quote and log of a real machine of Compute Engine: its firmware's events stand among those of what it booted.
#[test]
fn a_draft_by_events_accepts_the_machine_and_must_have_the_images_events() {
    const BOOTED: &str =
        "5a10026c9ad41d1f90dc9cfe88bcabe1842ccfd85495c81b1a1ab926a9ef23b5d2e60eefeba0415bbe5c8c328a899a0a";
    let Some(vectors) = vectors() else { return };
    let folder = vectors.join("gcp/gcp-tdx-cos113-ccel");
    let place = tempfile::tempdir().expect("a folder");
    let path = |name: &str| place.path().join(name);
    let bundle = Bundle {
        platform: PlatformTag::IntelTdx,
        evidence: fs::read(folder.join("quote.bin")).expect("the quote"),
        statement: Vec::new(),
        event_log: Some(fs::read(folder.join("ccel.bin")).expect("the log")),
        endorsements: Endorsements::new(),
        devices: Vec::new(),
    };
    fs::write(path("bundle"), bundle.encode().expect("within the bounds")).expect("written");
    let new = |digest: &str| {
        let measured =
            format!("[tdx]\nrtmr1 = \"events\"\nrtmr2 = \"events\"\nevent_digests = [\"{digest}\"]\n");
        fs::write(path("measured"), measured).expect("written");
        adyton(
            &[
                "policy",
                "new",
                text(&path("bundle")),
                "--measured",
                text(&path("measured")),
                "--out",
                text(&path("draft")),
                "--json",
            ],
            b"",
        )
    };
    let other = new(&"0a".repeat(48));
    assert_eq!(other.code, 10, "{}", other.stderr);
    assert!(other.stdout.contains("tdx.event_digests"), "{}", other.stdout);
    assert_eq!(new(BOOTED).code, 0);
    let draft = fs::read_to_string(path("draft")).expect("a draft");
    assert!(
        draft.contains(&format!(
            "    \"{BOOTED}\", # RTMR 1, EV_EFI_BOOT_SERVICES_APPLICATION"
        )),
        "{draft}"
    );

    let verify = || {
        adyton(
            &[
                "verify",
                text(&folder.join("quote.bin")),
                "--event-log",
                text(&folder.join("ccel.bin")),
                "--policy",
                text(&path("draft")),
                "--unbound",
                "--json",
            ],
            b"",
        )
    };
    // The collateral of this machine is not at hand; its registers hold.
    let of_registers = |failed: Vec<String>| -> Vec<String> {
        failed
            .into_iter()
            .filter(|clause| clause.starts_with("tdx-rtmr") || clause.starts_with("tdx-event"))
            .collect()
    };
    assert_eq!(of_registers(verify().failed()), [""; 0]);
    fs::write(path("draft"), draft.replace(BOOTED, &"0a".repeat(48))).expect("written");
    assert!(
        !of_registers(verify().failed()).is_empty(),
        "an event that is not listed"
    );
}
