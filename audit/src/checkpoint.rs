//! The signed head of a log: a C2SP tlog-checkpoint, which is a C2SP signed note with an Ed25519 signature.
//!
//! ```text
//! adyton.example/broker            origin
//! 42                               entries
//! qMh6…=                           root, base64
//!                                  empty line: the text above, with its line ends, is what is signed
//! — adyton.example/broker XyZ…=    key name, base64(key id 4 bytes ‖ signature 64 bytes)
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::tree::Hash;
use crate::{AuditError, Result};

/// The longest note accepted; room for 16 post-quantum witness signatures (C2SP signed-note, "Signatures").
const NOTE_BYTES_MAX: usize = 128 * 1024;
/// C2SP signed-note: the signature type of Ed25519.
const TYPE_ED25519: u8 = 0x01;
/// C2SP signed-note: every signature line begins so.
const SIGNATURE_LINE: &str = "\u{2014} ";

/// A log's head: who, how many entries, and their root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names the log; a schema-less URL.
    pub origin: String,
    /// Entries in the tree.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    fn note_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    fn parse(text: &str) -> Result<Self> {
        const MALFORMED: AuditError = AuditError::Malformed("checkpoint");
        let mut lines = text.strip_suffix('\n').ok_or(MALFORMED)?.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(MALFORMED)?;
        let size_text = lines.next().ok_or(MALFORMED)?;
        let size: u64 = size_text.parse().map_err(|_| MALFORMED)?;
        if size.to_string() != size_text {
            return Err(MALFORMED);
        }
        let root = decode_hash(lines.next().ok_or(MALFORMED)?).ok_or(MALFORMED)?;
        // Extension lines are what no monitor can audit; this log writes none and takes none.
        if lines.next().is_some() {
            return Err(MALFORMED);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }
}

/// Signs the checkpoints of one log. No Debug and no Clone: it holds the log's private key.
pub struct LogSigner {
    key: SigningKey,
    verifier: LogVerifier,
}

impl LogSigner {
    /// The signer of the log `origin`, from an Ed25519 seed; the key wipes itself on drop.
    pub fn new(origin: &str, seed: &[u8; 32]) -> Result<Self> {
        let key = SigningKey::from_bytes(seed);
        let verifier = LogVerifier::new(origin, key.verifying_key().as_bytes())?;
        Ok(Self { key, verifier })
    }

    /// The public half.
    pub fn verifier(&self) -> &LogVerifier {
        &self.verifier
    }

    /// Signs the head of this log. A log must never sign two heads of which neither extends the other.
    pub fn sign(&self, size: u64, root: Hash) -> String {
        let checkpoint = Checkpoint {
            origin: self.verifier.origin.clone(),
            size,
            root,
        };
        let text = checkpoint.note_text();
        let signature = self.key.sign(text.as_bytes());
        let mut line = self.verifier.key_id().to_vec();
        line.extend_from_slice(&signature.to_bytes());
        format!(
            "{text}\n{SIGNATURE_LINE}{} {}\n",
            self.verifier.origin,
            BASE64.encode(line)
        )
    }
}

/// Checks the checkpoints of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogVerifier {
    origin: String,
    key: VerifyingKey,
}

