//! Google's vTPM, which the host runs: a device of the machine, not its security processor.
//!
//! 1. NV index 0x01C10001 holds the template of the RSA attestation key; a primary key of the
//!    endorsement hierarchy by this template is the key, the same each time.
//! 2. The key quotes the registers with the caller's qualifying data.
//! 3. NV index 0x01C10000 holds the key's certificate, in which Google names project and instance.
//!
//! What this proves is that Google's infrastructure ran this boot, not what runs in the confidential VM:
//! for that, the platform's own measurements count.

use attestation::{
    DeviceEvidence, DeviceKind, Endorsements, GceVtpmEvidence, ReportData, certificates_in_pem,
    vtpm_qualifying_data,
};
use sha2::{Digest as _, Sha256};

use crate::tpm::{self, Connect, DeviceFile, PcrSelection, Tpm};
use crate::{AttesterError, Device, pem};

const KEY_CERTIFICATE: u32 = 0x01c1_0000;
const KEY_TEMPLATE: u32 = 0x01c1_0001;
const TEMPLATE_BYTES_MAX: usize = 1024;
const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// Collects quotes of Google's vTPM.
pub struct GceVtpm {
    tpm: Box<dyn Connect>,
    selection: PcrSelection,
}

impl GceVtpm {
    /// Opens the vTPM where Linux puts it; an error if it is not Google's.
    pub fn open() -> Result<Self, AttesterError> {
        Self::open_with(Box::new(DeviceFile::new(tpm::DEVICE)))
    }

    /// Opens the vTPM behind `tpm`.
    pub fn open_with(tpm: Box<dyn Connect>) -> Result<Self, AttesterError> {
        if Tpm::connect(&*tpm)?.nv_index(KEY_TEMPLATE)?.is_none() {
            return Err(AttesterError::TpmMissing(
                "attestation key template at 0x01C10001",
            ));
        }
        Ok(Self {
            tpm,
            selection: PcrSelection::ALL,
        })
    }

    /// Quotes these registers. The default is all of them, of which a policy can pick.
    #[must_use]
    pub fn with_selection(mut self, selection: PcrSelection) -> Self {
        self.selection = selection;
        self
    }

    /// A quote qualified by `qualifying_data`.
    pub fn quote(&self, qualifying_data: &[u8; 32]) -> Result<DeviceEvidence, AttesterError> {
        let mut tpm = Tpm::connect(&*self.tpm)?;
        let template = tpm
            .nv_read(KEY_TEMPLATE, TEMPLATE_BYTES_MAX)?
            .ok_or(AttesterError::TpmMissing(
                "attestation key template at 0x01C10001",
            ))?;
        let certificates = self.certificate(&mut tpm)?;
        let key = tpm.create_primary(&template)?;
        let quoted = tpm.quote(key.handle, qualifying_data, self.selection);
        let binding = key.public.clone();
        // Without a resource manager the key would stay; with one, closing the device would do.
        tpm.flush(key)?;
        let quoted = quoted?;
        let evidence = GceVtpmEvidence {
            ak_public: binding,
            quote_message: quoted.message,
            quote_signature: quoted.signature,
            pcr_values: quoted.values,
        };
        Ok(DeviceEvidence {
            kind: DeviceKind::GceVtpm,
            evidence: evidence.encode().map_err(|_| AttesterError::TpmMalformed {
                command: "Quote",
                reason: "over the bounds of vTPM evidence",
            })?,
            certificates,
            endorsements: Endorsements::new(),
        })
    }

    /// The key's certificate alone, PEM; empty if Google gave none.
    fn certificate(&self, tpm: &mut Tpm<'_>) -> Result<Vec<u8>, AttesterError> {
        match tpm.nv_read(KEY_CERTIFICATE, CERTIFICATE_BYTES_MAX)? {
            None => Ok(Vec::new()),
            Some(content) => {
                let certificate = pem::without_zero_padding(&content);
                Ok(pem::encode(certificate.ok_or(AttesterError::TpmMalformed {
                    command: "NV_Read",
                    reason: "the key's certificate is not DER",
                })?))
            }
        }
    }
}

impl Device for GceVtpm {
    fn evidence(&self, report_data: &ReportData) -> Result<Vec<DeviceEvidence>, AttesterError> {
        Ok(vec![self.quote(&vtpm_qualifying_data(report_data))?])
    }

