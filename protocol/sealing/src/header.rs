//! The header of an encapsulated message (RFC 9458 section 4.3): key id, KEM, KDF, AEAD.

use wire::codec::Reader;
use wire::ids::{AeadId, KdfId, KemId};
use wire::{KeyConfig, SymmetricSuite};

use crate::{KeyPair, SealingError, Suite};

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 7;

/// Names the key and the suite of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key_id: u8,
    pub(crate) kem: KemId,
    pub(crate) symmetric: SymmetricSuite,
}

impl Header {
    pub(crate) fn new(config: &KeyConfig, suite: Suite) -> Self {
        Self {
            key_id: config.key_id(),
            kem: suite.kem(),
            symmetric: suite.symmetric(),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [kem0, kem1] = self.kem.0.to_be_bytes();
        let [kdf0, kdf1] = self.symmetric.kdf.0.to_be_bytes();
        let [aead0, aead1] = self.symmetric.aead.0.to_be_bytes();
        [self.key_id, kem0, kem1, kdf0, kdf1, aead0, aead1]
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, SealingError> {
        let read = || {
            let mut reader = Reader::new(bytes, "header");
            let header = Self {
                key_id: reader.u8()?,
                kem: KemId(reader.u16()?),
                symmetric: SymmetricSuite {
                    kdf: KdfId(reader.u16()?),
                    aead: AeadId(reader.u16()?),
                },
            };
            reader.finish().map(|()| header)
        };
        read().map_err(|_: wire::WireError| SealingError::Malformed("header"))
    }

    /// Succeeds when the message is sealed to `key` in its suite.
    pub(crate) fn check(&self, key: &KeyPair) -> Result<(), SealingError> {
        if *self == Self::new(key.key_config(), key.suite()) {
            Ok(())
        } else {
            Err(SealingError::KeyConfig)
        }
    }
}
