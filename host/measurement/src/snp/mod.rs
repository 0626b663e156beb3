//! The launch digest of SEV-SNP.
//!
//! 1. The firmware is read: the sections of its SEV metadata, where its kernel hashes table stands, where its
//!    application processors start ([`Firmware`]).
//! 2. Its pages, the sections in table order, and one save area for each vCPU are hashed into the launch digest
//!    ([`launch_digest`], AMD 56860 section 8.17.2).
//! 3. Kernel, initrd and command line are measured through the table of their hashes ([`KernelHashes`]).
//! 4. The owner may sign the expected digest ([`IdBlock`], [`IdAuth`]).

mod firmware;
mod id_block;
mod kernel_hashes;
mod launch;
mod processor;
mod save_area;

pub use firmware::{Firmware, Section, SectionKind};
pub use id_block::{IdAuth, IdBlock, IdKey, SignedKeys};
pub use kernel_hashes::KernelHashes;
pub use launch::{Launch, LaunchDigest, launch_digest, pages_digest};
pub use processor::{Processor, VCPUS_MAX};
pub use save_area::{SaveArea, Vmm};
