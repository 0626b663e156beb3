//! `adyton-host measure --check`: every case of files of reference digests, one line each.
//!
//! Three forms are known, told apart by their keys: launch digests (`cases` with `launch_digest`), MRTDs (`cases` with
//! `mrtd_single_pass`), and PCRs of a boot (`pcrs` with `sections`). A case that names files by SHA-256 uses them when
//! they are found; a launch digest is also computed from the sections that its case lists. A case that could not be
//! computed has not agreed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use measurement::{
    FIRMWARE_BYTES_MAX,
    snp::{Firmware, KernelHashes, Launch, Processor, Section, SectionKind, Vmm, launch_digest},
    tdx::{self, PageOrder},
    uki::{boot_applications, register, section_events},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{read, references::hex};
use crate::error::HostError;

const JSON_BYTES_MAX: usize = 16 << 20;
const FILES_MAX: usize = 4096;
const DEPTH_MAX: usize = 8;

#[derive(Deserialize)]
struct SnpCase {
    firmware: String,
    firmware_sha256: String,
    firmware_gpa: u64,
    vcpus: u32,
    vcpu_type: String,
    guest_features: u64,
    vmm: String,
    sev_es_reset_eip: u32,
    sections: Vec<SnpSection>,
    ovmf_hash: String,
    kernel_sha256: Option<String>,
    initrd_sha256: Option<String>,
    cmdline: Option<String>,
    hashes_table_gpa: Option<u32>,
    launch_digest: String,
}

#[derive(Deserialize)]
struct SnpSection {
    gpa: u32,
    size: u32,
    #[serde(rename = "type")]
    kind: u32,
}

#[derive(Deserialize)]
struct MrtdCase {
    firmware: String,
    firmware_sha256: String,
    mrtd_single_pass: String,
    mrtd_two_pass: String,
}

#[derive(Deserialize)]
struct Boot {
    pcrs: BTreeMap<String, String>,
    uki_authenticode_sha256: String,
    linux_authenticode_sha256: String,
    sections: BTreeMap<String, BootSection>,
}

#[derive(Deserialize)]
struct BootSection {
    sha256: String,
}

/// One case: what it is, how it was computed, and whether it agrees; or why it was not computed.
struct Outcome {
    name: String,
    result: Result<Agreement, String>,
}

struct Agreement {
    from: &'static str,
    expected: String,
    actual: String,
}

impl Outcome {
    fn agrees(&self) -> bool {
        self.result
            .as_ref()
            .is_ok_and(|agreement| agreement.expected == agreement.actual)
    }

    fn line(&self) -> String {
        match &self.result {
            Err(reason) => format!("NOT RUN  {}: {reason}", self.name),
            Ok(Agreement { from, expected, .. }) if self.agrees() => {
                format!("agrees   {} ({from}): {expected}", self.name)
            }
            Ok(Agreement {
                from,
                expected,
                actual,
            }) => {
                format!(
                    "DIFFERS  {} ({from}): expected {expected}, computed {actual}",
                    self.name
                )
            }
        }
    }

    fn json(&self) -> Value {
        match &self.result {
            Err(reason) => json!({"case": self.name, "outcome": "not-run", "reason": reason}),
            Ok(Agreement {
                from,
                expected,
                actual,
            }) => json!({
                "case": self.name,
                "outcome": if self.agrees() { "agrees" } else { "differs" },
                "from": from,
                "expected": expected,
                "computed": actual,
            }),
        }
    }
}

pub(super) fn run(files: &[PathBuf], as_json: bool) -> Result<String, HostError> {
    let mut outcomes = Vec::new();
    for file in files {
        outcomes.extend(check(file)?);
    }
    let agreed = outcomes.iter().filter(|outcome| outcome.agrees()).count();
    let lines: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            if as_json {
                outcome.json().to_string()
            } else {
                outcome.line()
            }
        })
        .collect();
    let lines = lines.join("\n");
    if agreed < outcomes.len() || outcomes.is_empty() {
        return Err(HostError::Refuted {
            lines,
            agreed,
            cases: outcomes.len(),
        });
    }
    let summary = if as_json {
        json!({"agreed": agreed, "cases": outcomes.len()}).to_string()
    } else {
        format!("{agreed} of {} cases agree", outcomes.len())
    };
    Ok(format!("{lines}\n{summary}\n"))
}

