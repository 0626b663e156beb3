//! What is freed is overwritten first, whoever allocated it: copies of prompts, tokens and activations that libraries make
//! while they compute do not outlive their use. Memory that C allocates is C's own: AWS-LC overwrites what it frees.
//!
//! Stacks are not covered: secrets in types of ours are wiped by those.

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

/// The allocator of every binary that this crate is in.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);
