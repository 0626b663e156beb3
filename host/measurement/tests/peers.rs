//! The same digests from programs that nobody here wrote: PyPI sev-snp-measure on random launches, PyPI lief on
//! random PE images. `scripts/test` installs both (`tests/clients/requirements.txt`).

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use measurement::{
    pe::Image,
    snp::{Firmware, KernelHashes, Launch, Processor, Vmm, launch_digest},
};
use sha2::{Digest, Sha256};

#[path = "support/files.rs"]
mod files;

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("ADYTON_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "ADYTON_TEST_PYTHON is not set"
        );
        eprintln!("NOT RUN: sev-snp-measure and LIEF (scripts/test installs them)");
    }
    python
}

/// Bytes that differ from run to run of the loop and not from run to run of the test.
fn bytes(seed: usize, len: usize) -> Vec<u8> {
    let block = |index: usize| Sha256::digest([seed.to_le_bytes(), index.to_le_bytes()].concat());
    (0..len.div_ceil(32)).flat_map(block).take(len).collect()
}

fn run(python: &PathBuf, script: &str, folder: &std::path::Path) -> String {
    let output = Command::new(python)
        .args(["-c", script])
        .arg(folder)
        .output()
        .expect("Python starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn sev_snp_measure_agrees_on_random_launches() {
    let Some(python) = python() else { return };
    let folder = folder("sev-snp-measure");
    let models = [
        "EPYC-v4",
        "EPYC-Rome",
        "EPYC-Milan-v2",
        "EPYC-Genoa",
        "EPYC-Turin",
    ];
    let monitors = ["QEMU", "ec2", "gce"];
    let (mut ours, mut cases) = (String::new(), String::new());
    for case in 0..60 {
        let mut image = files::firmware();
        let random = bytes(case, 0x1000);
        image[..0x1000].copy_from_slice(&random); // the metadata is in the second page
        let kernel = bytes(case + 1000, 1 + case * 77);
        let initrd = bytes(case + 2000, case % 3 * 501);
        let command_line = ["", "quiet", "console=ttyS0 panic=-1 a=\"b c\""][case % 3];
        let vcpus = 1 + case as u32 % 9;
        let (model, monitor) = (models[case % 5], monitors[case % 3]);
        let features = [1, 0x21, 0x29, 0xffff_ffff_0000_0001][case % 4];
        for (name, contents) in [("firmware", &image), ("kernel", &kernel), ("initrd", &initrd)] {
            fs::write(folder.join(format!("{case}.{name}")), contents).expect("written");
        }
        let direct = case % 4 != 0;
        writeln!(
            cases,
            "{case}\t{vcpus}\t{model}\t{features}\t{monitor}\t{}\t{command_line}",
            u8::from(direct)
        )
        .expect("a string");
        let launch = Launch {
            kernel_hashes: direct.then(|| KernelHashes::of(&kernel, &initrd, command_line).expect("hashed")),
            vcpus,
            processor: Processor::of_model(model).expect("a model"),
            guest_features: features,
            vmm: Vmm::of_name(monitor).expect("a monitor"),
        };
        let firmware = Firmware::parse(&image).expect("well-formed");
        writeln!(
            ours,
            "{}",
            hex::encode(launch_digest(&firmware, &launch).expect("measured"))
        )
        .expect("a string");
    }
    fs::write(folder.join("cases"), cases).expect("written");
    let script = "
import sys
from sevsnpmeasure import guest, vcpu_types, vmm_types
folder = sys.argv[1]
for line in open(folder + '/cases'):
    case, vcpus, model, features, monitor, direct, text = line.rstrip('\\n').split('\\t')
    name = folder + '/' + case
    kernel, initrd = (name + '.kernel', name + '.initrd') if direct == '1' else ('', '')
    print(guest.snp_calc_launch_digest(int(vcpus), vcpu_types.CPU_SIGS[model], name + '.firmware', kernel, initrd,
          text, int(features), '', vmm_types.VMMType[monitor]).hex())
";
    assert_eq!(run(&python, script, &folder), ours);
}

#[test]
fn lief_agrees_on_random_images() {
    let Some(python) = python() else { return };
    let folder = folder("lief");
    let mut ours = String::new();
    for case in 0..20 {
        let (first, second) = (bytes(case, 1 + case * 131), bytes(case + 100, 512 * (case % 3)));
        let image = files::pe(&[(".text", &first), (".data", &second)], &[]);
        fs::write(folder.join(format!("{case}.pe")), &image).expect("written");
        let image = Image::parse(&image).expect("well-formed");
        writeln!(ours, "{}", hex::encode(image.authenticode::<Sha256>())).expect("a string");
    }
    let script = "
import lief, sys
for case in range(20):
    image = lief.parse('%s/%d.pe' % (sys.argv[1], case))
    print(image.authentihash(lief.PE.ALGORITHMS.SHA_256).hex())
";
    assert_eq!(run(&python, script, &folder), ours);
}
