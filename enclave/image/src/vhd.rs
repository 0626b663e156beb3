//! The footer that makes a disk a fixed VHD (Microsoft's Virtual Hard Disk Image Format Specification 1.0).

/// The footer of a disk of `bytes`, which is a multiple of 512. Its time is the format's epoch, 2000-01-01.
pub(crate) fn footer(bytes: u64, unique: [u8; 16]) -> Vec<u8> {
    let checksum_at = 64..68;
    let mut footer = Vec::with_capacity(512);
    footer.extend(b"conectix");
    footer.extend(2_u32.to_be_bytes()); // a bit that is always set
    footer.extend(0x0001_0000_u32.to_be_bytes());
    footer.extend(u64::MAX.to_be_bytes()); // no dynamic header
    footer.extend(0_u32.to_be_bytes());
    // Readers round the length to whole cylinders except for creators that they know; qem2 is such a one.
    footer.extend(b"qem2");
    footer.extend(0x0001_0000_u32.to_be_bytes());
    footer.extend(b"Wi2k");
    footer.extend(bytes.to_be_bytes());
    footer.extend(bytes.to_be_bytes());
    let (cylinders, heads, sectors) = geometry(bytes / 512);
    footer.extend(cylinders.to_be_bytes());
    footer.extend([heads, sectors]);
    footer.extend(2_u32.to_be_bytes()); // fixed
    footer.extend([0; 4]); // its checksum, below
    footer.extend(unique);
    footer.resize(512, 0);
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[checksum_at].copy_from_slice(&(!sum).to_be_bytes());
    footer
}

/// Cylinders, heads and sectors for a number of sectors (the appendix "CHS Calculation").
fn geometry(sectors: u64) -> (u16, u8, u8) {
    let sectors = sectors.min(65535 * 16 * 255);
    let (track, heads, cylinder_heads);
    if sectors >= 65535 * 16 * 63 {
        (track, heads) = (255, 16);
        cylinder_heads = sectors / track;
    } else {
        let mut fit = (17, (sectors / 17).div_ceil(1024).max(4));
        if sectors / 17 >= fit.1 * 1024 || fit.1 > 16 {
            fit = (31, 16);
        }
        if fit.0 == 31 && sectors / 31 >= 16 * 1024 {
            fit = (63, 16);
        }
        (track, heads) = fit;
        cylinder_heads = sectors / track;
    }
    ((cylinder_heads / heads) as u16, heads as u8, track as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `qemu-img create -f vpc -o subformat=fixed,force_size` of these sizes has these geometries.
    #[test]
    fn geometry_is_the_specifications() {
        assert_eq!(geometry((66 << 20) / 512), (993, 8, 17));
        assert_eq!(geometry((1 << 30) / 512), (2080, 16, 63));
        assert_eq!(geometry((40 << 30) / 512), (20560, 16, 255));
    }
}
