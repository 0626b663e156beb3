//! The tile instructions of AMX. **Run in an emulator, not yet on hardware**: see the README.
//!
//! UNSAFETY: the instructions fault where CPU or system do not allow them, and loads and stores take pointers. A
//! [`Hardware`] is made by [`Tiles::begin`] only, which is reached with [`TileSource::Hardware`] only, which is
//! chosen only after [`Hardware::is_available`] returned true; lengths of slices are checked before each access.
//! The compiler has no values in tiles, so the state between two `asm!` is ours.
//!
//! [`TileSource::Hardware`]: super::TileSource::Hardware

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

use super::{Sums, TILE_BYTES, TILE_ROWS, Tiles};

/// `arch_prctl` and its code that asks for a component of the extended state (Linux, `asm/prctl.h`).
const SYS_ARCH_PRCTL: u64 = 158;
const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
/// The component of tile data.
const XFEATURE_XTILEDATA: u64 = 18;

/// Configured tiles of this thread; released when dropped.
pub(crate) struct Hardware {
    depth: usize,
}

/// Memory of LDTILECFG (Software Developer's Manual, volume 1, section 18.3).
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Hardware {
    /// Whether the CPU has AMX for bytes and bf16, the system saves tiles, and it let this process use them: asked
    /// once.
    pub(crate) fn is_available() -> bool {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| cpu_has_tiles() && system_saves_tiles() && system_permits_tiles())
    }
}

fn cpu_has_tiles() -> bool {
    // Leaf 7: AMX-BF16, AMX-TILE, AMX-INT8 are bits 22, 24, 25 of EDX.
    const NEEDED: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & NEEDED == NEEDED
}

fn system_saves_tiles() -> bool {
    // Leaf 1: bit 27 of ECX, OSXSAVE, says that XGETBV may be executed.
    if __cpuid(1).ecx & 1 << 27 == 0 {
        return false;
    }
    // SAFETY: OSXSAVE is set.
    let enabled = unsafe { read_xcr0() };
    // TILECFG and TILEDATA.
    enabled & 3 << 17 == 3 << 17
}

// SAFETY: the caller has seen OSXSAVE.
#[target_feature(enable = "xsave")]
unsafe fn read_xcr0() -> u64 {
    // SAFETY: as the caller says.
    unsafe { _xgetbv(0) }
}

/// Linux allocates the state of tiles on request only.
fn system_permits_tiles() -> bool {
    if !cfg!(target_os = "linux") {
        return false;
    }
    let result: i64;
    // SAFETY: a system call that takes two numbers and touches no memory of ours.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

impl Tiles for Hardware {
    #[inline(always)]
    fn begin(depth: usize) -> Self {
        let depth = depth.clamp(4, TILE_BYTES);
        let mut config = Config {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        for tile in 0..8 {
            config.rows[tile] = if tile < 6 {
                TILE_ROWS as u8
            } else {
                (depth / 4) as u8
            };
            config.row_bytes[tile] = if matches!(tile, 4 | 5) {
                depth as u16
            } else {
                TILE_BYTES as u16
            };
        }
        // SAFETY: AMX is there; the configuration is 64 bytes of palette 1 within its bounds.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, readonly)) };
        Self { depth }
    }

    #[inline(always)]
    fn zero<const SUMS: usize>(&mut self) {
        // SAFETY: AMX is there and configured.
        unsafe { asm!("tilezero tmm{}", const SUMS, options(nostack, nomem)) };
    }

    #[inline(always)]
    fn load_x<const X: usize>(&mut self, rows: &[u8], stride: usize) {
        assert!(rows.len() >= (TILE_ROWS - 1) * stride + self.depth);
        // SAFETY: AMX is there and configured; sixteen rows of `depth` bytes are inside `rows`.
        unsafe {
            asm!(
                "tileloadd tmm{}, [{} + {} * 1]", const X, in(reg) rows.as_ptr(), in(reg) stride,
                options(nostack, readonly)
            );
        }
    }

    #[inline(always)]
    fn load_weights<const WEIGHTS: usize>(&mut self, rows: &[[u8; TILE_BYTES]]) {
        assert!(rows.len() >= self.depth / 4);
        // SAFETY: AMX is there and configured; `depth / 4` rows of 64 bytes are inside `rows`.
        unsafe {
            asm!(
                "tileloadd tmm{}, [{} + {} * 1]", const WEIGHTS, in(reg) rows.as_ptr(), in(reg) TILE_BYTES,
                options(nostack, readonly)
            );
        }
    }

    #[inline(always)]
    fn load_weights_bf16<const WEIGHTS: usize>(&mut self, rows: &[[u16; TILE_BYTES / 2]]) {
        assert!(rows.len() >= self.depth / 4);
        // SAFETY: AMX is there and configured; `depth / 4` rows of 64 bytes are inside `rows`.
        unsafe {
            asm!(
                "tileloadd tmm{}, [{} + {} * 1]", const WEIGHTS, in(reg) rows.as_ptr(), in(reg) TILE_BYTES,
                options(nostack, readonly)
            );
        }
    }

    #[inline(always)]
    fn dot_bytes<const SUMS: usize, const X: usize, const WEIGHTS: usize>(&mut self) {
        // SAFETY: AMX is there and configured.
        unsafe {
            asm!("tdpbsud tmm{}, tmm{}, tmm{}", const SUMS, const X, const WEIGHTS, options(nostack, nomem));
        }
    }

    #[inline(always)]
    fn dot_bf16<const SUMS: usize, const X: usize, const WEIGHTS: usize>(&mut self) {
        // SAFETY: AMX is there and configured.
        unsafe {
            asm!("tdpbf16ps tmm{}, tmm{}, tmm{}", const SUMS, const X, const WEIGHTS, options(nostack, nomem));
        }
    }

    #[inline(always)]
    fn store_i32<const SUMS: usize>(&mut self, to: &mut Sums<i32>) {
        // SAFETY: AMX is there and configured; `to` has sixteen rows of 64 bytes.
        unsafe {
            asm!(
                "tilestored [{} + {} * 1], tmm{}", in(reg) to.as_mut_ptr(), in(reg) TILE_BYTES, const SUMS,
                options(nostack)
            );
        }
    }

    #[inline(always)]
    fn store_f32<const SUMS: usize>(&mut self, to: &mut Sums<f32>) {
        // SAFETY: AMX is there and configured; `to` has sixteen rows of 64 bytes.
        unsafe {
            asm!(
                "tilestored [{} + {} * 1], tmm{}", in(reg) to.as_mut_ptr(), in(reg) TILE_BYTES, const SUMS,
                options(nostack)
            );
        }
    }
}

impl Drop for Hardware {
    fn drop(&mut self) {
        // SAFETY: AMX is there. Without it the system would save tiles at every switch of threads.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
