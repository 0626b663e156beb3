//! The attestation report (AMD 56860 revision 1.58, table 23), read from its raw bytes.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0x000 | 4 | VERSION |
//! | 0x004 | 4 | GUEST_SVN |
//! | 0x008 | 8 | POLICY |
//! | 0x010 | 16 | FAMILY_ID |
//! | 0x020 | 16 | IMAGE_ID |
//! | 0x030 | 4 | VMPL |
//! | 0x034 | 4 | SIGNATURE_ALGO |
//! | 0x038 | 8 | CURRENT_TCB |
//! | 0x040 | 8 | PLATFORM_INFO |
//! | 0x048 | 4 | flags: AUTHOR_KEY_EN, MASK_CHIP_KEY, SIGNING_KEY |
//! | 0x04c | 4 | zero |
//! | 0x050 | 64 | REPORT_DATA |
//! | 0x090 | 48 | MEASUREMENT |
//! | 0x0c0 | 32 | HOST_DATA |
//! | 0x0e0 | 48 | ID_KEY_DIGEST |
//! | 0x110 | 48 | AUTHOR_KEY_DIGEST |
//! | 0x140 | 32 | REPORT_ID |
//! | 0x160 | 32 | REPORT_ID_MA |
//! | 0x180 | 8 | REPORTED_TCB |
//! | 0x188 | 3 | CPUID family, model, stepping; zero in version 2 |
//! | 0x18b | 21 | zero |
//! | 0x1a0 | 64 | CHIP_ID |
//! | 0x1e0 | 8 | COMMITTED_TCB |
//! | 0x1e8 | 4 | CURRENT build, minor, major, zero |
//! | 0x1ec | 4 | COMMITTED build, minor, major, zero |
//! | 0x1f0 | 8 | LAUNCH_TCB |
//! | 0x1f8 | 16 | LAUNCH_MIT_VECTOR, CURRENT_MIT_VECTOR; zero before version 5 |
//! | 0x208 | 152 | zero |
//! | 0x2a0 | 512 | signature: R and S of 72 bytes each, little-endian, then zero |

use alloc::vec::Vec;

use super::tcb::Firmware;

/// Length of a report.
pub(crate) const REPORT_BYTES: usize = 0x4a0;
/// Length of the signed part.
pub(crate) const SIGNED_BYTES: usize = 0x2a0;

/// A report's raw bytes, read by offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report<'a>(&'a [u8; REPORT_BYTES]);

/// Which key signed the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SigningKey {
    Vcek,
    Vlek,
}

impl SigningKey {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            SigningKey::Vcek => "VCEK",
            SigningKey::Vlek => "VLEK",
        }
    }
}

