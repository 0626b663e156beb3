//! What a policy leaves open: valid is not yet wise.

use attestation::UnixTime;
use toml::{Table, Value};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Gives up a protection that hardware offers.
    Danger,
    /// Accepts more than most sites need.
    Warning,
    /// Worth knowing.
    Note,
}

impl Weight {
    /// The word in output.
    pub const fn word(self) -> &'static str {
        match self {
            Weight::Danger => "danger",
            Weight::Warning => "warning",
            Weight::Note => "note",
        }
    }
}

/// One thing that a policy leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable code.
    pub code: &'static str,
    /// How much it matters.
    pub weight: Weight,
    /// The key in question, with its table.
    pub key: String,
    /// What it means.
    pub message: String,
}

const DAY_SECONDS: i64 = 24 * 3600;
/// Sites renew collateral at least monthly; Intel's is valid for 30 days.
const COLLATERAL_DAYS_MAX: i64 = 31;
const EVIDENCE_SECONDS_MAX: i64 = DAY_SECONDS;
const SEPT_VE_DISABLE: i64 = 1 << 28;

/// Looks through a policy that the Verifier can read, as of `now`; the gravest first.
pub fn lint(policy: &Table, now: UnixTime) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.ages(policy);
    findings.zero_digests(policy);
    for (name, table) in platforms(policy) {
        if name.starts_with("danger") {
            findings.add(
                "policy-simulated",
                Weight::Danger,
                &name,
                "",
                "simulated evidence is accepted: software signs it and nothing is protected",
            );
        }
        findings.machines(&name, table);
        if name.ends_with("snp") {
            findings.snp(&name, table);
        }
        if name.ends_with("tdx") {
            findings.tdx(&name, table, now);
        }
    }
    let mut findings = findings.0;
    findings.sort_by_key(|finding| finding.weight);
    findings
}

/// Every table of a platform with its whole name.
pub(super) fn platforms(policy: &Table) -> Vec<(String, &Table)> {
    fn walk<'a>(prefix: &str, table: &'a Table, found: &mut Vec<(String, &'a Table)>) {
        for (key, value) in table {
            let Some(inner) = value.as_table() else { continue };
            let name = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            if matches!(key.as_str(), "snp" | "tdx" | "nvidia") {
                found.push((name.clone(), inner));
            }
            walk(&name, inner, found);
        }
    }
    let mut found = Vec::new();
    walk("", policy, &mut found);
    found
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, code: &'static str, weight: Weight, table: &str, key: &str, message: &str) {
        let key = match (table, key) {
            (table, "") => table.to_owned(),
            ("", key) => key.to_owned(),
            (table, key) => format!("{table}.{key}"),
        };
        self.0.push(Finding {
            code,
            weight,
            key,
            message: message.to_owned(),
        });
    }

    fn ages(&mut self, policy: &Table) {
        let seconds = |key: &str| policy.get(key).and_then(Value::as_integer).unwrap_or(0);
        if seconds("collateral_age_seconds_max") > COLLATERAL_DAYS_MAX * DAY_SECONDS {
            self.add(
                "policy-collateral-age",
                Weight::Warning,
                "",
                "collateral_age_seconds_max",
                "a host may withhold revocations for longer than a month",
            );
        }
        if seconds("evidence_age_seconds_max") > EVIDENCE_SECONDS_MAX {
            self.add(
                "policy-evidence-age",
                Weight::Warning,
                "",
                "evidence_age_seconds_max",
                "evidence is relied upon for longer than a day without asking again",
            );
        }
    }

    fn zero_digests(&mut self, policy: &Table) {
        for key in ["model_digests", "config_digests"] {
            if strings(policy, key).any(|digest| digest.chars().all(|digit| digit == '0')) {
                self.add(
                    "policy-placeholder",
                    Weight::Warning,
                    "",
                    key,
                    "a digest of zeros matches nothing: put the release's in its place",
                );
            }
        }
    }

    fn machines(&mut self, name: &str, table: &Table) {
        if table.get("enrolled_machines").and_then(Value::as_str) == Some("any") {
            self.add(
                "policy-any-machine",
                Weight::Warning,
                name,
                "enrolled_machines",
                "evidence of any genuine machine in the world is accepted: relayed evidence, and keys extracted by \
                 physical attack (TEE.fail, Battering RAM), pass",
            );
        }
    }

    fn snp(&mut self, name: &str, table: &Table) {
        for exception in strings(table, "exceptions") {
            let message = match exception {
                "milan-vcek" => {
                    "Milan's VCEK seed can be extracted by software (BadFuse): reports can be forged"
                }
                "absent-revocation-list" => {
                    "a host that leaves out the revocation list hides what AMD withdrew"
                }
                _ => "a departure from the strict checks",
            };
            self.add("policy-exception", Weight::Danger, name, "exceptions", message);
        }
        if numbers(table, "report_versions").any(|version| version == 2) {
            self.add(
                "policy-report-version",
                Weight::Warning,
                name,
                "report_versions",
                "version 2 names no processor and cannot show the alias check (BadRAM)",
            );
        }
        if !strings(table, "platform_required").any(|word| word == "alias-check-complete") {
            self.add(
                "policy-alias-check",
                Weight::Warning,
                name,
                "platform_required",
                "memory aliasing (BadRAM, AMD-SB-3015) is not ruled out without \"alias-check-complete\"",
            );
        }
        if strings(table, "guest_policy_accepted").any(|word| word == "smt") {
            self.add(
                "policy-smt",
                Weight::Note,
                name,
                "guest_policy_accepted",
                "a sibling thread may run the host's code (StackWarp, side channels)",
            );
        }
        for provider in strings(table, "vlek_providers") {
            let message = format!("{provider} holds the seed of these keys, not AMD alone");
            self.add("policy-vlek", Weight::Note, name, "vlek_providers", &message);
        }
        let minima = table.get("minimum_tcb").and_then(Value::as_array);
        for entry in minima.into_iter().flatten().filter_map(Value::as_table) {
            if entry.get("microcode").and_then(Value::as_integer) == Some(0) {
                self.add(
                    "policy-no-minimum",
                    Weight::Danger,
                    name,
                    "minimum_tcb",
                    "no microcode is too old for this entry: EntrySign and CacheWarp pass",
                );
            }
        }
    }

    fn tdx(&mut self, name: &str, table: &Table, now: UnixTime) {
        if numbers(table, "evaluation_number_minimum").any(|number| number == 0) {
            self.add(
                "policy-evaluation-number",
                Weight::Danger,
                name,
                "evaluation_number_minimum",
                "the host may choose collateral under which an old platform is still UpToDate",
            );
        }
        if numbers(table, "td_attributes").any(|value| value & SEPT_VE_DISABLE == 0) {
            self.add(
                "policy-sept-ve",
                Weight::Danger,
                name,
                "td_attributes",
                "without SEPT_VE_DISABLE the host can inject exceptions into the guest by taking pages away",
            );
        }
        let exceptions = table.get("tcb_exceptions").and_then(Value::as_array);
        for exception in exceptions.into_iter().flatten().filter_map(Value::as_table) {
            let until = exception.get("until").and_then(Value::as_str).unwrap_or_default();
            let over = UnixTime::parse_rfc3339(until).is_some_and(|until| until < now);
            let status = exception
                .get("status")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let (weight, message) = if over {
                (
                    Weight::Note,
                    format!("the exception for {status} ended at {until}"),
                )
            } else {
                (Weight::Warning, format!("{status} is accepted until {until}"))
            };
            self.add("policy-tcb-exception", weight, name, "tcb_exceptions", &message);
        }
    }
}

