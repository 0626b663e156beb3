//! Logs of real machines, and logs made here to be wrong in one way.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256, Sha384};
use toml::{Table, Value};

use super::reading::SecureBoot;
use super::{Agreement, Bank, EVENTS_MAX, EventKind, EventLog, EventLogError, RegisterLayout};

const SHA1: u16 = 0x4;
const SHA256: u16 = 0xb;
const SHA384: u16 = 0xc;

/// Writes TCG logs.
struct Log {
    bytes: Vec<u8>,
    algorithms: Vec<u16>,
}

impl Log {
    fn new(algorithms: &[(u16, u16)]) -> Self {
        let mut data = b"Spec ID Event03\0".to_vec();
        data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        data.extend(u32::try_from(algorithms.len()).expect("few").to_le_bytes());
        for (algorithm, bytes) in algorithms {
            data.extend(algorithm.to_le_bytes());
            data.extend(bytes.to_le_bytes());
        }
        data.push(0);
        let mut bytes = [&[1, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20]].concat();
        bytes.extend(u32::try_from(data.len()).expect("few").to_le_bytes());
        bytes.extend(data);
        Self {
            bytes,
            algorithms: algorithms.iter().map(|(algorithm, _)| *algorithm).collect(),
        }
    }

    fn ccel() -> Self {
        Self::new(&[(SHA384, 48)])
    }

    /// An event whose digests are those of `measured`.
    fn measuring(mut self, register: u32, kind: EventKind, measured: &[u8], data: &[u8]) -> Self {
        self.bytes.extend(register.to_le_bytes());
        self.bytes.extend(kind.0.to_le_bytes());
        let count = u32::try_from(self.algorithms.len()).expect("few");
        self.bytes.extend(count.to_le_bytes());
        for algorithm in self.algorithms.clone() {
            self.bytes.extend(algorithm.to_le_bytes());
            match algorithm {
                SHA256 => self.bytes.extend(&Sha256::digest(measured)[..]),
                SHA384 => self.bytes.extend(&Sha384::digest(measured)[..]),
                _ => self.bytes.extend([7; 20]),
            }
        }
        self.bytes
            .extend(u32::try_from(data.len()).expect("few").to_le_bytes());
        self.bytes.extend(data);
        self
    }

    fn event(self, register: u32, kind: EventKind, data: &[u8]) -> Self {
        self.measuring(register, kind, data, data)
    }

    fn parse(&self) -> Result<EventLog, EventLogError> {
        EventLog::parse(&self.bytes)
    }

    fn read(&self) -> EventLog {
        self.parse().expect("it reads")
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn variable(name: &str, value: &[u8]) -> Vec<u8> {
    let mut data = super::variable::GLOBAL.to_vec();
    data.extend((name.len() as u64).to_le_bytes());
    data.extend((value.len() as u64).to_le_bytes());
    data.extend(utf16(name));
    data.extend(value);
    data
}

/// What a confidential VM boots: firmware, secure boot off, a line, a loader, a kernel.
fn boot() -> Log {
    boot_with(&[])
}

fn boot_with(secure_boot: &[u8]) -> Log {
    Log::ccel()
        .measuring(1, EventKind::EFI_PLATFORM_FIRMWARE_BLOB2, b"volume", b"name")
        .event(
            1,
            EventKind::EFI_VARIABLE_DRIVER_CONFIG,
            &variable("SecureBoot", secure_boot),
        )
        .event(1, EventKind::EFI_VARIABLE_DRIVER_CONFIG, &variable("PK", b"key"))
        .event(1, EventKind::SEPARATOR, &[0; 4])
        .measuring(1, EventKind::PLATFORM_CONFIG_FLAGS, b"tables", b"ACPI DATA")
        .event(
            2,
            EventKind::EFI_ACTION,
            b"Calling EFI Application from Boot Option",
        )
        .event(2, EventKind::SEPARATOR, &[0; 4])
        .measuring(
            2,
            EventKind::EFI_BOOT_SERVICES_APPLICATION,
            b"image",
            &image("\\EFI\\BOOT\\x.efi"),
        )
        .measuring(3, EventKind::IPL, b"ro quiet", b"kernel_cmdline: ro quiet\0")
        .event(2, EventKind::EFI_ACTION, b"Exit Boot Services Invocation")
        .event(
            2,
            EventKind::EFI_ACTION,
            b"Exit Boot Services Returned with Success",
        )
}

fn image(path: &str) -> Vec<u8> {
    let path = [utf16(path), alloc::vec![0, 0]].concat();
    let mut data = alloc::vec![9; 32];
    data.extend([4, 4]);
    data.extend(u16::try_from(path.len() + 4).expect("short").to_le_bytes());
    data.extend(path);
    data.extend([0x7f, 0xff, 4, 0]);
    data
}

fn field(log: &EventLog, name: &str) -> Option<String> {
    log.fields()
        .into_iter()
        .find(|field| field.name == name)
        .map(|field| field.value.to_string())
}

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
                let grub = super::agreement::grub_text(&stranger.2).is_some();
                // Of these not every byte of the data is measured: the agreement says which.
                let part =
                    [EventKind::EFI_VARIABLE_AUTHORITY, EventKind::EFI_VARIABLE_BOOT].contains(&stranger.1);
                assert!(data || grub || part, "{name} byte {at}: {stranger:?}");
            }
        }
    }
}

