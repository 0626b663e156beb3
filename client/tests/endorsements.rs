//! `adyton endorsements` against a fake of AMD's key distribution service on loopback. The documents are those of a
//! SIMULATED manufacturer: the command only fetches, carries and lists; it never decides.

#![allow(unreachable_pub, reason = "a test binary exports nothing")]

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use attestation::{Bundle, EndorsementKind, Endorsements, PlatformTag};
use attester::Attester as _;
use serde_json::Value;
use simulated::{Flavor, Platform};

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|_| panic!("one JSON document: {} {}", self.stdout, self.stderr))
    }
}

/// Runs `adyton endorsements`.
fn adyton(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_adyton"))
        .arg("endorsements")
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .envs(environment.iter().copied())
        .output()
        .expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// A report and what is published about its chip.
struct Machine {
    report: Vec<u8>,
    published: Endorsements,
    root: Vec<u8>,
}

fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let now = client::discovery::now();
        let platform = Platform::manufacture(now, 7 * 24 * 3600).expect("a platform is made");
        let report = platform
            .attester(Flavor::Snp, [1; 48], [2; 32])
            .evidence(&[7; 64])
            .expect("evidence")
            .evidence;
        let mut root = rcgen::CertificateParams::new(Vec::<String>::new()).expect("parameters");
        root.distinguished_name = rcgen::DistinguishedName::new();
        root.distinguished_name
            .push(rcgen::DnType::CommonName, "ARK-Genoa");
        let key = rcgen::KeyPair::generate().expect("a key");
        Machine {
            report,
            published: platform.endorsements(Flavor::Snp),
            root: root.self_signed(&key).expect("signed").der().to_vec(),
        }
    })
}

/// Answers as the service does, one request a connection.
struct Kds {
    url: String,
    requests: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

impl Kds {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (requests, down) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, ended) = (Arc::clone(&requests), Arc::clone(&down));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    continue;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let answer = match body(&target) {
                    Some(body) => {
                        let head = format!(
                            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                            body.len()
                        );
                        [head.into_bytes(), body].concat()
                    }
                    None => b"HTTP/1.1 404 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
                };
                let _ = stream.write_all(&answer);
            }
        });
        Self { url, requests, down }
    }
}

fn body(target: &str) -> Option<Vec<u8>> {
    let machine = machine();
    let document = |kind| machine.published.document(kind).map(<[u8]>::to_vec);
    let chip = hex::encode(&machine.report[0x1a0..0x1e0]);
    match target {
        "/vcek/v1/Genoa/crl" => document(EndorsementKind::SnpCrl),
        "/vcek/v1/Genoa/cert_chain" => {
            let intermediate = document(EndorsementKind::SnpIntermediate)?;
            Some(client::endorsement_files::pem_of(
                [&intermediate[..], &machine.root].into_iter(),
            ))
        }
        leaf if leaf.starts_with(&format!("/vcek/v1/Genoa/{chip}?blSPL=")) => {
            document(EndorsementKind::SnpLeaf)
        }
        _ => None,
    }
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(folder.path().join("report"), &machine().report).expect("written");
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }
}

