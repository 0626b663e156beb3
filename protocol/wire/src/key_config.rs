//! Key configurations (RFC 9458 section 3.1) and their list, `application/ohttp-keys` (section 3.2).
//!
//! | bytes | field |
//! |---|---|
//! | 1 | key identifier |
//! | 2 | HPKE KEM id |
//! | Npk | HPKE public key |
//! | 2 | bytes of the symmetric algorithms, a multiple of 4, at least 4 |
//! | 4 each | HPKE KDF id, HPKE AEAD id |
//!
//! In a list each configuration is preceded by its size in two bytes.

use crate::codec::Reader;
use crate::ids::{AeadId, KdfId, KemId};
use crate::{WireError, limits};

/// A KDF and an AEAD that go with a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SymmetricSuite {
    /// HPKE KDF.
    pub kdf: KdfId,
    /// HPKE AEAD.
    pub aead: AeadId,
}

/// One HPKE public key with its identifier and the algorithms offered. Public; there is no private half here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyConfig {
    key_id: u8,
    kem: KemId,
    public_key: Vec<u8>,
    symmetric: Vec<SymmetricSuite>,
}

const WHAT: &str = "key configuration";

impl KeyConfig {
    /// Builds a configuration; the key must have the size of its KEM, and at least one suite is needed.
    pub fn new(
        key_id: u8,
        kem: KemId,
        public_key: Vec<u8>,
        symmetric: Vec<SymmetricSuite>,
    ) -> Result<Self, WireError> {
        if Some(public_key.len()) != kem.public_key_bytes() || symmetric.is_empty() {
            return Err(WireError::Malformed(WHAT));
        }
        if symmetric.len() > limits::SYMMETRIC_SUITES_MAX {
            return Err(WireError::TooLarge {
                what: "symmetric suites",
                limit: limits::SYMMETRIC_SUITES_MAX,
            });
        }
        Ok(Self {
            key_id,
            kem,
            public_key,
            symmetric,
        })
    }

    /// The key identifier, chosen by the gateway.
    pub fn key_id(&self) -> u8 {
        self.key_id
    }

    /// The KEM of the public key.
    pub fn kem(&self) -> KemId {
        self.kem
    }

    /// The serialised public key.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The symmetric suites offered, in the gateway's order of preference.
    pub fn symmetric(&self) -> &[SymmetricSuite] {
        &self.symmetric
    }

    /// One configuration without a size prefix.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(5 + self.public_key.len() + 4 * self.symmetric.len());
        out.push(self.key_id);
        out.extend(self.kem.0.to_be_bytes());
        out.extend(&self.public_key);
        let algorithms = u16::try_from(4 * self.symmetric.len()).expect("new() bounds the number of suites");
        out.extend(algorithms.to_be_bytes());
        for suite in &self.symmetric {
            out.extend(suite.kdf.0.to_be_bytes());
            out.extend(suite.aead.0.to_be_bytes());
        }
        out
    }

    /// Parses exactly one configuration. An unknown KEM is [`WireError::Unknown`]: its key has no known size.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes, WHAT);
        let key_id = reader.u8()?;
        let kem = KemId(reader.u16()?);
        let public_key = reader
            .bytes(kem.public_key_bytes().ok_or(WireError::Unknown("KEM"))?)?
            .to_vec();
        let algorithms = usize::from(reader.u16()?);
        if algorithms < 4 || !algorithms.is_multiple_of(4) {
            return Err(WireError::Malformed(WHAT));
        }
        let mut suites = Reader::new(reader.bytes(algorithms)?, WHAT);
        let mut symmetric = Vec::new();
        while !suites.rest().is_empty() {
            symmetric.push(SymmetricSuite {
                kdf: KdfId(suites.u16()?),
                aead: AeadId(suites.u16()?),
            });
        }
        reader.finish()?;
        Self::new(key_id, kem, public_key, symmetric)
    }

    /// The list form of `configs`.
    pub fn encode_list(configs: &[KeyConfig]) -> Vec<u8> {
        let mut out = Vec::new();
        for config in configs {
            let bytes = config.encode();
            out.extend(
                u16::try_from(bytes.len())
                    .expect("the largest key has 1665 bytes")
                    .to_be_bytes(),
            );
            out.extend(bytes);
        }
        out
    }

    /// Parses a list. Configurations whose KEM is unknown are passed over, as section 3.2 allows; one that is
    /// malformed makes the whole list malformed.
    pub fn decode_list(bytes: &[u8]) -> Result<Vec<KeyConfig>, WireError> {
        if bytes.len() > limits::KEY_CONFIGS_BYTES_MAX {
            return Err(WireError::TooLarge {
                what: "key configurations",
                limit: limits::KEY_CONFIGS_BYTES_MAX,
            });
        }
        let mut reader = Reader::new(bytes, "key configurations");
        let mut configs = Vec::new();
        let mut seen = 0;
        while !reader.rest().is_empty() {
            seen += 1;
            if seen > limits::KEY_CONFIGS_MAX {
                return Err(WireError::TooLarge {
                    what: "key configurations",
                    limit: limits::KEY_CONFIGS_MAX,
                });
            }
            let size = usize::from(reader.u16()?);
            match Self::decode(reader.bytes(size)?) {
                Ok(config) => configs.push(config),
                Err(WireError::Unknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(configs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(kem: KemId, key_id: u8, suites: usize) -> KeyConfig {
        let suite = SymmetricSuite {
            kdf: KdfId::HKDF_SHA256,
            aead: AeadId::AES_256_GCM,
        };
        let size = kem.public_key_bytes().expect("a known KEM");
        KeyConfig::new(key_id, kem, vec![key_id; size], vec![suite; suites]).expect("sizes fit")
    }

    #[test]
    fn list_passes_over_unknown_kems_only() {
        let known = config(KemId::XWING, 3, 1);
        let mut unknown = known.encode();
        unknown[1] = 0x7f;
        let mut list = u16::try_from(unknown.len()).expect("fits").to_be_bytes().to_vec();
        list.extend(&unknown);
        list.extend(KeyConfig::encode_list(std::slice::from_ref(&known)));
        assert_eq!(KeyConfig::decode_list(&list), Ok(vec![known.clone()]));
        let last = list.len() - 1;
        assert!(KeyConfig::decode_list(&list[..last]).is_err());

        let many: Vec<_> = (0..=limits::KEY_CONFIGS_MAX)
            .map(|_| config(KemId::X25519, 1, 1))
            .collect();
        assert!(matches!(
            KeyConfig::decode_list(&KeyConfig::encode_list(&many)),
            Err(WireError::TooLarge { .. })
        ));
    }

    #[test]
    fn algorithm_list_must_be_whole_and_not_empty() {
        let mut bytes = config(KemId::X25519, 1, 1).encode();
        bytes[36] = 0; // size of the algorithms
        assert!(KeyConfig::decode(&bytes).is_err());
        bytes[36] = 3;
        assert!(KeyConfig::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(key_id: u8, suites in 1usize..16, kem in prop::sample::select(
            vec![KemId::P384, KemId::X25519, KemId::MLKEM1024_P384, KemId::XWING])) {
            let config = config(kem, key_id, suites);
            prop_assert_eq!(KeyConfig::decode(&config.encode()), Ok(config.clone()));
            let list = KeyConfig::encode_list(&[config.clone(), config.clone()]);
            prop_assert_eq!(KeyConfig::decode_list(&list), Ok(vec![config.clone(), config]));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = KeyConfig::decode_list(&bytes);
            if let Ok(config) = KeyConfig::decode(&bytes) {
                prop_assert_eq!(config.encode(), bytes);
            }
        }
    }
}