impl LogVerifier {
    /// The verifier of the log `origin` with this Ed25519 public key.
    pub fn new(origin: &str, public_key: &[u8; 32]) -> Result<Self> {
        let refused = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if origin.is_empty() || origin.contains(refused) {
            return Err(AuditError::Malformed("log name"));
        }
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| AuditError::Malformed("log key"))?;
        Ok(Self {
            origin: origin.to_owned(),
            key,
        })
    }

    /// Reads the form of [`to_vkey`](Self::to_vkey).
    pub fn from_vkey(vkey: &str) -> Result<Self> {
        const MALFORMED: AuditError = AuditError::Malformed("log key");
        let mut parts = vkey.trim_end().splitn(3, '+');
        let (origin, id, key) = match (parts.next(), parts.next(), parts.next()) {
            (Some(origin), Some(id), Some(key)) => (origin, id, key),
            _ => return Err(MALFORMED),
        };
        let bytes = BASE64.decode(key).map_err(|_| MALFORMED)?;
        let public_key: &[u8; 32] = match bytes.split_first() {
            Some((&TYPE_ED25519, public_key)) => public_key.try_into().map_err(|_| MALFORMED)?,
            _ => return Err(MALFORMED),
        };
        let verifier = Self::new(origin, public_key)?;
        if hex::encode(verifier.key_id()) != id {
            return Err(MALFORMED);
        }
        Ok(verifier)
    }

    /// The public key as other tools for signed notes take it: `name+id+base64(type ‖ key)`.
    pub fn to_vkey(&self) -> String {
        let mut bytes = vec![TYPE_ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        format!(
            "{}+{}+{}",
            self.origin,
            hex::encode(self.key_id()),
            BASE64.encode(bytes)
        )
    }

    /// Names the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The Ed25519 public key.
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// SHA-256(name ‖ 0x0A ‖ type ‖ key), first four bytes.
    fn key_id(&self) -> [u8; 4] {
        let digest = Sha256::new()
            .chain_update(self.origin.as_bytes())
            .chain_update([b'\n', TYPE_ED25519])
            .chain_update(self.key.as_bytes())
            .finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    /// Opens a signed checkpoint: the signature first, and only then its text. Signatures of unknown keys (witnesses)
    /// are passed over; a false one under this log's name and key id refuses the note.
    pub fn open(&self, note: &str) -> Result<Checkpoint> {
        const MALFORMED: AuditError = AuditError::Malformed("signed note");
        if note.len() > NOTE_BYTES_MAX || note.contains(|c: char| c.is_ascii_control() && c != '\n') {
            return Err(MALFORMED);
        }
        let split = note.rfind("\n\n").ok_or(MALFORMED)? + 1;
        let (text, signatures) = (&note[..split], &note[split + 1..]);
        let mut verified = false;
        for line in signatures.strip_suffix('\n').ok_or(MALFORMED)?.split('\n') {
            let (name, encoded) = line
                .strip_prefix(SIGNATURE_LINE)
                .and_then(|rest| rest.split_once(' '))
                .ok_or(MALFORMED)?;
            let bytes = BASE64.decode(encoded).map_err(|_| MALFORMED)?;
            let (id, signature) = bytes.split_at_checked(4).ok_or(MALFORMED)?;
            if name != self.origin || id != self.key_id() {
                continue;
            }
            let signature = Signature::from_slice(signature).map_err(|_| AuditError::BadSignature)?;
            self.key
                .verify_strict(text.as_bytes(), &signature)
                .map_err(|_| AuditError::BadSignature)?;
            verified = true;
        }
        let checkpoint = Checkpoint::parse(text)?;
        if checkpoint.origin != self.origin {
            return Err(AuditError::OtherLog {
                expected: self.origin.clone(),
                found: checkpoint.origin,
            });
        }
        if verified {
            Ok(checkpoint)
        } else {
            Err(AuditError::BadSignature)
        }
    }
}

/// Base64 of exactly one hash, in its one canonical spelling.
pub(crate) fn decode_hash(text: &str) -> Option<Hash> {
    BASE64.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> LogSigner {
        LogSigner::new("adyton.example/broker", &[7; 32]).unwrap()
    }

    #[test]
    fn what_was_signed_opens() {
        let note = signer().sign(42, [9; 32]);
        let checkpoint = signer().verifier().open(&note).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (42, [9; 32]));
    }

    /// The example of C2SP signed-note is signed by the key that the package `golang.org/x/mod/sumdb/note` documents.
    #[test]
    fn a_note_key_of_another_implementation_is_read() {
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let verifier = LogVerifier::from_vkey(vkey).unwrap();
        assert_eq!(verifier.to_vkey(), vkey);
        assert_eq!(verifier.origin(), "PeterNeumann");
        // The note of that documentation, whose text is no checkpoint: the signature is accepted, the text is not.
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert_eq!(verifier.open(note).unwrap_err().code(), "audit-malformed");
        let forged = note.replace("problem is", "problem was");
        assert_eq!(verifier.open(&forged).unwrap_err().code(), "checkpoint-signature");
    }

    #[test]
    fn witness_signatures_are_passed_over() {
        let note = signer().sign(1, [1; 32]) + "\u{2014} witness.example AAAAAAAAAAAA\n";
        assert!(signer().verifier().open(&note).is_ok());
    }

    #[test]
    fn a_changed_head_is_refused() {
        let note = signer().sign(42, [9; 32]);
        assert_eq!(
            signer()
                .verifier()
                .open(&note.replace("\n42\n", "\n41\n"))
                .unwrap_err()
                .code(),
            "checkpoint-signature"
        );
    }

    #[test]
    fn another_key_or_log_is_refused() {
        let other_key = LogSigner::new("adyton.example/broker", &[8; 32]).unwrap();
        assert_eq!(
            other_key
                .verifier()
                .open(&signer().sign(1, [1; 32]))
                .unwrap_err()
                .code(),
            "checkpoint-signature"
        );
        let other_log = LogSigner::new("adyton.example/other", &[7; 32]).unwrap();
        assert_eq!(
            signer()
                .verifier()
                .open(&other_log.sign(1, [1; 32]))
                .unwrap_err()
                .code(),
            "other-log"
        );
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let note = signer().sign(3, [5; 32]);
        for position in 0..note.len() * 8 {
            let mut bytes = note.clone().into_bytes();
            bytes[position / 8] ^= 1 << (position % 8);
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(signer().verifier().open(&changed).is_err(), "bit {position}");
            }
        }
    }

    #[test]
    fn shapes_that_are_no_checkpoint_are_refused() {
        let signer = signer();
        let sign = |text: &str| {
            let mut line = signer.verifier().key_id().to_vec();
            line.extend_from_slice(&signer.key.sign(text.as_bytes()).to_bytes());
            format!("{text}\n\u{2014} adyton.example/broker {}\n", BASE64.encode(line))
        };
        let root = BASE64.encode([1; 32]);
        assert!(
            signer
                .verifier()
                .open(&sign(&format!("adyton.example/broker\n1\n{root}\n")))
                .is_ok()
        );
        for text in [
            format!("adyton.example/broker\n01\n{root}\n"),
            format!("adyton.example/broker\n+1\n{root}\n"),
            format!("adyton.example/broker\n1\n{root}\nextension\n"),
            "adyton.example/broker\n1\nAAAA\n".to_owned(),
            "adyton.example/broker\n1\n".to_owned(),
        ] {
            assert_eq!(
                signer.verifier().open(&sign(&text)).unwrap_err().code(),
                "audit-malformed",
                "{text:?}"
            );
        }
        for note in ["", "\n\n", "a\n\nb", "a\n\nb\n", "a\n\n\u{2014} x\n"] {
            assert_eq!(
                signer.verifier().open(note).unwrap_err().code(),
                "audit-malformed",
                "{note:?}"
            );
        }
        for name in ["", "a b", "a+b", "a\nb"] {
            assert!(LogVerifier::new(name, signer.verifier().public_key()).is_err());
        }
    }
}
