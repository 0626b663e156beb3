//! The collector as it ships, against a configfs-tsm that is a file system and keeps the kernel's rules.

mod mount;
mod rules;

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use attestation::{EndorsementKind, PlatformTag};
use attester::tsm::Tsm;
use attester::{Attester as _, AttesterError};

use self::mount::Configfs;
use self::rules::{EACCES, EBUSY, EFBIG, EINVAL, EIO, Kernel, Provider};

const EWOULDBLOCK: i32 = 11;

fn machine(provider: Provider) -> Option<(Configfs, Tsm)> {
    let configfs = Configfs::mount(Kernel::new(Some(provider)))?;
    let tsm = Tsm::open_at(configfs.root()).expect("it opens");
    Some((configfs, tsm))
}

fn nothing_is_left(configfs: &Configfs) {
    assert_eq!(configfs.kernel().names().count(), 0);
}

fn errno(error: &AttesterError) -> Option<i32> {
    match error {
        AttesterError::Io { source, .. } => source.raw_os_error(),
        _ => None,
    }
}

#[test]
fn the_file_system_keeps_the_kernels_rules() {
    let Some(configfs) = Configfs::mount(Kernel::new(Some(Provider::snp()))) else {
        return;
    };
    let entry = configfs.root().join("entry");
    fs::create_dir(&entry).expect("an entry");
    assert!(fs::create_dir(&entry).is_err(), "it is there");
    let read = |name: &str| fs::read(entry.join(name));
    let code = |outcome: std::io::Result<Vec<u8>>| outcome.expect_err("refused").raw_os_error();
    let write = |name: &str| {
        OpenOptions::new()
            .write(true)
            .open(entry.join(name))
            .expect("it opens")
    };
    assert_eq!(read("generation").expect("a number"), b"0\n");
    assert_eq!(code(read("outblob")), Some(EINVAL));
    assert_eq!(code(read("inblob")), Some(EACCES));
    assert!(
        OpenOptions::new()
            .write(true)
            .open(entry.join("outblob"))
            .is_err()
    );

    // Written in two, it takes effect once, when the file is closed.
    let mut inblob = write("inblob");
    inblob.write_all(&[1; 32]).expect("half");
    inblob.write_all(&[2; 32]).expect("the other half");
    assert_eq!(read("generation").expect("a number"), b"0\n");
    assert_eq!(
        inblob.write(&[3]).expect_err("too long").raw_os_error(),
        Some(EFBIG)
    );
    drop(inblob);
    assert_eq!(read("generation").expect("a number"), b"1\n");
    let data = [[1; 32], [2; 32]].concat();
    assert_eq!(read("outblob").expect("a report"), Kernel::report(0, &data));

    // Text takes effect at each write.
    assert_eq!(
        write("privlevel")
            .write(b"4")
            .expect_err("no such level")
            .raw_os_error(),
        Some(EINVAL)
    );
    write("privlevel").write_all(b"2").expect("a level");
    assert_eq!(read("generation").expect("a number"), b"2\n");
    let mut outblob = File::open(entry.join("outblob")).expect("it opens");
    let mut start = [0; 8];
    outblob.read_exact(&mut start).expect("the start");
    assert_eq!(&start, b"level 2,");
    // A file that was opened goes on with what it began with.
    write("privlevel").write_all(b"3").expect("a level");
    let mut rest = Vec::new();
    outblob.read_to_end(&mut rest).expect("the rest");
    assert_eq!([&start[..], &rest].concat(), Kernel::report(2, &data));
    fs::remove_dir(&entry).expect("the entry goes with its files");
    nothing_is_left(&configfs);
}