#[test]
fn a_cut_log_is_refused_or_is_a_shorter_one() {
    let log = boot();
    let whole = log.read();
    for end in 0..log.bytes.len() {
        if let Ok(shorter) = EventLog::parse(&log.bytes[..end]) {
            assert!(shorter.events().len() < whole.events().len(), "{end}");
            assert_eq!(shorter.events(), &whole.events()[..shorter.events().len()]);
            assert_eq!(shorter.bytes_used(), end);
        }
    }
    assert_eq!(EventLog::parse(&[]), Err(EventLogError::NotALog));
}

#[test]
fn padding_is_uniform_and_nothing_else_follows() {
    let log = boot();
    let expected = log.read();
    let padded = |padding: &[u8]| EventLog::parse(&[&log.bytes[..], padding].concat());
    for byte in [0, 0xff] {
        for count in [1, 7, 8, 4096] {
            assert_eq!(
                padded(&alloc::vec![byte; count]).as_ref(),
                Ok(&expected),
                "{byte} {count}"
            );
        }
        let mut dirty = alloc::vec![byte; 64];
        for at in [8, 63] {
            dirty[at] ^= 1;
            assert_eq!(
                padded(&dirty),
                Err(EventLogError::Padding(log.bytes.len())),
                "{byte} {at}"
            );
            dirty[at] ^= 1;
        }
        dirty[4] ^= 1;
        assert!(padded(&dirty).is_err());
    }
    assert_eq!(padded(&[0xaa; 8]), Err(EventLogError::Event(log.bytes.len())));
}

#[test]
fn logs_are_bounded() {
    let area = alloc::vec![0xff; super::EVENT_LOG_AREA_BYTES_MAX + 1];
    assert_eq!(EventLog::parse(&area), Err(EventLogError::TooLarge));
    let events = |count: usize| {
        let mut log = Log::new(&[(SHA256, 32)]);
        for _ in 0..count {
            log = log.measuring(8, EventKind::IPL, b"x", b"");
        }
        log
    };
    assert_eq!(events(EVENTS_MAX).read().events().len(), EVENTS_MAX);
    assert_eq!(events(EVENTS_MAX + 1).parse(), Err(EventLogError::TooManyEvents));
    let long = Log::ccel().event(3, EventKind::IPL, &alloc::vec![1; super::EVENT_LOG_BYTES_MAX]);
    assert_eq!(long.parse(), Err(EventLogError::TooLarge));
    let json = alloc::vec![b'['; super::EVENT_LOG_BYTES_MAX + 1];
    assert_eq!(EventLog::parse(&json), Err(EventLogError::TooLarge));
}

