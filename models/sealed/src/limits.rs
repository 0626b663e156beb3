//! The bound of every input of this crate (I13). Units last.

/// FLOE `ENC_SEG_LEN` of every sealed object: one segment is one unit of parallel work.
pub(crate) const SEGMENT_BYTES: u32 = 1 << 20;
/// One object, 4 TiB: below the 2^40 segments of FLOE, above any model.
pub(crate) const OBJECT_BYTES_MAX: u64 = 1 << 42;
/// Files of one model.
pub(crate) const FILES_MAX: usize = 4096;
/// `manifest.json`: 4096 objects at under 700 bytes each, and base64.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// `wraps.json`.
pub(crate) const WRAPS_BYTES_MAX: u64 = 256 << 10;
/// Wraps of one model.
pub(crate) const WRAPS_MAX: usize = 64;
/// Name of a key-encryption key.
pub(crate) const KEK_ID_BYTES_MAX: usize = 256;
/// The index object's plaintext: 4096 names.
pub(crate) const INDEX_BYTES_MAX: u64 = 8 << 20;
/// Name of a file, with its folders.
pub(crate) const NAME_BYTES_MAX: usize = 1024;
/// Folders within folders.
pub(crate) const FOLDER_DEPTH_MAX: usize = 8;
/// An owner's key file.
pub(crate) const KEY_PEM_BYTES_MAX: usize = 16 << 10;
/// Threads that read and decrypt.
pub(crate) const THREADS_MAX: usize = 256;
