//! Plaintext of a model file, in memory of its own.

use memmap2::{Advice, MmapMut};
use rayon::iter::ParallelIterator as _;
use rayon::slice::ParallelSliceMut as _;
use zeroize::Zeroize as _;

use crate::{Result, SealedModelError};

/// Bytes wiped by one task: large models are wiped by all cores, as they were opened.
const WIPE_BYTES: usize = 4 << 20;
/// Below a huge page there is nothing to gain from one.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Bytes of an opened file: wiped on drop; no Debug, Clone or Serialize.
///
/// They lie in an anonymous mapping: in huge pages where the system gives them (most of the time of opening would
/// otherwise go into page faults), left out of core dumps, and locked into memory where that is permitted.
pub struct SecretBytes {
    /// `None` for a file without bytes, which cannot be mapped.
    mapping: Option<MmapMut>,
}

impl SecretBytes {
    /// Zeros to decrypt into. Pages are first touched by the thread that fills them. A size that cannot be had is an
    /// error and not an abort.
    pub(crate) fn zeroed(bytes: u64) -> Result<Self> {
        let refused = SealedModelError::OutOfMemory { bytes };
        let Ok(length) = usize::try_from(bytes) else {
            return Err(refused);
        };
        if length == 0 {
            return Ok(Self { mapping: None });
        }
        let Ok(mapping) = MmapMut::map_anon(length) else {
            return Err(refused);
        };
        // Both are advice: a kernel without them still gives memory.
        let _ = mapping.advise(Advice::DontDump);
        if length >= HUGE_PAGE_BYTES {
            let _ = mapping.advise(Advice::HugePage);
        }
        Ok(Self {
            mapping: Some(mapping),
        })
    }

    /// Keeps the bytes out of swap, if the limit on locked memory permits; whether it did. Called when they are all
    /// there: locking earlier would touch every page from one thread.
    pub(crate) fn lock(&self) -> bool {
        self.mapping.as_ref().is_none_or(|mapping| mapping.lock().is_ok())
    }

    /// The plaintext.
    pub fn expose(&self) -> &[u8] {
        self.mapping.as_deref().unwrap_or_default()
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        self.mapping.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.as_mut()
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
        assert_eq!(
            SecretBytes::zeroed(1 << 60).err().unwrap().code(),
            "out-of-memory"
        );
        assert_eq!(SecretBytes::zeroed(5).unwrap().expose(), [0; 5]);
        assert!(SecretBytes::zeroed(0).unwrap().expose().is_empty());
    }

    #[test]
    fn memory_is_locked_and_left_out_of_dumps() {
        let mut bytes = SecretBytes::zeroed(3 << 20).unwrap();
        bytes.as_mut().fill(1);
        let locked = bytes.lock();
        // The mapping's entry in smaps lists what the kernel was told: "dd" is do-not-dump, "lo" is locked.
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let address = format!("{:x}-", bytes.expose().as_ptr() as usize);
        let Some((_, entry)) = smaps.split_once(&address) else {
            // Merged with a neighbour that was told the same, so that it begins earlier.
            assert!(smaps.contains(" dd "));
            return;
        };
        let flags = entry.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.contains(" dd"), "{flags}");
        assert_eq!(flags.contains(" lo"), locked, "{flags}");
    }
}
