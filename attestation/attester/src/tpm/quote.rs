//! Quotes, with the register values that they are of.
//!
//! 1. PCR_Read, several times: one answer has at most eight values (TCG TPM 2.0 Library, part 3,
//!    section 22.4).
//! 2. Quote (section 18.4) over the same registers, with the caller's qualifying data.
//! 3. If the quote's digest is not that of the values, a register was extended in between: both again.

use super::Tpm;
use super::marshal::{Answer, Command};
use super::selection::{PcrSelection, SHA256, digest};
use crate::AttesterError;

const MESSAGE_BYTES_MAX: usize = 1024;
const SIGNATURE_BYTES_MAX: usize = 512;
const VALUE_BYTES: usize = 32;
const ATTEMPTS: usize = 5;
/// TPM_ALG_RSASSA (part 2, table 9).
const RSASSA: u16 = 0x0014;
/// TPM_GENERATED_VALUE and TPM_ST_ATTEST_QUOTE (part 2, sections 6.2 and 6.9).
const GENERATED: [u8; 4] = [0xff, 0x54, 0x43, 0x47];
const ATTEST_QUOTE: u16 = 0x8018;

/// A quote and the values that it is of.
pub(crate) struct Quoted {
    /// TPMS_ATTEST, as it was signed.
    pub(crate) message: Vec<u8>,
    /// RSASSA with SHA-256, the signature alone.
    pub(crate) signature: Vec<u8>,
    /// The SHA-256 values in the order of their numbers.
    pub(crate) values: Vec<u8>,
}

impl Tpm<'_> {
    /// Quotes `selection` with the key at `handle`.
    pub(crate) fn quote(
        &mut self,
        handle: u32,
        qualifying_data: &[u8; 32],
        selection: PcrSelection,
    ) -> Result<Quoted, AttesterError> {
        for _ in 0..ATTEMPTS {
            let values = self.pcr_values(selection)?;
            let (message, signature) = self.sign(handle, qualifying_data, selection)?;
            if quoted_digest(&message, qualifying_data, selection)? == digest(&values) {
                return Ok(Quoted {
                    message,
                    signature,
                    values,
                });
            }
        }
        Err(AttesterError::RegistersChanging)
    }

    /// The values of the selected registers, concatenated.
    fn pcr_values(&mut self, selection: PcrSelection) -> Result<Vec<u8>, AttesterError> {
        let mut values = vec![None; 24];
        let mut missing = Some(selection);
        while let Some(asked) = missing {
            let command = Command::new("PCR_Read", 0x17e).bytes(&asked.encode());
            let mut answer = self.run(&command)?;
            let _update_counter = answer.u32()?;
            let given = read_selection(&mut answer)?
                .filter(|given| given.is_within(asked))
                .ok_or_else(|| {
                    answer.malformed("not the registers that were asked for: is there a SHA-256 bank?")
                })?;
            let count = usize::try_from(answer.u32()?).unwrap_or(usize::MAX);
            if count != given.len() {
                return Err(answer.malformed("not as many values as registers"));
            }
            for number in given.numbers() {
                let value = answer.sized(VALUE_BYTES)?;
                if value.len() != VALUE_BYTES {
                    return Err(answer.malformed("a value of another length than SHA-256's"));
                }
                if let Some(place) = values.get_mut(usize::from(number)) {
                    *place = Some(value);
                }
            }
            answer.finish()?;
            // `given` is not empty, so this ends after at most 24 answers.
            missing = asked.without(given);
        }
        Ok(values.into_iter().flatten().flatten().collect())
    }

    fn sign(
        &mut self,
        handle: u32,
        qualifying_data: &[u8; 32],
        selection: PcrSelection,
    ) -> Result<(Vec<u8>, Vec<u8>), AttesterError> {
        let command = Command::new("Quote", 0x158)
            .handle(handle)
            .authorized()
            .sized(qualifying_data)
            // The scheme that evidence is defined with; a key of another one is refused by the TPM.
            .u16(RSASSA)
            .u16(SHA256)
            .bytes(&selection.encode());
        let mut answer = self.run(&command)?;
        let message = answer.sized(MESSAGE_BYTES_MAX)?;
        let (algorithm, hash) = (answer.u16()?, answer.u16()?);
        if (algorithm, hash) != (RSASSA, SHA256) {
            return Err(answer.malformed("signed with another scheme"));
        }
        let signature = answer.sized(SIGNATURE_BYTES_MAX)?;
        answer.finish()?;
        Ok((message, signature))
    }
}

