//! A sealed model in every state that an untrusted host can bring it to; each has its own error.

use std::fs::{self, OpenOptions as FileOptions};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sealed_model::{
    Anchor, Manifest, ModelKey, OpenModel, OpenOptions, OwnerSignatureAlgorithm, OwnerSigningKey, Progressed,
    Result, SealRequest, SealedModel, TenantKek, WrapContext, seal, silent,
};
use tempfile::TempDir;

const SEGMENT: u64 = 1 << 20;
const HEADER: u64 = 74;
const PLAIN: usize = (1 << 20) - 32;
/// Objects are numbered by name: the configuration first, then the empty file, then the weights.
const CONFIG: &str = "0000.floe";
const EMPTY: &str = "0001.floe";
const WEIGHTS: &str = "0002.floe";
const TWIN: &str = "0003.floe";

struct Sealed {
    folder: TempDir,
    key: ModelKey,
    owner: OwnerSigningKey,
    manifest: Manifest,
}

fn weights() -> Vec<u8> {
    (0..3 * PLAIN + 1000)
        .map(|position| (position * 7 % 251) as u8)
        .collect()
}

fn source() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("nested")).unwrap();
    fs::write(
        folder.path().join("config.json"),
        b"{\"secret\": \"CANARY-CONFIG\"}",
    )
    .unwrap();
    fs::write(folder.path().join("empty"), b"").unwrap();
    fs::write(folder.path().join("nested/model.safetensors"), weights()).unwrap();
    fs::write(folder.path().join("twin"), vec![5; weights().len()]).unwrap();
    folder
}

fn seal_as(model_id: &str, version: u64, key: ModelKey, owner: OwnerSigningKey) -> Sealed {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let request = SealRequest {
        model_id,
        version,
        key: &key,
        owner: &owner,
        threads: 2,
        stop: &stop,
    };
    let manifest = seal(
        source().path(),
        &folder.path().join("m.sealed"),
        &request,
        &silent,
    )
    .unwrap();
    Sealed {
        folder,
        key,
        owner,
        manifest,
    }
}

fn sealed() -> Sealed {
    let owner = OwnerSigningKey::generate(OwnerSignatureAlgorithm::EcdsaP384).unwrap();
    seal_as("sample", 5, ModelKey::generate().unwrap(), owner)
}

impl Sealed {
    fn path(&self) -> PathBuf {
        self.folder.path().join("m.sealed")
    }

    fn object(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn anchor(&self) -> Anchor {
        Anchor::registered(
            self.manifest.model_id(),
            self.manifest.version(),
            *self.manifest.digest(),
        )
    }

    fn open_with(&self, anchor: &Anchor, key: &ModelKey) -> Result<OpenModel> {
        let model = SealedModel::open_manifest(&self.path(), &self.owner.public_key())?;
        model
            .anchored(anchor)?
            .open(key, &OpenOptions { threads: 3 }, &silent)
    }

    fn code(&self) -> &'static str {
        self.open_with(&self.anchor(), &self.key)
            .map_or_else(|error| error.code(), |_| "ok")
    }

    fn flip(&self, name: &str, offset: u64) {
        let file = FileOptions::new()
            .read(true)
            .write(true)
            .open(self.object(name))
            .unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    }
}

#[test]
fn what_was_sealed_opens() {
    let sealed = sealed();
    let done = AtomicU64::new(0);
    let progress = |progressed: Progressed| {
        assert_eq!(progressed.bytes_total, sealed.manifest.plain_bytes());
        done.fetch_max(progressed.bytes_done, Ordering::Relaxed);
    };
    let model = SealedModel::open_manifest(&sealed.path(), &sealed.owner.public_key()).unwrap();
    assert!(model.wraps().unwrap().wraps().is_empty());
    model.check_digests(&silent).unwrap();
    let model = model.anchored(&sealed.anchor()).unwrap();
    let open = model
        .open(&sealed.key, &OpenOptions::default(), &progress)
        .unwrap();
    assert_eq!(done.into_inner(), sealed.manifest.plain_bytes());
    assert_eq!(
        open.names().collect::<Vec<_>>(),
        ["config.json", "empty", "nested/model.safetensors", "twin"]
    );
    assert_eq!(
        open.file("config.json").unwrap().expose(),
        b"{\"secret\": \"CANARY-CONFIG\"}"
    );
    assert_eq!(open.file("empty").unwrap().expose(), b"");
    assert!(open.file("nested/model.safetensors").unwrap().expose() == weights());
    assert_eq!(open.into_files().len(), 4);
}

#[test]
fn neither_contents_nor_names_nor_guessable_digests_are_on_disk() {
    let sealed = sealed();
    let config = b"{\"secret\": \"CANARY-CONFIG\"}";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, config);
    let needles: [&[u8]; 4] = [
        b"CANARY",
        b"config.json",
        b"safetensors",
        &hex::encode(digest).into_bytes(),
    ];
    let mut files = 0;
    for entry in fs::read_dir(sealed.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for needle in needles {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
        files += 1;
    }
    assert_eq!(files, 4 + 3, "four files, index, manifest, wraps");
    assert_eq!(
        fs::read_dir(sealed.folder.path()).unwrap().count(),
        1,
        "nothing else is left"
    );
}

