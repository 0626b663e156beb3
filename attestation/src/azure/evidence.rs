//! Azure's evidence as it travels; `tpm::evidence` has the table of the encoding.

use alloc::vec::Vec;

use super::hcl::HclReport;
use crate::error::BundleError;
use crate::snp::{self, Report};
use crate::tdx;
use crate::tpm::evidence::Parts;

/// What the paravisor and the vTPM of an Azure confidential VM say. Nothing in it has been checked but
/// its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureEvidence {
    /// The report of the host compatibility layer, as it stands in NV index 0x01400001; at most 8 KiB.
    pub hcl_report: Vec<u8>,
    /// The TD quote that Azure's metadata service made of the report inside; only on TDX, at most 16 KiB.
    pub td_quote: Option<Vec<u8>>,
    /// TPMS_ATTEST of the quote over the SHA-256 bank, with [`crate::vtpm_qualifying_data`]; at most 1 KiB.
    pub quote_message: Vec<u8>,
    /// RSASSA signature over it, without the TPMT_SIGNATURE around it; at most 512 bytes.
    pub quote_signature: Vec<u8>,
    /// The quoted PCRs' values, one after the other in ascending order; at most 768 bytes.
    pub pcr_values: Vec<u8>,
}

impl AzureEvidence {
    /// Encodes; refuses what [`AzureEvidence::decode`] would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, BundleError> {
        Parts {
            voucher: &self.hcl_report,
            td_quote: self.td_quote.as_deref(),
            message: &self.quote_message,
            signature: &self.quote_signature,
            pcr_values: &self.pcr_values,
        }
        .encode()
    }

    /// Decodes; only the deterministic encoding within the bounds is accepted.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        let parts = Parts::decode(bytes)?;
        Ok(Self {
            hcl_report: parts.voucher.to_vec(),
            td_quote: parts.td_quote.map(<[u8]>::to_vec),
            quote_message: parts.message.to_vec(),
            quote_signature: parts.signature.to_vec(),
            pcr_values: parts.pcr_values.to_vec(),
        })
    }
}

/// The endorsements of Azure's evidence are those of the processor inside.
pub(crate) fn subject(evidence: &[u8]) -> Option<Vec<u8>> {
    let parts = Parts::decode(evidence).ok()?;
    match parts.td_quote {
        Some(quote) => tdx::Quote::parse(quote).as_ref().and_then(tdx::subject),
        None => {
            let hcl = HclReport::parse(parts.voucher)?;
            Report::parse(hcl.hardware_report).as_ref().map(snp::subject)
        }
    }
}
