//! The fields of a quote in the words of Intel's documents.

use alloc::format;
use alloc::vec::Vec;

use super::pck::Pck;
use super::quote::Quote;
use crate::fields::{Field, Fields, bits};
use crate::x509::{Certificate, pem_certificates};

/// TDX module specification, ATTRIBUTES.
const ATTRIBUTE_BITS: &[(u32, &str)] = &[
    (0, "DEBUG"),
    (4, "HGS_PLUS_PROF"),
    (5, "PERF_PROF"),
    (6, "PMT_PROF"),
    (27, "LASS"),
    (28, "SEPT_VE_DISABLE"),
    (29, "MIGRATABLE"),
    (30, "PKS"),
    (31, "KL"),
    (62, "TPA"),
    (63, "PERFMON"),
];
const HEADER_BYTES: usize = 48;

/// Every field of header, body and quoting enclave, and what the PCK says of the platform.
pub(crate) fn fields(quote: &Quote<'_>) -> Vec<Field> {
    let mut fields = Fields::default();
    let (header, body, qe) = (quote.header, &quote.body, &quote.qe_report);
    // Version 5 puts a type and a size before the body.
    let at = |offset: usize| HEADER_BYTES + if header.version() == 5 { 6 } else { 0 } + offset;
    fields
        .number("version", 0, header.version().into(), "")
        .number(
            "attestation_key_type",
            2,
            header.attestation_key_type().into(),
            if header.attestation_key_type() == 2 {
                "ECDSA P-256"
            } else {
                "unknown"
            },
        )
        .number(
            "tee_type",
            4,
            header.tee_type().into(),
            if header.tee_type() == 0x81 {
                "TDX"
            } else {
                "not TDX"
            },
        )
        .bytes("qe_vendor_id", 12, header.qe_vendor())
        .bytes("user_data", 28, header.user_data())
        .bytes("TEE_TCB_SVN", at(0), body.tee_tcb_svn())
        .bytes("MRSEAM", at(16), body.mrseam())
        .bytes("MRSIGNERSEAM", at(64), body.mrsignerseam())
        .bytes("SEAMATTRIBUTES", at(112), body.seam_attributes())
        .number(
            "TDATTRIBUTES",
            at(120),
            body.td_attributes(),
            bits(body.td_attributes(), ATTRIBUTE_BITS),
        )
        .number("XFAM", at(128), body.xfam(), "")
        .bytes("MRTD", at(136), body.mrtd())
        .bytes("MRCONFIGID", at(184), body.mrconfigid())
        .bytes("MROWNER", at(232), body.mrowner())
        .bytes("MROWNERCONFIG", at(280), body.mrownerconfig());
    for (number, name) in ["RTMR0", "RTMR1", "RTMR2", "RTMR3"].into_iter().enumerate() {
        fields.bytes(name, at(328 + 48 * number), body.rtmr(number));
    }
    fields.bytes("REPORTDATA", at(520), body.report_data());
    if let Some(svn) = body.tee_tcb_svn_2() {
        fields.bytes("TEE_TCB_SVN_2", at(584), svn);
    }
    if let Some(service) = body.mrservicetd() {
        fields.bytes("MRSERVICETD", at(600), service);
    }
    let qe_at = at(body.bytes()) + 4 + 64 + 64 + 6;
    fields
        .bytes("QE MISCSELECT", qe_at + 16, qe.miscselect())
        .bytes("QE ATTRIBUTES", qe_at + 48, qe.attributes())
        .bytes("QE MRENCLAVE", qe_at + 64, qe.mrenclave())
        .bytes("QE MRSIGNER", qe_at + 128, qe.mrsigner())
        .number("QE ISVPRODID", qe_at + 256, qe.isvprodid().into(), "")
        .number("QE ISVSVN", qe_at + 258, qe.isvsvn().into(), "");
    platform(&mut fields, quote);
    fields.text("bytes after the quote", None, format!("{}", quote.trailing.len()));
    fields.into_vec()
}

fn platform(fields: &mut Fields, quote: &Quote<'_>) {
    let chain = pem_certificates(quote.pck_chain).unwrap_or_default();
    let leaf = chain.first().and_then(|leaf| Certificate::parse(leaf).ok());
    let Some((leaf, pck)) = leaf.and_then(|leaf| Pck::parse(&leaf).ok().map(|pck| (leaf, pck))) else {
        fields.text("PCK", None, "no readable PCK certificate in the quote");
        return;
    };
    let issuer = chain.get(1).and_then(|issuer| Certificate::parse(issuer).ok());
    let issuer = issuer.as_ref().and_then(Certificate::common_name);
    fields
        .text("PCK issuer", None, issuer.unwrap_or("unknown"))
        .text("PCK not before", None, leaf.not_before)
        .text("PCK not after", None, leaf.not_after)
        .text("PCK PPID", None, hex::encode(pck.ppid))
        .text("PCK FMSPC", None, hex::encode(pck.fmspc))
        .text("PCK PCEID", None, hex::encode(pck.pceid))
        .text(
            "PCK TCB components",
            None,
            pck.components.map(|svn| format!("{svn}")).join(" "),
        )
        .text("PCK PCESVN", None, pck.pcesvn);
}