fn check(file: &Path) -> Result<Vec<Outcome>, HostError> {
    let wrong = |reason: &str| HostError::Config(format!("{}: {reason}", file.display()));
    let value: Value =
        serde_json::from_slice(&read(file, JSON_BYTES_MAX)?).map_err(|error| wrong(&error.to_string()))?;
    let has = |key| {
        value["cases"]
            .as_array()
            .is_some_and(|cases| cases.iter().any(|case| case.get(key).is_some()))
    };
    fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
        T::deserialize(value).map_err(|error| error.to_string())
    }
    if has("launch_digest") {
        let cases: Vec<SnpCase> = typed(&value["cases"]).map_err(|error| wrong(&error))?;
        let found = FoundFiles::near(file)?;
        return Ok(cases
            .iter()
            .enumerate()
            .map(|(index, case)| snp(index, case, &found))
            .collect());
    }
    if has("mrtd_single_pass") {
        let cases: Vec<MrtdCase> = typed(&value["cases"]).map_err(|error| wrong(&error))?;
        let found = FoundFiles::near(file)?;
        return Ok(cases.iter().flat_map(|case| mrtd(case, &found)).collect());
    }
    if value.get("pcrs").is_some() && value.get("sections").is_some() {
        let boot: Boot = typed(&value).map_err(|error| wrong(&error))?;
        return Ok(pcrs(&boot));
    }
    Err(wrong("neither launch digests, MRTDs nor PCRs"))
}

fn snp(index: usize, case: &SnpCase, found: &FoundFiles) -> Outcome {
    let computed = || -> Result<Agreement, String> {
        let (firmware, from) = match found.bytes(&case.firmware_sha256) {
            Some(image) => (
                Firmware::parse(&image?).map_err(|error| error.to_string())?,
                "from the firmware",
            ),
            None => (described(case)?, "from its sections"),
        };
        let kernel_hashes = match (&case.kernel_sha256, &case.initrd_sha256) {
            (None, None) => None,
            (Some(kernel), Some(initrd)) => {
                let line = case.cmdline.as_deref().unwrap_or_default();
                let hashes = KernelHashes::of_digests(digest(kernel)?, digest(initrd)?, line);
                Some(hashes.map_err(|error| error.to_string())?)
            }
            _ => return Err("a kernel without an initrd's digest, or the reverse".to_owned()),
        };
        let launch = Launch {
            kernel_hashes,
            vcpus: case.vcpus,
            processor: Processor::of_model(&case.vcpu_type).map_err(|error| error.to_string())?,
            guest_features: case.guest_features,
            vmm: Vmm::of_name(&case.vmm).ok_or("an unknown monitor")?,
        };
        let actual = launch_digest(&firmware, &launch).map_err(|error| error.to_string())?;
        Ok(Agreement {
            from,
            expected: case.launch_digest.clone(),
            actual: hex(&actual),
        })
    };
    let name = format!(
        "{index:2} {}, {} x {}, {}",
        case.firmware, case.vcpus, case.vcpu_type, case.vmm
    );
    Outcome {
        name,
        result: computed(),
    }
}

fn described(case: &SnpCase) -> Result<Firmware, String> {
    let sections = case.sections.iter().map(|section| {
        Ok(Section {
            address: section.gpa,
            bytes: section.size,
            kind: SectionKind::from_number(section.kind).ok_or("a section of unknown type")?,
        })
    });
    Ok(Firmware {
        pages_digest: digest(&case.ovmf_hash)?,
        address: case.firmware_gpa,
        sections: sections.collect::<Result<_, String>>()?,
        kernel_hashes_address: case.hashes_table_gpa,
        reset_eip: case.sev_es_reset_eip,
    })
}