impl<'a> Report<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// `N` bytes at an offset that this file states; every one lies inside the report.
    fn at<const N: usize>(&self, offset: usize) -> &'a [u8; N] {
        self.0[offset..offset + N]
            .try_into()
            .expect("N bytes were cut out")
    }

    fn u32_at(&self, offset: usize) -> u32 {
        u32::from_le_bytes(*self.at(offset))
    }

    fn u64_at(&self, offset: usize) -> u64 {
        u64::from_le_bytes(*self.at(offset))
    }

    pub(crate) fn version(&self) -> u32 {
        self.u32_at(0x000)
    }

    pub(crate) fn guest_svn(&self) -> u32 {
        self.u32_at(0x004)
    }

    pub(crate) fn policy(&self) -> u64 {
        self.u64_at(0x008)
    }

    pub(crate) fn family_id(&self) -> &'a [u8; 16] {
        self.at(0x010)
    }

    pub(crate) fn image_id(&self) -> &'a [u8; 16] {
        self.at(0x020)
    }

    pub(crate) fn vmpl(&self) -> u32 {
        self.u32_at(0x030)
    }

    pub(crate) fn signature_algorithm(&self) -> u32 {
        self.u32_at(0x034)
    }

    pub(crate) fn current_tcb(&self) -> &'a [u8; 8] {
        self.at(0x038)
    }

    pub(crate) fn platform_info(&self) -> u64 {
        self.u64_at(0x040)
    }

    pub(crate) fn author_key_enabled(&self) -> bool {
        self.u32_at(0x048) & 1 != 0
    }

    pub(crate) fn chip_key_is_masked(&self) -> bool {
        self.u32_at(0x048) & 2 != 0
    }

    /// `None` for 7 (none) and for reserved values.
    pub(crate) fn signing_key(&self) -> Option<SigningKey> {
        match self.u32_at(0x048) >> 2 & 7 {
            0 => Some(SigningKey::Vcek),
            1 => Some(SigningKey::Vlek),
            _ => None,
        }
    }

    pub(crate) fn report_data(&self) -> &'a [u8; 64] {
        self.at(0x050)
    }

    pub(crate) fn measurement(&self) -> &'a [u8; 48] {
        self.at(0x090)
    }

    pub(crate) fn host_data(&self) -> &'a [u8; 32] {
        self.at(0x0c0)
    }

    pub(crate) fn id_key_digest(&self) -> &'a [u8; 48] {
        self.at(0x0e0)
    }

    pub(crate) fn author_key_digest(&self) -> &'a [u8; 48] {
        self.at(0x110)
    }

    /// Differs from guest to guest on one platform.
    pub(crate) fn report_id(&self) -> &'a [u8; 32] {
        self.at(0x140)
    }

    /// All ones when no migration agent is bound.
    pub(crate) fn report_id_ma(&self) -> &'a [u8; 32] {
        self.at(0x160)
    }

    pub(crate) fn reported_tcb(&self) -> &'a [u8; 8] {
        self.at(0x180)
    }

    /// CPUID family, model and stepping; `None` in version 2, which does not carry them.
    pub(crate) fn processor(&self) -> Option<[u8; 3]> {
        if self.version() == 2 {
            None
        } else {
            Some(*self.at(0x188))
        }
    }

    pub(crate) fn chip_id(&self) -> &'a [u8; 64] {
        self.at(0x1a0)
    }

    pub(crate) fn committed_tcb(&self) -> &'a [u8; 8] {
        self.at(0x1e0)
    }

    pub(crate) fn current_firmware(&self) -> Firmware {
        self.firmware(0x1e8)
    }

    pub(crate) fn committed_firmware(&self) -> Firmware {
        self.firmware(0x1ec)
    }

    fn firmware(&self, offset: usize) -> Firmware {
        let [build, minor, major] = *self.at(offset);
        Firmware { major, minor, build }
    }

    pub(crate) fn launch_tcb(&self) -> &'a [u8; 8] {
        self.at(0x1f0)
    }

    pub(crate) fn launch_mitigations(&self) -> u64 {
        self.u64_at(0x1f8)
    }

    pub(crate) fn current_mitigations(&self) -> u64 {
        self.u64_at(0x200)
    }

    pub(crate) fn signed_bytes(&self) -> &'a [u8; SIGNED_BYTES] {
        self.at(0)
    }

    /// `r || s`, big-endian, as ECDSA libraries take it; the bytes above 48 are reserved.
    pub(crate) fn signature(&self) -> [u8; 96] {
        let mut signature = [0; 96];
        signature[..48].copy_from_slice(self.at::<48>(0x2a0));
        signature[48..].copy_from_slice(self.at::<48>(0x2e8));
        signature[..48].reverse();
        signature[48..].reverse();
        signature
    }

    /// The first offset of a reserved byte, or of a byte with reserved bits, that is not zero.
    /// TCB versions are [`super::TcbVersion::parse`]'s to check, the guest policy's bits the rules'.
    pub(crate) fn reserved_not_zero(&self) -> Option<usize> {
        let version_specific = match self.version() {
            2 => [0x188..0x1a0, 0x1f8..0x2a0],
            3 | 4 => [0x18b..0x1a0, 0x1f8..0x2a0],
            _ => [0x18b..0x1a0, 0x208..0x2a0],
        };
        let always = [
            0x049..0x050,
            0x1eb..0x1ec,
            0x1ef..0x1f0,
            0x2d0..0x2e8,
            0x318..REPORT_BYTES,
        ];
        if self.0[0x048] & 0xe0 != 0 {
            return Some(0x048);
        }
        always
            .into_iter()
            .chain(version_specific)
            .flatten()
            .find(|offset| self.0[*offset] != 0)
    }
}

/// The key distribution service finds a VCEK by chip id and reported TCB.
pub(crate) fn subject(report: &Report<'_>) -> Vec<u8> {
    [&report.chip_id()[..], &report.reported_tcb()[..]].concat()
}
