//! The examination of a quote under a key that somebody else vouches for.
//!
//! 1. The TPM made the message, as a quote ([`rules::KIND`], [`rules::FORMAT`]).
//! 2. The attestation key signed its exact bytes.
//! 3. It covers exactly the bank and the PCRs that the policy asks for.
//! 4. The values handed over hash, in the order of the selection, to the digest that was signed.
//! 5. Each value is one that the policy accepts.
//! 6. An event log, if there is one, explains these values ([`log`]).
//! 7. The qualifying data is the caller's, whole.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::attest::{self, Attest};
use super::selection::{HashAlgorithm, PcrSelection};
use super::{log, rules};
use crate::claims::VtpmClaims;
use crate::examination::Examination;
use crate::fields::Field;
use crate::policy::PcrPolicy;
use crate::x509::{PublicKey, SignatureAlgorithm};

/// What is examined, and against what.
pub(crate) struct Quote<'a> {
    /// TPMS_ATTEST.
    pub(crate) message: &'a [u8],
    /// RSASSA, without the TPMT_SIGNATURE around it.
    pub(crate) signature: &'a [u8],
    /// `None` if nobody vouches for one: the signature is then not checked, and the rule refuses.
    pub(crate) key: Option<&'a PublicKey>,
    /// In the order of the selection.
    pub(crate) pcr_values: &'a [u8],
    pub(crate) bank: HashAlgorithm,
    pub(crate) pcrs: &'a PcrPolicy,
    /// What was measured into the PCRs, event by event, if that was sent.
    pub(crate) event_log: Option<&'a [u8]>,
    /// `None` if it is not known what was asked for.
    pub(crate) qualifying_data: Option<&'a [u8]>,
}

/// Records a clause for each of [`rules::RULES`]; claims and what the log says of the boot only if the
/// message could be read.
pub(crate) fn examine(examination: &mut Examination, quote: &Quote<'_>) -> Option<(VtpmClaims, Vec<Field>)> {
    let kind = attest::kind(quote.message);
    if !examination.check(
        &rules::KIND,
        kind == Some((attest::GENERATED, attest::QUOTE)),
        format!("{:#010x}, {:#06x}", attest::GENERATED, attest::QUOTE),
        kind.map_or(String::from("too short"), |(magic, kind)| {
            format!("{magic:#010x}, {kind:#06x}")
        }),
    ) {
        return None;
    }
    let attest = Attest::parse(quote.message);
    let found = format!("{} bytes of another shape", quote.message.len());
    let attest = examination.require(&rules::FORMAT, attest, "a TPMS_ATTEST of a quote", found)?;
    if let Some(key) = quote.key {
        let algorithm = SignatureAlgorithm::RsaPkcs1Sha256;
        let signed = key.verifies(algorithm, quote.message, quote.signature);
        examination.check(
            &rules::SIGNATURE,
            signed,
            "the attestation key's signature over the message",
            if signed { "valid" } else { "not valid" },
        );
    }
    if let Some(expected) = quote.qualifying_data {
        let same = bool::from(expected.ct_eq(attest.extra_data));
        let (expected, found) = (hex::encode(expected), hex::encode(attest.extra_data));
        examination.check(&rules::EXTRA_DATA, same, expected, found);
    }
    let boot = registers(examination, quote, &attest);
    let claims = VtpmClaims {
        clock_milliseconds: attest.clock_milliseconds,
        reset_count: attest.reset_count,
        restart_count: attest.restart_count,
        firmware_version: attest.firmware_version,
    };
    Some((claims, boot))
}

fn registers(examination: &mut Examination, quote: &Quote<'_>, attest: &Attest<'_>) -> Vec<Field> {
    let digest: [u8; 32] = Sha256::digest(quote.pcr_values).into();
    let same = digest[..] == *attest.pcr_digest;
    let found = hex::encode(digest);
    examination.check(&rules::PCR_DIGEST, same, hex::encode(attest.pcr_digest), found);

    let expected = format!("one bank, {}", quote.bank);
    let found = attest
        .selections
        .iter()
        .map(|selection| selection.bank.to_string());
    let found = found.collect::<Vec<_>>().join(" and ");
    let found = if found.is_empty() {
        String::from("no bank")
    } else {
        found
    };
    let selection = match attest.selections[..] {
        [selection] if selection.bank == quote.bank => Some(selection),
        _ => None,
    };
    examination.check(&rules::PCR_BANK, selection.is_some(), expected, found);
    // A list of one bank is what the next rules are about, even if it is another.
    let Some(PcrSelection { bank, pcrs }) = selection.or(match attest.selections[..] {
        [selection] => Some(selection),
        _ => None,
    }) else {
        return Vec::new();
    };
    let expected = quote.pcrs.selection();
    examination.check(
        &rules::PCR_SELECTION,
        pcrs == expected,
        format!("exactly PCR {expected}"),
        format!("PCR {pcrs}"),
    );
    let Some(digest_bytes) = bank.digest_bytes() else {
        return Vec::new();
    };
    let values = quote.pcr_values.chunks(digest_bytes);
    let whole = quote.pcr_values.len().is_multiple_of(digest_bytes) && values.len() == pcrs.len();
    if !examination.check(
        &rules::PCR_COUNT,
        whole,
        format!("{} values of {digest_bytes} bytes", pcrs.len()),
        format!("{} bytes", quote.pcr_values.len()),
    ) {
        return Vec::new();
    }
    let values: Vec<_> = pcrs.iter().zip(values).collect();
    for (pcr, value) in &values {
        quote.pcrs.check(examination, &rules::PCR_VALUES, *pcr, value);
    }
    log::examine(examination, quote.event_log, bank, &values)
}
