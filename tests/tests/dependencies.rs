//! deny.toml, enforced offline: licences, sources and banned crates of everything that is linked.
//! (`cargo deny check` reads the same file and adds the advisory database, which needs a network.)

use std::collections::BTreeSet;

use serde::Deserialize;

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}
#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}
#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}
#[derive(Deserialize)]
struct Banned {
    name: String,
    #[serde(default)]
    wrappers: Vec<String>,
    reason: String,
}
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}
#[derive(Deserialize)]
struct Dependency {
    name: String,
    req: String,
    source: Option<String>,
}

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn deny() -> Deny {
    let text =
        std::fs::read_to_string(format!("{ROOT}/deny.toml")).expect("deny.toml stands in the repository");
    toml::from_str(&text).expect("deny.toml is TOML")
}

fn packages() -> Vec<Package> {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(ROOT)
        .output()
        .expect("cargo runs: it ran this test");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice::<Metadata>(&output.stdout)
        .expect("cargo's own format")
        .packages
}

/// SPDX: `OR` offers a choice, `AND` demands all; `/` is the older way to write `OR`.
fn allowed(expression: &str, allow: &BTreeSet<String>) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain
        .split(" AND ")
        .all(|term| term.split(" OR ").any(|licence| allow.contains(licence.trim())))
}

#[test]
fn every_licence_is_allowed() {
    let deny = deny();
    let refused: Vec<_> = packages()
        .into_iter()
        .filter(|package| {
            !package
                .license
                .as_deref()
                .is_some_and(|licence| allowed(licence, &deny.licenses.allow))
        })
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn everything_comes_from_the_registry_or_from_here() {
    for package in packages() {
        match &package.source {
            None => assert!(
                package.name.starts_with("adyton-"),
                "{} is neither ours nor published",
                package.name
            ),
            Some(source) => assert!(
                source.starts_with("registry+"),
                "{} comes from {source}",
                package.name
            ),
        }
    }
}

#[test]
fn banned_crates_are_linked_by_nobody_but_their_wrappers() {
    let output = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "-e",
            "no-dev",
            "--prefix",
            "none",
            "-f",
            "{p}",
        ])
        .args(["--locked", "--offline"])
        .current_dir(ROOT)
        .output()
        .expect("cargo runs: it ran this test");
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    let linked: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(linked.contains("rustls"), "the tree was read");
    let ours: Vec<_> = packages()
        .into_iter()
        .filter(|package| package.source.is_none())
        .collect();
    for banned in &deny().bans.deny {
        if banned.wrappers.is_empty() {
            assert!(
                !linked.contains(banned.name.as_str()),
                "{} is linked: {}",
                banned.name,
                banned.reason
            );
        }
        for package in &ours {
            let imports = package
                .dependencies
                .iter()
                .any(|dependency| dependency.name == banned.name);
            let wrapper = banned.wrappers.contains(&package.name);
            assert!(
                !imports || wrapper,
                "{} imports {}: {}",
                package.name,
                banned.name,
                banned.reason
            );
        }
    }
}

#[test]
fn the_protocol_crates_are_pinned_exactly() {
    let packages = packages();
    for exact in ["hpke"] {
        for package in packages.iter().filter(|package| package.source.is_none()) {
            for dependency in package
                .dependencies
                .iter()
                .filter(|d| d.name == exact && d.source.is_some())
            {
                assert!(
                    dependency.req.starts_with('='),
                    "{} takes {exact} {}",
                    package.name,
                    dependency.req
                );
            }
        }
    }
}

#[test]
fn a_licence_outside_the_list_would_be_found() {
    let allow = deny().licenses.allow;
    assert!(allowed("MIT OR Apache-2.0", &allow));
    assert!(allowed("(MIT OR GPL-3.0) AND ISC", &allow));
    assert!(!allowed("AGPL-3.0", &allow));
    assert!(!allowed("MIT AND GPL-3.0", &allow));
}
