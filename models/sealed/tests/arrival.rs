//! A model that arrives over a network, with every interruption that a network and a person can make.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use sealed_model::{
    Anchor, Arrival, ArrivingFile, ContentDigest, Manifest, ModelKey, OpenOptions, OwnerSignatureAlgorithm,
    OwnerSigningKey, Result, SealRequest, SealedModel, silent,
};
use zeroize::Zeroizing;

/// Plaintext of one segment.
const PLAIN: usize = (1 << 20) - 32;

fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let weights = |bytes: usize| (0..bytes).map(|position| (position * 7 % 251) as u8).collect();
    vec![
        ("config.json", b"{\"secret\": \"CANARY-CONFIG\"}".to_vec()),
        ("empty", Vec::new()),
        ("exact", weights(2 * PLAIN)),
        ("nested/model.safetensors", weights(3 * PLAIN + 1000)),
    ]
}

/// Large files are announced by SHA-256, small ones as Git names them.
fn announced(name: &str, content: &[u8]) -> ArrivingFile {
    let digest = if content.len() > 1000 {
        ContentDigest::Sha256(digest(&SHA256, content).as_ref().try_into().unwrap())
    } else {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(format!("blob {}\0", content.len()).as_bytes());
        context.update(content);
        ContentDigest::GitBlob(context.finish().as_ref().try_into().unwrap())
    };
    ArrivingFile {
        name: name.to_owned(),
        bytes: content.len() as u64,
        digest,
    }
}

fn files() -> Vec<ArrivingFile> {
    contents()
        .iter()
        .map(|(name, content)| announced(name, content))
        .collect()
}

struct Owner {
    folder: tempfile::TempDir,
    key: [u8; 32],
    signing: OwnerSigningKey,
    stop: AtomicBool,
}

impl Owner {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            key: [9; 32],
            signing: OwnerSigningKey::generate(OwnerSignatureAlgorithm::Ed25519).unwrap(),
            stop: AtomicBool::new(false),
        }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("m.sealed")
    }

    fn arriving(&self) -> PathBuf {
        self.folder.path().join(".m.sealed.arriving")
    }

    fn key(&self) -> ModelKey {
        ModelKey::from_bytes(Zeroizing::new(self.key))
    }

    /// One attempt: `deliver` says how many bytes of each file come before the attempt is broken off.
    fn attempt(&self, kept: bool, deliver: &dyn Fn(&str, u64, u64) -> u64) -> Result<Option<Manifest>> {
        self.attempt_of("source", files(), kept, deliver)
    }

    fn attempt_of(
        &self,
        source: &str,
        files: Vec<ArrivingFile>,
        kept: bool,
        deliver: &dyn Fn(&str, u64, u64) -> u64,
    ) -> Result<Option<Manifest>> {
        let key = self.key();
        let request = SealRequest {
            model_id: "sample",
            version: 5,
            key: &key,
            owner: &self.signing,
            threads: 1,
            stop: &self.stop,
        };
        let arrival = Arrival::open(&self.out(), &request, source, files, kept)?;
        let mut finished = Vec::new();
        for (position, (name, content)) in contents().iter().enumerate() {
            let mut object = arrival.object(position)?;
            let from = object.bytes_done() as usize;
            let until = deliver(name, object.bytes_done(), content.len() as u64) as usize;
            for piece in content[from..until.max(from)].chunks(70_001) {
                object.write(piece)?;
            }
            if until < content.len() {
                return Ok(None);
            }
            finished.push(object.finish()?);
        }
        arrival.finish(finished).map(Some)
    }

    fn opens(&self, manifest: &Manifest) {
        let model = SealedModel::open_manifest(&self.out(), &self.signing.public_key()).unwrap();
        model.check_digests(&silent).unwrap();
        let anchor = Anchor::registered("sample", 5, *manifest.digest());
        let opened = model
            .anchored(&anchor)
            .unwrap()
            .open(&self.key(), &OpenOptions { threads: 2 }, &silent);
        let opened = opened.unwrap();
        for (name, content) in contents() {
            assert!(
                opened.file(name).is_some_and(|file| file.expose() == content),
                "{name}"
            );
        }
    }
}

fn whole(_: &str, _: u64, length: u64) -> u64 {
    length
}

fn tree(folder: &Path) -> Vec<u8> {
    fs::read_dir(folder)
        .unwrap()
        .flat_map(|entry| {
            let entry = entry.unwrap();
            let mut bytes = entry.file_name().into_encoded_bytes();
            if entry.file_type().unwrap().is_dir() {
                bytes.extend(tree(&entry.path()));
            } else {
                bytes.extend(fs::read(entry.path()).unwrap());
            }
            bytes
        })
        .collect()
}

#[test]
fn what_arrives_is_the_model_that_opens() {
    let owner = Owner::new();
    let manifest = owner.attempt(false, &whole).unwrap().unwrap();
    owner.opens(&manifest);
    assert!(!owner.arriving().exists());
    assert_eq!(owner.attempt(false, &whole).unwrap_err().code(), "output-exists");
}

