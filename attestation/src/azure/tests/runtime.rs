//! Runtime data, settings, user data.

use alloc::format;
use alloc::string::String;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use simulated::Flavor;

use super::{Case, PCRS, VM_ID, runtime, values};
use crate::tpm::testkit::{Message, attestation_key};
use crate::vtpm_qualifying_data;

#[test]
fn runtime_data_have_one_reading_and_one_attestation_key() {
    let case = || Case::new(Flavor::Snp);
    let malformed = |runtime: &str| {
        let case = case().runtime(runtime);
        case.refused(&["azure-runtime-data"]);
    };
    let good = runtime();
    malformed(&good.replace("\"keys\":", "\"keys\":[],\"keys\":"));
    malformed(&good.replace(
        "\"secure-boot\":true",
        "\"secure-boot\":true,\"secure-boot\":true",
    ));
    malformed(&good.replace("\"kty\":\"RSA\"", "\"kty\":\"RSA\",\"\\u006bty\":\"RSA\""));
    malformed(&good.replace("\"keys\":", "\"kees\":"));
    malformed(&good.replace("\"vm-configuration\":{", "\"vm-configuration\":7,\"x\":{"));
    malformed(&good.replace(&"00".repeat(64), "\\ud800"));
    malformed(&[&good[..], "{}"].concat());
    malformed(&good[1..]);
    malformed("");
    let key = |from: &str, to: &str| case().setting(from, to).refused(&["azure-attestation-key"]);
    // Runtime data of a key release carry a transfer key; early ones misname what a key is for.
    key("HCLAkPub", "HCLTransferKey");
    key("HCLEkPub", "HCLAkPub");
    key("\"kty\":\"RSA\"", "\"kty\":\"EC\"");
    key("AQAB", "Aw");
    let modulus = URL_SAFE_NO_PAD.encode(attestation_key().modulus());
    key(&modulus, &["AA", &modulus].concat());
    key(&modulus, &modulus[..100]);
    key(&modulus, &modulus.replace(['-', '_'], "+"));
    key(&modulus, &[&modulus, "="].concat());
    case().setting("\"sign\"", "\"encrypt\"").refused(&[]);
}

#[test]
fn each_setting_is_strict_unless_excepted_by_name() {
    for (from, to, clause, exception) in [
        (
            "\"secure-boot\":true",
            "\"secure-boot\":false",
            "azure-secure-boot",
            "secure-boot-disabled",
        ),
        (
            "\"console-enabled\":false",
            "\"console-enabled\":true",
            "azure-console",
            "console-enabled",
        ),
        (
            "\"tpm-persisted\":false",
            "\"tpm-persisted\":true",
            "azure-tpm-persisted",
            "persisted-vtpm",
        ),
        (
            "\"tpm-persisted\":false,",
            "",
            "azure-tpm-persisted",
            "persisted-vtpm",
        ),
        (
            "\"filtered-vpci-devices-allowed\":false",
            "\"filtered-vpci-devices-allowed\":true",
            "azure-filtered-devices",
            "filtered-devices",
        ),
        (
            "\"secure-boot\":true",
            "\"secure-boot\":true,\"interactive-console-enabled\":true",
            "azure-interactive-console",
            "interactive-console",
        ),
        (
            "\"secure-boot\":true",
            "\"secure-boot\":true,\"ipmi-enabled\":true",
            "azure-ipmi",
            "ipmi-enabled",
        ),
    ] {
        let case = Case::new(Flavor::Snp).setting(from, to);
        case.refused(&[clause]);
        case.excepting(exception).refused(&[]);
    }
    // Neither true nor false, or absent where every paravisor writes it: no exception helps.
    for (from, to, clause, exception) in [
        (
            "\"secure-boot\":true,",
            "",
            "azure-secure-boot",
            "secure-boot-disabled",
        ),
        (
            "\"secure-boot\":true",
            "\"secure-boot\":\"true\"",
            "azure-secure-boot",
            "secure-boot-disabled",
        ),
        (
            "\"console-enabled\":false,",
            "",
            "azure-console",
            "console-enabled",
        ),
        (
            "\"console-enabled\":false",
            "\"console-enabled\":0",
            "azure-console",
            "console-enabled",
        ),
        (
            "\"tpm-persisted\":false",
            "\"tpm-persisted\":null",
            "azure-tpm-persisted",
            "persisted-vtpm",
        ),
        (
            "\"tpm-enabled\":true",
            "\"tpm-enabled\":false",
            "azure-tpm-enabled",
            "persisted-vtpm",
        ),
        ("\"tpm-enabled\":true,", "", "azure-tpm-enabled", "persisted-vtpm"),
    ] {
        let case = Case::new(Flavor::Snp).setting(from, to);
        case.excepting(exception).refused(&[clause]);
    }
    let same = |from: &str, to: &str| Case::new(Flavor::Snp).setting(from, to).refused(&[]);
    same("\"filtered-vpci-devices-allowed\":false,", "");
    same(
        "\"secure-boot\":true",
        "\"secure-boot\":true,\"interactive-console-enabled\":false,\"ipmi-enabled\":false",
    );
    same(
        "\"secure-boot\":true",
        "\"secure-boot\":true,\"current-time\":1678652405,\"tpm-version\":\"1.38\"",
    );
}