    fn digests(&self) -> Result<Vec<[u8; 32]>, AttesterError> {
        let certificate = self.certificate(&mut Tpm::connect(&*self.tpm)?)?;
        let leaf = certificates_in_pem(&certificate).and_then(|chain| chain.into_iter().next());
        let leaf = leaf.ok_or(AttesterError::TpmMissing(
            "attestation key certificate at 0x01C10000",
        ))?;
        Ok(vec![Sha256::digest(leaf).into()])
    }
}

#[cfg(test)]
mod tests {
    use attestation::{DeviceKind, GceVtpmEvidence, vtpm_qualifying_data};
    use sha2::{Digest as _, Sha256};

    use super::{GceVtpm, KEY_CERTIFICATE, KEY_TEMPLATE};
    use crate::tpm::PcrSelection;
    use crate::tpm::swtpm::Swtpm;
    use crate::{AttesterError, Device as _, pem};

    const READ_ONLY: &str = "ownerread|ownerwrite";
    const RSA_2048_BYTES: usize = 256;

    fn open(swtpm: &Swtpm) -> GceVtpm {
        GceVtpm::open_with(Box::new(swtpm.socket())).expect("it opens")
    }

    /// The template by which a key was made: its public area without the modulus.
    fn template(public: &[u8]) -> Vec<u8> {
        let at = public.len() - RSA_2048_BYTES;
        [&public[..at], &[0; RSA_2048_BYTES]].concat()
    }

    #[test]
    fn the_key_of_googles_template_quotes() {
        let (Some(vectors), Some(swtpm)) = (crate::vectors::folder(), Swtpm::start()) else {
            return;
        };
        let read = |name: &str| std::fs::read(vectors.join("gcp").join(name)).expect("a vector");
        let error = GceVtpm::open_with(Box::new(swtpm.socket()))
            .err()
            .expect("no template");
        assert!(matches!(error, AttesterError::TpmMissing(_)), "{error}");

        let template = template(&read("gcp-vtpm-cos85-nonce9009/ak-pub.tpmt"));
        let certificate = read("gcp-vtpm-ak-certificate-openpcc/ak.der");
        swtpm.define(KEY_TEMPLATE, READ_ONLY, &template);
        let vtpm = open(&swtpm).with_selection(PcrSelection::of(&[0, 4, 8]).expect("a selection"));
        let first = vtpm.evidence(&[5; 64]).expect("evidence").remove(0);
        assert_eq!(first.kind, DeviceKind::GceVtpm);
        assert_eq!(first.certificates, b"", "there was none yet");
        swtpm.define(KEY_CERTIFICATE, READ_ONLY, &certificate);
        // More often than a TPM has room for keys: each is flushed.
        for _ in 0..4 {
            let again = vtpm.evidence(&[5; 64]).expect("evidence").remove(0);
            assert_eq!(again.certificates, pem::encode(&certificate));
            assert_eq!(
                binding(&again.evidence),
                binding(&first.evidence),
                "the same key each time"
            );
        }

        assert_eq!(
            vtpm.digests().expect("a certificate"),
            [<[u8; 32]>::from(Sha256::digest(&certificate))]
        );

        let evidence = GceVtpmEvidence::decode(&first.evidence).expect("vTPM evidence");
        let public = evidence.ak_public;
        assert_eq!(
            public[..public.len() - RSA_2048_BYTES],
            template[..template.len() - RSA_2048_BYTES]
        );
        assert_ne!(public, template, "the modulus is the TPM's");
        let mut sized = (public.len() as u16).to_be_bytes().to_vec();
        sized.extend(public);
        swtpm.file("ak.pub", &sized);
        let parts = (
            &evidence.quote_message[..],
            &evidence.quote_signature[..],
            &evidence.pcr_values[..],
        );
        let qualifying_data = vtpm_qualifying_data(&[5; 64]);
        assert!(swtpm.takes_quote(parts, &[0, 4, 8], &qualifying_data));
        assert!(!swtpm.takes_quote(parts, &[0, 4, 8], &[5; 32]));
    }

    fn binding(evidence: &[u8]) -> Vec<u8> {
        GceVtpmEvidence::decode(evidence)
            .expect("vTPM evidence")
            .ak_public
    }

    #[test]
    fn a_template_that_makes_no_signing_key_is_refused_by_the_tpm() {
        let Some(swtpm) = Swtpm::start() else {
            return;
        };
        swtpm.define(KEY_TEMPLATE, READ_ONLY, &[0; 64]);
        let error = open(&swtpm).quote(&[1; 32]).expect_err("no template");
        assert!(
            matches!(
                error,
                AttesterError::TpmRefused {
                    command: "CreatePrimary",
                    ..
                }
            ),
            "{error}"
        );
    }
}
