//! The built image against the policy: what must be there is, what must not be is not, and nothing else is.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context as _;

use crate::{
    assemble::{has_interpreter, module_path, unified},
    cpio::{self, Entry, Tree},
    entry,
    manifest::{FORMAT, FileLine, Manifest, lines},
    policy::{Policy, ShutBy, Variant},
};

/// One thing that was looked at.
#[derive(Debug)]
pub struct Finding {
    /// What.
    pub what: String,
    /// What is wrong with it; empty when nothing is.
    pub faults: Vec<String>,
}

impl Finding {
    /// A finding with what was found wrong.
    pub fn new(what: impl Into<String>, faults: Vec<String>) -> Self {
        Self {
            what: what.into(),
            faults,
        }
    }

    /// `PASS` or `FAIL`, and why.
    pub fn line(&self) -> String {
        if self.faults.is_empty() {
            format!("PASS  {}", self.what)
        } else {
            format!("FAIL  {}: {}", self.what, self.faults.join("; "))
        }
    }
}

/// Checks the image in `folder`; `packages` is where the policy's packages are unpacked.
///
/// # Errors
/// When a file of the image cannot be read at all.
pub fn check(policy: &Policy, folder: &Path, packages: &Path) -> anyhow::Result<Vec<Finding>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    let manifest: Manifest =
        serde_json::from_slice(&read(&folder.join("manifest.json"))?).context("manifest.json")?;
    let variant = match manifest.variant.as_str() {
        "release" => Variant::Release,
        "simulated" => Variant::Simulated,
        other => anyhow::bail!("manifest.json: no variant is called {other:?}"),
    };
    let mut artifacts = Vec::new();
    for line in &manifest.artifacts {
        anyhow::ensure!(
            !line.path.contains('/'),
            "manifest.json: {:?} is not beside it",
            line.path
        );
        artifacts.push((line, read(&folder.join(&line.path))?));
    }
    let of = |name: &str| {
        let found = artifacts.iter().find(|(line, _)| line.path == name);
        found
            .map(|(_, bytes)| bytes.as_slice())
            .with_context(|| format!("manifest.json has no {name}"))
    };
    let initrd = of("initrd.cpio")?;
    let tree = cpio::read(initrd).map_err(|reason| anyhow::anyhow!("initrd.cpio: {reason}"))?;
    let line = core::str::from_utf8(of("cmdline")?).context("cmdline")?;
    let options =
        String::from_utf8(read(&packages.join(&policy.kernel.options))?).context("kernel options")?;
    let kernel = read(&packages.join(&policy.kernel.image))?;
    let stub = read(&packages.join(&policy.kernel.stub))?;

    let mut findings = vec![
        Finding::new(
            "manifest describes these files",
            manifest_faults(&manifest, &artifacts, &tree),
        ),
        Finding::new(
            "kernel is the package's, behind the entry",
            if entry::code_of(of("vmlinuz")?)
                .and_then(|code| entry::precede(&kernel, &code).ok())
                .is_some_and(|whole| whole.as_slice() == of("vmlinuz").unwrap_or_default())
            {
                vec![]
            } else {
                vec!["it differs".to_owned()]
            },
        ),
        Finding::new(
            "command line is the policy's",
            command_line_faults(policy, line, variant),
        ),
        Finding::new(
            "unified image is these",
            if of("adyton.efi")? == unified(policy, variant, &stub, of("vmlinuz")?, initrd)? {
                vec![]
            } else {
                vec!["it differs".to_owned()]
            },
        ),
        Finding::new("files are those of the policy", file_faults(policy, &tree)),
        Finding::new(
            "no shell, login, agent, package manager",
            name_faults(policy, &tree),
        ),
        Finding::new("no setuid, setgid or writable file", mode_faults(&tree)),
        Finding::new("init is static", init_faults(&tree)),
        Finding::new(
            format!("initrd is within {} bytes", policy.files.initrd_bytes_max),
            if initrd.len() as u64 > policy.files.initrd_bytes_max {
                vec![format!("it has {}", initrd.len())]
            } else {
                vec![]
            },
        ),
        Finding::new(
            "modules are the package's",
            module_faults(policy, &tree, packages),
        ),
    ];
    if variant == Variant::Release {
        findings.push(Finding::new(
            "no simulated security processor (I8)",
            simulated_faults(&tree),
        ));
    }
    findings.extend(option_findings(policy, &options, line));
    Ok(findings)
}

