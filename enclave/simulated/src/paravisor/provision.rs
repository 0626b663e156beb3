//! What the paravisor does with its vTPM before the guest has it (TCG TPM 2.0 Library, part 3): big-endian throughout,
//! every authorization an empty password. The TPM is ours, and its answers are bounded all the same.

use std::io::{Read, Write};

use anyhow::{bail, ensure};
use simulated::azure::VtpmKeys;

/// Where Azure's vTPM has its attestation key.
pub(super) const ATTESTATION_KEY: u32 = 0x8100_0003;
/// TPM2_PT_MAX_COMMAND_SIZE and TPM2_PT_MAX_RESPONSE_SIZE of libtpms.
pub(super) const MESSAGE_BYTES_MAX: usize = 4096;
/// Tag, size and code of every command and answer.
pub(super) const HEADER_BYTES: usize = 10;

/// TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM (part 2, table 28).
const OWNER: u32 = 0x4000_0001;
const ENDORSEMENT: u32 = 0x4000_000b;
const PLATFORM: u32 = 0x4000_000c;
/// An authorization of nine bytes: TPM_RS_PW, no nonce, no attributes, an empty password.
const PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
/// Bytes of an RSA-2048 modulus.
const MODULUS_BYTES: usize = 256;

/// TPML_PCR_SELECTION: SHA-256 whole, SHA-1, SHA-384 and SHA-512 not at all. One bank is what is quoted; firmware that
/// is emulated need not compute the others.
const BANKS: [u8; 28] = [
    0, 0, 0, 4, 0x00, 0x0b, 3, 0xff, 0xff, 0xff, 0x00, 0x04, 3, 0, 0, 0, 0x00, 0x0c, 3, 0, 0, 0, 0x00, 0x0d,
    3, 0, 0, 0,
];

/// TPMT_PUBLIC of the attestation key: RSA, SHA-256; fixed to TPM and parent, made inside, used with its password, not
/// subject to lockout, restricted, for signatures; no policy; no symmetric algorithm; RSASSA with SHA-256; 2048 bits.
const ATTESTATION_TEMPLATE: [u8; 24] = [
    0x00, 0x01, 0x00, 0x0b, 0x00, 0x05, 0x04, 0x72, 0, 0, 0x00, 0x10, 0x00, 0x14, 0x00, 0x0b, 0x08, 0x00, 0,
    0, 0, 0, 0, 0,
];
/// TPMT_PUBLIC of an endorsement key (TCG EK Credential Profile, template L-1), without its policy, with room for the
/// modulus left out: of this key only the modulus is ever told.
const ENDORSEMENT_TEMPLATE: [u8; 26] = [
    0x00, 0x01, 0x00, 0x0b, 0x00, 0x03, 0x00, 0x72, 0, 0, 0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10,
    0x08, 0x00, 0, 0, 0, 0, 0, 0,
];

/// Makes the keys of a TPM that was just powered on; the guest's firmware powers it on again.
pub(super) fn provision(tpm: &mut (impl Read + Write)) -> anyhow::Result<VtpmKeys> {
    // Startup, TPM_SU_CLEAR.
    run(tpm, 0x144, &[], &[0, 0])?;
    // PCR_Allocate takes effect at the next start.
    run(tpm, 0x12b, &[PLATFORM], &BANKS)?;
    let (handle, attestation) = create_primary(tpm, &ATTESTATION_TEMPLATE)?;
    // EvictControl.
    run(tpm, 0x120, &[OWNER, handle], &ATTESTATION_KEY.to_be_bytes())?;
    flush(tpm, handle)?;
    let (handle, endorsement) = create_primary(tpm, &ENDORSEMENT_TEMPLATE)?;
    flush(tpm, handle)?;
    Ok(VtpmKeys {
        attestation,
        endorsement,
    })
}

/// CreatePrimary below the endorsement hierarchy: handle and modulus.
fn create_primary(tpm: &mut (impl Read + Write), template: &[u8]) -> anyhow::Result<(u32, Vec<u8>)> {
    // No password and no data of ours; no outside information; no creation PCRs.
    let mut parameters = vec![0, 4, 0, 0, 0, 0];
    parameters.extend((template.len() as u16).to_be_bytes());
    parameters.extend(template);
    parameters.extend([0; 6]);
    let answer = run(tpm, 0x131, &[ENDORSEMENT], &parameters)?;
    // Handle, size of the parameters, TPM2B_PUBLIC: its last field is the modulus.
    let handle = answer.first_chunk().map(|handle| u32::from_be_bytes(*handle));
    let bytes = answer
        .get(8..10)
        .map(|size| usize::from(size[0]) << 8 | usize::from(size[1]));
    let public = bytes.and_then(|bytes| answer.get(10..10 + bytes));
    let modulus = public.and_then(|public| public.last_chunk::<MODULUS_BYTES>());
    match (handle, modulus) {
        (Some(handle), Some(modulus)) => Ok((handle, modulus.to_vec())),
        _ => bail!("CreatePrimary: an answer of another shape"),
    }
}

/// FlushContext.
fn flush(tpm: &mut (impl Read + Write), handle: u32) -> anyhow::Result<()> {
    run(tpm, 0x165, &[], &handle.to_be_bytes()).map(drop)
}

/// Runs a command; the first of its handles, where there are any, is authorized. Returns what follows the header.
fn run(
    tpm: &mut (impl Read + Write),
    code: u32,
    handles: &[u32],
    parameters: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let mut body: Vec<u8> = handles.iter().flat_map(|handle| handle.to_be_bytes()).collect();
    let tag: u16 = if handles.is_empty() {
        0x8001
    } else {
        body.extend(PASSWORD);
        0x8002
    };
    body.extend(parameters);
    let mut command = tag.to_be_bytes().to_vec();
    command.extend(((HEADER_BYTES + body.len()) as u32).to_be_bytes());
    command.extend(code.to_be_bytes());
    command.extend(body);
    tpm.write_all(&command)?;
    let answer = message(tpm)?;
    let result = answer.get(6..HEADER_BYTES).unwrap_or_default();
    ensure!(
        result == [0; 4],
        "command {code:#x} is refused: {}",
        hex::encode(result)
    );
    Ok(answer.get(HEADER_BYTES..).unwrap_or_default().to_vec())
}

/// One command or answer, whole: its header has its size.
pub(super) fn message(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; HEADER_BYTES];
    stream.read_exact(&mut message)?;
    let size = u32::from_be_bytes([message[2], message[3], message[4], message[5]]) as usize;
    if !(HEADER_BYTES..=MESSAGE_BYTES_MAX).contains(&size) {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    message.resize(size, 0);
    stream.read_exact(message.get_mut(HEADER_BYTES..).unwrap_or_default())?;
    Ok(message)
}
