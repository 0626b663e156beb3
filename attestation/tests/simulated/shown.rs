//! What people are shown: every field of a structure, and of every clause what it expected and what it found. The
//! listings in `shown/` were read by a person; where one differs, either the words are wrong or it wants reading again.
//! `ADYTON_SHOWN=write` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use attestation::{Outcome, inspect};
use simulated::Flavor;
use simulated::adversary::{self, Domain};

use crate::support::{Case, platform};

#[track_caller]
fn assert_shown(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/simulated/shown/{name}.txt"));
    if std::env::var("ADYTON_SHOWN").as_deref() == Ok("write") {
        std::fs::write(&path, shown).expect("it is written");
    }
    let listed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, listed, "{}", path.display());
}

/// A line for each field: offset, name, value, meaning.
fn fields(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for field in inspect(bytes).expect("it has fields") {
        let offset = field
            .offset
            .map_or(String::new(), |offset| format!("{offset:#x}"));
        let line = format!("{offset:6} {} = {}", field.name, field.value);
        let meaning = if field.meaning.is_empty() { "" } else { " -- " };
        writeln!(shown, "{line}{meaning}{}", field.meaning).expect("a String takes every write");
    }
    shown
}

/// A line for each clause: outcome, id, what was expected, what was found.
fn clauses(case: &Case) -> String {
    let mut shown = String::new();
    for clause in case
        .verifier()
        .explain(&case.bundle, &case.nonce, case.now)
        .clauses
    {
        let outcome = match clause.outcome {
            Outcome::Pass => "pass",
            Outcome::Fail => "FAIL",
            Outcome::Skipped => "skip",
        };
        let line = format!("{outcome} {}: {}; {}", clause.id, clause.expected, clause.found);
        writeln!(shown, "{}", line.trim_end()).expect("a String takes every write");
    }
    shown
}

/// Bytes that say where they stand.
fn numbered(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ (at >> 8)) as u8).collect()
}

fn with(mut bytes: Vec<u8>, changes: &[(usize, &[u8])]) -> Vec<u8> {
    for (offset, change) in changes {
        bytes[*offset..offset + change.len()].copy_from_slice(change);
    }
    bytes
}

#[test]
fn fields_of_snp_reports() {
    let turin: &[u8] = &[1, 2, 3, 4, 0, 0, 0, 77];
    let genoa: &[u8] = &[10, 11, 0, 0, 0, 0, 23, 84];
    for (name, changes) in [
        (
            "snp-report-5",
            &[
                (0x000, &[5, 0, 0, 0][..]),
                (0x008, &[0x37, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
                (0x034, &[1, 0, 0, 0]),
                (0x038, turin),
                (0x040, &[0xff, 0, 0, 0, 0, 0, 0, 0x80]),
                (0x048, &[0x03, 0, 0, 0]),
                (0x180, turin),
                (0x188, &[0x1a, 0x02, 0x01]),
                (0x1f0, turin),
            ][..],
        ),
        (
            "snp-report-3",
            &[
                (0x000, &[3, 0, 0, 0]),
                (0x008, &[0x37, 0x01, 0x02, 0, 0, 0, 0, 0]),
                (0x038, genoa),
                (0x048, &[0x04, 0, 0, 0]),
                (0x0c0, &[0; 32]),
                (0x188, &[0x19, 0x11, 0x01]),
            ],
        ),
        (
            "snp-report-2",
            &[(0x000, &[2, 0, 0, 0]), (0x038, genoa), (0x048, &[0x1c, 0, 0, 0])],
        ),
        (
            "snp-report-of-no-known-processor",
            &[
                (0x000, &[4, 0, 0, 0]),
                (0x038, genoa),
                (0x188, &[0x17, 0x11, 0x01]),
            ],
        ),
    ] {
        assert_shown(name, &fields(&with(numbered(0x4a0), changes)));
    }
}

/// A quote of version 5 around numbered bytes, with text in place of certificates and three bytes after it.
fn quote(body_bytes: usize) -> Vec<u8> {
    let length = |bytes: usize| (bytes as u32).to_le_bytes();
    let kind = if body_bytes == 648 { 3 } else { 2 };
    let chain = b"no certificates";
    let certification = [
        &numbered(384 + 64)[..],
        &[2, 0, 7, 8],
        &[5, 0],
        &length(chain.len()),
        chain,
    ]
    .concat();
    let data = [
        &numbered(64 + 64)[..],
        &[6, 0],
        &length(certification.len()),
        &certification,
    ]
    .concat();
    let header = with(numbered(48), &[(0, &[5, 0, 2, 0, 0x81, 0, 0, 0])]);
    let body = [&[kind, 0][..], &length(body_bytes), &numbered(body_bytes)].concat();
    [&header[..], &body, &length(data.len()), &data, &[0; 3]].concat()
}

#[test]
fn fields_of_tdx_quotes() {
    assert_shown("tdx-quote-5", &fields(&quote(648)));
    let sgx = with(quote(584), &[(2, &[3, 0, 0, 0])]);
    assert_shown("tdx-quote-5-of-another-kind", &fields(&sgx));
    // The processor's identifier is made up anew with each platform.
    let made = fields(&Case::new(Flavor::Tdx).bundle.evidence);
    let made = made.lines().filter(|line| !line.contains("PCK PPID"));
    assert_shown(
        "tdx-quote-4",
        &made.fold(String::new(), |shown, line| shown + line + "\n"),
    );
}

/// Made up anew with each platform.
fn without(shown: String, random: &[(&[u8], &str)]) -> String {
    random.iter().fold(shown, |shown, (bytes, name)| {
        shown.replace(&hex::encode(bytes), &format!("({name})"))
    })
}

#[test]
fn clauses_of_an_snp_report() {
    let case = Case::new(Flavor::Snp);
    let chip_id = case.bundle.evidence[0x1a0..0x1e0].to_vec();
    let shown = |case: &Case| without(clauses(case), &[(&chip_id, "hardware id")]);
    assert_shown("snp-accepted", &shown(&case));
    let mut refused = case;
    refused.bundle.evidence = with(
        refused.bundle.evidence,
        &[
            (0x004, &[2, 0, 0, 0]),
            (0x008, &numbered(8)),
            (0x010, &numbered(56)),
            (0x048, &[0x03, 0, 0, 0]),
            (0x090, &numbered(0x180 - 0x090)),
        ],
    );
    adversary::sign_report(platform(), &mut refused.bundle.evidence, Domain::Simulated).expect("a signature");
    assert_shown("snp-refused", &shown(&refused));
}

#[test]
fn clauses_of_a_tdx_quote() {
    let case = Case::new(Flavor::Tdx);
    let machine = case.appraise().expect("accepted").claims().hardware_id().to_vec();
    let shown = |case: &Case| {
        let bound = &case.bundle.evidence[adversary::QE_REPORT_AT + 320..][..32];
        without(
            clauses(case),
            &[(&machine, "hardware id"), (bound, "hash of the attestation key")],
        )
    };
    assert_shown("tdx-accepted", &shown(&case));
    let mut refused = case;
    refused.bundle.evidence = with(refused.bundle.evidence, &[(48, &numbered(584))]);
    adversary::sign_quote(platform(), &mut refused.bundle.evidence, Domain::Simulated).expect("a signature");
    assert_shown("tdx-refused", &shown(&refused));
}
