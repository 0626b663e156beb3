//! Event logs beside simulated quotes: registers judged by their events, and logs that do not explain them.

use attestation::{EventLog, FieldValue};
use sha2::{Digest as _, Sha384};
use simulated::Flavor;
use simulated::adversary::{self, Domain};

use crate::support::{Case, platform};

const RTMR0_AT: usize = 48 + 328;
const ZERO: [u8; 48] = [0; 48];

/// One entry of dstack's log.
#[derive(Clone)]
struct Entry {
    imr: usize,
    kind: u32,
    digest: [u8; 48],
    name: &'static str,
    data: Vec<u8>,
}

fn entry(imr: usize, kind: u32, measured: &[u8], data: &[u8]) -> Entry {
    Entry {
        imr,
        kind,
        digest: Sha384::digest(measured).into(),
        name: "",
        data: data.to_vec(),
    }
}

fn runtime(name: &'static str, payload: &[u8]) -> Entry {
    let preimage = [&[1, 0, 0, 8][..], b":", name.as_bytes(), b":", payload].concat();
    let measured = entry(3, 0x0800_0001, &preimage, payload);
    Entry { name, ..measured }
}

fn separator(imr: usize) -> Entry {
    entry(imr, 4, &[0; 4], &[0; 4])
}

fn variable() -> Entry {
    let mut data = hex::decode("61dfe48bca93d211aa0d00e098032b8c").expect("a GUID");
    data.extend([10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    data.extend("SecureBoot".encode_utf16().flat_map(u16::to_le_bytes));
    data.push(1);
    entry(0, 0x8000_0001, &data, &data)
}

fn boot() -> Vec<Entry> {
    vec![
        variable(),
        separator(0),
        entry(1, 0x8000_0003, b"image", &[9; 40]),
        separator(1),
        entry(2, 0xd, b"ro quiet", b"kernel_cmdline: ro quiet\0"),
        runtime("app-id", b"\x01\x02"),
    ]
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let entry = |entry: &Entry| {
        format!(
            r#"{{"imr":{},"event_type":{},"digest":"{}","event":"{}","event_payload":"{}"}}"#,
            entry.imr,
            entry.kind,
            hex::encode(entry.digest),
            entry.name,
            hex::encode(&entry.data)
        )
    };
    format!("[{}]", entries.iter().map(entry).collect::<Vec<_>>().join(",")).into_bytes()
}

/// A quote whose registers are what `measured` extends, and that policy which lists the digests of [`boot`].
fn case(measured: &[Entry]) -> Case {
    let mut case = Case::new(Flavor::Tdx);
    let mut registers = [ZERO; 4];
    for entry in measured {
        let register = &mut registers[entry.imr];
        *register = Sha384::new_with_prefix(*register)
            .chain_update(entry.digest)
            .finalize()
            .into();
    }
    for (at, register) in registers.iter().enumerate() {
        let at = RTMR0_AT + 48 * at;
        case.bundle.evidence[at..at + 48].copy_from_slice(register);
    }
    adversary::sign_quote(platform(), &mut case.bundle.evidence, Domain::Simulated).expect("a signature");
    case.bundle.event_log = Some(encode(measured));
    let digests: Vec<_> = boot().iter().map(|entry| hex::encode(entry.digest)).collect();
    let zero = hex::encode(ZERO);
    for register in ["rtmr0", "rtmr1", "rtmr2"] {
        case = case.policy(
            &format!("{register} = [\"{zero}\"]"),
            &format!("{register} = \"events\""),
        );
    }
    case.policy(
        &format!("rtmr3 = [\"{zero}\"]"),
        &format!("rtmr3 = \"events\"\nevent_digests = {digests:?}"),
    )
}

/// The same with registers compared with their whole values.
fn compared(measured: &[Entry]) -> Case {
    let mut case = case(measured);
    let start = case.policy.find("event_digests").expect("the key");
    let end = start + case.policy[start..].find('\n').expect("the end of a line") + 1;
    case.policy.replace_range(start..end, "");
    for number in 0..4 {
        let at = RTMR0_AT + 48 * number;
        let value = hex::encode(&case.bundle.evidence[at..at + 48]);
        case = case.policy(
            &format!("rtmr{number} = \"events\""),
            &format!("rtmr{number} = [\"{value}\"]"),
        );
    }
    case
}

fn with_log(mut case: Case, log: &[Entry]) -> Case {
    case.bundle.event_log = Some(encode(log));
    case
}

#[test]
fn a_log_that_explains_the_registers_is_accepted_and_says_what_was_booted() {
    let told = |case: &Case| -> Vec<(String, String)> {
        let verified = case.appraise().expect("accepted");
        let boot = verified.claims().boot();
        boot.iter()
            .map(|field| (field.name.to_string(), field.value.to_string()))
            .collect()
    };
    for case in [case(&boot()), compared(&boot())] {
        case.assert_accepted();
        let told = told(&case);
        for (name, value) in [("secure boot", "enabled"), ("kernel command line", "ro quiet")] {
            assert!(told.contains(&(name.into(), value.into())), "{name}: {told:?}");
        }
    }
    let mut without = compared(&boot());
    without.bundle.event_log = None;
    without.assert_accepted();
    assert!(told(&without).is_empty());
    assert!(matches!(
        EventLog::parse(&encode(&boot())).expect("it reads").fields()[0].value,
        FieldValue::Text(_)
    ));
}

#[test]
fn a_register_that_is_judged_by_events_needs_a_log() {
    let mut case = case(&boot());
    case.bundle.event_log = None;
    case.assert_failed(&[
        "tdx-event-log",
        "tdx-rtmr0",
        "tdx-rtmr0-replay",
        "tdx-rtmr1",
        "tdx-rtmr1-replay",
        "tdx-rtmr2",
        "tdx-rtmr2-replay",
        "tdx-rtmr3",
        "tdx-rtmr3-replay",
    ]);
}

#[test]
fn bytes_that_are_no_log_are_refused_whether_or_not_one_is_asked_for() {
    for mut case in [case(&boot()), compared(&boot())] {
        for log in [&b""[..], b"[", b"{}", &[0xff; 64]] {
            case.bundle.event_log = Some(log.to_vec());
            case.assert_failed(&["tdx-event-log"]);
        }
    }
}

#[test]
fn each_register_must_replay() {
    for (imr, clause) in [
        "tdx-rtmr0-replay",
        "tdx-rtmr1-replay",
        "tdx-rtmr2-replay",
        "tdx-rtmr3-replay",
    ]
    .into_iter()
    .enumerate()
    {
        // Something listed is added, left out.
        let listed = boot().iter().find(|entry| entry.imr == imr).expect("one").clone();
        let more = [&boot()[..], &[listed]].concat();
        assert!(with_log(case(&boot()), &more).failed().contains(clause), "{imr}");
        let mut less = boot();
        less.retain(|entry| entry.imr != imr);
        with_log(compared(&boot()), &less).assert_failed(&[clause]);
    }
    // The same events in another order.
    let mut swapped = boot();
    swapped.swap(0, 1);
    with_log(compared(&boot()), &swapped).assert_failed(&["tdx-rtmr0-replay"]);
}

#[test]
fn an_event_that_is_not_listed_is_refused() {
    for (at, clause) in [(2, "tdx-rtmr1"), (4, "tdx-rtmr2"), (5, "tdx-rtmr3")] {
        let mut other = boot();
        other[at] = match at {
            2 => entry(1, 0x8000_0003, b"another image", &[9; 40]),
            4 => entry(2, 0xd, b"rw", b"kernel_cmdline: rw\0"),
            _ => runtime("app-id", b"\x01\x03"),
        };
        case(&other).assert_failed(&[clause]);
        compared(&other).assert_accepted();
    }
}

#[test]
fn a_register_without_events_has_nothing_to_be_judged_by() {
    let mut less = boot();
    less.retain(|entry| entry.imr != 3);
    case(&less).assert_failed(&["tdx-rtmr3"]);
    compared(&less).assert_accepted();
}

#[test]
fn a_log_that_tells_something_else_than_was_measured_is_refused() {
    for (at, data) in [(0, 52), (4, 17), (5, 0)] {
        let mut lying = boot();
        lying[at].data[data] ^= 1;
        with_log(case(&boot()), &lying).assert_failed(&["tdx-event-digests"]);
        with_log(compared(&boot()), &lying).assert_failed(&["tdx-event-digests"]);
    }
    // Where an image came from was not measured.
    let mut hint = boot();
    hint[2].data[39] ^= 1;
    with_log(case(&boot()), &hint).assert_accepted();
}

#[test]
fn what_was_added_after_the_boot_is_refused_where_events_decide() {
    for added in [separator(0), separator(1), variable()] {
        let more = [&boot()[..], &[added]].concat();
        case(&more).assert_failed(&["tdx-event-order"]);
        // A whole value that was listed is known with all that is in it.
        compared(&more).assert_accepted();
    }
}

/// A CCEL with one event of each of these registers.
fn ccel(registers: &[u32]) -> Vec<u8> {
    let mut log = [
        &[1, 0, 0, 0, 3, 0, 0, 0][..],
        &[0; 20],
        &[33, 0, 0, 0],
        b"Spec ID Event03\0",
    ]
    .concat();
    log.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0xc, 0, 48, 0, 0]);
    for register in registers {
        log.extend(register.to_le_bytes());
        log.extend([5, 0, 0, 0, 1, 0, 0, 0, 0xc, 0]);
        log.extend(&Sha384::digest(b"x")[..]);
        log.extend([1, 0, 0, 0, b'x']);
    }
    log
}

