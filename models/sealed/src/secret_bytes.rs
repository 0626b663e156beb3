//! Plaintext of a model file.

use rayon::iter::ParallelIterator as _;
use rayon::slice::ParallelSliceMut as _;
use zeroize::Zeroize as _;

use crate::{Result, SealedModelError};

/// Bytes wiped by one task: large models are wiped by all cores, as they were opened.
const WIPE_BYTES: usize = 4 << 20;

/// Bytes of an opened file: wiped on drop; no Debug, Clone or Serialize.
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Zeros to decrypt into. The pages come zeroed from the system and are first touched by the thread that fills
    /// them. A size that cannot be had is an error and not an abort.
    pub(crate) fn zeroed(bytes: u64) -> Result<Self> {
        let refused = SealedModelError::OutOfMemory { bytes };
        let Ok(length) = usize::try_from(bytes) else {
            return Err(refused);
        };
        if Vec::<u8>::new().try_reserve_exact(length).is_err() {
            return Err(refused);
        }
        Ok(Self(vec![0; length]))
    }

    /// The plaintext.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0
            .par_chunks_mut(WIPE_BYTES)
            .for_each(|chunk| chunk.zeroize());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_not_impl_any!(SecretBytes: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize, AsRef<[u8]>);
    static_assertions::assert_not_impl_any!(crate::ModelKey: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);
    static_assertions::assert_not_impl_any!(crate::TenantKek: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);
    static_assertions::assert_not_impl_any!(crate::OwnerSigningKey: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);
    static_assertions::assert_not_impl_any!(crate::OpenModel: Clone, std::fmt::Debug, std::fmt::Display, serde::Serialize);

    #[test]
    fn an_absurd_size_is_an_error() {
        assert_eq!(
            SecretBytes::zeroed(u64::MAX).err().unwrap().code(),
            "out-of-memory"
        );
        assert_eq!(SecretBytes::zeroed(5).unwrap().expose(), [0; 5]);
    }
}
