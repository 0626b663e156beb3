//! From packages and a binary to an image.
//!
//! | file | what |
//! |---|---|
//! | `vmlinuz` | the package's kernel, behind ACPI tables of the image's own ([`entry`](crate::entry)) |
//! | `initrd.cpio` | the binary as `/init`, modules in load order, nothing else |
//! | `cmdline` | the command line, without a line break |
//! | `adyton.efi` | kernel, initrd and command line in one, behind systemd's stub |
//! | `manifest.json`, `sbom.json` | every file; every component |

use std::{fs, path::Path};

use anyhow::Context as _;

use crate::{
    cpio::{self, Entry, Tree},
    entry,
    manifest::{FileLine, Manifest},
    pe::{self, READ_ONLY_DATA, Section},
    policy::{Policy, Variant},
    sbom,
};

/// What an image is made from.
pub struct Inputs<'a> {
    /// Which image.
    pub variant: Variant,
    /// The statically linked binary.
    pub binary: &'a Path,
    /// The code before the kernel's entry, as `enclave/entry` builds it.
    pub entry: &'a Path,
    /// Folder in which the policy's packages are unpacked, modules without their compression.
    pub packages: &'a Path,
    /// What `cargo tree` says is linked into the binary.
    pub crates: &'a str,
}

/// Files of an image, by name.
pub type Artifacts = Vec<(&'static str, Vec<u8>)>;

/// Makes the image.
///
/// # Errors
/// A file of the policy that is not there, a binary that needs a loader, or a stub without room.
pub fn assemble(policy: &Policy, inputs: &Inputs<'_>) -> anyhow::Result<Artifacts> {
    let read = |path: &str| {
        let path = inputs.packages.join(path);
        fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let built = |path: &Path| fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    let binary = built(inputs.binary)?;
    anyhow::ensure!(
        !has_interpreter(&binary)?,
        "the binary is not static: it names a loader that the image has not"
    );
    let tree = tree(policy, binary, &read)?;
    let initrd = cpio::write(&tree);
    let kernel = read(&policy.kernel.image)?;
    let stub = read(&policy.kernel.stub)?;
    let kernel = entry::precede(&kernel, &built(inputs.entry)?).map_err(anyhow::Error::msg)?;
    let unified = unified(policy, inputs.variant, &stub, &kernel, &initrd)?;
    let command_line = policy.command_line.of(inputs.variant);
    let mut artifacts = vec![
        ("vmlinuz", kernel),
        ("initrd.cpio", initrd),
        ("cmdline", command_line.into_bytes()),
        ("adyton.efi", unified),
    ];
    let lines = artifacts
        .iter()
        .map(|(name, bytes)| FileLine::of_file(name, 0o644, bytes))
        .collect();
    let manifest = Manifest::new(policy, inputs.variant, lines, &tree);
    let bill = sbom::document(policy, inputs.variant, &sbom::crates(inputs.crates)?);
    artifacts.push(("manifest.json", line(serde_json::to_string_pretty(&manifest)?)));
    artifacts.push(("sbom.json", line(serde_json::to_string_pretty(&bill)?)));
    Ok(artifacts)
}

/// The unified image: what firmware boots from a disk.
///
/// # Errors
/// When the stub has no room for the sections.
pub fn unified(
    policy: &Policy,
    variant: Variant,
    stub: &[u8],
    kernel: &[u8],
    initrd: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let command_line = policy.command_line.of(variant);
    let release = format!(
        "ID=adyton\nNAME=Adyton\nPRETTY_NAME=\"Adyton {version} ({variant})\"\nVERSION_ID={version}\nVARIANT_ID={variant}\n",
        version = env!("CARGO_PKG_VERSION"),
        variant = variant.as_str(),
    );
    let sections = [
        (".osrel", release.as_bytes()),
        (".uname", policy.kernel.release.as_bytes()),
        (".cmdline", command_line.as_bytes()),
        (".initrd", initrd),
        (".linux", kernel),
    ]
    .map(|(name, contents)| Section {
        name,
        contents,
        characteristics: READ_ONLY_DATA,
    });
    pe::join(stub, &sections).map_err(anyhow::Error::msg)
}

fn line(text: String) -> Vec<u8> {
    (text + "\n").into_bytes()
}

/// The initrd: what the policy lists, and nothing else.
fn tree(
    policy: &Policy,
    binary: Vec<u8>,
    read: &impl Fn(&str) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Tree> {
    let mut tree = Tree::new();
    for directory in &policy.files.directories {
        tree.insert(directory.clone(), Entry::Directory);
    }
    // The numbers of Linux's Documentation/admin-guide/devices.txt.
    tree.insert("dev/console".to_owned(), Entry::CharacterDevice(5, 1));
    tree.insert("dev/null".to_owned(), Entry::CharacterDevice(1, 3));
    tree.insert("init".to_owned(), Entry::File(0o755, binary));
    tree.insert(
        "time-floor".to_owned(),
        Entry::File(0o444, format!("{}\n", policy.time.floor).into_bytes()),
    );
    let devices = policy.presented.pci_devices.join("\n") + "\n";
    tree.insert("pci-devices".to_owned(), Entry::File(0o444, devices.into_bytes()));
    for (number, file) in policy.modules.files.iter().enumerate() {
        let contents = read(&format!("{}/{file}", policy.kernel.modules))?;
        tree.insert(module_path(number, file), Entry::File(0o444, contents));
    }
    Ok(tree)
}

/// Where a module stands in the initrd: its number first, so that sorted is load order.
pub fn module_path(number: usize, file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    format!("modules/{number:02}-{name}")
}

/// Whether an ELF file asks for a loader (PT_INTERP; System V ABI, chapter 5).
///
/// # Errors
/// When it is not an ELF file for x86-64.
pub fn has_interpreter(binary: &[u8]) -> anyhow::Result<bool> {
    const INTERPRETER: [u8; 4] = 3_u32.to_le_bytes();
    let field = |at: usize, bytes: usize| {
        let field = binary.get(at..at + bytes)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0_usize, |value, byte| value << 8 | usize::from(*byte)),
        )
    };
    let headers = || {
        (binary.get(..6)? == b"\x7fELF\x02\x01" && field(18, 2)? == 62).then_some(())?;
        let (at, size, count) = (field(32, 8)?, field(54, 2)?, field(56, 2)?);
        let places = (0..count).map(|index| at.checked_add(index * size));
        places
            .map(|place| place.and_then(|place| binary.get(place..place.checked_add(4)?)))
            .collect::<Option<Vec<_>>>()
    };
    let headers = headers().context("the binary is not an ELF file for x86-64")?;
    Ok(headers.contains(&INTERPRETER.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_dynamic_and_text_is_no_binary() {
        let this = fs::read("/proc/self/exe").expect("it runs");
        assert!(has_interpreter(&this).expect("ELF"));
        assert!(has_interpreter(b"#!/bin/sh").is_err());
    }

    #[test]
    fn modules_sort_in_load_order() {
        assert_eq!(
            module_path(3, "drivers/x/tdx-guest.ko"),
            "modules/03-tdx-guest.ko"
        );
        assert!(module_path(9, "a.ko") < module_path(10, "a.ko"));
    }
}