#[test]
fn evidence_commits_to_the_report_data_in_pieces_of_any_size() {
    for (provider, platform) in [
        (Provider::snp(), PlatformTag::AmdSevSnp),
        (Provider::tdx(), PlatformTag::IntelTdx),
    ] {
        let Some((configfs, tsm)) = machine(provider) else {
            return;
        };
        assert_eq!(tsm.platform(), platform);
        for (byte, piece_bytes) in [(1, usize::MAX), (2, 100), (3, 7), (4, 1)] {
            configfs.kernel().piece_bytes = piece_bytes;
            let collected = tsm.evidence(&[byte; 64]).expect("evidence");
            assert_eq!(collected.evidence, Kernel::report(0, &[byte; 64]));
            assert!(collected.endorsements.is_empty());
        }
        assert_eq!(configfs.kernel().reports, 4);
        nothing_is_left(&configfs);
    }
}

#[test]
fn the_privilege_level_is_the_floor_unless_another_is_asked_for() {
    let level = |floor, asked: Option<u8>| {
        let provider = Provider {
            floor,
            ..Provider::snp()
        };
        let (configfs, mut tsm) = machine(provider)?;
        if let Some(asked) = asked {
            tsm = tsm.with_privilege_level(asked);
        }
        let outcome = tsm.evidence(&[1; 64]);
        nothing_is_left(&configfs);
        Some(match outcome {
            Ok(collected) => (0..=3).find(|level| collected.evidence == Kernel::report(*level, &[1; 64])),
            Err(error) => {
                assert_eq!(error.code(), "attester-privilege-level", "{error}");
                None
            }
        })
    };
    let cases = [
        ((Some(0), None), Some(0)),
        ((Some(2), None), Some(2)),
        ((Some(0), Some(0)), Some(0)),
        ((Some(0), Some(3)), Some(3)),
        ((Some(2), Some(2)), Some(2)),
        ((Some(2), Some(1)), None),
        ((Some(0), Some(4)), None),
        ((None, None), Some(0)),
        ((None, Some(0)), None),
    ];
    for ((floor, asked), expected) in cases {
        let Some(found) = level(floor, asked) else {
            return;
        };
        assert_eq!(found, expected, "floor {floor:?}, asked {asked:?}");
    }
}

#[test]
fn the_hosts_table_comes_along_and_a_bad_one_does_not() {
    let mut table = vec![0x8d, 0x75, 0xda, 0x63, 0x64, 0xe6, 0x64, 0x45];
    table.extend([
        0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd, 48, 0, 0, 0, 4, 0, 0, 0,
    ]);
    table.resize(48, 0);
    table.extend(b"VCEK");
    let provider = |table: Vec<u8>| Provider {
        table: Some(table),
        ..Provider::snp()
    };
    let Some((_configfs, tsm)) = machine(provider(table.clone())) else {
        return;
    };
    let collected = tsm.evidence(&[1; 64]).expect("evidence");
    assert_eq!(
        collected.endorsements.document(EndorsementKind::SnpLeaf),
        Some(&b"VCEK"[..])
    );

    table[16] = 49;
    let Some((configfs, tsm)) = machine(provider(table)) else {
        return;
    };
    assert_eq!(
        tsm.evidence(&[1; 64]).expect_err("no table").code(),
        "attester-malformed"
    );
    nothing_is_left(&configfs);
}

#[test]
fn a_processor_that_is_busy_is_asked_again_and_one_that_fails_is_not() {
    let Some((configfs, tsm)) = machine(Provider::tdx()) else {
        return;
    };
    for error in [EBUSY, EWOULDBLOCK] {
        configfs.kernel().refusals = (3, error);
        assert_eq!(
            tsm.evidence(&[1; 64]).expect("evidence").evidence,
            Kernel::report(0, &[1; 64])
        );
    }
    configfs.kernel().refusals = (usize::MAX, EBUSY);
    assert_eq!(errno(&tsm.evidence(&[1; 64]).expect_err("busy")), Some(EBUSY));
    nothing_is_left(&configfs);
    configfs.kernel().refusals = (1, EIO);
    assert_eq!(errno(&tsm.evidence(&[1; 64]).expect_err("it failed")), Some(EIO));
    assert_eq!(configfs.kernel().refusals.0, 0);
    nothing_is_left(&configfs);
}

