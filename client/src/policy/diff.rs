//! What a change of a policy would newly accept, and what it would newly refuse.
//!
//! Each key has a direction: values added to a list of what is accepted open; values added to a list of what is
//! required close; a minimum that falls opens; a maximum that rises opens. A key without a known direction is shown as
//! changed both ways, never hidden.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// One effect of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Opens: evidence that was refused is now accepted. Otherwise the other way round.
    pub opens: bool,
    /// The key with its table.
    pub key: String,
    /// What it is about.
    pub message: String,
}

#[derive(Clone, Copy)]
enum Direction {
    /// A list of what is accepted; a missing list is the strictest.
    Accepts,
    /// A list of what must be there.
    Requires,
    /// The least that is accepted.
    Minimum,
    /// The most that is accepted.
    Maximum,
}

fn direction(key: &str) -> Option<Direction> {
    Some(match key {
        "model_digests"
        | "config_digests"
        | "launch_measurements"
        | "host_data"
        | "family_ids"
        | "image_ids"
        | "id_key_digests"
        | "author_key_digests"
        | "guest_policy_accepted"
        | "enrolled_machines"
        | "report_versions"
        | "vlek_providers"
        | "exceptions"
        | "mrtd"
        | "rtmr0"
        | "rtmr1"
        | "rtmr2"
        | "rtmr3"
        | "mrconfigid"
        | "mrowner"
        | "mrownerconfig"
        | "td_attributes"
        | "xfam"
        | "tcb_exceptions"
        | "event_digests"
        | "architectures"
        | "models"
        | "steppings" => Direction::Accepts,
        "guest_policy_required" | "platform_required" => Direction::Requires,
        "guest_svn_minimum"
        | "guest_abi_minimum"
        | "evaluation_number_minimum"
        | "boot_loader"
        | "tee"
        | "snp"
        | "microcode"
        | "fmc"
        | "firmware"
        | "svn_minimum"
        | "driver_minimum"
        | "vbios_minimum"
        | "issued_after" => Direction::Minimum,
        "evidence_age_seconds_max" | "collateral_age_seconds_max" | "revocation_list_age_seconds_max" => {
            Direction::Maximum
        }
        _ => return None,
    })
}

/// The effects of going from `old` to `new`, in the order of the keys.
pub fn diff(old: &Table, new: &Table) -> Vec<Effect> {
    let mut effects = Vec::new();
    tables("", old, new, &mut effects);
    effects
}

fn tables(prefix: &str, old: &Table, new: &Table, effects: &mut Vec<Effect>) {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let name = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(Value::Table(old)), Some(Value::Table(new))) => tables(&name, old, new, effects),
            (None, Some(Value::Table(table))) => whole(&name, table, true, effects),
            (Some(Value::Table(table)), None) => whole(&name, table, false, effects),
            (old, new) if key == "minimum_tcb" => entries(&name, old, new, effects),
            (old, new) => values(&name, key, old, new, effects),
        }
    }
}

/// A platform's table that comes or goes; a table around others is looked into.
fn whole(name: &str, table: &Table, opens: bool, effects: &mut Vec<Effect>) {
    if matches!(name, "danger" | "danger.simulated" | "azure") && table.values().all(Value::is_table) {
        for (key, value) in table {
            if let Some(inner) = value.as_table() {
                whole(&format!("{name}.{key}"), inner, opens, effects);
            }
        }
        return;
    }
    let verb = if opens { "now" } else { "no longer" };
    let last = name.rsplit('.').next().unwrap_or(name);
    let what = match last {
        "snp" | "tdx" => "evidence of this platform",
        "nvidia" => "a machine with these devices",
        "gce_firmware" => "firmware on Google's endorsement",
        _ => "what this table says",
    };
    effects.push(Effect {
        opens,
        key: name.to_owned(),
        message: format!("{what} is {verb} accepted"),
    });
}

fn values(name: &str, key: &str, old: Option<&Value>, new: Option<&Value>, effects: &mut Vec<Effect>) {
    let mut push = |opens, message: String| {
        effects.push(Effect {
            opens,
            key: name.to_owned(),
            message,
        });
    };
    match direction(key) {
        Some(Direction::Accepts) => {
            let any = |value: Option<&Value>| value.and_then(Value::as_str) == Some("any");
            if any(new) && !any(old) {
                return push(true, "any is accepted, where a list was".to_owned());
            }
            if any(old) && !any(new) {
                return push(false, "only a list is accepted, where any was".to_owned());
            }
            let (before, after) = (texts(old), texts(new));
            for value in after.difference(&before) {
                push(true, format!("{value} is accepted"));
            }
            for value in before.difference(&after) {
                push(false, format!("{value} is no longer accepted"));
            }
        }
        Some(Direction::Requires) => {
            let (before, after) = (texts(old), texts(new));
            for value in before.difference(&after) {
                push(true, format!("{value} is no longer required"));
            }
            for value in after.difference(&before) {
                push(false, format!("{value} is required"));
            }
        }
        Some(Direction::Minimum) => {
            let lower = order(old) > order(new);
            push(
                lower,
                format!("the minimum goes from {} to {}", text(old), text(new)),
            );
        }
        Some(Direction::Maximum) => {
            let higher = order(new) > order(old);
            push(
                higher,
                format!("the maximum goes from {} to {}", text(old), text(new)),
            );
        }
        None => {
            push(true, format!("{} is accepted", text(new)));
            push(false, format!("{} is no longer accepted", text(old)));
        }
    }
}

