//! What other tools call a check, as our clauses.
//!
//! A corpus names the checks that fail in the words of whoever made it. A named check is found in our explanation if
//! any of its clauses failed.

/// Our clauses for a check of `platform`; empty if nobody here knows the name.
pub fn clauses(platform: &str, check: &str) -> &'static [&'static str] {
    // GPUs of a composite are numbered: gpu3_report_signature.
    if let Some((_, device_check)) = check
        .strip_prefix("gpu")
        .and_then(|rest| rest.split_once('_'))
        .filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return nvidia(device_check);
    }
    let own = match platform {
        "nvidia" => nvidia(check),
        "gcp-vtpm" => vtpm(check.split_once('_').map_or(check, |(_, rest)| rest)),
        // A quote is the TD's here; the vTPM's has its own word.
        platform if platform.contains("tdx") => tdx(check),
        _ => &[],
    };
    [own, vtpm(check), snp(check), tdx(check)]
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or(&[])
}

fn snp(check: &str) -> &'static [&'static str] {
    match check {
        "report_signature" => &["snp-report-signature"],
        "chip_id_matches_hwid" => &["snp-chip-id"],
        "tcb_matches_cert" => &["snp-tcb-certified"],
        "leaf_issued_by_intermediate" => &["snp-leaf-signature"],
        "intermediate_issued_by_ark" => &["snp-intermediate-signature", "snp-root"],
        "validity_at_time" => &["snp-certificate-validity"],
        "crl_fresh" => &["snp-crl-current"],
        "crl_signature" => &["snp-crl-signature", "crl-signature"],
        "not_revoked" => &["snp-not-revoked"],
        "reserved_areas_zero" => &["snp-reserved-zero", "snp-tcb-layout"],
        "cpuid_matches_issuer" => &["snp-generation"],
        "signing_key_matches_leaf" => &["snp-leaf-kind", "snp-signing-key"],
        "policy.debug" => &["snp-debug"],
        "policy.migrate_ma" => &["snp-migration"],
        "policy.reserved" => &["snp-policy-reserved"],
        "vmpl!=0" => &["snp-vmpl"],
        "mask_chip_key" => &["snp-chip-key-unmasked"],
        "report_data_binds_keys_nonce" => &["report-data"],
        "runtime_data_hash_in_report_data" => &["azure-runtime-data-hash"],
        "hcl_magic" => &["azure-hcl-format"],
        _ => &[],
    }
}

fn tdx(check: &str) -> &'static [&'static str] {
    match check {
        "quote version 3" => &["tdx-quote-version"],
        "att_key_type_p256" | "tee_type_tdx" | "qe_vendor" => &["tdx-quote-header", "tdx-quote-version"],
        "pck_chain_present" => &["tdx-certificates", "tdx-quote-format"],
        "root_is_intel" | "pck_issued_by_ca" | "ca_issued_by_root" | "root_self_signed" => &["tdx-pck-chain"],
        "qe_report_signature" => &["tdx-qe-report-signature"],
        "att_key_bound" => &["tdx-qe-report-binding"],
        "quote_signature" => &["tdx-quote-signature"],
        "pck_validity_at_time" => &["tdx-certificate-validity"],
        "tcb_signing_chain" | "qe_identity_chain" => &["tdx-tcb-signer"],
        "tcb_info_signature" => &["tdx-tcb-info-signature"],
        "qe_identity_signature" => &["tdx-qe-identity-signature"],
        "pck_crl_signature" | "root_crl_signature" => &["tdx-crl-signatures"],
        "pck_not_revoked" | "ca_not_revoked" | "tcb_signer_not_revoked" => &["tdx-not-revoked"],
        "collateral_fresh" => &["tdx-crl-current", "tdx-collateral-current"],
        "tcb_info_is_tdx_v3" | "fmspc_matches" | "pceid_matches" => &["tdx-tcb-info-subject"],
        "qe_id_td_qe" => &["tdx-qe-identity-subject"],
        "qe_mrsigner" | "qe_isvprodid" | "qe_miscselect" | "qe_attributes" => &["tdx-quoting-enclave"],
        "module_identity_found" | "mrsignerseam" | "seamattributes" => &["tdx-module-identity"],
        "tcb-status" => &["tdx-tcb-status"],
        "no-level" => &["tdx-platform-level", "tdx-module-level", "tdx-qe-level"],
        "tdattributes.TUD(debug)" => &["tdx-debug"],
        "tdattributes.TUD" | "tdattributes.migratable" | "sept_ve_disable=0" => {
            &["tdx-attributes", "tdx-debug"]
        }
        "mrservicetd!=0" => &["tdx-service-td"],
        "log_replays_rtmr0" => &["tdx-rtmr0-replay"],
        "log_replays_rtmr1" => &["tdx-rtmr1-replay"],
        "log_replays_rtmr2" => &["tdx-rtmr2-replay"],
        "log_replays_rtmr3" => &["tdx-rtmr3-replay"],
        "report_data_binds_key_tls_nonce" => &["report-data"],
        "runtime_data_hash_in_tdreport" | "td_quote_reportdata_is_runtime_hash" => {
            &["azure-runtime-data-hash", "report-data"]
        }
        "td_quote_mrtd_matches_tdreport" => &["azure-td-report", "azure-td-quote"],
        _ => &[],
    }
}