/// What our collector writes where the paravisor takes user data.
#[test]
fn user_data_may_be_the_report_data_that_the_quote_is_for() {
    let zero = "00".repeat(64);
    let written = |byte: &str, quoted: u8| {
        let asked = vtpm_qualifying_data(&[quoted; 64]);
        let mut case = Case::new(Flavor::Snp).setting(&zero, &byte.repeat(64));
        case.asked = asked.to_vec();
        case.message(&Message::new(&asked, &PCRS, &values()))
    };
    written("5c", 0x5c).refused(&[]);
    written("5C", 0x5c).refused(&[]);
    // Of another appraisal, whose quote this is not.
    written("5c", 0x5d).refused(&["azure-user-data"]);
    written("5d", 0x5c).refused(&["azure-user-data"]);
    // The place was not written.
    written("00", 0x5c).refused(&[]);
}

#[test]
fn names_ids_and_user_data_are_exact() {
    let case = || Case::new(Flavor::Snp);
    case().setting(VM_ID, &VM_ID.to_uppercase()).refused(&[]);
    case().setting("3c18c97a", "3c18c97b").refused(&["azure-vm-id"]);
    case()
        .setting(&format!(",\"vmUniqueId\":\"{VM_ID}\""), "")
        .refused(&["azure-vm-id"]);
    case()
        .setting("3c18c97a", "3c18c97b")
        .policy(&format!("[\"{VM_ID}\"]"), "\"any\"")
        .refused(&[]);

    let thumbprint = "\"root-cert-thumbprint\":\"\"";
    case().setting(&format!("{thumbprint},"), "").refused(&[]);
    let other = case().setting(thumbprint, "\"root-cert-thumbprint\":\"6nZZ\"");
    other.refused(&["azure-root-certificate"]);
    let listed = "exceptions = []\nroot_certificate_thumbprints = [\"6nZZ\"]";
    other.policy("exceptions = []", listed).refused(&[]);
    case()
        .policy("exceptions = []", listed)
        .refused(&["azure-root-certificate"]);
    case()
        .setting(thumbprint, "\"root-cert-thumbprint\":7")
        .refused(&["azure-root-certificate"]);

    let zero = format!("\"user-data\":\"{}\"", "00".repeat(64));
    let user_data = |text: &str| case().setting(&zero, &format!("\"user-data\":\"{text}\""));
    let expected = format!("{}{}", "ab".repeat(32), "00".repeat(32));
    let listed = format!("exceptions = []\nuser_data = [\"{expected}\"]");
    user_data(&expected).refused(&["azure-user-data"]);
    user_data(&expected)
        .policy("exceptions = []", &listed)
        .refused(&[]);
    // A prefix is not enough, whether the rest is cut off or something else.
    for text in [
        "ab".repeat(32),
        format!("{}01", &expected[..126]),
        format!("{expected}00"),
        String::from(" "),
        String::new(),
    ] {
        user_data(&text)
            .policy("exceptions = []", &listed)
            .refused(&["azure-user-data"]);
    }
    let absent = case().setting(&format!(",{zero}"), "");
    absent.refused(&["azure-user-data"]);
    absent.excepting("absent-user-data").refused(&[]);
    case()
        .excepting("absent-user-data")
        .setting(&"00".repeat(64), &"01".repeat(64))
        .refused(&["azure-user-data"]);

    for (from, to) in [
        ("\"secure-boot\":true", "\"secure-boot\":true,\"debug\":true"),
        ("\"user-data\":", "\"debug\":true,\"user-data\":"),
    ] {
        let other = case().setting(from, to);
        other.refused(&["azure-other-settings"]);
        other
            .policy(
                "exceptions = []",
                "exceptions = []\nother_settings_accepted = [\"debug\"]",
            )
            .refused(&[]);
    }
}
