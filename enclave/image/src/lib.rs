//! The measured image: built from pinned packages and one binary, byte for byte the same wherever it is built, checked
//! against the policy it was built by, and put on disks that firmware boots (imports: nothing of ours).
//!
//! 1. [`policy`]: what the image is made of and what it must hold, as data (`policy.toml`).
//! 2. [`assemble`]: kernel, initrd, command line and unified image, with a [`manifest`] of every file and an [`sbom`].
//! 3. [`check`]: the built image against the policy; [`booted`]: what the guest said of itself.
//! 4. [`disk`] lays out a disk that boots it, `fat` the one volume on it; `vhd` and [`gce_archive`] are the forms in
//!    which clouds take it.
//!
//! Formats are ours because they are small and must be exact: [`cpio`] for the initrd, [`pe`] for the unified image and
//! for [`entry`], the code before the kernel.

#![forbid(unsafe_code)]

pub mod assemble;
pub mod booted;
pub mod check;
pub mod cpio;
pub mod disk;
pub mod entry;
mod fat;
pub mod gce_archive;
pub mod manifest;
pub mod pe;
pub mod policy;
pub mod sbom;
pub mod supply;
mod vhd;