fn manifest_faults(manifest: &Manifest, artifacts: &[(&FileLine, Vec<u8>)], tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    if manifest.format != FORMAT {
        faults.push(format!("its format is {:?}", manifest.format));
    }
    for (line, bytes) in artifacts {
        if **line != FileLine::of_file(&line.path, 0o644, bytes) {
            faults.push(format!("{} is another file", line.path));
        }
    }
    if manifest.initrd != lines(tree) {
        faults.push("the initrd has other entries".to_owned());
    }
    faults
}

fn command_line_faults(policy: &Policy, line: &str, variant: Variant) -> Vec<String> {
    let mut faults: Vec<_> = policy
        .command_line
        .forbidden_in(line, variant)
        .into_iter()
        .map(|word| format!("has the forbidden word {word}"))
        .collect();
    if line != policy.command_line.of(variant) {
        faults.push(format!("it is {line:?}"));
    }
    faults
}

fn file_faults(policy: &Policy, tree: &Tree) -> Vec<String> {
    let modules = policy
        .modules
        .files
        .iter()
        .enumerate()
        .map(|(number, file)| module_path(number, file));
    let files: BTreeSet<_> = [&policy.files.executables, &policy.files.data]
        .into_iter()
        .flatten()
        .cloned()
        .chain(modules)
        .collect();
    let mut faults = Vec::new();
    for (path, entry) in tree {
        let listed = match entry {
            Entry::Directory => policy.files.directories.contains(path),
            Entry::File(..) => files.contains(path),
            Entry::CharacterDevice(..) => policy.files.devices.contains(path),
        };
        if !listed {
            faults.push(format!("{path} is not in the policy"));
        }
    }
    let wanted = files
        .iter()
        .chain(&policy.files.directories)
        .chain(&policy.files.devices);
    faults.extend(
        wanted
            .filter(|path| !tree.contains_key(*path))
            .map(|path| format!("{path} is missing")),
    );
    faults
}

fn name_faults(policy: &Policy, tree: &Tree) -> Vec<String> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    tree.keys()
        .filter(|path| policy.files.forbidden_names.contains(&name(path)))
        .cloned()
        .collect()
}

fn mode_faults(tree: &Tree) -> Vec<String> {
    tree.iter()
        .filter(|(_, entry)| matches!(entry, Entry::File(mode, _) if mode & 0o7022 != 0))
        .map(|(path, _)| path.clone())
        .collect()
}

fn init_faults(tree: &Tree) -> Vec<String> {
    match tree.get("init") {
        Some(Entry::File(0o755, binary)) => match has_interpreter(binary) {
            Ok(false) => vec![],
            Ok(true) => vec!["it names a loader".to_owned()],
            Err(error) => vec![error.to_string()],
        },
        _ => vec!["it is not an executable file".to_owned()],
    }
}

fn module_faults(policy: &Policy, tree: &Tree, packages: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, file) in policy.modules.files.iter().enumerate() {
        let path = module_path(number, file);
        let package = fs::read(packages.join(&policy.kernel.modules).join(file));
        let same =
            matches!((tree.get(&path), package), (Some(Entry::File(_, ours)), Ok(theirs)) if *ours == theirs);
        if !same {
            faults.push(format!("{path} differs"));
        }
    }
    faults
}

/// The issuer's name for its own evidence is in no release binary.
fn simulated_faults(tree: &Tree) -> Vec<String> {
    const ISSUER: &[u8] = b"SIMULATED platform";
    let contains = |bytes: &[u8]| bytes.windows(ISSUER.len()).any(|window| window == ISSUER);
    tree.iter()
        .filter(|(_, entry)| matches!(entry, Entry::File(_, contents) if contains(contents)))
        .map(|(path, _)| format!("{path} has it"))
        .collect()
}