#[test]
fn each_field_of_the_header_is_checked() {
    let log = boot();
    for (at, value, error) in [
        (0, 2, EventLogError::Header),
        (4, 4, EventLogError::Header),
        (8, 1, EventLogError::Header),
        (27, 1, EventLogError::Header),
        (28, 34, EventLogError::Header),
        (32, b's', EventLogError::NotCryptoAgile),
        (46, b'0', EventLogError::NotCryptoAgile),
        (53, 1, EventLogError::Header),
        (55, 3, EventLogError::Header),
        (56, 0, EventLogError::Header),
        (56, 2, EventLogError::Header),
        (62, 32, EventLogError::Header),
        (64, 1, EventLogError::Header),
    ] {
        let mut bytes = log.bytes.clone();
        bytes[at] = value;
        assert_eq!(EventLog::parse(&bytes), Err(error), "{at}");
    }
    assert_eq!(
        Log::new(&[(SHA384, 48), (SHA384, 48)]).parse(),
        Err(EventLogError::Header)
    );
    assert_eq!(Log::new(&[(0x99, 0)]).parse(), Err(EventLogError::Header));
    assert_eq!(Log::new(&[(0x99, 65)]).parse(), Err(EventLogError::Header));
    assert!(Log::new(&[(0x99, 64), (SHA384, 48)]).parse().is_ok());
    let many: Vec<_> = (0x100..0x111).map(|algorithm| (algorithm, 20)).collect();
    assert_eq!(Log::new(&many).parse(), Err(EventLogError::Header));
    assert_eq!(
        EventLog::parse(b"garbage that is long enough to be a header of something"),
        Err(EventLogError::NotALog)
    );
}

#[test]
fn an_event_has_digests_of_the_headers_algorithms_once_each() {
    let log = Log::new(&[(SHA256, 32), (SHA384, 48)]).event(8, EventKind::ACTION, b"x");
    let event = 32 + 16 + 4 + 4 + 4 + 8 + 1;
    assert!(log.parse().is_ok());
    for (at, value) in [(8, 0), (8, 3), (12, 0x12), (12, 0xc), (46, 0xb)] {
        let mut bytes = log.bytes.clone();
        bytes[event + at] = value;
        assert_eq!(EventLog::parse(&bytes), Err(EventLogError::Event(event)), "{at}");
    }
    let mut bytes = log.bytes.clone();
    let size_at = bytes.len() - 5;
    bytes[size_at..size_at + 4].copy_from_slice(&[0xff; 4]);
    assert_eq!(EventLog::parse(&bytes), Err(EventLogError::Event(event)));
}

#[test]
fn registers_are_extended_in_order_and_no_action_is_not() {
    let extend = |value: [u8; 48], data: &[u8]| -> [u8; 48] {
        Sha384::new_with_prefix(value)
            .chain_update(Sha384::digest(data))
            .finalize()
            .into()
    };
    let log = Log::new(&[(SHA1, 20), (SHA256, 32), (SHA384, 48)])
        .event(5, EventKind::ACTION, b"a")
        .event(5, EventKind::NO_ACTION, b"ignored")
        .event(6, EventKind::ACTION, b"c")
        .event(5, EventKind::ACTION, b"b")
        .read();
    assert_eq!(log.replay_sha384(5), Some(extend(extend([0; 48], b"a"), b"b")));
    assert_eq!(log.replay_sha384(6), Some(extend([0; 48], b"c")));
    assert_eq!(log.replay_sha384(7), Some([0; 48]));
    assert_eq!(log.registers(), [5, 6]);
    assert_eq!(log.replay_rtmr(4), log.replay_sha384(5));
    assert_eq!(log.replay_rtmr(u32::MAX), None);
    assert_eq!(log.events()[1].agreement(), Agreement::NotExtended);
    assert_eq!(
        boot().read().replay_sha256(1),
        None,
        "a bank that the log does not have"
    );
    assert_eq!(
        Log::new(&[(SHA1, 20)])
            .event(1, EventKind::ACTION, b"a")
            .read()
            .banks(),
        []
    );
}

