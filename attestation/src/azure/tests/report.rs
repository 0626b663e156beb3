//! The HCL report, the hardware report inside, and the processor.

use alloc::format;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha384, Sha512};
use simulated::Flavor;

use super::{Case, FLAVORS, VM_ID, rehash};
use crate::PlatformTag;
use crate::azure::hcl::assemble;

#[test]
fn good_evidence_is_accepted_with_every_hash() {
    for flavor in FLAVORS {
        Case::new(flavor).refused(&[]);
        for hash_type in [2, 3] {
            let mut case = Case::new(flavor);
            case.hash_type = hash_type;
            let runtime = case.runtime.as_bytes();
            let hash = match hash_type {
                2 => Sha384::digest(runtime).to_vec(),
                _ => Sha512::digest(runtime).to_vec(),
            };
            case.report_data[..hash.len()].copy_from_slice(&hash);
            case.launch().refused(&[]);
        }
    }
}

#[test]
fn report_data_are_the_hash_and_zero() {
    for flavor in FLAVORS {
        for at in [0, 31, 32, 63] {
            let mut case = Case::new(flavor);
            case.report_data[at] ^= 1;
            case.launch().refused(&["azure-runtime-data-hash", "report-data"]);
        }
        // The hash of one kind, declared as another.
        for hash_type in [2, 3] {
            let mut case = Case::new(flavor);
            case.hash_type = hash_type;
            case.launch().refused(&["azure-runtime-data-hash", "report-data"]);
        }
        for hash_type in [0, 4, u32::MAX] {
            let mut case = Case::new(flavor);
            case.hash_type = hash_type;
            case.launch().refused(&["azure-hash-type"]);
        }
        // Other runtime data under a genuine report.
        let case = Case::new(flavor);
        let other = case
            .runtime
            .replace("\"secure-boot\":true", "\"secure-boot\":null");
        let report = &case.evidence.hcl_report[32..32 + 1184];
        let changed = assemble(case.report_type, 1, report, other.as_bytes());
        case.change(|evidence| evidence.hcl_report = changed).refused(&[
            "azure-runtime-data-hash",
            "azure-secure-boot",
            "report-data",
        ]);
    }
}

#[test]
fn the_report_is_of_the_processor_that_was_asked_for() {
    for flavor in FLAVORS {
        for report_type in [0, 1, 3, if flavor == Flavor::Snp { 4 } else { 2 }] {
            let mut case = Case::new(flavor);
            case.report_type = report_type;
            case.launch().refused(&["azure-report-type"]);
        }
    }
    let snp = Case::new(Flavor::Snp);
    let failed = snp
        .clone()
        .change(|evidence| evidence.td_quote = Some(Vec::new()))
        .failed();
    assert_eq!(failed, ["azure-evidence-format"].into());
    // Evidence of one flavor under the other's tag, in a policy that takes both.
    let tdx = Case::new(Flavor::Tdx);
    let both = [
        &snp.policy,
        "[azure.tdx]",
        tdx.policy.split_once("[azure.tdx]").expect("a table").1,
    ]
    .concat();
    let (mut snp, mut tdx) = (snp, tdx);
    (snp.policy, tdx.policy) = (both.clone(), both);
    snp.refused(&[]);
    tdx.refused(&[]);
    assert!(
        snp.failed_as(PlatformTag::AzureIntelTdx)
            .contains("azure-report-type")
    );
    assert!(
        tdx.failed_as(PlatformTag::AzureAmdSevSnp)
            .contains("azure-evidence-format")
    );
    let other = tdx.change(|evidence| evidence.td_quote = None);
    assert!(
        other
            .failed_as(PlatformTag::AzureAmdSevSnp)
            .contains("azure-report-type")
    );
    for tag in [PlatformTag::AmdSevSnp, PlatformTag::SimulatedIntelTdx] {
        assert_eq!(other.failed_as(tag), ["platform-accepted"].into());
    }
}

