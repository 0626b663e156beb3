//! What is read of a host's tables and what is written in their place, looked at byte for byte and by ACPICA's own tools.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::{fs, process::Command};

use entry::{
    Memory, Refusal,
    machine::Machine,
    presented::{PROCESSORS_MAX, Presented, Tpm},
    space::{MemoryEnds, Windows},
    tables::{ROOM_BYTES, write},
};

/// Where a host's tables begin here.
const ROOT: u64 = 0x7f00_0000;
const PLACE: u64 = 0x7e00_0000;

/// Memory that begins at an address.
struct From(u64, Vec<u8>);

impl Memory for From {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        let at = usize::try_from(address.checked_sub(self.0)?).ok()?;
        buffer.copy_from_slice(self.1.get(at..at.checked_add(buffer.len())?)?);
        Some(())
    }
}

/// A table with a header of the host's.
fn table(signature: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    let mut table = signature.to_vec();
    let length = u32::try_from(36 + contents.len()).expect("small");
    table.extend(length.to_le_bytes());
    table.extend([1, 0]);
    table.extend(*b"BOCHS BXPC    \x01\0\0\0BXPC\x01\0\0\0");
    table.extend(contents);
    table
}

/// A root pointer, a list of these tables, and the tables.
fn host(tables: &[Vec<u8>]) -> From {
    let list_at = ROOT + 64;
    let mut at = list_at + 36 + 8 * tables.len() as u64;
    let mut entries = Vec::new();
    for table in tables {
        entries.extend(at.to_le_bytes());
        at += table.len() as u64;
    }
    let mut bytes = vec![0; 64];
    bytes[24..32].copy_from_slice(&list_at.to_le_bytes());
    bytes.extend(table(b"XSDT", &entries));
    bytes.extend(tables.concat());
    From(ROOT, bytes)
}

fn madt(entries: &[&[u8]]) -> Vec<u8> {
    table(
        b"APIC",
        &[&[0, 0, 0xe0, 0xfe, 1, 0, 0, 0], entries.concat().as_slice()].concat(),
    )
}

fn mcfg(base: u64, buses: [u8; 2]) -> Vec<u8> {
    let mut contents = vec![0; 8];
    contents.extend(base.to_le_bytes());
    contents.extend([0, 0, buses[0], buses[1], 0, 0, 0, 0]);
    table(b"MCFG", &contents)
}

/// A FADT with the timer at that port.
fn fadt(timer: u32) -> Vec<u8> {
    let mut contents = vec![0xff; 208];
    contents[40..44].copy_from_slice(&timer.to_le_bytes());
    table(b"FACP", &contents)
}

fn q35() -> Vec<u8> {
    fadt(0x608)
}

fn tpm2(registers: u64, start: u32) -> Vec<u8> {
    let mut contents = vec![0; 4];
    contents.extend(registers.to_le_bytes());
    contents.extend(start.to_le_bytes());
    contents.extend([0xee; 24]);
    table(b"TPM2", &contents)
}

const FIRST: &[u8] = &[0, 8, 0, 0, 1, 0, 0, 0];
const SECOND: &[u8] = &[0, 8, 1, 1, 1, 0, 0, 0];
const OFF: &[u8] = &[0, 8, 2, 2, 0, 0, 0, 0];
/// An x2APIC of identity 300.
const FAR: &[u8] = &[9, 16, 0, 0, 0x2c, 1, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0];
const IO_APIC: &[u8] = &[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0];

/// Identities of the processors, and the window of PCI Express.
fn read(memory: &From) -> Result<(Vec<u32>, Option<u32>), Refusal> {
    let mut ids = [0; PROCESSORS_MAX];
    let presented = Presented::read(memory, ROOT, &mut ids)?;
    Ok((presented.processors().to_vec(), presented.express))
}

#[test]
fn processors_and_the_window_are_read_and_known_data_is_passed_over() {
    let tables = [
        q35(),
        madt(&[FIRST, IO_APIC, SECOND, OFF, FAR]),
        mcfg(0xe000_0000, [0, 255]),
        table(b"WAET", &[0; 4]),
    ];
    assert_eq!(read(&host(&tables)), Ok((vec![0, 1, 300], Some(0xe000_0000))));
    assert_eq!(read(&host(&tables[..2])), Ok((vec![0, 1, 300], None)));
}