#[test]
fn pcr_0_begins_with_the_startup_locality_that_is_told_once_and_first() {
    let locality = |value: u8| [&b"StartupLocality\0"[..], &[value]].concat();
    let log = || Log::new(&[(SHA256, 32)]);
    let pcr0 = |log: Log| log.read().replay_sha256(0);
    let mut expected = [0; 32];
    expected[31] = 3;
    assert_eq!(
        pcr0(log().event(0, EventKind::NO_ACTION, &locality(3))),
        Some(expected)
    );
    assert_eq!(
        pcr0(log().event(0, EventKind::NO_ACTION, &locality(0))),
        Some([0; 32])
    );
    let version = |log: Log| log.event(0, EventKind::S_CRTM_VERSION, b"v");
    let first = version(log().event(0, EventKind::NO_ACTION, &locality(3))).read();
    let extended: [u8; 32] = Sha256::new_with_prefix(expected)
        .chain_update(Sha256::digest(b"v"))
        .finalize()
        .into();
    assert_eq!(first.replay_sha256(0), Some(extended));
    assert_eq!(
        pcr0(version(log()).event(0, EventKind::NO_ACTION, &locality(3))),
        None,
        "late"
    );
    let twice =
        log()
            .event(0, EventKind::NO_ACTION, &locality(3))
            .event(0, EventKind::NO_ACTION, &locality(0));
    assert_eq!(pcr0(twice), None, "twice");
    assert_eq!(
        pcr0(log().event(0, EventKind::NO_ACTION, &locality(5))),
        None,
        "unknown"
    );
    assert_eq!(
        pcr0(log().event(0, EventKind::NO_ACTION, &locality(3)[..16])),
        None,
        "cut"
    );
    let other = log().event(1, EventKind::NO_ACTION, &locality(3)).read();
    assert_eq!(
        (other.replay_sha256(0), other.replay_sha256(1)),
        (Some([0; 32]), Some([0; 32]))
    );
}

#[test]
fn digests_agree_with_data_as_the_type_says() {
    let agreement = |kind: EventKind, measured: &[u8], data: &[u8]| {
        Log::ccel().measuring(1, kind, measured, data).read().events()[0].agreement()
    };
    for kind in [
        EventKind::SEPARATOR,
        EventKind::ACTION,
        EventKind::EFI_ACTION,
        EventKind::S_CRTM_VERSION,
        EventKind::OMIT_BOOT_DEVICE_EVENTS,
        EventKind::EFI_GPT_EVENT,
        EventKind::EFI_GPT_EVENT2,
        EventKind::EFI_VARIABLE_DRIVER_CONFIG,
        EventKind::EFI_VARIABLE_BOOT,
        EventKind::EFI_VARIABLE_BOOT2,
        EventKind::EFI_VARIABLE_AUTHORITY,
    ] {
        assert_eq!(agreement(kind, b"data", b"data"), Agreement::Recomputed, "{kind}");
        assert_eq!(agreement(kind, b"other", b"data"), Agreement::Mismatch, "{kind}");
    }
    let boot = variable("Boot0000", b"value");
    assert_eq!(
        agreement(EventKind::EFI_VARIABLE_BOOT, b"value", &boot),
        Agreement::Recomputed
    );
    assert_eq!(
        agreement(EventKind::EFI_VARIABLE_DRIVER_CONFIG, b"value", &boot),
        Agreement::Mismatch
    );
    // Shims before 15.3 log one byte more than they measure.
    assert_eq!(
        agreement(EventKind::EFI_VARIABLE_AUTHORITY, b"db", b"db\0"),
        Agreement::Recomputed
    );
    for (measured, data, expected) in [
        (&b"set x"[..], &b"grub_cmd: set x\0"[..], Agreement::Recomputed),
        (b"set x\0", b"grub_cmd: set x\0", Agreement::Recomputed),
        (b"ro", b"kernel_cmdline: ro", Agreement::Recomputed),
        (b"ro", b"grub_kernel_cmdline ro\0", Agreement::Recomputed),
        (b"rw", b"kernel_cmdline: ro\0", Agreement::Mismatch),
        (
            b"kernel_cmdline: ro\0",
            b"kernel_cmdline: ro\0",
            Agreement::Mismatch,
        ),
        (b"contents", b"/boot/vmlinuz\0", Agreement::Elsewhere),
        (b"/boot/vmlinuz\0", b"/boot/vmlinuz\0", Agreement::Recomputed),
    ] {
        assert_eq!(agreement(EventKind::IPL, measured, data), expected, "{data:?}");
    }
    for kind in [
        EventKind::EFI_BOOT_SERVICES_APPLICATION,
        EventKind::EVENT_TAG,
        EventKind::POST_CODE,
    ] {
        assert_eq!(agreement(kind, b"other", b"data"), Agreement::Elsewhere, "{kind}");
    }
    assert_eq!(
        agreement(EventKind(0x1234), b"other", b"data"),
        Agreement::Unknown
    );
    assert_eq!(
        agreement(EventKind(0x1234), b"data", b"data"),
        Agreement::Recomputed
    );
}

