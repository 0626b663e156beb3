//! FLOE (c2sp.org/FLOE) with its fixed parameters: AES-256-GCM, HKDF-Expand-SHA-384, 32-byte IV.
//!
//! ```text
//! header   AEAD id 0 (1) ‖ KDF id 0 (1) ‖ ENC_SEG_LEN (4) ‖ FLOE_IV_LEN 32 (4) ‖ IV (32) ‖ header tag (32)
//! segment  0xFFFFFFFF, or the segment's length if it is the last (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
//! ```
//!
//! 1. header tag and message key come from the key by HKDF over parameters, IV, purpose and associated data; the tag
//!    commits to the key, so a wrong key is told from damaged bytes before anything is decrypted.
//! 2. each run of 2^20 segments has its own AEAD key, derived from the message key.
//! 3. a segment's associated data are its position and whether it is the last: moving, dropping or adding one fails.
//!
//! All integers are big-endian. Segments open in any order and in place, which is what makes parallel opening possible.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, RandomizedNonceKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA384, KeyType, Prk};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Bytes of a FLOE key (`AEAD_KEY_LEN`).
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a FLOE IV (`FLOE_IV_LEN`).
pub(crate) const IV_BYTES: usize = 32;
/// Bytes of the header: parameters, IV, tag.
pub(crate) const HEADER_BYTES: usize = PARAMETERS_BYTES + IV_BYTES + HEADER_TAG_BYTES;
/// Bytes before a segment's ciphertext: length field and nonce.
pub(crate) const PREFIX_BYTES: usize = 4 + NONCE_LEN;
/// Bytes of a segment's tag (`AEAD_TAG_LEN`).
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes by which a segment is longer than its plaintext.
pub(crate) const OVERHEAD_BYTES: usize = PREFIX_BYTES + TAG_BYTES;

const PARAMETERS_BYTES: usize = 10;
const HEADER_TAG_BYTES: usize = 32;
/// `KDF_KEY_LEN` of HKDF-Expand-SHA-384.
const MESSAGE_KEY_BYTES: usize = 48;
/// `AEAD_ROTATION_MASK` of AES-256-GCM.
const ROTATION_BITS: u32 = 20;
/// The length field of every segment but the last.
const NOT_LAST: [u8; 4] = [0xff; 4];

/// A FLOE header.
pub(crate) type Header = [u8; HEADER_BYTES];

/// How a plaintext of a known length is cut into segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    segment_bytes: u32,
    rotation_bits: u32,
    segments: u64,
    plain_bytes: u64,
}

impl Geometry {
    /// For a plaintext; `None` if it would need more than 2^40 segments or segments hold nothing.
    pub(crate) fn of_plaintext(segment_bytes: u32, plain_bytes: u64) -> Option<Self> {
        let capacity = u64::from(segment_bytes)
            .checked_sub(OVERHEAD_BYTES as u64)
            .filter(|&bytes| bytes > 0)?;
        let segments = plain_bytes.div_ceil(capacity).max(1);
        (segments <= 1 << 40).then_some(Self {
            segment_bytes,
            rotation_bits: ROTATION_BITS,
            segments,
            plain_bytes,
        })
    }

    /// For a ciphertext, header included; `None` if no plaintext gives that length.
    pub(crate) fn of_ciphertext(segment_bytes: u32, sealed_bytes: u64) -> Option<Self> {
        let body = sealed_bytes.checked_sub(HEADER_BYTES as u64)?;
        let overhead = OVERHEAD_BYTES as u64;
        if u64::from(segment_bytes) <= overhead {
            return None;
        }
        let segments = body.div_ceil(u64::from(segment_bytes));
        let last = body.checked_sub(segments.checked_sub(1)? * u64::from(segment_bytes))?;
        let plain_bytes = body.checked_sub(segments * overhead)?;
        (last >= overhead && segments <= 1 << 40).then_some(Self {
            segment_bytes,
            rotation_bits: ROTATION_BITS,
            segments,
            plain_bytes,
        })
    }

    /// Segments, at least one.
    pub(crate) fn segments(&self) -> u64 {
        self.segments
    }

