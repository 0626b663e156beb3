//! Single messages: key release and key registration.
//!
//! | bytes | field |
//! |---|---|
//! | 7 | header: key id, KEM, KDF, AEAD |
//! | Nenc | encapsulated key |
//! | … | ciphertext and tag |
//!
//! The header is part of HPKE `info`, after the label and the two parties.

use zeroize::Zeroizing;

use crate::header::{HEADER_BYTES, Header};
use crate::{KeyPair, Label, RecipientKey, SealingError, UnixTime, hpke_context};

/// Seals `plaintext` to `key`, which must be usable at `now`. `aad` is authenticated and not sent.
pub fn seal_once(
    key: &impl RecipientKey,
    label: Label,
    aad: &[u8],
    plaintext: &[u8],
    now: UnixTime,
) -> Result<Vec<u8>, SealingError> {
    let (config, suite) = key.usable(now)?;
    let header = Header::new(config, suite).to_bytes();
    let (enc, mut context) = hpke_context::setup_sender(suite, config.public_key(), &label.info(&header))?;
    Ok([&header[..], &enc, &context.seal(aad, plaintext)?].concat())
}

/// Opens what [`seal_once`] made for `key` under the same label and associated data.
pub fn open_once(
    key: &KeyPair,
    label: Label,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealingError> {
    let malformed = SealingError::Malformed("sealed message");
    let (header, rest) = sealed.split_at_checked(HEADER_BYTES).ok_or(malformed)?;
    Header::from_bytes(header)?.check(key)?;
    let (enc, ciphertext) = rest.split_at_checked(key.suite().enc_bytes()).ok_or(malformed)?;
    key.recipient(enc, &label.info(header))?.open(aad, ciphertext)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttestedKey, PinnedKey, Suite};

    const NOW: UnixTime = UnixTime::from_seconds(1_000);

    #[test]
    fn opens_under_the_same_label_and_aad_only() {
        for suite in Suite::ALL {
            let key = KeyPair::generate(suite, 9).expect("randomness");
            let attested = AttestedKey::without_evidence(key.key_config());
            let sealed = seal_once(&attested, Label::KeyRelease, b"record", b"key", NOW).expect("seals");
            let opened = open_once(&key, Label::KeyRelease, b"record", &sealed).expect("opens");
            assert_eq!(opened.as_slice(), b"key");
            let wrong_label = open_once(&key, Label::KeyRegistration, b"record", &sealed);
            assert_eq!(wrong_label.err(), Some(SealingError::Open));
            let wrong_aad = open_once(&key, Label::KeyRelease, b"recorD", &sealed);
            assert_eq!(wrong_aad.err(), Some(SealingError::Open));
            let other = KeyPair::generate(suite, 9).expect("randomness");
            assert!(open_once(&other, Label::KeyRelease, b"record", &sealed).is_err());
            let renumbered = KeyPair::generate(suite, 8).expect("randomness");
            let refused = open_once(&renumbered, Label::KeyRelease, b"record", &sealed);
            assert_eq!(refused.err(), Some(SealingError::KeyConfig));
        }
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_refused() {
        let key = KeyPair::generate(Suite::XWING_SHA256_AES256, 1).expect("randomness");
        let attested = AttestedKey::without_evidence(key.key_config());
        let sealed = seal_once(&attested, Label::KeyRelease, b"", &[7; 32], NOW).expect("seals");
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                open_once(&key, Label::KeyRelease, b"", &bytes).is_err(),
                "bit {bit}"
            );
        }
        for size in 0..sealed.len() {
            assert!(
                open_once(&key, Label::KeyRelease, b"", &sealed[..size]).is_err(),
                "{size} bytes"
            );
        }
    }

    #[test]
    fn a_pinned_key_takes_permitted_suites_only() {
        let key = KeyPair::generate(Suite::XWING_SHA256_AES256, 1).expect("randomness");
        let pinned = PinnedKey::from_mutually_authenticated_tls(key.key_config().clone()).expect("permitted");
        let sealed = seal_once(&pinned, Label::KeyRegistration, b"", b"key", NOW).expect("seals");
        assert!(open_once(&key, Label::KeyRegistration, b"", &sealed).is_ok());
        for suite in [Suite::X25519_SHA256_AES128, Suite::XWING_SHA256_AES128] {
            let key = KeyPair::generate(suite, 1).expect("randomness");
            let refused = PinnedKey::from_mutually_authenticated_tls(key.key_config().clone());
            assert_eq!(refused.err(), Some(SealingError::NoPermittedSuite));
        }
    }
}