#[test]
fn the_timer_tells_the_chipset_and_a_tpm_how_it_is_spoken_to() {
    let machine = |tables: &[Vec<u8>]| {
        let mut ids = [0; 4];
        Presented::read(&host(tables), ROOT, &mut ids).map(|presented| (presented.machine, presented.tpm))
    };
    let first = || madt(&[FIRST]);
    assert_eq!(machine(&[q35(), first()]), Ok((Machine::Q35, None)));
    let fifo = tpm2(0xffff, 6);
    assert_eq!(
        machine(&[fadt(0xb008), first(), fifo]),
        Ok((Machine::Piix4, Some(Tpm::Fifo)))
    );
    let buffer = tpm2(0xfed4_0040, 7);
    assert_eq!(
        machine(&[buffer, first(), q35()]),
        Ok((Machine::Q35, Some(Tpm::Buffer)))
    );
    // Tables of Compute Engine's own, which are left behind like all others.
    for name in [b"SSDT", b"XXXX"] {
        let more = table(name, &[]);
        assert_eq!(
            machine(&[more, fadt(0xb008), first()]),
            Ok((Machine::Piix4, None))
        );
    }
}

#[test]
fn each_thing_that_no_machine_has_is_refused_by_its_name() {
    let good = || madt(&[FIRST]);
    let no = |tables: &[Vec<u8>], why: &str| {
        let mut tables = tables.to_vec();
        tables.push(q35());
        let refused = read(&host(&tables)).expect_err(why);
        assert!(refused.0.contains(why), "{} instead of {why}", refused.0);
    };
    for code in [b"DSDT", b"SSDT", b"PSDT"] {
        no(
            &[good(), table(code, &[])],
            "a table with code".replace("a table", "an ACPI table").as_str(),
        );
    }
    no(&[good(), table(b"XXXX", &[])], "does not know");
    no(&[good(), table(b"CCEL", &[0; 20])], "does not know");
    for (registers, start) in [(0xfed4_0040, 8), (0xfed4_0000, 7), (0, 2)] {
        no(&[good(), tpm2(registers, start)], "a TPM is where");
    }
    no(&[good(), fadt(0xb000)], "power management is where");
    let without = read(&host(&[good()]));
    assert_eq!(without, Err(Refusal("the host presents no power management")));
    no(&[], "no processor");
    no(&[madt(&[OFF])], "no processor");
    no(&[madt(&[FIRST, FIRST])], "twice");
    no(&[madt(&[FIRST, &FIRST[..7]])], "processors is cut");
    no(&[madt(&[&[0, 8]])], "processors is cut");
    no(&[madt(&[&[1, 0], FIRST])], "processors is cut");
    no(&[madt(&[&[0, 9, 0, 0, 1, 0, 0, 0, 0]])], "processors is cut");
    no(&[table(b"APIC", &[0; 33 << 10])], "longer than any");
    no(&[good(), mcfg(0xd000_0000, [0, 255])], "PCI Express");
    no(&[good(), mcfg(0xe000_0000, [0, 127])], "PCI Express");
    no(
        &[good(), mcfg(0xe000_0000, [0, 255]), mcfg(0xb000_0000, [0, 255])],
        "PCI Express",
    );
    let many: Vec<_> = (0..40).map(|_| table(b"WAET", &[])).collect();
    no(&many, "more ACPI tables");
    let crowd: Vec<_> = (0..=PROCESSORS_MAX as u32).map(|id| x2apic(id + 256)).collect();
    let crowd: Vec<_> = crowd.iter().map(Vec::as_slice).collect();
    no(&[madt(&crowd)], "more processors");
}

fn x2apic(id: u32) -> Vec<u8> {
    let mut entry = vec![9, 16, 0, 0];
    entry.extend(id.to_le_bytes());
    entry.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    entry
}

