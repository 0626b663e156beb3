//! Logs of real machines.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::super::{Agreement, Bank, EventKind, EventLog, RegisterLayout, agreement};

#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
fn vectors() -> Option<(PathBuf, Vec<Table>)> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    let Ok(manifest) = std::fs::read_to_string(folder.join("MANIFEST.toml")) else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "no vectors in {}",
            folder.display()
        );
        std::eprintln!(
            "NOT RUN: no event logs in {} (set ADYTON_VECTORS)",
            folder.display()
        );
        return None;
    };
    let manifest: Table = toml::from_str(&manifest).expect("the manifest is TOML");
    let vectors = manifest["vector"].as_array().expect("vectors").iter();
    Some((
        folder,
        vectors
            .map(|vector| vector.as_table().expect("a table").clone())
            .collect(),
    ))
}

fn file(folder: &Path, table: &Table) -> Vec<u8> {
    std::fs::read(folder.join(table["file"].as_str().expect("a file"))).expect("the file of a vector")
}

/// The logs that travel with a quote, as companions.
fn companion_logs() -> Vec<(String, Vec<u8>)> {
    let Some((folder, vectors)) = vectors() else {
        return Vec::new();
    };
    let companions = vectors.iter().flat_map(|vector| {
        let name = vector["name"].as_str().expect("a name");
        let companions = vector.get("companion").and_then(Value::as_array);
        companions
            .into_iter()
            .flatten()
            .filter_map(Value::as_table)
            .map(move |companion| (name, companion))
    });
    companions
        .filter(|(_, companion)| {
            companion["role"]
                .as_str()
                .is_some_and(|role| role.to_lowercase().contains("event log"))
        })
        .map(|(name, companion)| (name.to_string(), file(&folder, companion)))
        .collect()
}

#[test]
fn real_logs_replay_to_the_values_of_the_manifest() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    let mut count = 0;
    for vector in vectors
        .iter()
        .filter(|vector| vector["platform"].as_str() == Some("event-log"))
    {
        let name = vector["name"].as_str().expect("a name");
        let bytes = file(&folder, vector);
        let log = EventLog::parse(&bytes).expect(name);
        let facts = vector["facts"].as_table().expect("facts");
        let number = |key: &str| {
            facts[key]
                .as_integer()
                .and_then(|number| usize::try_from(number).ok())
        };
        assert_eq!(Some(log.events().len()), number("events"), "{name}");
        assert_eq!(Some(log.bytes_used()), number("bytes_used"), "{name}");
        let banks = facts["banks"].as_array().expect("banks");
        for (bank, replay) in [(Bank::Sha256, "replay_sha256"), (Bank::Sha384, "replay_sha384")] {
            let bank_name = replay.trim_start_matches("replay_");
            let told = banks.iter().any(|bank| bank.as_str() == Some(bank_name));
            assert_eq!(log.banks().contains(&bank), told, "{name} {bank_name}");
            let Some(values) = facts.get(replay).and_then(Value::as_table) else {
                continue;
            };
            assert_eq!(log.registers().len(), values.len(), "{name}");
            for (register, value) in values {
                let index = register[register
                    .len()
                    .min(if register.starts_with("pcr") { 3 } else { 2 })..]
                    .parse();
                let index = index.expect("a number");
                let replayed = match bank {
                    Bank::Sha256 => log.replay_sha256(index).map(hex::encode),
                    Bank::Sha384 => log.replay_sha384(index).map(hex::encode),
                };
                assert_eq!(replayed.as_deref(), value.as_str(), "{name} {register}");
            }
        }
        assert!(log.disagreeing().is_none(), "{name}: {:?}", log.disagreeing());
        let layout = if name.contains("ccel") {
            RegisterLayout::Confidential
        } else {
            RegisterLayout::Pcr
        };
        assert_eq!(log.layout(), layout, "{name}");
        assert!(log.fields().len() > 5, "{name}");
        count += 1;
    }
    assert_eq!(count, 4, "logs");
}

#[test]
fn real_logs_say_what_was_booted() {
    let logs = companion_logs();
    if logs.is_empty() {
        return;
    }
    let expected: &[(&str, &str, &str)] = &[
        ("gcp-tdx-cos113-ccel", "secure boot", "disabled"),
        (
            "gcp-tdx-cos113-ccel",
            "kernel command line",
            "/syslinux/vmlinuz.A init=/usr/lib/systemd/systemd",
        ),
        (
            "gcp-tdx-cos113-ccel",
            "boot application",
            "EFI\\BOOT\\grub-lakitu.efi",
        ),
        ("tdx-v4-ccel-lunal", "secure boot", "disabled"),
        ("tdx-v4-ccel-lunal", "digest of initrd", ""),
        (
            "tdx-v4-dstack-event-log",
            "runtime event app-id",
            "3763bc34552cf3a27ff71ad5f7a90471562a1a2d",
        ),
        (
            "tdx-v4-dstack-event-log",
            "runtime event LIUM_MINER_HOTKEY",
            "(5D33",
        ),
        ("composite-tdx-8xhopper-near", "runtime event storage-fs", "zfs"),
        ("gcp-vtpm-cos85-nonce9009", "secure boot", "enabled"),
        (
            "gcp-vtpm-cos85-nonce9009",
            "firmware version",
            "GCE Virtual Firmware v1",
        ),
    ];
    for (name, field_name, part) in expected {
        let (_, bytes) = logs.iter().find(|(other, _)| other == name).expect(name);
        let log = EventLog::parse(bytes).expect(name);
        assert!(log.disagreeing().is_none(), "{name}: {:?}", log.disagreeing());
        let fields = log.fields();
        let found = fields
            .iter()
            .any(|field| field.name == *field_name && field.value.to_string().contains(part));
        assert!(found, "{name}: {field_name}: {fields:#?}");
    }
    assert_eq!(logs.len(), 6);
}