#[test]
fn a_separator_under_another_type_is_still_a_line() {
    for value in [[0; 4], [0xff; 4]] {
        for kind in [
            EventKind::ACTION,
            EventKind::IPL,
            EventKind::POST_CODE,
            EventKind(0x1234),
        ] {
            let hidden = Log::ccel().event(1, kind, &value).read();
            assert!(
                hidden
                    .order_fault(1)
                    .is_some_and(|fault| fault.contains("another type")),
                "{kind}"
            );
            let late = Log::ccel().event(1, kind, &value).event(
                1,
                EventKind::EFI_VARIABLE_DRIVER_CONFIG,
                &variable("SecureBoot", &[1]),
            );
            assert_eq!(late.read().secure_boot(), SecureBoot::NotShown, "{kind}");
        }
        assert_eq!(
            Log::ccel()
                .event(1, EventKind::SEPARATOR, &value)
                .read()
                .order_fault(1),
            None
        );
    }
}

#[test]
fn every_bank_must_agree() {
    let mut log = Log::new(&[(SHA256, 32), (SHA384, 48)]).event(8, EventKind::ACTION, b"x");
    assert!(log.read().disagreeing().is_none());
    let sha384_at = log.bytes.len() - 5 - 48;
    log.bytes[sha384_at] ^= 1;
    assert!(log.read().disagreeing().is_some());
}

#[test]
fn what_cannot_stand_in_an_honest_register_is_found() {
    let fault = |log: Log, register: u32| log.read().order_fault(register);
    for register in 1..=4 {
        assert_eq!(fault(boot(), register), None, "{register}");
    }
    let separator = || boot().event(1, EventKind::SEPARATOR, &[0; 4]);
    assert!(fault(separator(), 1).is_some_and(|fault| fault.contains("second separator")));
    assert_eq!(fault(separator(), 2), None);
    let log = Log::ccel().event(2, EventKind::SEPARATOR, &[1, 0, 0, 0]);
    assert!(fault(log, 2).is_some_and(|fault| fault.contains("without error")));
    for kind in [
        EventKind::S_CRTM_CONTENTS,
        EventKind::S_CRTM_VERSION,
        EventKind::EFI_PLATFORM_FIRMWARE_BLOB,
        EventKind::EFI_PLATFORM_FIRMWARE_BLOB2,
        EventKind::EFI_VARIABLE_DRIVER_CONFIG,
    ] {
        let data = variable("SecureBoot", &[1]);
        let early = Log::ccel()
            .event(1, kind, &data)
            .event(1, EventKind::SEPARATOR, &[0; 4]);
        assert_eq!(fault(early, 1), None, "{kind}");
        let late = Log::ccel()
            .event(1, EventKind::SEPARATOR, &[0; 4])
            .event(1, kind, &data);
        assert!(
            fault(late, 1).is_some_and(|fault| fault.contains("after the separator")),
            "{kind}"
        );
    }
    let twice = Log::ccel()
        .event(
            1,
            EventKind::EFI_VARIABLE_DRIVER_CONFIG,
            &variable("SecureBoot", &[0]),
        )
        .event(
            1,
            EventKind::EFI_VARIABLE_DRIVER_CONFIG,
            &variable("SecureBoot", &[1]),
        );
    assert!(fault(twice, 1).is_some_and(|fault| fault.contains("twice")));
    let garbage = Log::ccel().event(1, EventKind::EFI_VARIABLE_DRIVER_CONFIG, b"SecureBoot");
    assert!(fault(garbage, 1).is_some_and(|fault| fault.contains("not a variable")));
    for register in [1, 2] {
        let late = boot().event(register, EventKind::EFI_VARIABLE_AUTHORITY, b"later");
        assert!(
            fault(late, register).is_some_and(|fault| fault.contains("handed over")),
            "{register}"
        );
    }
    assert_eq!(fault(boot().event(3, EventKind::IPL, b"later"), 3), None);
}