#[test]
fn tables_that_are_cut_anywhere_are_refused() {
    let whole = host(&[
        q35(),
        tpm2(0, 6),
        madt(&[FIRST, SECOND]),
        mcfg(0xb000_0000, [0, 255]),
    ]);
    assert!(read(&whole).is_ok());
    for length in 0..whole.1.len() - 4 {
        // The last four bytes are reserved and not read.
        let cut = From(ROOT, whole.1[..length].to_vec());
        assert!(read(&cut).is_err(), "{length}");
    }
}

/// What is written for a machine of 2 GiB, in a space that held other things.
fn written(ids: &[u32], express: Option<u32>) -> Vec<u8> {
    written_for(&[q35()], ids, express)
}

/// The same, for a host with these tables beside those.
fn written_for(others: &[Vec<u8>], ids: &[u32], express: Option<u32>) -> Vec<u8> {
    let entries: Vec<_> = ids.iter().map(|id| x2apic(*id)).collect();
    let entries: Vec<_> = entries.iter().map(Vec::as_slice).collect();
    let mut tables = vec![madt(&entries)];
    tables.extend_from_slice(others);
    tables.extend(express.map(|base| mcfg(base.into(), [0, 255])));
    let memory = host(&tables);
    let mut room = [0; PROCESSORS_MAX];
    let presented = Presented::read(&memory, ROOT, &mut room).expect("a machine's");
    let mut ends = MemoryEnds::of(presented.machine);
    ends.add(7, 0, 0x8000_0000);
    let windows = Windows::beside(ends, express, 40);
    let mut bytes = vec![0xaa; ROOM_BYTES];
    write(PLACE, &mut bytes, &presented, &windows).expect("there is room");
    bytes
}

