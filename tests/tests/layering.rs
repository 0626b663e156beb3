//! Who may import whom (ARCHITECTURE.md, "Import table"), read from the dependency graph itself and followed
//! transitively: a secret's type is out of reach only if no path leads to the crate that defines it (I1, I2, I8, I12).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// One line per crate: what it may import of ours, in its normal and build dependencies.
/// A change here is a change of the architecture, not an edit of a manifest.
const IMPORT_TABLE: &[(&str, &[&str])] = &[
    ("adyton-wire", &[]),
    ("adyton-attestation", &[]),
    ("adyton-audit", &[]),
    ("adyton-multiplex", &[]),
    ("adyton-kernels", &[]),
    ("adyton-inference", &["adyton-kernels"]),
    ("adyton-bench", &["adyton-inference", "adyton-kernels"]),
    ("adyton-measurement", &[]),
    ("adyton-attester", &["adyton-attestation"]),
    ("adyton-endorser", &["adyton-attestation"]),
    ("adyton-simulated", &["adyton-attestation", "adyton-attester"]),
    ("adyton-sealing", &["adyton-wire", "adyton-attestation"]),
    ("adyton-exchange", &["adyton-wire", "adyton-sealing"]),
    ("adyton-sealed-model", &["adyton-wire", "adyton-sealing"]),
    (
        "adyton-seal",
        &[
            "adyton-wire",
            "adyton-attestation",
            "adyton-sealing",
            "adyton-sealed-model",
        ],
    ),
    ("adyton-image", &[]),
    ("adyton-entry", &[]),
    (
        "adyton-host",
        &["adyton-wire", "adyton-multiplex", "adyton-measurement"],
    ),
    (
        "adyton-client",
        &[
            "adyton-wire",
            "adyton-attestation",
            "adyton-endorser",
            "adyton-sealing",
            "adyton-exchange",
            "adyton-audit",
        ],
    ),
    (
        "adyton-broker",
        &[
            "adyton-wire",
            "adyton-attestation",
            "adyton-endorser",
            "adyton-sealing",
            "adyton-sealed-model",
            "adyton-audit",
        ],
    ),
    (
        "adyton-enclave",
        &[
            "adyton-wire",
            "adyton-multiplex",
            "adyton-attestation",
            "adyton-attester",
            "adyton-sealing",
            "adyton-exchange",
            "adyton-sealed-model",
            "adyton-inference",
            "adyton-audit",
        ],
    ),
    (
        "adyton-enclave-simulated",
        &[
            "adyton-enclave",
            "adyton-simulated",
            "adyton-attester",
            "adyton-attestation",
        ],
    ),
];

/// From the first crate no path may lead to the second, through whatever stands between.
const OUT_OF_REACH: &[(&str, &str, &str)] = &[
    ("adyton-host", "adyton-sealing", "I1: the host cannot name a key"),
    (
        "adyton-host",
        "adyton-exchange",
        "I1: the host cannot name a prompt",
    ),
    (
        "adyton-host",
        "adyton-sealed-model",
        "I1: the host cannot name a model key",
    ),
    (
        "adyton-host",
        "adyton-inference",
        "I1: the host cannot name a completion",
    ),
    ("adyton-host", "hpke", "I1: the host cannot open what it relays"),
    (
        "adyton-broker",
        "adyton-exchange",
        "I2: the broker cannot name a prompt",
    ),
    (
        "adyton-broker",
        "adyton-inference",
        "I2: the broker cannot name a completion",
    ),
    (
        "adyton-client",
        "adyton-sealed-model",
        "I2: the client cannot name a model key",
    ),
    (
        "adyton-seal",
        "adyton-exchange",
        "I2: the model owner cannot name a prompt",
    ),
    (
        "adyton-enclave",
        "adyton-simulated",
        "I8: the issuer is not linked in release binaries",
    ),
    (
        "adyton-broker",
        "adyton-simulated",
        "I8: the issuer is not linked in release binaries",
    ),
    (
        "adyton-client",
        "adyton-simulated",
        "I8: the issuer is not linked in release binaries",
    ),
    (
        "adyton-host",
        "adyton-simulated",
        "I8: the issuer is not linked in release binaries",
    ),
    (
        "adyton-enclave",
        "cudarc",
        "a GPU is attested before prompts go to it: the enclave's engine computes on the CPU",
    ),
    ("adyton-attestation", "tokio", "I6: the verifier does no I/O"),
    (
        "adyton-attestation",
        "getrandom",
        "I6: the verifier draws no randomness",
    ),
    (
        "adyton-attestation",
        "aws-lc-sys",
        "the verifier builds for wasm32: no C",
    ),
    ("adyton-sealing", "tokio", "sealing is sans I/O"),
    ("adyton-exchange", "tokio", "the exchange is sans I/O"),
    (
        "adyton-inference",
        "tokio",
        "the engine knows nothing of requests",
    ),
    (
        "adyton-enclave",
        "tracing",
        "I12: one log sink, and it takes only LogSafe",
    ),
    (
        "adyton-inference",
        "env_logger",
        "I12: no log output under models",
    ),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}
