//! RFC 9180 and draft-ietf-hpke-pq: every suite of the published vectors through the `hpke` crate, and those that are
//! a [`Suite`] of ours through our own code as well.

use hpke::aead::{Aead, AesGcm128, AesGcm256, ChaCha20Poly1305, ExportOnlyAead};
use hpke::danger::streaming_enc::{AeadKey, AeadNonce, ExporterSecret, create_sender_context};
use hpke::kdf::{HkdfSha256, HkdfSha384, HkdfSha512, Kdf, KdfShake128, KdfShake256, KdfTurboShake256};
use hpke::kem::{
    DhP256HkdfSha256, DhP521HkdfSha512, Kem, MlKem768, MlKem768P256, MlKem1024, MlKem1024P384,
    X25519HkdfSha256, XWing,
};
use hpke::{Deserializable, OpModeR, PskBundle, Serializable};
use serde_json::Value;
use wire::SymmetricSuite;
use wire::ids::{AeadId, KdfId, KemId};

use super::Ran;
use crate::Suite;
use crate::hpke_context::import;

/// Runs one vector with the types of its ids.
macro_rules! run {
    ($vector:expr; $($kem:ty),*; $kdfs:tt; $aeads:tt) => { $(run!(@kem $vector, $kem, $kdfs, $aeads);)* };
    (@kem $vector:expr, $kem:ty, ($($kdf:ty),*), $aeads:tt) => { $(run!(@kdf $vector, $kem, $kdf, $aeads);)* };
    (@kdf $vector:expr, $kem:ty, $kdf:ty, ($($aead:ty),*)) => { $(
        if ids($vector) == (<$kem>::KEM_ID, <$kdf>::KDF_ID, <$aead>::AEAD_ID) {
            check::<$kem, $kdf, $aead>($vector);
            return Ok(());
        }
    )* };
}

pub(super) fn rfc9180(bytes: &[u8]) -> Ran {
    fn one(vector: &Value) -> Result<(), &'static str> {
        run!(vector; X25519HkdfSha256, DhP256HkdfSha256, DhP521HkdfSha512;
             (HkdfSha256, HkdfSha512); (AesGcm128, AesGcm256, ChaCha20Poly1305, ExportOnlyAead));
        unknown(vector)
    }
    each(bytes, one)
}

pub(super) fn hpke_pq(bytes: &[u8]) -> Ran {
    fn one(vector: &Value) -> Result<(), &'static str> {
        run!(vector; MlKem768, MlKem1024, MlKem768P256; (HkdfSha256); (AesGcm128));
        run!(vector; XWing; (HkdfSha256); (ChaCha20Poly1305));
        run!(vector; MlKem1024P384; (HkdfSha384); (AesGcm256));
        run!(vector; DhP256HkdfSha256; (KdfShake128); (AesGcm128));
        run!(vector; hpke::kem::DhP384HkdfSha384; (KdfShake256); (AesGcm256));
        run!(vector; MlKem1024; (KdfTurboShake256); (AesGcm128));
        unknown(vector)
    }
    each(bytes, one)
}

fn each(bytes: &[u8], one: fn(&Value) -> Result<(), &'static str>) -> Ran {
    let vectors: Vec<Value> = serde_json::from_slice(bytes).expect("JSON");
    let mut ran = Ran::default();
    let mut through_ours = 0;
    for vector in &vectors {
        match one(vector) {
            Ok(()) => ran.passed += 1,
            Err(reason) => ran.pass_over(reason),
        }
        through_ours += usize::from(check_ours(vector));
    }
    assert!(through_ours > 0, "at least one vector is of a suite of ours");
    ran
}

/// Why a vector has no types here. Anything but the two known KEMs is a new suite that someone must look at.
fn unknown(vector: &Value) -> Result<(), &'static str> {
    match ids(vector) {
        (0x0040, ..) => Err("no suite of ours, nor the hpke crate, has ML-KEM-512"),
        (0x0021, ..) => Err("no suite of ours, nor the hpke crate, has DHKEM(X448)"),
        other => panic!("no types for {other:?}"),
    }
}

fn number(vector: &Value, name: &str) -> u16 {
    vector[name]
        .as_u64()
        .and_then(|n| n.try_into().ok())
        .expect("an id")
}