#[test]
fn a_cache_is_filled_listed_exported_and_imported() {
    let (kds, files) = (Kds::start(), Files::new());
    let (report, cache) = (files.path("report"), files.path("cache"));
    let environment = [
        ("ADYTON_CACHE", cache.as_str()),
        ("ADYTON_KDS_URL", kds.url.as_str()),
    ];
    let ran = adyton(&["fetch", &report, "--json"], &environment);
    assert_eq!(ran.code, 0, "{} {}", ran.stdout, ran.stderr);
    let first = &ran.json()["evidence"][0];
    assert_eq!(first["state"], "fetched");
    assert_eq!(first["kinds"].as_array().map(Vec::len), Some(3));
    assert!(ran.stderr.contains("AMD KDS: http://127.0.0.1"), "{}", ran.stderr);
    assert_eq!(kds.requests.load(Ordering::Relaxed), 3);
    let ran = adyton(&["fetch", &report, "--quiet"], &environment);
    assert!(ran.stdout.starts_with("fresh    "), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    assert_eq!(kds.requests.load(Ordering::Relaxed), 3, "nothing was asked again");

    // The host finds it by the name of the subject.
    let subject = [&machine().report[0x1a0..0x1e0], &machine().report[0x180..0x188]].concat();
    let kept = endorser::Cache::open(Path::new(&cache))
        .and_then(|cache| cache.lookup(PlatformTag::AmdSevSnp, &subject))
        .expect("readable");
    assert_eq!(kept.as_ref(), Some(&machine().published));

    let listed = adyton(&["list", "--json"], &environment).json();
    let entry = &listed["subjects"][0];
    assert_eq!(
        (&entry["platform"], &entry["condition"]),
        (&"amd-sev-snp".into(), &"fresh".into())
    );
    let kinds: Vec<_> = entry["documents"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|document| document["kind"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(kinds, ["snp-leaf", "snp-intermediate", "snp-crl"]);
    let crl = &entry["documents"][2];
    assert_eq!(crl["issuer"], "ARK-Genoa");
    assert!(crl["issued"].is_string() && crl["next_update"].is_string() && crl["age_seconds"].is_u64());
    let text = adyton(&["list"], &environment).stdout;
    assert!(text.starts_with("fresh    amd-sev-snp  chip "), "{text}");
    assert!(text.contains("snp-crl") && text.contains("until "), "{text}");

    let archive = files.path("archive");
    let ran = adyton(&["export", &archive, "--json"], &environment);
    assert_eq!((ran.code, &ran.json()["subjects"]), (0, &1.into()));
    let other = files.path("other");
    let ran = adyton(&["import", &archive, "--cache", &other, "--json"], &environment);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(ran.json()["imported"][0]["new"], true);
    let ran = adyton(&["import", &archive, "--cache", &other], &environment);
    assert!(ran.stdout.contains("renewed"), "{}", ran.stdout);
    let again = files.path("again");
    adyton(&["export", &again, "--cache", &other], &environment);
    let read = |path: &str| std::fs::read(path).expect("written");
    assert_eq!(
        read(&archive),
        read(&again),
        "the same cache gives the same bytes"
    );
}

#[test]
fn a_configuration_file_names_services_and_cache() {
    let (kds, files) = (Kds::start(), Files::new());
    let (report, config) = (files.path("report"), files.path("config.toml"));
    let text = format!(
        "cache = \"{}\"\n[endorsements.fetch]\nkds_url = \"{}\"\nattempts = 1\n",
        files.path("cache"),
        kds.url
    );
    std::fs::write(&config, text).expect("written");
    let ran = adyton(&["fetch", &report, "--config", &config], &[]);
    assert_eq!(ran.code, 0, "{} {}", ran.stdout, ran.stderr);
    assert!(Path::new(&files.path("cache")).join("amd-sev-snp").is_dir());
}

#[test]
fn a_service_that_is_away_is_a_warning_while_what_is_kept_is_young_and_an_error_after() {
    let (kds, files) = (Kds::start(), Files::new());
    let (report, cache) = (files.path("report"), files.path("cache"));
    let environment = [
        ("ADYTON_CACHE", cache.as_str()),
        ("ADYTON_KDS_URL", kds.url.as_str()),
        ("ADYTON_ATTEMPTS", "1"),
    ];
    kds.down.store(true, Ordering::Relaxed);
    let ran = adyton(&["fetch", &report, "--json"], &environment);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.json()["evidence"][0]["error"]["code"], "endorser-unusable");
    kds.down.store(false, Ordering::Relaxed);
    assert_eq!(adyton(&["fetch", &report], &environment).code, 0);
    kds.down.store(true, Ordering::Relaxed);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let stale = adyton(&["fetch", &report, "--refresh-age", "1s", "--json"], &environment);
    assert_eq!(stale.code, 0, "{}", stale.stdout);
    let entry = &stale.json()["evidence"][0];
    assert_eq!(entry["state"], "stale");
    assert_eq!(entry["warning"]["code"], "endorser-unreachable");
    let ages = ["--refresh-age", "1s", "--collateral-age", "1s"];
    let expired = adyton(&[&["fetch", &report][..], &ages].concat(), &environment);
    assert_eq!(expired.code, 1, "{}", expired.stdout);
    assert!(expired.stdout.contains("the limit is 1 s"), "{}", expired.stdout);
    assert!(expired.stdout.contains("hint"), "{}", expired.stdout);
    let listed = adyton(&[&["list", "--json"][..], &ages].concat(), &environment).json();
    assert_eq!(listed["subjects"][0]["condition"], "expired");
}

#[test]
fn a_bundle_brings_its_platform_and_its_certificate() {
    let (kds, files) = (Kds::start(), Files::new());
    let mut endorsements = Endorsements::new();
    let leaf = machine()
        .published
        .document(EndorsementKind::SnpLeaf)
        .expect("a leaf");
    endorsements.insert(EndorsementKind::SnpLeaf, leaf.to_vec());
    let bundle = Bundle {
        platform: PlatformTag::AmdSevSnp,
        evidence: machine().report.clone(),
        statement: vec![1],
        event_log: None,
        endorsements,
        devices: Vec::new(),
    };
    let file = files.path("bundle");
    std::fs::write(&file, bundle.encode().expect("within bounds")).expect("written");
    let ran = adyton(
        &[
            "fetch",
            &file,
            "--cache",
            &files.path("cache"),
            "--kds-url",
            &kds.url,
        ],
        &[],
    );
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(kds.requests.load(Ordering::Relaxed), 2, "the leaf came with it");
    // A simulated platform publishes nothing.
    let simulated = Bundle {
        platform: PlatformTag::SimulatedAmdSevSnp,
        ..bundle
    };
    std::fs::write(&file, simulated.encode().expect("within bounds")).expect("written");
    let ran = adyton(&["fetch", &file, "--cache", &files.path("cache")], &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("nobody publishes endorsements"),
        "{}",
        ran.stdout
    );
}

#[test]
fn mistakes_have_codes() {
    let files = Files::new();
    let cache = files.path("cache");
    let garbage = files.path("garbage");
    std::fs::write(&garbage, "garbage").expect("written");
    let run = |arguments: &[&str]| adyton(&[arguments, &["--json", "--cache", &cache]].concat(), &[]);
    let code = |ran: &Ran| ran.json()["error"]["code"].as_str().map(str::to_owned);
    let ran = run(&["import", &garbage]);
    assert_eq!((ran.code, code(&ran).as_deref()), (20, Some("endorser-archive")));
    let ran = run(&["fetch", &garbage]);
    assert_eq!(
        (ran.code, &ran.json()["evidence"][0]["error"]["code"]),
        (1, &"usage".into())
    );
    let ran = run(&[
        "fetch",
        &files.path("report"),
        "--kds-url",
        "http://kdsintf.amd.com",
    ]);
    assert_eq!((ran.code, code(&ran).as_deref()), (1, Some("endorser-config")));
    let ran = run(&["list", "--collateral-age", "forever"]);
    assert_eq!((ran.code, code(&ran).as_deref()), (1, Some("usage")));
    let ran = run(&["list"]);
    assert_eq!(
        (ran.code, ran.json()["subjects"].as_array().map(Vec::len)),
        (0, Some(0))
    );
    let help = adyton(&["fetch", "--help"], &[]);
    for word in [
        "Examples:",
        "--pccs-url",
        "--collateral-age",
        "https://kdsintf.amd.com",
    ] {
        assert!(help.stdout.contains(word), "{word}");
    }
}
