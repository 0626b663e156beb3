//! Where in a cache the endorsements of a subject are, and what they must be.

use std::fmt::Write as _;

use attestation::{DeviceKind, EndorsementKind, PlatformTag};
use sha2::{Digest as _, Sha256};

use crate::EndorserError;
use crate::cache::bound;

pub(crate) const SUBJECT_BYTES_MAX: usize = 256;
/// Folder of GPUs: their evidence travels beside a platform's, so they are no platform of their own.
const NVIDIA_GPU: &str = DeviceKind::NvidiaGpu.as_str();
const CHIP_ID_BYTES: usize = 64;
const FMSPC_BYTES: usize = 6;

const SNP: &[EndorsementKind] = &[
    EndorsementKind::SnpLeaf,
    EndorsementKind::SnpIntermediate,
    EndorsementKind::SnpCrl,
];
const TDX: &[EndorsementKind] = &[
    EndorsementKind::TdxRootCrl,
    EndorsementKind::TdxPckCrl,
    EndorsementKind::TdxTcbInfo,
    EndorsementKind::TdxQeIdentity,
    EndorsementKind::TdxTcbSigningChain,
];
const GPU: &[EndorsementKind] = &[
    EndorsementKind::NvidiaDriverRim,
    EndorsementKind::NvidiaVbiosRim,
    EndorsementKind::NvidiaOcsp,
];

/// A platform's folder and the digest of a subject in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    folder: &'static str,
    digest: [u8; 32],
}

impl Place {
    pub(crate) fn of(platform: PlatformTag, subject: &[u8]) -> Result<Self, EndorserError> {
        Self::in_folder(platform.as_str(), subject)
    }

    pub(crate) fn of_gpu(subject: &[u8]) -> Result<Self, EndorserError> {
        Self::in_folder(NVIDIA_GPU, subject)
    }

    fn in_folder(folder: &'static str, subject: &[u8]) -> Result<Self, EndorserError> {
        bound("a subject", subject.len(), SUBJECT_BYTES_MAX)?;
        Ok(Self {
            folder,
            digest: Sha256::digest(subject).into(),
        })
    }

    /// A place by its names, `None` if there is no such folder or the digits are not those of a digest.
    pub(crate) fn at(folder: &str, digits: &str) -> Option<Self> {
        let folder = Self::folders().find(|known| *known == folder)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).ok()?;
        let place = Self { folder, digest };
        (place.digits() == digits).then_some(place)
    }

    pub(crate) fn folders() -> impl Iterator<Item = &'static str> {
        PlatformTag::ALL
            .into_iter()
            .map(PlatformTag::as_str)
            .chain([NVIDIA_GPU])
    }

    pub(crate) fn folder(&self) -> &'static str {
        self.folder
    }

    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    pub(crate) fn digits(&self) -> String {
        hex::encode(self.digest)
    }

    /// Whether this is the place of `subject`.
    pub(crate) fn is_of(&self, subject: &[u8]) -> bool {
        Self::in_folder(self.folder, subject).is_ok_and(|place| place == *self)
    }

    /// The documents without which the subject's evidence cannot be verified. A VLEK's leaf comes with
    /// the report; the report then shows no chip.
    pub(crate) fn required(&self, subject: Option<&[u8]>) -> &'static [EndorsementKind] {
        match self.folder {
            NVIDIA_GPU => GPU,
            folder if folder.ends_with("snp") => {
                let names_chip = subject
                    .and_then(|subject| subject.get(..CHIP_ID_BYTES))
                    .is_none_or(|chip| chip.iter().any(|byte| *byte != 0));
                if names_chip { SNP } else { &SNP[1..] }
            }
            _ => TDX,
        }
    }

    /// The subject for people.
    pub(crate) fn describe(&self, subject: Option<&[u8]>) -> String {
        let Some(subject) = subject else {
            return format!("{} subject {}", self.folder, self.digits());
        };
        let mut text = String::new();
        if self.folder == NVIDIA_GPU {
            text.push_str(&String::from_utf8_lossy(subject));
        } else if self.folder.ends_with("snp") && subject.len() > CHIP_ID_BYTES {
            let (chip, tcb) = subject.split_at(CHIP_ID_BYTES);
            let id = hex::encode(chip);
            let end = id.trim_end_matches('0').len().clamp(16, 24);
            let _ = match chip.iter().all(|byte| *byte == 0) {
                true => write!(text, "VLEK, TCB {}", hex::encode(tcb)),
                false => write!(
                    text,
                    "chip {}, TCB {}",
                    id.get(..end).unwrap_or(&id),
                    hex::encode(tcb)
                ),
            };
        } else if let Some((fmspc, authority)) = subject.split_at_checked(FMSPC_BYTES) {
            let _ = write!(
                text,
                "FMSPC {}, {}",
                hex::encode(fmspc),
                String::from_utf8_lossy(authority)
            );
        }
        text.chars().filter(|c| !c.is_control()).collect()
    }
}

#[cfg(test)]
mod tests {
    use attestation::{EndorsementKind, PlatformTag};

    use super::Place;

    #[test]
    fn names_lead_back_to_the_place_and_nowhere_else() {
        let place = Place::of(PlatformTag::IntelTdx, b"abc").expect("a place");
        assert_eq!(Place::at("intel-tdx", &place.digits()), Some(place.clone()));
        assert!(place.is_of(b"abc") && !place.is_of(b"abd"));
        for (folder, digits) in [
            ("..", place.digits()),
            ("intel-tdx", place.digits().to_uppercase()),
            ("intel-tdx", "00".to_owned()),
            ("intel-tdx", String::new()),
        ] {
            assert_eq!(Place::at(folder, &digits), None);
        }
    }

    #[test]
    fn a_vlek_needs_no_published_leaf() {
        let of = |subject: &[u8]| {
            Place::of(PlatformTag::AmdSevSnp, subject)
                .expect("a place")
                .required(Some(subject))
                .contains(&EndorsementKind::SnpLeaf)
        };
        assert!(of(&[1; 72]));
        assert!(!of(&[0; 72]));
    }

    #[test]
    fn subjects_are_described_for_people() {
        let describe = |platform, subject: &[u8]| {
            Place::of(platform, subject)
                .expect("a place")
                .describe(Some(subject))
        };
        let snp = [&[0xab; 64][..], &[1, 0, 0, 0, 0, 0, 2, 3]].concat();
        assert_eq!(
            describe(PlatformTag::AmdSevSnp, &snp),
            "chip abababababababababababab, TCB 0100000000000203"
        );
        assert_eq!(
            describe(
                PlatformTag::IntelTdx,
                b"\x90\xc0\x6f\0\0\0Intel SGX PCK Platform CA"
            ),
            "FMSPC 90c06f000000, Intel SGX PCK Platform CA"
        );
        for hostile in [&b""[..], b"a", b"\x1b[2J\x1b[2J\x1b[2J"] {
            assert!(!describe(PlatformTag::IntelTdx, hostile).contains('\x1b'));
        }
    }
}