/// The strings of a key, whether it holds one or a list.
pub(super) fn strings<'a>(table: &'a Table, key: &str) -> impl Iterator<Item = &'a str> {
    values(table, key).filter_map(Value::as_str)
}

fn numbers(table: &Table, key: &str) -> impl Iterator<Item = i64> {
    values(table, key).filter_map(Value::as_integer)
}

pub(super) fn values<'a>(table: &'a Table, key: &str) -> impl Iterator<Item = &'a Value> {
    let value = table.get(key);
    let list = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    value.filter(|value| !value.is_array()).into_iter().chain(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);

    fn codes(text: &str) -> Vec<&'static str> {
        let table: Table = text.parse().expect("the test's own TOML");
        lint(&table, NOW).iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_strict_policy_has_no_findings() {
        let strict = "collateral_age_seconds_max = 2592000\nevidence_age_seconds_max = 3600\n\
            [snp]\nenrolled_machines = [\"aa\"]\nplatform_required = [\"alias-check-complete\"]\n\
            [[snp.minimum_tcb]]\nmicrocode = 84\n\
            [tdx]\nenrolled_machines = [\"aa\"]\nevaluation_number_minimum = 18\ntd_attributes = [0x10000000]\n";
        assert_eq!(codes(strict), Vec::<&str>::new());
    }

    #[test]
    fn each_opening_is_found_by_its_code() {
        for (text, code) in [
            ("collateral_age_seconds_max = 9999999", "policy-collateral-age"),
            ("evidence_age_seconds_max = 999999", "policy-evidence-age"),
            ("model_digests = [\"0000\"]", "policy-placeholder"),
            ("[danger.simulated.tdx]", "policy-simulated"),
            ("[tdx]\nenrolled_machines = \"any\"", "policy-any-machine"),
            ("[snp]\nexceptions = [\"milan-vcek\"]", "policy-exception"),
            ("[snp]\nreport_versions = [2, 3]", "policy-report-version"),
            ("[snp]\nplatform_required = []", "policy-alias-check"),
            ("[snp]\nguest_policy_accepted = [\"smt\"]", "policy-smt"),
            ("[snp]\nvlek_providers = [\"CN=a\"]", "policy-vlek"),
            ("[[snp.minimum_tcb]]\nmicrocode = 0", "policy-no-minimum"),
            ("[tdx]\nevaluation_number_minimum = 0", "policy-evaluation-number"),
            ("[tdx]\ntd_attributes = [0]", "policy-sept-ve"),
            (
                "[[tdx.tcb_exceptions]]\nstatus = \"X\"\nuntil = \"2027-01-01T00:00:00Z\"",
                "policy-tcb-exception",
            ),
        ] {
            assert!(codes(text).contains(&code), "{text}");
        }
    }

    #[test]
    fn an_exception_that_is_over_is_only_a_note() {
        let table: Table = "[[tdx.tcb_exceptions]]\nstatus = \"X\"\nuntil = \"2020-01-01T00:00:00Z\""
            .parse()
            .expect("TOML");
        let found = lint(&table, NOW);
        let exception = found
            .iter()
            .find(|finding| finding.code == "policy-tcb-exception")
            .expect("it is found");
        assert_eq!(exception.weight, Weight::Note);
    }
}
