//! Policies for Azure are as strict as the others.

use attestation::{AppraisalPolicy, PlatformTag, PolicyError};

const EXAMPLE: &str = include_str!("../../examples/azure-policy.toml");

fn read(text: &str) -> Result<AppraisalPolicy, PolicyError> {
    AppraisalPolicy::from_toml(text)
}

/// The example with `from` read as `to`.
fn with(from: &str, to: &str) -> Result<AppraisalPolicy, PolicyError> {
    assert!(EXAMPLE.contains(from), "{from}");
    read(&EXAMPLE.replacen(from, to, 1))
}

#[test]
fn the_example_reads() {
    let policy = read(EXAMPLE).expect("the example reads");
    for platform in PlatformTag::ALL {
        let azure = matches!(platform, PlatformTag::AzureAmdSevSnp | PlatformTag::AzureIntelTdx);
        assert_eq!(policy.accepts(platform), azure, "{platform}");
    }
}

#[test]
fn one_processor_is_enough_and_none_is_not() {
    let (rest, tdx) = EXAMPLE.split_once("# The paravisor on TDX").expect("the table");
    let policy = read(rest).expect("it reads");
    assert!(policy.accepts(PlatformTag::AzureAmdSevSnp) && !policy.accepts(PlatformTag::AzureIntelTdx));
    let (head, _) = rest.split_once("# The paravisor on SEV-SNP").expect("the table");
    let policy = read(&format!("{head}#{tdx}")).expect("it reads");
    assert!(!policy.accepts(PlatformTag::AzureAmdSevSnp) && policy.accepts(PlatformTag::AzureIntelTdx));
    let error = read(head).expect_err("no processor");
    assert!(error.to_string().contains("azure.snp"), "{error}");
}

#[test]
fn no_key_of_azure_may_be_missing_unless_its_default_is_the_strictest() {
    read(&EXAMPLE.replacen("vm_ids", "# vm_ids", 1)).expect_err("vm_ids");
    let table = EXAMPLE.split_once("[azure.pcrs]").expect("the table");
    let (_, after) = table.1.split_once("[azure.snp]").expect("the next table");
    read(&format!("{}[azure.snp]{after}", table.0)).expect_err("pcrs");
    for key in [
        "root_certificate_thumbprints",
        "other_settings_accepted",
        "exceptions",
    ] {
        read(&EXAMPLE.replacen(&format!("{key} ="), &format!("# {key} ="), 1)).expect(key);
    }
}

#[test]
fn what_weakens_or_means_nothing_is_refused() {
    let value = format!("4 = [\"{}\"]", "04".repeat(32));
    let values = [
        (value.as_str(), "4 = []"),
        (value.as_str(), "4 = \"some\""),
        (value.as_str(), "24 = \"any\""),
        (
            "vm_ids = [\"3c18c97a-0d2a-4565-969d-166cdcef26a3\"]",
            "vm_ids = []",
        ),
        (
            "vm_ids = [\"3c18c97a-0d2a-4565-969d-166cdcef26a3\"]",
            "vm_ids = \"all\"",
        ),
        ("3c18c97a-0d2a", "3c18c97a+0d2a"),
        ("3c18c97a-0d2a", "3c18c97a-0d2"),
        (
            "root_certificate_thumbprints = [\"\"]",
            "root_certificate_thumbprints = []",
        ),
        ("\"console-enabled\", \"persisted-vtpm\"", "\"debug\""),
        ("[azure]\n", "[azure]\nconsole_enabled = true\n"),
        ("guest_svn_minimum", "vmpl = 1\nguest_svn_minimum"),
        (
            "guest_svn_minimum",
            "root_certificate = \"AAAA\"\nguest_svn_minimum",
        ),
        ("td_attributes = [0x10000000]", "td_attributes = [0x10000001]"),
    ];
    for (from, to) in values {
        assert!(with(from, to).is_err(), "{to}");
    }
    assert!(with("td_attributes = [0x10000000]", "td_attributes = [0x10000000, 0]").is_ok());
    assert!(with("guest_svn_minimum", "vmpl = 0\nguest_svn_minimum").is_ok());
}
