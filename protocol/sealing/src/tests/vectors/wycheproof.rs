//! Wycheproof: the primitives under HPKE, receipts, tokens and evidence.

use ed25519_dalek::{Signature, VerifyingKey};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use ml_kem::{Decapsulate, FromSeed, Kem, KeyExport, MlKem768, MlKem1024};
use p256::ecdsa::signature::Verifier as _;
use serde_json::Value;
use sha2::{Sha256, Sha384};

use super::Ran;
use crate::Suite;
use crate::hpke_context::{response_recipient, response_sender};

/// Runs `one` on each test with its group; `Err` is why it was passed over, `Ok` what it found: the bytes match
/// and the input was taken.
fn each(bytes: &[u8], mut one: impl FnMut(&Value, &Value) -> Result<bool, &'static str>) -> Ran {
    let file: Value = serde_json::from_slice(bytes).expect("JSON");
    let mut ran = Ran::default();
    for group in file["testGroups"].as_array().expect("groups") {
        for test in group["tests"].as_array().expect("tests") {
            match one(group, test) {
                Ok(found) => {
                    let id = &test["tcId"];
                    match test["result"].as_str().expect("a result") {
                        "valid" => assert!(found, "{id}: refused although valid"),
                        "invalid" => assert!(!found, "{id}: accepted although invalid"),
                        "acceptable" => {} // may go either way; that it did not panic was seen
                        other => panic!("result {other}"),
                    }
                    ran.passed += 1;
                }
                Err(reason) => ran.pass_over(reason),
            }
        }
    }
    ran
}

fn field(test: &Value, name: &str) -> Vec<u8> {
    hex::decode(test[name].as_str().expect("a field")).expect("hexadecimal")
}

pub(super) fn aes_gcm(bytes: &[u8]) -> Ran {
    each(bytes, |group, test| {
        let suite = match group["keySize"].as_u64() {
            Some(128) => Suite::X25519_SHA256_AES128,
            Some(256) => Suite::XWING_SHA256_AES256,
            _ => return Err("no suite has AES-192"),
        };
        if group["ivSize"].as_u64() != Some(96) {
            return Err("HPKE nonces have 96 bits");
        }
        if group["tagSize"].as_u64() != Some(128) {
            return Err("HPKE tags have 128 bits");
        }
        let (key, nonce, aad, message) = (
            field(test, "key"),
            field(test, "iv"),
            field(test, "aad"),
            field(test, "msg"),
        );
        let sealed = [field(test, "ct"), field(test, "tag")].concat();
        let mut recipient = response_recipient(suite, &key, &nonce).expect("sizes fit");
        let opened = recipient
            .open(&aad, &sealed)
            .is_ok_and(|opened| *opened == message);
        let mut sender = response_sender(suite, &key, &nonce).expect("sizes fit");
        let same = sender.seal(&aad, &message).expect("seals") == sealed;
        assert!(opened == same, "{}: opening and sealing disagree", test["tcId"]);
        Ok(opened)
    })
}

pub(super) fn hkdf_sha256(bytes: &[u8]) -> Ran {
    each(bytes, |_, test| {
        let hkdf = Hkdf::<Sha256>::new(Some(&field(test, "salt")), &field(test, "ikm"));
        Ok(expands(test, |info, okm| hkdf.expand(info, okm).is_ok()))
    })
}

pub(super) fn hkdf_sha384(bytes: &[u8]) -> Ran {
    each(bytes, |_, test| {
        let hkdf = Hkdf::<Sha384>::new(Some(&field(test, "salt")), &field(test, "ikm"));
        Ok(expands(test, |info, okm| hkdf.expand(info, okm).is_ok()))
    })
}

fn expands(test: &Value, expand: impl Fn(&[u8], &mut [u8]) -> bool) -> bool {
    let size = test["size"]
        .as_u64()
        .and_then(|size| usize::try_from(size).ok())
        .expect("a size");
    let mut okm = vec![0; size];
    expand(&field(test, "info"), &mut okm) && okm == field(test, "okm")
}

pub(super) fn hmac_sha256(bytes: &[u8]) -> Ran {
    each(bytes, |_, test| {
        let mac = Hmac::<Sha256>::new_from_slice(&field(test, "key")).expect("any size");
        Ok(mac
            .chain_update(field(test, "msg"))
            .verify_truncated_left(&field(test, "tag"))
            .is_ok())
    })
}

pub(super) fn hmac_sha384(bytes: &[u8]) -> Ran {
    each(bytes, |_, test| {
        let mac = Hmac::<Sha384>::new_from_slice(&field(test, "key")).expect("any size");
        Ok(mac
            .chain_update(field(test, "msg"))
            .verify_truncated_left(&field(test, "tag"))
            .is_ok())
    })
}