fn mrtd(case: &MrtdCase, found: &FoundFiles) -> Vec<Outcome> {
    let orders = [
        ("single pass", PageOrder::SinglePass, &case.mrtd_single_pass),
        ("two passes", PageOrder::TwoPass, &case.mrtd_two_pass),
    ];
    orders
        .into_iter()
        .map(|(words, order, expected)| {
            let computed = || -> Result<Agreement, String> {
                let image = found.bytes(&case.firmware_sha256).ok_or_else(|| {
                    format!(
                        "no file with SHA-256 {} here or in ADYTON_FIRMWARE",
                        case.firmware_sha256
                    )
                })??;
                let firmware = tdx::Firmware::parse(&image).map_err(|error| error.to_string())?;
                Ok(Agreement {
                    from: "from the firmware",
                    expected: expected.clone(),
                    actual: hex(&firmware.mrtd(order)),
                })
            };
            Outcome {
                name: format!("{}, {words}", case.firmware),
                result: computed(),
            }
        })
        .collect()
}

fn pcrs(boot: &Boot) -> Vec<Outcome> {
    let compare = |index: &str, events: Result<Vec<Vec<u8>>, String>| {
        let result = events.and_then(|events| {
            Ok(Agreement {
                from: "from the image's digests",
                expected: boot.pcrs.get(index).cloned().ok_or("not in the file")?,
                actual: hex(&register::<Sha256>(&events)),
            })
        });
        Outcome {
            name: format!("PCR {index}"),
            result,
        }
    };
    let applications = || {
        let image: [u8; 32] = digest(&boot.uki_authenticode_sha256)?;
        let kernel: [u8; 32] = digest(&boot.linux_authenticode_sha256)?;
        Ok(boot_applications::<Sha256>(&image, &kernel))
    };
    let sections = || {
        let sections = boot.sections.iter().map(|(name, section)| {
            let contents: [u8; 32] = digest(&section.sha256)?;
            Ok((name.as_str(), contents.to_vec()))
        });
        Ok(section_events::<Sha256>(
            &sections.collect::<Result<Vec<_>, String>>()?,
        ))
    };
    vec![compare("4", applications()), compare("11", sections())]
}

fn digest<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let byte = |at: usize| {
        text.get(at..at + 2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
    };
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text:?} is not a digest of {N} bytes"))
}

/// Files that a case may name by their digest.
struct FoundFiles(BTreeMap<String, PathBuf>);

impl FoundFiles {
    fn near(file: &Path) -> Result<Self, HostError> {
        let mut found = BTreeMap::new();
        let beside = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut folders = vec![(beside.unwrap_or(Path::new(".")).to_owned(), DEPTH_MAX)];
        if let Some(folder) = std::env::var_os("ADYTON_FIRMWARE") {
            folders.push((folder.into(), 0));
        }
        while let Some((folder, depth)) = folders.pop() {
            let io = || HostError::io(format!("list {}", folder.display()));
            for entry in std::fs::read_dir(&folder).map_err(io())? {
                let entry = entry.map_err(io())?;
                let metadata = entry.metadata().map_err(io())?;
                if metadata.is_dir() && depth < DEPTH_MAX {
                    folders.push((entry.path(), depth + 1));
                } else if metadata.is_file()
                    && metadata.len() <= FIRMWARE_BYTES_MAX as u64
                    && found.len() < FILES_MAX
                {
                    let bytes = read(&entry.path(), FIRMWARE_BYTES_MAX)?;
                    found.insert(hex(&Sha256::digest(bytes)), entry.path());
                }
            }
        }
        Ok(Self(found))
    }

    fn bytes(&self, sha256: &str) -> Option<Result<Vec<u8>, String>> {
        let path = self.0.get(sha256)?;
        Some(read(path, FIRMWARE_BYTES_MAX).map_err(|error| error.to_string()))
    }
}
