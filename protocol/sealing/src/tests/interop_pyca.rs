//! Interoperation with Python's `cryptography` (hazmat.primitives.hpke), in the suites of the default and the FIPS
//! profile. The interpreter is given by ADYTON_TEST_PYTHON; without it the test says that it was not run, and
//! fails where CI=true.
#![allow(clippy::print_stderr)] // says what was not run

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use wire::KeyConfig;

use crate::header::{HEADER_BYTES, Header};
use crate::{AttestedKey, KeyPair, Label, SealingError, Suite, UnixTime, open_once, seal_once};

const NOW: UnixTime = UnixTime::from_seconds(0);
const SUITES: [(Suite, &str); 2] = [
    (Suite::XWING_SHA256_AES256, "xwing"),
    (Suite::MLKEM1024_P384_SHA384_AES256, "mlkem1024-p384"),
];

struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Option<Self> {
        let Ok(python) = std::env::var("ADYTON_TEST_PYTHON") else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "ADYTON_TEST_PYTHON is not set"
            );
            eprintln!("NOT RUN: interoperation with Python cryptography (ADYTON_TEST_PYTHON is not set)");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop_pyca.py");
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter of ADYTON_TEST_PYTHON starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut peer = Self { child, input, output };
        let version = peer.ask(&json!({"op": "version"}));
        let version = version["version"].as_str().expect("a version").to_owned();
        let major: u32 = version
            .split('.')
            .next()
            .and_then(|v| v.parse().ok())
            .expect("a number");
        assert!(major >= 50, "cryptography {version} has no X-Wing");
        Some(peer)
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.input, "{request}").expect("the peer reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the peer answers");
        serde_json::from_str(&line).expect("one JSON object a line")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hex_field(answer: &Value, name: &str) -> Vec<u8> {
    hex::decode(answer[name].as_str().expect("a field")).expect("hexadecimal")
}

#[test]
fn python_seals_and_we_open() {
    let Some(mut peer) = Peer::start() else { return };
    for (suite, kem) in SUITES {
        for size in [0, 1, 32, 5_000] {
            let key = KeyPair::generate(suite, 5).expect("randomness");
            let header = Header::new(key.key_config(), suite).to_bytes();
            let answer = peer.ask(&json!({
                "op": "seal", "kem": kem,
                "public": hex::encode(key.key_config().public_key()),
                "info": hex::encode(Label::KeyRelease.info(&header)),
                "plaintext": hex::encode(vec![0x42; size]),
            }));
            let mut message = [&header[..], &hex_field(&answer, "sealed")].concat();
            let opened = open_once(&key, Label::KeyRelease, b"", &message).expect("we open theirs");
            assert_eq!(opened.as_slice(), vec![0x42; size]);
            let other = open_once(&key, Label::KeyRegistration, b"", &message);
            assert_eq!(other.err(), Some(SealingError::Open));
            *message.last_mut().expect("a tag") ^= 1;
            assert!(open_once(&key, Label::KeyRelease, b"", &message).is_err());
        }
    }
}

#[test]
fn we_seal_and_python_opens() {
    let Some(mut peer) = Peer::start() else { return };
    for (suite, kem) in SUITES {
        for size in [0, 1, 32, 5_000] {
            let public = hex_field(&peer.ask(&json!({"op": "generate", "kem": kem})), "public");
            let config =
                KeyConfig::new(5, suite.kem(), public, vec![suite.symmetric()]).expect("a good size");
            let key = AttestedKey::without_evidence(&config);
            let sealed = seal_once(&key, Label::KeyRelease, b"", &vec![0x42; size], NOW).expect("seals");
            let (header, message) = sealed.split_at(HEADER_BYTES);
            let mut open = |message: &[u8]| {
                peer.ask(&json!({
                    "op": "open", "kem": kem,
                    "info": hex::encode(Label::KeyRelease.info(header)),
                    "sealed": hex::encode(message),
                }))
            };
            assert_eq!(hex_field(&open(message), "plaintext"), vec![0x42; size]);
            let mut altered = message.to_vec();
            altered[0] ^= 1;
            assert_eq!(open(&altered)["refused"], true);
        }
    }
}