fn vtpm(check: &str) -> &'static [&'static str] {
    match check {
        "tpm_magic_and_type" | "magic_and_type" => &["vtpm-quote-kind", "vtpm-quote-format"],
        "tpm_quote_signature" | "quote_signature" => &["vtpm-quote-signature"],
        "tpm_pcr_digest" | "pcr_digest" => &["vtpm-pcr-digest"],
        "log_replays_quoted_pcrs" => &["vtpm-event-log", "vtpm-pcr-digest"],
        "ak_issued_by_intermediate" | "intermediate_issued_by_root" => &["gce-vtpm-chain", "azure-ak-chain"],
        _ => &[],
    }
}

fn nvidia(check: &str) -> &'static [&'static str] {
    match check {
        "spdm_1_1_measurements" | "signature_is_96_bytes" => {
            &["nvidia-report-format", "nvidia-report-request"]
        }
        "trailing_bytes_are_zero" => &["nvidia-report-trailing"],
        "report_signature" => &["nvidia-report-signature"],
        "root_self_signed" | "root_key_is_pinned" => &["nvidia-certificate-chain"],
        "nonce_in_request" => &["nvidia-nonce"],
        "fwid_in_leaf_certificate" => &["nvidia-fwid"],
        "validity_at_time" => &["nvidia-certificate-validity"],
        chain if chain.starts_with("chain_") => &["nvidia-certificate-chain"],
        _ => &[],
    }
}

/// The checks that an expectation names: those that the corpus's tool saw fail, and those in `why`.
pub fn named(failed: &[String], why: &str, tcb_status: Option<&str>) -> Vec<String> {
    let mut names: Vec<String> = failed.to_vec();
    if let Some((_, list)) = why.split_once("fails: ") {
        names.extend(list.split(", ").map(str::to_owned));
    }
    if let Some((_, check)) = why.split_once("refuses ") {
        names.extend(check.split(", ").map(str::to_owned));
    }
    match tcb_status {
        None | Some("UpToDate") => {}
        Some("no matching level") => names.push("no-level".to_owned()),
        Some(_) => names.push("tcb-status".to_owned()),
    }
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_from_what_was_seen_and_from_the_reason() {
        assert_eq!(
            named(&["a".to_owned()], "fails: a, b", None),
            ["a".to_owned(), "b".to_owned()]
        );
        assert_eq!(
            named(
                &[],
                "cryptographically valid; default policy refuses vmpl!=0",
                None
            ),
            ["vmpl!=0".to_owned()]
        );
        assert_eq!(
            named(&[], "TCB status OutOfDate", Some("OutOfDate")),
            ["tcb-status".to_owned()]
        );
        assert!(named(&[], "", Some("UpToDate")).is_empty());
    }

    #[test]
    fn the_same_word_means_another_clause_on_another_platform() {
        assert_eq!(clauses("snp", "report_signature"), ["snp-report-signature"]);
        assert_eq!(clauses("nvidia", "report_signature"), ["nvidia-report-signature"]);
        assert_eq!(
            clauses("composite-tdx-nvidia", "gpu7_report_signature"),
            ["nvidia-report-signature"]
        );
        assert_eq!(clauses("tdx", "quote_signature"), ["tdx-quote-signature"]);
        assert_eq!(
            clauses("gcp-vtpm", "sha256_quote_signature"),
            ["vtpm-quote-signature"]
        );
        assert!(clauses("snp", "nobody_knows").is_empty());
    }
}
