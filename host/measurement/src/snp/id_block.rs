//! ID block and ID authentication (AMD 56860, sections 8.18 and 10.2): with them the security processor starts a
//! guest only when its launch digest and policy are those that the owner signed, and reports show the owner's key.
//!
//! | offset | field of the ID block, 96 bytes |
//! |---|---|
//! | 0x00 | launch digest |
//! | 0x30, 0x40 | family id, image id |
//! | 0x50, 0x54 | version 1, guest SVN |
//! | 0x58 | guest policy |
//!
//! | offset | field of the ID authentication, 4,096 bytes |
//! |---|---|
//! | 0x000, 0x004 | algorithm of the ID key and of the author key; 1 is ECDSA P-384 with SHA-384, 0 no author key |
//! | 0x040 | signature of the ID block by the ID key |
//! | 0x240 | ID key |
//! | 0x680 | signature of the ID key by the author key |
//! | 0x880 | author key |

use p384::ecdsa::{
    Signature, SigningKey, VerifyingKey,
    signature::{Signer as _, Verifier as _},
};
use sha2::{Digest, Sha384};

use super::LaunchDigest;
use crate::{
    bytes::{array, slice, u32_at, u64_at},
    error::{MeasureError, Part},
};

const ID_BLOCK_BYTES: usize = 96;
const ID_AUTH_BYTES: usize = 4096;
const ID_BLOCK_VERSION: u32 = 1;
const ECDSA_P384_SHA384: u32 = 1;
/// AMD 56860, table 142: the curve of a public key.
const P384: u32 = 2;
const SIGNATURE_BYTES: usize = 512;
const KEY_BYTES: usize = 1028;
/// Bytes of each number of a key or signature: little-endian, padded to 72.
const NUMBER_BYTES: usize = 72;

const ID_SIGNATURE_AT: usize = 0x40;
const ID_KEY_AT: usize = 0x240;
const KEY_SIGNATURE_AT: usize = 0x680;
const AUTHOR_KEY_AT: usize = 0x880;

/// Bit 17 of a guest policy is reserved and one (AMD 56860, table 9).
const POLICY_ONE: u64 = 1 << 17;

/// What the owner expects of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdBlock {
    /// The launch digest.
    pub launch_digest: LaunchDigest,
    /// FAMILY_ID, the owner's choice.
    pub family_id: [u8; 16],
    /// IMAGE_ID, the owner's choice.
    pub image_id: [u8; 16],
    /// GUEST_SVN, the owner's number of the image.
    pub guest_svn: u32,
    /// The guest policy.
    pub policy: u64,
}

impl IdBlock {
    /// The 96 bytes that are signed and given to the VMM.
    pub fn to_bytes(&self) -> [u8; ID_BLOCK_BYTES] {
        let mut bytes = Vec::with_capacity(ID_BLOCK_BYTES);
        bytes.extend(self.launch_digest);
        bytes.extend(self.family_id);
        bytes.extend(self.image_id);
        bytes.extend(ID_BLOCK_VERSION.to_le_bytes());
        bytes.extend(self.guest_svn.to_le_bytes());
        bytes.extend(self.policy.to_le_bytes());
        array(&bytes, 0).unwrap_or([0; ID_BLOCK_BYTES]) // the fields above are 96 bytes
    }

    /// Reads an ID block.
    ///
    /// # Errors
    /// [`MeasureError::Malformed`] when it has another length or version, or an impossible policy.
    pub fn parse(bytes: &[u8]) -> Result<Self, MeasureError> {
        let malformed = |reason| MeasureError::malformed(Part::IdBlock, reason);
        if bytes.len() != ID_BLOCK_BYTES {
            return Err(malformed("not 96 bytes"));
        }
        let cut = || malformed("cut");
        if u32_at(bytes, 0x50).ok_or_else(cut)? != ID_BLOCK_VERSION {
            return Err(malformed("its version is not 1"));
        }
        let policy = u64_at(bytes, 0x58).ok_or_else(cut)?;
        if policy & POLICY_ONE == 0 {
            return Err(malformed("bit 17 of its policy is not set"));
        }
        Ok(Self {
            launch_digest: array(bytes, 0).ok_or_else(cut)?,
            family_id: array(bytes, 0x30).ok_or_else(cut)?,
            image_id: array(bytes, 0x40).ok_or_else(cut)?,
            guest_svn: u32_at(bytes, 0x54).ok_or_else(cut)?,
            policy,
        })
    }
}

/// A P-384 key that signs ID blocks or other keys. It belongs to who publishes the image, not to a host.
pub struct IdKey(SigningKey);

