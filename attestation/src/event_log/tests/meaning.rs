//! What is believed of a log, and what it says.

use alloc::format;

use sha2::{Digest as _, Sha256, Sha384};

use super::super::reading::SecureBoot;
use super::super::{Agreement, EventKind};
use super::{Log, SHA256, SHA384, boot, boot_with, field, image, utf16, variable};

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
    // What a boot loader measures is not the firmware's word that it handed over.
    let told = Log::ccel()
        .event(3, EventKind::IPL, b"Exit Boot Services Invocation")
        .event(1, EventKind::EFI_VARIABLE_AUTHORITY, b"later");
    assert_eq!(fault(told, 1), None);
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
    let no_section = Log::ccel().measuring(3, EventKind::IPL, b"kernel", &utf16("linux\0"));
    assert_eq!(field(&no_section.read(), "kernel image section linux"), None);
    let unknown = Log::ccel()
        .measuring(3, EventKind(0x99), b"another", b"x")
        .measuring(3, EventKind(0x99), b"another", b"y")
        .read();
    let doubts = field(&unknown, "types not known").expect("two events");
    assert!(doubts.starts_with("2 "), "{doubts}");
    for doubt in ["data withheld", "data not measured", "disagrees"] {
        assert_eq!(field(&unknown, doubt), None);
    }
    let tags = |tag: u32| {
        Log::ccel()
            .measuring(3, EventKind::EVENT_TAG, b"initrd", &tag.to_le_bytes())
            .read()
    };
    let initrd = Some(hex::encode(Sha384::digest(b"initrd")));
    assert_eq!(field(&tags(0x8f3b_22ec), "digest of initrd"), initrd);
    assert_eq!(field(&tags(0x8f3b_22ed), "digest of kernel load options"), initrd);
}

#[test]
fn a_firmware_version_is_told_where_firmware_measured_it() {
    let version = EventKind::S_CRTM_VERSION;
    let told = |log: Log| field(&log.read(), "firmware version");
    let text = utf16("1.2.3\0");
    assert_eq!(
        told(Log::ccel().event(1, version, &text)).as_deref(),
        Some("1.2.3")
    );
    assert_eq!(
        told(Log::ccel().event(1, version, &[1, 2, 3])).as_deref(),
        Some("010203")
    );
    assert_eq!(
        told(Log::ccel().event(2, version, &text)),
        None,
        "another register"
    );
    let elsewhere = Log::ccel().measuring(1, version, b"other", &text);
    assert_eq!(told(elsewhere), None, "not what was measured");
    let tpm = |register| {
        Log::new(&[(SHA256, 32)])
            .event(register, version, &text)
            .event(7, EventKind::SEPARATOR, &[0; 4])
    };
    assert_eq!(told(tpm(0)).as_deref(), Some("1.2.3"));
    assert_eq!(told(tpm(1)), None, "another PCR");
}

#[test]
fn registers_are_shown_by_name_with_what_they_replay_to() {
    let log = boot().read();
    for (register, name) in [
        (1, "replayed RTMR0"),
        (2, "replayed RTMR1"),
        (3, "replayed RTMR2"),
    ] {
        assert_eq!(
            field(&log, name),
            log.replay_sha384(register).map(hex::encode),
            "{name}"
        );
    }
    let tpm = Log::new(&[(SHA256, 32)]);
    let log = tpm
        .event(0, EventKind::ACTION, b"a")
        .event(7, EventKind::ACTION, b"b")
        .read();
    for (register, name) in [(0, "replayed PCR0"), (7, "replayed PCR7")] {
        assert_eq!(
            field(&log, name),
            log.replay_sha256(register).map(hex::encode),
            "{name}"
        );
    }
    let mrtd = Log::ccel().event(0, EventKind::ACTION, b"a").read();
    assert!(field(&mrtd, "replayed MRTD").is_some());
}

#[test]
fn an_event_tells_its_digests_and_type() {
    let log = Log::new(&[(SHA256, 32), (SHA384, 48)])
        .event(8, EventKind::ACTION, b"x")
        .read();
    let event = &log.events()[0];
    assert_eq!(
        event.sha256().map(|digest| &digest[..]),
        Some(&Sha256::digest(b"x")[..])
    );
    assert_eq!(
        event.sha384().map(|digest| &digest[..]),
        Some(&Sha384::digest(b"x")[..])
    );
    assert_eq!((event.name(), event.data()), ("", &b"x"[..]));
    assert_eq!(
        format!("{} {:?}", event.kind(), event.kind()),
        "EV_ACTION EV_ACTION"
    );
    assert_eq!(format!("{:?}", EventKind(0x1234)), "unknown type 0x1234");
}
