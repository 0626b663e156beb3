//! The TDREPORT inside an HCL report (Intel TDX module ABI, TDREPORT_STRUCT), little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | REPORTTYPE: type 0x81, subtype 0, version 0 or 1, zero |
//! | 4 | 12 | zero |
//! | 16 | 16 | CPUSVN |
//! | 32 | 48 | TEE_TCB_INFO_HASH |
//! | 80 | 48 | TEE_INFO_HASH |
//! | 128 | 64 | REPORTDATA |
//! | 192 | 32 | zero |
//! | 224 | 32 | MAC |
//! | 256 | 239 | TEE_TCB_INFO: valid(8), TEE_TCB_SVN(16), MRSEAM, MRSIGNERSEAM(48 each), attributes(8), ... |
//! | 495 | 17 | zero |
//! | 512 | 512 | TDINFO: attributes(8), XFAM(8), MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG, RTMR0-3(48 each), ... |
//! | 1024 | 160 | zero, up to the size of an SNP report |
//!
//! Only the platform that made it can check the MAC. It counts for nothing by itself: the quote that
//! Intel's enclave made of it is what is signed, and the two must agree. CPUSVN and MAC are in no quote.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha384};

use crate::clause::Question::Genuine;
use crate::examination::{Examination, Fault, Rule};
use crate::fields::{Field, Fields};
use crate::tdx::Quote;

/// The space for a hardware report in an HCL report.
const SPACE_BYTES: usize = 1184;

static TD_REPORT: Rule = Rule::new(
    "azure-td-report",
    Genuine,
    Fault::Malformed,
    "Intel TDX module ABI, TDREPORT_STRUCT",
    "a report whose parts do not belong together",
);
static TD_QUOTE: Rule = Rule::new(
    "azure-td-quote",
    Genuine,
    Fault::Mismatch,
    "QVL appendix A.3.2; Intel TDX module ABI, TDREPORT_STRUCT",
    "a genuine quote of another trust domain beside the report",
);

/// What is asked of the report on TDX, beside the other rules.
pub(crate) static TD_RULES: &[&Rule] = &[&TD_REPORT, &TD_QUOTE];

/// A TDREPORT, read by offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TdReport<'a>(&'a [u8; SPACE_BYTES]);

impl<'a> TdReport<'a> {
    pub(crate) fn new(space: &'a [u8; SPACE_BYTES]) -> Self {
        Self(space)
    }

    pub(crate) fn report_data(self) -> &'a [u8; 64] {
        self.0[128..192].try_into().expect("64 bytes were cut out")
    }

    /// What a quote of it would say of the trust domain.
    pub(crate) fn fields(self) -> Vec<Field> {
        let mut fields = Fields::default();
        let mut field = |name, offset: usize, bytes: usize| {
            fields.bytes(name, offset, &self.0[offset..offset + bytes]);
        };
        field("REPORTDATA", 128, 64);
        field("TEE_TCB_SVN", 264, 16);
        field("MRSEAM", 280, 48);
        field("ATTRIBUTES", 512, 8);
        field("XFAM", 520, 8);
        field("MRTD", 528, 48);
        field("MRCONFIGID", 576, 48);
        fields.into_vec()
    }

    fn mrtd(self) -> &'a [u8; 48] {
        self.0[528..576].try_into().expect("48 bytes were cut out")
    }

    /// What is wrong with it by itself.
    fn fault(self) -> Option<&'static str> {
        let [kind, subtype, version, reserved] = [self.0[0], self.0[1], self.0[2], self.0[3]];
        if kind != 0x81 || subtype != 0 || version > 1 || reserved != 0 {
            return Some("REPORTTYPE");
        }
        let zero = [4..16, 192..224, 495..512, 1024..SPACE_BYTES];
        if zero.into_iter().flatten().any(|at| self.0[at] != 0) {
            return Some("a reserved byte is not zero");
        }
        if Sha384::digest(&self.0[256..495])[..] != self.0[32..80] {
            return Some("TEE_TCB_INFO_HASH");
        }
        if Sha384::digest(&self.0[512..1024])[..] != self.0[80..128] {
            return Some("TEE_INFO_HASH");
        }
        None
    }

    /// The first field in which the quote's body differs.
    fn differs_from(self, quote: &Quote<'_>) -> Option<&'static str> {
        let body = &quote.body;
        let at = |from: usize, bytes: usize| &self.0[from..from + bytes];
        [
            ("REPORTDATA", self.report_data() == body.report_data()),
            ("MRTD", self.mrtd() == body.mrtd()),
            ("ATTRIBUTES", at(512, 8) == body.td_attributes().to_le_bytes()),
            ("XFAM", at(520, 8) == body.xfam().to_le_bytes()),
            ("MRCONFIGID", at(576, 48) == body.mrconfigid()),
            ("MROWNER", at(624, 48) == body.mrowner()),
            ("MROWNERCONFIG", at(672, 48) == body.mrownerconfig()),
            ("RTMR0", at(720, 48) == body.rtmr(0)),
            ("RTMR1", at(768, 48) == body.rtmr(1)),
            ("RTMR2", at(816, 48) == body.rtmr(2)),
            ("RTMR3", at(864, 48) == body.rtmr(3)),
            ("TEE_TCB_SVN", at(264, 16) == body.tee_tcb_svn()),
            ("MRSEAM", at(280, 48) == body.mrseam()),
            ("MRSIGNERSEAM", at(328, 48) == body.mrsignerseam()),
            ("SEAMATTRIBUTES", at(376, 8) == body.seam_attributes()),
        ]
        .into_iter()
        .find(|(_, same)| !same)
        .map(|(name, _)| name)
    }

    /// Records the clauses; the second only if there is a quote that could be read.
    pub(crate) fn check(self, examination: &mut Examination, quote: &[u8]) {
        let fault = self.fault();
        examination.check(
            &TD_REPORT,
            fault.is_none(),
            "a TDREPORT",
            fault.unwrap_or("a TDREPORT"),
        );
        let difference = match Quote::parse(quote) {
            Some(quote) => self.differs_from(&quote).map(|name| format!("another {name}")),
            None => Some(String::from("no quote")),
        };
        examination.check(
            &TD_QUOTE,
            difference.is_none(),
            "the quote of this report",
            difference.unwrap_or_else(|| String::from("the same fields")),
        );
    }
}
