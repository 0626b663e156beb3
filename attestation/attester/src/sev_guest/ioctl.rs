//! SNP_GET_EXT_REPORT: a report together with the certificates that the host attached.
//!
//! The crate `sev` has this call, but reads the table without knowing where its buffer ends: offsets and
//! lengths in it are the host's, who would choose which memory of ours is published as a certificate.
//! So the buffer is had here, and [`crate::certificate_table`] reads it within its bounds.
// UNSAFETY: an ioctl whose argument points to further structures cannot be made safely through any crate;
// this module makes one, and hands out what the kernel wrote as a Vec.
#![allow(unsafe_code, reason = "one ioctl, in one block")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use attestation::ReportData;

/// SEV_FW_BLOB_MAX_SIZE: the kernel takes no larger buffer, and only whole pages.
const TABLE_BYTES: usize = 16 * 1024;
/// `_IOWR('S', 2, struct snp_guest_request_ioctl)` (include/uapi/linux/sev-guest.h).
const SNP_GET_EXT_REPORT: libc::Ioctl = request_number(size_of::<GuestRequest>());
const MESSAGE_VERSION: u8 = 1;

const fn request_number(bytes: usize) -> libc::Ioctl {
    (3 << 30 | (bytes as u32) << 16 | (b'S' as u32) << 8 | 2) as libc::Ioctl
}

/// `struct snp_guest_request_ioctl`.
#[repr(C)]
struct GuestRequest {
    message_version: u8,
    request: u64,
    response: u64,
    exit_information: u64,
}

/// `struct snp_ext_report_req`.
#[repr(C)]
struct ExtendedReportRequest {
    report_data: ReportData,
    privilege_level: u32,
    reserved: [u8; 28],
    certificates: u64,
    certificates_bytes: u32,
}

/// `struct snp_report_resp`.
#[repr(C)]
struct ReportResponse([u8; 4000]);

/// The certificate table that the host attached to a report; zeros if it attached none.
pub(super) fn certificate_table(
    device: &Path,
    report_data: &ReportData,
    privilege_level: u32,
) -> io::Result<Vec<u8>> {
    let device = File::open(device)?;
    let mut table = vec![0_u8; TABLE_BYTES];
    let mut request = ExtendedReportRequest {
        report_data: *report_data,
        privilege_level,
        reserved: [0; 28],
        certificates: table.as_mut_ptr().expose_provenance() as u64,
        certificates_bytes: TABLE_BYTES as u32,
    };
    let mut response = ReportResponse([0; 4000]);
    let mut argument = GuestRequest {
        message_version: MESSAGE_VERSION,
        request: (&raw mut request).expose_provenance() as u64,
        response: (&raw mut response).expose_provenance() as u64,
        exit_information: 0,
    };
    // SAFETY: the layouts are those of the kernel's header, tested below. The kernel writes at most the
    // sizes of `argument`, `request`, `response` and `certificates_bytes` of `table`; all four are owned
    // here, writable, and outlive the call. The descriptor is open.
    let outcome = unsafe { libc::ioctl(device.as_raw_fd(), SNP_GET_EXT_REPORT, &raw mut argument) };
    if outcome == 0 {
        Ok(table)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::{ExtendedReportRequest, GuestRequest, SNP_GET_EXT_REPORT};

    #[test]
    fn the_layouts_are_the_kernels() {
        assert_eq!(SNP_GET_EXT_REPORT, 0xc020_5302_u32 as libc::Ioctl);
        assert_eq!(size_of::<GuestRequest>(), 32);
        assert_eq!(offset_of!(GuestRequest, request), 8);
        assert_eq!(offset_of!(GuestRequest, exit_information), 24);
        assert_eq!(size_of::<ExtendedReportRequest>(), 112);
        assert_eq!(offset_of!(ExtendedReportRequest, privilege_level), 64);
        assert_eq!(offset_of!(ExtendedReportRequest, certificates), 96);
        assert_eq!(offset_of!(ExtendedReportRequest, certificates_bytes), 104);
    }
}