#[test]
fn truncated() {
    for (name, keep) in [
        (WEIGHTS, HEADER + SEGMENT),
        (WEIGHTS, HEADER + 3 * SEGMENT),
        (CONFIG, 3),
        (CONFIG, 0),
    ] {
        let sealed = sealed();
        FileOptions::new()
            .write(true)
            .open(sealed.object(name))
            .unwrap()
            .set_len(keep)
            .unwrap();
        assert_eq!(sealed.code(), "truncated", "{name} to {keep}");
    }
}

#[test]
fn extended() {
    for (name, extra) in [(WEIGHTS, 1), (CONFIG, SEGMENT), (EMPTY, 1)] {
        let sealed = sealed();
        let file = FileOptions::new().write(true).open(sealed.object(name)).unwrap();
        file.set_len(file.metadata().unwrap().len() + extra).unwrap();
        assert_eq!(sealed.code(), "extended");
    }
}

#[test]
fn swapped() {
    for (first, second) in [(WEIGHTS, TWIN), (CONFIG, EMPTY), (CONFIG, "index.floe")] {
        let sealed = sealed();
        let aside = sealed.object("aside");
        fs::rename(sealed.object(first), &aside).unwrap();
        fs::rename(sealed.object(second), sealed.object(first)).unwrap();
        fs::rename(&aside, sealed.object(second)).unwrap();
        assert_eq!(sealed.code(), "swapped");
    }
}

#[test]
fn reordered() {
    let sealed = sealed();
    let mut bytes = fs::read(sealed.object(WEIGHTS)).unwrap();
    let (first, second) = bytes[HEADER as usize..][..2 * SEGMENT as usize].split_at_mut(SEGMENT as usize);
    first.swap_with_slice(second);
    fs::write(sealed.object(WEIGHTS), &bytes).unwrap();
    assert_eq!(sealed.code(), "reordered");
    assert_eq!(
        SealedModel::open_manifest(&sealed.path(), &sealed.owner.public_key())
            .unwrap()
            .check_digests(&silent)
            .unwrap_err()
            .code(),
        "bit-flipped"
    );
}

#[test]
fn bit_flipped() {
    let last = HEADER + 3 * SEGMENT;
    // Header: parameters, IV, tag. Segments: length, nonce, ciphertext, tag; first, middle and last.
    for offset in [
        5,
        20,
        60,
        HEADER,
        HEADER + 5,
        HEADER + 500,
        last - 1,
        last,
        last + 5,
        last + 500,
        last + 1031,
    ] {
        let sealed = sealed();
        sealed.flip(WEIGHTS, offset);
        assert_eq!(sealed.code(), "bit-flipped", "offset {offset}");
        sealed.flip(WEIGHTS, offset);
        assert_eq!(sealed.code(), "ok", "offset {offset}");
    }
    let sealed = sealed();
    sealed.flip("index.floe", HEADER + 100);
    assert_eq!(sealed.code(), "bit-flipped");
}

#[test]
fn every_flipped_bit_of_a_small_object_is_refused() {
    let sealed = sealed();
    for (name, length) in [(CONFIG, HEADER + 32 + 27), (EMPTY, HEADER + 32)] {
        assert_eq!(fs::metadata(sealed.object(name)).unwrap().len(), length);
        for offset in 0..length {
            sealed.flip(name, offset);
            assert_eq!(sealed.code(), "bit-flipped", "{name} at {offset}");
            sealed.flip(name, offset);
        }
    }
    assert_eq!(sealed.code(), "ok");
}

#[test]
fn wrong_key() {
    let sealed = sealed();
    let other = ModelKey::generate().unwrap();
    assert_eq!(
        sealed.open_with(&sealed.anchor(), &other).err().unwrap().code(),
        "wrong-key"
    );
}

#[test]
fn rolled_back_and_other_model() {
    let sealed = sealed();
    let code = |anchor: &Anchor| {
        sealed
            .open_with(anchor, &sealed.key)
            .map_or_else(|error| error.code(), |_| "ok")
    };
    let digest = *sealed.manifest.digest();
    assert_eq!(code(&Anchor::registered("sample", 6, [0; 32])), "rolled-back");
    assert_eq!(code(&Anchor::registered("sample", 4, [0; 32])), "not-registered");
    assert_eq!(
        code(&Anchor::registered("sample", 5, [0; 32])),
        "manifest-replaced"
    );
    assert_eq!(code(&Anchor::registered("other", 5, digest)), "other-model");
    assert_eq!(code(&Anchor::released("sample", digest)), "ok");
    assert_eq!(code(&Anchor::released("sample", [0; 32])), "manifest-replaced");
    assert_eq!(code(&Anchor::released("other", digest)), "other-model");
}

