//! A unified kernel image in a measured boot: PCR 4, 9 and 11 of a TPM, and what the same events are in TDX.
//!
//! 1. Firmware measures its action, a separator and the image into PCR 4 (TCG PC Client Platform Firmware Profile,
//!    section 3.3.4.5), the image by its Authenticode digest.
//! 2. systemd-stub measures name and contents of each section into PCR 11, in its own fixed order
//!    (systemd, `src/fundamental/uki.h`), then loads the kernel through the firmware, which measures that too.
//! 3. Linux's EFI stub measures the command line as UTF-16 with its NUL, and the initrd, into PCR 9.
//!
//! An image whose measurement depends on more than itself is refused: without a command line the host chooses it,
//! several profiles are chosen at boot, and microcode or add-ons are joined to the initrd.

use sha2::{Digest, Sha256, Sha384};

use crate::{
    bytes::utf16,
    check_command_line,
    error::{MeasureError, Part},
    pe::Image,
};

/// The sections that systemd-stub measures, in its order. `.pcrsig` signs the result and is left out.
const MEASURED: &[&str] = &[
    ".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey",
];
/// Sections that make the outcome depend on the machine or on a choice at boot.
const REFUSED: &[&str] = &[".ucode", ".profile", ".dtbauto", ".hwids", ".efifw"];

const ACTION: &[u8] = b"Calling EFI Application from Boot Option";
const SEPARATOR: &[u8] = &[0; 4];

/// Events of a register, in order, by their digests.
pub type Events = Vec<Vec<u8>>;

/// Extends a register: the digest of its old value and the event's digest.
pub fn extend<H: Digest>(register: &[u8], digest: &[u8]) -> Vec<u8> {
    H::new_with_prefix(register)
        .chain_update(digest)
        .finalize()
        .to_vec()
}

/// A register after `events`, from its reset value of zeros.
pub fn register<H: Digest>(events: &[Vec<u8>]) -> Vec<u8> {
    let zero = vec![0; <H as Digest>::output_size()];
    events
        .iter()
        .fold(zero, |register, digest| extend::<H>(&register, digest))
}

/// What a boot of one image measures, with the hash of one bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Events of PCR 4, as digests.
    pub boot_applications: Events,
    /// Events of PCR 9.
    pub kernel_inputs: Events,
    /// Events of PCR 11.
    pub sections: Events,
    /// Authenticode digest of the whole image.
    pub image: Vec<u8>,
    /// Authenticode digest of the kernel inside.
    pub kernel: Vec<u8>,
}

/// PCR values of the SHA-256 bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcrs {
    /// PCR 4: boot applications.
    pub pcr4: Vec<u8>,
    /// PCR 9: command line and initrd.
    pub pcr9: Vec<u8>,
    /// PCR 11: the image's sections.
    pub pcr11: Vec<u8>,
}

impl Measured {
    /// The registers after these events.
    pub fn pcrs<H: Digest>(&self) -> Pcrs {
        Pcrs {
            pcr4: register::<H>(&self.boot_applications),
            pcr9: register::<H>(&self.kernel_inputs),
            pcr11: register::<H>(&self.sections),
        }
    }
}

/// The sections of an image that are measured, in order of measurement.
#[derive(Debug)]
pub struct UnifiedKernelImage<'a> {
    image: Image<'a>,
    sections: Vec<(&'static str, &'a [u8])>,
}