/// The digest in a TPMS_ATTEST (part 2, section 10.12.8), if it is of what was asked for.
fn quoted_digest(
    message: &[u8],
    qualifying_data: &[u8; 32],
    selection: PcrSelection,
) -> Result<[u8; 32], AttesterError> {
    let mut attest = Answer::within("Quote", message);
    if attest.array()? != GENERATED || attest.u16()? != ATTEST_QUOTE {
        return Err(attest.malformed("not a quote"));
    }
    let _signer = attest.sized(128)?;
    if attest.sized(64)? != qualifying_data {
        return Err(attest.malformed("of other qualifying data"));
    }
    let _clock_and_firmware_version = attest.take(17 + 8)?;
    if read_selection(&mut attest)? != Some(selection) {
        return Err(attest.malformed("of other registers than were asked for"));
    }
    let digest = attest.sized(32)?;
    let digest = digest
        .try_into()
        .map_err(|_| attest.malformed("a digest of another length"))?;
    attest.finish()?;
    Ok(digest)
}

/// A TPML_PCR_SELECTION; `None` if it is not of exactly one bank, SHA-256, and not empty.
fn read_selection(answer: &mut Answer) -> Result<Option<PcrSelection>, AttesterError> {
    let (banks, hash) = (answer.u32()?, answer.u16()?);
    let bytes = usize::from(answer.array::<1>()?[0]);
    let selection = PcrSelection::from_bitmap(answer.take(bytes)?);
    Ok(selection.filter(|_| banks == 1 && hash == SHA256))
}

#[cfg(test)]
mod tests {
    use super::{GENERATED, PcrSelection, quoted_digest};

    fn message(selection: &[u8]) -> Vec<u8> {
        let mut message = GENERATED.to_vec();
        message.extend([0x80, 0x18, 0, 2, 1, 1, 0, 32]);
        message.extend([5; 32]);
        message.extend([0; 25]);
        message.extend(selection);
        message.extend([0, 32]);
        message.extend([6; 32]);
        message
    }

    #[test]
    fn a_quote_is_of_what_was_asked_for_and_nothing_else() {
        let selection = PcrSelection::of(&[0, 4]).expect("a selection");
        let good = message(&selection.encode());
        assert_eq!(
            quoted_digest(&good, &[5; 32], selection).expect("a quote"),
            [6; 32]
        );

        let other = PcrSelection::of(&[0, 4, 7]).expect("a selection");
        assert!(quoted_digest(&good, &[4; 32], selection).is_err(), "other data");
        assert!(quoted_digest(&good, &[5; 32], other).is_err(), "other registers");
        let mut two_banks = 2_u32.to_be_bytes().to_vec();
        two_banks.extend([0, 0x0b, 3, 0x11, 0, 0, 0, 4, 3, 0, 0, 0]);
        assert!(quoted_digest(&message(&two_banks), &[5; 32], selection).is_err());
        let sha1 = [0, 0, 0, 1, 0, 4, 3, 0x11, 0, 0];
        assert!(quoted_digest(&message(&sha1), &[5; 32], selection).is_err());
        for at in [0, 5] {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert!(quoted_digest(&changed, &[5; 32], selection).is_err(), "byte {at}");
        }
        for length in 0..good.len() {
            assert!(
                quoted_digest(&good[..length], &[5; 32], selection).is_err(),
                "{length} bytes"
            );
        }
        let mut long = good;
        long.push(0);
        assert!(quoted_digest(&long, &[5; 32], selection).is_err());
    }
}
