//! What the collector needs of Azure's HCL report; the whole of it is the Verifier's to read.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | "HCLA" |
//! | 4 | 4 | version |
//! | 8 | 4 | report size |
//! | 12 | 4 | request type |
//! | 16 | 4 | status, 0 where the hardware gave a report |
//! | 32 | 1184 | SNP report, or TDREPORT in the first 1024 |
//! | 1216 | 4 | size of the runtime data with this header |
//! | 1224 | 4 | report type: 2 SNP, 4 TDX |
//! | 1232 | 4 | size of the runtime claims |
//! | 1236 | | runtime claims, JSON |

use serde_json::Value;

const MAGIC: &[u8] = b"HCLA";
const HARDWARE_REPORT: usize = 32;
const TD_REPORT_BYTES: usize = 1024;
const CLAIMS: usize = 1236;
const CLAIMS_BYTES_MAX: usize = 6 * 1024;

/// Which hardware the paravisor has its reports from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hardware {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

/// The fields of a report.
#[derive(Debug)]
pub(crate) struct Hcl<'a> {
    pub(crate) hardware: Hardware,
    report: &'a [u8],
    claims: &'a [u8],
}

impl<'a> Hcl<'a> {
    /// Finds the fields; the error says what is wrong.
    pub(crate) fn parse(report: &'a [u8]) -> Result<Self, &'static str> {
        if !report.starts_with(MAGIC) {
            return Err("not an HCL report");
        }
        let word = |offset: usize| {
            let bytes = report.get(offset..)?.first_chunk::<4>()?;
            Some(u32::from_le_bytes(*bytes))
        };
        let (Some(status), Some(kind), Some(size)) = (word(16), word(1224), word(1232)) else {
            return Err("shorter than an HCL report");
        };
        if status != 0 {
            return Err("the paravisor could not get a hardware report");
        }
        let hardware = match kind {
            2 => Hardware::Snp,
            4 => Hardware::Tdx,
            _ => return Err("of hardware that is not known"),
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > CLAIMS_BYTES_MAX {
            return Err("the runtime claims exceed their bound");
        }
        let claims = report.get(CLAIMS..).and_then(|rest| rest.get(..size));
        Ok(Self {
            hardware,
            report,
            claims: claims.ok_or("the runtime claims are cut off")?,
        })
    }

    /// TDREPORT_STRUCT.
    pub(crate) fn td_report(&self) -> Option<&'a [u8]> {
        self.report.get(HARDWARE_REPORT..)?.get(..TD_REPORT_BYTES)
    }

    /// Whether the report carries these user data. Paravisors that know nothing of user data (the
    /// claim is missing) never will, so for them this is true.
    pub(crate) fn carries(&self, user_data: &[u8]) -> Result<bool, &'static str> {
        let claims: Value =
            serde_json::from_slice(self.claims).map_err(|_| "the runtime claims are not JSON")?;
        let Some(found) = claims.get("user-data") else {
            return Ok(true);
        };
        let found = found.as_str().ok_or("the user data are not text")?;
        let expected: String = user_data.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(found.eq_ignore_ascii_case(&expected))
    }
}

#[cfg(test)]
mod tests {
    use super::{Hardware, Hcl};

    fn report(kind: u32, claims: &str) -> Vec<u8> {
        let mut report = vec![0; 1236];
        report[..4].copy_from_slice(b"HCLA");
        report[1224..1228].copy_from_slice(&kind.to_le_bytes());
        report[1232..1236].copy_from_slice(&(claims.len() as u32).to_le_bytes());
        report.extend(claims.as_bytes());
        report.extend([0; 100]);
        report
    }

    #[test]
    fn user_data_are_compared_whole() {
        let report = report(2, r#"{"keys":[],"user-data":"0AfF"}"#);
        let hcl = Hcl::parse(&report).expect("a report");
        assert_eq!(hcl.hardware, Hardware::Snp);
        assert_eq!(hcl.carries(&[0x0a, 0xff]), Ok(true));
        assert_eq!(hcl.carries(&[0x0a]), Ok(false));
        assert_eq!(hcl.carries(&[0x0a, 0xfe]), Ok(false));
    }

    #[test]
    fn what_is_not_a_report_is_refused() {
        assert_eq!(
            Hcl::parse(&report(4, "{}")).map(|hcl| hcl.hardware),
            Ok(Hardware::Tdx)
        );
        assert!(Hcl::parse(&report(3, "{}")).is_err());
        let whole = report(2, "{}");
        for length in 0..1238 {
            assert!(Hcl::parse(&whole[..length]).is_err(), "{length} bytes");
        }
        let mut failed = whole.clone();
        failed[16] = 1;
        assert!(Hcl::parse(&failed).is_err());
        let mut long = whole;
        long[1232..1236].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Hcl::parse(&long).is_err());
        assert!(
            Hcl::parse(&report(2, "["))
                .expect("a shape")
                .carries(&[1])
                .is_err()
        );
        assert!(
            Hcl::parse(&report(2, r#"{"user-data":1}"#))
                .expect("a shape")
                .carries(&[1])
                .is_err()
        );
    }

    #[test]
    fn real_reports_are_read() {
        let Some(vectors) = crate::vectors::folder() else {
            return;
        };
        let mut seen = [0, 0];
        for entry in std::fs::read_dir(vectors.join("azure")).expect("the Azure vectors") {
            let folder = entry.expect("an entry").path();
            let report = std::fs::read(folder.join("hcl-report.bin")).expect("a report");
            let hcl = Hcl::parse(&report).expect("a report");
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            let expected = if name.contains("tdx") {
                Hardware::Tdx
            } else {
                Hardware::Snp
            };
            assert_eq!(hcl.hardware, expected, "{name}");
            let carries = [[0; 64], [1; 64]].map(|data| hcl.carries(&data).expect("claims"));
            let expected = match name.as_str() {
                // Too old for user data; with user data of whoever made the sample; the rest without.
                "azure-snp-milan-v2-kinvolk" => [true, true],
                "azure-tdx-lunal" => [false, false],
                _ => [true, false],
            };
            assert_eq!(carries, expected, "{name}");
            assert_eq!(hcl.td_report().map(<[u8]>::len), Some(1024));
            seen[usize::from(hcl.hardware == Hardware::Tdx)] += 1;
        }
        assert!(seen[0] > 0 && seen[1] > 0);
    }
}
