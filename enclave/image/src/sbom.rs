//! What the image is made of, for those who watch advisories: CycloneDX 1.5 in JSON.
//!
//! Components are the packages of the policy and the crates that are linked into the binary, as `cargo tree` lists
//! them. No serial number and no time: both would differ between equal images.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::policy::{Policy, Variant};

/// A crate that is linked.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    name: String,
    version: String,
    ours: bool,
}

/// Reads `cargo tree --edges normal --prefix none --format {p}`: one crate a line, `NAME vVERSION (PLACE)`.
///
/// # Errors
/// The line that is not one.
pub fn crates(list: &str) -> anyhow::Result<Vec<Crate>> {
    let mut crates = list
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().context("an empty line")?;
            let version = words
                .next()
                .and_then(|word| word.strip_prefix('v'))
                .with_context(|| format!("not a crate: {line:?}"))?;
            Ok(Crate {
                name: name.to_owned(),
                version: version.to_owned(),
                // A path of this repository; `(proc-macro)` and `(*)` are cargo's own remarks.
                ours: words.any(|word| word.starts_with("(/")),
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    crates.sort();
    crates.dedup();
    Ok(crates)
}

/// The document.
pub fn document(policy: &Policy, variant: Variant, crates: &[Crate]) -> Value {
    let packages = policy.packages.iter().map(|package| {
        json!({
            "type": "library",
            "bom-ref": format!("pkg:deb/debian/{}@{}", package.name, package.version),
            "name": package.name,
            "version": package.version,
            "purl": format!("pkg:deb/debian/{}@{}?arch=amd64&distro={}", package.name, package.version, package.suite),
            "hashes": [{"alg": "SHA-256", "content": package.sha256}],
            "licenses": [{"license": {"id": package.licence}}],
        })
    });
    let crates = crates.iter().map(|linked| {
        let reference = format!("pkg:cargo/{}@{}", linked.name, linked.version);
        let mut component = json!({
            "type": "library",
            "bom-ref": reference,
            "name": linked.name,
            "version": linked.version,
        });
        if !linked.ours {
            component["purl"] = reference.into();
        }
        component
    });
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {
            "type": "operating-system",
            "bom-ref": "adyton-image",
            "name": format!("adyton-image-{}", variant.as_str()),
            "version": env!("CARGO_PKG_VERSION"),
        }},
        "components": packages.chain(crates).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_read_once_each_and_ours_have_no_package_url() {
        let list = "adyton-enclave v0.1.0 (/src/enclave)\nserde v1.0.228\nserde_derive v1.0.228 (proc-macro)\nserde v1.0.228 (*)\n";
        let crates = crates(list).expect("a list");
        assert_eq!(crates.len(), 3);
        let policy = Policy::of_this_version().expect("it parses");
        let document = document(&policy, Variant::Release, &crates);
        let components = document["components"].as_array().expect("a list");
        assert_eq!(components.len(), policy.packages.len() + 3);
        let of = |name: &str| {
            components
                .iter()
                .find(|component| component["name"] == name)
                .expect("there")
        };
        assert!(of("adyton-enclave").get("purl").is_none());
        assert_eq!(of("serde")["purl"], "pkg:cargo/serde@1.0.228");
        assert!(super::crates("warning: something").is_err());
    }
}