pub(super) fn x25519(bytes: &[u8]) -> Ran {
    each(bytes, |_, test| {
        let array = |name| -> [u8; 32] { field(test, name).try_into().expect("32 bytes") };
        let private = x25519_dalek::StaticSecret::from(array("private"));
        let shared = private.diffie_hellman(&array("public").into());
        // The KEM refuses a shared secret of zeros (RFC 9180 section 7.1.4); the function itself does not.
        let flags = test["flags"].as_array().expect("flags");
        let zero = flags.iter().any(|flag| flag == "ZeroSharedSecret");
        assert_eq!(!shared.was_contributory(), zero, "{}", test["tcId"]);
        Ok(shared.to_bytes() == array("shared"))
    })
}

pub(super) fn ecdh_p384(bytes: &[u8]) -> Ran {
    each(bytes, |_, test| {
        let Ok(public) = p384::PublicKey::from_sec1_bytes(&field(test, "public")) else {
            return Ok(false);
        };
        let private = field(test, "private");
        // Test keys are written as signed numbers of any length.
        let start = private
            .iter()
            .position(|byte| *byte != 0)
            .unwrap_or(private.len());
        let mut scalar = [0; 48];
        let digits = &private[start..];
        scalar[48 - digits.len()..].copy_from_slice(digits);
        let Ok(private) = p384::SecretKey::from_slice(&scalar) else {
            return Ok(false);
        };
        let shared = p384::ecdh::diffie_hellman(private.to_nonzero_scalar(), public.as_affine());
        Ok(shared.raw_secret_bytes().as_slice() == field(test, "shared"))
    })
}

pub(super) fn ecdsa_p256(bytes: &[u8]) -> Ran {
    each(bytes, |group, test| {
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&field(&group["publicKey"], "uncompressed"));
        let key = key.expect("a good key");
        let Ok(signature) = p256::ecdsa::DerSignature::from_bytes(&field(test, "sig")) else {
            return Ok(false);
        };
        Ok(key.verify(&field(test, "msg"), &signature).is_ok())
    })
}

pub(super) fn ecdsa_p384(bytes: &[u8]) -> Ran {
    each(bytes, |group, test| {
        let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&field(&group["publicKey"], "uncompressed"));
        let key = key.expect("a good key");
        let Ok(signature) = p384::ecdsa::DerSignature::from_bytes(&field(test, "sig")) else {
            return Ok(false);
        };
        Ok(key.verify(&field(test, "msg"), &signature).is_ok())
    })
}

pub(super) fn ed25519(bytes: &[u8]) -> Ran {
    each(bytes, |group, test| {
        let key: [u8; 32] = field(&group["publicKey"], "pk").try_into().expect("32 bytes");
        let key = VerifyingKey::from_bytes(&key).expect("a good key");
        let Ok(signature) = Signature::from_slice(&field(test, "sig")) else {
            return Ok(false);
        };
        Ok(key.verify_strict(&field(test, "msg"), &signature).is_ok())
    })
}

pub(super) fn mlkem_768(bytes: &[u8]) -> Ran {
    each(bytes, |_, test| Ok(mlkem::<MlKem768>(test)))
}

pub(super) fn mlkem_1024(bytes: &[u8]) -> Ran {
    each(bytes, |_, test| Ok(mlkem::<MlKem1024>(test)))
}

/// Key generation from the seed, then decapsulation.
fn mlkem<K: Kem + FromSeed>(test: &Value) -> bool
where
    K::EncapsulationKey: KeyExport,
    K::DecapsulationKey: Decapsulate<Kem = K>,
{
    let Ok(seed) = field(test, "seed").as_slice().try_into() else {
        return false;
    };
    let (private, public) = K::from_seed(&seed);
    if !test["ek"].is_null() && public.to_bytes().as_slice() != field(test, "ek") {
        return false;
    }
    let Ok(ciphertext) = ml_kem::Ciphertext::<K>::try_from(field(test, "c").as_slice()) else {
        return false;
    };
    private.decapsulate(&ciphertext).as_slice() == field(test, "K")
}

pub(super) fn mlkem_768_encaps(bytes: &[u8]) -> Ran {
    each(bytes, |_, test| {
        let ek = field(test, "ek");
        let Ok(ek) = ek.as_slice().try_into() else {
            return Ok(false);
        };
        let Ok(public) = ml_kem::EncapsulationKey768::new(&ek) else {
            return Ok(false);
        };
        let (ciphertext, shared) = public.encapsulate_deterministic(&message(test));
        Ok(ciphertext.as_slice() == field(test, "c") && shared.as_slice() == field(test, "K"))
    })
}

pub(super) fn mlkem_1024_encaps(bytes: &[u8]) -> Ran {
    each(bytes, |_, test| {
        let ek = field(test, "ek");
        let Ok(ek) = ek.as_slice().try_into() else {
            return Ok(false);
        };
        let Ok(public) = ml_kem::EncapsulationKey1024::new(&ek) else {
            return Ok(false);
        };
        let (ciphertext, shared) = public.encapsulate_deterministic(&message(test));
        Ok(ciphertext.as_slice() == field(test, "c") && shared.as_slice() == field(test, "K"))
    })
}

fn message(test: &Value) -> ml_kem::B32 {
    field(test, "m").as_slice().try_into().expect("32 bytes")
}
