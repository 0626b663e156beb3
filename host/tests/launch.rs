//! `launch --tee snp` and `--tee tdx`: the command line is what the files beside this test say, QEMU itself knows its
//! options, and a machine is supervised. No test here runs on SNP or TDX hardware.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use host::{
    confidential_vm::{
        CommandLine, Tee,
        arguments::{CONTROL_SOCKET, command_line},
        config::ConfidentialVmConfig,
        machine::{Machine, check_version},
        processor::MemoryEncryption,
        supervise::supervise,
    },
    config::Config,
    error::HostError,
    launch::Event,
    metrics::Metrics,
};
use tokio::sync::watch;

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/confidential-vm.toml")
}

fn example_with(replace: &[(&str, &str)]) -> Result<ConfidentialVmConfig, String> {
    let mut text = fs::read_to_string(example()).expect("the example");
    for (from, to) in replace {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("host.toml");
    fs::write(&path, text).expect("written");
    let config = Config::load(&path).map_err(|error| error.to_string())?;
    Ok(config.confidential_vm.expect("the table is there"))
}

#[test]
fn command_lines_are_those_of_the_golden_files() {
    for (tee, name) in [(Tee::Snp, "snp"), (Tee::Tdx, "tdx")] {
        let config = Config::load(&example()).expect("the example is valid");
        let machine = config.confidential_vm().expect("the table is there");
        let line = command_line(machine, tee, None).expect("complete").to_string();
        let line = line.replace(
            &example().parent().expect("a folder").display().to_string(),
            "/etc/adyton",
        );
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
        if std::env::var_os("ADYTON_WRITE_GOLDEN").is_some() {
            fs::write(&golden, &line).expect("written");
        }
        assert_eq!(
            line,
            fs::read_to_string(&golden).expect("a golden file"),
            "{name}"
        );
    }
}

#[test]
fn every_wrong_value_is_refused_by_its_key() {
    for (from, to, key) in [
        ("vcpus = 4", "vcpus = 0", "vcpus"),
        ("vcpus = 4", "vcpus = 513", "vcpus"),
        ("memory_mib = 16384", "memory_mib = 255", "memory_mib"),
        ("guest_cid = 42", "guest_cid = 2", "guest_cid"),
        ("guest_cid = 42", "guest_cid = 4294967295", "guest_cid"),
        ("host_port = 2", "host_port = 1", "host_port"),
        ("\"0000:41:00.0\"", "\"0000:41:00.0,x-vga=on\"", "gpus"),
        ("\"0000:41:00.0\"", "\"41:00.0\"", "gpus"),
        ("pci_hole64_gib = 256\n", "", "pci_hole64_gib"),
        ("console=hvc0 panic", "console=hvc0\\npanic", "command_line"),
        ("EPYC-Milan", "host", "cpu_model"),
        ("policy = 0x30000", "policy = 0x10000", "policy"),
        ("policy = 0x30000", "policy = 0xb0000", "policy"),
        ("host_data = \"00", "host_data = \"0", "host_data"),
        ("mrconfigid = \"00", "mrconfigid = \"0g", "mrconfigid"),
        ("sev_device = ", "id_block = \"b\"\nsev_device = ", "id_block"),
        ("huge_pages = false", "huge_page = false", "huge_page"),
        (
            "stop_seconds_max = 30",
            "stop_seconds_max = 0",
            "stop_seconds_max",
        ),
    ] {
        let error = example_with(&[(from, to)]).expect_err(to);
        assert!(error.contains(key), "{to}: {error}");
    }
}

#[test]
fn what_the_processor_says_is_used_when_the_configuration_says_nothing() {
    let machine =
        example_with(&[("cbit_position = 51\n", ""), ("reduced_phys_bits = 1\n", "")]).expect("valid");
    let host = MemoryEncryption {
        snp: true,
        cbit_position: 47,
        reduced_phys_bits: 5,
    };
    let line = command_line(&machine, Tee::Snp, Some(host)).expect("complete");
    assert!(
        line.arguments()
            .any(|word| word.contains(",cbitpos=47,reduced-phys-bits=5,"))
    );
    assert!(matches!(
        command_line(&machine, Tee::Snp, None),
        Err(HostError::Config(_))
    ));
}

#[test]
fn an_id_block_goes_to_qemu_whole_or_not_at_all() {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let folder = tempfile::tempdir().expect("a folder");
    let (block, auth) = (folder.path().join("block"), folder.path().join("auth"));
    let files = format!("id_block = {block:?}\nid_auth = {auth:?}\nsev_device = ");
    let machine = example_with(&[("sev_device = ", &files)]).expect("valid");
    let write =
        |path: &Path, bytes: &[u8]| fs::write(path, BASE64_STANDARD.encode(bytes) + "\n").expect("written");
    write(&block, &[1; 96]);
    write(&auth, &[1; 4096]);
    let words: Vec<String> = {
        let line = command_line(&machine, Tee::Snp, None).expect("complete");
        line.arguments().map(str::to_owned).collect()
    };
    let guest = words
        .iter()
        .find(|word| word.starts_with("sev-snp-guest"))
        .expect("the object");
    assert!(guest.contains(&BASE64_STANDARD.encode([1; 96])) && guest.contains("author-key-enabled=on"));
    let mut alone = [1; 4096];
    alone[4..8].fill(0);
    write(&auth, &alone);
    let line = command_line(&machine, Tee::Snp, None).expect("complete");
    assert!(
        line.arguments()
            .any(|word| word.contains("author-key-enabled=off"))
    );
    write(&block, &[1; 95]);
    assert!(command_line(&machine, Tee::Snp, None).is_err());
}

/// QEMU's own word on the options: it reads them all and then says that this machine has no such processor.
#[tokio::test]
async fn qemu_knows_every_option() {
    // Before 9.1 there is no sev-snp-guest whose options could be known.
    if let Err(error) = check_version(Path::new(QEMU), Tee::Snp).await {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}");
        eprintln!("NOT RUN: QEMU's own reading of the command line: {error}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk,with comma");
    fs::write(&disk, [0; 512]).expect("written");
    let disk = disk.display().to_string();
    let run = folder.path().display().to_string();
    let machine = example_with(&[
        ("/var/lib/adyton/models/model.adyton", &disk),
        ("/run/adyton/vm", &run),
        ("memory_mib = 16384", "memory_mib = 512"),
    ])
    .expect("valid");
    let no_hardware = [
        "SEV-SNP not supported by KVM",
        "TDX not supported by KVM",
        "Could not access KVM",
        "failed to initialize kvm",
        "/dev/sev",
    ];
    for tee in [Tee::Snp, Tee::Tdx] {
        if let Err(error) = check_version(Path::new(QEMU), tee).await {
            eprintln!("NOT RUN: QEMU's own reading of {} options: {error}", tee.as_str());
            continue;
        }
        let line = command_line(&machine, tee, None).expect("complete");
        // The IOMMU and its devices are the host's, and opened before the processor is asked.
        let said = ask(&without(&line, &["iommufd"]));
        assert!(no_hardware.iter().any(|words| said.contains(words)), "{said}");
    }
    let line = command_line(&machine, Tee::Snp, None).expect("complete");
    for device in line
        .arguments()
        .filter(|word| word.starts_with("vhost-vsock-pci") || word.starts_with("pcie-root"))
    {
        let device = device.replace("bus=pcie.0,", "");
        let said = ask(&[
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            "q35,accel=tcg",
            "-device",
            &device,
        ]
        .map(str::to_owned));
        assert!(
            !said.contains("Property") && !said.contains("not a valid"),
            "{device}: {said}"
        );
    }
    let said = ask(&[
        "-nodefaults",
        "-machine",
        "q35,accel=tcg",
        "-device",
        "virtio-blk-pci,no-such=on",
    ]
    .map(str::to_owned));
    assert!(said.contains("no-such"), "the assertion above can fail: {said}");
}

fn without(line: &CommandLine, words: &[&str]) -> Vec<String> {
    let arguments: Vec<_> = line.arguments().map(str::to_owned).collect();
    let mut kept = Vec::new();
    let mut rest = arguments.into_iter().peekable();
    while let Some(word) = rest.next() {
        let value = rest.peek().filter(|value| !value.starts_with('-')).cloned();
        if value
            .as_ref()
            .is_some_and(|value| words.iter().any(|word| value.contains(word)))
        {
            rest.next();
        } else {
            kept.push(word);
        }
    }
    kept
}

/// What QEMU says within a few seconds; it is ended if it runs.
fn ask(arguments: &[String]) -> String {
    let mut child = Command::new(QEMU)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("QEMU starts");
    let started = Instant::now();
    while child.try_wait().expect("a state").is_none() && started.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let output = child.wait_with_output().expect("its words");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A script in QEMU's place.
fn script(folder: &Path, text: &str) -> CommandLine {
    let path = folder.join("qemu");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    CommandLine::new(&path.display().to_string())
}

fn machine_in(folder: &Path, replace: &[(&str, &str)]) -> ConfidentialVmConfig {
    let run = folder.join("run").display().to_string();
    let mut all = vec![
        ("/run/adyton/vm", run.as_str()),
        ("stop_seconds_max = 30", "stop_seconds_max = 1"),
    ];
    all.extend(replace);
    example_with(&all).expect("valid")
}

#[tokio::test]
async fn the_console_is_kept_up_to_a_bound_and_only_in_development() {
    for (development, kept) in [("true", 256 << 10), ("false", 0)] {
        let folder = tempfile::tempdir().expect("a folder");
        let development = format!("development = {development}");
        let machine = machine_in(folder.path(), &[("development = false", &development)]);
        let line = script(
            folder.path(),
            "head -c 1000000 /dev/zero; test -z \"$HOME\" && exit 3",
        );
        let mut running = Machine::start(&machine.run(), &line).expect("started");
        assert!(running.ended().await.contains('3'), "its environment is empty");
        let log = folder.path().join("run/boot.log");
        let size = || fs::metadata(&log).map_or(0, |metadata| metadata.len());
        for _ in 0..100 {
            if size() >= kept {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(size(), kept, "{development}");
    }
}

#[tokio::test]
async fn a_machine_that_does_not_heed_its_power_button_is_killed() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let folder = tempfile::tempdir().expect("a folder");
    let machine = machine_in(folder.path(), &[]);
    let line = script(folder.path(), "trap '' TERM; exec sleep 60");
    let mut running = Machine::start(&machine.run(), &line).expect("started");
    let control =
        tokio::net::UnixListener::bind(folder.path().join("run").join(CONTROL_SOCKET)).expect("fresh");
    let pressed = tokio::spawn(async move {
        let (stream, _) = control.accept().await.expect("the host connects");
        let mut stream = BufReader::new(stream);
        let mut commands = Vec::new();
        let _ = stream.get_mut().write_all(b"{\"QMP\":{}}\n").await;
        for _ in 0..2 {
            let mut command = String::new();
            let _ = stream.read_line(&mut command).await;
            commands.push(command);
            let _ = stream
                .get_mut()
                .write_all(b"{\"event\":\"X\"}\n{\"return\":{}}\n")
                .await;
        }
        commands
    });
    let started = Instant::now();
    running.stop().await;
    let elapsed = started.elapsed();
    assert!(
        elapsed > Duration::from_millis(900) && elapsed < Duration::from_secs(5),
        "{elapsed:?}"
    );
    let commands = pressed.await.expect("two commands").concat();
    assert_eq!(
        commands,
        "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"system_powerdown\"}\n"
    );
}

#[tokio::test]
async fn a_first_run_that_ends_or_is_silent_is_an_error_at_once() {
    for (text, silent) in [("exit 7", false), ("exec sleep 60", true)] {
        let folder = tempfile::tempdir().expect("a folder");
        let host = example_host(folder.path());
        let machine = machine_in(
            folder.path(),
            &[("start_seconds_max = 300", "start_seconds_max = 1")],
        );
        let line = script(folder.path(), text);
        let (events, seen) = watch::channel(None);
        let (_stop, stopped) = watch::channel(false);
        let result = supervise(
            host,
            &machine.run(),
            &line,
            || async { Ok(()) },
            Arc::new(Metrics::new()),
            events,
            stopped,
        )
        .await;
        match result {
            Err(HostError::EnclaveEnded { status }) => assert!(!silent && status.contains('7'), "{status}"),
            Err(HostError::EnclaveSilent { seconds: 1 }) => assert!(silent),
            other => panic!("{other:?}"),
        }
        assert!(matches!(*seen.borrow(), Some(Event::Started { .. })));
    }
}

#[tokio::test]
async fn a_stop_ends_the_machine_cleanly() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = example_host(folder.path());
    let machine = machine_in(folder.path(), &[]);
    let line = script(folder.path(), "exec sleep 60");
    let (events, mut seen) = watch::channel(None);
    let (stop, stopped) = watch::channel(false);
    let metrics = Arc::new(Metrics::new());
    let running = tokio::spawn(async move {
        supervise(
            host,
            &machine.run(),
            &line,
            || async { Ok(()) },
            metrics,
            events,
            stopped,
        )
        .await
    });
    seen.changed().await.expect("it starts");
    stop.send_replace(true);
    assert!(running.await.expect("it ends").is_ok());
    assert_eq!(*seen.borrow(), Some(Event::Stopped));
}

fn example_host(folder: &Path) -> Arc<Config> {
    let channel = folder.join("channel").display().to_string();
    let text = fs::read_to_string(example()).expect("the example");
    let path = folder.join("host.toml");
    fs::write(&path, text.replace("/run/adyton/channel", &channel)).expect("written");
    Arc::new(Config::load(&path).expect("valid"))
}

#[tokio::test]
async fn an_old_qemu_is_refused_by_its_version() {
    let folder = tempfile::tempdir().expect("a folder");
    script(folder.path(), "echo 'QEMU emulator version 10.0.2 (Debian)'");
    let qemu = folder.path().join("qemu");
    assert!(check_version(&qemu, Tee::Snp).await.is_ok());
    match check_version(&qemu, Tee::Tdx).await {
        Err(HostError::Unfit(words)) => assert!(words.contains("10.1") && words.contains("10.0"), "{words}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_that_lacks_something_is_told_what() {
    let folder = tempfile::tempdir().expect("a folder");
    script(folder.path(), "echo 'QEMU emulator version 10.2.0'");
    let text = fs::read_to_string(example()).expect("the example");
    let qemu = folder.path().join("qemu").display().to_string();
    let config = folder.path().join("host.toml");
    let text = text.replace("/usr/bin/qemu-system-x86_64", &qemu);
    fs::write(&config, text.replace("0.0.0.0:8443", "127.0.0.1:0")).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_adyton-host"))
        .args(["launch", "--tee", "snp", "--config"])
        .arg(&config)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("FAIL  QEMU object") && said.contains("FAIL  firmware"),
        "{said}"
    );
}