#[test]
fn a_write_that_the_kernel_dropped_is_noticed() {
    let Some((configfs, tsm)) = machine(Provider::snp()) else {
        return;
    };
    // Nothing was taken: there is nothing to report on.
    configfs.kernel().dropped = 1;
    assert_eq!(errno(&tsm.evidence(&[1; 64]).expect_err("dropped")), Some(EINVAL));
    assert_eq!(
        tsm.evidence(&[1; 64]).expect("evidence").evidence,
        Kernel::report(0, &[1; 64])
    );
    nothing_is_left(&configfs);
}

#[test]
fn somebody_elses_report_data_are_never_taken_for_ours() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let Some((configfs, tsm)) = machine(Provider::snp()) else {
        return;
    };
    let root = configfs.root().to_owned();
    let adversary = thread::spawn(move || {
        let mut writes = 0;
        while !STOP.load(Ordering::Relaxed) {
            for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
                let file = OpenOptions::new().write(true).open(entry.path().join("inblob"));
                writes += usize::from(file.and_then(|mut file| file.write_all(&[0xee; 64])).is_ok());
            }
        }
        writes
    });
    let (mut taken, mut raced) = (0, 0);
    for round in 0..20_u8 {
        match tsm.evidence(&[round; 64]) {
            Ok(collected) => {
                assert_eq!(collected.evidence, Kernel::report(0, &[round; 64]));
                taken += 1;
            }
            Err(AttesterError::Raced { .. }) => raced += 1,
            Err(error) => panic!("{error}"),
        }
    }
    STOP.store(true, Ordering::Relaxed);
    let writes = adversary.join().expect("the adversary");
    assert!(writes > 0 && taken + raced > 0);
    nothing_is_left(&configfs);
}

#[test]
fn a_machine_without_a_provider_is_told_from_one_without_the_interface() {
    let Some(configfs) = Configfs::mount(Kernel::new(None)) else {
        return;
    };
    let error = Tsm::open_at(configfs.root()).err().expect("no provider");
    assert!(
        matches!(&error, AttesterError::NoProvider(root) if root == configfs.root()),
        "{error}"
    );

    // A driver that is unloaded while an entry exists, and before the next one.
    configfs.kernel().provider = Some(Provider::snp());
    let tsm = Tsm::open_at(configfs.root()).expect("it opens");
    configfs.kernel().provider = None;
    assert_eq!(
        tsm.evidence(&[1; 64]).expect_err("unloaded").code(),
        "attester-no-provider"
    );
    let mut unknown = Provider::tdx();
    unknown.name = "arm_cca_guest";
    configfs.kernel().provider = Some(unknown);
    assert!(
        matches!(Tsm::open_at(configfs.root()), Err(AttesterError::UnknownProvider(name)) if name == "arm_cca_guest")
    );
    nothing_is_left(&configfs);
}

#[test]
fn an_event_log_comes_along_cut_to_its_events() {
    let Some((_configfs, tsm)) = machine(Provider::tdx()) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("CCEL");
    let tsm = tsm.with_event_log(&file);
    assert_eq!(tsm.evidence(&[1; 64]).expect("evidence").event_log, None);

    let mut log = vec![0, 0, 0, 0, 3, 0, 0, 0];
    log.extend([0; 20]);
    log.extend([33, 0, 0, 0]);
    log.extend(b"Spec ID Event03\0");
    log.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0c, 0, 48, 0, 0]);
    let events = log.clone();
    log.resize(65536, 0xff);
    fs::write(&file, &log).expect("a log");
    assert_eq!(tsm.evidence(&[1; 64]).expect("evidence").event_log, Some(events));
    log[100] = 0;
    fs::write(&file, &log).expect("a log");
    assert_eq!(
        tsm.evidence(&[1; 64]).expect_err("no log").code(),
        "attester-malformed"
    );
}
