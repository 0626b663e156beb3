"""Keeps the tests' RSA keys from one process to the next.

They take seconds to make, which a whole run of the tests does not notice; but each mutant has processes of its own.
"""

import json
import re

MADE_PLATFORM = 'PLATFORM.get_or_init(|| Platform::manufacture(%s).expect("a platform"))'
KEPT_PLATFORM = """PLATFORM.get_or_init(|| {
        let kept = std::path::Path::new(KEYS).join("NAME");
        if !kept.exists() {
            let new = kept.with_extension(std::format!("{}", std::process::id()));
            Platform::manufacture(ARGUMENTS).expect("a platform").save(&new).expect("it is saved");
            let _another_was_first = std::fs::rename(&new, &kept);
        }
        Platform::load(&kept).expect("it loads")
    })"""
KEPT_KEY = """{
        use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let kept = Path::new(KEYS).join(std::format!("rsa-{number}"));
        if !kept.exists() {
            let new = kept.with_extension(std::format!("{}", std::process::id()));
            let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
            let der: Pkcs8V1Der<'static> = key.as_der().expect("PKCS #8");
            std::fs::write(&new, der.as_ref()).expect("it is written");
            let _another_was_first = std::fs::rename(&new, &kept);
        }
        Self(KeyPair::from_pkcs8(&std::fs::read(&kept).expect("it is read")).expect("a key"))
    }"""


def kept_platform(file, arguments):
    name = "platform-" + re.sub(r"\W", "-", file.removesuffix(".rs"))
    return file, MADE_PLATFORM % arguments, KEPT_PLATFORM.replace("ARGUMENTS", arguments).replace("NAME", name)


# (file, what makes keys, what keeps them)
KEPT = [
    kept_platform("attestation/tests/simulated/support.rs", "NOW, COLLATERAL_SECONDS"),
    kept_platform("attestation/src/azure/tests/mod.rs", "now, 3600"),
    kept_platform("attestation/src/verifier/tests.rs", "now, 3600"),
    ("attestation/src/tpm/testkit.rs", 'Self(KeyPair::generate(KeySize::Rsa2048).expect("a key"))', KEPT_KEY),
]


def keep_keys(files, source, folder):
    """Changes `files`, the text of the copy's files by name."""
    for file, old, new in KEPT:
        text = files.get(file) or (source / file).read_text(encoding="utf-8")
        if old not in text:
            raise SystemExit(f"{file} makes its keys otherwise now: change KEPT in attestation/mutants/keys.py")
        files[file] = text.replace(old, new.replace("KEYS", json.dumps(str(folder))))