/// The end of a TPM's quote names a selection of PCRs and the digest of their values (TPM 2.0 part 2, TPMS_QUOTE_INFO).
#[test]
fn a_real_log_replays_to_the_registers_that_a_tpm_quoted() {
    let Some((folder, vectors)) = vectors() else {
        return;
    };
    let name = "gcp-vtpm-cos85-nonce9009";
    let vector = vectors
        .iter()
        .find(|vector| vector["name"].as_str() == Some(name))
        .expect(name);
    let companion = |role: &str| {
        let mut companions = vector["companion"].as_array().expect("companions").iter();
        let companion = companions.find(|companion| companion["role"].as_str() == Some(role));
        file(&folder, companion.and_then(Value::as_table).expect(role))
    };
    let log = EventLog::parse(&companion("TCG event log")).expect("it reads");
    let attestation = file(&folder, vector);
    for (bank, algorithm) in [("sha256", 0xb), ("sha384", 0xc)] {
        let quote = companion(&format!("tpm-quote-message {bank}"));
        let [.., 0, bank_id, 3, low, middle, high, 0, 32] = quote[..quote.len() - 32] else {
            panic!("a selection of three bytes");
        };
        assert_eq!(bank_id, algorithm, "{bank}");
        let selected = u32::from_le_bytes([low, middle, high, 0]);
        assert!(selected & 0xff == 0xff, "{bank}: {selected:#x}");
        let mut digest = Sha256::new();
        for pcr in (0..24).filter(|pcr| selected >> pcr & 1 == 1) {
            let replayed = match bank {
                "sha256" => log.replay_sha256(pcr).map(Vec::from),
                _ => log.replay_sha384(pcr).map(Vec::from),
            };
            let replayed = replayed.expect("a value");
            // IMA's PCR 10 has a log of its own, and 17 to 22 do not begin at zero: they come with the quote.
            let logged = log.registers().contains(&pcr);
            assert_eq!(logged, pcr < 10, "PCR {pcr}");
            let entry = [
                8,
                u8::try_from(pcr).expect("below 24"),
                0x12,
                u8::try_from(replayed.len()).expect("short"),
            ];
            let quoted: Vec<&[u8]> = attestation
                .windows(entry.len() + replayed.len())
                .filter(|window| window.starts_with(&entry))
                .map(|window| &window[entry.len()..])
                .collect();
            if logged {
                assert!(quoted.contains(&&replayed[..]), "{bank} PCR {pcr}");
                digest.update(replayed);
            } else {
                digest.update(quoted.first().expect("a value"));
            }
        }
        assert_eq!(digest.finalize()[..], quote[quote.len() - 32..], "{bank}");
    }
}

/// Whatever byte of a real log is changed, it is another log, or none: each byte is either measured, or has its
/// shape checked, or is named here as a hint.
#[test]
fn a_changed_byte_of_a_real_log_never_leaves_registers_and_believed_events_as_they_were() {
    for (name, bytes) in companion_logs() {
        let log = EventLog::parse(&bytes).expect("it reads");
        let used = log.bytes_used();
        let believed = |log: &EventLog| -> Vec<_> {
            let events = log
                .events()
                .iter()
                .filter(|event| event.agreement() == Agreement::Recomputed);
            events
                .map(|event| (event.register(), event.kind(), event.data().to_vec()))
                .collect()
        };
        let registers = |log: &EventLog| -> Vec<_> {
            (0..24)
                .map(|at| (log.replay_sha256(at), log.replay_sha384(at)))
                .collect()
        };
        let (expected, values) = (believed(&log), registers(&log));
        // A prime step visits all kinds of places within the time that tests have.
        for at in (0..used).step_by(if used > 8192 { 61 } else { 7 }) {
            let mut changed = bytes[..used].to_vec();
            changed[at] ^= 1 << (at % 8);
            let Ok(other) = EventLog::parse(&changed) else {
                continue;
            };
            let same = registers(&other) == values && other.disagreeing().is_none();
            if !same {
                continue;
            }
            let others = believed(&other);
            let kept = others.iter().filter(|event| !expected.contains(event)).count();
            // The prefix of GRUB's commands, the type of an event whose data is not measured, a name, a digest of
            // the SHA-1 bank: nothing that is believed appears that was not there.
            assert!(kept <= 1, "{name} byte {at}");
            if kept == 1 {
                let stranger = others
                    .iter()
                    .find(|event| !expected.contains(event))
                    .expect("one");
                let data = expected
                    .iter()
                    .any(|event| event.0 == stranger.0 && event.2 == stranger.2);
                let grub = agreement::grub_text(&stranger.2).is_some();
                // Of these not every byte of the data is measured: the agreement says which.
                let part =
                    [EventKind::EFI_VARIABLE_AUTHORITY, EventKind::EFI_VARIABLE_BOOT].contains(&stranger.1);
                assert!(data || grub || part, "{name} byte {at}: {stranger:?}");
            }
        }
    }
}