impl IdKey {
    /// The key of a secret scalar, 48 bytes, big-endian.
    ///
    /// # Errors
    /// [`MeasureError::Malformed`] when it is zero or not below the group's order.
    pub fn from_scalar(scalar: &[u8]) -> Result<Self, MeasureError> {
        SigningKey::from_slice(scalar)
            .map(Self)
            .map_err(|_| MeasureError::malformed(Part::SigningKey, "not a scalar of P-384"))
    }

    /// The key of a PKCS#8 PEM file.
    ///
    /// # Errors
    /// [`MeasureError::Malformed`] when it is not a P-384 private key.
    pub fn from_pem(pem: &str) -> Result<Self, MeasureError> {
        use p384::pkcs8::DecodePrivateKey as _;
        SigningKey::from_pkcs8_pem(pem)
            .map(Self)
            .map_err(|_| MeasureError::malformed(Part::SigningKey, "not a P-384 private key in PKCS#8 PEM"))
    }

    /// RFC 6979: the same signature for the same message.
    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let signature: Signature = self.0.sign(message);
        let (r, s) = signature.split_bytes();
        let mut bytes = [0; SIGNATURE_BYTES];
        put_number(&mut bytes[..NUMBER_BYTES], &r);
        put_number(&mut bytes[NUMBER_BYTES..2 * NUMBER_BYTES], &s);
        bytes
    }

    fn public(&self) -> [u8; KEY_BYTES] {
        let point = self.0.verifying_key().to_sec1_point(false);
        let mut bytes = [0; KEY_BYTES];
        bytes[..4].copy_from_slice(&P384.to_le_bytes());
        let (x, y) = (point.x(), point.y());
        if let (Some(x), Some(y)) = (x, y) {
            put_number(&mut bytes[4..4 + NUMBER_BYTES], x);
            put_number(&mut bytes[4 + NUMBER_BYTES..4 + 2 * NUMBER_BYTES], y);
        }
        bytes
    }
}

/// Digests of the keys behind an ID block, as reports show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedKeys {
    /// ID_KEY_DIGEST: SHA-384 of the ID key's structure.
    pub id_key_digest: [u8; 48],
    /// AUTHOR_KEY_DIGEST; zero without an author key.
    pub author_key_digest: [u8; 48],
}

/// The signatures that go with an ID block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdAuth(Box<[u8; ID_AUTH_BYTES]>);

impl IdAuth {
    /// Signs `block` with `id_key`, and `id_key` with `author_key` when there is one.
    pub fn sign(block: &IdBlock, id_key: &IdKey, author_key: Option<&IdKey>) -> Self {
        let mut bytes = Box::new([0; ID_AUTH_BYTES]);
        let mut put = |at: usize, field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field); // offsets of the table above
        };
        put(0, &ECDSA_P384_SHA384.to_le_bytes());
        put(ID_SIGNATURE_AT, &id_key.sign(&block.to_bytes()));
        put(ID_KEY_AT, &id_key.public());
        if let Some(author_key) = author_key {
            put(4, &ECDSA_P384_SHA384.to_le_bytes());
            put(KEY_SIGNATURE_AT, &author_key.sign(&id_key.public()));
            put(AUTHOR_KEY_AT, &author_key.public());
        }
        Self(bytes)
    }

    /// Takes 4,096 bytes as they are; [`IdAuth::verify`] judges them.
    ///
    /// # Errors
    /// [`MeasureError::Malformed`] when there are fewer or more.
    pub fn parse(bytes: &[u8]) -> Result<Self, MeasureError> {
        if bytes.len() != ID_AUTH_BYTES {
            return Err(MeasureError::malformed(Part::IdAuth, "not 4,096 bytes"));
        }
        let bytes = array(bytes, 0).ok_or_else(|| MeasureError::malformed(Part::IdAuth, "cut"))?;
        Ok(Self(Box::new(bytes)))
    }

    /// The 4,096 bytes for the VMM.
    pub fn as_bytes(&self) -> &[u8] {
        &*self.0
    }

    /// Checks both signatures, as the security processor will at launch.
    ///
    /// # Errors
    /// [`MeasureError::Signature`] when one does not verify, [`MeasureError::Malformed`] for impossible fields.
    pub fn verify(&self, block: &IdBlock) -> Result<SignedKeys, MeasureError> {
        let bytes = self.as_bytes();
        let malformed = |reason| MeasureError::malformed(Part::IdAuth, reason);
        let cut = || malformed("cut");
        let algorithms = (
            u32_at(bytes, 0).ok_or_else(cut)?,
            u32_at(bytes, 4).ok_or_else(cut)?,
        );
        let id_key = slice(bytes, ID_KEY_AT, KEY_BYTES).ok_or_else(cut)?;
        let id_signature = slice(bytes, ID_SIGNATURE_AT, SIGNATURE_BYTES).ok_or_else(cut)?;
        if algorithms.0 != ECDSA_P384_SHA384 {
            return Err(malformed("the ID key's algorithm is not ECDSA with P-384"));
        }
        if !verify(id_key, id_signature, &block.to_bytes()).ok_or_else(|| malformed("a key or signature"))? {
            return Err(MeasureError::Signature(Part::IdBlock));
        }
        let author_key = slice(bytes, AUTHOR_KEY_AT, KEY_BYTES).ok_or_else(cut)?;
        let author_key_digest = match algorithms.1 {
            0 => [0; 48],
            ECDSA_P384_SHA384 => {
                let signature = slice(bytes, KEY_SIGNATURE_AT, SIGNATURE_BYTES).ok_or_else(cut)?;
                let good = verify(author_key, signature, id_key);
                if !good.ok_or_else(|| malformed("a key or signature"))? {
                    return Err(MeasureError::Signature(Part::IdAuth));
                }
                Sha384::digest(author_key).into()
            }
            _ => return Err(malformed("the author key's algorithm is unknown")),
        };
        Ok(SignedKeys {
            id_key_digest: Sha384::digest(id_key).into(),
            author_key_digest,
        })
    }
}

