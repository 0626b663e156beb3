//! Policies for devices: nothing unknown, nothing empty, nothing weaker by omission.

use super::machine::STRICT;
use super::policy_text;
use crate::AppraisalPolicy;

fn reads(table: &str) -> bool {
    AppraisalPolicy::from_toml(&policy_text(table)).is_ok()
}

#[test]
fn values_that_weaken_or_mean_nothing_are_refused() {
    assert!(reads(STRICT));
    for (from, to) in [
        ("gpus = 1", "gpus = 0"),
        ("gpus = 1", "gpus = 65"),
        ("gpus = 1", "gpus = 1\nswitches = 1"),
        ("gpus = 1", "gpus = 1\nswitches = -1"),
        ("gpus = 1\n", ""),
        ("[\"single-gpu\"]", "[]"),
        ("[\"single-gpu\"]", "[\"off\"]"),
        ("modes = [\"single-gpu\"]\n", ""),
        ("\"any\"", "[]"),
        ("\"any\"", "\"all\""),
        ("enrolled_devices = \"any\"\n", ""),
        ("\"hopper\"", "\"ampere\""),
        ("\"hopper\"", "\"ls10\""),
        ("driver = \"570.86.10\"\n", ""),
        ("570.86.10", "570"),
        ("96.00.5E.00.01", "96.00"),
        ("vbios = \"96.00.5E.00.01\"\n", ""),
        ("modes", "mode"),
    ] {
        assert!(STRICT.contains(from), "{from}");
        assert!(!reads(&STRICT.replace(from, to)), "{to}");
    }
    let (head, _) = STRICT.split_once("[[").expect("the versions");
    assert!(!reads(&alloc::format!("{head}minimum_versions = []\n")));
    let (_, versions) = STRICT.split_once("[[").expect("the versions");
    assert!(!reads(&alloc::format!("{STRICT}[[{versions}")));
    for (addition, whole) in [
        (
            "[[nvidia.exceptions]]\nname = \"no-revocation-check\"\nreason = \"isolated\"\n",
            true,
        ),
        (
            "[[nvidia.exceptions]]\nname = \"no-revocation-check\"\nreason = \" \"\n",
            false,
        ),
        ("[[nvidia.exceptions]]\nname = \"no-revocation-check\"\n", false),
        (
            "[[nvidia.exceptions]]\nname = \"no-signature\"\nreason = \"isolated\"\n",
            false,
        ),
        (
            "[[nvidia.ignored_measurements]]\nindex = 35\nreason = \"decoder\"\n",
            true,
        ),
        (
            "[[nvidia.ignored_measurements]]\nindex = 35\nreason = \"\"\n",
            false,
        ),
        (
            "[[nvidia.ignored_measurements]]\nindex = 300\nreason = \"decoder\"\n",
            false,
        ),
    ] {
        assert_eq!(reads(&alloc::format!("{STRICT}{addition}")), whole, "{addition}");
    }
}