impl<'a> UnifiedKernelImage<'a> {
    /// Reads an image.
    ///
    /// # Errors
    /// [`MeasureError`] when it is not a PE image with a kernel and a command line, or depends on more than itself.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MeasureError> {
        let image = Image::parse(bytes)?;
        let malformed = |reason| MeasureError::malformed(Part::UnifiedKernelImage, reason);
        let unsupported = |reason| MeasureError::unsupported(Part::UnifiedKernelImage, reason);
        let mut sections = Vec::new();
        for name in MEASURED {
            let mut found = image.sections().iter().filter(|section| section.is(name));
            let Some(section) = found.next() else { continue };
            if found.next().is_some() {
                return Err(unsupported("a section stands twice"));
            }
            let contents = section
                .raw
                .get(..section.virtual_bytes)
                .ok_or_else(|| unsupported("a section is larger in memory than in the file"))?;
            sections.push((*name, contents));
        }
        if image
            .sections()
            .iter()
            .any(|section| REFUSED.iter().any(|name| section.is(name)))
        {
            return Err(unsupported("it has microcode, profiles or hardware ids"));
        }
        let image = Self { image, sections };
        if image.section(".linux").is_none() {
            return Err(malformed("it has no kernel: not a unified kernel image"));
        }
        check_command_line(image.command_line()?)?;
        Ok(image)
    }

    /// The contents of a measured section.
    pub fn section(&self, name: &str) -> Option<&'a [u8]> {
        self.sections
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, contents)| *contents)
    }

    /// The command line inside.
    ///
    /// # Errors
    /// [`MeasureError`] when there is none, or one that the stub would change before it passes it on.
    pub fn command_line(&self) -> Result<&'a str, MeasureError> {
        let unsupported = |reason| MeasureError::unsupported(Part::UnifiedKernelImage, reason);
        let line = self
            .section(".cmdline")
            .ok_or_else(|| unsupported("it has no command line, so the host would choose it"))?;
        let line = core::str::from_utf8(line)
            .map_err(|_| MeasureError::malformed(Part::CommandLine, "not UTF-8"))?;
        if line.is_empty() || line.trim() != line || line.trim_end_matches('\0') != line {
            return Err(unsupported(
                "its command line begins or ends with space, which the stub strips",
            ));
        }
        Ok(line)
    }

    /// What a boot of this image measures.
    ///
    /// # Errors
    /// [`MeasureError`] when the kernel inside is not a PE image.
    pub fn measure<H: Digest>(&self) -> Result<Measured, MeasureError> {
        let kernel = Image::parse(self.section(".linux").unwrap_or_default())?.authenticode::<H>();
        let image = self.image.authenticode::<H>();
        let digests = |data: &[u8]| H::digest(data).to_vec();
        let sections: Vec<_> = self
            .sections
            .iter()
            .map(|(name, contents)| (*name, digests(contents)))
            .collect();
        Ok(Measured {
            boot_applications: boot_applications::<H>(&image, &kernel),
            kernel_inputs: kernel_inputs::<H>(
                self.command_line()?,
                self.section(".initrd").map(digests).as_deref(),
            ),
            sections: section_events::<H>(&sections),
            image,
            kernel,
        })
    }

    /// PCR values of the SHA-256 bank.
    ///
    /// # Errors
    /// As [`UnifiedKernelImage::measure`].
    pub fn pcrs(&self) -> Result<Pcrs, MeasureError> {
        Ok(self.measure::<Sha256>()?.pcrs::<Sha256>())
    }

    /// RTMR 1 and 2 of a TD that QEMU starts with this image as its kernel, unpatched (QEMU 10.1 and later).
    ///
    /// # Errors
    /// As [`UnifiedKernelImage::measure`].
    pub fn rtmrs(&self) -> Result<(Events, Events), MeasureError> {
        let measured = self.measure::<Sha384>()?;
        let event = |data: &[u8]| Sha384::digest(data).to_vec();
        let rtmr1 = vec![
            measured.image.clone(),
            event(ACTION),
            event(SEPARATOR),
            measured.kernel.clone(),
            event(crate::tdx::EXIT_BOOT_SERVICES),
            event(crate::tdx::EXIT_BOOT_SERVICES_DONE),
        ];
        let rtmr2 = [measured.sections, measured.kernel_inputs].concat();
        Ok((rtmr1, rtmr2))
    }
}

/// PCR 4 of a boot from disk: action, separator, the image, the kernel inside.
pub fn boot_applications<H: Digest>(image: &[u8], kernel: &[u8]) -> Events {
    vec![
        H::digest(ACTION).to_vec(),
        H::digest(SEPARATOR).to_vec(),
        image.to_vec(),
        kernel.to_vec(),
    ]
}

/// PCR 9: the command line as UTF-16 with its NUL, and the digest of the initrd.
pub fn kernel_inputs<H: Digest>(command_line: &str, initrd: Option<&[u8]>) -> Events {
    let mut line = utf16(command_line);
    line.extend([0, 0]);
    core::iter::once(H::digest(line).to_vec())
        .chain(initrd.map(<[u8]>::to_vec))
        .collect()
}

/// PCR 11: for each section in the stub's order its name with a NUL, and its contents by their digest.
/// Names that the stub does not measure are left out.
pub fn section_events<H: Digest>(sections: &[(&str, Vec<u8>)]) -> Events {
    let mut events = Vec::new();
    for name in MEASURED {
        for (_, contents) in sections.iter().filter(|(known, _)| known == name) {
            events.push(H::new_with_prefix(name).chain_update([0]).finalize().to_vec());
            events.push(contents.clone());
        }
    }
    events
}