fn at<const N: usize>(bytes: &[u8], place: u64) -> [u8; N] {
    let at = usize::try_from(place - PLACE).expect("small");
    bytes[at..at + N].try_into().expect("in bounds")
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The table that stands there: its length and checksum are right.
fn whole(bytes: &[u8], place: u64) -> &[u8] {
    let start = usize::try_from(place - PLACE).expect("small");
    let length = u32::from_le_bytes(at(bytes, place + 4)) as usize;
    let table = &bytes[start..start + length];
    assert_eq!(sum(table), 0, "{:?}", &table[..4]);
    table
}

/// Tables by their names, found as a kernel finds them: root pointer, list, FADT, DSDT.
fn found(bytes: &[u8]) -> Vec<&[u8]> {
    assert_eq!(&bytes[..8], b"RSD PTR ");
    assert_eq!((sum(&bytes[..20]), sum(&bytes[..36])), (0, 0));
    let list = whole(bytes, u64::from_le_bytes(at(bytes, PLACE + 24)));
    assert_eq!(&list[..4], b"XSDT");
    let mut tables: Vec<_> = list[36..]
        .chunks_exact(8)
        .map(|entry| whole(bytes, u64::from_le_bytes(entry.try_into().expect("eight"))))
        .collect();
    let fadt = tables[0];
    assert_eq!((&fadt[..4], fadt.len()), (&b"FACP"[..], 276));
    let quad = |at: usize| u64::from_le_bytes(fadt[at..at + 8].try_into().expect("eight"));
    let facs = quad(132);
    assert_eq!((at::<4>(bytes, facs), facs % 64), (*b"FACS", 0));
    tables.push(whole(bytes, quad(140)));
    tables
}

#[test]
fn the_kernel_finds_tables_of_the_image_alone_and_each_adds_up() {
    let bytes = written(&[0, 1, 255, 300], Some(0xe000_0000));
    let tables = found(&bytes);
    let names: Vec<_> = tables.iter().map(|table| &table[..4]).collect();
    assert_eq!(names, [b"FACP", b"APIC", b"MCFG", b"DSDT"]);
    assert!(tables.iter().all(|table| table[10..16] == *b"ADYTON"));
    // What is written is read back as what it was written from.
    let mut again = host(&[tables[0].to_vec(), tables[1].to_vec(), tables[2].to_vec()]);
    assert_eq!(read(&again), Ok((vec![0, 1, 255, 300], Some(0xe000_0000))));
    let without = written(&[7], None);
    let tables = found(&without);
    again = host(&[tables[0].to_vec(), tables[1].to_vec()]);
    assert_eq!((read(&again), tables.len()), (Ok((vec![7], None)), 3));
}

#[test]
fn a_machine_of_compute_engine_gets_its_ports_and_its_tpm() {
    for (tpm, kind) in [(tpm2(7, 6), Tpm::Fifo), (tpm2(0xfed4_0040, 7), Tpm::Buffer)] {
        let bytes = written_for(&[fadt(0xb008), tpm, table(b"SSDT", &[])], &[0, 1], None);
        let tables = found(&bytes);
        let names: Vec<_> = tables.iter().map(|table| &table[..4]).collect();
        assert_eq!(names, [b"FACP", b"APIC", b"TPM2", b"DSDT"]);
        let port = |at: usize| u32::from_le_bytes(tables[0][at..at + 4].try_into().expect("four"));
        assert_eq!([56, 64, 76, 80].map(port), [0xb000, 0xb004, 0xb008, 0xafe0]);
        // No register that resets: section 5.2.9, bit 10 of the flags.
        assert_eq!((port(112) >> 10 & 1, &tables[0][116..128]), (0, &[0; 12][..]));
        assert!(!tables[2].contains(&0xee), "nothing of the host's");
        let again = host(&tables[..3].iter().map(|table| table.to_vec()).collect::<Vec<_>>());
        let mut ids = [0; 4];
        let presented = Presented::read(&again, ROOT, &mut ids).expect("ours");
        assert_eq!((presented.machine, presented.tpm), (Machine::Piix4, Some(kind)));
        let dsdt = tables[3];
        assert!(dsdt.windows(8).any(|window| window == b"MSFT0101"));
    }
}

#[test]
fn as_many_processors_as_there_may_be_have_room_and_less_room_is_said() {
    let ids: Vec<_> = (0..PROCESSORS_MAX as u32).collect();
    found(&written(&ids, Some(0xb000_0000)));
    let memory = host(&[q35(), madt(&[FIRST])]);
    let mut room = [0; 1];
    let presented = Presented::read(&memory, ROOT, &mut room).expect("a machine's");
    let windows = Windows::beside(MemoryEnds::of(Machine::Q35), None, 36);
    for bytes in 0..500 {
        assert!(write(PLACE, &mut vec![0; bytes], &presented, &windows).is_err());
    }
    assert!(write(u64::MAX - 10, &mut vec![0; ROOM_BYTES], &presented, &windows).is_err());
}

#[test]
fn acpica_reads_every_table_and_disassembles_the_bytecode() {
    let Ok(version) = Command::new("iasl").arg("-v").output() else {
        eprintln!("NOT RUN: ACPICA's view of the tables: no iasl (Debian: acpica-tools)");
        return;
    };
    assert!(version.status.success());
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = written_for(&[q35(), tpm2(0, 6)], &[0, 1], Some(0xe000_0000));
    for table in found(&bytes) {
        let name = String::from_utf8_lossy(&table[..4]).into_owned();
        let file = folder.path().join(format!("{name}.dat"));
        fs::write(&file, table).expect("ours");
        let output = Command::new("iasl")
            .arg("-d")
            .arg(&file)
            .output()
            .expect("it ran above");
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {said}");
        let source = fs::read_to_string(file.with_extension("dsl")).expect("disassembled");
        assert!(
            !source.contains("Invalid") && !source.contains("incorrect"),
            "{name}: {source}"
        );
        if name == "DSDT" {
            for line in [
                "Name (_S5, Package (0x04)",
                "Name (_HID, EisaId (\"PNP0A08\") /* PCI Express Bus */)",
                "0x80000000,         // Range Minimum",
                "0xDFFFFFFF,         // Range Maximum",
                "0x000000FFFFFFFFFF, // Range Maximum",
                "Memory32Fixed (ReadWrite,",
                "Name (_HID, \"MSFT0101\" /* TPM 2.0 Security Device */)",
            ] {
                assert!(source.contains(line), "no {line}: {source}");
            }
            assert!(!source.contains("Method"), "{source}");
            // And its own compiler makes of it what it was.
            let output = Command::new("iasl")
                .arg(file.with_extension("dsl"))
                .output()
                .expect("it ran above");
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
    }
}
