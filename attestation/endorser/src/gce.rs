//! Google's launch endorsements: which firmware a measurement is of (google/gce-tcb-verifier).
//!
//! `{bucket}/ovmf_x64_csm/{sevsnp or tdx}/{measurement, hexadecimal}.binarypb`, a protocol buffer
//! `VMLaunchEndorsement { bytes serialized_uefi_golden = 1; bytes signature = 2; }`.

use crate::transport::Question;
use crate::{EndorserError, Service, ServiceUrl, Transport};

/// Which technology measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Technology {
    SevSnp,
    Tdx,
}

/// The bucket at a base URL.
pub(crate) struct GceTcb<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) base: &'a ServiceUrl,
}

impl GceTcb<'_> {
    /// The endorsement of a launch measurement.
    pub(crate) async fn launch_endorsement(
        &self,
        technology: Technology,
        measurement: &[u8; 48],
    ) -> Result<Vec<u8>, EndorserError> {
        let folder = match technology {
            Technology::SevSnp => "sevsnp",
            Technology::Tdx => "tdx",
        };
        let path = format!("/ovmf_x64_csm/{folder}/{}.binarypb", hex::encode(measurement));
        let question = Question::get(Service::GceTcb, self.base.join(&path));
        let endorsement = self.transport.ask(&question).await?.body.to_vec();
        if !is_launch_endorsement(&endorsement) {
            return Err(question.wrong("not a VMLaunchEndorsement"));
        }
        Ok(endorsement)
    }
}

/// Whether these are two length-delimited fields, 1 and 2, and nothing else.
fn is_launch_endorsement(bytes: &[u8]) -> bool {
    field(bytes, 0x0a)
        .and_then(|rest| field(rest, 0x12))
        .is_some_and(<[u8]>::is_empty)
}

/// What follows a field with this key (protocol buffers, encoding of length-delimited fields).
fn field(bytes: &[u8], key: u8) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(&[key])?;
    let mut length = 0usize;
    for shift in [0, 7, 14, 21] {
        let (byte, after) = rest.split_first()?;
        rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (length > 0).then(|| rest.get(length..))?;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::is_launch_endorsement;

    #[test]
    fn only_the_two_fields_are_taken() {
        let long: Vec<u8> = [&[0x0a, 0x80, 0x01][..], &[7; 128], &[0x12, 1, 9]].concat();
        assert!(is_launch_endorsement(&long));
        assert!(is_launch_endorsement(&[0x0a, 1, 7, 0x12, 1, 9]));
        for wrong in [
            &[][..],
            &[0x0a, 1, 7],
            &[0x0a, 0, 0x12, 1, 9],
            &[0x0a, 1, 7, 0x12, 2, 9],
            &[0x0a, 1, 7, 0x12, 1, 9, 0],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x12, 1, 9, 0x0a, 1, 7],
            b"<html>",
        ] {
            assert!(!is_launch_endorsement(wrong), "{wrong:?}");
        }
    }
}
