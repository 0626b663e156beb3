//! `doctor` shown fake hosts: a complete one passes, and each thing that is missing is the one that fails.

use std::{fs, os::unix::fs::symlink, path::Path};

use host::{
    confidential_vm::{Tee, config::ConfidentialVmConfig},
    doctor::{Check, Doctor},
    remote::config::RemoteConfig,
};

const QEMU: &str = "QEMU emulator version 10.1.0 (Debian)";
const OBJECTS: &str = "List of user creatable objects:\n  sev-snp-guest\n  tdx-guest\n";

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    fs::write(path, text).expect("written");
}

/// A host with everything.
fn complete() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    put(
        root,
        "proc/cpuinfo",
        "model name\t: Some Processor\nflags\t\t: fpu sev_snp tdx_host_platform\n",
    );
    put(root, "proc/meminfo", "HugePages_Free:     8192\n");
    put(
        root,
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\n\
         Max open files            65536                65536                files\n\
         Max locked memory         unlimited            unlimited            bytes\n",
    );
    for device in ["kvm", "sev", "vhost-vsock", "iommu"] {
        put(root, &format!("dev/{device}"), "");
    }
    put(root, "sys/module/kvm_amd/parameters/sev_snp", "Y\n");
    put(root, "sys/module/kvm_intel/parameters/tdx", "1\n");
    put(root, "var/run/tdx-qgs/qgs.socket", "");
    fs::create_dir_all(root.join("sys/kernel/iommu_groups/0")).expect("created");
    let gpu = root.join("sys/bus/pci/devices/0000:41:00.0");
    fs::create_dir_all(&gpu).expect("created");
    symlink("../../../bus/pci/drivers/vfio-pci", gpu.join("driver")).expect("linked");
    folder
}

fn machine(root: &Path) -> ConfidentialVmConfig {
    let text = format!(
        "firmware = \"{}/absent.fd\"\nkernel = \"k\"\nvcpus = 1\nmemory_mib = 16384\nguest_cid = 3\nhuge_pages = true\n\
         gpus = [\"0000:41:00.0\"]\npci_hole64_gib = 256\nrun_directory = \"/run/x\"\n",
        root.display()
    );
    let mut config: ConfidentialVmConfig = toml::from_str(&text).expect("valid");
    config.settle(Path::new("/")).expect("valid");
    config
}

fn failures(root: &Path, tee: Tee, qemu: &str) -> Vec<&'static str> {
    let machine = machine(root);
    let doctor = Doctor {
        root,
        qemu: Some((qemu.to_owned(), OBJECTS.to_owned())),
        machine: Some(&machine),
    };
    let checks = doctor.examine(tee);
    let failed = checks.iter().filter(|check| !check.passed);
    failed
        .map(|check| check.name)
        .filter(|name| *name != "firmware")
        .collect()
}

#[test]
fn a_complete_host_passes_but_for_the_firmware_that_is_not_there() {
    let host = complete();
    for tee in [Tee::Snp, Tee::Tdx] {
        assert!(failures(host.path(), tee, QEMU).is_empty());
    }
    let machine = machine(host.path());
    let doctor = Doctor {
        root: host.path(),
        qemu: None,
        machine: Some(&machine),
    };
    let failed: Vec<_> = doctor
        .examine(Tee::Snp)
        .into_iter()
        .filter(|check| !check.passed)
        .collect();
    assert_eq!(
        failed.iter().map(|check| check.name).collect::<Vec<_>>(),
        ["QEMU", "QEMU object", "firmware"]
    );
    assert!(
        failed
            .iter()
            .all(|check| !check.mend.is_empty() && check.line().starts_with("FAIL"))
    );
}

#[test]
fn what_is_missing_is_what_fails() {
    for (tee, path, name) in [
        (Tee::Snp, "proc/cpuinfo", "processor"),
        (Tee::Tdx, "proc/cpuinfo", "processor"),
        (Tee::Snp, "dev/kvm", "KVM"),
        (Tee::Snp, "dev/sev", "security processor"),
        (Tee::Snp, "sys/module/kvm_amd/parameters/sev_snp", "KVM module"),
        (Tee::Tdx, "sys/module/kvm_intel/parameters/tdx", "KVM module"),
        (Tee::Tdx, "var/run/tdx-qgs/qgs.socket", "quote generation service"),
        (Tee::Tdx, "dev/vhost-vsock", "vsock"),
        (Tee::Snp, "proc/meminfo", "huge pages"),
        (Tee::Snp, "dev/iommu", "IOMMU"),
        (Tee::Snp, "sys/bus/pci/devices/0000:41:00.0/driver", "GPU drivers"),
    ] {
        let host = complete();
        fs::remove_file(host.path().join(path)).expect("it was there");
        assert_eq!(failures(host.path(), tee, QEMU), [name], "without {path}");
    }
    let host = complete();
    fs::remove_file(host.path().join("proc/self/limits")).expect("it was there");
    assert_eq!(
        failures(host.path(), Tee::Snp, QEMU),
        ["open files", "locked memory"]
    );
}

#[test]
fn a_guest_that_takes_connections_passes_and_one_that_does_not_is_named() {
    let host = complete();
    let doctor = Doctor {
        root: host.path(),
        qemu: None,
        machine: None,
    };
    let guest = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = guest.local_addr().expect("bound");
    let remote: RemoteConfig = toml::from_str(&format!("address = \"{address}\"\n")).expect("valid");
    assert!(doctor.examine_remote(&remote).iter().all(|check| check.passed));
    drop(guest);
    let failed = doctor.examine_remote(&remote);
    let failed: Vec<_> = failed.iter().filter(|check| !check.passed).collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].name == "guest" && failed[0].found.contains(&address.to_string()));
}

#[test]
fn values_that_are_there_but_wrong_fail() {
    let host = complete();
    put(host.path(), "sys/module/kvm_amd/parameters/sev_snp", "N\n");
    put(host.path(), "proc/meminfo", "HugePages_Free: 8191\n");
    assert_eq!(
        failures(host.path(), Tee::Snp, QEMU),
        ["KVM module", "huge pages"]
    );
    let host = complete();
    assert_eq!(
        failures(host.path(), Tee::Tdx, "QEMU emulator version 10.0.2"),
        ["QEMU"]
    );
    assert_eq!(
        failures(host.path(), Tee::Snp, "QEMU emulator version 9.0.9"),
        ["QEMU"]
    );
}

#[test]
fn a_check_reads_alike_as_words_and_as_json() {
    let check = Check {
        name: "KVM",
        passed: false,
        found: "no".to_owned(),
        mend: "do",
    };
    assert_eq!(check.line(), "FAIL  KVM: no\n      do");
    assert_eq!(check.json()["outcome"], "fail");
    let good = Check {
        passed: true,
        ..check
    };
    assert_eq!(good.json()["mend"], serde_json::Value::Null);
}
