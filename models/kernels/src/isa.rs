//! Which instructions this CPU has, as values.
//!
//! UNSAFETY: a function compiled for a feature may be called only where the CPU has it. The one place that calls
//! such functions is [`Isa::dispatch`], and an [`Isa`] for a feature is built only after the CPU was asked.

#![allow(unsafe_code)]

use std::fmt;

use crate::simd::Simd;
use crate::simd::scalar::Scalar;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// Instructions to use. A value exists only on CPUs that have them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Work that is written once for every [`Simd`]; `run` must be `inline(always)`.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// No instructions beyond the architecture's baseline: the reference, slow.
    pub fn scalar() -> Self {
        Self(Kind::Scalar)
    }

    /// The fastest that this CPU has.
    pub fn best() -> Self {
        Self::all_available().pop().unwrap_or_else(Self::scalar)
    }

    /// Everything that this CPU has, slowest first.
    pub fn all_available() -> Vec<Self> {
        let kinds = [
            Some(Kind::Scalar),
            #[cfg(target_arch = "x86_64")]
            Avx2::is_available().then_some(Kind::Avx2),
            #[cfg(target_arch = "x86_64")]
            Avx512::is_available().then_some(Kind::Avx512),
        ];
        kinds.into_iter().flatten().map(Self).collect()
    }

    /// The available one of that name, see [`Self::name`].
    pub fn named(name: &str) -> Option<Self> {
        Self::all_available().into_iter().find(|isa| isa.name() == name)
    }

    /// `scalar`, `avx2`, `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }

    /// Runs `kernel` compiled for these instructions.
    pub(crate) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Scalar => kernel.run(Scalar),
            // SAFETY: `all_available`, the only constructor of this kind, asked the CPU.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { Avx2::run(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { Avx512::run(kernel) },
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