fn ids(vector: &Value) -> (u16, u16, u16) {
    (
        number(vector, "kem_id"),
        number(vector, "kdf_id"),
        number(vector, "aead_id"),
    )
}

fn field(vector: &Value, name: &str) -> Vec<u8> {
    hex::decode(vector[name].as_str().expect("a field")).expect("hexadecimal")
}

/// Sequence number of each encryption: given, or its place in the list.
fn encryptions(vector: &Value) -> impl Iterator<Item = (u64, &Value)> {
    let list = vector["encryptions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    (0..)
        .zip(list)
        .map(|(place, entry)| (entry["seq"].as_u64().unwrap_or(place), entry))
}

/// Decapsulates, then compares key schedule, encryptions in both directions and exports.
fn check<K: Kem, D: Kdf, A: Aead>(vector: &Value) {
    let psk = ["psk", "psk_id"].map(|name| {
        vector[name]
            .as_str()
            .map(|_| field(vector, name))
            .unwrap_or_default()
    });
    let mode: OpModeR<'_, K> = match number(vector, "mode") {
        0 => OpModeR::Base,
        1 => OpModeR::Psk(PskBundle::new(&psk[0], &psk[1]).expect("both parts")),
        other => panic!("mode {other}"),
    };
    let private = K::PrivateKey::from_bytes(&field(vector, "skRm")).expect("a good key");
    assert_eq!(K::sk_to_pk(&private).to_bytes().as_slice(), field(vector, "pkRm"));
    let enc = K::EncappedKey::from_bytes(&field(vector, "enc")).expect("a good key");
    let mut recipient =
        hpke::setup_receiver::<A, D, K>(&mode, &private, &enc, &field(vector, "info")).expect("decapsulates");

    for export in vector["exports"].as_array().expect("exports") {
        let mut secret = vec![0; usize::from(number(export, "L"))];
        recipient
            .export(&field(export, "exporter_context"), &mut secret)
            .expect("a short secret");
        assert_eq!(secret, field(export, "exported_value"));
    }
    if A::AEAD_ID == ExportOnlyAead::AEAD_ID {
        return;
    }
    // A sender with the published key and nonce; what lies between published numbers is filled in.
    let mut key = AeadKey::<A>::default();
    key.0.copy_from_slice(&field(vector, "key"));
    let mut nonce = AeadNonce::<A>::default();
    nonce.0.copy_from_slice(&field(vector, "base_nonce"));
    let mut sender = create_sender_context::<A, D, K>(&key, nonce, ExporterSecret::default());
    let mut next = 0;
    for (number, entry) in encryptions(vector) {
        while next < number {
            let between = sender.seal(b"", b"").expect("seals");
            recipient.open(&between, b"").expect("opens");
            next += 1;
        }
        let (aad, plaintext, sealed) = (field(entry, "aad"), field(entry, "pt"), field(entry, "ct"));
        assert_eq!(sender.seal(&plaintext, &aad).expect("seals"), sealed);
        assert_eq!(recipient.open(&sealed, &aad).expect("opens"), plaintext);
        next += 1;
    }
}

/// The same through our own face, where the suite is one of ours and the mode is base.
fn check_ours(vector: &Value) -> bool {
    let (kem, kdf, aead) = ids(vector);
    let symmetric = SymmetricSuite {
        kdf: KdfId(kdf),
        aead: AeadId(aead),
    };
    let Some(suite) = Suite::from_ids(KemId(kem), symmetric).filter(|_| number(vector, "mode") == 0) else {
        return false;
    };
    let (private, public) = import(suite, &field(vector, "skRm")).expect("a good key");
    assert_eq!(public, field(vector, "pkRm"));
    let mut recipient = private
        .recipient(&field(vector, "enc"), &field(vector, "info"))
        .expect("decapsulates");
    for export in vector["exports"].as_array().expect("exports") {
        let mut secret = vec![0; usize::from(number(export, "L"))];
        recipient
            .export(&field(export, "exporter_context"), &mut secret)
            .expect("a short secret");
        assert_eq!(secret, field(export, "exported_value"));
    }
    for ((number, entry), place) in encryptions(vector).zip(0..) {
        if number != place {
            break; // numbers that were thinned out
        }
        let opened = recipient
            .open(&field(entry, "aad"), &field(entry, "ct"))
            .expect("opens");
        assert_eq!(opened.as_slice(), field(entry, "pt"));
    }
    true
}