#[test]
fn an_interrupted_arrival_goes_on_where_it_was() {
    for cut in [
        0,
        1,
        PLAIN - 1,
        PLAIN,
        PLAIN + 1,
        2 * PLAIN,
        3 * PLAIN,
        3 * PLAIN + 999,
    ] {
        let owner = Owner::new();
        let cut = cut as u64;
        let breaks = |name: &str, _: u64, length: u64| if name.starts_with("nested") { cut } else { length };
        assert!(owner.attempt(true, &breaks).unwrap().is_none());
        let goes_on = |name: &str, from: u64, length: u64| {
            let kept = if name.starts_with("nested") {
                cut / PLAIN as u64 * PLAIN as u64
            } else {
                length
            };
            assert_eq!(from, kept, "{name} after {cut}");
            length
        };
        let manifest = owner.attempt(true, &goes_on).unwrap().unwrap();
        owner.opens(&manifest);
    }
}

#[test]
fn nothing_plain_is_on_disk_at_any_moment_and_nothing_stays_without_its_key() {
    let owner = Owner::new();
    let breaks = |name: &str, _: u64, length: u64| if name == "exact" { length - 1 } else { length };
    owner.attempt(true, &breaks).unwrap();
    let disk = tree(owner.folder.path());
    assert!(disk.len() > PLAIN);
    let pattern = &contents()[2].1[1000..1064];
    for plain in [
        b"CANARY-CONFIG".as_slice(),
        b"config.json",
        b"safetensors",
        pattern,
    ] {
        assert!(!disk.windows(plain.len()).any(|window| window == plain));
    }

    let owner = Owner::new();
    owner.attempt(false, &breaks).unwrap();
    assert!(tree(owner.folder.path()).is_empty());
}

#[test]
fn a_changed_segment_is_fetched_again_with_all_that_follow() {
    for (offset, from) in [
        (3, 0),
        (74 + 40, 0),
        (74 + (1 << 20) + 40, PLAIN),
        (74 + (2 << 20) + 5, 2 * PLAIN),
    ] {
        let owner = Owner::new();
        let breaks = |name: &str, _: u64, length: u64| {
            if name.starts_with("nested") {
                length - 1
            } else {
                length
            }
        };
        owner.attempt(true, &breaks).unwrap();
        let object = owner.arriving().join("0003.floe");
        let mut bytes = fs::read(&object).unwrap();
        bytes[offset] ^= 1;
        fs::write(&object, bytes).unwrap();
        let goes_on = |name: &str, begins: u64, length: u64| {
            assert!(
                !name.starts_with("nested") || begins == from as u64,
                "{begins} for {offset}"
            );
            length
        };
        let manifest = owner.attempt(true, &goes_on).unwrap().unwrap();
        owner.opens(&manifest);
    }
}

#[test]
fn another_key_source_or_file_does_not_go_on_with_it() {
    let mut owner = Owner::new();
    let breaks = |_: &str, _: u64, _: u64| 0;
    assert!(owner.attempt(true, &breaks).unwrap().is_none());
    let other = |owner: &Owner, source: &str, files| {
        owner.attempt_of(source, files, true, &whole).unwrap_err().code()
    };
    assert_eq!(other(&owner, "another", files()), "other-arrival");
    let mut changed = files();
    changed[0].bytes += 1;
    assert_eq!(other(&owner, "source", changed), "other-arrival");
    owner.key = [8; 32];
    assert_eq!(other(&owner, "source", files()), "other-arrival");
    owner.key = [9; 32];
    assert!(owner.attempt(true, &whole).unwrap().is_some());
}

#[test]
fn what_is_not_as_announced_is_refused_and_fetched_again() {
    let owner = Owner::new();
    for change in [
        |file: &mut ArrivingFile| file.bytes -= 1,
        |file: &mut ArrivingFile| file.digest = ContentDigest::Sha256([1; 32]),
    ] {
        let mut lied = files();
        change(&mut lied[3]);
        let error = owner.attempt_of("source", lied, false, &whole).unwrap_err();
        assert_eq!(error.code(), "not-as-announced");
        assert!(!owner.out().exists() && !owner.arriving().exists());
    }
    // Under a kept key, the object that differs is gone and the others stay.
    let mut lied = files();
    lied[3].digest = ContentDigest::Sha256([1; 32]);
    owner.attempt_of("source", lied, true, &whole).unwrap_err();
    assert!(owner.arriving().join("0002.floe").exists());
    assert!(!owner.arriving().join("0003.floe").exists());
}

#[test]
fn two_processes_do_not_write_the_same_arrival() {
    let owner = Owner::new();
    let key = owner.key();
    let request = SealRequest {
        model_id: "sample",
        version: 5,
        key: &key,
        owner: &owner.signing,
        threads: 1,
        stop: &owner.stop,
    };
    let first = Arrival::open(&owner.out(), &request, "source", files(), false).unwrap();
    let second = Arrival::open(&owner.out(), &request, "source", files(), false).map(|_| ());
    assert_eq!(second.unwrap_err().code(), "arrival-busy");
    assert!(owner.arriving().exists());
    drop(first);
    assert!(!owner.arriving().exists());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let owner = Owner::new();
    for name in ["../a", "/etc/passwd", "a//b", ".hidden", ""] {
        let file = announced(name, b"x");
        let refused = owner.attempt_of("source", vec![file], false, &whole).unwrap_err();
        assert_eq!(refused.code(), "name-refused", "{name}");
    }
    assert!(tree(owner.folder.path()).is_empty());
}