/// Whether the signature over `message` is the key's; `None` when either is not a structure of AMD's.
fn verify(key: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
    if u32_at(key, 0)? != P384 || !zero(slice(key, 4 + 2 * NUMBER_BYTES, 0x370)?) {
        return None;
    }
    let mut point = vec![4];
    point.extend(number(key, 4)?);
    point.extend(number(key, 4 + NUMBER_BYTES)?);
    let key = VerifyingKey::from_sec1_bytes(&point).ok()?;
    if !zero(signature.get(2 * NUMBER_BYTES..)?) {
        return None;
    }
    let mut scalars = number(signature, 0)?;
    scalars.extend(number(signature, NUMBER_BYTES)?);
    let signature = Signature::from_slice(&scalars).ok()?;
    Some(key.verify(message, &signature).is_ok())
}

fn zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The 48 bytes of a number, big-endian; the padding must be zero.
fn number(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let field = slice(bytes, at, NUMBER_BYTES)?;
    let (number, padding) = field.split_at_checked(48)?;
    zero(padding).then(|| number.iter().rev().copied().collect())
}

fn put_number(field: &mut [u8], big_endian: &[u8]) {
    for (to, from) in field.iter_mut().zip(big_endian.iter().rev()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> IdBlock {
        IdBlock {
            launch_digest: [7; 48],
            family_id: [1; 16],
            image_id: [2; 16],
            guest_svn: 3,
            policy: 0x30000,
        }
    }

    #[test]
    fn signed_blocks_verify_and_nothing_else_does() {
        let id_key = IdKey::from_scalar(&[5; 48]).expect("a scalar");
        let author_key = IdKey::from_scalar(&[6; 48]).expect("a scalar");
        let auth = IdAuth::sign(&block(), &id_key, Some(&author_key));
        let keys = auth.verify(&block()).expect("just signed");
        assert_ne!(keys.id_key_digest, keys.author_key_digest);
        let alone = IdAuth::sign(&block(), &id_key, None)
            .verify(&block())
            .expect("just signed");
        assert_eq!(alone.id_key_digest, keys.id_key_digest);
        assert_eq!(alone.author_key_digest, [0; 48]);

        let other = IdBlock {
            guest_svn: 4,
            ..block()
        };
        assert_eq!(auth.verify(&other), Err(MeasureError::Signature(Part::IdBlock)));
        for at in [
            0,
            4,
            0x40,
            0x40 + 72,
            0x40 + 200,
            0x240,
            0x244,
            0x300,
            0x680,
            0x880,
            0x884,
        ] {
            let mut bytes = auth.as_bytes().to_vec();
            bytes[at] ^= 2;
            let changed = IdAuth::parse(&bytes).expect("the length is right");
            assert!(changed.verify(&block()).is_err(), "byte {at:#x} is not looked at");
        }
        assert!(IdAuth::parse(&auth.as_bytes()[..4095]).is_err());
    }

    #[test]
    fn blocks_are_read_as_written() {
        let bytes = block().to_bytes();
        assert_eq!(IdBlock::parse(&bytes), Ok(block()));
        for (at, byte) in [(0x50, 2), (0x5a, 1)] {
            let mut changed = bytes;
            changed[at] = byte;
            assert!(IdBlock::parse(&changed).is_err());
        }
        assert!(IdBlock::parse(&bytes[..95]).is_err());
        assert!(IdKey::from_scalar(&[0; 48]).is_err());
        assert!(IdKey::from_pem("no key").is_err());
    }
}
