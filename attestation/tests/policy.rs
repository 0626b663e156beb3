//! Policies are strict: nothing unknown, nothing missing, nothing empty, nothing weaker by omission.

use attestation::{AppraisalPolicy, PlatformTag, PolicyError};

const EXAMPLE: &str = include_str!("../examples/policy.toml");

fn read(text: &str) -> Result<AppraisalPolicy, PolicyError> {
    AppraisalPolicy::from_toml(text)
}

/// The example with one line replaced.
fn with(from: &str, to: &str) -> String {
    assert_eq!(
        EXAMPLE.lines().filter(|line| line.starts_with(from)).count(),
        1,
        "{from}"
    );
    let lines = EXAMPLE
        .lines()
        .map(|line| if line.starts_with(from) { to } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_reads() {
    let policy = read(EXAMPLE).expect("the example reads");
    assert!(policy.accepts(PlatformTag::AmdSevSnp) && policy.accepts(PlatformTag::IntelTdx));
    assert!(
        !policy.accepts(PlatformTag::SimulatedAmdSevSnp) && !policy.accepts(PlatformTag::SimulatedIntelTdx)
    );
    assert_eq!(policy.evidence_age_seconds_max(), 3600);
}

#[test]
fn no_key_may_be_missing_unless_its_default_is_the_strictest() {
    let defaults = [
        "host_data",
        "family_ids",
        "image_ids",
        "id_key_digests",
        "author_key_digests",
        "vmpl",
        "guest_policy_accepted",
        "report_versions",
        "vlek_providers",
        "revocation_list_age_seconds_max",
        "exceptions",
        "mrconfigid",
        "mrowner",
        "mrownerconfig",
        "td_attributes",
        "switches",
        "video_decoder",
    ];
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let mut required = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        if key.starts_with('#') || line.ends_with('[') {
            continue;
        }
        let without = [&lines[..at], &lines[at + 1..]].concat().join("\n");
        let read = read(&without);
        assert_eq!(read.is_ok(), defaults.contains(&key), "{key}: {read:?}");
        required += usize::from(read.is_err());
    }
    assert_eq!(required, 52, "required keys");
}

#[test]
fn unknown_keys_and_tables_are_refused() {
    for (text, key) in [
        (with("version", "version = 1\nversoin = 1"), "versoin"),
        (with("vmpl", "vmlp = 0"), "vmlp"),
        (with("mrowner =", "mrowners = []"), "mrowners"),
        (with("fmc", "fmc = 1\nfnc = 1"), "fnc"),
        (with("until", "until = \"2027-01-31T00:00:00Z\"\nfor = 1"), "for"),
        (with("gpus", "gpus = 8\nnics = 1"), "nics"),
        (with("index", "index = 35\nuntil = 1"), "until"),
        (format!("{EXAMPLE}\n[danger.real]\n"), "real"),
        (format!("{EXAMPLE}\n[danger.simulated.sgx]\n"), "sgx"),
        (format!("{EXAMPLE}\n[azure]\n"), "azure"),
    ] {
        let error = read(&text).expect_err(key);
        assert_eq!(error.code(), "policy-syntax");
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn empty_lists_of_references_are_refused() {
    for key in [
        "model_digests",
        "config_digests",
        "host_data",
        "family_ids",
        "image_ids",
        "id_key_digests",
        "author_key_digests",
        "report_versions",
        "mrtd",
        "rtmr0",
        "rtmr1",
        "rtmr2",
        "rtmr3",
        "event_digests",
        "mrconfigid",
        "mrowner =",
        "mrownerconfig",
        "td_attributes",
        "xfam",
    ] {
        let name = key.trim_end_matches(" =");
        let error = read(&with(key, &format!("{name} = []"))).expect_err(key);
        assert!(error.to_string().contains("accepts nothing"), "{key}: {error}");
    }
    let machines = EXAMPLE.replacen("enrolled_machines = \"any\"", "enrolled_machines = []", 1);
    assert!(read(&machines).is_err());
    assert!(read(&EXAMPLE.replacen("models = [0x11]", "models = []", 1)).is_err());
    assert!(read(&EXAMPLE.replacen("steppings = [1, 2]", "steppings = []", 1)).is_err());
    let measurements = EXAMPLE.split_once("launch_measurements = [").expect("the key");
    let (_, after) = measurements.1.split_once(']').expect("the end");
    assert!(read(&format!("{}launch_measurements = []{after}", measurements.0)).is_err());
}

#[test]
fn values_that_weaken_or_mean_nothing_are_refused() {
    for (from, to) in [
        ("version", "version = 2"),
        ("role", "role = \"any\""),
        ("role", "role = \"broker\""),
        ("evidence_age", "evidence_age_seconds_max = 0"),
        ("evidence_age", "evidence_age_seconds_max = 40000000"),
        ("collateral_age", "collateral_age_seconds_max = 0"),
        ("model_digests", "model_digests = [\"01\"]"),
        ("vmpl", "vmpl = 4"),
        ("guest_abi_minimum", "guest_abi_minimum = \"1\""),
        ("guest_policy_required", "guest_policy_required = [\"smt\"]"),
        ("guest_policy_accepted", "guest_policy_accepted = [\"debug\"]"),
        ("guest_policy_accepted", "guest_policy_accepted = [\"migration\"]"),
        ("platform_required", "platform_required = [\"EEC\"]"),
        ("report_versions", "report_versions = [1]"),
        ("report_versions", "report_versions = [6]"),
        ("exceptions", "exceptions = [\"debug\"]"),
        ("fmc", ""),
        ("mitigations = 0x3f", "mitigations = -1"),
        ("td_attributes", "td_attributes = [0x10000001]"),
        ("td_attributes", "td_attributes = [0x30000000]"),
        ("rtmr0", "rtmr0 = \"any\""),
        ("rtmr0", "rtmr0 = [\"05\"]"),
        (
            "rtmr2",
            "rtmr2 = [\"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\"]",
        ),
        ("event_digests", "event_digests = [\"05\"]"),
        ("status", "status = \"OutOfDate\""),
        ("status", "status = \"OutOfDateConfigurationNeeded\""),
        ("status", "status = \"Revoked\""),
        ("until", "until = \"soon\""),
    ] {
        assert!(read(&with(from, to)).is_err(), "{to}");
    }
    assert!(read(&EXAMPLE.replacen("microcode = 84", "microcode = 84\nfmc = 1", 1)).is_err());
    assert!(read(&EXAMPLE.replacen("firmware = \"1.55.40\"", "firmware = \"1.55\"", 1)).is_err());
}

#[test]
fn numbers_have_bounds() {
    let day = 24 * 3600;
    for (key, largest) in [
        ("evidence_age_seconds_max", 366 * day),
        ("collateral_age_seconds_max", 3660 * day),
        ("revocation_list_age_seconds_max", 3660 * day),
        ("vmpl", 3),
        ("switches", 64),
        ("gpus", 64),
    ] {
        let of = |value: u64| with(key, &format!("{key} = {value}"));
        assert!(read(&of(largest)).is_ok(), "{key}");
        assert!(read(&of(largest + 1)).is_err(), "{key}");
    }
    assert_eq!(
        read(&with("evidence_age", "evidence_age_seconds_max = 1"))
            .map(|policy| policy.evidence_age_seconds_max()),
        Ok(1)
    );
}

/// The commented table of the example in place of the listed measurements.
fn with_gce_firmware(platform: &str, root: &str) -> String {
    let (table, listed) = match platform {
        "snp" => ("# [snp.gce_firmware]", "launch_measurements"),
        _ => ("# [tdx.gce_firmware]", "mrtd ="),
    };
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let start = lines.iter().position(|line| *line == table).expect("the table");
    let commented = lines[start..]
        .iter()
        .take_while(|line| line.starts_with("# ") && !line.ends_with('.'));
    let table: Vec<&str> = commented.map(|line| &line[2..]).collect();
    let from = lines
        .iter()
        .position(|line| line.starts_with(listed))
        .expect("the measurements");
    let length = if lines[from].ends_with('[') { 3 } else { 1 };
    let rest = [&lines[..from], &lines[from + length..]].concat();
    format!("{}\n{}\n", rest.join("\n"), table.join("\n")).replace("MII…", root)
}

#[test]
fn firmware_is_listed_or_endorsed_and_then_by_googles_root() {
    // A root that is no Google's, made for tests; what is wrong with it is said last.
    let endorser = simulated::gce::LaunchEndorser::new(
        simulated::UnixTime::from_seconds(1_795_000_000),
        3600,
        simulated::gce::Chain::Direct,
    );
    let root = {
        use base64::Engine as _;
        let endorser = endorser.expect("an endorser");
        base64::engine::general_purpose::STANDARD.encode(endorser.root_certificate())
    };
    for platform in ["snp", "tdx"] {
        let text = with_gce_firmware(platform, &root);
        let error = read(&text).expect_err("not Google's root");
        assert_eq!(error.code(), "policy-value", "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("{platform}.gce_firmware.root_certificate")),
            "{error}"
        );
        let (own, other) = match platform {
            "snp" => ("vcpus", "ram_gib"),
            _ => ("ram_gib", "vcpus"),
        };
        let key = format!("{own} = \"any\"");
        for (from, to, part) in [
            (key.as_str(), String::new(), own.to_owned()),
            (&key, format!("{own} = \"all\""), "expected".to_owned()),
            (&key, format!("{own} = []"), "accepts nothing".to_owned()),
            (&key, format!("{key}\n{other} = \"any\""), other.to_owned()),
            (&key, format!("{key}\nkey = 1"), "key".to_owned()),
            (&root, "AAAA".to_owned(), "root certificate".to_owned()),
            ("svn_minimum = 2\n", String::new(), "svn_minimum".to_owned()),
            (
                "issued_after",
                "issued_before".to_owned(),
                "issued_before".to_owned(),
            ),
        ] {
            assert!(text.contains(from), "{from}");
            let error = read(&text.replace(from, &to)).expect_err(&to);
            assert!(error.to_string().contains(&part), "{to}: {error}");
        }
        let both = text.replace(&format!("[{platform}.gce_firmware]"), "");
        assert!(read(&both).is_err());
    }
    let listed = "04".repeat(48);
    let both = with_gce_firmware("tdx", &root).replace("[tdx]", &format!("[tdx]\nmrtd = [\"{listed}\"]"));
    let error = read(&both).expect_err("both");
    assert!(error.to_string().contains("one of both decides"), "{error}");
    let listed = "03".repeat(48);
    let both = with_gce_firmware("snp", &root)
        .replace("[snp]", &format!("[snp]\nlaunch_measurements = [\"{listed}\"]"));
    let error = read(&both).expect_err("both");
    assert!(error.to_string().contains("one of both decides"), "{error}");
}

#[test]
fn a_policy_that_accepts_no_platform_is_refused() {
    let (head, _) = EXAMPLE.split_once("# AMD SEV-SNP").expect("the table");
    let error = read(head).expect_err("no platform");
    assert_eq!(error.code(), "policy-value");
    assert!(read(&format!("{head}\n[danger.simulated]\n")).is_err());
}

#[test]
fn roots_are_named_for_simulated_platforms_and_only_for_them() {
    let error = read(&with(
        "guest_svn_minimum",
        "guest_svn_minimum = 0\nroot_certificate = \"AAAA\"",
    ))
    .expect_err("none");
    assert!(error.to_string().contains("root"), "{error}");
    let simulated = EXAMPLE
        .replace("snp.minimum_tcb", "danger.simulated.snp.minimum_tcb")
        .replace("[snp]", "[danger.simulated.snp]");
    let error = read(&simulated).expect_err("no root");
    assert!(
        error
            .to_string()
            .contains("danger.simulated.snp.root_certificate"),
        "{error}"
    );
    let simulated = EXAMPLE
        .replace("[[tdx.", "[[danger.simulated.tdx.")
        .replace("[tdx]", "[danger.simulated.tdx]");
    let error = read(&simulated).expect_err("no root");
    assert!(
        error
            .to_string()
            .contains("danger.simulated.tdx.root_certificate"),
        "{error}"
    );
}

#[test]
fn a_policy_reads_inside_another_document() {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Release {
        model_id: String,
        appraisal: AppraisalPolicy,
    }
    let (head, platforms) = EXAMPLE.split_once("# AMD SEV-SNP").expect("the table");
    let nested = format!("model_id = \"m\"\n[appraisal]\n{head}\n#{platforms}")
        .replace("[snp]", "[appraisal.snp]")
        .replace("[tdx]", "[appraisal.tdx]")
        .replace("[[snp.", "[[appraisal.snp.")
        .replace("[[tdx.", "[[appraisal.tdx.")
        .replace("[nvidia]", "[appraisal.nvidia]")
        .replace("[[nvidia.", "[[appraisal.nvidia.");
    let release: Release = toml::from_str(&nested).expect("it reads");
    assert_eq!(release.model_id, "m");
    assert!(release.appraisal.accepts(PlatformTag::AmdSevSnp));
    assert!(toml::from_str::<Release>(&nested.replace("vmpl = 0", "vmpl = 4")).is_err());
}