#[test]
fn an_object_of_another_model_or_version() {
    let owner = OwnerSigningKey::generate(OwnerSignatureAlgorithm::Ed25519).unwrap();
    let owner_again = OwnerSigningKey::from_pem(&owner.expose_pem().unwrap()).unwrap();
    let key = ModelKey::generate().unwrap();
    let same_key = ModelKey::from_bytes(zeroize::Zeroizing::new(*key.expose_bytes()));
    let (one, next) = (
        seal_as("sample", 1, key, owner),
        seal_as("sample", 2, same_key, owner_again),
    );
    // The same plaintext under the same key and owner: only the sealing differs.
    fs::copy(one.object(WEIGHTS), next.object(WEIGHTS)).unwrap();
    assert_eq!(next.code(), "other-model");
    assert_eq!(one.code(), "ok");
}

#[test]
fn a_segment_of_another_object_is_a_change() {
    let sealed = sealed();
    let twin = fs::read(sealed.object(TWIN)).unwrap();
    let file = FileOptions::new()
        .write(true)
        .open(sealed.object(WEIGHTS))
        .unwrap();
    file.write_all_at(&twin[HEADER as usize..][..SEGMENT as usize], HEADER)
        .unwrap();
    assert_eq!(sealed.code(), "bit-flipped");
}

#[test]
fn objects_that_are_missing_links_or_pipes() {
    let sealed = sealed();
    let path = sealed.object(CONFIG);
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(sealed.code(), "object-missing");
    let elsewhere = sealed.folder.path().join("elsewhere");
    fs::write(&elsewhere, &bytes).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert_eq!(sealed.code(), "symlink");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(sealed.code(), "not-a-file");
    fs::remove_dir(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert_eq!(sealed.code(), "not-a-file", "and it does not wait for a writer");
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(sealed.code(), "ok");

    let manifest = sealed.object("manifest.json");
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, vec![b' '; (4 << 20) + 1]).unwrap();
    assert_eq!(sealed.code(), "too-large");
    fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(sealed.code(), "malformed");
    fs::remove_file(&manifest).unwrap();
    assert_eq!(sealed.code(), "object-missing");
}

#[test]
fn another_owner() {
    let sealed = sealed();
    for algorithm in [
        OwnerSignatureAlgorithm::EcdsaP384,
        OwnerSignatureAlgorithm::Ed25519,
    ] {
        let other = OwnerSigningKey::generate(algorithm).unwrap().public_key();
        let refused = SealedModel::open_manifest(&sealed.path(), &other).err().unwrap();
        assert_eq!(refused.code(), "owner-signature");
    }
}

#[test]
fn wraps_travel_with_the_model_and_rotate_without_sealing_again() {
    let sealed = sealed();
    let context = WrapContext {
        model_id: "sample",
        manifest_digest: sealed.manifest.digest(),
    };
    let before = fs::read(sealed.object(WEIGHTS)).unwrap();
    for version in [1, 2] {
        let kek = TenantKek::generate("tenant", version).unwrap();
        let model = SealedModel::open_manifest(&sealed.path(), &sealed.owner.public_key()).unwrap();
        let mut wraps = model.wraps().unwrap();
        wraps.put(kek.wrap(&sealed.key, &context).unwrap());
        wraps.remove("tenant", version - 1);
        wraps.save(&sealed.path()).unwrap();
        let key = kek.unwrap(&model.wraps().unwrap().wraps()[0], &context).unwrap();
        assert!(sealed.open_with(&sealed.anchor(), &key).is_ok());
    }
    assert!(before == fs::read(sealed.object(WEIGHTS)).unwrap());
}

/// Whatever goes wrong while sealing, neither output nor remains are left.
fn sealing_fails(
    source: &Path,
    model_id: &str,
    version: u64,
    stop: bool,
    prepare: impl Fn(&Path),
) -> &'static str {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let before = fs::read_dir(folder.path()).unwrap().count();
    let (key, stop) = (ModelKey::generate().unwrap(), AtomicBool::new(stop));
    let owner = OwnerSigningKey::generate(OwnerSignatureAlgorithm::Ed25519).unwrap();
    let request = SealRequest {
        model_id,
        version,
        key: &key,
        owner: &owner,
        threads: 2,
        stop: &stop,
    };
    let error = seal(source, &folder.path().join("m.sealed"), &request, &silent).unwrap_err();
    assert!(!error.hint().is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before, "{error}");
    error.code()
}

#[test]
fn sealing_that_fails_leaves_nothing() {
    let source = source();
    let fails = |model_id, version| sealing_fails(source.path(), model_id, version, false, |_| ());
    assert_eq!(fails("a b", 1), "unusable");
    assert_eq!(fails("a", 0), "unusable");
    assert_eq!(fails("a", u64::MAX), "unusable");
    assert_eq!(sealing_fails(source.path(), "a", 1, true, |_| ()), "stopped");
    let exists = |folder: &Path| fs::create_dir(folder.join("m.sealed")).unwrap();
    assert_eq!(
        sealing_fails(source.path(), "a", 1, false, exists),
        "output-exists"
    );
    symlink("/etc/passwd", source.path().join("z")).unwrap();
    assert_eq!(fails("a", 1), "symlink");
    fs::remove_file(source.path().join("z")).unwrap();
    fs::write(source.path().join("z\u{7}"), "").unwrap();
    assert_eq!(fails("a", 1), "name-refused");
}