#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
}
#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}
#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}
#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}
#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

/// Package name to the names of what it imports outside of tests.
struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    fn read() -> Self {
        let text = cargo(&[
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ]);
        let metadata: Metadata = serde_json::from_str(&text).expect("cargo's own format");
        let names: BTreeMap<_, _> = metadata.packages.into_iter().map(|p| (p.id, p.name)).collect();
        let edges = metadata.resolve.nodes.into_iter().map(|node| {
            let imports = node
                .deps
                .iter()
                .filter(|dep| {
                    dep.dep_kinds
                        .iter()
                        .any(|kind| kind.kind.as_deref() != Some("dev"))
                })
                .map(|dep| names[&dep.pkg].clone());
            (names[&node.id].clone(), imports.collect::<Vec<_>>())
        });
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, imports) in edges {
            graph.entry(name).or_default().extend(imports); // two versions of one name count as one
        }
        Self(graph)
    }
}

/// Every crate that `from` links, its own features alone resolved, without what only tests need.
fn reach(from: &str) -> BTreeSet<String> {
    let tree = cargo(&[
        "tree",
        "--locked",
        "--offline",
        "-p",
        from,
        "-e",
        "no-dev",
        "--prefix",
        "none",
        "-f",
        "{p}",
    ]);
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs: it ran this test");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

#[test]
fn each_crate_imports_only_what_its_line_allows() {
    let graph = Graph::read();
    let table: BTreeMap<_, _> = IMPORT_TABLE.iter().copied().collect();
    let mut broken = Vec::new();
    for (name, imports) in graph.0.iter().filter(|(name, _)| name.starts_with("adyton-")) {
        if name == "adyton-tests" {
            continue; // imports everything, and nothing imports it
        }
        let Some(allowed) = table.get(name.as_str()) else {
            broken.push(format!("{name} has no line in the import table"));
            continue;
        };
        for import in imports.iter().filter(|import| import.starts_with("adyton-")) {
            if !allowed.contains(&import.as_str()) {
                broken.push(format!("{name} imports {import}"));
            }
        }
    }
    for (name, _) in IMPORT_TABLE {
        if !graph.0.contains_key(*name) {
            broken.push(format!("{name} stands in the table and not in the workspace"));
        }
    }
    assert!(
        broken.is_empty(),
        "the import table is broken:\n{}",
        broken.join("\n")
    );
}

#[test]
fn what_a_role_must_never_see_is_out_of_its_reach() {
    let mut reaches: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut broken = Vec::new();
    for (from, to, why) in OUT_OF_REACH {
        if reaches.entry(from).or_insert_with(|| reach(from)).contains(*to) {
            let path = cargo(&[
                "tree",
                "--locked",
                "--offline",
                "-p",
                from,
                "-e",
                "no-dev",
                "-i",
                to,
            ]);
            broken.push(format!("{why}: {from} links {to}:\n{path}"));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_search_finds_what_is_linked() {
    assert!(reach("adyton-enclave").contains("adyton-sealed-model"));
    assert!(
        reach("adyton-enclave-simulated").contains("adyton-simulated"),
        "through its one direct import"
    );
    assert!(
        reach("adyton-enclave-simulated").contains("hpke"),
        "through three crates"
    );
    assert!(!reach("adyton-wire").contains("adyton-enclave"));
}
