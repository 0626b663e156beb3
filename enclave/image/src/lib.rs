//! The measured image on a disk that firmware boots (imports: nothing of ours).
//!
//! [`disk`] lays out the disk, `fat` the one volume on it; `vhd` and `gce_archive` are the forms in which clouds take it.

#![forbid(unsafe_code)]

pub mod disk;
mod fat;
pub mod gce_archive;
mod vhd;