/// Entries of `minimum_tcb` are compared by the processors that they are about.
fn entries(name: &str, old: Option<&Value>, new: Option<&Value>, effects: &mut Vec<Effect>) {
    let list = |value: Option<&Value>| -> Vec<(String, Table)> {
        let entries = value.and_then(Value::as_array).into_iter().flatten();
        entries
            .filter_map(Value::as_table)
            .map(|table| {
                let part = |key: &str| text(table.get(key));
                let about = format!("{} {} {}", part("generation"), part("models"), part("steppings"));
                (about, table.clone())
            })
            .collect()
    };
    let (before, after) = (list(old), list(new));
    for (about, table) in &after {
        match before.iter().find(|(other, _)| other == about) {
            Some((_, old)) => tables(&format!("{name} ({about})"), old, table, effects),
            None => effects.push(Effect {
                opens: true,
                key: name.to_owned(),
                message: format!("processors {about} are accepted"),
            }),
        }
    }
    for (about, _) in &before {
        if !after.iter().any(|(other, _)| other == about) {
            effects.push(Effect {
                opens: false,
                key: name.to_owned(),
                message: format!("processors {about} are no longer accepted"),
            });
        }
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None => "the default".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

fn texts(value: Option<&Value>) -> BTreeSet<String> {
    match value {
        None => BTreeSet::new(),
        Some(Value::Array(list)) => list.iter().map(|value| text(Some(value))).collect(),
        value => [text(value)].into(),
    }
}

/// Numbers, versions and moments in their order.
fn order(value: Option<&Value>) -> (Vec<i64>, String) {
    match value {
        Some(Value::Integer(number)) => (vec![*number], String::new()),
        Some(Value::String(text)) => {
            let parts: Option<Vec<i64>> = text.split('.').map(|part| part.parse().ok()).collect();
            parts.map_or_else(|| (Vec::new(), text.clone()), |parts| (parts, String::new()))
        }
        _ => (Vec::new(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(old: &str, new: &str) -> Vec<(bool, String)> {
        let table = |text: &str| text.parse::<Table>().expect("the test's own TOML");
        diff(&table(old), &table(new))
            .into_iter()
            .map(|effect| (effect.opens, format!("{}: {}", effect.key, effect.message)))
            .collect()
    }

    #[track_caller]
    fn assert_opens(old: &str, new: &str, opens: bool) {
        let found = effects(old, new);
        assert!(
            found.len() == 1 && found[0].0 == opens,
            "{old} -> {new}: {found:?}"
        );
        let back = effects(new, old);
        assert!(back.len() == 1 && back[0].0 != opens, "{new} -> {old}: {back:?}");
    }

    #[test]
    fn every_direction_opens_and_closes() {
        assert_opens("model_digests = [\"a\"]", "model_digests = [\"a\", \"b\"]", true);
        assert_opens(
            "[snp]\nguest_policy_accepted = []",
            "[snp]\nguest_policy_accepted = [\"smt\"]",
            true,
        );
        assert_opens(
            "[snp]\nplatform_required = []",
            "[snp]\nplatform_required = [\"ecc\"]",
            false,
        );
        assert_opens(
            "[snp]\nguest_svn_minimum = 5",
            "[snp]\nguest_svn_minimum = 4",
            true,
        );
        assert_opens(
            "[snp]\nguest_abi_minimum = \"1.55\"",
            "[snp]\nguest_abi_minimum = \"1.6\"",
            true,
        );
        assert_opens(
            "evidence_age_seconds_max = 5",
            "evidence_age_seconds_max = 6",
            true,
        );
        assert_opens(
            "[tdx]\nenrolled_machines = [\"aa\"]",
            "[tdx]\nenrolled_machines = \"any\"",
            true,
        );
        assert_opens("", "[tdx]\nxfam = [1]", true);
        assert_opens("", "[danger.simulated.snp]\nvmpl = 0", true);
    }

    #[test]
    fn minimum_tcb_is_compared_by_processor() {
        let entry = |model: u8, microcode: u8| {
            format!(
                "[[snp.minimum_tcb]]\ngeneration = \"genoa\"\nmodels = [{model}]\nmicrocode = {microcode}\n"
            )
        };
        assert_opens(&entry(1, 9), &entry(1, 8), true);
        assert_opens(&entry(1, 9), &(entry(1, 9) + &entry(2, 1)), true);
        assert_eq!(effects(&entry(1, 9), &entry(1, 9)), []);
    }

    #[test]
    fn a_key_without_a_direction_is_shown_both_ways() {
        let found = effects("role = \"inference\"", "role = \"broker\"");
        assert_eq!(found.len(), 2);
        assert!(found.iter().any(|(opens, _)| *opens) && found.iter().any(|(opens, _)| !*opens));
    }
}