#[test]
fn secure_boot_is_what_the_firmware_measured_before_the_line() {
    let state = |log: Log| log.read().secure_boot();
    assert_eq!(state(boot_with(&[1])), SecureBoot::Enabled);
    assert_eq!(state(boot_with(&[0])), SecureBoot::Disabled);
    assert_eq!(state(boot()), SecureBoot::Disabled);
    assert_eq!(state(boot_with(&[2])), SecureBoot::NotShown);
    assert_eq!(state(Log::ccel()), SecureBoot::NotShown);
    let enabled = variable("SecureBoot", &[1]);
    let config = EventKind::EFI_VARIABLE_DRIVER_CONFIG;
    assert_eq!(
        state(boot().event(1, config, &enabled)),
        SecureBoot::NotShown,
        "late"
    );
    assert_eq!(
        state(Log::ccel().event(1, config, &enabled).event(1, config, &enabled)),
        SecureBoot::NotShown,
        "twice"
    );
    assert_eq!(
        state(Log::ccel().event(3, config, &enabled)),
        SecureBoot::NotShown,
        "another register"
    );
    assert_eq!(
        state(Log::ccel().measuring(1, config, b"other", &enabled)),
        SecureBoot::NotShown,
        "not measured"
    );
    let mut foreign = enabled.clone();
    foreign[0] ^= 1;
    assert_eq!(
        state(Log::ccel().event(1, config, &foreign)),
        SecureBoot::NotShown,
        "another vendor's"
    );
}

#[test]
fn texts_are_told_only_where_they_were_measured_and_without_control_characters() {
    let log = boot().read();
    assert_eq!(field(&log, "kernel command line").as_deref(), Some("ro quiet"));
    let application = field(&log, "boot application").expect("an application");
    assert_eq!(
        application,
        format!(
            "{} (said to be \\EFI\\BOOT\\x.efi)",
            hex::encode(Sha384::digest(b"image"))
        )
    );
    let not_measured = Log::ccel()
        .measuring(3, EventKind::IPL, b"rw", b"kernel_cmdline: ro\0")
        .read();
    assert_eq!(field(&not_measured, "kernel command line"), None);
    assert_eq!(
        field(&not_measured, "disagrees").as_deref(),
        Some("event 0, EV_IPL")
    );
    let elsewhere = Log::ccel()
        .measuring(2, EventKind::IPL, b"ro", b"kernel_cmdline: ro\0")
        .read();
    assert_eq!(field(&elsewhere, "kernel command line"), None, "another register");
    let hostile = Log::ccel().measuring(
        3,
        EventKind::IPL,
        b"\x1b[2J\xe2\x80\xae",
        b"kernel_cmdline: \x1b[2J\xe2\x80\xae\0",
    );
    assert_eq!(
        field(&hostile.read(), "kernel command line").as_deref(),
        Some("\\u{1b}[2J\\u{202e}")
    );
    let after = boot()
        .measuring(
            2,
            EventKind::EFI_BOOT_SERVICES_APPLICATION,
            b"late",
            &image("\\late.efi"),
        )
        .read();
    assert_eq!(
        after
            .fields()
            .iter()
            .filter(|field| field.name == "boot application")
            .count(),
        1
    );
    let sections = Log::ccel()
        .measuring(3, EventKind::IPL, b".linux\0", &utf16(".linux\0"))
        .measuring(3, EventKind::IPL, b"kernel", &utf16(".linux\0"))
        .read();
    assert_eq!(
        field(&sections, "kernel image section .linux"),
        Some(hex::encode(Sha384::digest(b"kernel")))
    );
    let tags = |tag: u32| {
        Log::ccel()
            .measuring(3, EventKind::EVENT_TAG, b"initrd", &tag.to_le_bytes())
            .read()
    };
    let initrd = Some(hex::encode(Sha384::digest(b"initrd")));
    assert_eq!(field(&tags(0x8f3b_22ec), "digest of initrd"), initrd);
    assert_eq!(field(&tags(0x8f3b_22ed), "digest of kernel load options"), initrd);
}

