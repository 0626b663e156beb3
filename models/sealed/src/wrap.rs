//! Wrapping the model key under a tenant's key-encryption key.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::key::MODEL_KEY_BYTES;
use crate::{ModelKey, Result, SealedModelError, limits};

/// File name of the list of wraps.
pub(crate) const WRAPS_NAME: &str = "wraps.json";

const ALGORITHM: &str = "AES-256-GCM";
const TAG_BYTES: usize = 16;
const WRAPPED_BYTES: usize = NONCE_LEN + MODEL_KEY_BYTES + TAG_BYTES;
const FORMAT: u32 = 1;

/// What a wrap is bound to (the additional authenticated data).
#[derive(Debug, Clone, Copy)]
pub struct WrapContext<'a> {
    /// The model's identifier.
    pub model_id: &'a str,
    /// SHA-256 of the signed manifest payload.
    pub manifest_digest: &'a [u8; 32],
}

/// One model key under one version of one key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrap {
    /// Names the key-encryption key.
    pub kek_id: String,
    /// Which version of it.
    pub version: u32,
    /// `AES-256-GCM`.
    pub algorithm: String,
    /// Base64 of nonce ‖ ciphertext ‖ tag.
    pub wrapped: String,
}

/// The wraps of a sealed model (`wraps.json`): rotation adds and removes here and never re-encrypts.
///
/// The file is not signed, because it changes while the model does not; a wrap proves itself by unwrapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrapList {
    wraps: Vec<Wrap>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrapsFile {
    format: u32,
    wraps: Vec<Wrap>,
}

impl WrapList {
    /// The wraps, newest last.
    pub fn wraps(&self) -> &[Wrap] {
        &self.wraps
    }

    /// Adds a wrap, in place of one under the same key and version.
    pub fn put(&mut self, wrap: Wrap) {
        self.remove(&wrap.kek_id, wrap.version);
        self.wraps.push(wrap);
    }

    /// Takes a wrap out, once no broker needs it any more; whether there was one.
    pub fn remove(&mut self, kek_id: &str, version: u32) -> bool {
        let before = self.wraps.len();
        self.wraps
            .retain(|wrap| wrap.kek_id != kek_id || wrap.version != version);
        self.wraps.len() < before
    }

    /// Reads the bytes of `wraps.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        const fn malformed(why: &'static str) -> SealedModelError {
            SealedModelError::Malformed {
                what: "list of wraps",
                why,
            }
        }
        let file: WrapsFile = serde_json::from_slice(bytes).map_err(|_| malformed("not a list of wraps"))?;
        if file.format != FORMAT {
            return Err(malformed("a format of another version"));
        }
        if file.wraps.len() > limits::WRAPS_MAX {
            return Err(malformed("too many"));
        }
        Ok(Self { wraps: file.wraps })
    }

    /// The bytes of `wraps.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let file = WrapsFile {
            format: FORMAT,
            wraps: self.wraps.clone(),
        };
        let mut bytes =
            serde_json::to_vec_pretty(&file).expect("strings and numbers are expressible as JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Writes `wraps.json` of a sealed model: to a sibling, synced, then renamed, so that there is always a whole one.
    pub fn save(&self, sealed_model: &Path) -> Result<()> {
        let name = sealed_model.join(WRAPS_NAME);
        let temporary = sealed_model.join(format!(".{WRAPS_NAME}.{}", std::process::id()));
        let written = fs::File::create(&temporary)
            .and_then(|mut file| file.write_all(&self.to_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, &name))
            .and_then(|()| fs::File::open(sealed_model)?.sync_all());
        written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            SealedModelError::io("write", name.display().to_string(), error)
        })
    }
}

/// A tenant's key-encryption key: 32 bytes, wiped on drop; no Debug, Clone or Serialize.
pub struct TenantKek {
    kek_id: String,
    version: u32,
    key: Zeroizing<[u8; 32]>,
}

