//! The fields of an attestation report in the words of AMD 56860.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::generation::Generation;
use super::leaf::Leaf;
use super::report::{Report, SigningKey};
use super::tcb::TcbVersion;
use crate::fields::{Field, Fields, bits};
use crate::x509::Certificate;

/// AMD 56860, table 9.
const POLICY_BITS: &[(u32, &str)] = &[
    (16, "SMT"),
    (18, "MIGRATE_MA"),
    (19, "DEBUG"),
    (20, "SINGLE_SOCKET"),
    (21, "CXL_ALLOW"),
    (22, "MEM_AES_256_XTS"),
    (23, "RAPL_DIS"),
    (24, "CIPHERTEXT_HIDING_DRAM"),
    (25, "PAGE_SWAP_DISABLE"),
];
/// AMD 56860, table 23, PLATFORM_INFO.
const PLATFORM_BITS: &[(u32, &str)] = &[
    (0, "SMT_EN"),
    (1, "TSME_EN"),
    (2, "ECC_EN"),
    (3, "RAPL_DIS"),
    (4, "CIPHERTEXT_HIDING_DRAM_EN"),
    (5, "ALIAS_CHECK_COMPLETE"),
    (7, "TIO_EN"),
];

/// Every field of the report; `generation` lays out the TCB versions where the report names no processor.
pub(crate) fn fields(report: &Report<'_>, generation: Option<Generation>) -> Vec<Field> {
    let generation = report
        .processor()
        .and_then(|[family, model, _]| Generation::of_processor(family, model))
        .or(generation);
    let mut fields = Fields::default();
    let policy = report.policy();
    let [abi_minor, abi_major, ..] = policy.to_le_bytes();
    // Bit 17 is reserved and always one: it says nothing.
    let demands = bits(policy & !0xffff & !(1 << 17), POLICY_BITS);
    let policy_words = format!(
        "ABI {abi_major}.{abi_minor}{}{demands}",
        if demands.is_empty() { "" } else { ", " }
    );
    fields
        .number("VERSION", 0x000, report.version().into(), "")
        .number("GUEST_SVN", 0x004, report.guest_svn().into(), "")
        .number("POLICY", 0x008, policy, policy_words)
        .bytes("FAMILY_ID", 0x010, report.family_id())
        .bytes("IMAGE_ID", 0x020, report.image_id())
        .number("VMPL", 0x030, report.vmpl().into(), "")
        .number(
            "SIGNATURE_ALGO",
            0x034,
            report.signature_algorithm().into(),
            if report.signature_algorithm() == 1 {
                "ECDSA P-384 with SHA-384"
            } else {
                "unknown"
            },
        );
    tcb(
        &mut fields,
        "CURRENT_TCB",
        0x038,
        report.current_tcb(),
        generation,
    );
    let platform_info = report.platform_info();
    fields.number(
        "PLATFORM_INFO",
        0x040,
        platform_info,
        bits(platform_info, PLATFORM_BITS),
    );
    fields
        .number("AUTHOR_KEY_EN", 0x048, report.author_key_enabled().into(), "")
        .number("MASK_CHIP_KEY", 0x048, report.chip_key_is_masked().into(), "")
        .text(
            "SIGNING_KEY",
            Some(0x048),
            report.signing_key().map_or("none", SigningKey::name),
        )
        .bytes("REPORT_DATA", 0x050, report.report_data())
        .bytes("MEASUREMENT", 0x090, report.measurement())
        .bytes("HOST_DATA", 0x0c0, report.host_data())
        .bytes("ID_KEY_DIGEST", 0x0e0, report.id_key_digest())
        .bytes("AUTHOR_KEY_DIGEST", 0x110, report.author_key_digest())
        .bytes("REPORT_ID", 0x140, report.report_id())
        .bytes("REPORT_ID_MA", 0x160, report.report_id_ma());
    tcb(
        &mut fields,
        "REPORTED_TCB",
        0x180,
        report.reported_tcb(),
        generation,
    );
    if let Some([family, model, stepping]) = report.processor() {
        let name = Generation::of_processor(family, model).map_or("unknown", Generation::name);
        fields
            .number("CPUID_FAM_ID", 0x188, family.into(), name)
            .number("CPUID_MOD_ID", 0x189, model.into(), "")
            .number("CPUID_STEP", 0x18a, stepping.into(), "");
    }
    fields.bytes("CHIP_ID", 0x1a0, report.chip_id());
    tcb(
        &mut fields,
        "COMMITTED_TCB",
        0x1e0,
        report.committed_tcb(),
        generation,
    );
    fields
        .text("CURRENT_VERSION", Some(0x1e8), report.current_firmware())
        .text("COMMITTED_VERSION", Some(0x1ec), report.committed_firmware());
    tcb(&mut fields, "LAUNCH_TCB", 0x1f0, report.launch_tcb(), generation);
    if report.version() >= 5 {
        fields
            .number("LAUNCH_MIT_VECTOR", 0x1f8, report.launch_mitigations(), "")
            .number("CURRENT_MIT_VECTOR", 0x200, report.current_mitigations(), "");
    }
    fields.bytes("SIGNATURE", 0x2a0, &report.signature());
    fields.into_vec()
}

/// What a VCEK or VLEK says of its processor; nothing for any other certificate.
pub(crate) fn leaf_fields(fields: &mut Fields, certificate: &Certificate<'_>) {
    let leaf = Generation::ALL
        .into_iter()
        .find_map(|generation| Some((generation, Leaf::parse(certificate, generation).ok()?)));
    let Some((generation, leaf)) = leaf else { return };
    fields
        .text("kind", None, leaf.kind.name())
        .text("generation", None, generation)
        .text("TCB", None, leaf.tcb);
    match leaf.kind {
        SigningKey::Vcek => fields.text("hwID", None, hex::encode(&leaf.hardware_id)),
        SigningKey::Vlek => fields.text("CSP_ID", None, String::from_utf8_lossy(&leaf.provider)),
    };
}

fn tcb(
    fields: &mut Fields,
    name: &'static str,
    offset: usize,
    bytes: &[u8; 8],
    generation: Option<Generation>,
) {
    let meaning = generation
        .and_then(|generation| TcbVersion::parse(generation, bytes))
        .map_or_else(
            || String::from("the layout depends on the generation"),
            |tcb| format!("{tcb}"),
        );
    fields.number(name, offset, u64::from_le_bytes(*bytes), meaning);
}
