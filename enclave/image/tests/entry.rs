//! The code before a kernel's entry: where firmware begins, and that it finds the kernel again.

use image::entry::{code_of, precede};

const OPTIONAL: usize = 0x58;
const TABLE: usize = OPTIONAL + 0xa0;
const KERNEL_ENTRY: u32 = 0x1040;

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn get(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"))
}

/// A kernel as Linux lays it out: a setup header at 0x1f1, sections before it, a signature behind everything.
fn kernel(sections: u8) -> Vec<u8> {
    let mut kernel = vec![0; 0x1400];
    kernel[..2].copy_from_slice(b"MZ");
    kernel[0x3c] = 0x40;
    kernel[0x40..0x44].copy_from_slice(b"PE\0\0");
    kernel[0x44..0x46].copy_from_slice(&0x8664_u16.to_le_bytes());
    kernel[0x46] = sections;
    kernel[0x54] = 0xa0;
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x236] = 0x7f;
    put(&mut kernel, 0x264, 0x00af_abd0);
    for (at, value) in [
        (16, KERNEL_ENTRY),
        (32, 0x1000),
        (36, 0x200),
        (56, 0x4000),
        (60, 0x1000),
        (108, 6),
    ] {
        put(&mut kernel, OPTIONAL + at, value);
    }
    for index in 0..usize::from(sections) {
        let entry = TABLE + index * 40;
        for (at, value) in [(8, 0x200), (12, 0x1000), (16, 0x200), (20, 0x1000)] {
            put(&mut kernel, entry + at, value);
        }
    }
    let signature = OPTIONAL + 112 + 4 * 8;
    put(&mut kernel, signature, 0x1200);
    put(&mut kernel, signature + 4, 0x200);
    kernel
}

fn code() -> Vec<u8> {
    let mut code = vec![0x90; 700];
    code[8..16].fill(0);
    code
}

#[test]
fn firmware_begins_in_the_code_and_the_code_finds_the_kernel() {
    let whole = precede(&kernel(4), &code()).expect("there is room");
    assert_eq!(&whole[0x202..0x206], b"HdrS");
    assert_eq!(whole[0x46], 5);
    let section = TABLE + 4 * 40;
    assert!(whole[section..].starts_with(b".entry\0\0"));
    let (bytes, address, place) = (
        get(&whole, section + 8),
        get(&whole, section + 12),
        get(&whole, section + 20),
    );
    assert_eq!(bytes, 700);
    assert_eq!(
        get(&whole, section + 36),
        0x6000_0020,
        "read and execute, not write"
    );
    assert_eq!(get(&whole, OPTIONAL + 16), address);
    let at = place as usize;
    let displacement = i64::from_le_bytes(whole[at + 8..at + 16].try_into().expect("eight"));
    assert_eq!(i64::from(address) + displacement, i64::from(KERNEL_ENTRY));
    // Firmware has no other way in.
    assert_eq!((whole[0x236], get(&whole, 0x264)), (0x73, 0));
    // The signature, which was over another file, is gone, and nothing else of the kernel.
    assert_eq!(get(&whole, OPTIONAL + 112 + 4 * 8 + 4), 0);
    assert_eq!(whole[0x1000..0x1200], kernel(4)[0x1000..0x1200]);
    assert_eq!(code_of(&whole), Some(code()));
    assert_eq!(code_of(&kernel(4)), None);
}

#[test]
fn a_kernel_without_room_or_cut_and_other_code_are_refused() {
    assert!(
        precede(&kernel(6), &code()).is_err(),
        "the table would reach the setup header"
    );
    let mut other = kernel(4);
    other[0x202] = 0;
    assert!(precede(&other, &code()).is_err(), "no setup header");
    let mut used = code();
    used[12] = 1;
    assert!(precede(&kernel(4), &used).is_err());
    assert!(precede(&kernel(4), &code()[..15]).is_err());
    for length in 0..kernel(4).len() {
        assert!(precede(&kernel(4)[..length], &code()).is_err(), "{length}");
    }
    let mut inside = kernel(4);
    put(&mut inside, OPTIONAL + 112 + 4 * 8, 0x1000);
    assert!(
        precede(&inside, &code()).is_err(),
        "a signature that is not the end"
    );
}