    /// Bytes of plaintext.
    pub(crate) fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Bytes of ciphertext, header included.
    pub(crate) fn sealed_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.plain_bytes + self.segments * OVERHEAD_BYTES as u64
    }

    /// Bytes of plaintext in every segment but the last.
    pub(crate) fn segment_plain_bytes(&self) -> usize {
        self.segment_bytes as usize - OVERHEAD_BYTES
    }

    /// Where a segment begins in the ciphertext.
    pub(crate) fn offset(&self, position: u64) -> u64 {
        HEADER_BYTES as u64 + position * u64::from(self.segment_bytes)
    }

    /// Whether this is the last segment.
    pub(crate) fn is_last(&self, position: u64) -> bool {
        position + 1 == self.segments
    }

    /// The length field of a segment with so many bytes of plaintext.
    fn length_field(&self, position: u64, plain_bytes: usize) -> [u8; 4] {
        if self.is_last(position) {
            ((plain_bytes + OVERHEAD_BYTES) as u32).to_be_bytes()
        } else {
            NOT_LAST
        }
    }

    fn parameters(&self) -> [u8; PARAMETERS_BYTES] {
        let mut encoded = [0; PARAMETERS_BYTES];
        encoded[2..6].copy_from_slice(&self.segment_bytes.to_be_bytes());
        encoded[6..].copy_from_slice(&(IV_BYTES as u32).to_be_bytes());
        encoded
    }

    /// AEAD keys that this ciphertext needs.
    fn epochs(&self) -> u64 {
        ((self.segments - 1) >> self.rotation_bits) + 1
    }
}

/// Why a ciphertext does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The header's parameters are not those expected.
    Parameters,
    /// The header tag is not that of this key and these associated data.
    HeaderTag,
    /// A segment's length field or tag is wrong at this position.
    Segment,
}

/// Encrypts the segments of one plaintext.
pub(crate) struct Sealer {
    geometry: Geometry,
    keys: Vec<RandomizedNonceKey>,
}

impl Sealer {
    /// Starts with a fresh IV; the header goes first into the ciphertext.
    pub(crate) fn start(key: &[u8; KEY_BYTES], aad: &[u8], geometry: Geometry) -> Option<(Self, Header)> {
        let mut iv = [0; IV_BYTES];
        aws_lc_rs::rand::fill(&mut iv).ok()?;
        let schedule = Schedule { geometry, iv, aad };
        let keys = schedule.sealing_keys(key);
        Some((Self { geometry, keys }, schedule.header(key)))
    }

    /// Goes on with a ciphertext that was begun, after checking its header. A position that is sealed again gets a new
    /// random nonce.
    pub(crate) fn resume(
        key: &[u8; KEY_BYTES],
        aad: &[u8],
        geometry: Geometry,
        header: &Header,
    ) -> Result<Self, Fault> {
        let schedule = Schedule::of_header(key, aad, geometry, header)?;
        Ok(Self {
            geometry,
            keys: schedule.sealing_keys(key),
        })
    }

    /// Encrypts in place; returns what goes before and after. Each position at most once, but for `resume`.
    pub(crate) fn seal(
        &self,
        position: u64,
        in_out: &mut [u8],
    ) -> Option<([u8; PREFIX_BYTES], [u8; TAG_BYTES])> {
        let key = &self.keys[(position >> self.geometry.rotation_bits) as usize];
        let aad = Aad::from(segment_aad(position, self.geometry.is_last(position)));
        let (nonce, tag) = key.seal_in_place_separate_tag(aad, in_out).ok()?;
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..4].copy_from_slice(&self.geometry.length_field(position, in_out.len()));
        prefix[4..].copy_from_slice(nonce.as_ref());
        Some((prefix, tag.as_ref().try_into().expect("a GCM tag has 16 bytes")))
    }
}

/// Decrypts the segments of one ciphertext, in any order and from any thread.
pub(crate) struct Opener {
    geometry: Geometry,
    keys: Vec<LessSafeKey>,
}

impl Opener {
    /// Checks parameters and header tag.
    pub(crate) fn start(
        key: &[u8; KEY_BYTES],
        aad: &[u8],
        geometry: Geometry,
        header: &Header,
    ) -> Result<Self, Fault> {
        let schedule = Schedule::of_header(key, aad, geometry, header)?;
        let message_key = schedule.message_key(key);
        let keys = (0..geometry.epochs())
            .map(|epoch| {
                let key = schedule.segment_key(&message_key, epoch);
                LessSafeKey::new(
                    UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("32 bytes are an AES-256 key"),
                )
            })
            .collect();
        Ok(Self { geometry, keys })
    }

    /// Decrypts in place. On a fault the bytes are worthless and must not be used.
    pub(crate) fn open(
        &self,
        position: u64,
        prefix: &[u8; PREFIX_BYTES],
        in_out: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), Fault> {
        if prefix[..4] != self.geometry.length_field(position, in_out.len()) {
            return Err(Fault::Segment);
        }
        self.open_as(position, self.geometry.is_last(position), prefix, in_out, tag)
    }