/// One finding for what is required, one for what is forbidden, one for each way of shutting.
fn option_findings(policy: &Policy, options: &str, line: &str) -> Vec<Finding> {
    let value = |name: &str| {
        options.lines().find_map(|option| {
            option
                .strip_prefix("CONFIG_")?
                .strip_prefix(name)?
                .strip_prefix('=')
        })
    };
    let wants = &policy.kernel_options;
    let required = wants.required.iter().filter(|wanted| {
        let (name, wanted) = wanted.split_once('=').unwrap_or((wanted, "y"));
        value(name) != Some(wanted)
    });
    let forbidden = wants
        .forbidden
        .iter()
        .filter(|name| value(name).is_some_and(|value| value != "n"));
    let mut findings = vec![
        Finding::new("kernel options that must be on", required.cloned().collect()),
        Finding::new("kernel options that must be off", forbidden.cloned().collect()),
    ];
    for shut in &wants.shut {
        let faults = match (shut.by, &shut.word) {
            (ShutBy::Word, Some(word)) if !line.split_whitespace().any(|known| known == word) => {
                vec![format!("the command line lacks {word}")]
            }
            (ShutBy::NoModule, _) => {
                let built_in = shut.options.iter().filter(|name| value(name) == Some("y"));
                built_in.map(|name| format!("{name} is built in")).collect()
            }
            _ => vec![],
        };
        let how = shut.word.clone().unwrap_or_else(|| match shut.by {
            ShutBy::NoModule => "its module is left out".to_owned(),
            _ => "init, see the booted guest".to_owned(),
        });
        findings.push(Finding::new(
            format!("{} shut by {how}", shut.options.join(", ")),
            faults,
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::of_this_version().expect("it parses")
    }

    #[test]
    fn each_unlisted_file_and_mode_is_a_fault() {
        let mut tree = Tree::from([("init".to_owned(), Entry::File(0o755, vec![]))]);
        assert!(mode_faults(&tree).is_empty());
        for mode in [0o4755, 0o2755, 0o775, 0o757, 0o1755] {
            tree.insert("init".to_owned(), Entry::File(mode, vec![]));
            assert_eq!(mode_faults(&tree), ["init"], "{mode:o}");
        }
        tree.insert("bin/busybox".to_owned(), Entry::File(0o755, vec![]));
        tree.insert("dev/mem".to_owned(), Entry::CharacterDevice(1, 1));
        let faults = file_faults(&policy(), &tree);
        for path in ["bin/busybox", "dev/mem"] {
            assert!(
                faults.contains(&format!("{path} is not in the policy")),
                "{faults:?}"
            );
        }
        for path in ["time-floor", "pci-devices"] {
            assert!(faults.contains(&format!("{path} is missing")), "{faults:?}");
        }
        assert_eq!(name_faults(&policy(), &tree), ["bin/busybox"]);
    }

    #[test]
    fn options_are_compared_whole() {
        let findings = |options: &str, line: &str| -> Vec<String> {
            option_findings(&policy(), options, line)
                .into_iter()
                .flat_map(|finding| finding.faults)
                .collect()
        };
        let good: String = policy()
            .kernel_options
            .required
            .iter()
            .map(|option| format!("CONFIG_{option}\n"))
            .collect();
        let line = policy().command_line.of(Variant::Release);
        assert_eq!(findings(&good, &line), [""; 0]);
        assert_eq!(
            findings(&good.replace("SECURITY_LANDLOCK=y", "SECURITY_LANDLOCK=m"), &line),
            ["SECURITY_LANDLOCK=y"]
        );
        assert_eq!(
            findings(&format!("{good}CONFIG_X86_X32_ABI=y\n"), &line),
            ["X86_X32_ABI"]
        );
        assert_eq!(
            findings(&format!("{good}CONFIG_BINFMT_MISC=y\n"), &line),
            ["BINFMT_MISC is built in"]
        );
        let open = line.replace("lockdown=confidentiality", "lockdown=none");
        assert_eq!(
            findings(&good, &open),
            ["the command line lacks lockdown=confidentiality"]
        );
    }
}