#[test]
fn sizes_versions_and_reserved_fields_are_as_stated() {
    let case = Case::new(Flavor::Snp);
    let word = |offset: usize, value: u32| {
        case.clone().change(move |evidence| {
            evidence.hcl_report[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        })
    };
    let at = |offset: usize| {
        let bytes = &case.evidence.hcl_report[offset..offset + 4];
        u32::from_le_bytes(bytes.try_into().expect("4 bytes"))
    };
    for offset in [8, 1216, 1232] {
        for value in [0, 1, at(offset) - 1, at(offset) + 1, u32::MAX] {
            word(offset, value).refused(&["azure-hcl-format"]);
        }
    }
    for (offset, value) in [(0, 0x1234), (12, 1), (12, 3), (16, 1), (20, 1), (28, 1 << 31)] {
        word(offset, value).refused(&["azure-hcl-format"]);
    }
    for (offset, value) in [(4, 0), (4, 3), (1220, 0), (1220, 3)] {
        word(offset, value).refused(&["azure-hcl-version"]);
    }
    word(4, 1).refused(&[]);
    let longer = case
        .clone()
        .change(|evidence| *evidence.hcl_report.last_mut().expect("padding") = 1);
    longer.refused(&["azure-hcl-format"]);
    let unpadded = case
        .clone()
        .change(|evidence| evidence.hcl_report.truncate(at(8) as usize));
    unpadded.refused(&[]);
    // Data of version 2 have four more bytes before the runtime data.
    let second = case.clone().change(|evidence| {
        let report = &mut evidence.hcl_report;
        for (offset, value) in [(8, at(8) + 4), (1216, at(1216) + 4), (1220, 2)] {
            report[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        report.splice(1236..1236, [7, 0, 0, 0]);
    });
    second.refused(&[]);
    word(1220, 2).refused(&["azure-hcl-format"]);
}

#[test]
fn the_paravisor_and_its_processor_are_examined_in_full() {
    for flavor in FLAVORS {
        let (clause, key) = match flavor {
            Flavor::Snp => ("snp-measurement", "launch_measurements"),
            Flavor::Tdx => ("tdx-mrtd", "mrtd"),
        };
        let case = Case::new(flavor);
        let paravisor = format!("{key} = [\"{}\"]", "09".repeat(48));
        let other = case.policy(&paravisor, &paravisor.replace("09", "0a"));
        other.refused(&[clause]);
    }
    let snp = Case::new(Flavor::Snp).change(|evidence| evidence.hcl_report[32 + 0x2a0] ^= 1);
    snp.refused(&["snp-report-signature"]);
    let tdx = Case::new(Flavor::Tdx).change(|evidence| {
        evidence.td_quote.as_mut().expect("a quote")[636] ^= 1;
    });
    tdx.refused(&["tdx-quote-signature"]);
}

#[test]
fn the_td_report_is_the_one_that_was_quoted() {
    let case = Case::new(Flavor::Tdx);
    // Every field of the body, under hashes that agree.
    for at in [
        264, 280, 328, 376, 512, 520, 528, 576, 624, 672, 720, 768, 816, 864, 911,
    ] {
        let changed = case.clone().change(|evidence| {
            evidence.hcl_report[32 + at] ^= 1;
            rehash(&mut evidence.hcl_report[32..32 + 1024]);
        });
        changed.refused(&["azure-td-quote"]);
    }
    // The parts that only belong together.
    for at in [
        0, 1, 3, 4, 15, 32, 79, 80, 127, 192, 223, 256, 494, 495, 511, 912, 1023, 1024, 1183,
    ] {
        let changed = case
            .clone()
            .change(|evidence| evidence.hcl_report[32 + at] ^= 0x40);
        changed.refused(&["azure-td-report"]);
    }
    // A genuine quote of the same machine for other runtime data.
    let other = Case::new(Flavor::Tdx).setting(VM_ID, &VM_ID.to_uppercase());
    let changed = case
        .clone()
        .change(|evidence| evidence.td_quote = other.evidence.td_quote);
    changed.refused(&["azure-td-quote", "report-data"]);
    let absent = case.change(|evidence| evidence.td_quote = None);
    absent.refused(&["azure-td-quote", "tdx-quote-version"]);
}