    /// Decrypts as if the segment stood at `position`, whatever its length field says. Only to name a fault: FLOE's
    /// promise of commitment does not cover a search over positions, so the plaintext is never used.
    pub(crate) fn open_as(
        &self,
        position: u64,
        last: bool,
        prefix: &[u8; PREFIX_BYTES],
        in_out: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), Fault> {
        let key = self
            .keys
            .get((position >> self.geometry.rotation_bits) as usize)
            .ok_or(Fault::Segment)?;
        let nonce = Nonce::try_assume_unique_for_key(&prefix[4..]).map_err(|_| Fault::Segment)?;
        let aad = Aad::from(segment_aad(position, last));
        key.open_in_place_separate_tag(nonce, aad, tag, in_out)
            .map(|_| ())
            .map_err(|_| Fault::Segment)
    }
}

/// `I2BE(position, 8) ‖ last`.
fn segment_aad(position: u64, last: bool) -> [u8; 9] {
    let mut aad = [0; 9];
    aad[..8].copy_from_slice(&position.to_be_bytes());
    aad[8] = u8::from(last);
    aad
}

/// The key schedule of one ciphertext.
struct Schedule<'a> {
    geometry: Geometry,
    iv: [u8; IV_BYTES],
    aad: &'a [u8],
}

impl<'a> Schedule<'a> {
    /// That of an existing ciphertext, if its header has these parameters and this key's tag.
    fn of_header(
        key: &[u8; KEY_BYTES],
        aad: &'a [u8],
        geometry: Geometry,
        header: &Header,
    ) -> Result<Self, Fault> {
        let (parameters, rest) = header.split_at(PARAMETERS_BYTES);
        if parameters != geometry.parameters() {
            return Err(Fault::Parameters);
        }
        let iv = *rest
            .first_chunk::<IV_BYTES>()
            .expect("the header's length is fixed");
        let schedule = Self { geometry, iv, aad };
        if !bool::from(schedule.header_tag(key).ct_eq(&rest[IV_BYTES..])) {
            return Err(Fault::HeaderTag);
        }
        Ok(schedule)
    }

    fn sealing_keys(&self, key: &[u8; KEY_BYTES]) -> Vec<RandomizedNonceKey> {
        let message_key = self.message_key(key);
        (0..self.geometry.epochs())
            .map(|epoch| {
                let key = self.segment_key(&message_key, epoch);
                RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).expect("32 bytes are an AES-256 key")
            })
            .collect()
    }

    /// `FLOE_KDF`.
    fn kdf<const N: usize>(&self, key: &[u8], purpose: &[u8]) -> Zeroizing<[u8; N]> {
        let prk = Prk::new_less_safe(HKDF_SHA384, key);
        let parameters = self.geometry.parameters();
        let info = [&parameters[..], &self.iv, purpose, self.aad];
        let mut out = Zeroizing::new([0; N]);
        prk.expand(&info, Bytes(N))
            .and_then(|okm| okm.fill(out.as_mut_slice()))
            .expect("the output is short");
        out
    }

    fn header_tag(&self, key: &[u8; KEY_BYTES]) -> [u8; HEADER_TAG_BYTES] {
        *self.kdf(key, b"HEADER_TAG:")
    }

    fn message_key(&self, key: &[u8; KEY_BYTES]) -> Zeroizing<[u8; MESSAGE_KEY_BYTES]> {
        self.kdf(key, b"MESSAGE_KEY:")
    }

    /// `DERIVE_KEY`, for the first segment of an epoch.
    fn segment_key(&self, message_key: &[u8; MESSAGE_KEY_BYTES], epoch: u64) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut purpose = *b"DEK:\0\0\0\0\0\0\0\0";
        purpose[4..].copy_from_slice(&(epoch << self.geometry.rotation_bits).to_be_bytes());
        self.kdf(message_key, &purpose)
    }

    fn header(&self, key: &[u8; KEY_BYTES]) -> Header {
        let mut header = [0; HEADER_BYTES];
        header[..PARAMETERS_BYTES].copy_from_slice(&self.geometry.parameters());
        header[PARAMETERS_BYTES..][..IV_BYTES].copy_from_slice(&self.iv);
        header[PARAMETERS_BYTES + IV_BYTES..].copy_from_slice(&self.header_tag(key));
        header
    }
}

/// The IV and the tag of a header, each unique to its ciphertext.
pub(crate) fn iv_and_tag(header: &Header) -> (&[u8], &[u8]) {
    header[PARAMETERS_BYTES..].split_at(IV_BYTES)
}

/// A length as `aws_lc_rs::hkdf` wants it.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
#[path = "floe_tests.rs"]
mod tests;