#[test]
fn events_of_registers_that_are_no_rtmr_are_refused() {
    let action = entry(1, 5, b"x", b"x");
    let mut case = compared(&[action]);
    case.assert_accepted();
    case.bundle.event_log = Some(ccel(&[2]));
    case.assert_accepted();
    for register in [0, 5, 7, u32::MAX] {
        case.bundle.event_log = Some(ccel(&[2, register]));
        case.assert_failed(&["tdx-event-order"]);
    }
    case.bundle.event_log = Some(ccel(&[2, 3]));
    case.assert_failed(&["tdx-rtmr2-replay"]);
    case.bundle.event_log = Some([ccel(&[2]), vec![0xff; 200 * 1024]].concat());
    case.assert_accepted();
}

/// Were the registers taken for PCRs, RTMR3 would be where boot loaders are measured.
#[test]
fn a_header_with_another_bank_does_not_turn_registers_into_pcrs() {
    let mut log = [
        &[1, 0, 0, 0, 3, 0, 0, 0][..],
        &[0; 20],
        &[37, 0, 0, 0],
        b"Spec ID Event03\0",
    ]
    .concat();
    log.extend([
        0, 0, 0, 0, 0, 2, 0, 2, 2, 0, 0, 0, 0xb, 0, 32, 0, 0xc, 0, 48, 0, 0,
    ]);
    let image = entry(3, 0x8000_0003, b"image", &[9; 40]);
    log.extend([4, 0, 0, 0, 3, 0, 0, 0x80, 1, 0, 0, 0, 0xc, 0]);
    log.extend(image.digest);
    log.extend([40, 0, 0, 0]);
    log.extend(&image.data);
    let mut case = compared(&[image]);
    case.bundle.event_log = Some(log);
    let verified = case.appraise().expect("accepted");
    let boot = verified.claims().boot();
    assert!(
        boot.iter().all(|field| field.name != "boot application"),
        "{boot:?}"
    );
}

#[test]
fn an_snp_report_has_no_log() {
    let mut case = Case::new(Flavor::Snp);
    case.assert_accepted();
    case.bundle.event_log = Some(encode(&boot()));
    case.assert_failed(&["event-log-absent"]);
}