fn runtime(fields: &str) -> String {
    format!(r#"[{{"imr":3,"event_type":134217729,"event":"app-id","event_payload":"abcd"{fields}}}]"#)
}

fn digest_1() -> String {
    hex::encode(Sha384::digest(
        [&[1, 0, 0, 8][..], b":app-id:", &[0xab, 0xcd]].concat(),
    ))
}

#[test]
fn runtime_events_have_a_digest_of_type_name_and_payload() {
    let parse = |text: &str| EventLog::parse(text.as_bytes());
    let agreement = |text: &str| parse(text).expect("it reads").events()[0].agreement();
    let digest = digest_1();
    let text = runtime(&format!(r#","digest":"{digest}""#));
    let log = parse(&text).expect("it reads");
    assert_eq!(log.events()[0].agreement(), Agreement::Recomputed);
    assert_eq!(log.replay_rtmr(3), log.replay_sha384(4));
    assert_eq!(field(&log, "runtime event app-id").as_deref(), Some("abcd"));
    // The digest follows from the rest.
    assert_eq!(parse(&runtime("")).expect("it reads").events(), log.events());
    assert_eq!(agreement(&text.replace("abcd", "abce")), Agreement::Mismatch);
    assert_eq!(agreement(&text.replace("app-id", "app-ie")), Agreement::Mismatch);
    // A name with a colon could be cut elsewhere.
    assert_eq!(
        agreement(&runtime("").replace("app-id", "app:id")),
        Agreement::Unknown
    );
    let canonical = r#"{"name":"app-id","payload":"abcd","type":134217729}"#;
    let digest_2 = hex::encode(Sha384::digest(canonical));
    let preimage = hex::encode(canonical);
    let second = runtime(&format!(
        r#","version":2,"digest":"{digest_2}","preimage":"{preimage}""#
    ));
    assert_eq!(agreement(&second), Agreement::Recomputed);
    assert_eq!(
        agreement(&second.replace(&digest_2, &digest)),
        Agreement::Mismatch
    );
    assert_eq!(
        parse(&second.replace(&preimage, "00")),
        Err(EventLogError::Entry(0))
    );
    assert_eq!(
        parse(&second.replace("\"version\":2", "\"version\":3")),
        Err(EventLogError::Entry(0))
    );
    let quoted = runtime(r#","version":2"#).replace("app-id", r#"a\"\\\n\u0001"#);
    let expected = Sha384::digest(br#"{"name":"a\"\\\n\u0001","payload":"abcd","type":134217729}"#);
    assert_eq!(
        parse(&quoted).expect("it reads").events()[0]
            .sha384()
            .map(|digest| &digest[..]),
        Some(&expected[..])
    );
}

#[test]
fn json_is_strict() {
    let parse = |text: &str| EventLog::parse(text.as_bytes());
    let separator = hex::encode(Sha384::digest([0; 4]));
    let boot = format!(
        r#"[{{"imr":0,"event_type":4,"digest":"{separator}","event":"","event_payload":"00000000"}}]"#
    );
    let log = parse(&boot).expect("it reads");
    assert_eq!(log.events()[0].register(), 1);
    assert_eq!(log.events()[0].agreement(), Agreement::Recomputed);
    let withheld = |text: &str| {
        parse(&text.replace("00000000\"}", "\"}"))
            .expect("it reads")
            .events()[0]
            .agreement()
    };
    assert_eq!(withheld(&boot), Agreement::Withheld);
    let action = boot
        .replace("\"event_type\":4", "\"event_type\":5")
        .replace(&separator, &digest_1());
    assert_eq!(withheld(&action), Agreement::Withheld);
    assert_eq!(
        withheld(&action.replace("\"event_type\":5", "\"event_type\":4")),
        Agreement::Mismatch
    );
    for (from, to, error) in [
        ("\"imr\":0", "\"imr\":4", EventLogError::Entry(0)),
        (separator.as_str(), "", EventLogError::Entry(0)),
        (separator.as_str(), "00", EventLogError::Entry(0)),
        ("00000000\"}", "0000000\"}", EventLogError::Entry(0)),
        ("00000000\"}", "0000000x\"}", EventLogError::Entry(0)),
        (
            "\"event\":\"\"",
            "\"event\":\"\",\"version\":2",
            EventLogError::Entry(0),
        ),
        (
            "\"event\":\"\"",
            "\"event\":\"\",\"preimage\":\"00000000\"",
            EventLogError::Entry(0),
        ),
        (
            "\"event\":\"\"",
            "\"event\":\"\",\"extra\":1",
            EventLogError::Json,
        ),
        (
            "\"event\":\"\"",
            "\"event\":\"\",\"event\":\"\"",
            EventLogError::Json,
        ),
        ("\"event\":\"\",", "", EventLogError::Json),
        ("\"imr\":0", "\"imr\":-1", EventLogError::Json),
        ("\"imr\":0", "\"imr\":\"0\"", EventLogError::Json),
        ("}]", "}]x", EventLogError::Json),
        ("}]", "}", EventLogError::Json),
    ] {
        assert_eq!(parse(&boot.replacen(from, to, 1)), Err(error), "{to}");
    }
    assert_eq!(
        parse(&boot.replace("\"event\":\"\"", &format!("\"event\":\"{}\"", "x".repeat(257)))),
        Err(EventLogError::Entry(0))
    );
    let many = format!(
        "[{}]",
        alloc::vec![&boot[1..boot.len() - 1]; EVENTS_MAX + 1].join(",")
    );
    assert!(matches!(
        parse(&many),
        Err(EventLogError::TooLarge | EventLogError::TooManyEvents)
    ));
    assert_eq!(parse("[]").map(|log| log.events().len()), Ok(0));
    for end in 0..boot.len() {
        assert!(EventLog::parse(&boot.as_bytes()[..end]).is_err(), "{end}");
    }
}

#[test]
fn every_error_has_a_code_and_a_hint() {
    use EventLogError as Error;
    let errors = [
        Error::TooLarge,
        Error::TooManyEvents,
        Error::NotALog,
        Error::NotCryptoAgile,
        Error::Header,
        Error::Event(1),
        Error::Padding(1),
        Error::Json,
        Error::Entry(1),
    ];
    let codes: std::collections::BTreeSet<_> = errors.iter().map(Error::code).collect();
    assert_eq!(codes.len(), errors.len());
    for error in errors {
        assert!(!error.hint().is_empty() && !error.to_string().is_empty());
        assert_eq!(
            error.exit_code(),
            if error == Error::NotCryptoAgile { 30 } else { 20 }
        );
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = EventLog::parse(&bytes).map(|log| log.fields());
    }

    /// Past the header, so that events are reached.
    #[test]
    fn random_events_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), kind in any::<u32>()) {
        let log = Log::ccel().event(1, EventKind(kind), &bytes).event(3, EventKind::IPL, &bytes);
        let log = EventLog::parse(&[&log.bytes[..], &bytes].concat());
        if let Ok(log) = log {
            prop_assert!(log.fields().len() > 1);
            let _ = log.order_fault(1);
        }
    }
}
