//! Which instructions this CPU has, as values.
//!
//! UNSAFETY: a function compiled for a feature may be called only where the CPU has it. The one place that calls
//! such functions is [`Isa::dispatch`], and an [`Isa`] for a feature is built only after the CPU was asked.

#![allow(unsafe_code)]

use std::fmt;
use std::sync::OnceLock;

use crate::simd::Simd;
use crate::simd::scalar::Scalar;
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2::Avx2, avx512::Avx512};
use crate::tiles::TileSource;
#[cfg(target_arch = "x86_64")]
use crate::tiles::hardware::Hardware;

/// Instructions to use. A value exists only on CPUs that have them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa {
    kind: Kind,
    tiles: TileSource,
    /// Products with bf16 take it two at a time (AVX512_BF16, or a model of it).
    pairs: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
}

/// What [`Isa::best`] answers, once it has been asked or told.
static BEST: OnceLock<Isa> = OnceLock::new();

/// Work that is written once for every [`Simd`]; `run` must be `inline(always)`.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// No instructions beyond the architecture's baseline: the reference, slow.
    pub fn scalar() -> Self {
        Self::of(Kind::Scalar)
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            tiles: TileSource::None,
            #[cfg(target_arch = "x86_64")]
            pairs: kind == Kind::Avx512Bf16,
            #[cfg(not(target_arch = "x86_64"))]
            pairs: false,
        }
    }

    /// The fastest that this CPU has, or what [`Self::make_best`] said.
    pub fn best() -> Self {
        *BEST.get_or_init(|| Self::all_available().pop().unwrap_or_else(Self::scalar))
    }

    /// Makes these instructions the best for the whole process: what another CPU would make of the same work. False when
    /// others have been used already.
    pub fn make_best(self) -> bool {
        *BEST.get_or_init(|| self) == self
    }

    /// Everything that this CPU has, slowest first.
    pub fn all_available() -> Vec<Self> {
        let kinds = [
            Some(Kind::Scalar),
            #[cfg(target_arch = "x86_64")]
            Avx2::is_available().then_some(Kind::Avx2),
            #[cfg(target_arch = "x86_64")]
            Avx512::<false>::is_available().then_some(Kind::Avx512),
            #[cfg(target_arch = "x86_64")]
            Avx512::<true>::is_available().then_some(Kind::Avx512Bf16),
        ];
        let mut all: Vec<_> = kinds.into_iter().flatten().map(Self::of).collect();
        #[cfg(target_arch = "x86_64")]
        if Avx512::<false>::is_available() && Hardware::is_available() {
            all.push(Self {
                tiles: TileSource::Hardware,
                ..Self::of(Kind::Avx512)
            });
        }
        all
    }

    /// These instructions with a model of tiles in plain arithmetic: what AMX would compute, slowly. For tests.
    #[must_use]
    pub fn with_tile_model(self) -> Self {
        Self {
            tiles: TileSource::Model,
            ..self
        }
    }

    /// These instructions with bf16 taken two at a time, as AVX512_BF16 does, in plain multiplications and additions. For
    /// tests.
    #[must_use]
    pub fn with_pair_model(self) -> Self {
        Self { pairs: true, ..self }
    }

    /// The available one of that name, see [`Self::name`].
    pub fn named(name: &str) -> Option<Self> {
        Self::all_available().into_iter().find(|isa| isa.name() == name)
    }

    /// `scalar`, `avx2`, `avx512`, `avx512-bf16`, `amx`; with a model of tiles `amx-model`, of pairs `bf16-model`.
    pub fn name(self) -> &'static str {
        match self.tiles {
            TileSource::None => {}
            TileSource::Model => return "amx-model",
            #[cfg(target_arch = "x86_64")]
            TileSource::Hardware => return "amx",
        }
        match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => "avx512-bf16",
            _ if self.pairs => "bf16-model",
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }

    /// Whether products with bf16 round activations to it: where the CPU multiplies bf16 itself.
    pub fn rounds_to_bf16(self) -> bool {
        self.pairs || self.tiles != TileSource::None
    }

    /// Whether products use tiles.
    pub(crate) fn tiles(self) -> TileSource {
        self.tiles
    }

    /// Whether products with bf16 take it two at a time.
    pub(crate) fn pairs(self) -> bool {
        self.pairs
    }

    /// Runs `kernel` compiled for these instructions.
    pub(crate) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        match self.kind {
            Kind::Scalar => kernel.run(Scalar),
            // SAFETY: `all_available`, the only constructor of this kind, asked the CPU.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { Avx2::run(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { Avx512::<false>::run(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => unsafe { Avx512::<true>::run(kernel) },
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