impl TenantKek {
    /// Makes a new key.
    pub fn generate(kek_id: &str, version: u32) -> Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| SealedModelError::Random)?;
        Ok(Self::from_bytes(kek_id, version, key))
    }

    /// Takes the bytes of a key that the store holds.
    pub fn from_bytes(kek_id: &str, version: u32, key: Zeroizing<[u8; 32]>) -> Self {
        Self {
            kek_id: kek_id.to_owned(),
            version,
            key,
        }
    }

    /// Names this key.
    pub fn kek_id(&self) -> &str {
        &self.kek_id
    }

    /// The version of this key.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The key's bytes, for the broker's key file.
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// Wraps a model key.
    pub fn wrap(&self, key: &ModelKey, context: &WrapContext<'_>) -> Result<Wrap> {
        let mut wrapped = Zeroizing::new(vec![0; NONCE_LEN]);
        wrapped.reserve_exact(WRAPPED_BYTES);
        wrapped.extend_from_slice(key.expose_bytes());
        let (nonce, tag) = self
            .cipher()
            .seal_in_place_separate_tag(Aad::from(self.aad(context)?), &mut wrapped[NONCE_LEN..])
            .map_err(|_| SealedModelError::Random)?;
        wrapped[..NONCE_LEN].copy_from_slice(nonce.as_ref());
        wrapped.extend_from_slice(tag.as_ref());
        Ok(Wrap {
            kek_id: self.kek_id.clone(),
            version: self.version,
            algorithm: ALGORITHM.to_owned(),
            wrapped: BASE64.encode(&*wrapped),
        })
    }

    /// Unwraps a model key; `wrong-kek` if the wrap names another key, `wrap-damaged` if it does not open.
    pub fn unwrap(&self, wrap: &Wrap, context: &WrapContext<'_>) -> Result<ModelKey> {
        if wrap.kek_id != self.kek_id || wrap.version != self.version {
            return Err(SealedModelError::WrongKek {
                expected: format!("{}/{}", self.kek_id, self.version),
                found: format!("{}/{}", wrap.kek_id, wrap.version),
            });
        }
        if wrap.algorithm != ALGORITHM {
            return Err(SealedModelError::Malformed {
                what: "wrap",
                why: "another algorithm",
            });
        }
        let bytes = BASE64
            .decode(&wrap.wrapped)
            .map_err(|_| SealedModelError::WrapDamaged)?;
        let mut bytes = Zeroizing::new(bytes);
        if bytes.len() != WRAPPED_BYTES {
            return Err(SealedModelError::WrapDamaged);
        }
        let (nonce, sealed) = bytes.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("split at a nonce's length");
        let opened = self
            .cipher()
            .open_in_place(nonce, Aad::from(self.aad(context)?), sealed)
            .map_err(|_| SealedModelError::WrapDamaged)?;
        let mut key = Zeroizing::new([0; MODEL_KEY_BYTES]);
        key.copy_from_slice(opened);
        Ok(ModelKey::from_bytes(key))
    }

    fn cipher(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, self.key.as_slice()).expect("32 bytes are an AES-256 key")
    }

    fn aad(&self, context: &WrapContext<'_>) -> Result<Vec<u8>> {
        if self.kek_id.len() > limits::KEK_ID_BYTES_MAX {
            return Err(SealedModelError::TooLarge {
                what: "key id",
                limit: limits::KEK_ID_BYTES_MAX as u64,
            });
        }
        let mut aad = b"adyton sealed model v1 wrap".to_vec();
        aad.extend_from_slice(context.manifest_digest);
        aad.extend_from_slice(&self.version.to_be_bytes());
        for text in [self.kek_id.as_str(), context.model_id] {
            aad.extend_from_slice(&(text.len() as u64).to_be_bytes());
            aad.extend_from_slice(text.as_bytes());
        }
        Ok(aad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: WrapContext<'_> = WrapContext {
        model_id: "sample",
        manifest_digest: &[1; 32],
    };

    fn code<T>(result: Result<T>) -> &'static str {
        result.map_or_else(|error| error.code(), |_| "ok")
    }

    #[test]
    fn a_wrap_opens_with_its_key_for_its_model_only() {
        let kek = TenantKek::generate("tenant/a", 1).unwrap();
        let key = ModelKey::generate().unwrap();
        let wrap = kek.wrap(&key, &CONTEXT).unwrap();
        assert_eq!(
            kek.unwrap(&wrap, &CONTEXT).unwrap().expose_bytes(),
            key.expose_bytes()
        );

        let other_key = TenantKek::generate("tenant/a", 1).unwrap();
        assert_eq!(code(other_key.unwrap(&wrap, &CONTEXT)), "wrap-damaged");
        assert_eq!(
            code(
                TenantKek::generate("tenant/b", 1)
                    .unwrap()
                    .unwrap(&wrap, &CONTEXT)
            ),
            "wrong-kek"
        );
        assert_eq!(
            code(
                TenantKek::generate("tenant/a", 2)
                    .unwrap()
                    .unwrap(&wrap, &CONTEXT)
            ),
            "wrong-kek"
        );
        let other_model = WrapContext {
            model_id: "other",
            ..CONTEXT
        };
        assert_eq!(code(kek.unwrap(&wrap, &other_model)), "wrap-damaged");
        let other_manifest = WrapContext {
            manifest_digest: &[2; 32],
            ..CONTEXT
        };
        assert_eq!(code(kek.unwrap(&wrap, &other_manifest)), "wrap-damaged");
        let relabelled = TenantKek::from_bytes("tenant/a", 2, Zeroizing::new(*kek.expose_bytes()));
        assert_eq!(
            code(relabelled.unwrap(
                &Wrap {
                    version: 2,
                    ..wrap.clone()
                },
                &CONTEXT
            )),
            "wrap-damaged"
        );
        assert_eq!(
            code(kek.unwrap(
                &Wrap {
                    algorithm: "none".into(),
                    ..wrap
                },
                &CONTEXT
            )),
            "malformed"
        );
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let kek = TenantKek::generate("k", 1).unwrap();
        let wrap = kek.wrap(&ModelKey::generate().unwrap(), &CONTEXT).unwrap();
        let bytes = BASE64.decode(&wrap.wrapped).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = Wrap {
                wrapped: BASE64.encode(&changed),
                ..wrap.clone()
            };
            assert_eq!(code(kek.unwrap(&changed, &CONTEXT)), "wrap-damaged", "bit {bit}");
        }
        for end in 0..bytes.len() {
            let shorter = Wrap {
                wrapped: BASE64.encode(&bytes[..end]),
                ..wrap.clone()
            };
            assert_eq!(code(kek.unwrap(&shorter, &CONTEXT)), "wrap-damaged");
        }
    }

    #[test]
    fn rotation_replaces_wraps_and_keeps_the_key() {
        let key = ModelKey::generate().unwrap();
        let (old, new) = (
            TenantKek::generate("k", 1).unwrap(),
            TenantKek::generate("k", 2).unwrap(),
        );
        let mut list = WrapList::default();
        list.put(old.wrap(&key, &CONTEXT).unwrap());
        list.put(old.wrap(&key, &CONTEXT).unwrap());
        assert_eq!(list.wraps().len(), 1);

        let unwrapped = old.unwrap(&list.wraps()[0], &CONTEXT).unwrap();
        list.put(new.wrap(&unwrapped, &CONTEXT).unwrap());
        assert!(list.remove("k", 1) && !list.remove("k", 1));
        assert_eq!(
            new.unwrap(&list.wraps()[0], &CONTEXT).unwrap().expose_bytes(),
            key.expose_bytes()
        );

        let folder = tempfile::tempdir().unwrap();
        list.save(folder.path()).unwrap();
        assert_eq!(
            WrapList::parse(&fs::read(folder.path().join(WRAPS_NAME)).unwrap()).unwrap(),
            list
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(code(list.save(&folder.path().join("missing"))), "io");
    }

    #[test]
    fn lists_that_are_none_are_refused() {
        let list = WrapList {
            wraps: vec![Wrap {
                kek_id: "k".into(),
                version: 1,
                algorithm: "a".into(),
                wrapped: "w".into(),
            }],
        };
        let text = String::from_utf8(list.to_bytes()).unwrap();
        assert_eq!(WrapList::parse(text.as_bytes()).unwrap(), list);
        for text in [
            "",
            "[]",
            "{}",
            &text.replace("\"format\": 1", "\"format\": 2"),
            &text.replace("\"version\": 1", "\"version\": -1"),
            &text.replace("\"version\": 1", "\"version\": 1, \"extra\": 1"),
            &text.replace("\"format\"", "\"wraps\": [], \"format\""),
        ] {
            assert_eq!(code(WrapList::parse(text.as_bytes())), "malformed", "{text}");
        }
        let many = WrapList {
            wraps: vec![list.wraps[0].clone(); limits::WRAPS_MAX + 1],
        };
        assert_eq!(code(WrapList::parse(&many.to_bytes())), "malformed");
    }
}
